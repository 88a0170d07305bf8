#![doc = include_str!("../README.md")]

mod clock;
mod rows;

pub use clock::{cpu_time, median_cpu};
pub use rows::{Better, Row};
