//! What to send for an estimated difference: filters, partitions, widths and depth, by cost in bytes (REC-5).

use crate::reconcile::bloom;
use crate::reconcile::element::{Cut, Estimator};
use crate::reconcile::field::MAX_BITS;
use crate::reconcile::session::Mode;
use crate::reconcile::wire::{MAX_DEPTH, MAX_LEVEL};

/// Mean differences in a partition: more cost CPU, fewer cost bytes.
const PARTITION_MEAN: f64 = 24.0;
/// Narrowest short ids that are worth trying.
const MIN_BITS: u8 = 10;
/// Densities of filters, in quarters of a bit an element.
const DENSITIES: [u8; 22] =
    [0, 2, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 52, 56, 64, 80, 128];
/// Bytes that finding out about one collision of short ids costs, and about the first one besides.
const COLLISION_COST: f64 = 9.0;
const FIRST_COLLISION_COST: f64 = 30.0;
/// Sessions that may take another round trip for a collision, where round trips are spared.
const QUICK_COLLISIONS: f64 = 0.04;
/// What changing places must save: another estimate, and a turn.
const SWAP_COST: f64 = 150.0;
/// What a filter must save besides its own size.
const FILTER_COST: f64 = 48.0;

/// A difference as counted by the estimator.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Difference {
    /// What only the sketching side holds.
    pub(crate) here: f64,
    /// What only the decoding side holds.
    pub(crate) there: f64,
}

impl Difference {
    /// From both sizes and both estimators. The sizes alone often tell: as a rule one side has all that the other has, and what
    /// is estimated too low costs a turn, what is estimated too high costs bytes.
    pub(crate) fn estimate(here: u64, there: u64, ours: Estimator, theirs: &Estimator) -> Self {
        let mut both = ours;
        both.merge(theirs);
        let (here, there) = (here as f64, there as f64);
        let skew = here - there;
        let estimate = both.estimate();
        let one_sided = estimate < 2.0 * skew.abs();
        let both = if one_sided { skew.abs() } else { estimate.max(skew.abs()).min(here + there) };
        Self { here: (both + skew) / 2.0, there: (both - skew) / 2.0 }
    }

    /// Whether naming what only the sketching side holds costs much more than it would if that side decoded.
    pub(crate) fn prefers_to_decode(self, here: u64) -> bool {
        let name = (here as f64 / self.here.max(1.0)).max(1.0).log2() + 3.0;
        (self.here - self.there) * name / 8.0 > SWAP_COST
    }

    fn both(self) -> f64 {
        self.here + self.there
    }
}

/// What the sketching side does in one phase.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Plan {
    /// Density of the sketching side's filter; 0: none.
    pub(crate) own_filter: u8,
    /// Density of the filter that is asked of the decoding side; 0: none.
    pub(crate) their_filter: u8,
    pub(crate) cut: Cut,
    /// Syndromes sent first.
    pub(crate) depth: u8,
    /// Differences that will probably be hidden by collisions of short ids.
    pub(crate) hidden: f64,
}

impl Plan {
    /// The cheapest plan for sets of these sizes. Pure; floating point decides cost, never correctness.
    pub(crate) fn choose(mode: Mode, here: u64, difference: Difference) -> Self {
        let common = (here as f64 - difference.here).max(0.0);
        let mut best = (f64::INFINITY, Sketches::choose(mode, common, difference), 0, 0);
        for own in DENSITIES {
            let there_left = difference.there * passing(own);
            let own_bytes = filter_bytes(here as f64, own);
            for their in DENSITIES {
                let left = Difference { here: difference.here * passing(their), there: there_left };
                let their_bytes = filter_bytes(common + there_left, their);
                let sketches = Sketches::choose(mode, common, left);
                let total = own_bytes + their_bytes + sketches.bytes;
                if total < best.0 {
                    best = (total, sketches, own, their);
                }
            }
        }
        let (_, sketches, own_filter, their_filter) = best;
        Self {
            own_filter,
            their_filter,
            cut: sketches.cut,
            depth: sketches.depth(mode, own_filter > 0 || their_filter > 0),
            hidden: sketches.hidden,
        }
    }

    /// The same plan once the decoding side's filter has excluded so many of ours: now the difference is known within a few
    /// hundredths. `here` and `there` were the sizes before.
    pub(crate) fn refine(&self, mode: Mode, here: u64, there: u64, excluded: u64) -> Self {
        let (ours, theirs) = (passing(self.their_filter), passing(self.own_filter));
        let only_here = excluded as f64 / (1.0 - ours).max(0.01);
        let only_there = (only_here - here as f64 + there as f64).max(0.0);
        let left = Difference { here: only_here * ours, there: only_there * theirs };
        let sketches = Sketches::choose(mode, (here as f64 - only_here).max(0.0), left);
        let depth = sketches.depth(mode, true);
        Self { cut: sketches.cut, depth, hidden: sketches.hidden, ..*self }
    }

    /// What finds the differences that collisions hid from `self`: other bits of the same hashes.
    pub(crate) fn second_look(&self) -> Self {
        let level = level_for(self.hidden);
        let mean = self.hidden / f64::from(1u32 << level);
        let depth = (mean + mean.sqrt() + 3.0).ceil().clamp(4.0, f64::from(MAX_DEPTH)) as u8;
        Self {
            own_filter: 0,
            their_filter: 0,
            cut: Cut { level, bits: MAX_BITS, last: true },
            depth,
            hidden: 0.0,
        }
    }
}

/// Sketches for what filters leave.
#[derive(Clone, Copy, Debug)]
struct Sketches {
    cut: Cut,
    expected: f64,
    hidden: f64,
    bytes: f64,
}

