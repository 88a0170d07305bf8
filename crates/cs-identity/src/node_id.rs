use core::fmt;
use core::str::FromStr;

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use thiserror::Error;

use crate::base32::{self, TextFault};
use crate::signature::{self, BadSignature, Domain, Signature};

/// The identity of one device: its Ed25519 public key.
///
/// A value of this type is always the canonical encoding of a curve point whose order is not small (rule ID-1), so
/// equal identities have equal bytes, and no identity exists for which signatures can be made up without a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId([u8; 32]);

/// Why bytes or text are not a [`NodeId`] or another 32-byte identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum IdError {
    /// The text is not 52 characters long.
    #[error("an identifier has 52 characters")]
    Length,
    /// A character is not one of `a-z2-7`.
    #[error("an identifier consists of the characters a-z and 2-7")]
    Alphabet,
    /// A second spelling of a value that has a canonical one.
    #[error("not the canonical form of an identifier")]
    NotCanonical,
    /// No point of the curve has this encoding.
    #[error("not the encoding of a public key")]
    NotAPoint,
    /// One of the eight points of small order, for which signatures can be forged.
    #[error("a public key of small order")]
    SmallOrder,
}

impl NodeId {
    /// Checks and takes a public key (rule ID-1). Costs about one field exponentiation (4 us).
    ///
    /// # Errors
    /// [`IdError::NotCanonical`], [`IdError::NotAPoint`] or [`IdError::SmallOrder`].
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, IdError> {
        strict_point(bytes).map(|_| Self(*bytes))
    }

    /// The public key, as RFC 8032 encodes it.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The X25519 public key of the same device (the birational map of RFC 7748, section 4.1). Costs about 8 us.
    pub fn to_x25519(&self) -> [u8; 32] {
        self.point().to_montgomery().to_bytes()
    }

    /// Where this device lives in the key space of the DHT: a BLAKE3 of the ID under a context of its own, so that
    /// positions are uniform whatever shape the keys have (rule ID-2).
    pub fn dht_position(&self) -> [u8; 32] {
        blake3::derive_key("CosmicSync 2026 cs-identity DHT position of a node", &self.0)
    }

    /// Checks a signature over `message` in `domain` (rule ID-4). Costs about 40 us and a pass of SHA-512.
    ///
    /// # Errors
    /// [`BadSignature`], with no hint as to why.
    pub fn verify(&self, domain: Domain, message: &[u8], signature: &Signature) -> Result<(), BadSignature> {
        signature::verify(self, domain, message, signature)
    }

    /// The first ten characters, enough for a person to tell devices apart and too few to prove anything.
    pub fn short(&self) -> impl fmt::Display + use<> {
        base32_short::Short(self.0, 10)
    }

    pub(crate) fn from_own_key(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) fn point(&self) -> EdwardsPoint {
        CompressedEdwardsY(self.0).decompress().expect("from_bytes decompressed these bytes once")
    }
}

/// The point of an encoding that is canonical and of an order that is not small (rule ID-1).
pub(crate) fn strict_point(bytes: &[u8; 32]) -> Result<EdwardsPoint, IdError> {
    if !is_canonical(bytes) {
        return Err(IdError::NotCanonical);
    }
    let point = CompressedEdwardsY(*bytes).decompress().ok_or(IdError::NotAPoint)?;
    // The two encodings with x = 0 and a set sign bit are of small order too, so this also settles them.
    if point.is_small_order() { Err(IdError::SmallOrder) } else { Ok(point) }
}

/// Whether the y coordinate is below the field's prime 2^255 - 19; the sign bit is free.
fn is_canonical(bytes: &[u8; 32]) -> bool {
    let [first, middle @ .., last] = bytes;
    *first < 0xed || last & 0x7f != 0x7f || middle.iter().any(|&byte| byte != 0xff)
}

pub(crate) mod base32_short {
    use core::fmt;

    pub(crate) struct Short(pub(crate) [u8; 32], pub(crate) usize);

    impl fmt::Display for Short {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            crate::base32::write(f, &self.0, self.1)
        }
    }
}

impl From<TextFault> for IdError {
    fn from(fault: TextFault) -> Self {
        match fault {
            TextFault::Length => Self::Length,
            TextFault::Alphabet => Self::Alphabet,
            TextFault::Padding => Self::NotCanonical,
        }
    }
}

impl FromStr for NodeId {
    type Err = IdError;

    fn from_str(text: &str) -> Result<Self, IdError> {
        Self::from_bytes(&base32::decode(text)?)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        base32::write(f, &self.0, base32::LEN)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        base32::write(f, &self.0, 10)
    }
}
