//! The aggregation tree under churn, loss, duplicates, reordering, and liars.

use std::collections::BTreeMap;
use std::time::Duration;

use cs_shard::wire::{DecodeError, Report, TreeMessage};
use cs_shard::{
    Digest, Excess, HyperLogLog, Limits, Summary, Tree, TreeConfig, TreeConfigError, TreeFault, TreeInput,
    TreeOutput,
};
use proptest::prelude::*;

use crate::id;
use crate::sim::tree::{DISTINCT, SUM, World};

const MINUTE: Duration = Duration::from_secs(60);

/// The root's nodes and sum beside the truth.
fn root(world: &World) -> (u64, u64) {
    let aggregate = world.tree(0).aggregate(world.now);
    (aggregate.coverage.nodes, aggregate.summary.sums[&SUM])
}

/// SHARD-16, SHARD-17: with a fifth of the nodes exchanged every two minutes, what the root knows stays near the truth
/// that moves away under it, and is the truth again soon after that ends; duplicates and reordering never count twice.
#[test]
fn a_tree_follows_a_fifth_of_its_nodes_being_exchanged_and_then_knows_exactly() {
    let mut world = World::new(6, 1);
    world.pass(MINUTE * 2);
    assert_eq!(root(&world), world.truth(), "before anything happens");
    let mut off = Vec::new();
    for step in 0..24usize {
        // Every ten seconds a sixtieth goes and what went half a minute ago comes back: a fifth is exchanged in two minutes.
        let count = world.len();
        for node in (1..count).filter(|node| (node * 7919 + step).is_multiple_of(60)) {
            world.stop(node);
        }
        for node in (1..count).filter(|node| step >= 3 && (node * 7919 + step - 3).is_multiple_of(60)) {
            world.start(node);
        }
        world.pass(Duration::from_secs(10));
        assert!(root(&world).0 <= count as u64, "nobody is counted twice");
        off.push((root(&world).0 as f64 / world.up() as f64 - 1.0).abs());
    }
    let mean = off.iter().sum::<f64>() / off.len() as f64;
    assert!(mean < 0.25, "{off:?}");
    (1..world.len())
        .filter(|node| !world.is_up(*node))
        .collect::<Vec<_>>()
        .into_iter()
        .for_each(|node| world.start(node));
    world.pass(MINUTE * 2);
    assert_eq!(root(&world), world.truth());
    assert_eq!(root(&world).0, world.len() as u64);
    assert_eq!(world.refused, 0);
}

/// SHARD-18: everybody ends up with the root's numbers, with their coverage and age.
#[test]
fn what_the_root_knows_comes_down_to_everybody_with_coverage_and_age() {
    let mut world = World::new(4, 2);
    world.pass(MINUTE * 3);
    for node in 0..world.len() {
        let view = world.tree(node).view(world.now);
        assert_eq!(
            (view.nodes, view.root, view.silent),
            (world.len() as u64, world.tree(0).view(world.now).root, 0)
        );
        assert_eq!(view.sums[&SUM], world.truth().1);
        let distinct = view.distinct[&DISTINCT] as f64;
        assert!((distinct / world.len() as f64 - 1.0).abs() < 5.0 * HyperLogLog::STANDARD_ERROR);
        assert!(Duration::from_millis(view.age_ms) < MINUTE * 4, "{node}: {} ms", view.age_ms);
        assert_eq!(world.tree(node).is_connected(world.now), node > 0);
    }
}

/// SHARD-18: a region whose lead's lead is gone goes on with what it knows itself, and says so.
#[test]
fn a_region_that_is_cut_off_goes_on_alone() {
    let mut world = World::new(4, 3);
    world.pass(MINUTE * 3);
    world.stop(0);
    world.pass(MINUTE * 3);
    for lead in 1..=4 {
        let view = world.tree(lead).view(world.now);
        assert_eq!((view.nodes, world.tree(lead).is_connected(world.now)), (1 + 4 + 16, false));
        let leaf = world.tree((lead * 4 + 1) * 4 + 1);
        assert_eq!((leaf.view(world.now).root, leaf.view(world.now).nodes), (view.root, 21));
    }
    world.start(0);
    world.pass(MINUTE * 3);
    assert_eq!(world.tree(84).view(world.now).nodes, 85);
}

/// SHARD-15: hub 5 claims all it can, and more, for itself and a hundred times over; the root is off by no more than the
/// hub's quota times what one node may have.
#[test]
fn a_byzantine_hub_moves_the_root_by_its_own_share_at_most() {
    let mut world = World::new(4, 4);
    world.pass(MINUTE * 2);
    let (honest_nodes, honest_sum) = root(&world);
    world.lie = |node, bytes| match TreeMessage::from_bytes(&bytes) {
        Ok(TreeMessage::Report(report)) if node == 5 => lie(report),
        _ => bytes,
    };
    for node in 21..=24 {
        world.stop(node);
    }
    world.pass(MINUTE * 3);
    let (nodes, sum) = root(&world);
    let quota = 1 + 4;
    assert!(nodes.abs_diff(honest_nodes) <= quota, "{nodes}");
    assert!(sum.abs_diff(honest_sum) <= quota * world.len() as u64, "{sum} {honest_sum}");
    assert!(world.refused > 0, "some of it was too much");
    let distinct = world.tree(0).aggregate(world.now).summary.distinct[&DISTINCT].estimate();
    assert!((distinct - world.len() as f64).abs() <= 5.0 + 6.0, "{distinct}");
}

