//! Integration tests of the crate.

mod compaction;
mod differential;
mod golden;
mod histories;
mod hostile;
mod properties;
mod stories;
mod vectors;
