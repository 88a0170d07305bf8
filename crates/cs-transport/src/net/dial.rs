//! Dialling one node at many addresses.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::Arc;

use cs_identity::NodeId;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use noq::{ConnectError, Connection, ConnectionError, PathId};
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use super::connection;
use super::endpoint::Shared;
use super::event::{DialFault, DialId, Event};
use super::report::{CandidateKind, Outcome};

/// Addresses tried per dial.
const ADDRESSES_MAX: usize = 16;
/// Between the starts of two attempts (RFC 8305 section 5 suggests 250 ms for TCP): later addresses get their chance
/// before a silent one has timed out.
const STAGGER: Duration = Duration::from_millis(50);
/// How long a connection that the peer set aside waits for the one that it chose instead.
const DECISION: Duration = Duration::from_secs(5);

/// Dials until a session is there (which drops `cancel`'s other end) or nothing is left to try.
pub(crate) async fn run(
    shared: Arc<Shared>,
    dial: DialId,
    peer: NodeId,
    addrs: Vec<SocketAddr>,
    mut cancelled: oneshot::Receiver<()>,
) {
    let why = tokio::select! {
        _ = &mut cancelled => return,
        why = attempt(&shared, peer, addrs) => why,
    };
    if shared.peers().end_dial(&peer, dial) {
        shared.events.send(Event::DialFailed { dial, peer, why }).await;
    }
}

/// Returns only when the dial failed.
async fn attempt(shared: &Arc<Shared>, peer: NodeId, addrs: Vec<SocketAddr>) -> DialFault {
    if peer == shared.me {
        return DialFault::Myself;
    }
    if let Some(session) = shared.peers().session_with(&peer) {
        return DialFault::AlreadyUp(session);
    }
    shared.reach.begin(peer);
    let connection = match timeout(shared.dial_timeout, race(shared, peer, addrs)).await {
        Ok(Ok(connection)) => connection,
        Ok(Err(why)) => return why,
        Err(_) => {
            shared.reach.end(&peer, Outcome::Failed(DialFault::Timeout));
            return DialFault::Timeout;
        }
    };
    shared.reach.end(&peer, Outcome::Superseded);
    // A task of its own: this one ends when the connection becomes the session.
    let _ = tokio::spawn(connection::run(shared.clone(), connection, true)).await;
    // The peer set this connection aside. If it chose another one, that ends this task soon.
    sleep(DECISION).await;
    DialFault::Refused
}

/// The first connection of all addresses; the others are dropped.
async fn race(shared: &Arc<Shared>, peer: NodeId, addrs: Vec<SocketAddr>) -> Result<Connection, DialFault> {
    let mut seen = BTreeSet::new();
    let name = peer.to_string();
    let mut attempts = addrs
        .into_iter()
        .filter(|address| seen.insert(*address))
        .take(ADDRESSES_MAX)
        .zip(0u32..)
        .map(|(address, turn)| attempt_one(shared, peer, &name, address, STAGGER * turn))
        .collect::<FuturesUnordered<_>>();
    let mut why = DialFault::NoAddress;
    while let Some(result) = attempts.next().await {
        match result {
            Ok(connection) => return Ok(connection),
            Err(fault) if weight(fault) > weight(why) => why = fault,
            Err(_) => {}
        }
    }
    Err(why)
}

/// Dials one address, and notes what became of it.
async fn attempt_one(
    shared: &Shared,
    peer: NodeId,
    name: &str,
    address: SocketAddr,
    after: Duration,
) -> Result<Connection, DialFault> {
    let note = |outcome| shared.reach.note(&peer, address, CandidateKind::Known, outcome);
    note(Outcome::Trying);
    let result = connect(shared, name, address, after).await;
    note(match &result {
        Ok(connection) => Outcome::Open { rtt: connection.rtt(PathId::ZERO).unwrap_or_default() },
        Err(why) => Outcome::Failed(*why),
    });
    result
}

async fn connect(
    shared: &Shared,
    name: &str,
    address: SocketAddr,
    after: Duration,
) -> Result<Connection, DialFault> {
    sleep(after).await;
    let connecting = shared.quic.connect_with(shared.client.clone(), address, name);
    let connecting = connecting.map_err(|error| match error {
        ConnectError::EndpointStopping => DialFault::Closed,
        _ => DialFault::NoAddress,
    })?;
    connecting.await.map_err(|error| match error {
        ConnectionError::TimedOut | ConnectionError::Reset => DialFault::Timeout,
        ConnectionError::LocallyClosed => DialFault::Closed,
        ConnectionError::ConnectionClosed(close) if is_crypto(u64::from(close.error_code)) => {
            DialFault::WrongNode
        }
        ConnectionError::TransportError(error) if is_crypto(u64::from(error.code)) => DialFault::WrongNode,
        _ => DialFault::Refused,
    })
}

/// The range of QUIC's error codes that tell of a failed handshake (RFC 9000 section 20.1).
fn is_crypto(code: u64) -> bool {
    (0x100..0x200).contains(&code)
}

/// Of several addresses' faults, the one that tells most is reported.
fn weight(fault: DialFault) -> u8 {
    match fault {
        DialFault::WrongNode => 3,
        DialFault::Refused => 2,
        DialFault::Timeout => 1,
        _ => 0,
    }
}
