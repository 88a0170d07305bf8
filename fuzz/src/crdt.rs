//! Decoders of cs-crdt, and documents that live through whatever they accept.

use cs_crdt::wire::{Change, SNAPSHOT_VERSION};
use cs_crdt::{Document, Path, Value};

use crate::laws::{bytes_of, join, one_encoding, same_value, split};

/// One change, decoded.
pub fn change(bytes: &[u8]) -> bool {
    one_encoding(bytes, Change::from_bytes, |change| bytes_of(|out| change.encode(out)))
}

/// Changes into a document, some of them hidden; the document must then survive being stored.
pub fn changes(bytes: &[u8]) -> bool {
    let mut document = Document::new([9; 32]);
    let mut is_accepted = false;
    for message in split(bytes).into_iter().take(64) {
        let is_hidden = message.first().is_some_and(|first| first & 0x80 != 0);
        let applied = if is_hidden { document.apply_hidden(message) } else { document.apply(message) };
        is_accepted |= applied.is_ok();
    }
    survives(&document);
    is_accepted
}

/// A stored document, loaded.
pub fn snapshot(bytes: &[u8]) -> bool {
    let Ok(document) = Document::load(bytes, [9; 32]) else { return false };
    if bytes.first() >= Some(&SNAPSHOT_VERSION) {
        assert_eq!(document.save(), bytes, "equal documents have equal snapshots");
    }
    survives(&document);
    true
}

/// Stores and loads, joins with itself, shows and edits.
fn survives(document: &Document) {
    let stored = document.save();
    let mut again = Document::load(&stored, [9; 32]).expect("an own snapshot loads");
    assert!(again == *document, "a document loads to itself");
    again.join(&stored).expect("an own snapshot joins");
    assert!(again == *document, "joining with itself changes nothing");
    again.conflicts();
    again.to_json();
    // The document may be full, or its root taken by something else than an object.
    let _ = again.edit(1, |tx| tx.set("fuzz", 1));
}

/// JSON text.
pub fn json(bytes: &[u8]) -> bool {
    let Ok(value) = str::from_utf8(bytes).map_err(drop).and_then(|text| Value::from_json(text).map_err(drop))
    else {
        return false;
    };
    let decode = |bytes: &[u8]| {
        str::from_utf8(bytes).map_err(drop).and_then(|text| Value::from_json(text).map_err(drop))
    };
    same_value(&value, decode, |value| value.to_string().into_bytes());
    true
}

/// What two devices say to each other about one document.
fn said() -> (Vec<Vec<u8>>, Document) {
    let mut phone = Document::new([1; 32]);
    let mut laptop = Document::new([2; 32]);
    let value = Value::from_json(r#"{"items": [{"what": "milk", "done": false}], "n": 1.5, "s": "a"}"#)
        .expect("JSON");
    let first = phone.merge_json(1_000, &value).expect("it fits").expect("it is new");
    laptop.apply(&first).expect("it is well formed");
    let edited = phone.edit(2_000, |tx| {
        tx.set(Path::from("items").index(0).key("done"), true)?;
        tx.set("owner", "Ada")
    });
    let beside = laptop.edit(2_500, |tx| {
        tx.insert("items", 0, Value::Object([("what".to_owned(), "bread".into())].into()))?;
        tx.set("owner", "Bob")
    });
    let [edited, beside] =
        [edited, beside].map(|change| change.expect("it fits").expect("something changed"));
    phone.apply(&beside).expect("it is well formed");
    let shorter = Value::from_json(r#"{"items": [], "n": 2}"#).expect("JSON");
    let last = phone.merge_json(3_000, &shorter).expect("it fits").expect("it is new");
    (vec![first, edited, beside, last], phone)
}

/// Each change.
pub fn change_seeds() -> Vec<Vec<u8>> {
    said().0
}

/// The changes in order, in reverse, and with one that never comes.
pub fn changes_seeds() -> Vec<Vec<u8>> {
    let (said, _) = said();
    vec![join(&said), join(said.iter().rev()), join([&said[0], &said[3]])]
}

/// Documents that are empty, whole, and waiting.
pub fn snapshot_seeds() -> Vec<Vec<u8>> {
    let (said, whole) = said();
    let mut waiting = Document::new([3; 32]);
    waiting.apply(&said[3]).expect("it is well formed");
    [Document::new([3; 32]), whole, waiting].map(|document| document.save()).to_vec()
}

/// All kinds of values.
pub fn json_seeds() -> Vec<Vec<u8>> {
    let texts = [r#"{"a": [1, -2.5e3, true, null, "\u00e9\n"], "b": {}}"#, "[]", "0", r#""""#];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}
