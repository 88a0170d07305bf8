//! Staying attached: probing, noticing, seeking, exploring (SHARD-21, SHARD-22).

use core::time::Duration;

use cs_identity::NodeId;
use rand::RngExt;

use super::hubs::Known;
use super::message::{Attach, Hint, Probe, Reply, RolesFault, RolesMessage};
use super::{Role, Roles, RolesEvent};
use crate::member::Zone;

/// A nearer hub is gone to only if it is nearer by this and by a third: round trips waver.
const NEARER_BY: Duration = Duration::from_millis(10);
/// How long a hub that took nobody is not asked again.
const FULL_FOR: Duration = Duration::from_secs(120);
/// Hubs below which whoever knows no more asks all of them for others.
const FEW: usize = 16;
/// Candidates asked at once by a node that has no hub at all, beyond what it lacks.
const HASTE: usize = 2;

/// A hub that this node is attached to.
#[derive(Clone, Debug)]
pub(crate) struct Attachment {
    pub(crate) id: NodeId,
    pub(crate) probe_at: Duration,
    /// The last probe was not answered.
    is_doubtful: bool,
}

/// A probe that was not answered yet.
#[derive(Debug)]
pub(crate) struct Pending {
    to: NodeId,
    sent_at: Duration,
    pub(crate) until: Duration,
    attach: Attach,
    wants_hubs: bool,
}

impl Roles {
    pub(crate) fn probe(&mut self, to: NodeId, attach: Attach, wants_hubs: bool) {
        self.last_nonce = self.last_nonce.wrapping_add(1);
        let nonce = self.last_nonce;
        let probe = Probe {
            nonce,
            attach,
            level: self.level(),
            is_stranded: self.attached.is_empty(),
            wants_hubs,
            is_eligible: self.is_eligible(),
            zone: self.config.zone,
        };
        let expected =
            self.hubs.rtt(&to).map_or(self.config.probe_limit, |rtt| rtt * 2 + Duration::from_millis(200));
        let until = self.now + expected.min(self.config.probe_limit);
        if let Some(known) = self.hubs.find_mut(&to) {
            known.asked_at = self.now;
        }
        self.pending.insert(nonce, Pending { to, sent_at: self.now, until, attach, wants_hubs });
        self.send(to, &RolesMessage::Probe(probe));
    }

    /// What this node is to one that it is attached to.
    pub(crate) fn attach_to(&self, id: &NodeId) -> Attach {
        if self.home == Some(*id) {
            Attach::Home
        } else if self.is_attached(id) {
            Attach::Backup
        } else {
            Attach::None
        }
    }

    pub(crate) fn is_attached(&self, id: &NodeId) -> bool {
        self.attached.iter().any(|hub| hub.id == *id)
    }

    pub(crate) fn is_asked(&self, id: &NodeId) -> bool {
        self.pending.values().any(|pending| pending.to == *id)
    }

    /// Probes each hub once an interval, one after the other in equal distances.
    pub(crate) fn probe_due(&mut self) {
        let due: Vec<NodeId> =
            self.attached.iter().filter(|hub| hub.probe_at <= self.now).map(|hub| hub.id).collect();
        for id in due {
            let next = self.now + self.config.probe_interval.mul_f64(self.rng.random_range(0.95..1.0));
            self.attached.iter_mut().filter(|hub| hub.id == id).for_each(|hub| hub.probe_at = next);
            self.probe(id, self.attach_to(&id), false);
        }
    }

    /// A hub that does not answer is asked once more at once, and so are all others: what took one may have taken them.
    pub(crate) fn expire_probes(&mut self) {
        let now = self.now;
        let late: Vec<u32> = self
            .pending
            .iter()
            .filter(|(_, pending)| pending.until <= now)
            .map(|(nonce, _)| *nonce)
            .collect();
        for nonce in late {
            let Some(pending) = self.pending.remove(&nonce) else { continue };
            let id = pending.to;
            let Some(hub) = self.attached.iter_mut().find(|hub| hub.id == id) else {
                self.hubs.remove(&id);
                self.seek();
                continue;
            };
            if hub.is_doubtful {
                self.lose(id);
            } else {
                hub.is_doubtful = true;
                self.probe(id, self.attach_to(&id), false);
                self.doubt_others(id);
            }
        }
    }

