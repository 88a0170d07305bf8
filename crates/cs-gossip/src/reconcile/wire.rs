//! Messages of set reconciliation, version 1 (PROTOCOL.md, REC-1 to REC-12).
//!
//! The first byte tells the kind. A greeting carries the highest version its sender speaks, and extensions
//! that a receiver keeps but need not know; everything after it belongs to the version both speak.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

use crate::codec;
pub use crate::codec::DecodeError;
use crate::reconcile::Id;

/// The version this side speaks (REC-1).
pub const VERSION: u8 = 1;
/// No message is longer: a reader may refuse earlier. Reason: one message must never take a link for long.
pub const MAX_MESSAGE: usize = 64 * 1024;
/// Bytes of extensions in a greeting: enough for a few numbers.
pub const MAX_EXTENSIONS: usize = 64;
/// Counters of the difference estimator: its relative deviation is `sqrt(2 / 64)`, a sixth.
pub const COUNTERS: usize = 64;
/// Syndromes of one partition: bounds the cost of one decoding to about 32 x 40^2 field multiplications.
pub const MAX_DEPTH: u8 = 40;
/// Partitions of one round: a million differences at the usual sixteen each.
pub const MAX_PARTITIONS: u32 = 65_536;
/// Syndromes in one message: 32 KiB.
pub const MAX_SYNDROMES: usize = 8 * 1024;
/// Bytes of one slice of a Bloom filter.
pub const MAX_SLICE: usize = 32 * 1024;
/// Slices of one filter: 32 GiB of filter in all, none of it kept.
pub const MAX_SLICES: u32 = 1 << 20;
/// Bits an element of a Bloom filter: beyond, ids themselves are as cheap.
pub const MAX_FILTER_BITS_EACH: u8 = 32;
/// Hash functions of a Bloom filter: the best number for the most bits.
pub const MAX_FILTER_HASHES: u8 = 23;
/// 64-bit hashes in one message: 32 KiB.
pub const MAX_HASHES: usize = 4096;
/// Ids in one message: 32 KiB.
pub const MAX_IDS: usize = 1024;

/// One message of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Message {
    /// Opens a session (REC-1).
    Hello(Hello),
    /// The sets, or what is left of them after what was found, are equal.
    Same,
    /// The sets differ: the responder's salt, size and first small sketch (REC-3, REC-4).
    Begin {
        /// Salts every hash of the session.
        salt: [u8; 8],
        /// Size of the responder's set.
        count: u64,
        /// One partition of the whole set, at most [`MAX_DEPTH`].
        syndromes: Vec<u32>,
    },
    /// The initiator could not decode, or was told to go on: opens a round (REC-5).
    Estimate {
        /// 1, 2, 3, .. of this session.
        round: u8,
        /// Size of the initiator's remaining set.
        count: u64,
        /// Its estimator under this round's salt.
        counters: Box<[i64; COUNTERS]>,
    },
    /// One slice of a Bloom filter (REC-6).
    Filter(Filter),
    /// Syndromes of consecutive partitions (REC-7).
    Sketch {
        /// Partitions of this round.
        partitions: u32,
        /// The first partition in this message.
        first: u32,
        /// Syndromes of each.
        depth: u8,
        /// All of them, partition by partition.
        syndromes: Vec<u32>,
    },
    /// What became of the partitions of the oldest unanswered sketch or extension (REC-8).
    Answer {
        /// In the order they were sent.
        partitions: Vec<Outcome>,
    },
    /// Further syndromes for the partitions that an answer asked them for.
    Extra {
        /// How many for each.
        depth: u8,
        /// All of them, partition by partition.
        syndromes: Vec<u32>,
    },
    /// Every partition is decoded: the sum over what the initiator now holds to be common (REC-9).
    Check {
        /// Wrapping sum of the check words.
        sum: u64,
    },
    /// The sums differ: another round.
    Again,
    /// Last resort: hashes of all that remains, ascending over the whole listing (REC-10).
    List {
        /// No more follow.
        last: bool,
        /// Up to [`MAX_HASHES`].
        hashes: Vec<u64>,
    },
    /// What of a list the initiator lacks.
    Lack {
        /// A subset of the list's hashes, ascending.
        hashes: Vec<u64>,
    },
    /// Ids that the receiver lacks (REC-11).
    Ids {
        /// No more follow.
        last: bool,
        /// Ascending, up to [`MAX_IDS`].
        ids: Vec<Id>,
    },
}

