//! Our sessions: bare, as QUIC with the Noise handshake, and whole, as endpoints.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use cs_identity::{NodeId, SecretKey};
use cs_transport::LocalKey;
use cs_transport::net::{Endpoint, EndpointConfig, Event, Events, Lane, SessionId};
use cs_transport::quic::{ClientCrypto, Entropy, QUIC_VERSION, ResetKey, ServerCrypto, TokenKey};

use crate::tls::loopback;

pub(crate) fn chance<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has chance");
    bytes
}

fn entropy() -> Entropy {
    Arc::new(chance)
}

pub(crate) fn fresh_key() -> Arc<LocalKey> {
    Arc::new(LocalKey::new(&SecretKey::from_bytes(chance()), 4096))
}

fn unix_ms() -> u64 {
    std::time::UNIX_EPOCH.elapsed().expect("after 1970").as_millis() as u64
}

/// noq with our handshake and nothing else of ours: the same settings as the peer's.
pub(crate) fn bare_server() -> (noq::Endpoint, NodeId) {
    let local = fresh_key();
    let id = local.node_id();
    let crypto = ServerCrypto::new(local, 1, entropy()).with_early(Arc::new(|_| true));
    let mut config = noq::ServerConfig::new(Arc::new(crypto), Arc::new(TokenKey::new(chance())));
    let mut transport = noq::TransportConfig::default();
    // Early data needs an acceptor that reports addresses.
    transport.send_observed_address_reports(true).receive_observed_address_reports(true);
    config.transport_config(Arc::new(transport));
    (bare(Some(config)), id)
}

pub(crate) fn bare_client() -> noq::Endpoint {
    bare(None)
}

fn bare(server: Option<noq::ServerConfig>) -> noq::Endpoint {
    let socket = std::net::UdpSocket::bind(loopback()).expect("the loopback is there");
    let mut config = noq::EndpointConfig::new(Arc::new(ResetKey::new(chance())));
    config.supported_versions(vec![QUIC_VERSION]);
    noq::Endpoint::new(config, server, socket, Arc::new(noq::TokioRuntime)).expect("a socket was given")
}

/// Dials with this key. `early`: with early data.
pub(crate) fn bare_config(local: Arc<LocalKey>, early: bool) -> noq::ClientConfig {
    let crypto = ClientCrypto::new(local, 1, entropy());
    let crypto = if early { crypto.with_early(Arc::new(unix_ms)) } else { crypto };
    let mut config = noq::ClientConfig::new(Arc::new(crypto));
    config.version(QUIC_VERSION);
    config
}

pub(crate) async fn bare_connect(
    client: &noq::Endpoint,
    config: &noq::ClientConfig,
    peer: NodeId,
    address: SocketAddr,
) -> noq::Connection {
    let connecting = client.connect_with(config.clone(), address, &peer.to_string()).expect("a valid name");
    connecting.await.expect("the server accepts")
}

/// A node on the loopback with a fresh key.
pub(crate) async fn node(change: impl FnOnce(&mut EndpointConfig)) -> (Endpoint, Events) {
    let mut config = EndpointConfig::new(SecretKey::from_bytes(chance()));
    config.listen = vec![loopback()];
    change(&mut config);
    Endpoint::bind(config).await.expect("the loopback is there")
}

/// A session of `endpoint` with the node at `address`.
pub(crate) async fn session(
    endpoint: &Endpoint,
    events: &mut Events,
    peer: NodeId,
    address: SocketAddr,
) -> SessionId {
    endpoint.dial(peer, vec![address], vec![]);
    loop {
        match events.recv().await.expect("the endpoint lives") {
            Event::Up { session, .. } => return session,
            Event::AddressObserved { .. } => {}
            other => panic!("a session was due, not {other:?}"),
        }
    }
}

/// Answers what is asked, whichever way: each urgent message comes back, and a byte for each megabyte in bulk.
pub(crate) async fn serve(endpoint: Endpoint, mut events: Events) {
    let mut unanswered = 0;
    while let Some(event) = events.recv().await {
        match event {
            Event::Message { session, lane: Lane::Urgent, bytes } => {
                let _ = endpoint.send(session, Lane::Urgent, bytes);
            }
            Event::Message { session, bytes, .. } => {
                unanswered += bytes.len();
                if unanswered >= 1 << 20 {
                    unanswered -= 1 << 20;
                    let _ = endpoint.send(session, Lane::Control, Bytes::from_static(b"+"));
                }
            }
            Event::Request { bytes, token, .. } => endpoint.reply(token, bytes),
            _ => {}
        }
    }
}

/// Sends `total` bytes (whole megabytes) on one lane, until the peer has told that they arrived.
pub(crate) async fn send(
    endpoint: &Endpoint,
    events: &mut Events,
    session: SessionId,
    lane: Lane,
    total: usize,
) {
    const MESSAGE: usize = 256 << 10;
    let message = Bytes::from(vec![7; MESSAGE]);
    let (mut sent, mut arrived) = (0, 0);
    while arrived < total {
        while sent < total && sent - arrived < 16 << 20 {
            endpoint.send(session, lane, message.clone()).expect("the session lives");
            sent += MESSAGE;
        }
        if let Event::Message { .. } = events.recv().await.expect("the endpoint lives") {
            arrived += 1 << 20;
        }
    }
}

/// Asks `total` questions by messages, `at_once` at a time.
pub(crate) async fn ask_many(
    endpoint: &Endpoint,
    events: &mut Events,
    session: SessionId,
    total: usize,
    at_once: usize,
) {
    let question = Bytes::from_static(&[1; crate::stack::SMALL]);
    let (mut asked, mut answered) = (0, 0);
    while answered < total {
        while asked < total && asked - answered < at_once {
            endpoint.send(session, Lane::Urgent, question.clone()).expect("the session lives");
            asked += 1;
        }
        if let Event::Message { .. } = events.recv().await.expect("the endpoint lives") {
            answered += 1;
        }
    }
}
