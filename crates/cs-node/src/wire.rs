//! Messages between two nodes, inside an encrypted session. CBOR with numbered fields: a field that an older node does
//! not know is skipped (NODE-1).
//!
//! A message is at most [`cs_transport::wire::MAX_MESSAGE`] bytes, which bounds every allocation of the decoder: CBOR arrays
//! grow item by item, whatever length they announce.

use std::net::SocketAddr;

use cs_identity::{OpId, SpaceId};
use minicbor::bytes::ByteVec;
use minicbor::{Decode, Encode};

/// Version of the messages. A node refuses a peer whose `Hello` names a lower one than it can speak.
pub const VERSION: u16 = 1;

/// Most identifiers in one `Want` or `WantChunks`: one answer's worth, so that a peer cannot queue more work.
pub const MAX_IDS: usize = 512;

/// Most addresses in a `Hello`.
pub const MAX_ADDRS: usize = 16;

/// Most space tags in a `Hello`.
pub const MAX_SPACES: usize = 1024;

/// The set that a reconciliation is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(index_only)]
pub enum Set {
    /// Control statements: grants, cuts, epochs.
    #[n(0)]
    Control,
    /// Operations.
    #[n(1)]
    Operations,
}

/// Why a redemption was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Encode, Decode)]
#[cbor(index_only)]
pub enum Refusal {
    /// No such code or invitation here, or it was wrong: a code is gone after one wrong guess.
    #[n(0)]
    Unknown,
    /// Somebody else used it.
    #[n(1)]
    Used,
    /// Its time is over.
    #[n(2)]
    Expired,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Encode, Decode)]
