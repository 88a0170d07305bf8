//! The rules once more, written down as they are told and not as they are fast: what [`super::ControlGraph`] is held to.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use super::acceptance::{MAX_CUTS_OF_A_GRANT, MAX_POLICIES_OF_A_PREFIX, check_link};
use super::action::{Action, DataFrontier, Frontier, Grant, Mark};
use super::graph::check_log;
use super::guardians::check_cosigned;
use super::policy::{Grantors, grantors_of};
use super::statement::Statement;
use super::verdict::{OpFacts, Reason, Verdict};
use crate::area::Rights;
use crate::id::{OpId, SpaceId};
use crate::node_id::NodeId;
use crate::path::BlindPath;
use crate::signed::Signed;

/// The verdict on every operation of a space, from the sets of statements and operations alone: order and repetition
/// change nothing, and statements whose past is incomplete or that break the rules count for nothing (rules ID-12 to
/// ID-16).
///
/// A pure function without limits on memory, quadratic and worse: the reference for [`super::ControlGraph`] and
/// [`super::AuthorLog`], which agree with it.
pub fn authorise(
    space: SpaceId,
    statements: &[Signed<Statement>],
    operations: &[OpFacts],
) -> BTreeMap<OpId, Verdict> {
    let model = Model::new(space, statements);
    operations.iter().map(|op| (op.id, model.verdict(op, operations))).collect()
}

type Ids = BTreeSet<OpId>;

struct Model<'a> {
    space: SpaceId,
    /// The accepted statements.
    accepted: BTreeMap<OpId, &'a Signed<Statement>>,
    /// What the author of each had seen, and itself.
    pasts: BTreeMap<OpId, Ids>,
    everything: Ids,
}

impl<'a> Model<'a> {
    fn new(space: SpaceId, statements: &'a [Signed<Statement>]) -> Self {
        let (accepted, pasts) = (BTreeMap::new(), BTreeMap::new());
        let mut model = Self { space, accepted, pasts, everything: Ids::new() };
        let mut open: Vec<&Signed<Statement>> = statements.iter().filter(|s| s.space() == space).collect();
        loop {
            let before = open.len();
            open.retain(|statement| !model.take(statement));
            if open.len() == before {
                return model;
            }
        }
    }

    /// Settles a statement whose past is here; says whether it did.
    fn take(&mut self, statement: &'a Signed<Statement>) -> bool {
        let parents = statement.heads.iter().chain(&statement.backlink);
        let Some(mut past) = self.past_of(parents) else { return false };
        let log = check_log(self.accepted.len(), statement, |id| self.accepted.get(id).copied());
        if log.is_err() || self.accepted.contains_key(&statement.id()) {
            return true;
        }
        if statement.space.is_some() && !self.accepts(statement, &past) {
            return true;
        }
        past.insert(statement.id());
        self.everything.insert(statement.id());
        self.accepted.insert(statement.id(), statement);
        self.pasts.insert(statement.id(), past);
        true
    }

