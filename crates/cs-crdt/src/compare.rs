//! What changed between two states of one document.

use alloc::{
    collections::{BTreeMap, BTreeSet},
    string::String,
    vec::Vec,
};

use crate::{
    actor::{Actors, Dot},
    change::Kind,
    diff::{Hunk, diff},
    document::{Document, Version},
    fault::HistoryError,
    id::Id,
    patch::Patch,
    path::{Path, Step},
    sequence::Items as _,
    slot::Slot,
    text::Text,
    value::Value,
};

impl Document {
    /// What changed from one version to another, as patches of what is shown. Either may be the older one.
    ///
    /// # Errors
    /// As for [`at`](Self::at).
    pub fn diff(&self, from: &Version, to: &Version) -> Result<Vec<Patch>, HistoryError> {
        let (from, to) = (self.at(from)?, self.at(to)?);
        Ok(compare(&from.root, &to.root, &self.actors))
    }
}

/// What turns the first state into the second. Both in the numbering of `actors`.
pub(crate) fn compare(old: &Slot, new: &Slot, actors: &Actors) -> Vec<Patch> {
    let mut comparison = Comparison { actors, path: Path::root(), patches: Vec::new() };
    match (old.kind(), new.kind()) {
        (None, None) => {}
        (a, b) if a != b => comparison.put(new),
        _ => comparison.places(old, new),
    }
    comparison.patches
}

pub(crate) struct Comparison<'a> {
    pub(crate) actors: &'a Actors,
    pub(crate) path: Path,
    pub(crate) patches: Vec<Patch>,
}

