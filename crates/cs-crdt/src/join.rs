//! Joining sequences: the items of another replica are inserted as if their operations had arrived.

use alloc::{collections::BTreeMap, vec::Vec};

use crate::{
    actor::{Actors, Dot},
    sequence::{Items, Sequence, Span},
};

/// Adds to `own` every item of `other` that it lacks, each after the neighbours it names. Returns how many runs
/// could not be placed, which is none for sequences that replicas made.
pub(crate) fn adopt<C: Items + Clone>(own: &mut Sequence<C>, other: Sequence<C>, actors: &Actors) -> usize {
    let mut missing: BTreeMap<Dot, Span<C>> = BTreeMap::new();
    for span in other.spans() {
        for part in absent_parts(own, span) {
            missing.insert(part.id, part);
        }
    }
    place_all(own, missing, actors)
}

/// The parts of `span` whose items `own` lacks.
fn absent_parts<C: Items + Clone>(own: &Sequence<C>, span: &Span<C>) -> Vec<Span<C>> {
    let count = span.items.len();
    let mut parts = Vec::new();
    let mut from = 0;
    while from < count {
        let known = own.contains(span.id.plus(from.into()));
        let mut to = from + 1;
        while to < count && own.contains(span.id.plus(to.into())) == known {
            to += 1;
        }
        if !known {
            let mut items = span.items.clone();
            items.split_off(to);
            let items = items.split_off(from);
            let left = if from == 0 { span.left } else { Some(span.id.plus(u64::from(from) - 1)) };
            parts.push(Span { id: span.id.plus(from.into()), left, right: span.right, items });
        }
        from = to;
    }
    parts
}

/// Inserts runs in an order in which each comes after its neighbours: depth first along what each waits for,
/// with a stack on the heap. Every run is visited once; those in a circle, or beside unknown items, are left out
/// and counted.
pub(crate) fn place_all<C: Items>(
    own: &mut Sequence<C>,
    mut missing: BTreeMap<Dot, Span<C>>,
    actors: &Actors,
) -> usize {
    let mut failed = 0;
    while let Some((&first, _)) = missing.first_key_value() {
        let mut stack = Vec::from([first]);
        while let Some(&top) = stack.last() {
            let Some(span) = missing.get(&top) else {
                stack.pop();
                continue;
            };
            let needed = [span.left, span.right].into_iter().flatten().find_map(|dot| holder(&missing, dot));
            match needed {
                Some(next) if next != top && stack.len() <= missing.len() => stack.push(next),
                _ => {
                    stack.pop();
                    if let Some(span) = missing.remove(&top) {
                        failed += usize::from(!own.insert(span, actors));
                    }
                }
            }
        }
    }
    failed
}

/// The run among `missing` that holds `dot`.
fn holder<C: Items>(missing: &BTreeMap<Dot, Span<C>>, dot: Dot) -> Option<Dot> {
    let (start, span) = missing.range(..=dot).next_back()?;
    let held = start.actor == dot.actor && dot.counter - start.counter < u64::from(span.items.len());
    held.then_some(*start)
}
