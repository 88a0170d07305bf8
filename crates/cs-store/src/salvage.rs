//! Saving what can be saved of a damaged log (STORE-8).
//!
//! The damaged segment stays on the disk under another name. In its place comes one with the batches that pass their
//! checks. Signed records in the damaged bytes prove themselves and are appended to the log again; local facts do not,
//! and are taken from the index as it was, if that can still be read.

use crate::catalog::{Catalog, is_authentic};
use crate::disk::{Disk, DiskFile};
use crate::fault::{Damage, OpenError};
use crate::format::{BATCH_HEADER, Batch, BatchHeader, Kind, SEGMENT_HEADER, SegmentHeader};
use crate::format::{record_at, records, split_local};
use crate::index::Index;
use crate::keys;
use crate::log::{Log, Position, segment_name, segment_numbers};
use crate::options::OpenOptions;
use crate::recovery::{INDEX_NAME, Opened, find_salt};
use crate::scan::{Next, SegmentReader};
use std::collections::{BTreeMap, BTreeSet};
use std::io;

const NEW_PREFIX: &str = "new-";

/// A signed record found among damaged bytes.
#[derive(Debug, Clone)]
pub(crate) struct Rescued {
    kind: Kind,
    payload: Vec<u8>,
}

/// What [`set_aside`] did.
#[derive(Debug, Default)]
pub(crate) struct Salvaged {
    pub(crate) rescued: Vec<Rescued>,
    pub(crate) damage: Vec<Damage>,
    /// The new name of the damaged segment; none for one that was absent.
    pub(crate) kept_as: Option<String>,
}

