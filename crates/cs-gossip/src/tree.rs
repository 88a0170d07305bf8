//! How broadcasts travel: Plumtree (Leitão, Pereira, Rodrigues, SRDS 2007), pushed along a tree, announced
//! on the other links, with waits that follow what was measured (GOS-7 to GOS-13).

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cs_identity::NodeId;

use crate::cache::Cache;
use crate::fault::{PeerFault, Refused};
use crate::machine::{Event, Verdict};
use crate::membership::Membership;
use crate::rtt::Peak;
use crate::seen::Seen;
use crate::shared::{Change, Core};
use crate::timers::Timer;
use crate::wire::{Broadcast, Lane, MAX_ANNOUNCED, Message, MessageId};

/// Announced broadcasts that are waited for; further announcements are ignored until some have come.
const MAX_MISSING: usize = 4096;
/// Of these, first announced by one peer.
const MAX_MISSING_EACH: usize = 512;
/// Peers remembered that have one missing broadcast.
const MAX_HOLDERS: usize = 8;
/// Announcements that wait for one peer; the oldest give way.
const MAX_PENDING: usize = 512;
/// What a new neighbour is told of the recent past.
const RECENT: usize = 32;
/// Bounds of the wait between an announcement and the request for it.
const LEAST_WAIT: Duration = Duration::from_millis(10);
const MOST_WAIT: Duration = Duration::from_secs(1);
/// Bounds of the time in which announcements are gathered.
const LEAST_FLUSH: Duration = Duration::from_millis(5);
const MOST_FLUSH: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(crate) struct Tree {
    seen: Seen,
    cache: Cache,
    /// Neighbours that get announcements instead of payloads.
    lazy: BTreeSet<NodeId>,
    pending: BTreeMap<NodeId, VecDeque<(MessageId, u8)>>,
    missing: BTreeMap<MessageId, Missing>,
    /// How long after its announcement a pushed copy still comes.
    lateness: Peak,
}

/// A broadcast that others have.
#[derive(Debug)]
struct Missing {
    first: NodeId,
    /// Who has it, and how many links it crossed to there.
    untried: Vec<(u8, NodeId)>,
    announced_at: Duration,
    requested: bool,
    pull: bool,
}

impl Tree {
    pub(crate) fn new(salt: u64) -> Self {
        Self {
            seen: Seen::new(salt),
            cache: Cache::default(),
            lazy: BTreeSet::new(),
            pending: BTreeMap::new(),
            missing: BTreeMap::new(),
            lateness: Peak::default(),
        }
    }

    pub(crate) fn publish(
        &mut self,
        core: &mut Core,
        members: &Membership,
        lane: Lane,
        payload: Vec<u8>,
    ) -> Result<MessageId, Refused> {
        if payload.len() > core.config.payload_bytes {
            return Err(Refused::TooLarge);
        }
        if members.left {
            return Err(Refused::Left);
        }
        let congested = |peer: &NodeId| is_congested(core, members, peer);
        if members.active_count() > 0 && members.active().all(|peer| congested(&peer)) {
            return Err(Refused::Congested);
        }
        let nonce = core.random();
        let broadcast = Broadcast { origin: core.me, nonce, lane, hops: 0, pulled: false, payload };
        let id = broadcast.id();
        self.seen.insert(id);
        core.counters.published += 1;
        self.forward(core, members, id, &broadcast, None);
        self.keep(core, id, broadcast, None, false);
        Ok(id)
    }

    /// A payload arrives: the first time it is delivered and passed on, then its sender is pruned (GOS-12).
    pub(crate) fn broadcast(
        &mut self,
        core: &mut Core,
        members: &Membership,
        from: NodeId,
        mut broadcast: Broadcast,
    ) -> Result<(), PeerFault> {
        if broadcast.payload.len() > core.config.payload_bytes {
            return Err(PeerFault::Payload);
        }
        let id = broadcast.id();
        let small = broadcast.payload.len() <= core.config.push_bytes;
        let in_tree = broadcast.lane == Lane::Normal && small && members.is_active(&from);
        if !self.seen.insert(id) {
            core.counters.duplicates += 1;
            // Two broadcasts at once may each find the other's way superfluous: one way must stay.
            let parent = self.cache.path(&id).map(|(parent, _)| parent);
            let covered = parent.is_none_or(|parent| parent != from && !self.lazy.contains(&parent));
            if in_tree && covered && self.lazy.insert(from) {
                core.counters.prunes += 1;
                core.send(from, Lane::Control, &Message::Prune);
            }
            return Ok(());
        }
        self.arrived(core, &id, broadcast.pulled);
        if in_tree {
            self.lazy.remove(&from);
        }
        broadcast.hops = broadcast.hops.saturating_add(1);
        broadcast.pulled = false;
        core.counters.delivered += 1;
        core.event(Event::Deliver {
            origin: broadcast.origin,
            id,
            lane: broadcast.lane,
            payload: broadcast.payload.clone(),
            from,
            hops: broadcast.hops,
        });
        if core.config.validate {
            self.keep(core, id, broadcast, Some(from), true);
        } else {
            self.forward(core, members, id, &broadcast, Some(from));
            self.keep(core, id, broadcast, Some(from), false);
        }
        Ok(())
    }

