//! The bytes of the log (STORE-1 to STORE-4): segment headers, batches and the records inside them. Pure functions.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

/// Bytes before the first batch of a segment.
pub(crate) const SEGMENT_HEADER: u32 = 64;
/// Bytes before the records of a batch.
pub(crate) const BATCH_HEADER: usize = 36;
/// Bytes before the payload of a record.
pub(crate) const RECORD_HEADER: usize = 5;
/// The most bytes of records that one batch carries: it is held in memory until it is durable, and read back whole.
pub const MAX_BATCH: usize = 8 * 1024 * 1024;

const SEGMENT_MAGIC: [u8; 8] = *b"cs-log\0\x01";
const BATCH_MAGIC: [u8; 4] = *b"CSb1";

/// What a record holds. The numbers are on disk (STORE-3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A signed control statement.
    Statement = 1,
    /// A signed operation.
    Operation = 2,
    /// A local fact: two bytes of key length, key, value.
    LocalPut = 3,
    /// The removal of a local fact: its key.
    LocalRemove = 4,
}

impl Kind {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Statement, Self::Operation, Self::LocalPut, Self::LocalRemove]
            .into_iter()
            .find(|kind| *kind as u8 == byte)
    }

    /// Whether a record proves itself by a signature, so that it may be taken from among damaged bytes (STORE-8).
    pub(crate) fn is_signed(self) -> bool {
        matches!(self, Self::Statement | Self::Operation)
    }
}

/// Where the payload of a record lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
    pub(crate) length: u32,
}

/// The first 64 bytes of a segment (STORE-1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) number: u32,
    /// How often the segment was written anew, by salvage or compaction.
    pub(crate) generation: u32,
    pub(crate) first_batch: u64,
    pub(crate) salt: [u8; 32],
}

impl SegmentHeader {
    pub(crate) fn encode(&self) -> [u8; SEGMENT_HEADER as usize] {
        let mut bytes = [0; SEGMENT_HEADER as usize];
        let fields: [&[u8]; 5] = [
            &SEGMENT_MAGIC,
            &self.number.to_le_bytes(),
            &self.generation.to_le_bytes(),
            &self.first_batch.to_le_bytes(),
            &self.salt,
        ];
        put_all(&mut bytes, &fields);
        let check = first_bytes::<8>(&blake3::keyed_hash(&self.salt, bytes.split_at(56).0));
        bytes.split_at_mut(56).1.copy_from_slice(&check);
        bytes
    }

    /// Whether the bytes are a header of a format that this version does not know. A single rotten version byte is
    /// told apart: with the known one in its place the header passes its check.
    pub(crate) fn is_newer(bytes: &[u8; SEGMENT_HEADER as usize]) -> bool {
        let (Some(magic), Some(version)) = (bytes.get(..7), bytes.get(7)) else { return false };
        let mut ours = *bytes;
        ours.split_at_mut(8).0.copy_from_slice(&SEGMENT_MAGIC);
        magic == SEGMENT_MAGIC.split_at(7).0 && *version > 1 && Self::decode(&ours).is_none()
    }

    /// `None` when the bytes are not a header of this format.
    pub(crate) fn decode(bytes: &[u8; SEGMENT_HEADER as usize]) -> Option<Self> {
        let header = Self {
            number: u32::from_le_bytes(field(bytes, 8)?),
            generation: u32::from_le_bytes(field(bytes, 12)?),
            first_batch: u64::from_le_bytes(field(bytes, 16)?),
            salt: field(bytes, 24)?,
        };
        (header.encode() == *bytes).then_some(header)
    }
}

/// The header of a batch (STORE-2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) length: u32,
    pub(crate) count: u32,
    pub(crate) number: u64,
    check: [u8; 16],
}

impl BatchHeader {
    /// The header for `body`, which is to lie at `offset` (of the header) in the segment.
    pub(crate) fn new(
        salt: &[u8; 32],
        segment: u32,
        offset: u32,
        number: u64,
        count: u32,
        body: &[u8],
    ) -> Self {
        let mut header = Self { length: body.len() as u32, count, number, check: [0; 16] };
        header.check = header.checksum(salt, segment, offset, body);
        header
    }

    pub(crate) fn encode(&self) -> [u8; BATCH_HEADER] {
        let mut bytes = [0; BATCH_HEADER];
        let fields: [&[u8]; 5] = [
            &BATCH_MAGIC,
            &self.length.to_le_bytes(),
            &self.count.to_le_bytes(),
            &self.number.to_le_bytes(),
            &self.check,
        ];
        put_all(&mut bytes, &fields);
        bytes
    }