/// Opens a session: 13 bytes as a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The highest version the initiator speaks, 1 to 7.
    pub version: u8,
    /// Both sides are to name to each other the ids that each lacks.
    pub want_ids: bool,
    /// If present, the fingerprint is summed under this salt instead of the index's own key.
    pub salt: Option<[u8; 8]>,
    /// The first twelve bytes of the hash of the fingerprint.
    pub fingerprint: [u8; 12],
    /// Not interpreted by version 1.
    pub extensions: Vec<u8>,
}

/// One slice of a Bloom filter. Slices arrive in order; element `e` belongs to slice
/// `(e >> 32) * slices >> 32` of its session hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// This one.
    pub slice: u32,
    /// All of them; at least one.
    pub slices: u32,
    /// Hash functions; 0: this filter excludes nothing.
    pub hashes: u8,
    /// Bits an element of the filter wanted back; 0: none.
    pub reply_bits: u8,
    /// The bits. Without any, but with hash functions, the sender's slice is empty.
    pub bits: Vec<u8>,
}

/// What became of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// More syndromes, please.
    More,
    /// Too many differences: left to the next round.
    GaveUp,
    /// Decoded: the short ids that only the sketching side has, ascending, none zero.
    Decoded(Vec<u32>),
}

mod kind {
    pub(crate) const HELLO_MAX: u8 = 0x3f;
    pub(crate) const SAME: u8 = 0x40;
    pub(crate) const BEGIN: u8 = 0x41;
    pub(crate) const ESTIMATE: u8 = 0x42;
    pub(crate) const FILTER: u8 = 0x43;
    pub(crate) const SKETCH: u8 = 0x44;
    pub(crate) const ANSWER: u8 = 0x45;
    pub(crate) const EXTRA: u8 = 0x46;
    pub(crate) const CHECK: u8 = 0x47;
    pub(crate) const AGAIN: u8 = 0x48;
    pub(crate) const LIST: u8 = 0x49;
    pub(crate) const LACK: u8 = 0x4a;
    pub(crate) const IDS: u8 = 0x4b;
}

const SALTED: u8 = 0x20;
const EXTENDED: u8 = 0x10;
const WANT_IDS: u8 = 0x08;

