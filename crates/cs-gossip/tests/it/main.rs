//! Integration tests of cs-gossip.

mod properties;
mod reconciling;
