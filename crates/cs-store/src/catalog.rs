//! What the index means: records by id, operations in order, documents, heads, statements and local facts.
//!
//! Everything here follows from the records of the log; adding the same records in any order gives the same answers.

use crate::format::{Kind, Place, split_local};
use crate::index::{Index, IndexFault, Scan};
use crate::keys;
use crate::log::Position;
use crate::operation::{DocumentId, Filing, Operation};
use cs_identity::control::Statement;
use cs_identity::{BlindPath, OpId, Signable, SpaceId, Unverified};
use std::collections::BTreeMap;

/// A present operation that no present operation of its document refers to.
const HEAD: u8 = 0;
/// An id that a present operation refers to, and that is absent.
const MISSING: u8 = 1;

/// The key and the value of a local fact.
pub type LocalFact = (Vec<u8>, Vec<u8>);

/// Whether a record was new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Staged {
    /// It was not known before.
    New,
    /// It was known; nothing changed.
    Duplicate,
}

/// Why a record of the log was not added.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReplayFault {
    Index(IndexFault),
    /// A record that this version cannot read, in a batch that passes its check: a later version wrote it.
    Newer,
}

impl From<IndexFault> for ReplayFault {
    fn from(fault: IndexFault) -> Self {
        Self::Index(fault)
    }
}

#[derive(Debug)]
pub(crate) struct Catalog {
    pub(crate) index: Index,
    /// Numbers of spaces, those staged included.
    spaces: BTreeMap<SpaceId, u32>,
}

impl Catalog {
    pub(crate) fn new(index: Index) -> Result<Self, IndexFault> {
        let mut catalog = Self { index, spaces: BTreeMap::new() };
        catalog.load_spaces()?;
        Ok(catalog)
    }

    /// Forgets what was staged since the last commit.
    pub(crate) fn drop_staged(&mut self) -> Result<(), IndexFault> {
        self.index.drop_staged();
        self.load_spaces()
    }

    /// Adds a record as it lies in the log.
    pub(crate) fn replay(&mut self, kind: u8, payload: &[u8], place: Place) -> Result<(), ReplayFault> {
        match Kind::from_byte(kind).ok_or(ReplayFault::Newer)? {
            Kind::Operation => {
                let filing = Filing::from_log(payload).map_err(|_| ReplayFault::Newer)?;
                self.add_operation(&filing, place)?;
            }
            Kind::Statement => {
                let statement =
                    Unverified::<Statement>::from_bytes(payload).map_err(|_| ReplayFault::Newer)?;
                let space = statement.value().space.unwrap_or_else(|| statement.id().into());
                self.add_statement(space, statement.id(), place)?;
            }
            Kind::LocalPut => {
                let (key, value) = split_local(payload).ok_or(ReplayFault::Newer)?;
                self.index.put(&keys::local(key), value);
            }
            Kind::LocalRemove => self.index.remove(&keys::local(payload)),
        }
        Ok(())
    }

    pub(crate) fn contains(&self, id: &OpId) -> Result<bool, IndexFault> {
        self.index.contains(&keys::record(id))
    }

    pub(crate) fn place_of(&self, id: &OpId) -> Result<Option<(Kind, Place)>, IndexFault> {
        let parse = |value: &[u8]| {
            let (kind, place) = value.split_first()?;
            Some((Kind::from_byte(*kind)?, keys::decode_place(place)?))
        };
        // What does not parse was not written by this program.
        self.index.read(&keys::record(id), parse)?.map(|found| found.ok_or(IndexFault::Damaged)).transpose()
    }

    /// Adds an operation, unless it is there.
    pub(crate) fn add_operation(&mut self, filing: &Filing, place: Place) -> Result<Staged, IndexFault> {
        if self.contains(&filing.id)? {
            return Ok(Staged::Duplicate);
        }
        let Filing { id, space, path, document, clock, .. } = filing;
        let space = self.number_of(space);
        self.put_record(id, Kind::Operation, place);
        self.index.put(&keys::order(space, path, document, *clock, id), &keys::encode_place(place));
        let lies = keys::document(space, document, path);
        if !self.index.contains(&lies)? {
            self.index.put(&lies, &[]);
        }
        self.move_tips(space, filing)?;
        Ok(Staged::New)
    }

