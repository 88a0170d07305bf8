//! Transactions of one plain edit: the same bytes as those of [`Document::edit`], without its bookkeeping.

use alloc::vec::Vec;
use core::ops::Range;

use crate::{
    actor::Dot,
    change::{Action, Edit, Kind},
    context::Seen,
    document::Document,
    fault::EditError,
    path::{Path, Step},
    plain::{ACTORS_MAX, EDITS_MAX, Plain, STEPS_MAX, Stroke},
    slot::Slot,
    value::Scalar,
    wire::{CHANGE_VERSION, MAX_COUNTER, MAX_KEY_BYTES, put_i64, put_u64, write_scalar},
};

/// Text above which the general way checks the size.
const TEXT_MAX: usize = 1 << 20;

impl Document {
    /// Replaces the characters `range` of the text at `path`, as a transaction of its own: what an editor calls at every
    /// keystroke. The same as [`edit`](Self::edit) with [`splice`](crate::Transaction::splice), and several times faster.
    ///
    /// # Errors
    /// Those of [`Transaction::splice`](crate::Transaction::splice).
    pub fn splice(
        &mut self,
        unix_ms: u64,
        path: &Path,
        range: Range<usize>,
        text: &str,
    ) -> Result<Option<Vec<u8>>, EditError> {
        match self.plain_splice(unix_ms, path, range.clone(), text) {
            Some(change) => Ok(change),
            None => self.edit(unix_ms, |tx| tx.splice(path, range, text)),
        }
    }

    /// Puts a scalar at `path`, as a transaction of its own. The same as [`edit`](Self::edit) with
    /// [`set`](crate::Transaction::set), and several times faster.
    ///
    /// # Errors
    /// Those of [`Transaction::set`](crate::Transaction::set).
    pub fn set(
        &mut self,
        unix_ms: u64,
        path: &Path,
        value: impl Into<Scalar>,
    ) -> Result<Option<Vec<u8>>, EditError> {
        let scalar = value.into();
        match self.plain_set(unix_ms, path, &scalar) {
            Some(change) => Ok(Some(change)),
            None => self.edit(unix_ms, |tx| tx.set(path, scalar)),
        }
    }

    /// Adds `by` to the counter at `path`, as a transaction of its own. The same as [`edit`](Self::edit) with
    /// [`increment`](crate::Transaction::increment), and several times faster.
    ///
    /// # Errors
    /// Those of [`Transaction::increment`](crate::Transaction::increment).
    pub fn increment(&mut self, unix_ms: u64, path: &Path, by: i64) -> Result<Option<Vec<u8>>, EditError> {
        match self.plain_increment(unix_ms, path, by) {
            Some(change) => Ok(Some(change)),
            None => self.edit(unix_ms, |tx| tx.increment(path, by)),
        }
    }

    #[allow(clippy::option_option, reason = "no change is not the same as not plain")]
    fn plain_splice(
        &mut self,
        unix_ms: u64,
        path: &Path,
        range: Range<usize>,
        text: &str,
    ) -> Option<Option<Vec<u8>>> {
        let mut plain = self.plain_at(unix_ms, path)?;
        let slot = self.plain_slot(&plain)?;
        if slot.kind() != Some(Kind::Text) || slot.list().is_some() {
            return None;
        }
        let runs = &slot.text()?.runs;
        if range.start > range.end || range.end > runs.visible() || text.len() > TEXT_MAX {
            return None;
        }
        if !range.is_empty() {
            for (first, count) in runs.dots_of_visible(range.start, range.len())? {
                plain.push(Stroke::Remove { first, count }, 1)?;
            }
        }
        if !text.is_empty() {
            let (left, right) = runs.gap(range.start)?;
            let width = if text.is_ascii() { text.len() } else { text.chars().count() };
            plain.push(Stroke::Splice { left, right, text }, width as u64)?;
        }
        if plain.is_empty() { Some(None) } else { self.make_plain(&plain).map(Some) }
    }

    fn plain_set(&mut self, unix_ms: u64, path: &Path, scalar: &Scalar) -> Option<Vec<u8>> {
        let mut plain = self.plain_at(unix_ms, path)?;
        if plain.depth == 0 || matches!(scalar, Scalar::String(text) if text.len() > TEXT_MAX) {
            return None;
        }
        let seen = match self.plain_slot(&plain) {
            None => Seen::default(),
            Some(slot) if slot.is_wide() => return None,
            Some(slot) => slot.seen(),
        };
        plain.push(Stroke::Other(Edit { place: 0, seen, action: Action::Put(scalar.clone()) }), 1)?;
        self.make_plain(&plain)
    }

