//! The operation: the unit of replication, signed by its author and sealed for its readers (STORE-20 to STORE-24).
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

use crate::fault::Refused;
use cs_identity::control::OpFacts;
use cs_identity::wire::{self, DecodeError};
use cs_identity::{BlindPath, Domain, NodeId, OpId, SecretKey, Signable, Signed, SpaceId, Tag};

pub use cs_identity::control::DocumentId;

/// The most bytes of ciphertext in one operation: it must fit a message of the transport with room to spare, and bound
/// what a reader decrypts at once.
pub const MAX_SEALED: usize = 256 * 1024;
/// The most dependencies of one operation: an author who sees more heads than this merges some of them first.
pub const MAX_DEPS: usize = 64;
/// The most control heads of one operation.
pub const MAX_CONTROL_HEADS: usize = 64;
/// The most bytes of one operation, without its signature (STORE-24).
pub const MAX_OPERATION: usize = MAX_SEALED + MAX_ENVELOPE;

const MAX_ENVELOPE: usize = 256 + cs_identity::MAX_DEPTH * Tag::LEN + 32 * (MAX_DEPS + MAX_CONTROL_HEADS);
const VERSION: u8 = 1;

const HAS_BACKLINK: u8 = 1;
const DEPS_ARE_BACKLINK: u8 = 2;
const GRANT_IS_GENESIS: u8 = 4;
const HEADS_ARE_GRANT: u8 = 8;
const HEADS_ARE_GENESIS: u8 = 16;
const KNOWN_FLAGS: u8 = 31;

/// A bundle of edits to one document, as it is signed (STORE-20). Who can read the envelope learns who changed which blinded
/// path when, and how much; what was changed is in `sealed`.
#[derive(Clone, PartialEq, Eq)]
pub struct Operation {
    /// The space it belongs to.
    pub space: SpaceId,
    /// Where its document lies, as far as a node without keys may know.
    pub path: BlindPath,
    /// The document.
    pub document: DocumentId,
    /// Who made and signed it.
    pub author: NodeId,
    /// Counts the author's operations on this document, from 0.
    pub seq: u64,
    /// The author's previous operation on this document; `None` exactly for `seq` 0 (STORE-21).
    pub backlink: Option<OpId>,
    /// The heads of the document that the author had seen: ascending, at most [`MAX_DEPS`].
    pub deps: Vec<OpId>,
    /// Hybrid logical clock: milliseconds since 1970 in the upper 48 bits, a counter in the lower 16. Greater than the
    /// clocks of everything the author had seen of the document.
    pub clock: u64,
    /// The grant that the author writes by; the genesis statement for the root.
    pub grant: OpId,
    /// The heads of the control graph that the author had seen: ascending, at most [`MAX_CONTROL_HEADS`].
    pub control_heads: Vec<OpId>,
    /// The number of the key epoch that `sealed` is sealed in.
    pub epoch: u64,
    /// Ciphertext, at most [`MAX_SEALED`] bytes; [`Operation::aad`] is what it is bound to.
    pub sealed: Vec<u8>,
}

impl Operation {
    /// Signs the operation. Dependencies and control heads are sorted and freed of repetitions first.
    ///
    /// # Errors
    /// [`Refused::BadOperation`] when a bound is exceeded, `backlink` and `seq` disagree, or `key` is not the author's.
    pub fn sign(&self, key: &SecretKey) -> Result<Signed<Self>, Refused> {
        let operation = self.normalised();
        let bounded = operation.sealed.len() <= MAX_SEALED
            && operation.deps.len() <= MAX_DEPS
            && operation.control_heads.len() <= MAX_CONTROL_HEADS;
        let consistent = operation.backlink.is_some() == (operation.seq > 0);
        if !bounded || !consistent || key.node_id() != operation.author {
            return Err(Refused::BadOperation);
        }
        Ok(Signed::sign(key, operation))
    }

    /// What the ciphertext must be bound to (STORE-23): everything that is signed before it, and so every other field.
    #[must_use]
    pub fn aad(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.normalised_envelope(&mut out);
        out
    }