    /// The application's word on a delivery that waits for it.
    pub(crate) fn validate(
        &mut self,
        core: &mut Core,
        members: &Membership,
        id: MessageId,
        verdict: Verdict,
    ) -> Result<(), Refused> {
        let (broadcast, from) = self.cache.release(&id).ok_or(Refused::Unknown)?;
        match verdict {
            Verdict::Accept => self.forward(core, members, id, &broadcast, Some(from)),
            Verdict::Reject => self.cache.remove(&id),
        }
        Ok(())
    }

    /// GOS-9: urgent ones to all, normal ones along the tree, large and bulk ones by announcement.
    fn forward(
        &mut self,
        core: &mut Core,
        members: &Membership,
        id: MessageId,
        broadcast: &Broadcast,
        from: Option<NodeId>,
    ) {
        let pull = broadcast.lane == Lane::Bulk || broadcast.payload.len() > core.config.push_bytes;
        let bytes = if pull { Vec::new() } else { Message::Broadcast(broadcast.clone()).to_bytes() };
        for peer in members.active().filter(|peer| Some(*peer) != from) {
            let push = match broadcast.lane {
                Lane::Control | Lane::Urgent => true,
                Lane::Normal | Lane::Bulk => {
                    !self.lazy.contains(&peer) && !is_congested(core, members, &peer)
                }
            };
            if pull {
                core.counters.announced += 1;
                core.send(
                    peer,
                    broadcast.lane,
                    &Message::Announce { pull: true, ids: vec![(id, broadcast.hops)] },
                );
            } else if push {
                core.counters.pushed += 1;
                core.send_bytes(peer, broadcast.lane, bytes.clone());
            } else {
                self.announce_later(core, members, peer, (id, broadcast.hops));
            }
        }
    }

    fn announce_later(&mut self, core: &mut Core, members: &Membership, peer: NodeId, id: (MessageId, u8)) {
        let pending = self.pending.entry(peer).or_default();
        if pending.len() >= MAX_PENDING {
            pending.pop_front();
        }
        pending.push_back(id);
        if !core.timers.is_set(Timer::Flush) {
            let nearest = members.links.values().filter(|link| link.active);
            let nearest = nearest.filter_map(|link| link.rtt.smoothed()).min().unwrap_or(MOST_FLUSH);
            core.set_after(Timer::Flush, (nearest / 2).clamp(LEAST_FLUSH, MOST_FLUSH));
        }
    }

    pub(crate) fn flush(&mut self, core: &mut Core) {
        for (peer, ids) in core::mem::take(&mut self.pending) {
            let ids: Vec<(MessageId, u8)> = ids.into_iter().collect();
            for chunk in ids.chunks(MAX_ANNOUNCED) {
                core.counters.announced += chunk.len() as u64;
                core.send(peer, Lane::Normal, &Message::Announce { pull: false, ids: chunk.to_vec() });
            }
        }
    }

    /// GOS-10: waits a measured while for a pushed copy, then asks those who have it one by one.
    pub(crate) fn announced(
        &mut self,
        core: &mut Core,
        members: &Membership,
        from: NodeId,
        pull: bool,
        ids: &[(MessageId, u8)],
    ) {
        for (id, hops) in ids {
            if self.seen.contains(id) {
                continue;
            }
            if let Some(missing) = self.missing.get_mut(id) {
                let known = missing.untried.iter().any(|(_, peer)| *peer == from);
                if missing.untried.len() < MAX_HOLDERS && !known {
                    missing.untried.push((*hops, from));
                }
                continue;
            }
            let of_this_peer = self.missing.values().filter(|missing| missing.first == from).count();
            if self.missing.len() >= MAX_MISSING || of_this_peer >= MAX_MISSING_EACH {
                core.counters.ignored += 1;
                continue;
            }
            let missing = Missing {
                first: from,
                untried: vec![(*hops, from)],
                announced_at: core.now,
                requested: false,
                pull,
            };
            self.missing.insert(*id, missing);
            if pull {
                self.missing_due(core, members, *id);
            } else {
                // Behind a broken link many wait for the same: the first to ask mends it for all.
                let wait = self.wait(members);
                let wait = wait + wait * core.below(1024) as u32 / 512;
                core.set_after(Timer::Missing(*id), wait);
            }
        }
    }

