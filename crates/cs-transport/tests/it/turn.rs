//! An endpoint as a relay, and clients on sockets of their own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::time::Instant;

use cs_identity::SecretKey;
use cs_transport::net::{Alternate, Endpoint, EndpointConfig, Events, RelayConfig};
use cs_transport::stun::{AttributeKind, Behaviour, Builder, Class, Dependence, Method};
use cs_transport::turn::{Event, ServerConfig, Transport, node_credentials};
use tokio::task::block_in_place;

use crate::caller::{Caller, LIMIT, discover, loopback, peer};

fn key(seed: u8) -> SecretKey {
    SecretKey::from_bytes([seed; 32])
}

async fn relay(config: RelayConfig) -> (Endpoint, Events, SocketAddr) {
    let config =
        EndpointConfig { listen: vec![loopback(0)], relay: Some(config), ..EndpointConfig::new(key(1)) };
    let (endpoint, events) = Endpoint::bind(config).await.expect("the loopback is there");
    let at = endpoint.local_addrs()[0];
    (endpoint, events, at)
}

fn private() -> RelayConfig {
    let limits = ServerConfig { allow_private: true, ..ServerConfig::default() };
    RelayConfig { tcp: vec![loopback(0)], limits, ..RelayConfig::default() }
}

// TP-21, TP-22, TP-23, TP-24, TP-27
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_talks_with_a_peer_through_an_endpoint_over_udp_and_over_tcp() {
    let (endpoint, _events, udp) = relay(private()).await;
    let tcp = endpoint.relay_tcp_addrs()[0];
    block_in_place(|| {
        for (transport, server) in [(Transport::Udp, udp), (Transport::Tcp, tcp)] {
            let mut caller = Caller::new(node_credentials(&key(2), &key(1).node_id()), transport, server);
            let relayed = caller.allocate();
            let peer = peer();
            let at = peer.local_addr().expect("it is bound");
            caller.client.permit(caller.now(), at.ip()).expect("there is room");
            assert_eq!(caller.event(), Event::Permitted(at.ip()));
            let mut buffer = [0; 2000];
            for round in 0..2 {
                // The first time in indications, and then on a channel; of every length modulo four.
                for length in [1, 2, 3, 4, 1200] {
                    let data = vec![round; length];
                    caller.say(at, &data);
                    let (count, from) = peer.recv_from(&mut buffer).expect("it arrives");
                    assert_eq!((&buffer[..count], from), (&data[..], relayed));
                    peer.send_to(&data, relayed).expect("the loopback is there");
                    caller.hears(at, &data);
                }
                if round == 0 {
                    caller.client.bind(caller.now(), at).expect("there is room");
                    assert_eq!(caller.event(), Event::Bound(at));
                }
            }
            caller.client.close(caller.now());
            assert_eq!(caller.event(), Event::Closed);
        }
    });
    let counters = endpoint.relay_counters().expect("it is a relay");
    assert_eq!((counters.granted, counters.allocations, counters.relayed), (2, 0, 40));
    assert_eq!(endpoint.counters().relay_dropped, 0);
}

// TP-24, TP-25, TP-26
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_serves_no_strangers_and_reaches_nothing_inside() {
    let only = Some([key(2).node_id()].into());
    let limits = ServerConfig { allocations_per_user_max: 1, ..ServerConfig::default() };
    let config =
        RelayConfig { only, external: vec![[50, 0, 0, 10].into()], limits, ..RelayConfig::default() };
    let (_endpoint, _events, udp) = relay(config).await;
    block_in_place(|| {
        let mut stranger = Caller::new(node_credentials(&key(3), &key(1).node_id()), Transport::Udp, udp);
        stranger.client.start(stranger.now());
        assert_eq!(stranger.event(), Event::Refused(401));
        let mut friend = Caller::new(node_credentials(&key(2), &key(1).node_id()), Transport::Udp, udp);
        let relayed = friend.allocate();
        assert_eq!(relayed.ip(), IpAddr::from([50, 0, 0, 10]), "what peers know this host by");
        friend.client.permit(friend.now(), Ipv4Addr::LOCALHOST.into()).expect("there is room here");
        let refused = Event::NotPermitted { ip: Ipv4Addr::LOCALHOST.into(), code: 403 };
        assert_eq!(friend.event(), refused);
        // Its process starts anew on the same port, and knows nothing of the allocation.
        friend.forget(node_credentials(&key(2), &key(1).node_id()), Transport::Udp);
        assert_ne!(friend.allocate(), relayed);
        let mut again = Caller::new(node_credentials(&key(2), &key(1).node_id()), Transport::Udp, udp);
        again.client.start(again.now());
        assert_eq!(again.event(), Event::Refused(486), "one of each node");
    });
}

