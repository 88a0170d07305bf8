//! The integration tests of cs-identity.

mod chains;
mod laws;
mod people;
mod policies;
mod properties;
mod stories;
mod trust;
mod vectors;
mod world;