    fn past_of<'b>(&self, heads: impl Iterator<Item = &'b OpId>) -> Option<Ids> {
        let mut past = Ids::new();
        for head in heads {
            past.extend(self.pasts.get(head)?);
        }
        Some(past)
    }

    fn root(&self) -> Option<NodeId> {
        self.accepted.get(&self.space.genesis()).map(|genesis| genesis.author)
    }

    fn grant(&self, id: &OpId) -> Option<Grant<'a>> {
        self.accepted.get(id).and_then(|statement| statement.value().action.as_grant())
    }

    fn chain(&self, grant: OpId) -> Vec<OpId> {
        core::iter::successors(Some(grant), |id| self.grant(id)?.parent).collect()
    }

    fn accepts(&self, statement: &Signed<Statement>, past: &Ids) -> bool {
        let (author, unix_ms) = (statement.author, statement.unix_ms);
        let own = past.iter().filter(|id| self.accepted[*id].author == author);
        if own.clone().any(|id| self.accepted[id].seq == statement.seq)
            || self.forks_by(past, &author, statement.seq)
        {
            return false;
        }
        let root = BlindPath::root();
        match &statement.value().action {
            Action::Genesis { .. } => false,
            Action::Grant { parent: None, .. } => self.root() == Some(author),
            Action::Grant { parent: Some(parent), .. } => {
                let above = self.grant(parent).filter(|_| past.contains(parent));
                let grant = statement.value().action.as_grant();
                above
                    .zip(grant)
                    .is_some_and(|(above, grant)| check_link(&author, unix_ms, &above, &grant).is_ok())
                    && self.is_usable(past, *parent)
                    && grant.is_some_and(|grant| self.permits(past, author, unix_ms, grant.area.prefix()))
            }
            Action::Cut { grant, frontier, .. } => {
                past.contains(grant)
                    && frontier.iter().all(|(author, frontier)| self.is_honest(past, author, frontier))
                    && self.may_cut(past, author, unix_ms, *grant)
                    && past.iter().filter(|id| self.target(id) == Some(*grant)).count() < MAX_CUTS_OF_A_GRANT
            }
            Action::Guardians { .. } => self.root() == Some(author),
            Action::Recover { guardians, .. } => {
                let named = |id: &OpId| matches!(self.accepted[id].value().action, Action::Guardians { .. });
                let replaced = |id: &OpId| named(id) && id != guardians && self.pasts[id].contains(guardians);
                past.contains(guardians)
                    && !past.iter().any(replaced)
                    && check_cosigned(statement, &self.accepted[guardians].value().action).is_ok()
            }
            Action::Endorse { .. } => self.may_say(past, author, Rights::WRITE, None, unix_ms),
            Action::Policy { prefix, .. } => {
                self.may_say(past, author, Rights::MANAGE, Some(prefix), unix_ms)
                    && self.policies(past).iter().filter(|(_, at, _)| *at == prefix).count()
                        < MAX_POLICIES_OF_A_PREFIX
            }
            Action::Epoch { .. } => self.may_say(past, author, Rights::MANAGE, Some(&root), unix_ms),
            Action::Extension { .. } => self.may_say(past, author, Rights::NONE, None, unix_ms),
        }
    }

    /// The policies in a past, with the prefix of each and whom it lets grant.
    fn policies(&self, past: &Ids) -> Vec<(OpId, &BlindPath, Option<Grantors>)> {
        let policy = |id: &OpId| match &self.accepted[id].value().action {
            Action::Policy { prefix, body } => Some((*id, prefix, grantors_of(body))),
            _ => None,
        };
        past.iter().filter_map(policy).collect()
    }

    /// Whether all policies around a prefix that no later one of the same prefix replaced let the author grant there.
    fn permits(&self, past: &Ids, author: NodeId, unix_ms: u64, prefix: &BlindPath) -> bool {
        let all = self.policies(past);
        let replaced = |id: &OpId, at: &BlindPath| {
            all.iter().any(|(later, place, _)| later != id && *place == at && self.pasts[later].contains(id))
        };
        let ruling = all.iter().filter(|(id, at, _)| at.is_prefix_of(prefix) && !replaced(id, at));
        self.root() == Some(author)
            || ruling.into_iter().all(|(_, _, grantors)| match grantors {
                None | Some(Grantors::Holders) => true,
                Some(Grantors::Managers) => self.may_say(past, author, Rights::MANAGE, Some(prefix), unix_ms),
                Some(Grantors::Root) => false,
            })
    }

    fn is_honest(&self, past: &Ids, author: &NodeId, frontier: &Frontier) -> bool {
        frontier.control.is_none_or(|Mark { seq, id }| {
            past.contains(&id) && self.accepted[&id].author == *author && self.accepted[&id].seq == seq
        })
    }

    fn may_cut(&self, past: &Ids, author: NodeId, unix_ms: u64, target: OpId) -> bool {
        let Some(grant) = self.grant(&target) else { return false };
        let above =
            |id: OpId| self.grant(&id).is_some_and(|g| g.holder == author) && self.is_usable(past, id);
        self.root() == Some(author)
            || self.chain(target).into_iter().any(above)
            || self.may_say(past, author, Rights::MANAGE, Some(grant.area.prefix()), unix_ms)
    }

    fn may_say(
        &self,
        past: &Ids,
        author: NodeId,
        right: Rights,
        prefix: Option<&BlindPath>,
        unix_ms: u64,
    ) -> bool {
        self.root() == Some(author)
            || past
                .iter()
                .any(|id| self.entitles(id, author, right, prefix, unix_ms) && self.is_usable(past, *id))
    }

    fn entitles(
        &self,
        id: &OpId,
        author: NodeId,
        right: Rights,
        prefix: Option<&BlindPath>,
        unix_ms: u64,
    ) -> bool {
        self.grant(id).is_some_and(|grant| {
            grant.holder == author
                && grant.rights.contains(right)
                && grant.area.covers_time(unix_ms)
                && prefix.is_none_or(|prefix| grant.area.prefix().is_prefix_of(prefix))
        })
    }

    fn target(&self, id: &OpId) -> Option<OpId> {
        match &self.accepted.get(id)?.value().action {
            Action::Cut { grant, .. } => Some(*grant),
            _ => None,
        }
    }

    /// The cuts in a view that uses of `grant` must be inside: its own, and those above it that cascade.
    fn cuts_on(&self, view: &Ids, grant: OpId) -> Vec<OpId> {
        let chain = self.chain(grant);
        let hits = |id: &&OpId| match &self.accepted[*id].value().action {
            Action::Cut { grant: target, cascade, .. } => {
                *target == grant || *cascade && chain.contains(target)
            }
            _ => false,
        };
        view.iter().filter(hits).copied().collect()
    }

    fn frontier(&self, cut: &OpId, author: &NodeId) -> Option<&'a Frontier> {
        match &self.accepted[cut].value().action {
            Action::Cut { frontier, .. } => {
                frontier.iter().find(|(a, _)| a == author).map(|(_, frontier)| frontier)
            }
            _ => None,
        }
    }

    /// Whether walking back from the cut's mark meets the statement.
    fn vouches_for(&self, cut: &OpId, statement: &OpId) -> bool {
        let mark = self.frontier(cut, &self.accepted[statement].author).and_then(|frontier| frontier.control);
        let mut log = core::iter::successors(mark.map(|mark| mark.id), |id| self.accepted[id].backlink);
        log.any(|id| id == *statement)
    }

    fn forks_by(&self, view: &Ids, author: &NodeId, seq: u64) -> bool {
        let early = view.iter().map(|id| self.accepted[id]).filter(|s| s.author == *author && s.seq <= seq);
        let mut seen = BTreeSet::new();
        early.map(|statement| statement.seq).any(|seq| !seen.insert(seq))
    }

    fn is_frozen(&self, view: &Ids, statement: &OpId, cuts: &[OpId]) -> bool {
        self.forks_by(view, &self.accepted[statement].author, self.accepted[statement].seq)
            && !cuts.iter().any(|cut| self.vouches_for(cut, statement))
    }

    /// Whether a use of `grant` that is a statement counts in a view.
    fn counts(&self, view: &Ids, statement: &OpId, grant: Option<OpId>) -> bool {
        let cuts = grant.map_or_else(Vec::new, |grant| self.cuts_on(view, grant));
        cuts.iter().all(|cut| self.vouches_for(cut, statement))
            && !self.is_frozen(view, statement, &cuts)
            && grant.is_none_or(|grant| self.is_sound(view, grant))
    }

    fn is_sound(&self, view: &Ids, grant: OpId) -> bool {
        self.grant(&grant).is_some_and(|content| self.counts(view, &grant, content.parent))
    }

    fn is_usable(&self, view: &Ids, grant: OpId) -> bool {
        self.is_sound(view, grant) && self.cuts_on(view, grant).is_empty()
    }

    fn verdict(&self, op: &OpFacts, operations: &[OpFacts]) -> Verdict {
        let Some(past) = self.past_of(op.heads.iter()) else { return Verdict::Pending };
        if let Err(reason) = self.covers(op, &past) {
            return Verdict::Quarantined(reason);
        }
        let log = Log::new(op, operations);
        let genesis = op.grant == self.space.genesis();
        let cuts = if genesis { Vec::new() } else { self.cuts_on(&self.everything, op.grant) };
        let blocking: Vec<OpId> =
            cuts.iter().filter(|cut| past.contains(*cut) || !log.keeps(self, cut, false)).copied().collect();
        let void = !genesis && !self.is_sound(&self.everything, op.grant);
        if (void || !blocking.is_empty()) && !self.is_endorsed(op, &blocking) {
            return Verdict::Quarantined(if blocking.is_empty() {
                Reason::ChainVoid
            } else {
                Reason::Revoked
            });
        }
        let adopted = self.endorsers(op).any(|endorsement| self.accepted[&endorsement].author != op.author);
        match log.fault(self) {
            Some(reason) if !adopted && !cuts.iter().any(|cut| log.keeps(self, cut, true)) => {
                Verdict::Quarantined(reason)
            }
            _ => Verdict::Valid,
        }
    }

    fn covers(&self, op: &OpFacts, past: &Ids) -> Result<(), Reason> {
        if !past.contains(&op.grant) {
            return Err(Reason::NoSuchGrant);
        }
        if op.grant == self.space.genesis() {
            return if self.root() == Some(op.author) { Ok(()) } else { Err(Reason::NotHolder) };
        }
        let grant = self.grant(&op.grant).ok_or(Reason::NoSuchGrant)?;
        let checks = [
            (grant.holder == op.author, Reason::NotHolder),
            (grant.area.prefix().is_prefix_of(&op.path), Reason::OutsidePath),
            (grant.area.covers_time(op.unix_ms), Reason::OutsideTime),
            (grant.rights.contains(Rights::WRITE), Reason::NoWriteRight),
        ];
        checks.into_iter().find(|(holds, _)| !holds).map_or(Ok(()), |(_, reason)| Err(reason))
    }

    /// Endorsements of an operation that count.
    fn endorsers(&self, op: &OpFacts) -> impl Iterator<Item = OpId> {
        self.everything.iter().copied().filter(move |id| {
            let statement = self.accepted[id];
            let (author, unix_ms) = (statement.author, statement.unix_ms);
            let writes = |grant: &&OpId| self.entitles(grant, author, Rights::WRITE, Some(&op.path), unix_ms);
            statement.value().action == Action::Endorse { operation: op.id }
                && if self.root() == Some(author) {
                    self.counts(&self.everything, id, None)
                } else {
                    self.pasts[id]
                        .iter()
                        .filter(writes)
                        .any(|grant| self.counts(&self.everything, id, Some(*grant)))
                }
        })
    }

    /// Whether for every obstacle there is an endorsement by someone who had seen it.
    fn is_endorsed(&self, op: &OpFacts, blocking: &[OpId]) -> bool {
        let endorsers: Vec<OpId> = self.endorsers(op).collect();
        let seen = |cut: &OpId| endorsers.iter().any(|id| self.pasts[id].contains(cut));
        !endorsers.is_empty()
            && blocking.iter().all(seen)
            && self.chain(op.grant).iter().all(|link| {
                let Some(grant) = self.grant(link) else { return false };
                let cuts =
                    grant.parent.map_or_else(Vec::new, |parent| self.cuts_on(&self.everything, parent));
                let (author, seq) = (self.accepted[link].author, self.accepted[link].seq);
                let thawed = !self.is_frozen(&self.everything, link, &cuts)
                    || endorsers.iter().any(|id| self.forks_by(&self.pasts[id], &author, seq));
                thawed && cuts.iter().filter(|cut| !self.vouches_for(cut, link)).all(seen)
            })
    }
}

