use crate::place::{Placer, VACANT};

/// Members up to which moves are taken back one cycle at a time: beyond, placing is near the least by itself, and a look
/// at all pairs of nodes costs too much.
const MEMBERS_MAX: usize = 128;
/// Cycles at most: each saves a move.
const CYCLES_MAX: usize = 512;
/// Looks at a replica and a taker at most, in all: some seconds. It bounds the cycles in large maps only.
const LOOKS_MAX: usize = 1 << 30;
/// No partition can be passed on from the one to the other.
const NEVER: i8 = i8::MAX;

/// Takes back moves that were not needed (SHARD-6): finds chains of nodes that pass one partition on each, end where they began
/// or within the slack, and leave fewer replicas away from where they were. Placing goes step by step and cannot see that; this
/// is the cancelling of negative cycles by which flows of minimum cost are found (Klein 1967).
///
/// Cost: for each move saved, replicas times members, and members to the power of three at worst.
pub(crate) fn take_back(placer: &mut Placer, before: &[u16]) {
    let nodes = placer.load.len();
    if nodes > MEMBERS_MAX || before.iter().all(|node| *node == VACANT) {
        return;
    }
    for _ in 0..CYCLES_MAX.min(LOOKS_MAX / (placer.slots.len() * nodes)) {
        let passes = Passes::new(placer, before);
        let Some(cycle) = passes.negative_cycle() else { return };
        if !carry_out(placer, &passes, &cycle) {
            return;
        }
    }
}

/// For each pair of nodes the cheapest partition that the one could pass on to the other; the last node stands for the slack.
struct Passes {
    nodes: usize,
    /// By giver times nodes + 1, plus taker: -1 if a replica comes back, 1 if one goes away, 0 if neither.
    cost: Vec<i8>,
    slot: Vec<u32>,
}

impl Passes {
    fn new(placer: &Placer, before: &[u16]) -> Self {
        let nodes = placer.load.len();
        let mut passes =
            Self { nodes, cost: vec![NEVER; (nodes + 1).pow(2)], slot: vec![0; (nodes + 1).pow(2)] };
        for (slot, giver) in placer.slots.iter().enumerate() {
            let (partition, giver) = (slot / placer.replicas, usize::from(*giver));
            let held = &before[partition * placer.replicas..][..placer.replicas];
            let is_away = |node: usize| i8::from(!held.contains(&(node as u16)));
            for taker in (0..nodes).filter(|taker| *taker != giver) {
                let cost = is_away(taker) - is_away(giver);
                let pair = giver * (nodes + 1) + taker;
                if cost < passes.cost[pair] && placer.legal(partition, taker, Some(slot)) {
                    (passes.cost[pair], passes.slot[pair]) = (cost, slot as u32);
                }
            }
        }
        for node in 0..nodes {
            if placer.load[node] < placer.most[node] {
                passes.cost[node * (nodes + 1) + nodes] = 0;
            }
            if placer.load[node] > placer.least[node] {
                passes.cost[nodes * (nodes + 1) + node] = 0;
            }
        }
        passes
    }

    /// Nodes in the order in which they pass on, if that brings back more than it takes away (Bellman and Ford).
    fn negative_cycle(&self) -> Option<Vec<usize>> {
        let all = self.nodes + 1;
        let mut distance = vec![0i32; all];
        let mut from = vec![usize::MAX; all];
        let mut changed = None;
        for _ in 0..=all {
            changed = None;
            for giver in 0..all {
                let row = &self.cost[giver * all..][..all];
                for (taker, cost) in row.iter().enumerate().filter(|(_, cost)| **cost != NEVER) {
                    if distance[giver] + i32::from(*cost) < distance[taker] {
                        distance[taker] = distance[giver] + i32::from(*cost);
                        from[taker] = giver;
                        changed = Some(taker);
                    }
                }
            }
            changed?;
        }
        // So many steps back from what still changes lie on the cycle itself.
        let mut at = changed?;
        for _ in 0..all {
            at = from[at];
        }
        let mut cycle = vec![at];
        let mut step = from[at];
        while step != at {
            cycle.push(step);
            step = from[step];
        }
        cycle.reverse();
        Some(cycle)
    }
}

/// Passes on along the cycle, all of it or nothing: two steps that concern one partition may not fit together.
fn carry_out(placer: &mut Placer, passes: &Passes, cycle: &[usize]) -> bool {
    let all = passes.nodes + 1;
    let mut done: Vec<(usize, usize)> = Vec::new();
    for (at, giver) in cycle.iter().enumerate() {
        let taker = cycle[(at + 1) % cycle.len()];
        if *giver == passes.nodes || taker == passes.nodes {
            continue;
        }
        let slot = passes.slot[giver * all + taker] as usize;
        let fits = usize::from(placer.slots[slot]) == *giver
            && placer.legal(slot / placer.replicas, taker, Some(slot));
        if !fits {
            for (slot, giver) in done.into_iter().rev() {
                placer.set(slot, giver);
            }
            return false;
        }
        placer.set(slot, taker);
        done.push((slot, *giver));
    }
    true
}
