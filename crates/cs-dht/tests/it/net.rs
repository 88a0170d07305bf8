//! A network of machines in virtual time, with latency, loss, and peers that lie. One seed decides everything.

use cs_dht::wire::{Answer, Ask, Extensions, Node, Reply, Request, Token};
use cs_dht::{
    Config, Contact, Dht, Event, Input, K, Key, LookupId, Mode, Output, PeerRecord, Refused, RpcId,
};
use cs_identity::{NodeId, SecretKey, Signed};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// The wall clock when a network starts.
pub(crate) const START_MS: u64 = 1_800_000_000_000;

/// What a peer of the network is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Behaviour {
    Honest,
    /// Answers every question with nothing but its accomplices, those closest to the target first.
    Sybil,
}

pub(crate) struct Peer {
    pub(crate) secret: SecretKey,
    id: NodeId,
    key: Key,
    pub(crate) addr: SocketAddr,
    pub(crate) behaviour: Behaviour,
    /// `None`: switched off.
    pub(crate) dht: Option<Dht>,
    place: (u64, u64),
    wake_at: Option<Duration>,
}

enum Delivery {
    Request { from: usize, rpc: RpcId, to: NodeId, addr: SocketAddr, bytes: Vec<u8> },
    Response { to: usize, rpc: RpcId, from: NodeId, bytes: Vec<u8> },
}

pub(crate) struct Net {
    pub(crate) now: Duration,
    pub(crate) peers: Vec<Peer>,
    /// Datagrams lost, in thousandths.
    pub(crate) loss: u64,
    /// Pairs that cannot reach each other are those on different sides; `None`: no partition.
    pub(crate) island: Option<BTreeSet<usize>>,
    pub(crate) events: Vec<(usize, Event)>,
    /// Only this peer acts by itself; the others answer and do nothing else. `None`: all do.
    pub(crate) acting: Option<usize>,
    /// Inputs that a machine blamed on their sender.
    pub(crate) faults: usize,
    chance: u64,
    serial: u64,
    queue: BTreeMap<(Duration, u64), Delivery>,
    wakes: BTreeSet<(Duration, usize)>,
    by_addr: BTreeMap<SocketAddr, usize>,
    accomplices: BTreeMap<Key, Node>,
}

