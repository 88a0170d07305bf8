//! Which chunk is asked of which peer: a queue with a window per peer (NODE-5).
//!
//! A pure value: it never sends. Cost: O(log n) a chunk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use cs_identity::{NodeId, OpId};

use crate::folder::ChunkRef;
use crate::wire::MAX_IDS;

/// Most bytes on their way from one peer: covers 100 Mbit/s at 600 ms, and bounds what a slow reader holds in memory.
pub(crate) const WINDOW: u64 = 8 << 20;

/// A chunk not delivered after this long is asked of somebody else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Rounds of asking everybody before a chunk waits for a new peer or a new edit.
const ROUNDS: u32 = 3;

#[derive(Debug)]
struct Wanted {
    len: u32,
    version: OpId,
    state: State,
    /// Peers that said they do not have it.
    refused: BTreeSet<NodeId>,
    rounds: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Queued,
    Asked {
        of: NodeId,
        at: Duration,
    },
    /// Everybody was asked; waits for [`Fetch::retry`].
    Parked,
}

/// Requests to send: of whom, and which chunks of which versions; [`MAX_IDS`] at most in each.
pub(crate) type Asks = Vec<(NodeId, Vec<(OpId, [u8; 32])>)>;

/// The chunks a space still needs.
#[derive(Debug, Default)]
pub(crate) struct Fetch {
    wanted: BTreeMap<[u8; 32], Wanted>,
    queue: VecDeque<[u8; 32]>,
    in_flight: BTreeMap<NodeId, u64>,
    bytes: u64,
}

impl Fetch {
    /// Adds what `version` needs; chunks already wanted stay where they are.
    pub(crate) fn want(&mut self, version: OpId, chunks: &[ChunkRef]) {
        for chunk in chunks {
            if self.wanted.contains_key(&chunk.id) {
                continue;
            }
            let wanted =
                Wanted { len: chunk.len, version, state: State::Queued, refused: BTreeSet::new(), rounds: 0 };
            self.wanted.insert(chunk.id, wanted);
            self.queue.push_back(chunk.id);
            self.bytes += u64::from(chunk.len);
        }
    }

    /// Whether the chunk was asked for. What nobody asked for is not written to disk.
    pub(crate) fn arrived(&mut self, id: &[u8; 32]) -> bool {
        let Some(wanted) = self.wanted.remove(id) else { return false };
        self.bytes -= u64::from(wanted.len);
        if let State::Asked { of, .. } = wanted.state {
            self.release(of, wanted.len);
        }
        true
    }

    /// A peer does not have it: somebody else may.
    pub(crate) fn refused(&mut self, by: NodeId, id: &[u8; 32]) {
        let Some(wanted) = self.wanted.get_mut(id) else { return };
        wanted.refused.insert(by);
        if let State::Asked { of, .. } = wanted.state
            && of == by
        {
            let len = wanted.len;
            wanted.state = State::Queued;
            self.queue.push_back(*id);
            self.release(by, len);
        }
    }

    /// A peer is gone: what it owed is asked of others.
    pub(crate) fn peer_gone(&mut self, peer: NodeId) {
        self.requeue(|of, _| of == peer);
        self.in_flight.remove(&peer);
    }

    /// Requeues what was asked for too long ago. Returns the next time to look.
    pub(crate) fn expire(&mut self, now: Duration) -> Option<Duration> {
        self.requeue(|_, at| at + PATIENCE <= now);
        let asked = self.wanted.values().filter_map(|w| match w.state {
            State::Asked { at, .. } => Some(at + PATIENCE),
            _ => None,
        });
        asked.min()
    }

    fn requeue(&mut self, which: impl Fn(NodeId, Duration) -> bool) {
        let mut released = Vec::new();
        for (id, wanted) in &mut self.wanted {
            if let State::Asked { of, at } = wanted.state
                && which(of, at)
            {
                wanted.state = State::Queued;
                self.queue.push_back(*id);
                released.push((of, wanted.len));
            }
        }
        for (of, len) in released {
            self.release(of, len);
        }
    }

    fn release(&mut self, of: NodeId, len: u32) {
        if let Some(bytes) = self.in_flight.get_mut(&of) {
            *bytes = bytes.saturating_sub(u64::from(len));
        }
    }

    /// A new peer or a new edit may have what was missing everywhere.
    pub(crate) fn retry(&mut self) {
        for (id, wanted) in &mut self.wanted {
            if wanted.state == State::Parked {
                wanted.state = State::Queued;
                wanted.rounds = 0;
                wanted.refused.clear();
                self.queue.push_back(*id);
            }
        }
    }

    /// Fills the windows of `peers` from the queue, least loaded first.
    pub(crate) fn assign(&mut self, now: Duration, peers: &[NodeId]) -> Asks {
        let mut asks: BTreeMap<NodeId, Vec<(OpId, [u8; 32])>> = BTreeMap::new();
        let mut looked_at = self.queue.len();
        while looked_at > 0 && !peers.is_empty() {
            looked_at -= 1;
            let Some(id) = self.queue.pop_front() else { break };
            let Some(wanted) = self.wanted.get_mut(&id) else { continue };
            if wanted.state != State::Queued {
                continue;
            }
            if peers.iter().all(|p| wanted.refused.contains(p)) {
                wanted.refused.clear();
                wanted.rounds += 1;
                if wanted.rounds >= ROUNDS {
                    wanted.state = State::Parked;
                    continue;
                }
            }
            let load = |p: &NodeId| self.in_flight.get(p).copied().unwrap_or(0);
            let Some(of) =
                peers.iter().filter(|p| !wanted.refused.contains(p)).min_by_key(|p| load(p)).copied()
            else {
                self.queue.push_back(id);
                continue;
            };
            let room = self.in_flight.entry(of).or_default();
            if *room > 0 && *room + u64::from(wanted.len) > WINDOW {
                self.queue.push_front(id);
                break;
            }
            *room += u64::from(wanted.len);
            wanted.state = State::Asked { of, at: now };
            asks.entry(of).or_default().push((wanted.version, id));
        }
        asks.into_iter()
            .flat_map(|(of, all)| all.chunks(MAX_IDS).map(|c| (of, c.to_vec())).collect::<Vec<_>>())
            .collect()
    }

    /// Bytes still to come.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Chunks that nobody connected has.
    pub(crate) fn parked(&self) -> usize {
        self.wanted.values().filter(|w| w.state == State::Parked).count()
    }
}
