//! Keys for unit tests.

use cs_identity::{NodeId, SecretKey};

pub(crate) fn secret(seed: u64) -> SecretKey {
    let mut bytes = [7; 32];
    bytes[..8].copy_from_slice(&seed.to_be_bytes());
    SecretKey::from_bytes(bytes)
}

pub(crate) fn node(seed: u64) -> NodeId {
    secret(seed).node_id()
}
