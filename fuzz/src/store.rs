//! Decoders of cs-store.

use cs_identity::{OpId, SpaceId};
use cs_store::Operation;

use crate::identity::{key, place};
use crate::laws::{encoded, one_encoding, unverified};

/// A signed operation. The signature is not checked: the fuzzer cannot make one.
pub fn operation(bytes: &[u8]) -> bool {
    if let Ok(operation) = unverified::<Operation>(bytes) {
        let _ = operation.facts(operation.id());
        let _ = operation.aad();
    }
    one_encoding(bytes, unverified::<Operation>, encoded)
}

/// A first operation and a later one.
pub fn operation_seeds() -> Vec<Vec<u8>> {
    let space = SpaceId::from_bytes([1; 32]);
    let first = Operation {
        space,
        path: place(2),
        document: [2; 16],
        author: key(1).node_id(),
        seq: 0,
        backlink: None,
        deps: Vec::new(),
        clock: 1 << 16,
        grant: OpId::from_bytes([3; 32]),
        control_heads: vec![OpId::from_bytes([4; 32])],
        epoch: 1,
        sealed: b"sealed".to_vec(),
    };
    let earlier = OpId::from_bytes([5; 32]);
    let later =
        Operation { seq: 1, backlink: Some(earlier), deps: vec![earlier], clock: 2 << 16, ..first.clone() };
    [first, later].map(|operation| operation.sign(&key(1)).expect("it is valid").bytes().to_vec()).to_vec()
}
