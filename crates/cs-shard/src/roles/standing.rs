//! Taking and leaving the role of a hub (SHARD-20, SHARD-24).

use core::time::Duration;
use std::collections::BTreeMap;

use cs_identity::NodeId;
use rand::{Rng, RngExt};
use rand_chacha::ChaCha8Rng;

use super::message::{Attach, RolesFault, RolesMessage};
use super::score::Facts;
use super::{Role, Roles, RolesEvent, YOUNG};
use crate::member::Subnet;

/// Subnets that must have reached this node unasked before it can be a hub.
const VOUCHERS: usize = 3;
/// How long that holds: addresses and routers change.
const VOUCHED_FOR: Duration = Duration::from_secs(24 * 3600);
/// Time between two requests to be dialled.
const ASK_INTERVAL: Duration = Duration::from_secs(300);
/// Of hubs with too few leaves, one in so many gives up at each look: the others fill up meanwhile.
const MERGE_ODDS: u32 = 16;
/// Of leaves that find no hub at all, one in so many becomes one at each look.
const FOUND_ODDS: u32 = 16;

#[derive(Debug)]
pub(crate) struct Standing {
    pub(crate) role: Role,
    pub(crate) facts: Facts,
    pub(crate) is_asleep: bool,
    /// Since when the score is above, or below, what it must be.
    above_since: Option<Duration>,
    below_since: Option<Duration>,
    /// Since when it has had too few leaves.
    idle_since: Option<Duration>,
    /// Strangers that reached this node, by their subnets.
    vouched: BTreeMap<Subnet, Duration>,
    nonce: u64,
    ask_at: Duration,
}

impl Standing {
    pub(crate) fn new(role: Role, rng: &mut ChaCha8Rng) -> Self {
        Self {
            role,
            facts: Facts::default(),
            is_asleep: false,
            above_since: None,
            below_since: None,
            idle_since: None,
            vouched: BTreeMap::new(),
            nonce: rng.next_u64(),
            ask_at: Duration::ZERO,
        }
    }

    /// What was known of this node's reachability and fitness is void.
    pub(crate) fn wake(&mut self) {
        self.is_asleep = false;
        self.vouched.clear();
        (self.above_since, self.below_since, self.idle_since) = (None, None, None);
    }
}

impl Roles {
    /// The score against its bounds, each way with the margin, and what follows if it stayed there long enough.
    pub(crate) fn weigh_up(&mut self) {
        let score = self.score();
        let (now, config) = (self.now, &self.config);
        let since = |was: Option<Duration>, is: bool| if is { was.or(Some(now)) } else { None };
        let idle = self.leaves() < config.merge_at;
        let standing = &mut self.standing;
        standing.above_since = since(standing.above_since, score >= config.threshold + config.margin);
        standing.below_since = since(standing.below_since, score < config.threshold - config.margin);
        standing.idle_since = since(standing.idle_since, idle && standing.role == Role::Hub);
        standing.vouched.retain(|_, at| *at + VOUCHED_FOR > now);
        if config.is_pinned || standing.is_asleep {
            return;
        }
        let lasted = |since: Option<Duration>, span| since.is_some_and(|since| since + span <= now);
        let is_unfit = lasted(standing.below_since, config.demote_after);
        let is_idle = lasted(standing.idle_since, config.promote_after) && self.has_room_elsewhere();
        let is_lost = self.attached.is_empty() && self.is_eligible() && self.isolated_at > Duration::ZERO;
        match self.standing.role {
            Role::Hub if is_unfit => self.give_up(),
            Role::Hub if is_idle && self.rng.random_ratio(1, MERGE_ODDS) => self.give_up(),
            Role::Leaf if is_lost && self.rng.random_ratio(1, FOUND_ODDS) => self.take_up(),
            _ => {}
        }
    }

    /// Whether those that are attached here would find another hub.
    fn has_room_elsewhere(&self) -> bool {
        let room: usize = self
            .hubs
            .iter()
            .filter(|(_, known)| known.rtt.is_some() && known.level > 0)
            .map(|(_, known)| self.config.split_at.saturating_sub(usize::from(known.leaves)))
            .sum();
        room >= 4 * self.leaves().max(1)
    }

    /// Fit for long enough, and reached by strangers from three subnets.
    pub(crate) fn is_eligible(&self) -> bool {
        let standing = &self.standing;
        let is_fit = standing.above_since.is_some_and(|since| since + self.config.promote_after <= self.now);
        is_fit && !standing.is_asleep && standing.vouched.len() >= VOUCHERS && standing.role == Role::Leaf
    }

    /// A leaf whose score would do asks its hub to have it dialled, until enough strangers have.
    pub(crate) fn ask_to_be_dialled(&mut self) {
        let standing = &self.standing;
        if standing.above_since.is_none() || standing.vouched.len() >= VOUCHERS || self.now < standing.ask_at
        {
            return;
        }
        let Some(hub) = self.home else { return };
        self.standing.ask_at = self.now + ASK_INTERVAL.mul_f64(self.rng.random_range(0.5..1.0));
        let nonce = self.standing.nonce;
        self.send(hub, &RolesMessage::DialMe { nonce });
    }

    /// Somebody reached this node. It counts if this node never sent it anything: no router was opened for it.
    pub(crate) fn take_vouch(&mut self, from: NodeId, subnet: Subnet, nonce: u64) -> Result<(), RolesFault> {
        if nonce != self.standing.nonce {
            return Err(RolesFault::Unasked);
        }
        let is_stranger = self.hubs.find(&from).is_none() && !self.leaves.contains_key(&from);
        if is_stranger && self.standing.vouched.len() < 4 * VOUCHERS {
            self.standing.vouched.insert(subnet, self.now);
        }
        Ok(())
    }

    /// Drawn by a hub: takes the role if it is still fit for it.
    pub(crate) fn take_invitation(&mut self, from: NodeId) -> Result<(), RolesFault> {
        if !self.is_attached(&from) {
            return Err(RolesFault::NotMyHub);
        }
        if self.is_eligible() && !self.config.is_pinned {
            self.take_up();
        }
        Ok(())
    }

    fn take_up(&mut self) {
        self.standing.role = Role::Hub;
        self.standing.idle_since = None;
        self.counters.flips += 1;
        let hubs: Vec<NodeId> = self.attached.iter().map(|hub| hub.id).collect();
        self.detach_all();
        self.event(RolesEvent::Role(Role::Hub));
        // They see the new level, and name this hub to others as soon as they have reached it themselves.
        hubs.into_iter().for_each(|id| self.probe(id, Attach::None, true));
        self.explore_at = self.now + self.config.probe_limit;
        self.young_until = self.now + YOUNG;
        self.invite_at = self.now + self.config.settle_interval;
        self.tell_place();
    }

    /// Sends everybody away, each with some other hubs to go to.
    pub(crate) fn give_up(&mut self) {
        self.standing.role = Role::Leaf;
        (self.standing.above_since, self.standing.idle_since) = (None, None);
        self.counters.flips += 1;
        for id in self.leaves.keys().copied().collect::<Vec<_>>() {
            let hubs = self.hubs.hints(&id, self.config.split_at, &mut self.rng);
            self.send(id, &RolesMessage::Leaving { hubs });
            self.forget_leaf(&id);
        }
        (self.root, self.is_lead) = (None, false);
        self.detach_all();
        self.event(RolesEvent::Role(Role::Leaf));
        self.tell_place();
        self.seek();
    }
}
