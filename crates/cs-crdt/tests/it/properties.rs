//! The laws of documents, over random histories of nested documents.

use cs_crdt::{Document, wire::Change};
use proptest::{collection::vec, prelude::*};

use crate::histories::{Event, edit, events, hear_all, play};

fn orders() -> impl Strategy<Value = Vec<Vec<u16>>> {
    vec(vec(any::<u16>(), 7..8), 4..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    /// CRDT-1, CRDT-5: delivery order and duplicates do not matter.
    #[test]
    fn replicas_that_heard_the_same_are_equal(history in events(40), orders in orders()) {
        let mut played = play(&history);
        let mut saves = Vec::new();
        for (replica, order) in played.replicas.iter_mut().zip(&orders) {
            hear_all(replica, &played.changes, order);
            prop_assert_eq!(replica.pending(), 0);
            saves.push(replica.save());
        }
        let mut late = Document::new([9; 32]);
        hear_all(&mut late, &played.changes, &orders[3]);
        saves.push(late.save());
        prop_assert!(saves.windows(2).all(|pair| pair[0] == pair[1]));
        prop_assert_eq!(late.conflicts(), played.replicas[0].conflicts());
    }

    /// CRDT-8: joining snapshots gives what applying the operations gives.
    #[test]
    fn joined_snapshots_equal_applied_changes(history in events(40), order in vec(any::<u16>(), 7..8)) {
        let played = play(&history);
        let mut by_changes = Document::new([9; 32]);
        hear_all(&mut by_changes, &played.changes, &order);
        let saves: Vec<Vec<u8>> = played.replicas.iter().map(Document::save).collect();
        for first in 0..3 {
            let mut joined = Document::load(&saves[first], [9; 32]).unwrap();
            joined.join(&saves[(first + 2) % 3]).unwrap();
            joined.join(&saves[(first + 1) % 3]).unwrap();
            joined.join(&saves[first]).unwrap();
            for (missing, _) in joined.missing() {
                prop_assert!(by_changes.version().contains_key(&missing));
            }
            if joined.pending() == 0 {
                prop_assert_eq!(joined.save(), by_changes.save());
            }
        }
    }

    /// A snapshot that is joined in between and changes that come later or again agree.
    #[test]
    fn snapshots_and_changes_mix(history in events(40), order in vec(any::<u16>(), 7..8), half in 0usize..40) {
        let played = play(&history);
        let mut by_changes = Document::new([9; 32]);
        hear_all(&mut by_changes, &played.changes, &order);
        let mut mixed = Document::new([8; 32]);
        for change in played.changes.iter().rev().take(half) {
            mixed.apply(change).unwrap();
        }
        mixed.join(&played.replicas[0].save()).unwrap();
        hear_all(&mut mixed, &played.changes, &order);
        prop_assert_eq!(mixed.save(), by_changes.save());
    }

    /// CRDT-9: loading what was saved gives the same document, waiting changes included.
    #[test]
    fn a_saved_document_loads_as_it_was(history in events(40), order in vec(any::<u16>(), 7..8), half in 0usize..20) {
        let played = play(&history);
        let mut document = Document::new([9; 32]);
        for change in played.changes.iter().rev().take(half) {
            document.apply(change).unwrap();
        }
        let mut loaded = Document::load(&document.save(), [8; 32]).unwrap();
        prop_assert_eq!(loaded.pending(), document.pending());
        prop_assert_eq!(loaded.save(), document.save());
        prop_assert_eq!(loaded.to_json(), document.to_json());
        hear_all(&mut loaded, &played.changes, &order);
        hear_all(&mut document, &played.changes, &order);
        prop_assert_eq!(loaded.save(), document.save());
    }

    /// A replica that goes on from a snapshot is as good as one that never stopped.
    #[test]
    fn a_loaded_replica_edits_on(history in events(30), more in vec(edit(), 1..4)) {
        let mut played = play(&history);
        let mut other = Document::new([9; 32]);
        hear_all(&mut other, &played.changes, &[1]);
        let mut loaded = Document::load(&other.save(), [9; 32]).unwrap();
        let replay = play(&[Event::Edit { who: 0, edits: more }]);
        drop(replay);
        let change = loaded.merge_json(99, &cs_crdt::Value::from_json(r#"{"a":[1,{"b":2}],"t":"x"}"#).unwrap()).unwrap();
        for replica in &mut played.replicas {
            hear_all(replica, &played.changes, &[5]);
            if let Some(change) = &change {
                replica.apply(change).unwrap();
            }
            prop_assert_eq!(replica.save(), loaded.save());
        }
    }

    /// CRDT-7: merging JSON makes the document equal to it, whatever it was.
    #[test]
    fn merged_json_is_what_the_document_shows(history in events(20), other in events(20)) {
        let mut document = play(&history).replicas.remove(0);
        let wanted = play(&other).replicas.remove(1).to_json();
        document.merge_json(99, &wanted).unwrap();
        prop_assert_eq!(document.to_json(), wanted.clone());
        prop_assert_eq!(document.merge_json(100, &wanted).unwrap(), None);
    }

    /// CRDT-10: replicas that hide the same changes are equal, in whatever order they heard of them.
    #[test]
    fn hidden_changes_are_hidden_alike_everywhere(
        history in events(30),
        hidden in any::<u32>(),
        orders in vec(vec(any::<u16>(), 7..8), 2..3),
    ) {
        let played = play(&history);
        let is_hidden = |at: usize| hidden >> (at % 32) & 1 == 1;
        let shown: Vec<Vec<u8>> =
            (0..played.changes.len()).filter(|at| !is_hidden(*at)).map(|at| played.changes[at].clone()).collect();
        let mut saves = Vec::new();
        for order in &orders {
            let mut document = Document::new([9; 32]);
            hear_all(&mut document, &shown, order);
            for at in (0..played.changes.len()).filter(|at| is_hidden(*at)) {
                prop_assert!(document.apply_hidden(&played.changes[at]).is_ok());
            }
            prop_assert_eq!(document.pending(), 0);
            saves.push(document.save());
        }
        let mut in_order = Document::new([8; 32]);
        for (at, change) in played.changes.iter().enumerate() {
            if is_hidden(at) { in_order.apply_hidden(change).unwrap() } else { in_order.apply(change).unwrap() };
        }
        saves.push(in_order.save());
        prop_assert!(saves.windows(2).all(|pair| pair[0] == pair[1]));
    }

    /// CRDT-2: one encoding per change.
    #[test]
    fn changes_decode_to_what_encodes_to_the_same_bytes(history in events(20)) {
        for bytes in play(&history).changes {
            let change = Change::from_bytes(&bytes).unwrap();
            let mut again = Vec::new();
            change.encode(&mut again);
            prop_assert_eq!(&again, &bytes);
            prop_assert_eq!(Change::from_bytes(&again).unwrap(), change);
            for end in 0..bytes.len() {
                prop_assert_eq!(Change::from_bytes(&bytes[..end]), Err(cs_crdt::DecodeError::Truncated));
            }
            again.push(0);
            prop_assert_eq!(Change::from_bytes(&again), Err(cs_crdt::DecodeError::Leftover));
        }
    }
}

/// Every order in which the changes of a small history can arrive, all of them tried.
#[test]
fn every_order_of_six_concurrent_changes_gives_one_document() {
    let mut base = Document::new([7; 32]);
    let start = base
        .edit(0, |tx| {
            tx.splice("t", 0..0, "ab")?;
            tx.set("m", cs_crdt::Value::from_json(r#"{"x":1,"l":[1,2]}"#).unwrap())
        })
        .unwrap()
        .unwrap();
    let mut changes = vec![start];
    for id in 1..4u8 {
        let mut replica = Document::new([id; 32]);
        replica.apply(&changes[0]).unwrap();
        let typed = replica.edit(1, |tx| {
            tx.splice("t", 1..1, &format!("<{id}>"))?;
            tx.set(["m", "x"], i64::from(id))
        });
        changes.push(typed.unwrap().unwrap());
        if id < 3 {
            let more = replica.edit(2, |tx| if id == 1 { tx.remove("m") } else { tx.push(["m", "l"], 9) });
            changes.push(more.unwrap().unwrap());
        }
    }
    let mut saves = std::collections::BTreeSet::new();
    let mut tried = 0;
    permutations(changes.len(), &mut Vec::new(), &mut |order| {
        let mut replica = Document::new([9; 32]);
        for index in order {
            replica.apply(&changes[*index]).unwrap();
        }
        assert_eq!(replica.pending(), 0);
        saves.insert(replica.save());
        tried += 1;
    });
    assert_eq!((tried, saves.len()), (720, 1));
}

pub(crate) fn permutations(count: usize, order: &mut Vec<usize>, visit: &mut dyn FnMut(&[usize])) {
    if order.len() == count {
        visit(order);
    }
    for next in 0..count {
        if !order.contains(&next) {
            order.push(next);
            permutations(count, order, visit);
            order.pop();
        }
    }
}
