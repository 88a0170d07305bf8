//! The index's file: what redb reads and writes, in blocks that carry a check each (STORE-10).
//!
//! redb verifies the checksums of its pages only when it repairs; a page that rots later may mislead it or make it
//! panic. Here every block is verified whenever it is read, and a bad one is an error that leads to a rebuild.

use crate::disk::DiskFile;
use redb::StorageBackend;
use std::io;

/// What redb sees as 4 KiB of file.
const BLOCK: usize = 4096;
/// The same on the disk: the block and its check.
const STORED: usize = BLOCK + 8;

/// A [`DiskFile`] as redb wants it.
#[derive(Debug)]
pub(crate) struct IndexFile<F> {
    file: F,
}

impl<F: DiskFile> IndexFile<F> {
    pub(crate) fn new(file: F) -> Self {
        Self { file }
    }

    /// Reads the blocks `first..first + count`, verified, without their checks.
    fn read_blocks(&self, first: u64, count: usize) -> io::Result<Vec<u8>> {
        let mut stored = vec![0; count * STORED];
        self.file.read_at(first * STORED as u64, &mut stored)?;
        let mut blocks = Vec::with_capacity(count * BLOCK);
        for (number, block) in (first..).zip(stored.chunks_exact(STORED)) {
            let (data, check) = block.split_at(BLOCK);
            if !is_sound(number, data, check) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "a block of the index fails its check",
                ));
            }
            blocks.extend_from_slice(data);
        }
        Ok(blocks)
    }

    fn write_blocks(&self, first: u64, blocks: &[u8]) -> io::Result<()> {
        let mut stored = Vec::with_capacity(blocks.len() / BLOCK * STORED);
        for (number, data) in (first..).zip(blocks.chunks_exact(BLOCK)) {
            stored.extend_from_slice(data);
            stored.extend_from_slice(&checksum(number, data));
        }
        self.file.write_at(first * STORED as u64, &stored)
    }
}

impl<F: DiskFile> StorageBackend for IndexFile<F> {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.size()? / STORED as u64 * BLOCK as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let (first, skip, count) = blocks_of(offset, out.len());
        let blocks = self.read_blocks(first, count)?;
        out.copy_from_slice(blocks.get(skip..skip + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if !len.is_multiple_of(BLOCK as u64) {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        self.file.set_size(len / BLOCK as u64 * STORED as u64)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let (first, skip, count) = blocks_of(offset, data.len());
        if skip == 0 && data.len() == count * BLOCK {
            return self.write_blocks(first, data);
        }
        let mut blocks = self.read_blocks(first, count)?;
        let target = blocks.get_mut(skip..skip + data.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        target.copy_from_slice(data);
        self.write_blocks(first, &blocks)
    }
}

/// The first block, the bytes to skip in it, and how many blocks `length` bytes at `offset` touch.
fn blocks_of(offset: u64, length: usize) -> (u64, usize, usize) {
    let skip = (offset % BLOCK as u64) as usize;
    (offset / BLOCK as u64, skip, (skip + length).div_ceil(BLOCK))
}

/// Block 0 is redb's header, which is overwritten in place with two slots that carry their own checksums: one that
/// was torn must reach redb. A block that was never written is all zeros.
fn is_sound(number: u64, data: &[u8], check: &[u8]) -> bool {
    number == 0 || check == checksum(number, data) || (check == [0; 8] && data.iter().all(|byte| *byte == 0))
}

/// Bound to the block's number, so that a block written to a wrong place is noticed too.
fn checksum(number: u64, data: &[u8]) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(data).update(&number.to_le_bytes());
    *hasher.finalize().as_bytes().first_chunk().expect("a hash has 32 bytes")
}
