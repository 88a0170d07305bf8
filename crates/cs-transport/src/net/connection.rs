//! One QUIC connection from its handshake to its end: perhaps a session, perhaps a spare that is dropped (TP-7).

use core::time::Duration;
use std::sync::{Arc, OnceLock};

use futures::StreamExt;
use noq::{Connection, ConnectionError, RecvStream, VarInt};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;

use super::addresses::canonical;
use super::ask;
use super::endpoint::{Shared, WINDOW};
use super::event::{Event, SessionEnd, SessionId};
use super::lanes::{Lanes, Reader, send_link};
use super::meet;
use super::monitor::{self, Ways};
use super::peers::Outcome;
use super::signal::{self, SignalLane};
use crate::arbiter::Verdict;
use crate::quic::Peer;
use crate::wire::{Lane, LinkMessage, MAX_LINK_MESSAGE, MAX_MESSAGE, StreamKind};

/// How long a connection may be neither the session nor dropped.
const UNDECIDED: Duration = Duration::from_secs(10);
/// Link messages that one stream may carry.
const LINK_MESSAGES_MAX: usize = 4;

/// Why a connection is closed, as its QUIC application error code. Reasons of the application itself are above 2^32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum CloseCode {
    ShutDown = 0,
    Superseded = 1,
    Replaced = 2,
    Fault = 3,
}

const APPLICATION: u64 = 1 << 32;

/// A connection with a proven peer.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) id: u64,
    pub(crate) peer: Peer,
    pub(crate) dialled: bool,
    pub(crate) connection: Connection,
    pub(crate) lanes: Lanes,
    pub(crate) signals: SignalLane,
    pub(crate) ways: Ways,
    /// Asks for another path.
    pub(crate) renew: Notify,
    /// Turns true once `Event::Up` is out.
    up: watch::Sender<bool>,
    closed_here: OnceLock<SessionEnd>,
}

impl Link {
    /// Whether it was declared the session.
    pub(crate) fn is_up(&self) -> bool {
        *self.up.borrow()
    }

    pub(crate) fn close(&self, reason: u32) {
        let _ = self.closed_here.set(SessionEnd::ClosedHere(reason));
        let code = VarInt::from_u64(APPLICATION | u64::from(reason)).unwrap_or(VarInt::MAX);
        self.connection.close(code, b"");
    }

    fn drop_for(&self, code: CloseCode) {
        if code == CloseCode::Fault {
            let _ = self.closed_here.set(SessionEnd::Fault);
        }
        self.connection.close(VarInt::from_u32(code as u32), b"");
    }
}

/// Runs a connection to its end. `dialled`: by this side.
pub(crate) async fn run(shared: Arc<Shared>, connection: Connection, dialled: bool) {
    let identity = connection.peer_identity().and_then(|identity| identity.downcast::<Peer>().ok());
    let Some(peer) = identity.filter(|peer| peer.node != shared.me) else {
        connection.close(VarInt::from_u32(CloseCode::Superseded as u32), b"");
        return;
    };
    let link = Arc::new(Link {
        id: shared.peers().number(),
        peer: *peer,
        dialled,
        lanes: Lanes::new(connection.clone()),
        signals: SignalLane::start(connection.clone()),
        ways: Ways::default(),
        renew: Notify::new(),
        connection,
        up: watch::Sender::new(false),
        closed_here: OnceLock::new(),
    });
    // Until now the peer was held to what a stranger may have in flight (TP-9).
    link.connection.set_receive_window(VarInt::from_u32(WINDOW));
    link.ways.begin(&shared, &link);
    let outcome = shared.peers().connected(&link);
    let act = tokio::spawn(act(shared.clone(), link.clone(), outcome));
    let mut readers = JoinSet::new();
    readers.spawn(drop_if_undecided(link.clone()));
    readers.spawn(monitor::run(shared.clone(), link.clone()));
    readers.spawn(meet::renew_on_demand(shared.clone(), link.clone()));
    readers.spawn(report_observed(shared.clone(), link.clone()));
    readers.spawn(ask::serve(shared.clone(), link.connection.clone(), false));
    readers.spawn(read_datagrams(shared.clone(), link.clone()));
    while let Ok(stream) = link.connection.accept_uni().await {
        readers.spawn(read(shared.clone(), link.clone(), stream));
        while readers.try_join_next().is_some() {}
    }
    let end = link.connection.closed().await;
    let _ = act.await;
    while readers.join_next().await.is_some() {}
    shared.peers().closed(&link);
    if *link.up.borrow() {
        let (session, peer) = (SessionId(link.id), link.peer.node);
        shared.events.send(Event::Down { session, peer, why: session_end(&link, &end) }).await;
    }
}

