//! Replays a recorded editing session (github.com/josephg/editing-traces), one change a keystroke, and tells what it cost:
//! `cargo run --release -p cs-crdt --example traces -- friendsforever.json.gz`

use std::{
    error::Error,
    io::Read as _,
    time::{Duration, Instant},
};

use cs_crdt::{Document, Value};

/// One transaction of a trace: who made it, after which others, and what it replaced by what.
struct Step {
    agent: usize,
    parents: Vec<usize>,
    patches: Vec<(usize, usize, String)>,
}

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).ok_or("name a trace, such as friendsforever.json.gz")?;
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(file)?).read_to_string(&mut text)?;
    let trace = Value::from_json(&text)?;
    let steps = steps_of(&trace)?;
    let agents = steps.iter().map(|step| step.agent).max().unwrap_or_default() + 1;
    let edits: usize = steps.iter().map(|step| step.patches.len()).sum();

    let mut replicas: Vec<Document> = (0..agents).map(|id| Document::new([id as u8 + 1; 32])).collect();
    let mut changes: Vec<Vec<u8>> = Vec::new();
    let mut heard = vec![vec![false; steps.len()]; agents];
    let path = cs_crdt::Path::from("text");
    let mut local = Duration::ZERO;
    for (number, step) in steps.iter().enumerate() {
        let replica = &mut replicas[step.agent];
        for missing in news(&steps, step, &mut heard[step.agent]) {
            if !changes[missing].is_empty() {
                replica.apply(&changes[missing])?;
            }
        }
        heard[step.agent][number] = true;
        let start = Instant::now();
        let change = match step.patches.as_slice() {
            [(at, removed, text)] => replica.splice(0, &path, *at..at + removed, text)?,
            patches => replica.edit(0, |tx| {
                let mut patches = patches.iter();
                patches.try_for_each(|(at, removed, text)| tx.splice(&path, *at..at + removed, text))
            })?,
        };
        local += start.elapsed();
        changes.push(change.unwrap_or_default());
    }
    changes.retain(|change| !change.is_empty());
    let wire: usize = changes.iter().map(Vec::len).sum();
    println!("{edits} edits by {agents} agents in {} changes", changes.len());
    println!(
        "local: {local:.1?}, {:.2} us an edit; {} bytes of changes an edit",
        per(local, edits),
        wire / edits
    );

    let mut remote = Document::new([255; 32]);
    let start = Instant::now();
    for change in &changes {
        remote.apply(change)?;
    }
    let took = start.elapsed();
    println!("remote: {took:.1?}, {:.2} us an edit", per(took, edits));

    let start = Instant::now();
    let saved = remote.save();
    println!("save: {:.1?}, {} bytes", start.elapsed(), saved.len());
    let start = Instant::now();
    let loaded = Document::load(&saved, [255; 32])?;
    println!("load: {:.1?}", start.elapsed());

    let wanted = trace.member("endContent").and_then(Value::as_str).unwrap_or_default();
    let equal = loaded.text("text").unwrap_or_default() == wanted;
    println!("final text as recorded: {equal}");
    if equal { Ok(()) } else { Err("the text is not what was recorded".into()) }
}

/// What a step builds on that its agent has not heard of, oldest first.
fn news(steps: &[Step], step: &Step, heard: &mut [bool]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut open = step.parents.clone();
    while let Some(next) = open.pop() {
        if !std::mem::replace(&mut heard[next], true) {
            found.push(next);
            open.extend(&steps[next].parents);
        }
    }
    found.sort_unstable();
    found
}

fn per(time: Duration, count: usize) -> f64 {
    time.as_secs_f64() * 1e6 / count as f64
}

fn steps_of(trace: &Value) -> Result<Vec<Step>, Box<dyn Error>> {
    let Some(Value::Array(steps)) = trace.member("txns") else { return Err("no transactions".into()) };
    steps
        .iter()
        .enumerate()
        .map(|(at, step)| step_of(at, step).ok_or_else(|| "not a transaction".into()))
        .collect()
}

/// Without parents, a trace is one author's.
fn step_of(at: usize, step: &Value) -> Option<Step> {
    let numbers = |value: &Value| match value {
        Value::Array(numbers) => numbers.iter().map(|n| usize::try_from(n.as_i64()?).ok()).collect(),
        _ => None,
    };
    let parents = match step.member("parents") {
        Some(parents) => numbers(parents)?,
        None => at.checked_sub(1).into_iter().collect(),
    };
    let agent = step.member("agent").and_then(Value::as_i64).unwrap_or(0);
    let Some(Value::Array(patches)) = step.member("patches") else { return None };
    let patch = |patch: &Value| match patch {
        Value::Array(parts) => match parts.as_slice() {
            [at, removed, text] => Some((
                usize::try_from(at.as_i64()?).ok()?,
                usize::try_from(removed.as_i64()?).ok()?,
                text.as_str()?.to_owned(),
            )),
            _ => None,
        },
        _ => None,
    };
    Some(Step {
        agent: usize::try_from(agent).ok()?,
        parents,
        patches: patches.iter().map(patch).collect::<Option<_>>()?,
    })
}
