//! Operations to store.

use cs_identity::{BlindPath, OpId, SecretKey, Signed, SpaceId, Tag};
use cs_store::{DocumentId, MemDisk, OpenOptions, Operation, Recovery, Store};

pub(crate) fn key(number: u8) -> SecretKey {
    SecretKey::from_bytes([number; 32])
}

pub(crate) fn space(number: u8) -> SpaceId {
    SpaceId::from_bytes([number; 32])
}

pub(crate) fn path(components: &[u8]) -> BlindPath {
    BlindPath::new(components.iter().map(|byte| Tag::from_bytes([*byte; 16])).collect()).unwrap()
}

/// The first operation of author 1 on a document: change the fields, then sign.
pub(crate) fn draft(space_number: u8, at: &[u8], document: DocumentId, clock: u64) -> Operation {
    Operation {
        space: space(space_number),
        path: path(at),
        document,
        author: key(1).node_id(),
        seq: 0,
        backlink: None,
        deps: Vec::new(),
        clock,
        grant: space(space_number).genesis(),
        control_heads: vec![space(space_number).genesis()],
        epoch: 1,
        sealed: b"sealed".to_vec(),
    }
}

pub(crate) fn operation(space_number: u8, at: &[u8], document: u8, clock: u64) -> Signed<Operation> {
    draft(space_number, at, [document; 16], clock).sign(&key(1)).unwrap()
}

/// An operation of author 1 that follows `deps`.
pub(crate) fn after(deps: &[OpId], document: u8, clock: u64) -> Signed<Operation> {
    Operation {
        seq: u64::from(!deps.is_empty()),
        backlink: deps.first().copied(),
        deps: deps.to_vec(),
        ..draft(1, &[1], [document; 16], clock)
    }
    .sign(&key(1))
    .unwrap()
}

/// Small segments and checkpoints, so that short histories pass through all that long ones do.
pub(crate) fn small() -> OpenOptions {
    let mut options = OpenOptions::default();
    options.salt = [7; 32];
    options.segment_bytes = 4 << 10;
    options.checkpoint_bytes = 8 << 10;
    options.cache_bytes = 256 << 10;
    options
}

pub(crate) fn open(disk: &MemDisk) -> (Store<MemDisk>, Recovery) {
    Store::open(disk.clone(), small()).expect("this disk has no damage")
}
