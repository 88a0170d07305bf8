//! The least that any placement must move: a flow of minimum cost.

use std::collections::{BTreeMap, VecDeque};

use cs_identity::NodeId;
use cs_shard::{Member, PartitionMap};

/// Replicas that must be copied, at least, to go from `before` to any placement on the members of `after` that has the same
/// zone limit as an ideal one (as few a zone as there can be) and, if `slack` percent allow it, every load within the slack of
/// its share. Exact: partitions send their replicas through their zones to nodes, and a node that did not hold it costs 1.
///
/// For maps whose members are alone in their subnets.
pub(crate) fn least_moves(before: &PartitionMap, after: &PartitionMap) -> u64 {
    let slack = f64::from(after.config().slack_percent) / 100.0;
    let members = after.members();
    let numbers: BTreeMap<NodeId, usize> =
        members.iter().enumerate().map(|(i, member)| (member.id, i)).collect();
    let zones = zones(members);
    let partitions = after.config().partitions as usize;
    let replicas = after.replicas(0).len();
    let limit = zone_limit(&zones, replicas);
    let (source, sink) = (0, 1);
    let (first_partition, first_node) = (2, 2 + partitions);
    let first_zone = first_node + members.len();
    let zone_count = zones.iter().max().map_or(0, |zone| zone + 1);
    let mut flow = Flow::new(first_zone + partitions * zone_count);
    for partition in 0..partitions {
        flow.edge(source, first_partition + partition, replicas as u32, 0);
        for zone in 0..zone_count {
            flow.edge(
                first_partition + partition,
                first_zone + partition * zone_count + zone,
                limit as u32,
                0,
            );
        }
        let had: Vec<usize> =
            before.replicas(partition as u32).filter_map(|m| numbers.get(&m.id).copied()).collect();
        for (node, zone) in zones.iter().enumerate() {
            let cost = i32::from(!had.contains(&node));
            flow.edge(first_zone + partition * zone_count + zone, first_node + node, 1, cost);
        }
    }
    for (node, load) in after.loads().iter().enumerate() {
        let most = (load.fair * (1.0 + slack)).floor().max(load.fair.ceil()) as u32;
        let least = (load.fair * (1.0 - slack)).ceil().min(load.fair.floor()) as u32;
        // What is above the least costs more than any move, so that every least is reached that can be.
        flow.edge(first_node + node, sink, least, 0);
        flow.edge(first_node + node, sink, most - least, DEAR);
        flow.edge(first_node + node, sink, partitions as u32, 2 * DEAR);
    }
    flow.run(source, sink, (partitions * replicas) as u32)
}

const DEAR: i32 = 1 << 12;

fn zones(members: &[Member]) -> Vec<usize> {
    let mut numbers = BTreeMap::new();
    members
        .iter()
        .map(|member| {
            let next = numbers.len();
            *numbers.entry(member.zone).or_insert(next)
        })
        .collect()
}

/// The least limit with which every partition finds places.
fn zone_limit(zones: &[usize], replicas: usize) -> usize {
    let room = |limit: usize| {
        let mut sizes = BTreeMap::new();
        zones.iter().for_each(|zone| *sizes.entry(*zone).or_insert(0usize) += 1);
        sizes.values().map(|size| (*size).min(limit)).sum::<usize>()
    };
    (1..=replicas).find(|limit| room(*limit) >= replicas).unwrap_or(replicas)
}

/// Successive shortest paths by potentials, all paths of one length at once.
struct Flow {
    edges: Vec<(usize, u32, i32)>,
    out: Vec<Vec<usize>>,
    potential: Vec<i32>,
}

impl Flow {
    fn new(nodes: usize) -> Self {
        Self { edges: Vec::new(), out: vec![Vec::new(); nodes], potential: vec![0; nodes] }
    }

    fn edge(&mut self, from: usize, to: usize, room: u32, cost: i32) {
        for (from, to, room, cost) in [(from, to, room, cost), (to, from, 0, -cost)] {
            self.out[from].push(self.edges.len());
            self.edges.push((to, room, cost));
        }
    }

    /// Sends so much; returns the part of its cost that is moves.
    fn run(&mut self, source: usize, sink: usize, mut left: u32) -> u64 {
        while left > 0 && self.raise(source, sink) {
            let mut next = vec![0; self.out.len()];
            let mut on_way = vec![false; self.out.len()];
            while left > 0 {
                let sent = self.send(source, sink, left, &mut next, &mut on_way);
                if sent == 0 {
                    break;
                }
                left -= sent;
            }
        }
        assert_eq!(left, 0, "there is a placement");
        let used = |edge: usize| u64::from(self.edges[edge ^ 1].1);
        (0..self.edges.len()).step_by(2).filter(|edge| self.edges[*edge].2 == 1).map(used).sum()
    }

    /// Makes the potentials the distances from the source (reduced costs are never negative); false if the sink is out of reach.
    fn raise(&mut self, source: usize, sink: usize) -> bool {
        let mut distance = vec![i32::MAX; self.out.len()];
        let mut buckets: BTreeMap<i32, VecDeque<usize>> = BTreeMap::from([(0, VecDeque::from([source]))]);
        distance[source] = 0;
        while let Some((at, mut bucket)) = buckets.pop_first() {
            while let Some(node) = bucket.pop_front() {
                if distance[node] != at {
                    continue;
                }
                for edge in &self.out[node] {
                    let (to, room, cost) = self.edges[*edge];
                    let reached = at + cost + self.potential[node] - self.potential[to];
                    if room > 0 && reached < distance[to] {
                        distance[to] = reached;
                        if reached == at {
                            bucket.push_back(to)
                        } else {
                            buckets.entry(reached).or_default().push_back(to)
                        }
                    }
                }
            }
        }
        let far = distance[sink];
        for (potential, distance) in self.potential.iter_mut().zip(&distance) {
            *potential += (*distance).min(far);
        }
        far < i32::MAX
    }

    /// One path of reduced cost 0.
    fn send(&mut self, node: usize, sink: usize, most: u32, next: &mut [usize], on_way: &mut [bool]) -> u32 {
        if node == sink {
            return most;
        }
        on_way[node] = true;
        while next[node] < self.out[node].len() {
            let edge = self.out[node][next[node]];
            let (to, room, cost) = self.edges[edge];
            if room > 0 && !on_way[to] && cost + self.potential[node] == self.potential[to] {
                let sent = self.send(to, sink, most.min(room), next, on_way);
                if sent > 0 {
                    self.edges[edge].1 -= sent;
                    self.edges[edge ^ 1].1 += sent;
                    on_way[node] = false;
                    return sent;
                }
            }
            next[node] += 1;
        }
        on_way[node] = false;
        0
    }
}
