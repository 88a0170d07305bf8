//! Reading a document: its value, its conflicts (CRDT-7).

use alloc::{collections::BTreeMap, string::String, vec::Vec};

use crate::{
    actor::{Actor, Actors},
    change::Kind,
    document::Document,
    fold::Fold,
    id::Id,
    marks::{MarkSpan, RichRun, rich_runs},
    path::{Path, Step},
    slot::Slot,
    value::{Scalar, Value},
};

/// One of several things that concurrent edits put in one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What it would be if it were alone.
    pub value: Value,
    /// What kind of thing it is.
    pub kind: Kind,
    /// Who wrote it, for a register; containers have many authors.
    pub actor: Option<Actor>,
    /// When, by its author's clock in milliseconds since 1970, for a register.
    pub unix_ms: Option<u64>,
    /// The write's name, for a register.
    pub id: Option<Id>,
}

/// A place where concurrent edits disagree. Setting the place resolves it, as does
/// [`Transaction::resolve`](crate::Transaction::resolve).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Where.
    pub path: Path,
    /// At least two; the first is the one shown.
    pub candidates: Vec<Candidate>,
}

impl Document {
    /// The whole document. An empty one is `null`. Counters are numbers (beyond `i64`, its nearest bound), flags are
    /// `true`, sets are arrays in order of value; of concurrent values, the winner.
    pub fn to_json(&self) -> Value {
        self.shown(&self.root, Path::root()).unwrap_or(Value::NULL)
    }

    /// What is at `path`, if anything is.
    pub fn value(&self, path: impl Into<Path>) -> Option<Value> {
        let path = path.into();
        self.shown(self.slot(&path)?, path)
    }

    /// What kind of thing is shown at `path`, if anything is.
    pub fn kind(&self, path: impl Into<Path>) -> Option<Kind> {
        self.slot(&path.into())?.kind()
    }

    /// The concurrent scalars at `path`, the winner first; one without conflict. For other policies than showing the
    /// latest, take their least, greatest, sum or union.
    pub fn values(&self, path: impl Into<Path>) -> Vec<Scalar> {
        let Some(slot) = self.slot(&path.into()) else { return Vec::new() };
        slot.written(&self.actors).into_iter().map(|(_, written)| written.scalar.clone()).collect()
    }

    /// The exact value of the counter at `path`, if one is there.
    pub fn counter(&self, path: impl Into<Path>) -> Option<i128> {
        let counter = &self.slot(&path.into())?.parts()?.counter;
        (!counter.is_empty()).then(|| counter.total())
    }

    /// Whether the set at `path` has this member.
    pub fn contains(&self, path: impl Into<Path>, member: impl Into<Scalar>) -> bool {
        let slot = self.slot(&path.into());
        slot.and_then(Slot::parts).is_some_and(|parts| parts.set.contains(&member.into()))
    }

    /// The text at `path`, if one is there.
    pub fn text(&self, path: impl Into<Path>) -> Option<String> {
        self.slot(&path.into())?.text().filter(|text| text.is_live()).map(crate::text::Text::to_text)
    }

    /// The marks of the text at `path`: for each key, stretches that do not overlap, in order of place.
    pub fn marks(&self, path: impl Into<Path>) -> Vec<MarkSpan> {
        let slot = self.slot(&path.into());
        let found = slot.and_then(|slot| Some((slot.text()?, &slot.extra()?.marks)));
        found.map(|(text, marks)| marks.resolve(text, &self.actors)).unwrap_or_default()
    }

    /// The text at `path`, cut where its marks change. Empty if there is none.
    pub fn rich_text(&self, path: impl Into<Path>) -> Vec<RichRun> {
        let path = path.into();
        let text = self.text(&path).unwrap_or_default();
        rich_runs(&text, &self.marks(path))
    }

    /// The name of the element `index` of the list at `path`, which stays when it moves.
    pub fn id_at(&self, path: impl Into<Path>, index: usize) -> Option<Id> {
        let dot = self.slot(&path.into())?.list()?.element_at(index)?;
        Some(Id::new(dot, &self.actors))
    }