    fn doubt_others(&mut self, but: NodeId) {
        for id in self.attached.iter().map(|hub| hub.id).collect::<Vec<_>>() {
            if id != but && !self.is_asked(&id) {
                self.probe(id, self.attach_to(&id), false);
            }
        }
    }

    /// A hub is gone.
    pub(crate) fn lose(&mut self, id: NodeId) {
        self.hubs.remove(&id);
        self.pending.retain(|_, pending| pending.to != id);
        if self.is_attached(&id) {
            self.counters.hubs_lost += 1;
            self.drop_attachment(&id);
            self.doubt_others(id);
        }
        self.forget_leaf(&id);
        if self.root == Some(id) {
            self.root = None;
        }
        self.seek();
        self.tell_place();
    }

    pub(crate) fn drop_attachment(&mut self, id: &NodeId) {
        self.attached.retain(|hub| hub.id != *id);
        if self.home == Some(*id) {
            self.home = None;
            self.choose_home();
        }
    }

    pub(crate) fn detach_all(&mut self) {
        for hub in std::mem::take(&mut self.attached) {
            self.send(hub.id, &RolesMessage::Detach);
        }
        self.home = None;
        self.pending.clear();
        self.tell_place();
    }

    /// Hubs this node wants to be attached to, and is not.
    fn lacks(&self) -> usize {
        let wanted = match self.standing.role {
            _ if self.standing.is_asleep => 0,
            Role::Leaf => self.config.attachments,
            Role::Hub => 0,
        };
        wanted.saturating_sub(self.attached.len())
    }

    /// Asks as many candidates as are lacking, the cheapest in new zones first; a node without any hub asks more, and
    /// those that were full too.
    pub(crate) fn seek(&mut self) {
        let lacks = self.lacks();
        if lacks == 0 {
            return;
        }
        let is_stranded = self.attached.is_empty();
        let asked =
            self.pending.values().filter(|p| p.attach > Attach::None && !self.is_attached(&p.to)).count();
        let most = lacks + if is_stranded { HASTE } else { 0 };
        let pause = self.config.probe_interval / 8;
        let zones: Vec<Zone> =
            self.attached.iter().filter_map(|hub| Some(self.hubs.find(&hub.id)?.zone)).collect();
        let able = |(id, known): &(&NodeId, &Known)| {
            known.level > 0
                && (known.full_until <= self.now || (is_stranded && known.asked_at + pause <= self.now))
                && !self.is_attached(id)
                && !self.is_asked(id)
        };
        let mut candidates: Vec<(bool, Duration, NodeId)> = self
            .hubs
            .iter()
            .filter(able)
            .map(|(id, known)| (zones.contains(&known.zone), self.cost(known), *id))
            .collect();
        candidates.sort_unstable();
        for (_, _, id) in candidates.iter().take(most.saturating_sub(asked)) {
            self.probe(*id, Attach::Backup, is_stranded);
        }
        if asked == 0 && candidates.is_empty() {
            self.start_over(is_stranded);
        }
    }

    /// No candidate is left: begins again with the seeds, soon.
    fn start_over(&mut self, is_stranded: bool) {
        if self.seek_at.is_none() {
            self.seek_at = Some(self.now + self.config.probe_interval / 8);
            self.hear_of_seeds();
        }
        if is_stranded && self.isolated_at <= self.now {
            self.isolated_at = self.now + self.config.probe_interval;
            self.event(RolesEvent::Isolated);
        }
    }

    pub(crate) fn hear_of_seeds(&mut self) {
        for id in self.seeds.clone() {
            self.hear_of(Hint { id, zone: Zone(0) });
        }
    }

    pub(crate) fn hear_of(&mut self, hint: Hint) {
        if hint.id != self.me {
            let kept: Vec<NodeId> = self.attached.iter().map(|hub| hub.id).chain(self.root).collect();
            self.hubs.hear_of(hint, &kept, self.now);
        }
    }

