//! ChaCha20-Poly1305 (RFC 8439), its long-nonce form, and QUIC's header protection (CRYPTO-3).
//!
//! Two backends give the same bytes: one in pure Rust by default, `ring` with the feature of that name, which is twice as fast
//! on packets. Keys of the portable backend are wiped on drop; `ring` keeps no such promise, so that its key
//! schedule (a copy of the key) stays in freed memory until it is reused.

use alloc::vec::Vec;
use core::fmt;

use chacha20::{R20, hchacha};
use zeroize::Zeroizing;

mod derived;
#[cfg(any(not(feature = "ring"), test))]
#[cfg_attr(feature = "ring", allow(dead_code, reason = "the tests compare it with the other backend"))]
mod mac;
#[cfg(any(not(feature = "ring"), test))]
#[cfg_attr(feature = "ring", allow(dead_code, reason = "the tests compare it with the other backend"))]
mod portable;
#[cfg(feature = "ring")]
mod ring;

pub use derived::{DERIVED_OVERHEAD, open_derived, seal_derived};

#[cfg(not(feature = "ring"))]
use portable as backend;
#[cfg(feature = "ring")]
use ring as backend;

/// Bytes of an authentication tag.
pub const TAG_LENGTH: usize = 16;

/// A ciphertext that this key, nonce and associated data did not make. The buffer it came in must be thrown away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ciphertext is not authentic")]
pub struct Forged;

/// A ChaCha20-Poly1305 key, expanded once and used for many packets.
///
/// The caller owns the nonces: two messages under one (key, nonce) reveal both and allow forgeries (CRYPTO-2).
pub struct Key(backend::Key);

impl Key {
    /// Prepares `key`. The caller wipes its own copy.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self(backend::Key::new(key))
    }

    /// Encrypts `buffer` in place and returns the tag over it and `aad`. `buffer` up to 256 GiB (RFC 8439 section 2.8).
    pub fn seal_detached(&self, nonce: &[u8; 12], aad: &[u8], buffer: &mut [u8]) -> [u8; TAG_LENGTH] {
        self.0.seal(nonce, aad, buffer)
    }

    /// Decrypts `buffer` in place if `tag` is the tag of it and `aad`, compared in constant time.
    ///
    /// # Errors
    /// [`Forged`] if it is not; what `buffer` holds then is unspecified, and never plaintext.
    pub fn open_detached(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG_LENGTH],
    ) -> Result<(), Forged> {
        self.0.open(nonce, aad, buffer, tag)
    }

    /// Encrypts all but the last [`TAG_LENGTH`] bytes of `packet` in place and writes the tag over those.
    ///
    /// # Panics
    /// If `packet` has no room for the tag.
    pub fn seal_packet(&self, nonce: &[u8; 12], aad: &[u8], packet: &mut [u8]) {
        let (body, room) =
            packet.split_last_chunk_mut::<TAG_LENGTH>().expect("the caller leaves room for the tag");
        *room = self.seal_detached(nonce, aad, body);
    }

    /// Decrypts `packet`, a ciphertext followed by its tag, in place; returns the plaintext part of it.
    ///
    /// # Errors
    /// [`Forged`] if it is too short for a tag or not authentic.
    pub fn open_packet<'a>(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        packet: &'a mut [u8],
    ) -> Result<&'a mut [u8], Forged> {
        let (body, tag) = packet.split_last_chunk_mut::<TAG_LENGTH>().ok_or(Forged)?;
        self.open_detached(nonce, aad, body, tag)?;
        Ok(body)
    }

    /// Encrypts the bytes of `buffer` in place and appends the tag.
    pub fn seal_in_place(&self, nonce: &[u8; 12], aad: &[u8], buffer: &mut Vec<u8>) {
        let tag = self.seal_detached(nonce, aad, buffer);
        buffer.extend_from_slice(&tag);
    }

    /// Decrypts the bytes of `buffer` in place and removes the tag.
    ///
    /// # Errors
    /// [`Forged`] if it is too short for a tag or not authentic; `buffer` is then empty.
    pub fn open_in_place(&self, nonce: &[u8; 12], aad: &[u8], buffer: &mut Vec<u8>) -> Result<(), Forged> {
        match self.open_packet(nonce, aad, buffer).map(|plain| plain.len()) {
            Ok(length) => buffer.truncate(length),
            Err(forged) => {
                buffer.clear();
                return Err(forged);
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// QUIC header protection by ChaCha20 (RFC 9001 section 5.4.4).
pub struct HeaderKey(backend::HeaderKey);

impl HeaderKey {
    /// Prepares `key`. The caller wipes its own copy.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        Self(backend::HeaderKey::new(key))
    }

    /// The five mask bytes for a packet whose ciphertext holds `sample` (RFC 9001 section 5.4.2).
    #[must_use]
    pub fn mask(&self, sample: &[u8; 16]) -> [u8; 5] {
        self.0.mask(sample)
    }
}

impl fmt::Debug for HeaderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HeaderKey(..)")
    }
}

/// XChaCha20-Poly1305 (draft-irtf-cfrg-xchacha): appends the tag. Its 24-byte nonces may be drawn or derived at random.
pub fn xseal_in_place(key: &[u8; 32], nonce: &[u8; 24], aad: &[u8], buffer: &mut Vec<u8>) {
    let (key, nonce) = extended(key, nonce);
    key.seal_in_place(&nonce, aad, buffer);
}

