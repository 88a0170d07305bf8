//! What a node brings to every Noise handshake, made ready once (TP-3, TP-10).

use core::fmt;
use std::sync::{Mutex, TryLockError};

use cs_crypto::dh::KeyPair;
use cs_crypto::noise::StaticCache;
use cs_identity::{NodeId, SecretKey};

/// One's own key as handshakes want it: its X25519 pair, and its products with the keys of peers met before. Both
/// together save each side three of the eight multiplications of a handshake with somebody known, and two with a
/// stranger.
pub struct LocalKey {
    node: NodeId,
    pair: KeyPair,
    known: Mutex<StaticCache>,
}

impl LocalKey {
    /// `peers`: how many peers' products are remembered, at 200 bytes each; those used longest ago are forgotten first.
    #[must_use]
    pub fn new(secret: &SecretKey, peers: usize) -> Self {
        let pair = KeyPair::new(*secret.to_x25519());
        Self { node: secret.node_id(), pair, known: Mutex::new(StaticCache::new(peers)) }
    }

    /// Whose key it is.
    #[must_use]
    pub fn node_id(&self) -> NodeId {
        self.node
    }

    pub(crate) fn pair(&self) -> &KeyPair {
        &self.pair
    }

    /// Lends the products. While another thread has them, an empty set is lent: one multiplication more costs less
    /// than to wait for all of somebody else's.
    pub(crate) fn with_known<T>(&self, step: impl FnOnce(&mut StaticCache) -> T) -> T {
        match self.known.try_lock() {
            Ok(mut known) => step(&mut known),
            Err(TryLockError::Poisoned(poisoned)) => step(&mut poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => step(&mut StaticCache::new(0)),
        }
    }
}

impl fmt::Debug for LocalKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalKey").field("node", &self.node).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // TP-3
    #[test]
    fn a_thread_that_finds_the_products_lent_goes_on_without_them() {
        let key = LocalKey::new(&SecretKey::from_bytes([1; 32]), 4);
        let inner = key.with_known(|_| key.with_known(|known| known.len()));
        assert_eq!(inner, 0);
    }
}
