//! What the network keeps: signed records that say who they are from and when they end, and values named by their hash.

use super::codec::{ADDRESS_LEAST, DecodeError, Extensions, put_address, take_address, take_u64, whole};
use crate::Contact;
use crate::key::Key;
use alloc::vec::Vec;
use core::net::SocketAddr;
use cs_identity::wire::{
    self, put_bytes, put_varint, take_array, take_bytes, take_count, take_node_id, take_u8,
};
use cs_identity::{Domain, NodeId, Signable, Signature, Signed, SignedFault};

/// The most addresses of one peer: both families on a few interfaces, mapped and relayed.
pub const MAX_ADDRS: usize = 8;
/// The largest payload of a provider record: sealed addresses and an ID.
pub const MAX_PAYLOAD: usize = 256;
/// The longest salt of a mutable value.
pub const MAX_SALT: usize = 64;
/// The largest value. With all that surrounds it, it still fits a message.
pub const MAX_VALUE: usize = 768;
/// The most bootstrap peers of a network configuration.
pub const MAX_BOOTSTRAP: usize = 8;
/// The largest record, signature included: what a `Store` holds beside its own fields.
pub const MAX_RECORD: usize = 1_060;

/// The version of the records' layouts.
const VERSION: u8 = 1;
const MAX_SIGNED: usize = MAX_RECORD - Signature::LEN;

/// Where a peer is and what it is, by itself (DHT-8). Kept under [`Key::of_peer`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerRecord {
    /// Who it is about, and who signs it.
    pub id: NodeId,
    /// Where it can be reached, best first. At most [`MAX_ADDRS`].
    pub addrs: Vec<SocketAddr>,
    /// What it does for others, as bits that this crate does not interpret.
    pub roles: u8,
    /// Of two records the one with the higher number holds.
    pub seq: u64,
    /// From then on it is void: milliseconds since 1970.
    pub expires_unix_ms: u64,
    /// What later versions add.
    pub extensions: Extensions,
}

/// Somebody holds something (DHT-9). Many publishers share one key.
///
/// The key should be blinded and the publisher a pseudonym, both derived from a secret of those who may know, and the
/// payload sealed to them: then a bystander learns neither what is held nor by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderRecord {
    /// What is held: a blinded name.
    pub key: [u8; 32],
    /// Who signs.
    pub publisher: NodeId,
    /// Of two records of one publisher under one key the one with the higher number holds.
    pub seq: u64,
    /// From then on it is void: milliseconds since 1970.
    pub expires_unix_ms: u64,
    /// How to reach the holder. At most [`MAX_PAYLOAD`] bytes, opaque to this crate.
    pub payload: Vec<u8>,
    /// What later versions add.
    pub extensions: Extensions,
}

/// A value that its publisher can replace (DHT-10). Kept under [`Key::of_mutable`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MutableValue {
    /// Who signs.
    pub publisher: NodeId,
    /// Tells the values of one publisher apart. At most [`MAX_SALT`] bytes.
    pub salt: Vec<u8>,
    /// Of two values the one with the higher number holds. At least 1: 0 stands for "none" in compare-and-swap.
    pub seq: u64,
    /// From then on it is void: milliseconds since 1970.
    pub expires_unix_ms: u64,
    /// At most [`MAX_VALUE`] bytes.
    pub value: Vec<u8>,
    /// What later versions add.
    pub extensions: Extensions,
}

/// A value whose key is its hash (DHT-11): at most [`MAX_VALUE`] bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImmutableValue(Vec<u8>);

/// What a network's authority says about it (DHT-12).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkConfig {
    /// Who signs.
    pub authority: NodeId,
    /// Of two configurations the one with the higher number holds; a lower one is never gone back to. At least 1.
    pub seq: u64,
    /// From then on it is void: milliseconds since 1970.
    pub expires_unix_ms: u64,
    /// The lowest and the highest version of this protocol that the network speaks.
    pub versions: (u8, u8),
    /// Where to start. At most [`MAX_BOOTSTRAP`], each with one to four addresses.
    pub bootstrap: Vec<Contact>,
    /// What later versions add.
    pub extensions: Extensions,
}

/// The most addresses of one bootstrap peer.
const MAX_BOOTSTRAP_ADDRS: usize = 4;

/// Any record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Record {
    /// Where a peer is.
    Peer(Signed<PeerRecord>),
    /// Who holds something.
    Provider(Signed<ProviderRecord>),
    /// A value that its publisher can replace.
    Mutable(Signed<MutableValue>),
    /// A value named by its hash.
    Immutable(ImmutableValue),
}

/// The kinds of record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordKind {
    /// [`Record::Peer`].
    Peer,
    /// [`Record::Provider`].
    Provider,
    /// [`Record::Mutable`].
    Mutable,
    /// [`Record::Immutable`].
    Immutable,
}

