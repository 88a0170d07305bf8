//! The bytes: changes, and the parts that snapshots share with them. `PROTOCOL.md` gives the layout.

mod check;
mod code;
mod edits;
mod later;

pub use crate::change::Change;
pub use crate::fault::DecodeError;
pub(crate) use code::{Reader, put_i64, put_u64};
pub(crate) use edits::{read_scalar, write_scalar};

/// First byte of a change that holds edits of the first kinds only.
pub const CHANGE_VERSION: u8 = 1;
/// First byte of a change that holds an edit of a later kind: moves, trees, marks, folds.
pub const CHANGE_VERSION_LATER: u8 = 2;
/// First byte of a snapshot of parts of the first kinds only. Those of versions 1 to 3, whose columns are not packed, are
/// still read.
pub const SNAPSHOT_VERSION: u8 = 4;
/// First byte of a snapshot that holds parts of later kinds.
pub const SNAPSHOT_VERSION_LATER: u8 = 5;
/// First byte of a snapshot of a document that was compacted.
pub const SNAPSHOT_VERSION_COMPACT: u8 = 6;
/// First byte of a document that is saved with its history.
pub const HISTORY_VERSION: u8 = 1;
/// Bytes of a change: what a replica is willing to hold of one author before it knows what it is.
pub const MAX_CHANGE_BYTES: usize = 4 << 20;
/// Steps from the root to a place. Bounds every recursion.
pub const MAX_DEPTH: usize = 64;
/// Bytes of a map's key.
pub const MAX_KEY_BYTES: usize = 4096;
/// The highest counter of a dot. Far beyond use, and far enough from `u64::MAX` that sums do not overflow.
pub const MAX_COUNTER: u64 = 1 << 53;
/// Bytes of a mark's key.
pub const MAX_MARK_KEY_BYTES: usize = 256;
/// Changes that wait for others, in one document.
pub const MAX_PENDING: usize = 4096;
/// Bytes of the changes that wait for others, in one document.
pub const MAX_PENDING_BYTES: usize = 16 << 20;
