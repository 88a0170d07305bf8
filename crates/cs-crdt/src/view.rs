//! A document as its schema lets it show, and what it does not (CRDT-15).

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use crate::{
    actor::{Actor, Actors},
    change::Kind,
    document::Document,
    id::Id,
    path::{Path, Step},
    schema::{Rule, Schema},
    slot::Slot,
    value::{Scalar, Value},
};

/// Which rule something breaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mismatch {
    /// Another kind of thing is required.
    Kind,
    /// Not an allowed type, or out of bounds.
    Value,
    /// More than there may be.
    Length,
    /// A member that the map may not have.
    Closed,
}

/// Something in a document that its schema does not let show. It is not lost: mend it, remove it, or change the schema.
#[derive(Clone, Debug, PartialEq)]
pub struct Quarantined {
    /// Where.
    pub path: Path,
    /// What it is.
    pub value: Value,
    /// What kind of thing it is.
    pub kind: Kind,
    /// What is wrong with it.
    pub why: Mismatch,
    /// Whose edits it is made of.
    pub authors: Vec<Actor>,
    /// When it was written, by its author's clock in milliseconds since 1970, for a register.
    pub unix_ms: Option<u64>,
}

impl Document {
    /// What is in the document and, by its schema, not shown. Empty without a schema. Costs the size of the document.
    pub fn quarantine(&self) -> Vec<Quarantined> {
        let Some(schema) = &self.schema else { return Vec::new() };
        let mut view = View::new(schema, &self.actors, Path::root());
        let _ = view.place(&self.root);
        view.quarantined
    }

    /// What is shown of `slot`, the place at `path`.
    pub(crate) fn shown(&self, slot: &Slot, path: Path) -> Option<Value> {
        match &self.schema {
            Some(schema) => View::new(schema, &self.actors, path).place(slot),
            None => slot.is_live().then(|| slot.to_json(&self.actors)),
        }
    }
}

struct View<'a> {
    schema: &'a Schema,
    actors: &'a Actors,
    path: Path,
    quarantined: Vec<Quarantined>,
}

impl<'a> View<'a> {
    fn new(schema: &'a Schema, actors: &'a Actors, path: Path) -> Self {
        Self { schema, actors, path, quarantined: Vec::new() }
    }

    fn trail(&self) -> Vec<Option<&str>> {
        let mut trail = Vec::with_capacity(self.path.0.len());
        for step in &self.path.0 {
            trail.push(match step {
                Step::Key(key) => Some(key.as_str()),
                Step::Index(_) | Step::Node(_) => None,
            });
        }
        trail
    }

    /// What is shown of a place, `None` if nothing. Recursion is bounded by `MAX_DEPTH`.
    fn place(&mut self, slot: &Slot) -> Option<Value> {
        let kinds: Vec<Kind> = slot.kinds().into_iter().flatten().collect();
        let first = *kinds.first()?;
        let (is_admitted, rule) = {
            let trail = self.trail();
            (self.schema.admits(&trail), self.schema.rule(&trail).cloned())
        };
        if !is_admitted {
            self.refuse(slot, first, slot.to_json(self.actors), Mismatch::Closed);
            return None;
        }
        let wanted = rule.as_ref().and_then(|rule| rule.kind);
        for kind in kinds.iter().filter(|kind| wanted.is_some_and(|wanted| wanted != **kind)) {
            self.refuse(slot, *kind, slot.part_to_json(*kind, self.actors), Mismatch::Kind);
        }
        let kind = wanted.unwrap_or(first);
        if !kinds.contains(&kind) {
            return None;
        }
        self.part(slot, kind, rule.as_ref())
    }

    fn refuse(&mut self, slot: &Slot, kind: Kind, value: Value, why: Mismatch) {
        let seen = slot.seen_of(kind);
        self.quarantined.push(Quarantined {
            path: self.path.clone(),
            value,
            kind,
            why,
            authors: seen.iter().map(|(actor, _)| self.actors.id(actor)).collect(),
            unix_ms: slot.winner(self.actors).filter(|_| kind == Kind::Register).map(|(_, w)| w.unix_ms),
        });
    }

