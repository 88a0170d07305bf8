//! The keys of the index. Each begins with a letter for its table and is ordered so that what is asked for is a range.
//!
//! ```text
//! i id                                    -> place            a record by its id
//! o space path document clock id          -> place            operations in order (STORE-11)
//! s space segment offset                  -> id length        statements in the order of arrival
//! d space document path                   -> -                where a document lies
//! t space document id                     -> tip              heads, and ids that are referred to but absent
//! n space number                          -> space id         numbers stand for spaces above
//! l key                                   -> value            local facts
//! m                                       -> position         how far the index has come in the log
//! ```
//! Integers are big-endian, which orders them. A path is a 1 and the tag for each component, then a 0: a path comes
//! right before what lies under it, and everything under a prefix is one range.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

use crate::format::Place;
use crate::log::Position;
use crate::operation::DocumentId;
use cs_identity::{BlindPath, OpId, SpaceId, Tag};

pub(crate) const POSITION: &[u8] = b"m";
pub(crate) const SPACES: u8 = b'n';
const COMPONENT: u8 = 1;
const PATH_END: u8 = 0;
/// Above [`COMPONENT`] and [`PATH_END`]: ends a range of paths.
const PATH_ABOVE: u8 = 2;
/// The version of everything here: an index of another version is rebuilt.
const INDEX_VERSION: u8 = 1;

pub(crate) fn record(id: &OpId) -> Vec<u8> {
    [b"i".as_slice(), id.as_bytes()].concat()
}

pub(crate) fn order(space: u32, path: &BlindPath, document: &DocumentId, clock: u64, id: &OpId) -> Vec<u8> {
    let mut key = order_document(space, path, document);
    key.extend_from_slice(&clock.to_be_bytes());
    key.extend_from_slice(id.as_bytes());
    key
}

/// What the keys of a document's operations under one path begin with.
pub(crate) fn order_document(space: u32, path: &BlindPath, document: &DocumentId) -> Vec<u8> {
    let mut key = order_prefix(space, path);
    key.push(PATH_END);
    key.extend_from_slice(document);
    key
}

/// The range of the operations at and under a path.
pub(crate) fn order_range(space: u32, prefix: &BlindPath) -> (Vec<u8>, Vec<u8>) {
    let from = order_prefix(space, prefix);
    let mut to = from.clone();
    to.push(PATH_ABOVE);
    (from, to)
}

fn order_prefix(space: u32, path: &BlindPath) -> Vec<u8> {
    let mut key = Vec::with_capacity(64 + path.depth() * (Tag::LEN + 1));
    key.push(b'o');
    key.extend_from_slice(&space.to_be_bytes());
    put_components(&mut key, path);
    key
}

fn put_components(key: &mut Vec<u8>, path: &BlindPath) {
    for tag in path.tags() {
        key.push(COMPONENT);
        key.extend_from_slice(tag.as_bytes());
    }
}

/// The id that ends an order key.
pub(crate) fn order_id(key: &[u8]) -> Option<OpId> {
    key.last_chunk::<32>().map(|id| OpId::from_bytes(*id))
}

/// The clock and id that end an order key.
pub(crate) fn order_clock(key: &[u8]) -> Option<(u64, OpId)> {
    let (rest, id) = key.split_last_chunk::<32>()?;
    Some((u64::from_be_bytes(*rest.last_chunk::<8>()?), OpId::from_bytes(*id)))
}

/// The path and the document of an order key.
pub(crate) fn order_place(key: &[u8]) -> Option<(BlindPath, DocumentId)> {
    let (path, rest) = split_path(key.get(5..)?)?;
    Some((path, *rest.first_chunk()?))
}

/// Takes an encoded path off the front.
fn split_path(mut bytes: &[u8]) -> Option<(BlindPath, &[u8])> {
    let mut tags = Vec::new();
    loop {
        let (mark, rest) = bytes.split_first()?;
        if *mark == PATH_END {
            return Some((BlindPath::new(tags).ok()?, rest));
        }
        let (tag, rest) = rest.split_first_chunk()?;
        tags.push(Tag::from_bytes(*tag));
        bytes = rest;
    }
}

