#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

use alloc::string::String;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::fmt;

use thiserror::Error;

use crate::area::TIME_END_MS;
use crate::id::OpId;
use crate::name;
use crate::node_id::NodeId;
use crate::secret_key::SecretKey;
use crate::signature::Domain;
use crate::signed::{Signable, Signed};
use crate::wire::{self, DecodeError};

/// Sequence numbers stay far from overflow.
const SEQ_END: u64 = 1 << 48;
const VERSION: u8 = 1;
/// Claims from here on may be skipped by who does not know them; below, they may not (rule ID-23).
const FIRST_OPTIONAL: u8 = 128;

/// What is attested of the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Attested {
    /// That a person of the issuer's acquaintance holds this key, and no other key the issuer attested.
    Person,
    /// A claim of a later version, 128 and above: kept and passed on, and no one is trusted for it.
    Extension(u8),
}

/// How much the issuer stands up for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// No longer, or never: takes an earlier attestation back.
    Withdrawn,
    /// Somewhat: a quarter of the trust of a full one; counts as one of several introducers.
    Marginal,
    /// As for itself.
    Full,
}

impl Level {
    /// The share of trust that flows along it, beside others of the same issuer.
    pub(crate) const fn weight(self) -> u8 {
        match self {
            Self::Withdrawn => 0,
            Self::Marginal => 1,
            Self::Full => 4,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Withdrawn => "withdrawn",
            Self::Marginal => "marginal",
            Self::Full => "full",
        })
    }
}

/// One key's signed word about another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attestation {
    /// Who says it: a key that speaks for a person, or a lone device.
    pub issuer: NodeId,
    /// Of whom.
    pub subject: NodeId,
    /// What.
    pub claim: Attested,
    /// How firmly.
    pub level: Level,
    /// Counts what the issuer says of this subject and claim: the highest is meant.
    pub seq: u64,
    /// From when, in milliseconds since 1970. Before it the attestation does not count.
    pub unix_ms: u64,
    /// The first millisecond at which it counts no longer; `u64::MAX` if there is none.
    pub until_ms: u64,
    /// What the issuer calls the subject: a suggestion, and never more than that.
    pub name: Option<String>,
}

/// The attestation says something that its encoding cannot; the content is what the decoder says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a valid attestation: {0}")]
pub struct AttestationError(pub DecodeError);

impl Attestation {
    /// Signs an attestation with the key it names.
    ///
    /// # Errors
    /// [`AttestationError`] if a number is out of range, the name is none, or the issuer attests itself.
    pub fn sign(key: &SecretKey, attestation: Self) -> Result<Signed<Self>, AttestationError> {
        if attestation.issuer != key.node_id() {
            return Err(AttestationError(DecodeError::BadNodeId));
        }
        let mut bytes = Vec::new();
        attestation.encode(&mut bytes);
        if wire::whole(&bytes, Self::decode).map_err(AttestationError)? != attestation {
            return Err(AttestationError(DecodeError::OutOfRange));
        }
        Ok(Signed::sign(key, attestation))
    }

    /// Whether it counts at a time: begun, not over, not withdrawn.
    pub fn holds_at(&self, unix_ms: u64) -> bool {
        self.level != Level::Withdrawn && self.unix_ms <= unix_ms && unix_ms < self.until_ms
    }
}

impl Signed<Attestation> {
    /// Of two that an issuer made of one subject the greater counts: the higher number; of one number the weaker; of these
    /// the lower ID, so that all agree.
    pub(crate) fn precedence(&self) -> (u64, Reverse<Level>, Reverse<OpId>) {
        (self.seq, Reverse(self.level), Reverse(self.id()))
    }
}

/// Rule ID-23: version, issuer, subject, claim, level, number, time, end, name.
impl Signable for Attestation {
    type Error = DecodeError;

    const DOMAIN: Domain = Domain::new("CosmicSync attestation v1");
    const MAX_LEN: usize = 192;

    fn signer(&self) -> NodeId {
        self.issuer
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(self.issuer.as_bytes());
        out.extend_from_slice(self.subject.as_bytes());
        out.push(match self.claim {
            Attested::Person => 0,
            Attested::Extension(kind) => kind,
        });
        out.push(match self.level {
            Level::Withdrawn => 0,
            Level::Marginal => 1,
            Level::Full => 2,
        });
        wire::put_varint(out, self.seq);
        wire::put_varint(out, self.unix_ms);
        wire::put_end(out, self.until_ms);
        out.push(u8::from(self.name.is_some()));
        if let Some(name) = &self.name {
            name::put(out, name);
        }
    }

    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        wire::take_version(input, VERSION)?;
        let issuer = wire::take_node_id(input)?;
        let subject = wire::take_node_id(input)?;
        let claim = match wire::take_u8(input)? {
            0 => Attested::Person,
            kind @ FIRST_OPTIONAL.. => Attested::Extension(kind),
            _ => return Err(DecodeError::Unsupported),
        };
        let level = match wire::take_u8(input)? {
            0 => Level::Withdrawn,
            1 => Level::Marginal,
            2 => Level::Full,
            _ => return Err(DecodeError::OutOfRange),
        };
        let (seq, unix_ms) = (wire::take_varint(input)?, wire::take_varint(input)?);
        let until_ms = wire::take_end(input)?;
        let name = wire::take_bool(input)?.then(|| name::take(input)).transpose()?;
        if seq >= SEQ_END || unix_ms >= TIME_END_MS || until_ms <= unix_ms || issuer == subject {
            return Err(DecodeError::OutOfRange);
        }
        Ok(Self { issuer, subject, claim, level, seq, unix_ms, until_ms, name })
    }
}
