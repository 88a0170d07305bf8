//! How a lookup went: whom it asked, why, and what came of it.

use crate::event::{Effort, LookupId};
use crate::key::Key;
use crate::wire::Node;
use alloc::vec::Vec;
use core::time::Duration;
use cs_identity::NodeId;

/// How one lookup went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    /// The command's.
    pub lookup: LookupId,
    /// What was looked for.
    pub target: Key,
    /// What it cost.
    pub effort: Effort,
    /// Whom it asked, path by path, closest to the target first. Of a lookup in several parts the last one's.
    pub steps: Vec<Step>,
}

/// A peer that was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Whom, and where.
    pub peer: Node,
    /// Who named it; `None` if it was in the routing table, or is a bootstrap peer.
    pub named_by: Option<NodeId>,
    /// Leading bits that its position shares with the target: why it and not another.
    pub shared_bits: u32,
    /// Which of the paths that share no peer it is on, from 0.
    pub path: usize,
    /// Its place in the chain of those who named each other, from 1.
    pub hop: u8,
    /// Whether it was asked once more.
    pub is_repeated: bool,
    /// What came of it.
    pub outcome: Outcome,
    /// From the question to the answer.
    pub took: Option<Duration>,
}

/// What came of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It answered.
    Answered,
    /// Its answer was not needed any more.
    Unneeded,
    /// It took too long: the lookup went on without it.
    Overdue,
    /// It did not answer, or not to the point.
    Failed,
}
