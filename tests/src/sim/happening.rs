//! What waits to happen, in the order of virtual time.

use cs_identity::{NodeId, SpaceId};
use cs_node::core::FolderEvent;
use cs_node::folder::RelPath;
use cs_transport::wire::Lane;
use std::cmp::Ordering;
use std::collections::BinaryHeap;
use std::net::SocketAddr;
use std::time::Duration;

/// Something due at one node, or on the way to it. `life` names the run of the node's process that it is meant for.
#[derive(Debug)]
pub(crate) enum Happening {
    /// The process starts.
    Boot,
    /// The driver's loop comes round: timers, then outputs.
    Turn { life: u32 },
    /// The driver tells the wall clock.
    WallClock { life: u32 },
    /// A session stands at this end.
    SessionUp { life: u32, session: u64 },
    /// A session is over at this end.
    SessionDown { life: u32, session: u64, peer: NodeId },
    /// A message arrives.
    Deliver { session: u64, bytes: Vec<u8> },
    /// What a partition held back arrives.
    Flush { session: u64 },
    /// A session that has been silent for too long is over.
    Idle { session: u64, since: Duration },
    /// A handshake ends.
    DialTried { life: u32, dial: u64, peer: NodeId, addrs: Vec<SocketAddr> },
    /// A dial is given up.
    DialFailed { life: u32, dial: u64, peer: NodeId },
    /// A sealed request arrives.
    Request { from: usize, from_life: u32, rpc: u64, bytes: Vec<u8> },
    /// Its answer arrives.
    Response { life: u32, rpc: u64, from: NodeId, bytes: Vec<u8> },
    /// No answer came.
    Unanswered { life: u32, rpc: u64 },
    /// The thread of a folder has something to do.
    FolderStep { life: u32, space: SpaceId },
    /// Its news reaches the core.
    News { life: u32, space: SpaceId, event: FolderEvent },
    /// Its watcher saw a change.
    Watched { life: u32, space: SpaceId, path: RelPath },
    /// Everything is looked at, in case the watcher missed something.
    Rescan { life: u32, space: SpaceId },
}

impl Happening {
    /// A number for the trace.
    pub(crate) fn kind(&self) -> u8 {
        match self {
            Self::Boot => 0,
            Self::Turn { .. } => 1,
            Self::WallClock { .. } => 2,
            Self::SessionUp { .. } => 3,
            Self::SessionDown { .. } => 4,
            Self::Deliver { .. } => 5,
            Self::Flush { .. } => 6,
            Self::Idle { .. } => 7,
            Self::DialTried { .. } => 8,
            Self::DialFailed { .. } => 9,
            Self::Request { .. } => 10,
            Self::Response { .. } => 11,
            Self::Unanswered { .. } => 12,
            Self::FolderStep { .. } => 13,
            Self::News { .. } => 14,
            Self::Watched { .. } => 15,
            Self::Rescan { .. } => 16,
        }
    }

    /// The bytes that come with it, for the trace.
    pub(crate) fn payload(&self) -> &[u8] {
        match self {
            Self::Deliver { bytes, .. } | Self::Request { bytes, .. } | Self::Response { bytes, .. } => bytes,
            _ => &[],
        }
    }

    /// The run of the process that it is meant for, if it means nothing to another one.
    pub(crate) fn life(&self) -> Option<u32> {
        match self {
            Self::Boot
            | Self::Deliver { .. }
            | Self::Flush { .. }
            | Self::Idle { .. }
            | Self::Request { .. } => None,
            Self::Turn { life }
            | Self::WallClock { life }
            | Self::SessionUp { life, .. }
            | Self::SessionDown { life, .. }
            | Self::DialTried { life, .. }
            | Self::DialFailed { life, .. }
            | Self::Response { life, .. }
            | Self::Unanswered { life, .. }
            | Self::FolderStep { life, .. }
            | Self::News { life, .. }
            | Self::Watched { life, .. }
            | Self::Rescan { life, .. } => Some(*life),
        }
    }

    /// Whether a machine that sleeps finds it waiting when it wakes. Packets are lost on it instead; what comes over
    /// a session is held by the session.
    pub(crate) fn waits_for_the_sleeping(&self) -> bool {
        !matches!(self, Self::Deliver { .. } | Self::Flush { .. } | Self::Idle { .. } | Self::Request { .. })
    }
}

/// What is due, where and when. Equal times go by the order in which they were planned.
#[derive(Debug)]
pub(crate) struct Due {
    pub(crate) at: Duration,
    number: u64,
    pub(crate) node: usize,
    pub(crate) what: Happening,
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    /// The earliest is the greatest, as the heap wants it.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

/// Everything that is due.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    heap: BinaryHeap<Due>,
    planned: u64,
}

impl Agenda {
    pub(crate) fn plan(&mut self, at: Duration, node: usize, what: Happening) {
        self.planned += 1;
        self.heap.push(Due { at, number: self.planned, node, what });
    }

    pub(crate) fn next_at(&self) -> Option<Duration> {
        self.heap.peek().map(|due| due.at)
    }

    pub(crate) fn pop(&mut self) -> Option<Due> {
        self.heap.pop()
    }
}

/// A message with its lane, held back by a partition.
pub(crate) type Held = Vec<u8>;

/// Lanes in the order of their numbers.
pub(crate) fn lane_number(lane: Lane) -> usize {
    match lane {
        Lane::Control => 0,
        Lane::Urgent => 1,
        Lane::Normal => 2,
        Lane::Bulk => 3,
    }
}