impl Comparison<'_> {
    fn put(&mut self, new: &Slot) {
        self.patches.push(Patch::Put { path: self.path.clone(), value: new.to_json(self.actors) });
    }

    /// Recursion is bounded by `MAX_DEPTH`.
    pub(crate) fn places(&mut self, old: &Slot, new: &Slot) {
        if old.kind() != new.kind() {
            self.put(new);
            return;
        }
        match new.kind() {
            Some(Kind::Map) => self.maps(old, new),
            Some(Kind::List) => self.lists(old, new),
            Some(Kind::Text) => self.texts(old, new),
            Some(Kind::Tree) => {
                let outline = |slot: &Slot| slot.tree().map(|tree| tree.outline(self.actors));
                let (before, after) = (outline(old).unwrap_or_default(), outline(new).unwrap_or_default());
                self.outlines(&before, &after, new);
                for (index, (node, _)) in after.iter().enumerate() {
                    let content = |slot: &Slot| slot.tree().and_then(|tree| tree.content(*node)).cloned();
                    if let Some((a, b)) = content(old).zip(content(new)) {
                        self.below([Step::Index(index), Step::Key("value".into())], |this| {
                            this.contents(&a, &b)
                        });
                    }
                }
            }
            _ if old.to_json(self.actors) != new.to_json(self.actors) => self.put(new),
            _ => {}
        }
    }

    /// As places, but nothing there shows as `null`.
    fn contents(&mut self, old: &Slot, new: &Slot) {
        match (old.kind(), new.kind()) {
            (None, None) => {}
            _ => self.places(old, new),
        }
    }

    fn below<const N: usize>(&mut self, steps: [Step; N], compare: impl FnOnce(&mut Self)) {
        let depth = self.path.0.len();
        self.path.0.extend(steps);
        compare(self);
        self.path.0.truncate(depth);
    }

    fn maps(&mut self, old: &Slot, new: &Slot) {
        let (Some(a), Some(b)) = (old.map(), new.map()) else { return };
        for (key, _) in a.live_children() {
            if !b.child(key).is_some_and(Slot::is_live) {
                self.patches.push(Patch::Remove { path: self.path.clone().key(key) });
            }
        }
        for (key, child) in b.live_children() {
            let before = a.child(key).filter(|slot| slot.is_live());
            self.below([Step::Key(key.into())], |this| match before {
                Some(before) => this.places(before, child),
                None => this.put(child),
            });
        }
    }

    fn lists(&mut self, old: &Slot, new: &Slot) {
        let (Some(a), Some(b)) = (old.list(), new.list()) else { return };
        let before: Vec<Dot> = a.live_elements().map(|(dot, _)| dot).collect();
        let after: Vec<(Dot, &Slot)> = b.live_elements().collect();
        let order: Vec<Dot> = after.iter().map(|(dot, _)| *dot).collect();
        let known: BTreeSet<Dot> = before.iter().copied().collect();
        self.reorder(&before, &order, |at| after.get(at).map(|(_, slot)| slot.to_json(self.actors)));
        for (index, (dot, slot)) in after.iter().enumerate().filter(|(_, (dot, _))| known.contains(dot)) {
            if let Some(before) = a.element(*dot) {
                self.below([Step::Index(index)], |this| this.places(before, slot));
            }
        }
    }

    /// The rows of a tree: which nodes are there, in what order and under which parents.
    pub(crate) fn outlines(&mut self, old: &[(Dot, Option<Dot>)], new: &[(Dot, Option<Dot>)], slot: &Slot) {
        let names =
            |outline: &[(Dot, Option<Dot>)]| outline.iter().map(|(node, _)| *node).collect::<Vec<_>>();
        let Some(Value::Array(entries)) = slot.tree().map(|tree| tree.to_json(self.actors)) else { return };
        self.reorder(&names(old), &names(new), |at| entries.get(at).cloned());
        let parents: BTreeMap<Dot, Option<Dot>> = old.iter().copied().collect();
        for (index, (node, parent)) in new.iter().enumerate() {
            if parents.get(node).is_some_and(|before| before != parent) {
                let name = parent.map(|dot| Value::from(String::from(Id::new(dot, self.actors))));
                let path = self.path.clone().index(index).key("parent");
                self.patches.push(Patch::Put { path, value: name.unwrap_or(Value::NULL) });
            }
        }
    }

    /// Deletes, moves and inserts that turn one order into another.
    fn reorder(&mut self, old: &[Dot], new: &[Dot], value: impl Fn(usize) -> Option<Value>) {
        let path = self.path.clone();
        let (was, stays): (BTreeSet<Dot>, BTreeSet<Dot>) =
            (old.iter().copied().collect(), new.iter().copied().collect());
        let mut at = old.len();
        while at > 0 {
            let end = at;
            while at > 0 && old.get(at - 1).is_some_and(|dot| !stays.contains(dot)) {
                at -= 1;
            }
            if at < end {
                self.patches.push(Patch::Delete { path: path.clone(), range: at..end });
            }
            at = at.saturating_sub(1);
        }
        let mut current: Vec<Dot> = old.iter().copied().filter(|dot| stays.contains(dot)).collect();
        let wanted: Vec<Dot> = new.iter().copied().filter(|dot| was.contains(dot)).collect();
        let movers: BTreeSet<Dot> = diff(&current, &wanted)
            .into_iter()
            .flat_map(|Hunk { old, .. }| current.get(old).unwrap_or_default().to_vec())
            .collect();
        for (index, dot) in wanted.iter().enumerate().filter(|(_, dot)| movers.contains(dot)) {
            let Some(from) = current.iter().position(|other| other == dot) else { continue };
            current.remove(from);
            let before = index.checked_sub(1).and_then(|index| wanted.get(index));
            let to = before
                .and_then(|before| current.iter().position(|other| other == before))
                .map_or(0, |at| at + 1);
            current.insert(to, *dot);
            if from != to {
                self.patches.push(Patch::Move { path: path.clone(), from, to });
            }
        }
        let mut index = 0;
        while index < new.len() {
            let start = index;
            while new.get(index).is_some_and(|dot| !was.contains(dot)) {
                index += 1;
            }
            if start < index {
                let values = (start..index).filter_map(&value).collect();
                self.patches.push(Patch::Insert { path: path.clone(), index: start, values });
            }
            index += 1;
        }
    }

    fn texts(&mut self, old: &Slot, new: &Slot) {
        let (Some(a), Some(b)) = (old.text(), new.text()) else { return };
        let (before, after) = (characters(a), characters(b));
        let names = |text: &[(Dot, char)]| text.iter().map(|(dot, _)| *dot).collect::<Vec<_>>();
        for Hunk { old, new } in diff(&names(&before), &names(&after)).into_iter().rev() {
            let text = after.get(new).unwrap_or_default().iter().map(|(_, character)| character).collect();
            self.patches.push(Patch::Splice { path: self.path.clone(), range: old, text });
        }
        let marks = |slot: &Slot, text: &Text| {
            slot.extra().map(|extra| extra.marks.resolve(text, self.actors)).unwrap_or_default()
        };
        let marks_after = marks(new, b);
        if marks(old, a) != marks_after {
            self.patches.push(Patch::Marks { path: self.path.clone(), marks: marks_after });
        }
    }
}

fn characters(text: &Text) -> Vec<(Dot, char)> {
    let mut characters = Vec::with_capacity(text.len());
    for span in text.runs.spans().filter(|span| span.items.visible() > 0) {
        let named = span.items.text().chars().enumerate();
        characters.extend(named.map(|(at, character)| (span.id.plus(at as u64), character)));
    }
    characters
}
