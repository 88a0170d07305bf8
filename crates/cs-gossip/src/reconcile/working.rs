//! One side's set under the salt of a round: hashed, ordered by hash, cut into partitions.

use crate::reconcile::Id;
use crate::reconcile::bloom;
use crate::reconcile::index::{Fingerprint, Index, words};
use crate::reconcile::sketch;
use crate::reconcile::wire::{COUNTERS, Filter, MAX_SLICE, MAX_SLICES};

const ROUND_CONTEXT: &str = "CosmicSyncCore 2026 cs-gossip reconcile round";

/// What remains undecided of a set. 24 bytes an element, for as long as a session lasts.
#[derive(Debug, Default)]
pub(crate) struct Working {
    /// By ascending hash.
    elements: Vec<Element>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Element {
    /// Decides slice, partition, short id and positions in filters.
    hash: u64,
    /// Independent of `hash`: what the final sum adds up (REC-9).
    check: u64,
    /// Place in the snapshot's order.
    rank: u32,
    /// Found to be missing at the peer.
    pub(crate) missing: bool,
}

impl Element {
    /// The field element: the lower half of the hash, zero being no element of a sketch.
    fn short(&self) -> u32 {
        (self.hash as u32).max(1)
    }
}

impl Working {
    /// Hashes all of `index` but the ranks in `missing` (ascending). One keyed BLAKE3 an id, and a sort.
    pub(crate) fn new(index: &Index, missing: &[u32], salt: [u8; 8], round: u8) -> Self {
        let key = round_key(salt, round);
        let mut skip = missing.iter().copied().peekable();
        let mut elements = Vec::with_capacity(index.len().saturating_sub(missing.len()));
        for (rank, id) in (0u32..).zip(index.iter()) {
            if skip.next_if_eq(&rank).is_some() {
                continue;
            }
            let [hash, check, ..] = words(blake3::keyed_hash(&key, id).as_bytes());
            elements.push(Element { hash, check, rank, missing: false });
        }
        elements.sort_unstable_by_key(|element| element.hash);
        Self { elements }
    }

    pub(crate) fn len(&self) -> u64 {
        self.elements.len() as u64
    }

    /// Moves what was found missing out; `ranks` stays ascending.
    pub(crate) fn take_missing(&mut self, ranks: &mut Vec<u32>) {
        let before = ranks.len();
        ranks.extend(self.elements.iter().filter(|element| element.missing).map(|element| element.rank));
        if ranks.len() > before {
            ranks.sort_unstable();
            self.elements.retain(|element| !element.missing);
        }
    }

    /// Each element adds or subtracts one in one of the counters (Thorup and Zhang's form of the
    /// Alon-Matias-Szegedy sketch).
    pub(crate) fn counters(&self) -> Box<[i64; COUNTERS]> {
        let mut counters = Box::new([0i64; COUNTERS]);
        for element in &self.elements {
            let sign = if element.check >> 63 == 1 { -1 } else { 1 };
            if let Some(counter) = counters.get_mut(element.check as usize % COUNTERS) {
                *counter += sign;
            }
        }
        counters
    }

    /// The sum of what both sides should hold.
    pub(crate) fn common_sum(&self) -> u64 {
        let common = self.elements.iter().filter(|element| !element.missing);
        common.fold(0, |sum, element| sum.wrapping_add(element.check))
    }

    /// Elements of part `part` of `parts`, missing ones included.
    fn part(&self, part: u32, parts: u32) -> &[Element] {
        let (from, to) = self.part_bounds(part, parts);
        &self.elements[from..to]
    }

    fn part_mut(&mut self, part: u32, parts: u32) -> &mut [Element] {
        let (from, to) = self.part_bounds(part, parts);
        &mut self.elements[from..to]
    }

    fn part_bounds(&self, part: u32, parts: u32) -> (usize, usize) {
        let place = |hash: u64| ((hash >> 32) * u64::from(parts)) >> 32;
        let from = self.elements.partition_point(|element| place(element.hash) < u64::from(part));
        let to = self.elements.partition_point(|element| place(element.hash) <= u64::from(part));
        (from, to)
    }

    /// Syndromes of one partition.
    pub(crate) fn syndromes(&self, part: u32, parts: u32, depth: u8) -> Vec<u32> {
        let mut syndromes = vec![0; usize::from(depth)];
        for element in self.part(part, parts) {
            sketch::toggle(&mut syndromes, element.short());
        }
        syndromes
    }

    /// Marks the element of a partition with this short id as missing at the peer; `false` if there is none.
    pub(crate) fn mark(&mut self, part: u32, parts: u32, short: u32) -> bool {
        let found = self.part_mut(part, parts).iter_mut().find(|element| element.short() == short);
        let known = found.is_some();
        if let Some(element) = found {
            element.missing = true;
        }
        known
    }

    /// How many slices a filter of this set takes at `bits_each`.
    pub(crate) fn slices(&self, bits_each: u8) -> u32 {
        let bytes = (self.len() * u64::from(bits_each)).div_ceil(8);
        // Half full on average: slices are of uneven size, and a fuller one must still fit.
        bytes.div_ceil(MAX_SLICE as u64 / 2).clamp(1, u64::from(MAX_SLICES)) as u32
    }

    /// One slice of a filter of this set.
    pub(crate) fn filter(&self, slice: u32, slices: u32, bits_each: u8, reply_bits: u8) -> Filter {
        if bits_each == 0 {
            return Filter { slice, slices, hashes: 0, reply_bits, bits: Vec::new() };
        }
        let hashes = bloom::hashes_for(bits_each);
        let elements = self.part(slice, slices);
        let mut bits = vec![0; (elements.len() * usize::from(bits_each)).div_ceil(8).min(MAX_SLICE)];
        elements.iter().for_each(|element| bloom::insert(&mut bits, hashes, element.hash));
        Filter { slice, slices, hashes, reply_bits, bits }
    }

