//! Laws, stories and regressions that need more than one crate.

mod byzantine;
mod laws;
mod machines;
mod sabotage;
mod stories;
mod swarms;
