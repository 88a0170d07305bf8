//! What is stored where once the closest peers are known: a record, others that belong to the same peers, copies on the
//! path of a get, and everything when this node leaves.

use super::query::Holder;
use super::{Dht, Goal, Purpose};
use crate::config::{K, Mode};
use crate::event::{Event, LookupId};
use crate::key::Key;
use crate::lookup::Lookup;
use crate::wire::{Ask, Record};
use alloc::vec::Vec;

/// Records that are stored on the occasion of one lookup: each costs its holders a request, and they answer 64 a second.
const SWEEP_MAX: usize = 16;
/// A record is stored anew on occasion when so much of its interval is left, a quarter: lookups saved, and little more
/// stores than due.
const AHEAD: u32 = 4;
/// How long a copy on the path of a get is held by the closest peer beside the K that hold the value; half of it for each
/// known peer between (DHT-22).
const COPY_SECONDS: u32 = 3_600;
/// Peers between with which a copy is not worth the datagram.
const COPY_RANK_MAX: usize = 5;
/// Peers that each record is handed to by whoever leaves: it was one of K holders, so one is missing.
const HEIRS: usize = 2;

impl Dht {
    /// What a lookup found out is used: a record is stored there, and what else is due there as well (DHT-15).
    pub(crate) fn store_found(&mut self, id: LookupId) {
        let Some(query) = self.queries.get(&id) else { return };
        let around = *query.lookup.target();
        let chosen = query.region.as_ref().map(|region| region.holders());
        let is_surveyed = chosen.is_some();
        let holders = query.holders();
        let shape = query.lookup.shape();
        let chosen = chosen.unwrap_or_else(|| holders.iter().take(K).copied().collect());
        self.store_at(id, &chosen);
        if !is_surveyed {
            self.sweep(&around, &holders, shape.beta * shape.paths);
        }
    }

    fn store_at(&mut self, id: LookupId, holders: &[Holder]) {
        let Some(query) = self.queries.get_mut(&id) else { return };
        let Goal::Store(store) = &mut query.goal else { return };
        store.waiting = Some(holders.len());
        let (record, expected) = (store.record.clone(), store.expected);
        if holders.is_empty() {
            self.finish(id);
        }
        for (node, token) in holders {
            let request = self.question(Ask::Store { token: *token, expected, record: record.clone() });
            self.ask(*node, &request, Purpose::Store(id));
        }
    }

    /// Stores what is due soon at the same peers: of many records each needs no lookup of its own.
    fn sweep(&mut self, around: &Key, holders: &[Holder], complete: usize) {
        let Some(shared) = self.covered(around, holders, complete) else { return };
        let is_near = |key: &Key| around.distance(key).leading_zeros() >= shared;
        let interval = self.config.republish_interval;
        for _ in 0..SWEEP_MAX {
            let own = self.publications.take_due_near(self.now, interval / AHEAD, interval, is_near);
            let goal = match own {
                Some(record) => Goal::store(record, None),
                None => match self.records.take_due(self.now, self.config.replicate_interval, is_near) {
                    Some(record) => Goal::hand_on(record),
                    None => return,
                },
            };
            let Goal::Store(store) = &goal else { return };
            let key = store.record.key();
            let closest = closest_to(&key, holders, K);
            let lookup = Lookup::new(key, goal.shape(&self.config), &[]);
            let id = self.begin(goal, lookup);
            self.counters.swept += 1;
            self.store_at(id, &closest);
        }
    }

    /// How many leading bits a key must share with `around` to be stored at these peers. The `complete` closest to `around`
    /// are among them, so all peers that share one bit more than the farthest of those are: they are the closest to any
    /// key that shares those bits too. Half of K must be, the others are close enough until somebody hands the record on.
    fn covered(&self, around: &Key, holders: &[Holder], complete: usize) -> Option<u32> {
        let distance = |(node, _): &Holder| around.distance(&Key::of_peer(&node.id));
        if let Some(farthest) = holders.get(complete.saturating_sub(1)) {
            let shared = distance(farthest).leading_zeros() + 1;
            let inside = holders.iter().filter(|holder| distance(holder).leading_zeros() >= shared).count();
            return (inside >= K / 2).then_some(shared);
        }
        // Fewer than asked for: that is the whole network, unless this node knows better.
        (holders.len() * 4 >= self.table.len() * 3).then_some(0)
    }

    /// A value was found: the closest peer that was asked in vain gets a copy, for a while that halves with each peer
    /// closer to it, so that what is asked for often is found early and what is not is soon gone (DHT-22).
    pub(crate) fn leave_on_path(&mut self, id: LookupId) {
        let Some(query) = self.queries.get(&id) else { return };
        let Goal::Get(get) = &query.goal else { return };
        let Some(record) = get.found.values().next().cloned() else { return };
        let Some((node, rank)) = query.lookup.closest_of(|id| get.lacking.contains(id)) else { return };
        let between = rank.saturating_sub(K);
        let token = query.tokens.get(&node.id).copied().filter(|_| between <= COPY_RANK_MAX);
        let Some(token) = token else { return };
        let ask = Ask::Store { token, expected: None, record };
        let request = self.question(ask).held_for(COPY_SECONDS >> between);
        self.ask(node, &request, Purpose::Gift);
    }

    /// Tells the peers closest to this node that it leaves, and looks for those that take its place. From then on it
    /// answers nobody, or it would be taken back.
    pub(crate) fn say_goodbye(&mut self) {
        self.config.mode = Mode::Client;
        self.is_leaving = true;
        let request = self.question(Ask::Leave);
        let here = *self.table.here();
        for node in self.seeds(&here) {
            self.ask(node, &request, Purpose::Probe);
        }
        if self.records.len() == 0 || self.start(Goal::HandOver, here).is_err() {
            self.end_leaving();
        }
    }

    /// Gives each record held here to those that are now among its K closest peers and were not before (DHT-23).
    pub(crate) fn hand_over(&mut self, id: LookupId) {
        let Some(query) = self.queries.get(&id) else { return };
        let holders = query.holders();
        let held: Vec<Record> = self.records.all().cloned().collect();
        for record in held {
            let closest = closest_to(&record.key(), &holders, K);
            for (node, token) in closest.into_iter().rev().take(HEIRS) {
                let request = self.question(Ask::Store { token, expected: None, record: record.clone() });
                self.ask(node, &request, Purpose::Gift);
            }
        }
    }

    /// Says that all is done, once it is.
    pub(crate) fn end_leaving(&mut self) {
        let is_giving = self.rpcs.values().any(|rpc| rpc.purpose == Purpose::Gift)
            || self.queries.values().any(|query| matches!(query.goal, Goal::HandOver));
        if self.is_leaving && !is_giving {
            self.is_leaving = false;
            self.emit(Event::Left);
        }
    }
}

fn closest_to(key: &Key, holders: &[Holder], count: usize) -> Vec<Holder> {
    let mut closest = holders.to_vec();
    closest.sort_by_key(|(node, _)| Key::of_peer(&node.id).distance(key));
    closest.truncate(count);
    closest
}
