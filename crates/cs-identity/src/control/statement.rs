#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

use alloc::vec::Vec;

use thiserror::Error;

use super::action::{Action, ascending, take_op_id};
use crate::area::TIME_END_MS;
use crate::clone::Sequenced;
use crate::id::{OpId, SpaceId};
use crate::node_id::NodeId;
use crate::secret_key::SecretKey;
use crate::signature::{Domain, Signature};
use crate::signed::{Signable, Signed};
use crate::wire::{self, DecodeError};

/// Bytes of a statement: one message of the transport (1 MiB) with room for a frame around it.
pub const MAX_STATEMENT_BYTES: usize = 900 * 1024;
/// Heads that a statement or operation may name; who sees more names these many and leaves the rest as heads.
pub const MAX_HEADS: usize = 64;

/// Signatures of guardians under a recovery that another publishes.
pub(crate) const COSIGNED: Domain = Domain::new("CosmicSync control recovery v1");

const VERSION: u8 = 1;
/// Sequence numbers stay far from overflow.
const SEQ_END: u64 = 1 << 48;

/// A control statement: self-contained, signed by its author, replicated to every member and never encrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statement {
    /// The space; `None` for the genesis, which names it.
    pub space: Option<SpaceId>,
    /// Who says it.
    pub author: NodeId,
    /// Counts the author's statements in this space from 0.
    pub seq: u64,
    /// The author's previous statement; `None` for the first.
    pub backlink: Option<OpId>,
    /// The heads of the graph that the author saw, ascending, without the backlink.
    pub heads: Vec<OpId>,
    /// When the author says it is, in milliseconds since 1970; never less than in the previous statement.
    pub unix_ms: u64,
    /// What it says.
    pub action: Action,
}

/// A statement that only lacks its author and signature; made by [`Draft::genesis`] or
/// [`super::ControlGraph::next_draft`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// As in [`Statement`].
    pub space: Option<SpaceId>,
    /// As in [`Statement`].
    pub seq: u64,
    /// As in [`Statement`].
    pub backlink: Option<OpId>,
    /// As in [`Statement`].
    pub heads: Vec<OpId>,
    /// As in [`Statement`].
    pub unix_ms: u64,
    /// As in [`Statement`].
    pub action: Action,
}

impl Draft {
    /// The first statement of a new space.
    pub const fn genesis(nonce: [u8; 16], unix_ms: u64) -> Self {
        Self {
            space: None,
            seq: 0,
            backlink: None,
            heads: Vec::new(),
            unix_ms,
            action: Action::Genesis { nonce },
        }
    }

    /// The statement that `author` would sign: what guardians are asked to co-sign (see [`Statement::cosign`]).
    pub fn proposed_by(self, author: NodeId) -> Statement {
        let Self { space, seq, backlink, mut heads, unix_ms, mut action } = self;
        heads.sort_unstable();
        action.normalise();
        Statement { space, author, seq, backlink, heads, unix_ms, action }
    }
}

/// The draft is not a statement that anyone would accept; the content is what [`Statement`]'s decoder says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not a valid statement: {0}")]
pub struct DraftError(pub DecodeError);

impl Statement {
    /// Signs a draft. Lists are sorted; nothing else is changed.
    ///
    /// # Errors
    /// [`DraftError`] if it is too long, out of range or lists something twice.
    pub fn sign(key: &SecretKey, draft: Draft) -> Result<Signed<Self>, DraftError> {
        let statement = draft.proposed_by(key.node_id());
        let mut bytes = Vec::new();
        statement.encode(&mut bytes);
        if bytes.len() > Self::MAX_LEN {
            return Err(DraftError(DecodeError::TooLong));
        }
        wire::whole(&bytes, Self::decode).map_err(DraftError)?;
        Ok(Signed::sign(key, statement))
    }

    /// A guardian's agreement to exactly this recovery by exactly this author, to go into its [`Action::Recover`]: a signature
    /// over the statement without co-signatures, in a domain of its own (rule ID-32). Look at what it says first: it came by
    /// [`Signable::decode`] from who asks.
    pub fn cosign(&self, guardian: &SecretKey) -> Signature {
        guardian.sign(COSIGNED, &self.to_cosign())
    }

