//! The Bloom filter that crosses the wire: salted by the session, sized by the planner, in slices that are read one message
//! at a time (REC-6).
//!
//! It is not growable-bloom-filter, whose serialised form cannot be accepted from a stranger: a few bytes
//! of it can ask for any amount of memory, and without a salt its false positives repeat for ever.

use crate::reconcile::wire::MAX_FILTER_HASHES;

/// Sets the `hashes` positions of one element. An empty slice holds nothing.
pub(crate) fn insert(bits: &mut [u8], hashes: u8, hash: u64) {
    let total = bits.len() as u64 * 8;
    for position in positions(hashes, hash, total) {
        if let Some(byte) = bits.get_mut((position / 8) as usize) {
            *byte |= 1 << (position % 8);
        }
    }
}

/// Whether the element may have been inserted; `false` is certain.
pub(crate) fn contains(bits: &[u8], hashes: u8, hash: u64) -> bool {
    let total = bits.len() as u64 * 8;
    total > 0
        && positions(hashes, hash, total).all(|position| {
            bits.get((position / 8) as usize).is_some_and(|byte| byte >> (position % 8) & 1 == 1)
        })
}

/// The best number of hash functions for `density` quarters of a bit an element.
pub(crate) fn hashes_for(density: u8) -> u8 {
    ((f64::from(density) / 4.0 * core::f64::consts::LN_2).round() as u8).clamp(1, MAX_FILTER_HASHES)
}

/// The probability that a foreign element passes.
pub(crate) fn false_positive_rate(density: u8) -> f64 {
    let hashes = f64::from(hashes_for(density));
    (1.0 - (-hashes * 4.0 / f64::from(density)).exp()).powf(hashes)
}

/// Double hashing (Kirsch and Mitzenmacher 2006) with a cubic term against its short cycles.
fn positions(hashes: u8, hash: u64, total: u64) -> impl Iterator<Item = u64> {
    let mut position = mix(hash);
    let mut step = mix(hash ^ 0x9e37_79b9_7f4a_7c15) | 1;
    (0..u64::from(hashes)).map(move |round| {
        let scaled = ((u128::from(position) * u128::from(total)) >> 64) as u64;
        position = position.wrapping_add(step);
        step = step.wrapping_add(round);
        scaled
    })
}

/// The finaliser of SplitMix64: a bijection that spreads every bit.
fn mix(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u64) -> u64 {
        mix(number.wrapping_mul(0x2545_f491_4f6c_dd1d))
    }

    /// REC-6
    #[test]
    fn what_was_inserted_is_always_found_and_strangers_as_rarely_as_promised() {
        for density in [6u8, 8, 32, 48] {
            let (members, strangers) = (4000u64, 40_000u64);
            let mut bits = vec![0; members as usize * usize::from(density) / 32];
            let hashes = hashes_for(density);
            (0..members).for_each(|number| insert(&mut bits, hashes, hash(number)));
            assert!((0..members).all(|number| contains(&bits, hashes, hash(number))));
            let passed = (members..members + strangers).filter(|&n| contains(&bits, hashes, hash(n))).count();
            let expected = false_positive_rate(density) * strangers as f64;
            assert!((passed as f64) < expected * 1.25 + 30.0, "{passed} of {expected} at {density}");
        }
    }

    #[test]
    fn an_empty_filter_holds_nothing() {
        assert!(!contains(&[], 7, hash(1)));
    }
}