/// By turns the most that passes, and more than that.
fn lie(mut report: Report) -> Vec<u8> {
    report.summary.nodes = if report.version.is_multiple_of(2) { 5 } else { 5_000 };
    report.summary.sums.insert(SUM, 5 * 85);
    for forged in 0..5u32 {
        report.summary.distinct.entry(DISTINCT).or_default().insert(&forged.to_be_bytes());
    }
    let mut bytes = Vec::new();
    TreeMessage::Report(report).encode(&mut bytes);
    bytes
}

fn tree(me: usize, level: u8) -> Tree {
    let limits = Limits { sums: BTreeMap::from([(SUM, 10)]), ..Limits::default() };
    let config = TreeConfig { limits, ..TreeConfig::default() };
    let mut tree = Tree::new(config, id(me), Duration::ZERO, [3; 32]).unwrap();
    tree.set_place(Duration::ZERO, level, None);
    tree
}

fn report(version: u64, sum: u64) -> TreeMessage {
    let summary = Summary { nodes: 1, sums: BTreeMap::from([(SUM, sum)]), ..Summary::default() };
    TreeMessage::Report(Report { epoch: 1, version, age_ms: 0, summary })
}

fn hand(tree: &mut Tree, at: u64, from: usize, message: &TreeMessage) -> Result<(), TreeFault> {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    tree.handle_input(Duration::from_secs(at), TreeInput::Message { from: id(from), bytes: &bytes })
}

fn known(tree: &Tree) -> (u64, u64) {
    let aggregate = tree.aggregate(Duration::ZERO);
    (aggregate.coverage.nodes, aggregate.summary.sums.get(&SUM).copied().unwrap_or(0))
}

/// SHARD-17: what is older than what is known changes nothing; silence, goodbye and dismissal end what a child told.
#[test]
fn a_child_counts_with_its_latest_report_until_it_goes() {
    let mut hub = tree(0, 1);
    hub.admit(Duration::ZERO, id(1), 0);
    hub.admit(Duration::ZERO, id(2), 1);
    assert_eq!(hub.children().collect::<Vec<_>>(), [id(1)], "nobody on its own level");
    for (version, sum, expected) in [(2, 7, 7), (1, 3, 7), (2, 7, 7), (3, 5, 5)] {
        hand(&mut hub, 1, 1, &report(version, sum)).unwrap();
        assert_eq!(known(&hub), (2, expected));
    }
    assert_eq!((hub.counters().reports_taken, hub.counters().reports_stale), (2, 2));
    hand(&mut hub, 2, 1, &TreeMessage::Bye { epoch: 1, version: 3 }).unwrap();
    hand(&mut hub, 3, 1, &report(3, 5)).unwrap();
    assert_eq!(known(&hub), (1, 0), "a report that was on its way when the child said goodbye");
    hand(&mut hub, 4, 1, &report(5, 4)).unwrap();
    hub.handle_timeout(Duration::from_secs(38));
    assert_eq!(known(&hub), (2, 4));
    hub.handle_timeout(Duration::from_secs(39));
    assert_eq!((known(&hub), hub.counters().children_lost), ((1, 0), 1));
    hand(&mut hub, 40, 1, &report(5, 4)).unwrap();
    assert_eq!(known(&hub), (2, 4), "it was only silent");
    hub.dismiss(Duration::from_secs(41), id(1));
    assert_eq!(known(&hub), (1, 0));
}

/// SHARD-17: a lost report is asked for when the next message names it.
#[test]
fn what_was_lost_is_asked_for() {
    let mut hub = tree(0, 1);
    hub.admit(Duration::ZERO, id(1), 0);
    while hub.poll_output().is_some() {}
    hand(&mut hub, 1, 1, &TreeMessage::Still { epoch: 1, version: 4, age_ms: 9 }).unwrap();
    let mut ask = Vec::new();
    TreeMessage::Ask.encode(&mut ask);
    assert_eq!(hub.poll_output(), Some(TreeOutput::Send { to: id(1), bytes: ask }));
    hand(&mut hub, 2, 1, &report(4, 2)).unwrap();
    hand(&mut hub, 30, 1, &TreeMessage::Still { epoch: 1, version: 4, age_ms: 2_000 }).unwrap();
    assert_eq!(hub.poll_output(), None);
    assert_eq!(
        hub.aggregate(Duration::from_secs(31)).age,
        Duration::from_secs(31),
        "its own values are older"
    );
    hub.handle_timeout(Duration::from_secs(60));
    assert_eq!(known(&hub), (2, 2));
}

