//! What is told of many nodes in little space: sums, distinct counts, distributions and frequencies, all mergeable
//! (SHARD-9 to SHARD-15).
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

mod count_min;
mod hyperloglog;
mod limits;
mod quantiles;
mod top;

use std::collections::BTreeMap;

use cs_identity::wire::{put_varint, take_count, take_u8, take_varint};

use crate::wire::{DecodeError, whole};

pub use count_min::CountMin;
pub use hyperloglog::HyperLogLog;
pub use limits::{Excess, Limits};
pub use quantiles::Quantiles;
pub use top::{MAX_ITEM_BYTES, TOP_ITEMS, Top};

const VERSION: u8 = 1;
const ITEM: &str = "CosmicSyncCore 2026 cs-shard item";
/// Most sums of a summary; 10 KiB at most.
pub const MAX_SUMS: usize = 64;
/// Most of each kind of sketch; with all of them a summary has 196 KiB at most, and a usual one has 10.
pub const MAX_SKETCHES: usize = 4;

/// What a number is of: the caller's names. Nodes that merge must mean the same by them.
pub type Metric = u16;

/// What is known of a number of nodes: a value of bounded size, whatever that number is.
///
/// Two summaries of different nodes merge to one of both; the order does not matter. Each kind says how far it may be
/// off: sums not at all, the others as their types tell.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Summary {
    /// Nodes that it is of.
    pub nodes: u64,
    /// Exact sums.
    pub sums: BTreeMap<Metric, u64>,
    /// How many different ones.
    pub distinct: BTreeMap<Metric, HyperLogLog>,
    /// How values are distributed.
    pub quantiles: BTreeMap<Metric, Quantiles>,
    /// How often any one item comes.
    pub counts: BTreeMap<Metric, CountMin>,
    /// Which items come most often.
    pub top: BTreeMap<Metric, Top>,
}

impl Summary {
    /// Of one node.
    #[must_use]
    pub fn of_one() -> Self {
        Self { nodes: 1, ..Self::default() }
    }

    /// Takes in a summary of other nodes. Sums stop at the largest number. Metrics beyond the limits on their number
    /// (the highest ones) are left out.
    pub fn merge(&mut self, other: &Self) {
        self.nodes = self.nodes.saturating_add(other.nodes);
        merge_all(&mut self.sums, &other.sums, MAX_SUMS, |own, other| *own = own.saturating_add(*other));
        merge_all(&mut self.distinct, &other.distinct, MAX_SKETCHES, HyperLogLog::merge);
        merge_all(&mut self.quantiles, &other.quantiles, MAX_SKETCHES, Quantiles::merge);
        merge_all(&mut self.counts, &other.counts, MAX_SKETCHES, CountMin::merge);
        merge_all(&mut self.top, &other.top, MAX_SKETCHES, Top::merge);
    }

    /// Appends the one encoding (SHARD-10).
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        put_varint(out, self.nodes);
        put_all(out, &self.sums, |value, out| put_varint(out, *value));
        put_all(out, &self.distinct, HyperLogLog::encode);
        put_all(out, &self.quantiles, Quantiles::encode);
        put_all(out, &self.counts, CountMin::encode);
        put_all(out, &self.top, Top::encode);
    }

    /// Reads a summary and nothing else.
    ///
    /// # Errors
    /// As [`decode`](Self::decode), and [`DecodeError::Trailing`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        whole(bytes, Self::decode)
    }

    /// Reads a summary from the front. It is well-formed; whether it may be true is for [`Limits::check`].
    ///
    /// # Errors
    /// [`DecodeError`] names what is wrong.
    pub fn decode(bytes: &mut &[u8]) -> Result<Self, DecodeError> {
        if take_u8(bytes)? != VERSION {
            return Err(DecodeError::Version);
        }
        Ok(Self {
            nodes: take_varint(bytes)?,
            sums: take_all(bytes, MAX_SUMS, |bytes| Ok(take_varint(bytes)?))?,
            distinct: take_all(bytes, MAX_SKETCHES, HyperLogLog::decode)?,
            quantiles: take_all(bytes, MAX_SKETCHES, Quantiles::decode)?,
            counts: take_all(bytes, MAX_SKETCHES, CountMin::decode)?,
            top: take_all(bytes, MAX_SKETCHES, Top::decode)?,
        })
    }
}

/// The hash of an item in every sketch (SHARD-9): uniform, the same on every machine, and not keyed.
pub(crate) fn hash_item(item: &[u8]) -> [u8; 32] {
    blake3::derive_key(ITEM, item)
}

fn merge_all<T: Clone>(
    own: &mut BTreeMap<Metric, T>,
    other: &BTreeMap<Metric, T>,
    max: usize,
    merge: impl Fn(&mut T, &T),
) {
    for (metric, value) in other {
        match own.get_mut(metric) {
            Some(there) => merge(there, value),
            None => drop(own.insert(*metric, value.clone())),
        }
    }
    while own.len() > max {
        own.pop_last();
    }
}

/// A list of metrics, ascending, with their values.
pub(crate) fn put_all<T>(out: &mut Vec<u8>, all: &BTreeMap<Metric, T>, put: impl Fn(&T, &mut Vec<u8>)) {
    put_varint(out, all.len() as u64);
    for (metric, value) in all {
        out.extend_from_slice(&metric.to_be_bytes());
        put(value, out);
    }
}

pub(crate) fn take_all<T>(
    bytes: &mut &[u8],
    max: usize,
    take: impl Fn(&mut &[u8]) -> Result<T, DecodeError>,
) -> Result<BTreeMap<Metric, T>, DecodeError> {
    let mut all = BTreeMap::new();
    for _ in 0..take_count(bytes, max, 3)? {
        let metric = Metric::from_be_bytes(cs_identity::wire::take_array(bytes)?);
        if all.last_key_value().is_some_and(|(last, _)| *last >= metric) {
            return Err(DecodeError::NotCanonical);
        }
        all.insert(metric, take(bytes)?);
    }
    Ok(all)
}
