//! Random worlds. A failure names its seed; `cargo run -p cs-tests --bin sim` replays it.

use cs_tests::sim::{Outcome, run, swarm};
use std::time::Duration;

/// Convergence must come within this after the last fault.
const LIMIT: Duration = Duration::from_secs(600);

fn survives(seed: u64, nodes: usize, steps: usize) -> Outcome {
    match run(&swarm(seed, nodes, steps), LIMIT, false) {
        Ok(outcome) => outcome,
        Err(violation) => panic!(
            "{violation}\nreplay: cargo run -p cs-tests --bin sim -- --seed {seed} --nodes {nodes} --steps {steps} --trace"
        ),
    }
}

#[test]
fn equal_seeds_give_equal_worlds() {
    assert_eq!(survives(1, 4, 40), survives(1, 4, 40));
    assert_ne!(survives(1, 4, 40).summary.trace, survives(2, 4, 40).summary.trace);
}

#[test]
fn a_few_nodes_converge_after_anything() {
    for seed in 1..=12 {
        survives(seed, 5, 50);
    }
}

#[test]
fn thirty_nodes_in_three_spaces_converge_after_partitions_crashes_and_churn() {
    survives(1, 30, 200);
}
