//! Bounded flow: who is accepted when trust is something that runs out (rule ID-25).
//!
//! Link capacities by ticket distribution from the roots outwards (SumUp: Tran, Min, Li, Subramanian, NSDI 2009), and maximum
//! flow with one unit for each principal (Advogato: Levien 2003), computed after Dinic (1970).

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

use super::net::{Net, Node};

/// The node that stands for who evaluates; its arcs lead to the roots.
const SOURCE: usize = 0;
const NONE: u32 = u32::MAX;
/// Tickets are counted in parts of this, so that small shares are not lost.
const TICKET: u64 = 1 << 16;
/// No budget goes beyond this: 67 million principals.
const MAX_BUDGET: u64 = 1 << 26;

/// For each accepted node, the one it was accepted through; `None` for a root.
#[derive(Clone, Debug, Default)]
pub(crate) struct Accepted {
    pub(crate) through: BTreeMap<Node, Option<Node>>,
}

/// Evaluates from these roots, ascending by ID. The budget is doubled until trust no longer finds enough people to reach, so
/// that it follows the size of the community; it never exceeds `most`.
///
/// Costs a few walks over what can be reached for each doubling, about the last of them in all.
pub(crate) fn accept(net: &Net, roots: &[Node], most: u64) -> Accepted {
    let mut flow = Flow::new(net, roots);
    let most = most.clamp(1, MAX_BUDGET);
    let mut budget = (roots.len() as u64).next_power_of_two().min(most);
    let mut reached = 0;
    loop {
        flow.share_tickets(budget);
        reached += flow.maximise();
        // Three quarters: when fewer find a place, the community ends here, and more tickets would only reach strangers.
        if reached * 4 < budget * 3 || budget >= most {
            return flow.accepted();
        }
        budget = (budget * 2).min(most);
    }
}

/// What can be reached from the roots, numbered in the order of a breadth-first walk.
struct Flow {
    nodes: Vec<Node>,
    distance: Vec<u32>,
    /// Arcs of node `n` are `first[n]..first[n + 1]`.
    first: Vec<u32>,
    to: Vec<u32>,
    /// The arc the other way, which exists for each, be it with capacity 0.
    back: Vec<u32>,
    /// The attestation's weight; 0 where there is only one the other way.
    weight: Vec<u8>,
    capacity: Vec<u32>,
    residual: Vec<u32>,
    /// Whether a node has its unit.
    is_reached: Vec<bool>,
}

impl Flow {
    fn new(net: &Net, roots: &[Node]) -> Self {
        let (nodes, number, distance) = walk(net, roots);
        let mut arcs: Vec<(u32, u32, u8)> = roots
            .iter()
            .filter_map(|root| number.get(*root as usize))
            .map(|&root| (SOURCE as u32, root, 1))
            .collect();
        for (at, &node) in nodes.iter().enumerate().skip(1) {
            for edge in net.out(node) {
                if let Some(&to) = number.get(edge.to as usize).filter(|&&to| to != NONE && to != at as u32) {
                    arcs.push((at as u32, to, edge.level.weight()));
                }
            }
        }
        let (first, to, back, weight) = rows(nodes.len(), &arcs);
        let capacity: Vec<u32> = weight.iter().map(|&weight| u32::from(weight > 0)).collect();
        let (residual, is_reached) = (capacity.clone(), alloc::vec![false; nodes.len()]);
        Self { nodes, distance, first, to, back, weight, capacity, residual, is_reached }
    }

    fn arcs(&self, node: usize) -> core::ops::Range<usize> {
        self.first[node] as usize..self.first[node + 1] as usize
    }

    /// Each node keeps a ticket and shares the rest among those farther out by weight; an arc carries the tickets that went
    /// along it and one more. A larger budget lets every arc carry as much and more, so the flow that there is stays.
    fn share_tickets(&mut self, budget: u64) {
        let mut tickets = alloc::vec![0_u64; self.nodes.len()];
        tickets[SOURCE] = budget * TICKET;
        for node in 0..self.nodes.len() {
            let own = if node == SOURCE { 0 } else { TICKET };
            let rest = tickets[node].saturating_sub(own);
            if rest == 0 {
                continue;
            }
            let outwards = |&arc: &usize| self.distance[self.to[arc] as usize] > self.distance[node];
            let total: u64 = self.arcs(node).filter(outwards).map(|arc| u64::from(self.weight[arc])).sum();
            for arc in self.arcs(node).filter(outwards).filter(|&arc| self.weight[arc] > 0) {
                let share = rest * u64::from(self.weight[arc]) / total;
                tickets[self.to[arc] as usize] += share;
                let more = 1 + (share / TICKET) as u32 - self.capacity[arc];
                self.capacity[arc] += more;
                self.residual[arc] += more;
            }
        }
    }