pub enum Message {
    /// The first message each way, and again when the list of spaces changes (NODE-2).
    #[n(0)]
    Hello {
        /// [`VERSION`].
        #[n(0)]
        version: u16,
        /// Addresses the sender listens on.
        #[n(1)]
        addrs: Vec<SocketAddr>,
        /// One tag for each of its spaces, blinded so that only somebody who knows the space recognises it.
        #[n(2)]
        #[cbor(with = "minicbor::bytes")]
        tags: Vec<u8>,
        /// To a member of a common space: the claim of the sender's last start (NODE-14).
        #[n(3)]
        claim: Option<ByteVec>,
        /// To such a member: the last claim that the sender heard of it.
        #[n(4)]
        heard: Option<ByteVec>,
    },
    /// Opens a space that both named: the statements that prove the sender's rights (NODE-3).
    #[n(1)]
    Open {
        /// The space.
        #[n(0)]
        space: Key32,
        /// The sender's chain up to the genesis, in causal order.
        #[n(1)]
        credentials: Vec<ByteVec>,
    },
    /// What the sender has, sent when it changes and now and then: equal summaries mean equal sets (NODE-8).
    #[n(13)]
    Summary {
        /// The space.
        #[n(0)]
        space: Key32,
        /// Fingerprint of its control statements.
        #[n(1)]
        #[cbor(with = "minicbor::bytes")]
        control: [u8; 16],
        /// Fingerprint of its operations.
        #[n(2)]
        #[cbor(with = "minicbor::bytes")]
        operations: [u8; 16],
        /// Files whose content it still waits for.
        #[n(3)]
        pending: u64,
        /// Whether it is still looking through its folder, so that more is to come.
        #[n(4)]
        scanning: bool,
    },
    /// A step of a reconciliation.
    #[n(3)]
    Reconcile {
        /// The space.
        #[n(0)]
        space: Key32,
        /// Which set.
        #[n(1)]
        set: Set,
        /// The initiator's number for the session.
        #[n(2)]
        session: u32,
        /// Whether the sender is the initiator.
        #[n(3)]
        initiator: bool,
        /// The machine's message.
        #[n(4)]
        #[cbor(with = "minicbor::bytes")]
        body: Vec<u8>,
    },
    /// Asks for statements or operations by ID, [`MAX_IDS`] at most (NODE-4); without any, for the next of all that the asker
    /// lacks, as the last reconciliation found out (NODE-8).
    #[n(4)]
    Want {
        /// The space.
        #[n(0)]
        space: Key32,
        /// Which set.
        #[n(1)]
        set: Set,
        /// 32 bytes each.
        #[n(2)]
        #[cbor(with = "minicbor::bytes")]
        ids: Vec<u8>,
    },
    /// What was asked for. `done` is set on the last message of an answer; what did not come is not here.
    #[n(5)]
    Answer {
        /// The space.
        #[n(0)]
        space: Key32,
        /// Which set.
        #[n(1)]
        set: Set,
        /// Bytes of statements or operations.
        #[n(2)]
        items: Vec<ByteVec>,
        /// Whether this is the last message of the answer.
        #[n(3)]
        done: bool,
    },
    /// A message of the space's gossip machine.
    #[n(6)]
    Gossip {
        /// The space.
        #[n(0)]
        space: Key32,
        /// The machine's message.
        #[n(1)]
        #[cbor(with = "minicbor::bytes")]
        body: Vec<u8>,
    },
    /// Asks for chunks of a file version, [`MAX_IDS`] at most (NODE-5).
    #[n(7)]
    WantChunks {
        /// The space.
        #[n(0)]
        space: Key32,
        /// Pairs of 32 bytes each: the operation whose content it is part of, and the chunk.
        #[n(1)]
        #[cbor(with = "minicbor::bytes")]
        pairs: Vec<u8>,
    },
    /// One chunk.
    #[n(8)]
    Chunk {
        /// The space.
        #[n(0)]
        space: Key32,
        /// The chunk's ID.
        #[n(1)]
        id: Key32,
        /// Its bytes; `None` when the sender does not have it.
        #[n(2)]
        #[cbor(with = "minicbor::bytes")]
        data: Option<Vec<u8>>,
    },
    /// Redeems a full invitation (NODE-6).
    #[n(9)]
    Redeem {
        /// Which one.
        #[n(0)]
        #[cbor(with = "minicbor::bytes")]
        invitation: [u8; 16],
        /// Keyed hash that proves knowledge of its secret, bound to this session.
        #[n(1)]
        #[cbor(with = "minicbor::bytes")]
        proof: [u8; 32],
    },
    /// Redeems a short code, first step: the joiner's half of the password-authenticated key exchange (NODE-7).
    #[n(10)]
    Code {
        /// What the rendezvous part of the code hashes to.
        #[n(0)]
        #[cbor(with = "minicbor::bytes")]
        rendezvous: [u8; 32],
        /// The exchange's first message.
        #[n(1)]
        #[cbor(with = "minicbor::bytes")]
        hello: Vec<u8>,
    },
    /// Second step: the inviter's half.
    #[n(14)]
    CodeAnswer {
        /// The exchange's second message.
        #[n(0)]
        #[cbor(with = "minicbor::bytes")]
        answer: Vec<u8>,
    },
    /// Third step: the joiner shows that it knows the code. A wrong proof burns it.
    #[n(15)]
    CodeProof {
        /// The proof.
        #[n(0)]
        #[cbor(with = "minicbor::bytes")]
        proof: Vec<u8>,
    },
    /// What a redeemed invitation gives: the whole control graph, the new grant in it.
    #[n(11)]
    Welcome {
        /// The space.
        #[n(0)]
        space: Key32,
        /// What the inviter calls it.
        #[n(1)]
        name: String,
        /// Every control statement, in causal order.
        #[n(2)]
        statements: Vec<ByteVec>,
        /// For a code, the inviter's proof that it knew it too; empty for a full invitation.
        #[n(3)]
        #[cbor(with = "minicbor::bytes")]
        proof: Vec<u8>,
    },
    /// A redemption that failed.
    #[n(12)]
    Refused {
        /// Why.
        #[n(0)]
        why: Refusal,
    },
}

