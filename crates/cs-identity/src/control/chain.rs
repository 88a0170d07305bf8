//! Chains of grants as a stranger is shown them: without what follows from their order.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

use alloc::vec::Vec;

use thiserror::Error;

use super::action::{Action, take_op_id};
use super::credential::{CredentialFault, check_credentials};
use super::statement::{Statement, take_heads};
use crate::area::{Area, Rights};
use crate::id::{OpId, SpaceId};
use crate::node_id::NodeId;
use crate::path::{BlindPath, MAX_DEPTH, Tag};
use crate::signature::Signature;
use crate::signed::{Signable, Signed, Unverified};
use crate::wire::{self, DecodeError};

/// Grants in one chain: the deepest there is, from a grant of depth 255 down.
pub const MAX_LINKS: usize = 256;

const VERSION: u8 = 1;
const PARENT: u8 = 0b11;
const PARENT_NONE: u8 = 0;
const PARENT_LAST: u8 = 1;
const PARENT_AT: u8 = 2;
const BACKLINK: u8 = 0b1100;
const BACKLINK_NONE: u8 = 0;
const BACKLINK_KNOWN: u8 = 1 << 2;
const BACKLINK_RAW: u8 = 2 << 2;
const HEADS_RAW: u8 = 1 << 4;
const SAME_TIME: u8 = 1 << 5;

/// Grants from the genesis of a space down, each after what it was given from, with signatures that hold: what a stranger
/// needs to know of somebody's rights (rule ID-28).
///
/// The signatures are over the statements in full; the encoding leaves out what follows from the place in the chain: about 103
/// bytes a link, 16 for each path component below its parent, and 32 for a head or backlink from outside the chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain(Vec<Signed<Statement>>);

/// Why bytes are not a chain. Nothing changed; the sender is to blame, but for the unknown genesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ChainFault {
    /// The bytes do not decode.
    #[error("malformed: {0}")]
    Malformed(#[from] DecodeError),
    /// The genesis was left out, for who has it, and was not given.
    #[error("the genesis of the space is not known here")]
    UnknownGenesis,
    /// A signature does not hold.
    #[error("a signature does not verify")]
    BadSignature,
    /// The statements hold, and are not credentials.
    #[error("not a chain of grants: {0}")]
    Broken(#[from] CredentialFault),
}

impl Chain {
    /// Takes statements as [`super::ControlGraph::credentials`] gives them: the genesis, then grants.
    ///
    /// # Errors
    /// [`ChainFault::Broken`] if they are not; [`ChainFault::Malformed`] for more than [`MAX_LINKS`].
    pub fn new(statements: Vec<Signed<Statement>>) -> Result<Self, ChainFault> {
        let genesis = statements.first().ok_or(CredentialFault::NotGenesis)?;
        if statements.len() > MAX_LINKS + 1 {
            return Err(DecodeError::TooLong.into());
        }
        // Whether the links hold does not depend on who asks for which path; what is ahead of its time is judged later.
        check_credentials(genesis.space(), &statements, &genesis.author, &BlindPath::root(), u64::MAX)?;
        Ok(Self(statements))
    }

    /// The genesis and the grants.
    pub fn statements(&self) -> &[Signed<Statement>] {
        &self.0
    }

    /// The space.
    pub fn space(&self) -> SpaceId {
        self.0.first().map_or(SpaceId::from_bytes([0; 32]), Signed::space)
    }

    /// Whose chain it is: the holder of its last grant, or the root of a chain without grants.
    pub fn holder(&self) -> Option<NodeId> {
        let last = self.0.last()?;
        Some(last.value().action.as_grant().map_or(last.author, |grant| grant.holder))
    }

    /// What the chain gives its holder at `path`; see [`check_credentials`].
    ///
    /// # Errors
    /// [`CredentialFault::FromTheFuture`]; other faults were found when the chain was made.
    pub fn rights(&self, path: &BlindPath, unix_ms: u64) -> Result<Rights, CredentialFault> {
        let holder = self.holder().ok_or(CredentialFault::NotGenesis)?;
        check_credentials(self.space(), &self.0, &holder, path, unix_ms)
    }

    /// Appends the chain. `genesis`: whether to carry it, 118 bytes that who knows the space has.
    pub fn encode(&self, genesis: bool, out: &mut Vec<u8>) {
        encode(&self.0, genesis, out);
    }

    /// Takes a chain off the front of `input` and checks all its signatures at once. `known`: the genesis, for a chain
    /// that does not carry it.
    ///
    /// # Errors
    /// [`ChainFault`].
    pub fn decode(input: &mut &[u8], known: Option<&Signed<Statement>>) -> Result<Self, ChainFault> {
        let mut statements = decode(input, known)?;
        // A genesis that was known beforehand was verified then.
        let genesis = known.filter(|known| statements.first().is_some_and(|first| first.id() == known.id()));
        let links = if genesis.is_some() { statements.split_off(1) } else { statements };
        let verified: Result<Vec<_>, _> = Unverified::verify_all(links).into_iter().collect();
        let verified = verified.map_err(|_| ChainFault::BadSignature)?;
        Self::new(genesis.cloned().into_iter().chain(verified).collect())
    }

    /// As [`Self::decode`], of all of `bytes`.
    ///
    /// # Errors
    /// [`ChainFault`].
    pub fn from_bytes(mut bytes: &[u8], known: Option<&Signed<Statement>>) -> Result<Self, ChainFault> {
        let chain = Self::decode(&mut bytes, known)?;
        if bytes.is_empty() { Ok(chain) } else { Err(DecodeError::TrailingBytes.into()) }
    }
}

/// What the link under work may lean on.
struct Context<'a> {
    space: SpaceId,
    /// The genesis, then the links so far: author, ID, time, and what a grant gives.
    before: Vec<Place<'a>>,
}

