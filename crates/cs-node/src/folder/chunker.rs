//! Content-defined chunks: where a file is cut depends on the bytes around the cut, so an insertion moves no chunk behind it.
//!
//! FastCDC (Xia et al., 2020) as in the crate `fastcdc`, with a gear table drawn from the space's chunk key instead of the
//! published one: the lengths of chunks, which a blind node sees, then say nothing about known files.

use cs_crypto::epoch::chunk_id;

use super::content::{ChunkList, ChunkRef, Content};
use super::vfs::{VfsError, VfsFile};
use super::wire::encode_refs;

const MIN: usize = 16 * 1024;
const AVERAGE: usize = 64 * 1024;
const MAX: usize = ChunkRef::MAX_LEN as usize;
/// Masks of FastCDC's normalisation level 1 for an average of 64 KiB: harder to match before the average, easier after.
const HARD: u64 = fastcdc::v2020::MASKS[17];
const EASY: u64 = fastcdc::v2020::MASKS[15];
/// How much of a file is in memory at a time.
const BUFFER: usize = 1024 * 1024;

/// The key of a space that names chunks and decides where they end.
#[derive(Clone)]
pub struct ChunkKey {
    key: [u8; 32],
    gear: Box<[u64; 256]>,
    gear_shifted: Box<[u64; 256]>,
}

impl ChunkKey {
    /// Takes the key and draws the gear table from it.
    pub fn new(key: [u8; 32]) -> Self {
        let mut stream = blake3::Hasher::new_keyed(&key);
        stream.update(b"cosync chunk gear v1");
        let mut reader = stream.finalize_xof();
        let mut gear = Box::new([0; 256]);
        for value in gear.iter_mut() {
            let mut bytes = [0; 8];
            reader.fill(&mut bytes);
            *value = u64::from_le_bytes(bytes);
        }
        let gear_shifted = Box::new(gear.map(|value| value << 1));
        Self { key, gear, gear_shifted }
    }

    /// The name of a chunk.
    pub fn id(&self, bytes: &[u8]) -> [u8; 32] {
        chunk_id(&self.key, bytes)
    }

    /// The reference to a chunk.
    pub(crate) fn reference(&self, bytes: &[u8]) -> ChunkRef {
        ChunkRef { id: self.id(bytes), len: bytes.len() as u32 }
    }

    /// The length of the first chunk of `bytes`, which holds [`MAX`] bytes or everything up to the end.
    fn cut(&self, bytes: &[u8]) -> usize {
        let (_, length) = fastcdc::v2020::cut_gear(
            bytes,
            MIN,
            AVERAGE,
            MAX,
            HARD,
            EASY,
            HARD << 1,
            EASY << 1,
            self.gear.as_slice(),
            self.gear_shifted.as_slice(),
        );
        length
    }

    /// All the chunks of bytes that are in memory.
    pub(crate) fn chunks<'a>(&self, mut bytes: &'a [u8]) -> Vec<(ChunkRef, &'a [u8])> {
        let mut chunks = Vec::new();
        while !bytes.is_empty() {
            let (chunk, rest) = bytes.split_at(self.cut(bytes));
            chunks.push((self.reference(chunk), chunk));
            bytes = rest;
        }
        chunks
    }

    /// The list as it travels for a file of these chunks, and the chunks of the encoded list when it is indirect.
    pub(crate) fn list(&self, refs: &[ChunkRef]) -> (ChunkList, Vec<(ChunkRef, Vec<u8>)>) {
        if refs.len() <= ChunkList::MAX_INLINE {
            return (ChunkList::Inline(refs.to_vec()), Vec::new());
        }
        let mut encoded = Vec::new();
        encode_refs(refs, &mut encoded);
        let chunks = self.chunks(&encoded);
        let blobs: Vec<_> = chunks.into_iter().map(|(chunk, bytes)| (chunk, bytes.to_vec())).collect();
        (ChunkList::Indirect(blobs.iter().map(|(chunk, _)| *chunk).collect()), blobs)
    }
}

impl core::fmt::Debug for ChunkKey {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ChunkKey(..)")
    }
}

/// Cuts and names the chunks of a file that is read bit by bit: 1 MiB of it is in memory, and its references.
#[derive(Debug)]
pub(crate) struct Chunker {
    buffer: Vec<u8>,
    /// The part of `buffer` that is read and not cut yet.
    start: usize,
    end: usize,
    offset: u64,
    refs: Vec<ChunkRef>,
}

impl Chunker {
    pub(crate) fn new(size_expected: u64) -> Self {
        let room = usize::try_from(size_expected).map_or(BUFFER, |size| size.saturating_add(1).min(BUFFER));
        Self { buffer: vec![0; room], start: 0, end: 0, offset: 0, refs: Vec::new() }
    }

