//! The runs of a sequence in document order: a B-tree in arenas, whose nodes know how many visible items are below
//! them.

use alloc::vec::Vec;
use core::cmp::Ordering;

use super::{Items, Span};
use crate::actor::Dot;

/// Spans to a leaf, which is searched from end to end.
const SPANS_MAX: usize = if cfg!(test) { 4 } else { 32 };
/// Children of an inner node.
const KIDS_MAX: usize = if cfg!(test) { 4 } else { 16 };
/// In place of a node where there is none.
const NOBODY: u32 = u32::MAX;

/// The extremes of the neighbours that the spans below a node claim, in document order. Known only where a search
/// has asked for them, and forgotten on the way up when a span is added; so typing pays nothing for them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reach {
    /// The leftmost of the left neighbours; `None` is the start.
    pub(crate) least: Option<Dot>,
    /// The rightmost of the right neighbours; `None` is the end.
    pub(crate) most: Option<Dot>,
}

#[derive(Clone, Debug)]
pub(crate) struct Leaf<C> {
    parent: u32,
    next: u32,
    pub(crate) spans: Vec<Span<C>>,
    reach: Option<Reach>,
}

#[derive(Clone, Debug)]
struct Kid {
    id: u32,
    visible: usize,
}

#[derive(Clone, Debug)]
struct Node {
    parent: u32,
    /// Whether the children are leaves.
    is_low: bool,
    kids: Vec<Kid>,
    reach: Option<Reach>,
}

#[derive(Clone, Debug)]
pub(crate) struct Tree<C> {
    leaves: Vec<Leaf<C>>,
    nodes: Vec<Node>,
    /// The root's number; there is none while a single leaf holds everything.
    root: u32,
    visible: usize,
}

/// An item's position: its leaf, the span in it, the item in that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) leaf: u32,
    pub(crate) span: usize,
    pub(crate) offset: u32,
}

/// A part of the tree.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Branch {
    Leaf(u32),
    Node(u32),
}

/// The parts of a tree beside a leaf, nearest first.
#[derive(Debug)]
pub(crate) struct Climb {
    forwards: bool,
    open: Vec<Branch>,
    kid: u32,
    at: u32,
}

impl Climb {
    pub(crate) fn next<C>(&mut self, tree: &Tree<C>) -> Option<Branch> {
        while self.open.is_empty() {
            let node = tree.nodes.get(self.at as usize)?;
            let own = node.kids.iter().position(|kid| kid.id == self.kid).unwrap_or(0);
            let range = if self.forwards { own + 1..node.kids.len() } else { 0..own };
            self.push(node, range);
            (self.kid, self.at) = (self.at, node.parent);
        }
        self.open.pop()
    }

    /// Goes on with the parts of a node that was next.
    pub(crate) fn enter<C>(&mut self, tree: &Tree<C>, node: u32) {
        if let Some(node) = tree.nodes.get(node as usize) {
            self.push(node, 0..node.kids.len());
        }
    }

    /// The nearest goes on top.
    fn push(&mut self, node: &Node, range: core::ops::Range<usize>) {
        let branch = |kid: &Kid| if node.is_low { Branch::Leaf(kid.id) } else { Branch::Node(kid.id) };
        let kids = node.kids.get(range).unwrap_or_default().iter().map(branch);
        match self.forwards {
            true => self.open.extend(kids.rev()),
            false => self.open.extend(kids),
        }
    }
}

/// Spans that left their leaf, for the index of dots.
pub(crate) struct Moved {
    pub(crate) to: u32,
}

impl<C> Default for Tree<C> {
    fn default() -> Self {
        Self { leaves: Vec::new(), nodes: Vec::new(), root: NOBODY, visible: 0 }
    }
}

impl<C: Items> Tree<C> {
    pub(crate) fn visible(&self) -> usize {
        self.visible
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.leaves.iter().all(|leaf| leaf.spans.is_empty())
    }