impl Message {
    /// Reads exactly one message.
    ///
    /// # Errors
    /// [`DecodeError::Trailing`] if bytes are left over, and whatever [`Message::decode`] refuses.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_MESSAGE {
            return Err(DecodeError::TooLarge);
        }
        let message = Self::decode(&mut bytes)?;
        codec::finish(bytes)?;
        Ok(message)
    }

    /// Reads one message off the front of `input`. Allocates no more than the bytes of it.
    ///
    /// # Errors
    /// See [`DecodeError`]; how much of `input` was consumed is then unspecified.
    pub fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        let first = codec::take_u8(input)?;
        Ok(match first {
            0..=kind::HELLO_MAX => Self::Hello(Hello::decode(first, input)?),
            kind::SAME => Self::Same,
            kind::BEGIN => Self::Begin {
                salt: codec::take(input)?,
                count: codec::take_varint(input)?,
                syndromes: take_words(input, usize::from(MAX_DEPTH))?,
            },
            kind::ESTIMATE => Self::decode_estimate(input)?,
            kind::FILTER => Self::Filter(Filter::decode(input)?),
            kind::SKETCH => Self::decode_sketch(input)?,
            kind::ANSWER => Self::Answer { partitions: take_outcomes(input)? },
            kind::EXTRA => {
                let depth = take_depth(input)?;
                let syndromes = take_words(input, MAX_SYNDROMES)?;
                whole_partitions(&syndromes, depth)?;
                Self::Extra { depth, syndromes }
            }
            kind::CHECK => Self::Check { sum: u64::from_le_bytes(codec::take(input)?) },
            kind::AGAIN => Self::Again,
            kind::LIST => Self::List { last: codec::take_bool(input)?, hashes: take_hashes(input)? },
            kind::LACK => Self::Lack { hashes: take_hashes(input)? },
            kind::IDS => Self::Ids { last: codec::take_bool(input)?, ids: take_ids(input)? },
            _ => return Err(DecodeError::Unknown),
        })
    }

    fn decode_estimate(input: &mut &[u8]) -> Result<Self, DecodeError> {
        let round = codec::take_u8(input)?;
        let count = codec::take_varint(input)?;
        let mut counters = Box::new([0; COUNTERS]);
        for counter in counters.iter_mut() {
            let folded = codec::take_varint(input)?;
            *counter = (folded >> 1) as i64 ^ -((folded & 1) as i64);
        }
        Ok(Self::Estimate { round, count, counters })
    }

    fn decode_sketch(input: &mut &[u8]) -> Result<Self, DecodeError> {
        let partitions = codec::take_varint_u32(input)?;
        let first = codec::take_varint_u32(input)?;
        let depth = take_depth(input)?;
        let syndromes = take_words(input, MAX_SYNDROMES)?;
        let here = whole_partitions(&syndromes, depth)?;
        if partitions > MAX_PARTITIONS || u64::from(first) + here as u64 > u64::from(partitions) {
            return Err(DecodeError::TooLarge);
        }
        Ok(Self::Sketch { partitions, first, depth, syndromes })
    }

    /// Appends the one encoding of this message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello(hello) => hello.encode(out),
            Self::Same => out.push(kind::SAME),
            Self::Begin { salt, count, syndromes } => {
                out.push(kind::BEGIN);
                out.extend_from_slice(salt);
                codec::put_varint(out, *count);
                put_words(out, syndromes);
            }
            Self::Estimate { round, count, counters } => {
                out.extend_from_slice(&[kind::ESTIMATE, *round]);
                codec::put_varint(out, *count);
                for &counter in counters.iter() {
                    codec::put_varint(out, ((counter << 1) ^ (counter >> 63)) as u64);
                }
            }
            Self::Filter(filter) => filter.encode(out),
            Self::Sketch { partitions, first, depth, syndromes } => {
                out.push(kind::SKETCH);
                codec::put_varint(out, u64::from(*partitions));
                codec::put_varint(out, u64::from(*first));
                out.push(*depth);
                put_words(out, syndromes);
            }
            Self::Answer { partitions } => put_outcomes(out, partitions),
            Self::Extra { depth, syndromes } => {
                out.extend_from_slice(&[kind::EXTRA, *depth]);
                put_words(out, syndromes);
            }
            Self::Check { sum } => {
                out.push(kind::CHECK);
                out.extend_from_slice(&sum.to_le_bytes());
            }
            Self::Again => out.push(kind::AGAIN),
            Self::List { last, hashes } => {
                out.extend_from_slice(&[kind::LIST, u8::from(*last)]);
                put_hashes(out, hashes);
            }
            Self::Lack { hashes } => {
                out.push(kind::LACK);
                put_hashes(out, hashes);
            }
            Self::Ids { last, ids } => {
                out.extend_from_slice(&[kind::IDS, u8::from(*last)]);
                codec::put_varint(out, ids.len() as u64);
                ids.iter().for_each(|id| out.extend_from_slice(id));
            }
        }
    }

    /// The encoding alone.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.encode(&mut out);
        out
    }
}

impl Hello {
    fn decode(first: u8, input: &mut &[u8]) -> Result<Self, DecodeError> {
        let version = first & 0x07;
        if version == 0 {
            return Err(DecodeError::Unknown);
        }
        let salt = if first & SALTED == 0 { None } else { Some(codec::take(input)?) };
        let fingerprint = codec::take(input)?;
        let mut extensions = Vec::new();
        if first & EXTENDED != 0 {
            let len = codec::take_count(input, MAX_EXTENSIONS, 1)?;
            if len == 0 {
                return Err(DecodeError::NonCanonical);
            }
            extensions.extend_from_slice(codec::take_slice(input, len)?);
        }
        Ok(Self { version, want_ids: first & WANT_IDS != 0, salt, fingerprint, extensions })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let salted = if self.salt.is_some() { SALTED } else { 0 };
        let extended = if self.extensions.is_empty() { 0 } else { EXTENDED };
        let want_ids = if self.want_ids { WANT_IDS } else { 0 };
        out.push(salted | extended | want_ids | (self.version & 0x07));
        out.extend_from_slice(self.salt.as_ref().map_or(&[], |salt| salt.as_slice()));
        out.extend_from_slice(&self.fingerprint);
        if extended != 0 {
            codec::put_varint(out, self.extensions.len() as u64);
            out.extend_from_slice(&self.extensions);
        }
    }
}

