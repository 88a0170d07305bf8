//! The server against this crate's own client; `tests/net` has it against programs of others.

use super::*;
use crate::stun::{Credentials, HEADER};
use crate::turn::{Client, ClientConfig, Event, NotPermitted, client};

const NOW: Duration = Duration::new(77_777, 777);

fn user(name: &str) -> Credentials {
    Credentials::new(name, "pass").expect("they are short")
}

fn relay_ip() -> IpAddr {
    "50.0.0.10".parse().expect("an address")
}

fn tuple(host: u8, port: u16, transport: Transport) -> FiveTuple {
    FiveTuple { transport, local: ([50, 0, 0, 10], 3478).into(), remote: ([50, 0, 1, host], port).into() }
}

/// A server, its clients, and the sockets that it was given.
struct World {
    server: Server,
    now: Duration,
    clients: Vec<(FiveTuple, Client, Vec<Event>)>,
    sockets: Vec<(AllocationId, SocketAddr)>,
    closed: Vec<AllocationId>,
    /// What clients got from peers, and peers from clients.
    to_clients: Vec<(usize, SocketAddr, Vec<u8>)>,
    to_peers: Vec<(SocketAddr, SocketAddr, Vec<u8>)>,
}

impl World {
    fn new(config: ServerConfig) -> Self {
        let users = ["ann", "bob"].map(user).into();
        let mut server = Server::new(config, Accounts { users, ..Accounts::default() }, [9; 32]);
        server.set_own([relay_ip()]);
        let (clients, sockets, closed) = (Vec::new(), Vec::new(), Vec::new());
        Self { server, now: NOW, clients, sockets, closed, to_clients: Vec::new(), to_peers: Vec::new() }
    }

    /// A client that has asked for an allocation, and what came of it.
    fn join(&mut self, name: &str, tuple: FiveTuple) -> (usize, Event) {
        let seed = [self.clients.len() as u8 + 1; 32];
        let client = Client::new(ClientConfig::new(user(name), tuple.transport), seed);
        self.clients.push((tuple, client, Vec::new()));
        let index = self.clients.len() - 1;
        self.clients[index].1.start(self.now);
        self.settle();
        if self.clients[index].2.is_empty() {
            self.run(self.now + Duration::from_secs(10));
        }
        (index, self.clients[index].2.pop().expect("an outcome"))
    }

    fn relayed(&self, index: usize) -> SocketAddr {
        let id = self.server.table.id_of(&self.clients[index].0).expect("an allocation");
        self.sockets.iter().find(|(of, _)| *of == id).expect("a socket").1
    }

    fn client(&mut self, index: usize) -> &mut Client {
        &mut self.clients[index].1
    }

    fn events(&mut self, index: usize) -> Vec<Event> {
        core::mem::take(&mut self.clients[index].2)
    }

    fn client_says(&mut self, index: usize, bytes: &[u8]) -> Result<(), PeerFault> {
        let tuple = self.clients[index].0;
        if let Some(to) = self.server.handle_input(self.now, tuple, bytes)? {
            let from = self.sockets.iter().find(|(of, _)| *of == to.allocation).expect("a socket").1;
            self.to_peers.push((from, to.peer, to.bytes.to_vec()));
        }
        Ok(())
    }

    fn say(&mut self, index: usize, peer: SocketAddr, data: &[u8]) -> Result<(), NotPermitted> {
        let mut out = Vec::new();
        self.client(index).wrap(&mut out, peer, data)?;
        let _ = self.client_says(index, &out);
        self.settle();
        Ok(())
    }

    /// A peer sends to a client's relayed address. Whether it went on.
    fn hear(&mut self, index: usize, peer: SocketAddr, data: &[u8]) -> bool {
        let id = self.server.table.id_of(&self.clients[index].0).expect("an allocation");
        let mut out = Vec::new();
        let Some(to) = self.server.handle_peer(self.now, id, peer, data, &mut out) else { return false };
        self.client_hears(to, &out);
        true
    }

    fn client_hears(&mut self, to: FiveTuple, bytes: &[u8]) {
        let Some(index) = self.clients.iter().position(|(tuple, ..)| *tuple == to) else { return };
        match self.clients[index].1.handle_input(self.now, bytes) {
            Ok(Some(data)) => self.to_clients.push((index, data.peer, data.bytes.to_vec())),
            Ok(None) => {}
            Err(fault) => panic!("an honest server: {fault:?}"),
        }
    }

