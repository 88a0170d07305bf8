#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod address;
mod config;
mod estimate;
mod event;
mod fault;
mod key;
mod limiter;
mod lookup;
mod machine;
mod publish;
mod records;
mod routing;
mod rtt;
#[cfg(test)]
mod testing;
mod timers;
mod token;
mod trace;
pub mod wire;

pub use address::Scope;
pub use config::{Config, K, MAX_AUTHORITIES, Mode};
pub use event::{Contact, Counters, Effort, Event, Input, LookupId, Output, RpcId};
pub use fault::{ConfigError, PeerFault, Refused};
pub use key::{Distance, Key};
pub use machine::Dht;
pub use records::{IMMUTABLE_LIFETIME, LIFETIME_MAX};
pub use trace::{Outcome, Step, Trace};
pub use wire::{ImmutableValue, MutableValue, NetworkConfig, PeerRecord, ProviderRecord, Record, RecordKind};
