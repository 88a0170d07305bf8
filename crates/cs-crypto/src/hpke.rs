//! Hybrid public-key encryption (RFC 9180): DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, ChaCha20-Poly1305, all four modes
//! (CRYPTO-5).
//!
//! [`seal`] and [`open`] are the single-shot base mode: whoever knows a device's key can leave something for it while it is
//! offline. It proves nothing about the sender ([`Sender::Key`] does), and has no forward secrecy against theft of the
//! recipient's key.

use alloc::vec::Vec;
use core::fmt;

use zeroize::Zeroizing;

use crate::aead::{Forged, Key};
use crate::dh::{LowOrderPoint, public_key, shared_secret};
use crate::kdf::{expand, expand_key, extract};

/// Bytes of an encapsulated key, which precedes the ciphertext.
pub const ENCAPSULATED_LENGTH: usize = 32;
/// Bytes by which [`seal`]'s result is longer than the plaintext.
pub const OVERHEAD: usize = ENCAPSULATED_LENGTH + crate::aead::TAG_LENGTH;

/// Pre-shared keys shorter than this are refused (RFC 9180, section 5.1.2 asks for 32 bytes of entropy).
pub const MIN_PSK: usize = 32;

/// `suite_id` of the KEM: "KEM" and its number, 0x0020 (section 4.1).
const KEM_SUITE: &[u8] = b"KEM\x00\x20";
/// `suite_id` of the whole: "HPKE", KEM 0x0020, KDF 0x0001, AEAD 0x0003 (section 5.1).
const SUITE: &[u8] = b"HPKE\x00\x20\x00\x01\x00\x03";

/// Encrypts `plaintext` to `recipient`, an X25519 public key (`SealBase`, section 6.1). The result is the encapsulated key
/// followed by the ciphertext: [`OVERHEAD`] bytes more.
///
/// `entropy`: 32 fresh bytes from the operating system, never used twice. Two multiplications.
///
/// # Errors
/// [`LowOrderPoint`] if nobody can own `recipient`.
pub fn seal(
    recipient: &[u8; 32],
    info: &[u8],
    aad: &[u8],
    plaintext: &[u8],
    entropy: [u8; 32],
) -> Result<Vec<u8>, LowOrderPoint> {
    let (encapsulated, mut context) = Sealer::setup(recipient, info, &Sender::Anonymous, None, entropy)?;
    let mut message = encapsulated.to_vec();
    message.append(&mut context.seal(aad, plaintext));
    Ok(message)
}

/// Decrypts what [`seal`] made for the owner of `secret` (`OpenBase`).
///
/// # Errors
/// [`Forged`] if it was not made for this key, `info` and `aad`, or was altered.
pub fn open(
    secret: &[u8; 32],
    info: &[u8],
    aad: &[u8],
    message: &[u8],
) -> Result<Zeroizing<Vec<u8>>, Forged> {
    let (encapsulated, ciphertext) = message.split_first_chunk().ok_or(Forged)?;
    let mut context = Opener::setup(secret, encapsulated, info, None, None).map_err(|_| Forged)?;
    context.open(aad, ciphertext)
}

/// Who a sealer is to the recipient.
#[derive(Clone, Copy)]
pub enum Sender<'a> {
    /// Anyone (modes base and psk).
    Anonymous,
    /// The owner of this X25519 secret, proven (modes auth and auth_psk). Whoever steals the recipient's key can forge such
    /// messages to it (section 9.1.1), so that a signature is the better proof towards third parties.
    Key(&'a [u8; 32]),
}

/// A pre-shared key with the name by which both sides find it (modes psk and auth_psk).
#[derive(Clone, Copy)]
pub struct Psk<'a> {
    key: &'a [u8],
    id: &'a [u8],
}

impl<'a> Psk<'a> {
    /// `None` for a key of fewer than [`MIN_PSK`] bytes or an empty `id`.
    #[must_use]
    pub fn new(key: &'a [u8], id: &'a [u8]) -> Option<Self> {
        (key.len() >= MIN_PSK && !id.is_empty()).then_some(Self { key, id })
    }
}

/// The sender's context: several messages under one encapsulation, read in order.
pub struct Sealer(Context);

impl Sealer {
    /// Encapsulates a key to `recipient` (`SetupS` of each mode); the first value goes to the recipient.
    ///
    /// # Errors
    /// [`LowOrderPoint`] if nobody can own `recipient`.
    pub fn setup(
        recipient: &[u8; 32],
        info: &[u8],
        sender: &Sender<'_>,
        psk: Option<Psk<'_>>,
        entropy: [u8; 32],
    ) -> Result<([u8; ENCAPSULATED_LENGTH], Self), LowOrderPoint> {
        let ephemeral = derive_secret(&Zeroizing::new(entropy));
        let encapsulated = public_key(&ephemeral);
        let first = shared_secret(&ephemeral, recipient)?;
        let shared = match sender {
            Sender::Anonymous => kem_secret(&[&*first], &[&encapsulated, recipient]),
            Sender::Key(secret) => {
                let second = shared_secret(secret, recipient)?;
                kem_secret(&[&*first, &*second], &[&encapsulated, recipient, &public_key(secret)])
            }
        };
        let authenticated = matches!(sender, Sender::Key(_));
        Ok((encapsulated, Self(Context::new(&shared, info, authenticated, psk))))
    }

