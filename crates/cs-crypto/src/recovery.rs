//! A secret that any k of n people can bring back together: for the key of an identity whose devices are all lost.
//!
//! The secret is sealed under a fresh key, and that key is shared (Shamir, "How to Share a Secret", 1979; GF(2^8), by the
//! `vsss-rs` crate, whose field arithmetic has no tables and no branches). Each [`Share`] carries the sealed secret, so that
//! whatever k shares of one set give back is authentic or refused, and a fingerprint of every share, so that who lies is known
//! by name (CRYPTO-22).
//!
//! ```
//! use cs_crypto::recovery::{Share, combine, split};
//!
//! let identity = [7; 32]; // a real one, and the entropy, come from the operating system
//! let shares = split(&identity, 2, 3, [9; 32])?;
//! let sent = shares[1].to_bytes(); // to a guardian; Share::seal_to seals it to the guardian's key
//! let back = combine(&[shares[0].clone(), Share::from_bytes(&sent)?])?;
//! assert_eq!(*back, identity);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::vec::Vec;
use core::fmt;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use subtle::ConstantTimeEq;
use vsss_rs::Gf256;
use zeroize::{Zeroize, Zeroizing};

use crate::aead::{DERIVED_OVERHEAD, Forged, open_derived, seal_derived};
use crate::dh::LowOrderPoint;
use crate::{hpke, kdf};

const VERSION: u8 = 1;
const FINGERPRINT: &str = "cosmic-sync 2026 recovery share 1";
const SET: &str = "cosmic-sync 2026 recovery set 1";
const BOX_INFO: &[u8] = b"cosmic-sync 2026 recovery box 1";

/// The fewest shares that bring a secret back: one would be a copy.
pub const MIN_THRESHOLD: u8 = 2;
/// The most shares of a secret: people who know someone well enough to be asked.
pub const MAX_SHARES: u8 = 32;
/// The longest secret, bytes.
pub const MAX_SECRET: usize = 1024;

/// Bytes of a share's piece of the key.
const PIECE: usize = 32;
type Fingerprint = [u8; 16];

/// Why a secret was not split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SplitError {
    /// Not [`MIN_THRESHOLD`] <= threshold <= count <= [`MAX_SHARES`].
    #[error("the threshold must be from 2 to the number of shares, and that at most 32")]
    Numbers,
    /// The secret is longer than [`MAX_SECRET`].
    #[error("the secret is too long to be split")]
    TooLong,
}

/// The bytes are no share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ShareError {
    /// Not a share, or of a later version.
    #[error("not a recovery share of a version that is known here")]
    Format,
    /// The share is not the one that its set's fingerprints name: altered, or made up.
    #[error("the recovery share was altered")]
    Altered,
}

/// Why shares did not bring a secret back. Nothing of it was shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CombineError {
    /// Fewer different shares than the threshold.
    #[error("{have} of the {need} shares that are needed")]
    Missing {
        /// How many different shares there are.
        have: u8,
        /// How many are needed.
        need: u8,
    },
    /// The shares are of different sets, which [`Share::set`] tells apart: from another time, or made up.
    #[error("the shares are not all of one set")]
    MixedSets,
    /// The shares agree with each other and give nothing authentic: whoever split the secret made them wrong.
    #[error("the shares do not fit what they should open")]
    Inconsistent,
}

/// One guardian's part of a secret. Fewer than the threshold tell nothing of the secret but its length. Wiped on drop.
#[derive(Clone)]
pub struct Share {
    threshold: u8,
    /// Of every share of the set, by index.
    fingerprints: Vec<Fingerprint>,
    /// From 0.
    index: u8,
    piece: Zeroizing<[u8; PIECE]>,
    sealed: Vec<u8>,
}

