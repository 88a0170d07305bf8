//! X25519 (RFC 7748) that refuses results without entropy.

use core::fmt;

use curve25519_dalek::MontgomeryPoint;
use subtle::ConstantTimeEq;
use x25519_dalek::{PublicKey, StaticSecret};
use zeroize::{Zeroize, Zeroizing};

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
/// Constant time in `secret`; about 35 microseconds with AVX2, 55 without.
///
/// # Errors
/// [`LowOrderPoint`] if the result is all zeros, checked as RFC 7748 section 6.1 describes: such a result would not depend
/// on `secret`, so that a peer could force a key that a third party knows.
pub fn shared_secret(secret: &[u8; 32], public: &[u8; 32]) -> Result<Zeroizing<[u8; 32]>, LowOrderPoint> {
    let shared = on_edwards_curve(secret, public).unwrap_or_else(|| on_ladder(secret, public));
    if shared.ct_eq(&[0; 32]).into() { Err(LowOrderPoint) } else { Ok(shared) }
}

/// The product by way of the Edwards form of the curve, on which `curve25519-dalek` has vector code that it chooses at run time:
/// a third less than the ladder, both maps included. The same for every `public` that is on the curve, since the u-coordinate
/// of a multiple is that of the negative's too. `None` for one that is on the twist (half of all are, nobody's key is), and
/// where there is no vector code. Which it is depends on `public` alone.
fn on_edwards_curve(secret: &[u8; 32], public: &[u8; 32]) -> Option<Zeroizing<[u8; 32]>> {
    if !cfg!(target_arch = "x86_64") {
        return None;
    }
    let mut product = MontgomeryPoint(*public).to_edwards(0)?.mul_clamped(*secret);
    let mut shared = product.to_montgomery();
    let bytes = Zeroizing::new(shared.to_bytes());
    product.zeroize();
    shared.zeroize();
    Some(bytes)
}

/// The product by the ladder of RFC 7748.
fn on_ladder(secret: &[u8; 32], public: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(StaticSecret::from(*secret).diffie_hellman(&PublicKey::from(*public)).to_bytes())
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

    // CRYPTO-1
    #[test]
    fn both_ways_to_a_product_agree_on_the_curve_and_one_serves_off_it() {
        let (mut on_curve, mut point) = (0, public_key(&[9; 32]));
        for round in 0..200u8 {
            let secret = [round.wrapping_mul(0x35) ^ 0x5a; 32];
            // Every product is a point on the curve, and one hashed is on the curve or the twist; the top bit counts for nothing.
            for public in [point, *blake3::hash(&point).as_bytes()] {
                let ladder = on_ladder(&secret, &public);
                if let Some(edwards) = on_edwards_curve(&secret, &public) {
                    assert_eq!(edwards, ladder, "{public:?}");
                    on_curve += 1;
                }
                assert_eq!(shared_secret(&secret, &public), Ok(ladder));
            }
            point = *on_ladder(&secret, &point);
        }
        let expected = if cfg!(target_arch = "x86_64") { 250..350 } else { 0..1 };
        assert!(expected.contains(&on_curve), "{on_curve}");
    }

    // CRYPTO-1
    #[test]
    fn small_numbers_numbers_above_the_prime_and_torsion_give_the_ladders_products() {
        // Those near 0, near p and near 2^255: all points of small order that have such encodings, and -1, which has no Edwards
        // form.
        for low in 0..=255 {
            for (high, middle) in [(0, 0), (0x7f, 0xff), (0xff, 0xff), (0x80, 0)] {
                let mut public = [middle; 32];
                (public[0], public[31]) = (low, high);
                let (ladder, ours) = (on_ladder(&[0x77; 32], &public), shared_secret(&[0x77; 32], &public));
                let expected = if *ladder == [0; 32] { Err(LowOrderPoint) } else { Ok(ladder) };
                assert_eq!(ours, expected, "{public:?}");
            }
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
