//! Questions and answers, one datagram each.

use super::codec::{
    ADDRESS_LEAST, DecodeError, Extensions, PADDING, put_address, take_address, take_u64, whole_message,
};
use super::record::{NetworkConfig, Record, RecordKind};
use crate::config::K;
use crate::key::Key;
use alloc::vec;
use alloc::vec::Vec;
use core::net::SocketAddr;
use cs_identity::wire::{self, put_varint, take_array, take_count, take_node_id, take_u8};
use cs_identity::{NodeId, Signed};

/// The version of this protocol.
pub const VERSION: u8 = 1;

/// The largest message: what a datagram of 1,200 bytes, which every path carries, leaves beside a sealed RPC's own bytes.
pub const MAX_MESSAGE: usize = 1_100;

/// The most records in one answer: as many of the smallest as fit.
pub const MAX_RECORDS: usize = 8;

/// The most peers of one down-hint.
pub const MAX_DOWN: usize = 8;

/// The extension of a `Store` that bounds how long the record is held, in seconds: 4 bytes, big-endian (DHT-22).
pub const HOLD_FOR: u8 = 1;

/// A peer and one address of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Who.
    pub id: NodeId,
    /// Where.
    pub addr: SocketAddr,
}

/// What a peer must present to store a record: it has been received at the address that the record comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token(pub [u8; 8]);

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The asker answers no questions: do not name it to anybody.
    pub is_client: bool,
    /// What is asked.
    pub ask: Ask,
    /// What later versions add, and padding.
    pub extensions: Extensions,
}

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ask {
    /// Are you there?
    Ping,
    /// Whom do you know closest to this?
    FindNode {
        /// Closest to what.
        target: Key,
    },
    /// What do you hold under this key? And whom do you know closest to it?
    Get {
        /// Under which key.
        key: Key,
        /// Of which kind.
        kind: RecordKind,
    },
    /// Hold this for me.
    Store {
        /// From a recent answer of the same peer.
        token: Token,
        /// Only if what you hold has this sequence number (0: nothing). Mutable values only.
        expected: Option<u64>,
        /// What to hold.
        record: Record,
    },
    /// Do you know a network configuration newer than this?
    Config {
        /// Sequence number of the one that is known; 0 is none.
        known: u64,
    },
    /// Any peers, from all over the key space: for a node that starts.
    Sample,
    /// I am leaving: name me no more.
    Leave,
    /// You named these, and they do not answer: see for yourself (DHT-20).
    Down {
        /// At most [`MAX_DOWN`], ascending.
        peers: Vec<NodeId>,
    },
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// What is answered.
    pub answer: Answer,
    /// What later versions add.
    pub extensions: Extensions,
}

/// What can be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// To `Ping`, `Leave` and `Down`.
    Pong,
    /// To `FindNode` and `Sample`.
    Nodes {
        /// For a `Store` within the next five minutes.
        token: Token,
        /// At most K, ascending by ID.
        nodes: Vec<Node>,
    },
    /// To `Get`.
    Records {
        /// For a `Store` within the next five minutes.
        token: Token,
        /// At most [`MAX_RECORDS`], in no order.
        records: Vec<Record>,
        /// As many as fit beside the records, ascending by ID.
        nodes: Vec<Node>,
    },
    /// To `Store`: it is held.
    Stored,
    /// To `Store`: it is not held.
    NotStored(StoreRefusal),
    /// To `Config`: the newest one known, if it is newer than the asker's.
    Config(Option<Signed<NetworkConfig>>),
    /// To a question that this peer does not understand.
    Unsupported,
}

/// Why a peer does not hold a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StoreRefusal {
    /// The token is too old or was issued to another address: ask again for a new one.
    Token,
    /// A newer record is held.
    Stale,
    /// The held sequence number is not the expected one.
    Conflict,
    /// The publisher's or the subnet's share is used up, or all room is taken by records closer to the holder.
    Full,
    /// The record is invalid: its signature, its lifetime or its key.
    Invalid,
}

impl Request {
    /// A question without extensions.
    #[must_use]
    pub fn new(is_client: bool, ask: Ask) -> Self {
        Self { is_client, ask, extensions: Extensions::default() }
    }

