//! What a sketch sees of an id: 64 bits of a keyed hash, cut into partition and short id.

use core::ops::RangeInclusive;

use crate::reconcile::Id;
use crate::reconcile::field::Field;

/// An id and the first word of its hash under the key of the set that it is in. Sets are ordered by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Element {
    pub(crate) hash: u64,
    pub(crate) id: Id,
}

/// How a sketch cuts hashes (REC-3): the first `level` bits are the partition; the short id is the next `bits`, or the last
/// ones where a second look must not see the collisions of the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut {
    /// There are `2^level` partitions.
    pub(crate) level: u8,
    /// Width of short ids.
    pub(crate) bits: u8,
    /// Short ids are the last bits of the hash.
    pub(crate) last: bool,
}

impl Cut {
    pub(crate) fn field(self) -> Field {
        Field::new(self.bits)
    }

    pub(crate) const fn parts(self) -> u32 {
        1 << self.level
    }

    /// The nonzero field element of a hash: 0 counts as 1.
    pub(crate) fn short(self, hash: u64) -> u32 {
        let short = if self.last { hash << (64 - self.bits) } else { hash << self.level };
        ((short >> (64 - self.bits)) as u32).max(1)
    }

    /// Partition and short id as one number of [`Self::width`] bits.
    pub(crate) fn name(self, hash: u64) -> u64 {
        self.name_of(prefix(hash, self.level) as u32, self.short(hash))
    }

    pub(crate) fn name_of(self, part: u32, short: u32) -> u64 {
        u64::from(part) << self.bits | u64::from(short)
    }

    /// Bits of a name.
    pub(crate) const fn width(self) -> u8 {
        self.level + self.bits
    }

    /// Hashes of one partition.
    pub(crate) fn part(self, part: u32) -> RangeInclusive<u64> {
        span(u64::from(part), u64::from(part), self.level)
    }

    /// A range that has all hashes whose name starts with these `width` bits, and maybe a few more.
    pub(crate) fn bucket(self, bucket: u64, width: u8) -> RangeInclusive<u64> {
        if self.last {
            return self.part((bucket >> (width - self.level)) as u32);
        }
        // A short id of 0 counts as 1: it may be one too low.
        let range = span(bucket, bucket, width);
        range.start().saturating_sub(1 << (64 - self.width()))..=*range.end()
    }
}

/// The first `width` bits.
pub(crate) fn prefix(hash: u64, width: u8) -> u64 {
    if width == 0 { 0 } else { hash >> (64 - width) }
}

/// All hashes whose first `width` bits are from `first` to `last`.
pub(crate) fn span(first: u64, last: u64, width: u8) -> RangeInclusive<u64> {
    if width == 0 {
        return 0..=u64::MAX;
    }
    let rest = 64 - width;
    first << rest..=(last << rest | ((1 << rest) - 1))
}

/// Counters of the difference estimator, from the same hash (REC-5): one bit in one of sixteen words of sixteen bits, each
/// word seeing half as many elements as the one before, toggled by each element ("odd sketch": Mitzenmacher, Pagh, Pham, WWW
/// 2014).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Estimator(pub(crate) [u16; 16]);

impl Estimator {
    pub(crate) fn toggle(&mut self, hash: u64) {
        let word = ((hash >> 4).trailing_zeros() as usize).min(15);
        self.0[word] ^= 1 << (hash & 15);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(word, other)| *word ^= other);
    }

    /// The most likely size of the set that toggled this, deviation about a third.
    pub(crate) fn estimate(&self) -> f64 {
        let ones = self.0.map(|word| f64::from(word.count_ones()));
        let likelihood = |size: f64| -> f64 {
            (0..16)
                .zip(ones)
                .map(|(word, ones)| {
                    let share = 0.5f64.powi((word + 1).min(15));
                    let odd = ((1.0 - (-2.0 * size * share / 16.0).exp()) / 2.0).max(1e-9);
                    ones * odd.ln() + (16.0 - ones) * (1.0 - odd).ln()
                })
                .sum()
        };
        // From 1 to 30 million in steps of an eighth of an octave.
        let sizes = (0..200).map(|step| 2f64.powf(f64::from(step) / 8.0));
        sizes
            .map(|size| (size, likelihood(size)))
            .max_by(|a, b| a.1.total_cmp(&b.1))
            .map_or(1.0, |best| best.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(number: u64) -> u64 {
        u64::from_le_bytes(*blake3::hash(&number.to_le_bytes()).as_bytes().first_chunk().unwrap())
    }

    /// REC-3
    #[test]
    fn names_and_ranges_agree() {
        for (level, bits, last) in [(0, 32, false), (3, 8, false), (16, 20, false), (2, 32, true)] {
            let cut = Cut { level, bits, last };
            for number in 0..200 {
                let hash = if number < 4 { number << (64 - cut.width() - 2) } else { hash(number) };
                let name = cut.name(hash);
                assert!(cut.part(prefix(hash, cut.level) as u32).contains(&hash));
                for width in cut.level..=cut.width() {
                    let bucket = name >> (cut.width() - width);
                    assert!(cut.bucket(bucket, width).contains(&hash), "{cut:?} {number} {width}");
                }
            }
        }
    }

    /// REC-5
    #[test]
    fn the_estimator_is_within_its_deviation() {
        for size in [20u64, 300, 5000, 40_000] {
            let runs = 30;
            let errors = (0..runs).map(|run| {
                let mut estimator = Estimator::default();
                (0..size).for_each(|number| estimator.toggle(hash(number + run * 1_000_000)));
                (estimator.estimate() / size as f64).ln().powi(2)
            });
            let deviation = (errors.sum::<f64>() / runs as f64).sqrt();
            assert!(deviation < 0.5, "{size}: {deviation}");
        }
    }
}
