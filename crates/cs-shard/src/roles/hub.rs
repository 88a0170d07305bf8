//! Serving leaves: answers, the lottery, and who may be dialled (SHARD-23, SHARD-24).

use core::time::Duration;
use std::collections::BTreeMap;

use cs_identity::NodeId;
use rand::RngExt;

use super::message::{Attach, Hint, Probe, Reply, RolesFault, RolesMessage};
use super::{Role, Roles, RolesEvent};
use crate::member::{Subnet, Zone};

/// Leaves that are asked to dial a candidate.
const DIALLERS: usize = 5;
/// How often one hub has its leaves dial, and one leaf dials: each costs one small packet to the candidate.
const DIAL_INTERVAL: Duration = Duration::from_secs(5);
/// Intervals after which a silent leaf is forgotten.
const SILENT_AFTER: f64 = 2.5;

/// Whoever is attached to this hub.
#[derive(Debug)]
pub(crate) struct Leaf {
    attach: Attach,
    pub(crate) level: u8,
    zone: Zone,
    subnet: Subnet,
    since: Duration,
    heard_at: Duration,
    heard: u32,
    is_eligible: bool,
    /// When it may be drawn again.
    invited_at: Option<Duration>,
}

impl Roles {
    /// Answers a probe; attaches who asks for it, if there is room (SHARD-23).
    pub(crate) fn serve(&mut self, from: NodeId, subnet: Subnet, probe: &Probe) {
        let is_accepted = probe.attach > Attach::None && self.accepts(&from, probe);
        if is_accepted {
            self.keep_leaf(from, subnet, probe);
        } else {
            self.forget_leaf(&from);
        }
        if probe.level > 0 {
            self.hear_of(Hint { id: from, zone: probe.zone });
        }
        let level = if self.standing.role == Role::Hub { self.level() } else { 0 };
        let names = probe.wants_hubs && level > 0;
        let hubs =
            if names { self.hubs.hints(&from, self.config.capacity, &mut self.rng) } else { Vec::new() };
        let others = |id: Option<NodeId>| id.filter(|id| names && *id != from && *id != self.me);
        let reply = Reply {
            nonce: probe.nonce,
            level,
            is_accepted,
            leaves: self.leaves().min(usize::from(u16::MAX)) as u16,
            zone: self.config.zone,
            hubs,
            lead: others(self.home),
            root: others(self.root),
        };
        self.send(from, &RolesMessage::Reply(reply));
        self.probe_back(from);
    }

    /// A hub that this one has not reached yet made itself known: only what was reached is named to leaves (SHARD-22).
    fn probe_back(&mut self, from: NodeId) {
        let is_new = self.hubs.find(&from).is_some_and(|known| known.rtt.is_none());
        if self.standing.role == Role::Hub && is_new && !self.is_asked(&from) {
            self.probe(from, self.attach_to(&from), false);
        }
    }

    /// Nodes on a lower level only, so that the tree has no circles. A leaf that has no other hub finds room longer.
    fn accepts(&self, from: &NodeId, probe: &Probe) -> bool {
        if self.standing.role == Role::Leaf || probe.level >= self.level() {
            return false;
        }
        let most = if probe.is_stranded { self.config.emergency_capacity } else { self.config.capacity };
        let is_lead = probe.level > 0;
        self.leaves.contains_key(from) || is_lead || self.leaves() < most
    }

    fn keep_leaf(&mut self, from: NodeId, subnet: Subnet, probe: &Probe) {
        let now = self.now;
        let was_leaf = self.leaves.get(&from).is_some_and(|leaf| leaf.level == 0);
        self.leaf_count = self.leaf_count + usize::from(probe.level == 0) - usize::from(was_leaf);
        let leaf = self.leaves.entry(from).or_insert(Leaf {
            attach: Attach::None,
            level: probe.level,
            zone: probe.zone,
            subnet,
            since: now,
            heard_at: now,
            heard: 0,
            is_eligible: false,
            invited_at: None,
        });
        let was = (leaf.attach == Attach::Home).then_some(leaf.level);
        leaf.heard += 1;
        (leaf.attach, leaf.level, leaf.zone, leaf.subnet) = (probe.attach, probe.level, probe.zone, subnet);
        (leaf.heard_at, leaf.is_eligible) = (now, probe.is_eligible && probe.level == 0);
        let is = (probe.attach == Attach::Home).then_some(probe.level);
        match is {
            _ if is == was => {}
            Some(level) => self.event(RolesEvent::Child { id: from, level }),
            None => self.event(RolesEvent::ChildGone { id: from }),
        }
    }

    pub(crate) fn forget_leaf(&mut self, id: &NodeId) {
        let Some(leaf) = self.leaves.remove(id) else { return };
        self.leaf_count -= usize::from(leaf.level == 0);
        if leaf.attach == Attach::Home {
            self.event(RolesEvent::ChildGone { id: *id });
        }
    }