    /// Brings a unit to as many more nodes as can have one; says to how many.
    fn maximise(&mut self) -> u64 {
        let mut reached = 0;
        let mut depth = Vec::new();
        while let Some(limit) = self.layers(&mut depth) {
            let mut next: Vec<u32> = self.first.clone();
            while self.augment(&depth, limit, &mut next) {
                reached += 1;
            }
        }
        reached
    }

    /// The distance of each node over arcs with room, up to the nearest that lacks its unit; `None` if none can be reached.
    fn layers(&self, depth: &mut Vec<u32>) -> Option<u32> {
        depth.clear();
        depth.resize(self.nodes.len(), NONE);
        depth[SOURCE] = 0;
        let mut queue = alloc::vec![SOURCE as u32];
        let (mut at, mut limit) = (0, NONE);
        while let Some(&node) = queue.get(at) {
            at += 1;
            let node = node as usize;
            if depth[node] >= limit {
                break;
            }
            for arc in self.arcs(node) {
                let to = self.to[arc] as usize;
                if self.residual[arc] > 0 && depth[to] == NONE {
                    depth[to] = depth[node] + 1;
                    if !self.is_reached[to] {
                        limit = limit.min(depth[to]);
                    }
                    queue.push(to as u32);
                }
            }
        }
        (limit != NONE).then_some(limit)
    }

    /// One unit along arcs that lead a layer farther, to a node in the last layer that lacks one.
    fn augment(&mut self, depth: &[u32], limit: u32, next: &mut [u32]) -> bool {
        let mut path: Vec<u32> = Vec::with_capacity(limit as usize);
        let mut node = SOURCE;
        loop {
            if depth[node] == limit && node != SOURCE && !self.is_reached[node] {
                break;
            }
            let end = self.first[node + 1];
            let found = if depth[node] >= limit {
                None
            } else {
                (next[node]..end).find(|&arc| {
                    self.residual[arc as usize] > 0
                        && depth[self.to[arc as usize] as usize] == depth[node] + 1
                })
            };
            match (found, path.pop()) {
                (Some(arc), last) => {
                    next[node] = arc;
                    path.extend(last);
                    path.push(arc);
                    node = self.to[arc as usize] as usize;
                }
                // Nothing is to be had from here: the arc that led here is done with.
                (None, Some(last)) => {
                    next[node] = end;
                    node = self.to[self.back[last as usize] as usize] as usize;
                    next[node] = last + 1;
                }
                (None, None) => return false,
            }
        }
        self.is_reached[node] = true;
        for arc in path {
            self.residual[arc as usize] -= 1;
            self.residual[self.back[arc as usize] as usize] += 1;
        }
        true
    }

    /// The accepted nodes: a walk over arcs that carry flow reaches each, and names whom it came through.
    fn accepted(&self) -> Accepted {
        let mut through = BTreeMap::new();
        let mut is_seen = alloc::vec![false; self.nodes.len()];
        is_seen[SOURCE] = true;
        let mut queue = alloc::vec![SOURCE];
        let mut at = 0;
        while let Some(&node) = queue.get(at) {
            at += 1;
            for arc in self.arcs(node) {
                let to = self.to[arc] as usize;
                if self.residual[arc] < self.capacity[arc] && !is_seen[to] {
                    is_seen[to] = true;
                    queue.push(to);
                    if self.is_reached[to] {
                        through.insert(self.nodes[to], (node != SOURCE).then(|| self.nodes[node]));
                    }
                }
            }
        }
        Accepted { through }
    }
}