    /// The encoding without co-signatures.
    pub(crate) fn to_cosign(&self) -> Vec<u8> {
        let mut bare = self.clone();
        if let Action::Recover { cosigned, .. } = &mut bare.action {
            cosigned.clear();
        }
        let mut bytes = Vec::new();
        bare.encode(&mut bytes);
        bytes
    }

    /// What a decoder holds the fields to that are not wrong by themselves (rule ID-10).
    pub(crate) fn check(&self) -> Result<(), DecodeError> {
        let genesis = self.space.is_none();
        let mut last = None;
        for head in &self.heads {
            ascending(last, head)?;
            last = Some(head);
        }
        if self.backlink.is_some_and(|backlink| self.heads.contains(&backlink)) {
            return Err(DecodeError::NotCanonical);
        }
        // Everyone but the root has seen the genesis at least; the genesis has seen nothing.
        let saw_nothing = self.heads.is_empty() && self.backlink.is_none();
        let bounded = self.seq < SEQ_END && self.unix_ms < TIME_END_MS && self.heads.len() <= MAX_HEADS;
        let placed = (self.seq > 0) == self.backlink.is_some() && genesis == saw_nothing;
        if bounded && placed { Ok(()) } else { Err(DecodeError::OutOfRange) }
    }
}

impl Signed<Statement> {
    /// The space it belongs to; for a genesis, the one it founds.
    pub fn space(&self) -> SpaceId {
        self.value().space.unwrap_or_else(|| self.id().into())
    }
}

/// Rule ID-10: version, kind, space, author, sequence, backlink, heads, time, body.
impl Signable for Statement {
    type Error = DecodeError;

    const DOMAIN: Domain = Domain::new("CosmicSync control statement v1");
    const MAX_LEN: usize = MAX_STATEMENT_BYTES;

    fn signer(&self) -> NodeId {
        self.author
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.push(self.action.kind());
        if let Some(space) = &self.space {
            out.extend_from_slice(space.as_bytes());
        }
        out.extend_from_slice(self.author.as_bytes());
        wire::put_varint(out, self.seq);
        if let Some(backlink) = &self.backlink {
            out.extend_from_slice(backlink.as_bytes());
        }
        wire::put_varint(out, self.heads.len() as u64);
        for head in &self.heads {
            out.extend_from_slice(head.as_bytes());
        }
        wire::put_varint(out, self.unix_ms);
        wire::put_within(out, |body| self.action.encode(body));
    }

    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        wire::take_version(input, VERSION)?;
        let kind = wire::take_u8(input)?;
        let genesis = Action::is_genesis_kind(kind);
        let space = if genesis { None } else { Some(SpaceId::from_bytes(wire::take_array(input)?)) };
        let author = wire::take_node_id(input)?;
        let seq = wire::take_varint(input)?;
        if genesis && seq > 0 {
            return Err(DecodeError::OutOfRange);
        }
        let backlink = if seq > 0 { Some(take_op_id(input)?) } else { None };
        let heads = take_heads(input)?;
        let unix_ms = wire::take_varint(input)?;
        let body = wire::take_bytes(input, Self::MAX_LEN)?;
        let action = Action::from_body(kind, body)?;
        let statement = Self { space, author, seq, backlink, heads, unix_ms, action };
        statement.check()?;
        Ok(statement)
    }
}

impl Sequenced for Statement {
    fn log(&self) -> Option<[u8; 32]> {
        // An author founds many spaces, each with a genesis of its own, and none contradicts another.
        self.space.map(|space| *space.as_bytes())
    }

    fn seq(&self) -> u64 {
        self.seq
    }

    fn backlink(&self) -> Option<OpId> {
        self.backlink
    }
}

pub(crate) fn take_heads(input: &mut &[u8]) -> Result<Vec<OpId>, DecodeError> {
    let count = wire::take_count(input, MAX_HEADS, 32)?;
    (0..count).map(|_| take_op_id(input)).collect()
}
