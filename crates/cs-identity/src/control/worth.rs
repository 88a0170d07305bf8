//! What accepted statements and operations are worth, given everything known (rules ID-13 to ID-16).

use alloc::vec::Vec;

use super::action::{DataFrontier, Mark};
use super::history::{At, View};
use super::standing::Standing;
use super::verdict::{OpFacts, Reason, Verdict};
use crate::area::Rights;
use crate::id::OpId;
use crate::node_id::NodeId;
use crate::path::BlindPath;

/// One obstacle between an operation and validity; an endorsement lifts those it had seen (rule ID-16).
#[derive(Clone, Copy, Debug)]
enum Blocker {
    Cut(At),
    Fork(NodeId, u64),
}

/// For a mark and a sequence number, the operation on the branch that leads to the mark, if it is known.
pub(crate) type Branch<'a> = dyn Fn(&Mark, u64) -> Option<OpId> + 'a;

impl Standing {
    /// Whether an accepted policy, epoch or endorsement counts after all cuts and forks known.
    pub(crate) fn stands(&self, at: At, right: Rights, prefix: &BlindPath) -> bool {
        let entry = self.history.entry(at);
        let author = entry.statement.author;
        if self.root() == Some(author) {
            return !self.is_frozen(View::All, at, &[]);
        }
        self.entitling(&entry.past, &author, right, Some(prefix), entry.statement.unix_ms).any(|grant| {
            let bonds = self.bonds(View::All, grant);
            let binding = self.binding(View::All, grant, &bonds);
            !bonds.void
                && binding.iter().all(|&cut| self.is_inside(cut, at))
                && !self.is_frozen(View::All, at, &binding)
        })
    }

    pub(crate) fn verdict(&self, op: &OpFacts, branch: &Branch<'_>) -> Verdict {
        if op.heads.iter().any(|head| self.history.find(head).is_none()) {
            return Verdict::Pending;
        }
        let grant = match self.grant_for(op) {
            Ok(Some(grant)) => grant,
            Ok(None) => return Verdict::Valid,
            Err(reason) => return Verdict::Quarantined(reason),
        };
        let Some(link) = self.grants.get(&grant) else { return Verdict::Quarantined(Reason::NoSuchGrant) };
        let revoked =
            link.cuts.iter().chain(link.bonds.cascading.iter()).any(|&cut| self.blocks(cut, op, branch));
        let reason = match (revoked, link.bonds.void) {
            (false, false) => return Verdict::Valid,
            (true, _) => Reason::Revoked,
            (false, true) => Reason::ChainVoid,
        };
        if self.is_endorsed(grant, op, branch) { Verdict::Valid } else { Verdict::Quarantined(reason) }
    }

    /// The grant an operation is done under, or `None` for the root's own right; a final reason if it covers it not.
    fn grant_for(&self, op: &OpFacts) -> Result<Option<At>, Reason> {
        let at = self.history.find(&op.grant).ok_or(Reason::NoSuchGrant)?;
        if !self.has_seen(op, at) {
            return Err(Reason::NoSuchGrant);
        }
        if at == 0 {
            return if self.root() == Some(op.author) { Ok(None) } else { Err(Reason::NotHolder) };
        }
        let grant = self.grant(at).ok_or(Reason::NoSuchGrant)?;
        if grant.holder != op.author {
            Err(Reason::NotHolder)
        } else if !grant.area.prefix().is_prefix_of(&op.path) {
            Err(Reason::OutsidePath)
        } else if !grant.area.covers_time(op.unix_ms) {
            Err(Reason::OutsideTime)
        } else if !grant.rights.contains(Rights::WRITE) {
            Err(Reason::NoWriteRight)
        } else {
            Ok(Some(at))
        }
    }

    fn has_seen(&self, op: &OpFacts, at: At) -> bool {
        let position = self.history.entry(at).position;
        let mut heads = op.heads.iter().filter_map(|head| self.history.find(head));
        heads.any(|head| self.history.entry(head).past.contains(position))
    }