    /// How long a pushed copy may stay behind its announcement.
    fn wait(&self, members: &Membership) -> Duration {
        let slowest = members.links.values().filter(|link| link.active);
        let slowest = slowest.filter_map(|link| link.rtt.smoothed()).max().unwrap_or(MOST_WAIT / 8);
        // A neighbour slower than the longest wait does not lengthen it.
        self.lateness.limit().unwrap_or(slowest * 8).clamp(slowest.clamp(LEAST_WAIT, MOST_WAIT), MOST_WAIT)
    }

    /// GOS-11: asks one of those who have it and were not asked yet: the one nearest to the publisher, which
    /// keeps the tree shallow, and of equals the one nearest to us.
    pub(crate) fn missing_due(&mut self, core: &mut Core, members: &Membership, id: MessageId) {
        let Some(missing) = self.missing.get_mut(&id) else {
            return;
        };
        let distance = |peer: &NodeId| members.links.get(peer).map(crate::link::Link::limit);
        missing.untried.retain(|(_, peer)| distance(peer).is_some());
        let nearest = missing.untried.iter().copied().min_by_key(|(hops, peer)| (*hops, distance(peer)));
        let Some((_, holder)) = nearest else {
            core.counters.lost += 1;
            self.missing.remove(&id);
            return;
        };
        missing.untried.retain(|(_, peer)| *peer != holder);
        missing.requested = true;
        let tree = !missing.pull && members.is_active(&holder);
        if tree {
            self.lazy.remove(&holder);
        }
        core.counters.grafts += 1;
        core.send(holder, Lane::Control, &Message::Graft { tree, id: Some(id) });
        core.set_after(Timer::Missing(id), distance(&holder).unwrap_or(MOST_WAIT));
    }

    /// Stops waiting; learns how late pushed copies are, those too that came after all.
    fn arrived(&mut self, core: &mut Core, id: &MessageId, pulled: bool) {
        if let Some(missing) = self.missing.remove(id) {
            core.timers.cancel(Timer::Missing(*id));
            if !missing.requested || !pulled {
                self.lateness.sample(core.now.saturating_sub(missing.announced_at));
            }
        }
    }

    pub(crate) fn graft(
        &mut self,
        core: &mut Core,
        members: &Membership,
        from: NodeId,
        tree: bool,
        id: Option<MessageId>,
    ) {
        if tree && members.is_active(&from) {
            self.lazy.remove(&from);
        }
        if let Some(broadcast) = id.and_then(|id| self.cache.serve(&id)) {
            let broadcast = Broadcast { pulled: true, ..broadcast.clone() };
            core.counters.pushed += 1;
            core.send(from, broadcast.lane, &Message::Broadcast(broadcast));
        }
    }

    pub(crate) fn prune(&mut self, members: &Membership, from: NodeId) {
        if members.is_active(&from) {
            self.lazy.insert(from);
        }
    }

    /// GOS-13: a new neighbour hears of the recent past, so that what was under way while it came is not lost.
    pub(crate) fn change(&mut self, core: &mut Core, change: Change) {
        match change {
            Change::Up(peer) => {
                let ids = self.cache.newest(RECENT);
                if !ids.is_empty() {
                    core.counters.announced += ids.len() as u64;
                    core.send(peer, Lane::Normal, &Message::Announce { pull: false, ids });
                }
            }
            Change::Down(peer) => {
                self.lazy.remove(&peer);
                self.pending.remove(&peer);
            }
        }
    }

    pub(crate) fn expire(&mut self, core: &mut Core) {
        let Some(before) = core.now.checked_sub(core.config.cache_limit) else {
            return self.set_expire(core, Some(Duration::ZERO));
        };
        let oldest = self.cache.expire(before);
        self.set_expire(core, oldest);
    }

    fn keep(
        &mut self,
        core: &mut Core,
        id: MessageId,
        broadcast: Broadcast,
        from: Option<NodeId>,
        held: bool,
    ) {
        self.cache.insert(core.now, core.config.cache_bytes, id, broadcast, from, held);
        if !core.timers.is_set(Timer::Expire) {
            self.set_expire(core, Some(core.now));
        }
    }

    fn set_expire(&self, core: &mut Core, oldest: Option<Duration>) {
        if let Some(oldest) = oldest {
            let at = oldest.saturating_add(core.config.cache_limit);
            core.timers.set(Timer::Expire, at.max(core.after(Duration::ZERO)));
        }
    }
}

fn is_congested(core: &Core, members: &Membership, peer: &NodeId) -> bool {
    members.links.get(peer).is_some_and(|link| link.backlog > core.config.backlog_bytes)
}
