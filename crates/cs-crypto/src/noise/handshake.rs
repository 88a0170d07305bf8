//! The turns of a handshake (HandshakeState of revision 34, section 5.3, with consuming steps).

use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroizing;

use super::MAX_MESSAGE;
use super::pattern::{Hash, Protocol, Token};
use super::statics::StaticCache;
use super::symmetric::{Secret, SymmetricState, export};
use super::transport::{Receiver, Sender};
use crate::aead::TAG_LENGTH;
use crate::dh::{KeyPair, LowOrderPoint};

/// What one side brings to a handshake; ends in [`initiate`](Self::initiate) or [`respond`](Self::respond).
pub struct Setup<'a> {
    protocol: Protocol,
    prologue: &'a [u8],
    local: Option<KeyPair>,
    remote: Option<[u8; 32]>,
    entropy: Secret,
    psks: Vec<Secret>,
}

impl<'a> Setup<'a> {
    /// `entropy` becomes the ephemeral secret: 32 fresh bytes from the operating system, never used twice.
    #[must_use]
    pub fn new(protocol: Protocol, entropy: [u8; 32]) -> Self {
        Self {
            protocol,
            prologue: &[],
            local: None,
            remote: None,
            entropy: Zeroizing::new(entropy),
            psks: Vec::new(),
        }
    }

    /// Bytes both sides must agree on: versions, network, the protocol above. Another prologue, no handshake.
    #[must_use]
    pub fn prologue(mut self, prologue: &'a [u8]) -> Self {
        self.prologue = prologue;
        self
    }

    /// One's own static X25519 secret. One base-point multiplication, which [`local_pair`](Self::local_pair) saves.
    #[must_use]
    pub fn local(self, secret: [u8; 32]) -> Self {
        self.local_pair(&KeyPair::new(secret))
    }

    /// One's own static key, kept with its public half from one handshake to the next.
    #[must_use]
    pub fn local_pair(mut self, pair: &KeyPair) -> Self {
        self.local = Some(pair.clone());
        self
    }

    /// The responder's static X25519 public key, where the initiator must know it (IK, XK, NK, N, X).
    #[must_use]
    pub fn remote(mut self, public: [u8; 32]) -> Self {
        self.remote = Some(public);
        self
    }

    /// The next pre-shared key, in the order of the pattern's modifiers: 32 bytes of full entropy (a short code goes through
    /// invitation first).
    #[must_use]
    pub fn psk(mut self, psk: [u8; 32]) -> Self {
        self.psks.push(Zeroizing::new(psk));
        self
    }

    /// Starts as the side that writes first. No multiplication happens yet.
    ///
    /// # Errors
    /// [`SetupError`] if keys are missing, or given but without a part in the pattern.
    pub fn initiate(self) -> Result<WriteTurn, SetupError> {
        Ok(WriteTurn(self.start(true)?))
    }

    /// Starts as the side that reads first. No multiplication happens yet.
    ///
    /// # Errors
    /// [`SetupError`] if keys are missing, or given but without a part in the pattern.
    pub fn respond(self) -> Result<ReadTurn, SetupError> {
        Ok(ReadTurn(self.start(false)?))
    }

    fn start(self, initiator: bool) -> Result<State, SetupError> {
        let pattern = self.protocol.pattern;
        let (initiator_local, responder_local) = pattern.locals();
        let needs_local = if initiator { initiator_local } else { responder_local };
        let needs_remote = initiator && pattern.responder_known();
        if !pattern.is_valid() || self.psks.len() != pattern.psk_count() {
            return Err(SetupError::WrongPskCount);
        }
        match (needs_local, self.local.is_some(), needs_remote, self.remote.is_some()) {
            (true, false, ..) => return Err(SetupError::MissingLocalKey),
            (_, _, true, false) => return Err(SetupError::MissingRemoteKey),
            (false, true, ..) | (_, _, false, true) => return Err(SetupError::UnusedKey),
            _ => {}
        }
        let mut symmetric = SymmetricState::new(self.protocol);
        symmetric.mix_hash(self.prologue);
        if pattern.responder_known() {
            let known = if initiator { self.remote } else { self.local.as_ref().map(|pair| *pair.public()) };
            symmetric.mix_hash(&known.ok_or(SetupError::MissingRemoteKey)?);
        }
        let mut psks = self.psks;
        psks.reverse();
        Ok(State {
            protocol: self.protocol,
            symmetric,
            initiator,
            index: 0,
            local: self.local,
            entropy: self.entropy,
            ephemeral: None,
            remote: self.remote,
            remote_ephemeral: None,
            psks,
            product: None,
        })
    }
}