impl Record {
    /// Bytes of the smallest on the wire.
    pub(crate) const LEAST: usize = 2;

    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> RecordKind {
        match self {
            Self::Peer(_) => RecordKind::Peer,
            Self::Provider(_) => RecordKind::Provider,
            Self::Mutable(_) => RecordKind::Mutable,
            Self::Immutable(_) => RecordKind::Immutable,
        }
    }

    /// Where it belongs.
    #[must_use]
    pub fn key(&self) -> Key {
        match self {
            Self::Peer(record) => Key::of_peer(&record.id),
            Self::Provider(record) => Key::from_bytes(record.key),
            Self::Mutable(value) => Key::of_mutable(&value.publisher, &value.salt),
            Self::Immutable(value) => value.key(),
        }
    }

    /// Who signed it; nobody signs immutable values.
    #[must_use]
    pub fn publisher(&self) -> Option<NodeId> {
        match self {
            Self::Peer(record) => Some(record.id),
            Self::Provider(record) => Some(record.publisher),
            Self::Mutable(value) => Some(value.publisher),
            Self::Immutable(_) => None,
        }
    }

    /// Its sequence number; 0 for immutable values.
    #[must_use]
    pub fn seq(&self) -> u64 {
        match self {
            Self::Peer(record) => record.seq,
            Self::Provider(record) => record.seq,
            Self::Mutable(value) => value.seq,
            Self::Immutable(_) => 0,
        }
    }

    /// When it is void, in milliseconds since 1970; immutable values do not say.
    #[must_use]
    pub fn expires_unix_ms(&self) -> Option<u64> {
        match self {
            Self::Peer(record) => Some(record.expires_unix_ms),
            Self::Provider(record) => Some(record.expires_unix_ms),
            Self::Mutable(value) => Some(value.expires_unix_ms),
            Self::Immutable(_) => None,
        }
    }

    /// The record's own bytes: the signed ones as received, or the value.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Peer(record) => record.bytes(),
            Self::Provider(record) => record.bytes(),
            Self::Mutable(value) => value.bytes(),
            Self::Immutable(value) => value.bytes(),
        }
    }

    /// Bytes on the wire.
    pub(crate) fn encoded_len(&self) -> usize {
        let length = self.bytes().len();
        length + if length < 128 { 2 } else { 3 }
    }

    /// Reads one record and checks its signature: about 45 us.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        let kind = RecordKind::decode(input)?;
        let bytes = take_bytes(input, MAX_RECORD)?;
        match kind {
            RecordKind::Peer => signed(bytes).map(Self::Peer),
            RecordKind::Provider => signed(bytes).map(Self::Provider),
            RecordKind::Mutable => signed(bytes).map(Self::Mutable),
            RecordKind::Immutable => ImmutableValue::new(bytes.to_vec())
                .map(Self::Immutable)
                .ok_or_else(|| wire::DecodeError::TooLong.into()),
        }
    }

    /// Reads one record that fills `bytes`.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        whole(bytes, Self::decode)
    }

    /// Appends the record's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.kind().encode(out);
        put_bytes(out, self.bytes());
    }
}

impl RecordKind {
    pub(crate) fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        match take_u8(input)? {
            1 => Ok(Self::Peer),
            2 => Ok(Self::Provider),
            3 => Ok(Self::Mutable),
            4 => Ok(Self::Immutable),
            other => Err(DecodeError::Kind(other)),
        }
    }

    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        out.push(match self {
            Self::Peer => 1,
            Self::Provider => 2,
            Self::Mutable => 3,
            Self::Immutable => 4,
        });
    }
}

impl ImmutableValue {
    /// A value; `None` above [`MAX_VALUE`] bytes.
    #[must_use]
    pub fn new(value: Vec<u8>) -> Option<Self> {
        (value.len() <= MAX_VALUE).then_some(Self(value))
    }

    /// Where it belongs. A BLAKE3 of the value.
    #[must_use]
    pub fn key(&self) -> Key {
        Key::of_immutable(&self.0)
    }

    /// The value.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl NetworkConfig {
    pub(crate) fn decode_signed(input: &mut &[u8]) -> Result<Signed<Self>, DecodeError> {
        signed(take_bytes(input, MAX_RECORD)?)
    }

    pub(crate) fn encode_signed(signed: &Signed<Self>, out: &mut Vec<u8>) {
        put_bytes(out, signed.bytes());
    }
}

impl Signable for PeerRecord {
    type Error = DecodeError;
    const DOMAIN: Domain = Domain::new("cs-dht peer record v1");
    const MAX_LEN: usize = MAX_SIGNED;

    fn signer(&self) -> NodeId {
        self.id
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(self.id.as_bytes());
        put_addresses(out, &self.addrs);
        out.push(self.roles);
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.expires_unix_ms.to_be_bytes());
        self.extensions.encode(out);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        take_version(input)?;
        Ok(Self {
            id: take_node_id(input)?,
            addrs: take_addresses(input, 0, MAX_ADDRS)?,
            roles: take_u8(input)?,
            seq: take_u64(input)?,
            expires_unix_ms: take_u64(input)?,
            extensions: Extensions::decode(input)?,
        })
    }
}

