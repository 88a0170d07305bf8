//! Bounded reading and writing, shared by the two wire formats of this crate.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

/// Why bytes are not a message. Nothing was changed by them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The message ends before its layout does.
    #[error("message is cut short")]
    Truncated,
    /// Bytes are left over after the message.
    #[error("bytes after the end of the message")]
    Trailing,
    /// A value has a second spelling here: an overlong varint, a list out of order, a reserved bit set.
    #[error("value is not in its one encoding")]
    NonCanonical,
    /// A count or length is above its `MAX_*`.
    #[error("count or length above its limit")]
    TooLarge,
    /// The kind or version of the message is not known to this side.
    #[error("unknown message kind or version")]
    Unknown,
}

/// Takes `N` bytes off the front.
pub(crate) fn take<const N: usize>(input: &mut &[u8]) -> Result<[u8; N], DecodeError> {
    let (head, rest) = input.split_first_chunk::<N>().ok_or(DecodeError::Truncated)?;
    *input = rest;
    Ok(*head)
}

/// Takes `len` bytes off the front. Nothing is allocated.
pub(crate) fn take_slice<'a>(input: &mut &'a [u8], len: usize) -> Result<&'a [u8], DecodeError> {
    let (head, rest) = input.split_at_checked(len).ok_or(DecodeError::Truncated)?;
    *input = rest;
    Ok(head)
}

pub(crate) fn take_u8(input: &mut &[u8]) -> Result<u8, DecodeError> {
    take::<1>(input).map(|[byte]| byte)
}

/// Takes one byte that must be 0 or 1.
pub(crate) fn take_bool(input: &mut &[u8]) -> Result<bool, DecodeError> {
    match take_u8(input)? {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(DecodeError::NonCanonical),
    }
}

/// LEB128, at most ten bytes, minimal.
pub(crate) fn take_varint(input: &mut &[u8]) -> Result<u64, DecodeError> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = take_u8(input)?;
        if shift == 63 && byte > 1 {
            return Err(DecodeError::NonCanonical);
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            let overlong = byte == 0 && shift > 0;
            return if overlong { Err(DecodeError::NonCanonical) } else { Ok(value) };
        }
    }
    Err(DecodeError::NonCanonical)
}

/// A count: checked against its limit, and against the bytes that are left, before anything is allocated.
pub(crate) fn take_count(input: &mut &[u8], limit: usize, each: usize) -> Result<usize, DecodeError> {
    let count = usize::try_from(take_varint(input)?).map_err(|_| DecodeError::TooLarge)?;
    if count > limit {
        return Err(DecodeError::TooLarge);
    }
    if count.saturating_mul(each) > input.len() {
        return Err(DecodeError::Truncated);
    }
    Ok(count)
}

/// A varint that must fit in 32 bits.
pub(crate) fn take_varint_u32(input: &mut &[u8]) -> Result<u32, DecodeError> {
    u32::try_from(take_varint(input)?).map_err(|_| DecodeError::TooLarge)
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value as u8) | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Fails unless every byte was read.
pub(crate) fn finish(input: &[u8]) -> Result<(), DecodeError> {
    if input.is_empty() { Ok(()) } else { Err(DecodeError::Trailing) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_have_one_encoding() {
        for value in [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            assert_eq!(take_varint(&mut bytes.as_slice()), Ok(value));
        }
        assert_eq!(take_varint(&mut [0x80, 0].as_slice()), Err(DecodeError::NonCanonical));
        assert_eq!(take_varint(&mut [0xff; 10].as_slice()), Err(DecodeError::NonCanonical));
        assert_eq!(take_varint(&mut [0x80].as_slice()), Err(DecodeError::Truncated));
    }

    #[test]
    fn a_count_larger_than_the_bytes_left_is_refused_before_allocation() {
        let mut bytes = Vec::new();
        put_varint(&mut bytes, 1000);
        assert_eq!(take_count(&mut bytes.as_slice(), 2000, 4), Err(DecodeError::Truncated));
        assert_eq!(take_count(&mut bytes.as_slice(), 999, 4), Err(DecodeError::TooLarge));
    }
}