    /// Marks as missing what the peer's filter excludes.
    pub(crate) fn apply(&mut self, filter: &Filter) {
        if filter.hashes == 0 {
            return;
        }
        for element in self.part_mut(filter.slice, filter.slices) {
            element.missing |= !bloom::contains(&filter.bits, filter.hashes, element.hash);
        }
    }

    /// All hashes, ascending; equal ones once.
    pub(crate) fn hashes_above(&self, above: Option<u64>, limit: usize) -> Vec<u64> {
        let from = self.elements.partition_point(|element| above.is_some_and(|above| element.hash <= above));
        let mut hashes: Vec<u64> = Vec::with_capacity(limit.min(self.elements.len() - from));
        for element in &self.elements[from..] {
            if hashes.last() == Some(&element.hash) {
                continue;
            }
            if hashes.len() == limit {
                break;
            }
            hashes.push(element.hash);
        }
        hashes
    }

    /// Compares with the peer's hashes between `above` and `up_to`: marks what the peer lacks and returns
    /// what this side lacks.
    pub(crate) fn compare(&mut self, above: Option<u64>, up_to: u64, hashes: &[u64]) -> Vec<u64> {
        let from = self.elements.partition_point(|element| above.is_some_and(|above| element.hash <= above));
        let to = self.elements.partition_point(|element| element.hash <= up_to);
        let range = &mut self.elements[from..to.max(from)];
        for element in range.iter_mut() {
            element.missing |= hashes.binary_search(&element.hash).is_err();
        }
        let lacking = |hash: &u64| range.binary_search_by_key(hash, |element| element.hash).is_err();
        hashes.iter().copied().filter(lacking).collect()
    }

    /// Marks every element with this hash as missing at the peer.
    pub(crate) fn mark_hash(&mut self, hash: u64) {
        let from = self.elements.partition_point(|element| element.hash < hash);
        for element in self.elements[from..].iter_mut().take_while(|element| element.hash == hash) {
            element.missing = true;
        }
    }
}

/// The ids at these ranks, ascending. One pass over the index.
pub(crate) fn ids_at(index: &Index, ranks: &[u32]) -> Vec<Id> {
    let mut wanted = ranks.iter().copied().peekable();
    let mut ids = Vec::with_capacity(ranks.len());
    for (rank, id) in (0u32..).zip(index.iter()) {
        if wanted.peek().is_none() {
            break;
        }
        if wanted.next_if_eq(&rank).is_some() {
            ids.push(*id);
        }
    }
    ids
}

/// The twelve bytes of a greeting: of the index's own sum, or of one under a salt (REC-2).
pub(crate) fn greeting_fingerprint(index: &Index, salt: Option<[u8; 8]>) -> [u8; 12] {
    let sum = salt.map_or_else(
        || index.fingerprint(),
        |salt| {
            let key = round_key(salt, u8::MAX);
            let mut sum = Fingerprint::default();
            index.iter().for_each(|id| sum.add_hash(blake3::keyed_hash(&key, id).as_bytes()));
            sum
        },
    );
    let hash = blake3::hash(&sum.to_bytes());
    *hash.as_bytes().first_chunk().expect("a hash has 32 bytes")
}

/// Salt and round decide every hash of a round (REC-3): collisions and false positives do not repeat.
fn round_key(salt: [u8; 8], round: u8) -> [u8; 32] {
    let mut material = [0; 9];
    material[..8].copy_from_slice(&salt);
    material[8] = round;
    blake3::derive_key(ROUND_CONTEXT, &material)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(range: core::ops::Range<u32>) -> Index {
        range.map(|number| *blake3::hash(&number.to_le_bytes()).as_bytes()).collect()
    }

    /// REC-3
    #[test]
    fn partitions_cover_every_element_once() {
        let working = Working::new(&index(0..1000), &[], [7; 8], 1);
        for parts in [1, 3, 64, 1000] {
            let covered: usize = (0..parts).map(|part| working.part(part, parts).len()).sum();
            assert_eq!(covered, 1000);
        }
    }

    /// REC-5
    #[test]
    fn the_estimator_is_within_its_deviation() {
        let (ours, theirs) = (index(0..10_000), index(1_000..10_500));
        let mut total = 0.0;
        for round in 0..16 {
            let (a, b) = (Working::new(&ours, &[], [1; 8], round), Working::new(&theirs, &[], [1; 8], round));
            let counters = a.counters().into_iter().zip(*b.counters());
            total += counters.map(|(a, b)| ((a - b) as f64).powi(2)).sum::<f64>();
        }
        let mean = total / 16.0;
        assert!((1300.0..1700.0).contains(&mean), "{mean}");
    }

    #[test]
    fn missing_ranks_are_left_out_of_the_next_round() {
        let set = index(0..100);
        let mut working = Working::new(&set, &[3, 50], [1; 8], 1);
        assert_eq!(working.len(), 98);
        working.elements[0].missing = true;
        let mut ranks = vec![3, 50];
        working.take_missing(&mut ranks);
        assert_eq!((ranks.len(), working.len()), (3, 97));
        assert_eq!(Working::new(&set, &ranks, [1; 8], 2).len(), 97);
        assert_eq!(ids_at(&set, &[0, 99]), vec![*set.iter().next().unwrap(), *set.iter().last().unwrap()]);
    }
}
