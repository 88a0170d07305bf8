//! Attestations and person statements that travel in the control graph of a space, so that members have each other's.

use alloc::vec::Vec;

use super::attestation::Attestation;
use super::web::WebOfTrust;
use crate::control::{Action, ControlGraph};
use crate::person::{PersonFault, PersonStatement};
use crate::signed::{Signable, Signed, Unverified};

/// The kind of extension whose body is a signed [`Attestation`] (rule ID-31).
pub const CARRIES_ATTESTATION: u8 = 128;
/// The kind of extension whose body is a signed [`PersonStatement`] (rule ID-31).
pub const CARRIES_PERSON: u8 = 129;

impl Signed<Attestation> {
    /// The control statement that carries it to the members of a space.
    pub fn carried(&self) -> Action {
        Action::Extension { kind: CARRIES_ATTESTATION, body: self.bytes().to_vec() }
    }
}

impl Signed<PersonStatement> {
    /// The control statement that carries it to the members of a space.
    pub fn carried(&self) -> Action {
        Action::Extension { kind: CARRIES_PERSON, body: self.bytes().to_vec() }
    }
}

impl WebOfTrust {
    /// Takes in what the members of a space published in its graph, whoever of them passed it on; what does not decode or
    /// verify is passed over. Returns how much was taken. Costs half a signature check for each.
    pub fn gather(&mut self, graph: &ControlGraph) -> usize {
        let people: Vec<Signed<PersonStatement>> = verified(graph, CARRIES_PERSON);
        let attestations: Vec<Signed<Attestation>> = verified(graph, CARRIES_ATTESTATION);
        let taken = attestations.into_iter().filter(|one| self.insert(one.clone()).is_ok()).count();
        // A log may have been published piece by piece, and by several members.
        let (mut open, mut before) = (people, usize::MAX);
        let all = open.len();
        while open.len() < before {
            before = open.len();
            open.retain(|one| matches!(self.insert_person(one.clone()), Err(PersonFault::Missing(_))));
        }
        taken + all - open.len()
    }
}

fn verified<T: Signable>(graph: &ControlGraph, kind: u8) -> Vec<Signed<T>> {
    let bodies = graph.statements().filter_map(|statement| match &statement.value().action {
        Action::Extension { kind: of, body } if *of == kind => Some(body),
        _ => None,
    });
    let batch: Vec<Unverified<T>> = bodies.filter_map(|body| Unverified::from_bytes(body).ok()).collect();
    Unverified::verify_all(batch).into_iter().filter_map(Result::ok).collect()
}
