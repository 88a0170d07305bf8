#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod config;
mod domains;
mod map;
mod member;
mod place;
mod plan;
mod ring;
mod share;
pub mod wire;

pub use config::{Config, ConfigError};
pub use map::{Load, PartitionMap};
pub use member::{InvalidWeight, Member, Subnet, Weight, Zone};
pub use plan::{Move, Plan};
pub use ring::{Ring, hash_key};
