//! What to send for an estimated difference: filters, partitions and depth, by cost in bytes (REC-5).

use crate::reconcile::bloom;
use crate::reconcile::wire::{COUNTERS, MAX_DEPTH, MAX_FILTER_BITS_EACH, MAX_PARTITIONS};

/// Mean differences in a partition.
const PARTITION_MEAN: f64 = 16.0;
/// Syndromes sent first for a partition of that mean: two percent need more.
const PARTITION_DEPTH: u8 = 24;
/// Bytes that one difference costs in a sketch, and in naming it to the side that has it.
const SKETCH_COST: f64 = 6.0;
const NAME_COST: f64 = 4.0;

/// A difference as counted by the estimator.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Difference {
    /// What only the sketching side holds.
    pub(crate) here: f64,
    /// What only the decoding side holds.
    pub(crate) there: f64,
}

impl Difference {
    /// From both sizes and the mean of squared counter differences, which is the expected size of the
    /// symmetric difference (Alon, Matias, Szegedy 1996; relative deviation sqrt(2 / counters)).
    pub(crate) fn estimate(here: u64, there: u64, ours: &[i64; COUNTERS], theirs: &[i64; COUNTERS]) -> Self {
        let squares: f64 = ours.iter().zip(theirs).map(|(a, b)| (a.wrapping_sub(*b) as f64).powi(2)).sum();
        let skew = here as f64 - there as f64;
        let both = squares.max(skew.abs()).min(here as f64 + there as f64);
        Self { here: (both + skew) / 2.0, there: (both - skew) / 2.0 }
    }
}

/// What the sketching side does in one round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Bits an element of the sketching side's filter; 0: none.
    pub(crate) own_bits: u8,
    /// Bits an element of the filter that is asked of the decoding side; 0: none.
    pub(crate) their_bits: u8,
    pub(crate) partitions: u32,
    pub(crate) depth: u8,
}

impl Plan {
    /// The cheapest plan for sets of these sizes. Pure; floating point decides cost, never correctness.
    pub(crate) fn choose(here: u64, there: u64, difference: Difference) -> Self {
        let own_bits = best_bits(here as f64, difference.there, SKETCH_COST);
        let there_left = difference.there * passing(own_bits);
        let filtered = (there as f64 - difference.there + there_left).max(0.0);
        let their_bits = best_bits(filtered, difference.here, SKETCH_COST + NAME_COST);
        let here_left = difference.here * passing(their_bits);
        let (partitions, depth) = Self::partition(here_left + there_left);
        Self { own_bits, their_bits, partitions, depth }
    }

    /// Partitions and depth for an expected number of differences.
    fn partition(expected: f64) -> (u32, u8) {
        // The estimate is off by a sixth as a rule: a little more depth is cheaper than another turn.
        let expected = expected * 1.1 + 1.0;
        if expected <= PARTITION_MEAN {
            let depth = (expected + 2.0 * expected.sqrt() + 2.0).ceil() as u8;
            return (1, depth.min(MAX_DEPTH));
        }
        let partitions = (expected / PARTITION_MEAN).ceil().min(f64::from(MAX_PARTITIONS)) as u32;
        let depth = if partitions == MAX_PARTITIONS { MAX_DEPTH } else { PARTITION_DEPTH };
        (partitions, depth)
    }
}

/// The filter size that costs least over `members`, where each of `strangers` that passes costs `each`.
fn best_bits(members: f64, strangers: f64, each: f64) -> u8 {
    let cost = |bits: u8| members * f64::from(bits) / 8.0 + strangers * passing(bits) * each;
    // A filter must save more than its own turn and header are worth.
    let none = cost(0) - 64.0;
    (1..=MAX_FILTER_BITS_EACH)
        .map(|bits| (bits, cost(bits)))
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .filter(|(_, cost)| *cost < none)
        .map_or(0, |(bits, _)| bits)
}

fn passing(bits: u8) -> f64 {
    if bits == 0 { 1.0 } else { bloom::false_positive_rate(bits) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(here: u64, there: u64, only_here: f64, only_there: f64) -> Plan {
        Plan::choose(here, there, Difference { here: only_here, there: only_there })
    }

    #[test]
    fn a_small_difference_takes_one_partition_and_no_filter() {
        let plan = plan(100_000, 100_000, 5.0, 5.0);
        assert_eq!((plan.own_bits, plan.their_bits, plan.partitions), (0, 0, 1));
        assert!(plan.depth >= 12);
    }

    #[test]
    fn a_middling_difference_takes_partitions_of_sixteen() {
        let plan = plan(100_000, 100_000, 500.0, 500.0);
        assert_eq!((plan.own_bits, plan.their_bits), (0, 0));
        assert!((60..=75).contains(&plan.partitions));
    }

    #[test]
    fn half_of_the_set_takes_filters_both_ways() {
        let plan = plan(100_000, 100_000, 25_000.0, 25_000.0);
        assert!(plan.own_bits > 0 && plan.their_bits > 0, "{plan:?}");
    }

    #[test]
    fn lopsided_sets_take_the_filter_of_the_small_one_only() {
        let plan = plan(1_000_000, 10_000, 990_000.0, 0.0);
        assert!(plan.own_bits == 0 && plan.their_bits > 8, "{plan:?}");
    }

    #[test]
    fn an_empty_set_costs_nothing_to_filter() {
        assert_eq!(plan(0, 50_000, 0.0, 50_000.0).own_bits, MAX_FILTER_BITS_EACH);
        assert_eq!(plan(50_000, 0, 50_000.0, 0.0).their_bits, MAX_FILTER_BITS_EACH);
    }

    #[test]
    fn the_estimate_never_leaves_what_the_sizes_allow() {
        let zero = [0i64; COUNTERS];
        let wild = [i64::MIN; COUNTERS];
        for difference in
            [Difference::estimate(10, 3, &zero, &wild), Difference::estimate(10, 3, &zero, &zero)]
        {
            assert!(difference.here >= 0.0 && difference.here <= 10.0, "{difference:?}");
            assert!(difference.there >= 0.0 && difference.there <= 3.0, "{difference:?}");
        }
    }
}
