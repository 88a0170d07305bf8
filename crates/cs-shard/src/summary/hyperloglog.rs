//! How many different items there are (SHARD-11).
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

use cs_identity::wire::{take, take_u8};

use super::hash_item;
use crate::wire::{DecodeError, whole};

const PRECISION: u32 = 12;
/// Registers of a sketch: 2^12.
const REGISTERS: usize = 1 << PRECISION;
/// Bits of the hash behind those that pick the register: ranks are 1 to one more.
const TAIL_BITS: u32 = 64 - PRECISION;
const RANK_MAX: u8 = TAIL_BITS as u8 + 1;
/// Set registers up to which they are listed one by one: three bytes each.
const SPARSE_MAX: usize = REGISTERS / 4;
const SPARSE: u8 = 0;
const DENSE: u8 = 1;

/// A count of distinct items, in 4 KiB however many they are: HyperLogLog with 2^12 registers (Flajolet and others,
/// 2007) and the improved raw estimator of Ertl ("New cardinality estimation algorithms", 2017, algorithm 6), which
/// needs no thresholds and no tables.
///
/// The standard error is [`HyperLogLog::STANDARD_ERROR`], 1.6 %. Merging is the maximum of each register, so it is
/// commutative, associative and idempotent: whatever is counted twice counts once.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HyperLogLog {
    registers: Box<[u8; REGISTERS]>,
}

impl Default for HyperLogLog {
    fn default() -> Self {
        Self { registers: Box::new([0; REGISTERS]) }
    }
}

impl HyperLogLog {
    /// Relative standard error of an estimate: 1.04 / sqrt(2^12).
    pub const STANDARD_ERROR: f64 = 0.016_25;

    /// Counts an item. Cost: one hash.
    pub fn insert(&mut self, item: &[u8]) {
        let [a, b, c, d, e, f, g, h, ..] = hash_item(item);
        self.insert_hash(u64::from_be_bytes([a, b, c, d, e, f, g, h]));
    }

    /// Counts an item by a uniform hash of it.
    pub(crate) fn insert_hash(&mut self, hash: u64) {
        let rank = ((hash << PRECISION).leading_zeros().min(TAIL_BITS) + 1) as u8;
        if let Some(register) = self.registers.get_mut((hash >> TAIL_BITS) as usize) {
            *register = rank.max(*register);
        }
    }

    /// Takes in all that the other one counted.
    pub fn merge(&mut self, other: &Self) {
        for (own, other) in self.registers.iter_mut().zip(other.registers.iter()) {
            *own = (*own).max(*other);
        }
    }

    /// About how many different items were counted: exactly 0 for none. The same on every machine, since only
    /// arithmetic and square roots that IEEE 754 rounds exactly lead to it.
    #[must_use]
    pub fn estimate(&self) -> f64 {
        let mut ranks = [0u32; RANK_MAX as usize + 1];
        for register in self.registers.iter() {
            if let Some(count) = ranks.get_mut(usize::from(*register)) {
                *count += 1;
            }
        }
        let m = REGISTERS as f64;
        let [zero, middle @ .., last] = &ranks;
        let mut sum = m * tau(1.0 - f64::from(*last) / m);
        for count in middle.iter().rev() {
            sum = 0.5 * (sum + f64::from(*count));
        }
        sum += m * sigma(f64::from(*zero) / m);
        m * m / (2.0 * core::f64::consts::LN_2) / sum
    }

    /// Whether so many items can have led to these registers: at most `items` registers are set, and of ranks that one
    /// item in 2^k reaches there are no more than that part of the items, but for what chance makes of it in less than
    /// one case of a million (SHARD-15).
    ///
    /// Without this test, one sketch that claims few items could double the estimate of a union: a few thousand items
    /// whose hashes were made to have high ranks look small alone, and hide every other item.
    #[must_use]
    pub fn is_plausible(&self, items: u64) -> bool {
        let mut reached = 0u64;
        let mut ranks = [0u64; RANK_MAX as usize + 1];
        for register in self.registers.iter() {
            if let Some(count) = ranks.get_mut(usize::from(*register)) {
                *count += 1;
            }
        }
        for (rank, count) in ranks.iter().enumerate().skip(1).rev() {
            reached += count;
            let expected = items as f64 / (1u64 << (rank - 1)) as f64;
            if reached > items || reached as f64 > most_by_chance(expected) {
                return false;
            }
        }
        true
    }

