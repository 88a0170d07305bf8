//! How broadcasts travel: Plumtree (Leitão, Pereira, Rodrigues, SRDS 2007), pushed along a tree, announced
//! on the other links, with waits that follow what was measured (GOS-7 to GOS-18).

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cs_identity::NodeId;

use crate::cache::Cache;
use crate::fault::{PeerFault, Refused};
use crate::machine::{Event, Verdict};
use crate::membership::Membership;
use crate::pull::{BATCH, Came, Progress, Wanted};
use crate::seen::Seen;
use crate::shared::{Change, Core, Misdeed};
use crate::survey::{Loss, Survey};
use crate::timers::Timer;
use crate::wire::{Broadcast, Lane, MAX_ANNOUNCED, MAX_CHUNK, Message, MessageId, Way};

/// Announcements that wait for one peer; the oldest give way.
const MAX_PENDING: usize = 512;
/// Of so many duplicates on links of the tree one has its link pruned.
const PRUNED_OF: usize = 4;
/// What a new neighbour is told of the recent past.
const RECENT: usize = 32;
/// Bounds of the time in which announcements are gathered.
const LEAST_FLUSH: Duration = Duration::from_millis(5);
const MOST_FLUSH: Duration = Duration::from_millis(50);

#[derive(Debug)]
pub(crate) struct Tree {
    seen: Seen,
    cache: Cache,
    /// Neighbours that were told that their queue is full.
    slow: BTreeSet<NodeId>,
    pending: BTreeMap<NodeId, VecDeque<(MessageId, u8)>>,
    wanted: Wanted,
    survey: Survey,
    loss: Loss,
}

impl Tree {
    pub(crate) fn new(salt: u64) -> Self {
        Self {
            seen: Seen::new(salt),
            cache: Cache::default(),
            slow: BTreeSet::new(),
            pending: BTreeMap::new(),
            wanted: Wanted::default(),
            survey: Survey::default(),
            loss: Loss::default(),
        }
    }

    pub(crate) fn publish(
        &mut self,
        core: &mut Core,
        members: &Membership,
        lane: Lane,
        payload: Vec<u8>,
        lifetime: Option<Duration>,
    ) -> Result<MessageId, Refused> {
        if payload.len() > core.config.payload_bytes {
            return Err(Refused::TooLarge);
        }
        if members.left {
            return Err(Refused::Left);
        }
        if members.active_count() > 0 && members.active().all(|peer| !core.has_room(&peer, lane)) {
            return Err(Refused::Congested);
        }
        let lifetime_ms =
            lifetime.map_or(0, |span| u32::try_from(span.as_millis()).unwrap_or(u32::MAX).max(1));
        let is_small = lane == Lane::Normal && payload.len() <= core.config.push_bytes;
        let way = if is_small && self.survey.is_due(self.loss.is_high()) { Way::Survey } else { Way::Pushed };
        let nonce = core.random();
        let broadcast = Broadcast { origin: core.me, nonce, lane, hops: 0, way, lifetime_ms, payload };
        let id = broadcast.id();
        self.seen.insert(id);
        self.survey.count(lane);
        if way == Way::Survey {
            self.survey.begin(core.now, id, None);
        }
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
        self.wanted.kept(core, from, &id);
        let small = broadcast.payload.len() <= core.config.push_bytes;
        let in_tree = broadcast.lane == Lane::Normal && small && members.is_active(&from);
        if !self.seen.insert(id) {
            core.counters.duplicates += 1;
            if broadcast.way != Way::Pulled {
                core.blames.push((from, Misdeed::Duplicate));
            }
            if in_tree {
                self.superfluous(core, members, from, id, &broadcast);
            }
            return Ok(());
        }
        let came = self.wanted.arrived(core, &id, from, broadcast.way == Way::Pulled);
        self.survey.count(broadcast.lane);
        if in_tree {
            self.loss.sample(came == Came::OnRequest);
            core.lazy.remove(&from);
            if broadcast.way == Way::Survey && self.survey.begin(core.now, id, Some((from, broadcast.hops))) {
                core.send(from, Lane::Control, &Message::Graft { tree: true, id: None });
            } else {
                broadcast.way = Way::Pushed;
            }
        } else {
            broadcast.way = Way::Pushed;
        }
        broadcast.hops = broadcast.hops.saturating_add(1);
        self.wanted.crossed(broadcast.hops);
        core.counters.delivered += 1;
        core.event(Event::Deliver {
            origin: broadcast.origin,
            id,
            lane: broadcast.lane,
            payload: broadcast.payload.clone(),
            from,
            hops: broadcast.hops,
        });
        let held = core.config.validate;
        if !held {
            self.forward(core, members, id, &broadcast, Some(from));
        }
        self.keep(core, id, broadcast, Some(from), held);
        Ok(())
    }

