//! A network in virtual time for machines of any make: latencies, rates, loss, deaths, stalls, partitions.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::time::Duration;

/// After this long the transport notices that a peer is gone without a word; a dial fails after it too.
const DETECTION: Duration = Duration::from_secs(10);
const DIAL_LIMIT: Duration = Duration::from_secs(5);
/// How often a transport with a queue tells of it.
const REPORT: Duration = Duration::from_millis(10);
/// Messages of at least this many bytes carry a payload, in every protocol here.
pub const PAYLOAD: usize = 900;

/// What a machine wants.
#[derive(Debug)]
pub enum Act {
    /// A message to a peer. If `dials` there need not be a connection yet.
    Send {
        to: u32,
        bytes: Vec<u8>,
        dials: bool,
    },
    Connect(u32),
    Disconnect(u32),
    /// A payload with this number in front arrived, after so many links.
    Deliver {
        number: u32,
        hops: u16,
    },
}

/// One node's machine.
pub trait Machine {
    fn new(me: u32, now: Duration) -> Self;
    fn join(&mut self, now: Duration, seed: Option<u32>);
    fn leave(&mut self, now: Duration);
    /// False if it was refused.
    fn publish(&mut self, now: Duration, is_urgent: bool, payload: Vec<u8>) -> bool;
    fn message(&mut self, now: Duration, from: u32, bytes: &[u8]);
    fn up(&mut self, now: Duration, peer: u32);
    fn down(&mut self, now: Duration, peer: u32);
    fn backlog(&mut self, now: Duration, peer: u32, bytes: usize);
    fn timeout(&mut self, now: Duration);
    fn deadline(&self) -> Option<Duration>;
    fn poll(&mut self) -> Option<Act>;
    fn neighbours(&self) -> Vec<u32>;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Well,
    /// Takes everything in and does nothing.
    Stalled,
    /// Does everything but pass payloads on.
    Blackhole,
    Dead,
}

pub struct Node<M> {
    pub machine: M,
    pub life: Life,
    wake_at: Option<Duration>,
}

/// What became of one publication.
pub struct Fate {
    pub published_at: Duration,
    /// Delay and links of each delivery, by node.
    pub arrivals: BTreeMap<u32, (Duration, u16)>,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Happening {
    Wake(u32),
    Arrive { from: u32, to: u32, bytes: Vec<u8> },
    Connected { from: u32, to: u32, waiting: Vec<Vec<u8>> },
    Gone { at: u32, peer: u32 },
    Report { from: u32, to: u32 },
}

pub struct Net<M> {
    pub now: Duration,
    pub nodes: Vec<Node<M>>,
    pub fates: Vec<Fate>,
    pub bytes: u64,
    pub payloads: u64,
    pub refused: u64,
    /// One-way delays, from and to.
    pub delay: (Duration, Duration),
    /// Of a thousand messages so many vanish.
    pub loss: u64,
    /// Bytes a second of one direction of a link; 0 is no limit.
    pub rate: u64,
    pub split_at: Option<u32>,
    links: HashMap<(u32, u32), Link>,
    dialling: HashMap<(u32, u32), Vec<Vec<u8>>>,
    queue: BinaryHeap<Reverse<(Duration, u64, Happening)>>,
    sequence: u64,
    chance: u64,
}

/// Of a link, when each direction has sent what it holds; lower node's first.
#[derive(Default)]
struct Link {
    free_at: [Duration; 2],
}

impl<M: Machine> Net<M> {
    pub fn new(count: u32, delay_ms: (u64, u64), seed: u64) -> Self {
        let now = Duration::from_secs(1000);
        let node = |me| Node { machine: M::new(me, now), life: Life::Well, wake_at: None };
        Self {
            now,
            nodes: (0..count).map(node).collect(),
            fates: Vec::new(),
            bytes: 0,
            payloads: 0,
            refused: 0,
            delay: (Duration::from_millis(delay_ms.0), Duration::from_millis(delay_ms.1)),
            loss: 0,
            rate: 0,
            split_at: None,
            links: HashMap::new(),
            dialling: HashMap::new(),
            queue: BinaryHeap::new(),
            sequence: 0,
            chance: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
        }
    }

    /// Everyone joins through an earlier node, within twenty seconds, and settles for as long as told.
    pub fn join_all(&mut self, settle: Duration) {
        let count = self.nodes.len() as u32;
        for node in 0..count {
            let seed = (node > 0).then(|| self.below(u64::from(node)) as u32);
            self.act(node, |machine, now| machine.join(now, seed));
            self.run(Duration::from_secs(20) / count);
        }
        self.run(settle);
    }

