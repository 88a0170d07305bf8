//! The fast backend: `ring`, by assembly chosen at run time.

use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey, quic};

use super::{Forged, TAG_LENGTH};

pub(crate) struct Key(LessSafeKey);

impl Key {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).expect("the key has 32 bytes")))
    }

    pub(crate) fn seal(&self, nonce: &[u8; 12], aad: &[u8], buffer: &mut [u8]) -> [u8; TAG_LENGTH] {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce, Aad::from(aad), buffer)
            .expect("buffers in memory are far below 256 GiB");
        let mut bytes = [0; TAG_LENGTH];
        bytes.copy_from_slice(tag.as_ref());
        bytes
    }

    pub(crate) fn open(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; TAG_LENGTH],
    ) -> Result<(), Forged> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        match self.0.open_in_place_separate_tag(nonce, Aad::from(aad), (*tag).into(), buffer, 0..) {
            Ok(_) => Ok(()),
            Err(_) => Err(Forged),
        }
    }
}

pub(crate) struct HeaderKey(quic::HeaderProtectionKey);

impl HeaderKey {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        Self(quic::HeaderProtectionKey::new(&quic::CHACHA20, key).expect("the key has 32 bytes"))
    }

    pub(crate) fn mask(&self, sample: &[u8; 16]) -> [u8; 5] {
        self.0.new_mask(sample).expect("the sample has 16 bytes")
    }
}
