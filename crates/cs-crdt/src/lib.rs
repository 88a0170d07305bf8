#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

extern crate alloc;

mod actor;
mod apply;
mod change;
mod compact;
mod conflict;
mod context;
mod counter;
mod diff;
mod document;
mod entries;
mod extra;
mod fault;
mod fold;
mod id;
mod join;
mod json;
mod list;
mod map;
mod marks;
mod merge_json;
mod moves;
mod packing;
mod path;
mod pending;
mod plain;
mod plain_edit;
mod rollback;
mod sequence;
mod set;
mod slot;
mod snapshot;
mod snapshot_extra;
mod snapshot_read;
mod snapshot_write;
mod text;
mod transaction;
mod transaction_mark;
mod transaction_tree;
mod tree;
mod tree_shape;
mod value;
pub mod wire;

pub use actor::{Actor, Dot};
pub use change::Kind;
pub use conflict::{Candidate, Conflict};
pub use document::{Applied, Document, Version};
pub use fault::{ChangeFault, CompactError, DecodeError, EditError, JsonError, LoadError};
pub use fold::Fold;
pub use id::Id;
pub use marks::{Expand, MarkSpan, RichRun};
pub use path::{Path, Step};
pub use transaction::Transaction;
pub use value::{Float, Scalar, Value};
