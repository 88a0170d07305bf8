use std::collections::VecDeque;

use crate::config::Config;
use crate::domains::{Domains, FINE, replicas};
use crate::member::Member;
use crate::ring::Ring;
use crate::thrift::take_back;

/// No node.
pub(crate) const VACANT: u16 = u16::MAX;
/// Tokens a walk looks at before all nodes are looked at instead.
const WALK_LIMIT: usize = 256;
/// Nodes that one search for a chain of moves passes through.
const CHAIN_LIMIT: usize = 64;
/// Times that everything is looked over again, since one move may allow another: the next epoch shall find nothing
/// to do if nothing changes.
const ROUNDS: usize = 6;
/// What a share must change by to count, in partitions times [`FINE`]: more than roundings make of it.
const NOTHING: u64 = FINE / 256;
/// Nodes with room that are looked at one by one when full nodes give away.
const FEW: usize = 32;
/// Nodes with room from which chains are tried when a partition finds no direct place.
const CHAIN_STARTS: usize = 4;

/// Places the vacant replicas and rebalances (SHARD-6). `slots` holds `replicas` nodes a partition, by index into the
/// members; vacant ones are [`VACANT`]. All of them are taken afterwards, whatever `slots` were.
pub(crate) fn place(members: &[Member], config: &Config, slots: Vec<u16>) -> Vec<u16> {
    let before = slots.clone();
    let mut placer = Placer::new(members, config, slots);
    placer.evict_illegal();
    let ring = Ring::new(members, config.tokens);
    for _ in 0..ROUNDS {
        let last = placer.slots.clone();
        placer.shed();
        placer.fill(&ring);
        placer.level();
        if placer.slots == last {
            break;
        }
    }
    take_back(&mut placer, &before);
    placer.slots
}

pub(crate) struct Placer {
    domains: Domains,
    pub(crate) replicas: usize,
    pub(crate) slots: Vec<u16>,
    pub(crate) load: Vec<u32>,
    /// Loads outside of these move data, loads inside do not.
    pub(crate) least: Vec<u32>,
    pub(crate) most: Vec<u32>,
}

impl Placer {
    fn new(members: &[Member], config: &Config, slots: Vec<u16>) -> Self {
        let domains = Domains::new(members, config);
        let slack = u64::from(config.slack_percent);
        let above = |share: &u64| {
            let (near, far) = (share.saturating_sub(NOTHING), share * (100 + slack) / 100 + NOTHING);
            near.div_ceil(FINE).max(far / FINE) as u32
        };
        let below = |share: &u64| {
            let (near, far) = (share + NOTHING, (share * (100 - slack) / 100).saturating_sub(NOTHING));
            far.div_ceil(FINE).min(near / FINE) as u32
        };
        let most = domains.share.iter().map(above).collect();
        let least = domains.share.iter().map(below).collect();
        let mut load = vec![0; members.len()];
        slots.iter().filter(|node| **node != VACANT).for_each(|node| load[usize::from(*node)] += 1);
        Self { domains, replicas: replicas(members, config), slots, load, least, most }
    }

    fn partitions(&self) -> usize {
        self.slots.len() / self.replicas
    }

    fn holders(&self, partition: usize) -> &[u16] {
        &self.slots[partition * self.replicas..][..self.replicas]
    }

    fn spare(&self, node: usize) -> u32 {
        self.domains.target[node].saturating_sub(self.load[node])
    }

    pub(crate) fn set(&mut self, slot: usize, node: usize) {
        self.vacate(slot);
        self.slots[slot] = node as u16;
        self.load[node] += 1;
    }

    fn vacate(&mut self, slot: usize) {
        let before = std::mem::replace(&mut self.slots[slot], VACANT);
        if before != VACANT {
            self.load[usize::from(before)] -= 1;
        }
    }

    /// Whether `node` may hold `partition` beside its holders, but for the one in `instead`.
    pub(crate) fn legal(&self, partition: usize, node: usize, instead: Option<usize>) -> bool {
        let (mut zone, mut subnet) = (0, 0);
        for (i, other) in self.holders(partition).iter().enumerate() {
            let other = usize::from(*other);
            if Some(partition * self.replicas + i) == instead || other == usize::from(VACANT) {
                continue;
            }
            if other == node {
                return false;
            }
            zone += usize::from(self.domains.zone[other] == self.domains.zone[node]);
            subnet += usize::from(self.domains.subnet[other] == self.domains.subnet[node]);
        }
        zone < self.domains.zone_limit && subnet < self.domains.subnet_limit
    }