    fn move_tips(&mut self, space: u32, filing: &Filing) -> Result<(), IndexFault> {
        let own = keys::tip(space, &filing.document, &filing.id);
        if self.index.contains(&own)? {
            // It was missing, which means that it has a successor here already.
            self.index.remove(&own);
        } else {
            self.index.put(&own, &[HEAD]);
        }
        for parent in &filing.parents {
            let key = keys::tip(space, &filing.document, parent);
            match self.index.read(&key, |tip| tip == [HEAD])? {
                Some(true) => self.index.remove(&key),
                Some(false) => {}
                None if self.contains(parent)? => {}
                None => self.index.put(&key, &[MISSING]),
            }
        }
        Ok(())
    }

    pub(crate) fn add_statement(
        &mut self,
        space: SpaceId,
        id: OpId,
        place: Place,
    ) -> Result<Staged, IndexFault> {
        if self.contains(&id)? {
            return Ok(Staged::Duplicate);
        }
        let number = self.number_of(&space);
        self.put_record(&id, Kind::Statement, place);
        self.index.put(&keys::statement(number, place), &keys::statement_value(&id, place));
        Ok(Staged::New)
    }

    fn put_record(&mut self, id: &OpId, kind: Kind, place: Place) {
        let value = [[kind as u8].as_slice(), &keys::encode_place(place)].concat();
        self.index.put(&keys::record(id), &value);
    }

