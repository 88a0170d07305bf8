//! Counters that can be increased, decreased and reset.

use alloc::{collections::BTreeMap, vec::Vec};

use crate::{
    actor::Dot,
    context::{Context, Seen},
};

/// Live increments. A reset removes exactly those its author saw, so every one is remembered; runs of equal
/// increments with consecutive dots are one entry.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counter {
    /// First dot of a run -> (how many dots, what each adds). Runs never touch when they could be one.
    runs: BTreeMap<Dot, (u64, i64)>,
    total: i128,
}

impl Counter {
    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// What the increments add up to. Exact: an author has fewer dots than would overflow it.
    pub(crate) fn total(&self) -> i128 {
        self.total
    }

    /// Adds a run of `count` increments that follows every dot of its author that this counter holds.
    pub(crate) fn add(&mut self, first: Dot, count: u64, each: i64) {
        self.total = self.total.saturating_add(i128::from(each).saturating_mul(i128::from(count)));
        if let Some((start, run)) = self.runs.range_mut(..first).next_back()
            && start.plus(run.0) == first
            && run.1 == each
        {
            run.0 += count;
            return;
        }
        self.runs.insert(first, (count, each));
    }

    pub(crate) fn runs(&self) -> impl Iterator<Item = (Dot, u64, i64)> + '_ {
        self.runs.iter().map(|(first, &(count, each))| (*first, count, each))
    }

    pub(crate) fn clear(&mut self, seen: &Seen) {
        for (actor, limit) in seen.iter() {
            self.drop_through(actor, limit);
        }
    }

    /// Forgets the increments of `actor` up to and including dot `limit`.
    fn drop_through(&mut self, actor: u32, limit: u64) {
        while let Some((&first, &(count, each))) =
            self.runs.range(Dot::new(actor, 0)..=Dot::new(actor, limit)).next()
        {
            self.runs.remove(&first);
            let gone = count.min((limit - first.counter).saturating_add(1));
            self.total = self.total.saturating_sub(i128::from(each).saturating_mul(i128::from(gone)));
            if gone < count {
                self.runs.insert(first.plus(gone), (count - gone, each));
                return;
            }
        }
    }

    pub(crate) fn note(&self, seen: &mut Seen) {
        for (first, count, _) in self.runs() {
            seen.note(first.plus(count - 1));
        }
    }

    pub(crate) fn join(&mut self, other: &Self, ours: &Context, theirs: &Context) {
        let mut joined = BTreeMap::new();
        for (first, count, each) in self.runs() {
            let old = count.min((theirs.last(first.actor) + 1).saturating_sub(first.counter));
            for (start, shared) in other.overlaps(first, old) {
                joined.insert(start, (shared, each));
            }
            if old < count {
                joined.insert(first.plus(old), (count - old, each));
            }
        }
        for (first, count, each) in other.runs() {
            let old = count.min((ours.last(first.actor) + 1).saturating_sub(first.counter));
            if old < count {
                joined.insert(first.plus(old), (count - old, each));
            }
        }
        *self = Self::default();
        for (first, (count, each)) in joined {
            self.add(first, count, each);
        }
    }

    /// The parts of `count` dots from `first` that are live here. At most all runs of one author.
    fn overlaps(&self, first: Dot, count: u64) -> Vec<(Dot, u64)> {
        let end = first.plus(count);
        let before = self.runs.range(..first).next_back().into_iter();
        let within = self.runs.range(first..end);
        let clip = |(start, run): (&Dot, &(u64, i64))| {
            let (from, to) = ((*start).max(first), start.plus(run.0).min(end));
            (start.actor == first.actor && from < to).then(|| (from, to.counter - from.counter))
        };
        before.chain(within).filter_map(clip).collect()
    }
}
