//! Integration tests of the crate.

mod stories;
