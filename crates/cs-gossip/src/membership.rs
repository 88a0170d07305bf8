//! Who the neighbours are: HyParView (Leitão, Pereira, Rodrigues, DSN 2007) with parallel refill, seeds that
//! are never forgotten, and lost peers that are tried again (GOS-2 to GOS-5).

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use cs_identity::NodeId;

use crate::fault::PeerFault;
use crate::link::Link;
use crate::machine::{Event, Output};
use crate::shared::{Change, Core};
use crate::standing::Standing;
use crate::timers::Timer;
use crate::wire::{Ask, Lane, MAX_PEERS, Message, VERSION};

/// Steps of a newcomer's random walk, and the steps left at which it is remembered.
const ACTIVE_WALK: u8 = 6;
const PASSIVE_WALK: u8 = 3;
/// Peers named in a shuffle.
const SHUFFLED: usize = 8;
/// Candidates asked at the same time.
const PARALLEL: usize = 4;
/// Those that did not answer for so many mean round trips no longer count, and others are asked besides: a connection
/// takes two or three.
const HEDGE_RTTS: u32 = 4;
const LEAST_HEDGE: Duration = Duration::from_millis(200);
const MOST_HEDGE: Duration = Duration::from_millis(750);
/// But never more than this.
const MAX_ASKED: usize = 24;
/// How long misbehaviour is remembered, and of how many.
const SHUNNED: Duration = Duration::from_secs(600);
const MAX_SHUNNED: usize = 256;
/// After a refusal a peer is left alone for this long.
const REFUSED_AFTER: Duration = Duration::from_secs(5);
/// Failures double the wait from the first of these to the second.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Joins and shuffles of one peer nearer to each other than this are too much.
const PATIENCE: Duration = Duration::from_millis(200);

#[derive(Debug, Default)]
pub(crate) struct Membership {
    pub(crate) links: BTreeMap<NodeId, Link>,
    passive: BTreeMap<NodeId, Candidate>,
    seeds: BTreeSet<NodeId>,
    asked: BTreeMap<NodeId, (Ask, Duration)>,
    /// Peers that misbehaved, and until when they are left alone.
    shunned: BTreeMap<NodeId, Duration>,
    pub(crate) left: bool,
}

/// A peer that could become a neighbour.
#[derive(Clone, Copy, Debug, Default)]
struct Candidate {
    failures: u8,
    retry_at: Duration,
}

impl Membership {
    pub(crate) fn active(&self) -> impl Iterator<Item = NodeId> {
        self.links.iter().filter(|(_, link)| link.active).map(|(peer, _)| *peer)
    }

    pub(crate) fn active_count(&self) -> usize {
        self.active().count()
    }

    /// Neighbours that answered when they were last asked.
    fn sound_count(&self) -> usize {
        self.links.values().filter(|link| link.active && link.probe != Some(true)).count()
    }

    pub(crate) fn passive(&self) -> impl Iterator<Item = NodeId> {
        self.passive.keys().copied()
    }

    pub(crate) fn is_active(&self, peer: &NodeId) -> bool {
        self.links.get(peer).is_some_and(|link| link.active)
    }

    /// Mean smoothed round trip of the neighbours, of those that were measured.
    pub(crate) fn mean_rtt(&self) -> Option<Duration> {
        let measured = self.links.values().filter(|link| link.active).filter_map(|link| link.rtt.smoothed());
        let (sum, count) = measured.fold((Duration::ZERO, 0), |(sum, count), rtt| (sum + rtt, count + 1));
        (count > 0).then(|| sum / count)
    }

    pub(crate) fn join(&mut self, core: &mut Core, seeds: Vec<NodeId>) {
        self.left = false;
        for seed in seeds {
            if seed != core.me && self.seeds.insert(seed) {
                self.remember(core, seed);
            }
        }
        let unknown: Vec<NodeId> = self.seeds.iter().copied().filter(|seed| !self.is_active(seed)).collect();
        for seed in core.sample(unknown, PARALLEL) {
            self.ask(core, seed, Ask::Join);
        }
        if !core.timers.is_set(Timer::Shuffle) {
            self.set_shuffle(core);
        }
    }

