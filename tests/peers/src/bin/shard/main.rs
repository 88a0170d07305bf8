//! Placement, hubs and routing of cs-shard: lookups, memory, balance and movement beside `hashring`, `hrw-hash` (rendezvous),
//! `mpchash` (multi-probe) and `jumphash`; ten thousand simulated nodes that find their hubs; and the tail of requests.

mod map;
#[path = "../../../../../crates/cs-shard/tests/sim/mod.rs"]
mod sim;
mod simulated;

/// Nodes that sort out their roles.
const NODES: usize = 10_000;

fn main() {
    map::lookups();
    map::memory();
    map::movement();
    simulated::routing();
    simulated::tree();
    simulated::roles(NODES);
}
