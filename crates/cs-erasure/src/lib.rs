#![doc = include_str!("../README.md")]
#![cfg_attr(not(feature = "std"), no_std)]
#![deny(unsafe_code)]

extern crate alloc;

mod code;
mod fault;
mod gf8;
mod kernel;
mod matrix;
mod repair;
mod stripe;
mod transform;

pub use code::Code;
pub use fault::{ConfigError, Refused};
pub use repair::Repair;
pub use stripe::{Stripe, StripeReader, StripeWriter};

/// Most shards of one code, data and parity together: the points of GF(2^8).
pub const MAX_SHARDS: usize = 256;