    fn part(&mut self, slot: &Slot, kind: Kind, rule: Option<&Rule>) -> Option<Value> {
        let max = rule.and_then(|rule| rule.max_len).unwrap_or(usize::MAX);
        match kind {
            Kind::Register => self.register(slot, rule),
            Kind::Map => {
                let mut members = BTreeMap::new();
                for (key, child) in slot.map()?.live_children() {
                    let value = self.below(Step::Key(key.into()), child, members.len() >= max);
                    value.into_iter().for_each(|value| drop(members.insert(key.into(), value)));
                }
                Some(Value::Object(members))
            }
            Kind::List => {
                let mut values = Vec::new();
                for (index, (_, child)) in slot.list()?.live_elements().enumerate() {
                    values.extend(self.below(Step::Index(index), child, values.len() >= max));
                }
                Some(Value::Array(values))
            }
            Kind::Tree => self.tree(slot, max),
            Kind::Text => {
                let text = slot.text()?.to_text();
                let Some((cut, _)) = text.char_indices().nth(max) else { return Some(text.into()) };
                let (shown, rest) = text.split_at(cut);
                self.refuse(slot, kind, rest.into(), Mismatch::Length);
                Some(shown.into())
            }
            Kind::Set | Kind::Union => {
                let Value::Array(members) = slot.part_to_json(kind, self.actors) else { return None };
                let is_bad = |member: &Value| match (rule, member) {
                    (Some(rule), Value::Scalar(member)) => !rule.takes(member),
                    _ => false,
                };
                let (bad, mut good): (Vec<Value>, Vec<Value>) = members.into_iter().partition(is_bad);
                let surplus = good.split_off(good.len().min(max));
                for (members, why) in [(bad, Mismatch::Value), (surplus, Mismatch::Length)] {
                    if !members.is_empty() {
                        self.refuse(slot, kind, Value::Array(members), why);
                    }
                }
                Some(Value::Array(good))
            }
            _ => {
                let value = slot.part_to_json(kind, self.actors);
                let is_bad = matches!((rule, &value), (Some(rule), Value::Scalar(one)) if !rule.takes(one));
                if is_bad {
                    self.refuse(slot, kind, value, Mismatch::Value);
                    return None;
                }
                Some(value)
            }
        }
    }

    fn below(&mut self, step: Step, child: &Slot, is_surplus: bool) -> Option<Value> {
        self.path.0.push(step);
        let value = if is_surplus {
            let kind = child.kind().unwrap_or(Kind::Register);
            self.refuse(child, kind, child.to_json(self.actors), Mismatch::Length);
            None
        } else {
            self.place(child)
        };
        self.path.0.pop();
        value
    }

    /// The latest write that is allowed.
    fn register(&mut self, slot: &Slot, rule: Option<&Rule>) -> Option<Value> {
        let mut shown: Option<&Scalar> = None;
        for (dot, written) in slot.written(self.actors) {
            if rule.is_none_or(|rule| rule.takes(&written.scalar)) {
                shown = shown.or(Some(&written.scalar));
                continue;
            }
            self.quarantined.push(Quarantined {
                path: self.path.clone(),
                value: Value::Scalar(written.scalar.clone()),
                kind: Kind::Register,
                why: Mismatch::Value,
                authors: Vec::from([self.actors.id(dot.actor)]),
                unix_ms: Some(written.unix_ms),
            });
        }
        shown.cloned().map(Value::Scalar)
    }

    /// As the tree shows itself, without the values that may not be there.
    fn tree(&mut self, slot: &Slot, max: usize) -> Option<Value> {
        let tree = slot.tree()?;
        let mut entries = Vec::new();
        for (node, parent) in tree.outline(self.actors) {
            let content = tree.content(node)?;
            let name = |dot| Value::from(String::from(Id::new(dot, self.actors)));
            let (id, parent) = (name(node), parent.map_or(Value::NULL, name));
            let step = Step::Node(Id::new(node, self.actors));
            if entries.len() >= max {
                self.path.0.push(step);
                self.refuse(
                    content,
                    content.kind().unwrap_or(Kind::Register),
                    content.to_json(self.actors),
                    Mismatch::Length,
                );
                self.path.0.pop();
                continue;
            }
            let value = self.below(step, content, false).unwrap_or(Value::NULL);
            let members = [("id", id), ("parent", parent), ("value", value)];
            let members = members.into_iter().map(|(key, value)| (String::from(key), value));
            entries.push(Value::Object(members.collect()));
        }
        Some(Value::Array(entries))
    }
}
