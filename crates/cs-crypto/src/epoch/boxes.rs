//! What members are given, sealed to their keys (CRYPTO-8).

use alloc::vec::Vec;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::{BlindKey, ChunkKey, EpochId, EpochRoot, PathKey};
use crate::aead::Forged;
use crate::dh::LowOrderPoint;
use crate::hpke;

const EPOCH_INFO: &[u8] = b"cosmic-sync 2026 epoch box 1";
const AREA_INFO: &[u8] = b"cosmic-sync 2026 epoch area box 1";

/// Bytes of what is inside a box: three keys.
pub const SECRETS_LENGTH: usize = 96;

/// Bytes of a box.
pub const BOX_LENGTH: usize = SECRETS_LENGTH + hpke::OVERHEAD;

/// What a member of a space holds of one epoch, and what an epoch box carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EpochSecrets {
    /// The root of this epoch.
    pub root: EpochRoot,
    /// The space's blind key.
    pub blind: BlindKey,
    /// The space's chunk key.
    pub chunk: ChunkKey,
}

impl EpochSecrets {
    /// Seals the secrets to a member's X25519 key: [`BOX_LENGTH`] bytes. `space` and `number` are bound in.
    ///
    /// # Errors
    /// [`LowOrderPoint`] if nobody can own `recipient`.
    pub fn seal_to(
        &self,
        recipient: &[u8; 32],
        space: &[u8; 32],
        number: u64,
        entropy: [u8; 32],
    ) -> Result<Vec<u8>, LowOrderPoint> {
        let aad = box_aad(space, &EpochId { number, commitment: self.root.commitment() });
        seal(recipient, EPOCH_INFO, &aad, [&self.root.0, &self.blind.0, &self.chunk.0], entropy)
    }

    /// Opens a box made for the owner of `secret`; `commitment` is the one in the signed epoch statement.
    ///
    /// # Errors
    /// [`Forged`] if the box is for another key, space, epoch or commitment, or the root inside is not the one committed to.
    pub fn open(
        secret: &[u8; 32],
        space: &[u8; 32],
        number: u64,
        commitment: &[u8; 32],
        sealed: &[u8],
    ) -> Result<Self, Forged> {
        let aad = box_aad(space, &EpochId { number, commitment: *commitment });
        let [root, blind, chunk] = open(secret, EPOCH_INFO, &aad, sealed)?;
        let root = EpochRoot(root);
        if !bool::from(root.commitment().ct_eq(commitment)) {
            return Err(Forged);
        }
        Ok(Self { root, blind: BlindKey(blind), chunk: ChunkKey(chunk) })
    }

    /// What somebody may hold who reads one path and what is below it.
    #[must_use]
    pub fn area(&self, components: &[&[u8]]) -> AreaSecrets {
        AreaSecrets {
            key: self.root.path_key(components),
            blind: components.iter().fold(self.blind.clone(), |key, component| key.child(component)),
            chunk: self.chunk.clone(),
        }
    }
}

/// The keys of one path and everything below it, in one epoch.
///
/// The epoch's commitment is to its root, which the owner of an area never sees: whoever seals an area can give a key that
/// opens nothing, and is named by the signature on its statement. It cannot make its victim read as authentic what others did
/// not write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AreaSecrets {
    /// The key of the path.
    pub key: PathKey,
    /// The blind key for tags below the path.
    pub blind: BlindKey,
    /// The space's chunk key.
    pub chunk: ChunkKey,
}

impl AreaSecrets {
    /// Seals the secrets to a member's X25519 key: [`BOX_LENGTH`] bytes. `space`, `epoch` and the tags of the path are bound
    /// in.
    ///
    /// # Errors
    /// [`LowOrderPoint`] if nobody can own `recipient`.
    pub fn seal_to(
        &self,
        recipient: &[u8; 32],
        space: &[u8; 32],
        epoch: &EpochId,
        path: &[[u8; 16]],
        entropy: [u8; 32],
    ) -> Result<Vec<u8>, LowOrderPoint> {
        let aad = area_aad(space, epoch, path);
        seal(recipient, AREA_INFO, &aad, [&self.key.0, &self.blind.0, &self.chunk.0], entropy)
    }

    /// Opens a box made for the owner of `secret`.
    ///
    /// # Errors
    /// [`Forged`] if the box is for another key, space, epoch or path.
    pub fn open(
        secret: &[u8; 32],
        space: &[u8; 32],
        epoch: &EpochId,
        path: &[[u8; 16]],
        sealed: &[u8],
    ) -> Result<Self, Forged> {
        let [key, blind, chunk] = open(secret, AREA_INFO, &area_aad(space, epoch, path), sealed)?;
        Ok(Self { key: PathKey(key), blind: BlindKey(blind), chunk: ChunkKey(chunk) })
    }
}

type Secret = Zeroizing<[u8; 32]>;

fn seal(
    recipient: &[u8; 32],
    info: &[u8],
    aad: &[u8],
    secrets: [&Secret; 3],
    entropy: [u8; 32],
) -> Result<Vec<u8>, LowOrderPoint> {
    let mut inside = Zeroizing::new(Vec::with_capacity(SECRETS_LENGTH));
    secrets.iter().for_each(|secret| inside.extend_from_slice(&***secret));
    hpke::seal(recipient, info, aad, &inside, entropy)
}

