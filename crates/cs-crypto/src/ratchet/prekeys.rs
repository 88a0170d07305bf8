//! The receiver's side of X3DH: prekeys that are published, used once or for a while, and forgotten (CRYPTO-23).

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::fmt;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use zeroize::Zeroizing;

use super::session::{RatchetError, Secret, Session};
use super::start::{Bundle, Initial};
use super::state::{Reader, RestoreError};
use crate::dh::{KeyPair, public_key};

const SIGNED_LABEL: &[u8; 32] = b"cosmic-sync 2026 signed prekey 1";
const VERSION: u8 = 1;

/// The most one-time prekeys kept.
pub const MAX_ONE_TIME: usize = 200;
/// The most signed prekeys kept: the published one, and old ones for messages that are still on their way.
pub const MAX_SIGNED: usize = 4;
/// The most sessions begun without a one-time prekey, for each signed prekey: their beginnings are remembered against replays.
pub const MAX_STARTS: usize = 4096;

/// A prekey with what its owner signs of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedPrekey {
    /// The receiver's long-term X25519 key.
    pub identity: [u8; 32],
    /// The prekey.
    pub key: [u8; 32],
    /// Until when sessions may begin with it, Unix milliseconds.
    pub expires_ms: u64,
}

/// A prekey must not be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PrekeyFault {
    /// The signature is not the identity's.
    #[error("the prekey's signature is wrong")]
    Signature,
    /// Its time is over.
    #[error("the prekey has expired")]
    Expired,
}

impl SignedPrekey {
    /// What the identity's signature is over.
    #[must_use]
    pub fn message(&self) -> [u8; 104] {
        let parts = [SIGNED_LABEL, &self.identity, &self.key];
        let bytes = parts.into_iter().flatten().copied().chain(self.expires_ms.to_le_bytes());
        let mut message = [0; 104];
        message.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        message
    }

    /// Makes a bundle of it, with a one-time prekey if one was left. `is_signed` says whether the signature that came along is
    /// the identity's over the message that it is handed; there is no other way to a bundle.
    ///
    /// # Errors
    /// [`PrekeyFault`].
    pub fn verify(
        &self,
        one_time: Option<[u8; 32]>,
        unix_ms: u64,
        is_signed: impl FnOnce(&[u8]) -> bool,
    ) -> Result<Bundle, PrekeyFault> {
        if unix_ms >= self.expires_ms {
            return Err(PrekeyFault::Expired);
        }
        if !is_signed(&self.message()) {
            return Err(PrekeyFault::Signature);
        }
        Ok(Bundle { identity: self.identity, signed: self.key, one_time })
    }
}

/// The secrets of one's own prekeys. Wiped on drop.
///
/// Store it ([`to_bytes`](Self::to_bytes)) with the session that [`accept`](Self::accept) gave and before telling anyone: a store
/// that is set back takes used prekeys for new.
#[derive(Clone)]
pub struct Prekeys {
    /// Oldest first; the last is published.
    signed: Vec<Signed>,
    /// By public key.
    one_time: BTreeMap<[u8; 32], Secret>,
}

#[derive(Clone)]
struct Signed {
    secret: Secret,
    public: [u8; 32],
    expires_ms: u64,
    /// Ephemeral keys of the sessions that began with it and without a one-time prekey.
    starts: BTreeSet<[u8; 32]>,
}

impl Signed {
    fn new(secret: Secret, expires_ms: u64) -> Self {
        let public = public_key(&secret);
        Self { secret, public, expires_ms, starts: BTreeSet::new() }
    }
}

impl Prekeys {
    /// A first signed prekey, and no one-time ones yet. `entropy`: 32 fresh bytes from the operating system.
    #[must_use]
    pub fn generate(entropy: [u8; 32], expires_ms: u64) -> Self {
        Self {
            signed: Vec::from([Signed::new(Zeroizing::new(entropy), expires_ms)]),
            one_time: BTreeMap::new(),
        }
    }

    /// Replaces the published signed prekey, some time before it expires. Old ones are kept for messages on their way, the
    /// oldest beyond [`MAX_SIGNED`] is forgotten. `entropy`: 32 fresh bytes from the operating system.
    pub fn rotate(&mut self, entropy: [u8; 32], expires_ms: u64) {
        self.signed.push(Signed::new(Zeroizing::new(entropy), expires_ms));
        if self.signed.len() > MAX_SIGNED {
            self.signed.remove(0);
        }
    }

    /// Forgets replaced prekeys that expired at `before_ms` or earlier: the time now less what a message may take. What was
    /// written to them cannot be opened any more, by anyone.
    pub fn forget(&mut self, before_ms: u64) {
        let published = self.signed.last().map(|signed| signed.public);
        self.signed.retain(|signed| signed.expires_ms > before_ms || Some(signed.public) == published);
    }

    /// Makes one-time prekeys up to `count`, at most [`MAX_ONE_TIME`], and returns the new ones to publish. `entropy`: 32 fresh
    /// bytes from the operating system.
    pub fn replenish(&mut self, count: usize, entropy: [u8; 32]) -> Vec<[u8; 32]> {
        let mut chance = ChaCha20Rng::from_seed(*Zeroizing::new(entropy));
        let missing = count.min(MAX_ONE_TIME).saturating_sub(self.one_time.len());
        let mut made = || {
            let mut secret = Zeroizing::new([0; 32]);
            chance.fill_bytes(&mut *secret);
            let public = public_key(&secret);
            self.one_time.insert(public, secret);
            public
        };
        (0..missing).map(|_| made()).collect()
    }

