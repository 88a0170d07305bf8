//! The default backend: RustCrypto's chacha20poly1305 and chacha20.

use chacha20::cipher::{Block, KeyIvInit, StreamCipherCore};
use chacha20::variants::Ietf;
use chacha20::{ChaChaCore, R20};
use chacha20poly1305::{AeadInOut, ChaCha20Poly1305, KeyInit};
use zeroize::Zeroizing;

use super::{Forged, TAG_LENGTH};

pub(crate) struct Key(ChaCha20Poly1305);

impl Key {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(ChaCha20Poly1305::new(key.into()))
    }

    pub(crate) fn seal(&self, nonce: &[u8; 12], aad: &[u8], buffer: &mut [u8]) -> [u8; TAG_LENGTH] {
        self.0
            .encrypt_inout_detached(nonce.into(), aad, buffer.into())
            .expect("buffers in memory are far below 256 GiB")
            .into()
    }

    pub(crate) fn open(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG_LENGTH],
    ) -> Result<(), Forged> {
        self.0.decrypt_inout_detached(nonce.into(), aad, buffer.into(), tag.into()).map_err(|_| Forged)
    }
}

pub(crate) struct HeaderKey(Zeroizing<[u8; 32]>);

impl HeaderKey {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(Zeroizing::new(*key))
    }

    pub(crate) fn mask(&self, sample: &[u8; 16]) -> [u8; 5] {
        let [c0, c1, c2, c3, nonce @ ..] = *sample;
        // One block of the core: the seeking stream cipher panics at the last counter, which a peer can choose.
        let mut cipher = ChaChaCore::<R20, Ietf>::new((&*self.0).into(), (&nonce).into());
        cipher.set_block_pos(u32::from_le_bytes([c0, c1, c2, c3]));
        let mut block = Block::<ChaChaCore<R20, Ietf>>::default();
        cipher.write_keystream_block(&mut block);
        let [m0, m1, m2, m3, m4, ..] = block.0;
        [m0, m1, m2, m3, m4]
    }
}
