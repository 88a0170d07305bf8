//! Messages between leaves and hubs (SHARD-25).
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

use cs_identity::NodeId;
use cs_identity::wire::{put_varint, take_array, take_count, take_node_id, take_u8, take_varint};
use thiserror::Error;

use crate::member::Zone;
use crate::wire::{DecodeError, whole};

/// Most hubs that one message names.
pub const MAX_HINTS: usize = 6;

const VERSION: u8 = 1;
const PROBE: u8 = 0;
const REPLY: u8 = 1;
const LEAVING: u8 = 2;
const DETACH: u8 = 3;
const INVITE: u8 = 4;
const DIAL_ME: u8 = 5;
const DIAL: u8 = 6;
const VOUCH: u8 = 7;

/// The highest level a node can have.
const LEVEL_MAX: u8 = 3;

/// What nodes tell each other about roles. None is longer than 350 bytes, and an answer that names hubs is at most 320
/// bytes longer than the question; it goes to authenticated peers only.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RolesMessage {
    /// Are you there, and may I be attached to you?
    Probe(Probe),
    /// The answer.
    Reply(Reply),
    /// From a hub that stops being one, to whom is attached to it.
    Leaving {
        /// Others to go to.
        hubs: Vec<Hint>,
    },
    /// From a leaf that goes elsewhere.
    Detach,
    /// From a hub that has too many leaves, to one it drew: be a hub.
    Invite,
    /// From a leaf to its hub: let strangers dial me.
    DialMe {
        /// To be echoed by them.
        nonce: u64,
    },
    /// From a hub to a leaf: dial this one.
    Dial {
        /// Whom.
        candidate: NodeId,
        /// Of the candidate.
        nonce: u64,
    },
    /// From a stranger to the candidate: you can be reached.
    Vouch {
        /// Of the candidate.
        nonce: u64,
    },
}

/// How one node is attached to another.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Attach {
    /// Not at all.
    #[default]
    None,
    /// In case that another one fails.
    Backup,
    /// As its child in the tree.
    Home,
}

/// A question to a hub, or to a node that may be one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Probe {
    /// Of the answer.
    pub nonce: u32,
    /// What the sender is, or wants to be, to the receiver.
    pub attach: Attach,
    /// The sender's: 0 leaf, 1 hub, 2 lead of a region, 3 root.
    pub level: u8,
    /// It is attached to nobody else.
    pub is_stranded: bool,
    /// It wants to hear of other hubs.
    pub wants_hubs: bool,
    /// It is ready to be a hub.
    pub is_eligible: bool,
    /// Where it is.
    pub zone: Zone,
}

/// The answer to a [`Probe`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Reply {
    /// Of the question.
    pub nonce: u32,
    /// The sender's; 0: it is no hub.
    pub level: u8,
    /// Whether the receiver is attached now, as it asked.
    pub is_accepted: bool,
    /// Leaves that the sender has.
    pub leaves: u16,
    /// Where it is.
    pub zone: Zone,
    /// What it knows of others, if that was asked for.
    pub hubs: Vec<Hint>,
    /// The lead of its region, if that was asked for and is another one.
    pub lead: Option<NodeId>,
    /// The root, if that was asked for and is another one.
    pub root: Option<NodeId>,
}

/// A hub that somebody knows.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Hint {
    /// Who.
    pub id: NodeId,
    /// Where.
    pub zone: Zone,
}

/// A remote broke the protocol. Nothing changed but the clock.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum RolesFault {
    /// The bytes are no message.
    #[error("malformed message: {0}")]
    Malformed(#[from] DecodeError),
    /// An answer to a question that was not put, or is too old; hubs that were not asked for.
    #[error("an answer that nobody asked for")]
    Unasked,
    /// Only hubs one is attached to may say this.
    #[error("the sender is no hub of this node")]
    NotMyHub,
    /// Only attached leaves may say this.
    #[error("the sender is no leaf of this node")]
    NotMyLeaf,
}

