//! Messages of set reconciliation, version 1 (PROTOCOL.md, REC-1 to REC-15).
//!
//! The first byte tells the kind: a greeting has the highest version its sender speaks in its last three bits, every other
//! kind zeros there. A receiver keeps extensions of a greeting but need not know them.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

use crate::codec;
pub use crate::codec::DecodeError;
use crate::reconcile::Id;
use crate::reconcile::bits::{pack, packed_len, unpack};
pub use crate::reconcile::names::{Name, Names};

/// The version this side speaks (REC-1).
pub const VERSION: u8 = 1;
/// No message is longer: a reader may refuse earlier. Reason: one message must never take a link for long.
pub const MAX_MESSAGE: usize = 64 * 1024;
/// Bytes of extensions in a greeting: enough for a few numbers.
pub const MAX_EXTENSIONS: usize = 64;
/// Words of sixteen bits of the difference estimator: its relative deviation is about a third.
pub const ESTIMATOR_WORDS: usize = 16;
/// Syndromes of one partition: bounds the cost of one decoding to about 32 x 96^2 field multiplications.
pub const MAX_DEPTH: u8 = 96;
/// Syndromes that one extension adds: bounds the answer to one message.
pub const MAX_MORE: u8 = 32;
/// Partitions are at most two to this: 1.5 million differences at the usual 24 each.
pub const MAX_LEVEL: u8 = 16;
/// Partitions in one message.
pub const MAX_PARTS: usize = 256;
/// Syndromes in one message: bounds the work of decoding it.
pub const MAX_SYNDROMES: usize = 8 * 1024;
/// Names in one message: more than its partitions can decode.
pub const MAX_NAMES: usize = MAX_PARTS * MAX_DEPTH as usize;
/// Bytes of one slice of a Bloom filter.
pub const MAX_SLICE: usize = 32 * 1024;
/// Slices of one filter are at most two to this: 32 GiB of filter in all, none of it kept.
pub const MAX_FILTER_LEVEL: u8 = 20;
/// Density of a Bloom filter, in quarters of a bit an element: beyond, ids themselves are as cheap.
pub const MAX_DENSITY: u8 = 128;
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
    /// The sets differ: the responder's size and the first syndrome of all of it (REC-4).
    Begin {
        /// Only of what is recent, as the greeting proposed (REC-13).
        recent: bool,
        /// Size of the responder's set.
        count: u64,
        /// The sum of all short ids, [`opening_bits`] wide.
        syndrome: u32,
    },
    /// The initiator asks for a plan; the responder, in reply, to change places (REC-5).
    Estimate(Estimate),
    /// One slice of a Bloom filter (REC-6).
    Filter(Filter),
    /// Syndromes of consecutive partitions (REC-7).
    Sketch(Sketch),
    /// Every partition of the oldest unanswered sketch or extension is decoded; what only the responder has (REC-9).
    Answer {
        /// Of all of them.
        names: Names,
    },
    /// Some partitions are not decoded (REC-8).
    Partly {
        /// Further syndromes wanted for each of those, at most [`MAX_MORE`]; 0: they are given up.
        more: u8,
        /// Which are decoded, in the order they were sent. At least one is not.
        decoded: Vec<bool>,
        /// Of those that are decoded.
        names: Names,
    },
    /// As an answer to a first sketch, from an initiator that has nothing the responder lacks: its greeting's
    /// fingerprint is the sum to compare (REC-10).
    Settled {
        /// What only the responder has.
        names: Names,
    },
    /// Further syndromes for the partitions that an answer asked them for, packed in the width of the sketch.
    Extra {
        /// All of them, partition by partition.
        packed: Vec<u8>,
    },
    /// Every partition is decoded: the digest of what the initiator now holds to be common (REC-10).
    Check {
        /// All of it.
        sum: [u8; 8],
        /// Only five bytes are sent, since few differences were found and little can have gone wrong.
        short: bool,
    },
    /// The digests differ: what comes next depends on the phase (REC-10).
    Again,
    /// Last resort: hashes of all that remains, ascending over the whole listing (REC-11).
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
    /// Ids that the receiver lacks (REC-12).
    Ids {
        /// No more follow.
        last: bool,
        /// Ascending, up to [`MAX_IDS`].
        ids: Vec<Id>,
    },
    /// The channel broke and there is a new one: go on after this many messages (REC-15).
    Resume {
        /// Messages that the sender took in this session.
        taken: u64,
    },
}

