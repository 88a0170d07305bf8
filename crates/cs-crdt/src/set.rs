//! Sets in which an add wins over a concurrent removal.

use alloc::collections::BTreeMap;

use crate::{
    actor::Dot,
    context::{Context, Seen},
    entries::Entries,
    value::Scalar,
};

/// An observed-remove set: each member with the dots that added it. A removal names the adds that it saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Set(BTreeMap<Scalar, Entries<()>>);

impl Set {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = (&Scalar, &Entries<()>)> {
        self.0.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn seen(&self, member: &Scalar) -> Seen {
        self.0.get(member).map(|adds| adds.dots().collect()).unwrap_or_default()
    }

    pub(crate) fn contains(&self, member: &Scalar) -> bool {
        self.0.contains_key(member)
    }

    pub(crate) fn add(&mut self, member: Scalar, dot: Dot, seen: &Seen) {
        let adds = self.0.entry(member).or_default();
        adds.clear(seen);
        adds.insert(dot, ());
    }

    pub(crate) fn discard(&mut self, member: &Scalar, seen: &Seen) {
        if let Some(adds) = self.0.get_mut(member) {
            adds.clear(seen);
            if adds.is_empty() {
                self.0.remove(member);
            }
        }
    }

    /// Puts back what a failed transaction took or changed.
    pub(crate) fn restore(&mut self, member: Scalar, adds: Option<Entries<()>>) {
        match adds {
            Some(adds) => self.0.insert(member, adds),
            None => self.0.remove(&member),
        };
    }

    pub(crate) fn adds(&self, member: &Scalar) -> Option<&Entries<()>> {
        self.0.get(member)
    }

    pub(crate) fn clear(&mut self, seen: &Seen) {
        self.0.retain(|_, adds| {
            adds.clear(seen);
            !adds.is_empty()
        });
    }

    pub(crate) fn note(&self, seen: &mut Seen) {
        for adds in self.0.values() {
            adds.note(seen);
        }
    }

    pub(crate) fn join(&mut self, mut other: Self, ours: &Context, theirs: &Context) {
        self.0.retain(|member, adds| {
            adds.join(other.0.remove(member).unwrap_or_default(), ours, theirs);
            !adds.is_empty()
        });
        for (member, adds) in other.0 {
            let mut kept = Entries::Empty;
            kept.join(adds, ours, theirs);
            if !kept.is_empty() {
                self.0.insert(member, kept);
            }
        }
    }
}
