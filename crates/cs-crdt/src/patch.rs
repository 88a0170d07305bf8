//! Patches: what changed, in terms of what a document shows.

use alloc::{string::String, vec::Vec};
use core::ops::Range;

use crate::{
    marks::MarkSpan,
    path::{Path, Step},
    value::{Scalar, Value},
};

/// One change of what a document shows as JSON. Paths and indexes are those after the patches before it; applying
/// all of them, in order, to the JSON before gives the JSON after. Trees are the arrays that they show as.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Patch {
    /// The place now shows `value`, whether something was there or not.
    Put {
        /// Where; the root is the document.
        path: Path,
        /// What it shows now.
        value: Value,
    },
    /// The member is gone.
    Remove {
        /// Where.
        path: Path,
    },
    /// Elements came into an array.
    Insert {
        /// The array.
        path: Path,
        /// Before which of its elements.
        index: usize,
        /// The elements.
        values: Vec<Value>,
    },
    /// Elements of an array are gone.
    Delete {
        /// The array.
        path: Path,
        /// Which.
        range: Range<usize>,
    },
    /// An element of an array moved.
    Move {
        /// The array.
        path: Path,
        /// Where it was.
        from: usize,
        /// Where it is.
        to: usize,
    },
    /// Text was edited, in Unicode scalar values.
    Splice {
        /// The text.
        path: Path,
        /// What is gone.
        range: Range<usize>,
        /// What is in its place.
        text: String,
    },
    /// The marks of a text are now these. JSON does not show them.
    Marks {
        /// The text.
        path: Path,
        /// All its marks.
        marks: Vec<MarkSpan>,
    },
}

impl Patch {
    /// Applies this patch to JSON; whether it fits.
    pub fn apply(&self, value: &mut Value) -> bool {
        match self {
            Self::Put { path, value: new } => put(value, path, new.clone()),
            Self::Remove { path } => remove(value, path),
            Self::Insert { path, index, values } => with_array(value, path, |array| {
                let fits = *index <= array.len();
                if fits {
                    array.splice(*index..*index, values.iter().cloned());
                }
                fits
            }),
            Self::Delete { path, range } => with_array(value, path, |array| {
                let fits = range.start <= range.end && range.end <= array.len();
                if fits {
                    array.drain(range.clone());
                }
                fits
            }),
            Self::Move { path, from, to } => with_array(value, path, |array| {
                let fits = *from < array.len() && *to < array.len();
                if fits {
                    let element = array.remove(*from);
                    array.insert(*to, element);
                }
                fits
            }),
            Self::Splice { path, range, text } => {
                let Some(Value::Scalar(Scalar::String(old))) = at(value, path) else { return false };
                let end = range.end - range.start;
                let before = old.chars().take(range.start);
                let after = old.chars().skip(range.start + end);
                *old = before.chain(text.chars()).chain(after).collect::<String>().into();
                true
            }
            Self::Marks { .. } => true,
        }
    }
}

fn at<'a>(mut value: &'a mut Value, path: &Path) -> Option<&'a mut Value> {
    for step in &path.0 {
        value = match (value, step) {
            (Value::Object(members), Step::Key(key)) => members.get_mut(key)?,
            (Value::Array(elements), Step::Index(index)) => elements.get_mut(*index)?,
            _ => return None,
        };
    }
    Some(value)
}

fn with_array(value: &mut Value, path: &Path, edit: impl FnOnce(&mut Vec<Value>) -> bool) -> bool {
    match at(value, path) {
        Some(Value::Array(elements)) => edit(elements),
        _ => false,
    }
}

fn put(value: &mut Value, path: &Path, new: Value) -> bool {
    let Some((last, parent)) = path.0.split_last() else {
        *value = new;
        return true;
    };
    match (at(value, &Path(parent.to_vec())), last) {
        (Some(Value::Object(members)), Step::Key(key)) => {
            members.insert(key.clone(), new);
            true
        }
        (Some(Value::Array(elements)), Step::Index(index)) => match elements.get_mut(*index) {
            Some(element) => {
                *element = new;
                true
            }
            None => false,
        },
        _ => false,
    }
}

fn remove(value: &mut Value, path: &Path) -> bool {
    let Some((Step::Key(key), parent)) = path.0.split_last() else { return false };
    match at(value, &Path(parent.to_vec())) {
        Some(Value::Object(members)) => members.remove(key).is_some(),
        _ => false,
    }
}
