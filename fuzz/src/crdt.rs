//! Decoders of cs-crdt, and documents that live through whatever they accept.

use cs_crdt::wire::{Change, SNAPSHOT_VERSION};
use cs_crdt::{Document, EditError, Expand, Fold, Id, Path, Schema, Transaction, Value};

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

/// A document saved with its history, loaded.
pub fn history(bytes: &[u8]) -> bool {
    let Ok(document) = Document::load_with_history(bytes, [9; 32]) else { return false };
    let again = Document::load_with_history(&document.save_with_history(), [9; 32]);
    assert!(again.is_ok_and(|again| again == document), "an own history loads to the same document");
    let version = document.version();
    assert!(document.at(&version).is_ok_and(|now| now.to_json() == document.to_json()), "now is a version");
    assert!(document.changes_since(&version).is_ok_and(|changes| changes.is_empty()), "nothing since now");
    survives(&document);
    true
}

/// A schema, and a document under it.
pub fn schema(bytes: &[u8]) -> bool {
    let parsed = str::from_utf8(bytes).ok().and_then(|text| Value::from_json(text).ok());
    let Some(schema) = parsed.and_then(|value| Schema::from_json(&value).ok()) else { return false };
    let again = Schema::from_json(&schema.to_json());
    assert_eq!(again.as_ref(), Ok(&schema), "an own schema is read again");
    let (said, _) = said();
    let mut document = Document::new([6; 32]);
    said.iter().for_each(|change| _ = document.apply(change));
    document.set_schema(Some(schema));
    let shown = document.to_json();
    document.quarantine();
    document.conflicts();
    assert_eq!(document.merge_json(9_000, &shown), Ok(None), "what is shown is there already");
    let mut other = Document::new([7; 32]);
    other.set_schema(document.schema().cloned());
    said.iter().for_each(|change| _ = other.apply(change));
    assert_eq!(other.to_json(), document.to_json(), "what is shown follows from document and schema");
    true
}

/// Edits by two replicas and a third who alters what they say, in orders that the input picks. All must come to one document,
/// as operations, as states and as patches.
pub fn schedule(bytes: &[u8]) -> bool {
    let mut replicas = [1, 2].map(|id| Document::new([id; 32]));
    let mut changes: Vec<Vec<u8>> = Vec::new();
    for step in bytes.chunks_exact(4).take(200) {
        let [what, who, where_to, number] = [step[0], step[1], step[2], step[3]];
        let replica = &mut replicas[usize::from(who & 1)];
        match what % 8 {
            0..6 => {
                let path = Path::from(["a", "b", "c"][usize::from(where_to % 3)]);
                let edited = replica.edit(u64::from(number), |tx| edit(tx, path, who >> 1, number));
                changes.extend(edited.ok().flatten());
            }
            6 => {
                let from = usize::from(where_to) % (changes.len() + 1);
                for change in changes.iter().skip(from).take(usize::from(number % 8)) {
                    let _ = replica.apply(change);
                }
            }
            _ => alter(&mut changes, usize::from(where_to), usize::from(who) << 2, number),
        }
    }
    let mut forwards = Document::new([8; 32]);
    forwards.observe();
    let mut shown = forwards.to_json();
    for change in &changes {
        let _ = forwards.apply(change);
        while let Some(patch) = forwards.poll_patch() {
            assert!(patch.apply(&mut shown), "a patch fits what is shown: {patch:?}");
        }
        assert_eq!(shown, forwards.to_json(), "patches lead to what is shown");
    }
    let mut backwards = Document::new([9; 32]);
    for change in changes.iter().rev() {
        let _ = backwards.apply(change);
    }
    assert!(forwards == backwards, "the order of arrival does not matter");
    let mut joined = Document::new([7; 32]);
    joined.join(&forwards.save()).expect("an own snapshot joins");
    assert!(joined == forwards, "a state does what its operations do");
    survives(&forwards);
    !changes.is_empty()
}