impl Signable for ProviderRecord {
    type Error = DecodeError;
    const DOMAIN: Domain = Domain::new("cs-dht provider record v1");
    const MAX_LEN: usize = MAX_SIGNED;

    fn signer(&self) -> NodeId {
        self.publisher
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(&self.key);
        out.extend_from_slice(self.publisher.as_bytes());
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.expires_unix_ms.to_be_bytes());
        put_bytes(out, &self.payload);
        self.extensions.encode(out);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        take_version(input)?;
        Ok(Self {
            key: take_array(input)?,
            publisher: take_node_id(input)?,
            seq: take_u64(input)?,
            expires_unix_ms: take_u64(input)?,
            payload: take_bytes(input, MAX_PAYLOAD)?.to_vec(),
            extensions: Extensions::decode(input)?,
        })
    }
}

impl Signable for MutableValue {
    type Error = DecodeError;
    const DOMAIN: Domain = Domain::new("cs-dht mutable value v1");
    const MAX_LEN: usize = MAX_SIGNED;

    fn signer(&self) -> NodeId {
        self.publisher
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(self.publisher.as_bytes());
        put_bytes(out, &self.salt);
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.expires_unix_ms.to_be_bytes());
        put_bytes(out, &self.value);
        self.extensions.encode(out);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        take_version(input)?;
        let value = Self {
            publisher: take_node_id(input)?,
            salt: take_bytes(input, MAX_SALT)?.to_vec(),
            seq: take_u64(input)?,
            expires_unix_ms: take_u64(input)?,
            value: take_bytes(input, MAX_VALUE)?.to_vec(),
            extensions: Extensions::decode(input)?,
        };
        if value.seq == 0 { Err(wire::DecodeError::OutOfRange.into()) } else { Ok(value) }
    }
}

impl Signable for NetworkConfig {
    type Error = DecodeError;
    const DOMAIN: Domain = Domain::new("cs-dht network configuration v1");
    const MAX_LEN: usize = MAX_SIGNED;

    fn signer(&self) -> NodeId {
        self.authority
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(self.authority.as_bytes());
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.expires_unix_ms.to_be_bytes());
        out.extend_from_slice(&[self.versions.0, self.versions.1]);
        put_varint(out, self.bootstrap.len() as u64);
        for contact in &self.bootstrap {
            out.extend_from_slice(contact.id.as_bytes());
            put_addresses(out, &contact.addrs);
        }
        self.extensions.encode(out);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        take_version(input)?;
        let config = Self {
            authority: take_node_id(input)?,
            seq: take_u64(input)?,
            expires_unix_ms: take_u64(input)?,
            versions: (take_u8(input)?, take_u8(input)?),
            bootstrap: take_contacts(input)?,
            extensions: Extensions::decode(input)?,
        };
        let is_in_range = config.seq > 0 && config.versions.0 <= config.versions.1;
        if is_in_range { Ok(config) } else { Err(wire::DecodeError::OutOfRange.into()) }
    }
}

fn signed<T: Signable<Error = DecodeError>>(bytes: &[u8]) -> Result<Signed<T>, DecodeError> {
    Signed::from_bytes(bytes).map_err(|fault| match fault {
        SignedFault::Malformed(fault) => fault,
        SignedFault::BadSignature => DecodeError::Signature,
    })
}

fn take_version(input: &mut &[u8]) -> Result<(), DecodeError> {
    match take_u8(input)? {
        VERSION => Ok(()),
        other => Err(DecodeError::Version(other)),
    }
}

fn take_contacts(input: &mut &[u8]) -> Result<Vec<Contact>, DecodeError> {
    let count = take_count(input, MAX_BOOTSTRAP, 32 + 1 + ADDRESS_LEAST)?;
    let take_contact = |input: &mut &[u8]| -> Result<Contact, DecodeError> {
        Ok(Contact { id: take_node_id(input)?, addrs: take_addresses(input, 1, MAX_BOOTSTRAP_ADDRS)? })
    };
    (0..count).map(|_| take_contact(input)).collect()
}

/// In the publisher's order of preference, so not a set; a repeated one is refused as a second encoding.
fn take_addresses(input: &mut &[u8], least: usize, most: usize) -> Result<Vec<SocketAddr>, DecodeError> {
    let count = take_count(input, most, ADDRESS_LEAST)?;
    if count < least {
        return Err(wire::DecodeError::OutOfRange.into());
    }
    let mut addrs = Vec::with_capacity(count);
    for _ in 0..count {
        let addr = take_address(input)?;
        if addrs.contains(&addr) {
            return Err(wire::DecodeError::NotCanonical.into());
        }
        addrs.push(addr);
    }
    Ok(addrs)
}

fn put_addresses(out: &mut Vec<u8>, addrs: &[SocketAddr]) {
    put_varint(out, addrs.len() as u64);
    addrs.iter().for_each(|addr| put_address(out, addr));
}
