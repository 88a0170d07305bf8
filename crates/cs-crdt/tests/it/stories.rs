//! What people who edit together expect.

use cs_crdt::{Document, EditError, Kind, Path, Value};

pub(crate) fn json(text: &str) -> Value {
    Value::from_json(text).unwrap()
}

/// Two replicas that start from the same JSON.
pub(crate) fn pair(text: &str) -> (Document, Document) {
    let mut a = Document::new([1; 32]);
    let mut b = Document::new([2; 32]);
    if let Some(change) = a.merge_json(0, &json(text)).unwrap() {
        b.apply(&change).unwrap();
    }
    (a, b)
}

/// Sends each replica what the other just did.
pub(crate) fn swap(a: &mut Document, from_a: Option<Vec<u8>>, b: &mut Document, from_b: Option<Vec<u8>>) {
    if let Some(change) = from_a {
        assert_eq!(b.apply(&change).unwrap().ineffective, 0);
    }
    if let Some(change) = from_b {
        assert_eq!(a.apply(&change).unwrap().ineffective, 0);
    }
    assert_eq!(a.save(), b.save());
    let loaded = Document::load(&a.save(), [9; 32]).unwrap();
    assert_eq!(loaded.save(), a.save());
    assert_eq!(loaded.to_json(), a.to_json());
}

