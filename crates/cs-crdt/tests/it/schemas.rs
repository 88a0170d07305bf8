//! Schemas, conflicts that are explained and resolved.

use cs_crdt::{Document, EditError, Kind, Mismatch, Path, Schema, SchemaError};

use crate::stories::{json, pair, swap};

fn schema() -> Schema {
    let text = r#"{"rules":[
        {"path":"","kind":"map","closed":true},
        {"path":"/items","kind":"list","max_len":3},
        {"path":"/items/*","kind":"map"},
        {"path":"/items/*/done","kind":"register","types":["bool"],"last_writer":true},
        {"path":"/items/*/what","kind":"text","max_len":8},
        {"path":"/stock","kind":"counter","min":0},
        {"path":"/tags","kind":"set","types":["string"]},
        {"path":"/rate","kind":"register","types":["int","float"],"min":0,"max":1}
    ]}"#;
    Schema::from_json(&json(text)).unwrap()
}

#[test]
fn a_schema_reads_from_json_and_writes_the_same() {
    let schema = schema();
    assert_eq!(Schema::from_json(&schema.to_json()).unwrap(), schema);
    let odd = json(r#"{"rules":[{"path":"/a~1b/~0/*/~2"}]}"#);
    assert_eq!(Schema::from_json(&odd).unwrap().to_json(), odd);
    for (text, why) in [
        (r#"{}"#, SchemaError::NotASchema),
        (r#"{"rules":[{}]}"#, SchemaError::NotASchema),
        (r#"{"rules":[{"path":"x"}]}"#, SchemaError::NotASchema),
        (r#"{"rules":[{"path":"","kind":"heap"}]}"#, SchemaError::UnknownName),
        (r#"{"rules":[{"path":"","types":["u8"]}]}"#, SchemaError::UnknownName),
        (r#"{"rules":[{"path":"","size":1}]}"#, SchemaError::UnknownName),
    ] {
        assert_eq!(Schema::from_json(&json(text)), Err(why), "{text}");
    }
}

/// CRDT-15
#[test]
fn own_edits_that_break_the_schema_are_refused_and_leave_no_trace() {
    let mut a = Document::new([1; 32]);
    a.set_schema(Some(schema()));
    a.edit(1, |tx| {
        tx.push("items", json(r#"{"done":false}"#))?;
        tx.splice(Path::from("items").index(0).key("what"), 0..0, "milk")?;
        tx.increment("stock", 2)?;
        tx.add("tags", "red")?;
        tx.set("rate", 1)
    })
    .unwrap();
    let before = a.save();
    type Try = fn(&mut cs_crdt::Transaction<'_>) -> Result<(), EditError>;
    let tries: [Try; 8] = [
        |tx| tx.set("other", 1),
        |tx| tx.set("items", 1),
        |tx| tx.set(Path::from("items").index(0).key("done"), 1),
        |tx| tx.splice(Path::from("items").index(0).key("what"), 0..0, "bread and "),
        |tx| tx.increment("stock", -3),
        |tx| tx.add("tags", 7),
        |tx| tx.set("rate", 2),
        |tx| tx.insert("items", 0, 7),
    ];
    for (at, edit) in tries.into_iter().enumerate() {
        assert_eq!(a.edit(2, edit), Err(EditError::Schema), "{at}");
        assert_eq!(a.save(), before, "{at}");
    }
}

/// CRDT-15: what another replica put in against the schema is kept, listed and not shown.
#[test]
fn what_breaks_the_schema_is_quarantined_and_never_dropped() {
    let (mut a, mut b) = pair(r#"{"items":[{"done":false}],"rate":1}"#);
    a.set_schema(Some(schema()));
    let bad = b
        .edit(5, |tx| {
            tx.set("rate", "fast")?;
            tx.set("other", json(r#"{"x":1}"#))?;
            tx.insert("items", 0, 7)?;
            tx.add("tags", 1)?;
            tx.add("tags", "ok")?;
            tx.increment("stock", -4)
        })
        .unwrap()
        .unwrap();
    assert_eq!(a.apply(&bad).unwrap().quarantined, 6);
    assert_eq!(a.to_json(), json(r#"{"items":[{"done":false}],"tags":["ok"]}"#));
    let told: Vec<_> = a.quarantine().into_iter().map(|q| (q.path.to_string(), q.why, q.authors)).collect();
    let by_b = vec![[2; 32].into()];
    let of = |path: &str, why| (path.to_owned(), why, by_b.clone());
    let wanted = [
        of("/items/0", Mismatch::Kind),
        of("/other", Mismatch::Closed),
        of("/rate", Mismatch::Value),
        of("/stock", Mismatch::Value),
        of("/tags", Mismatch::Value),
    ];
    assert_eq!(told, wanted);
    assert_eq!(a.quarantine()[2].unix_ms, Some(5));

    let shown = a.to_json();
    assert_eq!(a.merge_json(6, &shown).unwrap(), None, "what is hidden is not edited away");
    let x = a.merge_json(6, &json(r#"{"items":[{"done":true},{"done":false}],"tags":["ok"]}"#)).unwrap();
    b.apply(&x.unwrap()).unwrap();
    assert_eq!(b.value("other"), Some(json(r#"{"x":1}"#)));
    assert_eq!(b.value("items"), Some(json(r#"[7,{"done":true},{"done":false}]"#)));
    a.set_schema(None);
    assert_eq!(a.to_json(), b.to_json());
    assert_eq!(a.quarantine(), []);
}

/// CRDT-15
#[test]
fn a_schema_says_which_of_two_kinds_is_shown_and_which_write_is_valid() {
    let (mut a, mut b) = pair(r#"{"rate":1}"#);
    let x = a.edit(1, |tx| tx.set("rate", json(r#"{"x":1}"#))).unwrap();
    let y = b.edit(1, |tx| tx.set("rate", 0)).unwrap();
    swap(&mut a, x, &mut b, y);
    a.set_schema(Some(schema()));
    assert_eq!(a.to_json(), json(r#"{"rate":0}"#));
    assert_eq!(a.quarantine()[0].kind, Kind::Map);
    let (mut a, mut b) = pair(r#"{"rate":1}"#);
    let x = a.edit(1, |tx| tx.set("rate", 0)).unwrap();
    let y = b.edit(9, |tx| tx.set("rate", 70)).unwrap();
    swap(&mut a, x, &mut b, y);
    a.set_schema(Some(schema()));
    assert_eq!(a.to_json(), json(r#"{"rate":0}"#), "the latest that is valid");
}

#[test]
fn a_rule_for_the_last_writer_lists_no_conflict() {
    let (mut a, mut b) = pair(r#"{"items":[{"done":false}]}"#);
    let done = Path::from("items").index(0).key("done");
    let x = a.edit(1, |tx| tx.set(&done, true)).unwrap();
    let y = b.edit(2, |tx| tx.set(&done, 7)).unwrap();
    swap(&mut a, x, &mut b, y);
    assert_eq!(a.conflicts().len(), 1);
    a.set_schema(Some(schema()));
    assert_eq!(a.conflicts(), []);
}

#[test]
fn a_conflict_is_explained_by_who_when_and_after_what() {
    let mut a = Document::new([1; 32]);
    a.keep_history();
    a.edit(10, |tx| tx.set("k", "first")).unwrap();
    let mut b = a.fork([2; 32]);
    let base = a.version();
    let x = a.edit(20, |tx| tx.set("k", "one")).unwrap();
    let y = b.edit(30, |tx| tx.set("k", json(r#"{"m":1}"#))).unwrap();
    swap(&mut a, x, &mut b, y);
    let conflict = a.conflicts().remove(0);
    let told = a.explain(&conflict);
    assert_eq!(told.len(), 2);
    let (map, write) = (&told[0], &told[1]);
    assert_eq!((map.candidate.kind, write.candidate.kind), (Kind::Map, Kind::Register));
    assert_eq!((map.authors.clone(), write.authors.clone()), (vec![[2; 32].into()], vec![[1; 32].into()]));
    assert_eq!((map.unix_ms, write.unix_ms), (Some(30), Some(20)));
    assert_eq!((map.after.clone(), write.after.clone()), (Some(base.clone()), Some(base)));
    assert_eq!((map.replaced.clone(), write.replaced.clone()), (Some("first".into()), Some("first".into())));
}

#[test]
fn a_conflict_is_resolved_for_any_of_its_sides() {
    for side in 0..3 {
        let (mut a, mut b) = pair(r#"{"k":1}"#);
        let mut c = a.fork([3; 32]);
        let x = a.edit(1, |tx| tx.set("k", json(r#"{"x":1}"#))).unwrap();
        let y = b.edit(1, |tx| tx.set("k", 2)).unwrap();
        let z = c.edit(2, |tx| tx.set("k", 3)).unwrap();
        swap(&mut a, x, &mut b, y);
        swap(&mut a, None, &mut b, None);
        a.apply(z.as_ref().unwrap()).unwrap();
        b.apply(z.as_ref().unwrap()).unwrap();
        let conflict = a.conflicts().remove(0);
        assert_eq!(conflict.candidates.len(), 3);
        let winner = conflict.candidates[side].clone();
        let x = a.edit(5, |tx| tx.resolve(&conflict.path, &winner)).unwrap();
        swap(&mut a, x, &mut b, None);
        assert_eq!(b.value("k"), Some(winner.value.clone()));
        assert_eq!(b.conflicts(), []);
        let again = a.edit(6, |tx| tx.resolve("k", &conflict.candidates[(side + 1) % 3]));
        assert_eq!(again, Err(EditError::NotFound));
    }
}
