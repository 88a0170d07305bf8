use alloc::collections::{BTreeMap, BTreeSet};

use super::ledger::{PersonFault, PersonInserted, PersonLog, PersonState};
use super::statement::PersonStatement;
use crate::node_id::NodeId;
use crate::signed::Signed;

/// The people somebody knows, and which device is whose.
#[derive(Clone, Debug)]
pub struct People {
    known: BTreeMap<NodeId, Known>,
    /// For each key, the people that have it now or had it as the key that speaks.
    by_key: BTreeMap<NodeId, BTreeSet<NodeId>>,
    limit: usize,
}

#[derive(Clone, Debug)]
struct Known {
    log: PersonLog,
    state: PersonState,
}

impl People {
    /// Nobody yet, and at most `limit` people: at 300 bytes and 200 a device each.
    pub const fn new(limit: usize) -> Self {
        Self { known: BTreeMap::new(), by_key: BTreeMap::new(), limit }
    }

    /// Takes in a statement of anyone's log.
    ///
    /// # Errors
    /// [`PersonFault`]; nothing changed.
    pub fn insert(&mut self, statement: Signed<PersonStatement>) -> Result<PersonInserted, PersonFault> {
        let person = statement.person;
        if let Some(known) = self.known.get_mut(&person) {
            let inserted = known.log.insert(statement)?;
            if inserted == PersonInserted::New {
                let before = core::mem::replace(&mut known.state, known.log.state());
                let after = known.state.clone();
                self.unlink(&before);
                self.link(&after);
            }
            return Ok(inserted);
        }
        let log = PersonLog::new(statement)?;
        if self.known.len() >= self.limit {
            return Err(PersonFault::Full);
        }
        let state = log.state();
        self.link(&state);
        self.known.insert(person, Known { log, state });
        Ok(PersonInserted::New)
    }

    /// Forgets a person.
    pub fn forget(&mut self, person: &NodeId) {
        if let Some(known) = self.known.remove(person) {
            self.unlink(&known.state);
        }
    }

    /// The people known, ascending.
    pub fn people(&self) -> impl Iterator<Item = &PersonState> {
        self.known.values().map(|known| &known.state)
    }

    /// Who speaks for a person and which devices it has.
    pub fn get(&self, person: &NodeId) -> Option<&PersonState> {
        self.known.get(person).map(|known| &known.state)
    }

    /// All that is known of a person, to pass on.
    pub fn log(&self, person: &NodeId) -> Option<&PersonLog> {
        self.known.get(person).map(|known| &known.log)
    }

    /// Whom a key speaks for at a time: the one person that has it, or itself if no one ever claimed it. `None` for a key
    /// that gave its log to another, or that two people share.
    pub fn speaks_for(&self, key: &NodeId, unix_ms: u64) -> Option<NodeId> {
        let people = self.by_key.get(key).into_iter().flatten();
        let mut having =
            people.filter(|person| self.get(person).is_some_and(|state| state.has(key, unix_ms)));
        match (having.next(), having.next()) {
            (Some(person), None) => Some(*person),
            (None, _) if !self.known.contains_key(key) => Some(*key),
            _ => None,
        }
    }

    /// Who is meant by a key at a time: the person of that name, or the one that has the key, or else the key itself.
    pub fn principal(&self, key: &NodeId, unix_ms: u64) -> NodeId {
        if self.known.contains_key(key) {
            return *key;
        }
        self.speaks_for(key, unix_ms).unwrap_or(*key)
    }

    fn link(&mut self, state: &PersonState) {
        for key in keys(state) {
            self.by_key.entry(key).or_default().insert(state.person);
        }
    }

    fn unlink(&mut self, state: &PersonState) {
        for key in keys(state) {
            if let Some(people) = self.by_key.get_mut(&key) {
                people.remove(&state.person);
                if people.is_empty() {
                    self.by_key.remove(&key);
                }
            }
        }
    }
}

fn keys(state: &PersonState) -> impl Iterator<Item = NodeId> {
    let devices = state.certificates().map(|(certificate, _)| certificate.device);
    devices.chain(core::iter::once(state.primary))
}
