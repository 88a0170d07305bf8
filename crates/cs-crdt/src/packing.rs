//! Bytes by how often each occurs: canonical Huffman codes (Huffman 1952) of at most [`BITS_MAX`] bits.
//!
//! One encoding per input: the code follows from the counts by integer arithmetic alone, so that every version of this crate on
//! every machine packs alike. A byte takes at least one bit, so unpacking allocates no more than eight times what is there.

use alloc::{vec, vec::Vec};

use crate::{
    fault::DecodeError,
    wire::{Reader, put_u64},
};

/// Bits of the longest code: a table of all of them stays in the fastest cache.
const BITS_MAX: u32 = 12;
/// Fewer bytes than this are stored as they are, since the table of codes would cost more.
const PACKED_MIN: usize = 64;
/// Half a byte that ends the table of lengths.
const END: u8 = 15;

/// Appends the length, and if there is any, 0 and the bytes, or 1, the table of code lengths and the codes: whichever is
/// shorter.
pub(crate) fn pack(bytes: &[u8], out: &mut Vec<u8>) {
    put_u64(bytes.len() as u64, out);
    if bytes.is_empty() {
        return;
    }
    match packed(bytes).filter(|packed| packed.len() < bytes.len()) {
        Some(packed) => {
            out.push(1);
            out.extend_from_slice(&packed);
        }
        None => {
            out.push(0);
            out.extend_from_slice(bytes);
        }
    }
}

/// Reads what [`pack`] wrote; it may also be what no `pack` writes.
pub(crate) fn unpack(from: &mut Reader<'_>) -> Result<Vec<u8>, DecodeError> {
    let count = usize::try_from(from.u64()?).map_err(|_| DecodeError::TooLarge)?;
    if count == 0 {
        return Ok(Vec::new());
    }
    match from.u8()? {
        0 => Ok(from.take(count)?.to_vec()),
        1 if count / 8 <= from.rest().len() => unpack_codes(from, count),
        1 => Err(DecodeError::Truncated),
        _ => Err(DecodeError::Invalid),
    }
}

fn packed(bytes: &[u8]) -> Option<Vec<u8>> {
    if bytes.len() < PACKED_MIN {
        return None;
    }
    let mut counts = [0u64; 256];
    for byte in bytes {
        *counts.get_mut(usize::from(*byte))? += 1;
    }
    let lengths = code_lengths(counts);
    let mut out = write_lengths(&lengths);
    let codes = codes(&lengths);
    let (mut open, mut bits) = (0u64, 0u32);
    for byte in bytes {
        let (code, length) = *codes.get(usize::from(*byte))?;
        open = open << length | u64::from(code);
        bits += length;
        while bits >= 8 {
            bits -= 8;
            out.push((open >> bits) as u8);
        }
    }
    if bits > 0 {
        out.push((open << (8 - bits)) as u8);
    }
    Some(out)
}

/// The length of each byte's code, 0 for bytes that do not occur. Counts are halved until no code is too long.
fn code_lengths(mut counts: [u64; 256]) -> [u8; 256] {
    loop {
        let lengths = unlimited_lengths(&counts);
        if lengths.iter().all(|length| u32::from(*length) <= BITS_MAX) {
            return lengths;
        }
        counts.iter_mut().for_each(|count| *count = count.div_ceil(2));
    }
}

/// The two rarest are joined, again and again; of equally rare ones, those that were there first.
fn unlimited_lengths(counts: &[u64; 256]) -> [u8; 256] {
    let mut lengths = [0u8; 256];
    let used = counts.iter().enumerate().filter(|(_, count)| **count > 0);
    let mut leaves: Vec<(u64, usize)> = used.map(|(byte, count)| (*count, byte)).collect();
    leaves.sort_unstable();
    if let [(_, byte)] = *leaves {
        lengths.iter_mut().skip(byte).take(1).for_each(|length| *length = 1);
        return lengths;
    }
    // Node n joins two earlier ones; leaves come first, in order of count, and so do joined nodes after them.
    let mut weights: Vec<u64> = leaves.iter().map(|leaf| leaf.0).collect();
    let mut parents = vec![0usize; leaves.len().saturating_mul(2).saturating_sub(1)];
    let (mut leaf, mut joined) = (0, leaves.len());
    while weights.len() < parents.len() {
        let node = weights.len();
        let mut sum = 0;
        for _ in 0..2 {
            let weight =
                |at: usize, end: usize| weights.get(at).filter(|_| at < end).copied().unwrap_or(u64::MAX);
            let next =
                if weight(leaf, leaves.len()) <= weight(joined, node) { &mut leaf } else { &mut joined };
            sum += weights.get(*next).copied().unwrap_or_default();
            parents.iter_mut().skip(*next).take(1).for_each(|parent| *parent = node);
            *next += 1;
        }
        weights.push(sum);
    }
    let mut depths = vec![0u8; parents.len()];
    for at in (0..parents.len().saturating_sub(1)).rev() {
        let above = parents.get(at).and_then(|parent| depths.get(*parent)).copied().unwrap_or_default();
        depths.iter_mut().skip(at).take(1).for_each(|depth| *depth = above.saturating_add(1));
    }
    for ((_, byte), depth) in leaves.iter().zip(depths) {
        lengths.iter_mut().skip(*byte).take(1).for_each(|length| *length = depth);
    }
    lengths
}

