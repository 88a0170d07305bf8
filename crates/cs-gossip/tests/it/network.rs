//! A network of `Gossip` machines in virtual time: latencies, connections, loss, deaths, partitions.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use cs_gossip::{Config, Event, Gossip, Input, Lane, MessageId, Output};
use cs_identity::{NodeId, SecretKey};

/// An odd start hides no alignment bug.
pub(crate) const EPOCH: Duration = Duration::from_nanos(987_654_321_123);

pub(crate) struct Network {
    pub(crate) now: Duration,
    pub(crate) nodes: Vec<Node>,
    places: BTreeMap<NodeId, usize>,
    /// Open connections, lower place first.
    links: BTreeSet<(usize, usize)>,
    queue: BinaryHeap<Reverse<(Duration, u64, Happening)>>,
    /// Messages of one direction arrive in order, as over a stream.
    arrivals: BTreeMap<(usize, usize), Duration>,
    sequence: u64,
    chance: u64,
    /// One-way delay: from this many microseconds to twice as many.
    pub(crate) delay_us: u64,
    /// Of a thousand payload messages so many vanish.
    pub(crate) loss: u64,
    /// Nodes below this place and above it do not reach each other.
    pub(crate) split_at: Option<usize>,
    /// How long it takes to notice that a connection is dead.
    pub(crate) detection: Duration,
    /// Nodes that say other things too than their machines do.
    pub(crate) hostile: BTreeSet<usize>,
}

pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) gossip: Gossip,
    pub(crate) alive: bool,
    pub(crate) delivered: BTreeMap<MessageId, (Duration, u8)>,
    wake_at: Option<Duration>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Wake(usize),
    Arrive {
        from: usize,
        to: usize,
        bytes: Vec<u8>,
    },
    /// The connection stands, if both ends still do.
    Connected {
        from: usize,
        to: usize,
    },
    /// One end learns that there is no connection.
    Gone {
        at: usize,
        peer: usize,
    },
}

pub(crate) fn node_id(number: u32) -> NodeId {
    let mut seed = [0x11; 32];
    seed[..4].copy_from_slice(&number.to_le_bytes());
    SecretKey::from_bytes(seed).node_id()
}

impl Network {
    pub(crate) fn new(count: usize, config: Config, seed: u64) -> Self {
        let nodes: Vec<Node> = (0..count)
            .map(|number| {
                let id = node_id(number as u32);
                let mut chance = [0; 32];
                chance[..8].copy_from_slice(&seed.to_le_bytes());
                chance[8..16].copy_from_slice(&(number as u64).to_le_bytes());
                let gossip = Gossip::new(config, id, EPOCH, chance).unwrap();
                Node { id, gossip, alive: true, delivered: BTreeMap::new(), wake_at: None }
            })
            .collect();
        let places = nodes.iter().enumerate().map(|(place, node)| (node.id, place)).collect();
        Self {
            now: EPOCH,
            nodes,
            places,
            links: BTreeSet::new(),
            queue: BinaryHeap::new(),
            arrivals: BTreeMap::new(),
            sequence: 0,
            chance: seed | 1,
            delay_us: 10_000,
            loss: 0,
            split_at: None,
            detection: Duration::from_secs(3),
            hostile: BTreeSet::new(),
        }
    }

    /// Everyone joins through node 0 or an earlier node, a few milliseconds apart.
    pub(crate) fn join_all(&mut self) {
        for place in 0..self.nodes.len() {
            let contact = self.below(place.max(1) as u64) as usize;
            let seeds = if place == 0 { Vec::new() } else { vec![self.nodes[contact].id] };
            self.act(place, |gossip, now| gossip.join(now, seeds));
            self.run(Duration::from_millis(20));
        }
    }

    pub(crate) fn publish(&mut self, place: usize, lane: Lane, payload: &[u8]) -> MessageId {
        let mut id = None;
        self.act(place, |gossip, now| id = gossip.publish(now, lane, payload.to_vec()).ok());
        id.expect("nobody is congested")
    }

    pub(crate) fn act(&mut self, place: usize, action: impl FnOnce(&mut Gossip, Duration)) {
        action(&mut self.nodes[place].gossip, self.now);
        self.drain(place);
    }

