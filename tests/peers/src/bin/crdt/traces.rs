//! Recorded editing sessions (github.com/josephg/editing-traces).

use std::{fs::File, io::Read as _, path::PathBuf};

use flate2::read::GzDecoder;
use serde_json::Value;

/// Where the repository's neighbour keeps public test data.
const VECTORS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/vectors/crdt");

/// One transaction: who made it, after which others, and what it did.
pub struct Step {
    pub agent: usize,
    pub parents: Vec<usize>,
    pub edit: Edit,
}

pub enum Edit {
    /// Keystrokes and pastes.
    Text(Vec<Patch>),
    /// A key of a map.
    Set(String, i64),
    /// A counter.
    Increment(i64),
    /// Into a set, or out of it.
    Member(i64, bool),
}

/// `removed` characters at `at` were replaced by `text`.
pub struct Patch {
    pub at: usize,
    pub removed: usize,
    pub text: String,
}

pub struct Trace {
    pub name: &'static str,
    pub agents: usize,
    pub steps: Vec<Step>,
    /// The text that all of it makes.
    pub end: String,
}

impl Trace {
    pub fn edits(&self) -> usize {
        let edits = |step: &Step| if let Edit::Text(patches) = &step.edit { patches.len() } else { 1 };
        self.steps.iter().map(edits).sum()
    }
}

/// Maps, counters and sets, by one author or by several who hear nothing of each other.
pub fn made() -> Vec<Trace> {
    let set = |n: usize| Edit::Set(format!("key{n}"), n as i64);
    vec![
        apart("map, 100k keys", 1, 100_000, set),
        apart("map, 10k + 10k keys", 2, 10_000, move |n| set(n * 3 / 2)),
        apart("counter, 2 x 2k", 2, 2_000, |n| Edit::Increment(n as i64 % 7 - 3)),
        apart("set, 2 x 20k", 2, 20_000, |n| Edit::Member((n as i64 * 7919) % 10_007, n % 3 > 0)),
    ]
}

fn apart(name: &'static str, agents: usize, each: usize, edit: impl Fn(usize) -> Edit) -> Trace {
    let step = |n: usize| Step {
        agent: n / each,
        parents: n.checked_sub(1).filter(|_| n % each > 0).into_iter().collect(),
        edit: edit(n % each + n / each * 1_000),
    };
    Trace { name, agents, steps: (0..agents * each).map(step).collect(), end: String::new() }
}

/// The traces that can be had here; the others are named on the standard error.
pub fn all() -> Vec<Trace> {
    let vectors = ["sveltecomponent", "friendsforever", "clownschool"];
    let files = vectors.map(|name| (name, PathBuf::from(format!("{VECTORS}/{name}.json.gz"))));
    let mut traces: Vec<Trace> = files.into_iter().filter_map(|(name, file)| load(name, file)).collect();
    match carried() {
        Some(file) => traces.extend(load("automerge-paper", file)),
        None => eprintln!("automerge-paper: not in the sources of loro-internal"),
    }
    traces
}

/// The package of loro's engine carries the trace of a paper's writing, for its own benchmarks.
fn carried() -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))?;
    let indexes = std::fs::read_dir(home.join("registry/src")).ok()?;
    let packages = indexes.flatten().filter_map(|index| std::fs::read_dir(index.path()).ok());
    packages
        .flat_map(|packages| packages.flatten())
        .filter(|package| package.file_name().to_string_lossy().starts_with("loro-internal-"))
        .map(|package| package.path().join("benches/automerge-paper.json.gz"))
        .find(|file| file.exists())
}

fn load(name: &'static str, file: PathBuf) -> Option<Trace> {
    let Ok(file) = File::open(&file) else {
        eprintln!("{name}: no {}", file.display());
        return None;
    };
    let mut text = String::new();
    GzDecoder::new(file).read_to_string(&mut text).expect("a trace is compressed JSON");
    let trace: Value = serde_json::from_str(&text).expect("a trace is JSON");
    let steps = array(&trace["txns"]);
    let steps = steps.iter().enumerate().map(|(at, step)| Step {
        agent: step["agent"].as_u64().unwrap_or(0) as usize,
        parents: match step["parents"].as_array() {
            Some(parents) => parents.iter().map(number).collect(),
            None => at.checked_sub(1).into_iter().collect(),
        },
        edit: Edit::Text(array(&step["patches"]).iter().map(patch).collect()),
    });
    Some(Trace {
        name,
        agents: trace["numAgents"].as_u64().unwrap_or(1) as usize,
        steps: steps.collect(),
        end: trace["endContent"].as_str().expect("the text at the end").to_owned(),
    })
}

fn patch(patch: &Value) -> Patch {
    let parts = array(patch);
    Patch {
        at: number(&parts[0]),
        removed: number(&parts[1]),
        text: parts[2].as_str().expect("text").to_owned(),
    }
}

fn array(value: &Value) -> &[Value] {
    value.as_array().expect("an array")
}

fn number(value: &Value) -> usize {
    value.as_u64().expect("a number") as usize
}

/// What a step builds on that its agent has not heard of, oldest first.
pub fn news(trace: &Trace, of: usize, heard: &mut [bool]) -> Vec<usize> {
    let mut found = Vec::new();
    let mut open = trace.steps[of].parents.clone();
    while let Some(next) = open.pop() {
        if !std::mem::replace(&mut heard[next], true) {
            found.push(next);
            open.extend(&trace.steps[next].parents);
        }
    }
    found.sort_unstable();
    found
}