#[derive(Clone)]
struct Place<'a> {
    id: OpId,
    author: NodeId,
    unix_ms: u64,
    grant: Option<(NodeId, alloc::borrow::Cow<'a, Area>)>,
}

impl<'a> Context<'a> {
    fn new(genesis: &Statement, id: OpId, space: SpaceId) -> Self {
        let place = Place { id, author: genesis.author, unix_ms: genesis.unix_ms, grant: None };
        Self { space, before: Vec::from([place]) }
    }

    /// The author's last statement in the chain.
    fn last_of(&self, author: &NodeId) -> Option<OpId> {
        self.before.iter().rfind(|place| place.author == *author).map(|place| place.id)
    }

    fn at(&self, index: usize) -> Option<&Place<'a>> {
        self.before.get(index)
    }

    fn find(&self, id: &OpId) -> Option<usize> {
        self.before.iter().position(|place| place.id == *id)
    }
}

/// The heads that a link has unless it says otherwise: the parent, if it is not the backlink.
fn usual_heads(parent: Option<OpId>, backlink: Option<OpId>) -> Vec<OpId> {
    parent.filter(|parent| Some(*parent) != backlink).into_iter().collect()
}

fn encode(statements: &[Signed<Statement>], carry: bool, out: &mut Vec<u8>) {
    let Some((genesis, links)) = statements.split_first() else { return };
    out.push(VERSION);
    out.push(u8::from(carry));
    wire::put_varint(out, links.len() as u64);
    if carry {
        out.extend_from_slice(genesis.author.as_bytes());
        wire::put_varint(out, genesis.unix_ms);
        if let Action::Genesis { nonce } = &genesis.value().action {
            out.extend_from_slice(nonce);
        }
        put_signature(out, genesis.bytes());
    }
    let mut context = Context::new(genesis, genesis.id(), genesis.space());
    for link in links {
        encode_link(&context, link, out);
        if let Action::Grant { holder, area, .. } = &link.value().action {
            let grant = Some((*holder, alloc::borrow::Cow::Borrowed(area)));
            let (id, author, unix_ms) = (link.id(), link.author, link.unix_ms);
            context.before.push(Place { id, author, unix_ms, grant });
        }
    }
}

