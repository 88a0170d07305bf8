//! Changes of a few plain edits of one place, which most changes are: a keystroke, a key that is set, an increment. They are
//! read and applied without a copy of them in memory. Whatever is not of that shape, or not valid, or not ready, is left to the
//! general way; what is, has the same effect.

use crate::{
    actor::{Actor, Actors, Dot},
    apply::apply_edit,
    change::{Action, Edit},
    compact::admits,
    context::{Context, Seen},
    document::{Applied, Document},
    slot::Slot,
    wire::{CHANGE_VERSION, MAX_CHANGE_BYTES, MAX_COUNTER, MAX_KEY_BYTES, Reader, read_scalar},
};

/// Most authors, steps and edits that a plain change has.
pub(crate) const ACTORS_MAX: usize = 6;
pub(crate) const STEPS_MAX: usize = 6;
pub(crate) const EDITS_MAX: usize = 4;

/// A change as it is read: valid, next in turn, what it names is known, and its dots are in the document's numbering.
pub(crate) struct Plain<'a> {
    pub(crate) author: u32,
    pub(crate) unix_ms: u64,
    pub(crate) steps: [&'a str; STEPS_MAX],
    pub(crate) depth: usize,
    pub(crate) edits: [Option<(Dot, Stroke<'a>)>; EDITS_MAX],
    /// The counter of its last dot.
    pub(crate) last: u64,
}

pub(crate) enum Stroke<'a> {
    Splice { left: Option<Dot>, right: Option<Dot>, text: &'a str },
    Remove { first: Dot, count: u64 },
    Other(Edit),
}

impl Document {
    /// Applies a plain change that is next in turn. Nothing if it is another one, and then nothing was changed.
    pub(crate) fn apply_plain(&mut self, bytes: &[u8]) -> Option<Applied> {
        if self.is_attended() {
            return None;
        }
        let plain = Parser::new(self, bytes)?.change()?;
        let steps = plain.steps.get(..plain.depth)?;
        let (actors, floor) = (&self.actors, &self.floor);
        let ineffective = self.root.edit_keys(steps, &mut |slot| {
            plain.fits(slot, floor).then(|| {
                let edits = plain.edits.iter().flatten();
                edits.filter(|(dot, stroke)| !stroke.apply(slot, *dot, plain.unix_ms, actors)).count()
            })
        })?;
        let mut applied = Applied { changes: 1, ineffective, ..Applied::default() };
        self.context.advance(plain.author, plain.last);
        if self.pending.len() > 0 {
            self.release(&mut applied);
        }
        applied.waiting = self.pending.len();
        Some(applied)
    }
}

impl Plain<'_> {
    /// Whether the edits do what they do in a place like this one alone. Clearing a large place is gathered, and a removal
    /// may be of elements.
    fn fits(&self, slot: &Slot, floor: &Context) -> bool {
        self.edits.iter().flatten().all(|(_, stroke)| match stroke {
            Stroke::Splice { left, right, .. } => {
                floor.is_empty() || admits(slot.text().map(|text| &text.runs), *left, *right, floor)
            }
            Stroke::Remove { .. } => slot.text().is_some() && slot.list().is_none(),
            Stroke::Other(edit) => {
                edit.seen.is_empty() || !matches!(edit.action, Action::Put(_)) || !slot.is_wide()
            }
        })
    }
}

impl Stroke<'_> {
    /// Whether it took effect.
    pub(crate) fn apply(&self, slot: &mut Slot, dot: Dot, unix_ms: u64, actors: &Actors) -> bool {
        match self {
            Self::Splice { left, right, text } => slot.edit_parts(|parts| {
                parts.text.get_or_insert_default().insert(dot, *left, *right, text, actors)
            }),
            Self::Remove { first, count } => slot.edit_parts(|parts| {
                parts.text.as_mut().is_some_and(|text| {
                    let is_here = text.runs.contains(*first);
                    text.remove(*first, *count);
                    is_here
                })
            }),
            Self::Other(edit) => apply_edit(slot, edit, dot, unix_ms, actors, None),
        }
    }
}

/// Reads a change beside a document. Every method gives nothing where the general way must decide.
struct Parser<'a, 'd> {
    from: Reader<'a>,
    document: &'d Document,
    /// The change's table of authors, in the document's numbering, and which were mentioned.
    table: [u32; ACTORS_MAX],
    authors: usize,
    mentioned: [bool; ACTORS_MAX],
}

impl<'a, 'd> Parser<'a, 'd> {
    fn new(document: &'d Document, bytes: &'a [u8]) -> Option<Self> {
        let from = Reader::new(bytes);
        let parser =
            Self { from, document, table: [0; ACTORS_MAX], authors: 0, mentioned: [false; ACTORS_MAX] };
        (bytes.len() <= MAX_CHANGE_BYTES).then_some(parser)
    }