/// What an index knows that a damaged log may not: local facts, as of the position that it has come to.
#[derive(Debug, Default)]
pub(crate) struct Kept {
    pub(crate) salt: Option<[u8; 32]>,
    position: Option<Position>,
    locals: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Kept {
    /// Reads the index before it is discarded. One that cannot be read gives nothing.
    pub(crate) fn take_from<D: Disk>(&mut self, disk: &D, options: &OpenOptions) {
        let Ok(file) = disk.open(INDEX_NAME) else { return };
        let Some(catalog) = Index::open(file, options.cache_bytes).and_then(Catalog::new).ok() else {
            return;
        };
        let salt = catalog.index.read(keys::POSITION, |value| value.last_chunk::<32>().copied());
        let Some(salt) = salt.ok().flatten().flatten() else { return };
        if let (Ok(position), Ok(locals)) = (catalog.position(&salt), catalog.local_prefix(&[])) {
            *self = Self { salt: Some(salt), position, locals: locals.into_iter().collect() };
        }
    }
}

/// Completes the exchange of a segment that a crash interrupted between its two renamings, and removes what one left
/// that came before them.
pub(crate) fn finish_rewrites<D: Disk>(disk: &D) -> io::Result<()> {
    let names = disk.names()?;
    let segments = segment_numbers(&names);
    for name in names.iter().filter(|name| name.starts_with(NEW_PREFIX)) {
        let number = name.strip_prefix(NEW_PREFIX).and_then(|number| number.parse().ok());
        match number.filter(|number| !segments.contains(number)) {
            Some(number) => disk.rename(name, &segment_name(number))?,
            None => disk.remove(name)?,
        }
        disk.sync_names()?;
    }
    Ok(())
}

/// Counts what salvage would save. Changes nothing.
pub(crate) fn assess<D: Disk>(disk: &D, damage: Damage) -> Result<Damage, OpenError> {
    if !segment_numbers(&disk.names()?).contains(&damage.segment) {
        return Ok(damage);
    }
    let (_, reader) = SegmentReader::open(disk.open(&segment_name(damage.segment))?, damage.segment)?;
    let rescued = rescue(&reader.bytes(damage.from, damage.until)?);
    Ok(Damage { salvaged: rescued.len() as u32, ..damage })
}

/// Puts a segment of intact batches in the damaged one's place, durably.
pub(crate) fn set_aside<D: Disk>(disk: &D, damage: Damage, salt: [u8; 32]) -> Result<Salvaged, OpenError> {
    let names = disk.names()?;
    let segments = segment_numbers(&names);
    let salt = find_salt(disk, &segments)?.unwrap_or(salt);
    let number = damage.segment;
    let header = SegmentHeader { number, generation: 1, first_batch: 0, salt };
    if !segments.contains(&number) {
        Log::create_segment(disk, &header)?;
        return Ok(Salvaged { damage: vec![damage], ..Salvaged::default() });
    }
    let new_name = format!("{NEW_PREFIX}{number:08}");
    let salvaged = copy_intact(disk, &new_name, header, damage)?;
    let kept_as = (0..)
        .map(|count: u32| format!("damaged-{number:08}-{count}"))
        .find(|name| !names.contains(name))
        .unwrap_or_default();
    disk.sync_names()?;
    disk.rename(&segment_name(number), &kept_as)?;
    disk.sync_names()?;
    disk.rename(&new_name, &segment_name(number))?;
    disk.sync_names()?;
    Ok(Salvaged { kept_as: Some(kept_as), ..salvaged })
}

/// Copies the batches that pass their checks into a new file, and gathers what the rest still holds.
fn copy_intact<D: Disk>(
    disk: &D,
    new_name: &str,
    fallback: SegmentHeader,
    damage: Damage,
) -> Result<Salvaged, OpenError> {
    let number = fallback.number;
    let (found, mut reader) = SegmentReader::open(disk.open(&segment_name(number))?, number)?;
    let header = found.map_or(fallback, |found| SegmentHeader { generation: found.generation + 1, ..found });
    reader.set_salt(header.salt);
    let file = disk.open(new_name)?;
    file.set_size(0)?;
    file.write_at(0, &header.encode())?;
    let mut salvaged = Salvaged::default();
    if damage.from >= reader.size() || found.is_none() {
        // Bytes that are gone altogether, or a header: what follows finds only damage among batches.
        salvaged.damage.push(damage);
    }
    let (mut from, mut to, mut expected) = (SEGMENT_HEADER.min(reader.size()), SEGMENT_HEADER, 0);
    loop {
        match reader.next(from, expected)? {
            Next::End => break,
            Next::Batch { header: batch, body, end } => {
                let moved = BatchHeader::new(&header.salt, number, to, batch.number, batch.count, &body);
                file.write_at(u64::from(to), &[moved.encode().as_slice(), &body].concat())?;
                to += (BATCH_HEADER + body.len()) as u32;
                expected = batch.number + 1;
                from = end;
            }
            Next::Broken { later, size } => {
                let until = later.unwrap_or(size);
                let rescued = rescue(&reader.bytes(from, until)?);
                salvaged
                    .damage
                    .push(Damage { salvaged: rescued.len() as u32, ..Damage::of(number, from, until) });
                salvaged.rescued.extend(rescued);
                from = until;
            }
        }
    }
    file.sync()?;
    Ok(salvaged)
}

/// The signed records among bytes of any kind: every place where one may begin is tried.
fn rescue(bytes: &[u8]) -> Vec<Rescued> {
    let mut rescued = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let found = record_at(bytes, at).and_then(|record| {
            let kind = Kind::from_byte(record.kind).filter(|kind| kind.is_signed())?;
            is_authentic(kind, record.payload).then_some((kind, record))
        });
        match found {
            Some((kind, record)) => {
                rescued.push(Rescued { kind, payload: record.payload.to_vec() });
                at = record.start + record.payload.len();
            }
            None => at += 1,
        }
    }
    rescued
}

/// Appends the rescued records and the local facts that the damage took to the log.
pub(crate) fn restore<D: Disk>(
    opened: &mut Opened<D>,
    rescued: &[Rescued],
    kept: &Kept,
) -> Result<(), OpenError> {
    let mut writer = Writer { opened, batch: Batch::default() };
    for record in rescued {
        writer.add(record.kind, &[&record.payload])?;
    }
    if let Some(position) = kept.position {
        let touched = locals_since(writer.opened.log.disk(), position)?;
        let rebuilt =
            writer.opened.catalog.local_prefix(&[]).map_err(|_| OpenError::Io(io::ErrorKind::Other))?;
        let rebuilt: BTreeMap<_, _> = rebuilt.into_iter().collect();
        for (key, value) in &kept.locals {
            if !touched.contains(key) && rebuilt.get(key) != Some(value) {
                writer.add(Kind::LocalPut, &[&(key.len() as u16).to_le_bytes(), key, value])?;
            }
        }
        for key in rebuilt.keys().filter(|key| !touched.contains(*key) && !kept.locals.contains_key(*key)) {
            writer.add(Kind::LocalRemove, &[key])?;
        }
    }
    writer.flush()
}

/// Appends records to the log and adds them to the catalog.
struct Writer<'a, D: Disk> {
    opened: &'a mut Opened<D>,
    batch: Batch,
}

