//! Forgetting what everybody has seen removed (CRDT-20).

use crate::{
    actor::Dot,
    change::{Action, Change, PlaceRef},
    context::Context,
    document::{Document, Version},
    fault::CompactError,
    path::Hop,
    sequence::{Items, Sequence},
    slot::Slot,
};

impl Document {
    /// Forgets the positions of everything that was removed, and the history so far, if `seen_by_all`, which
    /// everybody who counts has reached, is
    /// what this replica has seen. Whoever compacts at the same version gets the same document. Costs the document.
    ///
    /// What was made without having seen all of that version, and refers to what it left behind, is refused from then on
    /// ([`ChangeFault::Forgotten`](crate::ChangeFault::Forgotten)): its author takes a snapshot and edits again.
    ///
    /// # Errors
    /// See [`CompactError`]; the document is then as it was. A replica that is ahead loads a snapshot of that version,
    /// compacts it, and applies the changes since.
    pub fn compact(&mut self, seen_by_all: &Version) -> Result<(), CompactError> {
        if self.version() != *seen_by_all || self.pending.len() > 0 {
            return Err(CompactError::NotThere);
        }
        self.root.compact();
        self.floor.clone_from(&self.context);
        self.restart_history();
        Ok(())
    }

    /// The version at which this document was compacted last; empty if it never was.
    pub fn compacted_at(&self) -> Version {
        self.floor.iter().map(|(actor, counter)| (self.actors.id(actor), counter)).collect()
    }

    /// Whether a change, in the document's numbering, refers to nothing that was forgotten.
    pub(crate) fn remembers(&self, change: &Change) -> bool {
        if self.floor.is_empty() {
            return true;
        }
        let is_there = |place: &PlaceRef| match &place.hop {
            Hop::Element(dot) if self.floor.contains(*dot) => {
                let slot = self.slot_of(change, place.parent);
                slot.is_some_and(|slot| slot.at(core::slice::from_ref(&place.hop)).is_some())
            }
            _ => true,
        };
        change.places.iter().all(is_there)
            && change
                .edits
                .iter()
                .all(|edit| self.remembers_edit(self.slot_of(change, edit.place), &edit.action))
    }

    fn remembers_edit(&self, slot: Option<&Slot>, action: &Action) -> bool {
        let floor = &self.floor;
        let list = slot.and_then(Slot::list).map(|list| &list.runs);
        let text = slot.and_then(Slot::text).map(|text| &text.runs);
        match action {
            Action::Insert { left, right, .. } => admits(list, *left, *right, floor),
            Action::Splice { left, right, .. } => admits(text, *left, *right, floor),
            Action::Move { element, left, right } => {
                knows(list, *element, floor) && admits(list, *left, *right, floor)
            }
            Action::Mark { mark, .. } => {
                let ends = [mark.from.dot(), mark.to.dot()];
                ends.into_iter().flatten().all(|dot| knows(text, dot, floor))
            }
            _ => true,
        }
    }

    /// What is now at a place of the change's table.
    fn slot_of(&self, change: &Change, place: u32) -> Option<&Slot> {
        let hops = crate::apply::hops_of(change, place);
        hops.into_iter().try_fold(&self.root, |slot, hop| slot.at(core::slice::from_ref(hop)))
    }
}

/// Whether an insertion between these neighbours can have been made by someone who saw what was there at `floor`.
pub(crate) fn admits<C: Items>(
    sequence: Option<&Sequence<C>>,
    left: Option<Dot>,
    right: Option<Dot>,
    floor: &Context,
) -> bool {
    let is_old = |dot: Option<Dot>| dot.is_none_or(|dot| floor.contains(dot));
    let next = || sequence.and_then(|sequence| sequence.next_old(left, floor));
    [left, right].into_iter().flatten().all(|dot| knows(sequence, dot, floor))
        && (!is_old(left) || !is_old(right) || next() == right)
}

/// Whether an item that was there at `floor`, if this is one, still is.
fn knows<C: Items>(sequence: Option<&Sequence<C>>, dot: Dot, floor: &Context) -> bool {
    !floor.contains(dot) || sequence.is_some_and(|sequence| sequence.contains(dot))
}
