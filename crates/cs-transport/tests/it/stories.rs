//! Real endpoints on the loopback.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use cs_identity::{NodeId, SecretKey};
use cs_transport::LocalKey;
use cs_transport::net::{
    DialFault, Endpoint, EndpointConfig, Event, Events, How, LanDiscovery, LanEvent, Lane, Outcome,
    PathReport, RpcError, SendRefused, SessionEnd, SessionId,
};

/// Far above what anything here takes; only a failure waits this long.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Node {
    pub(crate) endpoint: Endpoint,
    pub(crate) events: Events,
    pub(crate) id: NodeId,
    pub(crate) addr: SocketAddr,
}

impl Node {
    pub(crate) async fn new(seed: u8) -> Self {
        Self::with(seed, |_| {}).await
    }

    pub(crate) async fn with(seed: u8, change: impl FnOnce(&mut EndpointConfig)) -> Self {
        let secret = SecretKey::from_bytes([seed; 32]);
        let id = secret.node_id();
        let mut config = EndpointConfig::new(secret);
        config.listen = vec![([127, 0, 0, 1], 0).into()];
        change(&mut config);
        let (endpoint, events) = Endpoint::bind(config).await.expect("the loopback is there");
        let addr = endpoint.local_addrs()[0];
        Self { endpoint, events, id, addr }
    }

    /// The next event but observations of addresses.
    pub(crate) async fn next(&mut self) -> Event {
        loop {
            let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
            match event.expect("an event in time").expect("the endpoint lives") {
                Event::AddressObserved { .. } | Event::NatChanged(_) | Event::PathChanged { .. } => {}
                event => return event,
            }
        }
    }

    pub(crate) async fn up(&mut self) -> (SessionId, NodeId, [u8; 32]) {
        match self.next().await {
            Event::Up { session, peer, exporter, .. } => (session, peer, exporter),
            other => panic!("a session was due, not {other:?}"),
        }
    }

    pub(crate) async fn message(&mut self) -> (Lane, Bytes) {
        match self.next().await {
            Event::Message { lane, bytes, .. } => (lane, bytes),
            other => panic!("a message was due, not {other:?}"),
        }
    }

    pub(crate) async fn down(&mut self) -> SessionEnd {
        match self.next().await {
            Event::Down { why, .. } => why,
            other => panic!("an end was due, not {other:?}"),
        }
    }
}

pub(crate) async fn pair() -> (Node, Node) {
    let (one, two) = (Node::new(1).await, Node::new(2).await);
    // The first of the pair has the lower ID, which decides.
    if one.id < two.id { (one, two) } else { (two, one) }
}

pub(crate) async fn connected(from: &mut Node, to: &mut Node) -> (SessionId, SessionId) {
    from.endpoint.dial(to.id, vec![to.addr], vec![]);
    let (here, peer, ours) = from.up().await;
    assert_eq!(peer, to.id);
    let (there, peer, theirs) = to.up().await;
    assert_eq!(peer, from.id);
    assert_eq!(ours, theirs, "the channel binding is equal at both ends");
    (here, there)
}

#[tokio::test]
async fn two_nodes_meet_by_id_and_exchange_messages_on_every_lane() {
    let (mut low, mut high) = pair().await;
    let (low_session, high_session) = connected(&mut low, &mut high).await;
    for lane in Lane::ALL {
        low.endpoint.send(low_session, lane, Bytes::from_static(b"ping")).unwrap();
        assert_eq!(high.message().await, (lane, Bytes::from_static(b"ping")));
        high.endpoint.send(high_session, lane, Bytes::from_static(b"pong")).unwrap();
        assert_eq!(low.message().await, (lane, Bytes::from_static(b"pong")));
    }
    let longest = Bytes::from(vec![0; cs_transport::wire::MAX_MESSAGE + 1]);
    assert_eq!(low.endpoint.send(low_session, Lane::Bulk, longest.clone()), Err(SendRefused::TooLong));
    low.endpoint.send(low_session, Lane::Bulk, longest.slice(1..)).unwrap();
    assert_eq!(high.message().await, (Lane::Bulk, longest.slice(1..)));
    low.endpoint.close(low_session, 7);
    assert_eq!(low.down().await, SessionEnd::ClosedHere(7));
    assert_eq!(high.down().await, SessionEnd::ClosedByPeer(7));
    assert_eq!(low.endpoint.send(low_session, Lane::Normal, Bytes::new()), Err(SendRefused::Gone));
}

