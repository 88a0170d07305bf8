//! A place in a document, and all that concurrent edits may have put there.

use alloc::boxed::Box;
use core::mem;

use crate::{
    actor::{Actors, Dot},
    context::{Context, Seen},
    counter::Counter,
    entries::Entries,
    extra::Extra,
    list::List,
    map::{Map, Tie},
    moves::Position,
    path::Hop,
    set::Set,
    text::Text,
    tree::Tree,
    value::Scalar,
};

/// What one `put` wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    pub(crate) unix_ms: u64,
    pub(crate) scalar: Scalar,
}

/// A place: the root, a map's value or a list's element. It holds one part of each kind, and usually just one
/// of them is alive; several are a conflict that everybody can see.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Slot {
    /// A multi-value register: concurrent writes stand side by side.
    pub(crate) register: Entries<Written>,
    parts: Option<Box<Parts>>,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Parts {
    pub(crate) map: Option<Map>,
    pub(crate) list: Option<List>,
    pub(crate) text: Option<Text>,
    pub(crate) set: Set,
    pub(crate) counter: Counter,
    /// Enabled while any dot is alive.
    pub(crate) flag: Entries<()>,
    pub(crate) extra: Option<Box<Extra>>,
}

impl Parts {
    fn is_live(&self) -> bool {
        self.map.as_ref().is_some_and(Map::is_live)
            || self.list.as_ref().is_some_and(List::is_live)
            || self.text.as_ref().is_some_and(Text::is_live)
            || !self.set.is_empty()
            || !self.counter.is_empty()
            || !self.flag.is_empty()
            || self.extra.as_ref().is_some_and(|extra| extra.is_live())
    }

    fn is_blank(&self) -> bool {
        self.map.is_none()
            && self.list.is_none()
            && self.text.is_none()
            && self.set.is_empty()
            && self.counter.is_empty()
            && self.flag.is_empty()
            && self.extra.is_none()
    }

    /// Drops parts that hold nothing, so that equal states look alike.
    fn prune(&mut self) {
        self.map.take_if(|map| map.is_blank());
        self.list.take_if(|list| list.is_blank());
        self.text.take_if(|text| text.is_blank());
        self.extra.take_if(|extra| extra.is_blank());
    }

    /// Lets what moved in the list show where it is, after elements died or came back.
    pub(crate) fn refresh_moves(&mut self) {
        if let (Some(list), Some(extra)) = (&mut self.list, &self.extra) {
            extra.moves.refresh_all(list);
        }
    }
}

impl Slot {
    pub(crate) fn is_live(&self) -> bool {
        !self.register.is_empty() || self.parts.as_ref().is_some_and(|parts| parts.is_live())
    }

    /// Nothing at all is held: no value and no remains.
    pub(crate) fn is_blank(&self) -> bool {
        self.register.is_empty() && self.parts.is_none()
    }

    pub(crate) fn parts(&self) -> Option<&Parts> {
        self.parts.as_deref()
    }

    /// Lets `edit` change the parts and tidies up after it.
    pub(crate) fn edit_parts<R>(&mut self, edit: impl FnOnce(&mut Parts) -> R) -> R {
        let parts = self.parts.get_or_insert_default();
        let result = edit(parts);
        parts.prune();
        self.parts.take_if(|parts| parts.is_blank());
        result
    }

    pub(crate) fn map(&self) -> Option<&Map> {
        self.parts()?.map.as_ref()
    }

    pub(crate) fn list(&self) -> Option<&List> {
        self.parts()?.list.as_ref()
    }

    pub(crate) fn text(&self) -> Option<&Text> {
        self.parts()?.text.as_ref()
    }

    pub(crate) fn extra(&self) -> Option<&Extra> {
        self.parts()?.extra.as_deref()
    }

    pub(crate) fn tree(&self) -> Option<&Tree> {
        self.extra().map(|extra| &extra.tree).filter(|tree| !tree.is_blank())
    }

    pub(crate) fn position(&self) -> Position {
        self.extra().map(|extra| extra.position).unwrap_or_default()
    }

    pub(crate) fn set_position(&mut self, position: Position) {
        if self.position() != position {
            self.edit_parts(|parts| parts.extra.get_or_insert_default().position = position);
        }
    }

    /// Whether this place, as an item of a list, shows an element: its own or one that was moved here.
    pub(crate) fn is_shown(&self) -> bool {
        match self.position() {
            Position::Home => self.is_live(),
            Position::Away => false,
            Position::Carrier { shown, .. } => shown,
        }
    }

    /// The place `hops` further down.
    pub(crate) fn at(&self, hops: &[Hop]) -> Option<&Self> {
        let mut slot = self;
        for hop in hops {
            slot = match hop {
                Hop::Key(key) => slot.map()?.child(key)?,
                Hop::Element(dot) => {
                    let element = slot.list().and_then(|list| list.element(*dot));
                    element.or_else(|| slot.tree()?.content(*dot))?
                }
            };
        }
        Some(slot)
    }

