//! Conflicts: who, when, after what; and how to resolve them.

use alloc::vec::Vec;

use crate::{
    actor::Actor,
    change::{Action, Kind},
    conflict::{Candidate, Conflict},
    context::Seen,
    document::{Document, Version},
    fault::EditError,
    id::Id,
    path::Path,
    slot::Slot,
    transaction::Transaction,
    value::Value,
};

/// How one side of a conflict came to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What this side would show.
    pub candidate: Candidate,
    /// Whose edits it is made of: one author for a register, any number for a container.
    pub authors: Vec<Actor>,
    /// When the latest of them was made, by its author's clock in milliseconds since 1970, as far as it is known.
    pub unix_ms: Option<u64>,
    /// What the author of the latest had seen, if the document keeps the history.
    pub after: Option<Version>,
    /// What was shown in the place then, if the document keeps the history: what this side took the place of.
    pub replaced: Option<Value>,
}

impl Document {
    /// Explains a conflict: for each candidate, in the same order, who made it, when, and after what. With a history
    /// ([`keep_history`](Self::keep_history)) it costs a replay for each candidate.
    pub fn explain(&self, conflict: &Conflict) -> Vec<Explanation> {
        let Some(slot) = self.slot(&conflict.path) else { return Vec::new() };
        conflict.candidates.iter().map(|candidate| self.explain_one(conflict, candidate, slot)).collect()
    }

    fn explain_one(&self, conflict: &Conflict, candidate: &Candidate, slot: &Slot) -> Explanation {
        let seen = match candidate.id {
            Some(id) => id.dot(&self.actors).into_iter().collect(),
            None => slot.seen_of(candidate.kind),
        };
        let names = seen.iter().map(|(actor, counter)| Id { actor: self.actors.id(actor), counter });
        let names: Vec<Id> = names.collect();
        let history = self.history.as_ref();
        let clock = |id: &Id| history.and_then(|history| history.clock_of(id.actor, id.counter));
        let latest = names.iter().max_by_key(|id| (clock(id), **id));
        let after = latest.and_then(|id| history?.seen_by(id.actor, id.counter));
        let replaced = after.as_ref().and_then(|version| self.at(version).ok());
        Explanation {
            candidate: candidate.clone(),
            authors: names.iter().map(|id| id.actor).collect(),
            unix_ms: candidate.unix_ms.or_else(|| latest.and_then(clock)),
            after,
            replaced: replaced.and_then(|past| past.value(&conflict.path)),
        }
    }
}

impl Slot {
    /// The live dots of one kind of thing in this place.
    pub(crate) fn seen_of(&self, kind: Kind) -> Seen {
        let mut seen = Seen::default();
        if kind == Kind::Register {
            self.register.note(&mut seen);
        }
        let Some(parts) = self.parts() else { return seen };
        match kind {
            Kind::Map => parts.map.iter().for_each(|map| map.note(&mut seen)),
            Kind::List => parts.list.iter().for_each(|list| list.note(&mut seen)),
            Kind::Text => parts.text.iter().for_each(|text| text.note(&mut seen)),
            Kind::Set => parts.set.note(&mut seen),
            Kind::Counter => parts.counter.note(&mut seen),
            Kind::Flag => parts.flag.note(&mut seen),
            _ => {}
        }
        let Some(extra) = self.extra() else { return seen };
        match kind {
            Kind::Tree => extra.tree.note(&mut seen),
            Kind::Text => extra.marks.note(&mut seen),
            _ => {
                let folds = crate::fold::Fold::ALL.into_iter().filter(|fold| fold.kind() == kind);
                folds.for_each(|fold| extra.folds.writes(fold).note(&mut seen));
            }
        }
        seen
    }
}

impl Transaction<'_> {
    /// Resolves the conflict at `path` in favour of one of its [`candidates`](Conflict::candidates): the others go,
    /// as far as they were seen here, and it stays what it is, with its authors.
    ///
    /// # Errors
    /// [`EditError::NotFound`] if it is none of them.
    pub fn resolve(&mut self, path: impl Into<Path>, winner: &Candidate) -> Result<(), EditError> {
        let hops = self.document.resolve(&path.into())?;
        let slot = self.slot(&hops).ok_or(EditError::NotFound)?;
        let kinds: Vec<Kind> = slot.kinds().into_iter().flatten().collect();
        if !slot.candidates(&self.document.actors).contains(winner) {
            return Err(EditError::NotFound);
        }
        let losers = kinds.iter().filter(|kind| **kind != winner.kind);
        let losers: Vec<(Kind, Seen)> = losers.map(|kind| (*kind, slot.seen_of(*kind))).collect();
        let register = slot.register.len();
        for (kind, seen) in losers {
            self.emit(&hops, seen, Action::Drop(kind))?;
        }
        match &winner.value {
            // Writes beside it are covered by one that says the same.
            Value::Scalar(value) if winner.kind == Kind::Register && register > 1 => {
                let seen = self.slot(&hops).map(|slot| slot.seen_of(Kind::Register)).unwrap_or_default();
                let value = value.clone();
                self.emit(&hops, seen, Action::Put(value))
            }
            _ => Ok(()),
        }
    }
}
