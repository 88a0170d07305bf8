#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use thiserror::Error;

use super::statement::{
    Certificate, Commitment, Consent, MAX_DEVICES, PersonAction, PersonDraft, PersonStatement,
};
use crate::clone::CloneProof;
use crate::id::OpId;
use crate::node_id::NodeId;
use crate::signature::verify_batch;
use crate::signed::Signed;

/// What became of a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PersonInserted {
    /// It counts, or shows a fork.
    New,
    /// It is here already.
    Duplicate,
    /// It comes after a fork, or belongs to an epoch that is over, and changes nothing.
    Void,
}

/// Why a statement was not taken. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PersonFault {
    /// It belongs to another person.
    #[error("it belongs to another person")]
    WrongPerson,
    /// What it builds on is not here: nobody is to blame, and it may be offered again once that is.
    #[error("the statement before it is missing")]
    Missing(OpId),
    /// The signer does not speak for the person, or is not the one committed to.
    #[error("its signer does not speak for the person")]
    NoAuthority,
    /// A device or key named in it did not consent.
    #[error("a key named in it did not consent")]
    NoConsent,
    /// The claimed time is before that of the statement it builds on.
    #[error("the claimed time goes backwards")]
    Backwards,
    /// The person has [`MAX_DEVICES`] devices already.
    #[error("too many devices")]
    TooManyDevices,
    /// As many people are known as may be.
    #[error("no room for another person")]
    Full,
}

/// What a person says of itself, as far as it is known, and what follows from it.
///
/// The outcome depends on the set of statements alone (rule ID-20). Nothing is kept that does not matter: at most 1,024
/// statements of the current epoch, and what began each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonLog {
    person: NodeId,
    epochs: Vec<Epoch>,
}

/// What one key says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Epoch {
    opening: Signed<PersonStatement>,
    /// A second opening: the lowest two IDs are kept, so that all who know of any two agree.
    rival: Option<Signed<PersonStatement>>,
    /// The statements after the opening, up to where they fork.
    line: Vec<Signed<PersonStatement>>,
    /// The lowest two of the statements that claim the number after the line's last.
    fork: Option<[Signed<PersonStatement>; 2]>,
}

/// A device of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    certificate: Certificate,
    from_ms: u64,
}

/// Who speaks for a person, and which devices it has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonState {
    /// The person.
    pub person: NodeId,
    /// The key that speaks for it.
    pub primary: NodeId,
    /// The key committed to.
    pub next: Option<Commitment>,
    /// Counts successions.
    pub epoch: u64,
    /// Whether a fork ended the log: nothing said after it counts until a committed successor takes over.
    pub is_frozen: bool,
    devices: BTreeMap<NodeId, Member>,
}

impl PersonState {
    /// The certified devices with the time from which they are, expired ones too, ascending. The key that speaks is none of them.
    pub fn certificates(&self) -> impl Iterator<Item = (&Certificate, u64)> {
        self.devices.values().map(|member| (&member.certificate, member.from_ms))
    }

    /// Whether a key is the person's at a time: the one that speaks, or a device whose certificate has begun and not ended.
    pub fn has(&self, key: &NodeId, unix_ms: u64) -> bool {
        *key == self.primary
            || self
                .devices
                .get(key)
                .is_some_and(|member| member.from_ms <= unix_ms && unix_ms < member.certificate.until_ms)
    }

    fn open(statement: &PersonStatement) -> Self {
        let (person, from_ms) = (statement.person, statement.unix_ms);
        let (primary, next, listed) = match &statement.action {
            PersonAction::Succeed { primary, next, devices, .. } => (*primary, *next, &devices[..]),
            PersonAction::Found { next } => (person, *next, &[][..]),
            _ => (person, None, &[][..]),
        };
        let member = |certificate: &Certificate| {
            (certificate.device, Member { certificate: certificate.clone(), from_ms })
        };
        let devices = listed.iter().map(member).collect();
        Self { person, primary, next, epoch: statement.epoch, is_frozen: false, devices }
    }

    fn step(&mut self, statement: &PersonStatement) {
        match &statement.action {
            PersonAction::Certify(certificate) => {
                let member = Member { certificate: certificate.clone(), from_ms: statement.unix_ms };
                self.devices.insert(certificate.device, member);
            }
            PersonAction::Withdraw { device } => {
                self.devices.remove(device);
            }
            _ => {}
        }
    }
}

impl PersonLog {
    /// A log from its founding.
    ///
    /// # Errors
    /// [`PersonFault::Missing`] if the statement is not a founding.
    pub fn new(founding: Signed<PersonStatement>) -> Result<Self, PersonFault> {
        if let Some(backlink) = founding.backlink {
            return Err(PersonFault::Missing(backlink));
        }
        Ok(Self { person: founding.person, epochs: Vec::from([Epoch::new(founding)]) })
    }

