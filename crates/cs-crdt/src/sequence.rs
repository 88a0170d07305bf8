//! The order of lists and text: Fugue, kept as state, in runs (CRDT-6).
//!
//! Every item names the neighbours it was inserted between. Items whose claims meet are ordered as YjsMod does
//! ([reference-crdts](https://github.com/josephg/reference-crdts)), which is the order of `FugueMax`
//! ([Weidner and Kleppmann 2023](https://arxiv.org/abs/2305.00583)): runs typed apart never interleave, in either
//! direction. Removed items stay as positions only.
//!
//! Runs are kept in a B-tree ([`tree`]), with an index from dots to its leaves ([`index`]). What lies between an item's
//! neighbours, if anything, is searched by [`order`].

mod index;
mod order;
mod tree;

use alloc::vec::Vec;
use core::cmp::Ordering;

use crate::{
    actor::{Actors, Dot},
    context::Context,
};
use index::Index;
use order::Crowds;
use tree::{Moved, Place, Tree};

/// The items of a run.
pub(crate) trait Items: Sized {
    /// Items, live or not.
    fn len(&self) -> u32;
    /// Items that are shown.
    fn visible(&self) -> u32;
    /// Keeps the first `at` items and returns the others.
    fn split_off(&mut self, at: u32) -> Self;
    /// Appends `next` if both may be one run in memory, and otherwise gives it back.
    fn append(&mut self, next: Self) -> Result<(), Self>;
    /// The visible offset `within` as an offset among all items.
    fn offset_of_visible(&self, within: u32) -> u32;
    /// How many of the first `offset` items are shown.
    fn visible_before(&self, offset: u32) -> u32;
}

/// Items with consecutive dots, each inserted right after the one before it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Span<C> {
    pub(crate) id: Dot,
    /// The item that the first one was inserted after; `None` is the start.
    pub(crate) left: Option<Dot>,
    /// The item that all were inserted before; `None` is the end.
    pub(crate) right: Option<Dot>,
    pub(crate) items: C,
}

impl<C: Items> Span<C> {
    fn end(&self) -> Dot {
        self.id.plus(u64::from(self.items.len()))
    }

    fn last(&self) -> Dot {
        self.id.plus(u64::from(self.items.len()).saturating_sub(1))
    }

    /// The left neighbour of the item at `offset`.
    fn left_of(&self, offset: u32) -> Option<Dot> {
        if offset == 0 { self.left } else { Some(self.id.plus(u64::from(offset) - 1)) }
    }

    /// The offset of `dot`, if it is here.
    fn offset_of(&self, dot: Dot) -> Option<u32> {
        if self.id.actor != dot.actor {
            return None;
        }
        let offset = dot.counter.checked_sub(self.id.counter)?;
        u32::try_from(offset).ok().filter(|offset| *offset < self.items.len())
    }

    /// Whether `next` goes on where this run ends.
    pub(crate) fn continues(&self, next: &Self) -> bool {
        self.end() == next.id && next.left == Some(self.last()) && self.right == next.right
    }

    /// Keeps the first `at` items and returns a span of the others.
    fn split_off(&mut self, at: u32) -> Self {
        let (id, left, right) = (self.id.plus(at.into()), self.left_of(at), self.right);
        Self { id, left, right, items: self.items.split_off(at) }
    }
}

/// Runs in document order.
#[derive(Clone, Debug)]
pub(crate) struct Sequence<C> {
    tree: Tree<C>,
    index: Index,
    crowds: Crowds,
}

impl<C> Default for Sequence<C> {
    fn default() -> Self {
        Self { tree: Tree::default(), index: Index::default(), crowds: Crowds::default() }
    }
}

impl<C: Items + PartialEq> PartialEq for Sequence<C> {
    fn eq(&self, other: &Self) -> bool {
        self.spans().eq(other.spans())
    }
}

impl<C: Items> Sequence<C> {
    pub(crate) fn visible(&self) -> usize {
        self.tree.visible()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tree.is_empty()
    }

    pub(crate) fn contains(&self, dot: Dot) -> bool {
        self.place(dot).is_some()
    }

