//! For each checker of this folder a planted fault that it, and no other, must speak of.

use std::time::Duration;

use cs_shard::wire::TreeMessage;
use cs_shard::{Config, Member, PartitionMap, Plan};

use crate::ideal::least_moves;
use crate::sim::roles::World as Roles;
use crate::sim::tree::World as Tree;
use crate::{imbalance, member, zone_violation};

const MINUTE: Duration = Duration::from_secs(60);
const CONFIG: Config = Config { partitions: 64, replicas: 3, slack_percent: 5, tokens: 16 };

fn members() -> Vec<Member> {
    (0..12).map(|number| member(number, number as u64 % 4)).collect()
}

/// The map with other holders, as whoever publishes it could have made it.
fn altered(map: &PartitionMap, alter: impl FnOnce(&mut [[u8; 2]])) -> PartitionMap {
    let mut bytes = Vec::new();
    map.encode(&mut bytes);
    let start = bytes.len() - 2 * 3 * map.config().partitions as usize;
    alter(bytes[start..].as_chunks_mut().0);
    PartitionMap::from_bytes(&bytes).unwrap()
}

fn index(slot: [u8; 2]) -> usize {
    usize::from(u16::from_le_bytes(slot))
}

/// Slots of two partitions whose exchange leaves loads as they are, and zones if `legal`.
fn exchange(map: &PartitionMap, legal: bool) -> (usize, usize) {
    let zone = |slot: &[u8; 2]| map.members()[index(*slot)].zone;
    let mut bytes = Vec::new();
    map.encode(&mut bytes);
    let start = bytes.len() - 2 * 3 * map.config().partitions as usize;
    let slots = bytes[start..].as_chunks().0;
    let beside = |at: usize| [0, 1, 2].map(|i| at / 3 * 3 + i).into_iter().filter(move |slot| *slot != at);
    let fits = |one: usize, other: usize| {
        let is_new = |at: usize, slot: usize| beside(at).all(|beside| slots[beside] != slots[slot]);
        let is_apart = |at: usize, slot: usize| beside(at).all(|at| zone(&slots[at]) != zone(&slots[slot]));
        slots[one] != slots[other]
            && is_new(one, other)
            && is_new(other, one)
            && (is_apart(one, other) && is_apart(other, one)) == legal
    };
    let pairs =
        (0..slots.len()).flat_map(|one| (one / 3 * 3 + 3..slots.len()).map(move |other| (one, other)));
    pairs.into_iter().find(|(one, other)| fits(*one, *other)).unwrap()
}

/// SHARD-3.
#[test]
fn two_replicas_in_one_zone_are_seen_by_the_zone_checker_alone() {
    let map = PartitionMap::new(CONFIG, &members()).unwrap();
    let (one, other) = exchange(&map, false);
    let bad = altered(&map, |slots| slots.swap(one, other));
    let seen = zone_violation(&bad).map(|partition| partition as usize);
    assert!(seen == Some(one / 3) || seen == Some(other / 3), "{seen:?}");
    assert_eq!(imbalance(&bad, 1.07, 0.93), None);
}

/// SHARD-5.
#[test]
fn a_node_with_too_much_is_seen_by_the_balance_checker_alone() {
    let map = PartitionMap::new(CONFIG, &members()).unwrap();
    let greedy = map.members()[0];
    // Of the partitions that it does not hold, it takes what another node of its zone has, six times over.
    let bad = altered(&map, |slots| {
        let takes = |holders: &[[u8; 2]]| {
            let free = holders.iter().all(|slot| index(*slot) != 0);
            free.then(|| holders.iter().position(|slot| map.members()[index(*slot)].zone == greedy.zone))?
        };
        let taken: Vec<usize> = slots
            .chunks(3)
            .enumerate()
            .filter_map(|(partition, holders)| Some(3 * partition + takes(holders)?))
            .take(6)
            .collect();
        assert_eq!(taken.len(), 6);
        taken.into_iter().for_each(|slot| slots[slot] = [0, 0]);
    });
    assert_eq!(zone_violation(&bad), None);
    let load = bad.loads()[0];
    assert_eq!((load.id, load.partitions), (greedy.id, map.loads()[0].partitions + 6));
    let seen = imbalance(&bad, 1.07, 0.0);
    assert_eq!(seen, Some((load.partitions, load.fair)));
}

/// SHARD-6.
#[test]
fn a_move_that_nobody_needs_is_seen_by_the_movement_checker_alone() {
    let map = PartitionMap::new(CONFIG, &members()).unwrap();
    let (one, other) = exchange(&map, true);
    let bad = altered(&map, |slots| slots.swap(one, other));
    assert_eq!((zone_violation(&bad), imbalance(&bad, 1.07, 0.93)), (None, None));
    assert_eq!((Plan::between(&map, &bad, |_| 1).bytes(), least_moves(&map, &bad)), (2, 0));
}

/// SHARD-15, SHARD-17: hub 5 counts everybody below it twice, and nobody refuses it.
#[test]
fn a_child_that_counts_double_is_seen_by_who_knows_the_truth() {
    let mut world = Tree::new(4, 1);
    world.lie = |node, bytes| match TreeMessage::from_bytes(&bytes) {
        Ok(TreeMessage::Report(mut report)) if node == 25 => {
            *report.summary.sums.entry(crate::sim::tree::SUM).or_default() *= 2;
            let mut bytes = Vec::new();
            TreeMessage::Report(report).encode(&mut bytes);
            bytes
        }
        _ => bytes,
    };
    world.pass(MINUTE * 3);
    let aggregate = world.tree(0).aggregate(world.now);
    let (nodes, sum) = world.truth();
    assert_eq!((aggregate.coverage.nodes, aggregate.summary.sums[&crate::sim::tree::SUM]), (nodes, sum + 25));
    assert_eq!(world.refused, 0);
}

/// SHARD-21: leaves whose timers do not run do not notice that their hubs are gone, and the watcher tells for how long.
#[test]
fn leaves_that_do_not_probe_are_seen_stranded() {
    let mut world = Roles::new(200, 1000.0, 3);
    world.pass(MINUTE * 20);
    assert_eq!([world.kill_half_of_the_hubs(), world.kill_half_of_the_hubs()], [1, 1], "all of them");
    world.is_deaf = true;
    let seen = world.watch(MINUTE * 2);
    assert!(seen.stranded > 0 && seen.stranded_s[1] > 60.0, "{seen:?}");
}
