//! Ed25519 as this workspace defines it: one equation for single and batched checks.

use alloc::vec::Vec;
use core::fmt;
use core::iter::once;

use curve25519_dalek::edwards::{CompressedEdwardsY, EdwardsPoint};
use curve25519_dalek::scalar::Scalar;
use curve25519_dalek::traits::{IsIdentity, VartimeMultiscalarMul};
use sha2::{Digest, Sha512};
use thiserror::Error;

use crate::node_id::NodeId;

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
    let parts: Vec<Parts> = claims.iter().map(Parts::new).collect::<Result<_, _>>()?;
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

/// Checks `8 (s B - k A - R) = 0` (rule ID-4).
pub(crate) fn verify(
    signer: &NodeId,
    domain: Domain,
    message: &[u8],
    signature: &Signature,
) -> Result<(), BadSignature> {
    let Parts { a, r, k, s, .. } = Parts::new(&Claim { signer: *signer, domain, message, signature: *signature })?;
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
    fn new(claim: &Claim<'_>) -> Result<Self, BadSignature> {
        let (r_bytes, s_bytes) = halves(&claim.signature);
        let s = Option::from(Scalar::from_canonical_bytes(s_bytes)).ok_or(BadSignature)?;
        // R is held to the rules of a node ID: canonical, on the curve, not of small order.
        let r = NodeId::from_bytes(&r_bytes).map_err(|_| BadSignature)?;
        let r = CompressedEdwardsY(*r.as_bytes()).decompress().ok_or(BadSignature)?;
        let mut hash = Sha512::new();
        hash.update(r_bytes);
        hash.update(claim.signer.as_bytes());
        hash.update([claim.domain.length()]);
        hash.update(claim.domain.as_bytes());
        hash.update(claim.message);
        let challenge = hash.finalize().into();
        Ok(Self { a: claim.signer.point(), r, k: Scalar::from_bytes_mod_order_wide(&challenge), s, challenge })
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