    fn settle(&mut self) {
        loop {
            let mut moved = false;
            for index in 0..self.clients.len() {
                while let Some(output) = self.clients[index].1.poll_output() {
                    moved = true;
                    match output {
                        client::Output::Send(bytes) => {
                            self.client_says(index, &bytes).expect("an honest client")
                        }
                        client::Output::Event(event) => self.clients[index].2.push(event),
                    }
                }
            }
            while let Some(output) = self.server.poll_output() {
                moved = true;
                match output {
                    Output::Send { to, bytes } => self.client_hears(to, &bytes),
                    Output::Bind { allocation, family, .. } => {
                        let bound = SocketAddr::new(relay_ip(), 50_000 + self.sockets.len() as u16);
                        self.sockets.push((allocation, bound));
                        let bound = if family == Family::V4 { Ok(bound) } else { Err(BindFault::Family) };
                        self.server.handle_bound(self.now, allocation, bound);
                    }
                    Output::Close(id) => self.closed.push(id),
                }
            }
            if !moved {
                return;
            }
        }
    }

    /// Time passes, and every timer runs.
    fn run(&mut self, until: Duration) {
        loop {
            let clients = self.clients.iter().filter_map(|(_, client, _)| client.poll_timeout());
            let next = clients.chain(self.server.poll_timeout()).min();
            let Some(at) = next.filter(|at| *at <= until) else { break };
            self.now = at;
            self.server.handle_timeout(at);
            self.clients.iter_mut().for_each(|(_, client, _)| client.handle_timeout(at));
            self.settle();
        }
        self.now = until;
    }
}

fn peer(host: u8) -> SocketAddr {
    ([50, 0, 2, host], 4433).into()
}

fn is_allocated(event: Event) -> bool {
    matches!(event, Event::Allocated { .. })
}

#[test]
fn tp_24_a_client_with_an_account_is_given_an_address_and_one_without_is_not() {
    let mut world = World::new(ServerConfig::default());
    let tuple = tuple(1, 5000, Transport::Udp);
    let (ann, event) = world.join("ann", tuple);
    let lifetime = Duration::from_secs(600);
    assert_eq!(event, Event::Allocated { relayed: world.relayed(ann), mapped: tuple.remote, lifetime });
    let (_, event) = world.join("eve", FiveTuple { remote: ([50, 0, 1, 2], 1).into(), ..tuple });
    assert_eq!(event, Event::Refused(401));
    assert_eq!(world.server.counters().allocations, 1);
}

#[test]
fn tp_24_a_stranger_gets_at_most_56_bytes_and_no_more_than_twice_what_was_sent() {
    let mut world = World::new(ServerConfig::default());
    let from = tuple(1, 5000, Transport::Udp);
    let requests = [
        Builder::new(Class::Request, Method::ALLOCATE, [1; 12])
            .attribute(AttributeKind::REQUESTED_TRANSPORT, &[17, 0, 0, 0])
            .finish(),
        Builder::new(Class::Request, Method::ALLOCATE, [1; 12]).integrity(b"key").finish(),
        Builder::new(Class::Request, Method::BINDING, [1; 12]).finish(),
    ];
    for (request, expected) in requests.iter().zip([56, 28, 32]) {
        world.server.handle_input(NOW, from, request).expect("it is well formed");
        let Some(Output::Send { bytes, .. }) = world.server.poll_output() else { panic!("no answer") };
        assert_eq!(bytes.len(), expected);
        assert!(bytes.len() <= 2 * request.len());
        assert_eq!(world.server.poll_output(), None);
    }
    let bare = Builder::new(Class::Request, Method::REFRESH, [1; 12]).finish();
    assert_eq!(bare.len(), HEADER);
}

#[test]
fn tp_25_data_passes_both_ways_to_permitted_peers_alone() {
    for transport in [Transport::Udp, Transport::Tcp] {
        let mut world = World::new(ServerConfig::default());
        let (ann, _) = world.join("ann", tuple(1, 5000, transport));
        assert!(!world.hear(ann, peer(1), b"too early"));
        world.client(ann).permit(NOW, peer(1).ip()).expect("there is room");
        world.settle();
        assert_eq!(world.events(ann), [Event::Permitted(peer(1).ip())]);
        assert!(world.hear(ann, peer(1), b"one"));
        assert!(!world.hear(ann, peer(2), b"another"));
        world.say(ann, peer(1), b"two").expect("it is permitted");
        world.client(ann).bind(NOW, peer(1)).expect("there is room");
        world.settle();
        assert!(world.hear(ann, peer(1), b"three"));
        world.say(ann, peer(1), b"four").expect("it is bound");
        let relayed = world.relayed(ann);
        let heard = [b"one".to_vec(), b"three".to_vec()].map(|data| (ann, peer(1), data));
        let said = [b"two".to_vec(), b"four".to_vec()].map(|data| (relayed, peer(1), data));
        assert_eq!((&world.to_clients[..], &world.to_peers[..]), (&heard[..], &said[..]));
        let counters = world.server.counters();
        assert_eq!((counters.relayed, counters.relayed_bytes, counters.not_permitted), (4, 15, 2));
    }
}

