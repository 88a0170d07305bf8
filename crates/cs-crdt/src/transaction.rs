//! Local edits.

use alloc::vec::Vec;
use core::ops::Range;

use crate::{
    actor::{Actor, Dot},
    apply::apply_edit,
    change::{Action, Change, Draft, Edit, Item, Kind, Made, PlaceRef},
    context::Seen,
    document::Document,
    fault::EditError,
    fold::Fold,
    observe,
    path::{Hop, Path, Step},
    rollback::Journal,
    slot::Slot,
    value::{Scalar, Value},
    wire::{MAX_CHANGE_BYTES, MAX_COUNTER, MAX_DEPTH, MAX_KEY_BYTES},
};

/// Edits that take effect together. Each is visible to the ones after it.
#[derive(Debug)]
pub struct Transaction<'a> {
    pub(crate) document: &'a mut Document,
    pub(crate) unix_ms: u64,
    pub(crate) me: u32,
    pub(crate) next: u64,
    /// Tree nodes, by place, that this transaction has kept alive.
    pub(crate) touched: alloc::collections::BTreeSet<Vec<Hop>>,
    draft: Draft,
    journal: Journal,
    /// How to undo this transaction, if that is kept.
    pub(crate) reverse: Vec<crate::undo::Step>,
    /// For an undo: what came back under new names.
    pub(crate) renamed: alloc::collections::BTreeMap<Dot, Dot>,
    /// Where the patches of this transaction begin.
    watched: usize,
}

impl<'a> Transaction<'a> {
    pub(crate) fn new(document: &'a mut Document, unix_ms: u64) -> Self {
        let me = document.actors.intern(document.me);
        let next = document.context.last(me) + 1;
        let watched = document.watch.as_ref().map_or(0, |watch| watch.mark());
        Self {
            document,
            unix_ms,
            me,
            next,
            touched: alloc::collections::BTreeSet::new(),
            draft: Draft::default(),
            journal: Journal::default(),
            reverse: Vec::new(),
            renamed: alloc::collections::BTreeMap::new(),
            watched,
        }
    }

    /// What is at `path` now.
    pub fn value(&self, path: impl Into<Path>) -> Option<Value> {
        self.document.value(path)
    }

    /// Makes the place hold exactly `value`, whatever was there: every conflict there is resolved by it. For an object or
    /// array that is there already, [`merge`](Self::merge) edits less. Missing maps on the way are made.
    ///
    /// # Errors
    /// [`EditError::WrongKind`] if the path leads through something that is no map or list, and the bounds.
    pub fn set(&mut self, path: impl Into<Path>, value: impl Into<Value>) -> Result<(), EditError> {
        let hops = self.open(&path.into())?;
        self.replace(&hops, &value.into())
    }

    /// Makes the place equal to `value` by few edits, as [`Document::merge_json`] does for the whole.
    ///
    /// # Errors
    /// As for [`set`](Self::set).
    pub fn merge(&mut self, path: impl Into<Path>, value: &Value) -> Result<(), EditError> {
        let mut hops = self.open(&path.into())?;
        self.merge_at(&mut hops, value)
    }

    /// Removes what is at `path`. What others do there at the same time survives.
    ///
    /// # Errors
    /// [`EditError::NotFound`].
    pub fn remove(&mut self, path: impl Into<Path>) -> Result<(), EditError> {
        let hops = self.document.resolve(&path.into())?;
        if self.node_at(&hops).is_some() {
            return self.prune_at(&hops);
        }
        let seen = self.slot(&hops).filter(|slot| slot.is_live()).ok_or(EditError::NotFound)?.seen();
        match hops.split_last() {
            Some((Hop::Element(dot), list)) => {
                self.emit(list, seen, Action::Remove { first: *dot, count: 1 })
            }
            _ => self.emit(&hops, seen, Action::Clear),
        }
    }

    /// Adds `by` to the counter at `path`, made if nothing is there. Concurrent increments add up.
    ///
    /// # Errors
    /// [`EditError::WrongKind`] if something else is there.
    pub fn increment(&mut self, path: impl Into<Path>, by: i64) -> Result<(), EditError> {
        let hops = self.open_as(path, Kind::Counter)?;
        self.emit(&hops, Seen::default(), Action::Increment(by))
    }

    /// Switches the flag at `path` on; switching on wins over a concurrent switching off.
    ///
    /// # Errors
    /// [`EditError::WrongKind`] if something else is there.
    pub fn enable(&mut self, path: impl Into<Path>) -> Result<(), EditError> {
        let hops = self.open_as(path, Kind::Flag)?;
        let seen = self.slot(&hops).map(Slot::seen).unwrap_or_default();
        self.emit(&hops, seen, Action::Enable)
    }