/// The nodes within reach, nearest first, each one's number or `NONE`, and their distances.
fn walk(net: &Net, roots: &[Node]) -> (Vec<Node>, Vec<u32>, Vec<u32>) {
    let mut number = alloc::vec![NONE; net.len()];
    let (mut nodes, mut distance) = (alloc::vec![NONE], alloc::vec![0]);
    let mut enter = |node: Node, from: u32, nodes: &mut Vec<Node>, distance: &mut Vec<u32>| {
        if number[node as usize] == NONE {
            number[node as usize] = nodes.len() as u32;
            nodes.push(node);
            distance.push(from + 1);
        }
    };
    roots.iter().for_each(|&root| enter(root, 0, &mut nodes, &mut distance));
    let mut at = 1;
    while let Some(&node) = nodes.get(at) {
        for edge in net.out(node) {
            let from = distance[at];
            enter(edge.to, from, &mut nodes, &mut distance);
        }
        at += 1;
    }
    (nodes, number, distance)
}

/// Rows of arcs with each one's opposite: (first, to, back, weight). `arcs` are ascending by their start, at most one for a
/// pair; in each row they come in their order, and after them the opposites of those that none of them answers.
fn rows(nodes: usize, arcs: &[(u32, u32, u8)]) -> (Vec<u32>, Vec<u32>, Vec<u32>, Vec<u8>) {
    let opposite = opposites(nodes, arcs);
    let mut first = alloc::vec![0_u32; nodes + 1];
    let mut own = alloc::vec![0_u32; nodes];
    for (&(from, to, _), &other) in arcs.iter().zip(&opposite) {
        own[from as usize] += 1;
        first[from as usize + 1] += 1;
        first[to as usize + 1] += u32::from(other == NONE);
    }
    for node in 0..nodes {
        first[node + 1] += first[node];
    }
    let count = first[nodes] as usize;
    let (mut to, mut back, mut weight) =
        (alloc::vec![0; count], alloc::vec![0; count], alloc::vec![0; count]);
    let mut free: Vec<u32> = first.iter().zip(&own).map(|(first, own)| first + own).collect();
    let mut next: Vec<u32> = first.clone();
    let mut place = alloc::vec![0_u32; arcs.len()];
    for (arc, &(from, _, _)) in arcs.iter().enumerate() {
        place[arc] = next[from as usize];
        next[from as usize] += 1;
    }
    for (arc, &(from, end, heavy)) in arcs.iter().enumerate() {
        let here = place[arc];
        let there = if opposite[arc] == NONE {
            let there = free[end as usize];
            free[end as usize] += 1;
            (to[there as usize], back[there as usize]) = (from, here);
            there
        } else {
            place[opposite[arc] as usize]
        };
        (to[here as usize], back[here as usize], weight[here as usize]) = (end, there, heavy);
    }
    (first, to, back, weight)
}

/// For each arc the one that leads back, or `NONE`. Costs a walk over the arcs in both directions.
fn opposites(nodes: usize, arcs: &[(u32, u32, u8)]) -> Vec<u32> {
    let mut begins = alloc::vec![0_usize; nodes + 1];
    arcs.iter().for_each(|&(_, to, _)| begins[to as usize + 1] += 1);
    for node in 0..nodes {
        begins[node + 1] += begins[node];
    }
    let (mut free, mut incoming) = (begins.clone(), alloc::vec![0_u32; arcs.len()]);
    for (arc, &(_, to, _)) in arcs.iter().enumerate() {
        incoming[free[to as usize]] = arc as u32;
        free[to as usize] += 1;
    }
    let mut opposite = alloc::vec![NONE; arcs.len()];
    // For the node at hand, the arc that leads to each other; of earlier nodes what is left does not start here.
    let mut leads = alloc::vec![NONE; nodes];
    let mut outgoing = arcs.iter().enumerate().peekable();
    for node in 0..nodes {
        while let Some((arc, &(_, to, _))) = outgoing.next_if(|(_, (from, ..))| *from as usize == node) {
            leads[to as usize] = arc as u32;
        }
        for &arc in &incoming[begins[node]..begins[node + 1]] {
            let there = leads[arcs[arc as usize].0 as usize];
            if there != NONE && arcs[there as usize].0 as usize == node {
                opposite[arc as usize] = there;
            }
        }
    }
    opposite
}