#[test]
fn tp_25_nothing_is_sent_into_the_relays_own_network() {
    let mut world = World::new(ServerConfig::default());
    let (ann, _) = world.join("ann", tuple(1, 5000, Transport::Udp));
    for ip in ["127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.169.254", "224.0.0.1"] {
        let ip = ip.parse::<IpAddr>().expect("an address");
        world.client(ann).permit(NOW, ip).expect("the client leaves it to the server");
        world.client(ann).bind(NOW, SocketAddr::new(ip, 4433)).expect("the client leaves it to the server");
        world.settle();
        let peer = SocketAddr::new(ip, 4433);
        let refused = [Event::NotPermitted { ip, code: 403 }, Event::NotBound { peer, code: 403 }];
        assert_eq!(world.events(ann), refused);
    }
    // A service of a host that may be talked with otherwise.
    world.client(ann).permit(NOW, peer(1).ip()).expect("there is room");
    world.settle();
    let dns = SocketAddr::new(peer(1).ip(), 53);
    world.say(ann, dns, b"query").expect("the client leaves it to the server");
    assert!(world.to_peers.is_empty());
    let private = ServerConfig { allow_private: true, ..ServerConfig::default() };
    let mut world = World::new(private);
    let (ann, _) = world.join("ann", tuple(1, 5000, Transport::Udp));
    world.client(ann).permit(NOW, "10.0.0.1".parse().expect("an address")).expect("there is room");
    world.settle();
    world.say(ann, ([10, 0, 0, 1], 53).into(), b"query").expect("it is permitted");
    assert_eq!(world.to_peers.len(), 1);
}

#[test]
fn tp_25_two_clients_of_one_relay_reach_each_other_and_nothing_else_on_it() {
    let mut world = World::new(ServerConfig::default());
    let (ann, _) = world.join("ann", tuple(1, 5000, Transport::Tcp));
    let (bob, _) = world.join("bob", tuple(2, 5000, Transport::Tcp));
    let (at_ann, at_bob) = (world.relayed(ann), world.relayed(bob));
    for index in [ann, bob] {
        world.client(index).permit(NOW, relay_ip()).expect("there is room");
    }
    world.settle();
    world.say(ann, at_bob, b"hello").expect("it is permitted");
    assert_eq!(world.to_clients, [(bob, at_ann, b"hello".to_vec())]);
    // The relay's own sockets are not among its allocations.
    world.say(ann, SocketAddr::new(relay_ip(), 3478), b"hello").expect("the client cannot know");
    assert!(world.to_peers.is_empty());
    assert_eq!(world.server.counters().not_permitted, 1);
}

#[test]
fn tp_25_the_node_behind_the_relay_is_reached_at_its_own_port_alone() {
    let mut world = World::new(ServerConfig::default());
    world.server.set_own_ports([4040]);
    let (ann, _) = world.join("ann", tuple(1, 5000, Transport::Tcp));
    world.client(ann).permit(NOW, relay_ip()).expect("there is room");
    world.settle();
    let [node, other] = [4040, 4041].map(|port| SocketAddr::new(relay_ip(), port));
    world.say(ann, other, b"hello").expect("the client cannot know");
    world.say(ann, node, b"hello").expect("it is permitted");
    assert_eq!(world.to_peers, [(world.relayed(ann), node, b"hello".to_vec())]);
    let relayed = world.relayed(ann);
    assert!(world.server.is_relayed(relayed) && !world.server.is_relayed(node));
}

