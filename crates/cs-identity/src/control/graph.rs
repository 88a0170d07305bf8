use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use thiserror::Error;

use super::acceptance::StatementFault;
use super::action::{Action, DataFrontier, Frontier, Mark};
use super::buffer::Buffer;
use super::history::{At, Candidate};
use super::policy::Policy;
use super::standing::Standing;
use super::statement::{Draft, MAX_HEADS, Statement};
use super::verdict::{OpFacts, Reason, Verdict};
use crate::area::{Area, Rights};
use crate::id::{OpId, SpaceId};
use crate::node_id::NodeId;
use crate::path::BlindPath;
use crate::signed::Signed;
use crate::wire;

/// Statements that a space may have; compaction of control graphs is a later version's.
pub const MAX_STATEMENTS: usize = 65_536;
/// What the pasts of all statements may take, in units of 8 bytes: reached only by authors that fork their logs
/// thousands of times.
const MAX_PAST_ENTRIES: usize = 4 << 20;

/// The control statements of one space, and what follows from them.
///
/// Statements go in in any order, in any company and any number of times; what comes out depends on the set that went
/// in (rule ID-12). Everything here holds verified signatures: [`Signed`] cannot be had without. See the
/// [module](super) for the rules. Memory is bounded by [`MAX_STATEMENTS`] and 4 MiB of statements that came early.
#[derive(Clone, Debug)]
pub struct ControlGraph {
    space: SpaceId,
    standing: Standing,
    early: Buffer,
}

/// What became of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// It was accepted, and with it whatever had waited for it.
    New,
    /// It was here already, accepted or waiting.
    Duplicate,
    /// It waits for a statement it builds on; see [`ControlGraph::wanted`].
    Buffered,
}

/// Why a statement was not taken. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum InsertError {
    /// It breaks the rules; whoever sent it had not checked it.
    #[error("refused: {0}")]
    Fault(#[from] StatementFault),
    /// There is no room for it: it came early and too many did, or the space has as many statements as it may have.
    #[error("no room for another statement")]
    Full,
}

/// A grant that new work may be done under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holding {
    /// The grant it was given from; `None` for the root's own right.
    pub parent: Option<OpId>,
    /// Who gave it.
    pub issuer: NodeId,
    /// Where and when.
    pub area: Area,
    /// What.
    pub rights: Rights,
    /// How many more links may follow.
    pub depth: u8,
}

impl ControlGraph {
    /// The graph of a space of which nothing is known but its name.
    pub fn new(space: SpaceId) -> Self {
        Self { space, standing: Standing::default(), early: Buffer::default() }
    }

    /// The space.
    pub const fn space(&self) -> SpaceId {
        self.space
    }

    /// Takes in a statement. Costs about as much as the author's grants have links and cuts, a cut about as much as
    /// there are grants under its target.
    ///
    /// # Errors
    /// [`InsertError`]; the graph is unchanged.
    pub fn insert(&mut self, statement: Signed<Statement>) -> Result<Inserted, InsertError> {
        if statement.space() != self.space {
            return Err(StatementFault::WrongSpace.into());
        }
        let id = statement.id();
        if self.standing.history.find(&id).is_some() || self.early.contains(&id) {
            return Ok(Inserted::Duplicate);
        }
        let outcome = self.offer(statement);
        match outcome {
            Ok(Inserted::New) => self.admit_waiting(id),
            Err(InsertError::Fault(_)) => self.early.forget(id),
            _ => {}
        }
        outcome
    }

    /// Accepts, buffers or refuses one statement.
    fn offer(&mut self, statement: Signed<Statement>) -> Result<Inserted, InsertError> {
        let mut parents = statement.heads.iter().chain(&statement.backlink);
        if let Some(missing) = parents.find(|parent| self.standing.history.find(parent).is_none()) {
            let missing = *missing;
            return if self.early.put(missing, statement) {
                Ok(Inserted::Buffered)
            } else {
                Err(InsertError::Full)
            };
        }
        let history = &self.standing.history;
        if history.entries().len() >= MAX_STATEMENTS || history.past_entries() >= MAX_PAST_ENTRIES {
            return Err(InsertError::Full);
        }
        check_log(history.entries().len(), &statement, |id| self.get(id))?;
        let past = history.past_of(statement.heads.iter().chain(&statement.backlink)).unwrap_or_default();
        let candidate = Candidate { statement, past };
        // Its name is the space's own, so nothing is left to decide about the genesis.
        if candidate.statement.space.is_some() {
            self.standing.judge(&candidate)?;
        }
        self.standing.push(candidate);
        Ok(Inserted::New)
    }