/// SHARD-15, SHARD-17: who may say what.
#[test]
fn strangers_and_liars_are_blamed_by_name() {
    let mut hub = tree(0, 1);
    hub.admit(Duration::ZERO, id(1), 0);
    let digest = TreeMessage::Digest(tree(5, 3).view(Duration::ZERO));
    assert_eq!(hand(&mut hub, 1, 2, &report(1, 1)), Err(TreeFault::NotAChild));
    assert_eq!(
        hand(&mut hub, 1, 2, &TreeMessage::Still { epoch: 1, version: 1, age_ms: 0 }),
        Err(TreeFault::NotAChild)
    );
    assert_eq!(hand(&mut hub, 1, 2, &TreeMessage::Bye { epoch: 1, version: 1 }), Err(TreeFault::NotAChild));
    assert_eq!(hand(&mut hub, 1, 1, &digest), Err(TreeFault::NotTheParent));
    assert_eq!(hand(&mut hub, 1, 1, &TreeMessage::Ask), Err(TreeFault::NotTheParent));
    assert_eq!(hand(&mut hub, 1, 1, &report(1, 11)), Err(TreeFault::Excess(Excess::Sum)));
    let garbage = TreeInput::Message { from: id(1), bytes: &[1, 9] };
    assert_eq!(hub.handle_input(Duration::ZERO, garbage), Err(TreeFault::Malformed(DecodeError::Kind)));
    assert_eq!(known(&hub), (1, 0));
}

/// SHARD-16: each setting that cannot work is named.
#[test]
fn trees_that_cannot_work_are_refused() {
    let second = Duration::from_secs(1);
    let refused = |config: TreeConfig| Tree::new(config, id(0), second, [0; 32]).err();
    let good = TreeConfig::default;
    assert_eq!(refused(good()), None);
    assert_eq!(
        refused(TreeConfig { report_interval: second / 2, ..good() }),
        Some(TreeConfigError::Interval)
    );
    assert_eq!(
        refused(TreeConfig { child_lifetime: second * 19, ..good() }),
        Some(TreeConfigError::Lifetime)
    );
    assert_eq!(refused(TreeConfig { children_max: 0, ..good() }), Some(TreeConfigError::Children));
    assert_eq!(refused(TreeConfig { quotas: [1, 0, 5], ..good() }), Some(TreeConfigError::Quotas));
}

fn digest() -> impl Strategy<Value = Digest> {
    let number = || prop_oneof![0u64..300, any::<u64>()];
    let sums = prop::collection::btree_map(any::<u16>(), number(), 0..5);
    let items = prop::collection::btree_map(prop::collection::vec(any::<u8>(), 0..9), 1u64..50, 0..10);
    (0usize..99, number(), number(), any::<u32>(), sums, items).prop_map(
        |(root, version, age_ms, silent, sums, items)| {
            let mut items: Vec<_> = items.into_iter().collect();
            items.sort_by_key(|(item, count)| (std::cmp::Reverse(*count), item.clone()));
            let frequent = cs_shard::Frequent { total: version, error: 3, items };
            let spread = cs_shard::Spread { count: age_ms, p50: 1, p90: version, p99: 2, max: 70 };
            Digest {
                root: id(root),
                epoch: 5,
                version,
                age_ms,
                nodes: version,
                silent,
                distinct: sums.clone().into_iter().take(4).collect(),
                sums,
                quantiles: BTreeMap::from([(4, spread)]),
                frequent: BTreeMap::from([(9, frequent)]),
            }
        },
    )
}

fn message() -> impl Strategy<Value = TreeMessage> {
    let number = || prop_oneof![0u64..300, any::<u64>()];
    prop_oneof![
        (number(), number()).prop_map(|(version, sum)| report(version, sum)),
        (number(), number()).prop_map(|(version, age_ms)| TreeMessage::Still { epoch: 1, version, age_ms }),
        number().prop_map(|version| TreeMessage::Bye { epoch: 3, version }),
        Just(TreeMessage::Ask),
        digest().prop_map(TreeMessage::Digest),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// SHARD-19: the four laws of an encoding.
    #[test]
    fn a_message_of_the_tree_has_one_encoding(
        message in message(), cut in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), flip in 1u8..,
    ) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        prop_assert_eq!(TreeMessage::from_bytes(&bytes), Ok(message));
        prop_assert_eq!(TreeMessage::from_bytes(&bytes[..cut.index(bytes.len())]), Err(DecodeError::Truncated));
        let mut altered = bytes.clone();
        altered[at.index(bytes.len())] ^= flip;
        if let Ok(other) = TreeMessage::from_bytes(&altered) {
            let mut again = Vec::new();
            other.encode(&mut again);
            prop_assert_eq!(again, altered);
        }
        bytes.push(0);
        prop_assert_eq!(TreeMessage::from_bytes(&bytes), Err(DecodeError::Trailing));
    }
}
