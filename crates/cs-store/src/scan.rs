//! Reading a segment from the disk when the store opens: every batch verified, and what fails told apart (STORE-7).

use crate::disk::DiskFile;
use crate::fault::OpenError;
use crate::format::{BATCH_HEADER, BatchHeader, SEGMENT_HEADER, SegmentHeader, find_batch_magic};
use std::io;

/// What stands at a point of a segment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// A batch that passes its check; it ends at `end`.
    Batch { header: BatchHeader, body: Vec<u8>, end: u32 },
    /// The end of the file, exactly here.
    End,
    /// Bytes that are no batch, up to the file's end: `later` is where the next batch passes its check, if any does.
    Broken { later: Option<u32>, size: u32 },
}

/// A segment being read.
#[derive(Debug)]
pub(crate) struct SegmentReader<F> {
    file: F,
    size: u32,
    number: u32,
    salt: [u8; 32],
}

impl<F: DiskFile> SegmentReader<F> {
    /// `None` in place of the header when it is missing, damaged or another segment's.
    ///
    /// # Errors
    /// [`OpenError::Newer`], and what the disk says.
    pub(crate) fn open(file: F, number: u32) -> Result<(Option<SegmentHeader>, Self), OpenError> {
        let size = u32::try_from(file.size()?).map_err(|_| OpenError::Io(io::ErrorKind::InvalidData))?;
        let mut header = None;
        if size >= SEGMENT_HEADER {
            let mut bytes = [0; SEGMENT_HEADER as usize];
            file.read_at(0, &mut bytes)?;
            if SegmentHeader::is_newer(&bytes) {
                return Err(OpenError::Newer);
            }
            header = SegmentHeader::decode(&bytes).filter(|header| header.number == number);
        }
        let salt = header.map_or([0; 32], |header| header.salt);
        Ok((header, Self { file, size, number, salt }))
    }

    /// For a segment whose own header is damaged: the salt of its neighbours.
    pub(crate) fn set_salt(&mut self, salt: [u8; 32]) {
        self.salt = salt;
    }

    pub(crate) fn size(&self) -> u32 {
        self.size
    }

    /// What stands at `offset`. A batch must have the number `expected` or, where
    /// salvage has left a gap, a higher one.
    pub(crate) fn next(&self, offset: u32, expected: u64) -> io::Result<Next> {
        if offset == self.size {
            return Ok(Next::End);
        }
        if let Some((header, body)) = self.batch_at(offset)?.filter(|(header, _)| header.number >= expected) {
            let end = offset + BATCH_HEADER as u32 + header.length;
            return Ok(Next::Batch { header, body, end });
        }
        Ok(Next::Broken { later: self.find_later(offset, expected)?, size: self.size })
    }

    /// The bytes of `from..to`, clamped to the file.
    pub(crate) fn bytes(&self, from: u32, to: u32) -> io::Result<Vec<u8>> {
        let to = to.min(self.size);
        let mut bytes = vec![0; to.saturating_sub(from) as usize];
        self.file.read_at(u64::from(from), &mut bytes)?;
        Ok(bytes)
    }

    fn batch_at(&self, offset: u32) -> io::Result<Option<(BatchHeader, Vec<u8>)>> {
        let body_at = offset.saturating_add(BATCH_HEADER as u32);
        let Some(header) = BatchHeader::decode(&self.bytes(offset, body_at)?) else { return Ok(None) };
        if header.length > self.size.saturating_sub(body_at) {
            return Ok(None);
        }
        let body = self.bytes(body_at, body_at + header.length)?;
        let sound = header.matches(&self.salt, self.number, offset, &body);
        Ok(sound.then_some((header, body)))
    }

    /// Only a batch that comes after `expected` counts: its own number at a later offset cannot occur.
    fn find_later(&self, offset: u32, expected: u64) -> io::Result<Option<u32>> {
        let rest = self.bytes(offset, self.size)?;
        let mut from = 1;
        while let Some(found) = find_batch_magic(&rest, from) {
            let candidate = offset + found as u32;
            let header = rest.get(found..).and_then(BatchHeader::decode).filter(|it| it.number > expected);
            if header.is_some() && self.batch_at(candidate)?.is_some() {
                return Ok(Some(candidate));
            }
            from = found + 1;
        }
        Ok(None)
    }
}
