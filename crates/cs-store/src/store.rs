//! The store: stage, commit, read.

use crate::catalog::{Catalog, LocalFact, Staged};
use crate::disk::Disk;
use crate::fault::{OpenError, Refused, StoreError};
use crate::format::{BATCH_HEADER, Batch, Kind, Place};
use crate::index::{IndexFault, Scan};
use crate::keys;
use crate::log::Log;
use crate::operation::{DocumentId, Filing, Operation};
use crate::options::{OpenOptions, Recovery};
use crate::recovery;
use cs_identity::control::Statement;
use cs_identity::{BlindPath, OpId, Signed, SpaceId};

/// The longest key of a local fact, in bytes.
pub const MAX_LOCAL_KEY: usize = 1024;
/// The longest value of a local fact, in bytes.
pub const MAX_LOCAL_VALUE: usize = 1 << 20;

/// Operations, statements and local facts on one disk.
///
/// What is staged is visible to reads at once and durable when [`Store::commit`] returns `Ok`: all of it or, should the
/// power fail before, none of it. Reads cost one to three index lookups (microseconds) and one read of the log.
#[derive(Debug)]
pub struct Store<D: Disk> {
    log: Log<D>,
    catalog: Catalog,
    batch: Batch,
    options: OpenOptions,
    /// Memory that the pending layer may take before the next try to write it out.
    checkpoint_at: usize,
    _lock: D::Lock,
}

impl<D: Disk> Store<D> {
    /// Opens the store on `disk`, creating it on an empty one.
    ///
    /// Reads what the log holds beyond the last checkpoint (a few megabytes), cuts a torn tail, and makes the index
    /// anew when it is lost or unusable, which reads the whole log.
    ///
    /// # Errors
    /// [`OpenError`]; nothing is changed on the disk by one.
    pub fn open(disk: D, options: OpenOptions) -> Result<(Self, Recovery), OpenError> {
        let lock = disk.lock()?.ok_or(OpenError::Locked)?;
        let opened = recovery::open(disk, &options)?;
        let checkpoint_at = options.checkpoint_bytes;
        let mut store = Self {
            log: opened.log,
            catalog: opened.catalog,
            batch: Batch::default(),
            options,
            checkpoint_at,
            _lock: lock,
        };
        store.checkpoint_if_due();
        Ok((store, opened.recovery))
    }

    /// Adds an operation to the batch.
    ///
    /// # Errors
    /// [`Refused::BatchFull`] or [`Refused::IndexDamaged`].
    pub fn stage_operation(&mut self, operation: &Signed<Operation>) -> Result<Staged, Refused> {
        if self.catalog.contains(&operation.id())? {
            return Ok(Staged::Duplicate);
        }
        let place = self.push(Kind::Operation, &[operation.bytes()])?;
        Ok(self.catalog.add_operation(&Filing::of(operation), place)?)
    }

    /// Adds a control statement to the batch.
    ///
    /// # Errors
    /// [`Refused::BatchFull`] or [`Refused::IndexDamaged`].
    pub fn stage_statement(&mut self, statement: &Signed<Statement>) -> Result<Staged, Refused> {
        if self.catalog.contains(&statement.id())? {
            return Ok(Staged::Duplicate);
        }
        let place = self.push(Kind::Statement, &[statement.bytes()])?;
        Ok(self.catalog.add_statement(statement.space(), statement.id(), place)?)
    }

    /// Sets a local fact: durable with the batch, never replicated.
    ///
    /// # Errors
    /// [`Refused::TooLong`] or [`Refused::BatchFull`].
    pub fn put_local(&mut self, key: &[u8], value: &[u8]) -> Result<(), Refused> {
        if key.len() > MAX_LOCAL_KEY || value.len() > MAX_LOCAL_VALUE {
            return Err(Refused::TooLong);
        }
        self.push(Kind::LocalPut, &[&(key.len() as u16).to_le_bytes(), key, value])?;
        self.catalog.index.put(&keys::local(key), value);
        Ok(())
    }

    /// Removes a local fact, if it is there.
    ///
    /// # Errors
    /// As [`Store::put_local`], and [`Refused::IndexDamaged`].
    pub fn remove_local(&mut self, key: &[u8]) -> Result<(), Refused> {
        if key.len() > MAX_LOCAL_KEY {
            return Err(Refused::TooLong);
        }
        if self.catalog.index.contains(&keys::local(key))? {
            self.push(Kind::LocalRemove, &[key])?;
            self.catalog.index.remove(&keys::local(key));
        }
        Ok(())
    }

    /// Makes the batch durable with one write and one `fdatasync`, whatever it holds. Free when nothing is staged.
    ///
    /// From time to time it also writes the index out, which takes milliseconds to tenths of a second.
    ///
    /// # Errors
    /// [`StoreError::DiskFull`], after which the batch is still staged, and [`StoreError::Failed`].
    pub fn commit(&mut self) -> Result<(), StoreError> {
        if self.batch.count() == 0 {
            return Ok(());
        }
        self.log.append(&self.batch)?;
        self.batch.clear();
        self.catalog.index.commit_staged();
        self.checkpoint_if_due();
        Ok(())
    }