    /// Appends the one encoding: sparse up to 1,024 set registers, else six bits a register.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let set = self.registers.iter().filter(|register| **register > 0).count();
        if set <= SPARSE_MAX {
            out.push(SPARSE);
            out.extend_from_slice(&(set as u16).to_be_bytes());
            for (at, register) in self.registers.iter().enumerate().filter(|(_, register)| **register > 0) {
                out.extend_from_slice(&(at as u16).to_be_bytes());
                out.push(*register);
            }
        } else {
            out.push(DENSE);
            for [a, b, c, d] in self.registers.as_chunks().0 {
                let bits = u32::from(*a) << 18 | u32::from(*b) << 12 | u32::from(*c) << 6 | u32::from(*d);
                out.extend_from_slice(&bits.to_be_bytes()[1..]);
            }
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
    /// [`DecodeError`]: ranks that no hash has, registers not ascending, or the other form than the number of set
    /// registers asks for.
    pub fn decode(bytes: &mut &[u8]) -> Result<Self, DecodeError> {
        let mut sketch = Self::default();
        match take_u8(bytes)? {
            SPARSE => sketch.decode_sparse(bytes)?,
            DENSE => sketch.decode_dense(bytes)?,
            _ => return Err(DecodeError::Kind),
        }
        if sketch.registers.iter().any(|register| *register > RANK_MAX) {
            return Err(DecodeError::Range);
        }
        Ok(sketch)
    }

    fn decode_sparse(&mut self, bytes: &mut &[u8]) -> Result<(), DecodeError> {
        let [high, low] = cs_identity::wire::take_array(bytes)?;
        let set = usize::from(u16::from_be_bytes([high, low]));
        if set > SPARSE_MAX {
            return Err(DecodeError::NotCanonical);
        }
        let mut next = 0;
        for [high, low, rank] in take(bytes, 3 * set)?.as_chunks().0 {
            let at = usize::from(u16::from_be_bytes([*high, *low]));
            let register = self.registers.get_mut(at).ok_or(DecodeError::Range)?;
            if at < next || *rank == 0 {
                return Err(DecodeError::NotCanonical);
            }
            *register = *rank;
            next = at + 1;
        }
        Ok(())
    }

    fn decode_dense(&mut self, bytes: &mut &[u8]) -> Result<(), DecodeError> {
        let packed = take(bytes, REGISTERS * 6 / 8)?.as_chunks().0;
        for ([a, b, c], four) in packed.iter().zip(self.registers.as_chunks_mut::<4>().0) {
            let bits = u32::from_be_bytes([0, *a, *b, *c]);
            *four = [18, 12, 6, 0].map(|shift| (bits >> shift & 63) as u8);
        }
        let set = self.registers.iter().filter(|register| **register > 0).count();
        if set > SPARSE_MAX { Ok(()) } else { Err(DecodeError::NotCanonical) }
    }
}

/// What a Poisson variable of this mean exceeds in less than one case of a million, a sum over all ranks included.
fn most_by_chance(mean: f64) -> f64 {
    match mean {
        mean if mean >= 0.05 => mean + 6.0 * mean.sqrt() + 4.0,
        mean if mean >= 1e-4 => 3.0,
        mean if mean >= 1e-8 => 1.0,
        _ => 0.0,
    }
}

/// The sum of x + x^(2^k) 2^(k-1) over k from 1 on; the part of the registers that no item met.
fn sigma(mut x: f64) -> f64 {
    if x >= 1.0 {
        return f64::INFINITY;
    }
    let (mut weight, mut sum) = (1.0, x);
    loop {
        x *= x;
        let before = sum;
        sum += x * weight;
        weight += weight;
        if sum == before {
            return sum;
        }
    }
}

/// (1 - x - the sum of (1 - x^(2^-k))^2 2^-k over k from 1 on) / 3; the part of the registers that are full.
fn tau(mut x: f64) -> f64 {
    if x <= 0.0 || x >= 1.0 {
        return 0.0;
    }
    let (mut weight, mut sum) = (1.0, 1.0 - x);
    loop {
        x = x.sqrt();
        let before = sum;
        weight *= 0.5;
        sum -= (1.0 - x) * (1.0 - x) * weight;
        if sum == before {
            return sum / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_estimated_as_nothing_and_full_registers_as_more_than_can_be() {
        assert_eq!(HyperLogLog::default().estimate(), 0.0);
        let full = HyperLogLog { registers: Box::new([RANK_MAX; REGISTERS]) };
        assert_eq!(full.estimate(), f64::INFINITY);
        assert!(full.is_plausible(u64::MAX) && !full.is_plausible(1 << 60));
    }

    /// SHARD-11: which bits pick the register, and which are counted.
    #[test]
    fn a_hash_sets_one_register_to_one_more_than_its_zeros() {
        for (hash, register, rank) in
            [(0, 0, 53), (1 << 51, 0, 1), (1, 0, 52), (u64::MAX, 4095, 1), (0x8010_0000_0000_0000, 0x801, 53)]
        {
            let mut sketch = HyperLogLog::default();
            sketch.insert_hash(hash);
            assert_eq!(sketch.registers[register], rank, "{hash:x}");
            assert_eq!(sketch.registers.iter().filter(|rank| **rank > 0).count(), 1);
        }
    }

    /// SHARD-15: the attack that the test is for.
    #[test]
    fn half_of_the_registers_at_high_ranks_are_not_what_few_items_leave() {
        let mut forged = HyperLogLog::default();
        forged.registers.iter_mut().step_by(2).for_each(|register| *register = 40);
        assert!(forged.estimate() < 4_000.0);
        assert!(!forged.is_plausible(4_000));
    }
}
