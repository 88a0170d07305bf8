//! Recorded sessions of people who type together (github.com/josephg/editing-traces), from a folder beside the
//! repository; without it these tests print one line and pass.

use std::{fs::File, io::Read as _};

use cs_crdt::{Document, Value};
use flate2::read::GzDecoder;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors/crdt");

fn trace(name: &str) -> Option<Value> {
    let Ok(file) = File::open(format!("{FOLDER}/{name}.json.gz")) else {
        println!("no traces in {FOLDER}: not checked");
        return None;
    };
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text).unwrap();
    Some(Value::from_json(&text).unwrap())
}

fn array(value: &Value) -> &[Value] {
    match value {
        Value::Array(values) => values,
        _ => panic!("not an array"),
    }
}

fn index(value: &Value) -> usize {
    value.as_i64().unwrap() as usize
}

/// What `parents` build on that an agent has not heard of, oldest first.
fn news(parents: &[Vec<usize>], of: usize, heard: &mut [bool]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut open = parents[of].clone();
    while let Some(next) = open.pop() {
        if !std::mem::replace(&mut heard[next], true) {
            found.push(next);
            open.extend(&parents[next]);
        }
    }
    found.sort_unstable();
    found
}

/// Every agent types in its own replica, having heard exactly what it had heard when it was recorded.
fn replay(trace: &Value) -> (Vec<Document>, Vec<Vec<u8>>) {
    let steps = array(trace.member("txns").unwrap());
    let parents: Vec<Vec<usize>> = steps
        .iter()
        .enumerate()
        .map(|(at, step)| match step.member("parents") {
            Some(parents) => array(parents).iter().map(index).collect(),
            None => at.checked_sub(1).into_iter().collect(),
        })
        .collect();
    let agents = trace.member("numAgents").map_or(1, index);
    let mut replicas: Vec<Document> = (0..agents).map(|id| Document::new([id as u8 + 1; 32])).collect();
    let mut heard = vec![vec![false; steps.len()]; agents];
    let mut changes: Vec<Vec<u8>> = Vec::new();
    for (number, step) in steps.iter().enumerate() {
        let agent = step.member("agent").map_or(0, index);
        for missing in news(&parents, number, &mut heard[agent]) {
            if !changes[missing].is_empty() {
                assert_eq!(replicas[agent].apply(&changes[missing]).unwrap().ineffective, 0);
            }
        }
        heard[agent][number] = true;
        let typed = replicas[agent].edit(0, |tx| {
            array(step.member("patches").unwrap()).iter().map(array).try_for_each(|patch| {
                let at = index(&patch[0]);
                tx.splice("text", at..at + index(&patch[1]), patch[2].as_str().unwrap())
            })
        });
        changes.push(typed.unwrap().unwrap_or_default());
    }
    changes.retain(|change| !change.is_empty());
    (replicas, changes)
}

fn ends_as_recorded(name: &str) {
    let Some(trace) = trace(name) else { return };
    let (_, changes) = replay(&trace);
    let mut reader = Document::new([99; 32]);
    for change in &changes {
        assert_eq!(reader.apply(change).unwrap().ineffective, 0);
    }
    let wanted = trace.member("endContent").and_then(Value::as_str).unwrap();
    assert!(reader.text("text").unwrap() == wanted, "{name} ends otherwise than recorded");
    let saved = reader.save();
    let loaded = Document::load(&saved, [98; 32]).unwrap();
    assert!(loaded.text("text").unwrap() == wanted && loaded.save() == saved);
}

#[test]
fn one_author_typing_a_component_ends_as_recorded() {
    ends_as_recorded("sveltecomponent");
}

#[test]
fn two_friends_typing_at_once_end_as_recorded() {
    ends_as_recorded("friendsforever");
}

#[test]
fn three_clowns_typing_at_once_end_as_recorded() {
    ends_as_recorded("clownschool");
}
