//! One author's bundle of edits: what replicas send each other.

use alloc::{boxed::Box, string::String, vec::Vec};

use crate::{
    actor::{Actor, Dot},
    context::Seen,
    fold::Fold,
    marks::Mark,
    path::Hop,
    tree::Target,
    value::Scalar,
};

/// The kinds of thing that a place can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// A scalar, replaced as a whole: a multi-value register.
    Register,
    /// A map from strings to places.
    Map,
    /// A list of places.
    List,
    /// Text that is edited character by character.
    Text,
    /// A set of scalars; adding wins over a concurrent removal.
    Set,
    /// A number that concurrent increments add up in.
    Counter,
    /// On or off; switching on wins over a concurrent switching off.
    Flag,
    /// A tree of places, whose nodes move.
    Tree,
    /// The least of what was written.
    Min,
    /// The greatest of what was written.
    Max,
    /// The sum of everybody's share.
    Sum,
    /// All that anybody wrote.
    Union,
}

/// A bundle of edits by one author, which takes effect as a whole. Dots in it index its own table of actors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The author, then the others it mentions, ascending.
    pub(crate) actors: Vec<Actor>,
    /// Counter of the first dot. Dots of an author have no gaps.
    pub(crate) first: u64,
    /// The author's wall clock, in milliseconds since 1970: a claim, used to pick what is shown first.
    pub(crate) unix_ms: u64,
    /// What the author had seen of others since its previous change.
    pub(crate) deps: Seen,
    /// The places that edits name: number 0 is the root, number i + 1 is the i-th entry.
    pub(crate) places: Vec<PlaceRef>,
    pub(crate) edits: Vec<Edit>,
}

/// A place, as a step from one that is listed before it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PlaceRef {
    pub(crate) parent: u32,
    pub(crate) hop: Hop,
}

/// One edit. It has as many dots as it makes items, and otherwise one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Edit {
    pub(crate) place: u32,
    /// What it replaces at its place (for a set, of its member; for a removal, in the removed elements).
    pub(crate) seen: Seen,
    pub(crate) action: Action,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Put(Scalar),
    /// Only removes what it has seen.
    Clear,
    /// Marks the place as a map, list or text, so that an empty one can exist.
    Make(Made),
    Increment(i64),
    Enable,
    Add(Scalar),
    Discard(Scalar),
    Insert {
        left: Option<Dot>,
        right: Option<Dot>,
        items: Vec<Item>,
    },
    Splice {
        left: Option<Dot>,
        right: Option<Dot>,
        text: Box<str>,
    },
    Remove {
        first: Dot,
        count: u64,
    },
    /// Moves a list's element between two items; `seen` is of its positions.
    Move {
        element: Dot,
        left: Option<Dot>,
        right: Option<Dot>,
    },
    /// Writes to a fold register; `seen` is of that register.
    Fold {
        fold: Fold,
        values: Box<[Scalar]>,
    },
    /// Formats text. `replaced`: marks that this one makes needless, ascending.
    Mark {
        mark: Box<Mark>,
        replaced: Vec<Dot>,
    },
    /// Makes a tree's node.
    Plant(Target),
    /// Moves a tree's node; `seen` is of the node.
    Graft {
        node: Dot,
        from: Option<Dot>,
        target: Target,
    },
    /// Removes nodes, ascending, as far as `seen`.
    Prune(Vec<Dot>),
    /// Keeps a node that is edited; `seen` is of the node.
    Touch(Dot),
    /// Removes one kind of what is in the place, as far as `seen`.
    Drop(Kind),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    Map,
    List,
    Text,
    Tree,
}

/// A new list element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Item {
    Scalar(Scalar),
    Made(Made),
}

impl Action {
    /// How many dots it takes.
    pub(crate) fn width(&self) -> u64 {
        match self {
            Self::Insert { items, .. } => items.len() as u64,
            Self::Splice { text, .. } => text.chars().count() as u64,
            _ => 1,
        }
    }

    /// Whether only format 2 has it.
    pub(crate) fn is_later(&self) -> bool {
        match self {
            Self::Move { .. } | Self::Fold { .. } | Self::Mark { .. } | Self::Plant(_) => true,
            Self::Graft { .. } | Self::Prune(_) | Self::Touch(_) | Self::Drop(_) => true,
            Self::Make(made) => *made == Made::Tree,
            Self::Insert { items, .. } => items.contains(&Item::Made(Made::Tree)),
            _ => false,
        }
    }

    fn dots(&self) -> [Option<Dot>; 5] {
        match self {
            Self::Insert { left, right, .. } | Self::Splice { left, right, .. } => {
                [*left, *right, None, None, None]
            }
            Self::Remove { first, count } => {
                [Some(first.plus(count.saturating_sub(1))), None, None, None, None]
            }
            Self::Move { element, left, right } => [Some(*element), *left, *right, None, None],
            Self::Mark { mark, .. } => [mark.from.dot(), mark.to.dot(), None, None, None],
            Self::Plant(Target { parent, left, right }) => [*parent, *left, *right, None, None],
            Self::Graft { node, from, target: Target { parent, left, right } } => {
                [Some(*node), *from, *parent, *left, *right]
            }
            Self::Touch(node) => [Some(*node), None, None, None, None],
            _ => [None; 5],
        }
    }

    /// The dots of those that may name many.
    fn more_dots(&self) -> &[Dot] {
        match self {
            Self::Prune(dots) | Self::Mark { replaced: dots, .. } => dots,
            _ => &[],
        }
    }

