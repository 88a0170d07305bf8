//! What a statement or an operation is worth: grants, the cuts that bind them, and the forks that freeze them.

use alloc::collections::BTreeMap;
use alloc::sync::Arc;
use alloc::vec::Vec;

use super::action::{Action, Frontier, Grant};
use super::history::{At, Candidate, History, Past, View};
use super::policy::{Grantors, grantors_of};
use crate::id::OpId;
use crate::node_id::NodeId;
use crate::path::BlindPath;

/// Grants and what binds them, over the history they are part of.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing {
    pub(crate) history: History,
    pub(crate) grants: BTreeMap<At, Link>,
    by_holder: BTreeMap<NodeId, Vec<At>>,
    pub(crate) endorsements: BTreeMap<OpId, Vec<At>>,
    /// By prefix, in order of acceptance, with whom each lets grant.
    pub(crate) policies: BTreeMap<BlindPath, Vec<(At, Option<Grantors>)>>,
    /// What the root said about guardians, in order of acceptance.
    pub(crate) guardians: Vec<At>,
}

/// A grant as a link of chains.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) parent: Option<At>,
    children: Vec<At>,
    pub(crate) cuts: Vec<At>,
    pub(crate) bonds: Bonds,
}

/// What weighs on a grant from above, in some view.
#[derive(Clone, Debug)]
pub(crate) struct Bonds {
    /// Cuts of grants above that cascade: uses of this grant must be inside them.
    pub(crate) cascading: Arc<[At]>,
    /// A link of the chain is outside a cut or on a forked log, so that no use of the grant counts.
    pub(crate) void: bool,
}

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

    /// Who may pass on grants of a prefix, by the policies in a past: of each prefix around it those that no later one replaced,
    /// and of all these the strictest (rule ID-30).
    pub(crate) fn grantors(&self, past: &Past, prefix: &BlindPath) -> Grantors {
        let around = self.policies.iter().filter(|(outer, _)| outer.is_prefix_of(prefix));
        let strictest = around.filter_map(|(_, policies)| {
            let mut standing: Vec<At> = Vec::new();
            let mut strictest = None;
            for &(at, grantors) in policies.iter().rev() {
                let position = self.history.entry(at).position;
                let replaced = |&later: &At| self.history.entry(later).past.contains(position);
                if past.contains(position) && !standing.iter().any(replaced) {
                    standing.push(at);
                    strictest = strictest.max(grantors);
                }
            }
            strictest
        });
        strictest.max().unwrap_or(Grantors::Holders)
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
            action @ (Action::Grant { .. } | Action::Recover { .. }) => {
                if let Some(Grant { parent, holder, .. }) = action.as_grant() {
                    let parent = parent.and_then(|parent| self.history.find(&parent));
                    self.push_grant(at, parent, holder);
                }
            }
            Action::Guardians { .. } => self.guardians.push(at),
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
            Action::Policy { prefix, body } => {
                let (prefix, grantors) = (prefix.clone(), grantors_of(body));
                self.policies.entry(prefix).or_default().push((at, grantors));
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

    pub(crate) fn bonds(&self, view: View<'_>, grant: At) -> Bonds {
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
    pub(crate) fn binding(&self, view: View<'_>, grant: At, bonds: &Bonds) -> Vec<At> {
        let direct = self.grants.get(&grant).map_or(&[][..], |link| &link.cuts);
        let in_view = direct.iter().filter(|&&cut| view.contains(self.history.entry(cut).position));
        in_view.chain(bonds.cascading.iter()).copied().collect()
    }

    pub(crate) fn may_use(&self, view: View<'_>, grant: At) -> bool {
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

    pub(crate) fn frontier(&self, cut: At, author: &NodeId) -> Option<&Frontier> {
        let (frontier, _) = self.cut(cut)?;
        let found = frontier.binary_search_by_key(author, |(author, _)| *author).ok()?;
        frontier.get(found).map(|(_, frontier)| frontier)
    }

    /// Whether a cut's frontier vouches for a statement: the mark, or one the mark's author built it on.
    pub(crate) fn is_inside(&self, cut: At, at: At) -> bool {
        let entry = self.history.entry(at);
        let mark = self.frontier(cut, &entry.statement.author).and_then(|frontier| frontier.control);
        // The past of a mark holds one branch of its author's log, or the mark would have been refused.
        mark.and_then(|mark| self.history.find(&mark.id))
            .is_some_and(|mark| self.history.entry(mark).past.contains(entry.position))
    }

    /// Whether a fork freezes a statement, and none of the cuts that bind it vouches for its branch (rule ID-14).
    pub(crate) fn is_frozen(&self, view: View<'_>, at: At, binding: &[At]) -> bool {
        let statement = self.history.statement(at);
        self.history.fork_of(&statement.author, view).is_some_and(|fork| fork <= statement.seq)
            && !binding.iter().any(|&cut| self.is_inside(cut, at))
    }
}
