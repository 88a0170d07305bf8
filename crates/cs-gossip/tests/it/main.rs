//! Integration tests of cs-gossip.

mod network;
mod properties;
mod reconcile_laws;
mod reconciling;
mod rules;
mod stories;
mod vectors;
