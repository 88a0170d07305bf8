//! Runs lookups and tells what they cost.

use crate::net::Net;
use cs_dht::{Effort, Event, Key};
use std::time::Duration;

/// What the lookups of one kind cost, and how many found what they were for.
#[derive(Default)]
pub(crate) struct Row {
    rpcs: u32,
    hops: u32,
    took: Vec<Duration>,
    found: usize,
    /// Of the 20 closest peers alive, how many were in the answer.
    recalled: usize,
}

/// Measures `lookups` of each kind between peers that are alive.
pub(crate) fn measure(net: &mut Net, network: &str, alive: &[usize], lookups: usize) -> [Row; 2] {
    let sought: Vec<usize> = (0..lookups).map(|_| alive[net.draw(alive.len() as u64) as usize]).collect();
    for index in &sought {
        net.acting = Some(*index);
        net.announce(*index, net.unix_ms());
        net.run(Duration::from_secs(6));
    }
    let (mut peers, mut nodes) = (Row::default(), Row::default());
    for of in sought {
        let from = alive[net.draw(alive.len() as u64) as usize];
        let id = net.id(of);
        net.acting = Some(from);
        if let Event::Peer { record, effort, .. } = net.ask(from, |dht, now| dht.find_peer(now, id)) {
            peers.add(effort, record.is_some_and(|record| record.addrs == [net.peers[of].addr]), 0);
        }
        let target = Key::from_bytes(net.seed());
        let mut closest: Vec<usize> = alive.iter().copied().filter(|index| *index != from).collect();
        closest.sort_unstable_by_key(|index| net.key(*index).distance(&target));
        if let Event::Nodes { closest: list, effort, .. } =
            net.ask(from, |dht, now| dht.find_node(now, target))
        {
            let has = |index: &usize| list.iter().any(|contact| contact.id == net.id(*index));
            nodes.add(effort, has(&closest[0]), closest.iter().take(20).filter(|index| has(index)).count());
        }
        net.events.clear();
    }
    net.acting = None;
    peers.print(network, "peer by ID");
    nodes.print(network, "closest, critical");
    [peers, nodes]
}

impl Row {
    pub(crate) const HEAD: &str = "| network | lookup | RPCs | hops | p50 ms | p95 ms | p99 ms | found | recall |\n\
                                   |---|---|---|---|---|---|---|---|---|";

    fn add(&mut self, effort: Effort, found: bool, recalled: usize) {
        self.rpcs += effort.rpcs;
        self.hops += u32::from(effort.hops);
        self.took.push(effort.took);
        self.found += usize::from(found);
        self.recalled += recalled;
    }

    fn print(&mut self, network: &str, lookup: &str) {
        self.took.sort();
        let count = self.took.len();
        let percentile = |percent: usize| self.took[(count * percent / 100).min(count - 1)].as_millis();
        println!(
            "| {network} | {lookup} | {:.1} | {:.1} | {} | {} | {} | {:.1} % | {:.1} % |",
            f64::from(self.rpcs) / count as f64,
            f64::from(self.hops) / count as f64,
            percentile(50),
            percentile(95),
            percentile(99),
            100.0 * self.found as f64 / count as f64,
            5.0 * self.recalled as f64 / count as f64,
        );
    }
}
