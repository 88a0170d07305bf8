use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

use thiserror::Error;

use super::attestation::{Attestation, Attested, Level};
use super::explanation::{Explanation, NotTrusted, Step};
use super::flow::{self, Accepted};
use super::introducers::{self, Introduced};
use super::net::{Net, Node};
use crate::id::OpId;
use crate::node_id::NodeId;
use crate::person::{People, PersonFault, PersonInserted, PersonStatement};
use crate::signed::Signed;

/// Attestations kept of one issuer: more than anyone knows people. Of more, those of the lowest subjects are kept, so that
/// the order of arrival changes nothing.
pub const MAX_ATTESTATIONS_OF_ISSUER: usize = 1024;

/// How trust is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Policy {
    /// Trust runs out: see rule ID-25.
    Flow {
        /// Principals that are accepted at most, about; the budget follows the community's size below that.
        most: u64,
    },
    /// One full introducer or several marginal ones: see rule ID-26.
    Introducers {
        /// How many marginal introducers count as much as a full one; 0 is taken as 1.
        marginals: u8,
        /// How many steps from a root somebody may be.
        depth: u8,
    },
}

impl Policy {
    /// Flow, to as many as a web of trust is known to have had.
    pub const fn flow() -> Self {
        Self::Flow { most: 1 << 20 }
    }

    /// The usual setting of PGP: three marginals, five steps.
    pub const fn introducers() -> Self {
        Self::Introducers { marginals: 3, depth: 5 }
    }
}

/// What became of an attestation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttestInserted {
    /// It is what the issuer says now.
    New,
    /// It was here already.
    Known,
    /// The issuer said something else since.
    Older,
    /// The issuer attests more than [`MAX_ATTESTATIONS_OF_ISSUER`], and this one is not among those kept.
    Crowded,
}

/// There is no room: as many attestations are kept as may be, all of people who are trusted. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no room for another attestation")]
pub struct WebFull;

/// Attestations, the people who make them, and who is trusted for them by whoever picked the roots.
///
/// What is trusted follows from the sets of attestations, person statements, roots and blocked keys, the policy and the time
/// given (rule ID-24); order changes nothing, as long as nothing had to be refused for want of room.
#[derive(Clone, Debug)]
pub struct WebOfTrust {
    policy: Policy,
    limit: usize,
    count: usize,
    unix_ms: u64,
    people: People,
    roots: BTreeSet<NodeId>,
    blocked: BTreeSet<NodeId>,
    /// By issuer, then by subject and claim.
    said: BTreeMap<NodeId, BTreeMap<(NodeId, Attested), Signed<Attestation>>>,
    /// Times at which an attestation begins or ends, and whose and of whom it is.
    turns: BTreeSet<(u64, NodeId, NodeId)>,
    net: Net,
    outcome: Outcome,
}

#[derive(Clone, Debug)]
enum Outcome {
    Unknown,
    Flow(Accepted),
    Introducers(BTreeMap<Node, Introduced>),
}

impl WebOfTrust {
    /// A web without roots, in which nobody is trusted. `people` and `attestations` bound what is kept, at about 500 bytes
    /// for either.
    pub fn new(policy: Policy, people: usize, attestations: usize) -> Self {
        Self {
            policy,
            limit: attestations,
            count: 0,
            unix_ms: 0,
            people: People::new(people),
            roots: BTreeSet::new(),
            blocked: BTreeSet::new(),
            said: BTreeMap::new(),
            turns: BTreeSet::new(),
            net: Net::default(),
            outcome: Outcome::Unknown,
        }
    }

    /// Sets how trust is computed.
    pub fn set_policy(&mut self, policy: Policy) {
        self.policy = policy;
        self.outcome = Outcome::Unknown;
    }

    /// Trusts a key without anybody's word, or no longer does.
    pub fn set_root(&mut self, key: NodeId, is_root: bool) {
        let changed = if is_root { self.roots.insert(key) } else { self.roots.remove(&key) };
        if changed {
            self.outcome = Outcome::Unknown;
        }
    }

    /// The roots, ascending.
    pub fn roots(&self) -> impl Iterator<Item = &NodeId> {
        self.roots.iter()
    }

    /// Never trusts a key, nor anyone for its word, whatever others say; or no longer so. A root that is blocked is none.
    pub fn set_blocked(&mut self, key: NodeId, is_blocked: bool) {
        let changed = if is_blocked { self.blocked.insert(key) } else { self.blocked.remove(&key) };
        if changed {
            self.rebuild();
        }
    }