    fn admit_waiting(&mut self, accepted: OpId) {
        let mut open = Vec::from([accepted]);
        while let Some(id) = open.pop() {
            for statement in self.early.release(&id) {
                let id = statement.id();
                match self.offer(statement) {
                    Ok(Inserted::New) => open.push(id),
                    Err(_) => self.early.forget(id),
                    Ok(_) => {}
                }
            }
        }
    }

    /// Statements that are missing: others are waiting for them.
    pub fn wanted(&self) -> impl Iterator<Item = OpId> {
        self.early.wanted()
    }

    /// The number of accepted statements.
    pub fn len(&self) -> usize {
        self.standing.history.entries().len()
    }

    /// Whether nothing was accepted yet, not even the genesis.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The accepted statements that no other builds on, ascending.
    pub fn heads(&self) -> Vec<OpId> {
        self.standing.history.heads().copied().collect()
    }

    /// All accepted statements in the order of acceptance, which is causal.
    pub fn ids(&self) -> impl Iterator<Item = OpId> {
        self.statements().map(Signed::id)
    }

    /// All accepted statements in the order of acceptance, which is causal.
    pub fn statements(&self) -> impl Iterator<Item = &Signed<Statement>> {
        self.standing.history.entries().iter().map(|entry| &entry.statement)
    }

    /// What someone lacks who has the graph up to these heads, in causal order; heads unknown here count for nothing.
    pub fn since(&self, heads: &[OpId]) -> impl Iterator<Item = &Signed<Statement>> {
        let known = heads.iter().filter(|head| self.get(head).is_some());
        let past = self.standing.history.past_of(known).unwrap_or_default();
        let lacking =
            self.standing.history.entries().iter().filter(move |entry| !past.contains(entry.position));
        lacking.map(|entry| &entry.statement)
    }

    /// An accepted statement.
    pub fn get(&self, id: &OpId) -> Option<&Signed<Statement>> {
        self.standing.history.find(id).map(|at| self.standing.history.statement(at))
    }

    /// The author of the genesis, once that is here.
    pub fn root(&self) -> Option<NodeId> {
        self.standing.root()
    }

    /// What `holder` may do at `path` now: the union over its grants that no cut and no fork has ended.
    ///
    /// Reads fail closed (rule ID-17): a cut known here ends them, whatever its frontier says.
    pub fn rights(&self, holder: &NodeId, path: &BlindPath, unix_ms: u64) -> Rights {
        if self.root() == Some(*holder) {
            return Rights::ALL;
        }
        let live = self.live_grants(holder).filter(|(_, holding)| holding.area.covers(path, unix_ms));
        live.fold(Rights::NONE, |all, (_, holding)| all | holding.rights)
    }

    /// The grants of `holder` that new work may be done under.
    pub fn grants_of(&self, holder: &NodeId) -> Vec<(OpId, Holding)> {
        self.live_grants(holder)
            .map(|(at, holding)| (self.standing.history.statement(at).id(), holding))
            .collect()
    }

    /// The grant under which `holder` may do this: of several the deepest in path, then the lowest id; the genesis for
    /// the root.
    pub fn grant_for(&self, holder: &NodeId, path: &BlindPath, unix_ms: u64, rights: Rights) -> Option<OpId> {
        if self.root() == Some(*holder) {
            return Some(self.space.genesis());
        }
        let fitting = self
            .live_grants(holder)
            .filter(|(_, holding)| holding.area.covers(path, unix_ms) && holding.rights.contains(rights));
        let ranked = fitting.map(|(at, holding)| {
            (core::cmp::Reverse(holding.area.prefix().depth()), self.standing.history.statement(at).id())
        });
        ranked.min().map(|(_, id)| id)
    }

    /// The statement that says who may recover the space, how many it takes, and who they are, ascending (rule ID-32).
    pub fn guardians(&self) -> Option<(OpId, u8, &[NodeId])> {
        self.standing.guardians()
    }

