//! What must hold of a change beyond its bytes (CRDT-3).

use alloc::{collections::BTreeSet, vec, vec::Vec};

use super::{MAX_COUNTER, MAX_DEPTH};
use crate::{
    actor::Dot,
    change::{Action, Change, Edit},
    fault::DecodeError,
    path::Hop,
};

impl Change {
    /// Every rule that does not depend on a document. Costs n log n of the change.
    pub(crate) fn check(&self) -> Result<(), DecodeError> {
        let (first, last) = self.counters();
        if first == 0 || last > MAX_COUNTER || self.edits.is_empty() {
            return Err(DecodeError::Invalid);
        }
        self.check_actors()?;
        self.check_places()?;
        let mut dot = first;
        for edit in &self.edits {
            self.check_edit(edit, dot)?;
            dot += edit.action.width();
        }
        self.check_removals()?;
        self.check_drops()
    }

    /// No kind is dropped twice in a place, since each costs a walk through it.
    fn check_drops(&self) -> Result<(), DecodeError> {
        let mut known = BTreeSet::new();
        for edit in &self.edits {
            if let Action::Drop(kind) = edit.action
                && !known.insert((edit.place, kind))
            {
                return Err(DecodeError::NotCanonical);
            }
        }
        Ok(())
    }

    /// Each once, in order, and each mentioned: a table names nobody for nothing.
    fn check_actors(&self) -> Result<(), DecodeError> {
        let (author, others) = self.actors.split_first().ok_or(DecodeError::Invalid)?;
        if !others.is_sorted_by(|a, b| a < b) || others.contains(author) {
            return Err(DecodeError::NotCanonical);
        }
        let mut mentioned = vec![false; self.actors.len()];
        for dot in self.references() {
            *mentioned.get_mut(dot.actor as usize).ok_or(DecodeError::Invalid)? = true;
            if dot.counter == 0 || dot.counter > MAX_COUNTER {
                return Err(DecodeError::Invalid);
            }
        }
        if mentioned.iter().skip(1).any(|mentioned| !mentioned) {
            return Err(DecodeError::NotCanonical);
        }
        if self.deps.limit(0) > 0 { Err(DecodeError::NotCanonical) } else { Ok(()) }
    }

    /// Each place once, after its parent, and none too deep.
    fn check_places(&self) -> Result<(), DecodeError> {
        let mut depths: Vec<usize> = vec![0];
        let mut known = BTreeSet::new();
        let last = self.counters().1;
        for place in &self.places {
            let depth = depths.get(place.parent as usize).ok_or(DecodeError::Invalid)? + 1;
            if depth > MAX_DEPTH {
                return Err(DecodeError::TooDeep);
            }
            if matches!(place.hop, Hop::Element(dot) if dot.actor == 0 && dot.counter > last) {
                return Err(DecodeError::Invalid);
            }
            if !known.insert(place) {
                return Err(DecodeError::NotCanonical);
            }
            depths.push(depth);
        }
        Ok(())
    }

    /// An edit refers to its author's earlier dots only, and to a listed place.
    fn check_edit(&self, edit: &Edit, dot: u64) -> Result<(), DecodeError> {
        let empty = match &edit.action {
            Action::Insert { items, .. } => items.is_empty(),
            Action::Splice { text, .. } => text.is_empty(),
            Action::Remove { count, .. } => *count > MAX_COUNTER,
            Action::Mark { mark, .. } => mark.rank == 0 || mark.rank > MAX_COUNTER,
            _ => false,
        };
        let future = edit.references().any(|dot_seen| dot_seen.actor == 0 && dot_seen.counter >= dot);
        if empty || future || edit.place as usize > self.places.len() {
            return Err(DecodeError::Invalid);
        }
        Ok(())
    }

    /// No item is removed twice by one change, so that the work is bounded by the document, however many
    /// removals there are.
    fn check_removals(&self) -> Result<(), DecodeError> {
        let mut removals: Vec<(u32, Dot, u64)> = Vec::new();
        for edit in &self.edits {
            if let Action::Remove { first, count } = edit.action {
                removals.push((edit.place, first, count));
            }
        }
        removals.sort_unstable();
        let overlap = |pair: &[(u32, Dot, u64)]| match pair {
            [a, b] => a.0 == b.0 && a.1.actor == b.1.actor && a.1.plus(a.2) > b.1,
            _ => false,
        };
        if removals.windows(2).any(overlap) { Err(DecodeError::NotCanonical) } else { Ok(()) }
    }
}