    /// `None` when the bytes cannot begin a batch. The body is not looked at: see [`BatchHeader::matches`].
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let header = Self {
            length: u32::from_le_bytes(field(bytes, 4)?),
            count: u32::from_le_bytes(field(bytes, 8)?),
            number: u64::from_le_bytes(field(bytes, 12)?),
            check: field(bytes, 20)?,
        };
        let plausible = header.length as usize <= MAX_BATCH && header.count <= header.length;
        (field::<4>(bytes, 0)? == BATCH_MAGIC && plausible).then_some(header)
    }

    pub(crate) fn matches(&self, salt: &[u8; 32], segment: u32, offset: u32, body: &[u8]) -> bool {
        body.len() == self.length as usize && self.checksum(salt, segment, offset, body) == self.check
    }

    /// Keyed by the log's salt, so that bytes of a peer cannot pass for a batch; bound to the place, so that a batch
    /// that lands elsewhere does not pass either.
    fn checksum(&self, salt: &[u8; 32], segment: u32, offset: u32, body: &[u8]) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_keyed(salt);
        hasher.update(&segment.to_le_bytes()).update(&offset.to_le_bytes());
        hasher.update(self.encode().split_at(20).0).update(body);
        first_bytes(&hasher.finalize())
    }
}

/// Where the search for the next valid batch in damaged bytes may try: the next magic at or after `from`.
pub(crate) fn find_batch_magic(bytes: &[u8], from: usize) -> Option<usize> {
    let rest = bytes.get(from..)?;
    rest.windows(BATCH_MAGIC.len()).position(|window| window == BATCH_MAGIC).map(|found| from + found)
}

/// Records on their way into one batch.
#[derive(Debug, Clone, Default)]
pub(crate) struct Batch {
    body: Vec<u8>,
    count: u32,
}

impl Batch {
    /// Adds a record and says where its payload begins in the body; `None` when the batch has no room for it.
    pub(crate) fn push(&mut self, kind: Kind, payload: &[&[u8]]) -> Option<usize> {
        let length: usize = payload.iter().map(|part| part.len()).sum();
        if self.body.len() + RECORD_HEADER + length > MAX_BATCH {
            return None;
        }
        self.body.push(kind as u8);
        self.body.extend_from_slice(&(length as u32).to_le_bytes());
        let start = self.body.len();
        payload.iter().for_each(|part| self.body.extend_from_slice(part));
        self.count += 1;
        Some(start)
    }

    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// One record of a batch, as it lies in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// As on disk: a number that this version does not know is for the reader to refuse.
    pub(crate) kind: u8,
    /// Of the payload, from the body's start.
    pub(crate) start: usize,
    pub(crate) payload: &'a [u8],
}

/// The records of a body; `None` for one whose lengths do not fit, which then ends the iteration.
pub(crate) fn records(body: &[u8]) -> impl Iterator<Item = Option<Record<'_>>> {
    let mut at = 0;
    core::iter::from_fn(move || {
        if at >= body.len() {
            return None;
        }
        let record = record_at(body, at);
        at = record.map_or(body.len(), |record| record.start + record.payload.len());
        Some(record)
    })
}

/// The record whose header begins at `at`.
pub(crate) fn record_at(body: &[u8], at: usize) -> Option<Record<'_>> {
    let kind = *body.get(at)?;
    let length = u32::from_le_bytes(field(body, at + 1)?) as usize;
    let start = at + RECORD_HEADER;
    Some(Record { kind, start, payload: body.get(start..start.checked_add(length)?)? })
}

/// Splits the payload of a [`Kind::LocalPut`] into key and value.
pub(crate) fn split_local(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let length = u16::from_le_bytes(field(payload, 0)?) as usize;
    payload.get(2..)?.split_at_checked(length)
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk::<N>().copied()
}

fn first_bytes<const N: usize>(hash: &blake3::Hash) -> [u8; N] {
    *hash.as_bytes().first_chunk::<N>().expect("a hash has 32 bytes, and no check is longer")
}

/// Lays `fields` one after another; they fit by the layouts above.
fn put_all(mut out: &mut [u8], fields: &[&[u8]]) {
    for bytes in fields {
        let (head, tail) = out.split_at_mut(bytes.len());
        head.copy_from_slice(bytes);
        out = tail;
    }
}
