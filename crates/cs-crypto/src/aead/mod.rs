//! ChaCha20-Poly1305 (RFC 8439), its long-nonce form, and QUIC's header protection.
//!
//! Two backends give the same bytes: RustCrypto's crates by default, `ring` with the feature of that name, which is over
//! twice as fast on packets. Keys of the portable backend are wiped on drop; `ring` keeps no such promise, so that its key
//! schedule (a copy of the key) stays in freed memory until it is reused.

use alloc::vec::Vec;
use core::fmt;

use chacha20poly1305::{AeadInOut, KeyInit, XChaCha20Poly1305};

#[cfg(any(not(feature = "ring"), test))]
mod portable;
#[cfg(feature = "ring")]
mod ring;

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
    let cipher = XChaCha20Poly1305::new(key.into());
    let tag = cipher
        .encrypt_inout_detached(nonce.into(), aad, buffer.as_mut_slice().into())
        .expect("buffers in memory are far below 256 GiB");
    buffer.extend_from_slice(&tag);
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
    let cipher = XChaCha20Poly1305::new(key.into());
    let opened = match buffer.split_last_chunk_mut::<TAG_LENGTH>() {
        Some((body, tag)) => {
            let length = body.len();
            cipher.decrypt_inout_detached(nonce.into(), aad, body.into(), (&*tag).into()).map(|()| length)
        }
        None => Err(chacha20poly1305::Error),
    };
    match opened {
        Ok(length) => {
            buffer.truncate(length);
            Ok(())
        }
        Err(_) => {
            buffer.clear();
            Err(Forged)
        }
    }
}
