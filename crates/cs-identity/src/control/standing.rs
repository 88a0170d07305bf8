//! What a statement or an operation is worth: grants, the cuts that bind them, and the forks that freeze them.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use thiserror::Error;

use super::action::{Action, DataFrontier, Frontier, Grant, Mark};
use super::history::{At, Candidate, History, Past, View};
use super::verdict::{OpFacts, Reason, Verdict};
use crate::area::Rights;
use crate::id::OpId;
use crate::node_id::NodeId;
use crate::path::BlindPath;

/// Cuts of one grant that a statement's past may hold before another is refused: one ends a grant, a few adjust the
/// frontier, and each costs every later verdict under it.
pub const MAX_CUTS_OF_A_GRANT: usize = 64;

/// Why a statement is refused, by everyone and for ever, since only its past decides. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
#[non_exhaustive]
pub enum StatementFault {
    /// It belongs to another space.
    #[error("it belongs to another space")]
    WrongSpace,
    /// The backlink is not the author's statement with the number before.
    #[error("the backlink is not its author's previous statement")]
    BadBacklink,
    /// The claimed time is before that of the author's previous statement.
    #[error("the claimed time goes backwards")]
    Backwards,
    /// The author had seen two branches of its own log.
    #[error("its author's log is forked")]
    Forked,
    /// The past holds no grant of the name given.
    #[error("its author had seen no such grant")]
    NoSuchGrant,
    /// The parent grant belongs to someone else.
    #[error("the parent grant belongs to someone else")]
    NotHolder,
    /// The grant reaches further than its parent in area, rights or depth.
    #[error("the grant is wider than its parent")]
    Widens,
    /// The claimed time is outside the parent grant's range.
    #[error("the claimed time is outside the parent grant")]
    OutsideTime,
    /// The author had seen its grant revoked.
    #[error("its author had seen the grant revoked")]
    Revoked,
    /// Nothing in the past entitles the author to say this.
    #[error("its author has no right to say this")]
    NoAuthority,
    /// A mark in the frontier is not a statement of that author in the past.
    #[error("the frontier names what its author had not seen")]
    BadFrontier,
    /// The past holds [`MAX_CUTS_OF_A_GRANT`] cuts of this grant.
    #[error("too many cuts of one grant")]
    TooManyCuts,
}

/// Grants and what binds them, over the history they are part of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    pub(crate) history: History,
    grants: BTreeMap<At, Link>,
    by_holder: BTreeMap<NodeId, Vec<At>>,
    endorsements: BTreeMap<OpId, Vec<At>>,
}

/// A grant as a link of chains.
#[derive(Clone, Debug)]
struct Link {
    parent: Option<At>,
    children: Vec<At>,
    cuts: Vec<At>,
    bonds: Bonds,
}

/// What weighs on a grant from above, in some view.
#[derive(Clone, Debug)]
struct Bonds {
    /// Cuts of grants above that cascade: uses of this grant must be inside them.
    cascading: Arc<[At]>,
    /// A link of the chain is outside a cut or on a forked log, so that no use of the grant counts.
    void: bool,
}

/// One obstacle between an operation and validity; an endorsement lifts those it had seen (rule ID-16).
#[derive(Clone, Copy, Debug)]
enum Blocker {
    Cut(At),
    Fork(NodeId, u64),
}

/// For a mark and a sequence number, the operation on the branch that leads to the mark, if it is known.
pub(crate) type Branch<'a> = dyn Fn(&Mark, u64) -> Option<OpId> + 'a;

impl Standing {
    pub(crate) fn root(&self) -> Option<NodeId> {
        self.history.entries().first().map(|genesis| genesis.statement.author)
    }