    /// GOS-5: neighbours are told whom to turn to instead.
    pub(crate) fn leave(&mut self, core: &mut Core) {
        let active: Vec<NodeId> = self.active().collect();
        for &peer in &active {
            let others = active.iter().copied().filter(|other| *other != peer).collect();
            let peers = core.sample(others, MAX_PEERS);
            core.send(peer, Lane::Control, &Message::Disconnect { leaving: true, peers });
            self.deactivate(core, peer);
            core.outbox.push_back(Output::Disconnect { peer });
        }
        self.left = true;
        self.asked.clear();
        self.passive.clear();
        self.seeds.clear();
        core.timers.clear();
    }

    pub(crate) fn peer_up(&mut self, core: &mut Core, peer: NodeId) {
        if peer == core.me || self.links.contains_key(&peer) {
            return;
        }
        self.links.insert(peer, Link::new(core.now));
        if self.left {
            return;
        }
        self.remember(core, peer);
        if let Some(&(ask, _)) = self.asked.get(&peer) {
            self.send_ask(core, peer, ask);
        } else if self.active_count() < core.config.active_min {
            self.ask(core, peer, Ask::Low);
        }
        if !core.timers.is_set(Timer::Shuffle) {
            self.set_shuffle(core);
        }
    }

    pub(crate) fn peer_down(&mut self, core: &mut Core, peer: NodeId) {
        let was_active = self.is_active(&peer);
        if was_active {
            self.deactivate(core, peer);
        }
        core.egress.remove(&peer);
        if self.links.remove(&peer).is_none() && !self.asked.contains_key(&peer) {
            return;
        }
        if was_active || self.asked.contains_key(&peer) {
            self.failed(core, peer);
        }
        self.refill(core);
    }

    /// The connection or the answer did not come in time.
    pub(crate) fn ask_timed_out(&mut self, core: &mut Core, peer: NodeId) {
        self.failed(core, peer);
        if self.links.contains_key(&peer) {
            core.outbox.push_back(Output::Disconnect { peer });
        }
        self.refill(core);
    }

    /// A neighbour answers neither us nor others.
    pub(crate) fn dead(&mut self, core: &mut Core, peer: NodeId) {
        self.deactivate(core, peer);
        self.failed(core, peer);
        core.outbox.push_back(Output::Disconnect { peer });
        self.refill(core);
    }

    /// GOS-2: a joiner and whoever is nearly alone are always let in; others if there is room.
    pub(crate) fn neighbour(&mut self, core: &mut Core, from: NodeId, ask: Ask) -> Result<(), PeerFault> {
        let now = core.now;
        if ask == Ask::Join && !self.links.get_mut(&from).is_some_and(|link| link.may_ask(now, PATIENCE)) {
            return Err(PeerFault::TooMuch);
        }
        let room = self.active_count() < core.config.active_max;
        let accepted = !self.left && (self.is_active(&from) || ask != Ask::Low || room);
        let peers = self.sample_for(core, from);
        core.send(from, Lane::Control, &Message::NeighbourReply { accepted, peers });
        if !accepted {
            return Ok(());
        }
        self.activate(core, from);
        if ask == Ask::Join {
            let others: Vec<NodeId> = self.active().filter(|peer| *peer != from).collect();
            for peer in others {
                let message = Message::ForwardJoin { joiner: from, ttl: ACTIVE_WALK };
                core.send(peer, Lane::Control, &message);
            }
        }
        Ok(())
    }

    pub(crate) fn reply(&mut self, core: &mut Core, from: NodeId, accepted: bool, peers: &[NodeId]) {
        self.remember_all(core, peers);
        let asked = self.asked.remove(&from).is_some();
        core.timers.cancel(Timer::Asked(from));
        if accepted {
            let room = self.active_count() < core.config.active_max;
            if self.left || (!asked && !room && !self.is_active(&from)) {
                core.send(
                    from,
                    Lane::Control,
                    &Message::Disconnect { leaving: self.left, peers: Vec::new() },
                );
            } else {
                self.activate(core, from);
            }
        } else if asked {
            if !self.is_active(&from) {
                core.outbox.push_back(Output::Disconnect { peer: from });
            }
            let wait = core.jitter(REFUSED_AFTER);
            if let Some(candidate) = self.passive.get_mut(&from) {
                candidate.retry_at = core.after(wait);
            }
        }
        self.refill(core);
    }