    /// Dies without a word: peers notice later.
    pub(crate) fn kill(&mut self, place: usize) {
        self.nodes[place].alive = false;
        let broken: Vec<(usize, usize)> =
            self.links.iter().copied().filter(|(a, b)| *a == place || *b == place).collect();
        for (a, b) in broken {
            self.cut(a, b);
        }
    }

    /// Cuts every connection across `place`, and lets none come up until healed.
    pub(crate) fn split(&mut self, place: usize) {
        self.split_at = Some(place);
        let broken: Vec<(usize, usize)> =
            self.links.iter().copied().filter(|(a, b)| (*a < place) != (*b < place)).collect();
        for (a, b) in broken {
            self.cut(a, b);
        }
    }

    /// Says something to every neighbour that a machine would not.
    pub(crate) fn say_all(&mut self, place: usize, bytes: &[u8]) {
        let neighbours: Vec<NodeId> = self.nodes[place].gossip.neighbours().collect();
        for peer in neighbours {
            self.transmit(place, self.places[&peer], bytes.to_vec());
        }
    }

    /// The nodes that are not hostile and have this one as a neighbour.
    pub(crate) fn friends(&self, place: usize) -> BTreeSet<usize> {
        let id = self.nodes[place].id;
        let honest = (0..self.nodes.len()).filter(|at| !self.hostile.contains(at));
        honest.filter(|at| self.nodes[*at].gossip.neighbours().any(|peer| peer == id)).collect()
    }

    /// How many living nodes have it, the publisher not counted.
    pub(crate) fn reached(&self, id: &MessageId) -> usize {
        self.nodes.iter().filter(|node| node.alive && node.delivered.contains_key(id)).count()
    }

    pub(crate) fn alive(&self) -> usize {
        self.nodes.iter().filter(|node| node.alive).count()
    }

