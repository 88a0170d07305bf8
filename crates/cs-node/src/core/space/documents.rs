//! JSON documents: each a CRDT whose changes are operations.

use std::collections::BTreeMap;

use cs_crdt::Document;
use cs_identity::control::Verdict;
use cs_identity::{NodeId, OpId, Signed};
use cs_store::{Disk, Operation};

use crate::core::archive::Archive;
use crate::core::host::Host;
use crate::core::keys::document_id;
use crate::core::space::ingest::KIND_JSON;
use crate::core::space::{Body, Fault, Space};
use crate::core::tree::resolve;
use crate::folder::RelPath;

/// Most documents kept open. One more closes the one that was asked for longest ago.
const MAX_OPEN: usize = 64;

/// What is known of a document without opening it.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    /// Changes that nothing supersedes.
    pub(crate) heads: Vec<OpId>,
    pub(crate) author: Option<NodeId>,
    /// Highest hybrid clock.
    pub(crate) clock: u64,
}

/// The documents of a space.
#[derive(Debug, Default)]
pub(crate) struct Documents {
    entries: BTreeMap<RelPath, Entry>,
    /// Changes that do not count, each with the counting ones that stand behind it.
    transparent: BTreeMap<OpId, Vec<OpId>>,
    open: Vec<(RelPath, Document)>,
}

impl Documents {
    /// A change arrived; what it names is in already.
    pub(crate) fn add(&mut self, path: &RelPath, operation: &Signed<Operation>, change: &[u8]) {
        let superseded = resolve(&self.transparent, &operation.deps);
        let entry = self.entries.entry(path.clone()).or_default();
        entry.heads.retain(|h| !superseded.contains(h));
        entry.heads.push(operation.id());
        if operation.clock > entry.clock {
            (entry.clock, entry.author) = (operation.clock, Some(operation.author));
        }
        if let Some(at) = self.open.iter().position(|(p, _)| p == path)
            && self.open[at].1.apply(change).is_err()
        {
            // Read again from the store, which passes over what does not apply.
            self.open.remove(at);
        }
    }

    /// Notes an operation that is known and does not count.
    pub(crate) fn pass_over(&mut self, id: OpId, deps: &[OpId]) {
        let behind = resolve(&self.transparent, deps);
        self.transparent.insert(id, behind);
        // Whichever document it belongs to is read again, with this change hidden.
        self.open.clear();
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&RelPath, &Entry)> {
        self.entries.iter()
    }

    pub(crate) fn entry(&self, path: &RelPath) -> Option<&Entry> {
        self.entries.get(path)
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

impl Space {
    /// The document at a path, read from the store if it is not open. An absent one is empty.
    pub(crate) fn document<D: Disk>(
        &mut self,
        host: &Host,
        store: &Archive<D>,
        path: &RelPath,
    ) -> Result<&mut Document, Fault> {
        let at = match self.documents.open.iter().position(|(p, _)| p == path) {
            Some(at) => at,
            None => {
                let document = self.read_document(host, store, path)?;
                if self.documents.open.len() >= MAX_OPEN {
                    self.documents.open.remove(0);
                }
                self.documents.open.push((path.clone(), document));
                self.documents.open.len() - 1
            }
        };
        Ok(&mut self.documents.open[at].1)
    }

    fn read_document<D: Disk>(
        &self,
        host: &Host,
        store: &Archive<D>,
        path: &RelPath,
    ) -> Result<Document, Fault> {
        let blind = self.keys.blind(path).ok_or(Fault::NoKey)?.map_err(|_| Fault::TooLarge)?;
        let mut document = Document::new(*host.me.as_bytes());
        for operation in store.document(&self.id, &document_id(KIND_JSON, &blind)) {
            let Some(Body::Json { change, .. }) = self.open_body(&operation) else { continue };
            // A change that does not apply is an author's own mistake, and harms nobody else's.
            let _ = match self.verdict(store, &operation) {
                Verdict::Valid => document.apply(&change),
                // What others built on it stays in place; what it says does not show.
                _ => document.apply_hidden(&change),
            };
        }
        Ok(document)
    }

    /// Makes the document at a path equal to `value` by the smallest edits. `false` when it was equal.
    pub(crate) fn put<D: Disk>(
        &mut self,
        host: &mut Host,
        store: &mut Archive<D>,
        path: &RelPath,
        value: &cs_crdt::Value,
    ) -> Result<bool, Fault> {
        let unix_ms = host.unix_ms();
        let deps = self.documents.entry(path).map(|e| e.heads.clone()).unwrap_or_default();
        let document = self.document(host, store, path)?;
        let Some(change) = document.merge_json(unix_ms, value).map_err(|_| Fault::TooLarge)? else {
            return Ok(false);
        };
        let written = self.write(host, store, &Body::Json { path: path.clone(), change }, deps);
        if written.is_err() {
            // The open document has the change and the store has not.
            self.documents.open.retain(|(p, _)| p != path);
        }
        written.map(|_| true)
    }
}