impl Filter {
    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        let slice = codec::take_varint_u32(input)?;
        let slices = codec::take_varint_u32(input)?;
        let hashes = codec::take_u8(input)?;
        let reply_bits = codec::take_u8(input)?;
        let len = codec::take_count(input, MAX_SLICE, 1)?;
        let bits = codec::take_slice(input, len)?.to_vec();
        let small = slices <= MAX_SLICES && hashes <= MAX_FILTER_HASHES && reply_bits <= MAX_FILTER_BITS_EACH;
        if !small || slice >= slices {
            return Err(DecodeError::TooLarge);
        }
        if hashes == 0 && !bits.is_empty() {
            return Err(DecodeError::NonCanonical);
        }
        Ok(Self { slice, slices, hashes, reply_bits, bits })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(kind::FILTER);
        codec::put_varint(out, u64::from(self.slice));
        codec::put_varint(out, u64::from(self.slices));
        out.extend_from_slice(&[self.hashes, self.reply_bits]);
        codec::put_varint(out, self.bits.len() as u64);
        out.extend_from_slice(&self.bits);
    }
}

fn take_depth(input: &mut &[u8]) -> Result<u8, DecodeError> {
    match codec::take_u8(input)? {
        0 => Err(DecodeError::NonCanonical),
        depth if depth > MAX_DEPTH => Err(DecodeError::TooLarge),
        depth => Ok(depth),
    }
}

fn whole_partitions(syndromes: &[u32], depth: u8) -> Result<usize, DecodeError> {
    let depth = usize::from(depth);
    if syndromes.is_empty() || !syndromes.len().is_multiple_of(depth) {
        return Err(DecodeError::NonCanonical);
    }
    Ok(syndromes.len() / depth)
}

fn take_words(input: &mut &[u8], limit: usize) -> Result<Vec<u32>, DecodeError> {
    let count = codec::take_count(input, limit, 4)?;
    (0..count).map(|_| codec::take(input).map(u32::from_le_bytes)).collect()
}

fn put_words(out: &mut Vec<u8>, words: &[u32]) {
    codec::put_varint(out, words.len() as u64);
    words.iter().for_each(|word| out.extend_from_slice(&word.to_le_bytes()));
}

fn take_hashes(input: &mut &[u8]) -> Result<Vec<u64>, DecodeError> {
    let count = codec::take_count(input, MAX_HASHES, 8)?;
    let hashes = (0..count).map(|_| codec::take(input).map(u64::from_le_bytes)).collect::<Result<_, _>>()?;
    ascending(hashes)
}

fn put_hashes(out: &mut Vec<u8>, hashes: &[u64]) {
    codec::put_varint(out, hashes.len() as u64);
    hashes.iter().for_each(|hash| out.extend_from_slice(&hash.to_le_bytes()));
}

fn take_ids(input: &mut &[u8]) -> Result<Vec<Id>, DecodeError> {
    let count = codec::take_count(input, MAX_IDS, 32)?;
    ascending((0..count).map(|_| codec::take(input)).collect::<Result<_, _>>()?)
}

fn take_outcomes(input: &mut &[u8]) -> Result<Vec<Outcome>, DecodeError> {
    let count = codec::take_count(input, MAX_SYNDROMES, 1)?;
    let mut outcomes = Vec::with_capacity(count);
    for _ in 0..count {
        outcomes.push(match codec::take_varint(input)? {
            0 => Outcome::More,
            1 => Outcome::GaveUp,
            found if found - 2 > u64::from(MAX_DEPTH) => return Err(DecodeError::TooLarge),
            found => {
                let ids = (2..found).map(|_| codec::take(input).map(u32::from_le_bytes));
                let ids = ascending(ids.collect::<Result<Vec<u32>, _>>()?)?;
                if ids.first() == Some(&0) {
                    return Err(DecodeError::NonCanonical);
                }
                Outcome::Decoded(ids)
            }
        });
    }
    Ok(outcomes)
}

fn put_outcomes(out: &mut Vec<u8>, outcomes: &[Outcome]) {
    out.push(kind::ANSWER);
    codec::put_varint(out, outcomes.len() as u64);
    for outcome in outcomes {
        match outcome {
            Outcome::More => out.push(0),
            Outcome::GaveUp => out.push(1),
            Outcome::Decoded(ids) => {
                codec::put_varint(out, ids.len() as u64 + 2);
                ids.iter().for_each(|id| out.extend_from_slice(&id.to_le_bytes()));
            }
        }
    }
}

fn ascending<T: Ord>(items: Vec<T>) -> Result<Vec<T>, DecodeError> {
    if items.is_sorted_by(|a, b| a < b) { Ok(items) } else { Err(DecodeError::NonCanonical) }
}
