//! What an endpoint reports, and the bounded channel it reports on.

use core::fmt;
use core::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use cs_identity::NodeId;
use thiserror::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use super::ask::AnswerStream;
use super::report::{NatReport, PathReport};
use crate::rpc::AnswerSlot;
use crate::wire::{Lane, MAX_ASK};

/// Names a session of this endpoint; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub(crate) u64);

/// Names a dial of this endpoint; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DialId(pub(crate) u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

impl fmt::Display for DialId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "d{}", self.0)
    }
}

/// Something happened. A session's events come in order: `Up`, its messages, `Down`.
///
/// A peer that restarted, or that lost the session, comes `Up` under a new [`SessionId`] at once, and the old session's
/// `Down` may follow that: compare the session, not the peer.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event {
    /// A session with `peer` is there.
    Up {
        /// Its name.
        session: SessionId,
        /// Proven by the handshake.
        peer: NodeId,
        /// Where it is reached.
        addr: SocketAddr,
        /// The dial that this answers, also when the peer's own dial was faster.
        dialled: Option<DialId>,
        /// Channel binding: 32 bytes equal at both ends, and unique to this session.
        exporter: [u8; 32],
    },
    /// A dial came to nothing.
    DialFailed {
        /// Which.
        dial: DialId,
        /// Whom it was to reach.
        peer: NodeId,
        /// Why not.
        why: DialFault,
    },
    /// A message arrived.
    Message {
        /// On which session.
        session: SessionId,
        /// On which lane.
        lane: Lane,
        /// What it says.
        bytes: Bytes,
    },
    /// A datagram arrived: perhaps not all that were sent do, nor in their order.
    Datagram {
        /// On which session.
        session: SessionId,
        /// What it says.
        bytes: Bytes,
    },
    /// A session is gone. Messages still queued for it are lost.
    Down {
        /// Which.
        session: SessionId,
        /// Who was at its other end.
        peer: NodeId,
        /// Why.
        why: SessionEnd,
    },
    /// A request arrived, sealed or on a session; at least once, since a lost answer makes the peer ask again.
    Request {
        /// Who asks, proven.
        from: NodeId,
        /// From where.
        addr: SocketAddr,
        /// The question.
        bytes: Bytes,
        /// For [`Endpoint::reply`](super::Endpoint::reply); dropping it leaves the request unanswered.
        token: RpcToken,
    },
    /// Data of a session takes another path now, or its path is now known better.
    PathChanged {
        /// Which session.
        session: SessionId,
        /// The path in use.
        report: PathReport,
    },
    /// Something about this node's own network became known, or changed.
    NatChanged(NatReport),
    /// A peer or a STUN server tells from which address it sees this node. Unproven.
    AddressObserved {
        /// That address.
        addr: SocketAddr,
    },
}

/// Why a dial failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DialFault {
    /// No address was given, or none that can be dialled.
    #[error("no usable address")]
    NoAddress,
    /// Nobody answered in time.
    #[error("nobody answered")]
    Timeout,
    /// Somebody answered, and could not prove to be that node.
    #[error("another node is there")]
    WrongNode,
    /// The node refused: it is full, it shuts down, or it speaks another version.
    #[error("the node refused")]
    Refused,
    /// The node is this one.
    #[error("that is this node itself")]
    Myself,
    /// There is a session with that node already.
    #[error("there is a session already")]
    AlreadyUp(SessionId),
    /// The endpoint is shutting down.
    #[error("the endpoint is closed")]
    Closed,
}

/// Why a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SessionEnd {
    /// This side closed it, with this reason.
    ClosedHere(u32),
    /// The peer closed it, with this reason.
    ClosedByPeer(u32),
    /// The peer's endpoint shut down.
    PeerShutDown,
    /// The peer does not know the session any more: it restarted.
    Reset,
    /// No sign of life for the idle time-out.
    TimedOut,
    /// The peer restarted or lost it, and there is a new session.
    Replaced,
    /// The peer broke the protocol.
    Fault,
}

