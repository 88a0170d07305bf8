//! An iterative lookup: whom to ask next, and when it is done. Pure; knows neither time nor messages.

use crate::config::K;
use crate::key::{Distance, Key};
use crate::trace::{Outcome, Step};
use crate::wire::Node;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;
use cs_identity::NodeId;

/// Candidates a path remembers. More than K, since many of the closest may turn out dead.
const CANDIDATES_MAX: usize = 3 * K;
/// Addresses of one peer that are tried: an honest one has to get a chance beside a liar's, and no more.
const ADDRESSES_TRIED_MAX: u8 = 2;

/// How wide and how patient a lookup is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Questions in flight per path.
    pub(crate) alpha: usize,
    /// A path is done when this many of its closest peers have answered.
    pub(crate) beta: usize,
    /// Paths that share no peer (DHT-6).
    pub(crate) paths: usize,
    /// Whether only the peers that it starts from are asked, and all of them.
    pub(crate) is_closed: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Lookup {
    target: Key,
    shape: Shape,
    paths: Vec<Path>,
    /// Which path asks whom: nobody is asked by two.
    claimed: BTreeMap<NodeId, usize>,
    asked: u32,
    hops: u8,
}

#[derive(Clone, Debug, Default)]
struct Path {
    /// Closest first.
    candidates: Vec<Candidate>,
}

#[derive(Clone, Debug)]
struct Candidate {
    distance: Distance,
    node: Node,
    /// Who named it; nobody did if it was known.
    named_by: Option<NodeId>,
    /// Another address named for the same peer: a liar's address must not hide an honest peer.
    spare: Option<SocketAddr>,
    /// Addresses that did not answer.
    dead_ends: u8,
    /// Questions asked at this address, and those of them that are slow or lost.
    asked: u8,
    slow: u8,
    lost: u8,
    state: State,
    hops: u8,
    took: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    New,
    Waiting,
    /// Slower than most: its slot is free for another, but its path waits for it.
    Late,
    /// Its answer is overdue. It holds up nothing any more, but counts if it comes.
    Slow,
    Answered,
    Failed,
}

impl Lookup {
    /// A lookup from these peers on, which are dealt out to the paths in turn.
    pub(crate) fn new(target: Key, shape: Shape, seeds: &[Node]) -> Self {
        let paths = (0..shape.paths).map(|_| Path::default()).collect();
        let mut lookup = Self { target, shape, paths, claimed: BTreeMap::new(), asked: 0, hops: 0 };
        lookup.learn(seeds);
        lookup
    }

    /// More peers to start from.
    pub(crate) fn learn(&mut self, seeds: &[Node]) {
        for (index, seed) in seeds.iter().enumerate() {
            if let Some(path) = self.paths.get_mut(index % self.shape.paths) {
                path.insert(&self.target, *seed, None, 1);
            }
        }
    }

    /// Whether there never was anybody to ask.
    pub(crate) fn is_empty(&self) -> bool {
        self.paths.iter().all(|path| path.candidates.is_empty())
    }

    pub(crate) const fn target(&self) -> &Key {
        &self.target
    }

    /// Questions asked so far.
    pub(crate) const fn asked(&self) -> u32 {
        self.asked
    }

    /// Length of the longest chain of answers so far.
    pub(crate) const fn hops(&self) -> u8 {
        self.hops
    }

    pub(crate) const fn shape(&self) -> Shape {
        self.shape
    }

    /// Whom to ask now; `None` means wait for an answer, or that the lookup is done.
    pub(crate) fn next(&mut self) -> Option<Node> {
        // The path that waits for the fewest answers goes first, so that no path starves another of peers.
        let mut order: Vec<usize> = (0..self.paths.len()).collect();
        order.sort_by_key(|index| self.paths.get(*index).map(Path::waiting));
        order.into_iter().find_map(|index| self.next_of_path(index))
    }

    fn next_of_path(&mut self, index: usize) -> Option<Node> {
        if self.paths.get(index)?.waiting() >= self.slots(index) || self.is_path_done(index) {
            return None;
        }
        let (position, _) = self.window(index).find(|(_, candidate)| candidate.state == State::New)?;
        let candidate = self.paths.get_mut(index)?.candidates.get_mut(position)?;
        candidate.state = State::Waiting;
        candidate.asked = 1;
        self.asked += 1;
        self.claimed.insert(candidate.node.id, index);
        Some(candidate.node)
    }

