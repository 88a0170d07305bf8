use core::fmt;

use ed25519_dalek::SigningKey;
use ed25519_dalek::ed25519::signature::MultipartSigner;
use zeroize::Zeroizing;

use crate::node_id::NodeId;
use crate::signature::{Domain, Signature};

/// The secret half of a [`NodeId`]: an Ed25519 seed. Erased from memory when dropped; never printed.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl SecretKey {
    /// Takes 32 bytes of entropy, or a key that [`Self::to_bytes`] gave. Every value is a valid seed.
    pub fn from_bytes(seed: [u8; 32]) -> Self {
        let seed = Zeroizing::new(seed);
        Self(SigningKey::from_bytes(&seed))
    }

    /// The seed, to be stored where only this device reads it.
    pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
        Zeroizing::new(self.0.to_bytes())
    }

    /// The public identity.
    pub fn node_id(&self) -> NodeId {
        NodeId::from_own_key(self.0.verifying_key().to_bytes())
    }

    /// Signs `message` in `domain` (rule ID-3). Deterministic (RFC 8032), constant-time, about 20 us.
    pub fn sign(&self, domain: Domain, message: &[u8]) -> Signature {
        let signature = self.0.multipart_sign(&[&[domain.length()], domain.as_bytes(), message]);
        Signature::from_bytes(signature.to_bytes())
    }

    /// The X25519 secret of the same device, clamped; its public half is [`NodeId::to_x25519`] (rule ID-5).
    pub fn to_x25519(&self) -> Zeroizing<[u8; 32]> {
        let mut scalar = Zeroizing::new(self.0.to_scalar_bytes());
        scalar[0] &= 248;
        scalar[31] &= 127;
        scalar[31] |= 64;
        scalar
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({:?})", self.node_id())
    }
}