    /// GOS-3: takes the joiner in at the walk's end or where neighbours are few; else passes it on.
    pub(crate) fn forward_join(&mut self, core: &mut Core, from: NodeId, joiner: NodeId, ttl: u8) {
        if joiner == core.me || self.left || self.is_active(&joiner) {
            return;
        }
        if ttl <= PASSIVE_WALK {
            self.remember(core, joiner);
        }
        let onward: Vec<NodeId> = self.active().filter(|peer| *peer != from && *peer != joiner).collect();
        let few = self.active_count() < core.config.active_min;
        match core.pick(&onward) {
            Some(next) if ttl > 0 && !few => {
                core.send(next, Lane::Control, &Message::ForwardJoin { joiner, ttl: ttl - 1 });
            }
            _ => {
                self.remember(core, joiner);
                self.ask(core, joiner, Ask::Low);
            }
        }
    }

    pub(crate) fn disconnected(&mut self, core: &mut Core, from: NodeId, leaving: bool, peers: &[NodeId]) {
        if self.is_active(&from) {
            self.deactivate(core, from);
        }
        self.asked.remove(&from);
        core.timers.cancel(Timer::Asked(from));
        if leaving {
            self.passive.remove(&from);
        } else {
            self.remember(core, from);
            let wait = core.jitter(REFUSED_AFTER);
            if let Some(candidate) = self.passive.get_mut(&from) {
                candidate.retry_at = core.after(wait);
            }
        }
        self.remember_all(core, peers);
        self.refill(core);
    }

    /// GOS-4: passive peers spread by exchange; now and then a lost one is tried, or an edge replaced, so
    /// that two halves of a network find together again.
    pub(crate) fn shuffle_due(&mut self, core: &mut Core) {
        self.set_shuffle(core);
        let active: Vec<NodeId> = self.active().collect();
        if let Some(peer) = core.pick(&active) {
            let peers = self.sample_for(core, peer);
            core.send(peer, Lane::Control, &Message::Shuffle { peers });
        }
        let now = core.now;
        let ready = |failed: bool| {
            let ready = self.passive.iter().filter(move |(_, candidate)| {
                candidate.retry_at <= now && (candidate.failures > 0) == failed
            });
            ready.map(|(peer, _)| *peer).collect::<Vec<_>>()
        };
        let (lost, fresh) = (ready(true), ready(false));
        let candidate = match core.below(8) {
            0..4 => core.pick(&lost),
            4 | 5 => core.pick(&fresh),
            _ => None,
        };
        if let Some(peer) = candidate {
            self.ask(core, peer, Ask::High);
        }
        self.refill(core);
    }

    pub(crate) fn shuffle(
        &mut self,
        core: &mut Core,
        from: NodeId,
        peers: &[NodeId],
    ) -> Result<(), PeerFault> {
        let now = core.now;
        if !self.links.get_mut(&from).is_some_and(|link| link.may_ask(now, PATIENCE)) {
            return Err(PeerFault::TooMuch);
        }
        let answer = self.sample_for(core, from);
        core.send(from, Lane::Control, &Message::ShuffleReply { peers: answer });
        self.shuffled(core, peers);
        Ok(())
    }

    pub(crate) fn shuffled(&mut self, core: &mut Core, peers: &[NodeId]) {
        self.remember_all(core, peers);
        self.refill(core);
    }

