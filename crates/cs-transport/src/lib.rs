#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

mod arbiter;
mod local;
pub mod mapping;
pub mod net;
pub mod paths;
pub mod punch;
pub mod quic;
pub mod rpc;
pub mod stun;
pub mod turn;
pub mod wire;

pub use arbiter::{Arbiter, Verdict};
pub use local::LocalKey;
