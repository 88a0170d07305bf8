//! The order beside a plain one, and the bookkeeping of chunks.

use super::*;
use crate::text::Run;
use alloc::{string::String, vec};
use proptest::{collection::vec as some, prelude::*};

/// The same order, from one flat list of (id, left, right), as reference-crdts has it.
#[derive(Default)]
struct Flat(Vec<(Dot, Option<Dot>, Option<Dot>)>);

impl Flat {
    fn at(&self, dot: Option<Dot>, none: isize) -> Option<isize> {
        let Some(dot) = dot else { return Some(none) };
        self.0.iter().position(|item| item.0 == dot).map(|at| at as isize)
    }

    fn insert(&mut self, id: Dot, left: Option<Dot>, right: Option<Dot>) -> bool {
        let end = self.0.len() as isize;
        let (Some(l), Some(r)) = (self.at(left, -1), self.at(right, end)) else { return false };
        let left_of = |at: isize| self.at(self.0[at as usize].1, -1).unwrap();
        let right_of = |at: isize| self.at(self.0[at as usize].2, end).unwrap();
        if l >= r || (r < end && left_of(r) > l) || (l >= 0 && right_of(l) < r) {
            return false;
        }
        let (mut to, mut scanning, mut at) = (l + 1, false, l + 1);
        loop {
            to = if scanning { to } else { at };
            if at == r {
                break;
            }
            let (other_left, other_right) = (left_of(at), right_of(at));
            let wins = other_left == l && other_right == r && id < self.0[at as usize].0;
            if other_left < l || wins {
                break;
            }
            if other_left == l {
                scanning = other_right < r;
            }
            at += 1;
        }
        self.0.insert(to as usize, (id, left, right));
        true
    }
}

fn actors() -> Actors {
    let mut actors = Actors::default();
    for id in 0..4u8 {
        actors.intern(crate::Actor([id; 32]));
    }
    actors
}

fn dots(sequence: &Sequence<Run>) -> Vec<Dot> {
    let items =
        |span: &Span<Run>| (0..span.items.len()).map(|at| span.id.plus(at.into())).collect::<Vec<_>>();
    sequence.spans().flat_map(items).collect()
}

proptest! {
    /// CRDT-4, CRDT-6: any neighbours, also ones that no replica can have seen together.
    #[test]
    fn runs_in_chunks_are_ordered_as_single_items_in_a_list(
        claims in some((0u32..4, any::<u16>(), any::<u16>(), 1u32..4, any::<bool>()), 1..200),
    ) {
        let actors = actors();
        let mut sequence: Sequence<Run> = Sequence::default();
        let mut flat = Flat::default();
        let mut next = [1u64; 4];
        for (actor, left, right, count, honest) in claims {
            let id = Dot::new(actor, next[actor as usize]);
            next[actor as usize] += u64::from(count);
            let known = dots(&sequence);
            let pick = |n: u16| known.get(usize::from(n) % (known.len() + 1)).copied();
            let (left, right) = if honest {
                sequence.gap(usize::from(left) % (known.len() + 1)).unwrap()
            } else {
                (pick(left), pick(right))
            };
            let items = Run::live(&"abc"[..count as usize]);
            let placed = sequence.insert(Span { id, left, right, items }, &actors);
            prop_assert_eq!(placed, flat.insert(id, left, right));
            for at in 1..u64::from(count) {
                flat.insert(id.plus(at), Some(id.plus(at - 1)), right);
            }
            prop_assert_eq!(dots(&sequence), flat.0.iter().map(|item| item.0).collect::<Vec<_>>());
        }
        prop_assert_eq!(sequence.visible(), flat.0.len());
    }

    /// CRDT-6: many items in few gaps, so that walks are given up and searches made, with parts of crowds.
    #[test]
    fn crowded_gaps_are_searched_as_they_are_walked(
        claims in some((0u32..4, 0u16..6, 0u16..6, any::<bool>(), any::<bool>()), 1..150),
    ) {
        let actors = actors();
        let mut sequence: Sequence<Run> = Sequence::default();
        let mut flat = Flat::default();
        let mut next = [1u64; 4];
        for (actor, left, right, from_end, backwards) in claims {
            let id = Dot::new(actor, next[actor as usize]);
            next[actor as usize] += 1;
            let known = dots(&sequence);
            let count = known.len();
            let place = |n: u16| if from_end { count.checked_sub(usize::from(n)) } else { Some(usize::from(n)) };
            let dot = |n: u16| place(n).and_then(|at| known.get(at)).copied();
            // Typed backwards, a gap gets a chain of left children, which is what a search goes around.
            let right = if backwards { known.first().copied() } else { dot(right) };
            let left = if backwards { None } else { dot(left) };
            let placed = sequence.insert(Span { id, left, right, items: Run::live("x") }, &actors);
            prop_assert_eq!(placed, flat.insert(id, left, right));
            prop_assert_eq!(dots(&sequence), flat.0.iter().map(|item| item.0).collect::<Vec<_>>());
        }
        for (at, dot) in dots(&sequence).into_iter().enumerate() {
            prop_assert_eq!(sequence.index_of(dot), Some(at));
        }
    }

    /// Removing, and taking back what was inserted last, keep every count and index right.
    #[test]
    fn removed_ranges_are_those_that_were_named(cuts in some((0usize..120, 0usize..9), 1..60)) {
        let actors = actors();
        let mut text = crate::text::Text::default();
        let mut shown: Vec<char> = ('a'..='z').cycle().take(120).collect();
        text.insert(Dot::new(0, 1), None, None, &shown.iter().collect::<String>(), &actors);
        for (number, (from, count)) in cuts.into_iter().enumerate() {
            let from = from.min(shown.len());
            let to = (from + count).min(shown.len());
            for (first, count) in text.runs.dots_of_visible(from, to - from).unwrap() {
                text.remove(first, count);
            }
            shown.drain(from..to);
            let (left, right) = text.runs.gap(from).unwrap();
            let id = Dot::new(1, 1 + 2 * number as u64);
            prop_assert!(text.insert(id, left, right, "XY", &actors));
            if number % 3 == 0 {
                text.runs.take_back(id, 2);
            } else {
                shown.splice(from..from, ['X', 'Y']);
            }
            prop_assert_eq!(text.to_text(), shown.iter().collect::<String>());
            prop_assert_eq!(text.len(), shown.len());
        }
    }
}

/// Neighbours that cross make replicas differ unless they are refused (CRDT-4).
#[test]
fn neighbours_that_were_never_side_by_side_are_refused() {
    let actors = actors();
    let mut sequence = Sequence::default();
    let run = |actor, left, right| Span { id: Dot::new(actor, 1), left, right, items: Run::live("x") };
    assert!(sequence.insert(run(0, None, None), &actors));
    assert!(sequence.insert(run(1, Some(Dot::new(0, 1)), None), &actors));
    assert!(!sequence.insert(run(2, None, Some(Dot::new(1, 1))), &actors));
    assert!(!sequence.insert(run(2, Some(Dot::new(1, 1)), Some(Dot::new(0, 1))), &actors));
    assert!(!sequence.insert(run(2, Some(Dot::new(3, 9)), None), &actors));
    assert_eq!(dots(&sequence), vec![Dot::new(0, 1), Dot::new(1, 1)]);
}
