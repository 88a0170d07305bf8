//! Changes that came before what they build on (CRDT-5).

use alloc::{collections::BTreeMap, vec::Vec};

use crate::{
    actor::Actor,
    change::Change,
    wire::{MAX_PENDING, MAX_PENDING_BYTES},
};

/// A bounded buffer, each change once, by author and first dot.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pending {
    changes: BTreeMap<(Actor, u64), (Change, usize)>,
    bytes: usize,
}

impl Pending {
    pub(crate) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Keeps a change of `bytes` bytes; `false` if there is no room. One from an author and dot that is already held is a
    /// duplicate.
    pub(crate) fn insert(&mut self, change: Change, bytes: usize) -> bool {
        let key = (change.author(), change.first);
        if self.changes.contains_key(&key) {
            return true;
        }
        if self.changes.len() >= MAX_PENDING || self.bytes.saturating_add(bytes) > MAX_PENDING_BYTES {
            return false;
        }
        self.bytes += bytes;
        self.changes.insert(key, (change, bytes));
        true
    }

    /// Takes every change for which `wanted` says so.
    pub(crate) fn take(&mut self, mut wanted: impl FnMut(&Change) -> bool) -> Vec<Change> {
        let keys: Vec<_> =
            self.changes.iter().filter(|(_, (change, _))| wanted(change)).map(|(key, _)| *key).collect();
        let mut taken = Vec::new();
        for key in keys {
            if let Some((change, bytes)) = self.changes.remove(&key) {
                self.bytes -= bytes;
                taken.push(change);
            }
        }
        taken
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Change> {
        self.changes.values().map(|(change, _)| change)
    }
}
