#![doc = include_str!("../README.md")]
#![cfg_attr(not(feature = "std"), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

mod code;
mod columns;
mod decode;
mod fault;
mod gf16;
mod gf8;
mod kernel;
mod linear;
mod matrix;
mod repair;
mod stripe;
mod transform;

pub use code::Code;
pub use fault::{ConfigError, Refused};
pub use repair::Repair;
pub use stripe::{Stripe, StripeReader, StripeWriter};

/// Most shards of one code, data and parity together: a quarter of the points of GF(2^16) may be needed to round up, and another
/// for repairs.
pub const MAX_SHARDS: usize = 32_768;
