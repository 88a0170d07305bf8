use alloc::vec::Vec;
use core::fmt;

use super::action::DocumentId;
use crate::id::OpId;
use crate::node_id::NodeId;
use crate::path::BlindPath;

/// What authorisation needs to know of one data operation, taken from its signed envelope.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpFacts {
    /// The operation.
    pub id: OpId,
    /// Whose signature it carries.
    pub author: NodeId,
    /// The document it belongs to.
    pub document: DocumentId,
    /// Counts the author's operations in this document from 0.
    pub seq: u64,
    /// The author's previous operation in this document; `None` for the first.
    pub backlink: Option<OpId>,
    /// Where the document is.
    pub path: BlindPath,
    /// When the author says it was, in milliseconds since 1970.
    pub unix_ms: u64,
    /// The grant it is done under; the root names the genesis.
    pub grant: OpId,
    /// The heads of the control graph its author saw.
    pub heads: Vec<OpId>,
}

/// What an operation is worth, given the control statements known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It counts.
    Valid,
    /// It names control heads that are not here yet; nothing can be said.
    Pending,
    /// It is kept out of the visible state.
    Quarantined(Reason),
}

/// Why an operation is in quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    /// Its control past holds no grant of that name.
    NoSuchGrant,
    /// The grant belongs to someone else.
    NotHolder,
    /// The path is not under the grant's prefix.
    OutsidePath,
    /// The claimed time is not in the grant's range.
    OutsideTime,
    /// The grant does not include writing.
    NoWriteRight,
    /// A cut of its grant, or one that cascades to it, leaves it outside.
    Revoked,
    /// A grant above it is void: issued outside a cut's frontier, or on a forked log.
    ChainVoid,
    /// Its author wrote two different operations at one place of the log, here or earlier.
    Forked,
    /// Time, control past or numbering goes backwards in its author's log, here or earlier.
    Backwards,
}

impl Reason {
    /// Whether nothing that may still arrive can make the operation valid, not even an endorsement.
    pub const fn is_final(self) -> bool {
        matches!(
            self,
            Self::NoSuchGrant | Self::NotHolder | Self::OutsidePath | Self::OutsideTime | Self::NoWriteRight
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSuchGrant => "its author had seen no such grant",
            Self::NotHolder => "the grant belongs to someone else",
            Self::OutsidePath => "the grant does not reach this path",
            Self::OutsideTime => "the grant does not reach this time",
            Self::NoWriteRight => "the grant does not include writing",
            Self::Revoked => "the grant was revoked",
            Self::ChainVoid => "the grant comes from someone whose own grant was revoked",
            Self::Forked => "its author signed two histories",
            Self::Backwards => "its author's clock or view went backwards",
        })
    }
}