/// The operations of one author in one document, around one of them.
struct Log<'a> {
    op: &'a OpFacts,
    operations: Vec<&'a OpFacts>,
}

impl<'a> Log<'a> {
    fn new(op: &'a OpFacts, operations: &'a [OpFacts]) -> Self {
        let same = |other: &&OpFacts| other.author == op.author && other.document == op.document;
        Self { op, operations: operations.iter().filter(same).collect() }
    }

    /// Whether a cut's frontier keeps the operation. `proven`: only if its branch is the one that leads to the mark.
    fn keeps(&self, model: &Model<'_>, cut: &OpId, proven: bool) -> bool {
        match model.frontier(cut, &self.op.author).map(|frontier| &frontier.data) {
            None => false,
            Some(DataFrontier::ClaimedBefore(unix_ms)) => !proven && self.op.unix_ms < *unix_ms,
            Some(DataFrontier::Listed(documents)) => {
                let mark = documents.iter().find(|(document, _)| *document == self.op.document);
                mark.is_some_and(|(_, mark)| {
                    let branch = self.branch(mark);
                    match branch.get(&self.op.seq) {
                        Some(id) => self.op.seq <= mark.seq && *id == self.op.id,
                        None => !proven && self.op.seq < mark.seq,
                    }
                })
            }
        }
    }