impl<D: Disk> Writer<'_, D> {
    fn add(&mut self, kind: Kind, payload: &[&[u8]]) -> Result<(), OpenError> {
        let start = match self.batch.push(kind, payload) {
            Some(start) => start,
            None => {
                self.flush()?;
                self.batch.push(kind, payload).ok_or(OpenError::Newer)?
            }
        };
        let payload = payload.concat();
        let place = self.opened.log.place(start, payload.len());
        let added = self.opened.catalog.replay(kind as u8, &payload, place);
        added.map_err(|_| OpenError::Io(io::ErrorKind::Other))
    }

    fn flush(&mut self) -> Result<(), OpenError> {
        if self.batch.count() > 0 {
            self.opened.log.append(&self.batch).map_err(|_| OpenError::Io(io::ErrorKind::StorageFull))?;
            self.opened.catalog.index.commit_staged();
            self.batch.clear();
        }
        Ok(())
    }
}

/// The keys of the local facts that batches from `position` on set or removed.
fn locals_since<D: Disk>(disk: &D, position: Position) -> Result<BTreeSet<Vec<u8>>, OpenError> {
    let mut keys = BTreeSet::new();
    for number in segment_numbers(&disk.names()?).into_iter().filter(|number| *number >= position.segment) {
        let (_, reader) = SegmentReader::open(disk.open(&segment_name(number))?, number)?;
        let mut at = SEGMENT_HEADER;
        while let Next::Batch { header, body, end } = reader.next(at, 0)? {
            at = end;
            if header.number < position.batch {
                continue;
            }
            for record in records(&body).flatten() {
                match Kind::from_byte(record.kind) {
                    Some(Kind::LocalPut) => {
                        keys.extend(split_local(record.payload).map(|(key, _)| key.to_vec()))
                    }
                    Some(Kind::LocalRemove) => {
                        keys.insert(record.payload.to_vec());
                    }
                    _ => {}
                }
            }
        }
    }
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::Operation;
    use crate::options::OnDamage;
    use crate::{MemDisk, Store};
    use cs_identity::{BlindPath, SecretKey, SpaceId};

    /// A batch with a local fact, as a peer might plant it in the ciphertext of an operation, for a log with `salt`.
    fn planted(salt: &[u8; 32], offset: u32) -> Vec<u8> {
        let mut batch = Batch::default();
        batch.push(Kind::LocalPut, &[&4u16.to_le_bytes(), b"peer", b"trusted"]);
        let header = BatchHeader::new(salt, 0, offset, 7, batch.count(), batch.body());
        [header.encode().as_slice(), batch.body()].concat()
    }

    /// Stores an operation with that batch in it, breaks the batch around it, and asks salvage for the fact.
    fn fact_after_salvage(guessed_salt: [u8; 32]) -> Option<Vec<u8>> {
        let key = SecretKey::from_bytes([1; 32]);
        let mut operation = Operation {
            space: SpaceId::from_bytes([2; 32]),
            path: BlindPath::root(),
            document: [3; 16],
            author: key.node_id(),
            seq: 0,
            backlink: None,
            deps: Vec::new(),
            clock: 0,
            grant: SpaceId::from_bytes([2; 32]).genesis(),
            control_heads: Vec::new(),
            epoch: 0,
            sealed: planted(&guessed_salt, 0),
        };
        // One byte of length comes between the envelope and the plant.
        let before = BATCH_HEADER + 5 + operation.aad().len() + 1;
        operation.sealed = planted(&guessed_salt, SEGMENT_HEADER + before as u32);
        let mut options =
            OpenOptions { salt: [7; 32], on_damage: OnDamage::Salvage, ..OpenOptions::default() };
        let disk = MemDisk::new();
        let (mut store, _) = Store::open(disk.clone(), options.clone()).expect("a new disk");
        store.stage_operation(&operation.sign(&key).expect("within bounds")).expect("room");
        store.commit().expect("a sound disk");
        store.close().expect("a sound disk");
        assert!(disk.flip_bit(&segment_name(0), 8 * u64::from(SEGMENT_HEADER)));
        options.rebuild_index = true;
        let (store, recovery) = Store::open(disk, options).expect("salvage opens");
        assert!(!recovery.damage.is_empty());
        store.local(b"peer").expect("a sound index")
    }

    /// STORE-8, and its twin: who knows the salt can.
    #[test]
    fn a_peer_cannot_plant_a_batch_without_the_salt() {
        assert_eq!(fact_after_salvage([0; 32]), None);
        assert_eq!(fact_after_salvage([7; 32]), Some(b"trusted".to_vec()));
    }
}