/// Why a message was not queued. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendRefused {
    /// The session ended, or never was.
    #[error("the session is gone")]
    Gone,
    /// The message is above [`MAX_MESSAGE`](crate::wire::MAX_MESSAGE) bytes, and the peer would end the session; or
    /// the datagram is above what the path carries.
    #[error("the message is too long")]
    TooLong,
    /// The peer takes no datagrams.
    #[error("the peer takes no datagrams")]
    NoDatagrams,
}

/// The right to answer one request, once.
#[derive(Debug)]
pub struct RpcToken(pub(crate) Slot);

/// Where an answer goes.
#[derive(Debug)]
pub(crate) enum Slot {
    /// Boxed: a handshake is large, and events travel by value.
    Datagram {
        slot: Box<AnswerSlot>,
        addr: SocketAddr,
    },
    Stream {
        stream: AnswerStream,
        is_early: bool,
    },
}

impl RpcToken {
    pub(crate) fn on_stream(stream: AnswerStream, is_early: bool) -> Self {
        Self(Slot::Stream { stream, is_early })
    }

    /// The largest body that the answer may have, in bytes.
    #[must_use]
    pub fn room(&self) -> usize {
        match &self.0 {
            Slot::Datagram { slot, .. } => slot.room(),
            Slot::Stream { .. } => MAX_ASK,
        }
    }

    /// The question came with the first flight of a handshake that was not complete: the asker made it, and perhaps
    /// somebody else sent it, within two minutes and once. The answer can be read by the asker only.
    #[must_use]
    pub fn is_early(&self) -> bool {
        matches!(self.0, Slot::Stream { is_early: true, .. })
    }
}

/// Events in the order in which they happened. Dropping it stops all reading: the endpoint can then only send.
#[derive(Debug)]
pub struct Events(mpsc::Receiver<Queued>);

/// An event, and its share of the byte budget until somebody takes it.
#[derive(Debug)]
struct Queued {
    /// `None`: the endpoint is shut down, and this is the last.
    event: Option<Event>,
    _budget: Option<OwnedSemaphorePermit>,
}

impl Events {
    /// The next event; `None` when the endpoint is shut down and all were taken. Cancel-safe.
    pub async fn recv(&mut self) -> Option<Event> {
        let event = self.0.recv().await?.event;
        if event.is_none() {
            self.0.close();
        }
        event
    }

    /// The next event, if one is waiting.
    pub fn try_recv(&mut self) -> Option<Event> {
        self.0.try_recv().ok()?.event
    }
}

/// The endpoint's end of the channel. Bounded in events and in bytes of messages: senders wait, nothing is dropped.
#[derive(Clone, Debug)]
pub(crate) struct EventSender {
    channel: mpsc::Sender<Queued>,
    budget: Arc<Semaphore>,
    budget_bytes: usize,
}

/// Events that may wait, whatever their size.
const EVENTS: usize = 1024;

pub(crate) fn channel(budget_bytes: usize) -> (EventSender, Events) {
    let (channel, receiver) = mpsc::channel(EVENTS);
    let budget = Arc::new(Semaphore::new(budget_bytes));
    (EventSender { channel, budget, budget_bytes }, Events(receiver))
}

impl EventSender {
    /// Waits for room. `false` when nobody listens any more.
    pub(crate) async fn send(&self, event: Event) -> bool {
        let bytes = match &event {
            Event::Message { bytes, .. } => bytes.len().min(self.budget_bytes),
            _ => 0,
        };
        let budget = match u32::try_from(bytes) {
            Ok(0) | Err(_) => None,
            Ok(bytes) => self.budget.clone().acquire_many_owned(bytes).await.ok(),
        };
        self.channel.send(Queued { event: Some(event), _budget: budget }).await.is_ok()
    }

    /// Does not wait: `false` when there is no room or nobody listens.
    pub(crate) fn try_send(&self, event: Event) -> bool {
        self.channel.try_send(Queued { event: Some(event), _budget: None }).is_ok()
    }

    /// Says that no event follows. Waits for room.
    pub(crate) async fn finish(&self) {
        let _ = self.channel.send(Queued { event: None, _budget: None }).await;
    }
}
