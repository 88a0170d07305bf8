#![doc = include_str!("../README.md")]
#![no_std]
#![forbid(unsafe_code)]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]
extern crate alloc;

mod actor;
mod apply;
mod change;
mod compact;
mod compare;
mod conflict;
mod context;
mod counter;
mod cursor;
mod diff;
mod document;
mod entries;
mod explain;
mod extra;
mod fault;
mod fold;
mod history;
mod id;
mod join;
mod json;
mod list;
mod map;
mod marks;
mod merge_json;
mod moves;
mod observe;
mod packing;
mod patch;
mod path;
mod pending;
mod plain;
mod plain_edit;
mod rollback;
mod schema;
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
mod undo;
mod value;
mod view;
pub mod wire;

pub use actor::{Actor, Dot};
pub use change::Kind;
pub use conflict::{Candidate, Conflict};
pub use cursor::{Blame, Cursor};
pub use document::{Applied, Document, Version};
pub use explain::Explanation;
pub use fault::{
    ChangeFault, CompactError, DecodeError, EditError, HistoryError, JsonError, LoadError, SchemaError,
};
pub use fold::Fold;
pub use history::Entry;
pub use id::Id;
pub use marks::{Expand, MarkSpan, RichRun};
pub use observe::MAX_PATCHES;
pub use patch::Patch;
pub use path::{Path, Step};
pub use schema::{MAX_RULES, Rule, Schema};
pub use transaction::Transaction;
pub use undo::MAX_UNDO;
pub use value::{Float, Scalar, Value};
pub use view::{Mismatch, Quarantined};