/// One edit of any kind.
fn edit(tx: &mut Transaction<'_>, path: Path, kind: u8, n: u8) -> Result<(), EditError> {
    let index = usize::from(n % 4);
    let nodes: Vec<Id> = match tx.value(&path) {
        Some(Value::Array(entries)) => {
            entries.iter().filter_map(|entry| entry.member("id")?.as_str()?.parse().ok()).collect()
        }
        _ => Vec::new(),
    };
    let node = |by: usize| nodes.get(by % nodes.len().max(1)).copied();
    match kind % 20 {
        0 => tx.set(path, i64::from(n)),
        1 => tx.remove(path),
        2 => tx.set(path.key("x"), i64::from(n)),
        3 | 4 => tx.insert(path, index, i64::from(n)),
        5 | 6 => tx.move_item(path, index, usize::from(n / 4 % 4)),
        7 => tx.remove(path.index(index)),
        8 | 9 => tx.splice(path, index..index + usize::from(n & 1), "ab"),
        10 => tx.mark(path, index..index + 2, "b", n > 99, Expand::After),
        11 => tx.unmark(path, index..index + 1, "b", Expand::Both),
        12 => tx.fold(path, Fold::Max, [i64::from(n)]),
        13 => tx.fold(path, Fold::Union, [i64::from(n), 3]),
        14 | 15 => tx.plant(path, node(index).filter(|_| n > 99), 0).map(drop),
        16 | 17 => tx.graft(path, node(index).ok_or(EditError::NotFound)?, node(usize::from(n / 4)), 0),
        18 => tx.remove(path.node(node(index).ok_or(EditError::NotFound)?)),
        _ => tx.add(path, i64::from(n % 3)),
    }
}

/// Changes one byte of one change, if that is still a change with the same dots. It then replaces the honest one everywhere.
fn alter(changes: &mut [Vec<u8>], which: usize, at: usize, byte: u8) {
    let count = changes.len().max(1);
    let Some(change) = changes.get_mut(which % count) else { return };
    let mut altered = change.clone();
    let at = 34 + at % (altered.len() - 34);
    altered[at] = byte;
    let dots = |bytes: &[u8]| Change::from_bytes(bytes).map(|change| (change.author(), change.counters()));
    if dots(&altered).is_ok_and(|new| dots(change) == Ok(new)) {
        *change = altered;
    }
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
    let later = phone.edit(2_800, |tx| {
        tx.move_item("items", 0, 1)?;
        tx.splice("text", 0..0, "bold")?;
        tx.mark("text", 0..2, "bold", true, Expand::After)?;
        tx.fold("most", Fold::Max, [7])?;
        let node = tx.plant("tree", None, 0)?;
        let child = tx.plant("tree", Some(node), 0)?;
        tx.set(Path::from("tree").node(child).key("name"), "leaf")?;
        tx.graft("tree", child, None, 0)
    });
    let later = later.expect("it fits").expect("something changed");
    let shorter = Value::from_json(r#"{"items": [], "n": 2}"#).expect("JSON");
    let undone =
        Document::load(&phone.save(), [4; 32]).expect("an own snapshot loads").merge_json(2_900, &shorter);
    let undone = undone.expect("it fits").expect("it is new");
    (vec![first, edited, beside, later, undone], phone)
}

/// Each change.
pub fn change_seeds() -> Vec<Vec<u8>> {
    said().0
}

/// The changes in order, in reverse, and with one that never comes.
pub fn changes_seeds() -> Vec<Vec<u8>> {
    let (said, _) = said();
    vec![join(&said), join(said.iter().rev()), join([&said[0], &said[4]])]
}

/// Documents that are empty, whole, and waiting.
pub fn snapshot_seeds() -> Vec<Vec<u8>> {
    let (said, whole) = said();
    let mut waiting = Document::new([3; 32]);
    waiting.apply(&said[4]).expect("it is well formed");
    [Document::new([3; 32]), whole, waiting].map(|document| document.save()).to_vec()
}

/// All kinds of values.
pub fn json_seeds() -> Vec<Vec<u8>> {
    let texts = [r#"{"a": [1, -2.5e3, true, null, "\u00e9\n"], "b": {}}"#, "[]", "0", r#""""#];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}

/// Schedules of edits of every kind, one after the other and mixed.
pub fn schedule_seeds() -> Vec<Vec<u8>> {
    let step = |n: u8| [n.wrapping_mul(5), n.wrapping_mul(3), n, n.wrapping_mul(7)];
    let in_turn: Vec<u8> = (0..40u8).flat_map(|n| [0, n, 0, n]).collect();
    vec![in_turn, (0..200).flat_map(step).collect()]
}

/// A document with a history, and one that forgot it.
pub fn history_seeds() -> Vec<Vec<u8>> {
    let (said, whole) = said();
    let mut keeping = Document::new([3; 32]);
    keeping.keep_history();
    said.iter().for_each(|change| _ = keeping.apply(change).expect("it is well formed"));
    vec![keeping.save_with_history(), whole.save_with_history()]
}

/// Rules of every form.
pub fn schema_seeds() -> Vec<Vec<u8>> {
    let texts = [
        r#"{"rules":[]}"#,
        r#"{"rules":[{"path":"","kind":"map","closed":true},{"path":"/items/*","max_len":1},{"path":"/n","types":["int"]}]}"#,
        r#"{"rules":[{"path":"/tree/*/name","min":"a","max":"k","last_writer":true},{"path":"/~1","kind":"sum"}]}"#,
    ];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}
