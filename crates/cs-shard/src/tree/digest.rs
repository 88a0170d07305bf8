//! What is published: numbers with their coverage, age and error (SHARD-18).

use core::time::Duration;
use std::collections::BTreeMap;

use cs_identity::NodeId;

use crate::summary::{Metric, Summary};

/// Most frequent items that a digest names, of each metric.
pub(crate) const FREQUENT_MAX: usize = 10;

/// How much of what it is meant to be of something is of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Coverage {
    /// Nodes that are counted.
    pub nodes: u64,
    /// Children that are counted.
    pub children: u32,
    /// Children that should be, and of which nothing is known now.
    pub silent: u32,
}

/// A merged summary as it is at one node.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Aggregate<'a> {
    /// All of it.
    pub summary: &'a Summary,
    /// Of whom.
    pub coverage: Coverage,
    /// Of its oldest part, without the time that messages were on their way.
    pub age: Duration,
}

/// What the top of the tree tells everybody: each value of a [`Summary`] in a few bytes.
///
/// Errors: sums are exact; distinct counts have a standard error of 1.6 %
/// ([`HyperLogLog::STANDARD_ERROR`](crate::HyperLogLog::STANDARD_ERROR)); quantiles are within 1 %; frequent items say
/// theirs. All of it is of `nodes` nodes as they were at most `age_ms` ago.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Digest {
    /// Who made it.
    pub root: NodeId,
    /// The root's incarnation.
    pub epoch: u64,
    /// Counts up.
    pub version: u64,
    /// Its oldest part, in milliseconds.
    pub age_ms: u64,
    /// Nodes counted.
    pub nodes: u64,
    /// Children of the root that were silent, and so are not counted with all below them.
    pub silent: u32,
    /// Exact.
    pub sums: BTreeMap<Metric, u64>,
    /// Rounded estimates.
    pub distinct: BTreeMap<Metric, u64>,
    /// Of values.
    pub quantiles: BTreeMap<Metric, Spread>,
    /// Items that come most often.
    pub frequent: BTreeMap<Metric, Frequent>,
}

/// A distribution in five numbers, each rounded to the nearest whole one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Spread {
    /// Values counted.
    pub count: u64,
    /// Half are at most this.
    pub p50: u64,
    /// Nine of ten are.
    pub p90: u64,
    /// 99 of 100 are.
    pub p99: u64,
    /// The largest.
    pub max: u64,
}

/// What comes most often.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Frequent {
    /// How often anything came.
    pub total: u64,
    /// Each count below is too low by at most this.
    pub error: u64,
    /// At most ten items, the most frequent first, and of those that are equally so the lowest.
    pub items: Vec<(Vec<u8>, u64)>,
}

impl Digest {
    pub(crate) fn of(aggregate: &Aggregate<'_>, root: NodeId, epoch: u64, version: u64) -> Self {
        let summary = aggregate.summary;
        let spread = |sketch: &crate::Quantiles| {
            let at = |q| sketch.quantile(q).unwrap_or(0.0).round() as u64;
            Spread { count: sketch.count(), p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1.0) }
        };
        let frequent = |top: &crate::Top| {
            let items = top.items().into_iter().take(FREQUENT_MAX);
            let items = items.map(|(item, count)| (item.to_vec(), count)).collect();
            Frequent { total: top.total(), error: top.error(), items }
        };
        let estimates =
            summary.distinct.iter().map(|(metric, sketch)| (*metric, sketch.estimate().round() as u64));
        Self {
            root,
            epoch,
            version,
            age_ms: aggregate.age.as_millis() as u64,
            nodes: aggregate.coverage.nodes,
            silent: aggregate.coverage.silent,
            sums: summary.sums.clone(),
            distinct: estimates.collect(),
            quantiles: summary.quantiles.iter().map(|(metric, sketch)| (*metric, spread(sketch))).collect(),
            frequent: summary.top.iter().map(|(metric, top)| (*metric, frequent(top))).collect(),
        }
    }

    pub(crate) fn aged(&self, by: Duration) -> Self {
        Self { age_ms: self.age_ms.saturating_add(by.as_millis() as u64), ..self.clone() }
    }
}
