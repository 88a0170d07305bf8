//! The logs of authors: each device's operations in each document. Where one forks or goes back it is frozen (NODE-13).

use std::collections::{BTreeMap, BTreeSet};

use cs_identity::control::{AuthorLog, ControlGraph, DocumentId, Mark, OpFacts, Verdict};
use cs_identity::{NodeId, OpId, Signed};
use cs_store::{Disk, Operation};

use crate::core::archive::Archive;
use crate::core::space::Space;

type Key = (NodeId, DocumentId);

/// Where each log ends, and which of them did not grow by one operation after the other.
#[derive(Debug, Default)]
pub(crate) struct Logs {
    ends: BTreeMap<Key, Mark>,
    /// To be judged as a whole: forked, going back, or with a gap that damage to this disk left.
    odd: BTreeSet<Key>,
}

impl Logs {
    /// The last operation of an author in a document.
    pub(crate) fn end(&self, author: NodeId, document: DocumentId) -> Option<Mark> {
        self.ends.get(&(author, document)).copied()
    }

    /// Takes note of an operation whose backlink was noted before. `true` if its log was in order until now and no longer is.
    pub(crate) fn note(&mut self, graph: &ControlGraph, previous: Option<&OpFacts>, op: &OpFacts) -> bool {
        let key = (op.author, op.document);
        let mark = Mark { seq: op.seq, id: op.id };
        let end = self.ends.get(&key).copied();
        self.ends.insert(key, end.map_or(mark, |end| end.max(mark)));
        let is_next = match (end, previous) {
            (None, None) => op.seq == 0 && op.backlink.is_none(),
            (Some(end), Some(previous)) => {
                end.id == previous.id && !matches!(graph.continues(previous, op), Some(Err(_)))
            }
            _ => false,
        };
        !is_next && self.odd.insert(key)
    }
}

impl Space {
    /// What an operation is worth: by itself while its log is in order, otherwise with all that is known of the log.
    pub(crate) fn verdict<D: Disk>(&self, store: &Archive<D>, operation: &Signed<Operation>) -> Verdict {
        let facts = operation.facts(operation.id());
        let key = (facts.author, facts.document);
        if !self.logs.odd.contains(&key) {
            return self.graph.verdict(&facts);
        }
        let verdicts = self.verdicts_in(store, key);
        verdicts.get(&facts.id).copied().unwrap_or_else(|| self.graph.verdict(&facts))
    }

    /// The verdicts on everything in logs that are not in order; other operations are judged by themselves.
    pub(crate) fn odd_verdicts<D: Disk>(&self, store: &Archive<D>) -> BTreeMap<OpId, Verdict> {
        self.logs.odd.iter().flat_map(|key| self.verdicts_in(store, *key)).collect()
    }

    fn verdicts_in<D: Disk>(&self, store: &Archive<D>, key: Key) -> BTreeMap<OpId, Verdict> {
        AuthorLog::new(&self.log(store, key)).verdicts(&self.graph)
    }

    fn log<D: Disk>(&self, store: &Archive<D>, (author, document): Key) -> Vec<OpFacts> {
        let operations = store.document(&self.id, &document).into_iter().filter(|o| o.author == author);
        operations.map(|operation| operation.facts(operation.id())).collect()
    }

    /// Devices that signed what cannot be one history, here or in the control graph: a stolen key, a copied disk, or a backup
    /// that was put back.
    pub(crate) fn forked<D: Disk>(&self, store: &Archive<D>) -> BTreeSet<NodeId> {
        let is_forked = |key: &&Key| AuthorLog::new(&self.log(store, **key)).fault(&self.graph).is_some();
        let writers = self.logs.odd.iter().filter(is_forked).map(|(author, _)| *author);
        writers.chain(self.graph.forks().map(|(author, _)| author)).collect()
    }

    /// Takes note of all operations, each after those it names.
    pub(crate) fn note_logs(&mut self, operations: &[Signed<Operation>]) {
        let facts: BTreeMap<OpId, OpFacts> =
            operations.iter().map(|operation| (operation.id(), operation.facts(operation.id()))).collect();
        for operation in operations {
            let Some(op) = facts.get(&operation.id()) else { continue };
            let previous = op.backlink.and_then(|backlink| facts.get(&backlink));
            self.logs.note(&self.graph, previous, op);
        }
    }
}