    /// Switches the flag at `path` off. A flag that is off is absent.
    ///
    /// # Errors
    /// [`EditError::WrongKind`] if something else is there.
    pub fn disable(&mut self, path: impl Into<Path>) -> Result<(), EditError> {
        let hops = self.open_as(path, Kind::Flag)?;
        let seen = self.slot(&hops).map(Slot::seen).unwrap_or_default();
        if seen.is_empty() { Ok(()) } else { self.emit(&hops, seen, Action::Clear) }
    }

    /// Adds a member to the set at `path`, made if nothing is there; adding wins over a concurrent discard.
    ///
    /// # Errors
    /// [`EditError::WrongKind`] if something else is there.
    pub fn add(&mut self, path: impl Into<Path>, member: impl Into<Scalar>) -> Result<(), EditError> {
        let (hops, member) = (self.open_as(path, Kind::Set)?, member.into());
        let seen =
            self.slot(&hops).and_then(Slot::parts).map(|parts| parts.set.seen(&member)).unwrap_or_default();
        self.emit(&hops, seen, Action::Add(member))
    }

    /// Takes a member out of the set at `path`; nothing happens if it is not in it.
    ///
    /// # Errors
    /// [`EditError::WrongKind`] if something else is there.
    pub fn discard(&mut self, path: impl Into<Path>, member: impl Into<Scalar>) -> Result<(), EditError> {
        let (hops, member) = (self.open_as(path, Kind::Set)?, member.into());
        let seen =
            self.slot(&hops).and_then(Slot::parts).map(|parts| parts.set.seen(&member)).unwrap_or_default();
        if seen.is_empty() { Ok(()) } else { self.emit(&hops, seen, Action::Discard(member)) }
    }

    /// Inserts a value before the element `index` of the list at `path`, made if nothing is there.
    ///
    /// # Errors
    /// [`EditError::WrongKind`] if something else is there, [`EditError::OutOfRange`].
    pub fn insert(
        &mut self,
        path: impl Into<Path>,
        index: usize,
        value: impl Into<Value>,
    ) -> Result<(), EditError> {
        let hops = self.open_as(path, Kind::List)?;
        self.insert_at(&hops, index, core::slice::from_ref(&value.into()))
    }

    /// Appends a value to the list at `path`, made if nothing is there.
    ///
    /// # Errors
    /// [`EditError::WrongKind`] if something else is there.
    pub fn push(&mut self, path: impl Into<Path>, value: impl Into<Value>) -> Result<(), EditError> {
        let hops = self.open_as(path, Kind::List)?;
        let end = self.slot(&hops).and_then(Slot::list).map_or(0, crate::list::List::len);
        self.insert_at(&hops, end, core::slice::from_ref(&value.into()))
    }

    /// Moves the element `from` of the list at `path` to where `to` is when it is done. Of concurrent moves of one element the
    /// latest wins; edits in it go with it, and a concurrent removal stays one.
    ///
    /// # Errors
    /// [`EditError::NotFound`] if no list is there, [`EditError::OutOfRange`].
    pub fn move_item(&mut self, path: impl Into<Path>, from: usize, to: usize) -> Result<(), EditError> {
        let hops = self.open(&path.into())?;
        let list = self.slot(&hops).and_then(Slot::list).ok_or(EditError::NotFound)?;
        let element = list.element_at(from).ok_or(EditError::OutOfRange)?;
        if to >= list.len() {
            return Err(EditError::OutOfRange);
        }
        if from == to {
            return Ok(());
        }
        let gap = if to > from { to + 1 } else { to };
        let (left, right) = list.runs.gap(gap).ok_or(EditError::OutOfRange)?;
        self.move_between(&hops, element, left, right)
    }

    pub(crate) fn move_between(
        &mut self,
        hops: &[Hop],
        element: Dot,
        left: Option<Dot>,
        right: Option<Dot>,
    ) -> Result<(), EditError> {
        let moves = self.slot(hops).and_then(Slot::extra).map(|extra| &extra.moves);
        let seen = moves.map(|moves| moves.seen(element)).unwrap_or_default();
        self.emit(hops, seen, Action::Move { element, left, right })
    }

