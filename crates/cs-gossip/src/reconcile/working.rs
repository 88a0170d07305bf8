//! One side's set during a session: a snapshot, and what of it was found to be missing at the peer.

use core::ops::RangeInclusive;
use std::collections::BTreeSet;

use crate::reconcile::Id;
use crate::reconcile::bits::packed_len;
use crate::reconcile::bloom;
use crate::reconcile::element::{Cut, Element, Estimator, span};
use crate::reconcile::fingerprint::Fingerprint;
use crate::reconcile::index::{Index, add_powers};
use crate::reconcile::wire::{Filter, MAX_FILTER_LEVEL, MAX_SLICE};

const ROUND_CONTEXT: &str = "CosmicSyncCore 2026 cs-gossip reconcile round";

/// Multiplications that one session may cause here for each own id, and for nothing (REC-12).
const WORK_EACH: u64 = 4096;
const WORK_FREE: u64 = 1 << 26;

/// What remains undecided of a set.
#[derive(Debug, Default)]
pub(crate) struct Working {
    index: Index,
    /// What the final check is over before anything is excluded: more than the index while only what is recent is looked at.
    total: Fingerprint,
    /// Found to be missing at the peer.
    excluded: BTreeSet<Element>,
    /// What to fall back to if a check fails.
    kept: BTreeSet<Element>,
    work: u64,
}

impl Working {
    /// Begins with everything in `index`; checks are over what `total` sums.
    pub(crate) fn new(index: Index, total: Fingerprint) -> Self {
        Self { index, total, ..Self::default() }
    }

    /// Looks at another index, and keeps what was found.
    pub(crate) fn widen(&mut self, index: Index) {
        self.total = index.fingerprint();
        self.index = index;
    }

    /// How many are undecided.
    pub(crate) fn len(&self) -> u64 {
        self.index.len().saturating_sub(self.excluded.len()) as u64
    }

    /// Whether nothing was found to be missing at the peer.
    pub(crate) fn is_whole(&self) -> bool {
        self.excluded.is_empty()
    }

    /// What was found to be missing at the peer, in no order.
    pub(crate) fn found(&self) -> Vec<Id> {
        self.excluded.iter().map(|element| element.id).collect()
    }

    pub(crate) fn exclude(&mut self, elements: Vec<Element>) {
        if elements.len() > self.excluded.len() / 8 {
            self.excluded.append(&mut elements.into_iter().collect());
        } else {
            self.excluded.extend(elements);
        }
    }

    /// Takes back what was excluded by mistake: the peer has it after all.
    pub(crate) fn readmit(&mut self, elements: &[Element]) {
        for element in elements {
            self.excluded.remove(element);
        }
    }

    /// Remembers what is excluded now; [`Self::roll_back`] returns to it.
    pub(crate) fn keep(&mut self) {
        self.kept.clone_from(&self.excluded);
    }

    pub(crate) fn roll_back(&mut self) {
        self.excluded.clone_from(&self.kept);
    }

    /// Whether the session has cost more than an honest one can.
    pub(crate) fn is_overworked(&self) -> bool {
        self.work > WORK_FREE + WORK_EACH * self.index.len() as u64
    }

    /// The digest of the sum of what both sides should hold. One hash for each excluded id.
    pub(crate) fn digest(&self) -> [u8; 8] {
        let mut sum = self.total;
        self.excluded.iter().for_each(|element| sum.remove_hash(self.index.hash_of(&element.id)));
        sum.digest()
    }

    pub(crate) fn estimator(&self) -> Estimator {
        let mut estimator = self.index.estimator();
        self.excluded.iter().for_each(|element| estimator.toggle(element.hash));
        estimator
    }

    /// Undecided elements with these hashes, ascending.
    pub(crate) fn remaining(&self, range: RangeInclusive<u64>) -> impl Iterator<Item = &Element> {
        let mut excluded = self.excluded_in(range.clone()).peekable();
        self.index.range(range).filter(move |element| {
            while excluded.next_if(|excluded| excluded < element).is_some() {}
            excluded.peek() != Some(element)
        })
    }

    fn excluded_in(&self, range: RangeInclusive<u64>) -> impl Iterator<Item = &Element> {
        let (low, high) = range.into_inner();
        self.excluded.range(Element { hash: low, id: [0; 32] }..=Element { hash: high, id: [0xff; 32] })
    }

    /// Syndromes of one partition of what is undecided.
    pub(crate) fn sketch(&mut self, cut: Cut, part: u32, depth: usize) -> Vec<u32> {
        // With much excluded, what leaves remember is of little use.
        if self.excluded.len() > self.index.len() / 8 {
            let mut sums = vec![0; depth];
            let count = add_powers(cut, &mut sums, self.remaining(cut.part(part)));
            self.work += (count * depth) as u64;
            return sums;
        }
        let (mut sums, cost) = self.index.sketch(cut, part, depth);
        let count = add_powers(cut, &mut sums, self.excluded_in(cut.part(part)));
        self.work += cost + (count * depth) as u64;
        sums
    }

