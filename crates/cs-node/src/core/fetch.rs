//! Which chunk is asked of which peer: a queue with a window per peer (NODE-5).
//!
//! A pure value: it never sends. Cost: O(log n) a chunk.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use cs_identity::{NodeId, OpId};

use crate::folder::ChunkRef;
use crate::wire::MAX_IDS;

/// Most bytes on their way from one peer or not yet written to disk: covers 100 Mbit/s at 300 ms, and bounds the memory
/// that a slow disk costs.
pub(crate) const WINDOW: u64 = 4 << 20;

/// A peer that owes chunks and has sent none for this long is silent: what it owes is asked of others.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

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
    peers: BTreeMap<NodeId, Owing>,
    bytes: u64,
    /// Bytes that have arrived and are not on disk.
    unwritten: u64,
    /// Versions of chunks that were parked since the last look.
    parked: BTreeSet<OpId>,
}

/// What a peer owes.
#[derive(Debug, Default)]
struct Owing {
    bytes: u64,
    /// When a chunk came from it last.
    heard_at: Duration,
    /// It let somebody wait too long: others are preferred until it sends something.
    is_silent: bool,
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
    pub(crate) fn arrived(&mut self, now: Duration, from: NodeId, id: &[u8; 32]) -> bool {
        let peer = self.peers.entry(from).or_default();
        (peer.heard_at, peer.is_silent) = (now, false);
        let Some(wanted) = self.wanted.remove(id) else { return false };
        self.bytes -= u64::from(wanted.len);
        self.unwritten += u64::from(wanted.len);
        if let State::Asked { of, .. } = wanted.state {
            self.release(of, wanted.len);
        }
        true
    }

    /// Chunks of so many bytes are on disk, or were of no use.
    pub(crate) fn written(&mut self, bytes: u64) {
        self.unwritten = self.unwritten.saturating_sub(bytes);
    }

    /// The folder begins anew: what it was given before is written or lost.
    pub(crate) fn nothing_unwritten(&mut self) {
        self.unwritten = 0;
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
        self.requeue(|of, _, _| of == peer);
        self.peers.remove(&peer);
    }

    /// Requeues what silent peers owe. Returns the next time to look.
    ///
    /// A slow peer is not silent: each chunk that it sends gives it time for the next.
    pub(crate) fn expire(&mut self, now: Duration) -> Option<Duration> {
        let silent = self.requeue(|_, at, heard_at| at.max(heard_at) + PATIENCE <= now);
        for peer in silent {
            self.peers.entry(peer).or_default().is_silent = true;
        }
        let asked = self.wanted.values().filter_map(|w| match w.state {
            State::Asked { of, at } => Some(at.max(self.peers.get(&of)?.heard_at) + PATIENCE),
            _ => None,
        });
        asked.min()
    }

    /// Takes back what was asked of a peer, if `which` says so of it, the time, and the time it was heard last. Returns
    /// the peers.
    fn requeue(&mut self, which: impl Fn(NodeId, Duration, Duration) -> bool) -> BTreeSet<NodeId> {
        let mut released = Vec::new();
        for (id, wanted) in &mut self.wanted {
            let State::Asked { of, at } = wanted.state else { continue };
            let heard_at = self.peers.get(&of).map_or(Duration::ZERO, |peer| peer.heard_at);
            if which(of, at, heard_at) {
                wanted.state = State::Queued;
                self.queue.push_back(*id);
                released.push((of, wanted.len));
            }
        }
        released.iter().for_each(|(of, len)| self.release(*of, *len));
        released.into_iter().map(|(of, _)| of).collect()
    }

    fn release(&mut self, of: NodeId, len: u32) {
        if let Some(peer) = self.peers.get_mut(&of) {
            peer.bytes = peer.bytes.saturating_sub(u64::from(len));
        }
    }

    /// Versions that were found to be on nobody connected, since the last call.
    pub(crate) fn take_parked(&mut self) -> BTreeSet<OpId> {
        std::mem::take(&mut self.parked)
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

    /// Fills the windows of `peers` from the queue, least loaded first, silent ones last.
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
                    self.parked.insert(wanted.version);
                    continue;
                }
            }
            let load = |p: &NodeId| self.peers.get(p).map_or((false, 0), |o| (o.is_silent, o.bytes));
            let Some(of) =
                peers.iter().filter(|p| !wanted.refused.contains(p)).min_by_key(|p| load(p)).copied()
            else {
                self.queue.push_back(id);
                continue;
            };
            let owing = self.peers.entry(of).or_default();
            let held = owing.bytes + self.unwritten;
            if held > 0 && held + u64::from(wanted.len) > WINDOW {
                self.queue.push_front(id);
                break;
            }
            owing.bytes += u64::from(wanted.len);
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

#[cfg(test)]
mod tests {
    //! NODE-5.