    /// Publishes from a random node that is well; nothing if it was refused.
    pub fn publish(&mut self, is_urgent: bool, bytes: usize) -> Option<usize> {
        let node = loop {
            let node = self.below(self.nodes.len() as u64) as u32;
            if self.nodes[node as usize].life == Life::Well {
                break node;
            }
        };
        let number = self.fates.len();
        let mut payload = vec![0x5a; bytes];
        payload[..4].copy_from_slice(&(number as u32).to_le_bytes());
        let mut taken = false;
        let now = self.now;
        self.fates.push(Fate { published_at: now, arrivals: BTreeMap::from([(node, (Duration::ZERO, 0))]) });
        self.act(node, |machine, now| taken = machine.publish(now, is_urgent, payload));
        if !taken {
            self.fates.pop();
            self.refused += 1;
        }
        taken.then_some(number)
    }

    pub fn act(&mut self, node: u32, action: impl FnOnce(&mut M, Duration)) {
        action(&mut self.nodes[node as usize].machine, self.now);
        self.drain(node);
    }

    /// Dies without a word.
    pub fn kill(&mut self, node: u32) {
        self.nodes[node as usize].life = Life::Dead;
        self.cut(|a, b| a == node || b == node);
    }

    pub fn split(&mut self, at: u32) {
        self.split_at = Some(at);
        self.cut(|a, b| (a < at) != (b < at));
    }

    /// The nodes that are well.
    pub fn well(&self) -> usize {
        self.nodes.iter().filter(|node| node.life == Life::Well).count()
    }

    /// Nodes that are well and have this publication.
    pub fn reached(&self, fate: &Fate, within: Duration) -> usize {
        let has = |node: &u32| fate.arrivals.get(node).is_some_and(|(delay, _)| *delay <= within);
        let nodes = 0..self.nodes.len() as u32;
        nodes.filter(|node| self.nodes[*node as usize].life == Life::Well && has(node)).count()
    }

    /// Nodes that are well and have no neighbour that is.
    pub fn isolated(&self) -> usize {
        let is_well = |peer: u32| self.nodes[peer as usize].life == Life::Well;
        let well = self.nodes.iter().filter(|node| node.life == Life::Well);
        well.filter(|node| !node.machine.neighbours().into_iter().any(is_well)).count()
    }