    /// GOS-12: of two links that bring the same, one is enough, unless payloads get lost; and in a survey the one that
    /// saves links may be worth a moment.
    fn superfluous(
        &mut self,
        core: &mut Core,
        members: &Membership,
        from: NodeId,
        id: MessageId,
        copy: &Broadcast,
    ) {
        if copy.way == Way::Pulled {
            return;
        }
        if let Some(parent) =
            self.survey.shorter(core.now, id, from, copy.hops, members.mean_rtt().unwrap_or_default())
        {
            core.lazy.remove(&from);
            core.send(from, Lane::Control, &Message::Graft { tree: true, id: None });
            if core.lazy.insert(parent) {
                core.counters.prunes += 1;
                core.send(parent, Lane::Control, &Message::Prune);
            }
            return;
        }
        if copy.way == Way::Survey && self.survey.is_current(&id) {
            // Both ends see the other's copy and need no word; whoever wants to hang below this node says so.
            core.lazy.insert(from);
            return;
        }
        if let Some(holder) = self.wanted.needless(core.now, &id, from) {
            // It was on its way: the link that was asked for it is not needed, and the tree stays as it was.
            if core.lazy.insert(holder) {
                core.counters.prunes += 1;
                core.send(holder, Lane::Control, &Message::Prune);
            }
            return;
        }
        // Two broadcasts at once may each find the other's way superfluous: one way must stay.
        let parent = self.cache.path(&id).map(|(parent, _)| parent);
        let covered = parent.is_none_or(|parent| parent != from && !core.lazy.contains(&parent));
        let spared = self.loss.is_high() && self.cache.copied(&id) == Some(1);
        if !covered || spared {
            return;
        }
        // A circle brings every broadcast twice to one of its links, to another one if it comes from elsewhere: if each were
        // cut at once, both halves would fall off the tree. A link that is lazy here is no part of a circle: the other end
        // does not know.
        if core.lazy.contains(&from) || core.below(PRUNED_OF) == 0 {
            core.lazy.insert(from);
            core.counters.prunes += 1;
            core.send(from, Lane::Control, &Message::Prune);
        }
    }