    pub(crate) fn grant(&self, at: At) -> Option<Grant<'_>> {
        self.history.statement(at).value().action.as_grant()
    }

    pub(crate) fn grants_of(&self, holder: &NodeId) -> &[At] {
        self.by_holder.get(holder).map_or(&[], Vec::as_slice)
    }

    pub(crate) fn holders(&self) -> impl Iterator<Item = (&NodeId, &[At])> {
        self.by_holder.iter().map(|(holder, grants)| (holder, grants.as_slice()))
    }

    /// From a grant up to the one the root gave.
    pub(crate) fn chain(&self, grant: At) -> Vec<At> {
        core::iter::successors(Some(grant), |at| self.grants.get(at)?.parent).collect()
    }

    /// Whether new uses of a grant count: no cut binds it and its chain holds.
    pub(crate) fn is_live(&self, grant: At) -> bool {
        self.may_use(View::All, grant)
    }

    /// Takes in an accepted statement.
    pub(crate) fn push(&mut self, candidate: Candidate) -> At {
        let (at, forks) = self.history.push(candidate);
        let statement = self.history.statement(at);
        let author = statement.author;
        let seq = statement.seq;
        match &statement.value().action {
            Action::Grant { parent, holder, .. } => {
                let (holder, parent) = (*holder, parent.and_then(|parent| self.history.find(&parent)));
                self.push_grant(at, parent, holder);
            }
            Action::Cut { grant, .. } => {
                if let Some(target) = self.history.find(grant)
                    && let Some(link) = self.grants.get_mut(&target)
                {
                    link.cuts.push(at);
                    self.settle_below(target);
                }
            }
            Action::Endorse { operation } => {
                let operation = *operation;
                self.endorsements.entry(operation).or_default().push(at);
            }
            _ => {}
        }
        if forks {
            let frozen: Vec<At> = self.history.of_author_from(&author, seq).collect();
            for at in frozen {
                self.settle(at);
            }
        }
        at
    }

    fn push_grant(&mut self, at: At, parent: Option<At>, holder: NodeId) {
        let bonds = Bonds { cascading: Arc::from([]), void: false };
        self.grants.insert(at, Link { parent, children: Vec::new(), cuts: Vec::new(), bonds });
        if let Some(above) = parent.and_then(|parent| self.grants.get_mut(&parent)) {
            above.children.push(at);
        }
        self.by_holder.entry(holder).or_default().push(at);
        self.settle(at);
    }

    /// Works out a grant's bonds again, and those of everything below it.
    fn settle(&mut self, grant: At) {
        let Some(parent) = self.grants.get(&grant).map(|link| link.parent) else { return };
        let above = parent.and_then(|parent| Some((parent, self.grants.get(&parent)?.bonds.clone())));
        let bonds = self.step(View::All, above, grant);
        if let Some(link) = self.grants.get_mut(&grant) {
            link.bonds = bonds;
        }
        self.settle_below(grant);
    }

    fn settle_below(&mut self, grant: At) {
        let mut open: Vec<At> = self.grants.get(&grant).map_or_else(Vec::new, |link| link.children.clone());
        while let Some(at) = open.pop() {
            let Some((parent, children)) =
                self.grants.get(&at).map(|link| (link.parent, link.children.clone()))
            else {
                continue;
            };
            let above = parent.and_then(|parent| Some((parent, self.grants.get(&parent)?.bonds.clone())));
            let bonds = self.step(View::All, above, at);
            if let Some(link) = self.grants.get_mut(&at) {
                link.bonds = bonds;
            }
            open.extend(children);
        }
    }

    /// The bonds of `grant` from those of its parent. Issuing it was a use of the parent.
    fn step(&self, view: View<'_>, above: Option<(At, Bonds)>, grant: At) -> Bonds {
        let Some((parent, above)) = above else {
            return Bonds { cascading: Arc::from([]), void: self.is_frozen(view, grant, &[]) };
        };
        let binding = self.binding(view, parent, &above);
        let outside = binding.iter().any(|&cut| !self.is_inside(cut, grant));
        let void = above.void || outside || self.is_frozen(view, grant, &binding);
        let passed_on: Vec<At> = binding.into_iter().filter(|&cut| self.cascades(cut)).collect();
        let cascading = if passed_on == *above.cascading { above.cascading } else { passed_on.into() };
        Bonds { cascading, void }
    }

    fn bonds(&self, view: View<'_>, grant: At) -> Bonds {
        if let (View::All, Some(link)) = (view, self.grants.get(&grant)) {
            return link.bonds.clone();
        }
        let mut above: Option<(At, Bonds)> = None;
        for at in self.chain(grant).into_iter().rev() {
            let bonds = self.step(view, above.take(), at);
            above = Some((at, bonds));
        }
        above.map_or(Bonds { cascading: Arc::from([]), void: true }, |(_, bonds)| bonds)
    }

    /// The cuts that uses of `grant` must be inside (rule ID-13).
    fn binding(&self, view: View<'_>, grant: At, bonds: &Bonds) -> Vec<At> {
        let direct = self.grants.get(&grant).map_or(&[][..], |link| &link.cuts);
        let in_view = direct.iter().filter(|&&cut| view.contains(self.history.entry(cut).position));
        in_view.chain(bonds.cascading.iter()).copied().collect()
    }

    fn may_use(&self, view: View<'_>, grant: At) -> bool {
        let bonds = self.bonds(view, grant);
        !bonds.void && self.binding(view, grant, &bonds).is_empty()
    }

    fn cut(&self, at: At) -> Option<(&[(NodeId, Frontier)], bool)> {
        match &self.history.statement(at).value().action {
            Action::Cut { frontier, cascade, .. } => Some((frontier, *cascade)),
            _ => None,
        }
    }

    fn cascades(&self, cut: At) -> bool {
        self.cut(cut).is_some_and(|(_, cascade)| cascade)
    }

    fn frontier(&self, cut: At, author: &NodeId) -> Option<&Frontier> {
        let (frontier, _) = self.cut(cut)?;
        let found = frontier.binary_search_by_key(author, |(author, _)| *author).ok()?;
        frontier.get(found).map(|(_, frontier)| frontier)
    }

    /// Whether a cut's frontier vouches for a statement: the mark, or one the mark's author built it on.
    fn is_inside(&self, cut: At, at: At) -> bool {
        let entry = self.history.entry(at);
        let mark = self.frontier(cut, &entry.statement.author).and_then(|frontier| frontier.control);
        // The past of a mark holds one branch of its author's log, or the mark would have been refused.
        mark.and_then(|mark| self.history.find(&mark.id))
            .is_some_and(|mark| self.history.entry(mark).past.contains(entry.position))
    }

    /// Whether a fork freezes a statement, and none of the cuts that bind it vouches for its branch (rule ID-14).
    fn is_frozen(&self, view: View<'_>, at: At, binding: &[At]) -> bool {
        let statement = self.history.statement(at);
        self.history.fork_of(&statement.author, view).is_some_and(|fork| fork <= statement.seq)
            && !binding.iter().any(|&cut| self.is_inside(cut, at))
    }
}

