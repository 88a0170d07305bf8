//! How values are distributed (SHARD-12).
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

use std::collections::BTreeMap;

use cs_identity::wire::{put_varint, take_count, take_varint};

use crate::wire::{DecodeError, whole};

/// Buckets for each doubling of the value.
const PER_OCTAVE: u16 = 35;
/// Buckets there can be, with that of zero: the bound of a sketch's size.
const MAX_BUCKETS: usize = 64 * PER_OCTAVE as usize + 1;

/// 2^(63 + i/35), rounded down: where the buckets of one doubling begin. Written out, so that every machine agrees.
const BOUNDS: [u64; PER_OCTAVE as usize] = [
    0x8000_0000_0000_0000,
    0x828f_69a9_2a6b_d401,
    0x852b_ef4e_0b5e_38bb,
    0x87d5_d40e_a72e_f912,
    0x8a8d_5c62_b775_133e,
    0x8d52_ce20_8af3_eb22,
    0x9026_7084_08bc_0931,
    0x9308_8c35_d733_a4b5,
    0x95f9_6b52_a7be_d347,
    0x98f9_5972_a7c2_e49e,
    0x9c08_a3b1_17c4_3214,
    0x9f27_98b4_0961_7cbc,
    0xa256_88b4_44f3_dbcf,
    0xa595_c585_579e_3854,
    0xa8e5_a29d_ca9b_622b,
    0xac46_751f_849d_eee4,
    0xafb8_93e0_5619_4c23,
    0xb33c_5772_b14f_be46,
    0xb6d2_1a2e_8f05_6938,
    0xba7a_383a_80bc_fcbb,
    0xbe35_0f94_f167_3024,
    0xc203_001d_9572_e35c,
    0xc5e4_6b9f_0b30_7ccf,
    0xc9d9_b5d8_ac7f_f61f,
    0xcde3_4488_92c5_fc7d,
    0xd201_7f75_ce29_95d3,
    0xd634_d07a_d120_e230,
    0xda7d_a390_1158_d183,
    0xdedc_66d6_df09_010a,
    0xe351_8aa4_73ca_6ae2,
    0xe7dd_818d_3a0d_24f7,
    0xec80_c070_4e4f_1c06,
    0xf13b_be83_3b3b_83da,
    0xf60e_f55d_f1e0_a044,
    0xfafa_e106_ff2f_92bc,
];

/// The distribution of unsigned numbers (microseconds, bytes, ...): DDSketch (Masson, Rim and Lee, VLDB 2019) with 35
/// buckets for each doubling, so that gamma is 2^(1/35).
///
/// Every quantile is within [`Quantiles::RELATIVE_ERROR`] of the value that has this rank, whatever the distribution. All
/// of `u64` is covered with at most 2,241 buckets, so nothing is ever collapsed. Merging adds counts: commutative and
/// associative, not idempotent.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Quantiles {
    /// By bucket: 0 for zeros, then upwards. No count is 0.
    buckets: BTreeMap<u16, u64>,
}

impl Quantiles {
    /// Most that a quantile may be off, relative to the true one: (gamma - 1) / (gamma + 1), rounded up.
    pub const RELATIVE_ERROR: f64 = 0.01;

    /// Counts a value.
    pub fn insert(&mut self, value: u64) {
        let count = self.buckets.entry(bucket_of(value)).or_default();
        *count = count.saturating_add(1);
    }

    /// Takes in all that the other one counted. Counts stop at the largest number.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.buckets {
            let own = self.buckets.entry(*bucket).or_default();
            *own = own.saturating_add(*count);
        }
    }

    /// Values counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.values().fold(0, |sum, count| sum.saturating_add(*count))
    }

    /// The value of rank `q * (count - 1)`, rounded down, within 1 %; `q` is taken as from 0 to 1. None of none.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let rank = (q.clamp(0.0, 1.0) * self.count().checked_sub(1)? as f64) as u64;
        let mut below = 0u64;
        for (bucket, count) in &self.buckets {
            below = below.saturating_add(*count);
            if below > rank {
                return Some(middle(*bucket));
            }
        }
        self.buckets.last_key_value().map(|(bucket, _)| middle(*bucket))
    }

    /// Appends the one encoding: the number of buckets, then the gap to each from the one before, and its count.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.buckets.len() as u64);
        let mut next = 0;
        for (bucket, count) in &self.buckets {
            put_varint(out, u64::from(bucket - next));
            put_varint(out, *count);
            next = bucket + 1;
        }
    }

    /// Reads a sketch and nothing else.
    ///
    /// # Errors
    /// As [`decode`](Self::decode), and [`DecodeError::Trailing`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        whole(bytes, Self::decode)
    }

    /// Reads a sketch from the front.
    ///
    /// # Errors
    /// [`DecodeError`]: buckets that no value has, or empty ones.
    pub fn decode(bytes: &mut &[u8]) -> Result<Self, DecodeError> {
        let mut buckets = BTreeMap::new();
        let mut next = 0u64;
        for _ in 0..take_count(bytes, MAX_BUCKETS, 2)? {
            let bucket = next.saturating_add(take_varint(bytes)?);
            let count = take_varint(bytes)?;
            if bucket >= MAX_BUCKETS as u64 || count == 0 {
                return Err(DecodeError::Range);
            }
            buckets.insert(bucket as u16, count);
            next = bucket + 1;
        }
        Ok(Self { buckets })
    }
}

fn bucket_of(value: u64) -> u16 {
    let Some(octave) = value.checked_ilog2() else { return 0 };
    let scaled = value << (63 - octave);
    octave as u16 * PER_OCTAVE + BOUNDS.partition_point(|bound| *bound <= scaled) as u16
}

/// What is as far, relatively, from the lowest as from the highest value of a bucket.
fn middle(bucket: u16) -> f64 {
    let Some(index) = bucket.checked_sub(1) else { return 0.0 };
    let bound = |index: u16| {
        let scaled = BOUNDS.get(usize::from(index % PER_OCTAVE)).map_or(0.0, |bound| *bound as f64);
        // The octave moves the point: exact, since it only scales by a power of two.
        scaled * 2f64.powi(i32::from(index / PER_OCTAVE) - 63)
    };
    let (low, high) = (bound(index), bound(index + 1));
    2.0 * low * high / (low + high)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHARD-12: the table is what it says it is, checked by multiplying it up.
    #[test]
    fn each_bound_is_a_thirty_fifth_of_a_doubling_above_the_last() {
        let gamma = 2f64.powf(1.0 / 35.0);
        for pair in BOUNDS.windows(2) {
            assert!((pair[1] as f64 / pair[0] as f64 - gamma).abs() < 1e-12);
        }
        assert_eq!(BOUNDS[0], 1 << 63);
        assert!((gamma - 1.0) / (gamma + 1.0) < Quantiles::RELATIVE_ERROR);
    }

    #[test]
    fn every_power_of_two_and_its_neighbours_find_their_bucket() {
        assert_eq!((bucket_of(0), bucket_of(1), bucket_of(u64::MAX)), (0, 1, MAX_BUCKETS as u16 - 1));
        for octave in 0..64 {
            let value = 1u64 << octave;
            assert_eq!(bucket_of(value), octave * PER_OCTAVE + 1);
            assert!(bucket_of(value - 1) < bucket_of(value));
            for value in [value, value | value >> 1, value - 1] {
                let estimate = middle(bucket_of(value));
                assert!((estimate - value as f64).abs() <= 0.01 * value as f64, "{value}: {estimate}");
            }
        }
    }
}
