//! What goes wrong, by blame.

use std::io;
use thiserror::Error;

/// A command that cannot be carried out now. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refused {
    /// The batch holds as much as one commit may; commit, then stage again.
    #[error("the batch is full: commit it first")]
    BatchFull,
    /// The operation breaks a bound of its format, its `seq` and `backlink` disagree, or the key is not its author's.
    #[error("the operation breaks a bound of its format")]
    BadOperation,
    /// The key or the value of a local fact is longer than allowed.
    #[error("the key or the value is too long")]
    TooLong,
    /// The index could not be read: see [`StoreError::IndexDamaged`].
    #[error("the index is damaged: rebuild it")]
    IndexDamaged,
}

/// The storage failed. What was committed before is not affected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// No room. What is staged stays staged: free some room and commit again.
    #[error("the disk is full: free some room and commit again")]
    DiskFull,
    /// The disk failed while writing, and what reached it is unknown. Nothing more is accepted: open the store anew,
    /// which keeps every batch whose commit succeeded, and perhaps the last one.
    #[error("the disk failed ({0}): open the store again")]
    Failed(io::ErrorKind),
    /// Bytes of the log are not what was written there. The rest is readable; open with
    /// [`OnDamage::Salvage`](crate::OnDamage) to set the damaged segment aside.
    #[error("damage in log segment {segment} at byte {offset}")]
    Corrupt {
        /// The number in the segment's name.
        segment: u32,
        /// Where in its file.
        offset: u32,
    },
    /// The index is unreadable; the log, which is the truth, is not concerned. Call
    /// [`Store::rebuild_index`](crate::Store::rebuild_index).
    #[error("the index is damaged: rebuild it from the log")]
    IndexDamaged,
    /// Reading failed.
    #[error("the disk cannot be read ({0})")]
    Read(io::ErrorKind),
}

/// The store was not opened. Unless said otherwise nothing was changed on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process (or another store of this one) uses this disk: stop it, or choose another directory.
    #[error("another node is using this directory: stop it, or choose another directory")]
    Locked,
    /// The disk said no.
    #[error("the storage cannot be used ({0})")]
    Io(io::ErrorKind),
    /// The log is damaged where it was durable. Open again with [`OnDamage::Salvage`](crate::OnDamage): the damaged
    /// segment is kept aside and everything else goes on; peers give back what is missing.
    #[error(transparent)]
    Corrupt(#[from] Damage),
    /// The log was written by a later version of this program.
    #[error("the log was written by a later version")]
    Newer,
}

/// Damage in the log, and what of it can be saved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "log segment {segment} is damaged from byte {from} to {until} ({salvaged} signed records in there are intact): \
     open with salvage, which keeps a copy of the segment and everything that is intact"
)]
pub struct Damage {
    /// The number in the segment's name.
    pub segment: u32,
    /// Where the first batch begins that is not as it was written.
    pub from: u32,
    /// Where the log goes on intact, or ends. Equal to `from` when the whole file is missing.
    pub until: u32,
    /// Operations and statements in the damaged bytes whose signatures still hold.
    pub salvaged: u32,
}

impl Damage {
    pub(crate) fn of(segment: u32, from: u32, until: u32) -> Self {
        Self { segment, from, until, salvaged: 0 }
    }

    /// The whole segment is missing.
    pub(crate) fn absent(segment: u32) -> Self {
        Self::of(segment, 0, 0)
    }
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Io(error.kind())
    }
}

impl From<crate::index::IndexFault> for StoreError {
    fn from(fault: crate::index::IndexFault) -> Self {
        match fault {
            crate::index::IndexFault::Full => Self::DiskFull,
            crate::index::IndexFault::Damaged => Self::IndexDamaged,
        }
    }
}

impl From<crate::index::IndexFault> for Refused {
    fn from(_: crate::index::IndexFault) -> Self {
        Self::IndexDamaged
    }
}

impl From<crate::log::AppendFault> for StoreError {
    fn from(fault: crate::log::AppendFault) -> Self {
        match fault {
            crate::log::AppendFault::Full => Self::DiskFull,
            crate::log::AppendFault::Failed(kind) => Self::Failed(kind),
        }
    }
}
