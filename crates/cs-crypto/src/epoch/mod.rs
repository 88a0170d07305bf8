//! The keys of a space: epochs, keys per path, blinded path components, sealed operations.
//!
//! A space has one [`BlindKey`] and one [`ChunkKey`] for its whole life, and a new [`EpochRoot`] after every revocation or
//! period. All of them travel together, as [`EpochSecrets`], sealed to each member; who may read one path and what is below gets
//! [`AreaSecrets`]. Keys are derived downwards only: the key of `a/b` opens everything below `a/b` and tells nothing of `a` or
//! `a/c` (CRYPTO-6). A [`Keyring`] holds what a device was given, and [`Epochs`] says which epoch to write with and when a
//! new one is due (CRYPTO-20).
//!
//! ```
//! use std::collections::BTreeSet;
//! use cs_crypto::dh::public_key;
//! use cs_crypto::epoch::{Announcement, EpochSecrets, Epochs, Keyring, Next};
//!
//! let (space, phone) = ([1; 32], [2; 32]); // the phone's X25519 secret; all entropy comes from the operating system
//! let mut ring = Keyring::generate([[3; 32], [4; 32], [5; 32]]);
//! let mut epochs = Epochs::default(); // follows the signed statements of the space
//! let (readers, revoked) = (BTreeSet::from([public_key(&phone)]), BTreeSet::from([[6; 32]]));
//!
//! let Next::Rotate { number } = epochs.next(&readers, &revoked) else { unreachable!() };
//! let (id, secrets) = ring.rotate(number, [7; 32]);
//! let sealed_box = secrets.seal_to(&public_key(&phone), &space, number, [8; 32])?; // into a signed statement
//! epochs.announce(&Announcement { id, readers: &readers, revoked: &revoked, unix_ms: 0, stands: true });
//!
//! assert_eq!(epochs.next(&readers, &revoked), Next::Write(id));
//! let operation = ring.seal(&id, &[b"notes"], b"envelope", b"text").expect("it was just begun");
//! let at_phone = Keyring::new(number, EpochSecrets::open(&phone, &space, number, &id.commitment, &sealed_box)?);
//! assert_eq!(at_phone.open(number, &[b"notes"], b"envelope", &operation)?, b"text");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use alloc::vec::Vec;
use core::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::aead::{DERIVED_OVERHEAD, Forged, open_derived, seal_derived};
use crate::kdf;

mod boxes;
mod keyring;
mod rotation;

pub use boxes::{AreaSecrets, BOX_LENGTH, EpochSecrets, SECRETS_LENGTH};
pub use keyring::{Keyring, OtherSpace};
pub use rotation::{Admission, Announcement, Device, EpochId, Epochs, History, Next, Revocation};

const COMMITMENT: &str = "cosmic-sync 2026 epoch root commitment 1";
const PATH_ROOT: &str = "cosmic-sync 2026 epoch path root 1";
const EPOCH_ROOT: &str = "cosmic-sync 2026 epoch root 1";
const BLIND_KEY: &str = "cosmic-sync 2026 blind key 1";
const CHUNK_KEY: &str = "cosmic-sync 2026 chunk key 1";

/// First byte of what a node of a key tree hashes: its uses never share an input (CRYPTO-6).
const CHILD: u8 = 0;
const CONTENT: u8 = 1;
const TAG: u8 = 2;

/// Bytes by which a sealed operation is longer than its plaintext.
pub const OPERATION_OVERHEAD: usize = DERIVED_OVERHEAD;

macro_rules! secret {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone)]
        pub struct $name(Zeroizing<[u8; 32]>);

        impl $name {
            /// Takes the bytes that [`Self::to_bytes`] gave.
            #[must_use]
            pub fn from_bytes(bytes: &[u8; 32]) -> Self {
                Self(Zeroizing::new(*bytes))
            }

            /// The bytes, to seal or store them.
            #[must_use]
            pub fn to_bytes(&self) -> Zeroizing<[u8; 32]> {
                self.0.clone()
            }
        }

        /// In constant time.
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.0.ct_eq(&*other.0).into()
            }
        }

        impl Eq for $name {}

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!(stringify!($name), "(..)"))
            }
        }
    };
}