    fn dots_mut(&mut self) -> impl Iterator<Item = &mut Dot> {
        let mut more: &mut [Dot] = &mut [];
        let few: [Option<&mut Dot>; 5] = match self {
            Self::Insert { left, right, .. } | Self::Splice { left, right, .. } => {
                [left.as_mut(), right.as_mut(), None, None, None]
            }
            Self::Remove { first, .. } => [Some(first), None, None, None, None],
            Self::Move { element, left, right } => [Some(element), left.as_mut(), right.as_mut(), None, None],
            Self::Mark { mark, replaced } => {
                more = replaced;
                let Mark { from, to, .. } = &mut **mark;
                [from.dot_mut(), to.dot_mut(), None, None, None]
            }
            Self::Plant(Target { parent, left, right }) => {
                [parent.as_mut(), left.as_mut(), right.as_mut(), None, None]
            }
            Self::Graft { node, from, target: Target { parent, left, right } } => {
                [Some(node), from.as_mut(), parent.as_mut(), left.as_mut(), right.as_mut()]
            }
            Self::Touch(node) => [Some(node), None, None, None, None],
            Self::Prune(dots) => {
                more = dots;
                [None, None, None, None, None]
            }
            _ => [None, None, None, None, None],
        };
        few.into_iter().flatten().chain(more)
    }

    /// Puts lists of dots in order, after their authors were renumbered.
    fn sort_dots(&mut self) {
        match self {
            Self::Prune(dots) | Self::Mark { replaced: dots, .. } => dots.sort_unstable(),
            _ => {}
        }
    }
}

impl Change {
    /// Who made it.
    pub fn author(&self) -> Actor {
        self.actors.first().copied().unwrap_or(Actor([0; 32]))
    }

    /// The author's wall clock when it was made, in milliseconds since 1970. A claim.
    pub fn unix_ms(&self) -> u64 {
        self.unix_ms
    }

    /// Counters of its first dot and of the last.
    pub fn counters(&self) -> (u64, u64) {
        let width = self.edits.iter().map(|edit| edit.action.width()).fold(0, u64::saturating_add);
        (self.first, self.first.saturating_add(width).saturating_sub(1))
    }

    /// Everything it refers to: it can be applied where all of this was. Entries may repeat an actor.
    pub(crate) fn references(&self) -> impl Iterator<Item = Dot> + '_ {
        let deps = self.deps.iter().map(|(actor, counter)| Dot::new(actor, counter));
        let places = self.places.iter().filter_map(|place| match place.hop {
            Hop::Element(dot) => Some(dot),
            Hop::Key(_) => None,
        });
        deps.chain(places).chain(self.edits.iter().flat_map(Edit::references))
    }

    /// Rewrites every dot from this change's table to another, given as new indexes.
    pub(crate) fn translate(&mut self, table: &[u32]) {
        let fix = |actor: u32| table.get(actor as usize).copied().unwrap_or(u32::MAX);
        let seen = |seen: &Seen| seen.iter().map(|(actor, counter)| Dot::new(fix(actor), counter)).collect();
        self.deps = seen(&self.deps);
        for place in &mut self.places {
            if let Hop::Element(dot) = &mut place.hop {
                dot.actor = fix(dot.actor);
            }
        }
        for edit in &mut self.edits {
            edit.seen = seen(&edit.seen);
            for dot in edit.action.dots_mut() {
                dot.actor = fix(dot.actor);
            }
            edit.action.sort_dots();
        }
    }
}

impl Edit {
    pub(crate) fn references(&self) -> impl Iterator<Item = Dot> + '_ {
        let seen = self.seen.iter().map(|(actor, counter)| Dot::new(actor, counter));
        seen.chain(self.action.dots().into_iter().flatten()).chain(self.action.more_dots().iter().copied())
    }
}

/// A transaction's edits with the places they are for, in the document's numbering of authors.
#[derive(Debug, Default)]
pub(crate) struct Draft {
    pub(crate) edits: Vec<(Vec<Hop>, Seen, Action)>,
}

impl Draft {
    /// Adds an edit, as part of the one before if it types or removes on where that one ended. `dot` is the first
    /// dot of the new edit.
    pub(crate) fn push(&mut self, hops: &[Hop], seen: Seen, action: Action, dot: Dot) {
        if let Some((last_hops, last_seen, last)) = self.edits.last_mut()
            && last_hops == hops
            && seen.is_empty()
            && last_seen.is_empty()
            && continues(last, &action, dot)
        {
            extend(last, action);
            return;
        }
        self.edits.push((hops.to_vec(), seen, action));
    }
}

/// Whether `next`, whose first dot is `dot`, types on at the end of `last`.
fn continues(last: &Action, next: &Action, dot: Dot) -> bool {
    let previous = Some(Dot::new(dot.actor, dot.counter.saturating_sub(1)));
    match (last, next) {
        (Action::Splice { right: a, .. }, Action::Splice { left, right: b, .. })
        | (Action::Insert { right: a, .. }, Action::Insert { left, right: b, .. }) => {
            *left == previous && a == b
        }
        _ => false,
    }
}

fn extend(last: &mut Action, next: Action) {
    match (last, next) {
        (Action::Splice { text, .. }, Action::Splice { text: more, .. }) => {
            let mut joined = String::from(core::mem::take(text));
            joined.push_str(&more);
            *text = joined.into();
        }
        (Action::Insert { items, .. }, Action::Insert { items: more, .. }) => items.extend(more),
        _ => {}
    }
}
