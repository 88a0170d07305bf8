#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

use alloc::vec::Vec;

use crate::area::{Area, Rights, TIME_END_MS};
use crate::id::OpId;
use crate::node_id::NodeId;
use crate::path::BlindPath;
use crate::signature::Signature;
use crate::wire::{self, DecodeError};

/// The name of a document inside its space.
pub type DocumentId = [u8; 16];

/// Authors that one cut may make allowance for: more than a space is expected to have members.
pub const MAX_FRONTIER_AUTHORS: usize = 1024;
/// Documents that one cut may list for one author: what fits a statement of [`super::MAX_STATEMENT_BYTES`].
pub const MAX_FRONTIER_DOCUMENTS: usize = 16_384;
/// Devices that one epoch statement may carry keys for; a larger space takes several statements.
pub const MAX_BOXES: usize = 4096;
/// Bytes of one device's sealed keys: three 32-byte keys, HPKE's 48 bytes and room for tomorrow's.
pub const MAX_BOX_BYTES: usize = 1024;
/// Bytes of a policy or of an extension, which are opaque here.
pub const MAX_OPAQUE_BYTES: usize = 65_536;
/// Guardians of a space: more people than anyone gathers to recover one.
pub const MAX_GUARDIANS: usize = 32;

/// What a recovery gives.
static EVERYTHING: Area = Area::everything();

const GENESIS: u8 = 0;
const GRANT: u8 = 1;
const CUT: u8 = 2;
const ENDORSE: u8 = 3;
const POLICY: u8 = 4;
const EPOCH: u8 = 5;
const GUARDIANS: u8 = 6;
const RECOVER: u8 = 7;
/// Kinds from here on may be skipped by who does not know them; below, they may not (rule ID-11).
const FIRST_OPTIONAL: u8 = 128;

/// What a control statement says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Action {
    /// Founds a space; its author is the root, and its [`OpId`] is the space's name.
    Genesis {
        /// Tells the spaces of one root apart.
        nonce: [u8; 16],
    },
    /// Gives rights to a device.
    Grant {
        /// The grant it is given from, held by the author; `None` for the root's own right.
        parent: Option<OpId>,
        /// Who may use it, by signing.
        holder: NodeId,
        /// Where and when; inside the parent's area.
        area: Area,
        /// What; among the parent's rights, and not empty.
        rights: Rights,
        /// How many more links may follow; below the parent's.
        depth: u8,
    },
    /// Ends a grant: what was done under it counts only inside the frontier.
    Cut {
        /// The grant that ends.
        grant: OpId,
        /// What stays valid, by author, ascending; of authors not listed nothing does.
        frontier: Vec<(NodeId, Frontier)>,
        /// Whether all grants below end as well.
        cascade: bool,
    },
    /// Takes in an operation that a cut or a fork put in quarantine.
    Endorse {
        /// The operation.
        operation: OpId,
    },
    /// Sets how a part of the space is kept. The bytes are not interpreted here.
    Policy {
        /// The part.
        prefix: BlindPath,
        /// At most [`MAX_OPAQUE_BYTES`].
        body: Vec<u8>,
    },
    /// Starts a key epoch, or carries its keys to more devices. The bytes are not interpreted here.
    Epoch {
        /// Counts up; concurrent epochs may share a number.
        number: u64,
        /// Binds the boxes to one root key.
        root_commitment: [u8; 32],
        /// Keys sealed to each device, ascending, at most [`MAX_BOXES`] of [`MAX_BOX_BYTES`].
        boxes: Vec<(NodeId, Vec<u8>)>,
    },
    /// Says who may recover the space, and how many of them it takes. Only the root says so; the last word counts.
    Guardians {
        /// 1 to their number.
        threshold: u8,
        /// Ascending, 1 to [`MAX_GUARDIANS`]. They need no grant.
        guardians: Vec<NodeId>,
    },
    /// Gives a device every right everywhere, as the root would, by as many guardians as it takes.
    Recover {
        /// The [`Action::Guardians`] by which they are entitled.
        guardians: OpId,
        /// Who is to manage the space.
        holder: NodeId,
        /// What guardians beside the author made of [`super::Statement::cosign`], ascending.
        cosigned: Vec<(NodeId, Signature)>,
    },
    /// A kind of a later version that this one may pass on without understanding it.
    Extension {
        /// 128 and above.
        kind: u8,
        /// At most [`MAX_OPAQUE_BYTES`].
        body: Vec<u8>,
    },
}

