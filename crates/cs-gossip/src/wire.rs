//! Messages of membership and broadcast, version 1 (PROTOCOL.md, GOS-1 to GOS-18).

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

use core::fmt;

use cs_identity::NodeId;

use crate::codec;
pub use crate::codec::DecodeError;

/// The version this side speaks (GOS-1).
pub const VERSION: u8 = 1;
/// Bytes of a payload: with its header it fits the transport's message of 1 MiB.
pub const MAX_PAYLOAD: usize = 1_000_000;
/// Peers in one message: half a kilobyte.
pub const MAX_PEERS: usize = 16;
/// Announcements in one message: a kilobyte.
pub const MAX_ANNOUNCED: usize = 64;
/// Bytes of a payload in one message of a transfer.
pub const MAX_CHUNK: usize = 16 * 1024;
/// Bytes of a broadcast's encoding: the largest payload and its header.
pub const MAX_ENCODED: usize = MAX_PAYLOAD + 64;
/// Steps of a random walk.
pub const MAX_TTL: u8 = 8;

const ID_CONTEXT: &str = "CosmicSyncCore 2026 cs-gossip message id";

/// Names a broadcast: the first 16 bytes of a hash of its publisher, nonce, lane and payload, so that a
/// peer cannot give one broadcast another's name (GOS-7).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId([u8; 16]);

impl MessageId {
    /// Wraps the bytes of an id.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The bytes of the id.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

/// How urgent a payload is. The order is that of service: each lane yields to those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Keeps the network and its rights together: pushed to all neighbours.
    Control,
    /// A person waits: pushed to all neighbours.
    Urgent,
    /// Along the tree: about one copy a node.
    Normal,
    /// Announced, and pulled by those who miss it.
    Bulk,
}

/// Why a peer asks to be a neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// It is new here: always granted, and passed on.
    Join,
    /// It has few neighbours left: always granted.
    High,
    /// It would like one more: granted if there is room.
    Low,
}

/// One message between two peers of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message {
    /// Asks to be a neighbour.
    Neighbour {
        /// The highest version the sender speaks.
        version: u8,
        /// How much it matters.
        ask: Ask,
    },
    /// Answers [`Message::Neighbour`]; names others either way.
    NeighbourReply {
        /// Both are neighbours now.
        accepted: bool,
        /// Up to [`MAX_PEERS`] other peers of the topic, ascending.
        peers: Vec<NodeId>,
    },
    /// A newcomer on a random walk.
    ForwardJoin {
        /// Who is new.
        joiner: NodeId,
        /// Steps left, up to [`MAX_TTL`].
        ttl: u8,
    },
    /// No longer neighbours.
    Disconnect {
        /// The sender leaves the topic; otherwise it only makes room.
        leaving: bool,
        /// Peers to turn to instead, ascending.
        peers: Vec<NodeId>,
    },
    /// Some of the sender's passive peers, for some of the receiver's.
    Shuffle {
        /// Ascending.
        peers: Vec<NodeId>,
    },
    /// Answers [`Message::Shuffle`].
    ShuffleReply {
        /// Ascending.
        peers: Vec<NodeId>,
    },
    /// Are you there?
    Ping {
        /// Returned in the answer.
        token: u32,
    },
    /// Yes.
    Pong {
        /// From the question.
        token: u32,
    },
    /// Is your neighbour there? I cannot hear it.
    PingFor {
        /// Who is silent.
        target: NodeId,
    },
    /// Yes, it answered me.
    Alive {
        /// Who was silent.
        target: NodeId,
    },
    /// A payload.
    Broadcast(Broadcast),
    /// The sender has these broadcasts.
    Announce {
        /// Do not wait for another copy: there will be none unless you ask.
        pull: bool,
        /// Up to [`MAX_ANNOUNCED`], in any order, at least one, each with the links it crossed to the sender.
        ids: Vec<(MessageId, u8)>,
    },
    /// Send me this broadcast, or push to me from now on, or both; never neither.
    Graft {
        /// Push to me from now on.
        tree: bool,
        /// Send this one now.
        id: Option<MessageId>,
    },
    /// Announce to me from now on, instead of pushing.
    Prune,
    /// You are too slow for what I have: I announce to you from now on, and lose what you do not take.
    Slow,
    /// Send me this broadcast from this byte of its encoding on.
    Pull {
        /// Which.
        id: MessageId,
        /// Bytes that are here already.
        offset: u32,
    },
    /// A part of a broadcast's encoding.
    Chunk {
        /// Of which.
        id: MessageId,
        /// Bytes of the whole encoding, up to [`MAX_ENCODED`].
        total: u32,
        /// Where the part begins.
        offset: u32,
        /// 1 to [`MAX_CHUNK`] bytes.
        bytes: Vec<u8>,
    },
}