#[test]
fn tp_26_allocations_are_bounded_per_user_per_source_and_in_all() {
    let config = ServerConfig {
        allocations_max: 5,
        allocations_per_user_max: 2,
        allocations_per_source_max: 3,
        ..ServerConfig::default()
    };
    let mut world = World::new(config);
    let outcomes = [("ann", 1), ("ann", 1), ("ann", 1), ("bob", 1), ("bob", 1)].map(|(name, host)| {
        let port = 5000 + world.clients.len() as u16;
        world.join(name, tuple(host, port, Transport::Udp)).1
    });
    let codes = outcomes.map(|event| if let Event::Refused(code) = event { code } else { 0 });
    assert_eq!(codes, [0, 0, 486, 0, 486], "two of one user, three of one address");
    assert!(is_allocated(world.join("bob", tuple(2, 1, Transport::Udp)).1));
    // A third user, and the table is full.
    world.server.accounts.users.push(user("cid"));
    assert!(is_allocated(world.join("cid", tuple(3, 1, Transport::Udp)).1));
    assert_eq!(world.join("cid", tuple(3, 2, Transport::Udp)).1, Event::Refused(508));
    // What ends makes room.
    world.client(0).close(NOW);
    world.settle();
    assert!(is_allocated(world.join("ann", tuple(4, 1, Transport::Udp)).1));
    assert_eq!(world.closed.len(), 1);
}

#[test]
fn tp_26_an_allocation_passes_no_more_than_its_rate_and_all_together_no_more_than_theirs() {
    let config = ServerConfig {
        bytes_per_second: 1000,
        burst_bytes: 1000,
        bytes_per_second_in_all: 1500,
        ..ServerConfig::default()
    };
    let mut world = World::new(config);
    let both =
        [("ann", 1), ("bob", 2)].map(|(name, host)| world.join(name, tuple(host, 1, Transport::Udp)).0);
    for index in both {
        world.client(index).permit(NOW, peer(1).ip()).expect("there is room");
    }
    world.settle();
    let passed = both.map(|index| (0..20).filter(|_| world.hear(index, peer(1), &[0; 100])).count());
    assert_eq!(passed, [10, 5]);
    assert_eq!(world.server.counters().too_fast, 25);
    world.now += Duration::from_millis(500);
    assert_eq!((0..20).filter(|_| world.hear(both[0], peer(1), &[0; 100])).count(), 5);
    world.say(both[0], peer(1), &[0; 100]).expect("it is permitted");
    assert!(world.to_peers.is_empty(), "both ways share the rate");
}

#[test]
fn tp_26_peers_of_one_allocation_are_bounded() {
    let config = ServerConfig { peers_per_allocation_max: 3, ..ServerConfig::default() };
    let mut world = World::new(config);
    let (ann, _) = world.join("ann", tuple(1, 1, Transport::Udp));
    for host in 1..=4 {
        world.client(ann).permit(NOW, peer(host).ip()).expect("there is room here");
    }
    world.settle();
    let refused = Event::NotPermitted { ip: peer(4).ip(), code: 508 };
    assert_eq!(world.events(ann).last(), Some(&refused));
    assert!(world.hear(ann, peer(3), b"hi") && !world.hear(ann, peer(4), b"hi"));
}

#[test]
fn tp_27_an_hour_later_everything_is_still_there_for_who_refreshes_it() {
    let mut world = World::new(ServerConfig::default());
    let (ann, _) = world.join("ann", tuple(1, 1, Transport::Udp));
    world.client(ann).permit(NOW, peer(1).ip()).expect("there is room");
    world.client(ann).bind(NOW, peer(2)).expect("there is room");
    world.settle();
    world.events(ann);
    world.run(NOW + Duration::from_secs(3601));
    assert_eq!(world.events(ann), []);
    assert!(world.hear(ann, peer(1), b"hi") && world.hear(ann, peer(2), b"hi"));
    world.say(ann, peer(2), b"hi").expect("it is bound");
    assert_eq!(world.to_peers.len(), 1);
    assert!(world.server.counters().challenged > 5, "nonces grew stale and were renewed");
}

#[test]
fn tp_27_what_is_not_refreshed_ends_in_its_time() {
    let mut world = World::new(ServerConfig::default());
    let (ann, _) = world.join("ann", tuple(1, 1, Transport::Udp));
    world.client(ann).permit(NOW, peer(1).ip()).expect("there is room");
    world.client(ann).bind(NOW, peer(2)).expect("there is room");
    world.settle();
    let second = Duration::from_secs(1);
    world.now = NOW + 300 * second - Duration::from_nanos(1);
    assert!(world.hear(ann, peer(1), b"hi") && world.hear(ann, peer(2), b"hi"));
    world.now = NOW + 300 * second;
    assert!(!world.hear(ann, peer(1), b"hi") && !world.hear(ann, peer(2), b"hi"), "permissions end first");
    world.server.handle_timeout(NOW + 600 * second - Duration::from_nanos(1));
    assert_eq!(world.server.counters().allocations, 1);
    world.server.handle_timeout(NOW + 600 * second);
    assert_eq!(world.server.counters().allocations, 0);
    assert!(matches!(world.server.poll_output(), Some(Output::Close(_))));
    // The client sleeps that long, and is told.
    world.clients[ann].1.handle_timeout(NOW + 700 * second);
    world.settle();
    assert_eq!(world.events(ann).last(), Some(&Event::Lost(client::Loss::Expired)));
}

