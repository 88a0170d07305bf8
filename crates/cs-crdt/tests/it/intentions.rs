//! What people mean by moves, marks, trees and folds, when they do it apart.

use cs_crdt::{Document, EditError, Expand, Fold, Id, Kind, Path, Scalar, Value};

use crate::stories::{json, pair, swap};

fn shown(document: &Document) -> String {
    document.to_json().to_string()
}

/// CRDT-12
#[test]
fn an_element_that_two_people_move_is_in_one_place_the_later_one() {
    let (mut a, mut b) = pair(r#"["x","a","b","c"]"#);
    let x = a.edit(1, |tx| tx.move_item(Path::root(), 0, 2)).unwrap();
    let y = b.edit(2, |tx| tx.move_item(Path::root(), 0, 3)).unwrap();
    assert_eq!(shown(&a), r#"["a","b","x","c"]"#);
    swap(&mut a, x, &mut b, y);
    assert_eq!(shown(&a), r#"["a","b","c","x"]"#);
    let x = a.edit(3, |tx| tx.move_item(Path::root(), 3, 0)).unwrap();
    swap(&mut a, x, &mut b, None);
    assert_eq!(shown(&b), r#"["x","a","b","c"]"#);
}

/// CRDT-12
#[test]
fn an_edit_goes_with_the_element_that_is_moved_meanwhile() {
    let (mut a, mut b) = pair(r#"[{"t":"a"},{"t":"b"},{"t":"c"}]"#);
    let x = a.edit(1, |tx| tx.move_item(Path::root(), 0, 2)).unwrap();
    let y = b.edit(1, |tx| tx.set(Path::root().index(0).key("done"), true)).unwrap();
    swap(&mut a, x, &mut b, y);
    assert_eq!(shown(&a), r#"[{"t":"b"},{"t":"c"},{"done":true,"t":"a"}]"#);
    let x = a.edit(2, |tx| tx.remove(Path::root().index(2))).unwrap();
    swap(&mut a, x, &mut b, None);
    assert_eq!(shown(&b), r#"[{"t":"b"},{"t":"c"}]"#);
}

/// CRDT-12: a removal wins over a move, an edit in the element over both, and it is where it was moved to.
#[test]
fn a_removed_element_stays_removed_by_a_move_and_comes_back_by_an_edit() {
    let (mut a, mut b) = pair(r#"["x","y",{"t":"z"}]"#);
    let x = a.edit(1, |tx| tx.remove(Path::root().index(0))).unwrap();
    let y = b.edit(2, |tx| tx.move_item(Path::root(), 0, 1)).unwrap();
    swap(&mut a, x, &mut b, y);
    assert_eq!(shown(&a), r#"["y",{"t":"z"}]"#);
    let x = a.edit(3, |tx| tx.remove(Path::root().index(1))).unwrap();
    let y = b
        .edit(3, |tx| {
            tx.move_item(Path::root(), 1, 0)?;
            tx.set(Path::root().index(0).key("n"), 1)
        })
        .unwrap();
    swap(&mut a, x, &mut b, y);
    assert_eq!(shown(&a), r#"[{"n":1},"y"]"#);
}

#[test]
fn what_is_inserted_beside_an_element_that_moves_away_stays() {
    let (mut a, mut b) = pair(r#"["x","y"]"#);
    let x = a.edit(1, |tx| tx.move_item(Path::root(), 0, 1)).unwrap();
    let y = b.edit(1, |tx| tx.insert(Path::root(), 1, "new")).unwrap();
    swap(&mut a, x, &mut b, y);
    assert!([r#"["new","y","x"]"#].contains(&&*shown(&a)), "{}", shown(&a));
}

fn bold(document: &Document) -> Vec<String> {
    let runs = document.rich_text("t");
    runs.into_iter().filter(|run| run.marks.contains_key("bold")).map(|run| run.text).collect()
}

/// CRDT-13
#[test]
fn text_typed_into_a_mark_and_at_its_end_takes_it_and_a_link_does_not_grow() {
    let (mut a, mut b) = pair("{}");
    let x = a.edit(1, |tx| tx.splice("t", 0..0, "The fox jumped.")).unwrap();
    swap(&mut a, x, &mut b, None);
    let x = a
        .edit(2, |tx| {
            tx.mark("t", 4..7, "bold", true, Expand::After)?;
            tx.mark("t", 8..14, "link", "https://example.org", Expand::None)
        })
        .unwrap();
    let y = b
        .edit(2, |tx| {
            tx.splice("t", 14..14, " over")?;
            tx.splice("t", 7..7, "es")?;
            tx.splice("t", 5..5, "__")
        })
        .unwrap();
    swap(&mut a, x, &mut b, y);
    assert_eq!(a.text("t").unwrap(), "The f__oxes jumped over.");
    assert_eq!(bold(&a), ["f__oxes"]);
    let links: Vec<_> = a.marks("t").into_iter().filter(|span| span.key == "link").collect();
    assert_eq!((links.len(), links[0].range.clone()), (1, 12..18));
    assert_eq!(links[0].value, Scalar::from("https://example.org"));
    assert_eq!(a.marks("t"), b.marks("t"));
}

/// CRDT-13
#[test]
fn two_who_make_overlapping_parts_bold_make_their_union_bold() {
    let (mut a, mut b) = pair("{}");
    let x = a.edit(1, |tx| tx.splice("t", 0..0, "abcdefgh")).unwrap();
    swap(&mut a, x, &mut b, None);
    let x = a.edit(2, |tx| tx.mark("t", 0..5, "bold", true, Expand::After)).unwrap();
    let y = b.edit(2, |tx| tx.mark("t", 3..8, "bold", true, Expand::After)).unwrap();
    swap(&mut a, x, &mut b, y);
    assert_eq!(a.marks("t").len(), 1);
    assert_eq!(bold(&a), ["abcdefgh"]);
    let x = a.edit(3, |tx| tx.unmark("t", 2..4, "bold", Expand::After)).unwrap();
    let y = b.edit(3, |tx| tx.splice("t", 3..3, "++")).unwrap();
    swap(&mut a, x, &mut b, y);
    assert_eq!(bold(&a), ["ab", "efgh"]);
}

/// CRDT-13
#[test]
fn a_later_mark_wins_where_both_are_and_the_one_beneath_shows_beside_it() {
    let (mut a, mut b) = pair("{}");
    let x = a.edit(1, |tx| tx.splice("t", 0..0, "abcdef")).unwrap();
    swap(&mut a, x, &mut b, None);
    let x = a.edit(2, |tx| tx.mark("t", 0..6, "color", "red", Expand::None)).unwrap();
    swap(&mut a, x, &mut b, None);
    // The clock of the second one lies: what it had seen counts.
    let y = b.edit(1, |tx| tx.mark("t", 2..4, "color", "blue", Expand::None)).unwrap();
    swap(&mut a, None, &mut b, y);
    let spans: Vec<_> = a.marks("t").into_iter().map(|span| (span.range, span.value)).collect();
    assert_eq!(spans, [(0..2, "red".into()), (2..4, "blue".into()), (4..6, "red".into())]);
    let x = a.edit(3, |tx| tx.splice("t", 1..5, "")).unwrap();
    swap(&mut a, x, &mut b, None);
    assert_eq!(a.marks("t").len(), 1);
    let refused = a.edit(4, |tx| tx.mark("t", 1..1, "color", true, Expand::None));
    assert_eq!(refused, Err(EditError::OutOfRange));
}

/// A tree `t` with nodes of these names at the top.
fn forest(names: &[&str]) -> (Document, Document, Vec<Id>) {
    let (mut a, mut b) = pair("{}");
    let mut ids = Vec::new();
    let change = a.edit(1, |tx| {
        for (at, name) in names.iter().enumerate() {
            let id = tx.plant("t", None, at)?;
            tx.set(Path::from("t").node(id).key("name"), *name)?;
            ids.push(id);
        }
        Ok(())
    });
    swap(&mut a, change.unwrap(), &mut b, None);
    (a, b, ids)
}

/// The tree as `a(b c(d))`.
fn drawn(document: &Document) -> String {
    fn below(document: &Document, parent: Option<Id>) -> String {
        let draw = |id: Id| {
            let name = document.value(Path::from("t").node(id).key("name"));
            let name = name.map_or("?".to_owned(), |name| name.as_str().unwrap_or("?").to_owned());
            match below(document, Some(id)) {
                inner if inner.is_empty() => name,
                inner => format!("{name}({inner})"),
            }
        };
        document.children("t", parent).into_iter().map(draw).collect::<Vec<_>>().join(" ")
    }
    below(document, None)
}

/// CRDT-14
#[test]
fn two_who_move_folders_into_each_other_make_no_cycle_and_lose_nothing() {
    let (mut a, mut b, ids) = forest(&["a", "b", "c"]);
    let x = a.edit(2, |tx| tx.graft("t", ids[0], Some(ids[1]), 0)).unwrap();
    let y = b.edit(3, |tx| tx.graft("t", ids[1], Some(ids[0]), 0)).unwrap();
    swap(&mut a, x, &mut b, y);
    assert_eq!(drawn(&a), "b(a) c", "the later move closes the cycle and has no effect");
    let x = a.edit(4, |tx| tx.graft("t", ids[1], Some(ids[0]), 0));
    assert_eq!(x, Err(EditError::Cycle));
    let x = a.edit(4, |tx| tx.graft("t", ids[0], None, 0)).unwrap();
    swap(&mut a, x, &mut b, None);
    assert_eq!(drawn(&b), "a(b) c", "without the first one, the second is free");
}

/// CRDT-14
#[test]
fn a_node_that_two_people_move_is_in_one_place_the_later_one() {
    let (mut a, mut b, ids) = forest(&["a", "b", "c"]);
    let x = a.edit(2, |tx| tx.graft("t", ids[2], Some(ids[0]), 0)).unwrap();
    let y = b.edit(3, |tx| tx.graft("t", ids[2], Some(ids[1]), 0)).unwrap();
    swap(&mut a, x, &mut b, y);
    assert_eq!(drawn(&a), "a b(c)");
    assert_eq!(a.parent("t", ids[2]), Some(ids[1]));
}

/// CRDT-14
#[test]
fn what_is_moved_out_of_or_edited_in_a_removed_folder_survives_and_the_rest_goes() {
    let (mut a, mut b, ids) = forest(&["folder", "b"]);
    let mut below = Vec::new();
    let change = a.edit(2, |tx| {
        for (at, name) in ["moved", "edited", "plain"].into_iter().enumerate() {
            let id = tx.plant("t", Some(ids[0]), at)?;
            tx.set(Path::from("t").node(id).key("name"), name)?;
            below.push(id);
        }
        Ok(())
    });
    swap(&mut a, change.unwrap(), &mut b, None);
    let x = a.edit(3, |tx| tx.remove(Path::from("t").node(ids[0]))).unwrap();
    assert_eq!(drawn(&a), "b");
    let y = b
        .edit(3, |tx| {
            tx.graft("t", below[0], None, 0)?;
            tx.set(Path::from("t").node(below[1]).key("size"), 7)
        })
        .unwrap();
    swap(&mut a, x, &mut b, y);
    assert_eq!(drawn(&a), "moved folder(edited) b");
    let edited = a.value(Path::from("t").node(below[1])).unwrap();
    assert_eq!(edited, json(r#"{"name":"edited","size":7}"#));
}

#[test]
fn siblings_are_ordered_as_they_are_put_and_merge_back_from_json() {
    let (mut a, mut b, ids) = forest(&["a", "b", "c"]);
    let x = a.edit(2, |tx| tx.graft("t", ids[2], None, 0)).unwrap();
    let y = b.edit(2, |tx| tx.plant("t", None, 1).map(drop)).unwrap();
    swap(&mut a, x, &mut b, y);
    assert_eq!(drawn(&a), "c a ? b");
    let mut wanted = a.to_json();
    assert_eq!(a.merge_json(3, &wanted).unwrap(), None);
    if let Value::Object(members) = &mut wanted
        && let Some(Value::Array(entries)) = members.get_mut("t")
        && let Value::Object(entry) = &mut entries[0]
    {
        entry.insert("value".into(), json(r#"{"name":"C"}"#));
    }
    let x = a.merge_json(3, &wanted).unwrap();
    swap(&mut a, x, &mut b, None);
    assert_eq!(b.to_json(), wanted);
    assert_eq!(b.kind("t"), Some(Kind::Tree));
}

/// CRDT-11
#[test]
fn folds_make_one_value_of_concurrent_writes_without_a_conflict() {
    let (mut a, mut b) = pair("{}");
    let write = |document: &mut Document, n: i64| {
        document.edit(1, |tx| {
            tx.fold("low", Fold::Min, [n])?;
            tx.fold("high", Fold::Max, [n])?;
            tx.fold("sum", Fold::Sum, [n])?;
            tx.fold("all", Fold::Union, [n, 0])
        })
    };
    let (x, y) = (write(&mut a, 5).unwrap(), write(&mut b, 3).unwrap());
    swap(&mut a, x, &mut b, y);
    assert_eq!(shown(&a), r#"{"all":[0,3,5],"high":5,"low":3,"sum":8}"#);
    assert_eq!(a.conflicts(), []);
    let x = write(&mut a, 4).unwrap();
    swap(&mut a, x, &mut b, None);
    assert_eq!(shown(&a), r#"{"all":[0,3,4],"high":5,"low":3,"sum":7}"#);
    let x = a.edit(2, |tx| tx.remove("high")).unwrap();
    let y = b.edit(2, |tx| tx.fold("high", Fold::Max, [9])).unwrap();
    swap(&mut a, x, &mut b, y);
    assert_eq!(a.value("high"), Some(9.into()), "a reset takes what it saw");
    let half = Scalar::Float(cs_crdt::Float::new(0.5).unwrap());
    let x = a.edit(3, |tx| tx.fold("sum", Fold::Sum, [half])).unwrap();
    swap(&mut a, x, &mut b, None);
    assert_eq!(shown(&a), r#"{"all":[0,3,4],"high":9,"low":3,"sum":3.5}"#);
    assert_eq!(a.edit(4, |tx| tx.fold("sum", Fold::Sum, ["x"])), Err(EditError::WrongKind));
}

/// CRDT-10
#[test]
fn a_hidden_move_or_node_shows_nothing_and_what_builds_on_it_applies() {
    let (mut a, mut b, ids) = forest(&["a", "b"]);
    let list = a.edit(2, |tx| tx.set("l", json("[1,2,3]"))).unwrap();
    swap(&mut a, list, &mut b, None);
    let mut reader = b.fork([3; 32]);
    let mut planted = None;
    let bad = a
        .edit(3, |tx| {
            tx.graft("t", ids[0], Some(ids[1]), 0)?;
            tx.move_item("l", 0, 2)?;
            tx.fold("m", Fold::Max, [1])?;
            planted = Some(tx.plant("t", None, 0)?);
            Ok(())
        })
        .unwrap()
        .unwrap();
    b.apply(&bad).unwrap();
    let reply = b.edit(4, |tx| {
        let child = tx.plant("t", planted, 0)?;
        tx.set(Path::from("t").node(child).key("name"), "child")?;
        tx.push("l", 4)
    });
    let reply = reply.unwrap().unwrap();
    reader.apply_hidden(&bad).unwrap();
    assert_eq!(reader.apply(&reply).unwrap().ineffective, 0);
    assert_eq!(drawn(&reader), "?(child) a b");
    assert_eq!(reader.value("l"), Some(json("[1,2,3,4]")));
    assert_eq!(reader.value("m"), None);
    assert_eq!(Document::load(&reader.save(), [9; 32]).unwrap().to_json(), reader.to_json());
}
