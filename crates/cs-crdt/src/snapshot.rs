//! Snapshots: a document as bytes, in columns.
//!
//! Like goes with like, so that counters of dots that follow each other, lengths that repeat and clocks that barely move
//! become runs of a few bytes. Whatever a few bytes could blow up to much is written one by one (CRDT-9).

use alloc::{vec, vec::Vec};

use crate::{
    actor::{Actor, Actors, Dot},
    change::Change,
    context::Context,
    document::Document,
    fault::{DecodeError, LoadError},
    packing::{pack, unpack},
    slot::Slot,
    snapshot_read::Source,
    snapshot_write::Sink,
    wire::{
        MAX_CHANGE_BYTES, MAX_COUNTER, MAX_PENDING, Reader, SNAPSHOT_VERSION, SNAPSHOT_VERSION_COMPACT,
        SNAPSHOT_VERSION_LATER, put_u64,
    },
};

/// How many columns follow the header.
pub(crate) const COLUMNS: usize = 8;
/// How much higher versions are whose columns are packed.
const PACKED: u8 = SNAPSHOT_VERSION - 1;

/// A run's byte in the shape column: where its first item was inserted.
pub(crate) mod origin {
    /// Inserted after an item; otherwise at the start.
    pub(crate) const LEFT: u8 = 1;
    /// Inserted before an item; otherwise at the end.
    pub(crate) const RIGHT: u8 = 2;
    /// Inserted before the item whose dot follows the left neighbour's.
    pub(crate) const NEXT: u8 = 4;
}

/// A place's byte in the shape column: which parts follow.
pub(crate) mod part {
    pub(crate) const ONE: u8 = 1;
    pub(crate) const MANY: u8 = 2;
    pub(crate) const MAP: u8 = 4;
    pub(crate) const LIST: u8 = 8;
    pub(crate) const TEXT: u8 = 16;
    pub(crate) const SET: u8 = 32;
    pub(crate) const COUNTER: u8 = 64;
    pub(crate) const FLAG: u8 = 128;
    /// A byte of its own before the place's: parts of format 2 follow the others.
    pub(crate) const EXTRA: u8 = ONE | MANY;
}

/// What a snapshot says, in the numbering of the reader's authors.
pub(crate) struct Snapshot {
    pub(crate) actors: Actors,
    pub(crate) context: Context,
    /// What had been seen when it was compacted.
    pub(crate) floor: Context,
    pub(crate) root: Slot,
    /// Waiting changes, with their sizes.
    pub(crate) pending: Vec<(Change, usize)>,
}

pub(crate) fn write(document: &Document) -> Vec<u8> {
    let mut out = encode(&document.actors, &document.context, &document.floor, &document.root, true);
    let pending: Vec<&Change> = document.pending.iter().collect();
    put_u64(pending.len() as u64, &mut out);
    for change in pending {
        let mut bytes = Vec::new();
        change.encode(&mut bytes);
        put_u64(bytes.len() as u64, &mut out);
        out.extend_from_slice(&bytes);
    }
    out
}

/// `is_packed`: not as versions 1 to 3 had it.
fn encode(actors: &Actors, context: &Context, floor: &Context, root: &Slot, is_packed: bool) -> Vec<u8> {
    let mut authors: Vec<(Actor, u32, u64)> =
        context.iter().map(|(actor, counter)| (actors.id(actor), actor, counter)).collect();
    authors.sort_unstable();
    let mut numbers = vec![u32::MAX; actors.len()];
    let mut out = vec![SNAPSHOT_VERSION];
    put_u64(authors.len() as u64, &mut out);
    for (number, (id, local, counter)) in authors.iter().enumerate() {
        out.extend_from_slice(&id.0);
        put_u64(*counter, &mut out);
        if !floor.is_empty() {
            put_u64(floor.last(*local), &mut out);
        }
        if let Some(entry) = numbers.get_mut(*local as usize) {
            *entry = number as u32;
        }
    }
    let mut sink = Sink::new(numbers);
    sink.slot(root);
    if let Some(version) = out.first_mut() {
        *version = match (floor.is_empty(), sink.is_later) {
            (false, _) => SNAPSHOT_VERSION_COMPACT,
            (true, true) => SNAPSHOT_VERSION_LATER,
            (true, false) => SNAPSHOT_VERSION,
        };
        *version -= if is_packed { 0 } else { PACKED };
    }
    if is_packed {
        sink.into_columns().iter().for_each(|column| pack(column, &mut out));
        return out;
    }
    for column in sink.into_old_columns() {
        put_u64(column.len() as u64, &mut out);
        out.extend_from_slice(&column);
    }
    out
}