#[test]
fn tp_27_a_closed_or_broken_connection_takes_its_allocation_with_it() {
    let mut world = World::new(ServerConfig::default());
    let (ann, _) = world.join("ann", tuple(1, 1, Transport::Tcp));
    let (bob, _) = world.join("bob", tuple(2, 1, Transport::Tcp));
    world.client(ann).close(NOW);
    world.settle();
    assert_eq!(world.events(ann), [Event::Closed]);
    let gone = world.clients[bob].0;
    world.server.handle_gone(NOW, gone);
    world.settle();
    assert_eq!((world.closed.len(), world.server.counters().allocations), (2, 0));
}

/// A signed request, as a client of any make could send it.
fn ask(
    world: &mut World,
    from: FiveTuple,
    method: Method,
    attributes: &[(AttributeKind, Vec<u8>)],
) -> Option<u16> {
    let (now, realm) = (world.now, b"cosync");
    let nonce = world.server.nonces.make(now, &from);
    let builder =
        attributes.iter().fold(Builder::new(Class::Request, method, [5; 12]), |builder, (kind, value)| {
            builder.attribute(*kind, value)
        });
    let builder = builder
        .attribute(AttributeKind::USERNAME, b"ann")
        .attribute(AttributeKind::REALM, realm)
        .attribute(AttributeKind::NONCE, &nonce);
    let key = user("ann").key(realm, crate::stun::PasswordAlgorithm::Md5);
    world.server.handle_input(now, from, &key.protect(builder).finish()).expect("it is well formed");
    let Some(Output::Send { bytes, .. }) = world.server.poll_output() else { return None };
    let answer = Message::from_bytes(&bytes).expect("our own answer");
    assert_eq!(key.verify(&answer), Some(true), "what is refused to a proven user is signed");
    let code = answer.attribute(AttributeKind::ERROR_CODE).map(|attribute| attribute.error_code());
    Some(code.map_or(0, |code| code.expect("our own code")))
}

#[test]
fn tp_24_every_wish_that_cannot_be_met_has_its_code() {
    let mut world = World::new(ServerConfig::default());
    let from = tuple(1, 1, Transport::Udp);
    let udp = (AttributeKind::REQUESTED_TRANSPORT, vec![17, 0, 0, 0]);
    let with = |kind, value: &[u8]| vec![udp.clone(), (kind, value.to_vec())];
    let cases = [
        (vec![], 400),
        (vec![(AttributeKind::REQUESTED_TRANSPORT, vec![6, 0, 0, 0])], 442),
        (with(AttributeKind::EVEN_PORT, &[0x80]), 508),
        (with(AttributeKind::RESERVATION_TOKEN, &[0; 8]), 508),
        (with(AttributeKind::REQUESTED_ADDRESS_FAMILY, &[3, 0, 0, 0]), 440),
        (with(AttributeKind(0x7abc), &[]), 420),
        (with(AttributeKind::LIFETIME, &[1]), 400),
    ];
    for (attributes, code) in cases {
        assert_eq!(ask(&mut world, from, Method::ALLOCATE, &attributes), Some(code), "{attributes:?}");
    }
    for method in [Method::REFRESH, Method::CREATE_PERMISSION, Method::CHANNEL_BIND] {
        let address = encode_xor_address(peer(1), &[5; 12]);
        let number = (AttributeKind::CHANNEL_NUMBER, vec![0x40, 0, 0, 0]);
        let attributes = [number, (AttributeKind::XOR_PEER_ADDRESS, address)];
        let attributes = if method == Method::REFRESH { &[][..] } else { &attributes[..] };
        let attributes = if method == Method::CREATE_PERMISSION { &attributes[1..] } else { attributes };
        // A channel number in a request for permissions would be skipped too: it is known.
        assert_eq!(ask(&mut world, from, method, attributes), Some(437), "{method:?}");
    }
    // An IPv6 address where there is none: known when the socket is to be bound.
    assert_eq!(
        ask(
            &mut world,
            from,
            Method::ALLOCATE,
            &with(AttributeKind::REQUESTED_ADDRESS_FAMILY, &[2, 0, 0, 0])
        ),
        None
    );
}

