//! Getting into the network, and back into it.

use super::{Dht, Goal, Purpose};
use crate::event::{Contact, Event, LookupId};
use crate::timers::Timer;
use crate::wire::{Ask, Node};
use alloc::vec::Vec;
use core::time::Duration;

/// Bootstrap peers that are remembered.
const SEEDS_MAX: usize = 64;
/// Addresses of one bootstrap peer that are tried.
const SEED_ADDRS_MAX: usize = 4;
/// Known peers that are tried beside the bootstrap peers.
const KNOWN_MAX: usize = 16;
/// The wait after the first attempt; it doubles up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_secs(2);
const BACKOFF_MAX: Duration = Duration::from_secs(64);
/// Questions lost in a row that mean isolation, where there are that many peers to ask.
const LOSSES_MAX: u32 = 8;
/// When a node that has joined looks for its place again; the wait doubles up to `Config::refresh_interval`. Whoever came
/// in through somebody who had hardly come in itself would else stay among the few that it met (DHT-16).
const RESETTLE_MIN: Duration = Duration::from_secs(20);
/// Bootstrap peers that are asked then.
const RESETTLE_SEEDS: usize = 3;

#[derive(Debug, Default)]
pub(crate) struct Join {
    seeds: Vec<Contact>,
    stage: Stage,
    retry_at: Duration,
    attempts: u32,
    /// The lookup of this node's own place, which goes on from whatever bootstrap peers name.
    placing: Option<LookupId>,
    /// When the own place is looked for again.
    resettle_at: Duration,
    settled: u32,
    /// When anybody answered last.
    pub(crate) answered_at: Duration,
    /// Questions lost since then.
    losses: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// Nobody told where to start.
    #[default]
    Alone,
    /// Bootstrap peers are asked for others.
    Calling,
    /// Somebody answered: this node's own place is being looked for.
    Placing,
    /// The peers closest to this node know it.
    Joined,
}

impl Join {
    /// Whether peers may turn up soon.
    pub(crate) const fn is_pending(&self) -> bool {
        matches!(self.stage, Stage::Calling | Stage::Placing)
    }
}

impl Dht {
    pub(crate) fn join_through(&mut self, contacts: Vec<Contact>) {
        self.remember_seeds(contacts);
        if !matches!(self.join.stage, Stage::Placing) {
            self.start_over();
        }
    }

    /// Remembers bootstrap peers, the newest ones first, one entry a peer.
    pub(crate) fn remember_seeds(&mut self, contacts: Vec<Contact>) {
        let me = self.me;
        let seeds = &mut self.join.seeds;
        for mut contact in contacts.into_iter().filter(|contact| contact.id != me).take(SEEDS_MAX) {
            contact.addrs.truncate(SEED_ADDRS_MAX);
            seeds.retain(|known| known.id != contact.id);
            seeds.insert(0, contact);
        }
        seeds.truncate(SEEDS_MAX);
    }

    /// Begins to join, from the first attempt on.
    pub(crate) fn start_over(&mut self) {
        self.join.attempts = 0;
        self.join.settled = 0;
        self.call();
    }

    /// Asks bootstrap peers and some known ones for others.
    fn call(&mut self) {
        self.timers.clear(self.join.retry_at, Timer::Rejoin);
        let mut nodes: Vec<Node> = Vec::new();
        for seed in &self.join.seeds {
            nodes.extend(seed.addrs.iter().map(|addr| Node { id: seed.id, addr: *addr }));
        }
        nodes.extend(self.seeds(self.table.here()).into_iter().take(KNOWN_MAX));
        if nodes.is_empty() {
            self.join.stage = Stage::Alone;
            return;
        }
        self.join.stage = Stage::Calling;
        let under_way: Vec<Node> =
            self.rpcs.values().filter(|rpc| rpc.purpose == Purpose::Join).map(|rpc| rpc.to).collect();
        nodes.retain(|node| !under_way.contains(node));
        let request = self.question(Ask::Sample).padded();
        for node in nodes {
            self.ask(node, &request, Purpose::Join);
        }
        let backoff = (BACKOFF_MIN * 2_u32.saturating_pow(self.join.attempts)).min(BACKOFF_MAX);
        let jitter = Duration::from_millis(self.draw(1_000) as u64);
        self.join.attempts = (self.join.attempts + 1).min(8);
        self.join.retry_at = self.now + backoff + jitter;
        self.timers.set(self.join.retry_at, Timer::Rejoin);
    }

