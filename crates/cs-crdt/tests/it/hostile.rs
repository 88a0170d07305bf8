//! Bytes and changes from those who mean harm.

use std::collections::BTreeMap;

use cs_crdt::{
    ChangeFault, DecodeError, Document, LoadError, Value,
    wire::{Change, MAX_COUNTER, MAX_DEPTH, MAX_PENDING},
};
use proptest::{collection::vec, prelude::*};

use crate::histories::{events, hear_all, play};

fn leb(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A change by actor 7 that only increments a counter, from the given dot on.
fn increment_from(first: u64) -> Vec<u8> {
    let mut bytes = vec![1, 1];
    bytes.extend([7; 32]);
    leb(first, &mut bytes);
    bytes.extend([0, 0, 0, 1, 0, 0, 5, 2]);
    bytes
}

#[test]
fn the_handmade_change_is_a_change() {
    let mut document = Document::new([1; 32]);
    assert_eq!(document.apply(&increment_from(1)).unwrap().changes, 1);
    assert_eq!(document.to_json(), 1.into());
}

/// CRDT-3
#[test]
fn dots_past_the_last_are_refused() {
    for first in [0, MAX_COUNTER + 1, u64::MAX] {
        assert_eq!(Change::from_bytes(&increment_from(first)), Err(DecodeError::Invalid), "{first}");
    }
    assert!(Change::from_bytes(&increment_from(MAX_COUNTER)).is_ok());
}

/// CRDT-5
#[test]
fn a_flood_of_changes_that_wait_is_bounded_and_refused_politely() {
    let mut document = Document::new([1; 32]);
    for first in 0..MAX_PENDING as u64 {
        assert_eq!(document.apply(&increment_from(2 + 2 * first)).unwrap().changes, 0);
    }
    let before = document.save();
    assert_eq!(document.apply(&increment_from(MAX_COUNTER)), Err(ChangeFault::BufferFull));
    assert_eq!(document.save(), before);
    assert_eq!(document.missing(), BTreeMap::from([([7; 32].into(), 1)]));
    let applied = document.apply(&increment_from(1)).unwrap();
    assert_eq!((applied.changes, applied.waiting), (2, MAX_PENDING - 1));
}

#[test]
fn dots_used_twice_are_refused() {
    let mut author = Document::new([1; 32]);
    let long = author.edit(0, |tx| tx.splice("t", 0..0, "abc")).unwrap().unwrap();
    let mut twin = Document::new([1; 32]);
    twin.edit(0, |tx| tx.set("k", 1)).unwrap();
    let second = twin.edit(0, |tx| tx.splice("t", 0..0, "a long text")).unwrap().unwrap();
    let mut document = Document::new([2; 32]);
    document.apply(&long).unwrap();
    let before = document.save();
    assert_eq!(document.apply(&second), Err(ChangeFault::Overlap));
    assert_eq!(document.save(), before);
}

/// CRDT-3
#[test]
fn places_nested_too_deeply_are_refused() {
    let deep = |steps: usize| {
        let mut bytes = vec![1, 1];
        bytes.extend([7; 32]);
        bytes.extend([1, 0, 0]);
        leb(steps as u64, &mut bytes);
        (0..steps as u8).for_each(|parent| bytes.extend([parent, 0, 0]));
        bytes.extend([1, steps as u8, 0, 6]);
        bytes
    };
    assert!(Change::from_bytes(&deep(MAX_DEPTH)).is_ok());
    assert_eq!(Change::from_bytes(&deep(MAX_DEPTH + 1)), Err(DecodeError::TooDeep));
}

/// CRDT-2
#[test]
fn huge_counts_are_refused_before_anything_is_allocated() {
    let mut actors = vec![1];
    leb(u64::MAX / 32, &mut actors);
    assert_eq!(Change::from_bytes(&actors), Err(DecodeError::Truncated));
    let mut edits = vec![1, 1];
    edits.extend([7; 32]);
    edits.extend([1, 0, 0, 0]);
    leb(u64::MAX, &mut edits);
    assert_eq!(Change::from_bytes(&edits), Err(DecodeError::TooLarge));
    let mut columns = vec![1, 0];
    leb(1 << 60, &mut columns);
    assert_eq!(Document::load(&columns, [1; 32]).unwrap_err(), LoadError::Malformed(DecodeError::Truncated));
    columns[0] = 4;
    for form in [0, 1] {
        let mut packed = columns.clone();
        packed.extend([form, 0xf0]);
        let refused = Document::load(&packed, [1; 32]).unwrap_err();
        assert_eq!(refused, LoadError::Malformed(DecodeError::Truncated));
    }
}

#[test]
fn ten_thousand_clears_of_a_large_place_cost_one_walk() {
    let mut author = Document::new([7; 32]);
    let members: Vec<String> = (0..20_000).map(|n| format!("\"{n}\":{n}")).collect();
    let value = Value::from_json(&format!("{{{}}}", members.join(","))).unwrap();
    let change = author.merge_json(0, &value).unwrap().unwrap();
    let mut document = Document::new([1; 32]);
    document.apply(&change).unwrap();
    let next = document.version()[&[7; 32].into()] + 1;
    let mut flood = vec![1, 1];
    flood.extend([7; 32]);
    leb(next, &mut flood);
    flood.extend([0, 0, 0]);
    leb(10_000, &mut flood);
    for edit in 0..10_000u64 {
        flood.extend([0, 1, 0]);
        leb(next + edit - 1, &mut flood);
        flood.push(1);
    }
    assert_eq!(document.apply(&flood).unwrap().changes, 1);
    assert_eq!(document.len(cs_crdt::Path::root()), 20_000);
}

/// CRDT-3
#[test]
fn one_item_is_removed_once_in_a_change() {
    let mut bytes = vec![1, 1];
    bytes.extend([7; 32]);
    bytes.extend([1, 0, 0, 0, 3]);
    bytes.extend([0, 0, 10, 0, 0, 2, b'h', b'i']);
    bytes.extend([0, 0, 11, 0, 2, 2]);
    let mut once = bytes.clone();
    once[38] = 2;
    assert!(Change::from_bytes(&once).is_ok());
    bytes.extend([0, 0, 11, 0, 2, 1]);
    assert_eq!(Change::from_bytes(&bytes), Err(DecodeError::NotCanonical));
}

/// CRDT-2: a later format is for what needs it and for nothing else.
#[test]
fn a_change_has_the_least_format_that_holds_its_edits() {
    let mut bytes = increment_from(1);
    bytes[0] = 2;
    assert_eq!(Change::from_bytes(&bytes), Err(DecodeError::NotCanonical));
    bytes[0] = 3;
    assert_eq!(Change::from_bytes(&bytes), Err(DecodeError::Version));
    let mut author = Document::new([7; 32]);
    let planted = author.edit(0, |tx| tx.plant("t", None, 0).map(drop)).unwrap().unwrap();
    assert_eq!(planted[0], 2);
    let mut older = planted.clone();
    older[0] = 1;
    assert_eq!(Change::from_bytes(&older), Err(DecodeError::NotCanonical));
    let mut saved = author.save();
    assert_eq!(saved[0], 5);
    saved[0] = 4;
    let refused = LoadError::Malformed(DecodeError::NotCanonical);
    assert_eq!(Document::load(&saved, [1; 32]).unwrap_err(), refused);
}

/// CRDT-14: no depth of a tree takes more stack, and no spot is one's own parent.
#[test]
fn a_chain_of_ten_thousand_nodes_is_shown_and_joined_without_recursion() {
    let mut author = Document::new([7; 32]);
    let mut last = None;
    let change = author.edit(0, |tx| {
        (0..10_000).try_for_each(|_| {
            last = Some(tx.plant("t", last, 0)?);
            Ok(())
        })
    });
    let mut document = Document::new([1; 32]);
    assert_eq!(document.apply(&change.unwrap().unwrap()).unwrap().ineffective, 0);
    assert_eq!(document.len("t"), 10_000);
    let top = document.children("t", None)[0];
    let gone = document.edit(1, |tx| tx.remove(cs_crdt::Path::from("t").node(top))).unwrap();
    assert!(gone.is_some());
    assert_eq!(document.len("t"), 0);
    document.join(&author.save()).unwrap();
    author.apply(&gone.unwrap()).unwrap();
    assert_eq!(document, author);
}

/// CRDT-13: whoever takes the highest rank cannot hold a mark for ever.
#[test]
fn a_mark_of_the_highest_rank_can_be_taken_off() {
    let mut author = Document::new([7; 32]);
    author.edit(0, |tx| tx.splice("t", 0..0, "abc")).unwrap();
    let start = author.save();
    let mut bytes =
        author.edit(0, |tx| tx.mark("t", 0..3, "b", true, cs_crdt::Expand::None)).unwrap().unwrap();
    let tag = bytes.iter().rposition(|byte| *byte == 14).unwrap();
    assert_eq!(bytes[tag + 1], 1, "the rank");
    let mut highest = Vec::new();
    leb(MAX_COUNTER, &mut highest);
    bytes.splice(tag + 1..tag + 2, highest);
    let mut document = Document::load(&start, [1; 32]).unwrap();
    document.apply(&bytes).unwrap();
    assert_eq!(document.marks("t").len(), 1);
    document.edit(1, |tx| tx.unmark("t", 1..2, "b", cs_crdt::Expand::None)).unwrap();
    assert_eq!(document.marks("t"), []);
    document.edit(1, |tx| tx.mark("t", 1..2, "b", 1, cs_crdt::Expand::None)).unwrap();
    assert_eq!(document.marks("t").len(), 1);
    bytes[tag + 1..tag + 9].fill(0xff);
    assert!(Change::from_bytes(&bytes).is_err());
}

/// A snapshot by one author in its parts: header, columns, waiting changes. Only for sizes below 128.
fn parts(saved: &[u8]) -> (Vec<u8>, Vec<Vec<u8>>, Vec<u8>) {
    let (header, mut rest) = saved.split_at(35);
    let mut columns = Vec::new();
    for _ in 0..8 {
        let (count, bytes) = (usize::from(rest[0]), rest.get(2..).unwrap_or_default());
        let (column, tail) = if count > 0 { bytes.split_at(count) } else { (&[][..], &rest[1..]) };
        columns.push(column.to_vec());
        rest = tail;
    }
    (header.to_vec(), columns, rest.to_vec())
}

fn whole(header: &[u8], columns: &[Vec<u8>], waiting: &[u8]) -> Vec<u8> {
    let mut bytes = header.to_vec();
    for column in columns {
        bytes.push(column.len() as u8);
        if !column.is_empty() {
            bytes.push(0);
            bytes.extend(column);
        }
    }
    bytes.extend(waiting);
    bytes
}

/// `{"a":1,"b":1}` by one author: a mark and two writes, dots 1 to 3.
fn small() -> Document {
    let mut document = Document::new([7; 32]);
    document.merge_json(0, &Value::from_json(r#"{"a":1,"b":1}"#).unwrap()).unwrap();
    document
}

/// CRDT-9
#[test]
fn a_snapshot_with_dots_past_its_context_is_refused() {
    let mut saved = small().save();
    assert_eq!(saved[34], 3);
    saved[34] = 2;
    assert_eq!(Document::load(&saved, [1; 32]).unwrap_err(), LoadError::Inconsistent);
}

/// CRDT-9
#[test]
fn a_snapshot_that_uses_a_dot_twice_is_refused() {
    let (header, mut columns, waiting) = parts(&small().save());
    assert_eq!(columns[3], [6, 2], "three steps of one");
    columns[3] = vec![7, 2, 2, 0];
    let twice = whole(&header, &columns, &waiting);
    assert_eq!(Document::load(&twice, [1; 32]).unwrap_err(), LoadError::Inconsistent);
    columns[3] = vec![7, 2, 2, 2];
    let long_way = whole(&header, &columns, &waiting);
    let refused = LoadError::Malformed(DecodeError::NotCanonical);
    assert_eq!(Document::load(&long_way, [1; 32]).unwrap_err(), refused);
    columns[3] = vec![6, 2];
    assert!(Document::load(&whole(&header, &columns, &waiting), [1; 32]).is_ok());
}

/// CRDT-9
#[test]
fn a_snapshot_whose_waiting_change_need_not_wait_is_refused() {
    let mut author = small();
    let (header, columns, none) = parts(&author.save());
    assert_eq!(none, [0]);
    let next = author.edit(1, |tx| tx.set("a", 2)).unwrap().unwrap();
    let mut early = Document::new([1; 32]);
    assert_eq!(early.apply(&next).unwrap().waiting, 1);
    let saved = early.save();
    let waiting = &saved[saved.len() - next.len() - 2..];
    let ready = whole(&header, &columns, waiting);
    assert_eq!(Document::load(&ready, [1; 32]).unwrap_err(), LoadError::Inconsistent);
}

/// CRDT-9
#[test]
fn a_snapshot_whose_items_have_no_such_neighbour_is_refused() {
    let mut author = Document::new([7; 32]);
    author.edit(0, |tx| tx.splice("t", 0..0, "ab")).unwrap();
    author.edit(0, |tx| tx.splice("t", 1..1, "x")).unwrap();
    let (header, mut columns, waiting) = parts(&author.save());
    let steps = columns[7].len() - 1;
    assert_eq!(columns[7][steps], 3, "the left neighbour is two dots back");
    columns[7][steps] = 5;
    let forged = whole(&header, &columns, &waiting);
    assert_eq!(Document::load(&forged, [1; 32]).unwrap_err(), LoadError::Inconsistent);
    columns[7][steps] = 3;
    assert!(Document::load(&whole(&header, &columns, &waiting), [1; 32]).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// CRDT-9: any bytes either load to a state that saves as the same bytes, or are refused.
    #[test]
    fn mutated_snapshots_load_to_what_they_say_or_not_at_all(
        history in events(25),
        mutations in vec((any::<u16>(), any::<u8>()), 1..60),
    ) {
        let saved = play(&history).replicas[0].save();
        for (at, byte) in mutations {
            let mut bytes = saved.clone();
            let at = usize::from(at) % bytes.len();
            bytes[at] = byte;
            if let Ok(mut loaded) = Document::load(&bytes, [9; 32]) {
                if bytes[0] == saved[0] {
                    prop_assert_eq!(loaded.save(), bytes);
                }
                let shown = loaded.to_json();
                prop_assert_eq!(loaded.merge_json(1, &shown).unwrap(), None);
                prop_assert!(loaded.edit(1, |tx| tx.set(cs_crdt::Path::root(), 1)).is_ok());
            }
        }
    }

    #[test]
    fn any_bytes_are_taken_without_panic(bytes in vec(any::<u8>(), 0..80)) {
        let mut document = Document::new([1; 32]);
        let _ = document.apply(&bytes);
        let _ = document.join(&bytes);
        prop_assert_eq!(document.save(), Document::new([1; 32]).save());
    }

    /// CRDT-4: replicas that hear the same changes are equal, even if the changes name things that are not what they
    /// take them for.
    #[test]
    fn mutated_changes_have_one_effect_everywhere(
        history in events(30),
        mutations in vec((any::<u16>(), any::<u16>(), any::<u8>()), 1..30),
        orders in vec(vec(any::<u16>(), 7..8), 3..4),
    ) {
        let mut changes = play(&history).changes;
        if changes.is_empty() {
            return Ok(());
        }
        for (which, at, byte) in mutations {
            let which = usize::from(which) % changes.len();
            let mut bytes = changes[which].clone();
            let at = 34 + usize::from(at) % (bytes.len() - 34);
            bytes[at] = byte;
            let (old, new) = (Change::from_bytes(&changes[which]), Change::from_bytes(&bytes));
            if new.is_ok_and(|new| old.is_ok_and(|old| old.counters() == new.counters())) {
                changes[which] = bytes;
            }
        }
        let mut replicas: Vec<Document> = (1..4).map(|id| Document::new([id + 20; 32])).collect();
        for (replica, order) in replicas.iter_mut().zip(&orders) {
            hear_all(replica, &changes, order);
            let loaded = Document::load(&replica.save(), [9; 32]);
            prop_assert_eq!(loaded.map(|loaded| loaded.save()), Ok(replica.save()));
        }
        prop_assert_eq!(replicas[0].save(), replicas[1].save());
        prop_assert_eq!(replicas[1].save(), replicas[2].save());
    }
}
