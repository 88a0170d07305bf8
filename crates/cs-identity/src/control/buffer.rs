//! Statements that came before what they build on.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::statement::Statement;
use crate::id::OpId;
use crate::signed::Signed;

/// Statements waiting at once: more than causal delivery ever reorders, few enough to hold for every space.
const MAX_WAITING: usize = 1024;
/// Bytes of statements waiting at once.
const MAX_WAITING_BYTES: usize = 4 << 20;

#[derive(Clone, Debug, Default)]
pub(crate) struct Buffer {
    waiting: BTreeMap<OpId, Signed<Statement>>,
    /// For each statement that is missing, those that wait for it first.
    by_missing: BTreeMap<OpId, BTreeSet<OpId>>,
    bytes: usize,
}

impl Buffer {
    pub(crate) fn contains(&self, id: &OpId) -> bool {
        self.waiting.contains_key(id)
    }

    /// Names of statements that others wait for and that are not waiting themselves.
    pub(crate) fn wanted(&self) -> impl Iterator<Item = OpId> {
        self.by_missing.keys().filter(|id| !self.waiting.contains_key(id)).copied()
    }

    /// Keeps a statement until `missing` is here; says whether there was room.
    pub(crate) fn put(&mut self, missing: OpId, statement: Signed<Statement>) -> bool {
        let bytes = self.bytes + statement.bytes().len();
        if self.waiting.len() >= MAX_WAITING || bytes > MAX_WAITING_BYTES {
            return false;
        }
        self.bytes = bytes;
        self.by_missing.entry(missing).or_default().insert(statement.id());
        self.waiting.insert(statement.id(), statement);
        true
    }

    /// Takes out what waited for a statement that is now here.
    pub(crate) fn release(&mut self, id: &OpId) -> Vec<Signed<Statement>> {
        let ready = self.by_missing.remove(id).unwrap_or_default();
        let released: Vec<_> = ready.iter().filter_map(|id| self.waiting.remove(id)).collect();
        self.bytes -= released.iter().map(|statement| statement.bytes().len()).sum::<usize>();
        released
    }

    /// Forgets everything that builds on a statement nobody will ever accept.
    pub(crate) fn forget(&mut self, id: OpId) {
        let mut open = Vec::from([id]);
        while let Some(id) = open.pop() {
            open.extend(self.release(&id).iter().map(Signed::id));
        }
    }
}