    /// The same question with zeros up to [`MAX_MESSAGE`], so that no answer is larger than it (DHT-2).
    #[must_use]
    pub fn padded(mut self) -> Self {
        let mut bytes = Vec::with_capacity(MAX_MESSAGE);
        self.encode(&mut bytes);
        if let Some(zeros) = MAX_MESSAGE.checked_sub(bytes.len() + 3) {
            self.extensions.set(PADDING, vec![0; zeros]);
        }
        self
    }

    /// The same question, with a bound on how long what it brings is held.
    #[must_use]
    pub fn held_for(mut self, seconds: u32) -> Self {
        self.extensions.set(HOLD_FOR, seconds.to_be_bytes().to_vec());
        self
    }

    /// How long the asker wants the record to be held at most, in seconds, if it says so.
    #[must_use]
    pub fn hold_for(&self) -> Option<u32> {
        let bytes = self.extensions.find(HOLD_FOR)?;
        bytes.try_into().ok().map(u32::from_be_bytes)
    }

    /// Reads one question.
    ///
    /// # Errors
    /// See [`DecodeError`]; `input` is then at an unspecified place.
    pub fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        let kind = decode_header(input)?;
        let is_client = match take_u8(input)? {
            0 => false,
            1 => true,
            _ => return Err(wire::DecodeError::NotCanonical.into()),
        };
        let ask = match kind {
            1 => Ask::Ping,
            2 => Ask::FindNode { target: Key::from_bytes(take_array(input)?) },
            3 => Ask::Get { key: Key::from_bytes(take_array(input)?), kind: RecordKind::decode(input)? },
            4 => Ask::Store {
                token: Token(take_array(input)?),
                expected: decode_option(input, take_u64)?,
                record: Record::decode(input)?,
            },
            5 => Ask::Config { known: take_u64(input)? },
            6 => Ask::Sample,
            7 => Ask::Leave,
            8 => Ask::Down { peers: decode_peers(input)? },
            other => return Err(DecodeError::Kind(other)),
        };
        Ok(Self { is_client, ask, extensions: Extensions::decode(input)? })
    }

    /// Reads one question that fills `bytes`.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        whole_message(bytes, Self::decode)
    }

    /// Appends the question's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let kind = match &self.ask {
            Ask::Ping => 1,
            Ask::FindNode { .. } => 2,
            Ask::Get { .. } => 3,
            Ask::Store { .. } => 4,
            Ask::Config { .. } => 5,
            Ask::Sample => 6,
            Ask::Leave => 7,
            Ask::Down { .. } => 8,
        };
        out.extend_from_slice(&[VERSION, kind, u8::from(self.is_client)]);
        match &self.ask {
            Ask::Ping | Ask::Sample | Ask::Leave => {}
            Ask::FindNode { target } => out.extend_from_slice(target.as_bytes()),
            Ask::Get { key, kind } => {
                out.extend_from_slice(key.as_bytes());
                kind.encode(out);
            }
            Ask::Store { token, expected, record } => {
                out.extend_from_slice(&token.0);
                encode_option(expected.as_ref(), out, |seq, out| out.extend_from_slice(&seq.to_be_bytes()));
                record.encode(out);
            }
            Ask::Config { known } => out.extend_from_slice(&known.to_be_bytes()),
            Ask::Down { peers } => {
                put_varint(out, peers.len() as u64);
                peers.iter().for_each(|peer| out.extend_from_slice(peer.as_bytes()));
            }
        }
        self.extensions.encode(out);
    }
}

impl Reply {
    /// An answer without extensions.
    #[must_use]
    pub fn new(answer: Answer) -> Self {
        Self { answer, extensions: Extensions::default() }
    }