/// The content of an [`Action::Grant`], borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grant<'a> {
    /// The grant it is given from; `None` for the root's own right.
    pub parent: Option<OpId>,
    /// Who may use it.
    pub holder: NodeId,
    /// Where and when.
    pub area: &'a Area,
    /// What.
    pub rights: Rights,
    /// How many more links may follow.
    pub depth: u8,
}

/// One point of an author's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Mark {
    /// The entry's sequence number.
    pub seq: u64,
    /// The entry: of two branches of a forked log only the one that leads here is meant.
    pub id: OpId,
}

/// How much of one author's work a cut leaves valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontier {
    /// The last control statement that counts; it must be in the cut's past.
    pub control: Option<Mark>,
    /// The operations that count.
    pub data: DataFrontier,
}

/// Which operations of one author a cut leaves valid.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DataFrontier {
    /// In each listed document (ascending, at most [`MAX_FRONTIER_DOCUMENTS`]) those up to the mark; in others none.
    /// Holds against an author that lies about time.
    Listed(Vec<(DocumentId, Mark)>),
    /// Those claimed to be from before this time in milliseconds since 1970: a few bytes for any number of documents,
    /// for members that leave in good faith. An author that lies about time gets past it.
    ClaimedBefore(u64),
}

impl Frontier {
    /// Nothing of this author counts; the same as not listing the author.
    pub const fn nothing() -> Self {
        Self { control: None, data: DataFrontier::Listed(Vec::new()) }
    }
}

impl Action {
    pub(crate) const fn kind(&self) -> u8 {
        match self {
            Self::Genesis { .. } => GENESIS,
            Self::Grant { .. } => GRANT,
            Self::Cut { .. } => CUT,
            Self::Endorse { .. } => ENDORSE,
            Self::Policy { .. } => POLICY,
            Self::Epoch { .. } => EPOCH,
            Self::Guardians { .. } => GUARDIANS,
            Self::Recover { .. } => RECOVER,
            Self::Extension { kind, .. } => *kind,
        }
    }

    pub(crate) const fn is_genesis_kind(kind: u8) -> bool {
        kind == GENESIS
    }