/// 32 bytes that name a space, an operation or a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Encode, Decode)]
#[cbor(transparent)]
pub struct Key32(#[cbor(with = "minicbor::bytes")] pub [u8; 32]);

impl From<SpaceId> for Key32 {
    fn from(id: SpaceId) -> Self {
        Self(*id.as_bytes())
    }
}

impl From<[u8; 32]> for Key32 {
    fn from(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}

impl From<OpId> for Key32 {
    fn from(id: OpId) -> Self {
        Self(*id.as_bytes())
    }
}

/// Why bytes are not a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Not the CBOR of any message known here.
    #[error("not a message")]
    Malformed,
    /// Bytes after the message.
    #[error("bytes after the message")]
    Leftover,
    /// More entries than the message may carry.
    #[error("too many entries")]
    TooMany,
}

impl Message {
    /// The space it is about, if it is about one that both sides opened.
    pub(crate) fn space(&self) -> Option<Key32> {
        match self {
            Self::Open { space, .. }
            | Self::Summary { space, .. }
            | Self::Reconcile { space, .. }
            | Self::Want { space, .. }
            | Self::Answer { space, .. }
            | Self::Gossip { space, .. }
            | Self::WantChunks { space, .. }
            | Self::Chunk { space, .. } => Some(*space),
            _ => None,
        }
    }

    /// The message's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        minicbor::to_vec(self).expect("writing to a vector cannot fail")
    }

    /// Decodes one message.
    ///
    /// # Errors
    /// [`DecodeError`], and nothing else happens.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut decoder = minicbor::Decoder::new(bytes);
        let message: Self = decoder.decode().map_err(|_| DecodeError::Malformed)?;
        if decoder.position() != bytes.len() {
            return Err(DecodeError::Leftover);
        }
        let within = match &message {
            Self::Hello { addrs, tags, .. } => {
                addrs.len() <= MAX_ADDRS && tags.len() <= 16 * MAX_SPACES && tags.len() % 16 == 0
            }
            Self::Want { ids, .. } => ids.len() <= 32 * MAX_IDS && ids.len() % 32 == 0,
            Self::WantChunks { pairs, .. } => pairs.len() <= 64 * MAX_IDS && pairs.len() % 64 == 0,
            _ => true,
        };
        if within { Ok(message) } else { Err(DecodeError::TooMany) }
    }
}

/// Splits concatenated pairs of identifiers.
pub(crate) fn split_pairs(bytes: &[u8]) -> impl Iterator<Item = ([u8; 32], [u8; 32])> + '_ {
    bytes.as_chunks::<64>().0.iter().map(|pair| {
        let (mut a, mut b) = ([0; 32], [0; 32]);
        a.copy_from_slice(&pair[..32]);
        b.copy_from_slice(&pair[32..]);
        (a, b)
    })
}

/// Splits concatenated identifiers.
pub(crate) fn split_ids(bytes: &[u8]) -> impl Iterator<Item = [u8; 32]> + '_ {
    bytes.as_chunks::<32>().0.iter().copied()
}

#[cfg(test)]
mod tests {
    //! NODE-1, NODE-2, NODE-4.

    use super::*;
    use proptest::prelude::*;