pub(crate) fn statement(space: u32, place: Place) -> Vec<u8> {
    let mut key = vec![b's'];
    for number in [space, place.segment, place.offset] {
        key.extend_from_slice(&number.to_be_bytes());
    }
    key
}

pub(crate) fn statement_value(id: &OpId, place: Place) -> Vec<u8> {
    [id.as_bytes().as_slice(), &encode_place(place)].concat()
}

pub(crate) fn statement_parts(value: &[u8]) -> Option<(OpId, Place)> {
    let (id, place) = value.split_first_chunk()?;
    Some((OpId::from_bytes(*id), decode_place(place)?))
}

pub(crate) fn document(space: u32, document: &DocumentId, path: &BlindPath) -> Vec<u8> {
    let mut key = of_document(b'd', space, document);
    put_components(&mut key, path);
    key.push(PATH_END);
    key
}

/// The path of a `d` key.
pub(crate) fn document_path(key: &[u8]) -> Option<BlindPath> {
    split_path(key.get(21..)?).map(|(path, _)| path)
}

pub(crate) fn tip(space: u32, document: &DocumentId, id: &OpId) -> Vec<u8> {
    let mut key = of_document(b't', space, document);
    key.extend_from_slice(id.as_bytes());
    key
}

/// The id of a `t` key.
pub(crate) fn tip_id(key: &[u8]) -> Option<OpId> {
    order_id(key)
}

/// What the keys of one document in table `d` or `t` begin with.
pub(crate) fn of_document(table: u8, space: u32, document: &DocumentId) -> Vec<u8> {
    let mut key = vec![table];
    key.extend_from_slice(&space.to_be_bytes());
    key.extend_from_slice(document);
    key
}

pub(crate) fn space(number: u32) -> Vec<u8> {
    [[SPACES].as_slice(), &number.to_be_bytes()].concat()
}

pub(crate) fn space_parts(key: &[u8], value: &[u8]) -> Option<(SpaceId, u32)> {
    let number = u32::from_be_bytes(*key.get(1..)?.first_chunk()?);
    Some((SpaceId::from_bytes(value.try_into().ok()?), number))
}

pub(crate) fn local(key: &[u8]) -> Vec<u8> {
    [b"l", key].concat()
}

/// The least key above every key that begins with `prefix`, which must not be all 255s.
pub(crate) fn after_prefix(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            break;
        }
    }
    end
}

pub(crate) fn encode_place(place: Place) -> [u8; 12] {
    let mut bytes = [0; 12];
    let fields = [place.segment, place.offset, place.length];
    for (chunk, field) in bytes.as_chunks_mut::<4>().0.iter_mut().zip(fields) {
        *chunk = field.to_be_bytes();
    }
    bytes
}

pub(crate) fn decode_place(bytes: &[u8]) -> Option<Place> {
    let ([segment, offset, length], []) = bytes.as_chunks::<4>() else { return None };
    let number = |bytes: &[u8; 4]| u32::from_be_bytes(*bytes);
    Some(Place { segment: number(segment), offset: number(offset), length: number(length) })
}

/// The position of the index, and the log it was made from.
pub(crate) fn encode_position(position: Position, salt: &[u8; 32]) -> Vec<u8> {
    let mut bytes = vec![INDEX_VERSION];
    bytes.extend_from_slice(&position.segment.to_be_bytes());
    bytes.extend_from_slice(&position.offset.to_be_bytes());
    bytes.extend_from_slice(&position.batch.to_be_bytes());
    bytes.extend_from_slice(salt);
    bytes
}

/// `None` for an index of another version or another log.
pub(crate) fn decode_position(bytes: &[u8], salt: &[u8; 32]) -> Option<Position> {
    let rest = bytes.strip_prefix(&[INDEX_VERSION])?.strip_suffix(salt)?;
    let (segment, rest) = rest.split_first_chunk()?;
    let (offset, batch) = rest.split_first_chunk()?;
    Some(Position {
        segment: u32::from_be_bytes(*segment),
        offset: u32::from_be_bytes(*offset),
        batch: u64::from_be_bytes(batch.try_into().ok()?),
    })
}