    /// The content, if it is a grant; a recovery is one of everything for ever, without parent.
    pub fn as_grant(&self) -> Option<Grant<'_>> {
        match self {
            Self::Grant { parent, holder, area, rights, depth } => {
                Some(Grant { parent: *parent, holder: *holder, area, rights: *rights, depth: *depth })
            }
            Self::Recover { holder, .. } => Some(Grant {
                parent: None,
                holder: *holder,
                area: &EVERYTHING,
                rights: Rights::ALL,
                depth: u8::MAX,
            }),
            _ => None,
        }
    }

    /// Sorts what the wire wants ascending.
    pub(crate) fn normalise(&mut self) {
        match self {
            Self::Cut { frontier, .. } => {
                frontier.sort_by_key(|(author, _)| *author);
                for (_, frontier) in frontier {
                    if let DataFrontier::Listed(documents) = &mut frontier.data {
                        documents.sort_by_key(|(document, _)| *document);
                    }
                }
            }
            Self::Epoch { boxes, .. } => boxes.sort_by_key(|(device, _)| *device),
            Self::Guardians { guardians, .. } => guardians.sort_unstable(),
            Self::Recover { cosigned, .. } => cosigned.sort_by_key(|(guardian, _)| *guardian),
            _ => {}
        }
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Genesis { nonce } => out.extend_from_slice(nonce),
            Self::Grant { parent, holder, area, rights, depth } => {
                put_option(out, parent.as_ref(), |out, parent| out.extend_from_slice(parent.as_bytes()));
                out.extend_from_slice(holder.as_bytes());
                area.encode(out);
                out.push(rights.bits());
                out.push(*depth);
            }
            Self::Cut { grant, frontier, cascade } => {
                out.extend_from_slice(grant.as_bytes());
                out.push(u8::from(*cascade));
                wire::put_varint(out, frontier.len() as u64);
                for (author, frontier) in frontier {
                    out.extend_from_slice(author.as_bytes());
                    frontier.encode(out);
                }
            }
            Self::Endorse { operation } => out.extend_from_slice(operation.as_bytes()),
            Self::Policy { prefix, body } => {
                prefix.encode(out);
                wire::put_bytes(out, body);
            }
            Self::Epoch { number, root_commitment, boxes } => {
                wire::put_varint(out, *number);
                out.extend_from_slice(root_commitment);
                wire::put_varint(out, boxes.len() as u64);
                for (device, sealed) in boxes {
                    out.extend_from_slice(device.as_bytes());
                    wire::put_bytes(out, sealed);
                }
            }
            Self::Guardians { threshold, guardians } => {
                out.push(*threshold);
                wire::put_varint(out, guardians.len() as u64);
                guardians.iter().for_each(|guardian| out.extend_from_slice(guardian.as_bytes()));
            }
            Self::Recover { guardians, holder, cosigned } => {
                out.extend_from_slice(guardians.as_bytes());
                out.extend_from_slice(holder.as_bytes());
                wire::put_varint(out, cosigned.len() as u64);
                for (guardian, signature) in cosigned {
                    out.extend_from_slice(guardian.as_bytes());
                    out.extend_from_slice(signature.as_bytes());
                }
            }
            Self::Extension { body, .. } => out.extend_from_slice(body),
        }
    }

    /// Decodes all of `body` as an action of this kind.
    pub(crate) fn from_body(kind: u8, body: &[u8]) -> Result<Self, DecodeError> {
        wire::whole(body, |input| match kind {
            GENESIS => Ok(Self::Genesis { nonce: wire::take_array(input)? }),
            GRANT => decode_grant(input),
            CUT => decode_cut(input),
            ENDORSE => Ok(Self::Endorse { operation: take_op_id(input)? }),
            POLICY => Ok(Self::Policy {
                prefix: BlindPath::decode(input)?,
                body: wire::take_bytes(input, MAX_OPAQUE_BYTES)?.to_vec(),
            }),
            EPOCH => decode_epoch(input),
            GUARDIANS => decode_guardians(input),
            RECOVER => decode_recovery(input),
            FIRST_OPTIONAL.. if input.len() > MAX_OPAQUE_BYTES => Err(DecodeError::TooLong),
            FIRST_OPTIONAL.. => Ok(Self::Extension { kind, body: core::mem::take(input).to_vec() }),
            _ => Err(DecodeError::Unsupported),
        })
    }
}

fn decode_grant(input: &mut &[u8]) -> Result<Action, DecodeError> {
    let parent = take_option(input, take_op_id)?;
    let holder = wire::take_node_id(input)?;
    let area = Area::decode(input)?;
    let rights = Rights::from_bits(wire::take_u8(input)?).ok_or(DecodeError::OutOfRange)?;
    if rights.is_empty() {
        return Err(DecodeError::OutOfRange);
    }
    Ok(Action::Grant { parent, holder, area, rights, depth: wire::take_u8(input)? })
}

fn decode_cut(input: &mut &[u8]) -> Result<Action, DecodeError> {
    let grant = take_op_id(input)?;
    let cascade = wire::take_bool(input)?;
    // An author takes 32 bytes, a flag, a tag and a count or time.
    let count = wire::take_count(input, MAX_FRONTIER_AUTHORS, 35)?;
    let mut frontier: Vec<(NodeId, Frontier)> = Vec::with_capacity(count);
    for _ in 0..count {
        let author = wire::take_node_id(input)?;
        ascending(frontier.last().map(|(last, _)| last), &author)?;
        frontier.push((author, Frontier::decode(input)?));
    }
    Ok(Action::Cut { grant, frontier, cascade })
}

fn decode_epoch(input: &mut &[u8]) -> Result<Action, DecodeError> {
    let number = wire::take_varint(input)?;
    let root_commitment = wire::take_array(input)?;
    let count = wire::take_count(input, MAX_BOXES, 33)?;
    let mut boxes: Vec<(NodeId, Vec<u8>)> = Vec::with_capacity(count);
    for _ in 0..count {
        let device = wire::take_node_id(input)?;
        ascending(boxes.last().map(|(last, _)| last), &device)?;
        boxes.push((device, wire::take_bytes(input, MAX_BOX_BYTES)?.to_vec()));
    }
    Ok(Action::Epoch { number, root_commitment, boxes })
}