    /// The person.
    pub const fn person(&self) -> NodeId {
        self.person
    }

    /// Takes in a statement. Costs a check of each consent in it and a walk over the line.
    ///
    /// # Errors
    /// [`PersonFault`]; the log is unchanged.
    pub fn insert(&mut self, statement: Signed<PersonStatement>) -> Result<PersonInserted, PersonFault> {
        if statement.person != self.person {
            return Err(PersonFault::WrongPerson);
        }
        if self.statements().any(|known| known.id() == statement.id()) {
            return Ok(PersonInserted::Duplicate);
        }
        if statement.is_establishing() { self.insert_opening(statement) } else { self.insert_step(statement) }
    }

    /// A succession, or a second founding.
    fn insert_opening(&mut self, statement: Signed<PersonStatement>) -> Result<PersonInserted, PersonFault> {
        let index = usize::try_from(statement.epoch).unwrap_or(usize::MAX);
        if let Some(backlink) = statement.backlink {
            let before = index.checked_sub(1).and_then(|before| self.epochs.get(before));
            let before = before.ok_or(PersonFault::Missing(backlink))?;
            if before.rival.is_some() {
                return Ok(PersonInserted::Void);
            }
            if before.opening.id() != backlink {
                return Err(PersonFault::Missing(backlink));
            }
            check_succession(&before.opening, &statement)?;
        }
        match self.epochs.get_mut(index) {
            Some(epoch) => {
                epoch.contend(statement);
                self.epochs.truncate(index + 1);
            }
            None => {
                // What the epoch before said is restated or over.
                if let Some(before) = self.epochs.last_mut() {
                    (before.line, before.fork) = (Vec::new(), None);
                }
                self.epochs.push(Epoch::new(statement));
            }
        }
        Ok(PersonInserted::New)
    }

    fn insert_step(&mut self, statement: Signed<PersonStatement>) -> Result<PersonInserted, PersonFault> {
        let missing = PersonFault::Missing(statement.backlink.unwrap_or(statement.id()));
        let index = usize::try_from(statement.epoch).unwrap_or(usize::MAX);
        let is_last = index + 1 == self.epochs.len();
        let epoch = self.epochs.get_mut(index).ok_or(missing)?;
        let number = usize::try_from(statement.seq).unwrap_or(usize::MAX);
        let forked_at = epoch.fork.as_ref().map(|_| epoch.line.len() + 1);
        if !is_last || epoch.rival.is_some() || forked_at.is_some_and(|forked| forked < number) {
            return Ok(PersonInserted::Void);
        }
        let state = epoch.state_before(number).ok_or(missing)?;
        let before = match number.checked_sub(2) {
            None => &epoch.opening,
            Some(before) => epoch.line.get(before).ok_or(missing)?,
        };
        if statement.backlink != Some(before.id()) {
            return Err(missing);
        }
        if statement.signer != state.primary {
            return Err(PersonFault::NoAuthority);
        }
        if statement.unix_ms < before.unix_ms {
            return Err(PersonFault::Backwards);
        }
        if let PersonAction::Certify(certificate) = &statement.value().action
            && state.devices.len() >= MAX_DEVICES
            && !state.devices.contains_key(&certificate.device)
        {
            return Err(PersonFault::TooManyDevices);
        }
        verify_batch(&statement.consents()).map_err(|_| PersonFault::NoConsent)?;
        epoch.place(number, statement);
        Ok(PersonInserted::New)
    }

    /// Takes in statements in whatever order they come; returns how many were new.
    pub fn extend(&mut self, statements: impl IntoIterator<Item = Signed<PersonStatement>>) -> usize {
        let mut open: Vec<Signed<PersonStatement>> = statements.into_iter().collect();
        let mut taken = 0;
        loop {
            let before = open.len();
            open.retain(|statement| match self.insert(statement.clone()) {
                Ok(inserted) => {
                    taken += usize::from(inserted == PersonInserted::New);
                    false
                }
                Err(PersonFault::Missing(_)) => true,
                Err(_) => false,
            });
            if open.len() == before {
                return taken;
            }
        }
    }

    /// Who speaks for the person, and its devices.
    pub fn state(&self) -> PersonState {
        // A contested succession does not count, and what it contests says no more than it opened with.
        let contested = self.epochs.last().is_some_and(|epoch| epoch.rival.is_some());
        let last = self.epochs.len() - 1;
        match self.epochs.get(last.saturating_sub(usize::from(contested))) {
            Some(epoch) if contested => PersonState { is_frozen: true, ..PersonState::open(&epoch.opening) },
            Some(epoch) => {
                let mut state = PersonState::open(&epoch.opening);
                epoch.line.iter().for_each(|statement| state.step(statement));
                state.is_frozen = epoch.fork.is_some();
                state
            }
            None => unreachable!("a log begins with its founding and never loses it"),
        }
    }