    /// The published signed prekey of the owner of `identity`.
    #[must_use]
    pub fn published(&self, identity: &KeyPair) -> SignedPrekey {
        let signed = self.signed.last().expect("the published prekey is never removed");
        SignedPrekey { identity: *identity.public(), key: signed.public, expires_ms: signed.expires_ms }
    }

    /// The one-time prekeys that are left.
    pub fn one_time(&self) -> impl Iterator<Item = &[u8; 32]> {
        self.one_time.keys()
    }

    /// Opens a first message and with it a session; the one-time prekey that it used is gone afterwards, and the same beginning
    /// is not accepted again. Further messages of the sender repeat the beginning until it has an answer: try the sessions with
    /// [`Initial::identity`] first.
    ///
    /// # Errors
    /// Any [`RatchetError`]; nothing has changed. [`RatchetError::WrongPrekey`] for prekeys that are unknown or gone,
    /// [`RatchetError::Replayed`] for a beginning seen before, [`RatchetError::Exhausted`] after [`MAX_STARTS`] sessions without
    /// one-time prekey: rotate.
    pub fn accept(
        &mut self,
        identity: &[u8; 32],
        aad: &[u8],
        message: &[u8],
        entropy: [u8; 32],
    ) -> Result<(Session, Vec<u8>), RatchetError> {
        let initial = Initial::parse(message)?;
        let signed = self.signed.iter_mut().find(|signed| signed.public == initial.signed);
        let signed = signed.ok_or(RatchetError::WrongPrekey)?;
        let one_time = match &initial.one_time {
            Some(public) => Some(self.one_time.get(public).ok_or(RatchetError::WrongPrekey)?),
            None if signed.starts.contains(&initial.ephemeral) => return Err(RatchetError::Replayed),
            None if signed.starts.len() >= MAX_STARTS => return Err(RatchetError::Exhausted),
            None => None,
        };
        let secret = one_time.map(|secret| &**secret);
        let opened = Session::accept(identity, &initial, &signed.secret, secret, aad, message, entropy)?;
        match &initial.one_time {
            Some(public) => drop(self.one_time.remove(public)),
            None => drop(signed.starts.insert(initial.ephemeral)),
        }
        Ok(opened)
    }

    /// The whole store. Secret: seal it before it reaches a disk.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(1024 + self.one_time.len() * 32));
        out.push(VERSION);
        out.push(u8::try_from(self.signed.len()).expect("at most MAX_SIGNED"));
        for signed in &self.signed {
            out.extend_from_slice(&*signed.secret);
            out.extend_from_slice(&signed.expires_ms.to_le_bytes());
            let count = u16::try_from(signed.starts.len()).expect("at most MAX_STARTS");
            out.extend_from_slice(&count.to_le_bytes());
            signed.starts.iter().for_each(|start| out.extend_from_slice(start));
        }
        let count = u16::try_from(self.one_time.len()).expect("at most MAX_ONE_TIME");
        out.extend_from_slice(&count.to_le_bytes());
        self.one_time.values().for_each(|secret| out.extend_from_slice(&**secret));
        out
    }

    /// Takes a stored store up again. A base-point multiplication for each prekey.
    ///
    /// # Errors
    /// [`RestoreError::Malformed`]; counts are checked before anything is allocated.
    pub fn restore(bytes: &[u8]) -> Result<Self, RestoreError> {
        let mut reader = Reader(bytes);
        let prekeys = Self::read(&mut reader).filter(|_| reader.0.is_empty());
        prekeys.ok_or(RestoreError::Malformed)
    }

    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let [version, count] = reader.take()?;
        if version != VERSION || count == 0 || usize::from(count) > MAX_SIGNED {
            return None;
        }
        let signed = (0..count).map(|_| read_signed(reader)).collect::<Option<Vec<_>>>()?;
        let count = usize::from(u16::from_le_bytes(reader.take()?));
        if count > MAX_ONE_TIME {
            return None;
        }
        let mut one_time = BTreeMap::new();
        for _ in 0..count {
            let secret = reader.secret()?;
            let public = public_key(&secret);
            if one_time.last_key_value().is_some_and(|(last, _)| *last >= public) {
                return None;
            }
            one_time.insert(public, secret);
        }
        Some(Self { signed, one_time })
    }
}

fn read_signed(reader: &mut Reader<'_>) -> Option<Signed> {
    let mut signed = Signed::new(reader.secret()?, u64::from_le_bytes(reader.take()?));
    let count = usize::from(u16::from_le_bytes(reader.take()?));
    if count > MAX_STARTS {
        return None;
    }
    for _ in 0..count {
        let start = reader.take()?;
        if signed.starts.last().is_some_and(|last| *last >= start) {
            return None;
        }
        signed.starts.insert(start);
    }
    Some(signed)
}

impl fmt::Debug for Prekeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prekeys")
            .field("signed", &self.signed.len())
            .field("one_time", &self.one_time.len())
            .finish_non_exhaustive()
    }
}
