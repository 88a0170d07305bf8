//! What a replica has seen, and what an edit had seen.

use alloc::vec::Vec;

use crate::actor::Dot;

/// The causal context of a document: for each author, how many of its dots were applied. Changes of one
/// author apply in its order, so one number per author says it all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Context(Vec<u64>);

/// Authors of whom nothing was seen do not count.
impl PartialEq for Context {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Context {
    /// The highest counter of `actor` that was applied; 0 for none.
    pub(crate) fn last(&self, actor: u32) -> u64 {
        self.0.get(actor as usize).copied().unwrap_or(0)
    }

    pub(crate) fn contains(&self, dot: Dot) -> bool {
        dot.counter <= self.last(dot.actor)
    }

    pub(crate) fn advance(&mut self, actor: u32, counter: u64) {
        let at = actor as usize;
        if self.0.len() <= at {
            self.0.resize(at + 1, 0);
        }
        if let Some(last) = self.0.get_mut(at) {
            *last = counter.max(*last);
        }
    }

    /// Takes back dots that a failed transaction had claimed.
    pub(crate) fn retreat(&mut self, actor: u32, counter: u64) {
        if let Some(last) = self.0.get_mut(actor as usize) {
            *last = counter.min(*last);
        }
    }

    pub(crate) fn join(&mut self, other: &Self) {
        for (actor, &counter) in other.0.iter().enumerate() {
            self.advance(actor as u32, counter);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.iter().all(|counter| *counter == 0)
    }

    /// Whether it has seen all that `other` has.
    pub(crate) fn covers(&self, other: &Self) -> bool {
        other.iter().all(|(actor, counter)| counter <= self.last(actor))
    }

    /// (author, highest counter), authors with nothing left out.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        self.0.iter().enumerate().filter(|(_, c)| **c > 0).map(|(a, c)| (a as u32, *c))
    }
}

/// What an edit replaces: for each author the highest dot that the editor saw alive in that place. Since an
/// author's dots arrive in order, this covers every lower dot of that author there too, all of them seen.
///
/// Ascending by actor, one entry each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen(Vec<(u32, u64)>);

impl Seen {
    pub(crate) fn note(&mut self, dot: Dot) {
        match self.0.binary_search_by_key(&dot.actor, |e| e.0) {
            Ok(at) => {
                if let Some(entry) = self.0.get_mut(at) {
                    entry.1 = entry.1.max(dot.counter);
                }
            }
            Err(at) => self.0.insert(at, (dot.actor, dot.counter)),
        }
    }

    pub(crate) fn join(&mut self, other: &Self) {
        for &(actor, counter) in &other.0 {
            self.note(Dot::new(actor, counter));
        }
    }

    pub(crate) fn covers(&self, dot: Dot) -> bool {
        self.0
            .binary_search_by_key(&dot.actor, |e| e.0)
            .is_ok_and(|at| self.0.get(at).is_some_and(|e| dot.counter <= e.1))
    }

    pub(crate) fn limit(&self, actor: u32) -> u64 {
        self.0.iter().find(|e| e.0 == actor).map_or(0, |e| e.1)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        self.0.iter().copied()
    }
}

impl FromIterator<Dot> for Seen {
    fn from_iter<I: IntoIterator<Item = Dot>>(dots: I) -> Self {
        let mut seen = Self::default();
        for dot in dots {
            seen.note(dot);
        }
        seen
    }
}