#[tokio::test]
async fn the_higher_id_may_dial_too() {
    let (mut low, mut high) = pair().await;
    connected(&mut high, &mut low).await;
}

#[tokio::test]
async fn nodes_that_dial_each_other_at_once_end_up_with_one_session() {
    for round in 0..8u8 {
        let (mut one, mut two) = (Node::new(10 + round).await, Node::new(50 + round).await);
        let first = one.endpoint.dial(two.id, vec![two.addr], vec![]);
        let second = two.endpoint.dial(one.id, vec![one.addr], vec![]);
        let (a, b) = match (one.next().await, two.next().await) {
            (Event::Up { exporter: a, dialled: x, .. }, Event::Up { exporter: b, dialled: y, .. }) => {
                assert_eq!((x, y), (Some(first), Some(second)), "the session answers both dials");
                (a, b)
            }
            other => panic!("two sessions were due, not {other:?}"),
        };
        assert_eq!(a, b, "both took the same connection");
        // Nothing else follows: neither a second session nor an end.
        one.endpoint.shutdown().await;
        assert_eq!(two.down().await, SessionEnd::PeerShutDown);
        assert!(matches!(one.next().await, Event::Down { .. }));
        assert!(one.events.recv().await.is_none());
    }
}

#[tokio::test]
async fn a_second_dial_names_the_session_that_is_there() {
    let (mut low, mut high) = pair().await;
    let (session, _) = connected(&mut low, &mut high).await;
    let dial = low.endpoint.dial(high.id, vec![high.addr], vec![]);
    match low.next().await {
        Event::DialFailed { dial: failed, why, .. } => {
            assert_eq!((failed, why), (dial, DialFault::AlreadyUp(session)));
        }
        other => panic!("a refusal was due, not {other:?}"),
    }
}

#[tokio::test]
async fn dials_that_cannot_succeed_say_why() {
    let (mut one, two) = pair().await;
    let stranger = SecretKey::from_bytes([77; 32]).node_id();
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap();
    let cases = [
        (stranger, vec![two.addr], DialFault::WrongNode),
        (two.id, vec![], DialFault::NoAddress),
        (two.id, vec![([127, 0, 0, 1], 0).into()], DialFault::NoAddress),
        (one.id, vec![one.addr], DialFault::Myself),
    ];
    for (peer, addrs, expected) in cases {
        one.endpoint.dial(peer, addrs, vec![]);
        match one.next().await {
            Event::DialFailed { why, .. } => assert_eq!(why, expected),
            other => panic!("{expected:?} was due, not {other:?}"),
        }
    }
    let mut hasty = Node::with(9, |config| config.dial_timeout = Duration::from_millis(50)).await;
    hasty.endpoint.dial(two.id, vec![silent], vec![]);
    assert!(matches!(hasty.next().await, Event::DialFailed { why: DialFault::Timeout, .. }));
}

#[tokio::test]
async fn one_good_address_among_bad_ones_is_enough() {
    let (mut low, mut high) = pair().await;
    let other = Node::new(33).await;
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().unwrap();
    low.endpoint.dial(high.id, vec![silent, other.addr, high.addr], vec![]);
    let (session, peer, _) = low.up().await;
    assert_eq!((peer, high.up().await.1), (high.id, low.id));
    let tried = low.endpoint.tried(high.id);
    assert_eq!(tried.iter().map(|one| one.candidate).collect::<Vec<_>>(), [silent, other.addr, high.addr]);
    assert_eq!(
        (tried[0].outcome, tried[1].outcome),
        (Outcome::Superseded, Outcome::Failed(DialFault::WrongNode))
    );
    assert!(matches!(tried[2].outcome, Outcome::Open { .. }), "{tried:?}");
    let paths = low.endpoint.paths(session);
    assert!(matches!(paths[..], [PathReport { how: How::Dialled, in_use: true, .. }]), "{paths:?}");
    assert_eq!(paths[0].addr, high.addr);
}

