//! The bytes that cross the wire: maps (SHARD-8), summaries (SHARD-9 and on), and the messages of both machines.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

mod map;

use thiserror::Error;

pub use crate::roles::{Attach, Hint, MAX_HINTS, Probe, Reply, RolesMessage};
pub use crate::summary::{MAX_ITEM_BYTES, MAX_SKETCHES, MAX_SUMS, TOP_ITEMS};
pub use crate::tree::{MAX_TREE_MESSAGE, Report, TreeMessage};
pub use map::MAX_MEMBERS;

/// Why bytes are not what they should be. Nothing changed; who sent or stored them is to blame.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end early.
    #[error("truncated")]
    Truncated,
    /// Bytes are left over.
    #[error("trailing bytes")]
    Trailing,
    /// A format that this version does not know.
    #[error("unknown version")]
    Version,
    /// A field is outside of its range.
    #[error("field out of range")]
    Range,
    /// Members are not ascending, or something is not a node's identity.
    #[error("bad member")]
    Member,
    /// A partition is held by nobody known, or twice by the same.
    #[error("bad holder")]
    Holder,
    /// A second encoding of one value.
    #[error("not canonical")]
    NotCanonical,
    /// More elements or bytes than the protocol allows.
    #[error("too long")]
    TooLong,
    /// A kind of message that this version does not know.
    #[error("unknown kind")]
    Kind,
}

impl From<cs_identity::wire::DecodeError> for DecodeError {
    fn from(error: cs_identity::wire::DecodeError) -> Self {
        use cs_identity::wire::DecodeError as Bytes;
        match error {
            Bytes::Truncated => Self::Truncated,
            Bytes::TrailingBytes => Self::Trailing,
            Bytes::NotCanonical => Self::NotCanonical,
            Bytes::OutOfRange => Self::Range,
            Bytes::TooLong => Self::TooLong,
            Bytes::BadNodeId => Self::Member,
            _ => Self::Version,
        }
    }
}

/// Reads the whole of `bytes` with `decode`.
pub(crate) fn whole<T>(
    mut bytes: &[u8],
    decode: impl FnOnce(&mut &[u8]) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let value = decode(&mut bytes)?;
    if bytes.is_empty() { Ok(value) } else { Err(DecodeError::Trailing) }
}