    /// Writes to the register at `path` that shows the least, the greatest, the sum or the union of what was written, made if
    /// nothing is there. A write that would not show (no less than the least, no greater than the greatest) is none. To the
    /// sum everybody writes a share of their own, which replaces their former one; to a union, all that they want in it.
    /// [`set`](Self::set) and [`remove`](Self::remove) reset it.
    ///
    /// # Errors
    /// [`EditError::WrongKind`] if something else is there, or the sum's share is no number.
    pub fn fold(
        &mut self,
        path: impl Into<Path>,
        fold: Fold,
        values: impl IntoIterator<Item = impl Into<Scalar>>,
    ) -> Result<(), EditError> {
        let hops = self.open_as(path, fold.kind())?;
        let mut values: Vec<Scalar> = values.into_iter().map(Into::into).collect();
        values.sort_unstable();
        values.dedup();
        self.fold_at(&hops, fold, values)
    }

    pub(crate) fn fold_at(&mut self, hops: &[Hop], fold: Fold, values: Vec<Scalar>) -> Result<(), EditError> {
        if !fold.admits(&values) {
            return Err(EditError::WrongKind);
        }
        let me = self.me;
        let folds = self.slot(hops).and_then(Slot::extra).map(|extra| &extra.folds);
        let shown = folds.and_then(|folds| folds.value(fold, &self.document.actors));
        let writes = folds.map(|folds| folds.writes(fold));
        let mine = |dot: &Dot| matches!(fold, Fold::Min | Fold::Max) || dot.actor == me;
        let seen: Seen = writes.into_iter().flat_map(|writes| writes.dots()).filter(mine).collect();
        if let (Some(Value::Scalar(shown)), [value]) = (&shown, &*values) {
            let order = crate::fold::compare(value, shown);
            if (fold == Fold::Min && order.is_ge()) || (fold == Fold::Max && order.is_le()) {
                return Ok(());
            }
        }
        self.emit(hops, seen, Action::Fold { fold, values: values.into() })
    }

    /// Replaces the characters `range` (Unicode scalar values) of the text at `path`, made if nothing is there.
    ///
    /// # Errors
    /// [`EditError::WrongKind`] if something else is there, [`EditError::OutOfRange`].
    pub fn splice(
        &mut self,
        path: impl Into<Path>,
        range: Range<usize>,
        text: &str,
    ) -> Result<(), EditError> {
        let hops = self.open_as(path, Kind::Text)?;
        self.splice_at(&hops, range, text)
    }

    /// Checks the path, and that each place on the way can have the next one in it.
    pub(crate) fn open(&mut self, path: &Path) -> Result<Vec<Hop>, EditError> {
        if path.0.len() > MAX_DEPTH {
            return Err(EditError::TooDeep);
        }
        if path.0.iter().any(|step| matches!(step, Step::Key(key) if key.len() > MAX_KEY_BYTES)) {
            return Err(EditError::TooLarge);
        }
        let hops = self.document.resolve(path)?;
        for (at, hop) in hops.iter().enumerate() {
            let parent = hops.get(..at).unwrap_or_default();
            let kind = self.slot(parent).and_then(Slot::kind);
            match (hop, kind) {
                (Hop::Key(_), Some(Kind::Map)) | (Hop::Element(_), Some(Kind::List | Kind::Tree)) => {}
                (Hop::Key(_), None) => self.emit(parent, Seen::default(), Action::Make(Made::Map))?,
                _ => return Err(EditError::WrongKind),
            }
        }
        Ok(hops)
    }

    pub(crate) fn open_as(&mut self, path: impl Into<Path>, wanted: Kind) -> Result<Vec<Hop>, EditError> {
        let hops = self.open(&path.into())?;
        match self.slot(&hops).and_then(Slot::kind) {
            Some(kind) if kind != wanted => return Err(EditError::WrongKind),
            Some(_) => {}
            None => match wanted {
                Kind::List => self.emit(&hops, Seen::default(), Action::Make(Made::List))?,
                Kind::Text => self.emit(&hops, Seen::default(), Action::Make(Made::Text))?,
                Kind::Tree => self.emit(&hops, Seen::default(), Action::Make(Made::Tree))?,
                _ => {}
            },
        }
        Ok(hops)
    }

    pub(crate) fn slot(&self, hops: &[Hop]) -> Option<&Slot> {
        self.document.root.at(hops)
    }

    /// Puts `value` in place of all that is seen there.
    pub(crate) fn replace(&mut self, hops: &[Hop], value: &Value) -> Result<(), EditError> {
        let seen = self.slot(hops).map(Slot::seen).unwrap_or_default();
        self.emit(hops, seen, write_of(value))?;
        self.fill(hops, value)
    }