/// How a copy of a payload came to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Along the tree, or on every link.
    Pushed,
    /// It was asked for: a second copy is nobody's fault.
    Pulled,
    /// On every link, and whoever brings it first is the link of the tree from then on.
    Survey,
}

/// A payload on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broadcast {
    /// Who published it, as it claims.
    pub origin: NodeId,
    /// Makes equal payloads of one publisher distinct.
    pub nonce: u64,
    /// How it travels.
    pub lane: Lane,
    /// Links it has crossed, saturating.
    pub hops: u8,
    /// Why this copy was sent.
    pub way: Way,
    /// Milliseconds for which it is still worth passing on; 0 is no limit.
    pub lifetime_ms: u32,
    /// Up to [`MAX_PAYLOAD`] bytes, opaque.
    pub payload: Vec<u8>,
}

mod kind {
    pub(crate) const NEIGHBOUR: u8 = 0x01;
    pub(crate) const NEIGHBOUR_REPLY: u8 = 0x02;
    pub(crate) const FORWARD_JOIN: u8 = 0x03;
    pub(crate) const DISCONNECT: u8 = 0x04;
    pub(crate) const SHUFFLE: u8 = 0x05;
    pub(crate) const SHUFFLE_REPLY: u8 = 0x06;
    pub(crate) const PING: u8 = 0x08;
    pub(crate) const PONG: u8 = 0x09;
    pub(crate) const PING_FOR: u8 = 0x0a;
    pub(crate) const ALIVE: u8 = 0x0b;
    pub(crate) const BROADCAST: u8 = 0x10;
    pub(crate) const ANNOUNCE: u8 = 0x11;
    pub(crate) const GRAFT: u8 = 0x12;
    pub(crate) const PRUNE: u8 = 0x13;
    pub(crate) const SLOW: u8 = 0x14;
    pub(crate) const PULL: u8 = 0x15;
    pub(crate) const CHUNK: u8 = 0x16;
}

