//! Regions: hubs near each other, and the lead among them (SHARD-26).

use core::time::Duration;

use cs_identity::NodeId;
use rand::RngExt;

use super::hubs::Known;
use super::leaf::is_nearer;
use super::message::{Attach, Hint, Reply, RolesMessage};
use super::{Role, Roles};
use crate::member::Zone;

/// Levels of the tree.
const HUB: u8 = 1;
const LEAD: u8 = 2;
const ROOT: u8 = 3;
/// Of hubs that find no lead near, one in so many becomes one at each look.
const LEAD_ODDS: u32 = 4;
/// What was heard of a hub longer ago is not acted upon.
const FRESH: Duration = Duration::from_secs(1200);

impl Roles {
    /// 0 leaf, 1 hub, 2 lead of a region, 3 root. A lead is a hub that follows nobody in its region; the root is the lead
    /// that knows of none with a lower identity.
    pub(crate) fn level(&self) -> u8 {
        match self.standing.role {
            Role::Leaf => 0,
            Role::Hub if !self.is_lead => HUB,
            Role::Hub if self.root.is_some() => LEAD,
            Role::Hub => ROOT,
        }
    }

    pub(crate) fn parent(&self) -> Option<NodeId> {
        self.home
    }

    /// Looks for the lead of the region, or for the root.
    pub(crate) fn choose_lead(&mut self) {
        if self.is_lead {
            self.yield_to_lower();
        }
        if self.is_lead {
            self.choose_root();
        } else {
            self.follow();
        }
    }

    /// Two leads within half of the radius: the one with the higher identity follows the other.
    fn yield_to_lower(&mut self) {
        let (me, radius) = (self.me, self.config.region_radius / 2);
        let lower = self.leads_within(radius).into_iter().find(|(_, id)| *id < me);
        if let Some((_, id)) = lower {
            self.detach_all();
            self.root = None;
            self.is_lead = false;
            self.follow_this(id);
        }
    }

    /// The nearest lead in reach. Where there is none, one of the hubs around becomes it.
    fn follow(&mut self) {
        let leads = self.leads_within(self.config.region_radius);
        let current = self.home.and_then(|id| self.hubs.find(&id)).filter(|known| known.level >= LEAD);
        match (current.and_then(|known| known.rtt), leads.first()) {
            (Some(current), Some((rtt, id))) if is_nearer(*rtt, current) => self.follow_this(*id),
            (Some(_), _) => {}
            (None, Some((_, id))) => self.follow_this(*id),
            (None, None) => {
                if self.home.is_some() {
                    self.detach_all();
                }
                if self.rng.random_ratio(1, LEAD_ODDS) {
                    self.is_lead = true;
                    self.choose_root();
                }
            }
        }
    }

    fn follow_this(&mut self, id: NodeId) {
        if self.home != Some(id) {
            if let Some(former) = self.home.take() {
                self.send(former, &RolesMessage::Detach);
            }
            self.attached.clear();
            self.probe(id, Attach::Home, false);
        }
    }

    fn choose_root(&mut self) {
        let known = self.hubs.iter().filter(|(id, known)| **id < self.me && self.is_fresh_lead(known));
        let lowest = known.map(|(id, _)| *id).min();
        if lowest != self.root {
            self.root = lowest;
            match lowest {
                Some(id) => self.follow_this(id),
                None => self.detach_all(),
            }
        } else if let Some(id) = lowest.filter(|id| !self.is_attached(id)) {
            self.follow_this(id);
        }
    }

    fn is_lower_root(&self, id: &NodeId) -> bool {
        *id < self.root.unwrap_or(self.me)
    }

    /// By distance.
    fn leads_within(&self, radius: Duration) -> Vec<(Duration, NodeId)> {
        let near = self.hubs.iter().filter(|(_, known)| self.is_fresh_lead(known));
        let near = near.filter_map(|(id, known)| Some((known.rtt.filter(|rtt| *rtt <= radius)?, *id)));
        let mut leads: Vec<_> = near.collect();
        leads.sort_unstable();
        leads
    }

    fn is_fresh_lead(&self, known: &Known) -> bool {
        known.level >= LEAD && known.rtt.is_some() && known.heard_at + FRESH > self.now
    }

    /// A hub answered another one. Who accepts is followed; leads and roots that are named are remembered, and a lead looks at
    /// once at one that may be a lower root than its own. A hub passes on which root its lead told it of.
    pub(crate) fn hear_of_region(&mut self, from: NodeId, reply: &Reply) {
        if self.standing.role == Role::Leaf {
            return;
        }
        if reply.is_accepted && reply.level > self.level() {
            self.home = Some(from);
        } else if self.home == Some(from) {
            self.home = None;
        }
        if self.home.is_none() {
            self.attached.retain(|hub| hub.id != from);
        }
        if self.is_lead {
            if reply.level >= LEAD && self.is_lower_root(&from) {
                self.choose_root();
            }
        } else if self.home == Some(from) {
            self.root = if reply.level == ROOT { Some(from) } else { reply.root.or(self.root) };
        }
        for id in [reply.lead, reply.root].into_iter().flatten() {
            self.hear_of(Hint { id, zone: Zone(0) });
            if self.is_lead && self.is_lower_root(&id) && !self.is_asked(&id) {
                self.probe(id, self.attach_to(&id), false);
            }
        }
    }
}