/// Splits `secret` into `count` shares of which any `threshold` bring it back. `entropy`: 32 fresh bytes from the operating
/// system, never used twice. A few microseconds for each share and share needed.
///
/// A later split of the same secret does not undo this one: old shares work until their owners throw them away.
///
/// # Errors
/// [`SplitError`].
pub fn split(secret: &[u8], threshold: u8, count: u8, entropy: [u8; 32]) -> Result<Vec<Share>, SplitError> {
    if threshold < MIN_THRESHOLD || threshold > count || count > MAX_SHARES {
        return Err(SplitError::Numbers);
    }
    if secret.len() > MAX_SECRET {
        return Err(SplitError::TooLong);
    }
    let mut chance = ChaCha20Rng::from_seed(*Zeroizing::new(entropy));
    let mut key = Zeroizing::new([0; 32]);
    chance.fill_bytes(&mut *key);
    let pieces = pieces(&key, threshold, count, chance);
    let fingerprints: Vec<Fingerprint> =
        (0..).zip(&pieces).map(|(index, piece)| fingerprint(index, piece)).collect();
    let sealed = seal_derived(&key, &head(threshold, &fingerprints), secret);
    let share = |(index, piece)| Share {
        threshold,
        fingerprints: fingerprints.clone(),
        index,
        piece,
        sealed: sealed.clone(),
    };
    Ok((0..).zip(pieces).map(share).collect())
}

/// Brings the secret back from shares of one set; more than the threshold do no harm, nor does the same one twice.
///
/// # Errors
/// [`CombineError`].
pub fn combine(shares: &[Share]) -> Result<Zeroizing<Vec<u8>>, CombineError> {
    let first = shares.first().ok_or(CombineError::Missing { have: 0, need: MIN_THRESHOLD })?;
    if shares.iter().any(|share| share.set() != first.set()) {
        return Err(CombineError::MixedSets);
    }
    let mut different: Vec<&Share> = shares.iter().collect();
    different.sort_by_key(|share| share.index);
    different.dedup_by_key(|share| share.index);
    let (have, need) = (u8::try_from(different.len()).unwrap_or(MAX_SHARES), first.threshold);
    if have < need {
        return Err(CombineError::Missing { have, need });
    }
    different.truncate(usize::from(need));
    let key = interpolate(&different).ok_or(CombineError::Inconsistent)?;
    let head = head(first.threshold, &first.fingerprints);
    let secret = open_derived(&key, &head, &first.sealed).map_err(|Forged| CombineError::Inconsistent)?;
    Ok(Zeroizing::new(secret))
}

impl Share {
    /// How many shares bring the secret back.
    #[must_use]
    pub fn threshold(&self) -> u8 {
        self.threshold
    }

    /// How many shares there are.
    #[must_use]
    pub fn count(&self) -> u8 {
        u8::try_from(self.fingerprints.len()).expect("at most MAX_SHARES")
    }

    /// Which of them this is, from 0.
    #[must_use]
    pub fn index(&self) -> u8 {
        self.index
    }

    /// Names the set: shares of one split, and no others, have the same. Not secret.
    #[must_use]
    pub fn set(&self) -> [u8; 32] {
        *kdf::derived(SET, &[&head(self.threshold, &self.fingerprints), &self.sealed])
    }

    /// The share, to be kept where only its guardian reads (CRYPTO-22).
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(head(self.threshold, &self.fingerprints));
        out.push(self.index);
        out.extend_from_slice(&*self.piece);
        let length = u16::try_from(self.sealed.len()).expect("at most MAX_SECRET and its overhead");
        out.extend_from_slice(&length.to_le_bytes());
        out.extend_from_slice(&self.sealed);
        out
    }

    /// Reads what [`to_bytes`](Self::to_bytes) gave, and nothing after it.
    ///
    /// # Errors
    /// [`ShareError`]; numbers are checked before anything is allocated.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self, ShareError> {
        let rest = &mut bytes;
        let [version, threshold, count] = take(rest)?;
        if version != VERSION || threshold < MIN_THRESHOLD || threshold > count || count > MAX_SHARES {
            return Err(ShareError::Format);
        }
        let fingerprints = (0..count).map(|_| take(rest)).collect::<Result<Vec<Fingerprint>, _>>()?;
        let [index] = take(rest)?;
        let piece = Zeroizing::new(take(rest)?);
        let length = usize::from(u16::from_le_bytes(take(rest)?));
        if rest.len() != length || !(DERIVED_OVERHEAD..=DERIVED_OVERHEAD + MAX_SECRET).contains(&length) {
            return Err(ShareError::Format);
        }
        let expected = fingerprints.get(usize::from(index)).ok_or(ShareError::Format)?;
        if !bool::from(fingerprint(index, &piece).ct_eq(expected)) {
            return Err(ShareError::Altered);
        }
        Ok(Self { threshold, fingerprints, index, piece, sealed: rest.to_vec() })
    }

    /// Seals the share to a guardian's X25519 key, or a guardian's to the new device that it is sure belongs to its friend.
    /// `entropy`: 32 fresh bytes from the operating system.
    ///
    /// # Errors
    /// [`LowOrderPoint`] if nobody can own `recipient`.
    pub fn seal_to(&self, recipient: &[u8; 32], entropy: [u8; 32]) -> Result<Vec<u8>, LowOrderPoint> {
        hpke::seal(recipient, BOX_INFO, &[], &self.to_bytes(), entropy)
    }

    /// Opens what [`seal_to`](Self::seal_to) made for the owner of `secret`.
    ///
    /// # Errors
    /// [`ShareError::Altered`] if it was not made for this key; otherwise as [`from_bytes`](Self::from_bytes).
    pub fn open(secret: &[u8; 32], sealed: &[u8]) -> Result<Self, ShareError> {
        let bytes = hpke::open(secret, BOX_INFO, &[], sealed).map_err(|Forged| ShareError::Altered)?;
        Self::from_bytes(&bytes)
    }
}