/// The keys given do not fit the pattern. Each is a mistake of the caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SetupError {
    /// The pattern needs one's own static key.
    #[error("the pattern needs a local static key")]
    MissingLocalKey,
    /// The pattern needs the responder's static key beforehand.
    #[error("the pattern needs the responder's static key")]
    MissingRemoteKey,
    /// A key was given that the pattern does not use, so that the handshake would prove less than the caller believes.
    #[error("the pattern does not use a key that was given")]
    UnusedKey,
    /// As many pre-shared keys are needed as the pattern has modifiers, each within its messages.
    #[error("the pattern needs another number of pre-shared keys")]
    WrongPskCount,
}

/// The message cannot be part of this handshake, whose state is gone: start again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// The message ends before its keys do.
    #[error("the message is too short")]
    TooShort,
    /// A message is longer than [`MAX_MESSAGE`].
    #[error("the message is too long")]
    TooLong,
    /// A tag does not fit: altered, replayed, made with another key or prologue, or not meant for us.
    #[error("the message is not authentic")]
    Forged,
    /// A key of the peer is a point of small order.
    #[error("a public key is a point of small order")]
    LowOrder,
}

impl From<LowOrderPoint> for HandshakeError {
    fn from(_: LowOrderPoint) -> Self {
        Self::LowOrder
    }
}

/// What comes after a message: the other side's turn, or the keys.
#[derive(Debug)]
pub enum Step<T> {
    /// The handshake goes on.
    Turn(T),
    /// That was the last message.
    Done(Keys),
}

impl<T> Step<T> {
    /// The next turn, for callers who know the pattern.
    ///
    /// # Errors
    /// [`OutOfTurn`] if the handshake is complete.
    pub fn turn(self) -> Result<T, OutOfTurn> {
        match self {
            Self::Turn(turn) => Ok(turn),
            Self::Done(_) => Err(OutOfTurn),
        }
    }

    /// The keys, for callers who know the pattern.
    ///
    /// # Errors
    /// [`OutOfTurn`] if messages are missing.
    pub fn keys(self) -> Result<Keys, OutOfTurn> {
        match self {
            Self::Turn(_) => Err(OutOfTurn),
            Self::Done(keys) => Ok(keys),
        }
    }
}

/// The caller expected another pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pattern has another number of messages")]
pub struct OutOfTurn;

/// A handshake in which this side writes next.
pub struct WriteTurn(State);

impl WriteTurn {
    /// Writes the next message, with `payload` inside. Whether that is encrypted yet depends on the pattern: in IK always, in
    /// XX from the second message on ([`Self::is_encrypted`] tells of the state so far).
    ///
    /// # Errors
    /// [`HandshakeError::TooLong`] for a payload that does not fit, [`HandshakeError::LowOrder`] for a useless remote key.
    pub fn write(self, payload: &[u8]) -> Result<(Vec<u8>, Step<ReadTurn>), HandshakeError> {
        self.write_known(payload, &mut StaticCache::new(0))
    }

    /// As [`write`](Self::write), with the products of peers met before: saves a multiplication in IK and X (CRYPTO-19).
    ///
    /// # Errors
    /// As there.
    pub fn write_known(
        mut self,
        payload: &[u8],
        known: &mut StaticCache,
    ) -> Result<(Vec<u8>, Step<ReadTurn>), HandshakeError> {
        let message = self.0.write(payload, known)?;
        Ok((message, self.0.step(ReadTurn)))
    }
}

/// A handshake in which this side reads next.
pub struct ReadTurn(State);

impl ReadTurn {
    /// Reads the next message and returns its payload.
    ///
    /// # Errors
    /// [`HandshakeError`]; the handshake is over, and nothing of it remains (CRYPTO-4).
    pub fn read(self, message: &[u8]) -> Result<(Vec<u8>, Step<WriteTurn>), HandshakeError> {
        self.read_known(message, &mut StaticCache::new(0))
    }

    /// As [`read`](Self::read), with the products of peers met before: saves a multiplication in IK and X (CRYPTO-19).
    ///
    /// # Errors
    /// As there.
    pub fn read_known(
        mut self,
        message: &[u8],
        known: &mut StaticCache,
    ) -> Result<(Vec<u8>, Step<WriteTurn>), HandshakeError> {
        let payload = self.0.read(message, known)?;
        Ok((payload, self.0.step(WriteTurn)))
    }
}

