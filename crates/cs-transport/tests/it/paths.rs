//! Sessions with several paths, on real sockets of the loopback: signalled, opened, killed, and not noticed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use cs_identity::{NodeId, SecretKey};
use cs_transport::net::{
    DialFault, Event, How, Lane, Outcome, PathKind, PathReport, Relay, RelayConfig, RelayCredentials,
    RelayState, RelayTransport, SessionId, Via,
};
use cs_transport::turn::ServerConfig;
use tokio::net::UdpSocket;

use crate::stories::{Node, PATIENCE};

/// Here paths come and go beside what a test waits for.
impl Node {
    /// The next event that `pick` takes; others are passed over.
    async fn until<T>(&mut self, mut pick: impl FnMut(Event) -> Option<T>) -> T {
        let found = async {
            loop {
                let event = self.events.recv().await.expect("the endpoint lives");
                if let Some(found) = pick(event) {
                    return found;
                }
            }
        };
        tokio::time::timeout(PATIENCE, found).await.expect("in time")
    }

    async fn up_with(&mut self, with: NodeId) -> SessionId {
        self.until(|event| match event {
            Event::Up { session, peer, .. } if peer == with => Some(session),
            Event::DialFailed { why, .. } => panic!("the dial failed: {why}"),
            _ => None,
        })
        .await
    }

    async fn next_message(&mut self) -> Bytes {
        self.until(|event| match event {
            Event::Message { bytes, .. } => Some(bytes),
            Event::Down { why, .. } => panic!("the session ended: {why:?}"),
            _ => None,
        })
        .await
    }

    async fn path_changed(&mut self) -> PathReport {
        self.until(|event| match event {
            Event::PathChanged { report, .. } => Some(report),
            Event::Down { why, .. } => panic!("the session ended: {why:?}"),
            _ => None,
        })
        .await
    }

    /// Waits until a session's paths are as `expected` says; round trips to `other` tell the time.
    async fn paths_until(
        &self,
        session: SessionId,
        other: SocketAddr,
        expected: impl Fn(&[PathReport]) -> bool,
    ) -> Vec<PathReport> {
        let found = async {
            loop {
                let paths = self.endpoint.paths(session);
                if expected(&paths) {
                    return paths;
                }
                self.endpoint.observe(other, PATIENCE).await.expect("the other is alive");
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, found).await.expect("the paths come in time")
    }
}

async fn connect(from: &mut Node, to: &mut Node, addrs: Vec<SocketAddr>) -> (SessionId, SessionId) {
    from.endpoint.dial(to.id, addrs, vec![]);
    (from.up_with(to.id).await, to.up_with(from.id).await)
}

/// A road to a node that can be closed: what goes either way is forwarded, until it is.
struct Road {
    addr: SocketAddr,
    is_closed: Arc<AtomicBool>,
}

impl Road {
    async fn to(node: SocketAddr) -> Self {
        Self::between("127.0.0.1:0", node).await
    }

    async fn between(outside: &str, node: SocketAddr) -> Self {
        let outside = Arc::new(UdpSocket::bind(outside).await.expect("the loopback"));
        let (addr, is_closed) = (outside.local_addr().expect("bound"), Arc::new(AtomicBool::new(false)));
        let closed = is_closed.clone();
        tokio::spawn(async move {
            let inside = Arc::new(UdpSocket::bind("127.0.0.1:0").await.expect("the loopback"));
            let mut caller = None;
            let (mut there, mut back) = (vec![0; 65_536], vec![0; 65_536]);
            loop {
                tokio::select! {
                    received = outside.recv_from(&mut there) => {
                        let Ok((length, from)) = received else { continue };
                        caller = Some(from);
                        if !closed.load(Ordering::SeqCst) {
                            let _ = inside.send_to(&there[..length], node).await;
                        }
                    }
                    received = inside.recv_from(&mut back) => {
                        let (Ok((length, _)), Some(caller)) = (received, caller) else { continue };
                        if !closed.load(Ordering::SeqCst) {
                            let _ = outside.send_to(&back[..length], caller).await;
                        }
                    }
                }
            }
        });
        Self { addr, is_closed }
    }

    fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
    }
}

