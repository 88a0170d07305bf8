//! The integration tests of cs-identity.

mod laws;
mod people;
mod properties;
mod stories;
mod vectors;
mod world;
