//! The integration tests of cs-identity.

mod chains;
mod exhaustive;
mod guardians;
mod laws;
mod negative;
mod people;
mod policies;
mod properties;
mod stories;
mod trust;
mod vectors;
mod world;
