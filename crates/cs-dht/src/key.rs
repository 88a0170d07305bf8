//! The 256-bit space in which peers and records have their place, and its metric.

use core::fmt;
use cs_identity::NodeId;

/// A point of the key space: where a peer stands, or where a record belongs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key([u8; 32]);

/// The bitwise exclusive or of two keys, read as a big-endian number (Maymounkov and Mazières, *Kademlia*, 2002,
/// section 2.1). Smaller is closer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Distance([u8; 32]);

impl Key {
    /// The key with exactly these bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// Where a peer stands, which is also where its peer record is kept. One BLAKE3 of 32 bytes.
    #[must_use]
    pub fn of_peer(id: &NodeId) -> Self {
        Self(id.dht_position())
    }

    /// Where the mutable value that `publisher` keeps under `salt` belongs.
    #[must_use]
    pub fn of_mutable(publisher: &NodeId, salt: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key("cosync dht v1 mutable value");
        hasher.update(publisher.as_bytes());
        hasher.update(salt);
        Self(*hasher.finalize().as_bytes())
    }

    /// Where an immutable value belongs: its hash, so that whoever receives it can check it.
    #[must_use]
    pub fn of_immutable(value: &[u8]) -> Self {
        Self(blake3::derive_key("cosync dht v1 immutable value", value))
    }

    /// The bytes of this key.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// How far `other` is from here.
    #[must_use]
    pub fn distance(&self, other: &Self) -> Distance {
        let mut xor = self.0;
        for (left, right) in xor.iter_mut().zip(other.0) {
            *left ^= right;
        }
        Distance(xor)
    }

    /// A key that shares exactly `bits` leading bits with this one; the bits after the differing one come from
    /// `noise`. `bits` is at most 255.
    pub(crate) fn at_prefix(&self, bits: u8, noise: [u8; 32]) -> Self {
        let mut bytes = noise;
        let (whole, part) = (usize::from(bits / 8), bits % 8);
        for (index, byte) in bytes.iter_mut().enumerate() {
            let own = self.0.get(index).copied().unwrap_or_default();
            if index < whole {
                *byte = own;
            } else if index == whole {
                let kept = !(0xff_u8.checked_shr(u32::from(part)).unwrap_or(0));
                let flipped = 0x80 >> part;
                *byte = (own & kept) | (!own & flipped) | (*byte & !(kept | flipped));
            }
        }
        Self(bytes)
    }
}

impl Distance {
    /// Leading zero bits: how long a prefix the two keys share, 0 to 256.
    #[must_use]
    pub const fn leading_zeros(&self) -> u32 {
        let mut index = 0;
        while index < 32 && self.0[index] == 0 {
            index += 1;
        }
        if index == 32 { 256 } else { 8 * index as u32 + self.0[index].leading_zeros() }
    }

    /// The distance as a fraction of the whole space, 0 up to 1: what the size estimate counts in.
    pub(crate) fn fraction(&self) -> f64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h]) as f64 / 18_446_744_073_709_551_616.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "Key({a:02x}{b:02x}{c:02x}{d:02x})")
    }
}

impl fmt::Debug for Distance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Distance(2^{})", 256 - self.leading_zeros())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn a_key_at_a_prefix_shares_exactly_that_many_bits(own: [u8; 32], noise: [u8; 32], bits: u8) {
            let own = Key(own);
            prop_assert_eq!(own.distance(&own.at_prefix(bits, noise)).leading_zeros(), u32::from(bits));
        }

        #[test]
        fn distance_is_symmetric_and_unidirectional(a: [u8; 32], b: [u8; 32], c: [u8; 32]) {
            let (a, b, c) = (Key(a), Key(b), Key(c));
            prop_assert_eq!(a.distance(&b), b.distance(&a));
            prop_assert_eq!(a.distance(&b) == a.distance(&c), b == c);
        }
    }

    #[test]
    fn salts_and_publishers_have_keys_of_their_own() {
        let publisher = crate::testing::node(1);
        assert_ne!(Key::of_mutable(&publisher, b"a"), Key::of_mutable(&publisher, b"b"));
        assert_ne!(Key::of_mutable(&publisher, b""), Key::of_mutable(&crate::testing::node(2), b""));
        assert_ne!(Key::of_immutable(b"x"), Key::of_immutable(b"y"));
    }
}