    /// Reads one answer.
    ///
    /// # Errors
    /// See [`DecodeError`]; `input` is then at an unspecified place.
    pub fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        let answer = match decode_header(input)? {
            1 => Answer::Pong,
            2 => Answer::Nodes { token: Token(take_array(input)?), nodes: decode_nodes(input)? },
            3 => Answer::Records {
                token: Token(take_array(input)?),
                records: decode_records(input)?,
                nodes: decode_nodes(input)?,
            },
            4 => Answer::Stored,
            5 => Answer::NotStored(StoreRefusal::decode(input)?),
            6 => Answer::Config(decode_option(input, NetworkConfig::decode_signed)?),
            7 => Answer::Unsupported,
            other => return Err(DecodeError::Kind(other)),
        };
        Ok(Self { answer, extensions: Extensions::decode(input)? })
    }

    /// Reads one answer that fills `bytes`.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        whole_message(bytes, Self::decode)
    }

    /// Appends the answer's bytes. Nodes are put in order by whoever made the answer.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let kind = match &self.answer {
            Answer::Pong => 1,
            Answer::Nodes { .. } => 2,
            Answer::Records { .. } => 3,
            Answer::Stored => 4,
            Answer::NotStored(_) => 5,
            Answer::Config(_) => 6,
            Answer::Unsupported => 7,
        };
        out.extend_from_slice(&[VERSION, kind]);
        match &self.answer {
            Answer::Pong | Answer::Stored | Answer::Unsupported => {}
            Answer::Nodes { token, nodes } => {
                out.extend_from_slice(&token.0);
                encode_nodes(nodes, out);
            }
            Answer::Records { token, records, nodes } => {
                out.extend_from_slice(&token.0);
                put_varint(out, records.len() as u64);
                records.iter().for_each(|record| record.encode(out));
                encode_nodes(nodes, out);
            }
            Answer::NotStored(why) => why.encode(out),
            Answer::Config(config) => {
                encode_option(config.as_ref(), out, NetworkConfig::encode_signed);
            }
        }
        self.extensions.encode(out);
    }
}

impl Node {
    /// Bytes of the smallest on the wire.
    const LEAST: usize = 32 + ADDRESS_LEAST;

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.id.as_bytes());
        put_address(out, &self.addr);
    }

    /// Bytes on the wire.
    pub(crate) const fn encoded_len(&self) -> usize {
        Self::LEAST + if self.addr.is_ipv6() { 12 } else { 0 }
    }
}

impl StoreRefusal {
    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        match take_u8(input)? {
            1 => Ok(Self::Token),
            2 => Ok(Self::Stale),
            3 => Ok(Self::Conflict),
            4 => Ok(Self::Full),
            5 => Ok(Self::Invalid),
            other => Err(DecodeError::Kind(other)),
        }
    }

    fn encode(self, out: &mut Vec<u8>) {
        out.push(match self {
            Self::Token => 1,
            Self::Stale => 2,
            Self::Conflict => 3,
            Self::Full => 4,
            Self::Invalid => 5,
        });
    }
}

/// Version and kind.
fn decode_header(input: &mut &[u8]) -> Result<u8, DecodeError> {
    match take_u8(input)? {
        VERSION => Ok(take_u8(input)?),
        other => Err(DecodeError::Version(other)),
    }
}

fn decode_nodes(input: &mut &[u8]) -> Result<Vec<Node>, DecodeError> {
    let count = take_count(input, K, Node::LEAST)?;
    let mut nodes: Vec<Node> = Vec::with_capacity(count);
    for _ in 0..count {
        let node = Node { id: take_node_id(input)?, addr: take_address(input)? };
        if nodes.last().is_some_and(|last| last.id >= node.id) {
            return Err(wire::DecodeError::NotCanonical.into());
        }
        nodes.push(node);
    }
    Ok(nodes)
}

fn decode_peers(input: &mut &[u8]) -> Result<Vec<NodeId>, DecodeError> {
    let count = take_count(input, MAX_DOWN, 32)?;
    let mut peers: Vec<NodeId> = Vec::with_capacity(count);
    for _ in 0..count {
        let peer = take_node_id(input)?;
        if peers.last().is_some_and(|last| *last >= peer) {
            return Err(wire::DecodeError::NotCanonical.into());
        }
        peers.push(peer);
    }
    Ok(peers)
}

fn encode_nodes(nodes: &[Node], out: &mut Vec<u8>) {
    put_varint(out, nodes.len() as u64);
    nodes.iter().for_each(|node| node.encode(out));
}

fn decode_records(input: &mut &[u8]) -> Result<Vec<Record>, DecodeError> {
    let count = take_count(input, MAX_RECORDS, Record::LEAST)?;
    (0..count).map(|_| Record::decode(input)).collect()
}

fn decode_option<T>(
    input: &mut &[u8],
    decode: impl FnOnce(&mut &[u8]) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    match take_u8(input)? {
        0 => Ok(None),
        1 => decode(input).map(Some),
        _ => Err(wire::DecodeError::NotCanonical.into()),
    }
}

fn encode_option<T>(value: Option<&T>, out: &mut Vec<u8>, encode: impl FnOnce(&T, &mut Vec<u8>)) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        encode(value, out);
    }
}