    /// Questions that a path may have in flight. Once its closest peer has answered, what is left is to ask the others
    /// at the end, all of which are needed: asking them one after the other would only take longer.
    fn slots(&self, index: usize) -> usize {
        let mut states = self.window(index).map(|(_, candidate)| candidate.state);
        let closest = states.find(|state| !matches!(state, State::Late | State::Slow));
        let is_at_the_end = closest == Some(State::Answered);
        if is_at_the_end { self.shape.alpha.max(self.shape.beta) } else { self.shape.alpha }
    }

    /// A peer answered after `took` and named these.
    pub(crate) fn answered(&mut self, id: &NodeId, named: &[Node], took: Duration) {
        let target = self.target;
        let named = if self.shape.is_closed { &[] } else { named };
        let Some((path, position)) = self.position(id) else { return };
        let Some(candidate) = path.candidates.get_mut(position) else { return };
        if candidate.state == State::Answered {
            return;
        }
        candidate.state = State::Answered;
        candidate.took = Some(took);
        let hops = candidate.hops;
        for node in named {
            path.insert(&target, *node, Some(*id), hops.saturating_add(1));
        }
        self.hops = self.hops.max(hops);
    }

    /// A peer is slower than most. A wide lookup asks it once more if it is among the closest, since what it is for
    /// needs each of those, and datagrams get lost: then this returns it. A quick one goes on without.
    pub(crate) fn late(&mut self, id: &NodeId) -> Option<Node> {
        let index = *self.claimed.get(id)?;
        let beta = self.shape.beta;
        let is_close = self.window(index).take(beta).any(|(_, candidate)| candidate.node.id == *id);
        let repeats = self.shape.paths > 1 && is_close;
        let candidate = self.candidate(id)?;
        if candidate.state != State::Waiting {
            return None;
        }
        candidate.state = State::Late;
        if !repeats || candidate.asked > 1 {
            return None;
        }
        candidate.asked += 1;
        let node = candidate.node;
        self.asked += 1;
        Some(node)
    }

    /// An answer is overdue.
    pub(crate) fn slow(&mut self, id: &NodeId) {
        let Some(candidate) = self.candidate(id) else { return };
        candidate.slow = candidate.slow.saturating_add(1);
        if matches!(candidate.state, State::Waiting | State::Late) && candidate.slow >= candidate.asked {
            candidate.state = State::Slow;
        }
    }

    /// A question has no answer. If all to a peer at that address have none, another that was named for it is tried.
    pub(crate) fn failed(&mut self, id: &NodeId) {
        let Some(candidate) = self.candidate(id) else { return };
        candidate.lost = candidate.lost.saturating_add(1);
        let is_open = matches!(candidate.state, State::Waiting | State::Late | State::Slow);
        if !is_open || candidate.lost < candidate.asked {
            return;
        }
        candidate.dead_ends += 1;
        candidate.state = State::Failed;
        if let Some(addr) = candidate.spare.take() {
            candidate.learn_address(addr);
        }
    }

    /// Whether asking on would bring nothing closer.
    pub(crate) fn is_done(&self) -> bool {
        (0..self.paths.len()).all(|index| self.is_path_done(index))
    }

    /// The up to `count` closest peers that answered, over all paths, closest first.
    pub(crate) fn closest(&self, count: usize) -> Vec<Node> {
        let mut answered: Vec<&Candidate> = self
            .paths
            .iter()
            .flat_map(|path| path.candidates.iter())
            .filter(|candidate| candidate.state == State::Answered)
            .collect();
        answered.sort_by_key(|candidate| candidate.distance);
        answered.into_iter().take(count).map(|candidate| candidate.node).collect()
    }

    /// The `count` closest peers that are known, whether they answered or were not asked.
    pub(crate) fn closest_known(&self, count: usize) -> Vec<Node> {
        let mut all: Vec<&Candidate> = self.paths.iter().flat_map(|path| &path.candidates).collect();
        all.retain(|candidate| candidate.state != State::Failed);
        all.sort_by_key(|candidate| candidate.distance);
        all.dedup_by_key(|candidate| candidate.distance);
        all.into_iter().take(count).map(|candidate| candidate.node).collect()
    }