/// Opens a session: nine bytes as a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The highest version the initiator speaks, 1 to 7.
    pub version: u8,
    /// Both sides are to name to each other the ids that each lacks.
    pub want_ids: bool,
    /// If present, the whole session hashes under this salt instead of the index's own key.
    pub salt: Option<[u8; 8]>,
    /// Digest of the fingerprint.
    pub fingerprint: [u8; 8],
    /// Size and estimator, so that the answer can be a plan: for at most three round trips.
    pub opening: Option<(u64, [u16; ESTIMATOR_WORDS])>,
    /// Propose to look first at what is from this time on.
    pub since: Option<u64>,
    /// Not interpreted by version 1.
    pub extensions: Vec<u8>,
}

/// What a plan is made from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Estimate {
    /// 0: under the index's own key; above: the round, each with hashes of its own.
    pub round: u8,
    /// The initiator's salt; it is there if the round is not 0.
    pub salt: Option<[u8; 8]>,
    /// Size of the initiator's undecided set.
    pub count: u64,
    /// Its estimator.
    pub estimator: [u16; ESTIMATOR_WORDS],
}

/// One slice of a Bloom filter: of the elements whose hash starts with the `level` bits of `slice`. Slices arrive in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// This one.
    pub slice: u32,
    /// There are two to this, at most [`MAX_FILTER_LEVEL`].
    pub level: u8,
    /// Hash functions; 0: this filter excludes nothing.
    pub hashes: u8,
    /// Density of the filter wanted back; 0: none.
    pub reply: u8,
    /// Salts the positions.
    pub salt: [u8; 8],
    /// The bits. Without any, but with hash functions, the sender's slice is empty.
    pub bits: Vec<u8>,
}

/// Syndromes of consecutive partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sketch {
    /// There are two to this.
    pub level: u8,
    /// Width of short ids, 8 to 32.
    pub bits: u8,
    /// Short ids are the last bits of a hash, not those after the partition.
    pub last: bool,
    /// Syndromes of each.
    pub depth: u8,
    /// The first partition in this message.
    pub first: u32,
    /// All of them, partition by partition: one to [`MAX_PARTS`] partitions.
    pub syndromes: Vec<u32>,
}

/// Width of the short ids of a first sketch over so many elements: one in 4096 hits another's (REC-4).
#[must_use]
pub fn opening_bits(count: u64) -> u8 {
    (64 - count.leading_zeros() as u8 + 12).clamp(16, 32)
}

mod kind {
    pub(crate) const SAME: u8 = 0x08;
    pub(crate) const BEGIN: u8 = 0x10;
    pub(crate) const BEGIN_RECENT: u8 = 0x18;
    pub(crate) const ESTIMATE: u8 = 0x20;
    pub(crate) const FILTER: u8 = 0x28;
    pub(crate) const SKETCH: u8 = 0x30;
    pub(crate) const ANSWER: u8 = 0x38;
    pub(crate) const PARTLY: u8 = 0x40;
    pub(crate) const SETTLED: u8 = 0x48;
    pub(crate) const EXTRA: u8 = 0x50;
    pub(crate) const CHECK: u8 = 0x58;
    pub(crate) const CHECK_SHORT: u8 = 0x60;
    pub(crate) const AGAIN: u8 = 0x68;
    pub(crate) const LIST: u8 = 0x70;
    pub(crate) const LACK: u8 = 0x78;
    pub(crate) const IDS: u8 = 0x80;
    pub(crate) const RESUME: u8 = 0x88;
}

/// Bits of a greeting's first byte.
const WITH_OPENING: u8 = 0x80;
const SINCE: u8 = 0x40;
const SALTED: u8 = 0x20;
const EXTENDED: u8 = 0x10;
const WANT_IDS: u8 = 0x08;
const VERSIONS: u8 = 0x07;
/// In the byte of a sketch's width.
const LAST: u8 = 0x80;

