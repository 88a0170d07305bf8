//! Products of static keys, kept from one handshake to the next (CRYPTO-19).

use alloc::collections::BTreeMap;
use core::fmt;

use super::symmetric::Secret;

/// Products of one's own static key with those of peers met before, which saves each side of an IK handshake one of its four
/// multiplications. Wiped on drop.
///
/// A product of two static keys is the same in every handshake, so that keeping it changes no byte and no promise: a thief of
/// it can do what a thief of either static key can do between these two. A product is kept only of a peer that has proven its
/// key, the one that was used longest ago makes room, and a message that fails costs its sender the same time whether its
/// claimed key was known or not: nobody can ask by the clock whom one talks to.
pub struct StaticCache {
    /// Whose products these are: with another local key, the cache starts again.
    local: [u8; 32],
    products: BTreeMap<[u8; 32], Product>,
    /// When each was used last, by a count of uses.
    ages: BTreeMap<u64, [u8; 32]>,
    uses: u64,
    limit: usize,
}

struct Product {
    shared: Secret,
    used: u64,
}

impl StaticCache {
    /// Keeps the products of up to `limit` peers: 200 bytes each. With 0, nothing is kept.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self { local: [0; 32], products: BTreeMap::new(), ages: BTreeMap::new(), uses: 0, limit }
    }

    /// How many products are kept.
    #[must_use]
    pub fn len(&self) -> usize {
        self.products.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.products.is_empty()
    }

    /// Forgets the product with a peer, as one may want to after its key was revoked.
    pub fn forget(&mut self, remote: &[u8; 32]) {
        if let Some(product) = self.products.remove(remote) {
            self.ages.remove(&product.used);
        }
    }

    pub(crate) fn product(&self, local: &[u8; 32], remote: &[u8; 32]) -> Option<Secret> {
        let product = self.products.get(remote).filter(|_| self.local == *local)?;
        Some(product.shared.clone())
    }

    /// Keeps a product, new or used again.
    pub(crate) fn keep(&mut self, local: &[u8; 32], remote: &[u8; 32], shared: Secret) {
        if self.local != *local {
            self.products.clear();
            self.ages.clear();
            self.local = *local;
        }
        self.forget(remote);
        if self.products.len() >= self.limit {
            let Some((_, oldest)) = self.ages.pop_first() else { return };
            self.products.remove(&oldest);
        }
        self.uses += 1;
        self.ages.insert(self.uses, *remote);
        self.products.insert(*remote, Product { shared, used: self.uses });
    }
}

impl fmt::Debug for StaticCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticCache").field("products", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    fn keep(cache: &mut StaticCache, peer: u8) {
        cache.keep(&[1; 32], &[peer; 32], Zeroizing::new([peer; 32]));
    }

    // CRYPTO-19
    #[test]
    fn the_product_that_was_used_longest_ago_makes_room() {
        let mut cache = StaticCache::new(2);
        keep(&mut cache, 2);
        keep(&mut cache, 3);
        keep(&mut cache, 2);
        keep(&mut cache, 4);
        let known = [2, 3, 4].map(|peer| cache.product(&[1; 32], &[peer; 32]).is_some());
        assert_eq!((known, cache.len(), cache.ages.len()), ([true, false, true], 2, 2));
        cache.forget(&[2; 32]);
        assert_eq!((cache.len(), cache.ages.len()), (1, 1));
        keep(&mut StaticCache::new(0), 2);
    }

    // CRYPTO-19
    #[test]
    fn products_of_another_local_key_are_neither_used_nor_kept() {
        let mut cache = StaticCache::new(2);
        keep(&mut cache, 2);
        assert_eq!(cache.product(&[9; 32], &[2; 32]), None);
        cache.keep(&[9; 32], &[3; 32], Zeroizing::new([3; 32]));
        assert_eq!((cache.product(&[1; 32], &[2; 32]), cache.len()), (None, 1));
    }

    #[test]
    fn a_cache_that_may_keep_nothing_keeps_nothing() {
        let mut cache = StaticCache::new(0);
        keep(&mut cache, 2);
        assert!(cache.is_empty());
    }
}