/// Reads a snapshot. `known` is the reader's table of authors, which the result's extends. Every dot must be within the
/// context and used once, every item's neighbours must exist, and the bytes must be exactly what writing the result gives.
pub(crate) fn read(bytes: &[u8], known: &Actors) -> Result<Snapshot, LoadError> {
    let mut from = Reader::new(bytes);
    let (version, is_packed) = match from.u8()? {
        old @ 1..SNAPSHOT_VERSION => (old + PACKED, false),
        new => (new, true),
    };
    if !matches!(version, SNAPSHOT_VERSION | SNAPSHOT_VERSION_LATER | SNAPSHOT_VERSION_COMPACT) {
        return Err(DecodeError::Version.into());
    }
    let mut actors = known.clone();
    let (mut context, mut floor) = (Context::default(), Context::default());
    let mut table = Vec::new();
    for _ in 0..from.count(33)? {
        let id: [u8; 32] = from.take(32)?.try_into().map_err(|_| DecodeError::Truncated)?;
        let counter = from.u64()?;
        if counter == 0 || counter > MAX_COUNTER {
            return Err(DecodeError::Invalid.into());
        }
        let local = actors.intern(Actor(id));
        context.advance(local, counter);
        table.push(local);
        if version == SNAPSHOT_VERSION_COMPACT {
            let seen = from.u64()?;
            if seen > counter {
                return Err(LoadError::Inconsistent);
            }
            floor.advance(local, seen);
        }
    }
    let mut unpacked = Vec::with_capacity(COLUMNS);
    for _ in 0..if is_packed { COLUMNS } else { COLUMNS - 1 } {
        let column = if is_packed { unpack(&mut from)? } else { read_old_column(&mut from)? };
        unpacked.push(column);
    }
    let columns: Vec<&[u8]> = unpacked.iter().map(|column| &**column).collect();
    let mut source = Source::new(&columns, &table, &context, &actors).ok_or(DecodeError::Truncated)?;
    let root = source.slot(0)?;
    source.finish()?;
    let body = bytes.len() - from.rest().len();
    if bytes.get(..body) != Some(&*encode(&actors, &context, &floor, &root, is_packed)) {
        return Err(DecodeError::NotCanonical.into());
    }
    let pending = read_pending(&mut from, &actors, &context)?;
    Ok(Snapshot { actors, context, floor, root, pending })
}

fn read_old_column(from: &mut Reader<'_>) -> Result<Vec<u8>, DecodeError> {
    let count = from.count(1)?;
    Ok(from.take(count)?.to_vec())
}

/// Waiting changes: ascending by author and first dot, and each of them still to come.
fn read_pending(
    from: &mut Reader<'_>,
    actors: &Actors,
    context: &Context,
) -> Result<Vec<(Change, usize)>, LoadError> {
    let count = from.count(1)?;
    if count > MAX_PENDING {
        return Err(DecodeError::TooLarge.into());
    }
    let mut pending = Vec::with_capacity(count);
    let mut last = None;
    for _ in 0..count {
        let size = from.count(1)?;
        if size > MAX_CHANGE_BYTES {
            return Err(DecodeError::TooLarge.into());
        }
        let change = Change::from_bytes(from.take(size)?)?;
        let key = (change.author(), change.first);
        if last.is_some_and(|last| last >= key) {
            return Err(DecodeError::NotCanonical.into());
        }
        let seen = actors.find(&key.0).map_or(0, |actor| context.last(actor));
        if change.first <= seen || ready(&change, actors, context) {
            return Err(LoadError::Inconsistent);
        }
        last = Some(key);
        pending.push((change, size));
    }
    if from.is_empty() { Ok(pending) } else { Err(DecodeError::Leftover.into()) }
}

/// Whether nothing keeps a change waiting: then it would not have been saved as waiting.
fn ready(change: &Change, actors: &Actors, context: &Context) -> bool {
    let last = |actor: &Actor| actors.find(actor).map_or(0, |actor| context.last(actor));
    let met = |dot: Dot| {
        dot.actor == 0
            || change.actors.get(dot.actor as usize).is_some_and(|actor| dot.counter <= last(actor))
    };
    change.first == last(&change.author()) + 1 && change.references().all(met)
}
