//! Where in a document.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::fmt;

use crate::{actor::Dot, id::Id};

/// One step down: into an object's member, or a list's element.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// A key of a map.
    Key(String),
    /// An index into a list, from 0.
    Index(usize),
    /// A tree's node, or a list's element by its name: goes with it wherever it moves.
    Node(Id),
}

/// Steps from the document's root. `Path::root()` is the root itself; a string is one key, an array of strings
/// is that many.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Path(pub Vec<Step>);

impl Path {
    /// The document itself.
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// This path and then a key.
    #[must_use]
    pub fn key(mut self, key: &str) -> Self {
        self.0.push(Step::Key(key.into()));
        self
    }

    /// This path and then an index.
    #[must_use]
    pub fn index(mut self, index: usize) -> Self {
        self.0.push(Step::Index(index));
        self
    }

    /// This path and then a tree's node, or a list's element by its name.
    #[must_use]
    pub fn node(mut self, id: Id) -> Self {
        self.0.push(Step::Node(id));
        self
    }
}

impl From<&str> for Path {
    fn from(key: &str) -> Self {
        Self::root().key(key)
    }
}

impl<const N: usize> From<[&str; N]> for Path {
    fn from(keys: [&str; N]) -> Self {
        keys.iter().fold(Self::root(), |path, key| path.key(key))
    }
}

impl From<&Self> for Path {
    fn from(path: &Self) -> Self {
        path.clone()
    }
}

/// As a JSON pointer (RFC 6901): `/todo/0/done`; the root is the empty string.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.0 {
            match step {
                Step::Key(key) => write!(f, "/{}", key.replace('~', "~0").replace('/', "~1"))?,
                Step::Index(index) => write!(f, "/{index}")?,
                Step::Node(id) => write!(f, "/{id}")?,
            }
        }
        Ok(())
    }
}

/// A step as replicas name it: elements by the dot that inserted them, since indexes shift.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hop {
    Key(Box<str>),
    Element(Dot),
}
