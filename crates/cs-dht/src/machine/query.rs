//! Lookups under way: what each is for, how its answers are gathered, and how it ends.

use super::region::Region;
use super::{Dht, Purpose};
use crate::config::{Config, K};
use crate::event::{Effort, Event, LookupId, RpcId};
use crate::fault::Refused;
use crate::key::Key;
use crate::lookup::{Lookup, Shape};
use crate::trace::Trace;
use crate::wire::{Answer, Ask, Node, Record, RecordKind, StoreRefusal, Token};
use alloc::collections::{BTreeMap, BTreeSet};
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
    /// Questions asked before a lookup went on in another way.
    pub(crate) asked_before: u32,
    pub(crate) has_escalated: bool,
    /// What the peers that answered want to see before they store anything.
    pub(crate) tokens: BTreeMap<NodeId, Token>,
    /// Too many peers stand around the key: the region that it would share with K honest ones is gone over (DHT-21).
    pub(crate) region: Option<Region>,
}

/// A peer that answered, and what it wants to see before it stores anything.
pub(crate) type Holder = (Node, Token);

/// What a lookup is for.
#[derive(Debug)]
pub(crate) enum Goal {
    Nodes,
    Join,
    Refresh,
    Get(Get),
    Store(Store),
    /// The peers that take this node's place when it leaves.
    HandOver,
}

#[derive(Debug)]
pub(crate) struct Get {
    pub(crate) kind: RecordKind,
    /// Whose peer record: if it answers itself, nothing newer is to be found.
    peer: Option<NodeId>,
    /// The newest record of each publisher.
    pub(crate) found: BTreeMap<[u8; 32], Record>,
    /// Who answered without any.
    pub(crate) lacking: BTreeSet<NodeId>,
    /// Peers that hold the newest one.
    agreed: usize,
    pub(crate) is_settled: bool,
}

#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) record: Record,
    pub(crate) expected: Option<u64>,
    /// Published from here, as opposed to held for somebody.
    is_own: bool,
    /// Peers asked to store; `None` while they are being looked for.
    pub(crate) waiting: Option<usize>,
    stored: usize,
    conflicts: usize,
}

impl Goal {
    pub(crate) const fn get(kind: RecordKind, peer: Option<NodeId>) -> Self {
        Self::Get(Get {
            kind,
            peer,
            found: BTreeMap::new(),
            lacking: BTreeSet::new(),
            agreed: 0,
            is_settled: false,
        })
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
    pub(crate) const fn shape(&self, config: &Config) -> Shape {
        let beta = config.beta;
        match self {
            Self::Get(_) => Shape { alpha: config.alpha, beta, paths: 1, is_closed: false },
            Self::Refresh => Shape { alpha: config.alpha / 2 + 1, beta, paths: 1, is_closed: false },
            Self::Nodes | Self::Join | Self::Store(_) | Self::HandOver => wide(config, K),
        }
    }
}

/// A lookup over disjoint paths that finds the `count` closest peers.
pub(crate) const fn wide(config: &Config, count: usize) -> Shape {
    let paths = config.disjoint_paths;
    let alpha = (2 * config.alpha).div_ceil(paths);
    Shape { alpha, beta: count.div_ceil(paths), paths, is_closed: false }
}

impl Query {
    /// Whether it has nobody to ask yet.
    fn waits_for_peers(&self) -> bool {
        self.lookup.is_empty() && !self.is_storing()
    }

    fn is_storing(&self) -> bool {
        matches!(&self.goal, Goal::Store(store) if store.waiting.is_some())
    }

    /// All that answered, up to six times K, closest first.
    pub(crate) fn holders(&self) -> Vec<Holder> {
        let closest = self.lookup.closest(6 * K).into_iter();
        closest.filter_map(|node| Some((node, *self.tokens.get(&node.id)?))).collect()
    }

    /// Goes on with another lookup.
    pub(crate) fn go_on_with(&mut self, lookup: Lookup) {
        self.asked_before += self.lookup.asked();
        self.lookup = lookup;
    }
}

impl Get {
    /// Takes in what one peer holds.
    fn gather(&mut self, from: &NodeId, records: Vec<Record>) {
        if records.is_empty() {
            self.lacking.insert(*from);
        }
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
        let mut shape = goal.shape(&self.config);
        if matches!(goal, Goal::HandOver) {
            shape = wide(&self.config, 2 * K);
        }
        let id = self.begin(goal, Lookup::new(target, shape, &seeds));
        self.counters.lookups += 1;
        self.push_on(id);
        Ok(id)
    }

    /// Takes note of a lookup that begins here.
    pub(crate) fn begin(&mut self, goal: Goal, lookup: Lookup) -> LookupId {
        self.last_lookup += 1;
        let id = LookupId(self.last_lookup);
        let query = Query {
            goal,
            lookup,
            started_at: self.now,
            asked_before: 0,
            has_escalated: false,
            tokens: BTreeMap::new(),
            region: None,
        };
        self.queries.insert(id, query);
        id
    }

