//! Laws, stories and regressions that need more than one crate.

mod byzantine;
mod catching_up;
mod laws;
mod machines;
mod regressions;
mod sabotage;
mod shard_machines;
mod stories;
mod swarms;
