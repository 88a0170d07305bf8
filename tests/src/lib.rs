//! The simulator, the laws and real nodes, for the tests of this package.

pub mod laws;
pub mod real;
pub mod sim;