#[test]
fn tp_24_a_repeated_request_gets_the_same_answer_and_another_one_is_refused() {
    let mut world = World::new(ServerConfig::default());
    let from = tuple(1, 1, Transport::Udp);
    let udp = [(AttributeKind::REQUESTED_TRANSPORT, vec![17, 0, 0, 0])];
    // The first asks for a socket, and its repeat while that is bound for nothing.
    assert_eq!(ask(&mut world, from, Method::ALLOCATE, &udp), None);
    assert_eq!(ask(&mut world, from, Method::ALLOCATE, &udp), None);
    assert_eq!(world.server.poll_output(), None);
    let id = world.server.table.id_of(&from).expect("it is pending");
    world.server.handle_bound(NOW, id, Ok(([50, 0, 0, 10], 50_000).into()));
    let first = world.server.poll_output();
    assert_eq!(ask(&mut world, from, Method::ALLOCATE, &udp), Some(0));
    assert!(matches!(first, Some(Output::Send { .. })));
    assert_eq!(world.server.counters().allocations, 1);
    let (_, event) = world.join("bob", from);
    assert_eq!(event, Event::Refused(437), "the port is another user's, who alone may clear it");
}

#[test]
fn tp_24_requests_in_anothers_allocation_are_refused() {
    let mut world = World::new(ServerConfig::default());
    let from = tuple(1, 1, Transport::Udp);
    let (_, event) = world.join("bob", from);
    assert!(is_allocated(event));
    let nonce = world.server.nonces.make(NOW, &from);
    let key = user("ann").key(b"cosync", crate::stun::PasswordAlgorithm::Md5);
    let builder = Builder::new(Class::Request, Method::REFRESH, [5; 12])
        .attribute(AttributeKind::LIFETIME, &[0; 4])
        .attribute(AttributeKind::USERNAME, b"ann")
        .attribute(AttributeKind::REALM, b"cosync")
        .attribute(AttributeKind::NONCE, &nonce);
    world.server.handle_input(NOW, from, &key.protect(builder).finish()).expect("it is well formed");
    let Some(Output::Send { bytes, .. }) = world.server.poll_output() else { panic!("no answer") };
    let answer = Message::from_bytes(&bytes).expect("our own answer");
    let code = answer.attribute(AttributeKind::ERROR_CODE).map(|attribute| attribute.error_code());
    assert_eq!(code, Some(Ok(441)));
    assert_eq!(world.server.counters().allocations, 1);
}

#[test]
fn tp_24_a_channel_stands_for_one_peer_and_a_peer_has_one_channel() {
    let mut world = World::new(ServerConfig::default());
    let from = tuple(1, 1, Transport::Udp);
    world.join("ann", from);
    let bind = |world: &mut World, number: u16, peer: SocketAddr| {
        let [high, low] = number.to_be_bytes();
        let address = (AttributeKind::XOR_PEER_ADDRESS, encode_xor_address(peer, &[5; 12]));
        ask(
            world,
            from,
            Method::CHANNEL_BIND,
            &[(AttributeKind::CHANNEL_NUMBER, vec![high, low, 0, 0]), address],
        )
    };
    assert_eq!(bind(&mut world, 0x4001, peer(1)), Some(0));
    assert_eq!(bind(&mut world, 0x4001, peer(1)), Some(0), "again, to keep it");
    assert_eq!(bind(&mut world, 0x4001, peer(2)), Some(400));
    assert_eq!(bind(&mut world, 0x4002, peer(1)), Some(400));
    for number in [0x3fff, 0x8000, 0] {
        assert_eq!(bind(&mut world, number, peer(3)), Some(400));
    }
    world.now += Duration::from_secs(599);
    assert_eq!(bind(&mut world, 0x4001, peer(2)), Some(400));
    let later = world.now + Duration::from_secs(1);
    world.server.handle_timeout(later - Duration::from_secs(1));
    world.now = later;
    // The allocation would have ended too; it is refreshed at the last moment.
    assert_eq!(world.server.counters().allocations, 1);
    assert_eq!(bind(&mut world, 0x4001, peer(2)), Some(0));
}
