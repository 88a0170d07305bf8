//! The partition map beside rings, rendezvous, multi-probe and jump hashing.

use std::hint::black_box;

use cs_identity::SecretKey;
use cs_peers::{Better, Row, median_cpu};
use cs_shard::{Config, Member, PartitionMap, Plan, Subnet, Weight, Zone, hash_key};
use hashring::HashRing;
use hrw_hash::HrwNodes;
use jumphash::JumpHasher;

const PARTITIONS: u32 = 16_384;
/// Keys looked up in a run.
const KEYS: usize = 4096;

fn member(number: u64) -> Member {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&number.to_le_bytes());
    Member {
        id: SecretKey::from_bytes(seed).node_id(),
        weight: Weight::ONE,
        zone: Zone(number % 20),
        subnet: Subnet(number / 2),
    }
}

fn members(count: u64) -> Vec<Member> {
    (0..count).map(member).collect()
}

fn map(members: &[Member]) -> PartitionMap {
    PartitionMap::new(Config { partitions: PARTITIONS, ..Config::default() }, members)
        .expect("there are members")
}

fn ring(nodes: u64) -> HashRing<(u64, u32)> {
    let mut ring = HashRing::new();
    ring.batch_add((0..nodes).flat_map(|node| (0..64).map(move |token| (node, token))).collect());
    ring
}

/// Nanoseconds a lookup.
pub(crate) fn lookups() {
    let keys: Vec<[u8; 32]> = (0..KEYS as u64).map(|key| hash_key(&key.to_le_bytes())).collect();
    for nodes in [100, 1000, 10_000] {
        let map = map(&members(nodes));
        let each = |work: &mut dyn FnMut(&[u8; 32])| {
            median_cpu(31, || keys.iter().for_each(|key| work(black_box(key)))).as_secs_f64() * 1e9
                / KEYS as f64
        };
        let own = each(&mut |key| {
            black_box(map.slots(key));
        });
        let whole = each(&mut |key| {
            map.holders(key).for_each(|member| {
                black_box(member.id);
            })
        });
        let ring = ring(nodes);
        let by_ring = each(&mut |key| {
            black_box(ring.get(key));
        });
        let jump = JumpHasher::new();
        let by_jump = each(&mut |key| {
            black_box(jump.slot(key, nodes as u32));
        });
        let probes = mpchash::HashRing::new();
        (0..nodes).for_each(|node| probes.add(node));
        let by_probes = each(&mut |key| {
            black_box(probes.node(key).map(|token| *token.node()));
        });
        let row = format!("{nodes} nodes");
        let new = |metric, value| Row { goal: None, ..Row::new(&row, metric, "ns", Better::Less, value) };
        Row { goal: Some(5.0), peer: Some(("hashring 0.3", by_ring)), ..new("lookup of 3 holders", own) }
            .print();
        Row { peer: Some(("jumphash 0.1", by_jump)), ..new("lookup of 3 holders", own) }.print();
        Row { peer: Some(("mpchash 2", by_probes)), ..new("lookup of 3 holders", own) }.print();
        new("lookup, with the identities read", whole).print();
        if nodes <= 1000 {
            let rendezvous = HrwNodes::new(0..nodes);
            let by_weight = each(&mut |key| {
                black_box(rendezvous.sorted(key).take(3).count());
            });
            Row { peer: Some(("hrw-hash 2", by_weight)), ..new("lookup of 3 holders", own) }.print();
        }
    }
}

/// KiB of 16,384 partitions of three replicas: the table, which is the same however many nodes there are, and the list of
/// members beside it.
pub(crate) fn memory() {
    for nodes in [100u64, 1000, 2900, 10_000] {
        let map = map(&members(nodes));
        let kib = |bytes: usize| bytes as f64 / 1024.0;
        let row = format!("{nodes} nodes");
        let table = Row::new(&row, "table of partitions", "KiB", Better::Less, kib(map.table_bytes()));
        Row { goal: Some(256.0), ..table }.print();
        Row::new(&row, "table and members", "KiB", Better::Less, kib(map.heap_bytes())).print();
    }
}

