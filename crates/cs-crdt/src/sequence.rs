//! The order of lists and text: Fugue, kept as state, in runs (CRDT-6).
//!
//! Every item names the neighbours it was inserted between. Items whose claims meet are ordered as YjsMod does
//! ([reference-crdts](https://github.com/josephg/reference-crdts)), which is the order of `FugueMax`
//! ([Weidner and Kleppmann 2023](https://arxiv.org/abs/2305.00583)): runs typed apart never interleave, in either
//! direction. Removed items stay as positions only.

use alloc::{collections::BTreeMap, vec::Vec};
use core::cmp::Ordering;

use crate::actor::{Actors, Dot};

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

    /// Whether `next` goes on where this run ends.
    pub(crate) fn continues(&self, next: &Self) -> bool {
        self.end() == next.id && next.left == Some(self.last()) && self.right == next.right
    }
}

/// Spans to a chunk; a chunk is searched from end to end.
const SPANS_MAX: usize = 64;

#[derive(Clone, Debug)]
struct Chunk<C> {
    /// Place of this chunk among all.
    rank: usize,
    visible: usize,
    spans: Vec<Span<C>>,
}

/// Runs in document order, cut into chunks so that one insertion moves few of them, with an index from dots to
/// chunks.
#[derive(Clone, Debug)]
pub(crate) struct Sequence<C> {
    chunks: Vec<Chunk<C>>,
    /// Chunks in document order.
    order: Vec<usize>,
    /// First dot of each span -> its chunk.
    index: BTreeMap<Dot, usize>,
    visible: usize,
}

impl<C> Default for Sequence<C> {
    fn default() -> Self {
        Self { chunks: Vec::new(), order: Vec::new(), index: BTreeMap::new(), visible: 0 }
    }
}

impl<C: Items + PartialEq> PartialEq for Sequence<C> {
    fn eq(&self, other: &Self) -> bool {
        self.spans().eq(other.spans())
    }
}

/// An item's position. Ordered as the document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    rank: usize,
    span: usize,
    offset: u32,
}

/// A position between items, with the ends of the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Bound {
    Start,
    At(Place),
    End,
}

