#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use thiserror::Error;

use crate::area::TIME_END_MS;
use crate::clone::Sequenced;
use crate::control::{ascending, take_op_id};
use crate::id::OpId;
use crate::name::{self, MAX_NAME_BYTES};
use crate::node_id::NodeId;
use crate::secret_key::SecretKey;
use crate::signature::{Claim, Domain, Signature};
use crate::signed::{Signable, Signed};
use crate::wire::{self, DecodeError};

/// Devices that one person may have beside the key it speaks with.
pub const MAX_DEVICES: usize = 64;
/// Statements between two successions: some years of new phones.
pub const MAX_LINE: u64 = 1024;
/// Bytes of a device's label.
pub const MAX_LABEL_BYTES: usize = MAX_NAME_BYTES;

const VERSION: u8 = 1;
const FOUND: u8 = 0;
const CERTIFY: u8 = 1;
const WITHDRAW: u8 = 2;
const SUCCEED: u8 = 3;
/// As for control statements: kinds from here on may be skipped, below they may not (rule ID-18).
const FIRST_OPTIONAL: u8 = 128;
const MAX_OPAQUE_BYTES: usize = 1024;
/// Successions a log may have: more than a key a month for a lifetime.
const MAX_EPOCHS: u64 = 1024;
const CONSENT: Domain = Domain::new("CosmicSync person consent v1");

/// What is made public of the key that will follow: its hash, so that nobody knows whom to rob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Commitment([u8; 32]);

impl Commitment {
    /// Commits to a key (rule ID-20).
    pub fn to(key: &NodeId) -> Self {
        Self(blake3::derive_key("CosmicSync 2026 cs-identity committed successor", key.as_bytes()))
    }

    /// The hash.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A key's word that it belongs to a person: without it, anyone could claim another's device as their own (rule ID-19).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Consent(Signature);

impl Consent {
    /// Consents, with the key that is to join, to belonging to `person`.
    pub fn sign(key: &SecretKey, person: &NodeId) -> Self {
        Self(key.sign(CONSENT, person.as_bytes()))
    }

    /// Takes a consent as it came; it is checked where it is used.
    pub const fn from_signature(signature: Signature) -> Self {
        Self(signature)
    }

    /// The bytes, to be sent to who certifies.
    pub const fn signature(&self) -> &Signature {
        &self.0
    }

    pub(crate) fn claim<'a>(&self, key: NodeId, person: &'a NodeId) -> Claim<'a> {
        Claim { signer: key, domain: CONSENT, message: person.as_bytes(), signature: self.0 }
    }
}

/// That a device is a person's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The device.
    pub device: NodeId,
    /// What the person calls it: 1 to [`MAX_LABEL_BYTES`] bytes of UTF-8 without control or formatting characters.
    pub label: String,
    /// The first millisecond since 1970 at which it is the person's no longer; `u64::MAX` if there is none.
    pub until_ms: u64,
    /// The device's own word.
    pub consent: Consent,
}

/// What a person says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PersonAction {
    /// Begins the log; signed by the key that names the person.
    Found {
        /// The key that follows, if one is committed to.
        next: Option<Commitment>,
    },
    /// Takes a device in, or renews what is said of it.
    Certify(Certificate),
    /// Lets a device go.
    Withdraw {
        /// The device.
        device: NodeId,
    },
    /// Hands the log to another key.
    Succeed {
        /// The key that speaks from here on.
        primary: NodeId,
        /// The key that follows it, if one is committed to.
        next: Option<Commitment>,
        /// The new key's word, where another key signs.
        consent: Option<Consent>,
        /// The devices that remain, ascending, at most [`MAX_DEVICES`]. All others are let go.
        devices: Vec<Certificate>,
    },
    /// A kind of a later version that this one may pass on without understanding it.
    Extension {
        /// 128 and above.
        kind: u8,
        /// At most 1,024 bytes.
        body: Vec<u8>,
    },
}

/// One entry of a person's log.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PersonStatement {
    /// Whose log: the first key.
    pub person: NodeId,
    /// Who signs: the key that speaks for the person, or takes over.
    pub signer: NodeId,
    /// Counts successions; 0 for what the first key says.
    pub epoch: u64,
    /// Counts statements since the last succession, which is 0 as the founding is.
    pub seq: u64,
    /// The statement before; for a succession, the one that the epoch before began with. `None` for the founding.
    pub backlink: Option<OpId>,
    /// When the signer says it is, in milliseconds since 1970.
    pub unix_ms: u64,
    /// What it says.
    pub action: PersonAction,
}

