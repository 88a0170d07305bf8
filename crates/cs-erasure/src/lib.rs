#![doc = include_str!("../README.md")]
#![cfg_attr(not(feature = "std"), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

#[cfg(feature = "checksum")]
mod checksum;
mod code;
mod columns;
mod decode;
mod fault;
mod gf16;
mod gf8;
mod kernel;
mod linear;
mod lrc;
mod matrix;
#[cfg(feature = "rayon")]
mod parallel;
mod plans;
mod repair;
mod solve;
mod stripe;
mod transform;

#[cfg(feature = "checksum")]
pub use checksum::{Checksum, ShardKey};
pub use code::Code;
pub use fault::{ConfigError, Refused};
pub use lrc::Lrc;
pub use plans::Plans;
pub use repair::Repair;
pub use stripe::{Stripe, StripeReader, StripeWriter};

/// Most shards of one code, data and parity together: half of the points of GF(2^16), so that the smaller side can be
/// rounded up to a power of two and a block of points is left over for repairs.
pub const MAX_SHARDS: usize = 32_768;