/// Acceptance of statements, from their past alone (rule ID-12).
impl Standing {
    pub(crate) fn judge(&self, candidate: &Candidate) -> Result<(), StatementFault> {
        let Candidate { statement, past } = candidate;
        let (view, author) = (View::Past(past), statement.author);
        let forked = self.history.is_taken(&author, statement.seq, view)
            || self.history.fork_of(&author, view).is_some_and(|fork| fork <= statement.seq);
        if forked {
            return Err(StatementFault::Forked);
        }
        let (right, prefix) = match &statement.value().action {
            Action::Grant { .. } => return self.judge_grant(candidate),
            Action::Cut { grant, frontier, .. } => return self.judge_cut(candidate, grant, frontier),
            // Only the first statement may be a genesis, and the graph takes that one without asking.
            Action::Genesis { .. } => return Err(StatementFault::WrongSpace),
            Action::Endorse { .. } => (Rights::WRITE, None),
            Action::Policy { prefix, .. } => (Rights::MANAGE, Some(prefix)),
            Action::Epoch { .. } => (Rights::MANAGE, Some(&BlindPath::root())),
            Action::Extension { .. } => (Rights::NONE, None),
        };
        if self.may_say(past, &author, right, prefix, statement.unix_ms) {
            Ok(())
        } else {
            Err(StatementFault::NoAuthority)
        }
    }

    fn judge_grant(&self, candidate: &Candidate) -> Result<(), StatementFault> {
        let Candidate { statement, past } = candidate;
        let Some(grant) = statement.value().action.as_grant() else {
            return Err(StatementFault::NoSuchGrant);
        };
        let Some(parent_id) = grant.parent else {
            return if self.root() == Some(statement.author) {
                Ok(())
            } else {
                Err(StatementFault::NoAuthority)
            };
        };
        let (at, parent) = self.grant_in(past, &parent_id).ok_or(StatementFault::NoSuchGrant)?;
        check_link(&statement.author, statement.unix_ms, &parent, &grant)?;
        if self.may_use(View::Past(past), at) { Ok(()) } else { Err(StatementFault::Revoked) }
    }

