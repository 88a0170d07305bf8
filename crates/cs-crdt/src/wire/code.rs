//! Numbers, and bounded reading.

use alloc::vec::Vec;

use crate::fault::DecodeError;

/// LEB128: seven bits a byte, least first.
pub(crate) fn put_u64(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Zigzag, then LEB128.
pub(crate) fn put_i64(value: i64, out: &mut Vec<u8>) {
    put_u64(((value << 1) ^ (value >> 63)) as u64, out);
}

/// Bytes that are read from the front, never past the end.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    all: &'a [u8],
    bytes: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { all: bytes, bytes }
    }

    /// Takes back the last `count` bytes that were read.
    pub(crate) fn give_back(&mut self, count: usize) {
        let at = (self.all.len() - self.bytes.len()).saturating_sub(count);
        self.bytes = self.all.get(at..).unwrap_or_default();
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        let (head, tail) = self.bytes.split_at_checked(count).ok_or(DecodeError::Truncated)?;
        self.bytes = tail;
        Ok(head)
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        let (first, rest) = self.bytes.split_first().ok_or(DecodeError::Truncated)?;
        self.bytes = rest;
        Ok(*first)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && byte > 1 {
                return Err(DecodeError::Invalid);
            }
            value |= bits << shift;
            if byte < 0x80 {
                let padded = byte == 0 && shift > 0;
                return if padded { Err(DecodeError::NotCanonical) } else { Ok(value) };
            }
        }
        Err(DecodeError::Invalid)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.u64()?.try_into().map_err(|_| DecodeError::Invalid)
    }

    pub(crate) fn i64(&mut self) -> Result<i64, DecodeError> {
        let raw = self.u64()?;
        Ok((raw >> 1) as i64 ^ -((raw & 1) as i64))
    }

    /// A count of things that take at least `bytes_each` bytes each: more than are left is refused before
    /// anything is allocated.
    pub(crate) fn count(&mut self, bytes_each: usize) -> Result<usize, DecodeError> {
        let count = usize::try_from(self.u64()?).map_err(|_| DecodeError::TooLarge)?;
        match count.checked_mul(bytes_each) {
            Some(bytes) if bytes <= self.bytes.len() => Ok(count),
            Some(_) => Err(DecodeError::Truncated),
            None => Err(DecodeError::TooLarge),
        }
    }

    pub(crate) fn str(&mut self, max: usize) -> Result<&'a str, DecodeError> {
        let count = self.count(1)?;
        if count > max {
            return Err(DecodeError::TooLarge);
        }
        core::str::from_utf8(self.take(count)?).map_err(|_| DecodeError::Invalid)
    }
}