#[tokio::test]
async fn a_peer_that_restarted_gets_a_new_session_at_once() {
    let mut stays = Node::new(1).await;
    for (seed, restarted_dials) in [(2u8, true), (3, true), (2, false), (3, false)] {
        let mut first = Node::new(seed).await;
        connected(&mut first, &mut stays).await;
        let mut second = Node::new(seed).await;
        if restarted_dials {
            second.endpoint.dial(stays.id, vec![stays.addr], vec![]);
            assert_eq!(second.up().await.1, stays.id);
            let (mut up, mut down) = (false, false);
            while !(up && down) {
                match stays.next().await {
                    Event::Up { peer, .. } => up = peer == second.id,
                    Event::Down { why, .. } => down = why == SessionEnd::Replaced,
                    other => panic!("not expected: {other:?}"),
                }
            }
        } else {
            drop(first.endpoint);
            assert_eq!(stays.down().await, SessionEnd::PeerShutDown);
            connected(&mut stays, &mut second).await;
        }
        second.endpoint.shutdown().await;
        assert_eq!(stays.down().await, SessionEnd::PeerShutDown);
    }
}

#[tokio::test]
async fn messages_of_one_lane_keep_their_order_and_bulk_keeps_its_bytes() {
    let (mut low, mut high) = pair().await;
    let (session, _) = connected(&mut low, &mut high).await;
    let total = 24 << 20;
    for i in 0..24u8 {
        low.endpoint.send(session, Lane::Bulk, vec![i; 1 << 20].into()).unwrap();
    }
    for i in 0..200u32 {
        low.endpoint.send(session, Lane::Control, Bytes::copy_from_slice(&i.to_be_bytes())).unwrap();
    }
    assert!(low.endpoint.queued(session) > 0, "the backlog shows");
    let (mut bulk, mut control, mut bulk_when_control_was_done) = (0, 0u32, 0);
    while bulk < total || control < 200 {
        match high.message().await {
            (Lane::Bulk, bytes) => {
                assert!(bytes.iter().all(|byte| *byte == bytes[0]), "no message is torn");
                bulk += bytes.len();
            }
            (_, bytes) => {
                assert_eq!(bytes[..], control.to_be_bytes());
                control += 1;
                bulk_when_control_was_done = bulk;
            }
        }
    }
    assert_eq!(bulk, total);
    assert!(bulk_when_control_was_done < total, "control overtakes the bulk queued before it");
    assert_eq!(low.endpoint.queued(session), 0);
}

// TP-9
#[tokio::test]
async fn a_receiver_that_does_not_read_stalls_the_sender_and_holds_little() {
    let generous = |config: &mut EndpointConfig| config.requests_per_second = 100_000;
    let (mut low, mut high) = (Node::new(1).await, Node::with(2, generous).await);
    let (session, _) = connected(&mut low, &mut high).await;
    let total = 64 << 20;
    for _ in 0..64 {
        low.endpoint.send(session, Lane::Bulk, vec![1; 1 << 20].into()).unwrap();
    }
    // STUN needs no event, so that its round trips tell the time while nobody reads: first until something was taken,
    // then 500 more, in which everything that has room arrives. Windows, event budget and messages in assembly come to
    // less than 32 MiB.
    let taken = async {
        while low.endpoint.queued(session) == total {
            low.endpoint.observe(high.addr, PATIENCE).await.expect("the endpoint is alive");
        }
    };
    tokio::time::timeout(PATIENCE, taken).await.expect("something is taken");
    for _ in 0..500 {
        low.endpoint.observe(high.addr, PATIENCE).await.expect("the endpoint is alive");
        assert!(low.endpoint.queued(session) > 32 << 20, "{}", low.endpoint.queued(session));
    }
    let mut received = 0;
    while received < total {
        received += high.message().await.1.len();
    }
}