    pub(crate) fn leaf(&self, leaf: u32) -> Option<&Leaf<C>> {
        self.leaves.get(leaf as usize)
    }

    pub(crate) fn span(&self, place: Place) -> Option<&Span<C>> {
        self.leaf(place.leaf)?.spans.get(place.span)
    }

    pub(crate) fn dot(&self, place: Place) -> Option<Dot> {
        Some(self.span(place)?.id.plus(place.offset.into()))
    }

    /// All spans in document order. The first leaf never moves.
    pub(crate) fn spans(&self) -> impl Iterator<Item = &Span<C>> {
        let leaves = core::iter::successors(self.leaf(0), |leaf| self.leaf(leaf.next));
        leaves.flat_map(|leaf| leaf.spans.iter())
    }

    /// All spans in document order, given away.
    pub(crate) fn into_spans(mut self) -> impl Iterator<Item = Span<C>> {
        let mut at = 0;
        core::iter::from_fn(move || {
            let leaf = self.leaves.get_mut(at as usize)?;
            at = leaf.next;
            Some(core::mem::take(&mut leaf.spans))
        })
        .flatten()
    }

    /// The last item.
    pub(crate) fn last(&self) -> Option<Place> {
        let leaf = self.last_leaf();
        let span = self.leaf(leaf)?.spans.len().checked_sub(1)?;
        let place = Place { leaf, span, offset: 0 };
        Some(Place { offset: self.span(place)?.items.len().checked_sub(1)?, ..place })
    }

    pub(crate) fn first(&self) -> Option<Place> {
        self.settle(Place { leaf: 0, span: 0, offset: 0 })
    }

    /// The first item at or after `place`.
    pub(crate) fn settle(&self, mut place: Place) -> Option<Place> {
        loop {
            let leaf = self.leaf(place.leaf)?;
            match leaf.spans.get(place.span) {
                Some(span) if place.offset < span.items.len() => return Some(place),
                Some(_) => place = Place { span: place.span + 1, offset: 0, ..place },
                None => place = Place { leaf: leaf.next, span: 0, offset: 0 },
            }
        }
    }

    /// The first item of the next span.
    pub(crate) fn after_span(&self, place: Place) -> Option<Place> {
        self.settle(Place { span: place.span + 1, offset: 0, ..place })
    }

    pub(crate) fn climb(&self, leaf: u32, forwards: bool) -> Climb {
        let at = self.leaf(leaf).map_or(NOBODY, |leaf| leaf.parent);
        Climb { forwards, open: Vec::new(), kid: leaf, at }
    }

    /// What is known of a part's reach.
    pub(crate) fn reach(&self, branch: Branch) -> Option<Reach> {
        match branch {
            Branch::Leaf(leaf) => self.leaf(leaf)?.reach,
            Branch::Node(node) => self.nodes.get(node as usize)?.reach,
        }
    }

    pub(crate) fn set_reach(&mut self, branch: Branch, reach: Option<Reach>) {
        match branch {
            Branch::Leaf(leaf) => {
                self.leaves.get_mut(leaf as usize).into_iter().for_each(|leaf| leaf.reach = reach);
            }
            Branch::Node(node) => {
                self.nodes.get_mut(node as usize).into_iter().for_each(|node| node.reach = reach);
            }
        }
    }

    /// The parts of a part.
    pub(crate) fn kids(&self, branch: Branch) -> Vec<Branch> {
        let Branch::Node(node) = branch else { return Vec::new() };
        let Some(node) = self.nodes.get(node as usize) else { return Vec::new() };
        let kid = |kid: &Kid| if node.is_low { Branch::Leaf(kid.id) } else { Branch::Node(kid.id) };
        node.kids.iter().map(kid).collect()
    }

