//! Edits of format 2 as bytes (CRDT-2).

use alloc::{boxed::Box, vec::Vec};

use super::edits::{read_dot, read_origin, read_scalar, write_dot, write_origin, write_scalar, write_str};
use super::{MAX_MARK_KEY_BYTES, Reader, put_u64};
use crate::{
    actor::Dot,
    change::{Action, Kind, Made},
    fault::DecodeError,
    fold::Fold,
    marks::{Anchor, Mark},
    tree::Target,
};

/// Kinds by number, here and in schemas.
const KINDS: [Kind; 12] = [
    Kind::Register,
    Kind::Map,
    Kind::List,
    Kind::Text,
    Kind::Set,
    Kind::Counter,
    Kind::Flag,
    Kind::Tree,
    Kind::Min,
    Kind::Max,
    Kind::Sum,
    Kind::Union,
];

pub(crate) fn write_later(action: &Action, dot: u64, out: &mut Vec<u8>) {
    match action {
        Action::Move { element, left, right } => {
            out.push(12);
            write_dot(*element, dot, out);
            write_origin(*left, dot, out);
            write_origin(*right, dot, out);
        }
        Action::Fold { fold, values } => {
            out.push(13);
            out.push(Fold::ALL.iter().position(|known| known == fold).unwrap_or_default() as u8);
            put_u64(values.len() as u64, out);
            values.iter().for_each(|value| write_scalar(value, out));
        }
        Action::Mark { mark, replaced } => {
            out.push(14);
            write_mark(mark, dot, out);
            write_dots(replaced, dot, out);
        }
        Action::Make(_) => out.push(15),
        Action::Plant(target) => {
            out.push(16);
            write_target(target, dot, out);
        }
        Action::Graft { node, from, target } => {
            out.push(17);
            write_dot(*node, dot, out);
            write_origin(*from, dot, out);
            write_target(target, dot, out);
        }
        Action::Prune(nodes) => {
            out.push(18);
            write_dots(nodes, dot, out);
        }
        Action::Touch(node) => {
            out.push(19);
            write_dot(*node, dot, out);
        }
        Action::Drop(kind) => {
            out.push(20);
            out.push(KINDS.iter().position(|known| known == kind).unwrap_or_default() as u8);
        }
        _ => {}
    }
}

pub(crate) fn read_later(tag: u8, from: &mut Reader<'_>, dot: u64) -> Result<Action, DecodeError> {
    Ok(match tag {
        12 => Action::Move {
            element: read_dot(from, dot)?,
            left: read_origin(from, dot)?,
            right: read_origin(from, dot)?,
        },
        13 => {
            let fold = *Fold::ALL.get(usize::from(from.u8()?)).ok_or(DecodeError::Invalid)?;
            let count = from.count(1)?;
            let values = (0..count).map(|_| read_scalar(from)).collect::<Result<Box<[_]>, _>>()?;
            if !fold.admits(&values) {
                return Err(DecodeError::Invalid);
            }
            Action::Fold { fold, values }
        }
        14 => {
            let mark = Box::new(read_mark(from, dot)?);
            Action::Mark { mark, replaced: read_dots(from, dot)? }
        }
        15 => Action::Make(Made::Tree),
        16 => Action::Plant(read_target(from, dot)?),
        17 => Action::Graft {
            node: read_dot(from, dot)?,
            from: read_origin(from, dot)?,
            target: read_target(from, dot)?,
        },
        18 => {
            let nodes = read_dots(from, dot)?;
            if nodes.is_empty() {
                return Err(DecodeError::Invalid);
            }
            Action::Prune(nodes)
        }
        19 => Action::Touch(read_dot(from, dot)?),
        20 => Action::Drop(*KINDS.get(usize::from(from.u8()?)).ok_or(DecodeError::Invalid)?),
        _ => return Err(DecodeError::Invalid),
    })
}

fn write_target(target: &Target, dot: u64, out: &mut Vec<u8>) {
    write_origin(target.parent, dot, out);
    write_origin(target.left, dot, out);
    write_origin(target.right, dot, out);
}

fn read_target(from: &mut Reader<'_>, dot: u64) -> Result<Target, DecodeError> {
    let parent = read_origin(from, dot)?;
    let left = read_origin(from, dot)?;
    Ok(Target { parent, left, right: read_origin(from, dot)? })
}

/// Rank, two ends, key, value. An end is 0 for the text's own, 1 and a dot for before it, 2 and a dot for after it.
fn write_mark(mark: &Mark, dot: u64, out: &mut Vec<u8>) {
    put_u64(mark.rank, out);
    for anchor in [mark.from, mark.to] {
        match anchor {
            Anchor::Edge => out.push(0),
            Anchor::Before(at) => {
                out.push(1);
                write_dot(at, dot, out);
            }
            Anchor::After(at) => {
                out.push(2);
                write_dot(at, dot, out);
            }
        }
    }
    write_str(&mark.key, out);
    write_scalar(&mark.value, out);
}

fn read_mark(from: &mut Reader<'_>, dot: u64) -> Result<Mark, DecodeError> {
    let rank = from.u64()?;
    let mut anchor = || {
        Ok(match from.u8()? {
            0 => Anchor::Edge,
            1 => Anchor::Before(read_dot(from, dot)?),
            2 => Anchor::After(read_dot(from, dot)?),
            _ => return Err(DecodeError::Invalid),
        })
    };
    let (start, end) = (anchor()?, anchor()?);
    let key = from.str(MAX_MARK_KEY_BYTES)?.into();
    Ok(Mark { rank, from: start, to: end, key, value: read_scalar(from)? })
}

fn write_dots(dots: &[Dot], dot: u64, out: &mut Vec<u8>) {
    put_u64(dots.len() as u64, out);
    dots.iter().for_each(|named| write_dot(*named, dot, out));
}

/// Ascending, each once.
fn read_dots(from: &mut Reader<'_>, dot: u64) -> Result<Vec<Dot>, DecodeError> {
    let count = from.count(2)?;
    let dots = (0..count).map(|_| read_dot(from, dot)).collect::<Result<Vec<_>, _>>()?;
    if dots.is_sorted_by(|a, b| a < b) { Ok(dots) } else { Err(DecodeError::NotCanonical) }
}