    /// Whether the first node has more of its share than the second.
    fn fuller(&self, a: usize, b: usize) -> bool {
        u128::from(self.load[a]) * u128::from(self.domains.share[b])
            > u128::from(self.load[b]) * u128::from(self.domains.share[a])
    }

    /// Of holders that may not be together any more, the fullest goes.
    fn evict_illegal(&mut self) {
        for partition in 0..self.partitions() {
            loop {
                let range = partition * self.replicas..(partition + 1) * self.replicas;
                let mut worst: Option<usize> = None;
                for slot in range.filter(|slot| self.slots[*slot] != VACANT) {
                    let node = usize::from(self.slots[slot]);
                    if !self.legal(partition, node, Some(slot))
                        && worst.is_none_or(|other| self.fuller(node, usize::from(self.slots[other])))
                    {
                        worst = Some(slot);
                    }
                }
                match worst {
                    Some(slot) => self.vacate(slot),
                    None => break,
                }
            }
        }
    }

    /// Nodes above their maximum give away: to those with room, while these are few and zones may stand in the way; then
    /// what is left to filling, if possible nothing of a partition that misses a replica already.
    fn shed(&mut self) {
        let needy: Vec<usize> = (0..self.load.len()).filter(|node| self.spare(*node) > 0).collect();
        if needy.len() <= FEW {
            self.hand_over(&needy);
        }
        for whole_only in [true, false] {
            for partition in 0..self.partitions() {
                if whole_only && self.holders(partition).contains(&VACANT) {
                    continue;
                }
                for slot in partition * self.replicas..(partition + 1) * self.replicas {
                    if self.overfull(slot) {
                        self.vacate(slot);
                        break;
                    }
                }
            }
        }
    }

    fn hand_over(&mut self, needy: &[usize]) {
        for slot in 0..self.slots.len() {
            let partition = slot / self.replicas;
            if self.overfull(slot) {
                let fits =
                    |node: &&usize| self.spare(**node) > 0 && self.legal(partition, **node, Some(slot));
                let emptiest = needy
                    .iter()
                    .filter(fits)
                    .reduce(|best, node| if self.fuller(*best, *node) { node } else { best });
                if let Some(node) = emptiest {
                    self.set(slot, *node);
                }
            }
        }
    }

    fn overfull(&self, slot: usize) -> bool {
        let node = usize::from(self.slots[slot]);
        self.slots[slot] != VACANT && self.load[node] > self.most[node]
    }

    fn fill(&mut self, ring: &Ring) {
        let fresh = self.load.iter().all(|load| *load == 0);
        let target = &self.domains.target;
        // What has to go goes to those that have to take: to others it would be one move more.
        let mut short = (!fresh).then(|| Walk::new(ring.clone(), &self.least));
        let mut walk = Walk::new(ring.clone(), target);
        let of_zone =
            |zone: &u16| (*zone, Walk::new(ring.filtered(|node| self.domains.zone[node] == *zone), target));
        let mut tight: Vec<(u16, Walk)> = self.domains.tight.iter().map(of_zone).collect();
        for partition in 0..self.partitions() {
            // The ring position of the partition's first key (SHARD-1).
            let position = (partition as u64) << (64 - self.partitions().ilog2());
            for slot in partition * self.replicas..(partition + 1) * self.replicas {
                if self.slots[slot] != VACANT {
                    continue;
                }
                let needy = tight.iter_mut().find_map(|(zone, walk)| {
                    let held = self
                        .holders(partition)
                        .iter()
                        .filter(|node| **node != VACANT && self.domains.zone[usize::from(**node)] == *zone);
                    if held.count() < self.domains.zone_limit {
                        walk.next(self, partition, position)
                    } else {
                        None
                    }
                });
                let direct = needy
                    .or_else(|| short.as_mut()?.next(self, partition, position))
                    .or_else(|| walk.next(self, partition, position))
                    .or_else(|| self.any(partition, &self.domains.target));
                // Before there is data, a chain of moves costs nothing; afterwards slack is cheaper.
                let node = direct
                    .or_else(|| if fresh { self.make_room(partition) } else { None })
                    .or_else(|| self.any(partition, &self.most))
                    .or_else(|| self.make_room(partition))
                    .or_else(|| self.least_full(partition))
                    .expect("the limits leave a place for each replica");
                self.set(slot, node);
            }
        }
    }

    fn any(&self, partition: usize, limit: &[u32]) -> Option<usize> {
        (0..self.load.len())
            .find(|node| self.load[*node] < limit[*node] && self.legal(partition, *node, None))
    }

