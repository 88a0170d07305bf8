//! Words of any width, packed from the lowest bit up; the rest of the last byte is zero.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

use crate::codec::DecodeError;

/// Packs bits into bytes.
#[derive(Debug, Default)]
pub(crate) struct BitWriter {
    bytes: Vec<u8>,
    pending: u64,
    held: u8,
}

impl BitWriter {
    /// Appends the low `width` bits; at most 32.
    pub(crate) fn put(&mut self, value: u32, width: u8) {
        self.pending |= u64::from(value) << self.held;
        self.held += width;
        while self.held >= 8 {
            self.bytes.push(self.pending as u8);
            self.pending >>= 8;
            self.held -= 8;
        }
    }

    /// Appends `value` ones and a zero.
    pub(crate) fn put_unary(&mut self, value: u64) {
        (0..value).for_each(|_| self.put(1, 1));
        self.put(0, 1);
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        if self.held > 0 {
            self.bytes.push(self.pending as u8);
        }
        self.bytes
    }
}

/// Reads what a [`BitWriter`] wrote.
#[derive(Clone, Debug)]
pub(crate) struct BitReader<'a> {
    bytes: &'a [u8],
    pending: u64,
    held: u8,
}

impl<'a> BitReader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, pending: 0, held: 0 }
    }

    /// Takes `width` bits; at most 32.
    pub(crate) fn take(&mut self, width: u8) -> Result<u32, DecodeError> {
        while self.held < width {
            let (&byte, rest) = self.bytes.split_first().ok_or(DecodeError::Truncated)?;
            self.bytes = rest;
            self.pending |= u64::from(byte) << self.held;
            self.held += 8;
        }
        let value = self.pending & ((1 << width) - 1);
        self.pending >>= width;
        self.held -= width;
        Ok(value as u32)
    }

    /// Takes ones up to a zero. Bounded by the bytes that are left.
    pub(crate) fn take_unary(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0;
        while self.take(1)? == 1 {
            value += 1;
        }
        Ok(value)
    }

    /// The bytes after this one; fails if a bit is left in it that is not zero.
    pub(crate) fn rest(self) -> Result<&'a [u8], DecodeError> {
        if self.pending == 0 { Ok(self.bytes) } else { Err(DecodeError::NonCanonical) }
    }
}

/// Bytes that `count` words take.
pub(crate) fn packed_len(count: usize, width: u8) -> usize {
    (count * usize::from(width)).div_ceil(8)
}

/// Packs whole words.
pub(crate) fn pack(words: &[u32], width: u8) -> Vec<u8> {
    let mut writer = BitWriter::default();
    words.iter().for_each(|&word| writer.put(word, width));
    writer.finish()
}

/// Unpacks exactly `count` words.
pub(crate) fn unpack(bytes: &[u8], count: usize, width: u8) -> Result<Vec<u32>, DecodeError> {
    if packed_len(count, width) != bytes.len() {
        return Err(DecodeError::Truncated);
    }
    let mut reader = BitReader::new(bytes);
    let words = (0..count).map(|_| reader.take(width)).collect::<Result<_, _>>()?;
    reader.rest()?;
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_packed_is_read_again(width in 1u8..=32, words in proptest::collection::vec(any::<u32>(), 0..40)) {
            let words: Vec<u32> = words.into_iter().map(|word| word >> (32 - width)).collect();
            let bytes = pack(&words, width);
            prop_assert_eq!(unpack(&bytes, words.len(), width), Ok(words));
        }
    }

    #[test]
    fn unary_numbers_end_at_a_zero_and_spare_bits_are_zero() {
        let mut writer = BitWriter::default();
        [0, 3, 40].into_iter().for_each(|value| writer.put_unary(value));
        let bytes = writer.finish();
        let mut reader = BitReader::new(&bytes);
        assert_eq!([0, 3, 40].map(|_| reader.take_unary().unwrap()), [0, 3, 40]);
        assert_eq!(reader.rest(), Ok(&[][..]));
        assert_eq!(BitReader::new(&[0xff]).take_unary(), Err(DecodeError::Truncated));
        assert_eq!(unpack(&[0b1000_0000], 1, 7), Err(DecodeError::NonCanonical));
        assert_eq!(unpack(&[1, 0], 1, 8), Err(DecodeError::Truncated));
    }
}