impl Sketches {
    fn choose(mode: Mode, common: f64, left: Difference) -> Self {
        let expected = left.both().max(1.0);
        let level = level_for(expected);
        let others = (common + expected) / f64::from(1u32 << level);
        // Bits of partition and place of one name (REC-9).
        let name = ((common + left.here) / left.here.max(1.0)).max(1.0).log2() + 3.0;
        let overhead = if mode == Mode::Quick { 1.5 } else { 1.15 };
        // The width follows from rounded numbers alone, so that an index meets few cuts and remembers their sketches.
        let (usual, crowd) = (PARTITION_MEAN * f64::from(1u32 << level), 2f64.powf(others.log2().round()));
        let cost = |bits: u8| {
            let collisions = usual * crowd / 2f64.powi(i32::from(bits));
            let first = FIRST_COLLISION_COST * (1.0 - (-collisions).exp());
            let hidden = match mode {
                Mode::Fewest => collisions * COLLISION_COST + first,
                Mode::Quick if collisions > QUICK_COLLISIONS => usual * f64::from(MAX_BITS) * collisions,
                Mode::Quick => 0.0,
            };
            (usual * overhead * f64::from(bits) / 8.0 + hidden, bits)
        };
        let best = (MIN_BITS..=MAX_BITS).map(cost).min_by(|a, b| a.0.total_cmp(&b.0));
        let (_, bits) = best.unwrap_or((0.0, MAX_BITS));
        let hidden = expected * others / 2f64.powi(i32::from(bits)) * 1.5;
        let bytes = expected * overhead * f64::from(bits) / 8.0 + hidden * COLLISION_COST;
        let cut = Cut { level, bits, last: false };
        Self { cut, expected, hidden, bytes: bytes + left.here * name / 8.0 }
    }

    /// Too few cost a turn, too many cost bytes: who counts bytes begins below what is expected.
    fn depth(&self, mode: Mode, filtered: bool) -> u8 {
        let mean = self.expected / f64::from(self.cut.parts());
        let depth = match (mode, filtered) {
            (Mode::Fewest, true) => 0.9 * mean,
            (Mode::Fewest, false) => 0.6 * mean,
            // Few partitions need the one extension that there is time for, even if the estimate was low by half.
            (Mode::Quick, false) => 1.08 * mean + mean.sqrt() + 2.0,
            // What filters leave is known better than any estimate, and there is no turn left.
            (Mode::Quick, true) => 1.1 * mean + 4.5 * mean.sqrt() + 3.0,
        };
        depth.ceil().clamp(4.0, f64::from(MAX_DEPTH)) as u8
    }
}

/// Partitions as a power of two, so that leaves of an index lie in few of them and their sketches can be kept.
fn level_for(expected: f64) -> u8 {
    (expected / PARTITION_MEAN).log2().round().clamp(0.0, f64::from(MAX_LEVEL)) as u8
}

fn filter_bytes(members: f64, density: u8) -> f64 {
    if density == 0 { 0.0 } else { members * f64::from(density) / 32.0 + FILTER_COST }
}

fn passing(density: u8) -> f64 {
    if density == 0 { 1.0 } else { bloom::false_positive_rate(density) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(here: u64, only_here: f64, only_there: f64) -> Plan {
        Plan::choose(Mode::Fewest, here, Difference { here: only_here, there: only_there })
    }

    /// REC-5
    #[test]
    fn a_small_difference_takes_one_partition_and_no_filter() {
        let plan = plan(100_000, 5.0, 5.0);
        assert_eq!((plan.own_filter, plan.their_filter, plan.cut.level), (0, 0, 0));
        assert!(plan.cut.bits >= 24, "{plan:?}");
    }

    #[test]
    fn short_ids_are_as_wide_as_the_partition_is_large() {
        let bits = [(1_000, 50.0), (100_000, 500.0), (100_000, 50.0), (10_000_000, 50.0)];
        let bits = bits.map(|(size, each)| plan(size, each, each).cut.bits);
        assert!(bits.is_sorted() && bits[0] < 20 && bits[3] > 26, "{bits:?}");
    }

    #[test]
    fn a_middling_difference_takes_partitions_of_about_twenty_four() {
        let plan = plan(100_000, 500.0, 500.0);
        assert_eq!((plan.own_filter, plan.their_filter, plan.cut.level), (0, 0, 5));
        assert!((16..=32).contains(&plan.depth), "{plan:?}");
    }

    /// REC-6
    #[test]
    fn half_of_the_set_takes_filters_both_ways() {
        let plan = plan(100_000, 25_000.0, 25_000.0);
        assert!(plan.own_filter > 0 && plan.their_filter > 0, "{plan:?}");
    }

    #[test]
    fn lopsided_sets_take_the_filter_of_the_small_one_only() {
        let plan = plan(1_000_000, 990_000.0, 0.0);
        assert!(plan.own_filter == 0 && plan.their_filter > 32, "{plan:?}");
    }

    #[test]
    fn an_empty_set_costs_next_to_nothing_to_filter() {
        assert!(plan(0, 0.0, 50_000.0).own_filter > 0);
        assert!(plan(50_000, 50_000.0, 0.0).their_filter > 0);
    }

    #[test]
    fn the_estimate_never_leaves_what_the_sizes_allow() {
        let (zero, wild) = (Estimator::default(), Estimator([0x5555; 16]));
        let estimate = |theirs| Difference::estimate(10, 3, zero, theirs);
        for difference in [estimate(&wild), estimate(&zero)] {
            assert!(difference.here >= 0.0 && difference.here <= 10.0, "{difference:?}");
            assert!(difference.there >= 0.0 && difference.there <= 3.0, "{difference:?}");
        }
    }
}
