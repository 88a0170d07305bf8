//! The store as the core reads it: absent is absent, and a disk that fails is remembered and reported once.

use std::cell::Cell;

use cs_identity::control::Statement;
use cs_identity::{OpId, Signed, SpaceId, Unverified};
use cs_store::{Disk, DocumentId, Operation, Refused, Store, StoreError};

use crate::core::space::Fault;

/// The store, and the first thing that went wrong with it.
pub(crate) struct Archive<D: Disk> {
    store: Store<D>,
    broken: Cell<Option<StoreError>>,
}

impl<D: Disk> Archive<D> {
    pub(crate) fn new(store: Store<D>) -> Self {
        Self { store, broken: Cell::new(None) }
    }

    /// What went wrong while reading, if anything did. The node cannot go on then.
    pub(crate) fn broken(&self) -> Option<StoreError> {
        self.broken.get()
    }

    fn note<T>(&self, result: Result<T, StoreError>) -> Option<T> {
        result.inspect_err(|error| self.broken.set(self.broken.get().or(Some(*error)))).ok()
    }

    /// Makes what was staged durable. Free when there is nothing.
    pub(crate) fn commit(&mut self) -> Result<(), StoreError> {
        self.store.commit()
    }

    /// Writes the index out, so that the next start has nothing to replay.
    pub(crate) fn checkpoint(&mut self) -> Result<(), StoreError> {
        self.store.checkpoint()
    }

    /// An operation, if it is here. Its signature was checked when it came, and the log's checksum has kept it since.
    pub(crate) fn operation(&self, id: &OpId) -> Option<Signed<Operation>> {
        decode(&self.note(self.store.operation(id))??)
    }

    pub(crate) fn has(&self, id: &OpId) -> bool {
        self.note(self.store.contains(id)).unwrap_or(false)
    }

    /// Every operation of a space, each after those it names: within a document clocks only run forward.
    pub(crate) fn operations(&self, space: &SpaceId) -> Vec<Signed<Operation>> {
        let ids = self.note(self.store.operations(space)).into_iter().flatten();
        let mut all: Vec<_> = ids.filter_map(|id| self.operation(&self.note(id)?)).collect();
        all.sort_by_key(|operation| (operation.clock, operation.id()));
        all
    }

    /// The operations of one document, each after those it names.
    pub(crate) fn document(&self, space: &SpaceId, document: &DocumentId) -> Vec<Signed<Operation>> {
        let records = self.note(self.store.document_operations(space, document)).into_iter().flatten();
        records.filter_map(|record| decode(&self.note(record)?.1)).collect()
    }

    /// Every control statement of a space, in the order of arrival.
    pub(crate) fn statements(&self, space: &SpaceId) -> Vec<Signed<Statement>> {
        let records = self.note(self.store.statements(space)).into_iter().flatten();
        let decoded = records.filter_map(|record| {
            let bytes = self.note(record)?.1;
            Some(Unverified::<Statement>::from_bytes(&bytes).ok()?.assume_verified())
        });
        decoded.collect()
    }

    pub(crate) fn stage_operation(&mut self, operation: &Signed<Operation>) -> Result<(), Fault> {
        self.stage(|store| store.stage_operation(operation).map(drop))
    }

    pub(crate) fn stage_statement(&mut self, statement: &Signed<Statement>) -> Result<(), Fault> {
        self.stage(|store| store.stage_statement(statement).map(drop))
    }

    /// Stages; a full batch is committed first.
    fn stage(&mut self, mut stage: impl FnMut(&mut Store<D>) -> Result<(), Refused>) -> Result<(), Fault> {
        match stage(&mut self.store) {
            Err(Refused::BatchFull) => {
                self.store.commit().map_err(|_| Fault::Disk)?;
                stage(&mut self.store).map_err(|_| Fault::Disk)
            }
            other => other.map_err(|_| Fault::Disk),
        }
    }

    /// A small fact of this node alone.
    pub(crate) fn local(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.note(self.store.local(key))?
    }

    /// All small facts whose key begins so.
    pub(crate) fn local_prefix(&self, prefix: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.note(self.store.local_prefix(prefix)).unwrap_or_default()
    }

    /// Keeps a small fact. What is too long is this program's own mistake, and the fact is not kept.
    pub(crate) fn put_local(&mut self, key: &[u8], value: &[u8]) {
        let kept = self.stage(|store| store.put_local(key, value));
        debug_assert!(kept.is_ok(), "a local fact was refused");
    }
}

fn decode(bytes: &[u8]) -> Option<Signed<Operation>> {
    Some(Unverified::<Operation>::from_bytes(bytes).ok()?.assume_verified())
}
