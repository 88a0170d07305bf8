//! Ed25519 as this workspace defines it: one equation for single and batched checks.

use alloc::vec::Vec;
use core::fmt;
use core::iter::once;

use curve25519_dalek::edwards::EdwardsPoint;
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul};
use sha2::{Digest, Sha512};
use thiserror::Error;

use crate::node_id::{NodeId, strict_point};

/// An Ed25519 signature: any 64 bytes; whether it is one is found out when it is verified.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signature([u8; 64]);

impl Signature {
    /// Bytes of a signature.
    pub const LEN: usize = 64;

    /// Takes the bytes as RFC 8032 orders them: `R`, then `s`.
    pub const fn from_bytes(bytes: [u8; 64]) -> Self {
        Self(bytes)
    }

    /// `R`, then `s`.
    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "Signature({a:02x}{b:02x}{c:02x}{d:02x}..)")
    }
}

/// What a signature is for. One key signs many kinds of things; a signature made in one domain verifies in no other
/// (rule ID-3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(&'static str);

impl Domain {
    /// Names a domain, by convention `crate thing vN`.
    ///
    /// # Panics
    /// At compile time, when used for a constant, if the name is empty or longer than 255 bytes.
    pub const fn new(name: &'static str) -> Self {
        assert!(!name.is_empty() && name.len() <= 255, "a domain has 1 to 255 bytes");
        Self(name)
    }

    pub(crate) const fn as_bytes(&self) -> &'static [u8] {
        self.0.as_bytes()
    }

    pub(crate) const fn length(&self) -> u8 {
        self.0.len() as u8
    }
}

/// The signature is not one of this key over this message in this domain. It says no more on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the signature does not verify")]
pub struct BadSignature;

/// One claim that `signer` signed `message` in `domain`, for [`verify_batch`].
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// Who is said to have signed.
    pub signer: NodeId,
    /// The domain it was signed in.
    pub domain: Domain,
    /// The bytes signed, without the domain.
    pub message: &'a [u8],
    /// The signature.
    pub signature: Signature,
}