impl fmt::Debug for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Share")
            .field("index", &self.index)
            .field("threshold", &self.threshold)
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}

/// What all shares of a set begin with: version, threshold, count, fingerprints.
fn head(threshold: u8, fingerprints: &[Fingerprint]) -> Vec<u8> {
    let count = u8::try_from(fingerprints.len()).expect("at most MAX_SHARES");
    [&[VERSION, threshold, count][..], fingerprints.as_flattened()].concat()
}

fn fingerprint(index: u8, piece: &[u8; PIECE]) -> Fingerprint {
    let full = kdf::derived(FINGERPRINT, &[&[index], piece]);
    let mut fingerprint = [0; 16];
    fingerprint.iter_mut().zip(full.iter()).for_each(|(to, from)| *to = *from);
    fingerprint
}

/// The polynomials' values at 1, 2, ... `count`.
fn pieces(key: &[u8; 32], threshold: u8, count: u8, chance: ChaCha20Rng) -> Vec<Zeroizing<[u8; PIECE]>> {
    let (threshold, count) = (usize::from(threshold), usize::from(count));
    let mut points = Gf256::split_array(threshold, count, key, chance).expect("the numbers were checked");
    let piece = |point: &mut Vec<u8>| {
        let mut piece = Zeroizing::new([0; PIECE]);
        // A point is its place, then its values.
        piece.iter_mut().zip(point.iter().skip(1)).for_each(|(to, from)| *to = *from);
        point.zeroize();
        piece
    };
    points.iter_mut().map(piece).collect()
}