    /// Lets `edit` change the place `hops` further down. Maps on the way are made; `None`, and nothing is
    /// changed, if a list's element on the way does not exist. Recursion is bounded by the length of `hops`.
    pub(crate) fn edit_at<R>(&mut self, hops: &[&Hop], edit: &mut dyn FnMut(&mut Self) -> R) -> Option<R> {
        let Some((hop, rest)) = hops.split_first() else {
            return Some(edit(self));
        };
        match hop {
            Hop::Key(key) => self.edit_parts(|parts| {
                parts.map.get_or_insert_default().edit_child(key, |child| child.edit_at(rest, edit))
            }),
            Hop::Element(dot) => {
                if self.list().is_none_or(|list| list.element(*dot).is_none()) {
                    self.tree()?.content(*dot)?;
                    return self.edit_parts(|parts| {
                        let tree = &mut parts.extra.as_mut()?.tree;
                        tree.edit_content(*dot, |content| content.edit_at(rest, edit))?
                    });
                }
                self.edit_parts(|parts| {
                    let list = parts.list.as_mut()?;
                    let result = list.edit_element(*dot, |item| item.edit_at(rest, edit))?;
                    if let Some(extra) = &parts.extra {
                        extra.moves.refresh(list, *dot, 1);
                    }
                    result
                })
            }
        }
    }

    /// As [`edit_at`](Self::edit_at), by keys alone.
    pub(crate) fn edit_keys<R>(&mut self, keys: &[&str], edit: &mut dyn FnMut(&mut Self) -> R) -> R {
        match keys.split_first() {
            None => edit(self),
            Some((key, rest)) => self.edit_parts(|parts| {
                let map = parts.map.get_or_insert_default();
                map.edit_child(key, |child| child.edit_keys(rest, edit))
            }),
        }
    }

    pub(crate) fn put(&mut self, dot: Dot, unix_ms: u64, scalar: Scalar) {
        self.register.insert(dot, Written { unix_ms, scalar });
    }

    /// Removes everything in this place that `seen` covers. The cost is the size of the place.
    pub(crate) fn clear(&mut self, seen: &Seen) {
        if seen.is_empty() {
            return;
        }
        self.register.clear(seen);
        if self.parts.is_some() {
            self.edit_parts(|parts| {
                parts.map.iter_mut().for_each(|map| map.clear(seen));
                parts.list.iter_mut().for_each(|list| list.clear(seen));
                parts.text.iter_mut().for_each(|text| text.clear(seen));
                parts.set.clear(seen);
                parts.counter.clear(seen);
                parts.flag.clear(seen);
                parts.extra.iter_mut().for_each(|extra| extra.clear(seen));
                parts.refresh_moves();
            });
        }
    }

    /// Forgets the positions of what was removed, here and below (CRDT-20). Recursion is bounded by `MAX_DEPTH`.
    pub(crate) fn compact(&mut self) {
        if self.parts.is_some() {
            self.edit_parts(|parts| {
                let extra = parts.extra.as_ref();
                // Moves name positions, and marks are anchored to them.
                let (moved, marked) =
                    extra.map_or((false, false), |extra| (!extra.moves.is_blank(), !extra.marks.is_blank()));
                parts.map.iter_mut().for_each(Map::compact);
                parts.list.iter_mut().filter(|_| !moved).for_each(List::compact);
                parts.text.iter_mut().filter(|_| !marked).for_each(Text::compact);
            });
        }
    }

    /// Whether clearing this place means walking through many others.
    pub(crate) fn is_wide(&self) -> bool {
        self.parts.is_some()
    }

    /// Adds all live dots here to `seen`.
    pub(crate) fn note(&self, seen: &mut Seen) {
        self.register.note(seen);
        if let Some(parts) = self.parts() {
            parts.map.iter().for_each(|map| map.note(seen));
            parts.list.iter().for_each(|list| list.note(seen));
            parts.text.iter().for_each(|text| text.note(seen));
            parts.set.note(seen);
            parts.counter.note(seen);
            parts.flag.note(seen);
            parts.extra.iter().for_each(|extra| extra.note(seen));
        }
    }

    pub(crate) fn seen(&self) -> Seen {
        let mut seen = Seen::default();
        self.note(&mut seen);
        seen
    }

    pub(crate) fn join(&mut self, mut other: Self, ours: &Context, theirs: &Context, tie: Tie<'_>) {
        self.register.join(mem::take(&mut other.register), ours, theirs);
        let others = other.parts.take().map(|parts| *parts).unwrap_or_default();
        self.edit_parts(|parts| {
            parts.map.get_or_insert_default().join(others.map.unwrap_or_default(), ours, theirs, tie);
            parts.list.get_or_insert_default().join(others.list.unwrap_or_default(), ours, theirs, tie);
            parts.text.get_or_insert_default().join(others.text.unwrap_or_default(), ours, theirs, tie);
            parts.set.join(others.set, ours, theirs);
            parts.counter.join(&others.counter, ours, theirs);
            parts.flag.join(others.flag, ours, theirs);
            if parts.extra.is_some() || others.extra.is_some() {
                let list = parts.list.get_or_insert_default();
                let extra = parts.extra.get_or_insert_default();
                extra.join(list, others.extra.map(|extra| *extra).unwrap_or_default(), ours, theirs, tie);
                parts.refresh_moves();
            }
        });
    }

    /// The write that is shown when several stand side by side: the latest by its author's clock, then by
    /// author and dot. Every replica picks the same one.
    pub(crate) fn winner<'a>(&'a self, actors: &Actors) -> Option<(Dot, &'a Written)> {
        self.register
            .iter()
            .max_by(|a, b| a.1.unix_ms.cmp(&b.1.unix_ms).then_with(|| actors.compare(a.0, b.0)))
    }
}
