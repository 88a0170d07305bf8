//! What the folder remembers between runs: one redb file outside the folder.
//!
//! It is a cache with one exception: the versions each path was last materialised at, which tell an edit from a stale copy.
//! Losing the file costs a rehash and, for paths that were edited meanwhile, a conflict; it never costs data. Changes collect
//! in one transaction, visible at once, and become durable together at [`Index::commit`].

use std::path::Path;

use redb::{Database, ReadableTable, StorageBackend, TableDefinition, WriteTransaction};

use super::content::{ChunkId, ChunkRef, Content, Version};
use super::path::RelPath;
use super::record::{Entry, Kept, Place};

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const ENTRIES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("entries");
const SOURCES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("sources");
const CHUNKS: TableDefinition<'_, &[u8], (u64, u32)> = TableDefinition::new("chunks");
const BLOBS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("blobs");
const KEPT: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("kept");

/// The layout of the tables. An index of another layout is refused; deleting it is safe.
const FORMAT: u8 = 1;
/// Pages redb may hold in memory, in bytes.
const CACHE_BYTES: usize = 8 * 1024 * 1024;

/// Names one file whose bytes chunks can be read from, also after it was moved to `kept/`.
pub(crate) type SourceId = u64;

/// Why the index did not work.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The file is damaged, or of another layout. Deleting it is safe: the folder is read again.
    #[error("the folder's index is damaged; delete it and the folder is read again")]
    Corrupt,
    /// Another process has it open.
    #[error("the folder's index is in use by another process")]
    Locked,
    /// The disk it is on is full.
    #[error("the disk of the folder's index is full")]
    Full,
    /// The disk failed.
    #[error("the disk of the folder's index failed")]
    Io,
}

/// The persistent index of one folder.
pub struct Index {
    database: Database,
    open: Option<WriteTransaction>,
}

impl core::fmt::Debug for Index {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Index").field("uncommitted", &self.open.is_some()).finish_non_exhaustive()
    }
}

impl Index {
    /// Opens or makes the index in this file, which must be outside the folder.
    pub fn open(path: &Path) -> Result<Self, IndexError> {
        Self::start(Database::builder().set_cache_size(CACHE_BYTES).create(path).map_err(fault)?)
    }

    /// Opens or makes the index in whatever `backend` stores.
    pub fn with_backend(backend: impl StorageBackend) -> Result<Self, IndexError> {
        Self::start(
            Database::builder().set_cache_size(CACHE_BYTES).create_with_backend(backend).map_err(fault)?,
        )
    }

    /// An index that is gone when it is dropped.
    pub fn in_memory() -> Result<Self, IndexError> {
        Self::with_backend(redb::backends::InMemoryBackend::new())
    }

    fn start(database: Database) -> Result<Self, IndexError> {
        let mut index = Self { database, open: None };
        match index.meta("format")? {
            Some(format) if format != [FORMAT] => return Err(IndexError::Corrupt),
            Some(_) => {}
            None => index.put_meta("format", &[FORMAT])?,
        }
        let transaction = index.transaction()?;
        transaction.open_table(ENTRIES).map_err(fault)?;
        transaction.open_table(SOURCES).map_err(fault)?;
        transaction.open_table(CHUNKS).map_err(fault)?;
        transaction.open_table(BLOBS).map_err(fault)?;
        transaction.open_table(KEPT).map_err(fault)?;
        index.commit()?;
        Ok(index)
    }

    fn transaction(&mut self) -> Result<&WriteTransaction, IndexError> {
        let transaction = match self.open.take() {
            Some(open) => open,
            None => self.database.begin_write().map_err(fault)?,
        };
        Ok(self.open.insert(transaction))
    }

    /// Makes every change so far durable, with one fsync of the index file.
    pub(crate) fn commit(&mut self) -> Result<(), IndexError> {
        match self.open.take() {
            Some(transaction) => transaction.commit().map_err(fault),
            None => Ok(()),
        }
    }

    pub(crate) fn meta(&mut self, name: &str) -> Result<Option<Vec<u8>>, IndexError> {
        let table = self.transaction()?.open_table(META).map_err(fault)?;
        Ok(table.get(name).map_err(fault)?.map(|value| value.value().to_vec()))
    }