impl<C: Items> Sequence<C> {
    pub(crate) fn visible(&self) -> usize {
        self.visible
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    pub(crate) fn contains(&self, dot: Dot) -> bool {
        self.place(dot).is_some()
    }

    /// All spans in document order.
    pub(crate) fn spans(&self) -> impl Iterator<Item = &Span<C>> {
        self.order.iter().filter_map(|id| self.chunks.get(*id)).flat_map(|chunk| chunk.spans.iter())
    }

    /// All spans by their first dot.
    pub(crate) fn spans_by_dot(&self) -> impl Iterator<Item = &Span<C>> {
        self.index.keys().filter_map(|dot| {
            let place = self.place(*dot)?;
            self.chunk(place.rank)?.spans.get(place.span)
        })
    }

    fn chunk(&self, rank: usize) -> Option<&Chunk<C>> {
        self.chunks.get(*self.order.get(rank)?)
    }

    fn chunk_mut(&mut self, rank: usize) -> Option<&mut Chunk<C>> {
        self.chunks.get_mut(*self.order.get(rank)?)
    }

    fn span(&self, place: Place) -> Option<&Span<C>> {
        self.chunk(place.rank)?.spans.get(place.span)
    }

    /// Where `dot` is: a logarithm, and a walk through one chunk.
    fn place(&self, dot: Dot) -> Option<Place> {
        let (start, id) = self.index.range(..=dot).next_back()?;
        if start.actor != dot.actor {
            return None;
        }
        let chunk = self.chunks.get(*id)?;
        let span = chunk.spans.iter().position(|span| span.id == *start)?;
        let offset = u32::try_from(dot.counter - start.counter).ok()?;
        (offset < chunk.spans.get(span)?.items.len()).then_some(Place { rank: chunk.rank, span, offset })
    }

    /// The item run that holds `dot` and the offset of `dot` in it.
    pub(crate) fn find(&self, dot: Dot) -> Option<(&C, u32)> {
        let place = self.place(dot)?;
        Some((&self.span(place)?.items, place.offset))
    }

    fn bound(&self, dot: Option<Dot>, none: Bound) -> Option<Bound> {
        match dot {
            None => Some(none),
            Some(dot) => self.place(dot).map(Bound::At),
        }
    }

    /// The first item at or after `place`.
    fn settle(&self, mut place: Place) -> Option<Place> {
        loop {
            let chunk = self.chunk(place.rank)?;
            match chunk.spans.get(place.span) {
                Some(span) if place.offset < span.items.len() => return Some(place),
                Some(_) => place = Place { span: place.span + 1, offset: 0, ..place },
                None => place = Place { rank: place.rank + 1, span: 0, offset: 0 },
            }
        }
    }

    /// Inserts a run between two items, `true` if it took effect. It does not if a neighbour is unknown, if the
    /// neighbours are not in this order, or if no replica can have seen them side by side: what lies between
    /// two neighbours must have come later, so neither's own claim may reach across the other (CRDT-4).
    pub(crate) fn insert(&mut self, run: Span<C>, actors: &Actors) -> bool {
        match self.destination(&run, actors) {
            Some(at) if run.items.len() > 0 => {
                self.insert_at(at, run);
                true
            }
            _ => false,
        }
    }

    fn destination(&self, run: &Span<C>, actors: &Actors) -> Option<Option<Place>> {
        let left = self.bound(run.left, Bound::Start)?;
        let right = self.bound(run.right, Bound::End)?;
        if left >= right || !self.adjacent_once(left, right)? {
            return None;
        }
        let first = Place { rank: 0, span: 0, offset: 0 };
        let mut cursor = match left {
            Bound::At(place) => self.settle(Place { offset: place.offset + 1, ..place }),
            Bound::Start | Bound::End => self.settle(first),
        };
        let mut destination = cursor;
        let mut scanning = false;
        loop {
            if !scanning {
                destination = cursor;
            }
            let Some(place) = cursor.filter(|place| Bound::At(*place) != right) else { break };
            let other = self.span(place)?;
            let other_left = self.bound(other.left_of(place.offset), Bound::Start)?;
            match other_left.cmp(&left) {
                Ordering::Less => break,
                Ordering::Greater => {}
                Ordering::Equal => match self.bound(other.right, Bound::End)?.cmp(&right) {
                    Ordering::Less => scanning = true,
                    Ordering::Greater => scanning = false,
                    Ordering::Equal => {
                        let other = other.id.plus(u64::from(place.offset));
                        if actors.compare(run.id, other) == Ordering::Less {
                            break;
                        }
                        scanning = false;
                    }
                },
            }
            cursor = self.settle(Place { span: place.span + 1, offset: 0, ..place });
        }
        Some(destination)
    }

    /// Whether some replica may have seen `left` and `right` side by side.
    fn adjacent_once(&self, left: Bound, right: Bound) -> Option<bool> {
        if let Bound::At(place) = right
            && self.bound(self.span(place)?.left_of(place.offset), Bound::Start)? > left
        {
            return Some(false);
        }
        if let Bound::At(place) = left
            && self.bound(self.span(place)?.right, Bound::End)? < right
        {
            return Some(false);
        }
        Some(true)
    }

    /// Puts a run before the item at `at`; `None` is the end.
    fn insert_at(&mut self, at: Option<Place>, run: Span<C>) {
        self.visible += run.items.visible() as usize;
        let place = match at {
            Some(place) if place.offset > 0 => {
                self.split(place);
                Place { span: place.span + 1, offset: 0, ..place }
            }
            Some(place) => place,
            None => match self.order.len().checked_sub(1).and_then(|rank| Some((rank, self.chunk(rank)?))) {
                Some((rank, chunk)) => Place { rank, span: chunk.spans.len(), offset: 0 },
                None => {
                    self.order.push(self.chunks.len());
                    self.chunks.push(Chunk { rank: 0, visible: 0, spans: Vec::new() });
                    Place { rank: 0, span: 0, offset: 0 }
                }
            },
        };
        self.insert_span(place, run);
    }

    fn insert_span(&mut self, place: Place, mut run: Span<C>) {
        let Some(&id) = self.order.get(place.rank) else { return };
        let Some(chunk) = self.chunks.get_mut(id) else { return };
        chunk.visible += run.items.visible() as usize;
        let before = place.span.checked_sub(1).and_then(|span| chunk.spans.get_mut(span));
        if let Some(before) = before.filter(|before| before.continues(&run)) {
            match before.items.append(run.items) {
                Ok(()) => return,
                Err(items) => run.items = items,
            }
        }
        self.index.insert(run.id, id);
        chunk.spans.insert(place.span, run);
        if chunk.spans.len() > SPANS_MAX {
            self.split_chunk(place.rank);
        }
    }

    /// Splits the span at `place` so that the item there begins one.
    fn split(&mut self, place: Place) {
        let Some(&id) = self.order.get(place.rank) else { return };
        let Some(chunk) = self.chunks.get_mut(id) else { return };
        let Some(span) = chunk.spans.get_mut(place.span) else { return };
        let (left, right) = (span.left_of(place.offset), span.right);
        let tail = Span {
            id: span.id.plus(place.offset.into()),
            left,
            right,
            items: span.items.split_off(place.offset),
        };
        self.index.insert(tail.id, id);
        chunk.spans.insert(place.span + 1, tail);
    }

    /// Moves the second half of a chunk to a new one. Costs the number of chunks, once per half chunk of spans.
    fn split_chunk(&mut self, rank: usize) {
        let new = self.chunks.len();
        let Some(chunk) = self.chunk_mut(rank) else { return };
        let spans = chunk.spans.split_off(chunk.spans.len() / 2);
        let visible = spans.iter().map(|span| span.items.visible() as usize).sum();
        chunk.visible -= visible;
        for span in &spans {
            self.index.insert(span.id, new);
        }
        self.chunks.push(Chunk { rank: rank + 1, visible, spans });
        self.order.insert(rank + 1, new);
        for (rank, id) in self.order.iter().enumerate().skip(rank + 1) {
            if let Some(chunk) = self.chunks.get_mut(*id) {
                chunk.rank = rank;
            }
        }
    }

    /// Lets `edit` change the items `first .. first + count` that exist, run by run. Runs are cut so that each
    /// call sees only items of the range.
    pub(crate) fn edit_range(&mut self, first: Dot, count: u64, mut edit: impl FnMut(&mut C)) {
        let end = first.plus(count);
        let mut next = first;
        while next < end {
            let Some(place) = self.place(next) else {
                // A gap: go on with the next span of this author, if it begins before the end.
                match self.index.range(next..end).next() {
                    Some((start, _)) => next = *start,
                    None => return,
                }
                continue;
            };
            let Some(place) = self.isolate(place, end) else { return };
            next = self.edit_span(place, &mut edit).unwrap_or(end);
        }
    }

    /// Cuts the span at `place` so that one begins there and none crosses `end`. Returns where it is now.
    fn isolate(&mut self, mut place: Place, end: Dot) -> Option<Place> {
        if place.offset > 0 {
            self.split(place);
            place = Place { span: place.span + 1, offset: 0, ..place };
        }
        let span = self.span(place)?;
        if span.end() > end {
            let offset = u32::try_from(end.counter - span.id.counter).ok()?;
            self.split(Place { offset, ..place });
        }
        Some(place)
    }

    fn edit_span(&mut self, place: Place, edit: &mut impl FnMut(&mut C)) -> Option<Dot> {
        let chunk = self.chunk_mut(place.rank)?;
        let span = chunk.spans.get_mut(place.span)?;
        let before = span.items.visible() as usize;
        edit(&mut span.items);
        let after = span.items.visible() as usize;
        let next = span.end();
        chunk.visible = chunk.visible + after - before;
        self.visible = self.visible + after - before;
        self.rejoin(place);
        Some(next)
    }

    /// Makes one run of the spans around `place` where they may be one, and keeps chunks small.
    fn rejoin(&mut self, place: Place) {
        for at in [Some(place.span), place.span.checked_sub(1)].into_iter().flatten() {
            let Some(chunk) = self.chunk_mut(place.rank) else { return };
            let joins = chunk.spans.get(at).zip(chunk.spans.get(at + 1)).is_some_and(|(a, b)| a.continues(b));
            if !joins {
                continue;
            }
            let next = chunk.spans.remove(at + 1);
            let Some(span) = chunk.spans.get_mut(at) else { return };
            let id = next.id;
            match span.items.append(next.items) {
                Ok(()) => {
                    self.index.remove(&id);
                }
                Err(items) => chunk.spans.insert(at + 1, Span { items, ..next }),
            }
        }
        if self.chunk(place.rank).is_some_and(|chunk| chunk.spans.len() > SPANS_MAX) {
            self.split_chunk(place.rank);
        }
    }

    /// Lets `edit` change the run that holds `dot`, given its offset, without cutting it.
    pub(crate) fn edit_item<R>(&mut self, dot: Dot, edit: impl FnOnce(&mut C, u32) -> R) -> Option<R> {
        let place = self.place(dot)?;
        let chunk = self.chunk_mut(place.rank)?;
        let span = chunk.spans.get_mut(place.span)?;
        let before = span.items.visible() as usize;
        let result = edit(&mut span.items, place.offset);
        let after = span.items.visible() as usize;
        chunk.visible = chunk.visible + after - before;
        self.visible = self.visible + after - before;
        Some(result)
    }

    /// Lets `edit` change every run. Costs the whole sequence.
    pub(crate) fn edit_all(&mut self, mut edit: impl FnMut(Dot, &mut C)) {
        self.visible = 0;
        for chunk in &mut self.chunks {
            chunk.visible = 0;
            for span in &mut chunk.spans {
                edit(span.id, &mut span.items);
                chunk.visible += span.items.visible() as usize;
            }
            self.visible += chunk.visible;
        }
    }

    /// The place of the visible item `index`.
    fn place_of_visible(&self, index: usize) -> Option<Place> {
        let mut left = index;
        for (rank, id) in self.order.iter().enumerate() {
            let chunk = self.chunks.get(*id)?;
            if left >= chunk.visible {
                left -= chunk.visible;
                continue;
            }
            for (span, run) in chunk.spans.iter().enumerate() {
                let visible = run.items.visible() as usize;
                if left < visible {
                    let offset = run.items.offset_of_visible(left as u32);
                    return Some(Place { rank, span, offset });
                }
                left -= visible;
            }
        }
        None
    }

    fn dot_at(&self, place: Place) -> Option<Dot> {
        Some(self.span(place)?.id.plus(place.offset.into()))
    }

    /// The dot of the visible item `index`.
    pub(crate) fn dot_of_visible(&self, index: usize) -> Option<Dot> {
        self.dot_at(self.place_of_visible(index)?)
    }

    /// The neighbours of what is now inserted before the visible item `index`; `None` past the end.
    pub(crate) fn gap(&self, index: usize) -> Option<(Option<Dot>, Option<Dot>)> {
        let first = Place { rank: 0, span: 0, offset: 0 };
        let (left, next) = match index.checked_sub(1) {
            None => (None, self.settle(first)),
            Some(before) => {
                let place = self.place_of_visible(before)?;
                (self.dot_at(place), self.settle(Place { offset: place.offset + 1, ..place }))
            }
        };
        Some((left, next.and_then(|place| self.dot_at(place))))
    }

    /// The visible items `from .. from + count` as runs of consecutive dots, in document order.
    pub(crate) fn dots_of_visible(&self, from: usize, count: usize) -> Option<Vec<(Dot, u64)>> {
        let mut runs: Vec<(Dot, u64)> = Vec::new();
        let mut wanted = count;
        let mut place = if count == 0 { return Some(runs) } else { self.place_of_visible(from)? };
        while wanted > 0 {
            place = self.settle(place)?;
            let span = self.span(place)?;
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
        let items = &self.span(place)?.items;
        Some((0..items.visible()).any(|n| items.offset_of_visible(n) == place.offset))
    }

    /// Takes out the newest run of this author, which nothing refers to: `count` items from `first`.
    pub(crate) fn take_back(&mut self, first: Dot, count: u64) {
        let end = first.plus(count);
        while let Some(place) =
            self.index.range(..end).next_back().and_then(|(s, _)| self.place((*s).max(first)))
        {
            let Some(place) = self.isolate(place, end) else { return };
            let Some(chunk) = self.chunk_mut(place.rank) else { return };
            if chunk.spans.get(place.span).is_none_or(|span| span.id < first) {
                return;
            }
            let span = chunk.spans.remove(place.span);
            chunk.visible -= span.items.visible() as usize;
            self.visible -= span.items.visible() as usize;
            self.index.remove(&span.id);
        }
    }
}

#[cfg(test)]
mod tests;