    /// Forgets what was staged since the last commit.
    ///
    /// # Errors
    /// [`StoreError::IndexDamaged`].
    pub fn discard(&mut self) -> Result<(), StoreError> {
        self.batch.clear();
        Ok(self.catalog.drop_staged()?)
    }

    /// Commits, then writes the index out, so that the next start has nothing to replay. Worth a call when idle.
    ///
    /// # Errors
    /// As [`Store::commit`], and [`StoreError::IndexDamaged`]; the log is not concerned by the latter.
    pub fn checkpoint(&mut self) -> Result<(), StoreError> {
        self.commit()?;
        if self.catalog.index.pending_bytes() > 0 {
            self.write_index()?;
        }
        Ok(())
    }

    /// Checkpoints and closes.
    ///
    /// # Errors
    /// As [`Store::checkpoint`]; the store is closed all the same.
    pub fn close(mut self) -> Result<(), StoreError> {
        self.checkpoint()
    }

    /// Discards the index and makes it anew from the log. What is staged is forgotten.
    ///
    /// # Errors
    /// [`OpenError`]: the store is then of no further use; open it again.
    pub fn rebuild_index(&mut self) -> Result<Recovery, OpenError> {
        self.batch.clear();
        let options = OpenOptions { rebuild_index: true, ..self.options.clone() };
        let opened = recovery::open(self.log.disk().clone(), &options)?;
        self.log = opened.log;
        self.catalog = opened.catalog;
        Ok(opened.recovery)
    }

    /// The signed bytes of an operation.
    ///
    /// # Errors
    /// [`StoreError`]; [`StoreError::Corrupt`] when the log no longer holds what was written.
    pub fn operation(&self, id: &OpId) -> Result<Option<Vec<u8>>, StoreError> {
        self.record(id, Kind::Operation)
    }

    /// The signed bytes of a statement.
    ///
    /// # Errors
    /// As [`Store::operation`].
    pub fn statement(&self, id: &OpId) -> Result<Option<Vec<u8>>, StoreError> {
        self.record(id, Kind::Statement)
    }

    /// Whether an operation or a statement is here.
    ///
    /// # Errors
    /// [`StoreError::IndexDamaged`].
    pub fn contains(&self, id: &OpId) -> Result<bool, StoreError> {
        Ok(self.catalog.contains(id)?)
    }

