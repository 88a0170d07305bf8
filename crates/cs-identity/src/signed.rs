#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

use alloc::vec::Vec;
use core::ops::Deref;

use thiserror::Error;

use crate::id::OpId;
use crate::node_id::NodeId;
use crate::secret_key::SecretKey;
use crate::signature::{self, BadSignature, Claim, Domain, Signature};
use crate::wire;

/// A kind of value that is signed: statements here, operations in the store, records in the DHT.
pub trait Signable: Sized {
    /// What decoding one reports.
    type Error: From<wire::DecodeError>;

    /// The domain of its signatures, one per kind.
    const DOMAIN: Domain;

    /// Bytes that one may have, signature excluded: checked before anything else is looked at.
    const MAX_LEN: usize;

    /// Whose signature it must carry. The value names its signer.
    fn signer(&self) -> NodeId;

    /// Appends the value, without signature.
    fn encode(&self, out: &mut Vec<u8>);

    /// Takes a value off the front of `input`.
    ///
    /// # Errors
    /// Whatever is wrong with the bytes.
    fn decode(input: &mut &[u8]) -> Result<Self, Self::Error>;
}

/// A value with a signature that holds, and the bytes they were read from (rule ID-6).
///
/// The wire form is the value's encoding followed by the 64 bytes of the signature. The bytes received are kept and
/// verified; a value is never encoded again to be checked or named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed<T> {
    value: T,
    bytes: Vec<u8>,
    id: OpId,
}

/// A value that decoded, with a signature nobody has checked yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unverified<T>(Signed<T>);

/// Why bytes are not a signed value. Nothing changed; the sender is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SignedFault<E> {
    /// The bytes do not decode.
    #[error("malformed: {0}")]
    Malformed(E),
    /// The signature is not the named signer's over these bytes.
    #[error("the signature does not verify")]
    BadSignature,
}

impl<E> From<BadSignature> for SignedFault<E> {
    fn from(_: BadSignature) -> Self {
        Self::BadSignature
    }
}

impl<T: Signable> Signed<T> {
    /// Signs a value with the key it names.
    ///
    /// # Panics
    /// If `value.signer()` is another node than `key`'s: a mistake of the caller that no peer can cause.
    pub fn sign(key: &SecretKey, value: T) -> Self {
        assert!(value.signer() == key.node_id(), "a value is signed by the signer it names");
        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        let signature = key.sign(T::DOMAIN, &bytes);
        bytes.extend_from_slice(signature.as_bytes());
        Self { value, id: OpId::of(&bytes), bytes }
    }

    /// Decodes all of `bytes` and checks the signature over them. Costs a decoding, a BLAKE3 and a signature check.
    ///
    /// # Errors
    /// [`SignedFault`]: malformed, or badly signed.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, SignedFault<T::Error>> {
        Ok(Unverified::from_bytes(bytes).map_err(SignedFault::Malformed)?.verify()?)
    }
}

impl<T> Signed<T> {
    /// The value.
    pub const fn value(&self) -> &T {
        &self.value
    }

    /// The signed bytes as received, signature included.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The name of these bytes.
    pub const fn id(&self) -> OpId {
        self.id
    }

    /// Gives up the proof and keeps the value.
    pub fn into_value(self) -> T {
        self.value
    }
}

impl<T> Deref for Signed<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Signable> Unverified<T> {
    /// Decodes all of `bytes` without checking the signature.
    ///
    /// # Errors
    /// Whatever is wrong with the bytes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, T::Error> {
        if bytes.len() > T::MAX_LEN.saturating_add(Signature::LEN) {
            return Err(wire::DecodeError::TooLong.into());
        }
        let mut rest = bytes;
        let value = T::decode(&mut rest)?;
        match rest.len() {
            Signature::LEN => Ok(Self(Signed { value, bytes: bytes.to_vec(), id: OpId::of(bytes) })),
            0..Signature::LEN => Err(wire::DecodeError::Truncated.into()),
            _ => Err(wire::DecodeError::TrailingBytes.into()),
        }
    }

    /// Takes a value and the bytes that it is known to encode to, signature included.
    pub(crate) fn from_parts(value: T, bytes: Vec<u8>) -> Self {
        Self(Signed { value, id: OpId::of(&bytes), bytes })
    }

    /// Checks the signature.
    ///
    /// # Errors
    /// [`BadSignature`] if it does not hold.
    pub fn verify(self) -> Result<Signed<T>, BadSignature> {
        let Claim { signer, domain, message, signature } = self.claim();
        signature::verify(&signer, domain, message, &signature)?;
        Ok(self.0)
    }

    /// Checks many signatures at the price of about half as many: if all hold, one equation settles it; if not, each is
    /// checked alone, and the answers come in the order of the input.
    pub fn verify_all(batch: Vec<Self>) -> Vec<Result<Signed<T>, BadSignature>> {
        let claims: Vec<Claim<'_>> = batch.iter().map(Self::claim).collect();
        if signature::verify_batch(&claims).is_ok() {
            return batch.into_iter().map(|unverified| Ok(unverified.0)).collect();
        }
        batch.into_iter().map(Self::verify).collect()
    }

    /// Takes bytes that this node has verified before and kept since under its own checksum: its log, not a peer.
    #[must_use]
    pub fn assume_verified(self) -> Signed<T> {
        self.0
    }

    /// The value, whose signature may not hold.
    pub const fn value(&self) -> &T {
        &self.0.value
    }

    /// The name of the bytes.
    pub const fn id(&self) -> OpId {
        self.0.id
    }

    fn claim(&self) -> Claim<'_> {
        let (message, signature) =
            self.0.bytes.split_last_chunk().expect("from_bytes saw 64 bytes after the value");
        Claim {
            signer: self.0.value.signer(),
            domain: T::DOMAIN,
            message,
            signature: Signature::from_bytes(*signature),
        }
    }
}