// TP-31
#[tokio::test]
async fn tp_31_two_nodes_without_addresses_meet_through_one_that_both_know() {
    let (mut hub, mut one, mut two) = (Node::new(61).await, Node::new(62).await, Node::new(63).await);
    let at_hub = vec![hub.addr];
    connect(&mut one, &mut hub, at_hub.clone()).await;
    connect(&mut two, &mut hub, at_hub).await;
    one.endpoint.dial(two.id, vec![], vec![Via { node: hub.id, addrs: vec![] }]);
    let (session, there) = (one.up_with(two.id).await, two.up_with(one.id).await);
    let paths = one.endpoint.paths(session);
    assert!(matches!(paths[..], [PathReport { how: How::Lan, in_use: true, .. }, ..]), "{paths:?}");
    assert_eq!(paths[0].addr, two.addr);
    let tried = one.endpoint.tried(two.id);
    assert!(tried.iter().any(|tried| matches!(tried.outcome, Outcome::Open { .. })), "{tried:?}");
    two.endpoint.send(there, Lane::Normal, Bytes::from_static(b"hello")).expect("it is up");
    assert_eq!(one.next_message().await, "hello");
    assert!(hub.endpoint.counters().signals_passed >= 2, "{:?}", hub.endpoint.counters());
}

#[tokio::test]
async fn tp_31_the_passing_node_is_dialled_if_there_is_no_session_with_it() {
    let (mut hub, mut one, mut two) = (Node::new(64).await, Node::new(65).await, Node::new(66).await);
    let at_hub = vec![hub.addr];
    connect(&mut two, &mut hub, at_hub.clone()).await;
    one.endpoint.dial(two.id, vec![], vec![Via { node: hub.id, addrs: at_hub }]);
    one.up_with(two.id).await;
    two.up_with(one.id).await;
}

#[tokio::test]
async fn tp_31_a_node_that_nobody_can_signal_is_not_found() {
    let (mut hub, mut one) = (Node::new(67).await, Node::new(68).await);
    let at_hub = vec![hub.addr];
    connect(&mut one, &mut hub, at_hub).await;
    let stranger = SecretKey::from_bytes([69; 32]).node_id();
    one.endpoint.dial(stranger, vec![], vec![Via { node: hub.id, addrs: vec![] }]);
    let why = one.until(|event| match event {
        Event::DialFailed { peer, why, .. } if peer == stranger => Some(why),
        _ => None,
    });
    assert_eq!(why.await, DialFault::NoAddress);
    assert_eq!(one.endpoint.counters().signals_lost, 1);
    assert_eq!(hub.endpoint.counters().signals_passed, 0);
}

// TP-38
#[tokio::test]
async fn tp_38_a_session_outlives_its_path_and_loses_nothing() {
    let (mut one, mut two) = (Node::new(70).await, Node::new(71).await);
    let (first, second) = (Road::to(two.addr).await, Road::to(two.addr).await);
    let (session, there) = connect(&mut one, &mut two, vec![first.addr]).await;
    two.endpoint.set_mapped(vec![second.addr]);
    one.endpoint.network_changed();
    let paths = one.paths_until(session, two.addr, |paths| paths.len() >= 2).await;
    assert_eq!((paths[0].addr, paths[0].how), (first.addr, How::Dialled), "{paths:?}");
    let count = 400u32;
    for number in 0..count / 2 {
        let bytes = Bytes::from(number.to_be_bytes().repeat(500));
        one.endpoint.send(session, Lane::Normal, bytes).expect("it is up");
    }
    first.close();
    for number in count / 2..count {
        let bytes = Bytes::from(number.to_be_bytes().repeat(500));
        one.endpoint.send(session, Lane::Normal, bytes).expect("it is up");
    }
    for number in 0..count {
        assert_eq!(two.next_message().await[..4], number.to_be_bytes());
    }
    two.endpoint.send(there, Lane::Urgent, Bytes::from_static(b"back")).expect("it is up");
    let report = one.path_changed().await;
    assert_ne!(report.addr, first.addr);
    assert_eq!(one.next_message().await, "back");
    assert!(one.endpoint.counters().paths_died >= 1);
    let paths = one.endpoint.paths(session);
    assert!(paths.iter().all(|path| path.addr != first.addr), "{paths:?}");
}

/// A relay that both address families reach, and two nodes that share none: what one says reaches the other over the relay
/// alone.
struct Apart {
    hub: Node,
    /// Speaks IPv6 alone.
    six: Node,
    /// Speaks IPv4 alone.
    four: Node,
}