    fn plain_increment(&mut self, unix_ms: u64, path: &Path, by: i64) -> Option<Vec<u8>> {
        let mut plain = self.plain_at(unix_ms, path)?;
        if self.plain_slot(&plain)?.kind() != Some(Kind::Counter) {
            return None;
        }
        let action = Action::Increment(by);
        plain.push(Stroke::Other(Edit { place: 0, seen: Seen::default(), action }), 1)?;
        self.make_plain(&plain)
    }

    /// An empty change of the place at `path`: keys through maps that are shown.
    fn plain_at<'a>(&self, unix_ms: u64, path: &'a Path) -> Option<Plain<'a>> {
        let author = self.actors.find(&self.me).filter(|_| !self.is_attended())?;
        let mut steps = [""; STEPS_MAX];
        let mut slot = Some(&self.root);
        for (at, step) in path.0.iter().enumerate() {
            let Step::Key(key) = step else { return None };
            slot.filter(|slot| slot.kind() == Some(Kind::Map))?;
            *steps.get_mut(at)? = key;
            slot = slot.and_then(Slot::map).and_then(|map| map.child(key));
        }
        let is_short = path.0.len() <= STEPS_MAX && steps.iter().all(|key| key.len() <= MAX_KEY_BYTES);
        is_short.then(|| Plain {
            author,
            unix_ms,
            steps,
            depth: path.0.len(),
            edits: [const { None }; EDITS_MAX],
            last: self.context.last(author),
        })
    }

    fn plain_slot(&self, plain: &Plain<'_>) -> Option<&Slot> {
        let steps = plain.steps.get(..plain.depth)?;
        steps.iter().try_fold(&self.root, |slot, key| slot.map()?.child(key))
    }

    /// Applies the change here and returns its bytes.
    fn make_plain(&mut self, plain: &Plain<'_>) -> Option<Vec<u8>> {
        let bytes = self.write_plain(plain)?;
        let (actors, unix_ms) = (&self.actors, plain.unix_ms);
        let steps = plain.steps.get(..plain.depth)?;
        self.root.edit_keys(steps, &mut |slot| {
            for (dot, stroke) in plain.edits.iter().flatten() {
                let effect = stroke.apply(slot, *dot, unix_ms, actors);
                debug_assert!(effect, "a local edit names only what is there");
            }
        });
        self.context.advance(plain.author, plain.last);
        self.told.clone_from(&self.context);
        Some(bytes)
    }

    /// The encoding of CRDT-2, if few authors are mentioned.
    fn write_plain(&self, plain: &Plain<'_>) -> Option<Vec<u8>> {
        let news =
            || self.context.iter().filter(|(actor, c)| *actor != plain.author && *c > self.told.last(*actor));
        let mut table = Table::new(plain.author);
        for (actor, _) in news() {
            table.mention(actor, self)?;
        }
        for (_, stroke) in plain.edits.iter().flatten() {
            match stroke {
                Stroke::Splice { left, right, .. } => {
                    [left, right].into_iter().flatten().try_for_each(|dot| table.mention(dot.actor, self))?;
                }
                Stroke::Remove { first, .. } => table.mention(first.actor, self)?,
                Stroke::Other(edit) => {
                    edit.seen.iter().try_for_each(|(actor, _)| table.mention(actor, self))?;
                }
            }
        }
        let mut out = Vec::with_capacity(96);
        out.push(CHANGE_VERSION);
        put_u64(table.len as u64, &mut out);
        for actor in table.locals.get(..table.len)? {
            out.extend_from_slice(&self.actors.id(*actor).0);
        }
        put_u64(plain.edits.first()?.as_ref()?.0.counter, &mut out);
        put_u64(plain.unix_ms, &mut out);
        put_u64(news().count() as u64, &mut out);
        // Ascending in the table, whose order is not that of the document.
        for local in table.locals.get(..table.len)? {
            if let Some((actor, counter)) = news().find(|(actor, _)| actor == local) {
                table.dot(Dot::new(actor, counter), 0, &mut out);
            }
        }
        put_u64(plain.depth as u64, &mut out);
        for (at, key) in plain.steps.iter().take(plain.depth).enumerate() {
            put_u64(at as u64, &mut out);
            out.push(0);
            put_u64(key.len() as u64, &mut out);
            out.extend_from_slice(key.as_bytes());
        }
        put_u64(plain.edits.iter().flatten().count() as u64, &mut out);
        for (dot, stroke) in plain.edits.iter().flatten() {
            put_u64(plain.depth as u64, &mut out);
            table.stroke(stroke, dot.counter, &mut out);
        }
        Some(out)
    }
}

impl<'a> Plain<'a> {
    /// Adds an edit with as many dots.
    fn push(&mut self, stroke: Stroke<'a>, width: u64) -> Option<()> {
        let dot = Dot::new(self.author, self.last + 1);
        self.last = self.last.checked_add(width).filter(|last| *last < MAX_COUNTER)?;
        *self.edits.iter_mut().find(|entry| entry.is_none())? = Some((dot, stroke));
        Some(())
    }

