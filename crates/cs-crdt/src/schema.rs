//! What a document is to hold, place by place (CRDT-15).

use alloc::{boxed::Box, collections::BTreeMap, string::String, vec::Vec};

use crate::{
    actor::Actors,
    apply::hops_of,
    change::{Action, Change, Item, Kind, Made},
    document::Document,
    fault::SchemaError,
    path::Hop,
    slot::Slot,
    value::{Scalar, Value},
};

/// Rules of a schema, at most.
pub const MAX_RULES: usize = 1024;

/// The names of kinds in a schema's JSON.
const KIND_NAMES: [(&str, Kind); 12] = [
    ("register", Kind::Register),
    ("map", Kind::Map),
    ("list", Kind::List),
    ("text", Kind::Text),
    ("set", Kind::Set),
    ("counter", Kind::Counter),
    ("flag", Kind::Flag),
    ("tree", Kind::Tree),
    ("min", Kind::Min),
    ("max", Kind::Max),
    ("sum", Kind::Sum),
    ("union", Kind::Union),
];

const TYPE_NAMES: [&str; 5] = ["null", "bool", "int", "float", "string"];

/// What is required of the places that one pattern matches. All fields are optional.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rule {
    /// Keys from the root; `None` is any key, element or node.
    pub path: Vec<Option<String>>,
    /// The kind of thing, and so the way in which concurrent edits merge.
    pub kind: Option<Kind>,
    /// Of scalars, the types: `null`, `bool`, `int`, `float`, `string`. Empty is any.
    pub types: Vec<&'static str>,
    /// The least scalar, or the least total of a counter. Numbers compare by worth.
    pub min: Option<Scalar>,
    /// The greatest.
    pub max: Option<Scalar>,
    /// The most members, elements or characters.
    pub max_len: Option<usize>,
    /// Of concurrent writes to a register, the latest is taken as the answer and none is listed as a conflict.
    pub last_writer: bool,
    /// A map with no other members than those that some rule is about.
    pub closed: bool,
}

/// Rules about the places of a document. A place is under the first rule whose pattern matches it; under none, it may hold
/// anything.
///
/// What breaks a rule stays in the document and merges as ever, since others may hold another schema or none; it is not shown by
/// [`Document::to_json`] and [`Document::value`], and is listed by [`Document::quarantine`]. What is shown is a function of
/// document and schema alone, so replicas with equal ones show the same. Own edits that break a rule are refused.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Schema {
    /// In order of precedence.
    pub rules: Vec<Rule>,
}

/// A step as patterns see it.
pub(crate) type Trail<'a> = Vec<Option<&'a str>>;

impl Schema {
    /// A schema from JSON: `{"rules": [{"path": "/todo/*/done", "kind": "register", "types": ["bool"]}]}`, with `min`, `max`,
    /// `max_len`, `last_writer` and `closed` as in [`Rule`]. Paths are JSON pointers in which `*` is any step.
    ///
    /// # Errors
    /// [`SchemaError`] for anything else.
    pub fn from_json(value: &Value) -> Result<Self, SchemaError> {
        let Some(Value::Array(rules)) = value.member("rules") else { return Err(SchemaError::NotASchema) };
        if rules.len() > MAX_RULES || !matches!(value, Value::Object(members) if members.len() == 1) {
            return Err(SchemaError::NotASchema);
        }
        Ok(Self { rules: rules.iter().map(rule_of).collect::<Result<_, _>>()? })
    }

    /// The JSON that [`from_json`](Self::from_json) reads.
    pub fn to_json(&self) -> Value {
        let rules = self.rules.iter().map(rule_to_json).collect();
        Value::Object(BTreeMap::from([("rules".into(), Value::Array(rules))]))
    }

    pub(crate) fn rule(&self, trail: &[Option<&str>]) -> Option<&Rule> {
        self.rules.iter().find(|rule| {
            let step = |(want, have): (&Option<String>, &Option<&str>)| match want {
                None => true,
                Some(key) => *have == Some(key),
            };
            rule.path.len() == trail.len() && rule.path.iter().zip(trail).all(step)
        })
    }

    /// Whether a place may be there at all: not as an unnamed member of a closed map.
    pub(crate) fn admits(&self, trail: &[Option<&str>]) -> bool {
        let parent = trail.split_last().and_then(|(_, parent)| self.rule(parent));
        !parent.is_some_and(|rule| rule.closed) || self.rule(trail).is_some()
    }

    /// Whether concurrent writes at a path are no conflict.
    pub(crate) fn settles(&self, path: &crate::path::Path) -> bool {
        let mut trail: Trail<'_> = Vec::new();
        for step in &path.0 {
            trail.push(match step {
                crate::path::Step::Key(key) => Some(key),
                _ => None,
            });
        }
        self.rule(&trail).is_some_and(|rule| rule.last_writer)
    }