struct Placed {
    /// Owner of each partition.
    before: Vec<u64>,
    after: Vec<u64>,
}

impl Placed {
    /// Partitions that moved over those that had to, when nodes went from `from` to `to`.
    fn moved(&self, from: u64, to: u64) -> f64 {
        let moved = self.before.iter().zip(&self.after).filter(|(before, after)| before != after).count();
        let least = self.before.len() as f64 * to.abs_diff(from) as f64 / from.max(to) as f64;
        moved as f64 / least
    }

    /// Load of the fullest node over the mean.
    fn max_over_mean(&self, nodes: u64) -> f64 {
        let mut loads = vec![0u32; nodes as usize + 1];
        self.before.iter().for_each(|owner| loads[*owner as usize] += 1);
        f64::from(loads.into_iter().max().unwrap_or(0)) / (self.before.len() as f64 / nodes as f64)
    }
}

fn placed(lookup: impl Fn(u64) -> Vec<u64>, from: u64, to: u64) -> Placed {
    Placed { before: lookup(from), after: lookup(to) }
}

fn keys() -> impl Iterator<Item = [u8; 32]> {
    (0..u64::from(PARTITIONS)).map(|key| hash_key(&key.to_le_bytes()))
}

/// Movement over the least there can be, and the fullest node over the mean, when a tenth of the nodes joins or leaves.
pub(crate) fn movement() {
    for (from, to) in [(10u64, 11u64), (100, 110), (110, 100), (1000, 1100), (1100, 1000)] {
        let old = map(&members(from));
        let new = old.next(&members(to)).expect("there are members");
        let moved = Plan::between(&old, &new, |_| 1).bytes() as f64;
        let replicas = f64::from(PARTITIONS) * 3.0;
        let ratio = moved / (replicas * to.abs_diff(from) as f64 / from.max(to) as f64);
        let fullest = new.loads().into_iter().map(|load| f64::from(load.partitions)).fold(0.0, f64::max);
        let balance = fullest / (replicas / to as f64);
        let row = format!("{from} to {to} nodes");
        let rings = placed(
            |nodes| {
                let ring = ring(nodes);
                keys().filter_map(|key| Some(ring.get(&key)?.0)).collect()
            },
            from,
            to,
        );
        let jump = JumpHasher::new();
        let jumps =
            placed(|nodes| keys().map(|key| u64::from(jump.slot(&key, nodes as u32))).collect(), from, to);
        let probes = placed(
            |nodes| {
                let ring = mpchash::HashRing::new();
                (0..nodes).for_each(|node| ring.add(node));
                keys().filter_map(|key| Some(*ring.node(&key)?.node())).collect()
            },
            from,
            to,
        );
        for (peer, placed) in [("hashring 0.3", &rings), ("jumphash 0.1", &jumps), ("mpchash 2", &probes)] {
            Row {
                goal: Some(1.2),
                peer: Some((peer, placed.moved(from, to))),
                ..Row::new(&row, "movement over the least", "times", Better::Less, ratio)
            }
            .print();
            Row {
                goal: Some(1.07),
                peer: Some((peer, placed.max_over_mean(from))),
                ..Row::new(&row, "fullest over the mean", "times", Better::Less, balance)
            }
            .print();
        }
        if from <= 110 {
            let weights = placed(
                |nodes| {
                    let nodes = HrwNodes::new(0..nodes);
                    keys().filter_map(|key| nodes.sorted(&key).next().copied()).collect()
                },
                from,
                to,
            );
            Row {
                peer: Some(("hrw-hash 2", weights.moved(from, to))),
                ..Row::new(&row, "movement over the least", "times", Better::Less, ratio)
            }
            .print();
        }
    }
}
