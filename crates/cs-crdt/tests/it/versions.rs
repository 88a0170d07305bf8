//! Looking back and branching off: history, forks, undo, cursors, blame, patches.

use cs_crdt::{Blame, Document, Expand, Fold, HistoryError, MAX_PATCHES, Patch, Path, Value};
use proptest::{collection::vec, prelude::*};

use crate::{
    histories::{edit, events, hear_all, perform, play},
    stories::{json, pair, swap},
};

#[test]
fn a_document_shows_itself_as_it_was_and_what_changed_since() {
    let mut a = Document::new([1; 32]);
    a.keep_history();
    a.merge_json(1, &json(r#"{"n":1,"l":[1,2]}"#)).unwrap();
    let first = a.version();
    a.edit(2, |tx| tx.splice("t", 0..0, "abc")).unwrap();
    let second = a.version();
    a.edit(3, |tx| {
        tx.set("n", 2)?;
        tx.move_item("l", 0, 1)?;
        tx.splice("t", 1..2, "XY")
    })
    .unwrap();
    assert_eq!(a.at(&first).unwrap().to_json(), json(r#"{"n":1,"l":[1,2]}"#));
    assert_eq!(a.at(&second).unwrap().text("t").unwrap(), "abc");
    let mut past = a.at(&second).unwrap().to_json();
    let patches = a.diff(&second, &a.version()).unwrap();
    assert_eq!(patches.len(), 3, "{patches:?}");
    assert!(patches.contains(&Patch::Splice { path: "t".into(), range: 1..2, text: "XY".into() }));
    assert!(patches.iter().any(|patch| matches!(patch, Patch::Move { .. })));
    assert!(patches.iter().all(|patch| patch.apply(&mut past)));
    assert_eq!(past, a.to_json());
    assert_eq!(a.changes().count(), 3);

    let mut late = a.at(&first).unwrap();
    for change in a.changes_since(&late.version()).unwrap() {
        late.apply(change).unwrap();
    }
    assert_eq!(late, a);
    let loaded = Document::load_with_history(&a.save_with_history(), [2; 32]).unwrap();
    assert_eq!(loaded, a);
    assert_eq!(loaded.at(&first).unwrap().to_json(), a.at(&first).unwrap().to_json());
    assert!(Document::load_with_history(&a.save_with_history()[1..], [2; 32]).is_err());
}

#[test]
fn a_past_that_is_not_kept_or_never_was_is_refused() {
    let mut a = Document::new([1; 32]);
    a.edit(1, |tx| tx.set("n", 1)).unwrap();
    let before = a.version();
    assert_eq!(a.at(&before).unwrap_err(), HistoryError::NotKept);
    a.edit(1, |tx| tx.set("n", 2)).unwrap();
    a.keep_history();
    a.edit(1, |tx| tx.splice("t", 0..0, "abc")).unwrap();
    assert_eq!(a.at(&before).unwrap_err(), HistoryError::Forgotten);
    assert_eq!(a.changes_since(&before).unwrap_err(), HistoryError::Forgotten);
    let mut never = a.version();
    *never.get_mut(&[1; 32].into()).unwrap() -= 1;
    assert_eq!(a.at(&never).unwrap_err(), HistoryError::Unknown);
    a.forget_history();
    assert_eq!(a.changes_since(&before).unwrap_err(), HistoryError::NotKept);
}

#[test]
fn a_fork_goes_its_own_way_and_merges_back() {
    let (mut a, _) = pair(r#"{"n":1,"l":[1,2,3]}"#);
    a.keep_history();
    let mut branch = a.fork([7; 32]);
    branch.edit(1, |tx| tx.move_item("l", 2, 0)).unwrap();
    branch.edit(1, |tx| tx.set("n", 2)).unwrap();
    a.edit(1, |tx| tx.push("l", 4)).unwrap();
    assert_eq!(a.to_json(), json(r#"{"n":1,"l":[1,2,3,4]}"#));
    a.merge(&branch).unwrap();
    assert_eq!(a.to_json(), json(r#"{"n":2,"l":[3,1,2,4]}"#));
    branch.merge(&a).unwrap();
    assert_eq!(branch, a);
    let mut stranger = Document::new([8; 32]);
    stranger.merge(&a).unwrap();
    assert_eq!(stranger, a);
}

#[test]
fn a_cursor_stays_with_what_it_is_at() {
    let (mut a, mut b) = pair(r#"{"l":[{"x":1},{"x":2},{"x":3}]}"#);
    let x = a.edit(1, |tx| tx.splice("t", 0..0, "hello world")).unwrap();
    swap(&mut a, x, &mut b, None);
    let word = a.cursor("t", 6).unwrap();
    let end = a.cursor("t", 11).unwrap();
    let element = a.cursor("l", 2).unwrap();
    let x = b
        .edit(2, |tx| {
            tx.splice("t", 0..5, "goodbye, dear")?;
            tx.move_item("l", 2, 0)
        })
        .unwrap();
    swap(&mut a, None, &mut b, x);
    assert_eq!((a.position(&word), a.position(&end)), (Some(14), Some(19)));
    assert_eq!((a.position(&element), b.position(&element)), (Some(0), Some(0)));
    let x = b.edit(3, |tx| tx.splice("t", 13..19, "")).unwrap();
    swap(&mut a, None, &mut b, x);
    assert_eq!(a.position(&word), Some(13), "where the word was");
    assert!(a.cursor("t", 14).is_err());
    assert!(a.cursor("l", 4).is_err());
}

#[test]
fn blame_names_who_wrote_what_and_when() {
    let (mut a, mut b) = pair("{}");
    b.keep_history();
    let x = a.edit(10, |tx| tx.splice("t", 0..0, "abcd")).unwrap();
    swap(&mut a, x, &mut b, None);
    let y = b.edit(20, |tx| tx.splice("t", 2..2, "XY")).unwrap();
    swap(&mut a, None, &mut b, y);
    let told: Vec<_> = b
        .blame("t")
        .into_iter()
        .map(|Blame { range, id, unix_ms }| (range, id.actor.0[0], unix_ms))
        .collect();
    assert_eq!(told, [(0..2, 1, Some(10)), (2..4, 2, Some(20)), (4..6, 1, Some(10))]);
    assert_eq!(a.blame("t")[0].unix_ms, None);
    assert_eq!(a.authors("t").len(), 2);
    assert_eq!(a.blame("none"), []);
}

#[test]
fn undo_takes_back_ones_own_edits_and_leaves_those_of_others() {
    let (mut a, mut b) = pair(r#"{"n":1,"l":["x","y"]}"#);
    let x = a.edit(1, |tx| tx.splice("t", 0..0, "one two")).unwrap();
    swap(&mut a, x, &mut b, None);
    a.keep_undo();
    let x = a
        .edit(2, |tx| {
            tx.splice("t", 0..4, "")?;
            tx.set("n", 2)?;
            tx.remove(Path::from("l").index(0))?;
            tx.mark("t", 0..3, "bold", true, Expand::After)?;
            tx.increment("c", 5)?;
            tx.fold("m", Fold::Max, [3])
        })
        .unwrap();
    swap(&mut a, x, &mut b, None);
    let y = b
        .edit(3, |tx| {
            tx.splice("t", 3..3, " three")?;
            tx.push("l", "z")?;
            tx.increment("c", 1)
        })
        .unwrap();
    swap(&mut a, None, &mut b, y);
    assert_eq!(a.undoable(), (1, 0));
    let x = a.undo(4).unwrap();
    swap(&mut a, x, &mut b, None);
    assert_eq!(b.to_json(), json(r#"{"c":1,"l":["x","y","z"],"n":1,"t":"one two three"}"#));
    assert_eq!(b.marks("t"), []);
    let x = a.redo(5).unwrap();
    swap(&mut a, x, &mut b, None);
    assert_eq!(b.to_json(), json(r#"{"c":6,"l":["y","z"],"m":3,"n":2,"t":"two three"}"#));
    assert_eq!(b.marks("t").len(), 1);
    assert_eq!(a.undoable(), (1, 0));
    assert_eq!(a.redo(6).unwrap(), None);
}

#[test]
fn undone_twice_over_a_retyped_character_goes_too() {
    let mut a = Document::new([1; 32]);
    a.keep_undo();
    a.edit(1, |tx| tx.splice("t", 0..0, "abc")).unwrap();
    a.edit(2, |tx| tx.splice("t", 1..2, "")).unwrap();
    a.undo(3).unwrap();
    assert_eq!(a.text("t").unwrap(), "abc");
    a.undo(4).unwrap();
    assert_eq!(a.text("t"), None, "the text was made by what is undone");
    a.redo(5).unwrap();
    assert_eq!(a.text("t").unwrap(), "abc");
    a.redo(6).unwrap();
    assert_eq!(a.text("t").unwrap(), "ac");
}

#[test]
fn undo_moves_back_what_was_moved_in_lists_and_trees() {
    let (mut a, mut b) = pair(r#"{"l":[1,2,3]}"#);
    let mut ids = Vec::new();
    let x = a
        .edit(1, |tx| {
            ids.push(tx.plant("t", None, 0)?);
            ids.push(tx.plant("t", None, 1)?);
            Ok(())
        })
        .unwrap();
    swap(&mut a, x, &mut b, None);
    a.keep_undo();
    let before = a.to_json();
    a.edit(2, |tx| {
        tx.move_item("l", 0, 2)?;
        tx.graft("t", ids[0], Some(ids[1]), 0)
    })
    .unwrap();
    let x = a.edit(3, |tx| tx.remove(Path::from("t").node(ids[1]))).unwrap();
    assert!(x.is_some());
    assert_eq!(a.len("t"), 0);
    a.undo(4).unwrap();
    assert_eq!(a.children("t", Some(ids[1])), [ids[0]]);
    a.undo(5).unwrap();
    assert_eq!(a.to_json(), before);
}

#[test]
fn an_observer_that_lags_gets_the_whole_document() {
    let mut a = Document::new([1; 32]);
    a.observe();
    for n in 0..=MAX_PATCHES as i64 {
        a.edit(1, |tx| tx.set("n", n)).unwrap();
    }
    assert_eq!(a.poll_patch(), Some(Patch::Put { path: Path::root(), value: a.to_json() }));
    assert_eq!(a.poll_patch(), None);
    a.edit(1, |tx| tx.set("n", 0)).unwrap();
    assert_eq!(a.poll_patch(), Some(Patch::Put { path: "n".into(), value: 0.into() }));
    let refused = a.edit(1, |tx| {
        tx.set("n", 7)?;
        tx.set(["n", "m"], 7)
    });
    assert!(refused.is_err());
    assert_eq!(a.poll_patch(), None, "what was rolled back is not told");
}

#[test]
fn a_remote_keystroke_is_one_small_patch() {
    let (mut a, mut b) = pair(r#"{"l":[{"x":1},{"x":2}]}"#);
    let x = a.edit(1, |tx| tx.splice("t", 0..0, "abc")).unwrap();
    swap(&mut a, x, &mut b, None);
    b.observe();
    let x = a
        .edit(2, |tx| {
            tx.splice("t", 1..1, "Z")?;
            tx.splice("t", 3..4, "")?;
            tx.set(Path::from("l").index(1).key("x"), 7)?;
            tx.move_item("l", 1, 0)
        })
        .unwrap();
    swap(&mut a, x, &mut b, None);
    let told: Vec<Patch> = std::iter::from_fn(|| b.poll_patch()).collect();
    let wanted = [
        Patch::Splice { path: "t".into(), range: 1..1, text: "Z".into() },
        Patch::Splice { path: "t".into(), range: 3..4, text: String::new() },
        Patch::Put { path: Path::from("l").index(1).key("x"), value: 7.into() },
        Patch::Move { path: "l".into(), from: 1, to: 0 },
    ];
    assert_eq!(told, wanted);
}

fn follow(document: &mut Document, value: &mut Value) {
    while let Some(patch) = document.poll_patch() {
        assert!(patch.apply(value), "{patch:?} on {value}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Patches turn what was shown into what is shown, whoever edits.
    #[test]
    fn an_observer_that_applies_patches_sees_the_document(
        history in events(30),
        order in vec(any::<u16>(), 7..8),
        more in vec(vec(edit(), 1..3), 0..6),
    ) {
        let played = play(&history);
        let mut document = Document::new([9; 32]);
        document.observe();
        let mut value = document.to_json();
        let mut at: Vec<usize> = (0..played.changes.len()).collect();
        at.sort_by_key(|index| order[*index % order.len()].wrapping_mul(*index as u16 | 1));
        for index in at {
            document.apply(&played.changes[index]).unwrap();
            follow(&mut document, &mut value);
            prop_assert_eq!(&value, &document.to_json());
        }
        for edits in more {
            let _ = document.edit(99, |tx| edits.iter().try_for_each(|edit| perform(tx, edit)));
            follow(&mut document, &mut value);
            prop_assert_eq!(&value, &document.to_json());
        }
        document.join(&played.replicas[0].save()).unwrap();
        follow(&mut document, &mut value);
        prop_assert_eq!(&value, &document.to_json());
    }

    /// A document that keeps its history shows any version it was at, and the differences lead from one to another.
    #[test]
    fn every_version_can_be_gone_back_to(history in events(25), from in any::<u16>(), to in any::<u16>()) {
        let played = play(&history);
        let mut document = Document::new([9; 32]);
        document.keep_history();
        let mut past = vec![(document.version(), document.to_json())];
        for change in &played.changes {
            document.apply(change).unwrap();
            past.push((document.version(), document.to_json()));
        }
        for (version, shown) in &past {
            prop_assert_eq!(&document.at(version).unwrap().to_json(), shown);
        }
        let (from, to) = (&past[usize::from(from) % past.len()], &past[usize::from(to) % past.len()]);
        let mut value = from.1.clone();
        for patch in document.diff(&from.0, &to.0).unwrap() {
            prop_assert!(patch.apply(&mut value), "{:?}", patch);
        }
        prop_assert_eq!(&value, &to.1);
    }

    /// CRDT-8: a delta, the changes since a version, does what the operations and the state do.
    #[test]
    fn deltas_equal_operations_and_states(history in events(30), half in 0usize..30) {
        let played = play(&history);
        let mut all = Document::new([9; 32]);
        all.keep_history();
        hear_all(&mut all, &played.changes, &[1]);
        let mut some = Document::new([8; 32]);
        for change in played.changes.iter().take(half) {
            some.apply(change).unwrap();
        }
        let mut by_state = some.clone();
        by_state.join(&all.save()).unwrap();
        let mut by_delta = some.clone();
        for change in all.changes_since(&some.version()).unwrap() {
            by_delta.apply(change).unwrap();
        }
        prop_assert_eq!(by_state.save(), all.save());
        prop_assert_eq!(by_delta.save(), all.save());
        let mut merged = some.fork([7; 32]);
        merged.merge(&all).unwrap();
        prop_assert_eq!(merged.save(), all.save());
        let restored = Document::load_with_history(&all.save_with_history(), [9; 32]).unwrap();
        prop_assert_eq!(restored.save(), all.save());
    }

    /// With nobody else about, undoing everything leads back and redoing everything forth.
    #[test]
    fn undoing_all_leads_back_and_redoing_all_forth(
        before in events(10),
        edits in vec(vec(edit(), 1..3), 1..10),
    ) {
        let mut document = play(&before).replicas.remove(0);
        document.keep_undo();
        let first = document.to_json();
        let is_plain = document.conflicts().is_empty();
        for edits in edits {
            let _ = document.edit(50, |tx| edits.iter().try_for_each(|edit| perform(tx, edit)));
        }
        let last = document.to_json();
        while document.undoable().0 > 0 {
            document.undo(60).unwrap();
        }
        if is_plain {
            prop_assert_eq!(document.to_json(), first);
        }
        while document.undoable().1 > 0 {
            document.redo(70).unwrap();
        }
        if is_plain {
            prop_assert_eq!(document.to_json(), last);
        }
        let loaded = Document::load(&document.save(), [9; 32]).unwrap();
        prop_assert_eq!(loaded.to_json(), document.to_json());
    }
}
