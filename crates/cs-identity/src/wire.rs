//! Bytes on the wire: what every message of this crate is read and written with.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

use alloc::vec::Vec;

use thiserror::Error;

use crate::area::TIME_END_MS;
use crate::node_id::NodeId;

/// Why bytes are not a message. Nothing changed; the sender or the storage is to blame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end too early.
    #[error("the bytes end too early")]
    Truncated,
    /// Bytes are left over after the message.
    #[error("bytes are left over after the message")]
    TrailingBytes,
    /// A longer spelling of a number, a list out of order, or another second encoding of one value.
    #[error("not the canonical encoding")]
    NotCanonical,
    /// A number outside its range.
    #[error("a number is out of range")]
    OutOfRange,
    /// More elements or bytes than the protocol allows.
    #[error("too many elements or bytes")]
    TooLong,
    /// A version or kind that this build does not know and may not skip.
    #[error("an unknown version or kind")]
    Unsupported,
    /// A public key that is none.
    #[error("not a valid node ID")]
    BadNodeId,
    /// A text that is not UTF-8, empty, or holds characters that names may not have.
    #[error("not a valid name")]
    BadName,
}

/// Takes `length` bytes off the front.
///
/// # Errors
/// [`DecodeError::Truncated`] if there are fewer; `input` is then unchanged.
pub fn take<'a>(input: &mut &'a [u8], length: usize) -> Result<&'a [u8], DecodeError> {
    let (taken, rest) = input.split_at_checked(length).ok_or(DecodeError::Truncated)?;
    *input = rest;
    Ok(taken)
}

/// Takes a fixed number of bytes off the front.
///
/// # Errors
/// [`DecodeError::Truncated`] if there are fewer.
pub fn take_array<const N: usize>(input: &mut &[u8]) -> Result<[u8; N], DecodeError> {
    let (taken, rest) = input.split_first_chunk().ok_or(DecodeError::Truncated)?;
    *input = rest;
    Ok(*taken)
}

/// Takes one byte off the front.
///
/// # Errors
/// [`DecodeError::Truncated`] if there is none.
pub fn take_u8(input: &mut &[u8]) -> Result<u8, DecodeError> {
    let [byte] = take_array(input)?;
    Ok(byte)
}

/// Takes an unsigned LEB128 number of at most 64 bits in its shortest form.
///
/// # Errors
/// [`DecodeError::Truncated`]; [`DecodeError::NotCanonical`] for a longer form; [`DecodeError::OutOfRange`] above 64 bits.
pub fn take_varint(input: &mut &[u8]) -> Result<u64, DecodeError> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = take_u8(input)?;
        if shift == 63 && byte > 1 {
            return Err(DecodeError::OutOfRange);
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return if byte == 0 && shift > 0 { Err(DecodeError::NotCanonical) } else { Ok(value) };
        }
    }
    Err(DecodeError::OutOfRange)
}

/// Appends a number as unsigned LEB128 in its shortest form: 1 to 10 bytes.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Takes the length of a list whose elements have at least `element_bytes` bytes each.
///
/// # Errors
/// [`DecodeError::TooLong`] above `max`; [`DecodeError::Truncated`] if the bytes left cannot hold that many, so the
/// caller may allocate for the count.
pub fn take_count(input: &mut &[u8], max: usize, element_bytes: usize) -> Result<usize, DecodeError> {
    let count = usize::try_from(take_varint(input)?).map_err(|_| DecodeError::TooLong)?;
    if count > max {
        return Err(DecodeError::TooLong);
    }
    if count.saturating_mul(element_bytes) > input.len() {
        return Err(DecodeError::Truncated);
    }
    Ok(count)
}

/// Takes a length of at most `max` and that many bytes.
///
/// # Errors
/// As [`take_count`].
pub fn take_bytes<'a>(input: &mut &'a [u8], max: usize) -> Result<&'a [u8], DecodeError> {
    let length = take_count(input, max, 1)?;
    take(input, length)
}

/// Appends a length and the bytes.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends what `encode` appends, behind its length.
pub fn put_within(out: &mut Vec<u8>, encode: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = Vec::new();
    encode(&mut bytes);
    put_bytes(out, &bytes);
}

/// Takes a byte that must be the version understood here.
///
/// # Errors
/// [`DecodeError::Unsupported`] for another; [`DecodeError::Truncated`].
pub fn take_version(input: &mut &[u8], version: u8) -> Result<(), DecodeError> {
    if take_u8(input)? == version { Ok(()) } else { Err(DecodeError::Unsupported) }
}

/// Takes a flag: one byte, 0 or 1.
///
/// # Errors
/// [`DecodeError::Truncated`]; [`DecodeError::NotCanonical`] for any other byte.
pub fn take_bool(input: &mut &[u8]) -> Result<bool, DecodeError> {
    match take_u8(input)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::NotCanonical),
    }
}

/// Takes an end of a time range in milliseconds since 1970: 0 on the wire for none, which is `u64::MAX` here.
///
/// # Errors
/// [`DecodeError::Truncated`]; [`DecodeError::OutOfRange`] above [`TIME_END_MS`].
pub fn take_end(input: &mut &[u8]) -> Result<u64, DecodeError> {
    match take_varint(input)? {
        0 => Ok(u64::MAX),
        end @ 1..=TIME_END_MS => Ok(end),
        _ => Err(DecodeError::OutOfRange),
    }
}

/// Appends an end of a time range; `u64::MAX` is none. An end of 0 would be none as well: ranges are never empty.
pub fn put_end(out: &mut Vec<u8>, end_ms: u64) {
    put_varint(out, if end_ms == u64::MAX { 0 } else { end_ms });
}

/// Takes a public key and checks it.
///
/// # Errors
/// [`DecodeError::Truncated`] or [`DecodeError::BadNodeId`].
pub fn take_node_id(input: &mut &[u8]) -> Result<NodeId, DecodeError> {
    NodeId::from_bytes(&take_array(input)?).map_err(|_| DecodeError::BadNodeId)
}

/// Runs `decode` on all of `bytes`.
///
/// # Errors
/// What `decode` says, or [`DecodeError::TrailingBytes`].
pub fn whole<T>(
    mut bytes: &[u8],
    decode: impl FnOnce(&mut &[u8]) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let value = decode(&mut bytes)?;
    if bytes.is_empty() { Ok(value) } else { Err(DecodeError::TrailingBytes) }
}
