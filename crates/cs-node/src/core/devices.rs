//! The devices of the person at this node: certificates, and a key to recover with (cs-identity, ID-18 to ID-20).

use cs_identity::person::{
    Certificate, Commitment, Consent, PersonAction, PersonDraft, PersonLog, PersonState, PersonStatement,
};
use cs_identity::wire::{put_bytes, take_bytes};
use cs_identity::{NodeId, SecretKey, Signable, Signature, Signed};
use cs_store::Disk;
use data_encoding::HEXLOWER;

use crate::api::{Device, Problem, ProblemCode, Reply};
use crate::core::NodeCore;
use crate::core::commands::{Answer, done};

/// Where the log of this device's person is kept.
const PERSON: &[u8] = b"person";

impl<D: Disk> NodeCore<D> {
    /// For `device`: the devices of the person whose device this is.
    pub(crate) fn devices(&self) -> Answer {
        let person = self.web_of_trust().people().speaks_for(&self.host.me, self.host.unix_ms());
        let person = person.unwrap_or(self.host.me);
        let state = self.log_of(&person).map(|log| log.state());
        let is_frozen = state.as_ref().is_some_and(|state| state.is_frozen);
        Ok(Reply::Devices { person: person.to_string(), is_frozen, devices: self.listed(state.as_ref()) })
    }

    fn listed(&self, state: Option<&PersonState>) -> Vec<Device> {
        let device = |node: NodeId, label: &str, speaks| Device {
            node: node.to_string(),
            label: label.to_owned(),
            me: node == self.host.me,
            speaks,
        };
        let Some(state) = state else { return vec![device(self.host.me, "", true)] };
        let certified = state.certificates().map(|(one, _)| device(one.device, &one.label, false));
        std::iter::once(device(state.primary, "", true)).chain(certified).collect()
    }

    /// For `device consent`: this device's word that it is a person's.
    pub(crate) fn consent(&self, person: &str) -> Answer {
        let person: NodeId = parse(person)?;
        let consent = Consent::sign(&self.host.secret, &person);
        Ok(Reply::Consent { consent: HEXLOWER.encode(consent.signature().as_bytes()) })
    }

    /// For `device add`: certifies a device that consented. The first one founds the person, with a key to recover with.
    pub(crate) fn add_device(&mut self, node: &str, label: String, consent: &str) -> Answer {
        let device: NodeId = parse(node)?;
        let bytes = HEXLOWER.decode(consent.trim().as_bytes()).ok();
        let bytes: Option<[u8; Signature::LEN]> = bytes.and_then(|bytes| bytes.try_into().ok());
        let Some(bytes) = bytes else { return Err(wrong("That is no consent.", CONSENT_HINT)) };
        let consent = Consent::from_signature(Signature::from_bytes(bytes));
        let (mut log, recovery) = match self.log_of(&self.host.me) {
            Some(log) => (log, None),
            None => self.found()?,
        };
        let until_ms = u64::MAX;
        let action = PersonAction::Certify(Certificate { device, label, until_ms, consent });
        let draft = log.next_draft(action, self.host.unix_ms());
        self.say(&mut log, draft)?;
        self.keep_and_tell(&log)?;
        Ok(Reply::Recovery { message: format!("{} is a device of yours.", device.short()), recovery })
    }

    /// For `device remove`.
    pub(crate) fn remove_device(&mut self, node: &str) -> Answer {
        let Some(mut log) = self.log_of(&self.host.me) else {
            return Err(wrong("This device speaks for no other.", LIST_HINT));
        };
        let fits = |one: &&Certificate| one.device.to_string().starts_with(node) || one.label == node;
        let state = log.state();
        let mut found = state.certificates().map(|(one, _)| one).filter(fits);
        let (Some(one), None) = (found.next(), found.next()) else {
            return Err(wrong("That is not one of your devices.", LIST_HINT));
        };
        let draft = log.next_draft(PersonAction::Withdraw { device: one.device }, self.host.unix_ms());
        self.say(&mut log, draft)?;
        self.keep_and_tell(&log)?;
        done(format!(
            "{} is no device of yours any more. `cosync revoke` takes its access.",
            one.device.short()
        ))
    }

