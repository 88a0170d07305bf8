//! What others have and this node has not: announcements, requests, and transfers in chunks that survive the one
//! who began them (GOS-10, GOS-11, GOS-17).

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use cs_identity::NodeId;

use crate::link::Link;
use crate::membership::Membership;
use crate::rtt::Peak;
use crate::shared::{Core, Misdeed};
use crate::timers::Timer;
use crate::wire::{Lane, MAX_ENCODED, Message, MessageId};

/// Announced broadcasts that are waited for; further announcements are ignored until some have come.
const MAX_MISSING: usize = 4096;
/// Of these, first announced by one peer.
const MAX_MISSING_EACH: usize = 512;
/// Peers remembered that have one missing broadcast.
const MAX_HOLDERS: usize = 8;
/// Times that all holders are asked, each time with twice the patience.
const ROUNDS: u8 = 3;
/// Bounds of the wait between an announcement and the request for it.
const LEAST_WAIT: Duration = Duration::from_millis(10);
const MOST_WAIT: Duration = Duration::from_secs(5);
/// Requests remembered, to learn which were needless.
const MAX_ASKED: usize = 64;
/// What was asked for and has not come by then, never will.
const PROMISE: Duration = Duration::from_secs(10);
const MAX_PROMISES: usize = 1024;
/// Bytes asked for at a time.
pub(crate) const BATCH: usize = 64 * 1024;

#[derive(Debug, Default)]
pub(crate) struct Wanted {
    missing: BTreeMap<MessageId, Missing>,
    /// How long after its announcement a pushed copy still comes.
    lateness: Peak,
    /// Who was asked for what and when, oldest first.
    promises: VecDeque<(Duration, NodeId, MessageId)>,
    /// What came on request lately: from whom, and when it had been announced.
    answered: VecDeque<(MessageId, NodeId, Duration)>,
    /// Links that broadcasts crossed lately.
    depth: u8,
    /// Bytes of all transfers under way.
    partial: usize,
}

/// A broadcast that others have.
#[derive(Debug)]
struct Missing {
    first: NodeId,
    /// Who has it, the links it crossed to there, and whether they were asked in this round.
    holders: Vec<(u8, NodeId, bool)>,
    announced_at: Duration,
    round: u8,
    requested: bool,
    pull: bool,
    transfer: Transfer,
}

/// The encoding of a broadcast as far as it has come.
#[derive(Debug, Default)]
struct Transfer {
    bytes: Vec<u8>,
    /// Who sent what is here; `None` once there were several.
    giver: Option<NodeId>,
}

/// What a chunk led to.
#[derive(Debug)]
pub(crate) enum Progress {
    /// More is to come, or it was of no use.
    Partial,
    /// The whole encoding, and who sent all of it.
    Whole(Vec<u8>, Option<NodeId>),
}

/// How a missing broadcast came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// Before anyone was asked.
    ByItself,
    /// Somebody had to be asked.
    OnRequest,
}

impl Wanted {
    /// Notes who has it. `true` if it is to be asked for at once.
    pub(crate) fn announced(
        &mut self,
        core: &mut Core,
        members: &Membership,
        from: NodeId,
        pull: bool,
        id: MessageId,
        hops: u8,
    ) -> bool {
        if let Some(missing) = self.missing.get_mut(&id) {
            let known = missing.holders.iter().any(|(_, peer, _)| *peer == from);
            if missing.holders.len() < MAX_HOLDERS && !known {
                missing.holders.push((hops, from, false));
            }
            return false;
        }
        let of_this_peer = self.missing.values().filter(|missing| missing.first == from).count();
        if self.missing.len() >= MAX_MISSING || of_this_peer >= MAX_MISSING_EACH {
            core.counters.ignored += 1;
            return false;
        }
        let missing = Missing {
            first: from,
            holders: vec![(hops, from, false)],
            announced_at: core.now,
            round: 0,
            requested: false,
            pull,
            transfer: Transfer::default(),
        };
        self.missing.insert(id, missing);
        if !pull {
            // Behind a broken link many wait for the same: the first to ask mends it for all.
            let wait = self.wait(members);
            let wait = wait + wait * core.below(1024) as u32 / 1024;
            core.set_after(Timer::Missing(id), wait);
        }
        pull
    }

    /// How long a pushed copy may stay behind its announcement: as measured, but no longer than the way through the tree
    /// is deep, lest waits elsewhere lengthen those here.
    fn wait(&self, members: &Membership) -> Duration {
        let depth = u32::from(self.depth.clamp(4, 16));
        let deepest = members.mean_rtt().unwrap_or(MOST_WAIT / 16) / 2 * depth;
        let slowest =
            members.links.values().filter(|link| link.active).filter_map(|link| link.rtt.smoothed()).max();
        let least = slowest.unwrap_or(LEAST_WAIT).clamp(LEAST_WAIT, MOST_WAIT);
        self.lateness.limit().map_or(deepest, |measured| measured.min(deepest)).clamp(least, MOST_WAIT)
    }

    /// Learns how deep the tree is.
    pub(crate) fn crossed(&mut self, hops: u8) {
        self.depth = if hops >= self.depth { hops } else { self.depth - 1 };
    }

    /// A pushed copy of what was asked for comes after all: the wait was too short. Returns who was asked.
    pub(crate) fn needless(&mut self, now: Duration, id: &MessageId, from: NodeId) -> Option<NodeId> {
        let at = self.answered.iter().position(|(asked, holder, _)| asked == id && *holder != from)?;
        let (_, holder, announced_at) = self.answered.remove(at)?;
        self.lateness.sample(now.saturating_sub(announced_at));
        Some(holder)
    }

