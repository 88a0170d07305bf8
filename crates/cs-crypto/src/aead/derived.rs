//! Encryption whose nonce is derived from what it seals, for data at rest and for state that a disk may set back.

use alloc::vec::Vec;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{Forged, TAG_LENGTH, xopen_in_place, xseal_in_place};
use crate::kdf;

const NONCE_LENGTH: usize = 24;

/// Bytes by which the result of [`seal_derived`] is longer than the plaintext.
pub const DERIVED_OVERHEAD: usize = NONCE_LENGTH + TAG_LENGTH;

/// XChaCha20-Poly1305 with a nonce that is a keyed hash of `aad` and `plaintext`: nonce, ciphertext, tag (CRYPTO-7).
///
/// Two messages under one key never meet in a nonce; the same message sealed twice gives the same bytes, and that is all that
/// is lost where a counter would have lost the plaintext. Two passes over the data.
#[must_use]
pub fn seal_derived(key: &[u8; 32], aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let [cipher_key, nonce_key] = keys(key);
    let nonce = derive_nonce(&nonce_key, aad, plaintext);
    let mut body = Vec::with_capacity(plaintext.len() + DERIVED_OVERHEAD);
    body.extend_from_slice(plaintext);
    xseal_in_place(&cipher_key, &nonce, aad, &mut body);
    // The nonce goes first, by moving the ciphertext once: the plaintext was never in a second buffer.
    body.extend_from_slice(&nonce);
    body.rotate_right(NONCE_LENGTH);
    body
}

/// Decrypts what [`seal_derived`] made, and checks that the nonce is the derived one: the ciphertext commits to its key.
///
/// # Errors
/// [`Forged`] if it is too short, or not made by this key with this `aad`.
pub fn open_derived(key: &[u8; 32], aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Forged> {
    let (nonce, ciphertext) = sealed.split_first_chunk::<NONCE_LENGTH>().ok_or(Forged)?;
    let [cipher_key, nonce_key] = keys(key);
    let mut body = ciphertext.to_vec();
    xopen_in_place(&cipher_key, nonce, aad, &mut body)?;
    if derive_nonce(&nonce_key, aad, &body).ct_eq(nonce).into() { Ok(body) } else { Err(Forged) }
}

fn keys(key: &[u8; 32]) -> [Zeroizing<[u8; 32]>; 2] {
    [0, 1].map(|kind| kdf::keyed(key, &[&[kind]]))
}

fn derive_nonce(nonce_key: &[u8; 32], aad: &[u8], plaintext: &[u8]) -> [u8; NONCE_LENGTH] {
    let full = kdf::keyed(nonce_key, &[&(aad.len() as u64).to_le_bytes(), aad, plaintext]);
    let mut nonce = [0; NONCE_LENGTH];
    nonce.iter_mut().zip(full.iter()).for_each(|(to, from)| *to = *from);
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;

    // CRYPTO-7
    #[test]
    fn other_contents_or_envelopes_get_other_nonces() {
        let nonce = |aad: &[u8], body: &[u8]| seal_derived(&[1; 32], aad, body)[..NONCE_LENGTH].to_vec();
        assert_eq!(nonce(b"e", b"one"), nonce(b"e", b"one"));
        assert_ne!(nonce(b"e", b"one"), nonce(b"e", b"two"));
        assert_ne!(nonce(b"e", b"one"), nonce(b"eo", b"ne"));
    }

    // CRYPTO-7
    #[test]
    fn a_nonce_that_was_not_derived_is_refused() {
        let mut body = b"one".to_vec();
        xseal_in_place(&keys(&[1; 32])[0], &[0; NONCE_LENGTH], b"e", &mut body);
        body.splice(0..0, [0; NONCE_LENGTH]);
        assert_eq!(open_derived(&[1; 32], b"e", &body), Err(Forged));
    }
}