    /// Seals the next message. One seals at most 2^64 messages with a context, which memory forbids sooner.
    pub fn seal(&mut self, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
        let mut message = Vec::with_capacity(plaintext.len() + crate::aead::TAG_LENGTH);
        message.extend_from_slice(plaintext);
        self.0.key.seal_in_place(&self.0.next_nonce(), aad, &mut message);
        self.0.sequence += 1;
        message
    }

    /// A further key that both sides can compute (section 5.3).
    #[must_use]
    pub fn export(&self, context: &[u8]) -> Zeroizing<[u8; 32]> {
        self.0.export(context)
    }
}

/// The recipient's context.
pub struct Opener(Context);

impl Opener {
    /// Decapsulates (`SetupR` of each mode). `sender` is the public key that must have sealed, `None` for anyone.
    ///
    /// # Errors
    /// [`LowOrderPoint`] if the encapsulated key or `sender` is useless. A wrong key, `info` or `psk` shows when opening.
    pub fn setup(
        secret: &[u8; 32],
        encapsulated: &[u8; ENCAPSULATED_LENGTH],
        info: &[u8],
        sender: Option<&[u8; 32]>,
        psk: Option<Psk<'_>>,
    ) -> Result<Self, LowOrderPoint> {
        let recipient = public_key(secret);
        let first = shared_secret(secret, encapsulated)?;
        let shared = match sender {
            None => kem_secret(&[&*first], &[encapsulated, &recipient]),
            Some(sender) => {
                let second = shared_secret(secret, sender)?;
                kem_secret(&[&*first, &*second], &[encapsulated, &recipient, sender])
            }
        };
        Ok(Self(Context::new(&shared, info, sender.is_some(), psk)))
    }

    /// Opens the next message.
    ///
    /// # Errors
    /// [`Forged`] if it is not the next message; the context still waits for that one.
    pub fn open(&mut self, aad: &[u8], message: &[u8]) -> Result<Zeroizing<Vec<u8>>, Forged> {
        let mut plaintext = Zeroizing::new(message.to_vec());
        self.0.key.open_in_place(&self.0.next_nonce(), aad, &mut plaintext)?;
        self.0.sequence += 1;
        Ok(plaintext)
    }

    /// A further key that both sides can compute (section 5.3).
    #[must_use]
    pub fn export(&self, context: &[u8]) -> Zeroizing<[u8; 32]> {
        self.0.export(context)
    }
}

/// The key schedule's outcome (section 5.1). The sequence number lives in memory only, with the key.
struct Context {
    key: Key,
    base_nonce: Zeroizing<[u8; 12]>,
    exporter: Zeroizing<[u8; 32]>,
    sequence: u64,
}

impl Context {
    fn new(shared: &[u8; 32], info: &[u8], authenticated: bool, psk: Option<Psk<'_>>) -> Self {
        let mode = u8::from(psk.is_some()) | u8::from(authenticated) << 1;
        let psk = psk.unwrap_or(Psk { key: &[], id: &[] });
        let id_hash = labeled_extract(SUITE, &[], b"psk_id_hash", &[psk.id]);
        let info_hash = labeled_extract(SUITE, &[], b"info_hash", &[info]);
        let context: [&[u8]; 3] = [&[mode], &*id_hash, &*info_hash];
        let secret = labeled_extract(SUITE, shared, b"secret", &[psk.key]);
        let mut base_nonce = Zeroizing::new([0; 12]);
        labeled_expand(&secret, b"base_nonce", &context, &mut *base_nonce);
        let mut key = Zeroizing::new([0; 32]);
        labeled_expand(&secret, b"key", &context, &mut *key);
        let mut exporter = Zeroizing::new([0; 32]);
        labeled_expand(&secret, b"exp", &context, &mut *exporter);
        Self { key: Key::new(&key), base_nonce, exporter, sequence: 0 }
    }

    fn next_nonce(&self) -> [u8; 12] {
        let mut nonce = *self.base_nonce;
        let counter = nonce.iter_mut().skip(4);
        counter.zip(self.sequence.to_be_bytes()).for_each(|(byte, mask)| *byte ^= mask);
        nonce
    }

    fn export(&self, context: &[u8]) -> Zeroizing<[u8; 32]> {
        let mut key = Zeroizing::new([0; 32]);
        labeled_expand(&self.exporter, b"sec", &[context], &mut *key);
        key
    }
}