    /// For `device recover`: this device speaks for the person from here on, whoever has the key that did.
    pub(crate) fn recover(&mut self, person: &str, key: &str) -> Answer {
        let person: NodeId = parse(person)?;
        let seed = HEXLOWER.decode(key.trim().as_bytes()).ok();
        let seed: Option<[u8; 32]> = seed.and_then(|bytes| bytes.try_into().ok());
        let (Some(seed), Some(mut log)) = (seed, self.log_of(&person)) else {
            return Err(wrong("That key recovers nobody known here.", "Join a space of the person's first."));
        };
        let kept = SecretKey::from_bytes(seed);
        // The recovery key takes over, and hands over to this device at once, which commits to a new one.
        let over = log.succession(kept.node_id(), Some(Commitment::to(&self.host.me)), None);
        let draft = log.next_draft(over, self.host.unix_ms());
        sign_into(&mut log, &kept, draft)?;
        let seed = self.host.random();
        let next = Commitment::to(&SecretKey::from_bytes(seed).node_id());
        let on = log.succession(self.host.me, Some(next), None);
        let draft = log.next_draft(on, self.host.unix_ms());
        self.say(&mut log, draft)?;
        self.keep_and_tell(&log)?;
        let message = format!("This device speaks for {}.", person.short());
        Ok(Reply::Recovery { message, recovery: Some(HEXLOWER.encode(&seed)) })
    }

    fn found(&mut self) -> Result<(PersonLog, Option<String>), Problem> {
        let seed = self.host.random();
        let next = Commitment::to(&SecretKey::from_bytes(seed).node_id());
        let draft = PersonDraft::founding(Some(next), self.host.unix_ms());
        let founding = PersonStatement::sign(&self.host.secret, draft).map_err(|_| refused())?;
        let log = PersonLog::new(founding).map_err(|_| refused())?;
        Ok((log, Some(HEXLOWER.encode(&seed))))
    }

    fn say(&self, log: &mut PersonLog, draft: PersonDraft) -> Result<(), Problem> {
        sign_into(log, &self.host.secret, draft)
    }

    /// The log of a person that this node keeps or its spaces carry.
    fn log_of(&self, person: &NodeId) -> Option<PersonLog> {
        let web = self.web_of_trust();
        let mut log = web.people().log(person).cloned();
        for statement in self.kept_statements() {
            match &mut log {
                Some(log) => drop(log.insert(statement)),
                None => log = PersonLog::new(statement).ok().filter(|log| log.person() == *person),
            }
        }
        log
    }

    pub(crate) fn kept_statements(&self) -> Vec<Signed<PersonStatement>> {
        let kept = self.store.local(PERSON).unwrap_or_default();
        let (mut rest, mut statements) = (&kept[..], Vec::new());
        while let Ok(bytes) = take_bytes(&mut rest, PersonStatement::MAX_LEN + Signature::LEN) {
            statements.extend(Signed::from_bytes(bytes));
        }
        statements
    }

    /// Keeps the log, and publishes what the spaces of this device do not carry yet.
    fn keep_and_tell(&mut self, log: &PersonLog) -> Result<(), Problem> {
        let mut bytes = Vec::new();
        log.statements().for_each(|statement| put_bytes(&mut bytes, statement.bytes()));
        self.store.put_local(PERSON, &bytes);
        for space in self.spaces.values_mut() {
            for statement in log.statements() {
                let action = statement.carried();
                let is_there = space.graph.statements().any(|known| known.value().action == action);
                // A space in which this device holds nothing carries nothing of it.
                if !is_there && space.graph.members().iter().any(|(member, _)| *member == self.host.me) {
                    space.state(&mut self.host, &mut self.store, action)?;
                }
            }
        }
        Ok(())
    }
}

fn sign_into(log: &mut PersonLog, key: &SecretKey, draft: PersonDraft) -> Result<(), Problem> {
    let statement = PersonStatement::sign(key, draft).map_err(|_| refused())?;
    log.insert(statement).map_err(|fault| wrong(&format!("Refused: {fault}."), CONSENT_HINT))?;
    Ok(())
}

const CONSENT_HINT: &str = "On the device to add: `cosync device consent ID`, with the ID of this one.";
const LIST_HINT: &str = "`cosync device` lists your devices.";

fn parse(node: &str) -> Result<NodeId, Problem> {
    node.parse()
        .map_err(|_| wrong(&format!("`{node}` is no ID."), "`cosync id` prints a device's ID in full."))
}

fn wrong(what: &str, hint: &str) -> Problem {
    Problem::new(ProblemCode::Usage, what, hint)
}

fn refused() -> Problem {
    wrong("That cannot be said.", "A label has 1 to 64 bytes, without control characters or doubled blanks.")
}