    pub fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.queue.peek().is_some_and(|Reverse((at, ..))| *at <= end) {
            let Some(Reverse((at, _, happening))) = self.queue.pop() else { break };
            self.now = at;
            self.happen(happening);
        }
        self.now = end;
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Wake(node) => {
                let place = &mut self.nodes[node as usize];
                if place.wake_at == Some(self.now) && is_awake(place.life) {
                    place.wake_at = None;
                    self.act(node, |machine, now| machine.timeout(now));
                }
            }
            Happening::Arrive { from, to, bytes } => {
                let stands = self.links.contains_key(&pair(from, to));
                if stands && is_awake(self.nodes[to as usize].life) {
                    self.act(to, |machine, now| machine.message(now, from, &bytes));
                }
            }
            Happening::Connected { from, to, .. } => self.connected(from, to),
            Happening::Gone { at, peer } => {
                if is_awake(self.nodes[at as usize].life) && !self.links.contains_key(&pair(at, peer)) {
                    self.act(at, |machine, now| machine.down(now, peer));
                }
            }
            Happening::Report { from, to } => {
                let bytes = self.backlog(from, to);
                if is_awake(self.nodes[from as usize].life) {
                    self.act(from, |machine, now| machine.backlog(now, to, bytes));
                }
                if self.backlog(from, to) > 0 {
                    self.later(REPORT, Happening::Report { from, to });
                }
            }
        }
    }

    fn connected(&mut self, from: u32, to: u32) {
        let waiting = self.dialling.remove(&(from, to)).unwrap_or_default();
        let apart = self.split_at.is_some_and(|at| (from < at) != (to < at));
        if self.nodes[from as usize].life == Life::Dead {
            return;
        }
        if apart || self.nodes[to as usize].life == Life::Dead {
            return self.later(DIAL_LIMIT, Happening::Gone { at: from, peer: to });
        }
        if !self.links.contains_key(&pair(from, to)) {
            self.links.insert(pair(from, to), Link::default());
            for (at, peer) in [(from, to), (to, from)] {
                if is_awake(self.nodes[at as usize].life) {
                    self.act(at, |machine, now| machine.up(now, peer));
                }
            }
        }
        for bytes in waiting {
            self.transmit(from, to, bytes, false);
        }
    }

    fn drain(&mut self, node: u32) {
        while let Some(act) = self.nodes[node as usize].machine.poll() {
            match act {
                Act::Send { to, bytes, dials } => self.transmit(node, to, bytes, dials),
                Act::Connect(to) => self.dial(node, to, None),
                Act::Disconnect(peer) => self.hang_up(node, peer),
                Act::Deliver { number, hops } => {
                    let now = self.now;
                    if let Some(fate) = self.fates.get_mut(number as usize) {
                        let delay = now - fate.published_at;
                        fate.arrivals.entry(node).or_insert((delay, hops));
                    }
                }
            }
        }
        let Some(at) = self.nodes[node as usize].machine.deadline() else { return };
        let place = &mut self.nodes[node as usize];
        if place.wake_at.is_none_or(|wake_at| at < wake_at) {
            let at = at.max(self.now);
            place.wake_at = Some(at);
            self.later(at - self.now, Happening::Wake(node));
        }
    }

    fn transmit(&mut self, from: u32, to: u32, bytes: Vec<u8>, dials: bool) {
        let carries = bytes.len() >= PAYLOAD;
        if carries && self.nodes[from as usize].life == Life::Blackhole {
            return;
        }
        if !self.links.contains_key(&pair(from, to)) {
            if dials {
                self.dial(from, to, Some(bytes));
            }
            return;
        }
        self.bytes += bytes.len() as u64;
        self.payloads += u64::from(carries);
        if self.loss > 0 && self.below(1000) < self.loss {
            return;
        }
        let mut delay = self.delay(from, to);
        if self.rate > 0 {
            let was_idle = self.backlog(from, to) == 0;
            let (now, rate) = (self.now, self.rate);
            if let Some(link) = self.links.get_mut(&pair(from, to)) {
                let free_at = &mut link.free_at[usize::from(from > to)];
                *free_at =
                    (*free_at).max(now) + Duration::from_nanos(bytes.len() as u64 * 1_000_000_000 / rate);
                delay += *free_at - now;
            }
            if was_idle {
                self.later(REPORT, Happening::Report { from, to });
            }
        }
        self.later(delay, Happening::Arrive { from, to, bytes });
    }

    fn backlog(&self, from: u32, to: u32) -> usize {
        let Some(link) = self.links.get(&pair(from, to)) else { return 0 };
        let wait = link.free_at[usize::from(from > to)].saturating_sub(self.now);
        (wait.as_secs_f64() * self.rate as f64) as usize
    }

    fn dial(&mut self, from: u32, to: u32, bytes: Option<Vec<u8>>) {
        let is_new = !self.dialling.contains_key(&(from, to));
        self.dialling.entry((from, to)).or_default().extend(bytes);
        if is_new {
            let delay = self.delay(from, to) * 3;
            self.later(delay, Happening::Connected { from, to, waiting: Vec::new() });
        }
    }

    /// Closes a connection unless the other end wants it.
    fn hang_up(&mut self, node: u32, peer: u32) {
        if self.nodes[peer as usize].machine.neighbours().contains(&node)
            && is_awake(self.nodes[peer as usize].life)
            && self.nodes[node as usize].machine.neighbours().contains(&peer)
        {
            return;
        }
        // What was sent before still arrives.
        let delay = self.delay(node, peer) + Duration::from_micros(1);
        if self.links.contains_key(&pair(node, peer)) {
            self.later(delay, Happening::Gone { at: node, peer });
            self.later(delay, Happening::Gone { at: peer, peer: node });
            self.hung_up(node, peer);
        }
    }

    fn hung_up(&mut self, node: u32, peer: u32) {
        self.links.remove(&pair(node, peer));
    }

    fn cut(&mut self, is_broken: impl Fn(u32, u32) -> bool) {
        let broken: Vec<(u32, u32)> = self.links.keys().copied().filter(|(a, b)| is_broken(*a, *b)).collect();
        for (a, b) in broken {
            self.links.remove(&(a, b));
            self.later(DETECTION, Happening::Gone { at: a, peer: b });
            self.later(DETECTION, Happening::Gone { at: b, peer: a });
        }
    }

    fn later(&mut self, span: Duration, happening: Happening) {
        self.sequence += 1;
        self.queue.push(Reverse((self.now + span, self.sequence, happening)));
    }

    /// Fixed for a pair of nodes, even over the range.
    fn delay(&self, a: u32, b: u32) -> Duration {
        let (a, b) = pair(a, b);
        let hash = (u64::from(a) << 32 | u64::from(b)).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let hash = (hash ^ hash >> 32).wrapping_mul(0xd6e8_feb8_6659_fd93);
        self.delay.0 + (self.delay.1 - self.delay.0) * (hash >> 44) as u32 / (1 << 20)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        (self.chance >> 11) % bound
    }
}

fn is_awake(life: Life) -> bool {
    matches!(life, Life::Well | Life::Blackhole)
}

fn pair(a: u32, b: u32) -> (u32, u32) {
    (a.min(b), a.max(b))
}
