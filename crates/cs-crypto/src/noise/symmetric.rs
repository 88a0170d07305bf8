//! CipherState and SymmetricState (revision 34, sections 5.1 and 5.2).

use alloc::vec::Vec;

use blake2::Blake2s256;
use hmac::{KeyInit, Mac, SimpleHmac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::pattern::{Hash, Protocol};
use crate::aead::{Forged, Key};

pub(crate) type Secret = Zeroizing<[u8; 32]>;

/// The running key and transcript of one handshake. The key is wiped when it is replaced and on drop.
pub(crate) struct SymmetricState {
    hash: Hash,
    chaining_key: Secret,
    transcript: [u8; 32],
    key: Option<Secret>,
    nonce: u64,
}

impl SymmetricState {
    pub(crate) fn new(protocol: Protocol) -> Self {
        let name = protocol.name();
        let mut transcript = [0; 32];
        match transcript.get_mut(..name.len()) {
            Some(short) => short.copy_from_slice(name.as_bytes()),
            None => transcript = digest(protocol.hash, &[name.as_bytes()]),
        }
        Self {
            hash: protocol.hash,
            chaining_key: Zeroizing::new(transcript),
            transcript,
            key: None,
            nonce: 0,
        }
    }

    pub(crate) fn mix_key(&mut self, material: &[u8]) {
        let [chaining_key, key, _] = hkdf(self.hash, &self.chaining_key, material);
        self.chaining_key = chaining_key;
        self.set_key(key);
    }

    pub(crate) fn mix_hash(&mut self, data: &[u8]) {
        self.transcript = digest(self.hash, &[&self.transcript, data]);
    }

    pub(crate) fn mix_key_and_hash(&mut self, psk: &[u8; 32]) {
        let [chaining_key, hashed, key] = hkdf(self.hash, &self.chaining_key, psk);
        self.chaining_key = chaining_key;
        self.mix_hash(&*hashed);
        self.set_key(key);
    }

    pub(crate) fn has_key(&self) -> bool {
        self.key.is_some()
    }

    pub(crate) fn transcript(&self) -> &[u8; 32] {
        &self.transcript
    }

    /// EncryptAndHash onto the end of `message`.
    pub(crate) fn encrypt_and_hash(&mut self, plaintext: &[u8], message: &mut Vec<u8>) {
        let mut sealed = Vec::with_capacity(plaintext.len() + 16);
        sealed.extend_from_slice(plaintext);
        if let Some(key) = &self.key {
            Key::new(key).seal_in_place(&nonce_bytes(self.nonce), &self.transcript, &mut sealed);
            self.nonce += 1;
        }
        self.mix_hash(&sealed);
        message.append(&mut sealed);
    }

    /// DecryptAndHash.
    pub(crate) fn decrypt_and_hash(&mut self, sealed: &[u8]) -> Result<Vec<u8>, Forged> {
        let mut plaintext = sealed.to_vec();
        if let Some(key) = &self.key {
            Key::new(key).open_in_place(&nonce_bytes(self.nonce), &self.transcript, &mut plaintext)?;
            self.nonce += 1;
        }
        self.mix_hash(sealed);
        Ok(plaintext)
    }

    /// Split: the initiator's and the responder's sending key.
    pub(crate) fn split(&self) -> (Secret, Secret) {
        let [initiator, responder, _] = hkdf(self.hash, &self.chaining_key, &[]);
        (initiator, responder)
    }

    /// A secret beside the transport keys, for whoever derives more from the handshake than they (CRYPTO-13).
    ///
    /// The material is longer than any DH result or pre-shared key, so that no step of the handshake hashes the same input.
    pub(crate) fn exporter(&self) -> Secret {
        let mut material = [0; 64];
        let (label, transcript) = material.split_at_mut(32);
        label.copy_from_slice(b"cosmic-sync noise exporter key 1");
        transcript.copy_from_slice(&self.transcript);
        let [exporter, _, _] = hkdf(self.hash, &self.chaining_key, &material);
        exporter
    }

    fn set_key(&mut self, key: Secret) {
        self.key = Some(key);
        self.nonce = 0;
    }
}

/// The 96-bit nonce of ChaChaPoly (section 12.3): 32 zero bits, then the counter, little-endian.
pub(crate) fn nonce_bytes(counter: u64) -> [u8; 12] {
    let mut nonce = [0; 12];
    if let Some(low) = nonce.last_chunk_mut() {
        *low = counter.to_le_bytes();
    }
    nonce
}

/// A key for `label` from an exporter secret.
pub(crate) fn export(hash: Hash, exporter: &Secret, label: &[u8], context: &[u8]) -> Secret {
    let length = (label.len() as u64).to_le_bytes();
    hmac(hash, exporter, &[&length, label, context])
}

fn digest(hash: Hash, pieces: &[&[u8]]) -> [u8; 32] {
    match hash {
        Hash::Sha256 => digest_with::<Sha256>(pieces),
        Hash::Blake2s => digest_with::<Blake2s256>(pieces),
    }
}

fn digest_with<D: Digest<OutputSize = hmac::digest::consts::U32>>(pieces: &[&[u8]]) -> [u8; 32] {
    let mut hasher = D::new();
    for piece in pieces {
        hasher.update(piece);
    }
    hasher.finalize().into()
}

/// HKDF of section 4.3 with three outputs; callers that want two drop the third.
fn hkdf(hash: Hash, chaining_key: &Secret, material: &[u8]) -> [Secret; 3] {
    let temp = hmac(hash, chaining_key, &[material]);
    let first = hmac(hash, &temp, &[&[1]]);
    let second = hmac(hash, &temp, &[&*first, &[2]]);
    let third = hmac(hash, &temp, &[&*second, &[3]]);
    [first, second, third]
}

fn hmac(hash: Hash, key: &Secret, pieces: &[&[u8]]) -> Secret {
    match hash {
        Hash::Sha256 => mac_with::<SimpleHmac<Sha256>>(key, pieces),
        Hash::Blake2s => mac_with::<SimpleHmac<Blake2s256>>(key, pieces),
    }
}

fn mac_with<M: Mac<OutputSize = hmac::digest::consts::U32> + KeyInit>(
    key: &Secret,
    pieces: &[&[u8]],
) -> Secret {
    let mut mac = <M as KeyInit>::new_from_slice(&**key).expect("HMAC takes keys of any length");
    for piece in pieces {
        mac.update(piece);
    }
    Zeroizing::new(mac.finalize().into_bytes().into())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn hex(value: &serde_json::Value) -> Vec<u8> {
        let digits = value.as_str().unwrap().as_bytes();
        let digit = |at: usize| char::from(digits[at]).to_digit(16).unwrap() as u8;
        (0..digits.len() / 2).map(|at| digit(2 * at) << 4 | digit(2 * at + 1)).collect()
    }

    // CRYPTO-4
    #[test]
    fn hmac_agrees_with_wycheproof_for_keys_of_our_length() {
        let path =
            concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors/wycheproof/hmac_sha256_test.json");
        if !Path::new(path).exists() {
            std::println!("skipped: no vectors at {path}");
            return;
        }
        let file: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let groups = file["testGroups"].as_array().unwrap().iter().filter(|group| group["keySize"] == 256);
        let mut count = 0;
        for test in groups.flat_map(|group| group["tests"].as_array().unwrap()) {
            let (key, tag) = (Zeroizing::new(hex(&test["key"]).try_into().unwrap()), hex(&test["tag"]));
            let ours = hmac(Hash::Sha256, &key, &[&hex(&test["msg"])]);
            assert_eq!(ours[..tag.len()] == tag, test["result"] == "valid", "{test}");
            count += 1;
        }
        assert!(count > 50, "{count}");
    }
}
