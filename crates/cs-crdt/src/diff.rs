//! The least edits between two sequences.

use alloc::{vec, vec::Vec};
use core::ops::Range;

/// Edits beyond which the rest is replaced as a whole: bounds the work to this squared, plus the length.
const EDITS_MAX: usize = 256;

/// One replacement: these of the old items by these of the new.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hunk {
    pub(crate) old: Range<usize>,
    pub(crate) new: Range<usize>,
}

/// Turns `old` into `new`: hunks in order, apart from each other. Fewest insertions and deletions (Myers 1986, the greedy
/// algorithm) unless they are more than `EDITS_MAX`; then one hunk between the common ends.
pub(crate) fn diff<T: PartialEq>(old: &[T], new: &[T]) -> Vec<Hunk> {
    let head = old.iter().zip(new).take_while(|(a, b)| a == b).count();
    let (old_rest, new_rest) = (old.get(head..).unwrap_or_default(), new.get(head..).unwrap_or_default());
    let tail = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(a, b)| a == b).count();
    let old_middle = old_rest.get(..old_rest.len() - tail).unwrap_or_default();
    let new_middle = new_rest.get(..new_rest.len() - tail).unwrap_or_default();
    if old_middle.is_empty() && new_middle.is_empty() {
        return Vec::new();
    }
    let whole = || vec![Hunk { old: 0..old_middle.len(), new: 0..new_middle.len() }];
    let mut hunks = match greedy(old_middle, new_middle) {
        Some(trace) => backtrack(&trace, old_middle.len(), new_middle.len()),
        None => whole(),
    };
    for hunk in &mut hunks {
        hunk.old = hunk.old.start + head..hunk.old.end + head;
        hunk.new = hunk.new.start + head..hunk.new.end + head;
    }
    hunks
}

/// The furthest old index reached on each diagonal, before each number of edits. Diagonal k is at k + EDITS_MAX + 1.
fn greedy<T: PartialEq>(old: &[T], new: &[T]) -> Option<Vec<Vec<usize>>> {
    const MIDDLE: isize = EDITS_MAX as isize + 1;
    let mut reach = vec![0usize; 2 * EDITS_MAX + 3];
    let mut trace = Vec::new();
    for edits in 0..=(EDITS_MAX as isize) {
        trace.push(reach.clone());
        for k in (-edits..=edits).step_by(2) {
            let at = (k + MIDDLE) as usize;
            let (below, above) = (*reach.get(at - 1)?, *reach.get(at + 1)?);
            let mut x = if k == -edits || (k != edits && below < above) { above } else { below + 1 };
            let Some(mut y) = x.checked_add_signed(-k) else { continue };
            while old.get(x).zip(new.get(y)).is_some_and(|(a, b)| a == b) {
                x += 1;
                y += 1;
            }
            *reach.get_mut(at)? = x;
            if x >= old.len() && y >= new.len() {
                return Some(trace);
            }
        }
    }
    None
}

/// Walks the trace back from the end and gathers edits that touch into hunks.
fn backtrack(trace: &[Vec<usize>], old: usize, new: usize) -> Vec<Hunk> {
    const MIDDLE: isize = EDITS_MAX as isize + 1;
    let mut hunks: Vec<Hunk> = Vec::new();
    let (mut x, mut y) = (old as isize, new as isize);
    for (edits, reach) in trace.iter().enumerate().rev() {
        let edits = edits as isize;
        if edits == 0 {
            break;
        }
        let k = x - y;
        let at = |k: isize| reach.get((k + MIDDLE) as usize).copied().unwrap_or_default() as isize;
        let down = k == -edits || (k != edits && at(k - 1) < at(k + 1));
        let before = if down { k + 1 } else { k - 1 };
        let (from_x, from_y) = (at(before), at(before) - before);
        let (to_x, to_y) = if down { (from_x, from_y + 1) } else { (from_x + 1, from_y) };
        let (a, b) = (from_x as usize..to_x as usize, from_y as usize..to_y as usize);
        match hunks.last_mut() {
            Some(next) if next.old.start == a.end && next.new.start == b.end => {
                next.old.start = a.start;
                next.new.start = b.start;
            }
            _ => hunks.push(Hunk { old: a, new: b }),
        }
        (x, y) = (from_x, from_y);
    }
    hunks.reverse();
    hunks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn rebuild(old: &[u8], new: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let mut at = 0;
        for hunk in diff(old, new) {
            out.extend_from_slice(&old[at..hunk.old.start]);
            out.extend_from_slice(&new[hunk.new.clone()]);
            at = hunk.old.end;
        }
        out.extend_from_slice(&old[at..]);
        out
    }

    #[test]
    fn one_changed_item_is_one_small_hunk() {
        assert_eq!(diff(b"abcdef", b"abXdef"), [Hunk { old: 2..3, new: 2..3 }]);
        assert_eq!(diff(b"abcdef", b"aXbcdef"), [Hunk { old: 1..1, new: 1..2 }]);
    }

    #[test]
    fn two_changes_far_apart_are_two_hunks() {
        assert_eq!(diff(b"abcdefgh", b"Xbcdefg").len(), 2);
    }

    #[test]
    fn more_edits_than_the_limit_replace_the_middle() {
        let hunks = diff(&[0u8; 1000], &[1u8; 1000]);
        assert_eq!(hunks, [Hunk { old: 0..1000, new: 0..1000 }]);
    }

    proptest! {
        #[test]
        fn hunks_turn_the_old_into_the_new(
            old in proptest::collection::vec(0u8..4, 0..40),
            new in proptest::collection::vec(0u8..4, 0..40),
        ) {
            prop_assert_eq!(rebuild(&old, &new), new);
        }
    }
}
