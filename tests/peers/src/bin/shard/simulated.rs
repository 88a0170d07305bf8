//! The machines at work, in simulated time.

use std::time::Duration;

use cs_peers::{Better, Row};

use crate::sim::roles::World;
use crate::sim::routing::{Policy, Scenario, run};
use crate::sim::tree;

const MINUTE: Duration = Duration::from_secs(60);

fn plain(row: &str, metric: &str, unit: &str, value: f64) {
    Row::new(row, metric, unit, Better::Less, value).print();
}

fn goal(row: &str, metric: &str, unit: &str, value: f64, goal: f64) {
    Row { goal: Some(goal), ..Row::new(row, metric, unit, Better::Less, value) }.print();
}

/// The 99th percentile and the wasted work, beside random and least-loaded.
pub(crate) fn routing() {
    let usual = Scenario::default();
    let scenarios = [
        ("half load, skewed keys, one of 30 servers 10 x slower", usual),
        ("80 % load, skewed keys, no slow server", Scenario { load: 0.8, slowness: 1.0, ..usual }),
        ("30 % load, even keys, one server 10 x slower", Scenario { load: 0.3, skew: 0.0, ..usual }),
    ];
    for (row, scenario) in scenarios {
        let own = run(Policy::Router, scenario);
        for (peer, policy) in
            [("random", Policy::Random), ("least loaded, told each 50 ms", Policy::LeastLoaded)]
        {
            let other = run(policy, scenario);
            Row { peer: Some((peer, other.p99_ms)), ..Row::new(row, "p99", "ms", Better::Less, own.p99_ms) }
                .print();
            Row {
                peer: Some((peer, other.mean_ms)),
                ..Row::new(row, "mean", "ms", Better::Less, own.mean_ms)
            }
            .print();
        }
        let single = run(Policy::RouterWithoutHedges, scenario);
        let peer = Some(("without hedges", single.p99_ms));
        Row { peer, ..Row::new(row, "p99", "ms", Better::Less, own.p99_ms) }.print();
        plain(row, "p50", "ms", own.p50_ms);
        plain(row, "wasted work", "% of all", own.wasted * 100.0);
        plain(row, "hedged", "% of all", own.hedged * 100.0);
        plain(row, "given up", "% of all", own.failed * 100.0);
    }
}

/// How far the root is from the truth while a fifth of 1,111 nodes is exchanged every two minutes.
pub(crate) fn tree() {
    let mut world = tree::World::new(10, 1);
    world.pass(MINUTE * 2);
    let mut errors = Vec::new();
    for step in 0..60usize {
        let turn = |node: usize, step: usize| (node * 7919 + step).is_multiple_of(60);
        for node in 1..world.len() {
            if turn(node, step) {
                world.stop(node);
            }
            if step >= 3 && turn(node, step - 3) {
                world.start(node);
            }
        }
        world.pass(Duration::from_secs(10));
        let known = world.tree(0).aggregate(world.now).coverage.nodes as f64;
        errors.push((known / world.up() as f64 - 1.0).abs() * 100.0);
    }
    let mean = errors.iter().sum::<f64>() / errors.len() as f64;
    let row = "1,111 nodes, a tenth a minute exchanged";
    plain(row, "root's count off, mean", "%", mean);
    plain(row, "root's count off, most", "%", errors.into_iter().fold(0.0, f64::max));
    for node in 1..world.len() {
        if !world.is_up(node) {
            world.start(node);
        }
    }
    let mut seconds = 0;
    while world.tree(0).aggregate(world.now).coverage.nodes != world.len() as u64 && seconds < 600 {
        world.pass(Duration::from_secs(1));
        seconds += 1;
    }
    plain(row, "exact after the end of churn", "s", f64::from(seconds));
}

/// Ten thousand nodes: an hour to sort themselves out, half an hour watched, then half of the hubs die.
pub(crate) fn roles(nodes: usize) {
    let name = format!("{nodes} nodes, sessions of 4 h");
    let row = name.as_str();
    let mut world = World::new(nodes, 4.0, 1);
    world.pass(MINUTE * 60);
    let seen = world.watch(MINUTE * 30);
    plain(row, "hubs", "", seen.hubs as f64);
    plain(row, "leads of regions", "", seen.leads as f64);
    goal(row, "roots", "", seen.roots as f64, 1.0);
    plain(row, "role flips", "per node-hour", seen.flips_per_node_hour);
    plain(row, "messages", "per node-second", seen.messages_per_node_second);
    for (at, value) in ["1st", "50th", "99th"].into_iter().zip(seen.leaves) {
        plain(row, &format!("leaves a hub, {at} percentile"), "", value);
    }
    plain(row, "hubs within 50 to 200 leaves", "%", seen.within * 100.0);
    for (at, (ratio, excess)) in
        ["median", "95th percentile"].into_iter().zip(seen.rtt_ratio.into_iter().zip(seen.rtt_excess_ms))
    {
        plain(row, &format!("home RTT over the nearest hub's, {at}"), "times", ratio);
        plain(row, &format!("home RTT above the nearest hub's, {at}"), "ms", excess);
    }
    plain(
        row,
        "times that a leaf had no living hub",
        "per node-hour",
        seen.stranded as f64 / nodes as f64 * 2.0,
    );
    goal(row, "longest without a living hub", "s", seen.stranded_s[1], 30.0);
    recovery(&mut world, row);
}

fn recovery(world: &mut World, row: &str) {
    let dead = world.kill_half_of_the_hubs();
    plain(row, "hubs that die at once", "", dead as f64);
    let stranded = world.attachments()[0];
    plain(row, "leaves without a hub then", "", stranded as f64);
    let mut seconds = 0;
    let mut held = None;
    while seconds < 600 {
        world.pass(Duration::from_secs(1));
        seconds += 1;
        let [none, one, two, three] = world.attachments();
        held = held.or((none == 0).then_some(seconds));
        if held.is_some() && (none + one) * 100 <= none + one + two + three {
            break;
        }
    }
    goal(row, "until every leaf has a hub again", "s", held.map_or(f64::INFINITY, f64::from), 30.0);
    plain(row, "until 99 of 100 leaves have two", "s", f64::from(seconds));
    world.pass(MINUTE * 30);
    let seen = world.watch(MINUTE * 10);
    plain(row, "hubs 40 minutes later", "", seen.hubs as f64);
    plain(row, "hubs within 50 to 200 leaves 40 minutes later", "%", seen.within * 100.0);
}
