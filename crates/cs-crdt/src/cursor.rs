//! Cursors, and who wrote what.

use alloc::{collections::BTreeMap, vec::Vec};
use core::ops::Range;

use crate::{
    actor::{Actor, Dot},
    change::Kind,
    document::Document,
    fault::EditError,
    id::Id,
    observe::index_of,
    path::{Hop, Path, Step},
    sequence::Items as _,
    slot::Slot,
};

/// A position in a text or list that stays with what it is at, however the document is edited. It can be sent to
/// others, and holds on every replica that has what it names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// The text or list, with elements by name.
    pub place: Path,
    /// The character or element that it is at; `None` is the end.
    pub at: Option<Id>,
}

/// Part of a text or list that one author made at one time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blame {
    /// Which characters or elements.
    pub range: Range<usize>,
    /// The first one's name: its author and number.
    pub id: Id,
    /// When, by the author's clock in milliseconds since 1970, if the document keeps the history of it.
    pub unix_ms: Option<u64>,
}

impl Document {
    /// A cursor before the character or element `index` of the text or list at `path`; at the end if there are that many.
    ///
    /// # Errors
    /// [`EditError::NotFound`] if no text or list is there, [`EditError::OutOfRange`].
    pub fn cursor(&self, path: impl Into<Path>, index: usize) -> Result<Cursor, EditError> {
        let path = path.into();
        let hops = self.resolve(&path)?;
        let slot = self.slot(&path).ok_or(EditError::NotFound)?;
        let (length, dot) = match slot.kind() {
            Some(Kind::Text) => {
                let text = slot.text().ok_or(EditError::NotFound)?;
                (text.len(), text.runs.dot_of_visible(index))
            }
            Some(Kind::List) => {
                let list = slot.list().ok_or(EditError::NotFound)?;
                (list.len(), list.element_at(index))
            }
            _ => return Err(EditError::NotFound),
        };
        if index > length {
            return Err(EditError::OutOfRange);
        }
        let steps = hops.into_iter().map(|hop| match hop {
            Hop::Key(key) => Step::Key(key.into()),
            Hop::Element(dot) => Step::Node(Id::new(dot, &self.actors)),
        });
        let at = dot.filter(|_| index < length).map(|dot| Id::new(dot, &self.actors));
        Ok(Cursor { place: Path(steps.collect()), at })
    }

    /// Where a cursor is now: before the character or element it was set at, or, if that is gone, where it was. `None` if
    /// the text or list is gone or what the cursor names has not arrived. Costs a logarithm.
    pub fn position(&self, cursor: &Cursor) -> Option<usize> {
        let slot = self.slot(&cursor.place)?;
        let dot = match cursor.at {
            Some(id) => Some(id.dot(&self.actors)?),
            None => None,
        };
        match (slot.kind()?, dot) {
            (Kind::Text, None) => slot.text().map(crate::text::Text::len),
            (Kind::List, None) => slot.list().map(crate::list::List::len),
            (Kind::Text, Some(dot)) => slot.text()?.runs.index_of(dot),
            (Kind::List, Some(dot)) => index_of(slot, dot).or_else(|| slot.list()?.runs.index_of(dot)),
            _ => None,
        }
    }

    /// Who wrote which part of the text or list at `path`, in order. For anything else, see [`authors`](Self::authors).
    pub fn blame(&self, path: impl Into<Path>) -> Vec<Blame> {
        let Some(slot) = self.slot(&path.into()) else { return Vec::new() };
        let mut runs: Vec<(Dot, u64)> = Vec::new();
        match (slot.kind(), slot.text(), slot.list()) {
            (Some(Kind::Text), Some(text), _) => {
                let shown = text.runs.spans().filter(|span| span.items.visible() > 0);
                runs.extend(shown.map(|span| (span.id, span.items.len().into())));
            }
            (Some(Kind::List), _, Some(list)) => {
                runs.extend(list.live_elements().map(|(dot, _)| (dot, 1)));
            }
            _ => {}
        }
        let mut blame: Vec<Blame> = Vec::new();
        let mut last: Option<(Dot, u64)> = None;
        let mut at = 0;
        for (dot, count) in runs {
            let id = Id::new(dot, &self.actors);
            let unix_ms = self.history.as_ref().and_then(|history| history.clock_of(id.actor, id.counter));
            let range = at..at + count as usize;
            at = range.end;
            match blame.last_mut() {
                Some(run)
                    if last.is_some_and(|(dot_before, count)| dot_before.plus(count) == dot)
                        && run.unix_ms == unix_ms =>
                {
                    run.range.end = range.end;
                }
                _ => blame.push(Blame { range, id, unix_ms }),
            }
            last = Some((dot, count));
        }
        blame
    }

    /// Whose edits are alive in the place at `path` and below it, each with its latest. Costs the size of the place.
    pub fn authors(&self, path: impl Into<Path>) -> BTreeMap<Actor, u64> {
        let slot = self.slot(&path.into());
        let seen = slot.map(Slot::seen).unwrap_or_default();
        seen.iter().map(|(actor, counter)| (self.actors.id(actor), counter)).collect()
    }
}
