//! The integration tests of cs-identity.

mod vectors;