    pub(crate) fn retry_join(&mut self) {
        match self.join.stage {
            Stage::Calling => {
                self.end_waiting_lookups();
                self.call();
            }
            // Somebody answered, but is not to be asked further and named nobody: the lookup still waits for a peer.
            Stage::Placing => self.end_waiting_lookups(),
            Stage::Alone | Stage::Joined => {}
        }
    }

    /// A bootstrap peer answered and named these.
    pub(crate) fn meet(&mut self, peer: Node, named: &[Node]) {
        self.ask_config(peer);
        if let Some(lookup) = self.join.placing {
            // Each bootstrap peer adds its own view, so that the first to answer cannot be the only one to be heard.
            self.feed(lookup, named);
        }
    }

    /// Anybody answered.
    pub(crate) fn note_answer(&mut self) {
        self.join.answered_at = self.now;
        self.join.losses = 0;
        // A node that nobody told where to start, the network's first, comes in through whoever finds it.
        if matches!(self.join.stage, Stage::Calling | Stage::Alone) {
            self.join.stage = Stage::Placing;
            self.place();
        }
        self.feed_waiting_lookups();
    }

    /// Somebody did not answer; if nobody does any more, the node is cut off.
    pub(crate) fn note_loss(&mut self) {
        self.join.losses = self.join.losses.saturating_add(1);
        let enough = LOSSES_MAX.min(2 * self.table.len() as u32 + 1);
        let is_silent = self.now.saturating_sub(self.join.answered_at) >= self.config.answer_limit;
        if self.join.stage == Stage::Joined && is_silent && self.join.losses >= enough {
            self.emit(Event::Isolated);
            self.start_over();
        }
    }

    /// This node's own place was looked for.
    pub(crate) fn end_join(&mut self, is_found: bool) {
        self.join.placing = None;
        let is_new = self.join.stage != Stage::Joined;
        if !is_found && is_new {
            self.call();
            return;
        }
        let wait = RESETTLE_MIN.saturating_mul(2_u32.saturating_pow(self.join.settled));
        self.join.resettle_at = self.now + wait.min(self.config.refresh_interval);
        self.join.settled = self.join.settled.saturating_add(1);
        if is_new {
            self.join.stage = Stage::Joined;
            self.join.attempts = 0;
            self.emit(Event::Bootstrapped { contacts: self.table.len() });
            self.publications.all_due(self.now);
            self.publish_due();
            self.refresh_all();
        }
    }

    /// Looks for the own place again, with what some bootstrap peers know by now.
    pub(crate) fn resettle_if_due(&mut self) {
        if self.join.stage != Stage::Joined || self.join.placing.is_some() || self.now < self.join.resettle_at
        {
            return;
        }
        let start = self.draw(self.join.seeds.len());
        let seeds =
            self.join.seeds.iter().cycle().skip(start).take(self.join.seeds.len().min(RESETTLE_SEEDS));
        let seeds: Vec<Node> =
            seeds.filter_map(|seed| Some(Node { id: seed.id, addr: *seed.addrs.first()? })).collect();
        let request = self.question(Ask::Sample).padded();
        for seed in seeds {
            self.ask(seed, &request, Purpose::Join);
        }
        self.place();
    }

    fn place(&mut self) {
        let placing = self.start(Goal::Join, *self.table.here());
        if let Ok(lookup) = placing
            && self.queries.contains_key(&lookup)
        {
            self.join.placing = Some(lookup);
        } else if placing.is_err() {
            self.end_join(false);
        }
    }
}