    /// The blocked keys, ascending.
    pub fn blocked(&self) -> impl Iterator<Item = &NodeId> {
        self.blocked.iter()
    }

    /// The people known. Their devices speak for them.
    pub const fn people(&self) -> &People {
        &self.people
    }

    /// Takes in what a person says of itself. Costs a walk over all attestations if that changes anything.
    ///
    /// # Errors
    /// [`PersonFault`]; nothing changed.
    pub fn insert_person(
        &mut self,
        statement: Signed<PersonStatement>,
    ) -> Result<PersonInserted, PersonFault> {
        let inserted = self.people.insert(statement)?;
        if inserted == PersonInserted::New {
            self.rebuild();
        }
        Ok(inserted)
    }

    /// Takes in an attestation. Costs a few look-ups.
    ///
    /// # Errors
    /// [`WebFull`]; nothing changed but that attestations of people who are not trusted may have been dropped.
    pub fn insert(&mut self, attestation: Signed<Attestation>) -> Result<AttestInserted, WebFull> {
        let (issuer, subject) = (attestation.issuer, attestation.subject);
        let key = (subject, attestation.claim);
        let known = self.said.get(&issuer).and_then(|row| row.get(&key));
        match known {
            Some(known) if known.id() == attestation.id() => return Ok(AttestInserted::Known),
            Some(known) if known.precedence() >= attestation.precedence() => {
                return Ok(AttestInserted::Older);
            }
            Some(_) => {}
            None if self.count >= self.limit => {
                self.prune();
                if self.count >= self.limit {
                    return Err(WebFull);
                }
            }
            None => {}
        }
        self.put(attestation);
        let row = self.said.entry(issuer).or_default();
        if row.len() > MAX_ATTESTATIONS_OF_ISSUER
            && let Some((_, dropped)) = row.pop_last()
        {
            self.count -= 1;
            self.forget_turns(&dropped);
            self.update(issuer, dropped.subject);
            if dropped.subject == subject && dropped.claim == key.1 {
                return Ok(AttestInserted::Crowded);
            }
        }
        self.update(issuer, subject);
        Ok(AttestInserted::New)
    }

    fn put(&mut self, attestation: Signed<Attestation>) {
        let (issuer, subject) = (attestation.issuer, attestation.subject);
        for turn in [attestation.unix_ms, attestation.until_ms] {
            if turn < u64::MAX {
                self.turns.insert((turn, issuer, subject));
            }
        }
        let row = self.said.entry(issuer).or_default();
        match row.insert((subject, attestation.claim), attestation) {
            Some(before) => self.forget_turns(&before),
            None => self.count += 1,
        }
    }

    /// Drops the turns of an attestation that is gone, unless another of the same two has them.
    fn forget_turns(&mut self, gone: &Attestation) {
        let row = self.said.get(&gone.issuer);
        let left = row.into_iter().flatten().filter(|((subject, _), _)| *subject == gone.subject);
        let kept: Vec<u64> = left.flat_map(|(_, one)| [one.unix_ms, one.until_ms]).collect();
        for turn in [gone.unix_ms, gone.until_ms] {
            if !kept.contains(&turn) {
                self.turns.remove(&(turn, gone.issuer, gone.subject));
            }
        }
    }

    /// Says what time it is. Costs an update for each attestation that began or ended since, and a walk over all of them when a
    /// device's certificate did, or when time went back.
    pub fn set_time(&mut self, unix_ms: u64) {
        let before = core::mem::replace(&mut self.unix_ms, unix_ms);
        let passed = |at: u64| before < at && at <= unix_ms;
        let certificates = self.people.people().flat_map(|state| state.certificates());
        let turned =
            certificates.flat_map(|(certificate, from_ms)| [from_ms, certificate.until_ms]).any(passed);
        if unix_ms < before || turned {
            return self.rebuild();
        }
        let lowest = NodeId::from_own_key([0; 32]);
        let due = self.turns.range((before.saturating_add(1), lowest, lowest)..);
        let due = due.take_while(|(at, ..)| *at <= unix_ms);
        let due: Vec<(NodeId, NodeId)> = due.map(|&(_, issuer, subject)| (issuer, subject)).collect();
        for (issuer, subject) in due {
            self.update(issuer, subject);
        }
    }

    /// Drops all attestations by issuers who are not trusted; their word counts for nothing as it is. Returns how many.
    pub fn prune(&mut self) -> usize {
        let issuers: Vec<NodeId> = self.said.keys().copied().collect();
        let before = self.count;
        for issuer in issuers {
            if self.is_trusted(&issuer) {
                continue;
            }
            for (_, gone) in self.said.remove(&issuer).unwrap_or_default() {
                self.count -= 1;
                self.forget_turns(&gone);
            }
        }
        self.rebuild();
        before - self.count
    }

