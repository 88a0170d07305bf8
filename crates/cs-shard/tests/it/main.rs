//! Integration tests of cs-shard.

mod hubs;
mod ideal;
mod properties;
mod routes;
#[path = "../sim/mod.rs"]
mod sim;
mod stories;
mod summaries;
mod trees;
mod twins;
mod vectors;

use std::collections::BTreeSet;
use std::sync::OnceLock;

use cs_identity::{NodeId, SecretKey};
use cs_shard::{Member, PartitionMap, Subnet, Weight, Zone};

/// The `number`-th of a fixed row of identities.
fn id(number: usize) -> NodeId {
    static IDS: OnceLock<Vec<NodeId>> = OnceLock::new();
    let ids = IDS.get_or_init(|| (0..13_000u16).map(|i| SecretKey::from_bytes(seed(i)).node_id()).collect());
    ids[number]
}

fn seed(number: u16) -> [u8; 32] {
    let mut seed = [0; 32];
    seed[..2].copy_from_slice(&number.to_le_bytes());
    seed
}

/// A member of weight 1, alone in its subnet.
fn member(number: usize, zone: u64) -> Member {
    Member { id: id(number), weight: Weight::ONE, zone: Zone(zone), subnet: Subnet(number as u64) }
}

/// What is wrong with where replicas are, by an oracle that knows nothing of limits and shares. A placement is legal
/// if it has as many zones as there can be, up to one a replica.
fn zone_violation(map: &PartitionMap) -> Option<u32> {
    let zones: BTreeSet<Zone> = map.members().iter().map(|member| member.zone).collect();
    let wanted = usize::from(map.config().replicas).min(map.members().len());
    (0..map.config().partitions).find(|partition| {
        let held: BTreeSet<Zone> = map.replicas(*partition).map(|member| member.zone).collect();
        let nodes: BTreeSet<NodeId> = map.replicas(*partition).map(|member| member.id).collect();
        nodes.len() != wanted || (zones.len() >= wanted && held.len() != wanted)
    })
}

/// The member whose load is out of bounds, with its load and its fair share.
fn imbalance(map: &PartitionMap, most: f64, least: f64) -> Option<(u32, f64)> {
    let bad = |load: &cs_shard::Load| {
        let held = f64::from(load.partitions);
        held > (load.fair * most).max(load.fair.ceil()) || held < (load.fair * least).min(load.fair.floor())
    };
    map.loads().into_iter().find(bad).map(|load| (load.partitions, load.fair))
}

/// What a map must move at least, nearly: what the shares of members grew by, or what the nodes that are gone had held,
/// whichever is more; and what may not be any more beside what it was beside, twice: the node that loses it must
/// be given something else, which those partitions that are short of a replica cannot be, since they have its zone.
fn least_movement(before: &PartitionMap, after: &PartitionMap) -> f64 {
    let had = before.loads();
    let fair = |id: NodeId| had.binary_search_by_key(&id, |load| load.id).map_or(0.0, |at| had[at].fair);
    let grown: f64 = after.loads().iter().map(|load| (load.fair - fair(load.id)).max(0.0)).sum();
    let now = after.members();
    let zone = |id: NodeId| now.binary_search_by_key(&id, |member| member.id).map(|at| now[at].zone).ok();
    let (mut lost, mut conflicts) = (0, 0);
    for partition in 0..after.config().partitions {
        let alive: Vec<Zone> = before.replicas(partition).filter_map(|member| zone(member.id)).collect();
        lost += after.replicas(partition).len().saturating_sub(alive.len());
        conflicts += alive.len() - alive.iter().collect::<BTreeSet<_>>().len();
    }
    grown.max(lost as f64) + 2.0 * conflicts as f64
}
