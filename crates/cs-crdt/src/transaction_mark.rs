//! Local formatting of text.

use alloc::{boxed::Box, vec::Vec};
use core::ops::Range;

use crate::{
    actor::Dot,
    change::{Action, Kind},
    context::Seen,
    fault::EditError,
    marks::{Anchor, Expand, Mark},
    path::{Hop, Path},
    slot::Slot,
    transaction::Transaction,
    value::Scalar,
    wire::{MAX_COUNTER, MAX_MARK_KEY_BYTES},
};

impl Transaction<'_> {
    /// Formats the characters `range` of the text at `path`: gives them `key` at `value`, such as `bold` at `true`. Where several
    /// marks of one key meet, the later one counts. `expand` says whether what is typed at the ends takes it too.
    ///
    /// # Errors
    /// [`EditError::NotFound`] if no text is there, [`EditError::OutOfRange`] also for an empty range,
    /// [`EditError::TooLarge`] for a key of more than [`MAX_MARK_KEY_BYTES`] bytes.
    pub fn mark(
        &mut self,
        path: impl Into<Path>,
        range: Range<usize>,
        key: &str,
        value: impl Into<Scalar>,
        expand: Expand,
    ) -> Result<(), EditError> {
        let hops = self.open(&path.into())?;
        if self.slot(&hops).and_then(Slot::kind) != Some(Kind::Text) {
            return Err(EditError::NotFound);
        }
        self.mark_at(&hops, range, key, value.into(), expand, None)
    }

    /// Takes the marks `key` off the characters `range`.
    ///
    /// # Errors
    /// As for [`mark`](Self::mark).
    pub fn unmark(
        &mut self,
        path: impl Into<Path>,
        range: Range<usize>,
        key: &str,
        expand: Expand,
    ) -> Result<(), EditError> {
        self.mark(path, range, key, Scalar::Null, expand)
    }

    /// `undone`: a mark that goes too.
    pub(crate) fn mark_at(
        &mut self,
        hops: &[Hop],
        range: Range<usize>,
        key: &str,
        value: Scalar,
        expand: Expand,
        undone: Option<Dot>,
    ) -> Result<(), EditError> {
        if key.len() > MAX_MARK_KEY_BYTES {
            return Err(EditError::TooLarge);
        }
        let slot = self.slot(hops).ok_or(EditError::NotFound)?;
        let text = slot.text().ok_or(EditError::NotFound)?;
        if range.start >= range.end || range.end > text.len() {
            return Err(EditError::OutOfRange);
        }
        let out = EditError::OutOfRange;
        let first = text.runs.dot_of_visible(range.start).ok_or(out)?;
        let last = text.runs.dot_of_visible(range.end - 1).ok_or(out)?;
        let from = match text.runs.gap(range.start).ok_or(out)?.0 {
            before if expand.before() => before.map_or(Anchor::Edge, Anchor::After),
            _ => Anchor::Before(first),
        };
        let to = match text.runs.gap(range.end).ok_or(out)?.1 {
            after if expand.after() => after.map_or(Anchor::Edge, Anchor::Before),
            _ => Anchor::After(last),
        };
        let marks = slot.extra().map(|extra| &extra.marks);
        let rank = marks.map_or(1, |marks| marks.next_rank());
        let mut replaced: Vec<Dot> = Vec::new();
        if let Some(marks) = marks {
            let covered = marks.ranges(text).into_iter();
            let covered = covered.filter(|(_, old)| range.start <= old.start && old.end <= range.end);
            let covered: alloc::collections::BTreeSet<Dot> = covered.map(|(dot, _)| dot).collect();
            let same = marks.iter().filter(|(_, mark)| *mark.key == *key);
            // One with the highest rank of all cannot be outranked: it goes as a whole.
            let needless = same.filter(|(dot, mark)| {
                covered.contains(dot) || mark.rank >= MAX_COUNTER || undone == Some(*dot)
            });
            replaced.extend(needless.map(|(dot, _)| dot));
        }
        let rank = rank.min(MAX_COUNTER);
        let mark = Box::new(Mark { rank, from, to, key: key.into(), value });
        self.emit(hops, Seen::default(), Action::Mark { mark, replaced })
    }
}