fn open(secret: &[u8; 32], info: &[u8], aad: &[u8], sealed: &[u8]) -> Result<[Secret; 3], Forged> {
    let opened = hpke::open(secret, info, aad, sealed)?;
    let inside: &[u8; SECRETS_LENGTH] = opened.as_slice().try_into().map_err(|_| Forged)?;
    let (keys, _) = inside.as_chunks::<32>();
    let [first, second, third] = keys else { return Err(Forged) };
    Ok([first, second, third].map(|key| Zeroizing::new(*key)))
}

fn box_aad(space: &[u8; 32], epoch: &EpochId) -> Vec<u8> {
    [&space[..], &epoch.number.to_le_bytes(), &epoch.commitment].concat()
}

fn area_aad(space: &[u8; 32], epoch: &EpochId, path: &[[u8; 16]]) -> Vec<u8> {
    let mut aad = box_aad(space, epoch);
    aad.extend_from_slice(path.as_flattened());
    aad
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dh::public_key;
    use crate::epoch::{open_operation, seal_operation};

    const MEMBER: [u8; 32] = [7; 32];
    const SPACE: [u8; 32] = [8; 32];

    fn secrets() -> EpochSecrets {
        EpochSecrets {
            root: EpochRoot::generate([1; 32]),
            blind: BlindKey::generate([2; 32]),
            chunk: ChunkKey::generate([3; 32]),
        }
    }

    // CRYPTO-8
    #[test]
    fn an_epoch_box_opens_for_its_member_space_number_and_commitment_only() {
        let (secrets, commitment) = (secrets(), secrets().root.commitment());
        let sealed = secrets.seal_to(&public_key(&MEMBER), &SPACE, 5, [9; 32]).unwrap();
        assert_eq!(sealed.len(), BOX_LENGTH);
        assert_eq!(EpochSecrets::open(&MEMBER, &SPACE, 5, &commitment, &sealed).unwrap(), secrets);
        assert!(EpochSecrets::open(&[6; 32], &SPACE, 5, &commitment, &sealed).is_err());
        assert!(EpochSecrets::open(&MEMBER, &[0; 32], 5, &commitment, &sealed).is_err());
        assert!(EpochSecrets::open(&MEMBER, &SPACE, 6, &commitment, &sealed).is_err());
        assert!(EpochSecrets::open(&MEMBER, &SPACE, 5, &[0; 32], &sealed).is_err());
    }

    // CRYPTO-8
    #[test]
    fn a_box_whose_root_is_not_the_committed_one_is_refused() {
        let lie = EpochId { number: 1, commitment: secrets().root.commitment() };
        let aad = box_aad(&SPACE, &lie);
        let sealed =
            hpke::seal(&public_key(&MEMBER), EPOCH_INFO, &aad, &[0; SECRETS_LENGTH], [9; 32]).unwrap();
        assert_eq!(EpochSecrets::open(&MEMBER, &SPACE, 1, &lie.commitment, &sealed), Err(Forged));
    }

    // CRYPTO-8
    #[test]
    fn an_area_box_reads_its_subtree_and_opens_for_its_path_only() {
        let whole = secrets();
        let epoch = EpochId { number: 5, commitment: whole.root.commitment() };
        let path: &[&[u8]] = &[b"team", b"plans"];
        let tags = whole.blind.tags(path);
        let sealed = whole.area(path).seal_to(&public_key(&MEMBER), &SPACE, &epoch, &tags, [9; 32]).unwrap();
        assert_eq!(sealed.len(), BOX_LENGTH);
        let area = AreaSecrets::open(&MEMBER, &SPACE, &epoch, &tags, &sealed).unwrap();

        let below = whole.root.path_key(&[b"team", b"plans", b"june"]);
        let operation = seal_operation(&below, b"", b"for the team");
        assert_eq!(open_operation(&area.key.child(b"june"), b"", &operation).unwrap(), b"for the team");
        assert_eq!(area.blind.tag(b"june"), whole.blind.tags(&[b"team", b"plans", b"june"])[2]);
        let beside = seal_operation(&whole.root.path_key(&[b"team", b"pay"]), b"", b"not for it");
        assert!(open_operation(&area.key, b"", &beside).is_err());

        let next = EpochId { number: 6, ..epoch };
        for (space, epoch, path) in
            [(&[0; 32], &epoch, &tags[..]), (&SPACE, &next, &tags), (&SPACE, &epoch, &tags[..1])]
        {
            assert_eq!(AreaSecrets::open(&MEMBER, space, epoch, path, &sealed), Err(Forged));
        }
        assert!(EpochSecrets::open(&MEMBER, &SPACE, 5, &epoch.commitment, &sealed).is_err());
    }

    #[test]
    fn no_secret_shows_in_debug_output() {
        let shown = std::format!("{:?}", secrets());
        assert_eq!(shown, "EpochSecrets { root: EpochRoot(..), blind: BlindKey(..), chunk: ChunkKey(..) }");
        let shown = std::format!("{:?}", secrets().area(&[]));
        assert_eq!(shown, "AreaSecrets { key: PathKey(..), blind: BlindKey(..), chunk: ChunkKey(..) }");
    }
}