    /// Whose logs fork, ascending, and at which sequence number each first does: from there on they are frozen (rule ID-14).
    pub fn forks(&self) -> impl Iterator<Item = (NodeId, u64)> {
        self.standing.history.forks()
    }

    /// Every device with a right anywhere at some time, and the union of its rights, ascending.
    pub fn members(&self) -> Vec<(NodeId, Rights)> {
        let mut members: BTreeMap<NodeId, Rights> =
            self.root().map(|root| (root, Rights::ALL)).into_iter().collect();
        for (holder, _) in self.standing.holders() {
            for (_, holding) in self.live_grants(holder) {
                let rights = members.entry(*holder).or_default();
                *rights = *rights | holding.rights;
            }
        }
        members.into_iter().collect()
    }

    /// The chains of `holder` from the genesis down, each statement once and after what it builds on: what a stranger
    /// needs for [`super::check_credentials`]. What goes back to a recovery is left out, since a stranger does not know the
    /// guardians.
    pub fn credentials(&self, holder: &NodeId) -> Vec<Signed<Statement>> {
        let chains = self.live_grants(holder).map(|(at, _)| self.standing.chain(at));
        let is_recovered =
            |at: &At| matches!(self.standing.history.statement(*at).value().action, Action::Recover { .. });
        let mut chain: Vec<At> = chains.filter(|chain| !chain.iter().any(is_recovered)).flatten().collect();
        // The genesis is number 0, and numbers go up from parents to children.
        chain.push(0);
        chain.sort_unstable();
        chain.dedup();
        chain
            .into_iter()
            .filter_map(|at| self.standing.history.entries().get(at))
            .map(|e| e.statement.clone())
            .collect()
    }

    /// What an operation is worth, judged by itself (rules ID-13, ID-15, ID-16). Costs a look-up for each head and one
    /// for the grant unless the grant was cut.
    ///
    /// Exact as long as its author's log of the document does not fork; [`super::AuthorLog`] judges logs that do.
    pub fn verdict(&self, op: &OpFacts) -> Verdict {
        self.standing.verdict(op, &|_, _| None)
    }

    /// Whether `op` may follow `previous`, its backlink, in a log: same author and document, the next number, and
    /// neither time nor control past going backwards (rule ID-15). `None` if heads are missing here.
    pub fn continues(&self, previous: &OpFacts, op: &OpFacts) -> Option<Result<(), Reason>> {
        let same_log = op.author == previous.author && op.document == previous.document;
        let next = op.backlink == Some(previous.id) && Some(op.seq) == previous.seq.checked_add(1);
        if !(same_log && next && op.unix_ms >= previous.unix_ms) {
            return Some(Err(Reason::Backwards));
        }
        if op.heads == previous.heads {
            return Some(Ok(()));
        }
        let before = self.standing.history.past_of(previous.heads.iter())?;
        let now = self.standing.history.past_of(op.heads.iter())?;
        Some(if now.includes(&before) { Ok(()) } else { Err(Reason::Backwards) })
    }

    /// A draft of what `author` says next: numbered and linked to its log, naming the heads seen here.
    ///
    /// Of more than [`MAX_HEADS`] heads the lowest are named; the others stay heads. Signing two drafts without
    /// inserting the first forks the author's log.
    pub fn next_draft(&self, author: NodeId, action: Action, unix_ms: u64) -> Draft {
        let last = self.standing.history.last_of(&author).map(|at| self.standing.history.statement(at));
        let backlink = last.map(Signed::id);
        let heads =
            self.standing.history.heads().filter(|head| Some(**head) != backlink).take(MAX_HEADS).copied();
        Draft {
            space: Some(self.space),
            seq: last.map_or(0, |last| last.seq + 1),
            backlink,
            heads: heads.collect(),
            unix_ms: unix_ms.max(last.map_or(0, |last| last.unix_ms)),
            action,
        }
    }

    /// A frontier that keeps all control statements of `author` known here, and the operations given.
    pub fn frontier_of(&self, author: &NodeId, data: DataFrontier) -> Frontier {
        let last = self.standing.history.last_of(author).map(|at| self.standing.history.statement(at));
        Frontier { control: last.map(|last| Mark { seq: last.seq, id: last.id() }), data }
    }

