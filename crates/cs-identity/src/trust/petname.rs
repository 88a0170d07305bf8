#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use thiserror::Error;

use crate::name;
use crate::node_id::NodeId;
use crate::wire::{self, DecodeError};

/// Entries a book may have.
pub const MAX_PETNAMES: usize = 65_536;

/// The names that one user gives to others: each to one key, and seen by nobody else (rule ID-27).
///
/// There are no global names. What others call somebody is shown as what they say, never in a petname's place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Petnames {
    by_key: BTreeMap<NodeId, String>,
    /// By the name in lowercase, so that two names do not differ by case alone.
    by_name: BTreeMap<String, NodeId>,
}

/// Why a petname was not given. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PetnameError {
    /// It is empty, longer than 64 bytes, or holds characters that names may not have.
    #[error("a name has 1 to 64 bytes, without control characters or doubled blanks")]
    NotAName,
    /// It is the text of a key, and would be mistaken for one.
    #[error("a name may not look like an identifier")]
    LooksLikeAKey,
    /// Another key has it, in this or another spelling.
    #[error("the name is taken")]
    Taken,
    /// The book has [`MAX_PETNAMES`] entries.
    #[error("no room for another name")]
    Full,
}

impl Petnames {
    /// An empty book.
    pub const fn new() -> Self {
        Self { by_key: BTreeMap::new(), by_name: BTreeMap::new() }
    }

    /// Names a key, in place of the name it had.
    ///
    /// # Errors
    /// [`PetnameError`].
    pub fn set(&mut self, key: NodeId, name: &str) -> Result<(), PetnameError> {
        if !name::is_name(name) {
            return Err(PetnameError::NotAName);
        }
        let folded = name.to_lowercase();
        if folded.parse::<NodeId>().is_ok() {
            return Err(PetnameError::LooksLikeAKey);
        }
        if self.by_name.get(&folded).is_some_and(|holder| *holder != key) {
            return Err(PetnameError::Taken);
        }
        if self.by_key.len() >= MAX_PETNAMES && !self.by_key.contains_key(&key) {
            return Err(PetnameError::Full);
        }
        self.remove(&key);
        self.by_name.insert(folded, key);
        self.by_key.insert(key, name.to_string());
        Ok(())
    }

    /// Forgets the name of a key, and returns it.
    pub fn remove(&mut self, key: &NodeId) -> Option<String> {
        let name = self.by_key.remove(key)?;
        self.by_name.remove(&name.to_lowercase());
        Some(name)
    }

    /// What the user calls a key.
    pub fn name(&self, key: &NodeId) -> Option<&str> {
        self.by_key.get(key).map(String::as_str)
    }

    /// Whom the user calls so, in any case of letters.
    pub fn find(&self, name: &str) -> Option<NodeId> {
        self.by_name.get(&name.to_lowercase()).copied()
    }

    /// All entries, ascending by key.
    pub fn iter(&self) -> impl Iterator<Item = (&NodeId, &str)> {
        self.by_key.iter().map(|(key, name)| (key, name.as_str()))
    }

    /// Appends the book for the user's own disk: version, count, then key and name, ascending by key.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(1);
        wire::put_varint(out, self.by_key.len() as u64);
        for (key, name) in &self.by_key {
            out.extend_from_slice(key.as_bytes());
            name::put(out, name);
        }
    }

    /// Takes a book off the front of `input`.
    ///
    /// # Errors
    /// [`DecodeError`] for anything that [`Self::encode`] does not write.
    pub fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        wire::take_version(input, 1)?;
        let count = wire::take_count(input, MAX_PETNAMES, 34)?;
        let (mut book, mut last) = (Self::new(), None);
        for _ in 0..count {
            let key = wire::take_node_id(input)?;
            let name = name::take(input)?;
            if last.is_some_and(|last| last >= key) {
                return Err(DecodeError::NotCanonical);
            }
            book.set(key, &name).map_err(|_| DecodeError::BadName)?;
            last = Some(key);
        }
        Ok(book)
    }
}
