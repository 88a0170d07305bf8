//! Bytes that older versions wrote.

use cs_crdt::{Document, Value, wire::Change};

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// The changes, the snapshot and the value of a golden file.
fn golden(text: &str) -> (Vec<Vec<u8>>, Vec<u8>, Value) {
    let all = |name: &str| -> Vec<String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(name));
        lines.map(|rest| rest.trim().to_owned()).collect()
    };
    let changes = all("change ").iter().map(|hex| bytes(hex)).collect();
    let snapshot = bytes(&all("snapshot ")[0]);
    (changes, snapshot, Value::from_json(&all("json ")[0]).unwrap())
}

/// CRDT-2, CRDT-9: documents of format 1 open, go on, and give the same bytes while nothing newer is in them.
#[test]
fn a_document_of_format_1_still_opens() {
    let (changes, snapshot, shown) = golden(include_str!("../data/format-1.txt"));
    let mut by_changes = Document::new([9; 32]);
    for change in &changes {
        let decoded = Change::from_bytes(change).unwrap();
        let mut again = Vec::new();
        decoded.encode(&mut again);
        assert_eq!(&again, change);
        assert_eq!(by_changes.apply(change).unwrap().ineffective, 0);
    }
    let mut loaded = Document::load(&snapshot, [9; 32]).unwrap();
    assert_eq!(loaded.to_json(), shown);
    assert_eq!(by_changes, loaded);
    assert_eq!(loaded.pending(), 1);
    assert_eq!(loaded.conflicts().len(), 1);
    loaded.edit(9_000, |tx| tx.move_item("days", 0, 1)).unwrap();
    loaded.edit(9_000, |tx| tx.mark("notes", 0..4, "bold", true, cs_crdt::Expand::After)).unwrap();
    let again = Document::load(&loaded.save(), [9; 32]).unwrap();
    assert_eq!(again, loaded);
    assert_eq!(again.value(again.pointer("/days/1/to").unwrap()), Some("Bergen".into()));
}
