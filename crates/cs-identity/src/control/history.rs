//! The statements of a space as a graph: who had seen what, and whose log forks.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::statement::Statement;
use crate::id::OpId;
use crate::node_id::NodeId;
use crate::signed::Signed;

/// A statement's number in order of acceptance. Never part of a result that others must share.
pub(crate) type At = usize;

/// A set of statements closed under "had been seen": for each lane, how many of its statements are in it.
///
/// A lane is one unforked stretch of an author's log, so a past costs 8 bytes an author, not a bit a statement.
#[derive(Clone, Debug, Default)]
pub(crate) struct Past(Vec<(u32, u32)>);

#[derive(Clone, Copy, Debug)]
pub(crate) struct Position {
    lane: u32,
    index: u32,
}

impl Past {
    pub(crate) fn contains(&self, position: Position) -> bool {
        self.count(position.lane) > position.index
    }

    pub(crate) fn includes(&self, other: &Self) -> bool {
        other.0.iter().all(|&(lane, count)| self.count(lane) >= count)
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// How many statements are in it: more for every statement than for those it builds on.
    pub(crate) fn size(&self) -> u64 {
        self.0.iter().map(|&(_, count)| u64::from(count)).sum()
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for &(lane, count) in &other.0 {
            self.raise(lane, count);
        }
    }

    fn count(&self, lane: u32) -> u32 {
        self.0.binary_search_by_key(&lane, |&(lane, _)| lane).map_or(0, |found| self.0[found].1)
    }

    fn raise(&mut self, lane: u32, count: u32) {
        match self.0.binary_search_by_key(&lane, |&(lane, _)| lane) {
            Ok(found) => self.0[found].1 = self.0[found].1.max(count),
            Err(gap) => self.0.insert(gap, (lane, count)),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) statement: Signed<Statement>,
    pub(crate) position: Position,
    /// What the author had seen, and the statement itself.
    pub(crate) past: Past,
}

/// A statement whose parents are here, placed but not yet accepted.
#[derive(Debug)]
pub(crate) struct Candidate {
    pub(crate) statement: Signed<Statement>,
    /// What the author had seen, without the statement itself.
    pub(crate) past: Past,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    entries: Vec<Entry>,
    by_id: BTreeMap<OpId, At>,
    /// The number of statements in each lane.
    lanes: Vec<u32>,
    /// The statements of each author by sequence number; more than one where the log forks.
    logs: BTreeMap<NodeId, Log>,
    heads: BTreeSet<OpId>,
    past_entries: usize,
}

#[derive(Clone, Debug, Default)]
struct Log {
    by_seq: BTreeMap<u64, Vec<At>>,
    forks: BTreeSet<u64>,
}

/// The statements that a question is asked about.
#[derive(Clone, Copy, Debug)]
pub(crate) enum View<'a> {
    All,
    Past(&'a Past),
}

impl View<'_> {
    pub(crate) fn contains(self, position: Position) -> bool {
        match self {
            Self::All => true,
            Self::Past(past) => past.contains(position),
        }
    }
}

impl History {
    pub(crate) fn find(&self, id: &OpId) -> Option<At> {
        self.by_id.get(id).copied()
    }

    pub(crate) fn entry(&self, at: At) -> &Entry {
        &self.entries[at]
    }

    pub(crate) fn statement(&self, at: At) -> &Signed<Statement> {
        &self.entries[at].statement
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub(crate) fn heads(&self) -> impl Iterator<Item = &OpId> {
        self.heads.iter()
    }

    /// Memory in units of 8 bytes that pasts take up.
    pub(crate) fn past_entries(&self) -> usize {
        self.past_entries
    }

    /// The last statement of an author's log; of two branches the one accepted first.
    pub(crate) fn last_of(&self, author: &NodeId) -> Option<At> {
        let (_, last) = self.logs.get(author)?.by_seq.last_key_value()?;
        last.first().copied()
    }

    /// Everything an author had seen who names these heads; `None` if one is not here.
    pub(crate) fn past_of<'a>(&self, heads: impl Iterator<Item = &'a OpId>) -> Option<Past> {
        let mut past = Past::default();
        for head in heads {
            past.merge(&self.entries[self.find(head)?].past);
        }
        Some(past)
    }

    /// The lowest sequence number at which a view shows two statements of one author (rule ID-14).
    pub(crate) fn fork_of(&self, author: &NodeId, view: View<'_>) -> Option<u64> {
        let log = self.logs.get(author)?;
        log.forks.iter().copied().find(|seq| {
            let contenders = log.by_seq.get(seq).map_or(&[][..], Vec::as_slice);
            contenders.iter().filter(|&&at| view.contains(self.entries[at].position)).count() > 1
        })
    }

    /// The authors whose logs fork, ascending, and where each first does.
    pub(crate) fn forks(&self) -> impl Iterator<Item = (NodeId, u64)> {
        self.logs.iter().filter_map(|(author, log)| Some((*author, *log.forks.first()?)))
    }

    /// Whether the author has a statement of this number in the view: a candidate with the same number forks.
    pub(crate) fn is_taken(&self, author: &NodeId, seq: u64, view: View<'_>) -> bool {
        let contenders = self.logs.get(author).and_then(|log| log.by_seq.get(&seq));
        contenders.is_some_and(|all| all.iter().any(|&at| view.contains(self.entries[at].position)))
    }

    /// Adds an accepted statement; says whether it forks its author's log.
    pub(crate) fn push(&mut self, candidate: Candidate) -> (At, bool) {
        let Candidate { statement, mut past } = candidate;
        let at = self.entries.len();
        let position = self.place(&statement);
        past.raise(position.lane, position.index + 1);
        self.past_entries += past.len();
        for parent in statement.heads.iter().chain(&statement.backlink) {
            self.heads.remove(parent);
        }
        self.heads.insert(statement.id());
        self.by_id.insert(statement.id(), at);
        let log = self.logs.entry(statement.author).or_default();
        let contenders = log.by_seq.entry(statement.seq).or_default();
        contenders.push(at);
        let forks = contenders.len() > 1;
        if forks {
            log.forks.insert(statement.seq);
        }
        self.entries.push(Entry { statement, position, past });
        (at, forks)
    }

    /// Every statement of an author from a sequence number on.
    pub(crate) fn of_author_from(&self, author: &NodeId, seq: u64) -> impl Iterator<Item = At> {
        self.logs
            .get(author)
            .into_iter()
            .flat_map(move |log| log.by_seq.range(seq..))
            .flat_map(|(_, all)| all)
            .copied()
    }

    /// Continues the lane of the backlink if that is its end, and opens a new one otherwise.
    fn place(&mut self, statement: &Signed<Statement>) -> Position {
        let previous =
            statement.backlink.and_then(|backlink| self.find(&backlink)).map(|at| self.entries[at].position);
        if let Some(Position { lane, index }) = previous {
            let count = &mut self.lanes[lane as usize];
            if *count == index + 1 {
                *count += 1;
                return Position { lane, index: index + 1 };
            }
        }
        self.lanes.push(1);
        Position { lane: (self.lanes.len() - 1) as u32, index: 0 }
    }
}