    /// All spans in document order.
    pub(crate) fn spans(&self) -> impl Iterator<Item = &Span<C>> {
        self.tree.spans()
    }

    /// All spans by their first dot. Costs a sort.
    pub(crate) fn spans_by_dot(&self) -> impl Iterator<Item = &Span<C>> {
        let mut spans: Vec<&Span<C>> = self.spans().collect();
        spans.sort_unstable_by_key(|span| span.id);
        spans.into_iter()
    }

    /// Where `dot` is: a logarithm, and a walk through one leaf.
    fn place(&self, dot: Dot) -> Option<Place> {
        let leaf = self.index.leaf(dot)?;
        let mut spans = self.tree.leaf(leaf)?.spans.iter().enumerate();
        spans.find_map(|(span, run)| Some(Place { leaf, span, offset: run.offset_of(dot)? }))
    }

    /// The item run that holds `dot` and the offset of `dot` in it.
    pub(crate) fn find(&self, dot: Dot) -> Option<(&C, u32)> {
        let place = self.place(dot)?;
        Some((&self.tree.span(place)?.items, place.offset))
    }

    /// How many items are shown before `dot`, if it is here. Costs a logarithm.
    pub(crate) fn index_of(&self, dot: Dot) -> Option<usize> {
        Some(self.tree.visible_before(self.place(dot)?))
    }

    /// Inserts a run between two items, `true` if it took effect. It does not if a neighbour is unknown, if the
    /// neighbours are not in this order, or if no replica can have seen them side by side: what lies between
    /// two neighbours must have come later, so neither's own claim may reach across the other (CRDT-4).
    pub(crate) fn insert(&mut self, run: Span<C>, actors: &Actors) -> bool {
        if run.items.len() == 0 {
            return false;
        }
        let Some((left, at)) = self.destination(run.id, run.left, run.right, actors) else { return false };
        self.insert_between(left, at, run);
        true
    }

    /// Appends `count` items to the run that ends with `left`, if they go on there in every way and `append` has room. For
    /// what is typed, this saves making a run.
    pub(crate) fn type_on(
        &mut self,
        id: Dot,
        count: u32,
        left: Dot,
        right: Option<Dot>,
        append: impl FnOnce(&mut C) -> bool,
    ) -> bool {
        if !self.crowds.is_empty() {
            return false;
        }
        let Some(place) = self.place(left) else { return false };
        let Some(span) = self.tree.span(place) else { return false };
        let is_last = span.last() == left && span.end() == id && span.right == right;
        if !is_last || self.tree.after_span(place).and_then(|next| self.tree.dot(next)) != right {
            return false;
        }
        let appended = self.tree.edit(place, append) == Some(true);
        if appended {
            self.index_stretch(id, count.into(), place.leaf);
        }
        appended
    }

    /// The first item after `left` that was there at `floor`. Costs what was inserted between them since.
    pub(crate) fn next_old(&self, left: Option<Dot>, floor: &Context) -> Option<Dot> {
        let place = left.and_then(|left| self.place(left));
        let mut next = match place {
            Some(place) => self.tree.settle(Place { offset: place.offset + 1, ..place }),
            None => self.tree.first(),
        };
        while let Some(place) = next {
            let dot = self.tree.dot(place)?;
            if floor.contains(dot) {
                return Some(dot);
            }
            next = self.tree.after_span(place);
        }
        None
    }

    /// Forgets the items for which `keep` is `false`, and what the others were inserted between: each stands after the one
    /// before it. `keep` is asked about runs that are alike, as `edit_all` gives them.
    pub(crate) fn compact(&mut self, mut parts: impl FnMut(C) -> Vec<(u32, Option<C>)>) {
        let old = core::mem::take(self);
        let mut left = None;
        for span in old.tree.into_spans() {
            let mut id = span.id;
            for (count, kept) in parts(span.items) {
                if let Some(items) = kept {
                    let run = Span { id, left, right: None, items };
                    let end = self.tree.last();
                    left = Some(run.last());
                    self.insert_between(end, None, run);
                }
                id = id.plus(count.into());
            }
        }
    }