macro_rules! facts_of_a_turn {
    ($($turn:ident)*) => {$(
        impl $turn {
            /// The peer's static key, once known. It is proven to be the peer's only by a message that depends on it.
            #[must_use]
            pub fn remote_static(&self) -> Option<&[u8; 32]> {
                self.0.remote.as_ref()
            }

            /// Whether a key was agreed on already. In IK, the initiator's first message agrees on one by itself.
            #[must_use]
            pub fn is_encrypted(&self) -> bool {
                self.0.symmetric.has_key()
            }

            /// The running transcript hash, unique to the messages so far.
            #[must_use]
            pub fn transcript(&self) -> &[u8; 32] {
                self.0.symmetric.transcript()
            }

            /// A key from the handshake so far, equal on both sides, as QUIC's early data needs one; `None` before any
            /// secret is shared. It has the forward secrecy of the messages so far: in IK after the first message, none
            /// against theft of the responder's static key, and none against replay.
            #[must_use]
            pub fn export(&self, label: &[u8], context: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
                self.0.export(label, context)
            }
        }

        impl fmt::Debug for $turn {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($turn)).field("protocol", &self.0.protocol).finish_non_exhaustive()
            }
        }
    )*};
}

facts_of_a_turn!(WriteTurn ReadTurn);

/// What a finished handshake leaves: raw keys, as a packet protection like QUIC's wants them. Wiped on drop.
pub struct Keys {
    /// The key of what this side sends.
    pub send: Zeroizing<[u8; 32]>,
    /// The key of what the peer sends (of no use in the one-way patterns N and X, where the initiator alone speaks).
    pub receive: Zeroizing<[u8; 32]>,
    /// Unique to this handshake, equal on both sides: the channel binding (revision 34, section 11.2). Not secret.
    pub handshake_hash: [u8; 32],
    /// The peer's static public key, proven, unless the pattern leaves it anonymous.
    pub remote_static: Option<[u8; 32]>,
    hash: Hash,
    exporter: Secret,
}

impl Keys {
    /// A further key, equal on both sides, for a use named by `label`; independent of the transport keys.
    #[must_use]
    pub fn export(&self, label: &[u8], context: &[u8]) -> Zeroizing<[u8; 32]> {
        export(self.hash, &self.exporter, label, context)
    }

    /// Noise's own transport, for streams without packet protection of their own.
    #[must_use]
    pub fn into_transport(self) -> (Sender, Receiver) {
        (Sender::new(&self.send), Receiver::new(&self.receive))
    }
}

/// The whole state; which turn it is lives in the types around it.
struct State {
    protocol: Protocol,
    symmetric: SymmetricState,
    initiator: bool,
    /// Messages so far.
    index: usize,
    local: Option<KeyPair>,
    /// Becomes the ephemeral pair when the pattern sends it.
    entropy: Secret,
    ephemeral: Option<KeyPair>,
    remote: Option<[u8; 32]>,
    remote_ephemeral: Option<[u8; 32]>,
    /// Last first, so that the next one is popped.
    psks: Vec<Secret>,
    /// The product of both static keys, from its token to the end of that message, and whether it was known before.
    product: Option<(Secret, bool)>,
}

impl State {
    fn write(&mut self, payload: &[u8], known: &mut StaticCache) -> Result<Vec<u8>, HandshakeError> {
        let mut message = Vec::new();
        for token in self.protocol.pattern.tokens(self.index) {
            match token {
                Token::E => {
                    let pair = KeyPair::new(*self.entropy);
                    message.extend_from_slice(pair.public());
                    self.mix_ephemeral(pair.public());
                    self.ephemeral = Some(pair);
                }
                Token::S => {
                    let pair = self.local.as_ref().ok_or(HandshakeError::TooShort)?;
                    self.symmetric.encrypt_and_hash(pair.public(), &mut message);
                }
                agreement => self.agree(agreement, known)?,
            }
        }
        self.symmetric.encrypt_and_hash(payload, &mut message);
        self.index += 1;
        self.keep_product(known);
        if message.len() > MAX_MESSAGE { Err(HandshakeError::TooLong) } else { Ok(message) }
    }

