//! X25519 (RFC 7748) that refuses results without entropy.

use core::fmt;

use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::Zeroizing;

/// The peer's public key is one of the few whose products are known to everybody (a point of small order).
///
/// Nothing was derived from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the public key is a point of small order")]
pub struct LowOrderPoint;

/// The public key of `secret`. `secret` is clamped as RFC 7748 section 5 says. One base-point multiplication.
#[must_use]
pub fn public_key(secret: &[u8; 32]) -> [u8; 32] {
    PublicKey::from(&StaticSecret::from(*secret)).to_bytes()
}

/// The shared secret of `secret` and the peer's `public` key (RFC 7748 section 5, CRYPTO-1).
///
/// Constant time in `secret`; about 60 microseconds.
///
/// # Errors
/// [`LowOrderPoint`] if the result is all zeros, checked as RFC 7748 section 6.1 describes: such a result would not depend
/// on `secret`, so that a peer could force a key that a third party knows.
pub fn shared_secret(secret: &[u8; 32], public: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>, LowOrderPoint> {
    let shared = StaticSecret::from(*secret).diffie_hellman(&PublicKey::from(*public));
    if shared.was_contributory() { Ok(Zeroizing::new(shared.to_bytes())) } else { Err(LowOrderPoint) }
}

/// A secret with its public key, which costs a multiplication of the base point once instead of in every handshake. The secret
/// is wiped on drop.
#[derive(Clone)]
pub struct KeyPair {
    secret: Zeroizing<[u8; 32]>,
    public: [u8; 32],
}

impl KeyPair {
    /// The pair of `secret`, which is clamped as RFC 7748 section 5 says. One base-point multiplication.
    #[must_use]
    pub fn new(secret: [u8; 32]) -> Self {
        let secret = Zeroizing::new(secret);
        let public = public_key(&secret);
        Self { secret, public }
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> &[u8; 32] {
        &self.public
    }

    /// As [`shared_secret`].
    ///
    /// # Errors
    /// [`LowOrderPoint`] as there.
    pub fn shared_secret(&self, public: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>, LowOrderPoint> {
        shared_secret(&self.secret, public)
    }
}

impl fmt::Debug for KeyPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyPair").field("public", &self.public).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // CRYPTO-1
    #[test]
    fn points_of_small_order_give_no_secret() {
        let mut one = [0; 32];
        one[0] = 1;
        for point in [[0; 32], one] {
            assert_eq!(shared_secret(&[7; 32], &point), Err(LowOrderPoint));
        }
    }

    #[test]
    fn a_pair_is_its_secrets_and_shows_its_public_half_only() {
        let (pair, other) = (KeyPair::new([171; 32]), public_key(&[1; 32]));
        assert_eq!(*pair.public(), public_key(&[171; 32]));
        assert_eq!(pair.shared_secret(&other), shared_secret(&[171; 32], &other));
        assert_eq!(std::format!("{pair:?}"), std::format!("KeyPair {{ public: {:?}, .. }}", pair.public()));
    }

    #[test]
    fn both_sides_compute_the_same_secret() {
        let (a, b) = ([1; 32], [2; 32]);
        let ab = shared_secret(&a, &public_key(&b)).unwrap();
        assert_eq!(ab, shared_secret(&b, &public_key(&a)).unwrap());
        assert_ne!(*ab, [0; 32]);
    }
}
