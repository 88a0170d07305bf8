//! Integration tests of the crate.

mod compaction;
mod differential;
mod golden;
mod histories;
mod hostile;
mod intentions;
mod laws;
mod ordering;
mod properties;
mod schemas;
mod stories;
mod vectors;
mod versions;