impl Message {
    /// Reads exactly one message.
    ///
    /// # Errors
    /// See [`DecodeError`].
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_MESSAGE {
            return Err(DecodeError::TooLarge);
        }
        let message = Self::decode(&mut bytes)?;
        codec::finish(bytes)?;
        Ok(message)
    }

    /// Reads one message off the front of `input`. Allocates no more than a small multiple of the bytes that are there.
    ///
    /// # Errors
    /// See [`DecodeError`]; how much of `input` was consumed is then unspecified.
    pub fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        let kind = codec::take_u8(input)?;
        Ok(match kind {
            _ if kind & VERSIONS != 0 => Self::Hello(Hello::decode(kind, input)?),
            kind::SAME => Self::Same,
            kind::BEGIN | kind::BEGIN_RECENT => {
                let count = codec::take_varint(input)?;
                let bits = opening_bits(count);
                let syndrome = unpack(codec::take_slice(input, packed_len(1, bits))?, 1, bits)?;
                let syndrome = syndrome.first().copied().ok_or(DecodeError::Truncated)?;
                Self::Begin { recent: kind == kind::BEGIN_RECENT, count, syndrome }
            }
            kind::ESTIMATE => Self::Estimate(Estimate::decode(input)?),
            kind::FILTER => Self::Filter(Filter::decode(input)?),
            kind::SKETCH => Self::Sketch(Sketch::decode(input)?),
            kind::ANSWER => Self::Answer { names: Names::decode(input)? },
            kind::SETTLED => Self::Settled { names: Names::decode(input)? },
            kind::PARTLY => {
                let more = codec::take_u8(input)?;
                let decoded = take_flags(input)?;
                if more > MAX_MORE {
                    return Err(DecodeError::TooLarge);
                }
                Self::Partly { more, decoded, names: Names::decode(input)? }
            }
            kind::EXTRA => {
                let len = codec::take_count(input, MAX_MESSAGE, 1)?;
                Self::Extra { packed: codec::take_slice(input, len)?.to_vec() }
            }
            kind::CHECK => Self::Check { sum: codec::take(input)?, short: false },
            kind::CHECK_SHORT => {
                let head: [u8; 5] = codec::take(input)?;
                let mut sum = [0; 8];
                sum.iter_mut().zip(head).for_each(|(to, from)| *to = from);
                Self::Check { sum, short: true }
            }
            kind::AGAIN => Self::Again,
            kind::LIST => Self::List { last: codec::take_bool(input)?, hashes: take_hashes(input)? },
            kind::LACK => Self::Lack { hashes: take_hashes(input)? },
            kind::IDS => Self::Ids { last: codec::take_bool(input)?, ids: take_ids(input)? },
            kind::RESUME => Self::Resume { taken: codec::take_varint(input)? },
            _ => return Err(DecodeError::Unknown),
        })
    }

    /// Appends the one encoding of this message.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Hello(hello) => hello.encode(out),
            Self::Same => out.push(kind::SAME),
            Self::Begin { recent, count, syndrome } => {
                out.push(if *recent { kind::BEGIN_RECENT } else { kind::BEGIN });
                codec::put_varint(out, *count);
                out.extend_from_slice(&pack(&[*syndrome], opening_bits(*count)));
            }
            Self::Estimate(estimate) => estimate.encode(out),
            Self::Filter(filter) => filter.encode(out),
            Self::Sketch(sketch) => sketch.encode(out),
            Self::Answer { names } => {
                out.push(kind::ANSWER);
                names.encode(out);
            }
            Self::Settled { names } => {
                out.push(kind::SETTLED);
                names.encode(out);
            }
            Self::Partly { more, decoded, names } => {
                out.extend_from_slice(&[kind::PARTLY, *more]);
                put_flags(out, decoded);
                names.encode(out);
            }
            Self::Extra { packed } => {
                out.push(kind::EXTRA);
                codec::put_varint(out, packed.len() as u64);
                out.extend_from_slice(packed);
            }
            Self::Check { sum, short: false } => {
                out.push(kind::CHECK);
                out.extend_from_slice(sum);
            }
            Self::Check { sum: [a, b, c, d, e, ..], short: true } => {
                out.extend_from_slice(&[kind::CHECK_SHORT, *a, *b, *c, *d, *e]);
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
            Self::Resume { taken } => {
                out.push(kind::RESUME);
                codec::put_varint(out, *taken);
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
        let salt = if first & SALTED == 0 { None } else { Some(codec::take(input)?) };
        let fingerprint = codec::take(input)?;
        let opening = if first & WITH_OPENING == 0 {
            None
        } else {
            Some((codec::take_varint(input)?, take_estimator(input)?))
        };
        let since = if first & SINCE == 0 { None } else { Some(codec::take_varint(input)?) };
        let mut extensions = Vec::new();
        if first & EXTENDED != 0 {
            let len = codec::take_count(input, MAX_EXTENSIONS, 1)?;
            if len == 0 {
                return Err(DecodeError::NonCanonical);
            }
            extensions.extend_from_slice(codec::take_slice(input, len)?);
        }
        let (version, want_ids) = (first & VERSIONS, first & WANT_IDS != 0);
        Ok(Self { version, want_ids, salt, fingerprint, opening, since, extensions })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let flag = |is_set: bool, bit: u8| if is_set { bit } else { 0 };
        out.push(
            flag(self.salt.is_some(), SALTED)
                | flag(!self.extensions.is_empty(), EXTENDED)
                | flag(self.want_ids, WANT_IDS)
                | flag(self.opening.is_some(), WITH_OPENING)
                | flag(self.since.is_some(), SINCE)
                | (self.version & VERSIONS),
        );
        out.extend_from_slice(self.salt.as_ref().map_or(&[], |salt| salt.as_slice()));
        out.extend_from_slice(&self.fingerprint);
        if let Some((count, estimator)) = &self.opening {
            codec::put_varint(out, *count);
            put_estimator(out, estimator);
        }
        if let Some(since) = self.since {
            codec::put_varint(out, since);
        }
        if !self.extensions.is_empty() {
            codec::put_varint(out, self.extensions.len() as u64);
            out.extend_from_slice(&self.extensions);
        }
    }
}