/// A statement that only lacks its signer; made by [`PersonDraft::founding`] or [`super::PersonLog::next_draft`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PersonDraft {
    /// As in [`PersonStatement`]; `None` for a founding, which the signer names.
    pub person: Option<NodeId>,
    /// As in [`PersonStatement`].
    pub epoch: u64,
    /// As in [`PersonStatement`].
    pub seq: u64,
    /// As in [`PersonStatement`].
    pub backlink: Option<OpId>,
    /// As in [`PersonStatement`].
    pub unix_ms: u64,
    /// As in [`PersonStatement`].
    pub action: PersonAction,
}

impl PersonDraft {
    /// The first statement of whoever signs it.
    pub const fn founding(next: Option<Commitment>, unix_ms: u64) -> Self {
        let action = PersonAction::Found { next };
        Self { person: None, epoch: 0, seq: 0, backlink: None, unix_ms, action }
    }
}

/// The draft is not a statement that anyone would accept; the content is what the decoder says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a valid statement: {0}")]
pub struct PersonDraftError(pub DecodeError);

impl PersonStatement {
    /// Signs a draft. Costs one signature and one decoding.
    ///
    /// # Errors
    /// [`PersonDraftError`] if it is too long, out of range or lists something twice.
    pub fn sign(key: &SecretKey, draft: PersonDraft) -> Result<Signed<Self>, PersonDraftError> {
        let PersonDraft { person, epoch, seq, backlink, unix_ms, mut action } = draft;
        if let PersonAction::Succeed { devices, .. } = &mut action {
            devices.sort_by_key(|certificate| certificate.device);
        }
        let signer = key.node_id();
        let statement =
            Self { person: person.unwrap_or(signer), signer, epoch, seq, backlink, unix_ms, action };
        let mut bytes = Vec::new();
        statement.encode(&mut bytes);
        // What the encoding cannot say, such as an end at 0, comes back as something else.
        if wire::whole(&bytes, Self::decode).map_err(PersonDraftError)? != statement {
            return Err(PersonDraftError(DecodeError::OutOfRange));
        }
        Ok(Signed::sign(key, statement))
    }

    /// Whether it begins an epoch: a founding or a succession.
    pub(crate) const fn is_establishing(&self) -> bool {
        matches!(self.action, PersonAction::Found { .. } | PersonAction::Succeed { .. })
    }

