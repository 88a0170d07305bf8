//! Histories as values: who edits what, and who hears of it when.

use cs_crdt::{Document, EditError, Expand, Fold, Id, Path, Scalar, Transaction, Value};
use proptest::{collection::vec, prelude::*};

/// One edit, at a place picked by small numbers so that edits often meet.
#[derive(Clone, Debug)]
pub(crate) struct Edit {
    path: Vec<u8>,
    what: u8,
    number: u8,
}

/// One step of a history of a few replicas.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A replica makes a transaction.
    Edit { who: usize, edits: Vec<Edit> },
    /// A replica hears of the changes number `from..` that another knows of, as many as `count`.
    Hear { who: usize, from: usize, count: usize },
}

/// The changes of a history, with the replicas that made them.
pub(crate) struct History {
    pub(crate) replicas: Vec<Document>,
    pub(crate) changes: Vec<Vec<u8>>,
}

pub(crate) fn edit() -> impl Strategy<Value = Edit> {
    (vec(0u8..6, 0..4), 0u8..34, any::<u8>()).prop_map(|(path, what, number)| Edit { path, what, number })
}

pub(crate) fn events(length: usize) -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        3 => (0usize..3, vec(edit(), 1..4)).prop_map(|(who, edits)| Event::Edit { who, edits }),
        2 => (0usize..3, 0usize..40, 1usize..20).prop_map(|(who, from, count)| Event::Hear { who, from, count }),
    ];
    vec(event, 1..length)
}

/// Plays a history. Every transaction that is refused must leave no trace.
pub(crate) fn play(events: &[Event]) -> History {
    let mut replicas: Vec<Document> = (1..4).map(|id| Document::new([id; 32])).collect();
    let mut changes = Vec::new();
    for (now, event) in events.iter().enumerate() {
        match event {
            Event::Edit { who, edits } => changes.extend(transact(&mut replicas[*who], now as u64, edits)),
            Event::Hear { who, from, count } => {
                for change in changes.iter().skip(*from).take(*count) {
                    assert_eq!(replicas[*who].apply(change).unwrap().ineffective, 0);
                }
            }
        }
    }
    History { replicas, changes }
}

/// Each edit alone and then all that were possible together, so that refusals are met too.
fn transact(document: &mut Document, now: u64, edits: &[Edit]) -> Option<Vec<u8>> {
    let before = document.save();
    let all = document.edit(now, |tx| edits.iter().try_for_each(|edit| perform(tx, edit)));
    match all {
        Ok(change) => change,
        Err(_) => {
            assert_eq!(document.save(), before, "a refused transaction leaves no trace");
            let possible =
                edits.iter().find(|edit| document.clone().edit(now, |tx| perform(tx, edit)).is_ok())?;
            document.edit(now, |tx| perform(tx, possible)).unwrap()
        }
    }
}

fn path_of(steps: &[u8]) -> Path {
    steps.iter().fold(Path::root(), |path, step| match step {
        0 | 1 => path.index(usize::from(*step)),
        key => path.key(["a", "b", "c", "d"][usize::from(*key) - 2]),
    })
}

