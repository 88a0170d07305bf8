//! Grows a network in virtual time and measures its lookups, with everybody well, with peers gone, and with liars.
//!
//! ```text
//! cargo run --release -p cs-dht --example network -- [NODES] [SEED]
//! ```

#[allow(dead_code)]
#[path = "../tests/it/net.rs"]
mod net;

use cs_dht::{Event, Key};
use net::Net;
use std::time::{Duration, Instant};

const LOOKUPS: usize = 400;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse().expect("a number"));
    let count: usize = arguments.next().unwrap_or(1_000) as usize;
    let seed: u64 = arguments.next().unwrap_or(1);

    let started = Instant::now();
    println!("seed {seed}: {count} nodes, round trips of 30 to 210 ms, 1 % of all datagrams lost");
    let mut net = grow(seed, count);
    let bytes: Vec<usize> = (0..count).map(|index| net.dht(index).state_bytes()).collect();
    let entries: usize = (0..count).map(|index| net.dht(index).table_len()).sum();
    println!(
        "grown in {:.0} s; {} entries and {} bytes of state a node, {} at most\n",
        started.elapsed().as_secs_f64(),
        entries / count,
        bytes.iter().sum::<usize>() / count,
        bytes.iter().max().expect("there are nodes"),
    );
    println!("| network | lookup | RPCs | hops | p50 ms | p95 ms | p99 ms | found |");
    println!("|---|---|---|---|---|---|---|---|");
    let mut alive: Vec<usize> = (0..count).collect();
    measure(&mut net, "all well", &alive);
    for percent in [25, 50] {
        let rest = count * (100 - percent) / 100;
        while alive.len() > rest {
            let victim = net.draw(alive.len() as u64) as usize;
            net.stop(alive.swap_remove(victim));
        }
        measure(&mut net, &format!("{percent} % gone"), &alive);
    }
    let mut net = grow(seed + 1, count * 4 / 5);
    let honest: Vec<usize> = (0..count * 4 / 5).collect();
    for _ in 0..count / 5 {
        let index = net.add_sybil();
        let entry = net.contact(net.peers.len() / 3);
        net.with(index, |dht, now| dht.bootstrap(now, vec![entry]));
        net.run(Duration::from_millis(200));
    }
    net.run(Duration::from_secs(60));
    measure(&mut net, "20 % hostile", &honest);
}

/// A network of servers that join through a random earlier one, and announce themselves.
fn grow(seed: u64, count: usize) -> Net {
    let mut net = Net::new(seed);
    net.loss = 10;
    net.add();
    for index in 1..count {
        net.add();
        let entry = net.draw(index as u64) as usize;
        let entry = net.contact(entry);
        net.with(index, |dht, now| dht.bootstrap(now, vec![entry]));
        net.run(Duration::from_millis(100));
    }
    net.run(Duration::from_secs(60));
    for index in 0..count {
        net.announce(index, 1);
        net.run(Duration::from_millis(20));
    }
    net.run(Duration::from_secs(30));
    net
}

fn measure(net: &mut Net, network: &str, alive: &[usize]) {
    let mut peers = Row::default();
    let mut nodes = Row::default();
    for _ in 0..LOOKUPS {
        let from = alive[net.draw(alive.len() as u64) as usize];
        let of = alive[net.draw(alive.len() as u64) as usize];
        let id = net.id(of);
        if let Event::Peer { record, effort, .. } = net.ask(from, |dht, now| dht.find_peer(now, id)) {
            peers.add(effort, record.is_some_and(|record| record.addrs == [net.peers[of].addr]));
        }
    }
    for round in 0..LOOKUPS / 4 {
        let from = alive[net.draw(alive.len() as u64) as usize];
        let target = Key::of_immutable(&round.to_be_bytes());
        let closest = alive.iter().filter(|index| **index != from);
        let closest = closest.min_by_key(|index| Key::of_peer(&net.id(**index)).distance(&target));
        let closest = net.id(*closest.expect("somebody is alive"));
        if let Event::Nodes { closest: list, effort, .. } =
            net.ask(from, |dht, now| dht.find_node(now, target))
        {
            nodes.add(effort, list.iter().any(|contact| contact.id == closest));
        }
    }
    peers.print(network, "peer by ID");
    nodes.print(network, "closest, critical");
}

#[derive(Default)]
struct Row {
    rpcs: u32,
    hops: u32,
    took: Vec<Duration>,
    found: usize,
}

impl Row {
    fn add(&mut self, effort: cs_dht::Effort, found: bool) {
        self.rpcs += effort.rpcs;
        self.hops += u32::from(effort.hops);
        self.took.push(effort.took);
        self.found += usize::from(found);
    }

    fn print(mut self, network: &str, lookup: &str) {
        self.took.sort();
        let count = self.took.len();
        let percentile = |percent: usize| self.took[(count * percent / 100).min(count - 1)].as_millis();
        println!(
            "| {network} | {lookup} | {:.1} | {:.1} | {} | {} | {} | {:.1} % |",
            f64::from(self.rpcs) / count as f64,
            f64::from(self.hops) / count as f64,
            percentile(50),
            percentile(95),
            percentile(99),
            100.0 * self.found as f64 / count as f64,
        );
    }
}
