#![doc = include_str!("../README.md")]
// One module may: reconcile/clmul.rs.
#![deny(unsafe_code)]

mod cache;
mod codec;
mod config;
mod egress;
mod fault;
mod link;
mod machine;
mod membership;
mod pull;
pub mod reconcile;
mod rtt;
mod seen;
mod shared;
mod standing;
mod survey;
mod timers;
mod tree;
pub mod wire;

pub use config::{Config, ConfigError};
pub use fault::{PeerFault, Refused};
pub use machine::{Counters, Event, Gossip, Input, Output, Verdict};
pub use wire::{Lane, MessageId};