    fn change(mut self) -> Option<Plain<'a>> {
        if self.from.u8().ok()? != CHANGE_VERSION {
            return None;
        }
        self.actors()?;
        let author = *self.table.first()?;
        let first = self.number()?;
        let unix_ms = self.number()?;
        if first != self.document.context.last(author) + 1 {
            return None;
        }
        self.seen(0)?;
        let (steps, depth) = self.steps()?;
        let edits = self.number()?;
        let mut plain =
            Plain { author, unix_ms, steps, depth, edits: [const { None }; EDITS_MAX], last: first - 1 };
        if edits == 0 || edits > EDITS_MAX as u64 {
            return None;
        }
        for entry in plain.edits.iter_mut().take(edits as usize) {
            let dot = plain.last.checked_add(1)?;
            let (stroke, width) = self.edit(depth, dot)?;
            plain.last = plain.last.checked_add(width).filter(|last| *last <= MAX_COUNTER)?;
            *entry = Some((Dot::new(author, dot), stroke));
        }
        let all_mentioned = self.mentioned.get(1..self.authors)?.iter().all(|mentioned| *mentioned);
        (all_mentioned && self.from.is_empty() && plain.removes_once()).then_some(plain)
    }

    fn number(&mut self) -> Option<u64> {
        self.from.u64().ok()
    }

    /// The author, then the others, ascending.
    fn actors(&mut self) -> Option<()> {
        self.authors = self.from.count(32).ok().filter(|count| (1..=ACTORS_MAX).contains(count))?;
        let mut ids = [Actor([0; 32]); ACTORS_MAX];
        for at in 0..self.authors {
            let id = Actor(self.from.take(32).ok()?.try_into().ok()?);
            *self.table.get_mut(at)? = self.document.actors.find(&id)?;
            *ids.get_mut(at)? = id;
        }
        let (author, others) = ids.get(..self.authors)?.split_first()?;
        (others.is_sorted_by(|a, b| a < b) && !others.contains(author)).then_some(())
    }

    /// A counter that follows the index of its author. It must be known, and if the author's own, before `dot`; 0 as
    /// `dot` is that the author's own are not allowed.
    fn dot(&mut self, actor: u64, dot: u64) -> Option<Dot> {
        let at = usize::try_from(actor).ok().filter(|at| *at < self.authors)?;
        let raw = self.number()?;
        let counter = if at == 0 { dot.checked_sub(raw)? } else { raw };
        let local = *self.table.get(at)?;
        *self.mentioned.get_mut(at)? = true;
        let limit = if at == 0 { dot.checked_sub(1)? } else { self.document.context.last(local) };
        (1..=limit).contains(&counter).then_some(Dot::new(local, counter))
    }

    fn origin(&mut self, dot: u64) -> Option<Option<Dot>> {
        match self.number()?.checked_sub(1) {
            None => Some(None),
            Some(actor) => self.dot(actor, dot).map(Some),
        }
    }

    fn seen(&mut self, dot: u64) -> Option<Seen> {
        let mut seen = Seen::default();
        let mut last = None;
        for _ in 0..self.from.count(2).ok()? {
            let actor = self.number()?;
            if last.is_some_and(|last| last >= actor) || (dot == 0 && actor == 0) {
                return None;
            }
            last = Some(actor);
            seen.note(self.dot(actor, dot)?);
        }
        Some(seen)
    }

    /// Keys, each below the one before.
    fn steps(&mut self) -> Option<([&'a str; STEPS_MAX], usize)> {
        let depth = self.from.count(3).ok().filter(|depth| *depth <= STEPS_MAX)?;
        let mut steps = [""; STEPS_MAX];
        for (at, step) in steps.iter_mut().enumerate().take(depth) {
            if self.number()? != at as u64 || self.from.u8().ok()? != 0 {
                return None;
            }
            *step = self.from.str(MAX_KEY_BYTES).ok()?;
        }
        Some((steps, depth))
    }

    /// An edit of the last place, and how many dots it takes.
    fn edit(&mut self, depth: usize, dot: u64) -> Option<(Stroke<'a>, u64)> {
        if self.number()? != depth as u64 {
            return None;
        }
        let seen = self.seen(dot)?;
        let action = match self.from.u8().ok()? {
            0 => Action::Put(read_scalar(&mut self.from).ok()?),
            5 => Action::Increment(self.from.i64().ok()?),
            7 => Action::Add(read_scalar(&mut self.from).ok()?),
            8 => Action::Discard(read_scalar(&mut self.from).ok()?),
            10 if seen.is_empty() => {
                let (left, right) = (self.origin(dot)?, self.origin(dot)?);
                let text = self.from.str(MAX_CHANGE_BYTES).ok().filter(|text| !text.is_empty())?;
                let width = if text.is_ascii() { text.len() } else { text.chars().count() };
                return Some((Stroke::Splice { left, right, text }, width as u64));
            }
            11 if seen.is_empty() => {
                let actor = self.number()?;
                let first = self.dot(actor, dot)?;
                let count = self.number()?;
                let last = first.counter.checked_add(count)?.checked_sub(1)?;
                let limit = if actor == 0 { dot - 1 } else { self.document.context.last(first.actor) };
                return (count > 0 && last <= limit).then_some((Stroke::Remove { first, count }, 1));
            }
            _ => return None,
        };
        // An increment clears what it has seen, as hardly any does.
        let clears = matches!(action, Action::Increment(_)) && !seen.is_empty();
        (!clears).then_some((Stroke::Other(Edit { place: 0, seen, action }), 1))
    }
}

