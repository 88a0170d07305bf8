//! What a benchmark asks of a library: one replica's edits, and the bytes that replicas exchange.

use crate::traces::{Edit, Patch};

/// A replica of a document in some library.
pub trait Peer: Sized {
    /// With its version.
    const NAME: &'static str;
    /// Whether it has maps, counters and sets.
    const HAS: [bool; 3];
    /// How many of the last changes to apply one by one; those before them come at once. For libraries that would take
    /// minutes.
    const REMOTE_LAST: usize = usize::MAX;

    fn new(agent: usize) -> Self;

    /// Whether to keep what [`change`](Self::change) returns, for libraries that have it at no other time.
    fn record(&mut self, _is_on: bool) {}

    /// One transaction on the text, committed.
    fn splice(&mut self, patches: &[Patch]);

    /// What was committed since the last call, for other replicas.
    fn change(&mut self) -> Vec<u8>;

    fn apply(&mut self, change: &[u8]);

    /// Many changes at once, in the library's own way for that.
    fn apply_all(&mut self, changes: &[Vec<u8>]) {
        changes.iter().for_each(|change| self.apply(change));
    }

    /// The smallest form that the library goes on from after a restart.
    fn save(&mut self) -> Vec<u8>;

    fn load(saved: &[u8]) -> Self;

    fn text(&self) -> String;

    /// Sets a key of a map to a number.
    fn set(&mut self, _key: &str, _value: i64) {}

    /// Adds to a counter, if [`HAS`](Self::HAS) says so.
    fn increment(&mut self, _by: i64) {}

    /// Adds to a set or takes out of it.
    fn member(&mut self, _member: i64, _is_in: bool) {}

    /// Keys of the map, what the counter says, and members of the set, to compare replicas by.
    fn told(&self) -> (usize, i64, usize);

    fn edit(&mut self, edit: &Edit) {
        match edit {
            Edit::Text(patches) => self.splice(patches),
            Edit::Set(key, value) => self.set(key, *value),
            Edit::Increment(by) => self.increment(*by),
            Edit::Member(member, is_in) => self.member(*member, *is_in),
        }
    }
}
