//! What a place may hold beside its usual parts: of the kinds that came with format 2.

use crate::{
    actor::Actors,
    context::{Context, Seen},
    fold::Folds,
    list::List,
    marks::Marks,
    moves::{Moves, Position},
    tree::Tree,
};

/// Rare parts of a place, boxed so that a place without them costs nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Extra {
    pub(crate) folds: Folds,
    /// Of the place's text.
    pub(crate) marks: Marks,
    /// Of the place's list.
    pub(crate) moves: Moves,
    pub(crate) tree: Tree,
    /// How this place, as an item of a list, shows. Follows from the `moves` of that list.
    pub(crate) position: Position,
}

impl Extra {
    pub(crate) fn is_live(&self) -> bool {
        !self.folds.is_blank() || self.tree.is_live()
    }

    pub(crate) fn is_blank(&self) -> bool {
        self.is_saved_blank() && self.position == Position::Home
    }

    /// Nothing of it has to be written down.
    pub(crate) fn is_saved_blank(&self) -> bool {
        self.folds.is_blank() && self.marks.is_blank() && self.moves.is_blank() && self.tree.is_blank()
    }

    /// Positions stay, as those of items do.
    pub(crate) fn clear(&mut self, seen: &Seen) {
        self.folds.clear(seen);
        self.marks.clear(seen);
        self.tree.clear(seen);
    }

    pub(crate) fn note(&self, seen: &mut Seen) {
        self.folds.note(seen);
        self.marks.note(seen);
        self.tree.note(seen);
    }

    /// `list`: the place's own, joined already.
    pub(crate) fn join(
        &mut self,
        list: &mut List,
        other: Self,
        ours: &Context,
        theirs: &Context,
        actors: &Actors,
    ) {
        self.folds.join(other.folds, ours, theirs);
        self.marks.join(other.marks, ours, theirs);
        self.moves.join(list, other.moves, ours, theirs, actors);
        self.tree.join(other.tree, ours, theirs, actors);
    }
}
