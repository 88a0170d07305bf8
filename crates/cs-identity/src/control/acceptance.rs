//! Which statements are accepted: decided by their past alone (rule ID-12).

use alloc::vec::Vec;

use thiserror::Error;

use super::action::{Action, Frontier, Grant, Mark};
use super::history::{At, Candidate, Past, View};
use super::policy::Grantors;
use super::standing::Standing;
use crate::area::Rights;
use crate::id::OpId;
use crate::node_id::NodeId;
use crate::path::BlindPath;

/// Cuts of one grant that a statement's past may hold before another is refused: one ends a grant, a few adjust the
/// frontier, and each costs every later verdict under it.
pub const MAX_CUTS_OF_A_GRANT: usize = 64;

/// Policies of one prefix that a statement's past may hold before another is refused, since every grant below is judged by
/// them.
pub const MAX_POLICIES_OF_A_PREFIX: usize = 1024;

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
    /// A policy lets others grant here, and not its author.
    #[error("a policy keeps its author from granting here")]
    PolicyForbids,
    /// The past holds [`MAX_POLICIES_OF_A_PREFIX`] policies of this prefix.
    #[error("too many policies of one prefix")]
    TooManyPolicies,
    /// The past holds [`MAX_CUTS_OF_A_GRANT`] cuts of this grant.
    #[error("too many cuts of one grant")]
    TooManyCuts,
    /// A recovery names no guardians that its author had seen and that nothing replaced, or its author is none of them.
    #[error("its author is no guardian of the space")]
    NotGuardians,
    /// A recovery carries too few signatures of guardians, or one that is not a guardian's or does not hold.
    #[error("too few guardians agreed")]
    TooFewGuardians,
}

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
            Action::Recover { .. } => return self.judge_recovery(statement, past),
            Action::Guardians { .. } if self.root() == Some(author) => return Ok(()),
            Action::Guardians { .. } => return Err(StatementFault::NoAuthority),
            // Only the first statement may be a genesis, and the graph takes that one without asking.
            Action::Genesis { .. } => return Err(StatementFault::WrongSpace),
            Action::Endorse { .. } => (Rights::WRITE, None),
            Action::Policy { prefix, .. } => (Rights::MANAGE, Some(prefix)),
            Action::Epoch { .. } => (Rights::MANAGE, Some(&BlindPath::root())),
            Action::Extension { .. } => (Rights::NONE, None),
        };
        if !self.may_say(past, &author, right, prefix, statement.unix_ms) {
            return Err(StatementFault::NoAuthority);
        }
        match &statement.value().action {
            Action::Policy { prefix, .. } if self.is_full_of_policies(past, prefix) => {
                Err(StatementFault::TooManyPolicies)
            }
            _ => Ok(()),
        }
    }

    fn is_full_of_policies(&self, past: &Past, prefix: &BlindPath) -> bool {
        let policies = self.policies.get(prefix).map_or(&[][..], Vec::as_slice);
        let seen = policies.iter().filter(|(at, _)| past.contains(self.history.entry(*at).position));
        seen.count() >= MAX_POLICIES_OF_A_PREFIX
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
        if !self.may_use(View::Past(past), at) {
            return Err(StatementFault::Revoked);
        }
        let (author, prefix) = (statement.author, grant.area.prefix());
        let permitted = match self.grantors(past, prefix) {
            _ if self.root() == Some(author) => true,
            Grantors::Holders => true,
            Grantors::Managers => {
                self.may_say(past, &author, Rights::MANAGE, Some(prefix), statement.unix_ms)
            }
            Grantors::Root => false,
        };
        if permitted { Ok(()) } else { Err(StatementFault::PolicyForbids) }
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

    pub(crate) fn entitling(
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