impl Message {
    /// Reads exactly one message.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`] if bytes are left over, and whatever [`Message::decode`] refuses.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self, DecodeError> {
        let message = Self::decode(&mut bytes)?;
        codec::finish(bytes)?;
        Ok(message)
    }

    /// Reads one message off the front of `input`.
    ///
    /// # Errors
    /// See [`DecodeError`]; how much of `input` was consumed is then unspecified.
    pub fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        Ok(match codec::take_u8(input)? {
            kind::NEIGHBOUR => Self::Neighbour { version: take_version(input)?, ask: Ask::decode(input)? },
            kind::NEIGHBOUR_REPLY => {
                Self::NeighbourReply { accepted: codec::take_bool(input)?, peers: take_peers(input)? }
            }
            kind::FORWARD_JOIN => Self::ForwardJoin { joiner: take_node(input)?, ttl: take_ttl(input)? },
            kind::DISCONNECT => {
                Self::Disconnect { leaving: codec::take_bool(input)?, peers: take_peers(input)? }
            }
            kind::SHUFFLE => Self::Shuffle { peers: take_peers(input)? },
            kind::SHUFFLE_REPLY => Self::ShuffleReply { peers: take_peers(input)? },
            kind::PING => Self::Ping { token: u32::from_le_bytes(codec::take(input)?) },
            kind::PONG => Self::Pong { token: u32::from_le_bytes(codec::take(input)?) },
            kind::PING_FOR => Self::PingFor { target: take_node(input)? },
            kind::ALIVE => Self::Alive { target: take_node(input)? },
            kind::BROADCAST => Self::Broadcast(Broadcast::decode(input)?),
            kind::ANNOUNCE => Self::Announce { pull: codec::take_bool(input)?, ids: take_ids(input)? },
            kind::GRAFT => match codec::take_u8(input)? {
                0 => Self::Graft { tree: false, id: Some(MessageId(codec::take(input)?)) },
                1 => Self::Graft { tree: true, id: Some(MessageId(codec::take(input)?)) },
                2 => Self::Graft { tree: true, id: None },
                _ => return Err(DecodeError::NonCanonical),
            },
            kind::PRUNE => Self::Prune,
            kind::SLOW => Self::Slow,
            kind::PULL => Self::Pull {
                id: MessageId(codec::take(input)?),
                offset: u32::from_le_bytes(codec::take(input)?),
            },
            kind::CHUNK => take_chunk(input)?,
            _ => return Err(DecodeError::Unknown),
        })
    }

    /// Appends the one encoding of this message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Neighbour { version, ask } => {
                out.extend_from_slice(&[kind::NEIGHBOUR, *version, *ask as u8])
            }
            Self::NeighbourReply { accepted, peers } => {
                out.extend_from_slice(&[kind::NEIGHBOUR_REPLY, u8::from(*accepted)]);
                put_peers(out, peers);
            }
            Self::ForwardJoin { joiner, ttl } => {
                put_node(out, kind::FORWARD_JOIN, joiner);
                out.push(*ttl);
            }
            Self::Disconnect { leaving, peers } => {
                out.extend_from_slice(&[kind::DISCONNECT, u8::from(*leaving)]);
                put_peers(out, peers);
            }
            Self::Shuffle { peers } => {
                out.push(kind::SHUFFLE);
                put_peers(out, peers);
            }
            Self::ShuffleReply { peers } => {
                out.push(kind::SHUFFLE_REPLY);
                put_peers(out, peers);
            }
            Self::Ping { token } => put_token(out, kind::PING, *token),
            Self::Pong { token } => put_token(out, kind::PONG, *token),
            Self::PingFor { target } => put_node(out, kind::PING_FOR, target),
            Self::Alive { target } => put_node(out, kind::ALIVE, target),
            Self::Broadcast(broadcast) => broadcast.encode(out),
            Self::Announce { pull, ids } => {
                out.extend_from_slice(&[kind::ANNOUNCE, u8::from(*pull)]);
                codec::put_varint(out, ids.len() as u64);
                for (id, hops) in ids {
                    out.extend_from_slice(&id.0);
                    out.push(*hops);
                }
            }
            Self::Graft { tree, id } => {
                out.extend_from_slice(&[kind::GRAFT, if id.is_none() { 2 } else { u8::from(*tree) }]);
                out.extend_from_slice(id.as_ref().map_or(&[], |id| &id.0));
            }
            Self::Prune => out.push(kind::PRUNE),
            Self::Slow => out.push(kind::SLOW),
            Self::Pull { id, offset } => {
                out.push(kind::PULL);
                out.extend_from_slice(&id.0);
                out.extend_from_slice(&offset.to_le_bytes());
            }
            Self::Chunk { id, total, offset, bytes } => {
                out.push(kind::CHUNK);
                out.extend_from_slice(&id.0);
                out.extend_from_slice(&total.to_le_bytes());
                out.extend_from_slice(&offset.to_le_bytes());
                codec::put_varint(out, bytes.len() as u64);
                out.extend_from_slice(bytes);
            }
        }
    }

    /// The encoding alone.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}

