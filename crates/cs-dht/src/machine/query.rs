//! Lookups under way: what each is for, how its answers are gathered, and how it ends.

use super::{Dht, Purpose};
use crate::config::{Config, K};
use crate::event::{Effort, Event, LookupId};
use crate::fault::Refused;
use crate::key::Key;
use crate::lookup::{Lookup, Shape};
use crate::wire::{Answer, Ask, Node, Record, RecordKind, StoreRefusal, Token};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::time::Duration;
use cs_identity::NodeId;

/// So many peers that hold the same newest peer record settle what it is.
const AGREEING: usize = 3;
/// A publication that nobody took is tried again after this.
const RETRY_AFTER: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) struct Query {
    pub(crate) goal: Goal,
    pub(crate) lookup: Lookup,
    started_at: Duration,
    /// Questions asked before a get went on over disjoint paths.
    asked_before: u32,
    has_escalated: bool,
    /// What the peers that answered want to see before they store anything.
    tokens: BTreeMap<NodeId, Token>,
}

/// What a lookup is for.
#[derive(Debug)]
pub(crate) enum Goal {
    Nodes,
    Join,
    Refresh,
    Get(Get),
    Store(Store),
}

#[derive(Debug)]
pub(crate) struct Get {
    kind: RecordKind,
    /// Whose peer record: if it answers itself, nothing newer is to be found.
    peer: Option<NodeId>,
    /// The newest record of each publisher.
    found: BTreeMap<[u8; 32], Record>,
    /// Peers that hold the newest one.
    agreed: usize,
    is_settled: bool,
}

#[derive(Debug)]
pub(crate) struct Store {
    record: Record,
    expected: Option<u64>,
    /// Published from here, as opposed to held for somebody.
    is_own: bool,
    /// Peers asked to store; `None` while they are being looked for.
    waiting: Option<usize>,
    stored: usize,
    conflicts: usize,
}

impl Goal {
    pub(crate) const fn get(kind: RecordKind, peer: Option<NodeId>) -> Self {
        Self::Get(Get { kind, peer, found: BTreeMap::new(), agreed: 0, is_settled: false })
    }

    pub(crate) const fn store(record: Record, expected: Option<u64>) -> Self {
        Self::Store(Store { record, expected, is_own: true, waiting: None, stored: 0, conflicts: 0 })
    }

    pub(crate) const fn hand_on(record: Record) -> Self {
        Self::Store(Store { record, expected: None, is_own: false, waiting: None, stored: 0, conflicts: 0 })
    }

    /// The kind of record that is asked for on the way, if any.
    pub(crate) const fn asks(&self) -> Option<RecordKind> {
        match self {
            Self::Get(get) => Some(get.kind),
            _ => None,
        }
    }

    /// Gets are narrow and quick; whatever must find all of the closest peers is wide and disjoint (DHT-6).
    const fn shape(&self, config: &Config) -> Shape {
        match self {
            Self::Get(_) => Shape { alpha: config.alpha, beta: config.beta, paths: 1 },
            Self::Refresh => Shape { alpha: config.alpha / 2 + 1, beta: config.beta, paths: 1 },
            Self::Nodes | Self::Join | Self::Store(_) => {
                let paths = config.disjoint_paths;
                Shape { alpha: (2 * config.alpha).div_ceil(paths), beta: K.div_ceil(paths), paths }
            }
        }
    }
}

impl Get {
    /// Takes in what one peer holds.
    fn gather(&mut self, from: &NodeId, records: Vec<Record>) {
        for record in records {
            let publisher = record.publisher().map_or([0; 32], |id| *id.as_bytes());
            let known = self.found.get(&publisher);
            let is_same = known.is_some_and(|known| known.bytes() == record.bytes());
            if is_same {
                self.agreed += 1;
            } else if known.is_none_or(|known| known.seq() < record.seq()) {
                self.found.insert(publisher, record);
                self.agreed = 1;
            }
            self.is_settled |= match self.kind {
                RecordKind::Immutable => true,
                RecordKind::Peer => self.agreed >= AGREEING || self.peer == Some(*from),
                RecordKind::Provider | RecordKind::Mutable => false,
            };
        }
    }
}