    /// A cut blocks what it leaves outside, and whatever was written in its knowledge.
    fn blocks(&self, cut: At, op: &OpFacts, branch: &Branch<'_>) -> bool {
        self.has_seen(op, cut) || !self.vouches(cut, op, branch)
    }

    fn vouches(&self, cut: At, op: &OpFacts, branch: &Branch<'_>) -> bool {
        let Some(frontier) = self.frontier(cut, &op.author) else { return false };
        match &frontier.data {
            DataFrontier::ClaimedBefore(unix_ms) => op.unix_ms < *unix_ms,
            DataFrontier::Listed(documents) => {
                let found = documents.binary_search_by_key(&op.document, |(document, _)| *document);
                let mark = found.ok().and_then(|found| documents.get(found)).map(|(_, mark)| mark);
                mark.is_some_and(|mark| {
                    is_marked(mark, op)
                        || op.seq < mark.seq && branch(mark, op.seq).is_none_or(|vouched| vouched == op.id)
                })
            }
        }
    }

    /// Whether a cut that binds the operation's grant vouches for exactly this operation, by its branch.
    pub(crate) fn is_sealed(&self, op: &OpFacts, branch: &Branch<'_>) -> bool {
        let Some(link) = self.history.find(&op.grant).and_then(|at| self.grants.get(&at)) else {
            return false;
        };
        let mut binding = link.cuts.iter().chain(link.bonds.cascading.iter());
        binding.any(|&cut| {
            let Some(DataFrontier::Listed(documents)) =
                self.frontier(cut, &op.author).map(|frontier| &frontier.data)
            else {
                return false;
            };
            documents.iter().filter(|(document, _)| *document == op.document).any(|(_, mark)| {
                is_marked(mark, op) || op.seq < mark.seq && branch(mark, op.seq) == Some(op.id)
            })
        })
    }

    /// Whether a writer other than the author took in an operation of a forked log.
    pub(crate) fn is_adopted(&self, op: &OpFacts) -> bool {
        self.endorsements_of(op).any(|at| self.history.statement(at).author != op.author)
    }

    fn endorsements_of(&self, op: &OpFacts) -> impl Iterator<Item = At> {
        let all = self.endorsements.get(&op.id).map_or(&[][..], Vec::as_slice);
        all.iter().copied().filter(|&at| self.stands(at, Rights::WRITE, &op.path))
    }

    fn is_endorsed(&self, grant: At, op: &OpFacts, branch: &Branch<'_>) -> bool {
        let endorsements: Vec<At> = self.endorsements_of(op).collect();
        if endorsements.is_empty() {
            return false;
        }
        let lifts = |blocker: &Blocker| {
            endorsements.iter().any(|&at| {
                let past = &self.history.entry(at).past;
                match blocker {
                    Blocker::Cut(cut) => past.contains(self.history.entry(*cut).position),
                    Blocker::Fork(author, seq) => {
                        self.history.fork_of(author, View::Past(past)).is_some_and(|fork| fork <= *seq)
                    }
                }
            })
        };
        self.blockers(grant, op, branch).iter().all(lifts)
    }

    /// Everything that stands between an operation and validity.
    fn blockers(&self, grant: At, op: &OpFacts, branch: &Branch<'_>) -> Vec<Blocker> {
        let own = self.binding(View::All, grant, &self.bonds(View::All, grant));
        let mut blockers: Vec<Blocker> =
            own.into_iter().filter(|&cut| self.blocks(cut, op, branch)).map(Blocker::Cut).collect();
        for at in self.chain(grant) {
            let parent = self.grants.get(&at).and_then(|link| link.parent);
            let binding = parent.map_or_else(Vec::new, |parent| {
                self.binding(View::All, parent, &self.bonds(View::All, parent))
            });
            if self.is_frozen(View::All, at, &binding) {
                let statement = self.history.statement(at);
                blockers.push(Blocker::Fork(statement.author, statement.seq));
            }
            blockers.extend(binding.into_iter().filter(|&cut| !self.is_inside(cut, at)).map(Blocker::Cut));
        }
        blockers
    }
}

fn is_marked(mark: &Mark, op: &OpFacts) -> bool {
    mark.seq == op.seq && mark.id == op.id
}
