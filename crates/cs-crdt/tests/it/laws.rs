//! The laws of joins, and every delivery order of small cases, for every type of part.

use cs_crdt::{Document, EditError, Expand, Fold, Id, Path, Transaction};
use proptest::prelude::*;

use crate::{
    histories::{events, play},
    properties::permutations,
    stories::json,
};

type Edits = fn(&mut Transaction<'_>) -> Result<(), EditError>;

/// The nodes of the tree `t`, as it stands at the start.
fn nodes(tx: &Transaction<'_>) -> Vec<Id> {
    let Some(cs_crdt::Value::Array(entries)) = tx.value("t") else { return Vec::new() };
    entries.iter().filter_map(|entry| entry.member("id")?.as_str()?.parse().ok()).collect()
}

/// The type, the start, and what three do.
type Case = (&'static str, Edits, [&'static [Edits]; 3]);

/// For each type: what all start from, and what three do apart, in one or two changes each.
fn plain_cases() -> Vec<Case> {
    vec![
        (
            "register",
            |tx| tx.set("k", 0),
            [&[|tx| tx.set("k", 1), |tx| tx.set("k", 4)], &[|tx| tx.set("k", 2)], &[|tx| tx.remove("k")]],
        ),
        (
            "map",
            |tx| tx.set("m", json(r#"{"a":1,"b":{"c":2}}"#)),
            [
                &[|tx| tx.remove("m")],
                &[|tx| tx.set(["m", "b", "d"], 3), |tx| tx.remove(["m", "a"])],
                &[|tx| tx.set(["m", "b"], 9)],
            ],
        ),
        (
            "set",
            |tx| tx.add("s", 1),
            [
                &[|tx| tx.discard("s", 1)],
                &[|tx| tx.add("s", 1), |tx| tx.discard("s", 1)],
                &[|tx| tx.add("s", 2)],
            ],
        ),
        (
            "counter",
            |tx| tx.increment("n", 5),
            [
                &[|tx| tx.increment("n", -1)],
                &[|tx| tx.remove("n"), |tx| tx.increment("n", 7)],
                &[|tx| tx.increment("n", 2)],
            ],
        ),
        (
            "flag",
            |tx| tx.enable("f"),
            [&[|tx| tx.disable("f")], &[|tx| tx.enable("f")], &[|tx| tx.disable("f"), |tx| tx.enable("f")]],
        ),
        (
            "folds",
            |tx| tx.fold("x", Fold::Max, [5]),
            [
                &[|tx| tx.fold("x", Fold::Max, [9]), |tx| tx.fold("y", Fold::Sum, [1])],
                &[|tx| tx.remove("x"), |tx| tx.fold("y", Fold::Sum, [2])],
                &[|tx| tx.fold("z", Fold::Union, [1, 2])],
            ],
        ),
    ]
}

/// The same for what has an order.
fn ordered_cases() -> Vec<Case> {
    vec![
        (
            "list",
            |tx| tx.set("l", json("[0,1,2]")),
            [
                &[|tx| tx.move_item("l", 0, 2), |tx| tx.insert("l", 1, "a")],
                &[|tx| tx.move_item("l", 0, 1)],
                &[|tx| tx.remove(Path::from("l").index(0)), |tx| tx.insert("l", 0, "b")],
            ],
        ),
        (
            "text",
            |tx| tx.splice("w", 0..0, "abcd"),
            [
                &[|tx| tx.splice("w", 1..3, "X"), |tx| tx.mark("w", 0..2, "b", true, Expand::After)],
                &[|tx| tx.mark("w", 1..4, "b", false, Expand::Both)],
                &[|tx| tx.splice("w", 2..2, "yy"), |tx| tx.unmark("w", 0..6, "b", Expand::None)],
            ],
        ),
        (
            "tree",
            |tx| (0..3).try_for_each(|_| tx.plant("t", None, 0).map(drop)),
            [
                &[|tx| tx.graft("t", nodes(tx)[0], Some(nodes(tx)[1]), 0)],
                &[
                    |tx| tx.graft("t", nodes(tx)[1], Some(nodes(tx)[2]), 0),
                    |tx| tx.set(Path::from("t").node(nodes(tx)[0]).key("n"), 1),
                ],
                &[
                    |tx| tx.graft("t", nodes(tx)[2], Some(nodes(tx)[0]), 0),
                    |tx| tx.remove(Path::from("t").node(nodes(tx)[0])),
                ],
            ],
        ),
        (
            "kinds against each other",
            |tx| tx.set("k", 0),
            [
                &[|tx| tx.set("k", json("[1]"))],
                &[|tx| tx.set("k", json(r#"{"a":1}"#))],
                &[|tx| tx.remove("k"), |tx| tx.plant("k", None, 0).map(drop)],
            ],
        ),
    ]
}

/// CRDT-1, CRDT-8: whatever the order of arrival, by operations, states or deltas, one document comes of it.
#[test]
fn every_order_of_delivery_and_of_joins_gives_one_document_for_every_type() {
    for (name, start, branches) in plain_cases().into_iter().chain(ordered_cases()) {
        let mut base = Document::new([7; 32]);
        base.keep_history();
        base.edit(0, start).unwrap();
        let mut changes = Vec::new();
        let mut replicas = Vec::new();
        for (id, edits) in branches.iter().enumerate() {
            let mut replica = base.fork([id as u8 + 1; 32]);
            for (at, edit) in edits.iter().enumerate() {
                changes.push(replica.edit(10 - at as u64, *edit).unwrap().unwrap());
            }
            replicas.push(replica);
        }
        let mut saves = std::collections::BTreeSet::new();
        let mut tried = 0;
        permutations(changes.len(), &mut Vec::new(), &mut |order| {
            let mut replica = base.fork([9; 32]);
            let ineffective: usize =
                order.iter().map(|at| replica.apply(&changes[*at]).unwrap().ineffective).sum();
            assert_eq!((replica.pending(), ineffective), (0, 0), "{name}");
            saves.insert(replica.save());
            tried += 1;
        });
        permutations(replicas.len(), &mut Vec::new(), &mut |order| {
            let (mut by_state, mut by_delta) = (base.fork([9; 32]), base.fork([9; 32]));
            for other in order.iter().map(|at| &replicas[*at]) {
                by_state.join(&other.save()).unwrap();
                by_state.join(&other.save()).unwrap();
                for change in other.changes_since(&by_delta.version()).unwrap() {
                    by_delta.apply(change).unwrap();
                }
            }
            saves.extend([by_state.save(), by_delta.save()]);
        });
        let fact = |n: usize| (1..=n).product::<usize>();
        assert_eq!((tried, saves.len()), (fact(changes.len()), 1), "{name}");
        let shown = Document::load(saves.first().unwrap(), [9; 32]).unwrap();
        let mut first = base.fork([9; 32]);
        for change in &changes {
            first.apply(change).unwrap();
        }
        assert_eq!(shown.to_json(), first.to_json(), "{name}");
    }
}

fn joined(a: &[u8], b: &[u8]) -> Vec<u8> {
    let mut document = Document::load(a, [9; 32]).unwrap();
    document.join(b).unwrap();
    document.save()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// CRDT-8: joins commute, associate and are idempotent, over random nested documents.
    #[test]
    fn joins_commute_associate_and_are_idempotent(history in events(30)) {
        let saves: Vec<Vec<u8>> = play(&history).replicas.iter().map(Document::save).collect();
        let [a, b, c] = [&saves[0], &saves[1], &saves[2]];
        prop_assert_eq!(joined(a, b), joined(b, a));
        prop_assert_eq!(joined(&joined(a, b), c), joined(a, &joined(b, c)));
        prop_assert_eq!(&joined(a, a), a);
        prop_assert_eq!(joined(&joined(a, b), b), joined(a, b));
    }
}
