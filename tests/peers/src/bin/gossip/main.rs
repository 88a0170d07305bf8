//! Membership and broadcast in a virtual network, beside `iroh_gossip::proto` in the same one, with its defaults and tuned
//! (active view 8, grafts after 400 ms). Arguments, if any: the nodes of the large network, and those of the others.

mod net;
mod ours;
mod peer;
mod scenarios;

use cs_peers::{Better, Row};
use net::{Life, Machine};
use ours::Ours;
use peer::Iroh;
use scenarios::{Aftermath, LINKS_MS, SLOW_LINKS_MS, Spread, settled};

#[global_allocator]
static HEAP: peak_alloc::PeakAlloc = peak_alloc::PeakAlloc;

const DEFAULT: &str = "iroh-gossip 0.101";
const TUNED: &str = "iroh-gossip 0.101, tuned";
const PUBLICATIONS: usize = 30;

fn main() {
    let mut sizes = std::env::args().skip(1).filter_map(|size| size.parse().ok());
    let (large, small) = (sizes.next().unwrap_or(10_000), sizes.next().unwrap_or(1_000));
    for (count, delays) in [(small, LINKS_MS), (small, SLOW_LINKS_MS), (large, LINKS_MS)] {
        quiet(count, delays);
    }
    for percent in [10, 30, 50, 80] {
        after(
            &format!("{percent} % die, {small}"),
            goal_of_first(percent),
            [
                deaths::<Ours>(small, percent),
                deaths::<Iroh<false>>(small, percent),
                deaths::<Iroh<true>>(small, percent),
            ],
        );
    }
    after(
        &format!("30 % quit, {small}"),
        Some(99.9),
        [quits::<Ours>(small), quits::<Iroh<false>>(small), quits::<Iroh<true>>(small)],
    );
    for loss in [10, 50] {
        let all =
            [lossy::<Ours>(small, loss), lossy::<Iroh<false>>(small, loss), lossy::<Iroh<true>>(small, loss)];
        spreads(
            &format!("{} % of messages lost, {small}", loss / 10),
            all,
            &Goals { reached: Some(99.9), ..Goals::default() },
        );
    }
    for (name, life) in [("stalled", Life::Stalled), ("pass nothing on", Life::Blackhole)] {
        let all = [ill::<Ours>(small, life), ill::<Iroh<false>>(small, life), ill::<Iroh<true>>(small, life)];
        spreads(&format!("10 % {name}, {small}"), all, &Goals::default());
    }
    let apart = [merged::<Ours>(small), merged::<Iroh<false>>(small), merged::<Iroh<true>>(small)];
    compare(&format!("apart for 2 min, {small}"), "until one again", "s", Better::Less, apart, None);
    overload(small / 10);
}

/// What one publication costs and takes where all is well.
fn quiet(count: u32, delays: (u64, u64)) {
    let row = format!("{} nodes, links {}-{} ms", count, delays.0, delays.1);
    let fast = delays == LINKS_MS;
    let goals = Goals {
        redundancy: Some(0.1),
        last_hop: Some(14.0),
        p50_ms: fast.then_some(400.0),
        p99_ms: fast.then_some(600.0),
        reached: Some(100.0),
    };
    let all =
        [calm::<Ours>(count, delays), calm::<Iroh<false>>(count, delays), calm::<Iroh<true>>(count, delays)];
    spreads(&row, all.map(|calm| calm.normal), &goals);
    let urgent = Goals { p50_ms: fast.then_some(200.0), p99_ms: fast.then_some(300.0), ..Goals::default() };
    spreads(&format!("{row}, urgent"), all.map(|calm| calm.urgent), &urgent);
    compare(&row, "idle", "B/s/node", Better::Less, all.map(|calm| calm.idle), None);
    compare(&row, "memory", "B/node", Better::Less, all.map(|calm| calm.memory), Some(100_000.0));
}

#[derive(Clone, Copy)]
struct Calm {
    normal: Spread,
    urgent: Spread,
    idle: f64,
    memory: f64,
}