#[test]
fn concurrent_edits_of_different_keys_both_survive() {
    let (mut a, mut b) = pair(r#"{"milk":false}"#);
    let x = a.merge_json(1, &json(r#"{"milk":true}"#)).unwrap();
    let y = b.merge_json(1, &json(r#"{"milk":false,"bread":{"count":2}}"#)).unwrap();
    swap(&mut a, x, &mut b, y);
    assert_eq!(a.to_json(), json(r#"{"milk":true,"bread":{"count":2}}"#));
    assert_eq!(a.conflicts(), []);
}

#[test]
fn concurrent_puts_to_one_key_are_a_visible_conflict() {
    let (mut a, mut b) = pair(r#"{"list":{"milk":1}}"#);
    let x = a.edit(5, |tx| tx.set(["list", "milk"], 2)).unwrap();
    let y = b.edit(6, |tx| tx.set(["list", "milk"], 3)).unwrap();
    swap(&mut a, x, &mut b, y);
    let conflicts = a.conflicts();
    assert_eq!(conflicts.len(), 1);
    assert_eq!(conflicts[0].path, Path::from(["list", "milk"]));
    let shown: Vec<_> = conflicts[0].candidates.iter().map(|c| (c.value.clone(), c.unix_ms)).collect();
    assert_eq!(shown, [(3.into(), Some(6)), (2.into(), Some(5))]);
    assert_eq!(a.to_json(), json(r#"{"list":{"milk":3}}"#));

    let z = a.edit(7, |tx| tx.set(["list", "milk"], 2)).unwrap();
    swap(&mut a, z, &mut b, None);
    assert_eq!(b.conflicts(), []);
    assert_eq!(b.to_json(), json(r#"{"list":{"milk":2}}"#));
}

#[test]
fn putting_back_what_is_shown_resolves_nothing() {
    let (mut a, mut b) = pair("{}");
    let x = a.edit(1, |tx| tx.set("k", 1)).unwrap();
    let y = b.edit(1, |tx| tx.set("k", 2)).unwrap();
    swap(&mut a, x, &mut b, y);
    let shown = a.to_json();
    assert_eq!(a.merge_json(2, &shown).unwrap(), None);
    assert_eq!(a.conflicts().len(), 1);
}

#[test]
fn writing_the_same_value_twice_is_agreement() {
    let (mut a, mut b) = pair("{}");
    let x = a.edit(1, |tx| tx.set("k", 1)).unwrap();
    let y = b.edit(1, |tx| tx.set("k", 1)).unwrap();
    swap(&mut a, x, &mut b, y);
    assert_eq!(a.conflicts(), []);
}

#[test]
fn an_edit_inside_a_removed_map_survives_alone() {
    let (mut a, mut b) = pair(r#"{"trip":{"from":"Rome","to":"Oslo"}}"#);
    let x = a.edit(1, |tx| tx.remove("trip")).unwrap();
    let y = b.edit(1, |tx| tx.set(["trip", "to"], "Bergen")).unwrap();
    swap(&mut a, x, &mut b, y);
    assert_eq!(a.to_json(), json(r#"{"trip":{"to":"Bergen"}}"#));
}

#[test]
fn maps_made_apart_at_one_place_are_one_map() {
    let (mut a, mut b) = pair("null");
    let x = a.merge_json(1, &json(r#"{"todo":{"milk":true}}"#)).unwrap();
    let y = b.merge_json(1, &json(r#"{"todo":{"bread":true}}"#)).unwrap();
    swap(&mut a, x, &mut b, y);
    assert_eq!(a.to_json(), json(r#"{"todo":{"bread":true,"milk":true}}"#));
}

#[test]
fn a_map_against_a_scalar_is_a_visible_conflict() {
    let (mut a, mut b) = pair(r#"{"k":1}"#);
    let x = a.edit(1, |tx| tx.set("k", json(r#"{"x":1}"#))).unwrap();
    let y = b.edit(1, |tx| tx.set("k", 2)).unwrap();
    swap(&mut a, x, &mut b, y);
    let kinds: Vec<_> = a.conflicts()[0].candidates.iter().map(|c| c.kind).collect();
    assert_eq!(kinds, [Kind::Map, Kind::Register]);
}

#[test]
fn adding_wins_over_a_concurrent_discard() {
    let (mut a, mut b) = pair("{}");
    let x = a.edit(1, |tx| tx.add("tags", "red")).unwrap();
    swap(&mut a, x, &mut b, None);
    let x = a.edit(2, |tx| tx.discard("tags", "red")).unwrap();
    let y = b.edit(2, |tx| tx.add("tags", "red")).unwrap();
    swap(&mut a, x, &mut b, y);
    assert!(a.contains("tags", "red"));
    let x = a.edit(3, |tx| tx.discard("tags", "red")).unwrap();
    swap(&mut a, x, &mut b, None);
    assert!(!b.contains("tags", "red"));
}

#[test]
fn increments_add_up_and_a_reset_takes_what_it_saw() {
    let (mut a, mut b) = pair("{}");
    let x = a.edit(1, |tx| tx.increment("n", 5)).unwrap();
    let y = b.edit(1, |tx| tx.increment("n", -2)).unwrap();
    swap(&mut a, x, &mut b, y);
    assert_eq!(a.counter("n"), Some(3));
    let x = a.edit(2, |tx| tx.remove("n")).unwrap();
    let y = b.edit(2, |tx| tx.increment("n", 10)).unwrap();
    swap(&mut a, x, &mut b, y);
    assert_eq!(a.counter("n"), Some(10));
    let x = a.merge_json(3, &json(r#"{"n":12}"#)).unwrap();
    let y = b.edit(3, |tx| tx.increment("n", 1)).unwrap();
    swap(&mut a, x, &mut b, y);
    assert_eq!(a.counter("n"), Some(13));
}

#[test]
fn switching_on_wins_over_a_concurrent_switching_off() {
    let (mut a, mut b) = pair("{}");
    let x = a.edit(1, |tx| tx.enable("f")).unwrap();
    swap(&mut a, x, &mut b, None);
    let x = a.edit(2, |tx| tx.disable("f")).unwrap();
    let y = b.edit(2, |tx| tx.enable("f")).unwrap();
    swap(&mut a, x, &mut b, y);
    assert_eq!(a.to_json(), json(r#"{"f":true}"#));
    let x = b.edit(3, |tx| tx.disable("f")).unwrap();
    swap(&mut b, x, &mut a, None);
    assert_eq!(a.to_json(), json("{}"));
}

#[test]
fn words_typed_apart_at_one_place_do_not_interleave() {
    let (mut a, mut b) = pair("{}");
    let x = a.edit(1, |tx| tx.splice("t", 0..0, "()")).unwrap();
    swap(&mut a, x, &mut b, None);
    let x = a
        .edit(2, |tx| {
            "milk".chars().enumerate().try_for_each(|(i, c)| tx.splice("t", 1 + i..1 + i, &c.to_string()))
        })
        .unwrap();
    let y =
        b.edit(2, |tx| "eggs".chars().rev().try_for_each(|c| tx.splice("t", 1..1, &c.to_string()))).unwrap();
    swap(&mut a, x, &mut b, y);
    let text = a.text("t").unwrap();
    assert!(text == "(milkeggs)" || text == "(eggsmilk)", "{text}");
}

#[test]
fn a_removed_range_keeps_what_was_typed_into_it_meanwhile() {
    let (mut a, mut b) = pair("{}");
    let x = a.edit(1, |tx| tx.splice("t", 0..0, "the quick fox")).unwrap();
    swap(&mut a, x, &mut b, None);
    let x = a.edit(2, |tx| tx.splice("t", 3..9, "")).unwrap();
    let y = b.edit(2, |tx| tx.splice("t", 9..9, " brown")).unwrap();
    swap(&mut a, x, &mut b, y);
    assert_eq!(a.text("t").unwrap(), "the brown fox");
    let x = a.edit(3, |tx| tx.merge("t", &json("\"the red fox\""))).unwrap();
    let y = b.edit(3, |tx| tx.splice("t", 13..13, "es")).unwrap();
    swap(&mut a, x, &mut b, y);
    assert_eq!(a.text("t").unwrap(), "the red foxes");
}

#[test]
fn an_edit_inside_a_list_element_survives_a_shift() {
    let (mut a, mut b) = pair(r#"[{"t":"a","done":false},{"t":"b","done":false}]"#);
    let x = a
        .merge_json(1, &json(r#"[{"t":"new","done":false},{"t":"a","done":false},{"t":"b","done":false}]"#))
        .unwrap();
    let y = b.edit(1, |tx| tx.set(Path::root().index(1).key("done"), true)).unwrap();
    swap(&mut a, x, &mut b, y);
    let want = r#"[{"t":"new","done":false},{"t":"a","done":false},{"t":"b","done":true}]"#;
    assert_eq!(a.to_json(), json(want));
}

#[test]
fn an_element_that_is_edited_while_it_is_removed_stays() {
    let (mut a, mut b) = pair(r#"[{"t":"a"},{"t":"b"},3]"#);
    let x = a.merge_json(1, &json(r#"[{"t":"b"}]"#)).unwrap();
    let y = b.edit(1, |tx| tx.set(Path::root().index(0).key("n"), 1)).unwrap();
    swap(&mut a, x, &mut b, y);
    assert_eq!(a.to_json(), json(r#"[{"n":1},{"t":"b"}]"#));
}

#[test]
fn a_transaction_that_fails_leaves_no_trace() {
    let (mut a, _) = pair(r#"{"list":[1,2,{"x":[1]}],"n":1}"#);
    a.edit(1, |tx| tx.splice("t", 0..0, "hello world")).unwrap();
    a.edit(1, |tx| tx.add("s", 1)).unwrap();
    let before = a.save();
    let failed = a.edit(2, |tx| {
        tx.splice("t", 2..5, "XX")?;
        tx.splice("t", 0..0, "start ")?;
        tx.push("list", json(r#"{"deep":[1,2]}"#))?;
        tx.remove(Path::from("list").index(2))?;
        tx.set("n", json("[1,2,3]"))?;
        tx.add("s", 2)?;
        tx.discard("s", 1)?;
        tx.increment("c", 4)?;
        tx.remove("list")?;
        tx.set(["t", "x"], 1)
    });
    assert_eq!(failed, Err(EditError::WrongKind));
    assert_eq!(a.save(), before);
}

#[test]
fn a_pointer_names_the_path_that_prints_as_it() {
    let (a, _) = pair(r#"{"a/b":[{"~":1},2],"0":{"1":2}}"#);
    for pointer in ["", "/a~1b/0/~0", "/a~1b/1", "/0/1", "/0/new"] {
        assert_eq!(a.pointer(pointer).unwrap().to_string(), pointer);
    }
    assert_eq!(a.value(a.pointer("/a~1b/0/~0").unwrap()), Some(1.into()));
    assert_eq!(a.value(a.pointer("/0/1").unwrap()), Some(2.into()));
    assert_eq!(a.pointer("a"), Err(EditError::NotFound));
    assert_eq!(a.pointer("/a~1b/x"), Err(EditError::NotFound));
}

/// CRDT-10
#[test]
fn a_hidden_change_shows_nothing_and_what_builds_on_it_still_applies() {
    let (mut a, mut b) = pair(r#"{"k":1,"gone":1,"l":[1]}"#);
    let start = a.edit(0, |tx| tx.splice("t", 0..0, "good ")).unwrap();
    swap(&mut a, start, &mut b, None);
    let mut reader = Document::load(&b.save(), [3; 32]).unwrap();

    let revoked = a.edit(1, |tx| {
        tx.splice("t", 5..5, "bad")?;
        tx.set("k", 2)?;
        tx.remove("gone")?;
        tx.push("l", json(r#"{"x":1}"#))
    });
    let revoked = revoked.unwrap().unwrap();
    b.apply(&revoked).unwrap();
    let reply = b.edit(2, |tx| {
        tx.splice("t", 8..8, " words")?;
        tx.set(Path::from("l").index(1).key("y"), 2)
    });
    let reply = reply.unwrap().unwrap();

    assert_eq!(reader.apply(&reply).unwrap().waiting, 1);
    assert_eq!(reader.apply_hidden(&revoked).unwrap().changes, 2);
    assert_eq!(reader.apply_hidden(&revoked).unwrap().changes, 0);
    assert_eq!(reader.to_json(), json(r#"{"k":1,"gone":1,"l":[1,{"y":2}],"t":"good  words"}"#));
    assert_eq!(reader.version(), b.version());
    let loaded = Document::load(&reader.save(), [9; 32]).unwrap();
    assert_eq!(loaded.save(), reader.save());

    let mut other = Document::new([4; 32]);
    let before = other.save();
    assert_eq!(other.apply_hidden(&revoked), Err(cs_crdt::ChangeFault::Early));
    assert_eq!(other.save(), before);
}

#[test]
fn merging_json_makes_the_document_equal_to_it() {
    let (mut a, mut b) = pair("{}");
    for text in [
        r#"{"a":[1,2,3,[4]],"b":{"c":null}}"#,
        r#"{"a":[3,2,[4,5]],"b":{"c":{"d":1.5}}}"#,
        r#"{"a":{},"b":[]}"#,
        "[]",
        "7",
        r#"[{"x":1},{"x":2},{"x":3}]"#,
        r#"[{"x":1},{"x":3}]"#,
        "{}",
    ] {
        let x = a.merge_json(1, &json(text)).unwrap();
        swap(&mut a, x, &mut b, None);
        assert_eq!(b.to_json(), json(text));
    }
}