secret!(
    /// The secret of one epoch, from which the keys of all paths are derived.
    EpochRoot
);
secret!(
    /// The key of one path in one epoch: reads what is at the path and below.
    PathKey
);
secret!(
    /// The key that turns path components into tags, of the whole space or of a path in it. The same in every epoch, so that
    /// tags stay.
    BlindKey
);
secret!(
    /// The key of a space's chunk ids. The same in every epoch, so that equal chunks are found equal.
    ChunkKey
);

impl EpochRoot {
    /// A new root from 32 fresh bytes of the operating system.
    #[must_use]
    pub fn generate(entropy: [u8; 32]) -> Self {
        Self(derive(EPOCH_ROOT, &Zeroizing::new(entropy)))
    }

    /// What the signed epoch statement says in public of this root: members who were sent different roots notice.
    #[must_use]
    pub fn commitment(&self) -> [u8; 32] {
        *derive(COMMITMENT, &self.0)
    }

    /// The key of the empty path.
    #[must_use]
    pub fn root_key(&self) -> PathKey {
        PathKey(derive(PATH_ROOT, &self.0))
    }

    /// The key of a path, given by its components in clear. One hash per component.
    #[must_use]
    pub fn path_key(&self, components: &[&[u8]]) -> PathKey {
        components.iter().fold(self.root_key(), |key, component| key.child(component))
    }
}

impl PathKey {
    /// The key one component further down.
    #[must_use]
    pub fn child(&self, component: &[u8]) -> Self {
        Self(step(&self.0, CHILD, component))
    }

    /// The key of the contents at exactly this path; unlike the path key, it gives nothing below.
    #[must_use]
    pub fn content_key(&self) -> Zeroizing<[u8; 32]> {
        step(&self.0, CONTENT, &[])
    }
}

impl BlindKey {
    /// The blind key of a new space, from 32 fresh bytes of the operating system.
    #[must_use]
    pub fn generate(entropy: [u8; 32]) -> Self {
        Self(derive(BLIND_KEY, &Zeroizing::new(entropy)))
    }

    /// The key for tags directly below the space's root: the space's key itself, so that forgetting the call is harmless.
    #[must_use]
    pub fn root(&self) -> Self {
        self.clone()
    }

    /// The key for tags below `component`.
    #[must_use]
    pub fn child(&self, component: &[u8]) -> Self {
        Self(step(&self.0, CHILD, component))
    }

    /// The tag of `component` here: what others see instead of it. Equal names under different parents have unrelated tags.
    #[must_use]
    pub fn tag(&self, component: &[u8]) -> [u8; 16] {
        let full = step(&self.0, TAG, component);
        let mut tag = [0; 16];
        tag.iter_mut().zip(full.iter()).for_each(|(to, from)| *to = *from);
        tag
    }

    /// The tags of a whole path below this key. Two hashes per component.
    #[must_use]
    pub fn tags(&self, components: &[&[u8]]) -> Vec<[u8; 16]> {
        let mut here = self.clone();
        components
            .iter()
            .map(|component| {
                let tag = here.tag(component);
                here = here.child(component);
                tag
            })
            .collect()
    }
}

impl ChunkKey {
    /// The chunk key of a new space, from 32 fresh bytes of the operating system.
    #[must_use]
    pub fn generate(entropy: [u8; 32]) -> Self {
        Self(derive(CHUNK_KEY, &Zeroizing::new(entropy)))
    }

    /// The id of a chunk: see [`chunk_id`].
    #[must_use]
    pub fn id(&self, bytes: &[u8]) -> [u8; 32] {
        chunk_id(&self.0, bytes)
    }
}

/// The id of a chunk of a file: BLAKE3 keyed by the space, so that nobody outside can test for a known file (CRYPTO-9).
#[must_use]
pub fn chunk_id(chunk_key: &[u8; 32], bytes: &[u8]) -> [u8; 32] {
    *kdf::keyed(chunk_key, &[bytes])
}

