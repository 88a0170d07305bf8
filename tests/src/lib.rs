//! The simulator and the laws, for the tests of this package.

pub mod laws;
pub mod sim;
