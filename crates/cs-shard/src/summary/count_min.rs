//! How often any one item comes (SHARD-13).
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

use cs_identity::wire::{put_varint, take_u8, take_varint};

use super::hash_item;
use crate::wire::{DecodeError, whole};

/// Rows of the table, each with its own hash.
const ROWS: usize = 5;
/// Cells of a row.
const WIDTH: usize = 512;

/// How often items came, in 20 KiB however many there are: count-min (Cormode and Muthukrishnan, 2005), 5 x 512.
///
/// An estimate is never too low, and too high by more than [`CountMin::ERROR`] of the total with a probability of at
/// most [`CountMin::FAILURE`] for an item that nobody chose against the hash. Merging adds: commutative and associative.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CountMin {
    /// Row after row. Every row sums up to the total.
    cells: Box<[u64]>,
    total: u64,
}

impl Default for CountMin {
    fn default() -> Self {
        Self { cells: vec![0; ROWS * WIDTH].into(), total: 0 }
    }
}

impl CountMin {
    /// Most that an estimate exceeds the truth by, usually, as part of the total: e / 512.
    pub const ERROR: f64 = 0.005_31;
    /// Probability that it exceeds it by more: e^-5.
    pub const FAILURE: f64 = 0.006_74;

    /// Counts an item `times` times; what would make the total overflow is not counted. Cost: one hash.
    pub fn insert(&mut self, item: &[u8], times: u64) {
        let times = times.min(u64::MAX - self.total);
        self.total += times;
        for (row, column) in self.cells.chunks_exact_mut(WIDTH).zip(columns(item)) {
            if let Some(cell) = row.get_mut(column) {
                *cell += times;
            }
        }
    }

    /// Takes in all that the other one counted, if the sum of both totals is a number; else nothing.
    pub fn merge(&mut self, other: &Self) {
        let Some(total) = self.total.checked_add(other.total) else { return };
        self.total = total;
        for (own, other) in self.cells.iter_mut().zip(other.cells.iter()) {
            *own += other;
        }
    }

    /// How often an item came: at least as often as it did.
    #[must_use]
    pub fn estimate(&self, item: &[u8]) -> u64 {
        let cells = self.cells.chunks_exact(WIDTH).zip(columns(item));
        cells.filter_map(|(row, column)| row.get(column)).copied().min().unwrap_or(0)
    }

    /// How often anything came: exact.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Appends the one encoding: each cell, and behind a zero how many more follow it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut cells = self.cells.iter().peekable();
        while let Some(cell) = cells.next() {
            put_varint(out, *cell);
            if *cell == 0 {
                let mut more = 0;
                while more < 255 && cells.next_if(|cell| **cell == 0).is_some() {
                    more += 1;
                }
                out.push(more);
            }
        }
    }

    /// Reads a sketch and nothing else.
    ///
    /// # Errors
    /// As [`decode`](Self::decode), and [`DecodeError::Trailing`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        whole(bytes, Self::decode)
    }

    /// Reads a sketch from the front.
    ///
    /// # Errors
    /// [`DecodeError`]: rows whose sums differ, which no counting leaves, or zeros not told as short as they can be.
    pub fn decode(bytes: &mut &[u8]) -> Result<Self, DecodeError> {
        let mut cells = Vec::with_capacity(ROWS * WIDTH);
        let mut may_be_zero = true;
        while cells.len() < ROWS * WIDTH {
            let cell = take_varint(bytes)?;
            cells.push(cell);
            if cell > 0 {
                may_be_zero = true;
                continue;
            }
            let more = take_u8(bytes)?;
            if !may_be_zero {
                return Err(DecodeError::NotCanonical);
            }
            may_be_zero = more == 255;
            cells.resize(cells.len() + usize::from(more), 0);
        }
        if cells.len() > ROWS * WIDTH {
            return Err(DecodeError::TooLong);
        }
        let sum = |row: &[u64]| row.iter().try_fold(0u64, |sum, cell| sum.checked_add(*cell));
        let mut sums = cells.chunks_exact(WIDTH).map(sum);
        let total = sums.next().flatten().ok_or(DecodeError::Range)?;
        if sums.any(|sum| sum != Some(total)) {
            return Err(DecodeError::Range);
        }
        Ok(Self { cells: cells.into(), total })
    }
}

/// The column of an item in each row: bytes 8 to 17 of its hash, two a row.
fn columns(item: &[u8]) -> impl Iterator<Item = usize> {
    let hash = hash_item(item);
    (0..ROWS).map(move |row| {
        let pair = hash.get(8 + 2 * row..10 + 2 * row).unwrap_or_default();
        pair.iter().fold(0, |column, byte| column << 8 | usize::from(*byte)) % WIDTH
    })
}