    fn is_empty(&self) -> bool {
        self.edits.iter().all(Option::is_none)
    }
}

/// A change's table of authors: its own, then the others by their bytes, in the document's numbering.
struct Table {
    locals: [u32; ACTORS_MAX],
    len: usize,
}

impl Table {
    fn new(author: u32) -> Self {
        Self { locals: [author; ACTORS_MAX], len: 1 }
    }

    fn mention(&mut self, actor: u32, document: &Document) -> Option<()> {
        let used = self.locals.get(..self.len)?;
        if used.contains(&actor) {
            return Some(());
        }
        let id = document.actors.id(actor);
        let before = used.iter().skip(1).take_while(|local| document.actors.id(**local) < id).count();
        *self.locals.get_mut(self.len)? = actor;
        self.len += 1;
        self.locals.get_mut(before + 1..self.len)?.rotate_right(1);
        Some(())
    }

    fn index(&self, actor: u32) -> u64 {
        self.locals.iter().position(|local| *local == actor).unwrap_or(0) as u64
    }

    /// The author's own as a distance back from `base`, unless that is 0.
    fn dot(&self, dot: Dot, base: u64, out: &mut Vec<u8>) {
        let index = self.index(dot.actor);
        put_u64(index, out);
        put_u64(if index == 0 { base - dot.counter } else { dot.counter }, out);
    }

    fn origin(&self, dot: Option<Dot>, base: u64, out: &mut Vec<u8>) {
        let Some(dot) = dot else { return out.push(0) };
        let index = self.index(dot.actor);
        put_u64(index + 1, out);
        put_u64(if index == 0 { base - dot.counter } else { dot.counter }, out);
    }

    fn stroke(&self, stroke: &Stroke<'_>, base: u64, out: &mut Vec<u8>) {
        match stroke {
            Stroke::Splice { left, right, text } => {
                out.extend_from_slice(&[0, 10]);
                self.origin(*left, base, out);
                self.origin(*right, base, out);
                put_u64(text.len() as u64, out);
                out.extend_from_slice(text.as_bytes());
            }
            Stroke::Remove { first, count } => {
                out.extend_from_slice(&[0, 11]);
                self.dot(*first, base, out);
                put_u64(*count, out);
            }
            Stroke::Other(edit) => {
                put_u64(edit.seen.iter().count() as u64, out);
                for local in self.locals.iter().take(self.len) {
                    if let limit @ 1.. = edit.seen.limit(*local) {
                        self.dot(Dot::new(*local, limit), base, out);
                    }
                }
                match &edit.action {
                    Action::Increment(by) => {
                        out.push(5);
                        put_i64(*by, out);
                    }
                    Action::Put(scalar) => {
                        out.push(0);
                        write_scalar(scalar, out);
                    }
                    _ => {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec as some, prelude::*};

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// CRDT-2: the same edits, and the same bytes, as transactions make.
        #[test]
        fn plain_edits_are_the_transactions_that_they_stand_for(
            steps in some((0u8..3, 0u8..12, 0u8..20, 0u8..5, any::<bool>()), 1..60),
        ) {
            let authors = [[5; 32], [3; 32], [8; 32]];
            let mut plainly = authors.map(Document::new);
            let mut generally = authors.map(Document::new);
            let mut said: Vec<Vec<u8>> = Vec::new();
            let (text, key) = (Path::from("t"), Path::from(["m", "k"]));
            for (who, what, at, width, hears) in steps {
                let (one, other) = (&mut plainly[usize::from(who)], &mut generally[usize::from(who)]);
                if hears {
                    for change in &said {
                        one.apply(change).unwrap();
                        other.apply(change).unwrap();
                    }
                }
                let range = usize::from(at)..usize::from(at + width);
                let typed = ["", "a", "é!"][usize::from(what % 3)];
                let number = i64::from(at);
                let (a, b) = match what {
                    0..7 => (
                        one.splice(1, &text, range.clone(), typed),
                        other.edit(1, |tx| tx.splice(&text, range, typed)),
                    ),
                    7..9 => (one.set(1, &key, number), other.edit(1, |tx| tx.set(&key, number))),
                    9 => (one.set(1, &text, "x"), other.edit(1, |tx| tx.set(&text, "x"))),
                    _ => {
                        let key = Path::from("n");
                        (one.increment(1, &key, number), other.edit(1, |tx| tx.increment(&key, number)))
                    }
                };
                prop_assert_eq!(&a, &b);
                said.extend(a.ok().flatten());
                prop_assert_eq!(one.save(), other.save());
            }
        }
    }
}