    /// Undecided elements whose name starts with one of these (ascending) `width` bits, with their names, by name. A
    /// binary search each; a pass over the set where short ids are the last bits.
    pub(crate) fn select(&mut self, cut: Cut, width: u8, buckets: &[u64]) -> Vec<(u64, Element)> {
        let shift = cut.width() - width;
        let named = |element: &Element| (cut.name(element.hash), *element);
        let mut found: Vec<(u64, Element)> = if cut.last {
            self.work += self.index.len() as u64 / 4;
            let near = self.index.with_tails(near(cut, shift, buckets)).into_iter().map(named);
            near.filter(|(name, element)| {
                buckets.binary_search(&(name >> shift)).is_ok() && !self.excluded.contains(element)
            })
            .collect()
        } else {
            let of = |&bucket: &u64| {
                let inside = self.remaining(cut.bucket(bucket, width)).map(named);
                inside.filter(move |(name, _)| name >> shift == bucket)
            };
            buckets.iter().flat_map(of).collect()
        };
        found.sort_unstable();
        found
    }

    /// Excluded elements with one of these (ascending) names, with their names, by name.
    pub(crate) fn select_excluded(&self, cut: Cut, names: &[u64]) -> Vec<(u64, Element)> {
        let named = |element: &Element| (cut.name(element.hash), *element);
        let mut found: Vec<(u64, Element)> = if cut.last {
            let all = self.excluded.iter().map(named);
            all.filter(|(name, _)| names.binary_search(name).is_ok()).collect()
        } else {
            let of = |&name: &u64| self.excluded_in(cut.bucket(name, cut.width())).map(named);
            names.iter().flat_map(|name| of(name).filter(move |(other, _)| other == name)).collect()
        };
        found.sort_unstable();
        found
    }

    /// The filter takes `2^level` slices at this density.
    pub(crate) fn filter_level(&self, density: u8) -> u8 {
        let bytes = (self.len() * u64::from(density)).div_ceil(32);
        // Half full on average: slices are of uneven size, and a fuller one must still fit.
        let slices = bytes.div_ceil(MAX_SLICE as u64 / 2).max(1).next_power_of_two();
        (slices.ilog2() as u8).min(MAX_FILTER_LEVEL)
    }

    /// One slice of a filter of what is undecided.
    pub(crate) fn filter(&self, slice: u32, level: u8, density: u8, reply: u8, salt: [u8; 8]) -> Filter {
        if density == 0 {
            return Filter { slice, level, hashes: 0, reply, salt, bits: Vec::new() };
        }
        let hashes = bloom::hashes_for(density);
        let range = span(u64::from(slice), u64::from(slice), level);
        let elements: Vec<u64> = self.remaining(range).map(|element| element.hash).collect();
        let mut bits =
            vec![0; packed_len(elements.len() * usize::from(density), 1).div_ceil(4).min(MAX_SLICE)];
        elements.iter().for_each(|hash| bloom::insert(&mut bits, hashes, hash ^ u64::from_le_bytes(salt)));
        Filter { slice, level, hashes, reply, salt, bits }
    }

    /// Excludes what the peer's filter does.
    pub(crate) fn apply(&mut self, filter: &Filter) {
        if filter.hashes == 0 {
            return;
        }
        let salt = u64::from_le_bytes(filter.salt);
        let range = span(u64::from(filter.slice), u64::from(filter.slice), filter.level);
        let absent = |element: &&Element| !bloom::contains(&filter.bits, filter.hashes, element.hash ^ salt);
        let excluded: Vec<Element> = self.remaining(range).filter(absent).copied().collect();
        self.exclude(excluded);
    }

