//! What a summary of so many nodes can hold at most (SHARD-15).

use std::collections::BTreeMap;

use thiserror::Error;

use super::{Metric, Summary};

/// The most that one node can contribute to each metric: the sum's largest value, or how many items or values are
/// counted. What is not named here is dropped from every summary that arrives, so that newer nodes may tell more.
///
/// It is what bounds a liar: whoever may speak for n nodes moves each number by at most n times the limit.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Limits {
    /// Of [`Summary::sums`].
    pub sums: BTreeMap<Metric, u64>,
    /// Of [`Summary::distinct`]: items.
    pub distinct: BTreeMap<Metric, u64>,
    /// Of [`Summary::quantiles`]: values.
    pub quantiles: BTreeMap<Metric, u64>,
    /// Of [`Summary::counts`]: items, each as often as it comes.
    pub counts: BTreeMap<Metric, u64>,
    /// Of [`Summary::top`]: items, each as often as it comes.
    pub top: BTreeMap<Metric, u64>,
}

/// A summary tells more than its nodes can have done.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Excess {
    /// Of more nodes than the sender may speak for, or of none.
    #[error("the summary is of more nodes than its sender may speak for")]
    Nodes,
    /// A sum is above its limit.
    #[error("a sum is above what so many nodes can have")]
    Sum,
    /// A distinct count is above its limit, or no items leave such registers.
    #[error("a distinct count is not one that so many nodes leave")]
    Distinct,
    /// More values than the limit.
    #[error("a distribution is of more values than so many nodes can have")]
    Quantiles,
    /// More counted than the limit.
    #[error("a frequency count is above what so many nodes can have")]
    Counts,
    /// More counted than the limit.
    #[error("a list of the most frequent is of more than so many nodes can have")]
    Top,
}

impl Limits {
    /// Drops what is not named, and checks the rest against a sender that may speak for `nodes_max` nodes. A summary
    /// of fewer nodes is held to these.
    ///
    /// # Errors
    /// [`Excess`] names what is too much.
    pub fn check(&self, mut summary: Summary, nodes_max: u64) -> Result<Summary, Excess> {
        if summary.nodes == 0 || summary.nodes > nodes_max {
            return Err(Excess::Nodes);
        }
        let nodes = summary.nodes;
        keep(&mut summary.sums, &self.sums, nodes, |sum, most| *sum <= most).ok_or(Excess::Sum)?;
        keep(&mut summary.distinct, &self.distinct, nodes, |sketch, most| sketch.is_plausible(most))
            .ok_or(Excess::Distinct)?;
        keep(&mut summary.quantiles, &self.quantiles, nodes, |sketch, most| sketch.count() <= most)
            .ok_or(Excess::Quantiles)?;
        keep(&mut summary.counts, &self.counts, nodes, |sketch, most| sketch.total() <= most)
            .ok_or(Excess::Counts)?;
        keep(&mut summary.top, &self.top, nodes, |sketch, most| sketch.total() <= most).ok_or(Excess::Top)?;
        Ok(summary)
    }
}

/// Nothing if a value that has a limit is above it.
fn keep<T>(
    values: &mut BTreeMap<Metric, T>,
    limits: &BTreeMap<Metric, u64>,
    nodes: u64,
    is_within: impl Fn(&T, u64) -> bool,
) -> Option<()> {
    values.retain(|metric, _| limits.contains_key(metric));
    let within =
        |(metric, value)| limits.get(metric).is_some_and(|most| is_within(value, most.saturating_mul(nodes)));
    values.iter().all(within).then_some(())
}