    /// Every word of a key in it that is not its signature.
    pub(crate) fn consents(&self) -> Vec<Claim<'_>> {
        let of = |certificate: &Certificate| certificate.consent.claim(certificate.device, &self.person);
        match &self.action {
            PersonAction::Certify(certificate) => Vec::from([of(certificate)]),
            PersonAction::Succeed { primary, consent, devices, .. } => {
                let own = consent.iter().map(|consent| consent.claim(*primary, &self.person));
                own.chain(devices.iter().map(of)).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// Rule ID-18: version, kind, person, signer, epoch, sequence, backlink, time, body.
impl Signable for PersonStatement {
    type Error = DecodeError;

    const DOMAIN: Domain = Domain::new("CosmicSync person statement v1");
    /// A succession with the most devices and the longest labels.
    const MAX_LEN: usize = 256 + MAX_DEVICES * (32 + 2 + MAX_LABEL_BYTES + 8 + Signature::LEN);

    fn signer(&self) -> NodeId {
        self.signer
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.push(self.action.kind());
        out.extend_from_slice(self.person.as_bytes());
        if let Some(backlink) = &self.backlink {
            out.extend_from_slice(self.signer.as_bytes());
            wire::put_varint(out, self.epoch);
            if !self.is_establishing() {
                wire::put_varint(out, self.seq);
            }
            out.extend_from_slice(backlink.as_bytes());
        }
        wire::put_varint(out, self.unix_ms);
        wire::put_within(out, |body| self.action.encode(body));
    }

    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        wire::take_version(input, VERSION)?;
        let kind = wire::take_u8(input)?;
        let person = wire::take_node_id(input)?;
        let (mut signer, mut epoch, mut seq, mut backlink) = (person, 0, 0, None);
        if kind != FOUND {
            signer = wire::take_node_id(input)?;
            epoch = wire::take_varint(input)?;
            seq = if kind == SUCCEED { 0 } else { wire::take_varint(input)? };
            backlink = Some(take_op_id(input)?);
            let bounded = epoch < MAX_EPOCHS && seq <= MAX_LINE;
            if !bounded || (kind == SUCCEED) != (seq == 0) || (kind == SUCCEED && epoch == 0) {
                return Err(DecodeError::OutOfRange);
            }
        }
        let unix_ms = wire::take_varint(input)?;
        if unix_ms >= TIME_END_MS {
            return Err(DecodeError::OutOfRange);
        }
        let body = wire::take_bytes(input, Self::MAX_LEN)?;
        let action = wire::whole(body, |body| PersonAction::decode(kind, body))?;
        if let PersonAction::Succeed { primary, consent, .. } = &action
            && consent.is_some() != (*primary != signer)
        {
            return Err(DecodeError::NotCanonical);
        }
        Ok(Self { person, signer, epoch, seq, backlink, unix_ms, action })
    }
}

impl Sequenced for PersonStatement {
    fn log(&self) -> Option<[u8; 32]> {
        // An epoch is a log of its own: a succession goes back to the start of the one before.
        let mut hash = blake3::Hasher::new_derive_key("CosmicSync 2026 cs-identity log of a person");
        hash.update(self.person.as_bytes()).update(&self.epoch.to_le_bytes());
        Some(*hash.finalize().as_bytes())
    }

    fn seq(&self) -> u64 {
        self.seq
    }

    fn backlink(&self) -> Option<OpId> {
        self.backlink.filter(|_| self.seq > 0)
    }
}

impl PersonAction {
    const fn kind(&self) -> u8 {
        match self {
            Self::Found { .. } => FOUND,
            Self::Certify(_) => CERTIFY,
            Self::Withdraw { .. } => WITHDRAW,
            Self::Succeed { .. } => SUCCEED,
            Self::Extension { kind, .. } => *kind,
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Found { next } => put_commitment(out, next.as_ref()),
            Self::Certify(certificate) => certificate.encode(out),
            Self::Withdraw { device } => out.extend_from_slice(device.as_bytes()),
            Self::Succeed { primary, next, consent, devices } => {
                out.extend_from_slice(primary.as_bytes());
                put_commitment(out, next.as_ref());
                out.push(u8::from(consent.is_some()));
                if let Some(Consent(signature)) = consent {
                    out.extend_from_slice(signature.as_bytes());
                }
                wire::put_varint(out, devices.len() as u64);
                devices.iter().for_each(|certificate| certificate.encode(out));
            }
            Self::Extension { body, .. } => out.extend_from_slice(body),
        }
    }

    fn decode(kind: u8, input: &mut &[u8]) -> Result<Self, DecodeError> {
        match kind {
            FOUND => Ok(Self::Found { next: take_commitment(input)? }),
            CERTIFY => Certificate::decode(input).map(Self::Certify),
            WITHDRAW => Ok(Self::Withdraw { device: wire::take_node_id(input)? }),
            SUCCEED => {
                let primary = wire::take_node_id(input)?;
                let next = take_commitment(input)?;
                let consent = wire::take_bool(input)?.then(|| wire::take_array(input)).transpose()?;
                let count = wire::take_count(input, MAX_DEVICES, 32 + 2 + 1 + Signature::LEN)?;
                let mut devices: Vec<Certificate> = Vec::with_capacity(count);
                for _ in 0..count {
                    let certificate = Certificate::decode(input)?;
                    ascending(devices.last().map(|last| &last.device), &certificate.device)?;
                    devices.push(certificate);
                }
                let consent = consent.map(|bytes| Consent(Signature::from_bytes(bytes)));
                Ok(Self::Succeed { primary, next, consent, devices })
            }
            FIRST_OPTIONAL.. if input.len() > MAX_OPAQUE_BYTES => Err(DecodeError::TooLong),
            FIRST_OPTIONAL.. => Ok(Self::Extension { kind, body: core::mem::take(input).to_vec() }),
            _ => Err(DecodeError::Unsupported),
        }
    }
}

impl Certificate {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.device.as_bytes());
        name::put(out, &self.label);
        wire::put_end(out, self.until_ms);
        out.extend_from_slice(self.consent.0.as_bytes());
    }

    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        let device = wire::take_node_id(input)?;
        let label = name::take(input)?;
        let until_ms = wire::take_end(input)?;
        let consent = Consent(Signature::from_bytes(wire::take_array(input)?));
        Ok(Self { device, label, until_ms, consent })
    }
}

fn put_commitment(out: &mut Vec<u8>, next: Option<&Commitment>) {
    out.push(u8::from(next.is_some()));
    if let Some(Commitment(hash)) = next {
        out.extend_from_slice(hash);
    }
}

fn take_commitment(input: &mut &[u8]) -> Result<Option<Commitment>, DecodeError> {
    wire::take_bool(input)?.then(|| wire::take_array(input).map(Commitment)).transpose()
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.label, self.device.short())
    }
}