impl Net {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            now: Duration::from_nanos(1_000_000_001),
            peers: Vec::new(),
            loss: 0,
            island: None,
            events: Vec::new(),
            acting: None,
            faults: 0,
            chance: seed,
            serial: 0,
            queue: BTreeMap::new(),
            wakes: BTreeSet::new(),
            by_addr: BTreeMap::new(),
            accomplices: BTreeMap::new(),
        }
    }

    /// A number below `below` (splitmix64).
    pub(crate) fn draw(&mut self, below: u64) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.chance;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % below
    }

    pub(crate) fn seed(&mut self) -> [u8; 32] {
        let mut seed = [0; 32];
        for chunk in seed.chunks_mut(8) {
            chunk.copy_from_slice(&self.draw(u64::MAX).to_be_bytes());
        }
        seed
    }

    pub(crate) fn unix_ms(&self) -> u64 {
        START_MS + self.now.as_millis() as u64
    }

    pub(crate) fn config(&self) -> Config {
        let mut config = Config::new(self.unix_ms());
        config.mode = Mode::Server;
        config
    }

    /// Adds a server at an address of its own: 127.0.0.1 and one port each.
    pub(crate) fn add(&mut self) -> usize {
        self.add_with(self.config())
    }

    pub(crate) fn add_with(&mut self, config: Config) -> usize {
        let secret = SecretKey::from_bytes(self.seed());
        self.add_as(secret, config)
    }

    /// Adds a server with this key.
    pub(crate) fn add_as(&mut self, secret: SecretKey, config: Config) -> usize {
        let index = self.peers.len();
        let addr = SocketAddr::from(([127, 0, (index >> 12) as u8, 1], 2_000 + (index & 0xfff) as u16));
        let place = (self.draw(64), self.draw(64));
        let behaviour = Behaviour::Honest;
        let id = secret.node_id();
        let key = Key::of_peer(&id);
        self.peers.push(Peer { secret, id, key, addr, behaviour, dht: None, place, wake_at: None });
        self.start(index, addr, config);
        index
    }

    pub(crate) fn add_sybil(&mut self) -> usize {
        let index = self.add();
        self.turn(index, Behaviour::Sybil);
        index
    }

    /// Adds sybils whose keys were made until they shared `bits` bits with a key.
    pub(crate) fn crowd(&mut self, key: &Key, bits: u32, count: usize) -> Vec<usize> {
        let mut sybils = Vec::new();
        while sybils.len() < count {
            let secret = SecretKey::from_bytes(self.seed());
            if Key::of_peer(&secret.node_id()).distance(key).leading_zeros() < bits {
                continue;
            }
            let index = self.add_as(secret, self.config());
            self.turn(index, Behaviour::Sybil);
            sybils.push(index);
            let entry = self.draw(index as u64) as usize;
            let entry = self.contact(entry);
            self.with(index, |dht, now| dht.bootstrap(now, vec![entry]));
            self.run(Duration::from_millis(500));
        }
        sybils
    }

    /// From now on a peer is like this.
    pub(crate) fn turn(&mut self, index: usize, behaviour: Behaviour) {
        self.peers[index].behaviour = behaviour;
        match behaviour {
            Behaviour::Honest => self.accomplices.remove(&self.key(index)),
            Behaviour::Sybil => self.accomplices.insert(self.key(index), self.node(index)),
        };
    }

    /// Switches a peer on, as a new process with the same key.
    pub(crate) fn start(&mut self, index: usize, addr: SocketAddr, config: Config) {
        self.stop(index);
        let seed = self.seed();
        let peer = &mut self.peers[index];
        peer.addr = addr;
        peer.dht = Some(Dht::new(config, peer.id, self.now, seed).unwrap());
        self.by_addr.insert(addr, index);
        self.flush(index);
    }

    /// Switches a peer off without a word.
    pub(crate) fn stop(&mut self, index: usize) {
        let peer = &mut self.peers[index];
        peer.dht = None;
        self.by_addr.remove(&peer.addr);
        if let Some(at) = peer.wake_at.take() {
            self.wakes.remove(&(at, index));
        }
    }

    pub(crate) fn id(&self, index: usize) -> NodeId {
        self.peers[index].id
    }

    pub(crate) fn key(&self, index: usize) -> Key {
        self.peers[index].key
    }

    pub(crate) fn node(&self, index: usize) -> Node {
        Node { id: self.id(index), addr: self.peers[index].addr }
    }

    pub(crate) fn contact(&self, index: usize) -> Contact {
        Contact { id: self.id(index), addrs: vec![self.peers[index].addr] }
    }

    pub(crate) fn dht(&self, index: usize) -> &Dht {
        self.peers[index].dht.as_ref().unwrap()
    }

    /// Gives a command to a peer and sends what comes of it.
    pub(crate) fn with<T>(&mut self, index: usize, command: impl FnOnce(&mut Dht, Duration) -> T) -> T {
        let result = command(self.peers[index].dht.as_mut().unwrap(), self.now);
        self.flush(index);
        result
    }

    /// A network of `count` servers that know each other through the first one.
    pub(crate) fn grown(seed: u64, count: usize, loss: u64) -> Self {
        let mut net = Self::new(seed);
        net.loss = loss;
        net.add();
        for _ in 1..count {
            let index = net.add();
            let first = net.contact(0);
            net.with(index, |dht, now| dht.bootstrap(now, vec![first]));
            net.run(Duration::from_millis(50));
        }
        net.run(Duration::from_secs(30));
        net
    }

    pub(crate) fn peer_record(&self, index: usize, seq: u64) -> Signed<PeerRecord> {
        let peer = &self.peers[index];
        let record = PeerRecord {
            id: peer.id,
            addrs: vec![peer.addr],
            roles: 0,
            seq,
            expires_unix_ms: self.unix_ms() + 24 * 3_600_000,
            extensions: Extensions::default(),
        };
        Signed::sign(&peer.secret, record)
    }

    pub(crate) fn announce(&mut self, index: usize, seq: u64) {
        let record = self.peer_record(index, seq);
        self.with(index, |dht, now| dht.announce(now, record)).unwrap();
    }

    /// Runs a command to its event, within a minute of virtual time.
    pub(crate) fn ask(
        &mut self,
        index: usize,
        command: impl FnOnce(&mut Dht, Duration) -> Result<LookupId, Refused>,
    ) -> Event {
        let lookup = self.with(index, command).unwrap();
        let mut seen = self.events.len();
        let end = self.now + Duration::from_secs(60);
        loop {
            while let Some((from, event)) = self.events.get(seen) {
                if *from == index && lookup_of(event) == Some(lookup) {
                    return event.clone();
                }
                seen += 1;
            }
            assert!(self.now < end && self.step(end), "a lookup ends within a minute");
        }
    }

    /// Where peer `of` is, as peer `from` finds out.
    pub(crate) fn locate(&mut self, from: usize, of: usize) -> Option<SocketAddr> {
        let id = self.id(of);
        match self.ask(from, |dht, now| dht.find_peer(now, id)) {
            Event::Peer { record, .. } => record.map(|record| record.addrs[0]),
            other => panic!("{other:?}"),
        }
    }

    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        while self.step(end) {}
        self.now = end;
    }

    /// Does what is next, if that is no later than `end`.
    fn step(&mut self, end: Duration) -> bool {
        let delivery = self.queue.first_key_value().map(|((at, _), _)| *at);
        let wake = self.wakes.first().map(|(at, _)| *at);
        let Some(at) = [delivery, wake].into_iter().flatten().min().filter(|at| *at <= end) else {
            return false;
        };
        self.now = self.now.max(at);
        if delivery == Some(at) {
            let (_, delivery) = self.queue.pop_first().unwrap();
            self.deliver(delivery);
        } else {
            let (_, index) = *self.wakes.first().unwrap();
            if self.acting.is_some_and(|acting| acting != index) {
                self.wakes.pop_first();
                self.peers[index].wake_at = None;
            } else {
                self.with(index, |dht, now| dht.handle_timeout(now));
            }
        }
        true
    }

    fn deliver(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Request { from, rpc, to, addr, bytes } => {
                let Some(index) = self.by_addr.get(&addr).copied().filter(|index| self.id(*index) == to)
                else {
                    return;
                };
                if self.is_cut(from, index) {
                    return;
                }
                if self.peers[index].behaviour == Behaviour::Sybil {
                    let bytes = self.sybil_answer(index, &bytes);
                    self.send_response(index, from, rpc, bytes);
                    return;
                }
                let asker = self.node(from);
                let input = Input::Request { from: asker.id, addr: asker.addr, bytes: &bytes, token: 0 };
                let now = self.now;
                let Some(dht) = self.peers[index].dht.as_mut() else { return };
                self.faults += usize::from(dht.handle_input(now, input).is_err());
                self.flush_answering(index, Some((from, rpc)));
            }
            Delivery::Response { to, rpc, from, bytes } => {
                let now = self.now;
                let Some(dht) = self.peers[to].dht.as_mut() else { return };
                self.faults +=
                    usize::from(dht.handle_input(now, Input::Response { rpc, from, bytes: &bytes }).is_err());
                self.flush(to);
            }
        }
    }

    fn sybil_answer(&self, index: usize, bytes: &[u8]) -> Vec<u8> {
        let ask = Request::from_bytes(bytes).unwrap().ask;
        let closest = |target: &Key| {
            // Keys with a long common prefix stand side by side: the closest are among the neighbours.
            let after = self.accomplices.range(target..).take(3 * K);
            let around = self.accomplices.range(..target).rev().take(3 * K).chain(after);
            let mut nodes: Vec<(Key, Node)> = around.map(|(key, node)| (*key, *node)).collect();
            nodes.retain(|(_, node)| node.id != self.id(index));
            nodes.sort_by_key(|(key, _)| key.distance(target));
            nodes.truncate(K);
            let mut nodes: Vec<Node> = nodes.into_iter().map(|(_, node)| node).collect();
            nodes.sort_by_key(|node| node.id);
            nodes
        };
        let token = Token([0; 8]);
        let answer = match ask {
            Ask::FindNode { target } => Answer::Nodes { token, nodes: closest(&target) },
            Ask::Sample => Answer::Nodes { token, nodes: closest(&Key::of_peer(&self.id(index))) },
            Ask::Get { key, .. } => Answer::Records { token, records: Vec::new(), nodes: closest(&key) },
            Ask::Store { .. } => Answer::Stored,
            _ => Answer::Pong,
        };
        let mut bytes = Vec::new();
        Reply::new(answer).encode(&mut bytes);
        bytes
    }

    /// Carries out what a peer wants, and notes when it is to be woken.
    pub(crate) fn flush(&mut self, index: usize) {
        self.flush_answering(index, None);
    }

    fn flush_answering(&mut self, index: usize, asker: Option<(usize, RpcId)>) {
        while let Some(output) = self.peers[index].dht.as_mut().unwrap().poll_output() {
            match output {
                Output::Request { rpc, to, addr, bytes } => {
                    let after =
                        self.by_addr.get(&addr).map_or(Duration::ZERO, |peer| self.latency(index, *peer));
                    self.send(after, Delivery::Request { from: index, rpc, to, addr, bytes });
                }
                Output::Reply { bytes, .. } => {
                    let (to, rpc) = asker.expect("only a request leads to a reply");
                    self.send_response(index, to, rpc, bytes);
                }
                Output::Event(event) => self.events.push((index, event)),
            }
        }
        let wake_at = self.peers[index].dht.as_ref().unwrap().poll_timeout();
        let old = std::mem::replace(&mut self.peers[index].wake_at, wake_at);
        old.map(|at| self.wakes.remove(&(at, index)));
        wake_at.map(|at| self.wakes.insert((at, index)));
    }

    fn send_response(&mut self, from: usize, to: usize, rpc: RpcId, bytes: Vec<u8>) {
        let delivery = Delivery::Response { to, rpc, from: self.id(from), bytes };
        self.send(self.latency(from, to), delivery);
    }

    fn send(&mut self, after: Duration, delivery: Delivery) {
        if self.draw(1_000) < self.loss {
            return;
        }
        self.serial += 1;
        self.queue.insert((self.now + after, self.serial), delivery);
    }

    fn is_cut(&self, a: usize, b: usize) -> bool {
        self.island.as_ref().is_some_and(|island| island.contains(&a) != island.contains(&b))
    }

    /// From a question to its answer.
    pub(crate) fn round_trip(&self, a: usize, b: usize) -> Duration {
        2 * self.latency(a, b)
    }

    /// One way: 15 to 105 ms, about 50 in the mean.
    fn latency(&self, a: usize, b: usize) -> Duration {
        let ((ax, ay), (bx, by)) = (self.peers[a].place, self.peers[b].place);
        Duration::from_micros(15_300 + 700 * (ax.abs_diff(bx) + ay.abs_diff(by)))
    }
}

fn lookup_of(event: &Event) -> Option<LookupId> {
    match event {
        Event::Nodes { lookup, .. }
        | Event::Peer { lookup, .. }
        | Event::Providers { lookup, .. }
        | Event::Mutable { lookup, .. }
        | Event::Immutable { lookup, .. }
        | Event::Stored { lookup, .. } => Some(*lookup),
        _ => None,
    }
}