    /// What is known of the branch that leads to a mark.
    fn branch(&self, mark: &Mark) -> BTreeMap<u64, OpId> {
        let mut branch = BTreeMap::from([(mark.seq, mark.id)]);
        let (mut seq, mut id) = (mark.seq, mark.id);
        while let Some(op) = self.operations.iter().find(|op| op.id == id && op.seq == seq) {
            let (Some(before), Some(backlink)) = (seq.checked_sub(1), op.backlink) else { break };
            (seq, id) = (before, backlink);
            branch.insert(seq, id);
        }
        branch
    }

    /// The first fault of the log, if it is at the operation or before.
    fn fault(&self, model: &Model<'_>) -> Option<Reason> {
        let mut names: BTreeMap<u64, Ids> = BTreeMap::new();
        for op in &self.operations {
            names.entry(op.seq).or_default().insert(op.id);
            if let (Some(before), Some(backlink)) = (op.seq.checked_sub(1), op.backlink) {
                names.entry(before).or_default().insert(backlink);
            }
        }
        let fork = names.into_iter().find(|(_, names)| names.len() > 1).map(|(seq, _)| (seq, Reason::Forked));
        let broken =
            self.operations.iter().filter(|op| self.goes_backwards(model, op)).map(|op| op.seq).min();
        let faults = fork.into_iter().chain(broken.map(|seq| (seq, Reason::Backwards)));
        faults.filter(|(seq, _)| *seq <= self.op.seq).min_by_key(|(seq, _)| *seq).map(|(_, reason)| reason)
    }

    fn goes_backwards(&self, model: &Model<'_>, op: &OpFacts) -> bool {
        if op.backlink.is_some() != (op.seq > 0) {
            return true;
        }
        let Some(previous) = self.operations.iter().find(|previous| Some(previous.id) == op.backlink) else {
            return false;
        };
        let pasts = model.past_of(previous.heads.iter()).zip(model.past_of(op.heads.iter()));
        let forgets =
            op.heads != previous.heads && pasts.is_some_and(|(before, now)| !before.is_subset(&now));
        previous.seq + 1 != op.seq || op.unix_ms < previous.unix_ms || forgets
    }
}
