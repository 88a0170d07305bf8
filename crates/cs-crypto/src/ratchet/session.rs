//! The Double Ratchet with header encryption (section 4 of its specification).

use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroizing;

use super::skipped::{MAX_SKIP, Skipped};
use super::start::{Agreement, Bundle, Initial, PLAIN, agree_initiator, agree_responder};
use crate::aead::{DERIVED_OVERHEAD, open_derived, seal_derived};
use crate::dh::{public_key, shared_secret};
use crate::kdf;

pub(crate) type Secret = Zeroizing<[u8; 32]>;

/// Bytes of a header in clear: ratchet key, length of the previous chain, number in this one.
const HEADER_LENGTH: usize = 32 + 4 + 4;
const SEALED_HEADER_LENGTH: usize = HEADER_LENGTH + DERIVED_OVERHEAD;

/// Why a message was not sealed or opened. The session is as it was before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RatchetError {
    /// The bytes are no message.
    #[error("not a message of this protocol")]
    Malformed,
    /// The message belongs to a session that was started before.
    #[error("not the first message of a session")]
    NotInitial,
    /// The prekey secrets given are not those that the message names.
    #[error("the message was written to other prekeys")]
    WrongPrekey,
    /// A first message that was accepted before.
    #[error("the session was started before")]
    Replayed,
    /// Altered, of another session, opened before, or so old that its key was forgotten.
    #[error("the message cannot be opened")]
    Forged,
    /// The message would overtake more than [`MAX_SKIP`] others.
    #[error("too many messages are missing before this one")]
    TooFarAhead,
    /// A key of the peer is a point of small order.
    #[error("a public key is a point of small order")]
    LowOrder,
    /// 2^32 - 1 messages in one direction without an answer, or too many sessions begun with one signed prekey.
    #[error("too many messages without an answer, or sessions with one prekey")]
    Exhausted,
}

/// One side of a conversation. Secret as a whole; wiped on drop.
///
/// Store it ([`to_bytes`](Self::to_bytes)) after sealing and before sending, and after opening and before telling: a session
/// that is set back to an earlier state reuses keys. The cipher survives that, but the promise of forward secrecy does not.
#[derive(Clone)]
pub struct Session {
    /// Counts changes of the state, so that an old copy is recognised.
    pub(crate) generation: u64,
    /// Whether this side wrote first.
    pub(crate) initiator: bool,
    /// Initiator, responder.
    pub(crate) identities: [[u8; 32]; 2],
    /// Repeated before every message until the peer has answered.
    pub(crate) initial: Option<Initial>,
    pub(crate) root: Secret,
    pub(crate) own: Secret,
    pub(crate) send: Chain,
    /// `None` for the initiator until the first answer.
    pub(crate) receive: Option<Chain>,
    pub(crate) next_send_header: Secret,
    pub(crate) next_receive_header: Secret,
    /// How many messages the previous sending chain had.
    pub(crate) previous: u32,
    pub(crate) skipped: Skipped,
}

impl Session {
    /// Starts a conversation with the owner of a bundle. Five multiplications.
    ///
    /// `identity`: one's own long-term X25519 secret. `entropy`: 64 fresh bytes from the operating system.
    ///
    /// # Errors
    /// [`RatchetError::LowOrder`] for a bundle with a useless key.
    pub fn start(identity: &[u8; 32], bundle: &Bundle, entropy: &[u8; 64]) -> Result<Self, RatchetError> {
        let (ephemeral, own) = entropy.split_first_chunk::<32>().ok_or(RatchetError::Malformed)?;
        let own = Zeroizing::new(<[u8; 32]>::try_from(own).map_err(|_| RatchetError::Malformed)?);
        let agreement = agree_initiator(identity, ephemeral, bundle)?;
        let (root, chain_key, next_send_header) = step_root(&agreement.root, &own, &bundle.signed)?;
        let initial = Initial {
            identity: public_key(identity),
            ephemeral: public_key(ephemeral),
            signed: bundle.signed,
            one_time: bundle.one_time,
        };
        Ok(Self {
            generation: 0,
            initiator: true,
            identities: agreement.identities,
            initial: Some(initial),
            root,
            own,
            send: Chain::new(agreement.header_initiator, chain_key),
            receive: None,
            next_send_header,
            next_receive_header: agreement.header_responder,
            previous: 0,
            skipped: Skipped::default(),
        })
    }

    /// Opens a first message and with it a session. `signed` and `one_time` are the secrets of the prekeys that `initial`
    /// names; afterwards the caller deletes `one_time`, and remembers `initial.ephemeral` as long as it keeps `signed`, to
    /// refuse replays. Up to six multiplications.
    ///
    /// # Errors
    /// Any [`RatchetError`]; nothing is to be deleted then.
    pub fn accept(
        identity: &[u8; 32],
        initial: &Initial,
        signed: &[u8; 32],
        one_time: Option<&[u8; 32]>,
        aad: &[u8],
        message: &[u8],
        entropy: [u8; 32],
    ) -> Result<(Self, Vec<u8>), RatchetError> {
        let agreement = agree_responder(identity, initial, signed, one_time)?;
        let message = Message::parse(message)?;
        if message.initial != Some(*initial) {
            return Err(RatchetError::NotInitial);
        }
        let header = open_header(&agreement.header_initiator, message.header).ok_or(RatchetError::Forged)?;
        let mut session = Self::respond(agreement, signed, &header, entropy)?;
        let plaintext = session.open_in_chain(&header, aad, &message)?;
        session.generation += 1;
        Ok((session, plaintext))
    }

