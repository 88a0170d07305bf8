#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

use alloc::vec::Vec;

use crate::wire::{self, DecodeError};

/// How a part of a space is kept: the body of an [`super::Action::Policy`] (rule ID-30). What is not set is as the part
/// around it has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// Who may pass on grants that reach only below here; the root always may.
    pub grantors: Option<Grantors>,
    /// Into how many shards what is stored is cut, and how many more are added.
    pub redundancy: Option<Redundancy>,
    /// The merge strategy for what is below, by its number in the documents' schema.
    pub merge: Option<u8>,
    /// For how many days replaced versions are kept; 0 for ever.
    pub retention_days: Option<u32>,
    /// Whether newcomers are given the keys of what was written before they came.
    pub history_for_newcomers: Option<bool>,
    /// Fields of later versions, ascending.
    later: Vec<(u8, Vec<u8>)>,
}

/// Who may pass on a grant, within its depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grantors {
    /// Whoever holds one.
    Holders,
    /// Who may manage all of the new grant's prefix.
    Managers,
    /// The root alone.
    Root,
}

/// Shards of an erasure code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Redundancy {
    /// So many suffice; at least 1.
    pub data: u16,
    /// So many may be lost.
    pub parity: u16,
}

const GRANTORS: u8 = 0;
const REDUNDANCY: u8 = 1;
const MERGE: u8 = 2;
const RETENTION: u8 = 3;
const HISTORY: u8 = 4;
/// Fields from here on are skipped by who does not know them (rule ID-30).
const FIRST_OPTIONAL: u8 = 128;
const MAX_FIELDS: usize = 64;
const MAX_FIELD_BYTES: usize = 1024;

/// Whom a policy's body lets grant; one that does not decode sets nothing.
pub(crate) fn grantors_of(body: &[u8]) -> Option<Grantors> {
    wire::whole(body, Policy::decode).ok()?.grantors
}

impl Policy {
    /// What holds where this policy lies within `outer`: its own fields, then those of `outer`; of grantors the stricter.
    #[must_use]
    pub fn within(self, outer: &Self) -> Self {
        Self {
            grantors: self.grantors.max(outer.grantors),
            redundancy: self.redundancy.or(outer.redundancy),
            merge: self.merge.or(outer.merge),
            retention_days: self.retention_days.or(outer.retention_days),
            history_for_newcomers: self.history_for_newcomers.or(outer.history_for_newcomers),
            later: self.later,
        }
    }

    /// The body of an [`super::Action::Policy`]: version, count, and fields ascending by number, each behind its length.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut fields: Vec<(u8, Vec<u8>)> = Vec::new();
        let varints = |values: &[u64]| {
            let mut body = Vec::new();
            values.iter().for_each(|value| wire::put_varint(&mut body, *value));
            body
        };
        fields.extend(self.grantors.map(|grantors| (GRANTORS, Vec::from([grantors as u8]))));
        fields.extend(
            self.redundancy.map(|r| (REDUNDANCY, varints(&[u64::from(r.data), u64::from(r.parity)]))),
        );
        fields.extend(self.merge.map(|merge| (MERGE, Vec::from([merge]))));
        fields.extend(self.retention_days.map(|days| (RETENTION, varints(&[u64::from(days)]))));
        fields.extend(self.history_for_newcomers.map(|given| (HISTORY, Vec::from([u8::from(given)]))));
        fields.extend(self.later.iter().cloned());
        out.push(1);
        wire::put_varint(out, fields.len() as u64);
        for (number, body) in fields {
            out.push(number);
            wire::put_bytes(out, &body);
        }
    }

    /// Takes a policy off the front of `input`. Fields of later versions are kept as they are.
    ///
    /// # Errors
    /// [`DecodeError`].
    pub fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        wire::take_version(input, 1)?;
        let count = wire::take_count(input, MAX_FIELDS, 2)?;
        let (mut policy, mut last) = (Self::default(), None);
        for _ in 0..count {
            let number = wire::take_u8(input)?;
            let body = wire::take_bytes(input, MAX_FIELD_BYTES)?;
            if last.is_some_and(|last| last >= number) {
                return Err(DecodeError::NotCanonical);
            }
            last = Some(number);
            wire::whole(body, |body| policy.take_field(number, body))?;
        }
        Ok(policy)
    }

    fn take_field(&mut self, number: u8, body: &mut &[u8]) -> Result<(), DecodeError> {
        let narrow = |value: u64| u16::try_from(value).map_err(|_| DecodeError::OutOfRange);
        match number {
            GRANTORS => {
                self.grantors = Some(match wire::take_u8(body)? {
                    0 => Grantors::Holders,
                    1 => Grantors::Managers,
                    2 => Grantors::Root,
                    _ => return Err(DecodeError::OutOfRange),
                });
            }
            REDUNDANCY => {
                let (data, parity) = (narrow(wire::take_varint(body)?)?, narrow(wire::take_varint(body)?)?);
                if data == 0 {
                    return Err(DecodeError::OutOfRange);
                }
                self.redundancy = Some(Redundancy { data, parity });
            }
            MERGE => self.merge = Some(wire::take_u8(body)?),
            RETENTION => {
                let days = u32::try_from(wire::take_varint(body)?).map_err(|_| DecodeError::OutOfRange)?;
                self.retention_days = Some(days);
            }
            HISTORY => self.history_for_newcomers = Some(wire::take_bool(body)?),
            FIRST_OPTIONAL.. => self.later.push((number, core::mem::take(body).to_vec())),
            _ => return Err(DecodeError::Unsupported),
        }
        Ok(())
    }
}