    /// What it costs to be attached to a hub: its distance, more the fuller it is. One that was never reached counts as
    /// far, so that it comes after those that were.
    fn cost(&self, known: &Known) -> Duration {
        let rtt = known.rtt.unwrap_or(self.config.probe_limit);
        let over = usize::from(known.leaves).saturating_sub(self.config.split_at);
        rtt + rtt.max(NEARER_BY) * over.min(100) as u32 / 50
    }

    pub(crate) fn take_reply(&mut self, from: NodeId, reply: Reply) -> Result<(), RolesFault> {
        let asked = self.pending.get(&reply.nonce).filter(|pending| pending.to == from);
        let asked = asked.ok_or(RolesFault::Unasked)?;
        if !asked.wants_hubs && (!reply.hubs.is_empty() || reply.lead.is_some() || reply.root.is_some()) {
            return Err(RolesFault::Unasked);
        }
        let Some(asked) = self.pending.remove(&reply.nonce) else { return Err(RolesFault::Unasked) };
        if reply.level == 0 {
            self.hubs.remove(&from);
            self.drop_attachment(&from);
            self.seek();
            self.tell_place();
            return Ok(());
        }
        self.note(from, &reply, self.now - asked.sent_at);
        if asked.attach > Attach::None {
            self.settle(from, &reply);
        }
        self.hear_of_region(from, &reply);
        for hint in reply.hubs {
            self.hear_of(hint);
        }
        if self.standing.role == Role::Leaf {
            self.choose_home();
            self.trim();
            self.seek();
        }
        self.tell_place();
        Ok(())
    }

    fn note(&mut self, from: NodeId, reply: &Reply, rtt: Duration) {
        self.hear_of(Hint { id: from, zone: reply.zone });
        self.hubs.measure(&from, rtt, self.now);
        if let Some(known) = self.hubs.find_mut(&from) {
            (known.zone, known.leaves, known.level) = (reply.zone, reply.leaves, reply.level);
        }
    }

    fn settle(&mut self, from: NodeId, reply: &Reply) {
        let is_accepted = reply.is_accepted;
        if usize::from(reply.leaves) > self.config.split_at {
            // It is crowded: looks around for another one sooner.
            let soon = self.config.explore_interval.mul_f64(self.rng.random_range(0.1..0.4));
            self.explore_at = self.explore_at.min(self.now + soon);
        }
        let is_known = self.is_attached(&from);
        if !is_accepted {
            if let Some(known) = self.hubs.find_mut(&from) {
                known.full_until = self.now + FULL_FOR;
            }
            if is_known {
                self.drop_attachment(&from);
            }
        } else if is_known {
            self.attached.iter_mut().filter(|hub| hub.id == from).for_each(|hub| hub.is_doubtful = false);
        } else if !self.standing.is_asleep {
            // The phases of the others are kept apart: a third of the interval after the latest of them.
            let step = self.config.probe_interval / self.config.attachments as u32;
            let latest = self.attached.iter().map(|hub| hub.probe_at).max().unwrap_or(self.now);
            let probe_at =
                (latest + step).min(self.now + self.config.probe_interval).max(self.now + step / 2);
            self.attached.push(Attachment { id: from, probe_at, is_doubtful: false });
        }
    }

    /// The nearest becomes the home hub if there is none, or if it is nearer by 10 ms and by a third. It is told at once.
    pub(crate) fn choose_home(&mut self) {
        if self.standing.role == Role::Hub {
            return;
        }
        let rtt = |id: &NodeId| self.hubs.rtt(id).unwrap_or(self.config.probe_limit);
        let Some(nearest) = self.attached.iter().map(|hub| hub.id).min_by_key(rtt) else { return };
        let is_better = self.home.is_none_or(|home| is_nearer(rtt(&nearest), rtt(&home)));
        if !is_better || self.home == Some(nearest) {
            return;
        }
        let former = self.home.replace(nearest);
        self.probe(nearest, Attach::Home, false);
        if let Some(former) = former.filter(|id| self.is_attached(id)) {
            self.probe(former, Attach::Backup, false);
        }
        self.tell_place();
    }