    /// The peer's long-term key: only its owner can open what this session seals, and nobody else sealed what it opened.
    #[must_use]
    pub fn peer(&self) -> &[u8; 32] {
        let [initiator, responder] = &self.identities;
        if self.initiator { responder } else { initiator }
    }

    /// Counts what was sealed and opened; see [`restore`](Self::restore).
    #[must_use]
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// A state from a disk may claim to be at the end of counting.
    fn next_generation(&self) -> Result<u64, RatchetError> {
        self.generation.checked_add(1).ok_or(RatchetError::Exhausted)
    }

    /// Seals the next message. `aad` is authenticated and travels beside.
    ///
    /// # Errors
    /// [`RatchetError::Exhausted`].
    pub fn seal(&mut self, aad: &[u8], plaintext: &[u8]) -> Result<Vec<u8>, RatchetError> {
        let header =
            Header { ratchet: public_key(&self.own), previous: self.previous, number: self.send.number };
        let next = self.send.number.checked_add(1).ok_or(RatchetError::Exhausted)?;
        let generation = self.next_generation()?;
        let mut message = Vec::new();
        match &self.initial {
            Some(initial) => initial.encode(&mut message),
            None => message.push(PLAIN),
        }
        message.extend_from_slice(&seal_derived(&self.send.header_key, &[], &header.encode()));
        let key = self.send.advance();
        let mut body = seal_derived(&key, &self.authenticated(aad, &message), plaintext);
        message.append(&mut body);
        self.send.number = next;
        self.generation = generation;
        Ok(message)
    }

    /// Opens a message, in whatever order messages arrive. `entropy`: 32 fresh bytes, of use when the message turns the
    /// conversation around. At most two multiplications, and a hash for each message overtaken.
    ///
    /// # Errors
    /// Any [`RatchetError`]; the session is unchanged.
    pub fn open(&mut self, aad: &[u8], message: &[u8], entropy: [u8; 32]) -> Result<Vec<u8>, RatchetError> {
        let message = Message::parse(message)?;
        let generation = self.next_generation()?;
        if let Some((position, key)) = self.skipped.find(message.header) {
            let plaintext = self.open_body(key, aad, &message)?;
            self.skipped.remove(position);
            self.generation = generation;
            return Ok(plaintext);
        }
        let current = self.receive.as_ref().and_then(|chain| open_header(&chain.header_key, message.header));
        let (header, turns) = match current {
            Some(header) => (header, false),
            None => {
                let header = open_header(&self.next_receive_header, message.header);
                (header.ok_or(RatchetError::Forged)?, true)
            }
        };
        // Worked out on a copy, so that a body that does not open leaves no trace.
        let mut after = self.clone();
        if turns {
            after.turn(&header, entropy)?;
        }
        let plaintext = after.open_in_chain(&header, aad, &message)?;
        after.generation = generation;
        after.initial = None;
        *self = after;
        Ok(plaintext)
    }

    fn respond(
        agreement: Agreement,
        signed: &[u8; 32],
        header: &Header,
        entropy: [u8; 32],
    ) -> Result<Self, RatchetError> {
        let Agreement { root, header_initiator, header_responder, identities } = agreement;
        // A session as it was before the first turn; its sending chain is replaced before anyone can see it.
        let mut session = Self {
            generation: 0,
            initiator: false,
            identities,
            initial: None,
            root,
            own: Zeroizing::new(*signed),
            send: Chain::new(header_responder.clone(), Zeroizing::new([0; 32])),
            receive: None,
            next_send_header: header_responder,
            next_receive_header: header_initiator,
            previous: 0,
            skipped: Skipped::default(),
        };
        session.turn(header, entropy)?;
        Ok(session)
    }

    /// DHRatchetHE: the peer has a new ratchet key, and so shall we.
    fn turn(&mut self, header: &Header, entropy: [u8; 32]) -> Result<(), RatchetError> {
        self.skip_to(header.previous)?;
        let (root, receive_key, next_receive) = step_root(&self.root, &self.own, &header.ratchet)?;
        let own = Zeroizing::new(entropy);
        let (root, send_key, next_send) = step_root(&root, &own, &header.ratchet)?;
        let receive_header = core::mem::replace(&mut self.next_receive_header, next_receive);
        let send_header = core::mem::replace(&mut self.next_send_header, next_send);
        self.previous = self.send.number;
        self.receive = Some(Chain::new(receive_header, receive_key));
        self.send = Chain::new(send_header, send_key);
        self.root = root;
        self.own = own;
        Ok(())
    }