    /// How many attestations are kept.
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether no attestation is kept.
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What a key says of others, ascending by subject, to pass on.
    pub fn said_by(&self, issuer: &NodeId) -> impl Iterator<Item = &Signed<Attestation>> {
        self.said.get(issuer).into_iter().flat_map(BTreeMap::values)
    }

    /// What is said of a key, ascending by issuer. Costs a look-up for each issuer.
    pub fn said_of(&self, subject: &NodeId) -> impl Iterator<Item = &Signed<Attestation>> {
        let key = (*subject, Attested::Person);
        self.said.values().filter_map(move |row| row.get(&key))
    }

    /// Whether a key is trusted to be a person's: its principal is a root or accepted by the policy.
    pub fn is_trusted(&mut self, key: &NodeId) -> bool {
        self.evaluate();
        let Some(principal) = self.people.speaks_for(key, self.unix_ms) else { return false };
        self.is_accepted(&principal)
    }

    /// All who are trusted, ascending.
    pub fn trusted(&mut self) -> Vec<NodeId> {
        self.evaluate();
        let nodes: Vec<Node> = match &self.outcome {
            Outcome::Unknown => Vec::new(),
            Outcome::Flow(accepted) => accepted.through.keys().copied().collect(),
            Outcome::Introducers(accepted) => accepted.keys().copied().collect(),
        };
        let mut ids: Vec<NodeId> = nodes.into_iter().map(|node| self.net.id(node)).collect();
        ids.sort_unstable();
        ids
    }

    /// Works out who is trusted, if anything changed since. Under [`Policy::Flow`] that costs a few walks over what the roots
    /// reach: some 20 ms for 10,000 people with 100,000 attestations.
    pub fn evaluate(&mut self) {
        if !matches!(self.outcome, Outcome::Unknown) {
            return;
        }
        let principals: BTreeSet<NodeId> = self
            .roots
            .iter()
            .map(|root| self.people.principal(root, self.unix_ms))
            .filter(|root| !self.blocked.contains(root))
            .collect();
        let roots: Vec<Node> = principals.into_iter().map(|root| self.net.intern(root)).collect();
        self.outcome = match self.policy {
            Policy::Flow { most } => Outcome::Flow(flow::accept(&self.net, &roots, most)),
            Policy::Introducers { marginals, depth } => {
                Outcome::Introducers(introducers::introduce(&self.net, &roots, marginals.max(1), depth))
            }
        };
    }

    /// Why a key is trusted, or why not.
    pub fn explain(&mut self, key: &NodeId) -> Explanation {
        self.evaluate();
        let Some(principal) = self.people.speaks_for(key, self.unix_ms) else {
            return Explanation::Not(NotTrusted::SpeaksForNobody);
        };
        if self.blocked.contains(&principal) || self.blocked.contains(key) {
            return Explanation::Not(NotTrusted::Blocked);
        }
        let node = self.net.find(&principal);
        match (&self.outcome, node) {
            (Outcome::Flow(accepted), Some(node)) if accepted.through.contains_key(&node) => {
                self.explain_flow(accepted, node)
            }
            (Outcome::Introducers(accepted), Some(node)) if accepted.contains_key(&node) => {
                self.explain_introducers(accepted, node)
            }
            _ => Explanation::Not(self.explain_refusal(&principal)),
        }
    }

    fn explain_flow(&self, accepted: &Accepted, node: Node) -> Explanation {
        let mut steps = Vec::new();
        let mut at = node;
        while let Some(Some(through)) = accepted.through.get(&at) {
            steps.extend(self.step(*through, at));
            at = *through;
        }
        steps.reverse();
        if steps.is_empty() { Explanation::Root } else { Explanation::Flow { steps } }
    }

    fn explain_introducers(&self, accepted: &BTreeMap<Node, Introduced>, node: Node) -> Explanation {
        let Some(introduced) = accepted.get(&node).filter(|one| one.depth > 0) else {
            return Explanation::Root;
        };
        let by = introduced.by.iter().filter_map(|&by| self.step(by, node)).collect();
        Explanation::Introducers { by, depth: introduced.depth }
    }

