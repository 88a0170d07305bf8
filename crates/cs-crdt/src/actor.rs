//! Who edits, and the names of edits.

use alloc::{collections::BTreeMap, vec::Vec};
use core::fmt;

/// The author of edits: 32 bytes that no two writers share, such as a device's public key.
///
/// Ties between concurrent edits are broken by the order of these bytes, alike on every replica.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Actor(pub [u8; 32]);

impl From<[u8; 32]> for Actor {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl fmt::Debug for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "Actor({a:02x}{b:02x}{c:02x}{d:02x})")
    }
}

/// The name of one edit, or of one inserted character or element: the `counter`-th thing its author did.
///
/// `actor` is an index, into the table of the change where the dot was read or of the document that holds it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Dot {
    /// Index of the author in the table that goes with this dot.
    pub actor: u32,
    /// From 1; at most [`MAX_COUNTER`](crate::wire::MAX_COUNTER).
    pub counter: u64,
}

impl Dot {
    pub(crate) const fn new(actor: u32, counter: u64) -> Self {
        Self { actor, counter }
    }

    /// The dot `by` places later in its author's own order.
    pub(crate) const fn plus(self, by: u64) -> Self {
        Self { actor: self.actor, counter: self.counter.saturating_add(by) }
    }
}

impl fmt::Debug for Dot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.counter, self.actor)
    }
}

/// A document's authors, in the order this replica met them. Dots inside the document index this table, so
/// the 32 bytes are held once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Actors {
    ids: Vec<Actor>,
    index: BTreeMap<Actor, u32>,
}

impl Actors {
    pub(crate) fn intern(&mut self, actor: Actor) -> u32 {
        let next = self.ids.len() as u32;
        *self.index.entry(actor).or_insert_with(|| {
            self.ids.push(actor);
            next
        })
    }

    pub(crate) fn find(&self, actor: &Actor) -> Option<u32> {
        self.index.get(actor).copied()
    }

    /// `index` comes from this table; an unknown one reads as the least actor rather than panicking.
    pub(crate) fn id(&self, index: u32) -> Actor {
        self.ids.get(index as usize).copied().unwrap_or(Actor([0; 32]))
    }

    /// The order by which ties are broken: by the authors' bytes, then by counter.
    pub(crate) fn compare(&self, a: Dot, b: Dot) -> core::cmp::Ordering {
        if a.actor == b.actor {
            return a.counter.cmp(&b.counter);
        }
        self.id(a.actor).cmp(&self.id(b.actor))
    }

    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }
}