impl Dht {
    /// Begins a lookup. While the network is being joined it waits for the first peers.
    pub(crate) fn start(&mut self, goal: Goal, target: Key) -> Result<LookupId, Refused> {
        if self.queries.len() >= self.config.lookups_max {
            return Err(Refused::Busy);
        }
        let seeds = self.seeds(&target);
        if seeds.is_empty() && !self.join.is_pending() {
            return Err(Refused::NoPeers);
        }
        let lookup = Lookup::new(target, goal.shape(&self.config), &seeds);
        self.last_lookup += 1;
        let id = LookupId(self.last_lookup);
        let query = Query {
            goal,
            lookup,
            started_at: self.now,
            asked_before: 0,
            has_escalated: false,
            tokens: BTreeMap::new(),
        };
        self.queries.insert(id, query);
        self.counters.lookups += 1;
        self.push_on(id);
        Ok(id)
    }

    /// A peer answered a lookup's question; what it said was checked before.
    pub(crate) fn continue_lookup(&mut self, id: LookupId, from: Node, answer: Answer) {
        let Some(query) = self.queries.get_mut(&id) else { return };
        match answer {
            Answer::Nodes { token, nodes } => {
                query.tokens.insert(from.id, token);
                query.lookup.answered(&from.id, &nodes);
            }
            Answer::Records { token, records, nodes } => {
                query.tokens.insert(from.id, token);
                query.lookup.answered(&from.id, &nodes);
                if let Goal::Get(get) = &mut query.goal {
                    get.gather(&from.id, records);
                }
            }
            _ => query.lookup.failed(&from.id),
        }
        self.push_on(id);
    }

    pub(crate) fn slow_step(&mut self, id: LookupId, peer: &NodeId) {
        if let Some(query) = self.queries.get_mut(&id) {
            query.lookup.slow(peer);
            self.push_on(id);
        }
    }

    pub(crate) fn fail_step(&mut self, id: LookupId, peer: &NodeId) {
        if let Some(query) = self.queries.get_mut(&id) {
            query.lookup.failed(peer);
            self.push_on(id);
        }
    }

    /// A peer answered a store, or (`Unsupported`) did not.
    pub(crate) fn count_store(&mut self, id: LookupId, answer: &Answer) {
        let Some(Query { goal: Goal::Store(store), .. }) = self.queries.get_mut(&id) else { return };
        match answer {
            Answer::Stored => store.stored += 1,
            Answer::NotStored(StoreRefusal::Stale | StoreRefusal::Conflict) => store.conflicts += 1,
            _ => {}
        }
        if let Some(waiting) = &mut store.waiting {
            *waiting = waiting.saturating_sub(1);
            if *waiting == 0 {
                self.finish(id);
            }
        }
    }

    /// New peers for the lookups that had nobody to ask.
    pub(crate) fn feed_waiting_lookups(&mut self) {
        let waiting: Vec<(LookupId, Key)> = self
            .queries
            .iter()
            .filter(|(_, query)| query.lookup.is_empty())
            .map(|(id, query)| (*id, *query.lookup.target()))
            .collect();
        for (id, target) in waiting {
            self.feed(id, &self.seeds(&target));
        }
    }

    pub(crate) fn feed(&mut self, id: LookupId, nodes: &[Node]) {
        if let Some(query) = self.queries.get_mut(&id) {
            query.lookup.learn(nodes);
            self.push_on(id);
        }
    }

    /// Nobody could be reached: whoever waits for a first peer is told so.
    pub(crate) fn end_waiting_lookups(&mut self) {
        let waiting = self.queries.iter().filter(|(_, query)| query.lookup.is_empty());
        let waiting: Vec<LookupId> = waiting.map(|(id, _)| *id).collect();
        waiting.into_iter().for_each(|id| self.finish(id));
    }

    /// Asks whom there is to ask, and ends the lookup when there is nobody left.
    fn push_on(&mut self, id: LookupId) {
        loop {
            let Some(query) = self.queries.get_mut(&id) else { return };
            if query.lookup.is_empty() || matches!(&query.goal, Goal::Store(store) if store.waiting.is_some())
            {
                return;
            }
            let is_settled = matches!(&query.goal, Goal::Get(get) if get.is_settled);
            let next = if is_settled { None } else { query.lookup.next() };
            let Some(next) = next else {
                if is_settled || query.lookup.is_done() {
                    self.end_search(id);
                }
                return;
            };
            if next.id == self.me {
                query.lookup.failed(&next.id);
                continue;
            }
            let target = *query.lookup.target();
            let ask = match query.goal.asks() {
                Some(kind) => Ask::Get { key: target, kind },
                None => Ask::FindNode { target },
            };
            let request = self.question(ask).padded();
            self.ask(next, &request, Purpose::Lookup(id));
        }
    }