    fn read(&mut self, message: &[u8], known: &mut StaticCache) -> Result<Vec<u8>, HandshakeError> {
        if message.len() > MAX_MESSAGE {
            return Err(HandshakeError::TooLong);
        }
        let mut rest = message;
        for token in self.protocol.pattern.tokens(self.index) {
            match token {
                Token::E => {
                    let public = take_key(&mut rest)?;
                    self.remote_ephemeral = Some(public);
                    self.mix_ephemeral(&public);
                }
                Token::S => {
                    let length = if self.symmetric.has_key() { 48 } else { 32 };
                    let (sealed, after) = rest.split_at_checked(length).ok_or(HandshakeError::TooShort)?;
                    rest = after;
                    let public =
                        self.symmetric.decrypt_and_hash(sealed).map_err(|_| HandshakeError::Forged)?;
                    self.remote = Some(take_key(&mut public.as_slice())?);
                }
                agreement => self.agree(agreement, known)?,
            }
        }
        let payload = self.symmetric.decrypt_and_hash(rest).map_err(|_| {
            self.pay_for_product();
            if rest.len() < TAG_LENGTH { HandshakeError::TooShort } else { HandshakeError::Forged }
        })?;
        self.index += 1;
        self.keep_product(known);
        Ok(payload)
    }

    fn mix_ephemeral(&mut self, public: &[u8; 32]) {
        self.symmetric.mix_hash(public);
        if self.protocol.pattern.psk_count() > 0 {
            self.symmetric.mix_key(public);
        }
    }

    /// The tokens that agree on a key without a byte in the message.
    fn agree(&mut self, token: Token, known: &StaticCache) -> Result<(), HandshakeError> {
        let (pair, public) = match (token, self.initiator) {
            (Token::Psk, _) => {
                let psk = self.psks.pop().ok_or(HandshakeError::Forged)?;
                self.symmetric.mix_key_and_hash(&psk);
                return Ok(());
            }
            (Token::Ss, _) => return self.agree_static(known),
            (Token::Ee, _) => (&self.ephemeral, self.remote_ephemeral),
            (Token::Es, true) | (Token::Se, false) => (&self.ephemeral, self.remote),
            (Token::Es, false) | (Token::Se, true) => (&self.local, self.remote_ephemeral),
            (Token::E | Token::S, _) => return Ok(()),
        };
        // Setup checked the keys that the pattern needs, and the pattern sends the others before it uses them.
        let (pair, public) = pair.as_ref().zip(public).ok_or(HandshakeError::TooShort)?;
        let shared = pair.shared_secret(&public)?;
        self.symmetric.mix_key(&*shared);
        Ok(())
    }

    fn agree_static(&mut self, known: &StaticCache) -> Result<(), HandshakeError> {
        let (pair, public) = self.local.as_ref().zip(self.remote).ok_or(HandshakeError::TooShort)?;
        let product = match known.product(pair.public(), &public) {
            Some(shared) => (shared, true),
            None => (pair.shared_secret(&public)?, false),
        };
        self.symmetric.mix_key(&*product.0);
        self.product = Some(product);
        Ok(())
    }

    /// The peer has proven its key, or is the one that we dialled.
    fn keep_product(&mut self, known: &mut StaticCache) {
        let product = self.product.take();
        if let (Some((shared, _)), Some(pair), Some(remote)) = (product, &self.local, &self.remote) {
            known.keep(pair.public(), remote, shared);
        }
    }

    /// A forger must not learn from our haste whom we know.
    fn pay_for_product(&mut self) {
        let was_known = self.product.take().is_some_and(|(_, was_known)| was_known);
        if let (true, Some(pair), Some(remote)) = (was_known, &self.local, &self.remote) {
            drop(core::hint::black_box(pair.shared_secret(remote)));
        }
    }

    fn is_complete(&self) -> bool {
        self.index == self.protocol.pattern.message_count()
    }

    fn step<T>(self, turn: impl FnOnce(Self) -> T) -> Step<T> {
        if self.is_complete() { Step::Done(self.finish()) } else { Step::Turn(turn(self)) }
    }

    fn export(&self, label: &[u8], context: &[u8]) -> Option<Secret> {
        self.symmetric
            .has_key()
            .then(|| export(self.protocol.hash, &self.symmetric.exporter(), label, context))
    }

    fn finish(self) -> Keys {
        let (from_initiator, from_responder) = self.symmetric.split();
        let (send, receive) =
            if self.initiator { (from_initiator, from_responder) } else { (from_responder, from_initiator) };
        Keys {
            send,
            receive,
            handshake_hash: *self.symmetric.transcript(),
            remote_static: self.remote,
            hash: self.protocol.hash,
            exporter: self.symmetric.exporter(),
        }
    }
}

fn take_key(rest: &mut &[u8]) -> Result<[u8; 32], HandshakeError> {
    let (key, after) = rest.split_first_chunk().ok_or(HandshakeError::TooShort)?;
    *rest = after;
    Ok(*key)
}

impl fmt::Debug for Setup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("protocol", &self.protocol).finish_non_exhaustive()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("remote_static", &self.remote_static).finish_non_exhaustive()
    }
}