impl Apart {
    /// `None` on a machine without IPv6.
    async fn new(seed: u8, transport: RelayTransport) -> Option<Self> {
        let six = SocketAddr::from(([0u16, 0, 0, 0, 0, 0, 0, 1], 0));
        let four = SocketAddr::from(([127, 0, 0, 1], 0));
        if std::net::UdpSocket::bind(six).is_err() {
            println!("no IPv6 on this machine: nothing to check");
            return None;
        }
        let mut hub = Node::with(seed, |config| {
            config.listen = vec![four, six];
            let limits = ServerConfig { allow_private: true, ..ServerConfig::default() };
            config.relay = Some(RelayConfig { tcp: vec![six], limits, ..RelayConfig::default() });
        })
        .await;
        let mut one = Node::with(seed + 1, |config| config.listen = vec![six]).await;
        let mut two = Node::with(seed + 2, |config| config.listen = vec![four]).await;
        let addrs = hub.endpoint.local_addrs();
        connect(&mut one, &mut hub, vec![addrs[1]]).await;
        connect(&mut two, &mut hub, vec![addrs[0]]).await;
        let addr = match transport {
            RelayTransport::Udp => addrs[1],
            RelayTransport::Tcp => hub.endpoint.relay_tcp_addrs()[0],
        };
        let credentials = RelayCredentials::Node(hub.id);
        one.endpoint.set_relays(vec![Relay { addr, transport, credentials }]);
        one.until(|event| match event {
            Event::NatChanged(report) => match report.relays.first()?.state {
                RelayState::Allocated { .. } => Some(()),
                RelayState::Idle | RelayState::Connecting => None,
                other => panic!("the relay must serve: {other:?}"),
            },
            _ => None,
        })
        .await;
        Some(Self { hub, six: one, four: two })
    }
}

async fn meets_over_a_relay(seed: u8, transport: RelayTransport) {
    let Some(Apart { hub, mut six, mut four }) = Apart::new(seed, transport).await else { return };
    six.endpoint.dial(four.id, vec![], vec![Via { node: hub.id, addrs: vec![] }]);
    let (session, there) = (six.up_with(four.id).await, four.up_with(six.id).await);
    let paths = six.endpoint.paths(session);
    assert!(matches!(paths[..], [PathReport { kind: PathKind::Relayed { .. }, .. }]), "{paths:?}");
    four.endpoint.send(there, Lane::Normal, Bytes::from(vec![7; 300_000])).expect("it is up");
    assert_eq!(six.next_message().await.len(), 300_000);
    let tried = six.endpoint.tried(four.id);
    assert!(tried.iter().any(|tried| tried.outcome == Outcome::NoSocket), "{tried:?}");
}

// TP-39
#[tokio::test]
async fn tp_39_nodes_that_share_no_address_family_meet_over_a_relay() {
    meets_over_a_relay(80, RelayTransport::Udp).await;
}

// TP-39
#[tokio::test]
async fn tp_39_a_relay_is_reached_over_tcp_where_udp_is_blocked() {
    meets_over_a_relay(84, RelayTransport::Tcp).await;
}

// TP-37, TP-38: the relay at once, the straight path as soon as it is there, and the relay again when that dies.
#[tokio::test]
async fn tp_38_a_straight_path_takes_over_from_a_relay_and_hands_back_when_it_dies() {
    let Some(Apart { hub, mut six, mut four }) = Apart::new(88, RelayTransport::Udp).await else { return };
    six.endpoint.dial(four.id, vec![], vec![Via { node: hub.id, addrs: vec![] }]);
    let (session, there) = (six.up_with(four.id).await, four.up_with(six.id).await);
    let road = Road::between("[::1]:0", four.addr).await;
    four.endpoint.set_mapped(vec![road.addr]);
    six.endpoint.network_changed();
    let report = six.path_changed().await;
    assert_eq!((report.addr, report.kind, report.how), (road.addr, PathKind::Direct, How::Mapped));
    for number in 0..100u32 {
        six.endpoint
            .send(session, Lane::Normal, Bytes::from(number.to_be_bytes().repeat(500)))
            .expect("it is up");
    }
    road.close();
    let closed = std::time::Instant::now();
    for number in 100..200u32 {
        six.endpoint
            .send(session, Lane::Normal, Bytes::from(number.to_be_bytes().repeat(500)))
            .expect("it is up");
    }
    let report = six.path_changed().await;
    println!("back on the relay after {:?}; round trip {:?}", closed.elapsed(), report.rtt);
    assert!(matches!(report.kind, PathKind::Relayed { .. }), "{report:?}");
    for number in 0..200u32 {
        assert_eq!(four.next_message().await[..4], number.to_be_bytes());
    }
    println!("all that was under way arrived after {:?}", closed.elapsed());
    four.endpoint.send(there, Lane::Urgent, Bytes::from_static(b"back")).expect("it is up");
    assert_eq!(six.next_message().await, "back");
}