    /// Asks candidates, several at once, until there are neighbours enough that answer, or none is left to ask.
    pub(crate) fn refill(&mut self, core: &mut Core) {
        let (now, sound) = (core.now, self.sound_count());
        if self.left || sound >= core.config.active_min {
            return;
        }
        let hedge = self.mean_rtt().map_or(MOST_HEDGE, |rtt| rtt * HEDGE_RTTS).clamp(LEAST_HEDGE, MOST_HEDGE);
        let fresh: Vec<Duration> =
            self.asked.values().map(|(_, at)| at.saturating_add(hedge)).filter(|at| *at > now).collect();
        if let Some(oldest) = fresh.iter().min() {
            core.timers.set_by(Timer::Refill, *oldest);
        }
        let have = sound + fresh.len();
        if have >= core.config.active_min || self.asked.len() >= MAX_ASKED {
            return;
        }
        for seed in self.seeds.clone() {
            if !self.is_active(&seed) && !self.passive.contains_key(&seed) {
                self.remember(core, seed);
            }
        }
        // Who is alone cannot wait for one after the other.
        let wanted = if sound == 0 { 2 * PARALLEL } else { PARALLEL };
        for _ in 0..(core.config.active_min - have).min(wanted) {
            let Some(peer) = self.pick_candidate(core) else {
                break;
            };
            let ask = match sound {
                0 => Ask::Join,
                1 => Ask::High,
                _ => Ask::Low,
            };
            self.ask(core, peer, ask);
        }
        let open = self.passive.iter().filter(|(peer, _)| !self.asked.contains_key(*peer));
        let next = open.map(|(_, candidate)| candidate.retry_at).filter(|at| *at > core.now).min();
        if let Some(at) = next {
            core.timers.set_by(Timer::Refill, at);
        }
    }

    /// A random candidate whose time has come, those with a connection first.
    fn pick_candidate(&self, core: &mut Core) -> Option<NodeId> {
        let now = core.now;
        let ready = |linked: bool| {
            let ready = self.passive.iter().filter(move |(peer, candidate)| {
                candidate.retry_at <= now
                    && !self.asked.contains_key(*peer)
                    && self.links.contains_key(*peer) == linked
            });
            ready.map(|(peer, _)| *peer).collect::<Vec<_>>()
        };
        core.pick(&ready(true)).or_else(|| core.pick(&ready(false)))
    }

    fn ask(&mut self, core: &mut Core, peer: NodeId, ask: Ask) {
        if self.is_active(&peer) || self.asked.contains_key(&peer) || self.is_shunned(&peer, core.now) {
            return;
        }
        self.asked.insert(peer, (ask, core.now));
        if self.links.contains_key(&peer) {
            self.send_ask(core, peer, ask);
        } else {
            core.outbox.push_back(Output::Connect { peer });
            core.set_after(Timer::Asked(peer), core.config.connect_limit);
        }
    }

    fn send_ask(&mut self, core: &mut Core, peer: NodeId, ask: Ask) {
        core.send(peer, Lane::Control, &Message::Neighbour { version: VERSION, ask });
        core.set_after(Timer::Asked(peer), core.config.connect_limit);
    }

    fn activate(&mut self, core: &mut Core, peer: NodeId) {
        self.asked.remove(&peer);
        core.timers.cancel(Timer::Asked(peer));
        let Some(link) = self.links.get_mut(&peer).filter(|link| !link.active) else {
            return;
        };
        link.active = true;
        link.ping(core, peer);
        self.passive.remove(&peer);
        core.changes.push_back(Change::Up(peer));
        core.event(Event::NeighbourUp { peer });
        let others: Vec<NodeId> = self.active().filter(|other| *other != peer).collect();
        if others.len() >= core.config.active_max
            && let Some(other) = self.far_one(core, others)
        {
            self.make_room(core, other);
        }
    }

    /// One that does not answer; else, of two at random that are not in the tree, the one with the longer round trip:
    /// near links are preferred, and enough far ones stay for the network to hang together.
    fn far_one(&self, core: &mut Core, others: Vec<NodeId>) -> Option<NodeId> {
        let is_silent = |peer: &&NodeId| self.links.get(*peer).is_some_and(|link| link.probe == Some(true));
        if let Some(silent) = others.iter().find(is_silent) {
            return Some(*silent);
        }
        let lazy: Vec<NodeId> = others.iter().copied().filter(|other| core.lazy.contains(other)).collect();
        let others = if lazy.is_empty() { others } else { lazy };
        let two = core.sample(others, 2);
        two.into_iter().max_by_key(|peer| self.links.get(peer).and_then(|link| link.rtt.smoothed()))
    }

