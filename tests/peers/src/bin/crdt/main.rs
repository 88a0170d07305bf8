//! Text, maps, counters and sets beside automerge, yrs, loro and diamond-types: the same history, one transaction a
//! keystroke, into each library.
//!
//! `local`: its authors' own edits, committed. `remote`: a reader that gets every change by itself. `bulk`: a reader that
//! gets all at once. `saved`, `load` (until the text can be read), and the `heap` that the reader holds. Of a library that
//! would take minutes for `remote`, only the last changes are measured, over a history that came at once.

mod heap;
mod ours;
mod peer;
mod peers;
mod traces;

use cs_peers::{Better, Row, cpu_time};
use ours::Ours;
use peer::Peer;
use peers::{Automerge, Diamond, Loro, Yrs};
use traces::{Edit, Trace, news};

/// Rounds of which the medians are shown; a peer that takes long has one.
const ROUNDS: usize = 3;
const SLOW_SECONDS: f64 = 2.0;

/// What is measured, in the order of the columns.
const METRICS: [(&str, &str); 6] = [
    ("local", "us/edit"),
    ("remote", "us/edit"),
    ("bulk", "ms"),
    ("saved", "B"),
    ("load", "ms"),
    ("heap", "kB"),
];

/// `crdt [PART]`: only the traces whose name has this part.
fn main() {
    let part = std::env::args().nth(1).unwrap_or_default();
    for trace in traces::all().into_iter().chain(traces::made()) {
        if !trace.name.contains(&part) {
            continue;
        }
        let ours = measure::<Ours>(&trace).expect("we have everything");
        let peers = [
            (Diamond::NAME, measure::<Diamond>(&trace)),
            (Yrs::NAME, measure::<Yrs>(&trace)),
            (Loro::NAME, measure::<Loro>(&trace)),
            (Automerge::NAME, measure::<Automerge>(&trace)),
        ];
        for (at, (metric, unit)) in METRICS.into_iter().enumerate() {
            for (name, numbers) in &peers {
                let peer = numbers.map(|numbers| (*name, numbers[at]));
                if peer.is_some() || name == &Diamond::NAME {
                    Row { peer, ..Row::new(trace.name, metric, unit, Better::Less, ours[at]) }.print();
                }
            }
        }
    }
}

/// The medians of a library's numbers, if it has what the trace needs.
fn measure<P: Peer>(trace: &Trace) -> Option<[f64; 6]> {
    let has = match trace.steps.first()?.edit {
        Edit::Text(_) => true,
        Edit::Set(..) => P::HAS[0],
        Edit::Increment(_) => P::HAS[1],
        Edit::Member(..) => P::HAS[2],
    };
    if !has {
        return None;
    }
    let (changes, heard) = changes::<P>(trace);
    let mut rounds = Vec::new();
    let began = cpu_time();
    while rounds.len() < ROUNDS && (rounds.is_empty() || (cpu_time() - began).as_secs_f64() < SLOW_SECONDS) {
        rounds.push(round::<P>(trace, &changes, heard));
    }
    Some(std::array::from_fn(|at| {
        let mut numbers: Vec<f64> = rounds.iter().map(|round| round[at]).collect();
        numbers.sort_by(f64::total_cmp);
        numbers[numbers.len() / 2]
    }))
}

/// `heard`: the seconds that local edits took while the authors heard of each other.
fn round<P: Peer>(trace: &Trace, changes: &[Vec<u8>], heard: f64) -> [f64; 6] {
    let edits = trace.edits() as f64;
    let local = apart::<P>(trace).unwrap_or(heard) * 1e6 / edits;
    let first = changes.len().saturating_sub(P::REMOTE_LAST);
    let mut reader = P::new(200);
    reader.apply_all(&changes[..first]);
    let remote = seconds(|| changes[first..].iter().for_each(|change| reader.apply(change))).1;
    let remote = remote * 1e6 / (edits * (changes.len() - first) as f64 / changes.len() as f64);
    drop(reader);
    let (((mut reader, bulk), heap), wanted) = (
        heap::held(|| {
            let mut reader = P::new(201);
            let bulk = seconds(|| reader.apply_all(changes)).1;
            (reader, bulk)
        }),
        &trace.end,
    );
    assert!(reader.text() == *wanted, "{} of {} ends otherwise than recorded", trace.name, P::NAME);
    let saved = reader.save();
    let (loaded, load) = seconds(|| {
        let loaded = P::load(&saved);
        let text = loaded.text();
        (loaded, text)
    });
    assert!(loaded.1 == *wanted && loaded.0.told() == reader.told(), "{} loads otherwise", P::NAME);
    [local, remote, bulk * 1e3, saved.len() as f64, load * 1e3, heap as f64 / 1e3]
}

/// Processor time of the edits of authors who do not hear of each other; nothing if they do.
fn apart<P: Peer>(trace: &Trace) -> Option<f64> {
    let hears = |step: &traces::Step| step.parents.iter().any(|at| trace.steps[*at].agent != step.agent);
    if trace.steps.iter().any(hears) {
        return None;
    }
    let mut replicas: Vec<P> = (0..trace.agents).map(P::new).collect();
    let edit = || trace.steps.iter().for_each(|step| replicas[step.agent].edit(&step.edit));
    Some(seconds(edit).1)
}

/// Every author's changes, each made when its author had heard exactly what it had heard when it was recorded; and the
/// seconds that the edits took, by a clock that can be read at every keystroke.
fn changes<P: Peer>(trace: &Trace) -> (Vec<Vec<u8>>, f64) {
    let mut took = std::time::Duration::ZERO;
    let mut replicas: Vec<P> = (0..trace.agents).map(P::new).collect();
    let mut heard = vec![vec![false; trace.steps.len()]; trace.agents];
    let mut changes: Vec<Vec<u8>> = Vec::with_capacity(trace.steps.len());
    for (at, step) in trace.steps.iter().enumerate() {
        let replica = &mut replicas[step.agent];
        let missing: Vec<Vec<u8>> =
            news(trace, at, &mut heard[step.agent]).into_iter().map(|at| changes[at].clone()).collect();
        if !missing.is_empty() {
            replica.apply_all(&missing);
        }
        heard[step.agent][at] = true;
        replica.record(true);
        let began = std::time::Instant::now();
        replica.edit(&step.edit);
        took += began.elapsed();
        changes.push(replica.change());
    }
    (changes, took.as_secs_f64())
}

/// What `work` returns, and the seconds of processor time that it took.
fn seconds<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let began = cpu_time();
    let made = work();
    (made, (cpu_time() - began).as_secs_f64())
}