/// The polynomials' values at 0.
fn interpolate(shares: &[&Share]) -> Option<Zeroizing<[u8; 32]>> {
    let point = |share: &&Share| {
        let mut point = Vec::with_capacity(1 + PIECE);
        point.push(share.index + 1);
        point.extend_from_slice(&*share.piece);
        point
    };
    let points: Zeroizing<Vec<Vec<u8>>> = Zeroizing::new(shares.iter().map(point).collect());
    let key = Zeroizing::new(Gf256::combine_array(&*points).ok()?);
    Some(Zeroizing::new(key.as_slice().try_into().ok()?))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], ShareError> {
    let (bytes, after) = rest.split_first_chunk().ok_or(ShareError::Format)?;
    *rest = after;
    Ok(*bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dh::public_key;

    const SECRET: &[u8] = b"the key of an identity, 32 bytes";

    fn shares(threshold: u8, count: u8) -> Vec<Share> {
        split(SECRET, threshold, count, [9; 32]).unwrap()
    }

    /// Multiplication in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1, by the book.
    fn multiply(mut a: u8, mut b: u8) -> u8 {
        let mut product = 0;
        while b != 0 {
            if b & 1 != 0 {
                product ^= a;
            }
            a = (a << 1) ^ if a & 0x80 != 0 { 0x1b } else { 0 };
            b >>= 1;
        }
        product
    }

    // CRYPTO-22
    #[test]
    fn the_pieces_lie_on_polynomials_of_the_field_that_is_written_down() {
        let shares = shares(2, 4);
        // Two points of a line: p(0) = (y1 x2 + y2 x1) / (x1 + x2), which every other pair must give too.
        let at_zero = |a: &Share, b: &Share, at: usize| {
            let (x1, x2) = (a.index + 1, b.index + 1);
            let inverse = (1..=255).find(|&inverse| multiply(inverse, x1 ^ x2) == 1).unwrap();
            multiply(multiply(a.piece[at], x2) ^ multiply(b.piece[at], x1), inverse)
        };
        let key: Vec<u8> = (0..PIECE).map(|at| at_zero(&shares[0], &shares[1], at)).collect();
        assert_eq!(key, (0..PIECE).map(|at| at_zero(&shares[3], &shares[2], at)).collect::<Vec<_>>());
        let head = head(2, &shares[0].fingerprints);
        let key: [u8; 32] = key.try_into().unwrap();
        assert_eq!(open_derived(&key, &head, &shares[0].sealed).unwrap(), SECRET);
    }

    // CRYPTO-22
    #[test]
    fn numbers_out_of_range_and_long_secrets_are_refused() {
        for (threshold, count) in [(0, 3), (1, 3), (4, 3), (2, MAX_SHARES + 1)] {
            assert_eq!(split(SECRET, threshold, count, [9; 32]).map(|_| ()), Err(SplitError::Numbers));
        }
        let (longest, longer) = (std::vec![1; MAX_SECRET], std::vec![1; MAX_SECRET + 1]);
        assert_eq!(split(&longer, 2, 3, [9; 32]).map(|_| ()), Err(SplitError::TooLong));
        let shares = split(&longest, MAX_SHARES, MAX_SHARES, [9; 32]).unwrap();
        assert_eq!(*combine(&shares).unwrap(), longest);
    }

    // CRYPTO-22
    #[test]
    fn too_few_repeated_and_foreign_shares_give_nothing() {
        let ours = shares(3, 5);
        let [a, b, ..] = &ours[..] else { panic!("five shares") };
        assert_eq!(combine(&[]), Err(CombineError::Missing { have: 0, need: 2 }));
        let twice = [a.clone(), b.clone(), a.clone(), b.clone()];
        assert_eq!(combine(&twice), Err(CombineError::Missing { have: 2, need: 3 }));
        let foreign = split(SECRET, 3, 5, [8; 32]).unwrap()[2].clone();
        assert_ne!(foreign.set(), a.set());
        assert_eq!(combine(&[a.clone(), b.clone(), foreign]), Err(CombineError::MixedSets));
    }

    // CRYPTO-22
    #[test]
    fn a_guardian_who_lies_is_named_and_a_dealer_who_lied_is_noticed() {
        let mut ours = shares(2, 3);
        let mut lie = ours[1].to_bytes();
        let piece = 3 + 3 * 16 + 1;
        lie[piece] ^= 1;
        assert_eq!(Share::from_bytes(&lie).map(|_| ()), Err(ShareError::Altered));
        // A dealer's wrong piece has a right fingerprint.
        ours.iter_mut().for_each(|share| {
            let wrong = Zeroizing::new([share.index; 32]);
            share.piece = wrong;
        });
        assert_eq!(combine(&ours), Err(CombineError::Inconsistent));
    }

    // CRYPTO-22
    #[test]
    fn a_sealed_share_opens_for_its_guardian_only() {
        let share = &shares(2, 3)[0];
        let sealed = share.seal_to(&public_key(&[5; 32]), [6; 32]).unwrap();
        assert_eq!(Share::open(&[5; 32], &sealed).unwrap().to_bytes(), share.to_bytes());
        assert_eq!(Share::open(&[4; 32], &sealed).map(|_| ()), Err(ShareError::Altered));
        assert_eq!(share.seal_to(&[0; 32], [6; 32]), Err(LowOrderPoint));
    }

    #[test]
    fn a_share_does_not_show_its_piece() {
        assert_eq!(std::format!("{:?}", shares(2, 3)[1]), "Share { index: 1, threshold: 2, count: 3, .. }");
    }
}
