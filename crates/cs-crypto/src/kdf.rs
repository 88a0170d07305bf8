//! HKDF-SHA256 (RFC 5869), as HPKE, QUIC's key schedule and the ratchet use it.

use blake3::Hasher;
use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::{Zeroize, Zeroizing};

/// The longest output of one expansion, bytes: 255 blocks of the hash (RFC 5869 section 2.3).
pub const MAX_OUTPUT: usize = 255 * 32;

/// More than [`MAX_OUTPUT`] bytes were asked for; the output is untouched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than 8160 bytes asked of one expansion")]
pub struct TooLong;

/// HKDF-Extract: a uniform key from `secret` material. An empty `salt` is 32 zero bytes.
#[must_use]
pub fn extract(salt: &[u8], secret: &[u8]) -> Zeroizing<[u8; 32]> {
    let (mut prk, _) = Hkdf::<Sha256>::extract(Some(salt), secret);
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(&prk);
    prk.as_mut_slice().zeroize();
    key
}

/// HKDF-Expand: fills `output` from `key`; distinct `info` give independent outputs. `info` arrives in pieces, which are
/// concatenated: the caller keeps the concatenation unambiguous.
///
/// # Errors
/// [`TooLong`] beyond [`MAX_OUTPUT`] bytes.
pub fn expand(key: &[u8; 32], info: &[&[u8]], output: &mut [u8]) -> Result<(), TooLong> {
    let hkdf = Hkdf::<Sha256>::from_prk(key).map_err(|_| TooLong)?;
    hkdf.expand_multi_info(info, output).map_err(|_| TooLong)
}

/// HKDF-Expand to one 32-byte key.
#[must_use]
pub fn expand_key(key: &[u8; 32], info: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut out = Zeroizing::new([0; 32]);
    expand(key, info, &mut *out).expect("32 bytes are below the limit");
    out
}

/// BLAKE3 keyed with `key` over the concatenated `pieces`. The hasher, which holds the key, is wiped.
pub(crate) fn keyed(key: &[u8; 32], pieces: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    finish(Hasher::new_keyed(key), pieces)
}

/// BLAKE3's key derivation with a context string, over the concatenated `pieces`. The hasher is wiped.
pub(crate) fn derived(context: &str, pieces: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    finish(Hasher::new_derive_key(context), pieces)
}

fn finish(mut hasher: Hasher, pieces: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    for piece in pieces {
        hasher.update(piece);
    }
    let mut reader = hasher.finalize_xof();
    let mut key = Zeroizing::new([0; 32]);
    reader.fill(&mut *key);
    reader.zeroize();
    hasher.zeroize();
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wiped_hashers_give_what_blake3_gives() {
        assert_eq!(*keyed(&[1; 32], &[b"ab", b"", b"c"]), *blake3::keyed_hash(&[1; 32], b"abc").as_bytes());
        assert_eq!(*derived("context", &[b"a", b"bc"]), blake3::derive_key("context", b"abc"));
    }

    #[test]
    fn more_than_255_blocks_are_refused_and_the_output_is_untouched() {
        let mut output = [9; MAX_OUTPUT + 1];
        assert_eq!(expand(&[1; 32], &[], &mut output), Err(TooLong));
        assert!(output.iter().all(|&byte| byte == 9));
        assert_eq!(expand(&[1; 32], &[], &mut output[..MAX_OUTPUT]), Ok(()));
    }
}