    /// GOS-16: no neighbour any more, and not for a while.
    pub(crate) fn shun(&mut self, core: &mut Core, peer: NodeId) {
        let now = core.now;
        self.shunned.retain(|_, until| *until > now);
        if self.shunned.len() < MAX_SHUNNED {
            self.shunned.insert(peer, now.saturating_add(SHUNNED));
        }
        if let Some(link) = self.links.get_mut(&peer) {
            link.standing = Standing::default();
        }
        core.counters.shunned += 1;
        core.send(peer, Lane::Control, &Message::Disconnect { leaving: false, peers: Vec::new() });
        if self.is_active(&peer) {
            self.deactivate(core, peer);
        }
        self.asked.remove(&peer);
        core.timers.cancel(Timer::Asked(peer));
        self.passive.remove(&peer);
        core.event(Event::Shunned { peer });
        core.outbox.push_back(Output::Disconnect { peer });
        self.refill(core);
    }

    pub(crate) fn is_shunned(&self, peer: &NodeId, now: Duration) -> bool {
        self.shunned.get(peer).is_some_and(|until| *until > now)
    }

    fn make_room(&mut self, core: &mut Core, peer: NodeId) {
        let peers = self.sample_for(core, peer);
        core.send(peer, Lane::Control, &Message::Disconnect { leaving: false, peers });
        self.deactivate(core, peer);
        self.remember(core, peer);
        if let Some(candidate) = self.passive.get_mut(&peer) {
            candidate.retry_at = core.now.saturating_add(REFUSED_AFTER);
        }
        core.outbox.push_back(Output::Disconnect { peer });
    }

    fn deactivate(&mut self, core: &mut Core, peer: NodeId) {
        if let Some(link) = self.links.get_mut(&peer) {
            link.active = false;
            link.probe = None;
        }
        core.timers.cancel(Timer::Probe(peer));
        core.timers.cancel(Timer::Unanswered(peer));
        core.changes.push_back(Change::Down(peer));
        core.event(Event::NeighbourDown { peer });
    }

    /// Keeps the peer in mind, and tries it later and later.
    fn failed(&mut self, core: &mut Core, peer: NodeId) {
        self.asked.remove(&peer);
        core.timers.cancel(Timer::Asked(peer));
        self.remember(core, peer);
        let Some(candidate) = self.passive.get_mut(&peer) else {
            return;
        };
        let wait = RETRY_FIRST.saturating_mul(1 << candidate.failures.min(8)).min(RETRY_MAX);
        candidate.failures = candidate.failures.saturating_add(1);
        let wait = core.jitter(wait);
        candidate.retry_at = core.after(wait);
    }

    fn remember_all(&mut self, core: &mut Core, peers: &[NodeId]) {
        for &peer in peers {
            self.remember(core, peer);
        }
    }

    fn remember(&mut self, core: &mut Core, peer: NodeId) {
        let is_known = self.is_active(&peer) || self.passive.contains_key(&peer);
        if peer == core.me || self.left || is_known || self.is_shunned(&peer, core.now) {
            return;
        }
        while self.passive.len() >= core.config.passive_max.max(1) {
            let all: Vec<NodeId> = self.passive.keys().copied().collect();
            let Some(victim) = core.pick(&all) else {
                break;
            };
            self.passive.remove(&victim);
        }
        self.passive.insert(peer, Candidate::default());
    }

    fn sample_for(&self, core: &mut Core, peer: NodeId) -> Vec<NodeId> {
        let known = self.active().chain(self.passive());
        core.sample(known.filter(|known| *known != peer).collect(), SHUFFLED)
    }

    fn set_shuffle(&self, core: &mut Core) {
        let wait = core.jitter(core.config.shuffle_interval);
        core.set_after(Timer::Shuffle, wait);
    }
}