    /// GOS-11: asks the holder nearest to the publisher, which keeps the tree shallow, and of equals the one nearest to
    /// us; another one each time the answer is late. Returns whom it asked to push from now on.
    pub(crate) fn ask(&mut self, core: &mut Core, members: &Membership, id: MessageId) -> Option<NodeId> {
        let missing = self.missing.get_mut(&id)?;
        let distance = |peer: &NodeId| members.links.get(peer).map(Link::limit);
        missing.holders.retain(|(_, peer, _)| distance(peer).is_some());
        if missing.holders.iter().all(|(_, _, asked)| *asked) {
            missing.round += 1;
            missing.holders.iter_mut().for_each(|holder| holder.2 = false);
        }
        let open = missing.holders.iter_mut().filter(|(_, _, asked)| !*asked);
        let nearest = open.min_by_key(|(hops, peer, _)| (*hops, distance(peer)));
        let Some((_, holder, asked)) = nearest.filter(|_| missing.round < ROUNDS) else {
            core.counters.lost += 1;
            self.forget(core, &id);
            return None;
        };
        *asked = true;
        let holder = *holder;
        missing.requested = true;
        core.counters.grafts += 1;
        let tree = !missing.pull && members.is_active(&holder);
        let message = if missing.pull {
            Message::Pull { id, offset: missing.transfer.bytes.len() as u32 }
        } else {
            Message::Graft { tree, id: Some(id) }
        };
        core.send(holder, Lane::Control, &message);
        let wait = distance(&holder).unwrap_or(MOST_WAIT) * (1 << missing.round);
        core.set_after(Timer::Missing(id), wait);
        self.promised(core, holder, id);
        tree.then_some(holder)
    }

    fn promised(&mut self, core: &mut Core, holder: NodeId, id: MessageId) {
        if self.promises.len() < MAX_PROMISES {
            self.promises.push_back((core.now, holder, id));
            if !core.timers.is_set(Timer::Promises) {
                core.set_after(Timer::Promises, PROMISE);
            }
        }
    }

    /// What was promised by this peer has come, if only a part of it.
    pub(crate) fn kept(&mut self, core: &mut Core, from: NodeId, id: &MessageId) {
        let before = self.promises.len();
        self.promises.retain(|(_, peer, promised)| *peer != from || promised != id);
        if self.promises.len() < before {
            core.blames.push((from, Misdeed::Kept));
        }
    }

    /// A peer that says it cannot send is no liar.
    pub(crate) fn excuse(&mut self, from: NodeId) {
        self.promises.retain(|(_, peer, _)| *peer != from);
    }

    /// Holds old promises against those who gave them.
    pub(crate) fn promises_due(&mut self, core: &mut Core) {
        while let Some((at, peer, _)) = self.promises.front().copied() {
            let due_at = at.saturating_add(PROMISE);
            if due_at > core.now {
                core.timers.set(Timer::Promises, due_at);
                return;
            }
            self.promises.pop_front();
            core.blames.push((peer, Misdeed::Lie));
        }
    }

    /// GOS-17: takes the part that follows what is here, whoever sends it.
    pub(crate) fn chunk(
        &mut self,
        core: &mut Core,
        from: NodeId,
        (id, total, offset): (MessageId, u32, u32),
        bytes: &[u8],
    ) -> Progress {
        self.kept(core, from, &id);
        let Some(missing) = self.missing.get_mut(&id).filter(|missing| missing.pull && missing.requested)
        else {
            return Progress::Partial;
        };
        let limit = core.config.payload_bytes + (MAX_ENCODED - crate::wire::MAX_PAYLOAD);
        let transfer = &mut missing.transfer;
        if offset as usize != transfer.bytes.len() || total as usize > limit {
            return Progress::Partial;
        }
        if self.partial.saturating_add(bytes.len()) > core.config.cache_bytes {
            core.counters.ignored += 1;
            return Progress::Partial;
        }
        let is_alone = offset == 0 || transfer.giver == Some(from);
        transfer.giver = is_alone.then_some(from);
        transfer.bytes.extend_from_slice(bytes);
        self.partial += bytes.len();
        let have = transfer.bytes.len();
        if have == total as usize {
            self.partial -= have;
            return Progress::Whole(core::mem::take(&mut transfer.bytes), transfer.giver.take());
        }
        if have % BATCH == 0 {
            core.send(from, Lane::Control, &Message::Pull { id, offset: have as u32 });
            self.promised(core, from, id);
        }
        let wait = Duration::from_millis(200).max(core.timers.left(Timer::Missing(id), core.now));
        core.set_after(Timer::Missing(id), wait);
        Progress::Partial
    }

    /// Stops waiting; learns how late pushed copies are, those too that came after all.
    pub(crate) fn arrived(&mut self, core: &mut Core, id: &MessageId, from: NodeId, is_pulled: bool) -> Came {
        let Some(missing) = self.forget(core, id) else {
            return Came::ByItself;
        };
        if !missing.requested || !is_pulled {
            self.lateness.sample(core.now.saturating_sub(missing.announced_at));
        } else if !missing.pull {
            if self.answered.len() >= MAX_ASKED {
                self.answered.pop_front();
            }
            self.answered.push_back((*id, from, missing.announced_at));
        }
        if missing.requested && !missing.pull { Came::OnRequest } else { Came::ByItself }
    }

    fn forget(&mut self, core: &mut Core, id: &MessageId) -> Option<Missing> {
        let missing = self.missing.remove(id)?;
        self.partial -= missing.transfer.bytes.len();
        core.timers.cancel(Timer::Missing(*id));
        Some(missing)
    }
}
