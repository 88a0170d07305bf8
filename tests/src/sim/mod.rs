//! A deterministic network of whole nodes in virtual time: what is simulated is what ships.
//!
//! A [`World`] holds nodes, each a `NodeCore` on a `MemDisk` with an `Agent` on a `MemVfs` for each shared folder, and
//! the network between them. One seed decides everything: keys, latencies, losses, the order of what happens at once,
//! what a crash leaves on the disks. Nothing reads a clock, so a failure replays by its seed.
//!
//! A [`Script`] is a list of timed [`Action`]s and nothing else; an action that cannot be carried out is passed over,
//! so that any part of a script is a script, and a failing one can be shrunk by leaving steps out.
//!
//! After every event the world checks what must always hold ([`Violation`]); [`World::converge`] then heals what is
//! broken and checks that every member of every space comes to hold the same within bounded virtual time.

mod chance;
mod check;
mod faults;
mod folders;
mod happening;
mod links;
mod network;
mod node;
mod script;
mod swarm;
mod world;

pub use chance::Chance;
pub use check::Violation;
pub use network::Weather;
pub use script::{Action, Means, Outcome, Script, Step, run, shrink};
pub use swarm::swarm;
pub use world::{Summary, World};