    /// What the control graph must know to judge the operation, which has this `id`.
    #[must_use]
    pub fn facts(&self, id: OpId) -> OpFacts {
        OpFacts {
            id,
            author: self.author,
            document: self.document,
            seq: self.seq,
            backlink: self.backlink,
            path: self.path.clone(),
            unix_ms: self.unix_ms(),
            grant: self.grant,
            heads: self.control_heads.clone(),
        }
    }

    /// The claimed time, in milliseconds since 1970.
    #[must_use]
    pub fn unix_ms(&self) -> u64 {
        self.clock >> 16
    }

    fn normalised(&self) -> Self {
        let mut operation = self.clone();
        for ids in [&mut operation.deps, &mut operation.control_heads] {
            ids.sort_unstable();
            ids.dedup();
        }
        operation
    }

    fn normalised_envelope(&self, out: &mut Vec<u8>) {
        let mut envelope = Self { sealed: Vec::new(), ..self.clone() };
        envelope = envelope.normalised();
        envelope.encode_envelope(out);
    }

    /// Which fields follow from others and are left out (STORE-22). Left out whenever they can be: one encoding a value.
    fn flags(&self) -> u8 {
        let genesis = self.space.genesis();
        let mut flags = 0;
        if let Some(backlink) = self.backlink {
            flags |= HAS_BACKLINK;
            flags |= if self.deps == [backlink] { DEPS_ARE_BACKLINK } else { 0 };
        }
        if self.grant == genesis {
            flags |= GRANT_IS_GENESIS;
        }
        if self.control_heads == [self.grant] {
            flags |= HEADS_ARE_GRANT;
        } else if self.control_heads == [genesis] {
            flags |= HEADS_ARE_GENESIS;
        }
        flags
    }

    fn encode_envelope(&self, out: &mut Vec<u8>) {
        let flags = self.flags();
        out.extend_from_slice(&[VERSION, flags]);
        out.extend_from_slice(self.space.as_bytes());
        self.path.encode(out);
        out.extend_from_slice(&self.document);
        out.extend_from_slice(self.author.as_bytes());
        wire::put_varint(out, self.seq);
        if let Some(backlink) = &self.backlink {
            out.extend_from_slice(backlink.as_bytes());
        }
        if flags & DEPS_ARE_BACKLINK == 0 {
            put_ids(out, &self.deps);
        }
        out.extend_from_slice(&self.clock.to_le_bytes());
        if flags & GRANT_IS_GENESIS == 0 {
            out.extend_from_slice(self.grant.as_bytes());
        }
        if flags & (HEADS_ARE_GRANT | HEADS_ARE_GENESIS) == 0 {
            put_ids(out, &self.control_heads);
        }
        wire::put_varint(out, self.epoch);
    }
}

impl Signable for Operation {
    type Error = DecodeError;
    const DOMAIN: Domain = Domain::new("cs-store operation v1");
    const MAX_LEN: usize = MAX_OPERATION;

    fn signer(&self) -> NodeId {
        self.author
    }

    fn encode(&self, out: &mut Vec<u8>) {
        self.encode_envelope(out);
        wire::put_bytes(out, &self.sealed);
    }

    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        let (flags, author, fields) = Fields::decode(input, wire::take_node_id)?;
        let Fields { space, path, document, seq, backlink, deps, clock, grant, control_heads, epoch, sealed } =
            fields;
        let sealed = sealed.to_vec();
        let operation = Self {
            space,
            path,
            document,
            author,
            seq,
            backlink,
            deps,
            clock,
            grant,
            control_heads,
            epoch,
            sealed,
        };
        if backlink.is_some() != (seq > 0) {
            return Err(DecodeError::OutOfRange);
        }
        // A flag that says more or less than it could is a second encoding.
        if operation.flags() == flags { Ok(operation) } else { Err(DecodeError::NotCanonical) }
    }
}

/// Everything but the author, whose key is costly to check: decompressing a point takes longer than all the rest.
struct Fields<'a> {
    space: SpaceId,
    path: BlindPath,
    document: DocumentId,
    seq: u64,
    backlink: Option<OpId>,
    deps: Vec<OpId>,
    clock: u64,
    grant: OpId,
    control_heads: Vec<OpId>,
    epoch: u64,
    sealed: &'a [u8],
}

