//! Where an item goes among others that claim the same gap (CRDT-6).
//!
//! Usually nothing lies between its neighbours. If little does, it is walked through as YjsMod does it. If much does, two
//! facts about the order, as a tree (each item a child, to the right, of its left neighbour; or, to the left, of its right
//! neighbour if both have the same left neighbour), make a search of it:
//!
//! - What is below an item P to its right ends before the first item whose left neighbour is before P.
//! - Items below one parent on one side are sorted: left children by (author, counter); right children by their
//!   right neighbour, the last first, and then by (author, counter).
//!
//! So an insertion costs logarithms, whatever was inserted there before it.

use alloc::{collections::BTreeMap, vec::Vec};
use core::cmp::Ordering;

use super::{
    Items, Sequence, Span,
    tree::{Branch, Place, Reach},
};
use crate::actor::{Actors, Dot};

/// Spans to walk through before the search is made instead.
const WALK_MAX: usize = if cfg!(test) { 3 } else { 64 };
/// Dots to a part of a crowd.
const PART_MAX: usize = if cfg!(test) { 4 } else { 512 };

/// Below which item, and on which side of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Parent {
    LeftOf(Dot),
    /// `None` is the start.
    RightOf(Option<Dot>),
}

/// The children of items that have so many that walking through them took long: in order, in parts. Others are not
/// listed, so that honest histories pay nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Crowds(BTreeMap<Parent, Vec<Vec<Dot>>>);

impl Crowds {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// After which place, and before which, an item goes; `None` is the start and the end.
type Gap = (Option<Place>, Option<Place>);

impl<C: Items> Sequence<C> {
    /// Where a run with these neighbours goes, and where its left neighbour is; nothing if it must not go anywhere.
    pub(crate) fn destination(
        &mut self,
        id: Dot,
        left: Option<Dot>,
        right: Option<Dot>,
        actors: &Actors,
    ) -> Option<Gap> {
        let after = match left {
            Some(dot) => Some(self.place(dot)?),
            None => None,
        };
        let next = self.next_to(after);
        if next.and_then(|place| self.tree.dot(place)) == right {
            if !self.crowds.is_empty() {
                self.join_crowd(id, left, right, actors);
            }
            return Some((after, next));
        }
        let before = match right {
            Some(dot) => Some(self.place(dot)?),
            None => None,
        };
        if !self.adjacent_once(after, before) {
            return None;
        }
        let walked = self.walk(id, after, before, next, actors);
        let siblings = self.join_crowd(id, left, right, actors);
        let at = match walked {
            Some(at) => at,
            None => {
                let parent = self.parent_of(left, right);
                let previous = match siblings {
                    Some(previous) => previous,
                    None => {
                        self.gather(parent, after);
                        self.join_crowd(id, left, right, actors)?
                    }
                };
                self.search(parent, previous, after, before)?
            }
        };
        Some((after, at))
    }

    fn next_to(&self, place: Option<Place>) -> Option<Place> {
        match place {
            None => self.tree.first(),
            Some(place) => self.tree.settle(Place { offset: place.offset + 1, ..place }),
        }
    }

    /// `None` as the start.
    fn compare_left(&self, a: Option<Dot>, b: Option<Dot>) -> Ordering {
        self.compare_ends(a, b, Ordering::Less)
    }

    /// `None` as the end.
    fn compare_right(&self, a: Option<Dot>, b: Option<Dot>) -> Ordering {
        self.compare_ends(a, b, Ordering::Greater)
    }

    fn compare_ends(&self, a: Option<Dot>, b: Option<Dot>, none: Ordering) -> Ordering {
        match (a, b) {
            (a, b) if a == b => Ordering::Equal,
            (None, _) => none,
            (_, None) => none.reverse(),
            (Some(a), Some(b)) => match (self.place(a), self.place(b)) {
                (Some(a), Some(b)) => self.compare(a, b),
                // Neighbours of items that are here are here.
                _ => Ordering::Equal,
            },
        }
    }

    fn dot_at(&self, place: Option<Place>) -> Option<Dot> {
        place.and_then(|place| self.tree.dot(place))
    }

    /// The neighbours that the item at `place` claims.
    fn claim(&self, place: Place) -> (Option<Dot>, Option<Dot>) {
        self.tree.span(place).map_or((None, None), |span| (span.left_of(place.offset), span.right))
    }

    /// Whether some replica may have seen what is at `left` and `right` side by side (CRDT-4).
    fn adjacent_once(&self, left: Option<Place>, right: Option<Place>) -> bool {
        let (left_dot, right_dot) = (self.dot_at(left), self.dot_at(right));
        if let (Some(left), Some(right)) = (left, right)
            && self.compare(left, right) != Ordering::Less
        {
            return false;
        }
        if let Some(place) = right
            && self.compare_left(self.claim(place).0, left_dot) == Ordering::Greater
        {
            return false;
        }
        if let Some(place) = left
            && self.compare_right(self.claim(place).1, right_dot) == Ordering::Less
        {
            return false;
        }
        true
    }

