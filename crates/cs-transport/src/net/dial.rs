//! Dialling one node at many addresses.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::Arc;

use cs_identity::NodeId;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use noq::{ConnectError, Connection, ConnectionError, PathId};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::connection;
use super::endpoint::Shared;
use super::event::{DialFault, DialId, Event};
use super::meet;
use super::peers::Begun;
use super::report::{CandidateKind, Outcome, Via};
use super::routes::is_route;

/// Addresses tried per dial.
const ADDRESSES_MAX: usize = 16;
/// Addresses that are found meanwhile and tried.
const FOUND_MAX: usize = 8;
/// Addresses of the peer that are tried over a relay.
const DETOURS_MAX: usize = 4;
/// Between the starts of two attempts (RFC 8305 section 5 suggests 250 ms for TCP): later addresses get their chance
/// before a silent one has timed out.
const STAGGER: Duration = Duration::from_millis(50);
/// How long a connection that the peer set aside waits for the one that it chose instead.
const DECISION: Duration = Duration::from_secs(5);

/// Starts a dial; one to this peer that is under way takes the addresses instead.
pub(crate) fn start(shared: &Arc<Shared>, peer: NodeId, addrs: Vec<SocketAddr>, via: Vec<Via>) -> DialId {
    let (dial, begun) = shared.peers().start_dial(peer);
    if let Some(begun) = begun {
        tokio::spawn(run(shared.clone(), dial, Sought { peer, addrs, via }, begun));
    } else if let Some(more) = shared.peers().dialling(&peer) {
        // A dial that has ended meanwhile needs no more.
        addrs.into_iter().for_each(|addr| _ = more.send(addr));
    }
    dial
}

/// Who is dialled, and how.
struct Sought {
    peer: NodeId,
    addrs: Vec<SocketAddr>,
    via: Vec<Via>,
}

/// Dials until a session is there (which drops `cancelled`'s other end) or nothing is left to try.
async fn run(shared: Arc<Shared>, dial: DialId, sought: Sought, begun: Begun) {
    let (peer, Begun { mut cancelled, more }) = (sought.peer, begun);
    let why = tokio::select! {
        _ = &mut cancelled => return,
        why = attempt(&shared, sought, more) => why,
    };
    if shared.peers().end_dial(&peer, dial) {
        shared.events.send(Event::DialFailed { dial, peer, why }).await;
    }
}

/// Returns only when the dial failed.
async fn attempt(
    shared: &Arc<Shared>,
    sought: Sought,
    more: mpsc::UnboundedReceiver<SocketAddr>,
) -> DialFault {
    let peer = sought.peer;
    if peer == shared.me {
        return DialFault::Myself;
    }
    if let Some(session) = shared.peers().session_with(&peer) {
        return DialFault::AlreadyUp(session);
    }
    shared.reach.begin(peer);
    let connection = match timeout(shared.dial_timeout, race(shared, sought, more)).await {
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

/// The first connection of all addresses, those that are found meanwhile included; the others are dropped.
async fn race(
    shared: &Arc<Shared>,
    sought: Sought,
    mut more: mpsc::UnboundedReceiver<SocketAddr>,
) -> Result<Connection, DialFault> {
    let Sought { peer, addrs, via } = sought;
    let mut seen = BTreeSet::new();
    let name = peer.to_string();
    let one = |address, after| attempt_one(shared, peer, &name, address, after);
    // Where an address cannot be reached otherwise, the relay leads there, as soon as there is one.
    let mut changes = shared.allocations.changes();
    let detours = |around: &[SocketAddr]| {
        let around = around.iter().filter_map(|addr| shared.allocations.detour(shared, *addr));
        around.take(DETOURS_MAX).collect::<Vec<_>>()
    };
    let (all, mut taken) = (addrs.clone(), detours(&addrs));
    let mut attempts = addrs
        .into_iter()
        .filter(|address| !is_route(*address) && seen.insert(*address))
        .take(ADDRESSES_MAX)
        .chain(taken.clone())
        .zip(0u32..)
        .map(|(address, turn)| one(address, STAGGER * turn))
        .collect::<FuturesUnordered<_>>();
    let mut seeking = Box::pin(meet::seek(shared.clone(), peer, via));
    // Addresses may still be found: by a seek under way, or by the attempt that it began.
    let (mut is_seeking, mut may_find) = (true, true);
    let mut found = 0;
    let mut why = DialFault::NoAddress;
    while may_find || !attempts.is_empty() {
        tokio::select! {
            Some(result) = attempts.next(), if !attempts.is_empty() => match result {
                Ok(connection) => return Ok(connection),
                Err(fault) if weight(fault) > weight(why) => why = fault,
                Err(_) => {}
            },
            has_begun = &mut seeking, if is_seeking => (is_seeking, may_find) = (false, has_begun),
            Ok(()) = changes.changed() => for detour in detours(&all) {
                if !taken.contains(&detour) {
                    taken.push(detour);
                    attempts.push(one(detour, Duration::ZERO));
                }
            },
            Some(address) = more.recv() => {
                if found < FOUND_MAX {
                    found += 1;
                    attempts.push(one(address, Duration::ZERO));
                }
            }
            // The dial is being called off.
            else => break,
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
    // What was found is noted by who found it.
    let is_found = shared.reach.how(&peer, address).is_some();
    let note = |outcome| {
        if !is_found {
            shared.reach.note(&peer, address, CandidateKind::Known, outcome);
        }
    };
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
