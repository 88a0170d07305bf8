//! Taking back a transaction that failed.

use alloc::{string::String, vec::Vec};

use crate::{
    actor::Dot, change::Action, entries::Entries, path::Hop, sequence::Items as _, slot::Slot, text::Run,
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
            _ => Inverse::Place(slot.cloned().unwrap_or_default()),
        };
        self.inverses.push((hops.to_vec(), inverse));
    }

    /// Puts everything back, newest first.
    pub(crate) fn undo(self, root: &mut Slot) {
        for (hops, inverse) in self.inverses.into_iter().rev() {
            let hops: Vec<&Hop> = hops.iter().collect();
            let mut inverse = Some(inverse);
            root.edit_at(&hops, &mut |slot| {
                if let Some(inverse) = inverse.take() {
                    put_back(slot, inverse);
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

fn put_back(slot: &mut Slot, inverse: Inverse) {
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
        }),
        Inverse::Member(member, adds) => slot.edit_parts(|parts| parts.set.restore(member, adds)),
    }
}
