//! Failures that a simulation found, shrunk, and named after what was wrong.

use crate::machines::GossipMachine;
use crate::stories::{file, put, world_of};
use cs_node::api::{Access, Request};
use cs_tests::laws::broken_laws;
use cs_tests::sim::{Action, Means, Script, Step, Weather, World, run};
use std::collections::BTreeSet;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(300);
const SECOND: Duration = Duration::from_secs(1);

fn steps(actions: &[(u64, Action)]) -> Vec<Step> {
    actions.iter().map(|(after_ms, action)| Step { after_ms: *after_ms, action: action.clone() }).collect()
}

/// The bounds of a wait crossed when a neighbour's round trip exceeded the longest wait.
#[test]
fn a_neighbour_slower_than_the_longest_wait_is_no_panic() {
    for seed in 0..8 {
        assert_eq!(broken_laws::<GossipMachine>(seed, 120), BTreeSet::new());
    }
}

/// A new file of a revoked member, outside the cut, stayed in the folders of those who had it already.
#[test]
fn what_was_received_before_it_was_cut_leaves_the_folder_again() {
    let (mut world, space) = world_of(30, &[Access::Write, Access::Write]);
    world.partition(|node| node == 0);
    put(&mut world, 1, "late", b"unknown to whoever revokes");
    // The content may be asked of the silent one first.
    world.run_for(40 * SECOND).unwrap();
    assert!(file(&world, 2, "late").is_some());
    let request = Request::Revoke { space: None, node: world.id(1).to_string() };
    world.ask(0, request).unwrap().unwrap();
    world.expel(&space, 1);
    world.run_for(5 * SECOND).unwrap();
    world.converge(LIMIT).unwrap();
    assert_eq!((file(&world, 0, "late"), file(&world, 2, "late")), (None, None));
}

/// A device that stayed connected after it was revoked kept everybody in the state `syncing`.
#[test]
fn a_connected_device_that_was_revoked_keeps_nobody_syncing() {
    let (mut world, space) = world_of(31, &[Access::Write, Access::Write]);
    let request = Request::Revoke { space: None, node: world.id(1).to_string() };
    world.ask(0, request).unwrap().unwrap();
    world.expel(&space, 1);
    put(&mut world, 0, "later", b"news");
    world.run_for(SECOND).unwrap();
    world.converge(LIMIT).unwrap();
}

/// What a paused space or a peer without rights left undone was a deadline in the past: the node never rested.
#[test]
fn a_paused_space_with_a_peer_that_differs_lets_the_node_rest() {
    let (mut world, space) = world_of(32, &[Access::Write]);
    world.ask(0, Request::Pause { space: None }).unwrap().unwrap();
    assert!(world.put_key(1, &space, "doc", "while paused"));
    assert!(world.put_key(0, &space, "doc", "here too"));
    world.run_for(60 * SECOND).unwrap();
    world.converge(LIMIT).unwrap();
}

/// The bootstrap node came back with another address and an empty table, and was announced twenty minutes later; the
/// addresses of devices that had just joined were not kept over its restart.
#[test]
fn a_bootstrap_node_that_moved_is_found_again_within_minutes() {
    let join = |node| Action::Join { inviter: 0, node, space: 0, means: Means::Invitation };
    let script = Script {
        seed: 8,
        nodes: 5,
        steps: steps(&[
            (3_000, Action::Share { node: 0, space: 0 }),
            (254, join(1)),
            (386, join(2)),
            (185, join(3)),
            (176, join(4)),
            (13_000, Action::Kill { node: 4, down_ms: 26_250 }),
            (300, Action::Kill { node: 0, down_ms: 39_615 }),
            (15_600, Action::Move { node: 0, down_ms: 262 }),
        ]),
    };
    run(&script, LIMIT, false).unwrap();
}

/// Honest peers that sent the same network configuration at once were blamed, all but the first.
#[test]
fn the_same_network_configuration_from_several_peers_is_no_fault() {
    let mut world = World::new(33, 6, Weather::default());
    world.run_for(60 * SECOND).unwrap();
    for node in 1..6 {
        world.kill(node);
        world.start_after(node, SECOND);
        world.run_for(60 * SECOND).unwrap();
    }
    assert_eq!(world.faults(), 0);
}
