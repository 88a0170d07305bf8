//! Which leaf holds a dot.

use alloc::{collections::BTreeMap, vec::Vec};

use crate::actor::Dot;

/// Stretches of dots of one author, each with its leaf: an entry holds until the next one of its author. Dots that are
/// not in the sequence may lie in a stretch, so a leaf is only where a dot is if it is anywhere.
///
/// What is typed in one leaf is one entry, however many spans it is; entries are made where a leaf is split, and where
/// an author goes elsewhere.
#[derive(Clone, Debug, Default)]
pub(crate) struct Index {
    stretches: BTreeMap<Dot, u32>,
    /// The stretch that was asked for or changed last: first dot, the counter that ends it, leaf.
    recent: Option<(Dot, u64, u32)>,
}

impl Index {
    pub(crate) fn leaf(&self, dot: Dot) -> Option<u32> {
        if let Some((first, end, leaf)) = self.recent
            && first.actor == dot.actor
            && (first.counter..end).contains(&dot.counter)
        {
            return Some(leaf);
        }
        let (start, leaf) = self.stretches.range(..=dot).next_back()?;
        (start.actor == dot.actor).then_some(*leaf)
    }

    /// Where the next stretch of this author begins, after `dot`.
    pub(crate) fn next(&self, dot: Dot) -> Option<Dot> {
        let end = Dot::new(dot.actor, u64::MAX);
        self.stretches.range(dot.plus(1)..=end).next().map(|(start, _)| *start)
    }

    /// Dots `first .. first + count` are in `leaf` now. `holds_later` tells whether the leaf that held this stretch has a
    /// later dot of it, given the stretch's end.
    pub(crate) fn assign(
        &mut self,
        first: Dot,
        count: u64,
        leaf: u32,
        holds_later: impl FnOnce(u32, Dot, Option<Dot>) -> bool,
    ) {
        let end = first.plus(count);
        if let Some((start, stop, own)) = &mut self.recent
            && *own == leaf
            && start.actor == first.actor
            && start.counter <= first.counter
            && first.counter <= *stop
        {
            if end.counter <= *stop {
                return;
            }
            // The stretch goes on, if nothing else begins in it.
            if *stop == first.counter && self.stretches.range(first..end).next().is_none() {
                *stop = end.counter;
                return;
            }
        }
        let after = self.leaf_in_tree(end);
        let within: Vec<Dot> = self.stretches.range(first..end).map(|(start, _)| *start).collect();
        for start in within {
            self.stretches.remove(&start);
        }
        let before = self.leaf_in_tree(first);
        if before != Some(leaf) {
            self.stretches.insert(first, leaf);
        }
        let next = self.next(Dot::new(end.actor, end.counter - 1));
        match after {
            Some(old) if old != leaf && next != Some(end) && holds_later(old, end, next) => {
                self.stretches.insert(end, old);
            }
            Some(old) if old == leaf && next == Some(end) => {
                self.stretches.remove(&end);
            }
            _ => {}
        }
        self.recent = Some((first, end.counter, leaf));
    }

    fn leaf_in_tree(&self, dot: Dot) -> Option<u32> {
        let (start, leaf) = self.stretches.range(..=dot).next_back()?;
        (start.actor == dot.actor).then_some(*leaf)
    }
}
