use alloc::collections::{BTreeMap, BTreeSet};
use core::cell::RefCell;

use super::action::{DocumentId, Mark};
use super::graph::ControlGraph;
use super::verdict::{OpFacts, Reason, Verdict};
use crate::id::OpId;
use crate::node_id::NodeId;

/// All known operations of one author in one document, judged together: the place where forks and clocks that run
/// backwards show (rule ID-15).
///
/// [`ControlGraph::verdict`] is enough while [`AuthorLog::is_linear`]. Partial replicas judge alike, since a log never
/// leaves its document.
#[derive(Clone, Debug, Default)]
pub struct AuthorLog<'a> {
    operations: BTreeMap<OpId, &'a OpFacts>,
    /// The names seen for each sequence number, by operations and by backlinks to them.
    names: BTreeMap<u64, BTreeSet<OpId>>,
}

impl<'a> AuthorLog<'a> {
    /// Gathers the operations of one author in one document; any order, duplicates allowed.
    pub fn new(operations: impl IntoIterator<Item = &'a OpFacts>) -> Self {
        let mut log = Self::default();
        for op in operations {
            log.operations.insert(op.id, op);
            log.names.entry(op.seq).or_default().insert(op.id);
            if let (Some(backlink), Some(before)) = (op.backlink, op.seq.checked_sub(1)) {
                log.names.entry(before).or_default().insert(backlink);
            }
        }
        log
    }

    /// Splits operations into logs.
    pub fn split(operations: &'a [OpFacts]) -> BTreeMap<(NodeId, DocumentId), Self> {
        let mut logs: BTreeMap<(NodeId, DocumentId), alloc::vec::Vec<&'a OpFacts>> = BTreeMap::new();
        for op in operations {
            logs.entry((op.author, op.document)).or_default().push(op);
        }
        logs.into_iter().map(|(key, operations)| (key, Self::new(operations))).collect()
    }

    /// Whether no two names are known for one place of the log.
    pub fn is_linear(&self) -> bool {
        self.names.values().all(|names| names.len() < 2)
    }

    /// The verdict on each operation. From the first fault on, everything is frozen but what a cut that binds it
    /// vouches for by its branch, or another writer endorsed. Costs a verdict and a few look-ups each.
    pub fn verdicts(&self, graph: &ControlGraph) -> BTreeMap<OpId, Verdict> {
        let fault = self.fault(graph);
        // Each mark's branch is walked once.
        let branches: RefCell<BTreeMap<Mark, BTreeMap<u64, OpId>>> = RefCell::default();
        let branch = |mark: &Mark, seq: u64| {
            branches.borrow_mut().entry(*mark).or_insert_with(|| self.branch(mark)).get(&seq).copied()
        };
        let judge = |op: &OpFacts| {
            let verdict = graph.standing().verdict(op, &branch);
            let frozen = fault.filter(|(seq, _)| *seq <= op.seq);
            match (verdict, frozen) {
                (Verdict::Valid, Some((_, reason)))
                    if !graph.standing().is_sealed(op, &branch) && !graph.standing().is_adopted(op) =>
                {
                    Verdict::Quarantined(reason)
                }
                (verdict, _) => verdict,
            }
        };
        self.operations.iter().map(|(id, op)| (*id, judge(op))).collect()
    }

    /// Where the log first forks or goes backwards; at one place a fork weighs more. From there on it is frozen.
    pub fn fault(&self, graph: &ControlGraph) -> Option<(u64, Reason)> {
        let forks =
            self.names.iter().find(|(_, names)| names.len() > 1).map(|(seq, _)| (*seq, Reason::Forked));
        let breaks = self.operations.values().filter(|op| self.is_broken(op, graph)).map(|op| op.seq).min();
        forks.into_iter().chain(breaks.map(|seq| (seq, Reason::Backwards))).min_by_key(|(seq, _)| *seq)
    }

    fn is_broken(&self, op: &OpFacts, graph: &ControlGraph) -> bool {
        let Some(backlink) = &op.backlink else { return op.seq > 0 };
        let previous = self.operations.get(backlink);
        op.seq == 0 || previous.is_some_and(|previous| matches!(graph.continues(previous, op), Some(Err(_))))
    }

    /// The branch that leads to `mark` by sequence number, as far back as the backlinks are known.
    fn branch(&self, mark: &Mark) -> BTreeMap<u64, OpId> {
        let mut branch = BTreeMap::from([(mark.seq, mark.id)]);
        let (mut seq, mut id) = (mark.seq, mark.id);
        while let Some(op) = self.operations.get(&id).filter(|op| op.seq == seq) {
            let (Some(before), Some(backlink)) = (seq.checked_sub(1), op.backlink) else { break };
            (seq, id) = (before, backlink);
            branch.insert(seq, id);
        }
        branch
    }
}
