//! Maps whose values are whole documents.

use alloc::{boxed::Box, collections::BTreeMap};

use crate::{
    context::{Context, Seen},
    entries::Entries,
    slot::Slot,
};

/// An observed-remove map. Its place is its identity: two replicas that create `a.b` apart have made one map,
/// and their keys meet in it. It exists while its own mark or any value in it is alive.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Map {
    /// Marks that say "there is a map here", so that an empty one can exist.
    pub(crate) presence: Entries<()>,
    children: BTreeMap<Box<str>, Slot>,
    /// How many children are live. The others are the remains of lists and text, kept for their positions.
    live: usize,
}

impl Map {
    pub(crate) fn is_live(&self) -> bool {
        self.live > 0 || !self.presence.is_empty()
    }

    pub(crate) fn is_blank(&self) -> bool {
        self.children.is_empty() && self.presence.is_empty()
    }

    pub(crate) fn child(&self, key: &str) -> Option<&Slot> {
        self.children.get(key)
    }

    /// Every child, live or remains, by the bytes of its key.
    pub(crate) fn children(&self) -> impl Iterator<Item = (&str, &Slot)> {
        self.children.iter().map(|(key, slot)| (&**key, slot))
    }

    pub(crate) fn child_count(&self) -> usize {
        self.children.len()
    }

    pub(crate) fn live_children(&self) -> impl Iterator<Item = (&str, &Slot)> {
        self.children().filter(|(_, slot)| slot.is_live())
    }

    /// Adds a child that a snapshot held. Keys come once.
    pub(crate) fn restore(&mut self, key: Box<str>, slot: Slot) {
        self.live += usize::from(slot.is_live());
        self.children.insert(key, slot);
    }

    /// Lets `edit` change the child at `key`, made if there is none, and unmade if nothing is left in it.
    pub(crate) fn edit_child<R>(&mut self, key: &str, edit: impl FnOnce(&mut Slot) -> R) -> R {
        let Some(child) = self.children.get_mut(key) else {
            let mut child = Slot::default();
            let result = edit(&mut child);
            if !child.is_blank() {
                self.restore(key.into(), child);
            }
            return result;
        };
        let before = child.is_live();
        let result = edit(child);
        let (after, blank) = (child.is_live(), child.is_blank());
        self.live = self.live + usize::from(after) - usize::from(before);
        if blank {
            self.children.remove(key);
        }
        result
    }

    pub(crate) fn clear(&mut self, seen: &Seen) {
        self.presence.clear(seen);
        self.retain(|_, child| child.clear(seen));
    }

    /// Forgets what its children have removed (CRDT-20).
    pub(crate) fn compact(&mut self) {
        self.retain(|_, child| child.compact());
    }

    fn retain(&mut self, mut change: impl FnMut(&str, &mut Slot)) {
        let mut live = 0;
        self.children.retain(|key, child| {
            change(key, child);
            live += usize::from(child.is_live());
            !child.is_blank()
        });
        self.live = live;
    }

    pub(crate) fn note(&self, seen: &mut Seen) {
        self.presence.note(seen);
        for child in self.children.values() {
            child.note(seen);
        }
    }

    pub(crate) fn join(&mut self, other: Self, ours: &Context, theirs: &Context, tie: Tie<'_>) {
        self.presence.join(other.presence, ours, theirs);
        let mut others = other.children;
        self.retain(|key, child| child.join(others.remove(key).unwrap_or_default(), ours, theirs, tie));
        for (key, theirs_only) in others {
            let mut child = Slot::default();
            child.join(theirs_only, ours, theirs, tie);
            if !child.is_blank() {
                self.restore(key, child);
            }
        }
    }
}

/// How equal claims are ordered: the document's table of authors.
pub(crate) type Tie<'a> = &'a crate::actor::Actors;