#[tokio::test]
async fn shutdown_delivers_what_was_queued() {
    let (mut low, mut high) = pair().await;
    let (session, _) = connected(&mut low, &mut high).await;
    for _ in 0..20 {
        low.endpoint.send(session, Lane::Normal, vec![3; 100_000].into()).unwrap();
    }
    let endpoint = low.endpoint.clone();
    let shutdown = tokio::spawn(async move { endpoint.shutdown().await });
    for _ in 0..20 {
        assert_eq!(high.message().await.1.len(), 100_000);
    }
    assert_eq!(high.down().await, SessionEnd::PeerShutDown);
    shutdown.await.unwrap();
}

async fn serve(mut node: Node, answer: &'static [u8]) -> Node {
    match node.next().await {
        Event::Request { token, .. } => node.endpoint.reply(token, Bytes::from_static(answer)),
        other => panic!("a request was due, not {other:?}"),
    }
    node
}

#[tokio::test]
async fn a_sealed_request_names_its_sender_and_is_answered() {
    for seed in 1..6 {
        let (asker, mut server) = (Node::new(seed).await, Node::new(100).await);
        let ask = asker.endpoint.rpc(server.id, server.addr, Bytes::from_static(b"who am I?"), PATIENCE);
        let ask = tokio::spawn({
            let (endpoint, id, addr) = (asker.endpoint.clone(), server.id, server.addr);
            drop(ask);
            async move { endpoint.rpc(id, addr, Bytes::from_static(b"who am I?"), PATIENCE).await }
        });
        match server.next().await {
            Event::Request { from, bytes, addr, token } => {
                assert_eq!((from, addr, &bytes[..]), (asker.id, asker.addr, &b"who am I?"[..]));
                assert!(token.room() >= 1100);
                server.endpoint.reply(token, from.as_bytes().to_vec().into());
            }
            other => panic!("a request was due, not {other:?}"),
        }
        assert_eq!(ask.await.unwrap().unwrap()[..], asker.id.as_bytes()[..]);
    }
}

#[tokio::test]
async fn a_request_without_an_answer_is_sent_again() {
    let (asker, mut server) = (Node::new(1).await, Node::new(2).await);
    let (endpoint, id, addr) = (asker.endpoint.clone(), server.id, server.addr);
    let ask = tokio::spawn(async move { endpoint.rpc(id, addr, Bytes::from_static(b"?"), PATIENCE).await });
    for attempt in [b"first", b"other"] {
        match server.next().await {
            Event::Request { token, .. } if attempt == b"first" => drop(token),
            Event::Request { token, .. } => server.endpoint.reply(token, Bytes::from_static(attempt)),
            other => panic!("a request was due, not {other:?}"),
        }
    }
    assert_eq!(ask.await.unwrap().unwrap()[..], b"other"[..]);
}

#[tokio::test]
async fn a_request_sealed_for_another_node_is_never_answered() {
    let (asker, server) = (Node::new(1).await, Node::new(2).await);
    let stranger = SecretKey::from_bytes([9; 32]).node_id();
    let wait = Duration::from_millis(200);
    let asked = asker.endpoint.rpc(stranger, server.addr, Bytes::from_static(b"?"), wait).await;
    assert_eq!(asked, Err(RpcError::Timeout));
    // The answer to this one is sent after the other was handled: the socket keeps their order.
    assert_eq!(asker.endpoint.observe(server.addr, PATIENCE).await, Ok(asker.addr));
    assert_eq!(server.endpoint.counters().forged, 1);
}

