//! Messages of the tree (SHARD-19).
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

use cs_identity::wire::{put_bytes, put_varint, take_bytes, take_count, take_node_id, take_u8, take_varint};
use thiserror::Error;

use super::digest::{Digest, FREQUENT_MAX, Frequent, Spread};
use crate::summary::{Excess, MAX_ITEM_BYTES, MAX_SKETCHES, MAX_SUMS, Summary, put_all, take_all};
use crate::wire::{DecodeError, whole};

/// Bytes of the longest message. The largest summary has 196 KiB, so nothing well-formed is above.
pub const MAX_TREE_MESSAGE: usize = 256 << 10;

const VERSION: u8 = 1;
const REPORT: u8 = 0;
const STILL: u8 = 1;
const BYE: u8 = 2;
const ASK: u8 = 3;
const DIGEST: u8 = 4;

/// What the nodes of a tree tell each other.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TreeMessage {
    /// Child to parent: all that I know of.
    Report(Report),
    /// Child to parent: what I reported under this version still holds.
    Still {
        /// The child's incarnation.
        epoch: u64,
        /// Of the report.
        version: u64,
        /// Of its oldest part now, in milliseconds.
        age_ms: u64,
    },
    /// Child to former parent: I report elsewhere; count nothing of mine up to this version.
    Bye {
        /// The child's incarnation.
        epoch: u64,
        /// Its latest version.
        version: u64,
    },
    /// Parent to child: I do not know what you say still holds.
    Ask,
    /// Parent to child: what the top knows.
    Digest(Digest),
}

/// A child's summary, numbered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    /// The child's incarnation.
    pub epoch: u64,
    /// Counts its changes.
    pub version: u64,
    /// Of its oldest part, in milliseconds.
    pub age_ms: u64,
    /// Of the child and all below it.
    pub summary: Summary,
}

/// A remote broke the protocol. Nothing changed but the clock.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum TreeFault {
    /// The bytes are no message.
    #[error("malformed message: {0}")]
    Malformed(#[from] DecodeError),
    /// Only admitted children report.
    #[error("the sender is not an admitted child")]
    NotAChild,
    /// Only the parent tells and asks.
    #[error("the sender is not the parent")]
    NotTheParent,
    /// The report tells more than the child may.
    #[error("excessive report: {0}")]
    Excess(#[from] Excess),
}

impl TreeMessage {
    /// Appends the one encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        match self {
            Self::Report(report) => {
                out.push(REPORT);
                put_numbers(out, &[report.epoch, report.version, report.age_ms]);
                report.summary.encode(out);
            }
            Self::Still { epoch, version, age_ms } => {
                out.push(STILL);
                put_numbers(out, &[*epoch, *version, *age_ms]);
            }
            Self::Bye { epoch, version } => {
                out.push(BYE);
                put_numbers(out, &[*epoch, *version]);
            }
            Self::Ask => out.push(ASK),
            Self::Digest(digest) => {
                out.push(DIGEST);
                digest.encode(out);
            }
        }
    }

    /// Reads a message and nothing else.
    ///
    /// # Errors
    /// [`DecodeError`] names what is wrong.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_TREE_MESSAGE {
            return Err(DecodeError::TooLong);
        }
        whole(bytes, Self::decode)
    }

    /// Reads a message from the front.
    ///
    /// # Errors
    /// [`DecodeError`] names what is wrong.
    pub fn decode(bytes: &mut &[u8]) -> Result<Self, DecodeError> {
        if take_u8(bytes)? != VERSION {
            return Err(DecodeError::Version);
        }
        Ok(match take_u8(bytes)? {
            REPORT => Self::Report(Report {
                epoch: take_varint(bytes)?,
                version: take_varint(bytes)?,
                age_ms: take_varint(bytes)?,
                summary: Summary::decode(bytes)?,
            }),
            STILL => Self::Still {
                epoch: take_varint(bytes)?,
                version: take_varint(bytes)?,
                age_ms: take_varint(bytes)?,
            },
            BYE => Self::Bye { epoch: take_varint(bytes)?, version: take_varint(bytes)? },
            ASK => Self::Ask,
            DIGEST => Self::Digest(Digest::decode(bytes)?),
            _ => return Err(DecodeError::Kind),
        })
    }
}

impl Digest {
    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.root.as_bytes());
        let numbers = [self.epoch, self.version, self.age_ms, self.nodes, u64::from(self.silent)];
        put_numbers(out, &numbers);
        put_all(out, &self.sums, |sum, out| put_varint(out, *sum));
        put_all(out, &self.distinct, |count, out| put_varint(out, *count));
        put_all(out, &self.quantiles, |spread, out| {
            put_numbers(out, &[spread.count, spread.p50, spread.p90, spread.p99, spread.max]);
        });
        put_all(out, &self.frequent, |frequent, out| {
            put_numbers(out, &[frequent.total, frequent.error, frequent.items.len() as u64]);
            for (item, count) in &frequent.items {
                put_bytes(out, item);
                put_varint(out, *count);
            }
        });
    }

    fn decode(bytes: &mut &[u8]) -> Result<Self, DecodeError> {
        let root = take_node_id(bytes)?;
        let [epoch, version, age_ms, nodes, silent] = take_numbers(bytes)?;
        Ok(Self {
            root,
            epoch,
            version,
            age_ms,
            nodes,
            silent: u32::try_from(silent).map_err(|_| DecodeError::Range)?,
            sums: take_all(bytes, MAX_SUMS, |bytes| Ok(take_varint(bytes)?))?,
            distinct: take_all(bytes, MAX_SKETCHES, |bytes| Ok(take_varint(bytes)?))?,
            quantiles: take_all(bytes, MAX_SKETCHES, |bytes| {
                let [count, p50, p90, p99, max] = take_numbers(bytes)?;
                Ok(Spread { count, p50, p90, p99, max })
            })?,
            frequent: take_all(bytes, MAX_SKETCHES, take_frequent)?,
        })
    }
}

fn take_frequent(bytes: &mut &[u8]) -> Result<Frequent, DecodeError> {
    let [total, error] = take_numbers(bytes)?;
    let mut items: Vec<(Vec<u8>, u64)> = Vec::new();
    for _ in 0..take_count(bytes, FREQUENT_MAX, 2)? {
        let item = take_bytes(bytes, MAX_ITEM_BYTES)?.to_vec();
        let count = take_varint(bytes)?;
        let is_behind = |(last, more): &(Vec<u8>, u64)| *more > count || (*more == count && *last < item);
        if !items.last().is_none_or(is_behind) {
            return Err(DecodeError::NotCanonical);
        }
        items.push((item, count));
    }
    Ok(Frequent { total, error, items })
}

fn take_numbers<const N: usize>(bytes: &mut &[u8]) -> Result<[u64; N], DecodeError> {
    let mut numbers = [0; N];
    for number in &mut numbers {
        *number = take_varint(bytes)?;
    }
    Ok(numbers)
}

fn put_numbers(out: &mut Vec<u8>, numbers: &[u64]) {
    numbers.iter().for_each(|number| put_varint(out, *number));
}