    /// All undecided hashes above this one, ascending; equal ones once.
    pub(crate) fn hashes_above(&self, above: Option<u64>, limit: usize) -> Vec<u64> {
        let Some(from) = above.map_or(Some(0), |above| above.checked_add(1)) else {
            return Vec::new();
        };
        let mut hashes: Vec<u64> = Vec::new();
        for element in self.remaining(from..=u64::MAX) {
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

    /// Compares with the peer's hashes above `above` up to `up_to`: excludes what the peer lacks and returns
    /// what this side lacks.
    pub(crate) fn compare(&mut self, above: Option<u64>, up_to: u64, hashes: &[u64]) -> Vec<u64> {
        let from = above.map_or(0, |above| above.saturating_add(1));
        let own: Vec<Element> = self.remaining(from..=up_to).copied().collect();
        let absent = own.iter().filter(|element| hashes.binary_search(&element.hash).is_err());
        self.exclude(absent.copied().collect());
        let lacking = |hash: &u64| own.binary_search_by_key(hash, |element| element.hash).is_err();
        hashes.iter().copied().filter(lacking).collect()
    }

    /// Excludes every element with one of these hashes.
    pub(crate) fn exclude_hashes(&mut self, hashes: &[u64]) {
        let of = |&hash: &u64| self.remaining(hash..=hash).copied();
        let found: Vec<Element> = hashes.iter().flat_map(of).collect();
        self.exclude(found);
    }
}

/// Tells nearly every element that is in none of the buckets by its last bits alone.
fn near(cut: Cut, shift: u8, buckets: &[u64]) -> impl Fn(u32) -> bool {
    let mask = (1u64 << cut.bits.saturating_sub(shift).min(10)) - 1;
    let mut marks = [0u64; 16];
    let place = move |bucket: u64| (((bucket & mask) >> 6) as usize & 15, 1u64 << (bucket & mask & 63));
    for &bucket in buckets {
        let (word, bit) = place(bucket);
        marks[word] |= bit;
    }
    move |tail| {
        let (word, bit) = place(u64::from(cut.short(u64::from(tail))) >> shift);
        marks[word] & bit != 0
    }
}

/// Salt and round decide every hash of a round (REC-3): collisions and false positives do not repeat.
pub(crate) fn round_key(salt: [u8; 8], round: u8) -> [u8; 32] {
    let mut material = [0; 9];
    material[..8].copy_from_slice(&salt);
    material[8] = round;
    blake3::derive_key(ROUND_CONTEXT, &material)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn working(range: core::ops::Range<u32>) -> Working {
        let index: Index = range.map(|number| *blake3::hash(&number.to_le_bytes()).as_bytes()).collect();
        let total = index.fingerprint();
        Working::new(index, total)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// REC-7 and REC-9
        #[test]
        fn what_is_excluded_is_as_if_it_had_never_been_there(
            out in proptest::collection::btree_set(0usize..600, 0..200), level in 0u8..4, last: bool,
        ) {
            let mut all = working(0..600);
            let elements: Vec<Element> = all.remaining(0..=u64::MAX).copied().collect();
            let (gone, left): (Vec<_>, Vec<_>) = (0..600).partition(|at| out.contains(at));
            all.exclude(gone.iter().map(|&at| elements[at]).collect());
            let index: Index = left.iter().map(|&at| elements[at].id).collect();
            let total = index.fingerprint();
            let mut rest = Working::new(index, total);
            prop_assert_eq!(all.len(), rest.len());
            prop_assert_eq!(all.digest(), rest.digest());
            prop_assert_eq!(all.estimator(), rest.estimator());
            let cut = Cut { level, bits: 24, last };
            for part in 0..cut.parts() {
                prop_assert_eq!(all.sketch(cut, part, 12), rest.sketch(cut, part, 12));
            }
            let mut names: Vec<u64> = elements[..20].iter().map(|element| cut.name(element.hash)).collect();
            names.sort_unstable();
            prop_assert_eq!(all.select(cut, cut.width(), &names), rest.select(cut, cut.width(), &names));
            prop_assert_eq!(all.hashes_above(None, 9), rest.hashes_above(None, 9));
            all.readmit(&gone.iter().map(|&at| elements[at]).collect::<Vec<_>>());
            prop_assert_eq!(all.len(), 600);
        }
    }

    /// REC-14
    #[test]
    fn sketches_without_end_are_noticed() {
        let mut all = working(0..100);
        let half: Vec<Element> = all.remaining(0..=u64::MAX).take(50).copied().collect();
        all.exclude(half);
        let each = 50 * 96;
        for _ in 0..(WORK_FREE + WORK_EACH * 100) / each {
            all.sketch(Cut { level: 0, bits: 8, last: false }, 0, 96);
        }
        assert!(!all.is_overworked());
        all.sketch(Cut { level: 0, bits: 8, last: false }, 0, 96);
        assert!(all.is_overworked());
    }

    /// REC-6
    #[test]
    fn a_filter_excludes_most_strangers_and_no_member() {
        let (mut ours, theirs) = (working(0..4000), working(2000..4000));
        let level = theirs.filter_level(40);
        for slice in 0..1 << level {
            ours.apply(&theirs.filter(slice, level, 40, 0, [9; 8]));
        }
        assert!((2000..2100).contains(&ours.len()), "{}", ours.len());
        let mut none = working(0..50);
        none.apply(&theirs.filter(0, 0, 0, 0, [9; 8]));
        assert_eq!(none.len(), 50);
        none.apply(&working(0..0).filter(0, 0, 8, 0, [9; 8]));
        assert_eq!(none.len(), 0);
    }
}