    /// Puts the parts of an object or array into the empty container at `hops`.
    fn fill(&mut self, hops: &[Hop], value: &Value) -> Result<(), EditError> {
        match value {
            Value::Scalar(_) => Ok(()),
            Value::Array(values) => self.insert_at(hops, 0, values),
            Value::Object(members) => {
                for (key, value) in members {
                    let child = below(hops, key)?;
                    self.replace(&child, value)?;
                }
                Ok(())
            }
        }
    }

    pub(crate) fn insert_at(
        &mut self,
        hops: &[Hop],
        index: usize,
        values: &[Value],
    ) -> Result<(), EditError> {
        if values.is_empty() {
            return Ok(());
        }
        if hops.len() >= MAX_DEPTH {
            return Err(EditError::TooDeep);
        }
        let gap = match self.slot(hops).and_then(Slot::list) {
            Some(list) if index <= list.len() => list.runs.gap(index),
            None if index == 0 => Some((None, None)),
            _ => None,
        };
        let (left, right) = gap.ok_or(EditError::OutOfRange)?;
        let first = Dot::new(self.me, self.next);
        let items = values.iter().map(item_of).collect();
        self.emit(hops, Seen::default(), Action::Insert { left, right, items })?;
        for (at, value) in values.iter().enumerate() {
            let mut child = hops.to_vec();
            child.push(Hop::Element(first.plus(at as u64)));
            self.fill(&child, value)?;
        }
        Ok(())
    }

    pub(crate) fn splice_at(
        &mut self,
        hops: &[Hop],
        range: Range<usize>,
        text: &str,
    ) -> Result<(), EditError> {
        let length = self.slot(hops).and_then(Slot::text).map_or(0, crate::text::Text::len);
        if range.start > range.end || range.end > length {
            return Err(EditError::OutOfRange);
        }
        let runs = self.slot(hops).and_then(Slot::text);
        let runs = runs.and_then(|t| t.runs.dots_of_visible(range.start, range.len())).unwrap_or_default();
        for (first, count) in runs {
            self.emit(hops, Seen::default(), Action::Remove { first, count })?;
        }
        if text.is_empty() {
            return Ok(());
        }
        let gap = self.slot(hops).and_then(Slot::text).and_then(|text| text.runs.gap(range.start));
        let (left, right) = gap.unwrap_or((None, None));
        self.emit(hops, Seen::default(), Action::Splice { left, right, text: text.into() })
    }

    /// Removes the visible elements `range` of the list at `hops`.
    pub(crate) fn remove_elements(&mut self, hops: &[Hop], range: Range<usize>) -> Result<(), EditError> {
        let list = self.slot(hops).and_then(Slot::list).ok_or(EditError::NotFound)?;
        let items = list.runs.dots_of_visible(range.start, range.len()).ok_or(EditError::OutOfRange)?;
        for (first, count) in list.elements_of(items) {
            let mut seen = Seen::default();
            if let Some(list) = self.slot(hops).and_then(Slot::list) {
                (0..count)
                    .filter_map(|at| list.element(first.plus(at)))
                    .for_each(|slot| slot.note(&mut seen));
            }
            self.emit(hops, seen, Action::Remove { first, count })?;
        }
        Ok(())
    }

    /// Applies one edit here and adds it to the bundle.
    pub(crate) fn emit(&mut self, hops: &[Hop], seen: Seen, action: Action) -> Result<(), EditError> {
        let width = action.width();
        if self.next.saturating_add(width) > MAX_COUNTER {
            return Err(EditError::Exhausted);
        }
        if hops.len() > MAX_DEPTH {
            return Err(EditError::TooDeep);
        }
        self.touch_nodes(hops)?;
        let dot = Dot::new(self.me, self.next);
        self.journal.note(&self.document.root, hops, &action, dot);
        let edit = Edit { place: 0, seen, action };
        let (actors, unix_ms) = (&self.document.actors, self.unix_ms);
        let hops_by_ref: Vec<&Hop> = hops.iter().collect();
        if self.document.undo.is_some() {
            let step = crate::undo::Step::of(&self.document.root, hops, &edit.action, dot, self.document);
            self.reverse.push(step);
        }
        let before = self.document.watch.is_some();
        let before = before.then(|| observe::before(&self.document.root, &hops_by_ref, &edit.action, actors));
        let effect = self
            .document
            .root
            .edit_at(&hops_by_ref, &mut |slot| apply_edit(slot, &edit, dot, unix_ms, actors, None));
        debug_assert_eq!(effect, Some(true), "a local edit names only what is there");
        if let Some(before) = before {
            let (root, actors) = (&self.document.root, &self.document.actors);
            let patches = before.patches(root, &hops_by_ref, &edit.action, dot, actors);
            self.document.note_patches(patches);
        }
        self.next += width;
        self.document.context.advance(self.me, self.next - 1);
        self.draft.push(hops, edit.seen, edit.action, dot);
        Ok(())
    }