    fn judge_cut(
        &self,
        candidate: &Candidate,
        target: &OpId,
        frontier: &[(NodeId, Frontier)],
    ) -> Result<(), StatementFault> {
        let Candidate { statement, past } = candidate;
        let (at, _) = self.grant_in(past, target).ok_or(StatementFault::NoSuchGrant)?;
        for (author, frontier) in frontier {
            if let Some(mark) = frontier.control {
                self.check_mark(past, author, mark)?;
            }
        }
        if !self.may_cut(statement.author, statement.unix_ms, past, at) {
            return Err(StatementFault::NoAuthority);
        }
        let cuts = self.grants.get(&at).map_or(&[][..], |link| &link.cuts);
        let seen = cuts.iter().filter(|&&cut| past.contains(self.history.entry(cut).position)).count();
        if seen >= MAX_CUTS_OF_A_GRANT { Err(StatementFault::TooManyCuts) } else { Ok(()) }
    }

    fn check_mark(&self, past: &Past, author: &NodeId, mark: Mark) -> Result<(), StatementFault> {
        let entry = self
            .history
            .find(&mark.id)
            .map(|at| self.history.entry(at))
            .ok_or(StatementFault::BadFrontier)?;
        let matches = entry.statement.author == *author && entry.statement.seq == mark.seq;
        if matches && past.contains(entry.position) { Ok(()) } else { Err(StatementFault::BadFrontier) }
    }

    /// The root, an issuer above the grant, its holder, or a manager of all of its prefix.
    fn may_cut(&self, author: NodeId, unix_ms: u64, past: &Past, target: At) -> bool {
        let view = View::Past(past);
        let held =
            |at: At| self.grant(at).is_some_and(|grant| grant.holder == author) && self.may_use(view, at);
        self.root() == Some(author)
            || self.chain(target).into_iter().any(held)
            || self.grant(target).is_some_and(|grant| {
                self.may_say(past, &author, Rights::MANAGE, Some(grant.area.prefix()), unix_ms)
            })
    }

    /// Whether some grant in the past entitles the author.
    fn may_say(
        &self,
        past: &Past,
        author: &NodeId,
        right: Rights,
        prefix: Option<&BlindPath>,
        unix_ms: u64,
    ) -> bool {
        self.root() == Some(*author)
            || self
                .entitling(past, author, right, prefix, unix_ms)
                .any(|at| self.may_use(View::Past(past), at))
    }

    fn entitling(
        &self,
        past: &Past,
        author: &NodeId,
        right: Rights,
        prefix: Option<&BlindPath>,
        unix_ms: u64,
    ) -> impl Iterator<Item = At> {
        self.grants_of(author).iter().copied().filter(move |&at| {
            past.contains(self.history.entry(at).position)
                && self.grant(at).is_some_and(|grant| {
                    grant.rights.contains(right)
                        && grant.area.covers_time(unix_ms)
                        && prefix.is_none_or(|prefix| grant.area.prefix().is_prefix_of(prefix))
                })
        })
    }

    fn grant_in(&self, past: &Past, id: &OpId) -> Option<(At, Grant<'_>)> {
        let at = self.history.find(id)?;
        if past.contains(self.history.entry(at).position) { Some((at, self.grant(at)?)) } else { None }
    }
}

/// A link of a chain: made by the parent's holder, in the parent's time, and no wider (rule ID-12).
pub(crate) fn check_link(
    author: &NodeId,
    unix_ms: u64,
    parent: &Grant<'_>,
    child: &Grant<'_>,
) -> Result<(), StatementFault> {
    if parent.holder != *author {
        return Err(StatementFault::NotHolder);
    }
    let narrows = parent.area.contains(child.area)
        && parent.rights.contains(child.rights)
        && child.depth < parent.depth;
    if !narrows {
        return Err(StatementFault::Widens);
    }
    if parent.area.covers_time(unix_ms) { Ok(()) } else { Err(StatementFault::OutsideTime) }
}

/// Worth of accepted statements and of operations, from everything known (rules ID-13 to ID-16).
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