// TP-25: neither end needs UDP for this.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_without_udp_talk_through_one_relay() {
    let (endpoint, _events, _) = relay(private()).await;
    let tcp = endpoint.relay_tcp_addrs()[0];
    block_in_place(|| {
        let [mut one, mut two] = [2, 3]
            .map(|seed| Caller::new(node_credentials(&key(seed), &key(1).node_id()), Transport::Tcp, tcp));
        let (at_one, at_two) = (one.allocate(), two.allocate());
        one.client.bind(one.now(), at_two).expect("there is room");
        two.client.bind(two.now(), at_one).expect("there is room");
        assert_eq!((one.event(), two.event()), (Event::Bound(at_two), Event::Bound(at_one)));
        one.say(at_two, b"ping");
        two.hears(at_one, b"ping");
        two.say(at_one, b"pong");
        one.hears(at_two, b"pong");
    });
}

// TP-28
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_does_not_read_loses_datagrams_and_the_relay_keeps_nothing_for_it() {
    let mut config = private();
    (config.limits.bytes_per_second, config.limits.burst_bytes) = (1 << 30, 1 << 30);
    config.limits.bytes_per_second_in_all = 1 << 30;
    let (endpoint, _events, _) = relay(config).await;
    let tcp = endpoint.relay_tcp_addrs()[0];
    block_in_place(|| {
        let mut caller = Caller::new(node_credentials(&key(2), &key(1).node_id()), Transport::Tcp, tcp);
        let relayed = caller.allocate();
        let peer = peer();
        let at = peer.local_addr().expect("it is bound");
        caller.client.bind(caller.now(), at).expect("there is room");
        assert_eq!(caller.event(), Event::Bound(at));
        // Until the stream and its queue are full. Nothing here reads.
        let begun = Instant::now();
        while endpoint.counters().relay_dropped == 0 && begun.elapsed() < LIMIT {
            peer.send_to(&[7; 1400], relayed).expect("the loopback is there");
        }
        assert!(endpoint.counters().relay_dropped > 0);
        // What was kept arrives once it reads again, and others are served.
        caller.hears(at, &[7; 1400]);
    });
}

// TP-13, TP-24
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_is_counted_and_an_honest_client_is_served_through_it() {
    let (endpoint, _events, udp) = relay(private()).await;
    block_in_place(|| {
        let ask = Builder::new(Class::Request, Method::ALLOCATE, [1; 12]);
        let ask = ask.attribute(AttributeKind::REQUESTED_TRANSPORT, &[17, 0, 0, 0]).finish();
        let cut = [&ask[..24], &[0xff; 4]].concat();
        let indication = Builder::new(Class::Indication, Method::SEND, [1; 12]).finish();
        let flood = peer();
        for turn in 0..20_000 {
            let datagram = [&ask[..], &cut, &indication, b"\x40\0\0\x02hi", b"\x21garbage"][turn % 5];
            flood.send_to(datagram, udp).expect("the loopback is there");
        }
        let mut caller = Caller::new(node_credentials(&key(2), &key(1).node_id()), Transport::Udp, udp);
        caller.allocate();
    });
    let (counters, relay) = (endpoint.counters(), endpoint.relay_counters().expect("it is a relay"));
    assert!(counters.rate_limited > 0 && counters.garbage > 0 && counters.relay_refused > 0, "{counters:?}");
    assert!(relay.challenged <= 2000 && relay.granted == 1, "{relay:?}");
}

// TP-29
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_behind_no_nat_finds_that_out() {
    let (first, second) = (Ipv4Addr::LOCALHOST.into(), IpAddr::from([127, 0, 0, 2]));
    // A port that was free a moment ago.
    let second_port =
        UdpSocket::bind((second, 0)).and_then(|socket| socket.local_addr()).expect("a port is free").port();
    let config = RelayConfig { alternate: Some(Alternate { first, second, second_port }), ..private() };
    let (endpoint, _events, udp) = relay(config).await;
    let behaviour = block_in_place(|| discover(udp));
    let expected = Behaviour {
        mapped: behaviour.mapped,
        mapping: Some(Dependence::None),
        filtering: Some(Dependence::None),
        hairpin: Some(true),
        port_step: None,
    };
    assert_eq!(behaviour, expected);
    // What was sent is counted a moment later.
    let begun = Instant::now();
    while endpoint.counters().stun_served < 3 && begun.elapsed() < LIMIT {
        tokio::task::yield_now().await;
    }
    assert_eq!(endpoint.counters().stun_served, 3);
}