    /// Sizes of the components of the graph of living neighbours, largest first.
    pub(crate) fn components(&self) -> Vec<usize> {
        let mut unseen: BTreeSet<usize> =
            (0..self.nodes.len()).filter(|place| self.nodes[*place].alive).collect();
        let mut sizes = Vec::new();
        while let Some(start) = unseen.pop_first() {
            let (mut stack, mut size) = (vec![start], 0);
            while let Some(place) = stack.pop() {
                size += 1;
                for peer in self.nodes[place].gossip.neighbours() {
                    let peer = self.places[&peer];
                    if unseen.remove(&peer) {
                        stack.push(peer);
                    }
                }
            }
            sizes.push(size);
        }
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        sizes
    }

    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.queue.peek().is_some_and(|Reverse((at, ..))| *at <= end) {
            let Some(Reverse((at, _, happening))) = self.queue.pop() else {
                break;
            };
            self.now = at;
            self.happen(happening);
        }
        self.now = end;
    }

    fn happen(&mut self, happening: Happening) {
        let now = self.now;
        match happening {
            Happening::Wake(place) => {
                if self.nodes[place].wake_at != Some(now) || !self.nodes[place].alive {
                    return;
                }
                self.nodes[place].wake_at = None;
                let gossip = &mut self.nodes[place].gossip;
                gossip.handle_timeout(now);
                assert!(gossip.poll_timeout().is_none_or(|at| at > now), "a deadline that is due already");
                self.drain(place);
            }
            Happening::Arrive { from, to, bytes } => {
                if self.links.contains(&(from.min(to), from.max(to))) && self.nodes[to].alive {
                    let is_hostile = self.hostile.contains(&from);
                    let from = self.nodes[from].id;
                    let gossip = &mut self.nodes[to].gossip;
                    let taken = gossip.handle_input(now, Input::Message { from, bytes: &bytes });
                    assert!(taken.is_ok() || is_hostile, "honest peers keep the rules: {taken:?}");
                    if taken.is_err() {
                        gossip.handle_input(now, Input::Blame { peer: from }).unwrap();
                    }
                    self.drain(to);
                }
            }
            Happening::Connected { from, to } => {
                let apart = self.split_at.is_some_and(|place| (from < place) != (to < place));
                if !self.nodes[from].alive {
                    return;
                }
                if apart || !self.nodes[to].alive {
                    self.later(self.detection, Happening::Gone { at: from, peer: to });
                } else if self.links.insert((from.min(to), from.max(to))) {
                    for (at, peer) in [(from, to), (to, from)] {
                        let peer = self.nodes[peer].id;
                        self.nodes[at].gossip.handle_input(now, Input::PeerUp { peer }).unwrap();
                        self.drain(at);
                    }
                }
            }
            Happening::Gone { at, peer } => {
                if self.nodes[at].alive && !self.links.contains(&(at.min(peer), at.max(peer))) {
                    let peer = self.nodes[peer].id;
                    self.nodes[at].gossip.handle_input(now, Input::PeerDown { peer }).unwrap();
                    self.drain(at);
                }
            }
        }
    }

    fn drain(&mut self, place: usize) {
        while let Some(output) = self.nodes[place].gossip.poll_output() {
            match output {
                Output::Send { to, lane: _, bytes } => self.transmit(place, self.places[&to], bytes),
                Output::Connect { peer } => {
                    let to = self.places[&peer];
                    let delay = self.delay(place, to) * 4;
                    self.later(delay, Happening::Connected { from: place, to });
                }
                Output::Disconnect { peer } => {
                    let peer = self.places[&peer];
                    // What was sent before arrives first.
                    let delay = self.delay(place, peer) * 4;
                    self.hang_up(place, peer, delay);
                }
                Output::Event(Event::Deliver { id, hops, .. }) => {
                    let before = self.nodes[place].delivered.insert(id, (self.now, hops));
                    assert!(before.is_none(), "delivered twice");
                }
                Output::Event(_) => {}
            }
        }
        let Some(at) = self.nodes[place].gossip.poll_timeout() else {
            return;
        };
        if self.nodes[place].wake_at.is_none_or(|wake_at| at < wake_at) {
            let at = at.max(self.now);
            self.nodes[place].wake_at = Some(at);
            self.later(at - self.now, Happening::Wake(place));
        }
    }

    fn transmit(&mut self, from: usize, to: usize, bytes: Vec<u8>) {
        // Only what reconciliation would recover is lost: broadcasts and announcements.
        let lossy = bytes.first().is_some_and(|kind| (0x10..=0x16).contains(kind));
        if !self.links.contains(&(from.min(to), from.max(to))) || (lossy && self.below(1000) < self.loss) {
            return;
        }
        let at = self.now + self.delay(from, to);
        let after = self.arrivals.get(&(from, to)).copied().unwrap_or_default();
        let at = at.max(after + Duration::from_nanos(1));
        self.arrivals.insert((from, to), at);
        self.later(at - self.now, Happening::Arrive { from, to, bytes });
    }

    /// Closes a connection unless the other end wants it (both ends are neighbours again).
    fn hang_up(&mut self, place: usize, peer: usize, delay: Duration) {
        let (a, b) = (place.min(peer), place.max(peer));
        let wanted = |at: usize, other: usize| {
            let other = self.nodes[other].id;
            self.nodes[at].gossip.neighbours().any(|neighbour| neighbour == other)
        };
        if wanted(a, b) || wanted(b, a) || !self.links.contains(&(a, b)) {
            return;
        }
        self.links.remove(&(a, b));
        for (at, peer) in [(a, b), (b, a)] {
            self.later(delay, Happening::Gone { at, peer });
        }
    }

    fn cut(&mut self, a: usize, b: usize) {
        self.links.remove(&(a, b));
        for (at, peer) in [(a, b), (b, a)] {
            self.later(self.detection, Happening::Gone { at, peer });
        }
    }

    fn later(&mut self, span: Duration, happening: Happening) {
        self.sequence += 1;
        self.queue.push(Reverse((self.now + span, self.sequence, happening)));
    }

    /// Fixed for a pair of nodes, between the delay and twice it.
    fn delay(&self, a: usize, b: usize) -> Duration {
        let pair = (a.min(b) as u64) << 32 | a.max(b) as u64;
        let spread = pair.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        Duration::from_micros(self.delay_us + spread % self.delay_us.max(1))
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        (self.chance >> 11) % bound
    }
}
