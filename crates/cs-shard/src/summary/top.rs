//! Which items come most often (SHARD-14).
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

use std::collections::BTreeMap;

use cs_identity::wire::{put_bytes, put_varint, take_bytes, take_count, take_varint};

use crate::wire::{DecodeError, whole};

/// Items that a sketch keeps.
pub const TOP_ITEMS: usize = 64;
/// Bytes of the longest item; longer ones are counted as their first bytes.
pub const MAX_ITEM_BYTES: usize = 48;

/// The items that come most often, and how often at least: Misra-Gries with 64 counters, merged as in "Mergeable
/// summaries" (Agarwal and others, PODS 2012), which keeps the error of one sketch over everything.
///
/// An item's count is too low by at most [`error`](Self::error), which is at most a 65th of the total, and never too
/// high; every item that came more often than that is among them. Merging is commutative, and associative up to the error.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Top {
    /// No count is 0, and their sum is at most the total.
    counts: BTreeMap<Vec<u8>, u64>,
    total: u64,
}

impl Top {
    /// Counts an item `times` times; what would make the total overflow is not counted.
    pub fn insert(&mut self, item: &[u8], times: u64) {
        let times = times.min(u64::MAX - self.total);
        self.total += times;
        let item = item.get(..MAX_ITEM_BYTES).unwrap_or(item);
        if times > 0 {
            *self.counts.entry(item.to_vec()).or_default() += times;
            self.shrink();
        }
    }

    /// Takes in all that the other one counted, if the sum of both totals is a number; else nothing.
    pub fn merge(&mut self, other: &Self) {
        let Some(total) = self.total.checked_add(other.total) else { return };
        self.total = total;
        for (item, count) in &other.counts {
            *self.counts.entry(item.clone()).or_default() += count;
        }
        self.shrink();
    }

    /// Takes the count of the most frequent item that has no room off all.
    fn shrink(&mut self) {
        if self.counts.len() <= TOP_ITEMS {
            return;
        }
        let mut counts: Vec<u64> = self.counts.values().copied().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        let excess = counts.get(TOP_ITEMS).copied().unwrap_or(0);
        self.counts.retain(|_, count| {
            *count = count.saturating_sub(excess);
            *count > 0
        });
    }

    /// The items kept, the most frequent first, each with how often it came at least.
    #[must_use]
    pub fn items(&self) -> Vec<(&[u8], u64)> {
        let mut items: Vec<_> = self.counts.iter().map(|(item, count)| (item.as_slice(), *count)).collect();
        items.sort_by_key(|(_, count)| core::cmp::Reverse(*count));
        items
    }

    /// How often anything came: exact.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Most that a count is too low by.
    #[must_use]
    pub fn error(&self) -> u64 {
        (self.total - self.counts.values().sum::<u64>()) / (TOP_ITEMS as u64 + 1)
    }

    /// Appends the one encoding: the total, then the items, ascending, with their counts.
    pub fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.total);
        put_varint(out, self.counts.len() as u64);
        for (item, count) in &self.counts {
            put_bytes(out, item);
            put_varint(out, *count);
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
    /// [`DecodeError`]: items not ascending, empty counts, or more counted than the total.
    pub fn decode(bytes: &mut &[u8]) -> Result<Self, DecodeError> {
        let total = take_varint(bytes)?;
        let mut counts: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        let mut left = total;
        for _ in 0..take_count(bytes, TOP_ITEMS, 2)? {
            let item = take_bytes(bytes, MAX_ITEM_BYTES)?;
            let count = take_varint(bytes)?;
            if counts.last_key_value().is_some_and(|(last, _)| last.as_slice() >= item) {
                return Err(DecodeError::NotCanonical);
            }
            left = left.checked_sub(count).filter(|_| count > 0).ok_or(DecodeError::Range)?;
            counts.insert(item.to_vec(), count);
        }
        Ok(Self { counts, total })
    }
}