    /// A peer answered a lookup's question; what it said was checked before.
    pub(crate) fn continue_lookup(&mut self, id: LookupId, from: Node, answer: Answer, took: Duration) {
        let Some(query) = self.queries.get_mut(&id) else { return };
        match answer {
            Answer::Nodes { token, nodes } => {
                query.tokens.insert(from.id, token);
                query.lookup.answered(&from.id, &nodes, took);
            }
            Answer::Records { token, records, nodes } => {
                query.tokens.insert(from.id, token);
                query.lookup.answered(&from.id, &nodes, took);
                if let Goal::Get(get) = &mut query.goal {
                    get.gather(&from.id, records);
                }
            }
            _ => query.lookup.failed(&from.id),
        }
        self.push_on(id);
    }

    pub(crate) fn late_step(&mut self, id: LookupId, peer: &NodeId) {
        let Some(query) = self.queries.get_mut(&id) else { return };
        if let Some(again) = query.lookup.late(peer) {
            // The first question's own time is running already: together they wait little longer than one would.
            let known = self.table.find(&again.id).map(|entry| entry.rtt());
            let timeout = self.rtt.hedge(known);
            self.ask_step(id, again, Some(timeout));
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
            .filter(|(_, query)| query.waits_for_peers())
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
        let waiting = self.queries.iter().filter(|(_, query)| query.waits_for_peers());
        let waiting: Vec<LookupId> = waiting.map(|(id, _)| *id).collect();
        waiting.into_iter().for_each(|id| self.finish(id));
    }

    /// Asks whom there is to ask, and ends the lookup when there is nobody left.
    pub(crate) fn push_on(&mut self, id: LookupId) {
        loop {
            let Some(query) = self.queries.get_mut(&id) else { return };
            if query.lookup.is_empty() || query.is_storing() {
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
            self.ask_step(id, next, None);
        }
    }

    /// Asks a peer what a lookup is about.
    fn ask_step(&mut self, id: LookupId, to: Node, timeout: Option<Duration>) {
        let Some(query) = self.queries.get(&id) else { return };
        let target = *query.lookup.target();
        let is_surveying = query.region.as_ref().is_some_and(Region::is_surveying);
        let kind = query.goal.asks().filter(|_| !is_surveying);
        let namer = query.lookup.namer(&to.id).filter(|_| timeout.is_none());
        let ask = match kind {
            Some(kind) => Ask::Get { key: target, kind },
            None => Ask::FindNode { target },
        };
        let request = self.question(ask).padded();
        match timeout {
            Some(timeout) => self.ask_within(to, &request, Purpose::Lookup(id), timeout),
            None => self.ask(to, &request, Purpose::Lookup(id)),
        }
        if let Some(rpc) = self.rpcs.get_mut(&RpcId(self.last_rpc)) {
            rpc.sought = kind.map(|kind| (kind, target));
            rpc.named_by = namer;
        }
    }

    /// The closest peers are known: a store goes on to them, a get without result tries again harder, all else ends.
    fn end_search(&mut self, id: LookupId) {
        let Some(query) = self.queries.get(&id) else { return };
        let finds_nothing = matches!(&query.goal, Goal::Get(get) if get.found.is_empty());
        if finds_nothing && !query.has_escalated {
            return self.escalate(id);
        }
        if self.goes_over_region(id) {
            return;
        }
        match self.queries.get(&id).map(|query| &query.goal) {
            Some(Goal::Store(_)) => self.store_found(id),
            Some(Goal::HandOver) => {
                self.hand_over(id);
                self.finish(id);
            }
            Some(Goal::Get(get)) if get.kind == RecordKind::Immutable => {
                self.leave_on_path(id);
                self.finish(id);
            }
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
        query.has_escalated = true;
        query.go_on_with(Lookup::new(target, shape, &seeds));
        self.counters.escalations += 1;
        if seeds.is_empty() { self.finish(id) } else { self.push_on(id) }
    }

    pub(crate) fn finish(&mut self, id: LookupId) {
        let Some(query) = self.queries.remove(&id) else { return };
        let effort = Effort {
            rpcs: query.lookup.asked() + query.asked_before,
            hops: query.lookup.hops(),
            took: self.now.saturating_sub(query.started_at),
        };
        if self.config.is_traced {
            let (target, steps) = (*query.lookup.target(), query.lookup.steps());
            self.emit(Event::Traced(Trace { lookup: id, target, effort, steps }));
        }
        // Lookups of the own place are left out: one place, observed again and again, says little of the rest.
        if matches!(query.goal, Goal::Nodes | Goal::Store(_)) && query.region.is_none() {
            self.size.observe(query.lookup.target(), &query.lookup.closest(K));
        }
        match query.goal {
            Goal::Nodes => {
                let closest = Self::contacts_of(&query.lookup.closest(K));
                self.emit(Event::Nodes { lookup: id, closest, effort });
            }
            Goal::Join => self.end_join(!query.lookup.closest(1).is_empty()),
            Goal::Refresh => self.refresh_next(),
            Goal::HandOver => self.end_leaving(),
            Goal::Get(get) => {
                let key = query.region.map_or(*query.lookup.target(), |region| region.key());
                let event = found(id, key, get, effort);
                self.emit(event);
            }
            Goal::Store(store) if !store.is_own => {}
            Goal::Store(store) => {
                if store.stored == 0 {
                    self.publications.reschedule(&store.record, self.now + RETRY_AFTER);
                }
                let key = store.record.key();
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