impl Estimate {
    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        let round = codec::take_u8(input)?;
        let salt = if round == 0 { None } else { Some(codec::take(input)?) };
        Ok(Self { round, salt, count: codec::take_varint(input)?, estimator: take_estimator(input)? })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&[kind::ESTIMATE, self.round]);
        out.extend_from_slice(self.salt.as_ref().map_or(&[], |salt| salt.as_slice()));
        codec::put_varint(out, self.count);
        put_estimator(out, &self.estimator);
    }
}

impl Filter {
    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        let slice = codec::take_varint_u32(input)?;
        let [level, hashes, reply] = codec::take(input)?;
        let salt = codec::take(input)?;
        let len = codec::take_count(input, MAX_SLICE, 1)?;
        let bits = codec::take_slice(input, len)?.to_vec();
        let small = level <= MAX_FILTER_LEVEL && hashes <= MAX_FILTER_HASHES && reply <= MAX_DENSITY;
        if !small || slice >> level != 0 {
            return Err(DecodeError::TooLarge);
        }
        if hashes == 0 && !bits.is_empty() {
            return Err(DecodeError::NonCanonical);
        }
        Ok(Self { slice, level, hashes, reply, salt, bits })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.push(kind::FILTER);
        codec::put_varint(out, u64::from(self.slice));
        out.extend_from_slice(&[self.level, self.hashes, self.reply]);
        out.extend_from_slice(&self.salt);
        codec::put_varint(out, self.bits.len() as u64);
        out.extend_from_slice(&self.bits);
    }
}

impl Sketch {
    fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        let [level, width, depth] = codec::take(input)?;
        let (bits, last) = (width & !LAST, width & LAST != 0);
        let first = codec::take_varint_u32(input)?;
        let parts = codec::take_count(input, MAX_PARTS, 1)?;
        let shaped = level <= MAX_LEVEL && (8..=32).contains(&bits) && depth <= MAX_DEPTH;
        let syndromes = parts * usize::from(depth);
        if !shaped || u64::from(first) + parts as u64 > 1 << level || syndromes > MAX_SYNDROMES {
            return Err(DecodeError::TooLarge);
        }
        if syndromes == 0 {
            return Err(DecodeError::NonCanonical);
        }
        let packed = codec::take_slice(input, packed_len(syndromes, bits))?;
        Ok(Self { level, bits, last, depth, first, syndromes: unpack(packed, syndromes, bits)? })
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let last = if self.last { LAST } else { 0 };
        out.extend_from_slice(&[kind::SKETCH, self.level, self.bits | last, self.depth]);
        codec::put_varint(out, u64::from(self.first));
        codec::put_varint(out, (self.syndromes.len() / usize::from(self.depth.max(1))) as u64);
        out.extend_from_slice(&pack(&self.syndromes, self.bits));
    }
}

/// A count and as many bits; not all are set.
fn take_flags(input: &mut &[u8]) -> Result<Vec<bool>, DecodeError> {
    let count = codec::take_count(input, MAX_PARTS, 0)?;
    let words = unpack(codec::take_slice(input, packed_len(count, 1))?, count, 1)?;
    let flags: Vec<bool> = words.into_iter().map(|word| word == 1).collect();
    if flags.iter().all(|&flag| flag) { Err(DecodeError::NonCanonical) } else { Ok(flags) }
}

fn put_flags(out: &mut Vec<u8>, flags: &[bool]) {
    codec::put_varint(out, flags.len() as u64);
    let words: Vec<u32> = flags.iter().map(|&flag| u32::from(flag)).collect();
    out.extend_from_slice(&pack(&words, 1));
}

fn take_estimator(input: &mut &[u8]) -> Result<[u16; ESTIMATOR_WORDS], DecodeError> {
    let mut words = [0; ESTIMATOR_WORDS];
    for word in &mut words {
        *word = u16::from_le_bytes(codec::take(input)?);
    }
    Ok(words)
}

fn put_estimator(out: &mut Vec<u8>, words: &[u16; ESTIMATOR_WORDS]) {
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

fn ascending<T: Ord>(items: Vec<T>) -> Result<Vec<T>, DecodeError> {
    if items.is_sorted_by(|a, b| a < b) { Ok(items) } else { Err(DecodeError::NonCanonical) }
}