/// XChaCha20-Poly1305: decrypts the bytes of `buffer` in place and removes the tag.
///
/// # Errors
/// [`Forged`] if it is too short for a tag or not authentic; `buffer` is then empty.
pub fn xopen_in_place(
    key: &[u8; 32],
    nonce: &[u8; 24],
    aad: &[u8],
    buffer: &mut Vec<u8>,
) -> Result<(), Forged> {
    let (key, nonce) = extended(key, nonce);
    key.open_in_place(&nonce, aad, buffer)
}

/// The key that the first 16 bytes of a long nonce give, and the nonce that the others are (section 2.3 of the draft).
fn extended(key: &[u8; 32], nonce: &[u8; 24]) -> (Key, [u8; 12]) {
    let [first @ .., n0, n1, n2, n3, n4, n5, n6, n7] = nonce;
    let derived: Zeroizing<[u8; 32]> = Zeroizing::new(hchacha::<R20>(key.into(), first.into()).into());
    (Key::new(&derived), [0, 0, 0, 0, *n0, *n1, *n2, *n3, *n4, *n5, *n6, *n7])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths around every boundary of blocks, groups and authenticators.
    fn lengths() -> impl Iterator<Item = usize> {
        (0..600).chain([1424, 5119, 5120, 5121, 65535, 65536])
    }

    // CRYPTO-3
    #[test]
    fn the_portable_backend_agrees_with_rustcryptos_at_every_length() {
        use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit, XChaCha20Poly1305};

        for length in lengths() {
            let key: [u8; 32] = core::array::from_fn(|at| (at * 3 + length) as u8);
            let nonce: [u8; 24] = core::array::from_fn(|at| (length >> (at % 12)) as u8);
            let aad = std::vec![9; length % 37];
            let text: Vec<u8> = (0..length).map(|at| (at * 5) as u8).collect();
            let (ours, mut theirs) = (portable::Key::new(&key), text.clone());
            let short = nonce.first_chunk::<12>().unwrap();
            let tag = ChaCha20Poly1305::new(&key.into());
            let tag = tag.encrypt_inout_detached(short.into(), &aad, theirs.as_mut_slice().into()).unwrap();
            let mut buffer = text.clone();
            assert_eq!(ours.seal(short, &aad, &mut buffer), *tag, "{length}");
            assert_eq!(buffer, theirs, "{length}");
            assert_eq!(ours.open(short, &aad, &mut buffer, &tag.into()), Ok(()));
            assert_eq!(buffer, text, "{length}");
            let mut theirs = text.clone();
            XChaCha20Poly1305::new(&key.into()).encrypt_in_place(&nonce.into(), &aad, &mut theirs).unwrap();
            xseal_in_place(&key, &nonce, &aad, &mut buffer);
            assert_eq!(buffer, theirs, "{length}");
            assert_eq!(xopen_in_place(&key, &nonce, &aad, &mut buffer), Ok(()));
            assert_eq!(buffer, text, "{length}");
        }
    }

    // CRYPTO-3
    #[test]
    #[cfg(feature = "ring")]
    fn both_backends_give_the_same_bytes_at_every_length() {
        let (fast, plain) = (ring::Key::new(&[1; 32]), portable::Key::new(&[1; 32]));
        for length in lengths() {
            let nonce: [u8; 12] = core::array::from_fn(|at| (length >> at) as u8);
            let aad = std::vec![3; length % 41];
            let text: Vec<u8> = (0..length).map(|at| (at * 7) as u8).collect();
            let (mut a, mut b) = (text.clone(), text.clone());
            let tag = fast.seal(&nonce, &aad, &mut a);
            assert_eq!(tag, plain.seal(&nonce, &aad, &mut b), "{length}");
            assert_eq!(a, b, "{length}");
            assert_eq!(plain.open(&nonce, &aad, &mut a, &tag), Ok(()));
            assert_eq!(fast.open(&nonce, &aad, &mut b, &tag), Ok(()));
            assert_eq!((&a, &b), (&text, &text));
            let mut wrong = tag;
            wrong[length % 16] ^= 1;
            assert_eq!(fast.open(&nonce, &aad, &mut a, &wrong), Err(Forged));
            assert_eq!(plain.open(&nonce, &aad, &mut b, &wrong), Err(Forged));
        }
    }

    // CRYPTO-3
    #[test]
    #[cfg(feature = "ring")]
    fn both_backends_give_the_same_header_masks() {
        let (fast, plain) = (ring::HeaderKey::new(&[1; 32]), portable::HeaderKey::new(&[1; 32]));
        for seed in 0..=255 {
            let mut sample = core::array::from_fn(|at| seed ^ (at as u8).wrapping_mul(0x9d));
            assert_eq!(fast.mask(&sample), plain.mask(&sample));
            sample[..4].fill(0xff);
            assert_eq!(fast.mask(&sample), plain.mask(&sample), "the last block counter");
        }
    }

    // CRYPTO-3
    #[test]
    fn a_forgery_never_leaves_plaintext_in_the_buffer() {
        let key = Key::new(&[1; 32]);
        let mut sealed = [0x55; 200];
        let tag = key.seal_detached(&[0; 12], b"", &mut sealed);
        assert_eq!(key.open_detached(&[0; 12], b"another", &mut sealed, &tag), Err(Forged));
        assert!(!sealed.windows(8).any(|window| window == [0x55; 8]));
    }

    // CRYPTO-3
    #[test]
    fn a_sample_with_the_last_block_counter_has_a_mask() {
        let key = HeaderKey::new(&[1; 32]);
        let last = [0xff; 16];
        let mut before = last;
        before[0] = 0xfe;
        assert_ne!(key.mask(&last), key.mask(&before));
    }
}