    fn explain_refusal(&self, principal: &NodeId) -> NotTrusted {
        let mut attesting: Vec<NodeId> = self
            .keys_of(principal)
            .iter()
            .flat_map(|key| self.said_of(key))
            .filter(|one| one.holds_at(self.unix_ms))
            .filter_map(|one| self.people.speaks_for(&one.issuer, self.unix_ms))
            .collect();
        attesting.sort_unstable();
        attesting.dedup();
        if attesting.is_empty() {
            return NotTrusted::Unattested;
        }
        let trusted = attesting.iter().filter(|issuer| self.is_accepted(issuer)).count();
        match (trusted, self.policy) {
            (0, _) => NotTrusted::OutOfReach { attested_by: attesting.len() },
            (_, Policy::Flow { .. }) => NotTrusted::NoneLeft { attested_by: trusted },
            (_, Policy::Introducers { .. }) => NotTrusted::TooFew { attested_by: trusted },
        }
    }

    /// The attestation by which one principal introduces another: the strongest, then the lowest ID.
    fn step(&self, from: Node, to: Node) -> Option<Step> {
        let (issuer, subject) = (self.net.id(from), self.net.id(to));
        let attestation = self.between(&issuer, &subject).max_by_key(|one| {
            let id: OpId = one.id();
            (one.level, core::cmp::Reverse(id))
        })?;
        let (level, name) = (attestation.level, attestation.name.clone());
        Some(Step { issuer, subject, attestation: attestation.id(), level, name })
    }

    fn is_accepted(&self, principal: &NodeId) -> bool {
        let Some(node) = self.net.find(principal) else { return false };
        match &self.outcome {
            Outcome::Unknown => false,
            Outcome::Flow(accepted) => accepted.through.contains_key(&node),
            Outcome::Introducers(accepted) => accepted.contains_key(&node),
        }
    }

    /// Works out what one key's word about another makes of their principals.
    fn update(&mut self, issuer: NodeId, subject: NodeId) {
        let Some(from) = self.people.speaks_for(&issuer, self.unix_ms) else { return };
        let to = self.people.principal(&subject, self.unix_ms);
        let counts = !self.blocked.contains(&from) && !self.blocked.contains(&to);
        let level = if counts { self.between(&from, &to).map(|one| one.level).max() } else { None };
        if self.net.set(from, to, level) {
            self.outcome = Outcome::Unknown;
        }
    }

    /// All that one principal's keys say of another's and that counts now.
    fn between<'a>(&'a self, from: &NodeId, to: &NodeId) -> impl Iterator<Item = &'a Signed<Attestation>> {
        // A key that handed over, or whose certificate ended, speaks for the principal no longer.
        let mut issuers = self.keys_of(from);
        issuers.retain(|key| {
            self.people.speaks_for(key, self.unix_ms) == Some(*from) && !self.blocked.contains(key)
        });
        let mut subjects = self.keys_of(to);
        subjects.retain(|key| self.people.principal(key, self.unix_ms) == *to);
        let rows = issuers.into_iter().filter_map(|issuer| self.said.get(&issuer));
        rows.flat_map(move |row| {
            subjects.clone().into_iter().filter_map(move |subject| row.get(&(subject, Attested::Person)))
        })
        .filter(|one| one.holds_at(self.unix_ms))
    }

    /// The keys that may stand for a principal: its name and what its log lists.
    fn keys_of(&self, principal: &NodeId) -> Vec<NodeId> {
        let mut keys = Vec::from([*principal]);
        if let Some(state) = self.people.get(principal) {
            keys.push(state.primary);
            keys.extend(state.certificates().map(|(certificate, _)| certificate.device));
            keys.sort_unstable();
            keys.dedup();
        }
        keys
    }

    /// Works out the whole net anew.
    fn rebuild(&mut self) {
        self.outcome = Outcome::Unknown;
        self.net = Net::default();
        let mut edges: BTreeMap<(NodeId, NodeId), Level> = BTreeMap::new();
        for (issuer, row) in &self.said {
            let Some(from) = self.people.speaks_for(issuer, self.unix_ms) else { continue };
            if self.blocked.contains(&from) || self.blocked.contains(issuer) {
                continue;
            }
            for ((subject, claim), attestation) in row {
                let to = self.people.principal(subject, self.unix_ms);
                if *claim == Attested::Person
                    && attestation.holds_at(self.unix_ms)
                    && !self.blocked.contains(&to)
                {
                    let level = edges.entry((from, to)).or_insert(attestation.level);
                    *level = attestation.level.max(*level);
                }
            }
        }
        for ((from, to), level) in edges {
            self.net.set(from, to, Some(level));
        }
    }
}
