//! The hubs that a node knows of (SHARD-22).

use core::time::Duration;
use std::collections::BTreeMap;

use cs_identity::NodeId;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::message::{Hint, MAX_HINTS};
use crate::member::Zone;

/// Hubs that a node remembers: 100 bytes each.
const KNOWN_MAX: usize = 48;
/// Of them, those that it has never reached: what it only heard of cannot push out what it knows.
const UNMEASURED_MAX: usize = KNOWN_MAX / 3;
/// Near ones among which those that are named to others are drawn.
const NEAR: usize = 12;

#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) zone: Zone,
    /// Smoothed as TCP does it (RFC 6298). None: never reached.
    pub(crate) rtt: Option<Duration>,
    pub(crate) leaves: u16,
    pub(crate) level: u8,
    /// When it was last asked, or first heard of; and when it answered.
    pub(crate) asked_at: Duration,
    pub(crate) heard_at: Duration,
    /// It takes nobody until then.
    pub(crate) full_until: Duration,
}

#[derive(Debug, Default)]
pub(crate) struct Hubs(BTreeMap<NodeId, Known>);

impl Hubs {
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn find(&self, id: &NodeId) -> Option<&Known> {
        self.0.get(id)
    }

    pub(crate) fn find_mut(&mut self, id: &NodeId) -> Option<&mut Known> {
        self.0.get_mut(id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&NodeId, &Known)> {
        self.0.iter()
    }

    pub(crate) fn remove(&mut self, id: &NodeId) {
        self.0.remove(id);
    }

    pub(crate) fn rtt(&self, id: &NodeId) -> Option<Duration> {
        self.0.get(id)?.rtt
    }

    /// Remembers one that somebody named. `kept` are not forgotten for it. Of those that were never reached the latest gives
    /// way, so that a flood of names does not keep the others from being looked at.
    pub(crate) fn hear_of(&mut self, hint: Hint, kept: &[NodeId], now: Duration) {
        if self.0.contains_key(&hint.id) {
            return;
        }
        let unmeasured = || self.0.iter().filter(|(id, known)| known.rtt.is_none() && !kept.contains(id));
        if unmeasured().count() >= UNMEASURED_MAX {
            let latest = unmeasured().max_by_key(|(_, known)| known.asked_at).map(|(id, _)| *id);
            latest.map(|id| self.0.remove(&id));
        } else if self.0.len() >= KNOWN_MAX {
            let others = self.0.iter().filter(|(id, _)| !kept.contains(id));
            let farthest = others.max_by_key(|(_, known)| known.rtt).map(|(id, _)| *id);
            farthest.map(|id| self.0.remove(&id));
        }
        let fresh = Known {
            zone: hint.zone,
            rtt: None,
            leaves: 0,
            level: 1,
            asked_at: now,
            heard_at: Duration::ZERO,
            full_until: Duration::ZERO,
        };
        self.0.insert(hint.id, fresh);
    }

    /// One answered after `rtt`.
    pub(crate) fn measure(&mut self, id: &NodeId, rtt: Duration, now: Duration) {
        if let Some(known) = self.0.get_mut(id) {
            known.rtt = Some(known.rtt.map_or(rtt, |smooth| smooth * 7 / 8 + rtt / 8));
            known.heard_at = now;
        }
    }

    /// The median round trip to those that answered.
    pub(crate) fn median_rtt(&self) -> Option<Duration> {
        let mut rtts: Vec<Duration> = self.0.values().filter_map(|known| known.rtt).collect();
        rtts.sort_unstable();
        rtts.get(rtts.len() / 2).copied()
    }

    /// Whether all were reached.
    pub(crate) fn are_measured(&self) -> bool {
        self.0.values().all(|known| known.rtt.is_some())
    }

    /// One of the nearest.
    pub(crate) fn near(&self, rng: &mut ChaCha8Rng) -> Option<NodeId> {
        let mut near: Vec<(Duration, &NodeId)> =
            self.0.iter().filter_map(|(id, known)| Some((known.rtt?, id))).collect();
        near.sort_unstable();
        near.truncate(NEAR);
        near.get(rng.random_range(0..near.len().max(1))).map(|(_, id)| **id)
    }

    /// The one that was not asked for the longest time, never reached ones first.
    pub(crate) fn stalest(&self, but: impl Fn(&NodeId) -> bool) -> Option<NodeId> {
        let others = self.0.iter().filter(|(id, _)| !but(id));
        others.min_by_key(|(_, known)| (known.rtt.is_some(), known.asked_at)).map(|(id, _)| *id)
    }

    /// Some to name to another one: only those that this node reached itself and that have room; half of them near, half
    /// anywhere (SHARD-22).
    pub(crate) fn hints(&self, asker: &NodeId, room_below: usize, rng: &mut ChaCha8Rng) -> Vec<Hint> {
        let fits = |(id, known): &(&NodeId, &Known)| *id != asker && usize::from(known.leaves) < room_below;
        let mut able: Vec<_> =
            self.0.iter().filter(fits).filter_map(|(id, k)| Some((k.rtt?, id, k.zone))).collect();
        able.sort_unstable();
        let mut hints = Vec::with_capacity(MAX_HINTS);
        while hints.len() < MAX_HINTS && !able.is_empty() {
            let range = if hints.len() < MAX_HINTS / 2 { able.len().min(NEAR) } else { able.len() };
            let (_, id, zone) = able.remove(rng.random_range(0..range));
            hints.push(Hint { id: *id, zone });
        }
        hints.sort_unstable_by_key(|hint| hint.id);
        hints
    }
}