// TP-15
#[tokio::test]
async fn every_node_is_a_stun_server() {
    let (mut one, two) = (Node::new(1).await, Node::new(2).await);
    assert_eq!(one.endpoint.observe(two.addr, PATIENCE).await, Ok(one.addr));
    match one.events.recv().await {
        Some(Event::NatChanged(report)) => assert_eq!(report.reflexive, [one.addr]),
        other => panic!("the report was due, not {other:?}"),
    }
    match one.events.recv().await {
        Some(Event::AddressObserved { addr }) => assert_eq!(addr, one.addr),
        other => panic!("the address was due, not {other:?}"),
    }
    assert_eq!(two.endpoint.counters().stun_served, 1);
}

#[tokio::test]
async fn a_request_of_the_greatest_size_fits_and_one_byte_more_is_refused() {
    let (asker, server) = (Node::new(1).await, Node::new(2).await);
    let (id, addr) = (server.id, server.addr);
    let most = cs_transport::wire::MAX_RPC;
    let served = tokio::spawn(serve(server, b"ok"));
    let asked = asker.endpoint.rpc(id, addr, vec![7; most].into(), PATIENCE).await;
    assert_eq!(asked.unwrap()[..], b"ok"[..]);
    served.await.unwrap();
    let asked = asker.endpoint.rpc(id, addr, vec![7; most + 1].into(), PATIENCE).await;
    assert!(matches!(asked, Err(RpcError::Refused(_))), "{asked:?}");
}

// TP-13
#[tokio::test]
async fn garbage_on_the_port_is_counted_and_harms_nobody() {
    let (mut low, mut high) = pair().await;
    let (session, _) = connected(&mut low, &mut high).await;
    let noise = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut byte = 0u8;
    for round in 0..600usize {
        let datagram = (0..round % 1400).map(|_| {
            byte = byte.wrapping_mul(31).wrapping_add(7);
            byte
        });
        let mut datagram = datagram.collect::<Vec<_>>();
        // Every first byte in turn, so that each parser gets its share.
        if let Some(first) = datagram.first_mut() {
            *first = (round % 256) as u8;
        }
        noise.send_to(&datagram, high.addr).unwrap();
        if round % 50 == 0 {
            low.endpoint.send(session, Lane::Normal, Bytes::from_static(b"still here")).unwrap();
            assert_eq!(high.message().await.1[..], b"still here"[..]);
        }
    }
    let counters = high.endpoint.counters();
    assert!(counters.garbage > 100, "{counters:?}");
    assert!(counters.forged + counters.rate_limited > 0, "{counters:?}");
    assert_eq!(counters.peer_faults, 0);
}

// TP-1
#[tokio::test]
async fn one_endpoint_serves_both_address_families() {
    let both = |config: &mut EndpointConfig| {
        config.listen = vec![([127, 0, 0, 1], 0).into(), ([0, 0, 0, 0, 0, 0, 0, 1u16], 0).into()];
    };
    let Ok(_) = std::net::UdpSocket::bind("[::1]:0") else {
        println!("no IPv6 on this machine: nothing to check");
        return;
    };
    let (mut one, mut two) = (Node::with(1, both).await, Node::with(2, both).await);
    for index in [0, 1] {
        let addr = two.endpoint.local_addrs()[index];
        one.endpoint.dial(two.id, vec![addr], vec![]);
        match one.next().await {
            Event::Up { session, addr: reached, .. } => {
                assert_eq!(reached, addr);
                two.up().await;
                one.endpoint.close(session, 1);
            }
            other => panic!("a session was due, not {other:?}"),
        }
        one.down().await;
        two.down().await;
    }
}

// TP-2
#[tokio::test]
async fn a_busy_node_makes_strangers_prove_their_address_first() {
    let mut busy = Node::with(1, |config| config.unvalidated_handshakes = 0).await;
    let mut stranger = Node::new(2).await;
    connected(&mut stranger, &mut busy).await;
    assert_eq!(busy.endpoint.counters().retries, 1);
}