    pub(crate) fn spaces(&self) -> impl Iterator<Item = SpaceId> + '_ {
        self.spaces.keys().copied()
    }

    /// Statements of a space in the order of their places.
    pub(crate) fn statements(&self, space: &SpaceId) -> Result<Vec<(OpId, Place)>, IndexFault> {
        let Some(space) = self.spaces.get(space) else { return Ok(Vec::new()) };
        let prefix = [b"s".as_slice(), &space.to_be_bytes()].concat();
        self.collect_prefix(&prefix, |_, value| keys::statement_parts(value))
    }

    /// Operations at and under a path, in key order; `None` when the space is unknown.
    pub(crate) fn operations(
        &self,
        space: &SpaceId,
        prefix: &BlindPath,
    ) -> Result<Option<Scan<'_>>, IndexFault> {
        let Some(space) = self.spaces.get(space) else { return Ok(None) };
        let (from, to) = keys::order_range(*space, prefix);
        self.index.scan(&from, &to).map(Some)
    }

    /// Documents at and under a path, ascending: one seek a document, whatever its length.
    pub(crate) fn documents(
        &self,
        space: &SpaceId,
        prefix: &BlindPath,
    ) -> Result<Vec<(BlindPath, DocumentId)>, IndexFault> {
        let Some(space) = self.spaces.get(space) else { return Ok(Vec::new()) };
        let (mut from, to) = keys::order_range(*space, prefix);
        let mut documents = Vec::new();
        while let Some(found) = self.index.scan(&from, &to)?.next_with(|key, _| keys::order_place(key)) {
            let (path, document) = found?.ok_or(IndexFault::Damaged)?;
            from = keys::order_document(*space, &path, &document);
            // Above every clock and id of this document, and at or below the next document.
            from.extend_from_slice(&[u8::MAX; 41]);
            documents.push((path, document));
        }
        Ok(documents)
    }

    /// The operations of a document by clock, then id, wherever it lay.
    pub(crate) fn document_operations(
        &self,
        space: &SpaceId,
        document: &DocumentId,
    ) -> Result<Vec<(u64, OpId, Place)>, IndexFault> {
        let Some(space) = self.spaces.get(space) else { return Ok(Vec::new()) };
        let paths = self
            .collect_prefix(&keys::of_document(b'd', *space, document), |key, _| keys::document_path(key))?;
        let mut operations = Vec::new();
        for path in &paths {
            let prefix = keys::order_document(*space, path, document);
            operations.extend(self.collect_prefix(&prefix, |key, value| {
                let (clock, id) = keys::order_clock(key)?;
                Some((clock, id, keys::decode_place(value)?))
            })?);
        }
        if paths.len() > 1 {
            operations.sort_unstable();
        }
        Ok(operations)
    }

    /// Present operations of the document without a present successor, ascending.
    pub(crate) fn heads(&self, space: &SpaceId, document: &DocumentId) -> Result<Vec<OpId>, IndexFault> {
        self.tips(space, document, HEAD)
    }

    /// Ids that present operations of the document refer to, and that are absent; ascending.
    pub(crate) fn missing(&self, space: &SpaceId, document: &DocumentId) -> Result<Vec<OpId>, IndexFault> {
        self.tips(space, document, MISSING)
    }

    fn tips(&self, space: &SpaceId, document: &DocumentId, wanted: u8) -> Result<Vec<OpId>, IndexFault> {
        let Some(space) = self.spaces.get(space) else { return Ok(Vec::new()) };
        let tips = self.collect_prefix(&keys::of_document(b't', *space, document), |key, value| {
            keys::tip_id(key).map(|id| (id, value == [wanted]))
        })?;
        Ok(tips.into_iter().filter(|(_, is_wanted)| *is_wanted).map(|(id, _)| id).collect())
    }

    pub(crate) fn local(&self, key: &[u8]) -> Result<Option<Vec<u8>>, IndexFault> {
        self.index.read(&keys::local(key), <[u8]>::to_vec)
    }

    pub(crate) fn local_prefix(&self, prefix: &[u8]) -> Result<Vec<LocalFact>, IndexFault> {
        self.collect_prefix(&keys::local(prefix), |key, value| Some((key.get(1..)?.to_vec(), value.to_vec())))
    }

    /// How far the index has come; `None` when it is new, of another version or of another log.
    pub(crate) fn position(&self, salt: &[u8; 32]) -> Result<Option<Position>, IndexFault> {
        Ok(self.index.read(keys::POSITION, |value| keys::decode_position(value, salt))?.flatten())
    }

    /// Writes everything that is committed into the index file, with the position up to which it is complete
    /// (STORE-12).
    pub(crate) fn checkpoint(&mut self, position: Position, salt: &[u8; 32]) -> Result<(), IndexFault> {
        self.index.put(keys::POSITION, &keys::encode_position(position, salt));
        self.index.commit_staged();
        self.index.checkpoint()
    }

    fn collect_prefix<T>(
        &self,
        prefix: &[u8],
        parse: impl Fn(&[u8], &[u8]) -> Option<T>,
    ) -> Result<Vec<T>, IndexFault> {
        let mut scan = self.index.scan(prefix, &keys::after_prefix(prefix))?;
        let mut found = Vec::new();
        while let Some(entry) = scan.next_with(&parse) {
            found.push(entry?.ok_or(IndexFault::Damaged)?);
        }
        Ok(found)
    }

    fn number_of(&mut self, space: &SpaceId) -> u32 {
        if let Some(number) = self.spaces.get(space) {
            return *number;
        }
        let number = self.spaces.len() as u32;
        self.index.put(&keys::space(number), space.as_bytes());
        self.spaces.insert(*space, number);
        number
    }

    fn load_spaces(&mut self) -> Result<(), IndexFault> {
        let spaces = self.collect_prefix(&[keys::SPACES], keys::space_parts)?;
        self.spaces = spaces.into_iter().collect();
        Ok(())
    }
}

/// Whether the payload of a record proves itself: it is what it says, signed by who it says.
pub(crate) fn is_authentic(kind: Kind, payload: &[u8]) -> bool {
    match kind {
        Kind::Operation => is_signed::<Operation>(payload),
        Kind::Statement => is_signed::<Statement>(payload),
        Kind::LocalPut | Kind::LocalRemove => false,
    }
}

fn is_signed<T: Signable>(payload: &[u8]) -> bool {
    Unverified::<T>::from_bytes(payload).is_ok_and(|value| value.verify().is_ok())
}
