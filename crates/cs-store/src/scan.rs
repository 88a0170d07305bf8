//! Reading a segment from the disk when the store opens: every batch verified, and what fails told apart (STORE-7).
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

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

    /// What stands at `offset` (STORE-4). A batch must have the number `expected` or, where
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Disk;
    use crate::format::{Batch, Kind};
    use crate::log::segment_name;
    use crate::{MemDisk, OpenOptions, Store};

    const SALT: [u8; 32] = [5; 32];

    /// A disk with one segment of one batch: number `number`, one record of `kind`.
    fn disk_with(number: u64, kind: u8) -> MemDisk {
        let mut batch = Batch::default();
        batch.push(Kind::LocalRemove, &[b"key"]);
        let mut body = batch.body().to_vec();
        body[0] = kind;
        let header = SegmentHeader { number: 0, generation: 0, first_batch: 0, salt: SALT };
        let batch = BatchHeader::new(&SALT, 0, SEGMENT_HEADER, number, 1, &body);
        let disk = MemDisk::new();
        let file = disk.open(&segment_name(0)).unwrap();
        file.write_at(0, &[header.encode().as_slice(), &batch.encode(), &body].concat()).unwrap();
        disk
    }

    /// STORE-4.
    #[test]
    fn a_batch_with_a_number_that_has_passed_is_none() {
        let file = disk_with(6, Kind::LocalRemove as u8).open(&segment_name(0)).unwrap();
        let (header, reader) = SegmentReader::open(file, 0).unwrap();
        assert_eq!(header.map(|header| header.salt), Some(SALT));
        assert!(matches!(reader.next(SEGMENT_HEADER, 6).unwrap(), Next::Batch { .. }));
        assert!(matches!(reader.next(SEGMENT_HEADER, 5).unwrap(), Next::Batch { .. }));
        assert!(matches!(reader.next(SEGMENT_HEADER, 7).unwrap(), Next::Broken { later: None, .. }));
    }

    /// STORE-3.
    #[test]
    fn a_record_of_an_unknown_kind_is_left_to_a_later_version() {
        assert!(Store::open(disk_with(0, Kind::LocalRemove as u8), OpenOptions::default()).is_ok());
        let error = Store::open(disk_with(0, 9), OpenOptions::default()).err();
        assert_eq!(error, Some(OpenError::Newer));
    }
}