/// `DeriveKeyPair` of section 7.1.3.
fn derive_secret(material: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    let prk = labeled_extract(KEM_SUITE, &[], b"dkp_prk", &[material]);
    expand_key(&prk, &[&32u16.to_be_bytes(), b"HPKE-v1", KEM_SUITE, b"sk"])
}

/// `ExtractAndExpand` of section 4.1.
fn kem_secret(products: &[&[u8]], context: &[&[u8; 32]]) -> Zeroizing<[u8; 32]> {
    let prk = labeled_extract(KEM_SUITE, &[], b"eae_prk", products);
    let mut info: Vec<&[u8]> = Vec::from([&[0, 32][..], b"HPKE-v1", KEM_SUITE, b"shared_secret"]);
    info.extend(context.iter().map(|key| key.as_slice()));
    expand_key(&prk, &info)
}

fn labeled_extract(suite: &[u8], salt: &[u8], label: &[u8], material: &[&[u8]]) -> Zeroizing<[u8; 32]> {
    let mut labeled = Zeroizing::new(Vec::new());
    for piece in [b"HPKE-v1", suite, label].iter().chain(material) {
        labeled.extend_from_slice(piece);
    }
    extract(salt, &labeled)
}

/// `output` holds at most 32 bytes.
fn labeled_expand(key: &[u8; 32], label: &[u8], context: &[&[u8]], output: &mut [u8]) {
    let length = [0, u8::try_from(output.len()).expect("keys and nonces are short")];
    let mut info: Vec<&[u8]> = Vec::from([&length[..], b"HPKE-v1", SUITE, label]);
    info.extend_from_slice(context);
    expand(key, &info, output).expect("keys and nonces are short");
}

impl fmt::Debug for Sender<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Anonymous => "Anonymous",
            Self::Key(_) => "Key(..)",
        })
    }
}

impl fmt::Debug for Psk<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Psk").field("id", &self.id).finish_non_exhaustive()
    }
}

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealer").field("sequence", &self.0.sequence).finish_non_exhaustive()
    }
}

impl fmt::Debug for Opener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opener").field("sequence", &self.0.sequence).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: [u8; 32] = [3; 32];

    fn sealed() -> Vec<u8> {
        seal(&public_key(&SECRET), b"info", b"aad", b"payload", [9; 32]).unwrap()
    }

    #[test]
    fn what_is_sealed_to_a_key_opens_with_it_and_nothing_else() {
        assert_eq!(*open(&SECRET, b"info", b"aad", &sealed()).unwrap(), b"payload");
        assert_eq!(sealed().len(), b"payload".len() + OVERHEAD);
        assert_eq!(open(&[4; 32], b"info", b"aad", &sealed()), Err(Forged));
        assert_eq!(open(&SECRET, b"other", b"aad", &sealed()), Err(Forged));
        assert_eq!(open(&SECRET, b"info", b"other", &sealed()), Err(Forged));
    }

    #[test]
    fn every_altered_bit_and_every_prefix_is_refused() {
        let good = sealed();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            // The top bit of an X25519 key is ignored by RFC 7748, but hashed by the KEM.
            assert_eq!(open(&SECRET, b"info", b"aad", &bad), Err(Forged), "bit {bit}");
        }
        for length in 0..good.len() {
            assert_eq!(open(&SECRET, b"info", b"aad", &good[..length]), Err(Forged), "length {length}");
        }
    }

    // CRYPTO-1
    #[test]
    fn nothing_is_sealed_to_a_point_of_small_order() {
        assert_eq!(seal(&[0; 32], b"", b"", b"secret", [1; 32]), Err(LowOrderPoint));
        let mut forged = [0; 60];
        forged[40] = 1;
        assert_eq!(open(&SECRET, b"", b"", &forged), Err(Forged));
    }

    #[test]
    fn an_authenticated_message_opens_only_as_its_senders() {
        let (alice, bob) = ([1; 32], [2; 32]);
        let (encapsulated, mut sealer) =
            Sealer::setup(&public_key(&bob), b"", &Sender::Key(&alice), None, [7; 32]).unwrap();
        let message = sealer.seal(b"", b"from alice");
        let opener =
            |sender: Option<&[u8; 32]>| Opener::setup(&bob, &encapsulated, b"", sender, None).unwrap();
        assert_eq!(*opener(Some(&public_key(&alice))).open(b"", &message).unwrap(), b"from alice");
        assert_eq!(opener(Some(&public_key(&[8; 32]))).open(b"", &message), Err(Forged));
        assert_eq!(opener(None).open(b"", &message), Err(Forged));
    }

    #[test]
    fn short_pre_shared_keys_are_refused() {
        assert!(Psk::new(&[1; MIN_PSK - 1], b"id").is_none());
        assert!(Psk::new(&[1; MIN_PSK], b"").is_none());
        assert!(Psk::new(&[1; MIN_PSK], b"id").is_some());
    }
}
