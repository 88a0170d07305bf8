//! Recovery of a space by as many of its guardians as it takes (rule ID-32).

use alloc::vec::Vec;

use super::acceptance::StatementFault;
use super::action::Action;
use super::history::Past;
use super::standing::Standing;
use super::statement::{COSIGNED, Statement};
use crate::id::OpId;
use crate::node_id::NodeId;
use crate::signature::{Claim, verify_batch};

impl Standing {
    /// Whether a recovery names the guardians that its author knew of, and enough of them agreed.
    pub(crate) fn judge_recovery(&self, statement: &Statement, past: &Past) -> Result<(), StatementFault> {
        let Action::Recover { guardians, .. } = &statement.action else {
            return Err(StatementFault::NotGuardians);
        };
        let seen = self.history.find(guardians).filter(|&at| past.contains(self.history.entry(at).position));
        let named = seen.ok_or(StatementFault::NotGuardians)?;
        let position = self.history.entry(named).position;
        let replaced = |&later: &usize| {
            let entry = self.history.entry(later);
            later != named && past.contains(entry.position) && entry.past.contains(position)
        };
        if self.guardians.iter().any(replaced) {
            return Err(StatementFault::NotGuardians);
        }
        check_cosigned(statement, &self.history.statement(named).value().action)
    }

    /// Who may recover the space now: the last that the root said; of several, on a forked log, none.
    pub(crate) fn guardians(&self) -> Option<(OpId, u8, &[NodeId])> {
        let position = |at: usize| self.history.entry(at).position;
        let last = |&at: &usize| {
            let later = |&other: &usize| other != at && self.history.entry(other).past.contains(position(at));
            !self.guardians.iter().any(later)
        };
        let mut standing = self.guardians.iter().copied().filter(last);
        let (at, None) = (standing.next()?, standing.next()) else { return None };
        let statement = self.history.statement(at);
        match &statement.value().action {
            Action::Guardians { threshold, guardians } => Some((statement.id(), *threshold, guardians)),
            _ => None,
        }
    }
}

/// Whether enough of those whom `named` lists signed, the author among them. Costs half a signature check for each.
pub(crate) fn check_cosigned(statement: &Statement, named: &Action) -> Result<(), StatementFault> {
    let (Action::Recover { cosigned, .. }, Action::Guardians { threshold, guardians }) =
        (&statement.action, named)
    else {
        return Err(StatementFault::NotGuardians);
    };
    let guards = |who: &NodeId| guardians.binary_search(who).is_ok();
    if !guards(&statement.author) {
        return Err(StatementFault::NotGuardians);
    }
    let others = cosigned.iter().all(|(who, _)| *who != statement.author && guards(who));
    if !others || cosigned.len() + 1 < usize::from(*threshold) {
        return Err(StatementFault::TooFewGuardians);
    }
    let message = statement.to_cosign();
    let claims: Vec<Claim<'_>> = cosigned
        .iter()
        .map(|&(signer, signature)| Claim { signer, domain: COSIGNED, message: &message, signature })
        .collect();
    verify_batch(&claims).map_err(|_| StatementFault::TooFewGuardians)
}