pub(crate) fn perform(tx: &mut Transaction<'_>, edit: &Edit) -> Result<(), EditError> {
    let (path, n) = (path_of(&edit.path), edit.number);
    let length = |tx: &Transaction<'_>, path: &Path| match tx.value(path) {
        Some(Value::Array(values)) => values.len(),
        Some(value) => value.as_str().map_or(0, |text| text.chars().count()),
        None => 0,
    };
    match edit.what {
        0..2 => tx.set(path, i64::from(n % 4)),
        2 => tx.set(path, ["x", "é", ""][usize::from(n % 3)]),
        3 => tx.set(path, sample(n)),
        4..6 => tx.remove(path),
        6 => tx.increment(path.key("n"), i64::from(n) - 100),
        7 => tx.enable(path.key("f")),
        8 => tx.disable(path.key("f")),
        9 => tx.add(path.key("s"), i64::from(n % 3)),
        10 => tx.discard(path.key("s"), i64::from(n % 3)),
        11..13 => {
            let path = path.key("l");
            let index = usize::from(n) % (length(tx, &path) + 1);
            tx.insert(path, index, sample(n))
        }
        13 => tx.push(path.key("l"), i64::from(n)),
        14..17 => {
            let path = path.key("t");
            let length = length(tx, &path);
            let from = usize::from(n) % (length + 1);
            let to = (from + usize::from(n % 5)).min(length);
            tx.splice(path, from..to, ["", "ab", "ü", "wxyz"][usize::from(n % 4)])
        }
        17 => {
            let path = path.key("t");
            let end = length(tx, &path);
            tx.splice(path, end..end, "typed")
        }
        18 | 19 => tx.merge(path, &sample(n)),
        20..22 => {
            let path = path.key("l");
            let length = length(tx, &path).max(1);
            tx.move_item(path, usize::from(n) % length, usize::from(n / 7) % length)
        }
        22..24 => {
            let path = path.key("t");
            let length = length(tx, &path).max(1);
            let from = usize::from(n) % length;
            let to = (from + 1 + usize::from(n % 5)).min(length);
            let expand = [Expand::After, Expand::Before, Expand::Both, Expand::None][usize::from(n % 4)];
            let value = [Scalar::Bool(true), Scalar::Null, Scalar::Int(1)][usize::from(n % 3)].clone();
            tx.mark(path, from..to, ["b", "i"][usize::from(n & 1)], value, expand)
        }
        24 => tx.fold(path.key("min"), Fold::Min, [i64::from(n)]),
        25 => tx.fold(path.key("max"), Fold::Max, [i64::from(n)]),
        26 => tx.fold(path.key("sum"), Fold::Sum, [i64::from(n)]),
        27 => tx.fold(path.key("union"), Fold::Union, [i64::from(n % 5), i64::from(n % 3)]),
        _ => in_tree(tx, path.key("tree"), edit.what, n),
    }
}

/// Edits of a tree with few nodes, so that moves meet.
fn in_tree(tx: &mut Transaction<'_>, path: Path, what: u8, n: u8) -> Result<(), EditError> {
    let nodes: Vec<Id> = match tx.value(&path) {
        Some(Value::Array(entries)) => {
            let ids = entries.iter().filter_map(|entry| entry.member("id")?.as_str()?.parse().ok());
            ids.collect()
        }
        _ => Vec::new(),
    };
    let pick = |by: u8| nodes.get(usize::from(by) % nodes.len().max(1)).copied();
    match (what, pick(n)) {
        (_, Some(node)) if what < 31 => {
            let parent = if n.is_multiple_of(5) { None } else { pick(n / 11) };
            tx.graft(path, node, parent, 0)
        }
        (31, Some(node)) => tx.remove(path.node(node)),
        (32, Some(node)) => tx.set(path.node(node).key("name"), i64::from(n)),
        (_, node) => {
            let parent = if n.is_multiple_of(3) { None } else { node };
            tx.plant(path, parent, 0).map(drop)
        }
    }
}

fn sample(number: u8) -> Value {
    let text = [
        "null",
        "[]",
        "{}",
        r#"{"a":1}"#,
        r#"{"a":{"b":2},"c":[1,2]}"#,
        "[1,2,3]",
        r#"[{"a":1},{"b":2}]"#,
        r#"{"t":"abc","l":[1,3],"s":[1],"n":7}"#,
        "[[1],[2,3]]",
        "true",
    ][usize::from(number % 10)];
    Value::from_json(text).unwrap()
}

/// Applies every change, in the order that `order` shuffles them to, some of them twice.
pub(crate) fn hear_all(document: &mut Document, changes: &[Vec<u8>], order: &[u16]) {
    let mut at: Vec<usize> = (0..changes.len()).collect();
    at.sort_by_key(|index| order[*index % order.len()].wrapping_mul(*index as u16 | 1));
    for index in &at {
        document.apply(&changes[*index]).unwrap();
        if index % 3 == 0 {
            assert_eq!(document.apply(&changes[*index]).unwrap().changes, 0);
        }
    }
}