/// Does what the arbiter said.
async fn act(shared: Arc<Shared>, link: Arc<Link>, outcome: Outcome) {
    let message = match outcome.verdict {
        Verdict::Wait => return,
        Verdict::Drop => return link.drop_for(CloseCode::Superseded),
        Verdict::Fault => {
            shared.tally.peer_faults.add();
            return link.drop_for(CloseCode::Fault);
        }
        Verdict::Offer { seen } => Some(LinkMessage::Offer { seen }),
        Verdict::Decide { number, .. } => Some(LinkMessage::Decide { number }),
        Verdict::Follow { .. } => None,
    };
    if let Some(message) = message {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        // Without the connection there is nobody to tell, and its end is noticed elsewhere.
        let _ = send_link(&link.connection, &bytes).await;
    }
    if matches!(outcome.verdict, Verdict::Offer { .. }) {
        return;
    }
    if let Some(old) = outcome.replaced {
        old.close(VarInt::from_u32(CloseCode::Replaced as u32), b"");
    }
    let mut exporter = [0; 32];
    let exported = link.connection.export_keying_material(&mut exporter, b"session", b"");
    debug_assert!(exported.is_ok(), "the handshake is complete");
    let up = Event::Up {
        session: SessionId(link.id),
        peer: link.peer.node,
        addr: shared.remote_of(&link.connection),
        dialled: outcome.dialled,
        exporter,
    };
    shared.events.send(up).await;
    link.up.send_replace(true);
    shared.ups.send_modify(|count| *count += 1);
    meet::offer_found(&shared, &link);
}

/// Reads one incoming stream to its end.
async fn read(shared: Arc<Shared>, link: Arc<Link>, stream: RecvStream) {
    let Some((kind, stream)) = Reader::accept(stream).await else { return };
    let intact = match kind {
        StreamKind::Link => read_link(&shared, &link, stream).await,
        StreamKind::Signal => signal::read(&shared, &link, stream).await,
        StreamKind::Lane(lane) => read_lane(&shared, &link, lane, stream).await,
    };
    if !intact {
        shared.tally.peer_faults.add();
        link.drop_for(CloseCode::Fault);
    }
}

/// `false` when the peer broke the protocol.
async fn read_link(shared: &Arc<Shared>, link: &Arc<Link>, stream: RecvStream) -> bool {
    let mut reader = Reader::new(stream, MAX_LINK_MESSAGE);
    for _ in 0..LINK_MESSAGES_MAX {
        let message = match reader.next().await {
            Ok(Some(bytes)) => LinkMessage::from_bytes(&bytes),
            Ok(None) => return true,
            Err(fault) => Err(fault),
        };
        let outcome = match message {
            Ok(LinkMessage::Offer { seen }) => shared.peers().offered(link, seen),
            Ok(LinkMessage::Decide { number }) => shared.peers().decided(link, number),
            Err(_) => return false,
        };
        act(shared.clone(), link.clone(), outcome).await;
    }
    false
}

/// `false` when the peer broke the protocol.
async fn read_lane(shared: &Shared, link: &Link, lane: Lane, stream: RecvStream) -> bool {
    let mut up = link.up.subscribe();
    tokio::select! {
        known = up.wait_for(|up| *up) => if known.is_err() { return true },
        _ = link.connection.closed() => if !*link.up.borrow() { return true },
    }
    let mut reader = Reader::new(stream, MAX_MESSAGE);
    loop {
        match reader.next().await {
            Ok(Some(bytes)) => {
                if !shared.events.send(Event::Message { session: SessionId(link.id), lane, bytes }).await {
                    return true;
                }
            }
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

/// Hands datagrams on while there is room; what comes before the session is declared, or too fast, is lost as on the network.
async fn read_datagrams(shared: Arc<Shared>, link: Arc<Link>) {
    while let Ok(bytes) = link.connection.read_datagram().await {
        let event = Event::Datagram { session: SessionId(link.id), bytes };
        if !*link.up.borrow() || !shared.events.try_send(event) {
            shared.tally.overrun.add();
        }
    }
}

/// A connection that nobody declares to be the session only holds memory.
async fn drop_if_undecided(link: Arc<Link>) {
    let mut up = link.up.subscribe();
    tokio::select! {
        _ = up.wait_for(|up| *up) => {}
        _ = link.connection.closed() => {}
        () = tokio::time::sleep(UNDECIDED) => link.drop_for(CloseCode::Superseded),
    }
}

/// Passes on from which address the peer sees this node.
async fn report_observed(shared: Arc<Shared>, link: Arc<Link>) {
    let mut observed = link.connection.observed_external_addr();
    loop {
        let addr = tokio::select! {
            addr = observed.next() => match addr {
                Some(addr) => canonical(addr),
                None => return,
            },
            _ = link.connection.closed() => return,
        };
        if !shared.reach.is_outside(addr) {
            continue;
        }
        if let Some(report) = shared.reach.observed(addr) {
            shared.events.send(Event::NatChanged(report)).await;
        }
        shared.events.send(Event::AddressObserved { addr }).await;
    }
}

fn session_end(link: &Link, error: &ConnectionError) -> SessionEnd {
    if let Some(here) = link.closed_here.get() {
        return *here;
    }
    match error {
        ConnectionError::ApplicationClosed(close) => match close.error_code.into_inner() {
            code if code >= APPLICATION => {
                SessionEnd::ClosedByPeer(u32::try_from(code - APPLICATION).unwrap_or(u32::MAX))
            }
            code if code == CloseCode::ShutDown as u64 => SessionEnd::PeerShutDown,
            code if code == CloseCode::Fault as u64 => SessionEnd::Fault,
            _ => SessionEnd::Replaced,
        },
        ConnectionError::LocallyClosed => SessionEnd::Replaced,
        ConnectionError::TimedOut => SessionEnd::TimedOut,
        ConnectionError::Reset => SessionEnd::Reset,
        _ => SessionEnd::Fault,
    }
}
