//! Stable names of list elements, tree nodes and edits.

use alloc::string::String;
use core::{fmt, str::FromStr};

use crate::{
    actor::{Actor, Actors, Dot},
    fault::EditError,
    wire::MAX_COUNTER,
};

/// The name of one edit, or of what it made: a list's element, a tree's node. The same on every replica and for good, however
/// much it moves. Prints as `counter@author` with the author in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// Who made it.
    pub actor: Actor,
    /// Its number among all that this author made, from 1.
    pub counter: u64,
}

impl Id {
    pub(crate) fn new(dot: Dot, actors: &Actors) -> Self {
        Self { actor: actors.id(dot.actor), counter: dot.counter }
    }

    pub(crate) fn dot(&self, actors: &Actors) -> Option<Dot> {
        Some(Dot::new(actors.find(&self.actor)?, self.counter))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@", self.counter)?;
        self.actor.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{:?}", self.counter, self.actor)
    }
}

impl FromStr for Id {
    type Err = EditError;

    fn from_str(text: &str) -> Result<Self, EditError> {
        let (counter, actor) = text.split_once('@').ok_or(EditError::NotFound)?;
        let counter: u64 = counter.parse().map_err(|_| EditError::NotFound)?;
        let mut bytes = [0; 32];
        if actor.len() != 64 || !(1..=MAX_COUNTER).contains(&counter) {
            return Err(EditError::NotFound);
        }
        for (byte, digits) in bytes.iter_mut().zip(actor.as_bytes().chunks(2)) {
            let digits = core::str::from_utf8(digits).map_err(|_| EditError::NotFound)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| EditError::NotFound)?;
        }
        let id = Self { actor: Actor(bytes), counter };
        // One way to write it: no capitals, no plus sign, no leading zeros.
        if alloc::format!("{id}") == text { Ok(id) } else { Err(EditError::NotFound) }
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        alloc::format!("{id}")
    }
}
