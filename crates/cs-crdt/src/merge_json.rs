//! Making a document equal to a JSON value by few edits (CRDT-7).

use alloc::{string::String, vec::Vec};

use crate::{
    change::{Action, Kind},
    context::Seen,
    diff::{Hunk, diff},
    fault::EditError,
    fold::Fold,
    id::Id,
    path::{Hop, Path, Step},
    slot::Slot,
    transaction::{Transaction, below},
    value::{Scalar, Value},
};

impl Transaction<'_> {
    /// Makes the place equal to `want`. What is shown there and is equal already stays untouched, and so do the
    /// concurrent values behind it: only an edit resolves a conflict.
    pub(crate) fn merge_at(&mut self, hops: &mut Vec<Hop>, want: &Value) -> Result<(), EditError> {
        if self.document.schema.is_some() && self.shows(hops, want) {
            return Ok(());
        }
        let kind = self.slot(hops).and_then(Slot::kind);
        match (kind, want) {
            (Some(Kind::Map), Value::Object(members)) => {
                self.drop_members(hops, |key| !members.contains_key(key))?;
                for (key, value) in members {
                    let mut child = below(hops, key)?;
                    self.merge_at(&mut child, value)?;
                }
                Ok(())
            }
            (Some(Kind::List), Value::Array(values)) => self.merge_list(hops, values),
            (Some(Kind::Text), Value::Scalar(Scalar::String(text))) => self.merge_text(hops, text),
            (Some(Kind::Set), Value::Array(values)) if set_members(values).is_some() => {
                self.merge_set(hops, &set_members(values).unwrap_or_default())
            }
            (Some(Kind::Counter), Value::Scalar(Scalar::Int(number))) => self.merge_counter(hops, *number),
            (Some(_), _) if self.shows(hops, want) => Ok(()),
            (Some(Kind::Tree), Value::Array(entries)) => self.merge_tree(hops, entries, want),
            (Some(Kind::Min), Value::Scalar(value)) => self.merge_fold(hops, Fold::Min, &[value], want),
            (Some(Kind::Max), Value::Scalar(value)) => self.merge_fold(hops, Fold::Max, &[value], want),
            (Some(Kind::Union), Value::Array(values)) => {
                let members = set_members(values).unwrap_or_default();
                self.merge_fold(hops, Fold::Union, &members, want)
            }
            (None, Value::Scalar(Scalar::Null)) if hops.is_empty() => Ok(()),
            _ => self.replace(hops, want),
        }
    }

    fn shows(&self, hops: &[Hop], want: &Value) -> bool {
        self.slot(hops).is_some_and(|slot| self.shown(slot, hops).as_ref() == Some(want))
    }

    /// What is shown of a place.
    fn shown(&self, slot: &Slot, hops: &[Hop]) -> Option<Value> {
        let step = |hop: &Hop| match hop {
            Hop::Key(key) => Step::Key((&**key).into()),
            Hop::Element(dot) => Step::Node(Id::new(*dot, &self.document.actors)),
        };
        self.document.shown(slot, Path(hops.iter().map(step).collect()))
    }

    fn drop_members(&mut self, hops: &[Hop], unwanted: impl Fn(&str) -> bool) -> Result<(), EditError> {
        let children = self.slot(hops).and_then(Slot::map).into_iter().flat_map(|map| map.live_children());
        let mut gone: Vec<(String, Seen)> = Vec::new();
        for (key, slot) in children.filter(|(key, _)| unwanted(key)) {
            // What the schema hides was not in the JSON that the other one was made from.
            if self.shown(slot, &below(hops, key)?).is_some() {
                gone.push((key.into(), slot.seen()));
            }
        }
        for (key, seen) in gone {
            let child = below(hops, &key)?;
            self.emit(&child, seen, Action::Clear)?;
        }
        Ok(())
    }

    /// Where elements were replaced by others, pairs are updated in place, so that an edit inside an element stays one.
    fn merge_list(&mut self, hops: &mut Vec<Hop>, want: &[Value]) -> Result<(), EditError> {
        let list = self.slot(hops).and_then(Slot::list);
        let elements = list.into_iter().flat_map(|list| list.live_elements());
        let (mut dots, mut have, mut indexes) = (Vec::new(), Vec::new(), Vec::new());
        let mut length = 0;
        for (index, (dot, slot)) in elements.enumerate() {
            length = index + 1;
            hops.push(Hop::Element(dot));
            let shown = self.shown(slot, hops);
            hops.pop();
            if let Some(value) = shown {
                dots.push(dot);
                have.push(value);
                indexes.push(index);
            }
        }
        let is_whole = indexes.len() == length;
        for Hunk { old, new } in diff(&have, want).into_iter().rev() {
            let pairs = old.len().min(new.len());
            let inserted = want.get(new.start + pairs..new.end).unwrap_or_default();
            let at = indexes.get(old.start + pairs).copied().unwrap_or(length);
            self.insert_at(hops, at, inserted)?;
            let surplus = old.start + pairs..old.end;
            let moved = inserted.len();
            if is_whole && !surplus.is_empty() {
                self.remove_elements(hops, surplus.start + moved..surplus.end + moved)?;
            } else {
                // Elements that are hidden between them stay.
                for index in indexes.get(surplus).unwrap_or_default().iter().rev() {
                    self.remove_elements(hops, index + moved..index + moved + 1)?;
                }
            }
            let kept = dots.get(old.start..old.start + pairs).unwrap_or_default();
            for (dot, value) in kept.iter().zip(want.get(new).unwrap_or_default()) {
                hops.push(Hop::Element(*dot));
                let merged = self.merge_at(hops, value);
                hops.pop();
                merged?;
            }
        }
        Ok(())
    }

    fn merge_text(&mut self, hops: &[Hop], want: &str) -> Result<(), EditError> {
        let shown = self.slot(hops).and_then(|slot| self.shown(slot, hops));
        let have: Vec<char> = shown.iter().filter_map(Value::as_str).flat_map(str::chars).collect();
        let want: Vec<char> = want.chars().collect();
        for Hunk { old, new } in diff(&have, &want).into_iter().rev() {
            let text: String = want.get(new).unwrap_or_default().iter().collect();
            self.splice_at(hops, old, &text)?;
        }
        Ok(())
    }

    fn merge_set(&mut self, hops: &[Hop], want: &[&Scalar]) -> Result<(), EditError> {
        let slot = self.slot(hops);
        let have = slot.and_then(Slot::parts).map(|parts| parts.set.clone()).unwrap_or_default();
        let shown = match slot.and_then(|slot| self.shown(slot, hops)) {
            Some(Value::Array(members)) => members,
            _ => Vec::new(),
        };
        for member in &shown {
            if let Value::Scalar(member) = member
                && want.binary_search(&member).is_err()
            {
                self.emit(hops, have.seen(member), Action::Discard(member.clone()))?;
            }
        }
        for member in want.iter().filter(|member| !have.contains(member)) {
            self.emit(hops, Seen::default(), Action::Add((*member).clone()))?;
        }
        Ok(())
    }

    /// A write if that makes the register show the value, and otherwise a new beginning as the same kind.
    fn merge_fold(
        &mut self,
        hops: &[Hop],
        fold: Fold,
        values: &[&Scalar],
        want: &Value,
    ) -> Result<(), EditError> {
        let values: Vec<Scalar> = values.iter().copied().cloned().collect();
        if !fold.admits(&values) {
            return self.replace(hops, want);
        }
        let seen = self.slot(hops).map(Slot::seen).unwrap_or_default();
        self.fold_at(hops, fold, values.clone())?;
        if self.shows(hops, want) {
            return Ok(());
        }
        self.emit(hops, seen, Action::Clear)?;
        self.fold_at(hops, fold, values)
    }

    /// Entries as the tree shows itself, with the same nodes in the same places: their values are merged. Anything else
    /// replaces the tree; nodes are made and moved by name.
    fn merge_tree(&mut self, hops: &mut Vec<Hop>, entries: &[Value], want: &Value) -> Result<(), EditError> {
        let shown = self.slot(hops).and_then(|slot| self.shown(slot, hops));
        let Some(Value::Array(shown)) = shown else { return self.replace(hops, want) };
        let is_same = |(entry, shown): (&Value, &Value)| {
            entry.member("id") == shown.member("id")
                && entry.member("parent") == shown.member("parent")
                && matches!(entry, Value::Object(members) if members.len() == 3)
        };
        if shown.len() != entries.len() || !entries.iter().zip(&shown).all(is_same) {
            return self.replace(hops, want);
        }
        let outline = self.tree(hops)?.outline(&self.document.actors);
        for (entry, (node, _)) in entries.iter().zip(outline) {
            hops.push(Hop::Element(node));
            let merged = match entry.member("value") {
                Some(value) if self.slot(hops).is_some_and(Slot::is_live) || *value != Value::NULL => {
                    self.merge_at(hops, value)
                }
                _ => Ok(()),
            };
            hops.pop();
            merged?;
        }
        Ok(())
    }

    fn merge_counter(&mut self, hops: &[Hop], want: i64) -> Result<(), EditError> {
        let total = self.slot(hops).and_then(Slot::parts).map_or(0, |parts| parts.counter.total());
        match i64::try_from(i128::from(want).saturating_sub(total)) {
            Ok(0) => Ok(()),
            Ok(by) => self.emit(hops, Seen::default(), Action::Increment(by)),
            Err(_) => self.replace(hops, &want.into()),
        }
    }
}

/// The members, ascending, if the array can be a set: scalars, none twice.
fn set_members(values: &[Value]) -> Option<Vec<&Scalar>> {
    let mut members = Vec::with_capacity(values.len());
    for value in values {
        match value {
            Value::Scalar(scalar) => members.push(scalar),
            _ => return None,
        }
    }
    members.sort_unstable();
    let distinct = members.windows(2).all(|pair| pair.first() != pair.last());
    distinct.then_some(members)
}