    /// Beyond what is wanted, the dearest goes: of two in one zone first.
    fn trim(&mut self) {
        while self.attached.len() > self.config.attachments {
            let zone = |id: &NodeId| self.hubs.find(id).map(|known| known.zone);
            let is_double =
                |id: &NodeId| self.attached.iter().filter(|hub| zone(&hub.id) == zone(id)).count() > 1;
            let cost = |id: &NodeId| self.hubs.find(id).map(|known| self.cost(known));
            let others = self.attached.iter().map(|hub| hub.id).filter(|id| self.home != Some(*id));
            let Some(worst) = others.max_by_key(|id| (is_double(id), cost(id))) else { return };
            self.attached.retain(|hub| hub.id != worst);
            self.send(worst, &RolesMessage::Detach);
        }
    }

    /// Measures what it has heard of, one at a time, in the order of hearing. When nothing is left it asks for more: a leaf its
    /// home, a hub by turns its lead, one of the nearest, and whoever was not asked for the longest time. Then it goes to
    /// what is clearly better than the worst it has.
    pub(crate) fn explore(&mut self) {
        if self.standing.is_asleep {
            return;
        }
        let asks = self.hubs.are_measured();
        let chosen = match self.standing.role {
            _ if !asks => None,
            Role::Leaf => self.home,
            Role::Hub => match self.rng.random_range(0..4) {
                0 => self.home,
                1 | 2 => self.hubs.near(&mut self.rng),
                _ => None,
            },
        };
        let stalest = || self.hubs.stalest(|id| self.is_asked(id) || (!asks && self.is_attached(id)));
        if let Some(id) = chosen.or_else(stalest) {
            // What is only measured is not asked for names too, unless few are known: each name costs its receiver a check.
            self.probe(id, self.attach_to(&id), asks || self.hubs.len() < FEW);
        }
        self.improve();
    }

    fn improve(&mut self) {
        if self.standing.role == Role::Hub || self.attached.len() < self.config.attachments {
            return;
        }
        let cost = |id: &NodeId| self.hubs.find(id).map_or(Duration::MAX, |known| self.cost(known));
        let zone = |id: &NodeId| self.hubs.find(id).map(|known| known.zone);
        let others = || self.attached.iter().map(|hub| hub.id).filter(|id| self.home != Some(*id));
        let Some(worst) = others().max_by_key(cost) else { return };
        let home = self.home.and_then(|id| self.hubs.rtt(&id)).unwrap_or(Duration::MAX);
        let is_new_zone = |known: &Known| {
            self.attached.iter().filter(|hub| hub.id != worst).all(|hub| zone(&hub.id) != Some(known.zone))
        };
        let better = self.hubs.iter().filter(|(id, known)| {
            let Some(rtt) = known.rtt.filter(|_| known.level > 0) else { return false };
            let is_able = known.full_until <= self.now && !self.is_attached(id) && !self.is_asked(id);
            is_able
                && (is_nearer(rtt, home) || (is_new_zone(known) && is_nearer(self.cost(known), cost(&worst))))
        });
        let best = better.min_by_key(|(_, known)| self.cost(known)).map(|(id, _)| *id);
        if let Some(id) = best {
            self.probe(id, Attach::Backup, false);
        }
    }

    /// A hub that stops being one says so and names others.
    pub(crate) fn take_leave(&mut self, from: NodeId, hubs: &[Hint]) -> Result<(), RolesFault> {
        if !self.is_attached(&from) {
            return Err(RolesFault::NotMyHub);
        }
        self.hubs.remove(&from);
        self.pending.retain(|_, pending| pending.to != from);
        self.drop_attachment(&from);
        hubs.iter().for_each(|hint| self.hear_of(*hint));
        self.seek();
        self.tell_place();
        Ok(())
    }
}

/// Whether a change is worth it.
pub(crate) fn is_nearer(candidate: Duration, current: Duration) -> bool {
    candidate.saturating_add(NEARER_BY) < current && candidate < current / 3 * 2
}