    fn open_in_chain(
        &mut self,
        header: &Header,
        aad: &[u8],
        message: &Message<'_>,
    ) -> Result<Vec<u8>, RatchetError> {
        self.skip_to(header.number)?;
        let chain = self.receive.as_mut().ok_or(RatchetError::Forged)?;
        if chain.number != header.number {
            // It was opened before, or its key was forgotten.
            return Err(RatchetError::Forged);
        }
        let next = chain.number.checked_add(1).ok_or(RatchetError::Exhausted)?;
        let key = chain.advance();
        chain.number = next;
        self.open_body(&key, aad, message)
    }

    /// Keeps the keys of the messages before `number` in the current receiving chain.
    fn skip_to(&mut self, number: u32) -> Result<(), RatchetError> {
        let Some(chain) = &mut self.receive else { return Ok(()) };
        if number.saturating_sub(chain.number) > MAX_SKIP {
            return Err(RatchetError::TooFarAhead);
        }
        while chain.number < number {
            let key = chain.advance();
            self.skipped.insert(&chain.header_key, chain.number, key);
            chain.number += 1;
        }
        Ok(())
    }

    fn open_body(&self, key: &Secret, aad: &[u8], message: &Message<'_>) -> Result<Vec<u8>, RatchetError> {
        open_derived(key, &self.authenticated(aad, message.before_body), message.body)
            .map_err(|_| RatchetError::Forged)
    }

    /// What a body authenticates: both identities, everything before it, and the caller's own.
    fn authenticated(&self, aad: &[u8], before_body: &[u8]) -> Vec<u8> {
        let [initiator, responder] = &self.identities;
        let length = (before_body.len() as u64).to_le_bytes();
        [&initiator[..], responder, &length, before_body, aad].concat()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("generation", &self.generation)
            .field("skipped", &self.skipped.len())
            .finish_non_exhaustive()
    }
}

/// A chain of message keys, and the key of its headers.
#[derive(Clone)]
pub(crate) struct Chain {
    pub(crate) header_key: Secret,
    pub(crate) key: Secret,
    /// Of the next message.
    pub(crate) number: u32,
}

impl Chain {
    fn new(header_key: Secret, key: Secret) -> Self {
        Self { header_key, key, number: 0 }
    }

    /// KDF_CK: the next message's key; the chain forgets how it came to it.
    fn advance(&mut self) -> Secret {
        let message_key = kdf::keyed(&self.key, &[&[1]]);
        self.key = kdf::keyed(&self.key, &[&[2]]);
        message_key
    }
}

/// KDF_RK_HE: next root, chain key, next header key.
fn step_root(root: &Secret, own: &Secret, peer: &[u8; 32]) -> Result<(Secret, Secret, Secret), RatchetError> {
    let product = shared_secret(own, peer).map_err(|_| RatchetError::LowOrder)?;
    let prk = kdf::extract(&**root, &*product);
    let key = |label: &[u8]| kdf::expand_key(&prk, &[b"cosmic-sync 2026 ratchet 1 ", label]);
    Ok((key(b"root"), key(b"chain"), key(b"header")))
}

pub(crate) struct Header {
    ratchet: [u8; 32],
    previous: u32,
    pub(crate) number: u32,
}

impl Header {
    fn encode(&self) -> [u8; HEADER_LENGTH] {
        let mut bytes = [0; HEADER_LENGTH];
        let fields =
            self.ratchet.into_iter().chain(self.previous.to_le_bytes()).chain(self.number.to_le_bytes());
        bytes.iter_mut().zip(fields).for_each(|(to, from)| *to = from);
        bytes
    }
}

pub(crate) fn open_header(key: &Secret, sealed: &[u8]) -> Option<Header> {
    let bytes = open_derived(key, &[], sealed).ok()?;
    let (ratchet, rest) = bytes.split_first_chunk()?;
    let (previous, rest) = rest.split_first_chunk()?;
    let number = rest.try_into().ok()?;
    let (previous, number) = (u32::from_le_bytes(*previous), u32::from_le_bytes(number));
    Some(Header { ratchet: *ratchet, previous, number })
}

/// A message, taken apart.
struct Message<'a> {
    initial: Option<Initial>,
    header: &'a [u8],
    before_body: &'a [u8],
    body: &'a [u8],
}

impl<'a> Message<'a> {
    fn parse(message: &'a [u8]) -> Result<Self, RatchetError> {
        let (initial, rest) = Initial::split(message)?;
        let (header, body) = rest.split_at_checked(SEALED_HEADER_LENGTH).ok_or(RatchetError::Malformed)?;
        let (before_body, _) =
            message.split_at_checked(message.len() - body.len()).ok_or(RatchetError::Malformed)?;
        Ok(Self { initial, header, before_body, body })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // CRYPTO-16
    #[test]
    fn a_chain_forgets_how_it_came_to_a_message_key() {
        let mut chain = Chain::new(Zeroizing::new([1; 32]), Zeroizing::new([2; 32]));
        let before = chain.key.clone();
        let (first, between, second) = (chain.advance(), chain.key.clone(), chain.advance());
        let keys = [before, first, between, second, chain.key];
        for (at, key) in keys.iter().enumerate() {
            assert!(!keys[..at].contains(key), "{at}");
        }
    }
}
