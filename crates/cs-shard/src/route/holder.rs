//! What a router knows of holders, and of how long requests take (SHARD-27, SHARD-28).

use core::time::Duration;
use std::collections::BTreeMap;

use cs_identity::NodeId;

use crate::summary::Quantiles;

/// Holders that are remembered: 80 bytes each.
const HOLDERS_MAX: usize = 4096;
/// What a holder is taken for that was never asked.
const UNKNOWN: Duration = Duration::from_millis(1);
/// What is known of a holder counts half after this time without an answer, so that a slow one is tried again.
const HALF_LIFE: Duration = Duration::from_secs(10);
/// Requests after which a generation of latencies is old.
const GENERATION: u64 = 1000;
/// Requests before which nothing is known.
const ENOUGH: u64 = 100;

#[derive(Debug)]
struct Holder {
    /// Rises at once, falls slowly: a quarter of the way with each answer.
    latency: Duration,
    heard_at: Duration,
    under_way: u32,
}

#[derive(Debug, Default)]
pub(crate) struct Holders(BTreeMap<NodeId, Holder>);

impl Holders {
    /// Latency times what is under way there, with one more: what the next request is expected to take.
    pub(crate) fn cost(&self, id: &NodeId, now: Duration) -> Duration {
        let Some(holder) = self.0.get(id) else { return UNKNOWN };
        let halvings = (now.saturating_sub(holder.heard_at).as_secs() / HALF_LIFE.as_secs()).min(20);
        (holder.latency / (1 << halvings)).max(UNKNOWN).saturating_mul(holder.under_way + 1)
    }

    pub(crate) fn begin(&mut self, id: NodeId, now: Duration) {
        if self.0.len() >= HOLDERS_MAX && !self.0.contains_key(&id) {
            let idle = self.0.iter().filter(|(_, holder)| holder.under_way == 0);
            let oldest = idle.min_by_key(|(_, holder)| holder.heard_at).map(|(id, _)| *id);
            oldest.map(|id| self.0.remove(&id));
        }
        let fresh = Holder { latency: UNKNOWN, heard_at: now, under_way: 0 };
        self.0.entry(id).or_insert(fresh).under_way += 1;
    }

    pub(crate) fn answered(&mut self, id: &NodeId, took: Duration, now: Duration) {
        let Some(holder) = self.0.get_mut(id) else { return };
        holder.under_way = holder.under_way.saturating_sub(1);
        holder.heard_at = now;
        let falling = (holder.latency * 3 + took) / 4;
        holder.latency = if took > holder.latency { took } else { falling };
    }

    /// It has too much to do: as if it took twice as long.
    pub(crate) fn shed(&mut self, id: &NodeId, took: Duration, now: Duration) {
        let latency = self.0.get(id).map_or(took, |holder| holder.latency * 2);
        self.answered(id, latency.max(took).min(Duration::from_secs(10)), now);
    }

    /// It took at least so long; how long it would have taken is not known.
    pub(crate) fn cancel(&mut self, id: &NodeId, waited: Duration, now: Duration) {
        let Some(holder) = self.0.get_mut(id) else { return };
        holder.under_way = holder.under_way.saturating_sub(1);
        if waited > holder.latency {
            (holder.latency, holder.heard_at) = (waited, now);
        }
    }
}

/// How long the latest one or two thousand requests took.
#[derive(Debug, Default)]
pub(crate) struct Latencies {
    current: Quantiles,
    former: Quantiles,
    count: u64,
    /// As asked for last: a generation's quantile is computed once.
    known: Option<(f64, Duration)>,
}

impl Latencies {
    pub(crate) fn insert(&mut self, took: Duration) {
        self.current.insert(took.as_micros() as u64);
        self.count += 1;
        if self.count == GENERATION {
            self.former = std::mem::take(&mut self.current);
            self.count = 0;
            self.known = None;
        }
    }

    pub(crate) fn quantile(&mut self, q: f64) -> Option<Duration> {
        if let Some((known_q, known)) = self.known
            && known_q == q
        {
            return Some(known);
        }
        let is_young = self.former.count() == 0;
        let sketch = if is_young { &self.current } else { &self.former };
        if is_young && self.count < ENOUGH {
            return None;
        }
        let late = Duration::from_micros(sketch.quantile(q)? as u64);
        if !is_young {
            self.known = Some((q, late));
        }
        Some(late)
    }
}
