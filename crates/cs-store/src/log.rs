//! The log: numbered segments of batches, appended and synced one batch at a time (STORE-1 to STORE-6).

use crate::disk::{Disk, DiskFile};
use crate::format::{BATCH_HEADER, Batch, BatchHeader, Place, SEGMENT_HEADER, SegmentHeader};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// Open files that the log keeps at most, the current one apart.
const MAX_OPEN_SEGMENTS: usize = 32;
const PREFIX: &str = "log-";

/// A point between two batches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position {
    pub(crate) segment: u32,
    pub(crate) offset: u32,
    /// The number of the batch that begins here.
    pub(crate) batch: u64,
}

/// Why a batch could not be made durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AppendFault {
    /// No room; the log is as before, and the same batch may be tried again.
    Full,
    /// The disk failed in a way after which nothing is known of the batch: no further append is accepted.
    Failed(io::ErrorKind),
}

/// The append-only log. It knows batches and places; what the records mean is the store's business.
#[derive(Debug)]
pub(crate) struct Log<D: Disk> {
    disk: D,
    salt: [u8; 32],
    segment_limit: u32,
    files: Mutex<BTreeMap<u32, Arc<D::File>>>,
    tail: Position,
    /// Set by a failure whose effect on the disk is unknown.
    failed: Option<io::ErrorKind>,
    /// Bytes in full segments, and so not in the current one.
    earlier_bytes: u64,
}

impl<D: Disk> Log<D> {
    /// A log whose next batch goes to `tail`, in segments that exist up to `tail.segment`.
    pub(crate) fn at(
        disk: D,
        salt: [u8; 32],
        segment_limit: u32,
        tail: Position,
        earlier_bytes: u64,
    ) -> Self {
        let files = Mutex::new(BTreeMap::new());
        Self { disk, salt, segment_limit, files, tail, failed: None, earlier_bytes }
    }

    /// Creates the segment that `header` names, durably: content first, then the name.
    pub(crate) fn create_segment(disk: &D, header: &SegmentHeader) -> io::Result<()> {
        let file = disk.open(&segment_name(header.number))?;
        file.set_size(0)?;
        file.write_at(0, &header.encode())?;
        file.sync()?;
        disk.sync_names()
    }

    /// Where the next batch begins: in the current segment, or in a new one when that is full. It stays so until the
    /// next append, which is what lets a record know its place before it is written.
    pub(crate) fn next_batch(&self) -> Position {
        if self.tail.offset < self.segment_limit {
            return self.tail;
        }
        Position {
            segment: self.tail.segment.saturating_add(1),
            offset: SEGMENT_HEADER,
            batch: self.tail.batch,
        }
    }

    /// Where the payload that begins at `start` of the coming batch's body will lie.
    pub(crate) fn place(&self, start: usize, length: usize) -> Place {
        let position = self.next_batch();
        let offset = position.offset + BATCH_HEADER as u32 + start as u32;
        Place { segment: position.segment, offset, length: length as u32 }
    }

    /// Appends the batch and makes it durable: one write and one `fdatasync` (STORE-5).
    pub(crate) fn append(&mut self, batch: &Batch) -> Result<(), AppendFault> {
        if let Some(kind) = self.failed {
            return Err(AppendFault::Failed(kind));
        }
        let position = self.next_batch();
        self.append_at(position, batch, true).map_err(|error| self.recover_from(&error))
    }

    /// Appends an empty batch without waiting for the disk: its presence proves that what precedes it was durable, so
    /// that later damage there is told from a torn tail (STORE-7).
    pub(crate) fn seal(&mut self) -> Result<(), AppendFault> {
        if let Some(kind) = self.failed {
            return Err(AppendFault::Failed(kind));
        }
        let tail = self.tail;
        if tail.offset >= self.segment_limit {
            // A full segment stays as it is: the next one proves the same.
            return Ok(());
        }
        self.append_at(tail, &Batch::default(), false).map_err(|error| self.recover_from(&error))
    }

    fn append_at(&mut self, position: Position, batch: &Batch, durable: bool) -> io::Result<()> {
        if position.segment != self.tail.segment {
            let header = SegmentHeader {
                number: position.segment,
                generation: 0,
                first_batch: position.batch,
                salt: self.salt,
            };
            Self::create_segment(&self.disk, &header)?;
            self.earlier_bytes += u64::from(self.tail.offset);
            self.tail = position;
        }
        let header = BatchHeader::new(
            &self.salt,
            position.segment,
            position.offset,
            position.batch,
            batch.count(),
            batch.body(),
        );
        let mut bytes = Vec::with_capacity(BATCH_HEADER + batch.body().len());
        bytes.extend_from_slice(&header.encode());
        bytes.extend_from_slice(batch.body());
        let file = self.file(position.segment)?;
        file.write_at(u64::from(position.offset), &bytes)?;
        if durable {
            file.sync()?;
        }
        self.tail =
            Position { offset: position.offset + bytes.len() as u32, batch: position.batch + 1, ..position };
        Ok(())
    }

    /// After a full disk the file is cut back to the last batch. Every other failure, and one to cut, is final: a sync
    /// that failed once may succeed the next time without having written anything.
    fn recover_from(&mut self, error: &io::Error) -> AppendFault {
        let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
        let cut = || self.file(self.tail.segment)?.set_size(u64::from(self.tail.offset));
        if full && cut().is_ok() {
            return AppendFault::Full;
        }
        self.failed = Some(error.kind());
        AppendFault::Failed(error.kind())
    }

    /// The bytes at a place of a durable batch, unverified.
    pub(crate) fn read(&self, place: Place) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; place.length as usize];
        self.file(place.segment)?.read_at(u64::from(place.offset), &mut bytes)?;
        Ok(bytes)
    }

    pub(crate) fn tail(&self) -> Position {
        self.tail
    }

    pub(crate) fn salt(&self) -> &[u8; 32] {
        &self.salt
    }

    pub(crate) fn disk(&self) -> &D {
        &self.disk
    }

    /// The length of all segments together.
    pub(crate) fn bytes(&self) -> u64 {
        self.earlier_bytes + u64::from(self.tail.offset)
    }

    fn file(&self, segment: u32) -> io::Result<Arc<D::File>> {
        let mut files = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = files.get(&segment) {
            return Ok(Arc::clone(file));
        }
        if files.len() >= MAX_OPEN_SEGMENTS {
            files.pop_first();
        }
        let file = Arc::new(self.disk.open(&segment_name(segment))?);
        files.insert(segment, Arc::clone(&file));
        Ok(file)
    }
}

/// The file of a segment.
pub(crate) fn segment_name(number: u32) -> String {
    format!("{PREFIX}{number:08}")
}

/// The segments among the names of a disk, ascending.
pub(crate) fn segment_numbers(names: &[String]) -> Vec<u32> {
    let number = |name: &String| {
        let number = name.strip_prefix(PREFIX)?.parse().ok()?;
        (segment_name(number) == *name).then_some(number)
    };
    let mut numbers: Vec<u32> = names.iter().filter_map(number).collect();
    numbers.sort_unstable();
    numbers
}
