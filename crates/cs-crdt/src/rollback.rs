//! Taking back a transaction that failed.

use alloc::{string::String, vec::Vec};

use crate::{
    actor::{Actors, Dot},
    change::Action,
    entries::Entries,
    fold::{Fold, Writes},
    marks::Mark,
    moves::Claims,
    path::Hop,
    sequence::Items as _,
    slot::Slot,
    text::Run,
    tree::NodeState,
    value::Scalar,
};

/// What each edit of a transaction changed, so that it can be put back. Costs what the edit cost.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    first: Option<u64>,
    inverses: Vec<(Vec<Hop>, Inverse)>,
}

#[derive(Debug)]
enum Inverse {
    /// The whole place as it was.
    Place(Slot),
    /// Items to take out again.
    Inserted { first: Dot, count: u64 },
    /// Characters to bring back.
    Text(Vec<(Dot, String)>),
    /// Elements as they were.
    Elements(Vec<(Dot, Slot)>),
    /// A set's member as it was.
    Member(Scalar, Option<Entries<()>>),
    /// A list's element where it was: the carrier to take out, the element and its positions.
    Moved { carrier: Dot, element: Dot, old: Option<Claims> },
    /// A fold register as it was.
    Folded(Fold, Writes),
    /// A mark to take off, and those to put back.
    Marked(Dot, Vec<(Dot, Mark)>),
    /// A tree's position to take out, and nodes as they were.
    Tree { spot: Option<Dot>, parent: Option<Dot>, nodes: Vec<(Dot, Option<NodeState>)> },
}

impl Journal {
    /// The first dot of the transaction, whose next one would be `next`.
    pub(crate) fn first(&self, next: u64) -> u64 {
        self.first.unwrap_or(next)
    }

    /// Notes what `action`, about to be applied with `dot`, will change.
    pub(crate) fn note(&mut self, root: &Slot, hops: &[Hop], action: &Action, dot: Dot) {
        self.first.get_or_insert(dot.counter);
        let slot = root.at(hops);
        let inverse = match action {
            Action::Insert { .. } | Action::Splice { .. } => {
                Inverse::Inserted { first: dot, count: action.width() }
            }
            Action::Remove { first, count } => removed(slot, *first, *count),
            Action::Add(member) | Action::Discard(member) => {
                let adds = slot.and_then(Slot::parts).and_then(|parts| parts.set.adds(member)).cloned();
                Inverse::Member(member.clone(), adds)
            }
            later if later.is_later() && !matches!(later, Action::Make(_) | Action::Drop(_)) => {
                later_inverse(slot, later, dot)
            }
            _ => Inverse::Place(slot.cloned().unwrap_or_default()),
        };
        self.inverses.push((hops.to_vec(), inverse));
    }

    /// Puts everything back, newest first.
    pub(crate) fn undo(self, root: &mut Slot, actors: &Actors) {
        for (hops, inverse) in self.inverses.into_iter().rev() {
            let hops: Vec<&Hop> = hops.iter().collect();
            let mut inverse = Some(inverse);
            root.edit_at(&hops, &mut |slot| {
                if let Some(inverse) = inverse.take() {
                    put_back(slot, inverse, actors);
                }
            });
        }
    }
}

fn removed(slot: Option<&Slot>, first: Dot, count: u64) -> Inverse {
    if let Some(text) = slot.and_then(Slot::text).filter(|text| text.runs.contains(first)) {
        return Inverse::Text(text.slices(first, count));
    }
    let list = slot.and_then(Slot::list);
    let elements = (0..count).map(|at| first.plus(at));
    let elements = elements.filter_map(|dot| Some((dot, list?.element(dot)?.clone())));
    Inverse::Elements(elements.collect())
}

/// What an edit of format 2 will change.
fn later_inverse(slot: Option<&Slot>, action: &Action, dot: Dot) -> Inverse {
    let extra = slot.and_then(Slot::extra);
    let node = |id: Dot| (id, extra.and_then(|extra| extra.tree.state(id)));
    match action {
        Action::Move { element, .. } => {
            let old = extra.and_then(|extra| extra.moves.claims(*element)).cloned();
            Inverse::Moved { carrier: dot, element: *element, old }
        }
        Action::Fold { fold, .. } => {
            Inverse::Folded(*fold, extra.map(|extra| extra.folds.writes(*fold).clone()).unwrap_or_default())
        }
        Action::Mark { replaced, .. } => {
            let marks = extra.into_iter().flat_map(|extra| extra.marks.iter());
            let gone = marks.filter(|(dot, _)| replaced.binary_search(dot).is_ok());
            Inverse::Marked(dot, gone.map(|(dot, mark)| (dot, mark.clone())).collect())
        }
        Action::Plant(target) => {
            Inverse::Tree { spot: Some(dot), parent: target.parent, nodes: Vec::from([(dot, None)]) }
        }
        Action::Graft { node: id, target, .. } => {
            Inverse::Tree { spot: Some(dot), parent: target.parent, nodes: Vec::from([node(*id)]) }
        }
        Action::Prune(ids) => {
            Inverse::Tree { spot: None, parent: None, nodes: ids.iter().map(|id| node(*id)).collect() }
        }
        Action::Touch(id) => Inverse::Tree { spot: None, parent: None, nodes: Vec::from([node(*id)]) },
        _ => Inverse::Place(slot.cloned().unwrap_or_default()),
    }
}

fn put_back_later(slot: &mut Slot, inverse: Inverse, actors: &Actors) {
    slot.edit_parts(|parts| {
        let extra = parts.extra.get_or_insert_default();
        match inverse {
            Inverse::Moved { carrier, element, old } => {
                if let Some(list) = &mut parts.list {
                    extra.moves.put(list, element, old);
                    list.runs.take_back(carrier, 1);
                }
            }
            Inverse::Folded(fold, old) => *extra.folds.writes_mut(fold) = old,
            Inverse::Marked(dot, gone) => {
                extra.marks.remove(&[dot]);
                gone.into_iter().for_each(|(dot, mark)| extra.marks.restore(dot, mark));
            }
            Inverse::Tree { spot, parent, nodes } => extra.tree.put_back(spot, parent, nodes, actors),
            _ => {}
        }
    });
}

fn put_back(slot: &mut Slot, inverse: Inverse, actors: &Actors) {
    match inverse {
        Inverse::Place(old) => *slot = old,
        Inverse::Inserted { first, count } => slot.edit_parts(|parts| {
            parts.list.iter_mut().for_each(|list| list.runs.take_back(first, count));
            parts.text.iter_mut().for_each(|text| text.runs.take_back(first, count));
        }),
        Inverse::Text(slices) => slot.edit_parts(|parts| {
            if let Some(text) = &mut parts.text {
                for (first, slice) in &slices {
                    let mut rest = slice.chars();
                    text.runs.edit_range(*first, slice.chars().count() as u64, |run| {
                        let part: String = rest.by_ref().take(run.len() as usize).collect();
                        *run = Run::live(&part);
                    });
                }
            }
        }),
        Inverse::Elements(elements) => slot.edit_parts(|parts| {
            if let Some(list) = &mut parts.list {
                for (dot, old) in &elements {
                    list.edit_element(*dot, |element| *element = old.clone());
                }
            }
            parts.refresh_moves();
        }),
        Inverse::Member(member, adds) => slot.edit_parts(|parts| parts.set.restore(member, adds)),
        later => put_back_later(slot, later, actors),
    }
}