    /// Puts a run before the item at `at`, where `None` is the end; appended to the span of its left neighbour at `left` if
    /// it goes on there.
    fn insert_between(&mut self, left: Option<Place>, at: Option<Place>, mut run: Span<C>) {
        let count = run.items.len().into();
        let id = run.id;
        if let Some(place) = left
            && self.tree.span(place).is_some_and(|span| span.continues(&run))
            && at == self.tree.after_span(place)
        {
            match self.tree.append(place, run.items) {
                Ok(()) => return self.index_stretch(id, count, place.leaf),
                Err(items) => run.items = items,
            }
        }
        let at = match (left, at) {
            // What is inserted after a leaf's last span goes to that leaf.
            (Some(left), Some(at)) if at.offset == 0 && at.leaf != left.leaf => {
                Some(Place { leaf: left.leaf, span: left.span + 1, offset: 0 })
                    .filter(|place| self.tree.settle(*place) == Some(at))
                    .or(Some(at))
            }
            (_, Some(at)) => Some(self.split(at)),
            (_, None) => None,
        };
        let (place, moved) = self.tree.insert(at, run);
        self.note_moved(moved);
        self.index_stretch(id, count, place.leaf);
    }

    fn index_stretch(&mut self, first: Dot, count: u64, leaf: u32) {
        let tree = &self.tree;
        self.index.assign(first, count, leaf, |old, end, next| {
            let later = |span: &Span<C>| {
                span.id.actor == end.actor && span.end() > end && next.is_none_or(|next| span.id < next)
            };
            tree.leaf(old).is_some_and(|leaf| leaf.spans.iter().any(later))
        });
    }

    fn note_moved(&mut self, moved: Option<Moved>) {
        let Some(Moved { to }) = moved else { return };
        let spans = self.tree.leaf(to).into_iter().flat_map(|leaf| leaf.spans.iter());
        let stretches: Vec<(Dot, u64)> = spans.map(|span| (span.id, span.items.len().into())).collect();
        for (first, count) in stretches {
            self.index_stretch(first, count, to);
        }
    }

    /// Splits the span at `place` so that the item there begins one, and returns where that is.
    fn split(&mut self, place: Place) -> Place {
        let (place, moved) = self.tree.split(place);
        self.note_moved(moved);
        place
    }

    /// Lets `edit` change the items `first .. first + count` that exist, run by run. Runs are cut so that each
    /// call sees only items of the range.
    pub(crate) fn edit_range(&mut self, first: Dot, count: u64, mut edit: impl FnMut(&mut C)) {
        let end = first.plus(count);
        let mut next = first;
        while next < end {
            next = match self.place(next) {
                Some(place) => self.edit_span(place, end, &mut edit).unwrap_or(end),
                None => self.next_after(next).unwrap_or(end),
            };
        }
    }

    /// The first dot after `dot` of its author that is in the sequence.
    fn next_after(&self, dot: Dot) -> Option<Dot> {
        let mut from = dot;
        let mut leaf = self.index.leaf(dot);
        loop {
            let next = self.index.next(from);
            let spans =
                leaf.and_then(|leaf| self.tree.leaf(leaf)).into_iter().flat_map(|leaf| leaf.spans.iter());
            let later = spans
                .map(|span| span.id)
                .filter(|id| id.actor == dot.actor && *id > dot && next.is_none_or(|next| *id < next));
            if let Some(found) = later.min() {
                return Some(found);
            }
            from = next?;
            leaf = self.index.leaf(from);
            if self.contains(from) {
                return Some(from);
            }
        }
    }

    /// Edits the items from `place` to the end of its span or `end`. Returns the dot after them.
    fn edit_span(&mut self, place: Place, end: Dot, edit: &mut impl FnMut(&mut C)) -> Option<Dot> {
        let place = self.isolate(place, end)?;
        let next = self.tree.span(place)?.end();
        self.tree.edit(place, edit)?;
        self.tree.merge_with_next(place);
        if let Some(span) = place.span.checked_sub(1) {
            self.tree.merge_with_next(Place { span, ..place });
        }
        Some(next)
    }

