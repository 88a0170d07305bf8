//! Changes as bytes (CRDT-2).

use alloc::{boxed::Box, vec::Vec};

use super::later::{read_later, write_later};
use super::{
    CHANGE_VERSION, CHANGE_VERSION_LATER, MAX_CHANGE_BYTES, MAX_KEY_BYTES, Reader, put_i64, put_u64,
};
use crate::{
    actor::{Actor, Dot},
    change::{Action, Change, Edit, Item, Made, PlaceRef},
    context::Seen,
    fault::DecodeError,
    path::Hop,
    value::{Float, Scalar},
};

impl Change {
    /// Reads a change from the front of `bytes` and checks it (CRDT-3). What it allocates is bounded by what it reads.
    pub fn decode(bytes: &mut &[u8]) -> Result<Self, DecodeError> {
        let mut from = Reader::new(bytes);
        let version = from.u8()?;
        if !matches!(version, CHANGE_VERSION | CHANGE_VERSION_LATER) {
            return Err(DecodeError::Version);
        }
        let mut actors = Vec::with_capacity(from.count(32)?);
        for _ in 0..actors.capacity() {
            let id = from.take(32)?.try_into().map_err(|_| DecodeError::Truncated)?;
            actors.push(Actor(id));
        }
        let first = from.u64()?;
        let unix_ms = from.u64()?;
        let deps = read_seen(&mut from, 0)?;
        let count = from.count(3)?;
        let places = (0..count).map(|_| read_place(&mut from)).collect::<Result<Vec<_>, _>>()?;
        let count = from.count(3)?;
        let mut dot = first;
        let mut edits = Vec::with_capacity(count);
        for _ in 0..count {
            let edit = read_edit(&mut from, dot)?;
            dot = dot.checked_add(edit.action.width()).ok_or(DecodeError::Invalid)?;
            edits.push(edit);
        }
        let change = Self { actors, first, unix_ms, deps, places, edits };
        change.check()?;
        if version != change.format() {
            return Err(DecodeError::NotCanonical);
        }
        if bytes.len() - from.rest().len() > MAX_CHANGE_BYTES {
            return Err(DecodeError::TooLarge);
        }
        *bytes = from.rest();
        Ok(change)
    }

    /// The least format that has all its edits (CRDT-2).
    fn format(&self) -> u8 {
        let later = self.edits.iter().any(|edit| edit.action.is_later());
        if later { CHANGE_VERSION_LATER } else { CHANGE_VERSION }
    }

    /// Reads a change that is all of `bytes`.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self, DecodeError> {
        let change = Self::decode(&mut bytes)?;
        if bytes.is_empty() { Ok(change) } else { Err(DecodeError::Leftover) }
    }

    /// Appends the one encoding of this change to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.format());
        put_u64(self.actors.len() as u64, out);
        for actor in &self.actors {
            out.extend_from_slice(&actor.0);
        }
        put_u64(self.first, out);
        put_u64(self.unix_ms, out);
        write_seen(&self.deps, 0, out);
        put_u64(self.places.len() as u64, out);
        for place in &self.places {
            write_place(place, out);
        }
        put_u64(self.edits.len() as u64, out);
        let mut dot = self.first;
        for edit in &self.edits {
            write_edit(edit, dot, out);
            dot += edit.action.width();
        }
    }
}

/// A dot of the author is written as its distance back from `base`, the dot of the edit that names it; `base` 0 and
/// other authors' dots as they are.
pub(crate) fn write_dot(dot: Dot, base: u64, out: &mut Vec<u8>) {
    put_u64(dot.actor.into(), out);
    put_u64(relative(dot, base), out);
}

fn relative(dot: Dot, base: u64) -> u64 {
    if dot.actor == 0 && base > 0 { base.saturating_sub(dot.counter) } else { dot.counter }
}

pub(crate) fn read_dot(from: &mut Reader<'_>, base: u64) -> Result<Dot, DecodeError> {
    let actor = from.u32()?;
    read_counter(from, actor, base)
}

fn read_counter(from: &mut Reader<'_>, actor: u32, base: u64) -> Result<Dot, DecodeError> {
    let raw = from.u64()?;
    let counter =
        if actor == 0 && base > 0 { base.checked_sub(raw).ok_or(DecodeError::Invalid)? } else { raw };
    Ok(Dot::new(actor, counter))
}

/// As a dot, with the actor one higher; 0 is none.
pub(crate) fn write_origin(dot: Option<Dot>, base: u64, out: &mut Vec<u8>) {
    match dot {
        None => out.push(0),
        Some(dot) => {
            put_u64(u64::from(dot.actor) + 1, out);
            put_u64(relative(dot, base), out);
        }
    }
}

pub(crate) fn read_origin(from: &mut Reader<'_>, base: u64) -> Result<Option<Dot>, DecodeError> {
    match from.u32()?.checked_sub(1) {
        None => Ok(None),
        Some(actor) => read_counter(from, actor, base).map(Some),
    }
}

fn write_seen(seen: &Seen, base: u64, out: &mut Vec<u8>) {
    put_u64(seen.iter().count() as u64, out);
    for (actor, counter) in seen.iter() {
        write_dot(Dot::new(actor, counter), base, out);
    }
}

fn read_seen(from: &mut Reader<'_>, base: u64) -> Result<Seen, DecodeError> {
    let count = from.count(2)?;
    let mut seen = Seen::default();
    let mut last = None;
    for _ in 0..count {
        let dot = read_dot(from, base)?;
        if last.is_some_and(|last| last >= dot.actor) {
            return Err(DecodeError::NotCanonical);
        }
        last = Some(dot.actor);
        seen.note(dot);
    }
    Ok(seen)
}