    /// How many edits of a change, applied already, break a rule. Costs the rules for each edit.
    pub(crate) fn count_mismatches(&self, root: &Slot, change: &Change, actors: &Actors) -> usize {
        let breaks = |edit: &&crate::change::Edit| {
            self.breaks(root, &hops_of(change, edit.place), &edit.action, actors)
        };
        change.edits.iter().filter(breaks).count()
    }

    /// Whether an edit, applied already, puts something in its place that may not be there.
    pub(crate) fn breaks(&self, root: &Slot, hops: &[&Hop], action: &Action, actors: &Actors) -> bool {
        let Some(kind) = kind_of(action) else { return false };
        let trail: Trail<'_> = hops.iter().map(|hop| step_of(hop)).collect();
        let ways = (0..=trail.len()).filter_map(|length| trail.get(..length));
        if ways.into_iter().any(|trail| !self.admits(trail)) {
            return true;
        }
        if let Action::Insert { items, .. } = action {
            let mut below = trail.clone();
            below.push(None);
            let rule = self.rule(&below);
            if items.iter().any(|item| rule.is_some_and(|rule| !rule.takes_item(item))) {
                return true;
            }
        }
        let Some(rule) = self.rule(&trail) else { return false };
        if rule.kind.is_some_and(|wanted| wanted != kind) || !written(action).all(|value| rule.takes(value)) {
            return true;
        }
        let owned: Vec<Hop> = hops.iter().map(|hop| (*hop).clone()).collect();
        root.at(&owned).is_some_and(|slot| rule.is_overfull(slot, kind, actors))
    }
}

fn step_of(hop: &Hop) -> Option<&str> {
    match hop {
        Hop::Key(key) => Some(key),
        Hop::Element(_) => None,
    }
}

impl Rule {
    /// Whether a scalar is of an allowed type and within bounds.
    pub(crate) fn takes(&self, value: &Scalar) -> bool {
        let name = match value {
            Scalar::Null => "null",
            Scalar::Bool(_) => "bool",
            Scalar::Int(_) => "int",
            Scalar::Float(_) => "float",
            Scalar::String(_) => "string",
        };
        let is_typed = self.types.is_empty() || self.types.contains(&name);
        let is_short = match (value, self.max_len, self.kind) {
            (Scalar::String(text), Some(max), None | Some(Kind::Register)) => text.chars().count() <= max,
            _ => true,
        };
        let above = self.min.as_ref().is_none_or(|min| crate::fold::compare(value, min).is_ge());
        let below = self.max.as_ref().is_none_or(|max| crate::fold::compare(value, max).is_le());
        is_typed && is_short && above && below
    }

    fn takes_item(&self, item: &Item) -> bool {
        let (kind, value) = match item {
            Item::Scalar(value) => (Kind::Register, Some(value)),
            Item::Made(made) => (kind_made(*made), None),
        };
        self.kind.is_none_or(|wanted| wanted == kind) && value.is_none_or(|value| self.takes(value))
    }

    /// Whether there is more of a kind in a place than there may be.
    fn is_overfull(&self, slot: &Slot, kind: Kind, actors: &Actors) -> bool {
        let Some(parts) = slot.parts() else { return false };
        let length = match kind {
            Kind::Map => slot.map().map_or(0, |map| map.live_children().count()),
            Kind::List => slot.list().map_or(0, |list| list.len()),
            Kind::Text => slot.text().map_or(0, |text| text.len()),
            Kind::Set => parts.set.len(),
            Kind::Tree => slot.tree().map_or(0, |tree| tree.outline(actors).len()),
            Kind::Counter => {
                let total = parts.counter.total().clamp(i64::MIN.into(), i64::MAX.into());
                return !self.takes(&Scalar::Int(total as i64));
            }
            _ => 0,
        };
        self.max_len.is_some_and(|max| length > max)
    }
}

fn kind_made(made: Made) -> Kind {
    match made {
        Made::Map => Kind::Map,
        Made::List => Kind::List,
        Made::Text => Kind::Text,
        Made::Tree => Kind::Tree,
    }
}