/// Encrypts the body of an operation at the path of `key`: nonce, ciphertext, tag; [`OPERATION_OVERHEAD`] bytes more.
///
/// The nonce is derived from everything that is sealed, so that no counter or chance can repeat it for another message: at
/// worst, the same operation sealed twice gives the same bytes (CRYPTO-7). `aad` is the envelope; it travels beside.
#[must_use]
pub fn seal_operation(key: &PathKey, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    seal_derived(&key.content_key(), aad, plaintext)
}

/// Decrypts what [`seal_operation`] made at the same path in the same epoch.
///
/// # Errors
/// [`Forged`] if it is too short, or not made by this key from this envelope.
pub fn open_operation(key: &PathKey, aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Forged> {
    open_derived(&key.content_key(), aad, sealed)
}

fn derive(context: &str, secret: &[u8; 32]) -> Zeroizing<[u8; 32]> {
    kdf::derived(context, &[secret])
}

fn step(key: &[u8; 32], kind: u8, component: &[u8]) -> Zeroizing<[u8; 32]> {
    kdf::keyed(key, &[&[kind], component])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root() -> EpochRoot {
        EpochRoot::generate([1; 32])
    }

    // CRYPTO-6
    #[test]
    fn a_subtrees_key_gives_what_is_below_and_component_boundaries_count() {
        let whole = root().path_key(&[b"a", b"b", b"c"]);
        assert_eq!(whole, root().path_key(&[b"a", b"b"]).child(b"c"));
        for other in [&[&b"a"[..], b"b"][..], &[b"ab", b"c"], &[b"a", b"bc"], &[b"a", b"b", b"c", b""], &[]] {
            assert_ne!(whole, root().path_key(other), "{other:?}");
        }
        assert_ne!(whole.to_bytes(), whole.content_key());
        assert_ne!(whole.child(b"").to_bytes(), whole.content_key());
        assert_ne!(whole, EpochRoot::generate([2; 32]).path_key(&[b"a", b"b", b"c"]));
    }

    #[test]
    fn tags_preserve_prefixes_and_hide_equal_names_apart() {
        let blind = BlindKey::generate([1; 32]).root();
        let (ab, ac) = (blind.tags(&[b"a", b"b"]), blind.tags(&[b"a", b"c"]));
        assert_eq!(ab[0], ac[0]);
        assert_ne!(ab[1], ac[1]);
        assert_eq!(ab[0], blind.tag(b"a"));
        assert_eq!(ab[1], blind.child(b"a").tag(b"b"));
        assert_ne!(blind.tags(&[b"b"])[0], ab[1], "b at the root and b in a");
    }

    // CRYPTO-7
    #[test]
    fn an_operation_opens_at_its_path_and_epoch_with_its_envelope_only() {
        let key = root().path_key(&[b"notes"]);
        let sealed = seal_operation(&key, b"envelope", b"body");
        assert_eq!(sealed.len(), b"body".len() + OPERATION_OVERHEAD);
        assert_eq!(open_operation(&key, b"envelope", &sealed).unwrap(), b"body");
        assert_eq!(open_operation(&key, b"another", &sealed), Err(Forged));
        assert_eq!(open_operation(&key.child(b"x"), b"envelope", &sealed), Err(Forged));
        let next = EpochRoot::generate([2; 32]).path_key(&[b"notes"]);
        assert_eq!(open_operation(&next, b"envelope", &sealed), Err(Forged));
        for bit in 0..sealed.len() * 8 {
            let mut altered = sealed.clone();
            altered[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open_operation(&key, b"envelope", &altered), Err(Forged), "bit {bit}");
        }
        for length in 0..sealed.len() {
            assert_eq!(open_operation(&key, b"envelope", &sealed[..length]), Err(Forged), "length {length}");
        }
    }

    // CRYPTO-9
    #[test]
    fn chunk_ids_differ_between_spaces() {
        let (a, b) = (ChunkKey::generate([1; 32]), ChunkKey::generate([2; 32]));
        assert_ne!(a.id(b"known file"), b.id(b"known file"));
        assert_eq!(a.id(b"known file"), chunk_id(&a.to_bytes(), b"known file"));
    }
}
