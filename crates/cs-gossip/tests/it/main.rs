//! Integration tests of cs-gossip.

mod network;
mod properties;
mod reconciling;
mod rules;
mod stories;
mod vectors;