    /// `YjsMod`: the destination, unless that takes too many steps.
    fn walk(
        &self,
        id: Dot,
        left: Option<Place>,
        right: Option<Place>,
        next: Option<Place>,
        actors: &Actors,
    ) -> Option<Option<Place>> {
        let (left, right_dot) = (self.dot_at(left), self.dot_at(right));
        let mut cursor = next;
        let mut destination = cursor;
        let mut scanning = false;
        for _ in 0..WALK_MAX {
            if !scanning {
                destination = cursor;
            }
            let Some(place) = cursor.filter(|place| Some(*place) != right) else {
                return Some(destination);
            };
            let claim = self.claim(place);
            match self.compare_left(claim.0, left) {
                Ordering::Less => return Some(destination),
                Ordering::Greater => {}
                Ordering::Equal => match self.compare_right(claim.1, right_dot) {
                    Ordering::Less => scanning = true,
                    Ordering::Greater => scanning = false,
                    Ordering::Equal => {
                        let other = self.tree.dot(place)?;
                        if actors.compare(id, other) == Ordering::Less {
                            return Some(destination);
                        }
                        scanning = false;
                    }
                },
            }
            cursor = self.tree.after_span(place);
        }
        None
    }

    fn parent_of(&self, left: Option<Dot>, right: Option<Dot>) -> Parent {
        let claim = right.and_then(|right| Some((right, self.claim(self.place(right)?).0)));
        match claim {
            Some((right, claimed)) if claimed == left => Parent::LeftOf(right),
            _ => Parent::RightOf(left),
        }
    }

    /// The place of an item whose parent has a crowd of children: after what is below `previous`, the child before it.
    #[allow(clippy::option_option, reason = "found at the end is not the same as not found")]
    fn search(
        &mut self,
        parent: Parent,
        previous: Option<Dot>,
        left: Option<Place>,
        right: Option<Place>,
    ) -> Option<Option<Place>> {
        if let Some(previous) = previous {
            let place = self.place(previous)?;
            return Some(self.first_reaching_left(self.tree.after_span(place), Some(previous), false));
        }
        if parent == Parent::RightOf(self.dot_at(left)) {
            return Some(self.next_to(left));
        }
        self.before_all_below(right?, self.dot_at(left))
    }

    /// Before everything that is below the item at `right` to its left, all of which claims `left`.
    fn before_all_below(&mut self, right: Place, left: Option<Dot>) -> Option<Option<Place>> {
        if right.offset > 0 {
            return Some(Some(right));
        }
        let dot = self.tree.dot(right);
        let beyond = self.last_reaching_right(right, dot);
        let from = match beyond {
            Some(place) => self.tree.after_span(place),
            None => self.tree.first(),
        };
        Some(self.first_reaching_left(from, left, true))
    }
}

/// Crowds.
impl<C: Items> Sequence<C> {
    /// Adds an item to its parent's crowd, if that is one. Returns the child before it.
    #[allow(clippy::option_option, reason = "the first child is not the same as no crowd")]
    fn join_crowd(
        &mut self,
        id: Dot,
        left: Option<Dot>,
        right: Option<Dot>,
        actors: &Actors,
    ) -> Option<Option<Dot>> {
        if self.crowds.is_empty() {
            return None;
        }
        let parent = self.parent_of(left, right);
        let parts = self.crowds.0.get(&parent)?;
        let is_before = |other: &Dot| {
            let by_right = match parent {
                Parent::LeftOf(_) => Ordering::Equal,
                Parent::RightOf(_) => {
                    let claim = self.place(*other).map(|place| self.claim(place).1);
                    self.compare_right(right, claim.flatten())
                }
            };
            by_right.then_with(|| actors.compare(*other, id)) == Ordering::Less
        };
        let part = parts.partition_point(|part| part.first().is_some_and(is_before)).saturating_sub(1);
        let at = parts.get(part).map_or(0, |part| part.partition_point(is_before));
        let parts = self.crowds.0.get_mut(&parent)?;
        let own = parts.get_mut(part)?;
        let previous = at.checked_sub(1).and_then(|at| own.get(at)).copied();
        own.insert(at, id);
        if own.len() > PART_MAX {
            let rest = own.split_off(PART_MAX / 2);
            parts.insert(part + 1, rest);
        }
        Some(previous)
    }