impl<'a> Fields<'a> {
    /// The flags, the author as `take_author` reads it, and the rest.
    fn decode<A>(
        input: &mut &'a [u8],
        take_author: impl FnOnce(&mut &'a [u8]) -> Result<A, DecodeError>,
    ) -> Result<(u8, A, Self), DecodeError> {
        if wire::take_u8(input)? != VERSION {
            return Err(DecodeError::Unsupported);
        }
        let flags = wire::take_u8(input)?;
        if flags & !KNOWN_FLAGS != 0 {
            return Err(DecodeError::Unsupported);
        }
        let space = SpaceId::from_bytes(wire::take_array(input)?);
        let path = BlindPath::decode(input)?;
        let document = wire::take_array(input)?;
        let author = take_author(input)?;
        let seq = wire::take_varint(input)?;
        let backlink = (flags & HAS_BACKLINK != 0).then(|| take_id(input)).transpose()?;
        let deps = match backlink {
            Some(backlink) if flags & DEPS_ARE_BACKLINK != 0 => vec![backlink],
            _ => take_ids(input, MAX_DEPS)?,
        };
        let clock = u64::from_le_bytes(wire::take_array(input)?);
        let grant = if flags & GRANT_IS_GENESIS == 0 { take_id(input)? } else { space.genesis() };
        let control_heads = match flags & (HEADS_ARE_GRANT | HEADS_ARE_GENESIS) {
            0 => take_ids(input, MAX_CONTROL_HEADS)?,
            HEADS_ARE_GRANT => vec![grant],
            _ => vec![space.genesis()],
        };
        let epoch = wire::take_varint(input)?;
        let sealed = wire::take_bytes(input, MAX_SEALED)?;
        let fields =
            Self { space, path, document, seq, backlink, deps, clock, grant, control_heads, epoch, sealed };
        Ok((flags, author, fields))
    }
}

/// What the index files an operation under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filing {
    pub(crate) id: OpId,
    pub(crate) space: SpaceId,
    pub(crate) path: BlindPath,
    pub(crate) document: DocumentId,
    pub(crate) clock: u64,
    /// Dependencies and backlink, each once.
    pub(crate) parents: Vec<OpId>,
}

impl Filing {
    pub(crate) fn of(operation: &Signed<Operation>) -> Self {
        let Operation { space, document, clock, .. } = *operation.value();
        let parents = parents(operation.deps.clone(), operation.backlink);
        Self { id: operation.id(), space, path: operation.path.clone(), document, clock, parents }
    }

    /// Reads an operation of the log, which was verified before it got there: neither author nor signature are checked.
    pub(crate) fn from_log(signed: &[u8]) -> Result<Self, DecodeError> {
        let (_, _, fields) = Fields::decode(&mut { signed }, wire::take_array::<32>)?;
        let Fields { space, path, document, clock, deps, backlink, .. } = fields;
        Ok(Self { id: OpId::of(signed), space, path, document, clock, parents: parents(deps, backlink) })
    }
}

fn parents(mut deps: Vec<OpId>, backlink: Option<OpId>) -> Vec<OpId> {
    if let Some(backlink) = backlink.filter(|backlink| !deps.contains(backlink)) {
        deps.push(backlink);
    }
    deps
}

impl core::fmt::Debug for Operation {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Operation")
            .field("space", &self.space)
            .field("path", &self.path)
            .field("author", &self.author)
            .field("seq", &self.seq)
            .field("clock", &self.clock)
            .field("epoch", &self.epoch)
            .field("sealed_bytes", &self.sealed.len())
            .finish_non_exhaustive()
    }
}

fn put_ids(out: &mut Vec<u8>, ids: &[OpId]) {
    wire::put_varint(out, ids.len() as u64);
    ids.iter().for_each(|id| out.extend_from_slice(id.as_bytes()));
}

fn take_id(input: &mut &[u8]) -> Result<OpId, DecodeError> {
    Ok(OpId::from_bytes(wire::take_array(input)?))
}

/// Strictly ascending: a set has one spelling.
fn take_ids(input: &mut &[u8], max: usize) -> Result<Vec<OpId>, DecodeError> {
    let count = wire::take_count(input, max, 32)?;
    let mut ids = Vec::with_capacity(count);
    for _ in 0..count {
        let id = take_id(input)?;
        if ids.last().is_some_and(|last| *last >= id) {
            return Err(DecodeError::NotCanonical);
        }
        ids.push(id);
    }
    Ok(ids)
}