    /// The closest peers are known: a store goes on to them, a get without result tries again harder, all else ends.
    fn end_search(&mut self, id: LookupId) {
        let Some(query) = self.queries.get_mut(&id) else { return };
        match &mut query.goal {
            Goal::Store(store) => {
                let holders = query.lookup.closest(K);
                let tokens = holders.iter().filter_map(|node| Some((*node, *query.tokens.get(&node.id)?)));
                let tokens: Vec<(Node, Token)> = tokens.collect();
                store.waiting = Some(tokens.len());
                let (record, expected) = (store.record.clone(), store.expected);
                if tokens.is_empty() {
                    self.finish(id);
                }
                for (node, token) in tokens {
                    let ask = Ask::Store { token, expected, record: record.clone() };
                    let request = self.question(ask);
                    self.ask(node, &request, Purpose::Store(id));
                }
            }
            Goal::Get(get) if get.found.is_empty() && !query.has_escalated => self.escalate(id),
            _ => self.finish(id),
        }
    }

    /// One path led to nothing, perhaps through somebody who wanted that: once more, over paths that share no peer.
    fn escalate(&mut self, id: LookupId) {
        let Some(query) = self.queries.get(&id) else { return };
        let target = *query.lookup.target();
        let shape = Shape { paths: self.config.disjoint_paths, ..query.lookup.shape() };
        let seeds = self.seeds(&target);
        let Some(query) = self.queries.get_mut(&id) else { return };
        query.asked_before = query.lookup.asked();
        query.has_escalated = true;
        query.lookup = Lookup::new(target, shape, &seeds);
        self.counters.escalations += 1;
        if seeds.is_empty() { self.finish(id) } else { self.push_on(id) }
    }

    fn finish(&mut self, id: LookupId) {
        let Some(query) = self.queries.remove(&id) else { return };
        let effort = Effort {
            rpcs: query.lookup.asked() + query.asked_before,
            hops: query.lookup.hops(),
            took: self.now.saturating_sub(query.started_at),
        };
        // Lookups of the own place are left out: one place, observed again and again, says little of the rest.
        if matches!(query.goal, Goal::Nodes | Goal::Store(_)) {
            self.size.observe(query.lookup.target(), &query.lookup.closest(K));
        }
        match query.goal {
            Goal::Nodes => {
                let closest = Self::contacts_of(&query.lookup.closest(K));
                self.emit(Event::Nodes { lookup: id, closest, effort });
            }
            Goal::Join => self.end_join(!query.lookup.closest(1).is_empty()),
            Goal::Refresh => self.refresh_next(),
            Goal::Get(get) => {
                let event = found(id, *query.lookup.target(), get, effort);
                self.emit(event);
            }
            Goal::Store(store) if !store.is_own => {}
            Goal::Store(store) => {
                if store.stored == 0 {
                    self.publications.reschedule(&store.record, self.now + RETRY_AFTER);
                }
                let key = *query.lookup.target();
                let (replicas, conflicts) = (store.stored, store.conflicts);
                self.emit(Event::Stored { lookup: id, key, replicas, conflicts, effort });
            }
        }
    }
}

fn found(lookup: LookupId, key: Key, get: Get, effort: Effort) -> Event {
    let mut records = get.found.into_values();
    match get.kind {
        RecordKind::Peer => {
            let record = records
                .find_map(|record| if let Record::Peer(record) = record { Some(record) } else { None });
            let id = get.peer.expect("a get of a peer record names the peer");
            Event::Peer { lookup, id, record, effort }
        }
        RecordKind::Provider => {
            let only = |record| if let Record::Provider(record) = record { Some(record) } else { None };
            Event::Providers { lookup, key, records: records.filter_map(only).collect(), effort }
        }
        RecordKind::Mutable => {
            let value = records
                .find_map(|record| if let Record::Mutable(value) = record { Some(value) } else { None });
            Event::Mutable { lookup, key, value, effort }
        }
        RecordKind::Immutable => {
            let only =
                |record: Record| matches!(record, Record::Immutable(_)).then(|| record.bytes().to_vec());
            Event::Immutable { lookup, key, value: records.find_map(only), effort }
        }
    }
}