    /// Lets a node that may hold `partition` pass something on, along a chain that ends where there is room.
    fn make_room(&mut self, partition: usize) -> Option<usize> {
        let starts: Vec<usize> =
            (0..self.load.len()).filter(|node| self.spare(*node) > 0).take(CHAIN_STARTS).collect();
        starts.into_iter().find_map(|start| {
            self.pass_on(start, Some(partition), |placer, node| placer.legal(partition, node, None))
        })
    }

    fn least_full(&self, partition: usize) -> Option<usize> {
        let legal = (0..self.load.len()).filter(|node| self.legal(partition, *node, None));
        legal.reduce(|best, node| if self.fuller(best, node) { node } else { best })
    }

    /// Nodes below their minimum take from those above their target.
    fn level(&mut self) {
        for node in 0..self.load.len() {
            if self.load[node] >= self.least[node] {
                continue;
            }
            let start = self.slots.len() / self.load.len() * node / self.replicas;
            for partition in (start..self.partitions()).chain(0..start) {
                if self.load[node] >= self.least[node] {
                    break;
                }
                let giver = (partition * self.replicas..(partition + 1) * self.replicas).find(|slot| {
                    let giver = usize::from(self.slots[*slot]);
                    self.load[giver] > self.domains.target[giver] && self.legal(partition, node, Some(*slot))
                });
                if let Some(slot) = giver {
                    self.set(slot, node);
                }
            }
            let above = |placer: &Self, giver: usize| placer.load[giver] > placer.domains.target[giver];
            while self.load[node] < self.least[node] && self.pass_on(node, None, above).is_some() {}
        }
    }

    /// Finds the shortest chain of moves that takes one replica off a node that is a `goal`, and puts one more on
    /// `start`; the nodes between pass one on each. `kept` is not touched. Returns the goal, after moving.
    fn pass_on(
        &mut self,
        start: usize,
        kept: Option<usize>,
        goal: impl Fn(&Self, usize) -> bool,
    ) -> Option<usize> {
        // By node: the slot it gives, and to whom.
        let mut gives: Vec<Option<(usize, usize)>> = vec![None; self.load.len()];
        let mut queue = VecDeque::from([start]);
        for _ in 0..CHAIN_LIMIT {
            let taker = queue.pop_front()?;
            for slot in 0..self.slots.len() {
                let (partition, giver) = (slot / self.replicas, self.slots[slot]);
                let node = usize::from(giver);
                if giver == VACANT || node == start || gives[node].is_some() || Some(partition) == kept {
                    continue;
                }
                let used = |at: usize| gives[at].is_some_and(|(other, _)| other / self.replicas == partition);
                let chain = std::iter::successors(Some(taker), |at| gives[*at].map(|(_, to)| to));
                if !self.legal(partition, taker, Some(slot)) || chain.into_iter().any(used) {
                    continue;
                }
                gives[node] = Some((slot, taker));
                if goal(self, node) {
                    let mut at = node;
                    while let Some((slot, to)) = gives[at].filter(|_| at != start) {
                        self.set(slot, to);
                        at = to;
                    }
                    return Some(node);
                }
                queue.push_back(node);
            }
        }
        None
    }
}

/// A ring from which nodes vanish as they fill.
struct Walk {
    ring: Ring,
    /// The token itself, or one behind it such that all between are of full nodes.
    next: Vec<u32>,
    /// By node: the load at which it vanishes.
    limit: Vec<u32>,
}

impl Walk {
    fn new(ring: Ring, limit: &[u32]) -> Self {
        let next = (0..ring.len() as u32).collect();
        Self { ring, next, limit: limit.to_vec() }
    }

    /// The first node with room, from a position on, that may hold the partition.
    fn next(&mut self, placer: &Placer, partition: usize, position: u64) -> Option<usize> {
        let mut token = self.ring.first_at(position) % self.ring.len().max(1);
        for _ in 0..WALK_LIMIT.min(self.ring.len()) {
            token = self.open(placer, token)?;
            let node = self.ring.node(token);
            if placer.legal(partition, node, None) {
                return Some(node);
            }
            token = (token + 1) % self.ring.len();
        }
        None
    }

    /// The first token from this one on whose node has room. Each step halves the way for those that follow.
    fn open(&mut self, placer: &Placer, mut token: usize) -> Option<usize> {
        let mut steps = 0;
        loop {
            let next = self.next[token] as usize;
            if next == token {
                let node = self.ring.node(token);
                if placer.load[node] < self.limit[node] {
                    return Some(token);
                }
                self.next[token] = ((token + 1) % self.ring.len()) as u32;
            } else {
                self.next[token] = self.next[next];
                token = next;
            }
            steps += 1;
            if steps > 2 * self.ring.len() {
                return None;
            }
        }
    }
}