fn encode_link(context: &Context<'_>, link: &Signed<Statement>, out: &mut Vec<u8>) {
    let Action::Grant { parent, holder, area, rights, depth } = &link.value().action else { return };
    let index = parent.and_then(|parent| context.find(&parent));
    let (above, within) = match index.and_then(|index| context.at(index)) {
        Some(Place { unix_ms, grant: Some((_, area)), .. }) => (*unix_ms, area.clone().into_owned()),
        _ => (context.at(0).map_or(0, |genesis| genesis.unix_ms), Area::everything()),
    };
    let same_time = area.from_ms() == within.from_ms() && area.until_ms() == within.until_ms();
    let heads_raw = link.heads != usual_heads(*parent, link.backlink);
    let mut flags = match index {
        None => PARENT_NONE,
        Some(index) if index + 1 == context.before.len() => PARENT_LAST,
        Some(_) => PARENT_AT,
    };
    flags |= match link.backlink {
        None => BACKLINK_NONE,
        Some(backlink) if context.last_of(&link.author) == Some(backlink) => BACKLINK_KNOWN,
        Some(_) => BACKLINK_RAW,
    };
    flags |= if heads_raw { HEADS_RAW } else { 0 } | if same_time { SAME_TIME } else { 0 };
    out.push(flags);
    if flags & PARENT == PARENT_AT {
        wire::put_varint(out, index.unwrap_or(0) as u64);
    }
    if let Some(backlink) = &link.backlink {
        wire::put_varint(out, link.seq);
        if flags & BACKLINK == BACKLINK_RAW {
            out.extend_from_slice(backlink.as_bytes());
        }
    }
    if heads_raw {
        wire::put_varint(out, link.heads.len() as u64);
        link.heads.iter().for_each(|head| out.extend_from_slice(head.as_bytes()));
    }
    put_difference(out, above, link.unix_ms);
    out.extend_from_slice(holder.as_bytes());
    let below = area.prefix().tags().get(within.prefix().depth()..).unwrap_or(&[]);
    out.push(below.len() as u8);
    below.iter().for_each(|tag| out.extend_from_slice(tag.as_bytes()));
    if !same_time {
        wire::put_varint(out, area.from_ms());
        wire::put_end(out, area.until_ms());
    }
    out.push(rights.bits());
    out.push(*depth);
    put_signature(out, link.bytes());
}

/// The statements that an encoding stands for, built anew, with signatures nobody checked yet.
fn decode(
    input: &mut &[u8],
    known: Option<&Signed<Statement>>,
) -> Result<Vec<Unverified<Statement>>, ChainFault> {
    let whole = *input;
    wire::take_version(input, VERSION)?;
    let carries = wire::take_bool(input)?;
    let count = wire::take_count(input, MAX_LINKS, 100)?;
    let mut statements = Vec::with_capacity(count + 1);
    let genesis = if carries {
        decode_genesis(input)?
    } else {
        let known = known.filter(|known| known.space.is_none()).ok_or(ChainFault::UnknownGenesis)?;
        Unverified::from_parts(known.value().clone(), known.bytes().to_vec())
    };
    let space = SpaceId::from(genesis.id());
    let mut context = Context::new(genesis.value(), genesis.id(), space);
    statements.push(genesis);
    for _ in 0..count {
        let link = decode_link(&context, input)?;
        if let Action::Grant { holder, area, .. } = &link.value().action {
            let grant = Some((*holder, alloc::borrow::Cow::Owned(area.clone())));
            let (author, unix_ms) = (link.value().author, link.value().unix_ms);
            context.before.push(Place { id: link.id(), author, unix_ms, grant });
        }
        statements.push(link);
    }
    // One encoding: what could have been left out must have been.
    let taken = whole.get(..whole.len() - input.len()).unwrap_or_default();
    let as_if: Vec<Signed<Statement>> = statements.iter().cloned().map(Unverified::assume_verified).collect();
    let mut again = Vec::with_capacity(taken.len());
    encode(&as_if, carries, &mut again);
    if again == taken { Ok(statements) } else { Err(DecodeError::NotCanonical.into()) }
}

fn decode_genesis(input: &mut &[u8]) -> Result<Unverified<Statement>, DecodeError> {
    let author = wire::take_node_id(input)?;
    let unix_ms = wire::take_varint(input)?;
    let action = Action::Genesis { nonce: wire::take_array(input)? };
    let genesis =
        Statement { space: None, author, seq: 0, backlink: None, heads: Vec::new(), unix_ms, action };
    rebuild(genesis, input)
}

