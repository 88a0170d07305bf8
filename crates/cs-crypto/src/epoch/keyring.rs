//! The keys that a device was given of one space.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use core::fmt;

use super::{BlindKey, ChunkKey, EpochId, EpochRoot, EpochSecrets, History, open_operation, seal_operation};
use crate::aead::Forged;

/// Every epoch root that a device holds, and the two keys that stay. Wiped on drop.
#[derive(Clone)]
pub struct Keyring {
    roots: BTreeMap<EpochId, EpochRoot>,
    blind: BlindKey,
    chunk: ChunkKey,
}

/// The secrets have another blind or chunk key than this keyring: of another space, or made up. Nothing was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the epoch's secrets do not belong to the keys of this space")]
pub struct OtherSpace;

impl Keyring {
    /// The keys of a new space, with its epoch 0. `entropy`: 96 fresh bytes from the operating system.
    #[must_use]
    pub fn generate(entropy: [[u8; 32]; 3]) -> Self {
        let [root, blind, chunk] = entropy;
        let secrets = EpochSecrets {
            root: EpochRoot::generate(root),
            blind: BlindKey::generate(blind),
            chunk: ChunkKey::generate(chunk),
        };
        Self::new(0, secrets)
    }

    /// Begins with the first box that a device opened; `number` is its epoch's. It decides the blind and the chunk key.
    #[must_use]
    pub fn new(number: u64, secrets: EpochSecrets) -> Self {
        let EpochSecrets { root, blind, chunk } = secrets;
        let id = EpochId { number, commitment: root.commitment() };
        Self { roots: BTreeMap::from([(id, root)]), blind, chunk }
    }

    /// Takes another box's secrets. Returns whether the epoch was new.
    ///
    /// # Errors
    /// [`OtherSpace`]: a later epoch must not be able to make known paths and chunks unknown (CRYPTO-8).
    pub fn take(&mut self, number: u64, secrets: EpochSecrets) -> Result<bool, OtherSpace> {
        if secrets.blind != self.blind || secrets.chunk != self.chunk {
            return Err(OtherSpace);
        }
        let id = EpochId { number, commitment: secrets.root.commitment() };
        Ok(self.roots.insert(id, secrets.root).is_none())
    }

    /// Begins an epoch; its secrets go to those who may read. `entropy`: 32 fresh bytes from the operating system.
    pub fn rotate(&mut self, number: u64, entropy: [u8; 32]) -> (EpochId, EpochSecrets) {
        let root = EpochRoot::generate(entropy);
        let id = EpochId { number, commitment: root.commitment() };
        self.roots.insert(id, root.clone());
        (id, EpochSecrets { root, blind: self.blind.clone(), chunk: self.chunk.clone() })
    }

    /// Which epochs are held, oldest first.
    pub fn epochs(&self) -> impl Iterator<Item = &EpochId> {
        self.roots.keys()
    }

    /// What a box of an epoch carries, to seal it to somebody.
    #[must_use]
    pub fn secrets(&self, id: &EpochId) -> Option<EpochSecrets> {
        let root = self.roots.get(id)?.clone();
        Some(EpochSecrets { root, blind: self.blind.clone(), chunk: self.chunk.clone() })
    }

    /// What a newcomer is given by `history`, if `begun` is the epoch that begins with it (CRYPTO-21).
    #[must_use]
    pub fn for_newcomer(&self, history: History, begun: &EpochId) -> Vec<(EpochId, EpochSecrets)> {
        let is_given = |id: &&EpochId| history == History::All || *id == begun;
        self.roots.keys().filter(is_given).filter_map(|id| Some((*id, self.secrets(id)?))).collect()
    }

    /// Seals an operation at a path, given by its components in clear. `None` if the epoch is not held.
    #[must_use]
    pub fn seal(&self, id: &EpochId, path: &[&[u8]], aad: &[u8], plaintext: &[u8]) -> Option<Vec<u8>> {
        Some(seal_operation(&self.roots.get(id)?.path_key(path), aad, plaintext))
    }

    /// Opens an operation of an epoch's number, by whichever of its roots fits: one attempt per concurrent rotation.
    ///
    /// # Errors
    /// [`Forged`] if none fits.
    pub fn open(&self, number: u64, path: &[&[u8]], aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>, Forged> {
        let first = EpochId { number, commitment: [0; 32] };
        let last = EpochId { number, commitment: [0xff; 32] };
        let mut roots = self.roots.range(first..=last).map(|(_, root)| root);
        roots.find_map(|root| open_operation(&root.path_key(path), aad, sealed).ok()).ok_or(Forged)
    }

    /// The space's blind key.
    #[must_use]
    pub fn blind(&self) -> &BlindKey {
        &self.blind
    }

    /// The space's chunk key.
    #[must_use]
    pub fn chunk(&self) -> &ChunkKey {
        &self.chunk
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("epochs", &self.roots.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // CRYPTO-8
    #[test]
    fn secrets_with_other_keys_of_the_space_are_refused() {
        let mut ring = Keyring::generate([[1; 32], [2; 32], [3; 32]]);
        let (id, secrets) = ring.clone().rotate(1, [4; 32]);
        let lie = EpochSecrets { blind: BlindKey::generate([9; 32]), ..secrets.clone() };
        assert_eq!(ring.take(1, lie), Err(OtherSpace));
        let lie = EpochSecrets { chunk: ChunkKey::generate([9; 32]), ..secrets.clone() };
        assert_eq!(ring.take(1, lie), Err(OtherSpace));
        assert_eq!(ring.epochs().count(), 1);
        assert_eq!((ring.take(1, secrets.clone()), ring.take(1, secrets)), (Ok(true), Ok(false)));
        assert!(ring.secrets(&id).is_some());
    }

    // CRYPTO-20
    #[test]
    fn operations_of_concurrent_epochs_open_by_their_number() {
        let mut ring = Keyring::generate([[1; 32], [2; 32], [3; 32]]);
        let ids = [4, 5].map(|entropy| ring.rotate(1, [entropy; 32]).0);
        for id in &ids {
            let sealed = ring.seal(id, &[b"notes"], b"aad", b"text").unwrap();
            assert_eq!(ring.open(1, &[b"notes"], b"aad", &sealed).unwrap(), b"text");
            assert_eq!(ring.open(0, &[b"notes"], b"aad", &sealed), Err(Forged));
            assert_eq!(ring.open(1, &[b"other"], b"aad", &sealed), Err(Forged));
        }
        assert_eq!(ring.seal(&EpochId { number: 2, commitment: [0; 32] }, &[], b"", b""), None);
    }

    // CRYPTO-21
    #[test]
    fn a_newcomer_is_given_what_the_policy_says() {
        let mut ring = Keyring::generate([[1; 32], [2; 32], [3; 32]]);
        let (begun, _) = ring.rotate(1, [4; 32]);
        let given = |history| ring.for_newcomer(history, &begun).into_iter().map(|(id, _)| id.number);
        assert_eq!(given(History::All).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(given(History::FromNow).collect::<Vec<_>>(), [1]);
        assert_eq!(std::format!("{ring:?}"), "Keyring { epochs: 2, .. }");
    }
}