    fn messages() -> impl Strategy<Value = Message> {
        let bytes = || proptest::collection::vec(any::<u8>(), 0..64);
        let key = || any::<[u8; 32]>().prop_map(Key32);
        let items = || proptest::collection::vec(bytes().prop_map(ByteVec::from), 0..4);
        let set = || prop_oneof![Just(Set::Control), Just(Set::Operations)];
        let addr = any::<([u8; 4], u16)>().prop_map(SocketAddr::from);
        prop_oneof![
            (
                any::<u16>(),
                proptest::collection::vec(addr, 0..MAX_ADDRS),
                0..9usize,
                proptest::option::of(bytes()),
                proptest::option::of(bytes())
            )
                .prop_map(|(version, addrs, n, claim, heard)| Message::Hello {
                    version,
                    addrs,
                    tags: vec![7; 16 * n],
                    claim: claim.map(ByteVec::from),
                    heard: heard.map(ByteVec::from),
                }),
            (key(), items()).prop_map(|(space, credentials)| Message::Open { space, credentials }),
            (key(), set(), items(), any::<bool>()).prop_map(|(space, set, items, done)| Message::Answer {
                space,
                set,
                items,
                done
            }),
            (key(), set(), any::<u32>(), any::<bool>(), bytes()).prop_map(
                |(space, set, session, initiator, body)| Message::Reconcile {
                    space,
                    set,
                    session,
                    initiator,
                    body
                }
            ),
            (key(), set(), 0..9usize).prop_map(|(space, set, n)| Message::Want {
                space,
                set,
                ids: vec![1; 32 * n]
            }),
            (key(), key(), proptest::option::of(bytes())).prop_map(|(space, id, data)| Message::Chunk {
                space,
                id,
                data
            }),
            (any::<[u8; 16]>(), any::<[u8; 32]>())
                .prop_map(|(invitation, proof)| Message::Redeem { invitation, proof }),
            (key(), ".{0,9}", items(), bytes()).prop_map(|(space, name, statements, proof)| {
                Message::Welcome { space, name, statements, proof }
            }),
            Just(Message::Refused { why: Refusal::Used }),
        ]
    }

    proptest! {
        #[test]
        fn a_message_survives_its_bytes_and_every_cut_or_extra_byte_is_refused(message in messages()) {
            let bytes = message.to_bytes();
            prop_assert_eq!(Message::from_bytes(&bytes), Ok(message));
            for cut in 0..bytes.len() {
                prop_assert_eq!(Message::from_bytes(&bytes[..cut]), Err(DecodeError::Malformed));
            }
            prop_assert_eq!(Message::from_bytes(&[&bytes[..], &[0]].concat()), Err(DecodeError::Leftover));
        }

        #[test]
        fn any_bytes_are_a_message_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(message) = Message::from_bytes(&bytes) {
                prop_assert_eq!(Message::from_bytes(&message.to_bytes()), Ok(message));
            }
        }
    }

    #[test]
    fn lists_beyond_their_bound_or_of_broken_entries_are_refused() {
        let want =
            |len| Message::Want { space: Key32([0; 32]), set: Set::Control, ids: vec![0; len] }.to_bytes();
        assert!(Message::from_bytes(&want(32 * MAX_IDS)).is_ok());
        assert_eq!(Message::from_bytes(&want(32 * MAX_IDS + 32)), Err(DecodeError::TooMany));
        assert_eq!(Message::from_bytes(&want(33)), Err(DecodeError::TooMany));
        let (addrs, tags) = (Vec::new(), vec![0; 17]);
        let hello = Message::Hello { version: 1, addrs, tags, claim: None, heard: None };
        assert_eq!(Message::from_bytes(&hello.to_bytes()), Err(DecodeError::TooMany));
    }

    #[test]
    fn a_field_of_a_later_version_is_skipped() {
        let mut bytes = Message::Refused { why: Refusal::Used }.to_bytes();
        // [12, [1]] with one more field in the inner array.
        let inner = bytes.iter().rposition(|b| *b == 0x81).unwrap();
        bytes[inner] = 0x82;
        bytes.push(0x18);
        bytes.push(0x2a);
        assert_eq!(Message::from_bytes(&bytes), Ok(Message::Refused { why: Refusal::Used }));
    }

    #[test]
    fn an_array_that_announces_more_than_it_has_allocates_nothing() {
        // Open { space, credentials: [2^32 items…
        let mut bytes = vec![0x82, 0x01, 0x82, 0x58, 0x20];
        bytes.extend([0; 32]);
        bytes.extend([0x9a, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(Message::from_bytes(&bytes), Err(DecodeError::Malformed));
    }
}