    pub(crate) fn put_meta(&mut self, name: &str, value: &[u8]) -> Result<(), IndexError> {
        self.transaction()?.open_table(META).map_err(fault)?.insert(name, value).map_err(fault)?;
        Ok(())
    }

    pub(crate) fn entry(&mut self, path: &RelPath) -> Result<Option<Entry>, IndexError> {
        let table = self.transaction()?.open_table(ENTRIES).map_err(fault)?;
        let value = table.get(path.key().as_slice()).map_err(fault)?;
        value.map(|value| Entry::from_bytes(value.value()).map_err(|_| IndexError::Corrupt)).transpose()
    }

    pub(crate) fn put_entry(&mut self, path: &RelPath, entry: &Entry) -> Result<(), IndexError> {
        let mut table = self.transaction()?.open_table(ENTRIES).map_err(fault)?;
        table.insert(path.key().as_slice(), entry.to_bytes().as_slice()).map_err(fault)?;
        Ok(())
    }

    pub(crate) fn remove_entry(&mut self, path: &RelPath) -> Result<(), IndexError> {
        self.transaction()?
            .open_table(ENTRIES)
            .map_err(fault)?
            .remove(path.key().as_slice())
            .map_err(fault)?;
        Ok(())
    }

    /// The entries directly in a directory, in order, tombstones left out. What is below them is skipped, not read.
    pub(crate) fn children(&mut self, dir: Option<&RelPath>) -> Result<Vec<(RelPath, Entry)>, IndexError> {
        let prefix = dir.map(below).unwrap_or_default();
        let table = self.transaction()?.open_table(ENTRIES).map_err(fault)?;
        let mut children = Vec::new();
        let mut from = prefix.clone();
        loop {
            let mut deeper = None;
            for row in table.range::<&[u8]>(from.as_slice()..).map_err(fault)? {
                let (key, value) = row.map_err(fault)?;
                let Some(rest) = key.value().strip_prefix(prefix.as_slice()) else { break };
                if let Some(end) = rest.iter().position(|&byte| byte == 0) {
                    deeper = Some([prefix.as_slice(), rest.get(..end).unwrap_or_default(), &[1]].concat());
                    break;
                }
                let (path, entry) = read_row(key.value(), value.value())?;
                if entry.is_present() {
                    children.push((path, entry));
                }
            }
            match deeper {
                Some(next) => from = next,
                None => return Ok(children),
            }
        }
    }

    /// Up to `most` entries at or after the key `from`, in order, tombstones included.
    pub(crate) fn page(&mut self, from: &[u8], most: usize) -> Result<Vec<(RelPath, Entry)>, IndexError> {
        let table = self.transaction()?.open_table(ENTRIES).map_err(fault)?;
        let rows = table.range::<&[u8]>(from..).map_err(fault)?;
        rows.take(most)
            .map(|row| {
                let (key, value) = row.map_err(fault)?;
                read_row(key.value(), value.value())
            })
            .collect()
    }

    /// The paths at and below `path` that hold something, or whose removal is not confirmed; a directory before what is in it.
    pub(crate) fn subtree(&mut self, path: &RelPath) -> Result<Vec<RelPath>, IndexError> {
        let table = self.transaction()?.open_table(ENTRIES).map_err(fault)?;
        let mut paths = Vec::new();
        for row in table.range::<&[u8]>(path.key().as_slice()..).map_err(fault)? {
            let (key, value) = row.map_err(fault)?;
            let (found, entry) = read_row(key.value(), value.value())?;
            if !path.holds(&found) {
                break;
            }
            if entry.is_present() || entry.pending {
                paths.push(found);
            }
        }
        Ok(paths)
    }

    /// Edits that were found and never confirmed. Reads every row.
    pub(crate) fn pending(&mut self) -> Result<Vec<(RelPath, Entry)>, IndexError> {
        let table = self.transaction()?.open_table(ENTRIES).map_err(fault)?;
        let mut pending = Vec::new();
        for row in table.iter().map_err(fault)? {
            let (key, value) = row.map_err(fault)?;
            let (path, entry) = read_row(key.value(), value.value())?;
            if entry.pending {
                pending.push((path, entry));
            }
        }
        Ok(pending)
    }

