//! The index: ordered bytes to bytes, in three layers.
//!
//! `staged` belongs to the batch being gathered, `pending` to batches that are durable in the log but not yet in the
//! index file, and redb holds the rest. The log is the truth: a crash loses the two layers in memory, and the next
//! start replays the log from the position that the last checkpoint recorded. So a commit writes nothing here, and redb
//! pays its page writes once a checkpoint, in key order, instead of once a batch.

use crate::disk::DiskFile;
use crate::index_file::IndexFile;
use core::ops::Bound;
use redb::{Database, Durability, ReadOnlyTable, ReadableDatabase, TableDefinition};
use std::collections::BTreeMap;
use std::collections::btree_map;

type Bytes = Box<[u8]>;
/// Bytes that an entry of a layer costs beside its content: two allocations and its share of a tree node, roughly.
const ENTRY: usize = 80;

fn weight(key: &Bytes, value: Option<&Bytes>) -> usize {
    key.len() + value.map_or(0, |value| value.len()) + ENTRY
}

/// `None` hides what a layer below holds.
type Layer = BTreeMap<Bytes, Option<Bytes>>;
type Table = ReadOnlyTable<&'static [u8], &'static [u8]>;

const TABLE: TableDefinition<'static, &'static [u8], &'static [u8]> = TableDefinition::new("index");

/// The index file cannot be used: unreadable, corrupt or unwritable. The log has all that it held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IndexFault {
    /// The disk refused for want of room.
    Full,
    /// Anything else.
    Damaged,
}

impl<E: Into<redb::Error>> From<E> for IndexFault {
    fn from(error: E) -> Self {
        match error.into() {
            redb::Error::Io(error) if error.kind() == std::io::ErrorKind::StorageFull => Self::Full,
            _ => Self::Damaged,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Index {
    staged: Layer,
    pending: Layer,
    /// Approximate heap bytes of `pending`.
    pending_bytes: usize,
    /// `None` after a failure: redb refuses all work then until it is opened again.
    stored: Option<Stored>,
}

/// What is in the file.
struct Stored {
    /// As of the last checkpoint; `None` only inside one, since a reader keeps freed pages from being used again.
    table: Option<Table>,
    database: Database,
}

impl core::fmt::Debug for Stored {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Stored").finish_non_exhaustive()
    }
}

impl Index {
    /// Opens the index in `file`, creating it in an empty one.
    pub(crate) fn open<F: DiskFile>(file: F, cache_bytes: usize) -> Result<Self, IndexFault> {
        let stored = Some(Stored::open(file, cache_bytes)?);
        Ok(Self { staged: Layer::new(), pending: Layer::new(), pending_bytes: 0, stored })
    }

    /// Opens the file again after a failure; the layers in memory stay.
    pub(crate) fn reopen<F: DiskFile>(&mut self, file: F, cache_bytes: usize) -> Result<(), IndexFault> {
        self.stored = None;
        self.stored = Some(Stored::open(file, cache_bytes)?);
        Ok(())
    }

    fn table(&self) -> Result<&Table, IndexFault> {
        self.stored.as_ref().and_then(|stored| stored.table.as_ref()).ok_or(IndexFault::Damaged)
    }

    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) {
        self.staged.insert(key.into(), Some(value.into()));
    }

    pub(crate) fn remove(&mut self, key: &[u8]) {
        self.staged.insert(key.into(), None);
    }

    /// The value, as `read` sees it.
    pub(crate) fn read<T>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, IndexFault> {
        if let Some(value) = self.staged.get(key).or_else(|| self.pending.get(key)) {
            return Ok(value.as_ref().map(|value| read(value)));
        }
        Ok(self.table()?.get(key)?.map(|guard| read(guard.value())))
    }

    pub(crate) fn contains(&self, key: &[u8]) -> Result<bool, IndexFault> {
        Ok(self.read(key, |_| ())?.is_some())
    }

    /// The entries with keys in `from..to`, ascending.
    pub(crate) fn scan(&self, from: &[u8], to: &[u8]) -> Result<Scan<'_>, IndexFault> {
        let bounds = (Bound::Included(from), Bound::Excluded(to));
        Ok(Scan {
            stored: StoredRange::new(self.table()?.range::<&[u8]>(from..to)?),
            pending: self.pending.range::<[u8], _>(bounds).peekable(),
            staged: self.staged.range::<[u8], _>(bounds).peekable(),
        })
    }

    /// The batch is durable in the log.
    pub(crate) fn commit_staged(&mut self) {
        for (key, value) in core::mem::take(&mut self.staged) {
            // Most removals are of what came since the last checkpoint: they leave nothing behind.
            let replaced = if value.is_none() && self.is_certainly_unstored(&key) {
                self.pending.remove(&key).map(|old| weight(&key, old.as_ref()))
            } else {
                self.pending_bytes += weight(&key, value.as_ref());
                let key_length = key.len();
                let old = self.pending.insert(key, value);
                old.map(|old| key_length + ENTRY + old.map_or(0, |old| old.len()))
            };
            self.pending_bytes = self.pending_bytes.saturating_sub(replaced.unwrap_or(0));
        }
    }

    fn is_certainly_unstored(&self, key: &[u8]) -> bool {
        self.table().is_ok_and(|table| matches!(table.get(key), Ok(None)))
    }