fn decode_link(context: &Context<'_>, input: &mut &[u8]) -> Result<Unverified<Statement>, DecodeError> {
    let flags = wire::take_u8(input)?;
    let last = context.before.len() - 1;
    let index = match flags & PARENT {
        PARENT_NONE => None,
        PARENT_LAST => Some(last),
        PARENT_AT => Some(usize::try_from(wire::take_varint(input)?).map_err(|_| DecodeError::OutOfRange)?),
        _ => return Err(DecodeError::Unsupported),
    };
    if flags & !(PARENT | BACKLINK | HEADS_RAW | SAME_TIME) != 0 {
        return Err(DecodeError::Unsupported);
    }
    let (root, above) = (context.at(0).ok_or(DecodeError::OutOfRange)?, index.map(|index| context.at(index)));
    let (author, time, within, parent) = match above {
        None => (root.author, root.unix_ms, Area::everything(), None),
        Some(Some(Place { id, unix_ms, grant: Some((holder, area)), .. })) => {
            (*holder, *unix_ms, area.clone().into_owned(), Some(*id))
        }
        Some(_) => return Err(DecodeError::OutOfRange),
    };
    let (seq, backlink) = match flags & BACKLINK {
        BACKLINK_NONE => (0, None),
        BACKLINK_KNOWN => {
            let seq = wire::take_varint(input)?;
            (seq, Some(context.last_of(&author).ok_or(DecodeError::OutOfRange)?))
        }
        BACKLINK_RAW => (wire::take_varint(input)?, Some(take_op_id(input)?)),
        _ => return Err(DecodeError::Unsupported),
    };
    let heads = if flags & HEADS_RAW == 0 { usual_heads(parent, backlink) } else { take_heads(input)? };
    let unix_ms = take_difference(input, time)?;
    let holder = wire::take_node_id(input)?;
    let area = take_area(input, &within, flags & SAME_TIME != 0)?;
    let rights = Rights::from_bits(wire::take_u8(input)?).ok_or(DecodeError::OutOfRange)?;
    if rights.is_empty() {
        return Err(DecodeError::OutOfRange);
    }
    let depth = wire::take_u8(input)?;
    let action = Action::Grant { parent, holder, area, rights, depth };
    let space = Some(context.space);
    rebuild(Statement { space, author, seq, backlink, heads, unix_ms, action }, input)
}

/// The signed bytes of a statement, held to the rules of statements, and the signature that comes next.
fn rebuild(statement: Statement, input: &mut &[u8]) -> Result<Unverified<Statement>, DecodeError> {
    let mut bytes = Vec::new();
    statement.encode(&mut bytes);
    bytes.extend_from_slice(wire::take(input, Signature::LEN)?);
    statement.check()?;
    Ok(Unverified::from_parts(statement, bytes))
}

fn take_area(input: &mut &[u8], within: &Area, same_time: bool) -> Result<Area, DecodeError> {
    let below = usize::from(wire::take_u8(input)?);
    if within.prefix().depth() + below > MAX_DEPTH {
        return Err(DecodeError::TooLong);
    }
    let bytes = wire::take(input, below * Tag::LEN)?;
    let (more, _) = bytes.as_chunks();
    let mut tags = within.prefix().tags().to_vec();
    tags.extend(more.iter().copied().map(Tag::from_bytes));
    let prefix = BlindPath::new(tags).map_err(|_| DecodeError::TooLong)?;
    let (from, until) = if same_time {
        (within.from_ms(), within.until_ms())
    } else {
        (wire::take_varint(input)?, wire::take_end(input)?)
    };
    Area::new(prefix, from, until).map_err(|_| DecodeError::OutOfRange)
}

fn put_signature(out: &mut Vec<u8>, signed: &[u8]) {
    if let Some(signature) = signed.last_chunk::<{ Signature::LEN }>() {
        out.extend_from_slice(signature);
    }
}

/// How much later, or earlier, in zigzag: times are 48 bits.
fn put_difference(out: &mut Vec<u8>, from: u64, to: u64) {
    let difference = to.wrapping_sub(from).cast_signed();
    wire::put_varint(out, (difference << 1 ^ difference >> 63).cast_unsigned());
}

fn take_difference(input: &mut &[u8], from: u64) -> Result<u64, DecodeError> {
    let zigzag = wire::take_varint(input)?;
    let difference = (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed();
    Ok(from.wrapping_add(difference.cast_unsigned()))
}
