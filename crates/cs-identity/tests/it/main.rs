//! The integration tests of cs-identity.

mod properties;
mod stories;
mod vectors;
mod world;