#[tokio::test]
async fn a_full_node_refuses_and_says_so() {
    let full = Node::with(1, |config| config.connections = 0).await;
    let mut stranger = Node::new(2).await;
    stranger.endpoint.dial(full.id, vec![full.addr], vec![]);
    assert!(matches!(stranger.next().await, Event::DialFailed { why: DialFault::Refused, .. }));
    assert_eq!(full.endpoint.counters().refused, 1);
}

// TP-12: the datagram of another asker, sent again from elsewhere.
#[tokio::test]
async fn a_replayed_request_is_not_served() {
    let asker = LocalKey::new(&SecretKey::from_bytes([1; 32]), 1);
    let mut server = Node::new(2).await;
    let unix_ms = std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_millis() as u64;
    let seal = |entropy, unix_ms| {
        let sealed = cs_transport::rpc::seal_request(&asker, &server.id, [entropy; 32], unix_ms, b"once", 0);
        sealed.expect("it fits").0
    };
    let (request, old) = (seal(1, unix_ms), seal(2, unix_ms - 3_600_000));
    let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for datagram in [&request, &request, &old] {
        socket.send_to(datagram, server.addr).await.unwrap();
    }
    match server.next().await {
        Event::Request { from, token, .. } => {
            assert_eq!(from, asker.node_id());
            server.endpoint.reply(token, Bytes::new());
        }
        other => panic!("a request was due, not {other:?}"),
    }
    // Two answers come: to the first request, and the server's clock to the hour-old one.
    for _ in 0..2 {
        let mut answer = [0; 1500];
        let received =
            tokio::time::timeout(PATIENCE, socket.recv(&mut answer)).await.expect("in time").unwrap();
        assert_eq!(answer[0], 0x81);
        assert!(received <= request.len());
    }
    let counters = server.endpoint.counters();
    assert_eq!((counters.requests, counters.replayed, counters.skewed), (1, 1, 1));
}

#[tokio::test]
async fn a_session_that_says_nothing_is_kept_alive() {
    let brief = |config: &mut EndpointConfig| {
        config.idle_timeout = Duration::from_secs(1);
        config.keep_alive = Duration::from_millis(200);
    };
    let (mut one, mut two) = (Node::with(1, brief).await, Node::with(2, brief).await);
    let (session, _) = connected(&mut one, &mut two).await;
    let other = Node::new(3).await;
    // Ten asks of 200 ms each without an answer: twice the idle time-out, in which only keep-alives pass.
    for _ in 0..10 {
        let silence = other.endpoint.rpc(one.id, two.addr, Bytes::new(), Duration::from_millis(200)).await;
        assert_eq!(silence, Err(RpcError::Timeout));
    }
    one.endpoint.send(session, Lane::Normal, Bytes::from_static(b"still here")).unwrap();
    assert_eq!(two.message().await.1[..], b"still here"[..]);
}

// TP-16
#[tokio::test]
async fn nodes_on_one_link_find_each_other_by_mdns() {
    let [one, two] = [41, 42].map(|seed| SecretKey::from_bytes([seed; 32]).node_id());
    let (Ok(mut listener), Ok(announcer)) =
        (LanDiscovery::start(one, None, &[]), LanDiscovery::start(two, Some(4242), &[("role", "test")]))
    else {
        println!("no mDNS on this machine: nothing to check");
        return;
    };
    let found = async {
        loop {
            match listener.recv().await.expect("discovery lives") {
                LanEvent::Found { peer, addrs, txt } if peer == two => return (addrs, txt),
                _ => {}
            }
        }
    };
    let Ok((addrs, txt)) = tokio::time::timeout(PATIENCE / 4, found).await else {
        println!("multicast does not pass on this machine: nothing to check");
        return;
    };
    assert!(!addrs.is_empty() && addrs.iter().all(|addr| addr.port() == 4242), "{addrs:?}");
    assert_eq!(txt.get("role").map(Vec::as_slice), Some(&b"test"[..]));
    drop(announcer);
    let lost = async { while listener.recv().await != Some(LanEvent::Lost { peer: two }) {} };
    tokio::time::timeout(PATIENCE, lost).await.expect("the farewell is heard");
}