    /// Records a file as the source of its chunks. `list` is all of them; `blobs` the chunks of the encoded list.
    pub(crate) fn add_source(
        &mut self,
        place: &Place,
        list: &[ChunkRef],
        blobs: &[(ChunkRef, Vec<u8>)],
    ) -> Result<SourceId, IndexError> {
        let source = self.next_source()?;
        self.put_meta("source", &(source + 1).to_be_bytes())?;
        self.put_place(source, place)?;
        let transaction = self.transaction()?;
        let mut chunks = transaction.open_table(CHUNKS).map_err(fault)?;
        let mut offset = 0;
        for chunk in list {
            chunks.insert(located(&chunk.id, source).as_slice(), (offset, chunk.len)).map_err(fault)?;
            offset += u64::from(chunk.len);
        }
        let mut table = transaction.open_table(BLOBS).map_err(fault)?;
        for (chunk, bytes) in blobs {
            table.insert(located(&chunk.id, source).as_slice(), bytes.as_slice()).map_err(fault)?;
        }
        Ok(source)
    }

    fn next_source(&mut self) -> Result<SourceId, IndexError> {
        Ok(self.meta("source")?.and_then(|bytes| bytes.try_into().ok()).map_or(1, u64::from_be_bytes))
    }

    /// Numbers sources above `used`, which a lost transaction may have given out.
    pub(crate) fn reserve_sources(&mut self, used: SourceId) -> Result<(), IndexError> {
        if self.next_source()? <= used {
            self.put_meta("source", &used.saturating_add(1).to_be_bytes())?;
        }
        Ok(())
    }

    /// Notes where the file of a source is now.
    pub(crate) fn put_place(&mut self, source: SourceId, place: &Place) -> Result<(), IndexError> {
        let mut table = self.transaction()?.open_table(SOURCES).map_err(fault)?;
        table.insert(source, place.to_bytes().as_slice()).map_err(fault)?;
        Ok(())
    }

    /// Forgets a source, all of whose chunks are `list` and `blobs`.
    pub(crate) fn remove_source(
        &mut self,
        source: SourceId,
        list: &[ChunkRef],
        blobs: &[ChunkRef],
    ) -> Result<(), IndexError> {
        let transaction = self.transaction()?;
        transaction.open_table(SOURCES).map_err(fault)?.remove(source).map_err(fault)?;
        let mut chunks = transaction.open_table(CHUNKS).map_err(fault)?;
        for chunk in list {
            chunks.remove(located(&chunk.id, source).as_slice()).map_err(fault)?;
        }
        let mut table = transaction.open_table(BLOBS).map_err(fault)?;
        for chunk in blobs {
            table.remove(located(&chunk.id, source).as_slice()).map_err(fault)?;
        }
        Ok(())
    }

    /// Where the bytes of a chunk should be: source, place, offset and length.
    pub(crate) fn locate(&mut self, id: &ChunkId) -> Result<Vec<(SourceId, Place, u64, u32)>, IndexError> {
        let transaction = self.transaction()?;
        let chunks = transaction.open_table(CHUNKS).map_err(fault)?;
        let sources = transaction.open_table(SOURCES).map_err(fault)?;
        let mut found = Vec::new();
        let (from, to) = (located(id, 0), located(id, u64::MAX));
        for row in chunks.range::<&[u8]>(from.as_slice()..=to.as_slice()).map_err(fault)?.take(MAX_PLACES) {
            let (key, value) = row.map_err(fault)?;
            let source = source_in(key.value())?;
            let (offset, len) = value.value();
            if let Some(place) = sources.get(source).map_err(fault)? {
                let place = Place::from_bytes(place.value()).map_err(|_| IndexError::Corrupt)?;
                found.push((source, place, offset, len));
            }
        }
        Ok(found)
    }

    /// The bytes of a chunk of an encoded list.
    pub(crate) fn blob(&mut self, id: &ChunkId) -> Result<Option<Vec<u8>>, IndexError> {
        let table = self.transaction()?.open_table(BLOBS).map_err(fault)?;
        let (from, to) = (located(id, 0), located(id, u64::MAX));
        let mut rows = table.range::<&[u8]>(from.as_slice()..=to.as_slice()).map_err(fault)?;
        Ok(rows.next().transpose().map_err(fault)?.map(|(_, value)| value.value().to_vec()))
    }

