//! Errors, sorted by who is to blame.

use thiserror::Error;

/// Bytes that are not the one encoding of anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end too early.
    #[error("truncated")]
    Truncated,
    /// Bytes follow the value.
    #[error("bytes left over")]
    Leftover,
    /// Written by a format this version does not know. Keep the bytes: a newer version reads them.
    #[error("unknown format version")]
    Version,
    /// A count or size above its limit, or more than the bytes could hold.
    #[error("a count or size is above its limit")]
    TooLarge,
    /// Nested deeper than [`MAX_DEPTH`](crate::wire::MAX_DEPTH).
    #[error("nested too deeply")]
    TooDeep,
    /// A second way to write what has one encoding: a long varint, entries out of order, a repeated entry.
    #[error("not the canonical encoding")]
    NotCanonical,
    /// An unknown tag, an index out of its table, text that is not UTF-8, a number out of its range.
    #[error("a field is out of its range")]
    Invalid,
}

/// Why a change was not applied. The document is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ChangeFault {
    /// The bytes are not a change.
    #[error("malformed change: {0}")]
    Malformed(#[from] DecodeError),
    /// It repeats some of its author's dots and adds others: the author gave one dot to two edits.
    #[error("the author used the same dots twice")]
    Overlap,
    /// It came before what it builds on, and a hidden change does not wait. Apply what is missing, then hide it again.
    #[error("what the change builds on is missing")]
    Early,
    /// It refers to what was forgotten by [`compact`](crate::Document::compact): its author had not seen what everybody who
    /// counts had. Not to be sent again; its author takes a snapshot and edits again.
    #[error("the change refers to what was forgotten")]
    Forgotten,
    /// It came before what it builds on and the buffer is full. Apply what is missing, then send it again.
    #[error("too many changes wait for missing ones")]
    BufferFull,
}

/// Why a snapshot was not loaded. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The bytes are not a snapshot.
    #[error("malformed snapshot: {0}")]
    Malformed(#[from] DecodeError),
    /// The bytes decode, but to a state that no document can be in.
    #[error("inconsistent snapshot")]
    Inconsistent,
    /// One of both was compacted at a version that the other has not seen, or is ahead of: what one has forgotten, the
    /// other still builds on. Load the snapshot that was compacted, and apply the changes since.
    #[error("one of both has forgotten what the other builds on")]
    Forgotten,
}

/// Why a document was not compacted. It is as it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CompactError {
    /// This replica is behind the version, or ahead of it, or holds changes that wait.
    #[error("the document is not at the version that everybody has seen")]
    NotThere,
}

/// Why an edit was refused. The whole transaction leaves no trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum EditError {
    /// There is nothing at this path.
    #[error("nothing is at this path")]
    NotFound,
    /// The path leads through, or the edit wants, another kind of thing than is there.
    #[error("another kind of value is at this path")]
    WrongKind,
    /// An index past the end of a list or text.
    #[error("index out of range")]
    OutOfRange,
    /// Deeper than [`MAX_DEPTH`](crate::wire::MAX_DEPTH).
    #[error("nested too deeply")]
    TooDeep,
    /// A key longer than [`MAX_KEY_BYTES`](crate::wire::MAX_KEY_BYTES), or a transaction whose bundle would exceed
    /// [`MAX_CHANGE_BYTES`](crate::wire::MAX_CHANGE_BYTES).
    #[error("too large")]
    TooLarge,
    /// A tree's node cannot be put below itself.
    #[error("a node cannot be below itself")]
    Cycle,
    /// What the document's [`Schema`](crate::Schema) does not allow.
    #[error("the schema does not allow this")]
    Schema,
    /// This actor's counter is used up.
    #[error("the actor has no dots left")]
    Exhausted,
}

/// Why a document does not show its past. Nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// The document keeps no history: see [`Document::keep_history`](crate::Document::keep_history).
    #[error("the document keeps no history")]
    NotKept,
    /// What is asked for lies before the history begins.
    #[error("the history does not go back so far")]
    Forgotten,
    /// No replica can have been at this version, or this one has not heard of it.
    #[error("no such version is known")]
    Unknown,
}

/// Why JSON is not a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// Not of the form of a schema, or with more than [`MAX_RULES`](crate::MAX_RULES) rules.
    #[error("not a schema")]
    NotASchema,
    /// A member, kind or type that this version does not know.
    #[error("a schema with a name that is not known")]
    UnknownName,
}

/// Why text is not JSON that a document can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum JsonError {
    /// Not JSON at this byte offset.
    #[error("not JSON at byte {0}")]
    Syntax(usize),
    /// A number, at this byte offset, that neither `i64` nor a finite `f64` holds without changing an integer's value.
    #[error("number out of range at byte {0}")]
    Number(usize),
    /// An object names a key twice; the second is at this byte offset.
    #[error("key repeated at byte {0}")]
    RepeatedKey(usize),
    /// Deeper than [`MAX_DEPTH`](crate::wire::MAX_DEPTH), at this byte offset.
    #[error("nested too deeply at byte {0}")]
    TooDeep(usize),
}
