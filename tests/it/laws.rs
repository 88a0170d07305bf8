//! The six laws over every machine, and for each law a fault that makes exactly that law speak.

use crate::machines::{DhtMachine, GossipMachine, NodeMachine, ReconcileMachine};
use crate::sabotage::{Fault, Sabotaged};
use crate::shard_machines::{RolesMachine, RouterMachine, TreeMachine};
use cs_tests::laws::{Law, Machine, broken_laws};
use std::collections::BTreeSet;

fn holds<M: Machine>(seeds: std::ops::Range<u64>, steps: usize) {
    for seed in seeds {
        assert_eq!(broken_laws::<M>(seed, steps), BTreeSet::new(), "seed {seed}");
    }
}

#[test]
fn the_dht_keeps_the_six_laws() {
    holds::<DhtMachine>(0..24, 120);
}

#[test]
fn gossip_keeps_the_six_laws() {
    holds::<GossipMachine>(0..24, 120);
}

#[test]
fn a_reconciliation_keeps_the_six_laws() {
    holds::<ReconcileMachine>(0..24, 60);
}

#[test]
fn the_node_keeps_the_six_laws() {
    holds::<NodeMachine>(0..12, 120);
}

#[test]
fn the_aggregation_tree_keeps_the_six_laws() {
    holds::<TreeMachine>(0..24, 120);
}

#[test]
fn roles_keep_the_six_laws() {
    holds::<RolesMachine>(0..24, 120);
}

#[test]
fn the_router_keeps_the_six_laws() {
    holds::<RouterMachine>(0..24, 120);
}

/// What the laws say of a machine with a fault, over a few scripts.
fn said<M: Machine, F: Fault>() -> Vec<Law> {
    let broken: BTreeSet<Law> = (0..4).flat_map(|seed| broken_laws::<Sabotaged<M, F>>(seed, 120)).collect();
    broken.into_iter().collect()
}

fn speaks<F: Fault>(law: Law) {
    assert_eq!(said::<GossipMachine, F>(), [law]);
    assert_eq!(said::<TreeMachine, F>(), [law]);
    assert_eq!(said::<RolesMachine, F>(), [law]);
    assert_eq!(said::<RouterMachine, F>(), [law]);
}

#[test]
fn chance_from_outside_breaks_the_first_law_only() {
    speaks::<crate::sabotage::Unrepeatable>(Law::EqualScriptsEqualTraces);
}

#[test]
fn a_look_at_the_absolute_time_breaks_the_second_law_only() {
    speaks::<crate::sabotage::Absolute>(Law::ShiftOnlyShifts);
}

#[test]
fn an_output_out_of_nothing_breaks_the_third_law_only() {
    speaks::<crate::sabotage::Talkative>(Law::NoneStaysNone);
}

#[test]
fn a_deadline_that_is_past_breaks_the_fourth_law_only() {
    speaks::<crate::sabotage::Restless>(Law::DeadlineIsLater);
}

#[test]
fn a_trace_of_refused_bytes_breaks_the_fifth_law_only() {
    speaks::<crate::sabotage::Resentful>(Law::ErrLeavesNoTrace);
}

#[test]
fn notice_of_a_clock_that_steps_back_breaks_the_sixth_law_only() {
    speaks::<crate::sabotage::Nervous>(Law::NervousClockChangesNothing);
}
