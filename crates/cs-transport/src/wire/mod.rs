//! Everything that crosses the socket or a stream, as bytes.
//!
//! Each message decodes from a bounded slice, refuses what its rule in PROTOCOL.md does not allow, and has one
//! encoding. Nothing here allocates before a length was checked against its limit and against the bytes left.

mod ask;
mod datagram;
mod handshake;
mod link;
mod rpc;
mod signal;

pub use ask::{ASK, EARLY_WINDOW, MAX_ASK};
pub(crate) use datagram::QUIC_MARK;
pub use datagram::{Datagram, classify};
pub use handshake::{Frame, FrameKind, Hello, MAX_FRAME};
pub use link::{Lane, LaneBuffer, LinkMessage, MAX_LINK_MESSAGE, MAX_MESSAGE, StreamKind, encode_length};
pub use rpc::{
    ANSWER_OVERHEAD, Answer, MAX_DATAGRAM, MAX_RPC, REQUEST_OVERHEAD, Request, answer_len, request_len,
};

pub use signal::{Candidate, CandidateSource, Connect, MAX_CANDIDATES, MAX_SIGNAL, NatHint, SignalMessage};

use thiserror::Error;

/// Bytes that are no message of this crate. Nothing was changed by reading them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end before the message does.
    #[error("the message is cut short")]
    Truncated,
    /// Bytes follow the message.
    #[error("bytes follow the message")]
    Leftover,
    /// A tag that this version does not know, where it may not be skipped.
    #[error("unknown message kind")]
    UnknownKind,
    /// A length or count above its limit.
    #[error("a length exceeds its limit")]
    TooLong,
    /// A second encoding of a value that has a shorter or other one.
    #[error("the encoding is not canonical")]
    NotCanonical,
    /// A field holds a value that its rule forbids.
    #[error("a field is out of its range")]
    OutOfRange,
}

/// Splits the first `count` bytes off `input`.
pub(crate) fn take<'a>(input: &mut &'a [u8], count: usize) -> Result<&'a [u8], DecodeError> {
    let (head, rest) = input.split_at_checked(count).ok_or(DecodeError::Truncated)?;
    *input = rest;
    Ok(head)
}

/// Splits a fixed number of bytes off `input`.
pub(crate) fn take_array<const N: usize>(input: &mut &[u8]) -> Result<[u8; N], DecodeError> {
    let (head, rest) = input.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
    *input = rest;
    Ok(*head)
}

/// `value`, if nothing is left of `input`.
pub(crate) fn all_read<T>(value: T, input: &[u8]) -> Result<T, DecodeError> {
    if input.is_empty() { Ok(value) } else { Err(DecodeError::Leftover) }
}
