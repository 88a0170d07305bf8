#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]

extern crate alloc;
#[cfg(test)]
extern crate std;

mod area;
mod base32;
mod clone;
pub mod control;
mod id;
mod name;
mod node_id;
mod path;
pub mod person;
mod secret_key;
mod signature;
mod signed;
pub mod trust;
pub mod wire;

pub use area::{Area, AreaError, Rights, TIME_END_MS};
pub use clone::{CloneProof, CloneProofFault, CloneWatch, Observation, Sequenced, StateClaim, WatchFull};
pub use id::{OpId, SpaceId};
pub use name::{MAX_NAME_BYTES, is_name};
pub use node_id::{IdError, NodeId};
pub use path::{BlindPath, MAX_DEPTH, PathError, Tag};
pub use secret_key::SecretKey;
pub use signature::{BadSignature, Claim, Domain, Signature, verify_batch};
pub use signed::{Signable, Signed, SignedFault, Unverified};
