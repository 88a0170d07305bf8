#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic))]

extern crate alloc;

#[cfg(test)]
extern crate std;

pub mod aead;
pub mod dh;
pub mod epoch;
pub mod hpke;
pub mod invite;
pub mod kdf;
pub mod noise;
pub mod ratchet;
#[cfg(feature = "recovery")]
pub mod recovery;
pub mod secret_file;

pub use aead::Forged;
pub use dh::LowOrderPoint;
