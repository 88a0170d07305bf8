//! Real endpoints on the loopback.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use cs_identity::{NodeId, SecretKey};
use cs_transport::net::{
    DialFault, Endpoint, EndpointConfig, Event, Events, Lane, RpcError, SessionEnd, SessionId,
};

/// Far above what anything here takes; only a failure waits this long.
const PATIENCE: Duration = Duration::from_secs(20);

struct Node {
    endpoint: Endpoint,
    events: Events,
    id: NodeId,
    addr: SocketAddr,
}

impl Node {
    async fn new(seed: u8) -> Self {
        Self::with(seed, |_| {}).await
    }

    async fn with(seed: u8, change: impl FnOnce(&mut EndpointConfig)) -> Self {
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
    async fn next(&mut self) -> Event {
        loop {
            let event = tokio::time::timeout(PATIENCE, self.events.recv()).await;
            match event.expect("an event in time").expect("the endpoint lives") {
                Event::AddressObserved { .. } => {}
                event => return event,
            }
        }
    }

    async fn up(&mut self) -> (SessionId, NodeId, [u8; 32]) {
        match self.next().await {
            Event::Up { session, peer, exporter, .. } => (session, peer, exporter),
            other => panic!("a session was due, not {other:?}"),
        }
    }

    async fn message(&mut self) -> (Lane, Bytes) {
        match self.next().await {
            Event::Message { lane, bytes, .. } => (lane, bytes),
            other => panic!("a message was due, not {other:?}"),
        }
    }

    async fn down(&mut self) -> SessionEnd {
        match self.next().await {
            Event::Down { why, .. } => why,
            other => panic!("an end was due, not {other:?}"),
        }
    }
}

async fn pair() -> (Node, Node) {
    let (one, two) = (Node::new(1).await, Node::new(2).await);
    // The first of the pair has the lower ID, which decides.
    if one.id < two.id { (one, two) } else { (two, one) }
}

async fn connected(from: &mut Node, to: &mut Node) -> (SessionId, SessionId) {
    from.endpoint.dial(to.id, vec![to.addr]);
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
    low.endpoint.close(low_session, 7);
    assert_eq!(low.down().await, SessionEnd::ClosedHere(7));
    assert_eq!(high.down().await, SessionEnd::ClosedByPeer(7));
    assert!(low.endpoint.send(low_session, Lane::Normal, Bytes::new()).is_err());
}

#[tokio::test]
async fn the_higher_id_may_dial_too() {
    let (mut low, mut high) = pair().await;
    connected(&mut high, &mut low).await;
}