    pub(crate) fn drop_staged(&mut self) {
        self.staged.clear();
    }

    pub(crate) fn pending_bytes(&self) -> usize {
        self.pending_bytes
    }

    /// Writes the pending layer into redb, durably. On an error the layer stays, nothing is lost, and the file must be
    /// opened again before it can be read.
    pub(crate) fn checkpoint(&mut self) -> Result<(), IndexFault> {
        let mut stored = self.stored.take().ok_or(IndexFault::Damaged)?;
        stored.write(&self.pending)?;
        self.stored = Some(stored);
        self.pending.clear();
        self.pending_bytes = 0;
        Ok(())
    }
}

impl Stored {
    fn open<F: DiskFile>(file: F, cache_bytes: usize) -> Result<Self, IndexFault> {
        let database = Database::builder()
            .set_cache_size(cache_bytes)
            .create_with_backend(IndexFile::new(file))
            .map_err(|error| IndexFault::from(redb::Error::from(error)))?;
        let mut stored = Self { table: None, database };
        match stored.open_table() {
            Ok(table) => stored.table = Some(table),
            // The only other reason is a table that does not exist yet; the write says if it is a worse one.
            Err(_) => stored.write(&Layer::new())?,
        }
        Ok(stored)
    }

    fn write(&mut self, layer: &Layer) -> Result<(), IndexFault> {
        self.table = None;
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(Durability::Immediate).map_err(|_| IndexFault::Damaged)?;
        transaction.set_quick_repair(true);
        {
            let mut table = transaction.open_table(TABLE)?;
            for (key, value) in layer {
                match value {
                    Some(value) => table.insert(&**key, &**value)?,
                    None => table.remove(&**key)?,
                };
            }
        }
        transaction.commit()?;
        self.table = Some(self.open_table()?);
        Ok(())
    }

    fn open_table(&self) -> Result<Table, IndexFault> {
        Ok(self.database.begin_read()?.open_table(TABLE)?)
    }
}

/// Ascending entries of a range of the index, the layers merged.
pub(crate) struct Scan<'a> {
    stored: StoredRange,
    pending: core::iter::Peekable<btree_map::Range<'a, Bytes, Option<Bytes>>>,
    staged: core::iter::Peekable<btree_map::Range<'a, Bytes, Option<Bytes>>>,
}

impl core::fmt::Debug for Scan<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Scan")
    }
}

impl Scan<'_> {
    /// The next entry, as `map` sees it: no copy is made.
    pub(crate) fn next_with<T>(
        &mut self,
        mut map: impl FnMut(&[u8], &[u8]) -> T,
    ) -> Option<Result<T, IndexFault>> {
        loop {
            if let Err(fault) = self.stored.fill() {
                return Some(Err(fault));
            }
            let stored = self.stored.key();
            let layered = match (self.pending.peek(), self.staged.peek()) {
                (Some((pending, _)), Some((staged, _))) => Some((&***pending).min(&***staged)),
                (Some((key, _)), None) | (None, Some((key, _))) => Some(&***key),
                (None, None) => None,
            };
            match (stored, layered) {
                (None, None) => return None,
                (Some(_), None) => return self.stored.take(&mut map).map(Ok),
                (Some(stored), Some(layered)) if stored < layered => {
                    return self.stored.take(&mut map).map(Ok);
                }
                (Some(stored), Some(layered)) if stored == layered => self.stored.current = None,
                _ => {}
            }
            if let Some((key, Some(value))) = self.next_layered() {
                return Some(Ok(map(key, value)));
            }
        }
    }

    /// The lower of the two layers' heads; of equal ones the staged, and both are passed.
    fn next_layered(&mut self) -> Option<(&Bytes, Option<&Bytes>)> {
        let order = match (self.pending.peek(), self.staged.peek()) {
            (Some((pending, _)), Some((staged, _))) => pending.cmp(staged),
            (Some(_), None) => core::cmp::Ordering::Less,
            _ => core::cmp::Ordering::Greater,
        };
        if order.is_le() {
            let pending = self.pending.next();
            if order.is_lt() {
                return pending.map(|(key, value)| (key, value.as_ref()));
            }
        }
        self.staged.next().map(|(key, value)| (key, value.as_ref()))
    }
}

type Entry = (redb::AccessGuard<'static, &'static [u8]>, redb::AccessGuard<'static, &'static [u8]>);

/// The range of redb with its head taken out for comparison.
struct StoredRange {
    range: redb::Range<'static, &'static [u8], &'static [u8]>,
    current: Option<Entry>,
}

impl StoredRange {
    fn new(range: redb::Range<'static, &'static [u8], &'static [u8]>) -> Self {
        Self { range, current: None }
    }

    fn fill(&mut self) -> Result<(), IndexFault> {
        if self.current.is_none() {
            self.current = self.range.next().transpose()?;
        }
        Ok(())
    }

    fn key(&self) -> Option<&[u8]> {
        self.current.as_ref().map(|(key, _)| key.value())
    }

    fn take<T>(&mut self, map: &mut impl FnMut(&[u8], &[u8]) -> T) -> Option<T> {
        self.current.take().map(|(key, value)| map(key.value(), value.value()))
    }
}