    /// Proof of the fork that froze the log.
    pub fn clone_proof(&self) -> Option<CloneProof<PersonStatement>> {
        let epoch = self.epochs.last()?;
        let openings = epoch.rival.as_ref().map(|rival| (&epoch.opening, rival));
        let (a, b) = openings.or_else(|| epoch.fork.as_ref().map(|[a, b]| (a, b)))?;
        CloneProof::new(a, b)
    }

    /// What someone who knows nothing of the person needs, in an order in which it can be taken in.
    pub fn statements(&self) -> impl Iterator<Item = &Signed<PersonStatement>> {
        self.epochs.iter().flat_map(|epoch| {
            let openings = core::iter::once(&epoch.opening).chain(&epoch.rival);
            openings.chain(&epoch.line).chain(epoch.fork.iter().flatten())
        })
    }

    /// A draft of what the person says next, for the key that speaks to sign. A succession is signed by the key committed to
    /// if there is one.
    pub fn next_draft(&self, action: PersonAction, unix_ms: u64) -> PersonDraft {
        let state = self.state();
        let last = self.epochs.iter().rfind(|epoch| epoch.opening.epoch == state.epoch);
        let opening = last.map(|epoch| epoch.opening.id());
        let is_succession = matches!(action, PersonAction::Succeed { .. });
        let (seq, backlink) = match last {
            Some(epoch) if !is_succession => {
                (epoch.line.len() as u64 + 1, epoch.line.last().map(Signed::id).or(opening))
            }
            _ => (0, opening),
        };
        let latest = last.map_or(0, |epoch| epoch.line.last().unwrap_or(&epoch.opening).unix_ms);
        PersonDraft {
            person: Some(self.person),
            epoch: state.epoch + u64::from(is_succession),
            seq,
            backlink,
            unix_ms: unix_ms.max(latest),
            action,
        }
    }

    /// The succession that keeps the devices there are.
    pub fn succession(
        &self,
        primary: NodeId,
        next: Option<Commitment>,
        consent: Option<Consent>,
    ) -> PersonAction {
        let devices = self.state().devices.into_values().map(|member| member.certificate);
        let devices = devices.filter(|certificate| certificate.device != primary).collect();
        PersonAction::Succeed { primary, next, consent, devices }
    }
}

/// Rule ID-20: by the key committed to, or by the one that speaks if none is.
fn check_succession(
    before: &Signed<PersonStatement>,
    statement: &Signed<PersonStatement>,
) -> Result<(), PersonFault> {
    let (state, PersonAction::Succeed { primary, .. }) =
        (PersonState::open(before), &statement.value().action)
    else {
        return Err(PersonFault::NoAuthority);
    };
    let entitled = match &state.next {
        Some(next) => statement.signer == *primary && *next == Commitment::to(primary),
        None => statement.signer == state.primary,
    };
    if !entitled {
        return Err(PersonFault::NoAuthority);
    }
    if statement.unix_ms < before.unix_ms {
        return Err(PersonFault::Backwards);
    }
    verify_batch(&statement.consents()).map_err(|_| PersonFault::NoConsent)
}

impl Epoch {
    const fn new(opening: Signed<PersonStatement>) -> Self {
        Self { opening, rival: None, line: Vec::new(), fork: None }
    }

    /// Another opening of the same epoch: both are void, and with them all that follows.
    fn contend(&mut self, other: Signed<PersonStatement>) {
        let mut all = Vec::from([self.opening.clone(), other]);
        all.extend(self.rival.take());
        all.sort_by_key(Signed::id);
        let mut lowest = all.into_iter();
        if let Some(opening) = lowest.next() {
            *self = Self { rival: lowest.next(), ..Self::new(opening) };
        }
    }

    /// The state after all of the line before a number, if the line reaches that far.
    fn state_before(&self, number: usize) -> Option<PersonState> {
        let line = self.line.get(..number.checked_sub(1)?)?;
        let mut state = PersonState::open(&self.opening);
        line.iter().for_each(|statement| state.step(statement));
        Some(state)
    }

    /// Puts a statement in its place, which is at most one after the line, or into the fork there.
    fn place(&mut self, number: usize, statement: Signed<PersonStatement>) {
        let index = number - 1;
        let contenders: Vec<Signed<PersonStatement>> = if index < self.line.len() {
            self.line.get(index).cloned().into_iter().collect()
        } else {
            self.fork.take().into_iter().flatten().collect()
        };
        self.line.truncate(index);
        if contenders.is_empty() {
            self.line.push(statement);
            return;
        }
        let mut all = contenders;
        all.push(statement);
        all.sort_by_key(Signed::id);
        let mut lowest = all.into_iter();
        if let (Some(a), Some(b)) = (lowest.next(), lowest.next()) {
            self.fork = Some([a, b]);
        }
    }
}