    /// The children of a node of the tree at `path`, or of its top, in order.
    pub fn children(&self, path: impl Into<Path>, parent: Option<Id>) -> Vec<Id> {
        let Some(tree) = self.slot(&path.into()).and_then(Slot::tree) else { return Vec::new() };
        let parent = match parent.map(|id| id.dot(&self.actors)) {
            Some(None) => return Vec::new(),
            known => known.flatten(),
        };
        let children = tree.children(parent, &self.actors).into_iter();
        children.map(|node| Id::new(node, &self.actors)).collect()
    }

    /// The parent of a node of the tree at `path`; `None` for one at the top, and for none.
    pub fn parent(&self, path: impl Into<Path>, node: Id) -> Option<Id> {
        let tree = self.slot(&path.into())?.tree()?;
        Some(Id::new(tree.parent(node.dot(&self.actors)?)?, &self.actors))
    }

    /// How many members, elements or characters the container at `path` has; 0 if there is none.
    pub fn len(&self, path: impl Into<Path>) -> usize {
        let Some(slot) = self.slot(&path.into()) else { return 0 };
        match slot.kind() {
            Some(Kind::Map) => slot.map().map_or(0, |map| map.live_children().count()),
            Some(Kind::List) => slot.list().map_or(0, crate::list::List::len),
            Some(Kind::Text) => slot.text().map_or(0, crate::text::Text::len),
            Some(Kind::Tree) => slot.tree().map_or(0, |tree| tree.outline(&self.actors).len()),
            Some(Kind::Set) => slot.parts().map_or(0, |parts| parts.set.len()),
            _ => 0,
        }
    }

    /// Whether nothing is in the document.
    pub fn is_empty(&self) -> bool {
        !self.root.is_live()
    }

    /// Every place where concurrent edits disagree, in document order. Writing the same value twice is agreement. Costs
    /// the size of the document.
    pub fn conflicts(&self) -> Vec<Conflict> {
        let mut conflicts = Vec::new();
        self.root.conflicts(&mut Path::root(), &self.actors, &mut conflicts);
        if let Some(schema) = &self.schema {
            conflicts.retain(|conflict| !schema.settles(&conflict.path));
        }
        conflicts
    }
}

impl Slot {
    /// The kind that is shown. Of several, containers come before scalars, so that nothing large disappears
    /// behind something small.
    pub(crate) fn kind(&self) -> Option<Kind> {
        self.kinds().into_iter().flatten().next()
    }

    pub(crate) fn kinds(&self) -> [Option<Kind>; 12] {
        let parts = self.parts();
        let folded = |fold: Fold| {
            let written = self.extra().map(|extra| !extra.folds.writes(fold).is_empty());
            written.filter(|written| *written).map(|_| fold.kind())
        };
        let when = |live: Option<bool>, kind| live.filter(|live| *live).map(|_| kind);
        [
            when(self.map().map(|map| map.is_live()), Kind::Map),
            when(self.list().map(|list| list.is_live()), Kind::List),
            when(self.text().map(|text| text.is_live()), Kind::Text),
            when(self.tree().map(|tree| tree.is_live()), Kind::Tree),
            when(parts.map(|parts| !parts.set.is_empty()), Kind::Set),
            when(parts.map(|parts| !parts.counter.is_empty()), Kind::Counter),
            when(parts.map(|parts| !parts.flag.is_empty()), Kind::Flag),
            folded(Fold::Min),
            folded(Fold::Max),
            folded(Fold::Sum),
            folded(Fold::Union),
            when(Some(!self.register.is_empty()), Kind::Register),
        ]
    }

    pub(crate) fn to_json(&self, actors: &Actors) -> Value {
        self.kind().map_or(Value::NULL, |kind| self.part_to_json(kind, actors))
    }