    /// The spaces that have a statement or an operation here, ascending.
    pub fn spaces(&self) -> impl Iterator<Item = SpaceId> + '_ {
        self.catalog.spaces()
    }

    /// The statements of a space with their signed bytes, in the order in which they were staged.
    ///
    /// # Errors
    /// [`StoreError::IndexDamaged`]; later ones come from the iterator, as in [`Store::operation`].
    pub fn statements(&self, space: &SpaceId) -> Result<Records<'_, D>, StoreError> {
        Ok(Records::new(self, self.catalog.statements(space)?))
    }

    /// The ids of the operations of a space, ordered by path, document, clock and id. A million take about 0.3 s.
    ///
    /// # Errors
    /// [`StoreError::IndexDamaged`], also from the iterator.
    pub fn operations(&self, space: &SpaceId) -> Result<Ids<'_>, StoreError> {
        self.operations_under(space, &BlindPath::root())
    }

    /// As [`Store::operations`], of those at and under a path.
    ///
    /// # Errors
    /// [`StoreError::IndexDamaged`], also from the iterator.
    pub fn operations_under(&self, space: &SpaceId, prefix: &BlindPath) -> Result<Ids<'_>, StoreError> {
        Ok(Ids { scan: self.catalog.operations(space, prefix)? })
    }

    /// The operations of a document with their signed bytes, by clock, then id: causes before effects among authors
    /// who keep to the clock rule (STORE-21). 56 bytes of memory an operation.
    ///
    /// # Errors
    /// [`StoreError::IndexDamaged`]; later ones come from the iterator, as in [`Store::operation`].
    pub fn document_operations(
        &self,
        space: &SpaceId,
        document: &DocumentId,
    ) -> Result<Records<'_, D>, StoreError> {
        let operations = self.catalog.document_operations(space, document)?;
        let places = operations.into_iter().map(|(_, id, place)| (id, place)).collect();
        Ok(Records::new(self, places))
    }

    /// The documents at and under a path with the paths they lie at, ascending.
    ///
    /// # Errors
    /// [`StoreError::IndexDamaged`].
    pub fn documents(
        &self,
        space: &SpaceId,
        prefix: &BlindPath,
    ) -> Result<Vec<(BlindPath, DocumentId)>, StoreError> {
        Ok(self.catalog.documents(space, prefix)?)
    }

    /// The operations of a document that no operation here names as a dependency or backlink, ascending.
    ///
    /// # Errors
    /// [`StoreError::IndexDamaged`].
    pub fn heads(&self, space: &SpaceId, document: &DocumentId) -> Result<Vec<OpId>, StoreError> {
        Ok(self.catalog.heads(space, document)?)
    }

    /// The ids that operations of a document name as dependencies or backlinks, and that are not here; ascending.
    ///
    /// # Errors
    /// [`StoreError::IndexDamaged`].
    pub fn missing(&self, space: &SpaceId, document: &DocumentId) -> Result<Vec<OpId>, StoreError> {
        Ok(self.catalog.missing(space, document)?)
    }

    /// The value of a local fact.
    ///
    /// # Errors
    /// [`StoreError::IndexDamaged`].
    pub fn local(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.catalog.local(key)?)
    }

    /// The local facts whose keys begin with `prefix`, ascending, with their whole keys.
    ///
    /// # Errors
    /// [`StoreError::IndexDamaged`].
    pub fn local_prefix(&self, prefix: &[u8]) -> Result<Vec<LocalFact>, StoreError> {
        Ok(self.catalog.local_prefix(prefix)?)
    }

    /// The length of the log, in bytes.
    #[must_use]
    pub fn log_bytes(&self) -> u64 {
        self.log.bytes()
    }

    fn push(&mut self, kind: Kind, payload: &[&[u8]]) -> Result<Place, Refused> {
        let start = self.batch.push(kind, payload).ok_or(Refused::BatchFull)?;
        Ok(self.log.place(start, payload.iter().map(|part| part.len()).sum()))
    }

    fn record(&self, id: &OpId, wanted: Kind) -> Result<Option<Vec<u8>>, StoreError> {
        match self.catalog.place_of(id)? {
            Some((kind, place)) if kind == wanted => self.read(id, place).map(Some),
            _ => Ok(None),
        }
    }

    /// The signed bytes at a place, which must be those that `id` names (STORE-9).
    fn read(&self, id: &OpId, place: Place) -> Result<Vec<u8>, StoreError> {
        let corrupt = StoreError::Corrupt { segment: place.segment, offset: place.offset };
        let bytes = match self.staged(place) {
            Some(bytes) => bytes.to_vec(),
            None => self.log.read(place).map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => corrupt,
                kind => StoreError::Read(kind),
            })?,
        };
        if OpId::of(&bytes) == *id { Ok(bytes) } else { Err(corrupt) }
    }

    fn staged(&self, place: Place) -> Option<&[u8]> {
        let next = self.log.next_batch();
        let body_at = next.offset + BATCH_HEADER as u32;
        let start = place.offset.checked_sub(body_at).filter(|_| place.segment == next.segment)? as usize;
        self.batch.body().get(start..start + place.length as usize)
    }

    /// A failure to write the index does not concern what is durable in the log: the layer in memory stays, and the
    /// next try comes when it has grown by as much again.
    fn checkpoint_if_due(&mut self) {
        if self.catalog.index.pending_bytes() >= self.checkpoint_at && self.write_index().is_err() {
            self.checkpoint_at = self.catalog.index.pending_bytes() + self.options.checkpoint_bytes;
        }
    }

    fn write_index(&mut self) -> Result<(), StoreError> {
        let position = self.log.tail();
        self.log.seal()?;
        let written = self.catalog.checkpoint(position, self.log.salt());
        match written {
            Ok(()) => self.checkpoint_at = self.options.checkpoint_bytes,
            Err(_) => self.reopen_index()?,
        }
        Ok(written?)
    }

    fn reopen_index(&mut self) -> Result<(), StoreError> {
        let file =
            self.log.disk().open(recovery::INDEX_NAME).map_err(|error| StoreError::Read(error.kind()))?;
        Ok(self.catalog.index.reopen(file, self.options.cache_bytes)?)
    }
}

/// Records with their signed bytes, read from the log one at a time.
#[derive(Debug)]
pub struct Records<'a, D: Disk> {
    store: &'a Store<D>,
    places: std::vec::IntoIter<(OpId, Place)>,
}

impl<'a, D: Disk> Records<'a, D> {
    fn new(store: &'a Store<D>, places: Vec<(OpId, Place)>) -> Self {
        Self { store, places: places.into_iter() }
    }
}

impl<D: Disk> Iterator for Records<'_, D> {
    type Item = Result<(OpId, Vec<u8>), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let (id, place) = self.places.next()?;
        Some(self.store.read(&id, place).map(|bytes| (id, bytes)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.places.size_hint()
    }
}

/// Ids of operations, in the order of the index.
#[derive(Debug)]
pub struct Ids<'a> {
    scan: Option<Scan<'a>>,
}

impl Iterator for Ids<'_> {
    type Item = Result<OpId, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let found = self.scan.as_mut()?.next_with(|key, _| keys::order_id(key))?;
        Some(found.and_then(|id| id.ok_or(IndexFault::Damaged)).map_err(StoreError::from))
    }
}