/// The kind of thing that an edit puts into its place; none for one that only takes away.
fn kind_of(action: &Action) -> Option<Kind> {
    Some(match action {
        Action::Put(_) => Kind::Register,
        Action::Make(made) => kind_made(*made),
        Action::Increment(_) => Kind::Counter,
        Action::Enable => Kind::Flag,
        Action::Add(_) => Kind::Set,
        Action::Insert { .. } | Action::Move { .. } => Kind::List,
        Action::Splice { .. } | Action::Mark { .. } => Kind::Text,
        Action::Fold { fold, .. } => fold.kind(),
        Action::Plant(_) | Action::Graft { .. } | Action::Touch(_) => Kind::Tree,
        Action::Clear | Action::Discard(_) | Action::Remove { .. } | Action::Prune(_) | Action::Drop(_) => {
            return None;
        }
    })
}

fn written(action: &Action) -> impl Iterator<Item = &Scalar> {
    let (one, many): (Option<&Scalar>, &[Scalar]) = match action {
        Action::Put(value) | Action::Add(value) => (Some(value), &[]),
        Action::Fold { values, .. } => (None, values),
        _ => (None, &[]),
    };
    one.into_iter().chain(many)
}

fn rule_of(value: &Value) -> Result<Rule, SchemaError> {
    let Value::Object(members) = value else { return Err(SchemaError::NotASchema) };
    let mut rule = Rule::default();
    let mut has_path = false;
    for (key, value) in members {
        match (&**key, value) {
            ("path", Value::Scalar(Scalar::String(pointer))) => {
                rule.path = pattern_of(pointer)?;
                has_path = true;
            }
            ("kind", Value::Scalar(Scalar::String(name))) => {
                let known = KIND_NAMES.into_iter().find(|(known, _)| **known == **name);
                rule.kind = Some(known.ok_or(SchemaError::UnknownName)?.1);
            }
            ("types", Value::Array(names)) => {
                for name in names {
                    let known = TYPE_NAMES.into_iter().find(|known| name.as_str() == Some(known));
                    rule.types.push(known.ok_or(SchemaError::UnknownName)?);
                }
            }
            ("min", Value::Scalar(bound)) => rule.min = Some(bound.clone()),
            ("max", Value::Scalar(bound)) => rule.max = Some(bound.clone()),
            ("max_len", Value::Scalar(Scalar::Int(max))) => {
                rule.max_len = Some(usize::try_from(*max).map_err(|_| SchemaError::NotASchema)?);
            }
            ("last_writer", Value::Scalar(Scalar::Bool(is))) => rule.last_writer = *is,
            ("closed", Value::Scalar(Scalar::Bool(is))) => rule.closed = *is,
            _ => return Err(SchemaError::UnknownName),
        }
    }
    if has_path { Ok(rule) } else { Err(SchemaError::NotASchema) }
}

fn pattern_of(pointer: &str) -> Result<Vec<Option<String>>, SchemaError> {
    let steps = match pointer.strip_prefix('/') {
        Some(rest) => rest,
        None if pointer.is_empty() => return Ok(Vec::new()),
        None => return Err(SchemaError::NotASchema),
    };
    let step =
        |step: &str| (step != "*").then(|| step.replace("~2", "*").replace("~1", "/").replace("~0", "~"));
    Ok(steps.split('/').map(step).collect())
}

fn rule_to_json(rule: &Rule) -> Value {
    let mut members: BTreeMap<String, Value> = BTreeMap::new();
    let mut add = |key: &str, value: Value| drop(members.insert(key.into(), value));
    let mut path = String::new();
    for step in &rule.path {
        path.push('/');
        match step {
            None => path.push('*'),
            Some(key) => path.push_str(&key.replace('~', "~0").replace('/', "~1").replace('*', "~2")),
        }
    }
    add("path", path.into());
    if let Some(kind) = rule.kind {
        let name =
            KIND_NAMES.into_iter().find(|(_, known)| *known == kind).map_or("register", |known| known.0);
        add("kind", name.into());
    }
    if !rule.types.is_empty() {
        add("types", Value::Array(rule.types.iter().map(|name| (*name).into()).collect()));
    }
    rule.min.iter().for_each(|min| add("min", Value::Scalar(min.clone())));
    rule.max.iter().for_each(|max| add("max", Value::Scalar(max.clone())));
    rule.max_len.iter().for_each(|max| add("max_len", i64::try_from(*max).unwrap_or(i64::MAX).into()));
    if rule.last_writer {
        add("last_writer", true.into());
    }
    if rule.closed {
        add("closed", true.into());
    }
    Value::Object(members)
}

impl Document {
    /// From now on shows only what `schema` allows, and refuses own edits that break it; `None` shows all. The
    /// schema is no part of what is saved: hand every replica the same one.
    pub fn set_schema(&mut self, schema: Option<Schema>) {
        self.schema = schema.map(Box::new);
    }

    /// The schema in force.
    pub fn schema(&self) -> Option<&Schema> {
        self.schema.as_deref()
    }
}