    /// Reads and cuts about `budget` bytes more. True when the end was reached.
    pub(crate) fn step(
        &mut self,
        key: &ChunkKey,
        file: &impl VfsFile,
        budget: u64,
    ) -> Result<bool, VfsError> {
        let until = self.offset.saturating_add(budget.max(1));
        loop {
            let at_end = self.fill(file)?;
            while self.end - self.start >= MAX || at_end && self.start < self.end {
                let bytes = self.buffer.get(self.start..self.end).unwrap_or_default();
                let chunk = bytes.get(..key.cut(bytes)).unwrap_or_default();
                self.refs.push(key.reference(chunk));
                self.start += chunk.len();
            }
            if at_end || self.offset >= until {
                return Ok(at_end);
            }
        }
    }

    /// Bytes read so far.
    pub(crate) fn read(&self) -> u64 {
        self.offset
    }

    /// The chunks in order and the bytes they make up, once the end was reached.
    pub(crate) fn finish(self) -> (u64, Vec<ChunkRef>) {
        (self.offset, self.refs)
    }

    fn fill(&mut self, file: &impl VfsFile) -> Result<bool, VfsError> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        let wanted = room.len();
        let read = file.read_at(self.offset, room)?;
        self.end += read;
        self.offset += read as u64;
        if read == wanted && self.buffer.len() < BUFFER {
            self.buffer.resize(BUFFER, 0);
        }
        if self.offset > Content::MAX_FILE_BYTES {
            return Err(VfsError::Unsupported);
        }
        Ok(read < wanted)
    }
}

#[cfg(test)]
mod tests {
    use rand_like::noise;

    use super::*;

    mod rand_like {
        /// Bytes without a pattern, the same for the same seed.
        pub(crate) fn noise(seed: u8, len: usize) -> Vec<u8> {
            let mut bytes = vec![0; len];
            blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof().fill(&mut bytes);
            bytes
        }
    }

    struct Bytes(Vec<u8>);

    impl VfsFile for Bytes {
        fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, VfsError> {
            let rest = self.0.get(offset as usize..).unwrap_or_default();
            let read = rest.len().min(into.len());
            into[..read].copy_from_slice(&rest[..read]);
            Ok(read)
        }
        fn write_at(&self, _: u64, _: &[u8]) -> Result<(), VfsError> {
            Err(VfsError::ReadOnly)
        }
        fn set_len(&self, _: u64) -> Result<(), VfsError> {
            Err(VfsError::ReadOnly)
        }
        fn set_meta(&self, _: u32, _: i64) -> Result<(), VfsError> {
            Err(VfsError::ReadOnly)
        }
        fn stat(&self) -> Result<crate::folder::Stat, VfsError> {
            Err(VfsError::Unsupported)
        }
    }

    #[test]
    fn chunks_of_a_stream_are_the_chunks_of_the_bytes_whatever_the_steps() {
        let key = ChunkKey::new([7; 32]);
        for len in [0, 1, MIN, MAX, MAX + 1, BUFFER - 1, BUFFER, BUFFER + 1, 3 * BUFFER + 12345] {
            let file = Bytes(noise(1, len));
            let whole: Vec<_> = key.chunks(&file.0).into_iter().map(|(chunk, _)| chunk).collect();
            for (expected, budget) in [(0, 1), (len as u64, u64::MAX), (len as u64 / 2, 1 << 20)] {
                let mut chunker = Chunker::new(expected);
                while !chunker.step(&key, &file, budget).expect("memory") {}
                assert_eq!(chunker.finish(), (len as u64, whole.clone()), "{len} {expected} {budget}");
            }
        }
    }

    #[test]
    fn an_insertion_changes_the_chunks_around_it_and_no_others() {
        let key = ChunkKey::new([7; 32]);
        let mut bytes = noise(2, 4 << 20);
        let before: Vec<_> = key.chunks(&bytes).into_iter().map(|(chunk, _)| chunk).collect();
        bytes.splice(1 << 20..1 << 20, *b"inserted");
        let after: Vec<_> = key.chunks(&bytes).into_iter().map(|(chunk, _)| chunk).collect();
        let fresh = after.iter().filter(|chunk| !before.contains(chunk)).count();
        assert!((1..=3).contains(&fresh), "{fresh} of {}", after.len());
    }

    #[test]
    fn chunks_keep_to_their_limits_and_are_about_64_kib() {
        let key = ChunkKey::new([9; 32]);
        let bytes = noise(3, 16 << 20);
        let chunks = key.chunks(&bytes);
        assert!(chunks.iter().all(|(chunk, bytes)| chunk.len as usize == bytes.len() && bytes.len() <= MAX));
        assert!(chunks.iter().rev().skip(1).all(|(_, bytes)| bytes.len() >= MIN));
        let average = bytes.len() / chunks.len();
        assert!((48 << 10..96 << 10).contains(&average), "{average}");
    }

    #[test]
    fn another_key_cuts_elsewhere() {
        let bytes = noise(4, 4 << 20);
        let lengths = |key: [u8; 32]| -> Vec<_> {
            ChunkKey::new(key).chunks(&bytes).into_iter().map(|(chunk, _)| chunk.len).collect()
        };
        assert_ne!(lengths([1; 32]), lengths([2; 32]));
    }
}