fn write_place(place: &PlaceRef, out: &mut Vec<u8>) {
    put_u64(place.parent.into(), out);
    match &place.hop {
        Hop::Key(key) => {
            out.push(0);
            write_str(key, out);
        }
        Hop::Element(dot) => {
            out.push(1);
            write_dot(*dot, 0, out);
        }
    }
}

fn read_place(from: &mut Reader<'_>) -> Result<PlaceRef, DecodeError> {
    let parent = from.u32()?;
    let hop = match from.u8()? {
        0 => Hop::Key(from.str(MAX_KEY_BYTES)?.into()),
        1 => Hop::Element(read_dot(from, 0)?),
        _ => return Err(DecodeError::Invalid),
    };
    Ok(PlaceRef { parent, hop })
}

fn write_edit(edit: &Edit, dot: u64, out: &mut Vec<u8>) {
    put_u64(edit.place.into(), out);
    write_seen(&edit.seen, dot, out);
    match &edit.action {
        Action::Put(scalar) => {
            out.push(0);
            write_scalar(scalar, out);
        }
        Action::Clear => out.push(1),
        Action::Make(Made::Map) => out.push(2),
        Action::Make(Made::List) => out.push(3),
        Action::Make(Made::Text) => out.push(4),
        Action::Increment(by) => {
            out.push(5);
            put_i64(*by, out);
        }
        Action::Enable => out.push(6),
        Action::Add(scalar) => {
            out.push(7);
            write_scalar(scalar, out);
        }
        Action::Discard(scalar) => {
            out.push(8);
            write_scalar(scalar, out);
        }
        Action::Insert { left, right, items } => {
            out.push(9);
            write_origin(*left, dot, out);
            write_origin(*right, dot, out);
            put_u64(items.len() as u64, out);
            for item in items {
                write_item(item, out);
            }
        }
        Action::Splice { left, right, text } => {
            out.push(10);
            write_origin(*left, dot, out);
            write_origin(*right, dot, out);
            write_str(text, out);
        }
        Action::Remove { first, count } => {
            out.push(11);
            write_dot(*first, dot, out);
            put_u64(*count, out);
        }
        later => write_later(later, dot, out),
    }
}

fn read_edit(from: &mut Reader<'_>, dot: u64) -> Result<Edit, DecodeError> {
    let place = from.u32()?;
    let seen = read_seen(from, dot)?;
    let action = match from.u8()? {
        0 => Action::Put(read_scalar(from)?),
        1 => Action::Clear,
        2 => Action::Make(Made::Map),
        3 => Action::Make(Made::List),
        4 => Action::Make(Made::Text),
        5 => Action::Increment(from.i64()?),
        6 => Action::Enable,
        7 => Action::Add(read_scalar(from)?),
        8 => Action::Discard(read_scalar(from)?),
        9 => {
            let (left, right) = (read_origin(from, dot)?, read_origin(from, dot)?);
            let count = from.count(1)?;
            let items = (0..count).map(|_| read_item(from)).collect::<Result<_, _>>()?;
            Action::Insert { left, right, items }
        }
        10 => {
            let (left, right) = (read_origin(from, dot)?, read_origin(from, dot)?);
            Action::Splice { left, right, text: from.str(MAX_CHANGE_BYTES)?.into() }
        }
        11 => {
            let (first, count) = (read_dot(from, dot)?, from.u64()?);
            // Whatever looks at an edit before it is checked may count on a last item.
            if count == 0 {
                return Err(DecodeError::Invalid);
            }
            Action::Remove { first, count }
        }
        tag => read_later(tag, from, dot)?,
    };
    Ok(Edit { place, seen, action })
}

/// A scalar's tag, or 16 and up for an element that is a container.
fn write_item(item: &Item, out: &mut Vec<u8>) {
    match item {
        Item::Scalar(scalar) => write_scalar(scalar, out),
        Item::Made(made) => out.push(16 + *made as u8),
    }
}

fn read_item(from: &mut Reader<'_>) -> Result<Item, DecodeError> {
    let made = match from.rest().first() {
        Some(16) => Made::Map,
        Some(17) => Made::List,
        Some(18) => Made::Text,
        Some(19) => Made::Tree,
        _ => return read_scalar(from).map(Item::Scalar),
    };
    from.u8()?;
    Ok(Item::Made(made))
}

pub(crate) fn write_str(text: &str, out: &mut Vec<u8>) {
    put_u64(text.len() as u64, out);
    out.extend_from_slice(text.as_bytes());
}

pub(crate) fn write_scalar(scalar: &Scalar, out: &mut Vec<u8>) {
    match scalar {
        Scalar::Null => out.push(0),
        Scalar::Bool(false) => out.push(1),
        Scalar::Bool(true) => out.push(2),
        Scalar::Int(number) => {
            out.push(3);
            put_i64(*number, out);
        }
        Scalar::Float(number) => {
            out.push(4);
            out.extend_from_slice(&number.to_bits().to_le_bytes());
        }
        Scalar::String(text) => {
            out.push(5);
            write_str(text, out);
        }
    }
}

pub(crate) fn read_scalar(from: &mut Reader<'_>) -> Result<Scalar, DecodeError> {
    Ok(match from.u8()? {
        0 => Scalar::Null,
        1 => Scalar::Bool(false),
        2 => Scalar::Bool(true),
        3 => Scalar::Int(from.i64()?),
        4 => {
            let bits: [u8; 8] = from.take(8)?.try_into().map_err(|_| DecodeError::Truncated)?;
            let number = Float::new(f64::from_bits(u64::from_le_bytes(bits)));
            Scalar::Float(number.ok_or(DecodeError::Invalid)?)
        }
        5 => Scalar::String(Box::from(from.str(usize::MAX)?)),
        _ => return Err(DecodeError::Invalid),
    })
}