    /// Lists the children of a parent whose left neighbour is at `left`.
    fn gather(&mut self, parent: Parent, left: Option<Place>) {
        let dot = self.dot_at(left);
        let mut parts: Vec<Vec<Dot>> = Vec::from([Vec::new()]);
        let mut cursor = self.next_to(left);
        while let Some(place) = cursor {
            let claim = self.claim(place);
            if claim.0 != dot {
                break;
            }
            if self.parent_of(claim.0, claim.1) == parent
                && let Some(child) = self.tree.dot(place)
            {
                match parts.last_mut() {
                    Some(part) if part.len() < PART_MAX => part.push(child),
                    _ => parts.push(Vec::from([child])),
                }
            }
            cursor = self.first_reaching_left(self.tree.after_span(place), dot, true);
        }
        self.crowds.0.insert(parent, parts);
    }
}

/// Searches by what spans claim.
impl<C: Items> Sequence<C> {
    /// The first span from `from` on whose left neighbour is before `limit`, or is it.
    fn first_reaching_left(
        &mut self,
        from: Option<Place>,
        limit: Option<Dot>,
        or_equal: bool,
    ) -> Option<Place> {
        let reaches = |this: &Self, claim: Option<Dot>| {
            let order = this.compare_left(claim, limit);
            order == Ordering::Less || (or_equal && order == Ordering::Equal)
        };
        let from = from?;
        let span_reaches = |this: &Self, span: &Span<C>| reaches(this, span.left);
        let node_reaches = |this: &Self, reach: Reach| reaches(this, reach.least);
        self.find_span(from, true, &span_reaches, &node_reaches)
    }

    /// The last span before `to` whose right neighbour is after `limit`.
    fn last_reaching_right(&mut self, to: Place, limit: Option<Dot>) -> Option<Place> {
        let reaches = |this: &Self, claim: Option<Dot>| this.compare_right(claim, limit) == Ordering::Greater;
        let span_reaches = |this: &Self, span: &Span<C>| reaches(this, span.right);
        let node_reaches = |this: &Self, reach: Reach| reaches(this, reach.most);
        self.find_span(to, false, &span_reaches, &node_reaches)
    }

    /// The nearest span that satisfies `span_reaches`: from `from` on, or before it. `node_reaches` tells of a part of the
    /// tree whether one may be in it.
    fn find_span(
        &mut self,
        from: Place,
        forwards: bool,
        span_reaches: &dyn Fn(&Self, &Span<C>) -> bool,
        node_reaches: &dyn Fn(&Self, Reach) -> bool,
    ) -> Option<Place> {
        if let Some(found) = self.find_in_leaf(from.leaf, from.span, forwards, span_reaches) {
            return Some(found);
        }
        let mut climb = self.tree.climb(from.leaf, forwards);
        while let Some(branch) = climb.next(&self.tree) {
            let reach = self.reach_of(branch);
            if !reach.is_some_and(|reach| node_reaches(self, reach)) {
                continue;
            }
            match branch {
                Branch::Node(node) => climb.enter(&self.tree, node),
                Branch::Leaf(leaf) => {
                    let start = if forwards { 0 } else { usize::MAX };
                    if let Some(found) = self.find_in_leaf(leaf, start, forwards, span_reaches) {
                        return Some(found);
                    }
                }
            }
        }
        None
    }

    /// What the spans below a part of the tree claim at most; nothing if there are none. Recursion is bounded by the
    /// depth of the tree.
    fn reach_of(&mut self, branch: Branch) -> Option<Reach> {
        if let known @ Some(_) = self.tree.reach(branch) {
            return known;
        }
        let parts: Vec<Reach> = match branch {
            Branch::Leaf(leaf) => {
                let spans = self.tree.leaf(leaf)?.spans.iter();
                spans.map(|span| Reach { least: span.left, most: span.right }).collect()
            }
            Branch::Node(_) => {
                let kids = self.tree.kids(branch);
                kids.into_iter().filter_map(|kid| self.reach_of(kid)).collect()
            }
        };
        let wider = |a: Reach, b: Reach| Reach {
            least: if self.compare_left(b.least, a.least) == Ordering::Less { b.least } else { a.least },
            most: if self.compare_right(b.most, a.most) == Ordering::Greater { b.most } else { a.most },
        };
        let reach = parts.into_iter().reduce(wider);
        self.tree.set_reach(branch, reach);
        reach
    }

    fn find_in_leaf(
        &self,
        leaf: u32,
        at: usize,
        forwards: bool,
        span_reaches: &dyn Fn(&Self, &Span<C>) -> bool,
    ) -> Option<Place> {
        let spans = &self.tree.leaf(leaf)?.spans;
        let at = at.min(spans.len());
        let test = |(_, span): &(usize, &Span<C>)| span_reaches(self, span);
        let found = match forwards {
            true => spans.iter().enumerate().skip(at).find(test),
            false => spans.iter().enumerate().take(at).rev().find(test),
        };
        found.map(|(span, _)| Place { leaf, span, offset: 0 })
    }
}
