#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

extern crate alloc;

mod actor;
mod apply;
mod change;
mod conflict;
mod context;
mod counter;
mod diff;
mod document;
mod entries;
mod fault;
mod join;
mod json;
mod list;
mod map;
mod merge_json;
mod path;
mod pending;
mod rollback;
mod sequence;
mod set;
mod slot;
mod snapshot;
mod snapshot_read;
mod snapshot_write;
mod text;
mod transaction;
mod value;
pub mod wire;

pub use actor::{Actor, Dot};
pub use change::Kind;
pub use conflict::{Candidate, Conflict};
pub use document::{Applied, Document, Version};
pub use fault::{ChangeFault, DecodeError, EditError, JsonError, LoadError};
pub use path::{Path, Step};
pub use transaction::Transaction;
pub use value::{Float, Scalar, Value};