    pub(crate) fn part_to_json(&self, kind: Kind, actors: &Actors) -> Value {
        let parts = self.parts();
        match kind {
            Kind::Map => Value::Object(self.map().map_or_else(BTreeMap::new, |map| {
                map.live_children().map(|(key, slot)| (key.into(), slot.to_json(actors))).collect()
            })),
            Kind::List => Value::Array(self.list().map_or_else(Vec::new, |list| {
                list.live_elements().map(|(_, slot)| slot.to_json(actors)).collect()
            })),
            Kind::Text => self.text().map_or(Value::NULL, |text| text.to_text().into()),
            Kind::Set => Value::Array(parts.map_or_else(Vec::new, |parts| {
                parts.set.members().map(|(member, _)| Value::Scalar(member.clone())).collect()
            })),
            Kind::Counter => {
                let total = parts.map_or(0, |parts| parts.counter.total());
                (total.clamp(i64::MIN.into(), i64::MAX.into()) as i64).into()
            }
            Kind::Flag => true.into(),
            Kind::Tree => self.tree().map_or(Value::NULL, |tree| tree.to_json(actors)),
            Kind::Min => self.folded(Fold::Min, actors),
            Kind::Max => self.folded(Fold::Max, actors),
            Kind::Sum => self.folded(Fold::Sum, actors),
            Kind::Union => self.folded(Fold::Union, actors),
            Kind::Register => {
                self.winner(actors).map_or(Value::NULL, |(_, w)| Value::Scalar(w.scalar.clone()))
            }
        }
    }

    fn folded(&self, fold: Fold, actors: &Actors) -> Value {
        self.extra().and_then(|extra| extra.folds.value(fold, actors)).unwrap_or(Value::NULL)
    }

    /// The concurrent writes, the winner first.
    pub(crate) fn written(&self, actors: &Actors) -> Vec<(crate::actor::Dot, &crate::slot::Written)> {
        let mut written: Vec<_> = self.register.iter().collect();
        written.sort_by(|a, b| b.1.unix_ms.cmp(&a.1.unix_ms).then_with(|| actors.compare(b.0, a.0)));
        written
    }

    pub(crate) fn candidates(&self, actors: &Actors) -> Vec<Candidate> {
        let mut candidates = Vec::new();
        let containers = self.kinds().into_iter().flatten().filter(|kind| *kind != Kind::Register);
        for kind in containers {
            let value = self.part_to_json(kind, actors);
            candidates.push(Candidate { value, kind, actor: None, unix_ms: None, id: None });
        }
        let mut known = alloc::collections::BTreeSet::new();
        for (dot, written) in self.written(actors) {
            if known.insert(&written.scalar) {
                candidates.push(Candidate {
                    value: Value::Scalar(written.scalar.clone()),
                    kind: Kind::Register,
                    actor: Some(actors.id(dot.actor)),
                    unix_ms: Some(written.unix_ms),
                    id: Some(Id::new(dot, actors)),
                });
            }
        }
        candidates
    }

    /// Recursion is bounded by `MAX_DEPTH`.
    fn conflicts(&self, path: &mut Path, actors: &Actors, found: &mut Vec<Conflict>) {
        let kinds = self.kinds().into_iter().flatten().count();
        if kinds > 1 || self.register.len() > 1 {
            let candidates = self.candidates(actors);
            if candidates.len() > 1 {
                found.push(Conflict { path: path.clone(), candidates });
            }
        }
        for (key, slot) in self.map().into_iter().flat_map(crate::map::Map::live_children) {
            path.0.push(Step::Key(key.into()));
            slot.conflicts(path, actors, found);
            path.0.pop();
        }
        for (index, (_, slot)) in
            self.list().into_iter().flat_map(crate::list::List::live_elements).enumerate()
        {
            path.0.push(Step::Index(index));
            slot.conflicts(path, actors, found);
            path.0.pop();
        }
        let Some(tree) = self.tree() else { return };
        for (node, _) in tree.outline(actors) {
            path.0.push(Step::Node(Id::new(node, actors)));
            tree.content(node).iter().for_each(|slot| slot.conflicts(path, actors, found));
            path.0.pop();
        }
    }
}
