//! Keys for what a QUIC endpoint hands out and later recognises: stateless resets and address tokens.

use core::fmt;

use cs_crypto::aead;
use cs_crypto::kdf::{expand_key, extract};
use noq_proto::crypto::{CryptoError, HandshakeTokenKey, HmacKey};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

/// Makes stateless-reset tokens: HMAC-SHA256 under a key of this endpoint.
pub struct ResetKey(Zeroizing<[u8; 32]>);

impl ResetKey {
    /// `entropy`: 32 secret bytes; the same ones after a restart let old connections be reset at once.
    #[must_use]
    pub fn new(entropy: [u8; 32]) -> Self {
        Self(Zeroizing::new(entropy))
    }
}

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature: &mut [u8]) {
        // HKDF-Extract is HMAC-SHA256 with the salt as its key (RFC 5869 section 2.2).
        for (byte, mac) in signature.iter_mut().zip(extract(&*self.0, data).iter()) {
            *byte = *mac;
        }
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        let mac = extract(&*self.0, data);
        if bool::from(mac.as_slice().ct_eq(signature)) { Ok(()) } else { Err(CryptoError) }
    }
}

impl fmt::Debug for ResetKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResetKey(..)")
    }
}

/// Seals the tokens of Retry packets: ChaCha20-Poly1305 with a key of its own per token.
pub struct TokenKey(Zeroizing<[u8; 32]>);

impl TokenKey {
    /// `entropy`: 32 secret bytes, fresh for every endpoint.
    #[must_use]
    pub fn new(entropy: [u8; 32]) -> Self {
        Self(Zeroizing::new(entropy))
    }

    /// A key per token nonce, so that the AEAD's own nonce may stay zero.
    fn key(&self, nonce: u128) -> aead::Key {
        aead::Key::new(&expand_key(&self.0, &[b"token", &nonce.to_be_bytes()]))
    }
}

impl HandshakeTokenKey for TokenKey {
    fn seal(&self, nonce: u128, data: &mut Vec<u8>) -> Result<(), CryptoError> {
        self.key(nonce).seal_in_place(&[0; 12], &[], data);
        Ok(())
    }

    fn open<'a>(&self, nonce: u128, data: &'a mut [u8]) -> Result<&'a [u8], CryptoError> {
        match self.key(nonce).open_packet(&[0; 12], &[], data) {
            Ok(plain) => Ok(plain),
            Err(_) => Err(CryptoError),
        }
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_under_its_own_nonce_only() {
        let key = TokenKey::new([1; 32]);
        let mut token = b"address".to_vec();
        key.seal(5, &mut token).expect("sealing cannot fail");
        assert!(key.open(6, &mut token.clone()).is_err());
        assert_eq!(key.open(5, &mut token).expect("the right nonce"), b"address");
    }

    #[test]
    fn a_reset_token_of_another_connection_is_refused() {
        let key = ResetKey::new([1; 32]);
        let mut signature = [0; 32];
        key.sign(b"one", &mut signature);
        assert!(key.verify(b"one", &signature).is_ok());
        assert!(key.verify(b"two", &signature).is_err());
    }
}
