//! X3DH: how two sessions begin with the same secret (CRYPTO-15).

use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroizing;

use super::RatchetError;
use super::session::Secret;
use crate::dh::{public_key, shared_secret};
use crate::kdf;

/// First byte of every message: what follows it. The version of the format is in the labels that keys are derived with.
pub(crate) const PLAIN: u8 = 1;
pub(crate) const INITIAL: u8 = 2;
pub(crate) const INITIAL_ONE_TIME: u8 = 3;

/// What a receiver of first messages published: X25519 public keys, whose signature was verified.
///
/// From [`SignedPrekey::verify`](super::SignedPrekey::verify) only: without the signature, whoever serves the bundle could
/// read the first messages once it has stolen the identity key (X3DH, section 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bundle {
    /// The receiver's long-term key.
    pub(crate) identity: [u8; 32],
    /// Its signed prekey, replaced every few weeks.
    pub(crate) signed: [u8; 32],
    /// A prekey that is given to one sender only, if any are left. Without it, first messages have the forward secrecy of the
    /// signed prekey.
    pub(crate) one_time: Option<[u8; 32]>,
}

/// The beginning of a first message: who writes, and to which prekeys. Not authenticated until the message opens.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Initial {
    /// The sender's long-term key.
    pub identity: [u8; 32],
    /// The sender's ephemeral key; unique to the session, so that a receiver can tell a replay.
    pub ephemeral: [u8; 32],
    /// Which signed prekey was used.
    pub signed: [u8; 32],
    /// Which one-time prekey was used, if any. Delete its secret once the message was accepted.
    pub one_time: Option<[u8; 32]>,
}

impl Initial {
    /// Reads the beginning of a first message; what follows is left to [`Session::accept`](super::Session::accept).
    ///
    /// # Errors
    /// [`RatchetError::NotInitial`] if the message belongs to a session already, [`RatchetError::Malformed`] if it is cut short.
    pub fn parse(message: &[u8]) -> Result<Self, RatchetError> {
        Self::split(message)?.0.ok_or(RatchetError::NotInitial)
    }

    /// The beginning, if it has one, and the rest.
    pub(crate) fn split(message: &[u8]) -> Result<(Option<Self>, &[u8]), RatchetError> {
        let (&kind, mut rest) = message.split_first().ok_or(RatchetError::Malformed)?;
        let one_time = match kind {
            PLAIN => return Ok((None, rest)),
            INITIAL => false,
            INITIAL_ONE_TIME => true,
            _ => return Err(RatchetError::Malformed),
        };
        let mut next = || {
            let (key, after) = rest.split_first_chunk::<32>().ok_or(RatchetError::Malformed)?;
            rest = after;
            Ok::<_, RatchetError>(*key)
        };
        let (identity, ephemeral, signed) = (next()?, next()?, next()?);
        let one_time = one_time.then(next).transpose()?;
        Ok((Some(Self { identity, ephemeral, signed, one_time }), rest))
    }

    pub(crate) fn encode(&self, message: &mut Vec<u8>) {
        message.push(if self.one_time.is_some() { INITIAL_ONE_TIME } else { INITIAL });
        for key in [Some(&self.identity), Some(&self.ephemeral), Some(&self.signed), self.one_time.as_ref()] {
            message.extend_from_slice(key.map_or(&[], |key| key.as_slice()));
        }
    }
}

impl fmt::Debug for Initial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Initial").field("identity", &self.identity).finish_non_exhaustive()
    }
}

/// What both sides know after X3DH.
pub(crate) struct Agreement {
    pub(crate) root: Secret,
    /// Header key of the initiator's first chain.
    pub(crate) header_initiator: Secret,
    /// Header key of the responder's first chain.
    pub(crate) header_responder: Secret,
    /// Both identities, initiator first: part of what every message authenticates.
    pub(crate) identities: [[u8; 32]; 2],
}

/// The initiator's side.
pub(crate) fn agree_initiator(
    identity: &[u8; 32],
    ephemeral: &[u8; 32],
    bundle: &Bundle,
) -> Result<Agreement, RatchetError> {
    let mut products = Products::default();
    products.add(identity, &bundle.signed)?;
    products.add(ephemeral, &bundle.identity)?;
    products.add(ephemeral, &bundle.signed)?;
    if let Some(one_time) = &bundle.one_time {
        products.add(ephemeral, one_time)?;
    }
    Ok(products.finish([public_key(identity), bundle.identity]))
}

/// The responder's side.
pub(crate) fn agree_responder(
    identity: &[u8; 32],
    initial: &Initial,
    signed: &[u8; 32],
    one_time: Option<&[u8; 32]>,
) -> Result<Agreement, RatchetError> {
    let named = (initial.signed, initial.one_time);
    if named != (public_key(signed), one_time.map(public_key)) {
        return Err(RatchetError::WrongPrekey);
    }
    let mut products = Products::default();
    products.add(signed, &initial.identity)?;
    products.add(identity, &initial.ephemeral)?;
    products.add(signed, &initial.ephemeral)?;
    if let Some(one_time) = one_time {
        products.add(one_time, &initial.ephemeral)?;
    }
    Ok(products.finish([initial.identity, public_key(identity)]))
}

/// The concatenated results of X3DH's multiplications, after the 32 bytes of section 2.2.
struct Products(Zeroizing<Vec<u8>>);

impl Default for Products {
    fn default() -> Self {
        let mut bytes = Zeroizing::new(Vec::with_capacity(5 * 32));
        bytes.extend_from_slice(&[0xff; 32]);
        Self(bytes)
    }
}

impl Products {
    fn add(&mut self, secret: &[u8; 32], public: &[u8; 32]) -> Result<(), RatchetError> {
        let product = shared_secret(secret, public).map_err(|_| RatchetError::LowOrder)?;
        self.0.extend_from_slice(&*product);
        Ok(())
    }

    fn finish(self, identities: [[u8; 32]; 2]) -> Agreement {
        let prk = kdf::extract(&[0; 32], &self.0);
        let key = |label: &[u8]| kdf::expand_key(&prk, &[b"cosmic-sync 2026 x3dh 1 ", label]);
        Agreement {
            root: key(b"root"),
            header_initiator: key(b"header initiator"),
            header_responder: key(b"header responder"),
            identities,
        }
    }
}