    /// The word on a payload that waited for one.
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
            Verdict::Reject => {
                core.blames.push((from, Misdeed::Invalid));
                self.cache.remove(&id);
            }
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
        let lane = broadcast.lane;
        let pull = lane == Lane::Bulk || broadcast.payload.len() > core.config.push_bytes;
        let bytes = if pull { Vec::new() } else { Message::Broadcast(broadcast.clone()).to_bytes() };
        let to_all = matches!(lane, Lane::Control | Lane::Urgent) || broadcast.way == Way::Survey;
        let expires_at = lifetime_end(core, broadcast);
        for peer in members.active().filter(|peer| Some(*peer) != from) {
            if pull {
                core.counters.announced += 1;
                core.send(peer, lane, &Message::Announce { pull: true, ids: vec![(id, broadcast.hops)] });
            } else if (to_all || !core.lazy.contains(&peer)) && self.may_push(core, members, peer, lane) {
                core.counters.pushed += 1;
                core.send_until(peer, lane, bytes.clone(), expires_at);
                members.suspect(core, peer);
            } else {
                self.announce_later(core, members, peer, (id, broadcast.hops));
            }
        }
    }

    /// GOS-15: a link without room is demoted, and told so once.
    fn may_push(&mut self, core: &mut Core, members: &Membership, peer: NodeId, lane: Lane) -> bool {
        let room = core.has_room(&peer, lane);
        if room {
            self.slow.remove(&peer);
        } else if self.slow.insert(peer) && members.is_active(&peer) {
            core.counters.demoted += 1;
            core.send(peer, Lane::Control, &Message::Slow);
        }
        room
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

    /// GOS-10: what is not here is waited for, or asked for at once.
    pub(crate) fn announced(
        &mut self,
        core: &mut Core,
        members: &Membership,
        from: NodeId,
        pull: bool,
        ids: &[(MessageId, u8)],
    ) {
        for (id, hops) in ids {
            if !self.seen.contains(id) && self.wanted.announced(core, members, from, pull, *id, *hops) {
                self.missing_due(core, members, *id);
            }
        }
    }

    pub(crate) fn missing_due(&mut self, core: &mut Core, members: &Membership, id: MessageId) {
        if let Some(parent) = self.wanted.ask(core, members, id) {
            core.lazy.remove(&parent);
        }
    }

    pub(crate) fn promises_due(&mut self, core: &mut Core) {
        self.wanted.promises_due(core);
    }

    /// GOS-17: answers with the next parts, as many as were asked for and have room.
    pub(crate) fn pull(&mut self, core: &mut Core, from: NodeId, id: MessageId, offset: u32) {
        let Some((broadcast, _)) = self.cache.serve(&id, core.now, BATCH) else {
            return;
        };
        let (lane, broadcast) = (broadcast.lane, Broadcast { way: Way::Pulled, ..broadcast.clone() });
        if !core.has_room(&from, lane) {
            core.send(from, Lane::Control, &Message::Slow);
            return;
        }
        let bytes = Message::Broadcast(broadcast).to_bytes();
        let total = bytes.len() as u32;
        core.counters.pushed += u64::from(offset == 0);
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        for (number, part) in rest.chunks(MAX_CHUNK).take(BATCH / MAX_CHUNK).enumerate() {
            let offset = offset + (number * MAX_CHUNK) as u32;
            // Transfers never stand in the way of what is pushed.
            core.send(from, Lane::Bulk, &Message::Chunk { id, total, offset, bytes: part.to_vec() });
        }
    }

    /// GOS-17: the whole is checked against its name; who sent all of another thing is to blame for it.
    pub(crate) fn chunk(
        &mut self,
        core: &mut Core,
        members: &Membership,
        from: NodeId,
        part: (MessageId, u32, u32),
        bytes: &[u8],
    ) {
        let Progress::Whole(whole, giver) = self.wanted.chunk(core, from, part, bytes) else {
            return;
        };
        let id = part.0;
        match Message::from_bytes(&whole) {
            Ok(Message::Broadcast(broadcast)) if broadcast.id() == id => {
                // Too large ones were refused by their length already.
                let broadcast = Broadcast { way: Way::Pulled, ..broadcast };
                let _ = self.broadcast(core, members, from, broadcast);
            }
            _ => core.blames.extend(giver.map(|giver| (giver, Misdeed::Invalid))),
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
            core.lazy.remove(&from);
        }
        if let Some((broadcast, expires_at)) = id.and_then(|id| self.cache.serve(&id, core.now, usize::MAX)) {
            if !core.has_room(&from, broadcast.lane) {
                core.send(from, Lane::Control, &Message::Slow);
                return;
            }
            let lifetime_ms = left_ms(core, broadcast, expires_at);
            let broadcast = Broadcast { way: Way::Pulled, lifetime_ms, ..broadcast.clone() };
            core.counters.pushed += 1;
            core.send(from, broadcast.lane, &Message::Broadcast(broadcast));
        }
    }

    /// GOS-15: the sender pushes no more; somebody else has to, and it told no lie if it sends nothing.
    pub(crate) fn slow(&mut self, core: &mut Core, members: &Membership, from: NodeId) {
        self.wanted.excuse(from);
        if members.is_active(&from) && !core.lazy.contains(&from) {
            self.replace_parent(core, members, from);
        }
    }

    /// Has the nearest of the others push, if none does.
    fn replace_parent(&mut self, core: &mut Core, members: &Membership, gone: NodeId) {
        let open = members.links.iter().filter(|(peer, link)| link.active && **peer != gone);
        let nearest = open.filter(|(peer, _)| core.lazy.contains(*peer)).min_by_key(|(_, link)| link.limit());
        if let Some((&peer, _)) = nearest {
            core.lazy.remove(&peer);
            core.send(peer, Lane::Control, &Message::Graft { tree: true, id: None });
        }
    }

    pub(crate) fn prune(&mut self, core: &mut Core, members: &Membership, from: NodeId) {
        if members.is_active(&from) {
            core.lazy.insert(from);
        }
    }

    /// GOS-13: a new neighbour hears of the recent past, so that what was under way while it came is not lost.
    pub(crate) fn change(&mut self, core: &mut Core, members: &Membership, change: Change) {
        match change {
            Change::Up(peer) => {
                // One tree link is enough to begin with; surveys find the better ones.
                let is_alone = members.active().all(|other| other == peer || core.lazy.contains(&other));
                if is_alone {
                    core.send(peer, Lane::Control, &Message::Graft { tree: true, id: None });
                } else {
                    core.lazy.insert(peer);
                }
                let ids = self.cache.newest(RECENT);
                if !ids.is_empty() {
                    core.counters.announced += ids.len() as u64;
                    core.send(peer, Lane::Normal, &Message::Announce { pull: false, ids });
                }
            }
            Change::Down(peer) => {
                if !core.lazy.remove(&peer) && !members.left {
                    self.replace_parent(core, members, peer);
                }
                self.pending.remove(&peer);
                self.slow.remove(&peer);
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
        let expires_at = lifetime_end(core, &broadcast);
        self.cache.insert((core.now, expires_at), core.config.cache_bytes, id, broadcast, from, held);
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

/// When a broadcast is no longer worth passing on.
fn lifetime_end(core: &Core, broadcast: &Broadcast) -> Duration {
    let limit = core.config.cache_limit;
    let span = match broadcast.lifetime_ms {
        0 => limit,
        ms => limit.min(Duration::from_millis(ms.into())),
    };
    core.now.saturating_add(span)
}

/// What is left of a lifetime, for those further on.
fn left_ms(core: &Core, broadcast: &Broadcast, expires_at: Duration) -> u32 {
    if broadcast.lifetime_ms == 0 {
        return 0;
    }
    u32::try_from(expires_at.saturating_sub(core.now).as_millis()).unwrap_or(u32::MAX).max(1)
}