    /// Who named a peer that was asked.
    pub(crate) fn namer(&self, id: &NodeId) -> Option<Node> {
        let path = self.paths.get(*self.claimed.get(id)?)?;
        let find = |id: &NodeId| path.candidates.iter().find(|candidate| candidate.node.id == *id);
        find(&find(id)?.named_by?).map(|namer| namer.node)
    }

    /// The closest peer that answered and that `is_meant`, and how many living candidates are closer.
    pub(crate) fn closest_of(&self, is_meant: impl Fn(&NodeId) -> bool) -> Option<(Node, usize)> {
        let mut all: Vec<&Candidate> = self.paths.iter().flat_map(|path| &path.candidates).collect();
        all.retain(|candidate| candidate.state != State::Failed);
        all.sort_by_key(|candidate| candidate.distance);
        all.dedup_by_key(|candidate| candidate.distance);
        let is_right =
            |candidate: &&Candidate| candidate.state == State::Answered && is_meant(&candidate.node.id);
        let rank = all.iter().position(is_right)?;
        all.get(rank).map(|candidate| (candidate.node, rank))
    }

    /// Whom it asked, path by path.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let mut steps = Vec::new();
        for (path, candidates) in self.paths.iter().enumerate() {
            let is_own = |id: &NodeId| self.claimed.get(id) == Some(&path);
            let asked = candidates.candidates.iter().filter(|candidate| is_own(&candidate.node.id));
            steps.extend(asked.map(|candidate| candidate.step(path)));
        }
        steps
    }

    /// The K closest candidates of a path that are neither failed nor another path's.
    fn window(&self, index: usize) -> impl Iterator<Item = (usize, &Candidate)> {
        let candidates = self.paths.get(index).map(|path| path.candidates.as_slice()).unwrap_or_default();
        candidates
            .iter()
            .enumerate()
            .filter(move |(_, candidate)| {
                candidate.state != State::Failed
                    && self.claimed.get(&candidate.node.id).is_none_or(|path| *path == index)
            })
            .take(if self.shape.is_closed { CANDIDATES_MAX } else { K })
    }

    fn is_path_done(&self, index: usize) -> bool {
        let (mut answered, mut slow) = (0, 0);
        for (_, candidate) in self.window(index) {
            match candidate.state {
                State::Answered => answered += 1,
                State::Slow => slow += 1,
                State::New | State::Waiting | State::Late => return false,
                State::Failed => {}
            }
            if answered >= self.shape.beta {
                return true;
            }
        }
        // With nobody else to ask, late answers are worth waiting for only while no path has any.
        slow == 0 || self.has_answer()
    }

    fn has_answer(&self) -> bool {
        let mut all = self.paths.iter().flat_map(|path| &path.candidates);
        all.any(|candidate| candidate.state == State::Answered)
    }

    fn position(&mut self, asked: &NodeId) -> Option<(&mut Path, usize)> {
        let path = self.paths.get_mut(*self.claimed.get(asked)?)?;
        let position = path.candidates.iter().position(|candidate| candidate.node.id == *asked)?;
        Some((path, position))
    }

    fn candidate(&mut self, asked: &NodeId) -> Option<&mut Candidate> {
        let (path, position) = self.position(asked)?;
        path.candidates.get_mut(position)
    }
}

impl Path {
    fn waiting(&self) -> usize {
        self.candidates.iter().filter(|candidate| candidate.state == State::Waiting).count()
    }

    fn insert(&mut self, target: &Key, node: Node, named_by: Option<NodeId>, hops: u8) {
        let distance = Key::of_peer(&node.id).distance(target);
        match self.candidates.binary_search_by_key(&distance, |candidate| candidate.distance) {
            Ok(position) => {
                let known = self.candidates.get_mut(position);
                if let Some(known) = known.filter(|known| known.node.addr != node.addr) {
                    known.learn_address(node.addr);
                }
            }
            Err(position) if position < CANDIDATES_MAX => {
                self.candidates.truncate(CANDIDATES_MAX - 1);
                let fresh = Candidate {
                    distance,
                    node,
                    named_by,
                    spare: None,
                    dead_ends: 0,
                    asked: 0,
                    slow: 0,
                    lost: 0,
                    state: State::New,
                    hops,
                    took: None,
                };
                self.candidates.insert(position, fresh);
            }
            Err(_) => {}
        }
    }
}