    /// The epoch statements that count, by number and then id.
    pub fn epochs(&self) -> impl Iterator<Item = (OpId, &Signed<Statement>)> {
        let mut epochs: Vec<_> = self
            .standing_statements(|action| match action {
                Action::Epoch { number, .. } => Some((*number, BlindPath::root())),
                _ => None,
            })
            .map(|(number, statement)| (number, statement.id(), statement))
            .collect();
        epochs.sort_by_key(|(number, id, _)| (*number, *id));
        epochs.into_iter().map(|(_, id, statement)| (id, statement))
    }

    /// The policies that count: by prefix, then in causal order, concurrent ones by id. The last of a prefix rules.
    pub fn policies(&self) -> impl Iterator<Item = (OpId, &Signed<Statement>)> {
        let mut policies: Vec<_> = self
            .standing_statements(|action| match action {
                Action::Policy { prefix, .. } => Some((prefix.clone(), prefix.clone())),
                _ => None,
            })
            .map(|(prefix, statement)| {
                let seen = self
                    .standing
                    .history
                    .find(&statement.id())
                    .map(|at| self.standing.history.entry(at).past.size());
                ((prefix, seen, statement.id()), statement)
            })
            .collect();
        policies.sort_by(|(a, _), (b, _)| a.cmp(b));
        policies.into_iter().map(|((_, _, id), statement)| (id, statement))
    }

    /// What the policies that count say of a path: the last of each prefix around it, the deeper before the outer (rule
    /// ID-30).
    pub fn policy_at(&self, path: &BlindPath) -> Policy {
        let mut last: BTreeMap<&BlindPath, Policy> = BTreeMap::new();
        for (_, statement) in self.policies() {
            if let Action::Policy { prefix, body } = &statement.value().action
                && prefix.is_prefix_of(path)
            {
                last.insert(prefix, wire::whole(body, Policy::decode).unwrap_or_default());
            }
        }
        last.into_values().fold(Policy::default(), |outer, policy| policy.within(&outer))
    }

    /// Statements under MANAGE that stand after all cuts and forks, with what `pick` makes of them.
    fn standing_statements<T>(
        &self,
        pick: impl Fn(&Action) -> Option<(T, BlindPath)>,
    ) -> impl Iterator<Item = (T, &Signed<Statement>)> {
        let entries = self.standing.history.entries().iter().enumerate();
        entries.filter_map(move |(at, entry)| {
            let (picked, prefix) = pick(&entry.statement.value().action)?;
            self.standing.stands(at, Rights::MANAGE, &prefix).then_some((picked, &entry.statement))
        })
    }

    pub(crate) fn standing(&self) -> &Standing {
        &self.standing
    }

    fn live_grants(&self, holder: &NodeId) -> impl Iterator<Item = (At, Holding)> {
        let live = self.standing.grants_of(holder).iter().copied().filter(|&at| self.standing.is_live(at));
        live.filter_map(|at| {
            let grant = self.standing.grant(at)?;
            let issuer = self.standing.history.statement(at).author;
            let (area, rights, depth) = (grant.area.clone(), grant.rights, grant.depth);
            Some((at, Holding { parent: grant.parent, issuer, area, rights, depth }))
        })
    }
}

/// The rules of one author's log: numbers go up by one along backlinks, and time does not go back.
pub(crate) fn check_log<'a>(
    accepted: usize,
    statement: &Signed<Statement>,
    get: impl Fn(&OpId) -> Option<&'a Signed<Statement>>,
) -> Result<(), StatementFault> {
    let Some(backlink) = &statement.backlink else {
        // A first statement of an author, or the genesis, which is the first of all.
        let founds = statement.space.is_none();
        return if founds == (accepted == 0) { Ok(()) } else { Err(StatementFault::WrongSpace) };
    };
    let previous = get(backlink).ok_or(StatementFault::BadBacklink)?;
    if previous.author != statement.author || previous.seq + 1 != statement.seq {
        return Err(StatementFault::BadBacklink);
    }
    if statement.unix_ms < previous.unix_ms { Err(StatementFault::Backwards) } else { Ok(()) }
}