fn decode_guardians(input: &mut &[u8]) -> Result<Action, DecodeError> {
    let threshold = wire::take_u8(input)?;
    let count = wire::take_count(input, MAX_GUARDIANS, 32)?;
    let mut guardians: Vec<NodeId> = Vec::with_capacity(count);
    for _ in 0..count {
        let guardian = wire::take_node_id(input)?;
        ascending(guardians.last(), &guardian)?;
        guardians.push(guardian);
    }
    let met = (1..=count).contains(&usize::from(threshold));
    if met { Ok(Action::Guardians { threshold, guardians }) } else { Err(DecodeError::OutOfRange) }
}

fn decode_recovery(input: &mut &[u8]) -> Result<Action, DecodeError> {
    let (guardians, holder) = (take_op_id(input)?, wire::take_node_id(input)?);
    let count = wire::take_count(input, MAX_GUARDIANS, 32 + Signature::LEN)?;
    let mut cosigned: Vec<(NodeId, Signature)> = Vec::with_capacity(count);
    for _ in 0..count {
        let guardian = wire::take_node_id(input)?;
        ascending(cosigned.last().map(|(last, _)| last), &guardian)?;
        cosigned.push((guardian, Signature::from_bytes(wire::take_array(input)?)));
    }
    Ok(Action::Recover { guardians, holder, cosigned })
}

impl Frontier {
    fn encode(&self, out: &mut Vec<u8>) {
        put_option(out, self.control.as_ref(), |out, mark| mark.encode(out));
        match &self.data {
            DataFrontier::Listed(documents) => {
                out.push(0);
                wire::put_varint(out, documents.len() as u64);
                for (document, mark) in documents {
                    out.extend_from_slice(document);
                    mark.encode(out);
                }
            }
            DataFrontier::ClaimedBefore(unix_ms) => {
                out.push(1);
                wire::put_varint(out, *unix_ms);
            }
        }
    }

    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        let control = take_option(input, Mark::decode)?;
        let data = match wire::take_u8(input)? {
            0 => {
                let count = wire::take_count(input, MAX_FRONTIER_DOCUMENTS, 49)?;
                let mut documents: Vec<(DocumentId, Mark)> = Vec::with_capacity(count);
                for _ in 0..count {
                    let document = wire::take_array(input)?;
                    ascending(documents.last().map(|(last, _)| last), &document)?;
                    documents.push((document, Mark::decode(input)?));
                }
                DataFrontier::Listed(documents)
            }
            1 => match wire::take_varint(input)? {
                unix_ms @ 0..=TIME_END_MS => DataFrontier::ClaimedBefore(unix_ms),
                _ => return Err(DecodeError::OutOfRange),
            },
            _ => return Err(DecodeError::Unsupported),
        };
        Ok(Self { control, data })
    }
}

impl Mark {
    fn encode(&self, out: &mut Vec<u8>) {
        wire::put_varint(out, self.seq);
        out.extend_from_slice(self.id.as_bytes());
    }

    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        Ok(Self { seq: wire::take_varint(input)?, id: take_op_id(input)? })
    }
}

pub(crate) fn take_op_id(input: &mut &[u8]) -> Result<OpId, DecodeError> {
    Ok(OpId::from_bytes(wire::take_array(input)?))
}

fn take_option<T>(
    input: &mut &[u8],
    decode: impl FnOnce(&mut &[u8]) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    if wire::take_bool(input)? { decode(input).map(Some) } else { Ok(None) }
}

fn put_option<T>(out: &mut Vec<u8>, value: Option<&T>, encode: impl FnOnce(&mut Vec<u8>, &T)) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        encode(out, value);
    }
}

pub(crate) fn ascending<T: Ord>(last: Option<&T>, next: &T) -> Result<(), DecodeError> {
    if last.is_some_and(|last| last >= next) { Err(DecodeError::NotCanonical) } else { Ok(()) }
}