impl Candidate {
    const fn step(&self, path: usize) -> Step {
        let outcome = match self.state {
            State::Answered => Outcome::Answered,
            State::New | State::Waiting | State::Late => Outcome::Unneeded,
            State::Slow => Outcome::Overdue,
            State::Failed => Outcome::Failed,
        };
        Step {
            peer: self.node,
            named_by: self.named_by,
            shared_bits: self.distance.leading_zeros(),
            path,
            hop: self.hops,
            is_repeated: self.asked > 1,
            outcome,
            took: self.took,
        }
    }

    fn learn_address(&mut self, addr: SocketAddr) {
        match self.state {
            State::Failed if self.dead_ends < ADDRESSES_TRIED_MAX => {
                self.node.addr = addr;
                (self.asked, self.slow, self.lost) = (0, 0, 0);
                self.state = State::New;
            }
            State::New | State::Waiting | State::Late | State::Slow if self.spare.is_none() => {
                self.spare = Some(addr)
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::node;
    use alloc::collections::BTreeSet;
    use alloc::format;

    const RTT: Duration = Duration::from_millis(100);
    const GET: Shape = Shape { alpha: 6, beta: 3, paths: 1, is_closed: false };

    fn peer(seed: u64) -> Node {
        Node { id: node(seed), addr: format!("127.0.0.1:{}", 1_000 + seed).parse().unwrap() }
    }

    fn sorted(target: &Key, seeds: impl Iterator<Item = u64>) -> Vec<Node> {
        let mut peers: Vec<Node> = seeds.map(peer).collect();
        peers.sort_by_key(|peer| Key::of_peer(&peer.id).distance(target));
        peers
    }

    /// Runs a lookup in a network where everybody alive knows everybody.
    fn run(lookup: &mut Lookup, peers: &[Node], is_dead: impl Fn(&Node) -> bool) -> Vec<Node> {
        let mut asked = Vec::new();
        while let Some(next) = lookup.next() {
            asked.push(next);
            if is_dead(&next) {
                let repeats = u8::from(lookup.late(&next.id).is_some());
                for _ in 0..=repeats {
                    lookup.slow(&next.id);
                    lookup.failed(&next.id);
                }
            } else {
                let named: Vec<Node> =
                    peers.iter().filter(|peer| peer.id != next.id).take(K).copied().collect();
                lookup.answered(&next.id, &named, RTT);
            }
        }
        asked
    }

    #[test]
    fn the_closest_living_peers_are_found() {
        let target = Key::of_immutable(b"target");
        let peers = sorted(&target, 0..100);
        let mut lookup = Lookup::new(target, GET, &peers[90..]);
        run(&mut lookup, &peers, |peer| peer.id == peers[0].id || peer.id == peers[2].id);
        assert!(lookup.is_done());
        assert_eq!(lookup.closest(3), [peers[1], peers[3], peers[4]]);
        assert_eq!(lookup.hops(), 2);
    }

    /// DHT-17.
    #[test]
    fn a_slot_is_free_when_an_answer_is_late_and_the_path_waits_until_it_is_overdue() {
        let target = Key::of_immutable(b"target");
        let peers = sorted(&target, 0..8);
        let mut lookup = Lookup::new(target, GET, &peers);
        while lookup.next().is_some() {}
        assert_eq!(lookup.asked(), 6);
        assert_eq!(lookup.late(&peers[0].id), None, "a quick lookup asks nobody twice");
        assert_eq!(lookup.next(), Some(peers[6]));
        peers[1..6].iter().for_each(|peer| lookup.answered(&peer.id, &[], RTT));
        assert!(!lookup.is_done());
        lookup.slow(&peers[0].id);
        assert!(lookup.is_done());
    }

    /// DHT-6.
    #[test]
    fn a_wide_lookup_asks_a_late_peer_at_its_end_once_more() {
        let target = Key::of_immutable(b"target");
        let peers = sorted(&target, 0..12);
        let mut lookup = Lookup::new(target, Shape { alpha: 6, beta: 2, paths: 2, ..GET }, &peers);
        while lookup.next().is_some() {}
        assert_eq!(lookup.late(&peers[0].id), Some(peers[0]));
        assert_eq!(lookup.late(&peers[0].id), None, "once");
        assert_eq!(lookup.late(&peers[8].id), None, "it is none of the closest");
        lookup.slow(&peers[0].id);
        peers[1..].iter().for_each(|peer| lookup.answered(&peer.id, &[], RTT));
        assert!(!lookup.is_done(), "the second question is still open");
        lookup.slow(&peers[0].id);
        assert!(lookup.is_done());
    }

    #[test]
    fn alpha_bounds_the_questions_under_way() {
        let target = Key::of_immutable(b"target");
        let peers = sorted(&target, 0..100);
        let mut lookup = Lookup::new(target, GET, &peers[80..]);
        assert_eq!(core::iter::from_fn(|| lookup.next()).count(), 6);
        lookup.slow(&peers[80].id);
        assert!(lookup.next().is_some(), "a late answer frees its slot");
        assert_eq!(lookup.next(), None);
    }

    /// DHT-17.
    #[test]
    fn a_late_answer_still_counts() {
        let target = Key::of_immutable(b"target");
        let peers = sorted(&target, 0..4);
        let mut lookup = Lookup::new(target, GET, &peers[..1]);
        lookup.next().unwrap();
        lookup.slow(&peers[0].id);
        assert!(!lookup.is_done(), "with nobody else to ask, a slow peer is worth waiting for");
        lookup.answered(&peers[0].id, &peers[1..], RTT);
        assert_eq!(lookup.next(), Some(peers[1]));
    }

    /// DHT-6.
    #[test]
    fn disjoint_paths_share_no_peer_and_all_go_on_to_the_end() {
        let target = Key::of_immutable(b"target");
        let peers = sorted(&target, 0..200);
        let mut lookup = Lookup::new(target, Shape { alpha: 3, beta: 5, paths: 4, ..GET }, &peers[180..]);
        let asked = run(&mut lookup, &peers, |_| false);
        assert_eq!(asked.iter().map(|peer| peer.id).collect::<BTreeSet<_>>().len(), asked.len());
        assert_eq!(lookup.closest(K), peers[..K]);
    }

    #[test]
    fn one_path_of_liars_does_not_hide_the_target_from_the_others() {
        let target = Key::of_immutable(b"target");
        let peers = sorted(&target, 0..100);
        let liars = sorted(&target, 1_000..1_040);
        let mut lookup =
            Lookup::new(target, Shape { alpha: 1, beta: 3, paths: 2, ..GET }, &[liars[39], peers[99]]);
        while let Some(next) = lookup.next() {
            let circle = if liars.contains(&next) { &liars } else { &peers };
            let named: Vec<Node> = circle.iter().filter(|peer| peer.id != next.id).take(K).copied().collect();
            lookup.answered(&next.id, &named, RTT);
        }
        assert!(lookup.closest(K).contains(&peers[0]));
    }

    #[test]
    fn a_false_address_does_not_hide_an_honest_peer() {
        let target = Key::of_immutable(b"target");
        let (honest, liar, victim) = (peer(1), peer(2), peer(3));
        let forged = Node { addr: "127.0.0.1:9".parse().unwrap(), ..victim };
        let mut lookup = Lookup::new(target, GET, &[honest, liar]);
        while lookup.next().is_some() {}
        lookup.answered(&liar.id, &[forged], RTT);
        assert_eq!(lookup.next(), Some(forged));
        lookup.answered(&honest.id, &[victim], RTT);
        lookup.failed(&victim.id);
        assert_eq!(lookup.next(), Some(victim));
        lookup.failed(&victim.id);
        assert_eq!(lookup.next(), None, "two addresses, and no more");
    }

    #[test]
    fn memory_stays_bounded_however_many_peers_are_named() {
        let target = Key::of_immutable(b"target");
        let mut lookup = Lookup::new(target, GET, &[peer(0)]);
        lookup.next().unwrap();
        let many: Vec<Node> = (1..500).map(peer).collect();
        lookup.answered(&peer(0).id, &many, RTT);
        assert_eq!(lookup.paths[0].candidates.len(), CANDIDATES_MAX);
    }
}
