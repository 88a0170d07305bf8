//! The keys of a space: its epochs, and the two that stay over all of them.

use std::collections::{BTreeMap, BTreeSet};

use cs_crypto::epoch::{self, BlindKey, ChunkKey, EpochId, EpochRoot, EpochSecrets, Epochs, Next, PathKey};
use cs_identity::control::Action;
use cs_identity::{BlindPath, NodeId, PathError, SpaceId, Tag};

use crate::core::host::Host;
use crate::folder::RelPath;

/// What this device may open.
#[derive(Clone, Debug, Default)]
pub(crate) struct Keyring {
    /// Concurrent rotations give one number to several roots.
    roots: BTreeMap<EpochId, EpochRoot>,
    /// What the statements say of all epochs.
    known: Epochs,
    /// The epoch to write with: none that somebody who was revoked can read, or could still be given.
    writing: Option<EpochId>,
    blind: Option<BlindKey>,
    chunk: Option<ChunkKey>,
}

impl Keyring {
    /// Fresh keys for a new space.
    pub(crate) fn generate(host: &mut Host) -> Self {
        let root = EpochRoot::generate(host.random());
        let id = EpochId { number: 0, commitment: root.commitment() };
        Self {
            roots: BTreeMap::from([(id, root)]),
            known: Epochs::default(),
            writing: None,
            blind: Some(BlindKey::generate(host.random())),
            chunk: Some(ChunkKey::generate(host.random())),
        }
    }

    /// Chooses the epoch to write with, by what the statements say of epochs, readers and revocations.
    pub(crate) fn review(
        &mut self,
        known: Epochs,
        readers: &BTreeSet<[u8; 32]>,
        revoked: &BTreeSet<[u8; 32]>,
    ) {
        self.writing = match known.next(readers, revoked) {
            Next::Write(id) => Some(id),
            Next::Rotate { .. } => None,
        };
        self.known = known;
    }

    /// Whether a new epoch has to begin before anything is written.
    pub(crate) fn must_rotate(&self) -> bool {
        self.writing.is_none()
    }

    /// Those who have no box of the epoch that is written with, as two who let somebody in and out at once leave them.
    pub(crate) fn unserved(&self, readers: &[NodeId]) -> Vec<NodeId> {
        let Some(id) = self.writing.filter(|id| self.roots.contains_key(id)) else { return Vec::new() };
        let devices: BTreeSet<[u8; 32]> = readers.iter().map(|reader| *reader.as_bytes()).collect();
        let unserved: BTreeSet<&[u8; 32]> = self.known.unserved(&id, &devices).collect();
        readers.iter().filter(|reader| unserved.contains(reader.as_bytes())).copied().collect()
    }

    /// The statement that gives the epoch that is written with to `readers`.
    pub(crate) fn box_for(&self, host: &mut Host, space: SpaceId, readers: &[NodeId]) -> Option<Action> {
        let id = self.writing?;
        let root = self.roots.get(&id)?.clone();
        Some(self.seal(host, space, id.number, root, readers))
    }

    /// Takes the keys of an epoch statement, if a box of it is for this device. Returns whether anything was new.
    pub(crate) fn take(&mut self, host: &Host, space: SpaceId, action: &Action) -> bool {
        let Action::Epoch { number, root_commitment, boxes } = action else { return false };
        let id = EpochId { number: *number, commitment: *root_commitment };
        let Some((_, sealed)) = boxes.iter().find(|(who, _)| *who == host.me) else { return false };
        if self.roots.contains_key(&id) {
            return false;
        }
        let secret = host.secret.to_x25519();
        let opened = EpochSecrets::open(&secret, space.as_bytes(), *number, root_commitment, sealed);
        let Ok(secrets) = opened else { return false };
        self.roots.insert(id, secrets.root);
        // The first box decides these two: a later epoch must not be able to make known paths and chunks unknown.
        self.blind.get_or_insert(secrets.blind);
        self.chunk.get_or_insert(secrets.chunk);
        true
    }

    /// Whether anything can be opened at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// The key of chunk IDs.
    pub(crate) fn chunk_key(&self) -> Option<[u8; 32]> {
        self.chunk.as_ref().map(|key| *key.to_bytes())
    }

    /// A path as those who hold no key see it.
    pub(crate) fn blind(&self, path: &RelPath) -> Option<Result<BlindPath, PathError>> {
        let components: Vec<&[u8]> = path.components().collect();
        let tags = self.blind.as_ref()?.tags(&components).into_iter().map(Tag::from_bytes).collect();
        Some(BlindPath::new(tags))
    }

    /// Number and key of the epoch to write with. `None` while a new one has to begin, or while this device has no box of it.
    pub(crate) fn writing(&self) -> Option<(u64, PathKey)> {
        let id = self.writing?;
        Some((id.number, self.roots.get(&id)?.root_key()))
    }

    /// Opens what was sealed in an epoch, by whichever of the roots of that number fits.
    pub(crate) fn open(&self, number: u64, aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let id = |commitment| EpochId { number, commitment };
        let roots = self.roots.range(id([0; 32])..=id([0xff; 32]));
        roots.into_iter().find_map(|(_, root)| epoch::open_operation(&root.root_key(), aad, sealed).ok())
    }

    /// Statements that give the keys of every epoch known here to `readers`.
    pub(crate) fn boxes_for(&self, host: &mut Host, space: SpaceId, readers: &[NodeId]) -> Vec<Action> {
        let roots: Vec<_> = self.roots.iter().map(|(id, root)| (id.number, root.clone())).collect();
        roots.into_iter().map(|(number, root)| self.seal(host, space, number, root, readers)).collect()
    }

    /// The statement that begins the next epoch, its root sealed to `readers`.
    pub(crate) fn next_epoch(&self, host: &mut Host, space: SpaceId, readers: &[NodeId]) -> Action {
        let number = self.roots.last_key_value().map_or(0, |(id, _)| id.number.saturating_add(1));
        let root = EpochRoot::generate(host.random());
        self.seal(host, space, number, root, readers)
    }

    fn seal(
        &self,
        host: &mut Host,
        space: SpaceId,
        number: u64,
        root: EpochRoot,
        readers: &[NodeId],
    ) -> Action {
        let root_commitment = root.commitment();
        let (Some(blind), Some(chunk)) = (self.blind.clone(), self.chunk.clone()) else {
            return Action::Epoch { number, root_commitment, boxes: Vec::new() };
        };
        let secrets = EpochSecrets { root, blind, chunk };
        let sealed = readers.iter().filter_map(|reader| {
            let entropy = host.random();
            // A key of low order has no owner, and a `NodeId` cannot be one.
            let sealed = secrets.seal_to(&reader.to_x25519(), space.as_bytes(), number, entropy).ok()?;
            Some((*reader, sealed))
        });
        Action::Epoch { number, root_commitment, boxes: sealed.collect() }
    }
}

/// Names the document of a path: 16 bytes that say nothing to those who hold no key.
pub(crate) fn document_id(kind: u8, path: &BlindPath) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new_derive_key("cosync 2026 document of a path");
    hasher.update(&[kind]);
    path.tags().iter().for_each(|tag| {
        hasher.update(tag.as_bytes());
    });
    let mut id = [0; 16];
    hasher.finalize_xof().fill(&mut id);
    id
}