impl RolesMessage {
    /// Appends the one encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        match self {
            Self::Probe(probe) => probe.encode(out),
            Self::Reply(reply) => reply.encode(out),
            Self::Leaving { hubs } => {
                out.push(LEAVING);
                put_hints(out, hubs);
            }
            Self::Detach => out.push(DETACH),
            Self::Invite => out.push(INVITE),
            Self::DialMe { nonce } => {
                out.push(DIAL_ME);
                out.extend_from_slice(&nonce.to_be_bytes());
            }
            Self::Dial { candidate, nonce } => {
                out.push(DIAL);
                out.extend_from_slice(candidate.as_bytes());
                out.extend_from_slice(&nonce.to_be_bytes());
            }
            Self::Vouch { nonce } => {
                out.push(VOUCH);
                out.extend_from_slice(&nonce.to_be_bytes());
            }
        }
    }

    /// Reads a message and nothing else.
    ///
    /// # Errors
    /// [`DecodeError`] names what is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        whole(bytes, Self::decode)
    }

    /// Reads a message from the front.
    ///
    /// # Errors
    /// [`DecodeError`] names what is wrong.
    pub fn decode(bytes: &mut &[u8]) -> Result<Self, DecodeError> {
        if take_u8(bytes)? != VERSION {
            return Err(DecodeError::Version);
        }
        Ok(match take_u8(bytes)? {
            PROBE => Self::Probe(Probe::decode(bytes)?),
            REPLY => Self::Reply(Reply::decode(bytes)?),
            LEAVING => Self::Leaving { hubs: take_hints(bytes)? },
            DETACH => Self::Detach,
            INVITE => Self::Invite,
            DIAL_ME => Self::DialMe { nonce: u64::from_be_bytes(take_array(bytes)?) },
            DIAL => {
                Self::Dial { candidate: take_node_id(bytes)?, nonce: u64::from_be_bytes(take_array(bytes)?) }
            }
            VOUCH => Self::Vouch { nonce: u64::from_be_bytes(take_array(bytes)?) },
            _ => return Err(DecodeError::Kind),
        })
    }
}

impl Probe {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(PROBE);
        out.extend_from_slice(&self.nonce.to_be_bytes());
        let flags = [self.is_stranded, self.wants_hubs, self.is_eligible].map(u8::from);
        out.push(self.attach as u8 | self.level << 2 | flags[0] << 4 | flags[1] << 5 | flags[2] << 6);
        put_varint(out, self.zone.0);
    }

    fn decode(bytes: &mut &[u8]) -> Result<Self, DecodeError> {
        let nonce = u32::from_be_bytes(take_array(bytes)?);
        let flags = take_u8(bytes)?;
        let attach = match flags & 3 {
            0 => Attach::None,
            1 => Attach::Backup,
            2 => Attach::Home,
            _ => return Err(DecodeError::Range),
        };
        if flags >> 7 != 0 {
            return Err(DecodeError::Range);
        }
        Ok(Self {
            nonce,
            attach,
            level: flags >> 2 & LEVEL_MAX,
            is_stranded: flags >> 4 & 1 == 1,
            wants_hubs: flags >> 5 & 1 == 1,
            is_eligible: flags >> 6 & 1 == 1,
            zone: Zone(take_varint(bytes)?),
        })
    }
}

impl Reply {
    fn encode(&self, out: &mut Vec<u8>) {
        out.push(REPLY);
        out.extend_from_slice(&self.nonce.to_be_bytes());
        let named = [self.is_accepted, self.lead.is_some(), self.root.is_some()].map(u8::from);
        out.push(self.level | named[0] << 2 | named[1] << 3 | named[2] << 4);
        out.extend_from_slice(&self.leaves.to_be_bytes());
        put_varint(out, self.zone.0);
        put_hints(out, &self.hubs);
        for id in [self.lead, self.root].into_iter().flatten() {
            out.extend_from_slice(id.as_bytes());
        }
    }

    fn decode(bytes: &mut &[u8]) -> Result<Self, DecodeError> {
        let nonce = u32::from_be_bytes(take_array(bytes)?);
        let flags = take_u8(bytes)?;
        if flags >> 5 != 0 {
            return Err(DecodeError::Range);
        }
        Ok(Self {
            nonce,
            level: flags & LEVEL_MAX,
            is_accepted: flags >> 2 & 1 == 1,
            leaves: u16::from_be_bytes(take_array(bytes)?),
            zone: Zone(take_varint(bytes)?),
            hubs: take_hints(bytes)?,
            lead: if flags >> 3 & 1 == 1 { Some(take_node_id(bytes)?) } else { None },
            root: if flags >> 4 & 1 == 1 { Some(take_node_id(bytes)?) } else { None },
        })
    }
}

fn put_hints(out: &mut Vec<u8>, hubs: &[Hint]) {
    put_varint(out, hubs.len() as u64);
    for hub in hubs {
        out.extend_from_slice(hub.id.as_bytes());
        put_varint(out, hub.zone.0);
    }
}

/// Ascending by id, so that nobody is named twice.
fn take_hints(bytes: &mut &[u8]) -> Result<Vec<Hint>, DecodeError> {
    let count = take_count(bytes, MAX_HINTS, 33)?;
    let mut hubs: Vec<Hint> = Vec::with_capacity(count);
    for _ in 0..count {
        let hint = Hint { id: take_node_id(bytes)?, zone: Zone(take_varint(bytes)?) };
        if hubs.last().is_some_and(|last| last.id >= hint.id) {
            return Err(DecodeError::NotCanonical);
        }
        hubs.push(hint);
    }
    Ok(hubs)
}