    pub(crate) fn forget_silent_leaves(&mut self) {
        let limit = self.config.probe_interval.mul_f64(SILENT_AFTER);
        let is_silent = |leaf: &Leaf| leaf.heard_at + limit <= self.now;
        let silent: Vec<NodeId> =
            self.leaves.iter().filter(|(_, leaf)| is_silent(leaf)).map(|(id, _)| *id).collect();
        silent.iter().for_each(|id| self.forget_leaf(id));
    }

    /// Too many leaves: one of those that are fit is drawn to be a hub. In the zone that has the most leaves, so that it
    /// is near to many; and only if this hub knows it for as long as it must be fit, and heard it as regularly as an
    /// honest one is heard: nobody gets there on its word alone (SHARD-24).
    pub(crate) fn draw(&mut self) {
        let excess = self.leaves().saturating_sub(self.config.split_at);
        if excess == 0 || self.now < self.invite_at || self.room_near() > 2 * excess {
            return;
        }
        let mut crowd: BTreeMap<Zone, usize> = BTreeMap::new();
        self.leaves.values().for_each(|leaf| *crowd.entry(leaf.zone).or_default() += 1);
        let fit: Vec<(usize, NodeId)> = self
            .leaves
            .iter()
            .filter(|(_, leaf)| leaf.is_eligible && self.is_proven(leaf))
            .map(|(id, leaf)| (crowd.get(&leaf.zone).copied().unwrap_or(0), *id))
            .collect();
        let Some(most) = fit.iter().map(|(crowd, _)| *crowd).max() else { return };
        let urn: Vec<NodeId> =
            fit.into_iter().filter(|(crowd, _)| *crowd == most).map(|(_, id)| id).collect();
        let drawn = urn[self.rng.random_range(0..urn.len())];
        self.invite_at = self.now + self.config.settle_interval.mul_f64(self.rng.random_range(0.8..1.2));
        if let Some(leaf) = self.leaves.get_mut(&drawn) {
            leaf.invited_at = Some(self.now);
        }
        self.counters.invited += 1;
        self.send(drawn, &RolesMessage::Invite);
    }

    /// What the hubs nearby could take without being crowded: leaves will find them, and no more hubs are needed.
    fn room_near(&self) -> usize {
        let near = |rtt: Duration| rtt <= self.config.region_radius * 2;
        let hubs = self.hubs.iter().filter(|(_, known)| known.level > 0 && known.rtt.is_some_and(near));
        hubs.map(|(_, known)| self.config.split_at.saturating_sub(usize::from(known.leaves))).sum()
    }

    fn is_proven(&self, leaf: &Leaf) -> bool {
        let known = self.now.saturating_sub(leaf.since);
        let expected = known.as_secs_f64() / self.config.probe_interval.as_secs_f64();
        let rest = self.config.promote_after;
        known >= rest
            && f64::from(leaf.heard) >= 0.8 * expected
            && leaf.invited_at.is_none_or(|at| at + rest <= self.now)
    }

    /// A leaf wants to know whether strangers reach it: some other leaves, each in another subnet, dial it.
    pub(crate) fn have_dialled(&mut self, from: NodeId, nonce: u64) -> Result<(), RolesFault> {
        if !self.leaves.contains_key(&from) {
            return Err(RolesFault::NotMyLeaf);
        }
        if self.now < self.dial_at {
            return Ok(());
        }
        self.dial_at = self.now + DIAL_INTERVAL;
        let own = self.leaves.get(&from).map(|leaf| leaf.subnet);
        let mut others: Vec<(Subnet, NodeId)> = self
            .leaves
            .iter()
            .filter(|(id, leaf)| **id != from && leaf.level == 0 && Some(leaf.subnet) != own)
            .map(|(id, leaf)| (leaf.subnet, *id))
            .collect();
        for _ in 0..DIALLERS.min(others.len()) {
            let (subnet, id) = others[self.rng.random_range(0..others.len())];
            others.retain(|(other, _)| *other != subnet);
            self.send(id, &RolesMessage::Dial { candidate: from, nonce });
            if others.is_empty() {
                break;
            }
        }
        Ok(())
    }

    /// Dials somebody for a hub: one small packet, and not often.
    pub(crate) fn dial(&mut self, from: NodeId, candidate: NodeId, nonce: u64) -> Result<(), RolesFault> {
        if !self.is_attached(&from) {
            return Err(RolesFault::NotMyHub);
        }
        if self.now >= self.vouch_at && candidate != self.me {
            self.vouch_at = self.now + DIAL_INTERVAL;
            self.send(candidate, &RolesMessage::Vouch { nonce });
        }
        Ok(())
    }
}