fn calm<M: Machine>(count: u32, delays: (u64, u64)) -> Calm {
    let mut net = settled::<M>(count, delays, PUBLICATIONS);
    let normal = scenarios::spread(&mut net, PUBLICATIONS, false);
    let urgent = scenarios::spread(&mut net, PUBLICATIONS / 3, true);
    let idle = scenarios::idle(&mut net);
    let before = HEAP.current_usage();
    drop(std::mem::take(&mut net.nodes));
    let memory = (before - HEAP.current_usage()) as f64 / f64::from(count);
    Calm { normal, urgent, idle, memory }
}

fn deaths<M: Machine>(count: u32, percent: u64) -> Aftermath {
    scenarios::deaths(&mut settled::<M>(count, LINKS_MS, PUBLICATIONS), percent)
}

fn quits<M: Machine>(count: u32) -> Aftermath {
    scenarios::quits(&mut settled::<M>(count, LINKS_MS, PUBLICATIONS), 30)
}

fn lossy<M: Machine>(count: u32, loss: u64) -> Spread {
    let mut net = settled::<M>(count, LINKS_MS, PUBLICATIONS);
    net.loss = loss;
    scenarios::spread(&mut net, PUBLICATIONS, false)
}

fn ill<M: Machine>(count: u32, life: Life) -> Spread {
    let mut net = settled::<M>(count, LINKS_MS, PUBLICATIONS);
    scenarios::afflict(&mut net, life);
    scenarios::spread(&mut net, PUBLICATIONS, false)
}

fn merged<M: Machine>(count: u32) -> f64 {
    scenarios::partition(&mut settled::<M>(count, LINKS_MS, PUBLICATIONS))
}

fn overload(count: u32) {
    let all = [
        scenarios::overload::<Ours>(count),
        scenarios::overload::<Iroh<false>>(count),
        scenarios::overload::<Iroh<true>>(count),
    ];
    let row = format!("three times the rate of links, {count}");
    let times = all.map(|(idle, loaded, _)| loaded / idle);
    compare(&row, "urgent p99, to that when idle", "times", Better::Less, times, Some(1.2));
    compare(&row, "urgent p99", "ms", Better::Less, all.map(|(_, loaded, _)| loaded), None);
    Row::new(&row, "refused at the publisher", "%", Better::Less, all[0].2).print();
}

fn goal_of_first(percent: u64) -> Option<f64> {
    match percent {
        0..=30 => Some(99.9),
        31..=50 => Some(99.0),
        _ => Some(90.0),
    }
}

fn after(row: &str, first: Option<f64>, all: [Aftermath; 3]) {
    compare(row, "first publication reaches", "%", Better::More, all.map(|one| one.first), first);
    compare(row, "until 99 % within 2 s", "s", Better::Less, all.map(|one| one.healed_s), Some(5.0));
    compare(row, "isolated nodes", "", Better::Less, all.map(|one| one.isolated as f64), Some(0.0));
}

#[derive(Clone, Copy, Default)]
struct Goals {
    redundancy: Option<f64>,
    last_hop: Option<f64>,
    p50_ms: Option<f64>,
    p99_ms: Option<f64>,
    reached: Option<f64>,
}

fn spreads(row: &str, all: [Spread; 3], goals: &Goals) {
    compare(row, "redundancy (RMR)", "", Better::Less, all.map(|one| one.redundancy), goals.redundancy);
    compare(row, "last hop (LDH)", "links", Better::Less, all.map(|one| one.last_hop), goals.last_hop);
    compare(row, "p50", "ms", Better::Less, all.map(|one| one.p50_ms), goals.p50_ms);
    compare(row, "p99", "ms", Better::Less, all.map(|one| one.p99_ms), goals.p99_ms);
    compare(row, "reached", "%", Better::More, all.map(|one| one.reached), goals.reached);
    compare(row, "bytes", "B/node/message", Better::Less, all.map(|one| one.bytes_each), None);
}

/// A row beside the peer with its defaults, held to the goal, and one beside the tuned peer.
fn compare(row: &str, metric: &str, unit: &str, better: Better, all: [f64; 3], goal: Option<f64>) {
    let [ours, default, tuned] = all;
    let new = || Row::new(row, metric, unit, better, ours);
    Row { peer: Some((DEFAULT, default)), goal, ..new() }.print();
    Row { peer: Some((TUNED, tuned)), goal, ..new() }.print();
}
