//! HKDF-SHA256 (RFC 5869), as HPKE, QUIC's key schedule and the ratchet use it.

use hkdf::Hkdf;
use sha2::Sha256;
use zeroize::Zeroizing;

/// The longest output of one expansion, bytes: 255 blocks of the hash (RFC 5869 section 2.3).
pub const MAX_OUTPUT: usize = 255 * 32;

/// More than [`MAX_OUTPUT`] bytes were asked for; the output is untouched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than 8160 bytes asked of one expansion")]
pub struct TooLong;

/// HKDF-Extract: a uniform key from `secret` material. An empty `salt` is 32 zero bytes.
#[must_use]
pub fn extract(salt: &[u8], secret: &[u8]) -> Zeroizing<[u8; 32]> {
    let (prk, _) = Hkdf::<Sha256>::extract(Some(salt), secret);
    let mut key = Zeroizing::new([0; 32]);
    key.copy_from_slice(&prk);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_255_blocks_are_refused_and_the_output_is_untouched() {
        let mut output = [9; MAX_OUTPUT + 1];
        assert_eq!(expand(&[1; 32], &[], &mut output), Err(TooLong));
        assert!(output.iter().all(|&byte| byte == 9));
        assert_eq!(expand(&[1; 32], &[], &mut output[..MAX_OUTPUT]), Ok(()));
    }
}