impl Broadcast {
    /// The name of this broadcast. One hash of the payload.
    #[must_use]
    pub fn id(&self) -> MessageId {
        let mut hasher = blake3::Hasher::new_derive_key(ID_CONTEXT);
        hasher.update(self.origin.as_bytes());
        hasher.update(&self.nonce.to_le_bytes());
        hasher.update(&[self.lane as u8]);
        hasher.update(&self.payload);
        MessageId(*hasher.finalize().as_bytes().first_chunk().expect("a hash has 32 bytes"))
    }

    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        let origin = take_node(input)?;
        let nonce = u64::from_le_bytes(codec::take(input)?);
        let lane = match codec::take_u8(input)? {
            0 => Lane::Control,
            1 => Lane::Urgent,
            2 => Lane::Normal,
            3 => Lane::Bulk,
            _ => return Err(DecodeError::NonCanonical),
        };
        let hops = codec::take_u8(input)?;
        let way = match codec::take_u8(input)? {
            0 => Way::Pushed,
            1 => Way::Pulled,
            2 => Way::Survey,
            _ => return Err(DecodeError::NonCanonical),
        };
        let lifetime_ms = u32::from_le_bytes(codec::take(input)?);
        let len = codec::take_count(input, MAX_PAYLOAD, 1)?;
        let payload = codec::take_slice(input, len)?.to_vec();
        Ok(Self { origin, nonce, lane, hops, way, lifetime_ms, payload })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        put_node(out, kind::BROADCAST, &self.origin);
        out.extend_from_slice(&self.nonce.to_le_bytes());
        out.extend_from_slice(&[self.lane as u8, self.hops, self.way as u8]);
        out.extend_from_slice(&self.lifetime_ms.to_le_bytes());
        codec::put_varint(out, self.payload.len() as u64);
        out.extend_from_slice(&self.payload);
    }
}

impl Ask {
    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        match codec::take_u8(input)? {
            0 => Ok(Self::Join),
            1 => Ok(Self::High),
            2 => Ok(Self::Low),
            _ => Err(DecodeError::NonCanonical),
        }
    }
}

fn take_version(input: &mut &[u8]) -> Result<u8, DecodeError> {
    match codec::take_u8(input)? {
        0 => Err(DecodeError::Unknown),
        version => Ok(version),
    }
}

fn take_ttl(input: &mut &[u8]) -> Result<u8, DecodeError> {
    let ttl = codec::take_u8(input)?;
    if ttl > MAX_TTL { Err(DecodeError::TooLarge) } else { Ok(ttl) }
}

fn take_node(input: &mut &[u8]) -> Result<NodeId, DecodeError> {
    NodeId::from_bytes(&codec::take(input)?).map_err(|_| DecodeError::NonCanonical)
}

fn put_node(out: &mut Vec<u8>, kind: u8, node: &NodeId) {
    out.push(kind);
    out.extend_from_slice(node.as_bytes());
}

fn put_token(out: &mut Vec<u8>, kind: u8, token: u32) {
    out.push(kind);
    out.extend_from_slice(&token.to_le_bytes());
}

fn take_peers(input: &mut &[u8]) -> Result<Vec<NodeId>, DecodeError> {
    let count = codec::take_count(input, MAX_PEERS, 32)?;
    let peers = (0..count).map(|_| take_node(input)).collect::<Result<Vec<_>, _>>()?;
    if peers.is_sorted_by(|a, b| a < b) { Ok(peers) } else { Err(DecodeError::NonCanonical) }
}

fn put_peers(out: &mut Vec<u8>, peers: &[NodeId]) {
    codec::put_varint(out, peers.len() as u64);
    peers.iter().for_each(|peer| out.extend_from_slice(peer.as_bytes()));
}

fn take_chunk(input: &mut &[u8]) -> Result<Message, DecodeError> {
    let id = MessageId(codec::take(input)?);
    let total = u32::from_le_bytes(codec::take(input)?);
    let offset = u32::from_le_bytes(codec::take(input)?);
    let len = codec::take_count(input, MAX_CHUNK, 1)?;
    let bytes = codec::take_slice(input, len)?.to_vec();
    if total as usize > MAX_ENCODED {
        return Err(DecodeError::TooLarge);
    }
    if len == 0 || (offset as usize).saturating_add(len) > total as usize {
        return Err(DecodeError::NonCanonical);
    }
    Ok(Message::Chunk { id, total, offset, bytes })
}

fn take_ids(input: &mut &[u8]) -> Result<Vec<(MessageId, u8)>, DecodeError> {
    let count = codec::take_count(input, MAX_ANNOUNCED, 17)?;
    if count == 0 {
        return Err(DecodeError::NonCanonical);
    }
    (0..count).map(|_| Ok((MessageId(codec::take(input)?), codec::take_u8(input)?))).collect()
}