impl Plain<'_> {
    /// Whether no item is removed twice.
    fn removes_once(&self) -> bool {
        let ranges = || {
            self.edits.iter().flatten().enumerate().filter_map(|(at, (_, stroke))| match stroke {
                Stroke::Remove { first, count } => Some((at, *first, first.plus(*count))),
                _ => None,
            })
        };
        ranges().all(|(at, first, end)| {
            ranges().all(|(other, start, stop)| {
                at == other || start.actor != first.actor || stop <= first || end <= start
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;
    use proptest::{collection::vec as some, prelude::*};

    /// A change by one of two authors who hear each other now and then.
    fn history(steps: &[(bool, u8, u8, u8, bool)]) -> Vec<Vec<u8>> {
        let mut authors = [Document::new([5; 32]), Document::new([3; 32])];
        let mut said: Vec<Vec<u8>> = Vec::new();
        let mut heard = [0, 0];
        for (who, what, at, number, hear) in steps {
            let who = usize::from(*who);
            if *hear {
                for change in said.iter().skip(heard[who]) {
                    authors[who].apply_any(change).unwrap();
                }
                heard[who] = said.len();
            }
            let length = authors[who].len("t");
            let at = usize::from(*at).min(length);
            let end = (at + usize::from(number % 3)).min(length);
            let number = i64::from(*number);
            let edited = authors[who].edit(number as u64, |tx| match what % 8 {
                0..=2 => tx.splice("t", at..end, ["a", "xyz", "é", ""][usize::from(what % 4)]),
                3 => tx.set(["m", "k"], number),
                4 => tx.set("m", number),
                5 => tx.increment("n", number - 99),
                6 => tx.add("s", number % 4),
                _ => tx.discard("s", number % 4),
            });
            said.extend(edited.ok().flatten());
        }
        said
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// CRDT-1 to CRDT-5: what is plain has the effect that it has in the general way, whatever it says.
        #[test]
        fn plain_changes_have_their_general_effect(
            steps in some((any::<bool>(), any::<u8>(), 0u8..30, any::<u8>(), any::<bool>()), 1..40),
            damage in some((any::<u16>(), any::<u16>(), any::<u8>()), 0..8),
        ) {
            let mut said = history(&steps);
            for (which, at, byte) in damage {
                let count = said.len();
                if let Some(change) = said.get_mut(usize::from(which) % count.max(1)) {
                    let at = usize::from(at) % change.len();
                    change[at] = byte;
                }
            }
            let (mut plainly, mut generally) = (Document::new([9; 32]), Document::new([9; 32]));
            for change in &said {
                prop_assert_eq!(plainly.apply(change), generally.apply_any(change));
            }
            prop_assert_eq!(plainly.save(), generally.save());
        }
    }

    #[test]
    fn keystrokes_are_plain() {
        let mut author = Document::new([5; 32]);
        let mut reader = Document::new([9; 32]);
        let first = author.edit(0, |tx| tx.splice("t", 0..0, "hello")).unwrap().unwrap();
        assert_eq!(
            reader.apply_plain(&first),
            None,
            "it makes the map and the text, of an author not met yet"
        );
        reader.apply_any(&first).unwrap();
        let typed = author.edit(1, |tx| tx.splice("t", 5..5, "!")).unwrap().unwrap();
        let cut = author.edit(2, |tx| tx.splice("t", 0..2, "")).unwrap().unwrap();
        let set = author.edit(3, |tx| tx.set("k", 1)).unwrap().unwrap();
        let set_again = author.edit(4, |tx| tx.set("k", "two")).unwrap().unwrap();
        let counted = author.edit(5, |tx| tx.increment("n", 3)).unwrap().unwrap();
        for change in [typed, cut, set, set_again, counted] {
            assert_eq!(reader.apply_plain(&change), Some(Applied { changes: 1, ..Applied::default() }));
        }
        assert_eq!(reader, author);
    }
}
