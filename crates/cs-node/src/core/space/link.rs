//! What a space knows of one connected peer.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use cs_gossip::reconcile;
use cs_identity::{OpId, Rights};

use crate::core::ports::SessionId;
use crate::wire::Set;

/// What a peer said it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) control: [u8; 16],
    pub(crate) operations: [u8; 16],
    pub(crate) pending: u64,
    pub(crate) scanning: bool,
}

impl Summary {
    /// Whether there is content now that was not there before.
    pub(crate) fn has_more_than(&self, before: &Self) -> bool {
        self.pending < before.pending || (before.scanning && !self.scanning)
    }
}

/// A peer with which this space is open.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) session: SessionId,
    /// What unrevoked chains give the peer, in this node's own view.
    pub(crate) rights: Rights,
    /// Whether the gossip machine was told of it.
    pub(crate) gossiping: bool,
    pub(crate) theirs: Option<Summary>,
    pub(crate) told: Option<Summary>,
    /// Since when the summaries differ.
    pub(crate) differs_since: Option<Duration>,
    /// Running reconciliations, by set; the flag says whether this node began it.
    pub(crate) reconciling: BTreeMap<(Set, bool), Reconciling>,
    /// The peer's newest reconciliation that was answered, by set: its numbers only rise.
    pub(crate) answered: BTreeMap<Set, u32>,
    /// What the peer lacks, as the last reconciliation of each set found out: sent as it asks for more.
    pub(crate) missing: BTreeMap<Set, VecDeque<OpId>>,
    /// Sets of which the peer was asked for all that this node lacks, and has not sent the last of it.
    pub(crate) pulling: BTreeSet<Set>,
    /// Identifiers the peer may have and this node lacks, by set, not yet asked for.
    pub(crate) lacking: BTreeMap<Set, VecDeque<OpId>>,
    /// Asked for and not yet come.
    pub(crate) asked: BTreeMap<Set, BTreeSet<OpId>>,
    /// When the last thing that was asked for came, or was asked.
    pub(crate) progress_at: Duration,
    /// Chunks the peer asked for and that are being read.
    pub(crate) serving: usize,
}

/// One side of a reconciliation.
#[derive(Debug)]
pub(crate) struct Reconciling {
    pub(crate) number: u32,
    pub(crate) machine: reconcile::Session,
    pub(crate) begun_at: Duration,
    /// What the peer lacks.
    pub(crate) found: VecDeque<OpId>,
}

impl Reconciling {
    pub(crate) fn new(number: u32, machine: reconcile::Session, begun_at: Duration) -> Self {
        Self { number, machine, begun_at, found: VecDeque::new() }
    }
}

impl Link {
    pub(crate) fn new(session: SessionId, now: Duration) -> Self {
        Self {
            session,
            rights: Rights::NONE,
            gossiping: false,
            theirs: None,
            told: None,
            differs_since: None,
            reconciling: BTreeMap::new(),
            answered: BTreeMap::new(),
            missing: BTreeMap::new(),
            pulling: BTreeSet::new(),
            lacking: BTreeMap::new(),
            asked: BTreeMap::new(),
            progress_at: now,
            serving: 0,
        }
    }

    /// Whether anything was asked of the peer and has not come.
    pub(crate) fn is_owed(&self) -> bool {
        let is_asked = self.asked.values().any(|ids| !ids.is_empty());
        is_asked || !self.pulling.is_empty() || self.lacking.values().any(|ids| !ids.is_empty())
    }

    /// Whether the peer has exactly what this node has.
    pub(crate) fn in_sync(&self, mine: &Summary) -> bool {
        self.theirs.is_some_and(|t| t.control == mine.control && t.operations == mine.operations)
    }
}