    pub(crate) fn commit(mut self) -> Result<Option<Vec<u8>>, EditError> {
        let draft = core::mem::take(&mut self.draft);
        if draft.edits.is_empty() {
            return Ok(None);
        }
        let first = self.journal.first(self.next);
        let mut bytes = Vec::new();
        if self.breaks_the_schema(&draft) {
            self.roll_back();
            return Err(EditError::Schema);
        }
        let change = self.bundle(draft, first);
        change.encode(&mut bytes);
        if bytes.len() > MAX_CHANGE_BYTES {
            self.roll_back();
            return Err(EditError::TooLarge);
        }
        self.document.told = self.document.context.clone();
        if let Some(history) = &mut self.document.history {
            history.note(&change, false);
        }
        Ok(Some(bytes))
    }

    fn breaks_the_schema(&self, draft: &Draft) -> bool {
        let Some(schema) = &self.document.schema else { return false };
        draft.edits.iter().any(|(hops, _, action)| {
            let hops: Vec<&Hop> = hops.iter().collect();
            schema.breaks(&self.document.root, &hops, action, &self.document.actors)
        })
    }

    pub(crate) fn roll_back(self) {
        let first = self.journal.first(self.next);
        self.journal.undo(&mut self.document.root, &self.document.actors);
        if let Some(watch) = &mut self.document.watch {
            watch.cut(self.watched);
        }
        self.document.context.retreat(self.me, first - 1);
    }

    /// The edits as a change with its own table of actors and places.
    fn bundle(&self, draft: Draft, first: u64) -> Change {
        let document = &*self.document;
        let news =
            document.context.iter().filter(|(actor, c)| *actor != self.me && *c > document.told.last(*actor));
        let deps: Seen = news.map(|(actor, counter)| Dot::new(actor, counter)).collect();
        let mut places = Places::default();
        let mut edits = Vec::with_capacity(draft.edits.len());
        for (hops, seen, action) in draft.edits {
            edits.push(Edit { place: places.number(hops), seen, action });
        }
        let mut change =
            Change { actors: Vec::new(), first, unix_ms: self.unix_ms, deps, places: places.list, edits };
        let mut others: Vec<Actor> = change
            .references()
            .map(|dot| document.actors.id(dot.actor))
            .filter(|actor| *actor != document.me)
            .collect();
        others.sort_unstable();
        others.dedup();
        let mut table = Vec::new();
        table.resize(document.actors.len(), u32::MAX);
        change.actors = core::iter::once(document.me).chain(others).collect();
        for (index, actor) in change.actors.iter().enumerate() {
            if let Some(entry) = document.actors.find(actor).and_then(|local| table.get_mut(local as usize)) {
                *entry = index as u32;
            }
        }
        change.translate(&table);
        change
    }
}

/// The places a bundle names, numbered as they come.
#[derive(Default)]
struct Places {
    list: Vec<PlaceRef>,
    numbers: alloc::collections::BTreeMap<PlaceRef, u32>,
}

impl Places {
    fn number(&mut self, hops: Vec<Hop>) -> u32 {
        let mut at = 0;
        for hop in hops {
            let place = PlaceRef { parent: at, hop };
            at = match self.numbers.get(&place) {
                Some(number) => *number,
                None => {
                    self.list.push(place.clone());
                    let number = self.list.len() as u32;
                    self.numbers.insert(place, number);
                    number
                }
            };
        }
        at
    }
}

pub(crate) fn below(hops: &[Hop], key: &str) -> Result<Vec<Hop>, EditError> {
    if key.len() > MAX_KEY_BYTES {
        return Err(EditError::TooLarge);
    }
    if hops.len() >= MAX_DEPTH {
        return Err(EditError::TooDeep);
    }
    let mut child = hops.to_vec();
    child.push(Hop::Key(key.into()));
    Ok(child)
}

fn write_of(value: &Value) -> Action {
    match value {
        Value::Scalar(scalar) => Action::Put(scalar.clone()),
        Value::Array(_) => Action::Make(Made::List),
        Value::Object(_) => Action::Make(Made::Map),
    }
}

fn item_of(value: &Value) -> Item {
    match value {
        Value::Scalar(scalar) => Item::Scalar(scalar.clone()),
        Value::Array(_) => Item::Made(Made::List),
        Value::Object(_) => Item::Made(Made::Map),
    }
}