    /// Which of two items comes first: a climb to where their ways meet.
    pub(crate) fn compare(&self, a: Place, b: Place) -> Ordering {
        if a.leaf == b.leaf {
            return (a.span, a.offset).cmp(&(b.span, b.offset));
        }
        let (mut a, mut b) = (a.leaf, b.leaf);
        let parent = |leaf: u32| self.leaf(leaf).map_or(NOBODY, |leaf| leaf.parent);
        let (mut above_a, mut above_b) = (parent(a), parent(b));
        while above_a != above_b {
            (a, b) = (above_a, above_b);
            (above_a, above_b) = (self.parent(a), self.parent(b));
        }
        self.kid_index(above_a, a).cmp(&self.kid_index(above_a, b))
    }

    fn parent(&self, node: u32) -> u32 {
        self.nodes.get(node as usize).map_or(NOBODY, |node| node.parent)
    }

    fn kid_index(&self, node: u32, kid: u32) -> usize {
        let node = self.nodes.get(node as usize);
        node.and_then(|node| node.kids.iter().position(|own| own.id == kid)).unwrap_or(0)
    }

    /// The place of the visible item `index`.
    pub(crate) fn place_of_visible(&self, index: usize) -> Option<Place> {
        if index >= self.visible {
            return None;
        }
        let mut left = index;
        let mut at = self.root;
        let leaf = loop {
            let Some(node) = self.nodes.get(at as usize) else { break 0 };
            let kid = node.kids.iter().find(|kid| {
                let is_here = left < kid.visible;
                left -= if is_here { 0 } else { kid.visible };
                is_here
            })?;
            if node.is_low {
                break kid.id;
            }
            at = kid.id;
        };
        for (span, run) in self.leaf(leaf)?.spans.iter().enumerate() {
            let visible = run.items.visible() as usize;
            if left < visible {
                return Some(Place { leaf, span, offset: run.items.offset_of_visible(left as u32) });
            }
            left -= visible;
        }
        None
    }

    /// How many visible items come before `place`.
    pub(crate) fn visible_before(&self, place: Place) -> usize {
        let Some(leaf) = self.leaf(place.leaf) else { return 0 };
        let before = leaf.spans.iter().take(place.span).map(|span| span.items.visible() as usize);
        let mut count: usize = before.sum();
        if let Some(span) = leaf.spans.get(place.span) {
            count += span.items.visible_before(place.offset) as usize;
        }
        let (mut kid, mut at) = (place.leaf, leaf.parent);
        while let Some(node) = self.nodes.get(at as usize) {
            count += node.kids.iter().take_while(|own| own.id != kid).map(|own| own.visible).sum::<usize>();
            (kid, at) = (at, node.parent);
        }
        count
    }

    /// Adds `after - before` to the counts above a leaf.
    fn recount(&mut self, leaf: u32, before: usize, after: usize) {
        self.visible = self.visible + after - before;
        let (mut kid, mut at) = (leaf, self.leaf(leaf).map_or(NOBODY, |leaf| leaf.parent));
        while let Some(node) = self.nodes.get_mut(at as usize) {
            if let Some(own) = node.kids.iter_mut().find(|own| own.id == kid) {
                own.visible = own.visible + after - before;
            }
            (kid, at) = (at, node.parent);
        }
    }

    /// Forgets what is known of the neighbours that the spans of a leaf claim.
    fn forget_reach(&mut self, leaf: u32) {
        let Some(own) = self.leaves.get_mut(leaf as usize) else { return };
        own.reach = None;
        let mut at = own.parent;
        while let Some(node) = self.nodes.get_mut(at as usize) {
            if node.reach.take().is_none() {
                return;
            }
            at = node.parent;
        }
    }

    /// Lets `edit` change one span's items, and keeps the counts.
    pub(crate) fn edit<R>(&mut self, place: Place, edit: impl FnOnce(&mut C) -> R) -> Option<R> {
        let span = self.leaves.get_mut(place.leaf as usize)?.spans.get_mut(place.span)?;
        let before = span.items.visible() as usize;
        let result = edit(&mut span.items);
        let after = span.items.visible() as usize;
        if before != after {
            self.recount(place.leaf, before, after);
        }
        Some(result)
    }