    /// A kept version that has this chunk in its file or in its list.
    pub(crate) fn kept_with(&mut self, id: &ChunkId) -> Result<Vec<(SourceId, Kept)>, IndexError> {
        let transaction = self.transaction()?;
        let (from, to) = (located(id, 0), located(id, u64::MAX));
        let mut sources = Vec::new();
        let chunks = transaction.open_table(CHUNKS).map_err(fault)?;
        for row in chunks.range::<&[u8]>(from.as_slice()..=to.as_slice()).map_err(fault)?.take(MAX_PLACES) {
            sources.push(source_in(row.map_err(fault)?.0.value())?);
        }
        let blobs = transaction.open_table(BLOBS).map_err(fault)?;
        for row in blobs.range::<&[u8]>(from.as_slice()..=to.as_slice()).map_err(fault)?.take(MAX_PLACES) {
            sources.push(source_in(row.map_err(fault)?.0.value())?);
        }
        drop((chunks, blobs));
        let mut found = Vec::new();
        for source in sources {
            found.extend(self.kept(source)?.map(|kept| (source, kept)));
        }
        Ok(found)
    }

    pub(crate) fn kept(&mut self, source: SourceId) -> Result<Option<Kept>, IndexError> {
        let table = self.transaction()?.open_table(KEPT).map_err(fault)?;
        let value = table.get(source).map_err(fault)?;
        value.map(|value| Kept::from_bytes(value.value()).map_err(|_| IndexError::Corrupt)).transpose()
    }

    pub(crate) fn all_kept(&mut self) -> Result<Vec<(SourceId, Kept)>, IndexError> {
        let table = self.transaction()?.open_table(KEPT).map_err(fault)?;
        let rows = table.iter().map_err(fault)?;
        rows.map(|row| {
            let (source, kept) = row.map_err(fault)?;
            Ok((source.value(), Kept::from_bytes(kept.value()).map_err(|_| IndexError::Corrupt)?))
        })
        .collect()
    }

    pub(crate) fn put_kept(&mut self, source: SourceId, kept: &Kept) -> Result<(), IndexError> {
        let mut table = self.transaction()?.open_table(KEPT).map_err(fault)?;
        table.insert(source, kept.to_bytes().as_slice()).map_err(fault)?;
        Ok(())
    }

    pub(crate) fn remove_kept(&mut self, source: SourceId) -> Result<(), IndexError> {
        self.transaction()?.open_table(KEPT).map_err(fault)?.remove(source).map_err(fault)?;
        Ok(())
    }
}

/// A chunk that thousands of files share is tried in this many of them.
const MAX_PLACES: usize = 8;

fn below(path: &RelPath) -> Vec<u8> {
    let mut key = path.key();
    key.push(0);
    key
}

fn located(id: &ChunkId, source: SourceId) -> [u8; 40] {
    let mut key = [0; 40];
    let (first, last) = key.split_at_mut(32);
    first.copy_from_slice(id);
    last.copy_from_slice(&source.to_be_bytes());
    key
}

fn source_in(key: &[u8]) -> Result<SourceId, IndexError> {
    key.last_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes)).ok_or(IndexError::Corrupt)
}

fn read_row(key: &[u8], value: &[u8]) -> Result<(RelPath, Entry), IndexError> {
    let path = RelPath::from_key(key).map_err(|_| IndexError::Corrupt)?;
    Ok((path, Entry::from_bytes(value).map_err(|_| IndexError::Corrupt)?))
}

fn fault(error: impl Into<redb::Error>) -> IndexError {
    match error.into() {
        redb::Error::DatabaseAlreadyOpen => IndexError::Locked,
        redb::Error::Io(error) => match error.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => IndexError::Full,
            std::io::ErrorKind::InvalidData => IndexError::Corrupt,
            _ => IndexError::Io,
        },
        redb::Error::PreviousIo => IndexError::Io,
        _ => IndexError::Corrupt,
    }
}

/// What one path holds and since which versions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Materialised {
    /// What is there.
    pub content: Content,
    /// Which versions it stands for; empty for an edit that was not confirmed yet.
    pub versions: Vec<Version>,
    /// Whether it is an edit that was found and not confirmed yet; `versions` are then those it was made on.
    pub pending: bool,
}
