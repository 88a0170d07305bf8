//! A small map from dots, made for the usual case of exactly one.

use alloc::collections::BTreeMap;
use core::mem;

use crate::{
    actor::Dot,
    context::{Context, Seen},
};

/// Live dots of one place, each with what it wrote. One entry is held in line; more, which concurrent
/// edits make, go to a tree, so that a flood of them costs a logarithm each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum Entries<V> {
    #[default]
    Empty,
    One(Dot, V),
    Many(BTreeMap<Dot, V>),
}

impl<V> Entries<V> {
    pub(crate) fn is_empty(&self) -> bool {
        matches!(self, Self::Empty)
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Empty => 0,
            Self::One(..) => 1,
            Self::Many(tree) => tree.len(),
        }
    }

    pub(crate) fn insert(&mut self, dot: Dot, value: V) {
        *self = match mem::take(self) {
            Self::Empty => Self::One(dot, value),
            Self::One(first, old) if first != dot => Self::Many(BTreeMap::from([(first, old), (dot, value)])),
            Self::One(..) => Self::One(dot, value),
            Self::Many(mut tree) => {
                tree.insert(dot, value);
                Self::Many(tree)
            }
        };
    }

    /// Drops what `keep` refuses.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(Dot) -> bool) {
        match self {
            Self::Empty => {}
            Self::One(dot, _) => {
                if !keep(*dot) {
                    *self = Self::Empty;
                }
            }
            Self::Many(tree) => {
                tree.retain(|dot, _| keep(*dot));
                if tree.len() < 2 {
                    *self = tree.pop_first().map_or(Self::Empty, |(dot, value)| Self::One(dot, value));
                }
            }
        }
    }

    /// Drops what `seen` covers. Costs a logarithm for each author named and each entry dropped, so that
    /// clears that hit nothing cost nothing, however many entries there are.
    pub(crate) fn clear(&mut self, seen: &Seen) {
        let Self::Many(tree) = self else {
            self.retain(|dot| !seen.covers(dot));
            return;
        };
        for (actor, limit) in seen.iter() {
            while let Some((&dot, _)) = tree.range(Dot::new(actor, 0)..=Dot::new(actor, limit)).next() {
                tree.remove(&dot);
            }
        }
        if tree.len() < 2 {
            *self = tree.pop_first().map_or(Self::Empty, |(dot, value)| Self::One(dot, value));
        }
    }

    /// Ascending by dot, in this replica's numbering of authors.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Dot, &V)> {
        let (one, many) = match self {
            Self::Empty => (None, None),
            Self::One(dot, value) => (Some((*dot, value)), None),
            Self::Many(tree) => (None, Some(tree.iter().map(|(dot, value)| (*dot, value)))),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    pub(crate) fn dots(&self) -> impl Iterator<Item = Dot> + '_ {
        self.iter().map(|(dot, _)| dot)
    }

    pub(crate) fn contains(&self, dot: Dot) -> bool {
        match self {
            Self::Empty => false,
            Self::One(own, _) => *own == dot,
            Self::Many(tree) => tree.contains_key(&dot),
        }
    }

    pub(crate) fn note(&self, seen: &mut Seen) {
        for dot in self.dots() {
            seen.note(dot);
        }
    }

    /// A dot stays if both hold it, or if the side without it has not seen it (CRDT-8).
    pub(crate) fn join(&mut self, other: Self, ours: &Context, theirs: &Context) {
        self.retain(|dot| other.contains(dot) || !theirs.contains(dot));
        match other {
            Self::Empty => {}
            Self::One(dot, value) => {
                if !ours.contains(dot) {
                    self.insert(dot, value);
                }
            }
            Self::Many(tree) => {
                for (dot, value) in tree {
                    if !ours.contains(dot) {
                        self.insert(dot, value);
                    }
                }
            }
        }
    }
}