    /// Lets `edit` change every run. Costs the whole sequence.
    pub(crate) fn edit_all(&mut self, mut edit: impl FnMut(Dot, &mut C)) {
        for leaf in 0..self.leaves.len() {
            let Some(own) = self.leaves.get_mut(leaf) else { return };
            let (mut before, mut after) = (0, 0);
            for span in &mut own.spans {
                before += span.items.visible() as usize;
                edit(span.id, &mut span.items);
                after += span.items.visible() as usize;
            }
            if before != after {
                self.recount(leaf as u32, before, after);
            }
        }
    }

    /// Appends `items` to the span at `place`, if both may be one run in memory.
    pub(crate) fn append(&mut self, place: Place, items: C) -> Result<(), C> {
        let spans = self.leaves.get_mut(place.leaf as usize).map(|leaf| &mut leaf.spans);
        let Some(span) = spans.and_then(|spans| spans.get_mut(place.span)) else { return Err(items) };
        let visible = items.visible() as usize;
        span.items.append(items)?;
        if visible > 0 {
            self.recount(place.leaf, 0, visible);
        }
        Ok(())
    }

    /// Puts a span before the one at `place`, whose offset does not count; `None` is the end. Returns where it is, and
    /// which leaf was split for it, if one was.
    pub(crate) fn insert(&mut self, place: Option<Place>, span: Span<C>) -> (Place, Option<Moved>) {
        let place = place.unwrap_or_else(|| self.end());
        let visible = span.items.visible() as usize;
        if let Some(leaf) = self.leaves.get_mut(place.leaf as usize) {
            leaf.spans.insert(place.span.min(leaf.spans.len()), span);
        }
        if visible > 0 {
            self.recount(place.leaf, 0, visible);
        }
        self.forget_reach(place.leaf);
        self.relieve(Place { offset: 0, ..place })
    }

    /// Splits a leaf that has grown too large. Returns where the span at `place` is then.
    fn relieve(&mut self, place: Place) -> (Place, Option<Moved>) {
        let count = self.leaf(place.leaf).map_or(0, |leaf| leaf.spans.len());
        if count <= SPANS_MAX {
            return (place, None);
        }
        // Who types at the end goes on there: full leaves stay behind.
        let is_last = self.leaf(place.leaf).is_some_and(|leaf| leaf.next == NOBODY);
        let at = if is_last && place.span + 1 == count { count - 2 } else { count / 2 };
        let to = self.split_leaf(place.leaf, at);
        let moved = Some(Moved { to });
        if place.span < at {
            (place, moved)
        } else {
            (Place { leaf: to, span: place.span - at, offset: 0 }, moved)
        }
    }

    fn end(&mut self) -> Place {
        if self.leaves.is_empty() {
            self.leaves.push(Leaf { parent: NOBODY, next: NOBODY, spans: Vec::new(), reach: None });
            return Place { leaf: 0, span: 0, offset: 0 };
        }
        let leaf = self.last_leaf();
        Place { leaf, span: self.leaf(leaf).map_or(0, |leaf| leaf.spans.len()), offset: 0 }
    }

    fn last_leaf(&self) -> u32 {
        let mut at = self.root;
        loop {
            let Some(node) = self.nodes.get(at as usize) else { return 0 };
            let last = node.kids.last().map_or(0, |kid| kid.id);
            if node.is_low {
                return last;
            }
            at = last;
        }
    }

    /// Splits the span at `place` so that the item there begins one, and returns where that is.
    pub(crate) fn split(&mut self, place: Place) -> (Place, Option<Moved>) {
        if place.offset == 0 {
            return (place, None);
        }
        let spans = self.leaves.get_mut(place.leaf as usize).map(|leaf| &mut leaf.spans);
        if let Some(spans) = spans
            && let Some(span) = spans.get_mut(place.span)
        {
            let tail = span.split_off(place.offset);
            spans.insert(place.span + 1, tail);
        }
        self.forget_reach(place.leaf);
        self.relieve(Place { span: place.span + 1, offset: 0, ..place })
    }