    use super::*;
    use cs_identity::SecretKey;

    const NOW: Duration = Duration::from_secs(1);

    fn peer(n: u8) -> NodeId {
        SecretKey::from_bytes([n; 32]).node_id()
    }

    fn version() -> OpId {
        OpId::from_bytes([9; 32])
    }

    fn chunk(n: u8, len: u32) -> ChunkRef {
        ChunkRef { id: [n; 32], len }
    }

    fn asked(asks: &Asks, of: NodeId) -> usize {
        asks.iter().filter(|(p, _)| *p == of).map(|(_, pairs)| pairs.len()).sum()
    }

    #[test]
    fn one_peer_is_asked_for_no_more_than_its_window_and_two_share_the_rest() {
        let mut fetch = Fetch::default();
        let chunks: Vec<ChunkRef> = (0..100).map(|n| chunk(n, 256 << 10)).collect();
        fetch.want(version(), &chunks);
        assert_eq!(asked(&fetch.assign(NOW, &[peer(1)]), peer(1)), 16, "4 MiB in chunks of 256 KiB");
        assert!(fetch.assign(NOW, &[peer(1)]).is_empty());
        assert_eq!(asked(&fetch.assign(NOW, &[peer(1), peer(2)]), peer(2)), 16);
        assert!(fetch.arrived(NOW, peer(1), &[0; 32]));
        assert!(fetch.assign(NOW, &[peer(1)]).is_empty(), "it is in memory still");
        fetch.written(256 << 10);
        assert_eq!(asked(&fetch.assign(NOW, &[peer(1)]), peer(1)), 1, "what is on disk makes room");
    }

    #[test]
    fn nothing_is_asked_for_twice_and_nothing_unasked_is_taken() {
        let mut fetch = Fetch::default();
        fetch.want(version(), &[chunk(1, 10), chunk(1, 10)]);
        assert_eq!(asked(&fetch.assign(NOW, &[peer(1)]), peer(1)), 1);
        assert!(fetch.arrived(NOW, peer(1), &[1; 32]));
        assert!(!fetch.arrived(NOW, peer(1), &[1; 32]), "it came already");
        assert!(!fetch.arrived(NOW, peer(1), &[2; 32]), "nobody asked");
        assert_eq!(fetch.bytes(), 0);
    }

    #[test]
    fn a_refusal_a_silence_and_a_departure_each_ask_somebody_else() {
        let mut fetch = Fetch::default();
        fetch.want(version(), &[chunk(1, 10)]);
        let both = [peer(1), peer(2)];
        let (first, _) = fetch.assign(NOW, &both)[0];
        fetch.refused(first, &[1; 32]);
        let (second, _) = fetch.assign(NOW, &both)[0];
        assert_ne!(first, second);
        assert_eq!(fetch.expire(NOW), Some(NOW + PATIENCE));
        assert_eq!(fetch.expire(NOW + PATIENCE), None);
        assert_eq!(asked(&fetch.assign(NOW, &[second]), second), 1, "after the silence it is asked again");
        fetch.peer_gone(second);
        assert_eq!(asked(&fetch.assign(NOW, &[second]), second), 1);
    }

    #[test]
    fn a_slow_peer_keeps_what_it_owes_and_a_silent_one_is_asked_last() {
        let mut fetch = Fetch::default();
        fetch.want(version(), &[chunk(1, 10), chunk(2, 10), chunk(3, 10)]);
        fetch.assign(NOW, &[peer(1)]);
        let later = NOW + PATIENCE - Duration::from_secs(1);
        assert!(fetch.arrived(later, peer(1), &[1; 32]));
        assert_eq!(fetch.expire(NOW + PATIENCE), Some(later + PATIENCE), "it sent something");
        assert!(fetch.assign(later, &[peer(1), peer(2)]).is_empty());
        assert_eq!(fetch.expire(later + PATIENCE), None);
        let asks = fetch.assign(later + PATIENCE, &[peer(1), peer(2)]);
        assert_eq!((asked(&asks, peer(1)), asked(&asks, peer(2))), (0, 2), "now the other has its turn");
    }

    #[test]
    fn what_nobody_has_is_parked_until_something_changes() {
        let mut fetch = Fetch::default();
        fetch.want(version(), &[chunk(1, 10)]);
        for _ in 0..ROUNDS {
            if fetch.assign(NOW, &[peer(1)]).is_empty() {
                break;
            }
            fetch.refused(peer(1), &[1; 32]);
        }
        assert!(fetch.assign(NOW, &[peer(1)]).is_empty());
        assert_eq!(fetch.parked(), 1);
        assert_eq!(fetch.take_parked(), BTreeSet::from([version()]));
        assert!(fetch.take_parked().is_empty(), "told once");
        fetch.retry();
        assert_eq!(asked(&fetch.assign(NOW, &[peer(2)]), peer(2)), 1);
    }
}
