//! The simulator, the laws, real nodes and an internet for them, for the tests of this package.

pub mod internet;
pub mod laws;
pub mod real;
pub mod sim;
