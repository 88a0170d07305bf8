//! Laws, stories and regressions that need more than one crate.

mod stories;