/// Codes of equal length count up in order of their bytes, shorter ones first.
fn codes(lengths: &[u8; 256]) -> Vec<(u32, u32)> {
    let mut codes = vec![(0, 0); 256];
    let mut next = 0u32;
    for length in 1..=BITS_MAX {
        for (entry, own) in codes.iter_mut().zip(lengths) {
            if u32::from(*own) == length {
                *entry = (next, length);
                next += 1;
            }
        }
        next <<= 1;
    }
    codes
}

/// In halves of bytes, the upper first: a length; or 0 and how many more bytes than one have none; 15 after the last.
fn write_lengths(lengths: &[u8; 256]) -> Vec<u8> {
    let last = lengths.iter().rposition(|length| *length > 0).map_or(0, |last| last + 1);
    let mut halves: Vec<u8> = Vec::new();
    for run in lengths.get(..last).unwrap_or_default().chunk_by(|a, b| *a == 0 && *b == 0) {
        match run {
            [0, ..] => {
                for part in run.chunks(16) {
                    halves.extend([0, part.len() as u8 - 1]);
                }
            }
            lengths => halves.extend(lengths),
        }
    }
    halves.push(END);
    halves
        .chunks(2)
        .map(|pair| pair.iter().fold(0, |byte, half| byte << 4 | half) << (8 - 4 * pair.len()))
        .collect()
}

fn read_lengths(from: &mut Reader<'_>) -> Result<[u8; 256], DecodeError> {
    let mut lengths = [0; 256];
    let mut at = 0usize;
    let mut is_run = false;
    loop {
        let byte = from.u8()?;
        for half in [byte >> 4, byte & 15] {
            if is_run {
                at += usize::from(half) + 1;
                is_run = false;
            } else if half == END {
                return Ok(lengths);
            } else if half == 0 {
                is_run = true;
            } else {
                *lengths.get_mut(at).ok_or(DecodeError::Invalid)? = half;
                at += 1;
            }
        }
    }
}

fn unpack_codes(from: &mut Reader<'_>, count: usize) -> Result<Vec<u8>, DecodeError> {
    let lengths = read_lengths(from)?;
    let table = decoding_table(&lengths)?;
    let mut out = Vec::with_capacity(count);
    let (mut open, mut bits) = (0u64, 0u32);
    while out.len() < count {
        while bits <= 48 && !from.is_empty() {
            open = open << 8 | u64::from(from.u8()?);
            bits += 8;
        }
        let next = if bits >= BITS_MAX { open >> (bits - BITS_MAX) } else { open << (BITS_MAX - bits) };
        let (byte, length) = *table.get(next as usize & ((1 << BITS_MAX) - 1)).ok_or(DecodeError::Invalid)?;
        let length = u32::from(length);
        if length == 0 {
            return Err(DecodeError::Invalid);
        }
        bits = bits.checked_sub(length).ok_or(DecodeError::Truncated)?;
        out.push(byte);
    }
    // Whole bytes that were read ahead are the next reader's.
    from.give_back(bits as usize / 8);
    Ok(out)
}

/// For every [`BITS_MAX`] bits, the byte whose code they begin with, and its length; 0 where there is none.
fn decoding_table(lengths: &[u8; 256]) -> Result<Vec<(u8, u8)>, DecodeError> {
    let mut table = Vec::with_capacity(1 << BITS_MAX);
    for length in 1..=BITS_MAX as u8 {
        for (byte, _) in lengths.iter().enumerate().filter(|(_, own)| **own == length) {
            let width = 1usize << (BITS_MAX - u32::from(length));
            if table.len() + width > 1 << BITS_MAX {
                return Err(DecodeError::Invalid);
            }
            table.resize(table.len() + width, (byte as u8, length));
        }
    }
    if lengths.iter().any(|length| u32::from(*length) > BITS_MAX) {
        return Err(DecodeError::Invalid);
    }
    table.resize(1 << BITS_MAX, (0, 0));
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec as some, prelude::*};

    fn there_and_back(bytes: &[u8]) -> usize {
        let mut packed = Vec::new();
        pack(bytes, &mut packed);
        let size = packed.len();
        packed.extend([7, 8, 9]);
        let mut from = Reader::new(&packed);
        assert_eq!(unpack(&mut from).unwrap(), bytes);
        assert_eq!(from.rest(), [7, 8, 9], "what follows is left alone");
        size
    }

    #[test]
    fn text_takes_five_eighths_and_one_repeated_byte_an_eighth() {
        let text = "the quick brown fox jumps over the lazy dog, and then it does so once more. ".repeat(40);
        assert!(there_and_back(text.as_bytes()) < text.len() * 5 / 8);
        assert!(there_and_back(&[3; 8000]) < 1020);
    }

    /// Counts as in Fibonacci's sequence give the longest codes.
    #[test]
    fn no_code_is_too_long() {
        let (mut a, mut b) = (1usize, 1usize);
        let mut bytes = Vec::new();
        for byte in 0..22u8 {
            bytes.extend(vec![byte; a]);
            (a, b) = (b, a + b);
        }
        there_and_back(&bytes);
    }

    proptest! {
        #[test]
        fn what_is_packed_unpacks(bytes in some(any::<u8>(), 0..300), few in some(0u8..5, 0..3000)) {
            there_and_back(&bytes);
            there_and_back(&few);
        }

        #[test]
        fn anything_unpacks_to_little_or_is_refused(bytes in some(any::<u8>(), 0..200)) {
            let mut from = Reader::new(&bytes);
            if let Ok(out) = unpack(&mut from) {
                prop_assert!(out.len() <= 8 * bytes.len());
            }
        }
    }
}