/// Checks many signatures at once: all of them hold, or at least one does not.
///
/// The answer is the same as that of [`NodeId::verify`] on each (rule ID-4), up to a chance of 2^-128 that no sender
/// can influence, since the coefficients are a hash of everything checked. Costs about half of single checks from 8
/// claims on. After an `Err` check one by one to learn which is to blame.
///
/// # Errors
/// [`BadSignature`] if any claim is false.
pub fn verify_batch(claims: &[Claim<'_>]) -> Result<(), BadSignature> {
    if let [claim] = claims {
        return claim.signer.verify(claim.domain, claim.message, &claim.signature);
    }
    let parts: Vec<Parts> = claims.iter().map(Parts::of).collect::<Result<_, _>>()?;
    let coefficients = coefficients(&parts);
    let base: Scalar = parts.iter().zip(&coefficients).map(|(part, z)| part.s * z).sum();
    let scalars = once(-base)
        .chain(coefficients.iter().copied())
        .chain(parts.iter().zip(&coefficients).map(|(part, z)| part.k * z));
    let points = once(curve25519_dalek::constants::ED25519_BASEPOINT_POINT)
        .chain(parts.iter().map(|part| part.r))
        .chain(parts.iter().map(|part| part.a));
    settle(EdwardsPoint::vartime_multiscalar_mul(scalars, points))
}

/// Rule ID-4: checks `8 (s B - k A - R) = 0`, where `k` hashes R, A, the domain and the message.
pub(crate) fn verify(
    signer: &NodeId,
    domain: Domain,
    message: &[u8],
    signature: &Signature,
) -> Result<(), BadSignature> {
    check(signer, [&[domain.length()], domain.as_bytes(), message], signature)
}

fn check(signer: &NodeId, message: [&[u8]; 3], signature: &Signature) -> Result<(), BadSignature> {
    let Parts { a, r, k, s, .. } = Parts::new(signer, message, signature)?;
    settle(EdwardsPoint::vartime_double_scalar_mul_basepoint(&k, &-a, &s) - r)
}

/// The cofactor makes the single and the batched equation agree for every input: without it, parts of small order in
/// `R` or `A` cancel in one batch and not in the next, and two replicas could disagree about one operation.
fn settle(difference: EdwardsPoint) -> Result<(), BadSignature> {
    if difference.mul_by_cofactor().is_identity() { Ok(()) } else { Err(BadSignature) }
}

struct Parts {
    a: EdwardsPoint,
    r: EdwardsPoint,
    k: Scalar,
    s: Scalar,
    /// SHA-512 of R, A and the message: fixes all of them in the batch's coefficients.
    challenge: [u8; 64],
}

impl Parts {
    fn of(claim: &Claim<'_>) -> Result<Self, BadSignature> {
        let message = [&[claim.domain.length()], claim.domain.as_bytes(), claim.message];
        Self::new(&claim.signer, message, &claim.signature)
    }

    fn new(signer: &NodeId, message: [&[u8]; 3], signature: &Signature) -> Result<Self, BadSignature> {
        let (r_bytes, s_bytes) = halves(signature);
        let s = Option::from(Scalar::from_canonical_bytes(s_bytes)).ok_or(BadSignature)?;
        // R is held to the rules of a node ID: canonical, on the curve, not of small order.
        let r = strict_point(&r_bytes).map_err(|_| BadSignature)?;
        let mut hash = Sha512::new();
        hash.update(r_bytes);
        hash.update(signer.as_bytes());
        for part in message {
            hash.update(part);
        }
        let challenge = hash.finalize().into();
        Ok(Self { a: signer.point(), r, k: Scalar::from_bytes_mod_order_wide(&challenge), s, challenge })
    }
}

fn halves(signature: &Signature) -> ([u8; 32], [u8; 32]) {
    let (mut r, mut s) = ([0; 32], [0; 32]);
    r.copy_from_slice(&signature.0[..32]);
    s.copy_from_slice(&signature.0[32..]);
    (r, s)
}

/// 128-bit coefficients that depend on every signature of the batch.
fn coefficients(parts: &[Parts]) -> Vec<Scalar> {
    let mut hash = blake3::Hasher::new_derive_key("CosmicSync 2026 cs-identity batch coefficients");
    for part in parts {
        hash.update(&part.challenge);
        hash.update(part.s.as_bytes());
    }
    let mut stream = hash.finalize_xof();
    let mut next = || {
        let mut bytes = [0; 16];
        stream.fill(&mut bytes);
        Scalar::from(u128::from_le_bytes(bytes))
    };
    parts.iter().map(|_| next()).collect()
}

#[cfg(test)]
mod tests {
    use std::{fs, println};

    use curve25519_dalek::constants::{ED25519_BASEPOINT_POINT, EIGHT_TORSION};
    use curve25519_dalek::edwards::CompressedEdwardsY;
    use ed25519_dalek::VerifyingKey;

    use super::*;
    use crate::secret_key::SecretKey;

    const DOMAIN: Domain = Domain::new("cs-identity signature test");
    const WYCHEPROOF: &str =
        concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors/wycheproof/ed25519_test.json");

    fn hex(text: &serde_json::Value) -> Vec<u8> {
        let text = text.as_str().unwrap();
        (0..text.len() / 2).map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).unwrap()).collect()
    }

    /// ID-4: signatures too long, too short, malleated, with R or s out of range, truncated or mixed up.
    #[test]
    fn wycheproof_cases_get_the_answer_they_are_published_with() {
        let Ok(text) = fs::read(WYCHEPROOF) else {
            println!("no Wycheproof vectors here");
            return;
        };
        let file: serde_json::Value = serde_json::from_slice(&text).unwrap();
        let mut counts = [0, 0];
        for group in file["testGroups"].as_array().unwrap() {
            let signer = NodeId::from_bytes(&hex(&group["publicKey"]["pk"]).try_into().unwrap()).unwrap();
            for case in group["tests"].as_array().unwrap() {
                let verdict = <[u8; 64]>::try_from(hex(&case["sig"])).is_ok_and(|bytes| {
                    check(&signer, [&hex(&case["msg"]), &[], &[]], &Signature(bytes)).is_ok()
                });
                assert_eq!(verdict, case["result"] == "valid", "case {}", case["tcId"]);
                counts[usize::from(verdict)] += 1;
            }
        }
        assert!(counts[0] > 50 && counts[1] > 50, "{counts:?}");
    }

    /// A signature whose R has a part of small order: made by who holds the key, refused by some verifiers, accepted by
    /// others, and by batches now and then.
    fn with_torsion(key: &SecretKey, message: &[u8], torsion: usize) -> Signature {
        let secret = Scalar::from_bytes_mod_order(*key.to_x25519());
        let nonce = Scalar::from(77_u64 + torsion as u64);
        let r = (ED25519_BASEPOINT_POINT * nonce + EIGHT_TORSION[torsion]).compress();
        let mut hash = Sha512::new();
        hash.update(r.as_bytes());
        hash.update(key.node_id().as_bytes());
        hash.update([DOMAIN.length()]);
        hash.update(DOMAIN.as_bytes());
        hash.update(message);
        let k = Scalar::from_bytes_mod_order_wide(&hash.finalize().into());
        let mut bytes = [0; 64];
        bytes[..32].copy_from_slice(r.as_bytes());
        bytes[32..].copy_from_slice((nonce + k * secret).as_bytes());
        Signature(bytes)
    }

    /// ID-4: no batch changes the answer, whatever the parts of small order add up to.
    #[test]
    fn a_batch_never_disagrees_with_single_checks_about_parts_of_small_order() {
        let keys: Vec<SecretKey> = (0..24).map(|n| SecretKey::from_bytes([n; 32])).collect();
        let messages: Vec<[u8; 1]> = (0..24).map(|n| [n]).collect();
        let claims: Vec<Claim<'_>> = keys
            .iter()
            .zip(&messages)
            .enumerate()
            .map(|(n, (key, message))| {
                let signature = with_torsion(key, message, n % 8);
                Claim { signer: key.node_id(), domain: DOMAIN, message, signature }
            })
            .collect();
        for (n, claim) in claims.iter().enumerate() {
            assert!(claim.signer.verify(DOMAIN, claim.message, &claim.signature).is_ok());
            let strict = VerifyingKey::from_bytes(claim.signer.as_bytes()).unwrap();
            let bytes = [&[DOMAIN.length()], DOMAIN.as_bytes(), claim.message].concat();
            let signature = ed25519_dalek::Signature::from_bytes(claim.signature.as_bytes());
            assert_eq!(
                strict.verify_strict(&bytes, &signature).is_ok(),
                n % 8 == 0,
                "the vectors are what they claim"
            );
        }
        for size in 0..claims.len() {
            assert!(verify_batch(&claims[..size]).is_ok(), "{size}");
        }
    }

    /// ID-4: the classic malleation, s + L, and R of small order.
    #[test]
    fn a_second_form_of_a_signature_is_refused() {
        let key = SecretKey::from_bytes([3; 32]);
        let good = key.sign(DOMAIN, b"x");
        assert!(key.node_id().verify(DOMAIN, b"x", &good).is_ok());
        let order = hex(&"edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010".into());
        let mut carry = 0;
        let mut malleated = good;
        for (byte, add) in malleated.0[32..].iter_mut().zip(order) {
            let sum = u16::from(*byte) + u16::from(add) + carry;
            (*byte, carry) = (sum as u8, sum >> 8);
        }
        assert!(key.node_id().verify(DOMAIN, b"x", &malleated).is_err());
        for point in EIGHT_TORSION {
            let mut small = good;
            small.0[..32].copy_from_slice(point.compress().as_bytes());
            assert!(key.node_id().verify(DOMAIN, b"x", &small).is_err());
        }
        for bit in 0..512 {
            let mut flipped = good;
            flipped.0[bit / 8] ^= 1 << (bit % 8);
            assert!(key.node_id().verify(DOMAIN, b"x", &flipped).is_err(), "bit {bit}");
        }
    }

    /// ID-1: none of the encodings of the eight points of small order, nor a second encoding of a good one, is an ID.
    #[test]
    fn weak_and_ambiguous_keys_are_not_node_ids() {
        use crate::node_id::IdError;
        for point in EIGHT_TORSION {
            assert_eq!(NodeId::from_bytes(point.compress().as_bytes()), Err(IdError::SmallOrder));
        }
        // y = p + 3 is a second encoding of y = 3, a point of the curve.
        let mut big = [0xff; 32];
        (big[0], big[31]) = (0xf0, 0x7f);
        let mut small = [0; 32];
        small[0] = 3;
        assert!(CompressedEdwardsY(big).decompress().is_some());
        assert_eq!(NodeId::from_bytes(&big), Err(IdError::NotCanonical));
        assert!(NodeId::from_bytes(&small).is_ok());
        // The identity with its sign bit set, and a y that no point has.
        let mut signed_zero = [0; 32];
        (signed_zero[0], signed_zero[31]) = (1, 0x80);
        assert_eq!(NodeId::from_bytes(&signed_zero), Err(IdError::SmallOrder));
        let off_curve = [2_u8, 7, 8];
        assert!(off_curve.iter().any(|&y| {
            let mut bytes = [0; 32];
            bytes[0] = y;
            NodeId::from_bytes(&bytes) == Err(IdError::NotAPoint)
        }));
    }
}