    /// Takes a span out.
    pub(crate) fn remove(&mut self, place: Place) -> Option<Span<C>> {
        let leaf = self.leaves.get_mut(place.leaf as usize)?;
        if place.span >= leaf.spans.len() {
            return None;
        }
        let span = leaf.spans.remove(place.span);
        let visible = span.items.visible() as usize;
        if visible > 0 {
            self.recount(place.leaf, visible, 0);
        }
        self.forget_reach(place.leaf);
        Some(span)
    }

    /// Makes one span of the one at `place` and the next in its leaf, if they may be one.
    pub(crate) fn merge_with_next(&mut self, place: Place) -> bool {
        let Some(leaf) = self.leaves.get_mut(place.leaf as usize) else { return false };
        let pair = leaf.spans.get(place.span).zip(leaf.spans.get(place.span + 1));
        if !pair.is_some_and(|(a, b)| a.continues(b)) {
            return false;
        }
        let next = leaf.spans.remove(place.span + 1);
        let Some(span) = leaf.spans.get_mut(place.span) else { return false };
        let Err(items) = span.items.append(next.items) else { return true };
        leaf.spans.insert(place.span + 1, Span { items, ..next });
        false
    }

    /// Moves the spans from `at` on to a new leaf.
    fn split_leaf(&mut self, leaf: u32, at: usize) -> u32 {
        let new = self.leaves.len() as u32;
        let Some(own) = self.leaves.get_mut(leaf as usize) else { return leaf };
        let mut spans = Vec::with_capacity(SPANS_MAX + 1);
        spans.extend(own.spans.drain(at..));
        let moved: usize = spans.iter().map(|span: &Span<C>| span.items.visible() as usize).sum();
        let (parent, next) = (own.parent, own.next);
        own.next = new;
        own.reach = None;
        self.leaves.push(Leaf { parent, next, spans, reach: None });
        self.add_kid(parent, leaf, Kid { id: new, visible: moved }, true);
        new
    }

    /// Adds a child after `left`, some of whose visible items are now below the new one.
    fn add_kid(&mut self, parent: u32, left: u32, kid: Kid, is_low: bool) {
        let Some(node) = self.nodes.get_mut(parent as usize) else {
            let kids = Vec::from([Kid { id: left, visible: self.visible - kid.visible }, kid]);
            let root = self.nodes.len() as u32;
            kids.iter().for_each(|kid| self.set_parent(kid.id, root, is_low));
            self.nodes.push(Node { parent: NOBODY, is_low, kids, reach: None });
            self.root = root;
            return;
        };
        let at = node.kids.iter().position(|own| own.id == left).unwrap_or(0);
        if let Some(own) = node.kids.get_mut(at) {
            own.visible -= kid.visible;
        }
        node.kids.insert(at + 1, kid);
        if node.kids.len() > KIDS_MAX {
            self.split_node(parent);
        }
    }

    fn set_parent(&mut self, kid: u32, parent: u32, is_leaf: bool) {
        match is_leaf {
            true => self.leaves.get_mut(kid as usize).into_iter().for_each(|leaf| leaf.parent = parent),
            false => self.nodes.get_mut(kid as usize).into_iter().for_each(|node| node.parent = parent),
        }
    }

    /// Moves the second half of a node to a new one. Its depth is the logarithm of the leaves.
    fn split_node(&mut self, at: u32) {
        let new = self.nodes.len() as u32;
        let Some(node) = self.nodes.get_mut(at as usize) else { return };
        let kids = node.kids.split_off(node.kids.len() / 2);
        let (parent, is_low) = (node.parent, node.is_low);
        node.reach = None;
        let visible = kids.iter().map(|kid| kid.visible).sum();
        kids.iter().for_each(|kid| self.set_parent(kid.id, new, is_low));
        self.nodes.push(Node { parent, is_low, kids, reach: None });
        self.add_kid(parent, at, Kid { id: new, visible }, false);
    }
}