    /// Cuts the span at `place` so that one begins there and does not cross `end`. Returns where it is then.
    fn isolate(&mut self, place: Place, end: Dot) -> Option<Place> {
        let place = self.split(place);
        let span = self.tree.span(place)?;
        let first = span.id;
        if span.end() <= end {
            return Some(place);
        }
        let offset = u32::try_from(end.counter - first.counter).ok()?;
        self.split(Place { offset, ..place });
        self.place(first)
    }

    /// Lets `edit` change the run that holds `dot`, given its offset, without cutting it.
    pub(crate) fn edit_item<R>(&mut self, dot: Dot, edit: impl FnOnce(&mut C, u32) -> R) -> Option<R> {
        let place = self.place(dot)?;
        self.tree.edit(place, |items| edit(items, place.offset))
    }

    /// Lets `edit` change every run. Costs the whole sequence.
    pub(crate) fn edit_all(&mut self, edit: impl FnMut(Dot, &mut C)) {
        self.tree.edit_all(edit);
    }

    /// The dot of the visible item `index`.
    pub(crate) fn dot_of_visible(&self, index: usize) -> Option<Dot> {
        self.tree.dot(self.tree.place_of_visible(index)?)
    }

    /// The neighbours of what is now inserted before the visible item `index`; `None` past the end.
    pub(crate) fn gap(&self, index: usize) -> Option<(Option<Dot>, Option<Dot>)> {
        let (left, next) = match index.checked_sub(1) {
            None => (None, self.tree.first()),
            Some(before) => {
                let place = self.tree.place_of_visible(before)?;
                (self.tree.dot(place), self.tree.settle(Place { offset: place.offset + 1, ..place }))
            }
        };
        Some((left, next.and_then(|place| self.tree.dot(place))))
    }

    /// The item that now follows `dot`, shown or not; `Some(None)` at the end.
    pub(crate) fn after(&self, dot: Dot) -> Option<Option<Dot>> {
        let place = self.place(dot)?;
        let next = self.tree.settle(Place { offset: place.offset + 1, ..place });
        Some(next.and_then(|place| self.tree.dot(place)))
    }

    /// The visible items `from .. from + count` as runs of consecutive dots, in document order.
    pub(crate) fn dots_of_visible(&self, from: usize, count: usize) -> Option<Vec<(Dot, u64)>> {
        let mut runs: Vec<(Dot, u64)> = Vec::new();
        let mut wanted = count;
        let mut place = if count == 0 { return Some(runs) } else { self.tree.place_of_visible(from)? };
        while wanted > 0 {
            place = self.tree.settle(place)?;
            let span = self.tree.span(place)?;
            let visible = span.items.visible();
            if visible == 0 {
                place = Place { span: place.span + 1, offset: 0, ..place };
                continue;
            }
            let all = visible == span.items.len();
            let shown = all || self.is_shown(place)?;
            let take = if all { wanted.min((span.items.len() - place.offset) as usize) as u32 } else { 1 };
            if shown {
                let dot = span.id.plus(place.offset.into());
                match runs.last_mut() {
                    Some(last) if last.0.plus(last.1) == dot => last.1 += u64::from(take),
                    _ => runs.push((dot, take.into())),
                }
                wanted -= take as usize;
            }
            place = Place { offset: place.offset + take, ..place };
        }
        Some(runs)
    }

    /// Whether the item at `place`, in a run of which only part is visible, is.
    fn is_shown(&self, place: Place) -> Option<bool> {
        let items = &self.tree.span(place)?.items;
        Some(items.visible_before(place.offset + 1) > items.visible_before(place.offset))
    }

    /// Takes out the newest run of this author, which nothing refers to: `count` items from `first`.
    pub(crate) fn take_back(&mut self, first: Dot, count: u64) {
        self.crowds = Crowds::default();
        let end = first.plus(count);
        let mut next = first;
        while next < end {
            let Some(place) = self.place(next) else { return };
            let Some(place) = self.isolate(place, end) else { return };
            match self.tree.remove(place) {
                Some(span) => next = span.end(),
                None => return,
            }
        }
    }

    fn compare(&self, a: Place, b: Place) -> Ordering {
        self.tree.compare(a, b)
    }
}

#[cfg(test)]
mod tests;
