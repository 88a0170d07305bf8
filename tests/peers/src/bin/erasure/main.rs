//! cs-erasure on one thread, beside reed-solomon-simd, reed-solomon-erasure with its C kernels, and ISA-L where Debian's
//! libisal-dev is installed.
//!
//! `erasure [PART]`: only the rows whose name holds PART, as in `64,64` or `4 KiB`. Rates are gigabytes of data a second of the
//! thread's CPU time. Coders take turns in every round, so that whatever else the machine does reaches all alike. Plans for a
//! loss pattern are made once, by all who have such a thing. What is rebuilt is compared with what was lost.

mod coders;
mod goals;
mod isal;

use coders::{Coder, Ours, RsErasure, RsSimd, Stripe, timed};
use cs_peers::{Better, Row};
use isal::{Isal, Program};

/// (k, m).
const GEOMETRIES: [(usize, usize); 7] =
    [(4, 2), (10, 4), (16, 4), (20, 10), (64, 64), (128, 128), (1000, 200)];
const LENGTHS: [(usize, &str); 3] = [(4096, "4 KiB"), (65_536, "64 KiB"), (1 << 20, "1 MiB")];
const ROUNDS: usize = 7;
/// CPU time of one measurement: long against the clock's grain, short against a scheduler's quantum.
const SAMPLE_SECONDS: f64 = 0.004;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Task {
    Encode,
    /// The first data shard.
    One,
    /// As many data shards as there are parities, from the first on.
    Max,
}

fn main() {
    let part = std::env::args().nth(1).unwrap_or_default();
    let isal = Program::compile();
    if isal.is_none() {
        eprintln!("no ISA-L here, or no C compiler (Debian: libisal-dev)");
    }
    for (number, (k, m)) in GEOMETRIES.into_iter().enumerate() {
        for (column, (len, unit)) in LENGTHS.into_iter().enumerate() {
            let row = format!("{k},{m} {unit}");
            if row.contains(&part) {
                let stripe = Stripe::new(k, m, len);
                copy(&row, &stripe);
                for task in [Task::Encode, Task::One, Task::Max] {
                    measure(&row, &stripe, task, goals::goal(task, number, column), isal.as_ref());
                }
            }
        }
    }
}

/// The limit of all: as many bytes read and written, and nothing done to them.
fn copy(row: &str, stripe: &Stripe) {
    let mut out = stripe.data.clone();
    let mut copy = || out.iter_mut().zip(&stripe.data).for_each(|(to, from)| to.copy_from_slice(from));
    let calls = calls(timed(1, &mut copy));
    let seconds: Vec<f64> = (0..ROUNDS).map(|_| timed(calls, &mut copy) / calls as f64).collect();
    Row::new(row, "memcpy of the data", "GB/s", Better::More, stripe.rate(median(seconds))).print();
}

fn measure(row: &str, stripe: &Stripe, task: Task, figure: Option<f64>, isal: Option<&Program>) {
    let mut coders: Vec<Box<dyn Coder + '_>> =
        vec![Box::new(Ours::new(stripe, task)), Box::new(RsSimd::new(stripe, task))];
    if stripe.k + stripe.m <= 256 {
        coders.push(Box::new(RsErasure::new(stripe, task)));
        coders.extend(isal.map(|program| Box::new(Isal::new(program, stripe, task)) as Box<dyn Coder>));
    }
    let rates: Vec<f64> = race(&mut coders).into_iter().map(|seconds| stripe.rate(seconds)).collect();
    let all: Vec<String> =
        coders.iter().zip(&rates).map(|(coder, rate)| format!("{} {rate:.2}", coder.name())).collect();
    eprintln!("{row} {task:?}: {}", all.join(", "));
    let peers = coders.iter().map(|coder| coder.name()).zip(rates.iter().copied()).skip(1);
    let best = peers.max_by(|x, y| x.1.total_cmp(&y.1));
    let goal = figure.into_iter().chain(best.map(|(_, rate)| rate)).max_by(f64::total_cmp);
    let metric = match task {
        Task::Encode => "encode",
        Task::One => "reconstruct one",
        Task::Max => "reconstruct max",
    };
    Row { peer: best, goal, ..Row::new(row, metric, "GB/s", Better::More, rates[0]) }.print();
    for coder in &mut coders {
        assert!(coder.is_right(stripe), "{row}: {} made wrong bytes", coder.name());
    }
}

/// Seconds of one call of each: the median over the rounds, in which all take turns.
fn race(coders: &mut [Box<dyn Coder + '_>]) -> Vec<f64> {
    let calls: Vec<usize> = coders
        .iter_mut()
        .map(|coder| {
            coder.seconds(1);
            calls(coder.seconds(1))
        })
        .collect();
    let mut times = vec![Vec::new(); coders.len()];
    for _ in 0..ROUNDS {
        for ((coder, calls), times) in coders.iter_mut().zip(&calls).zip(&mut times) {
            times.push(coder.seconds(*calls) / *calls as f64);
        }
    }
    times.into_iter().map(median).collect()
}

/// How many calls a measurement takes.
fn calls(seconds: f64) -> usize {
    ((SAMPLE_SECONDS / seconds.max(1e-9)) as usize).clamp(1, 20_000)
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_unstable_by(f64::total_cmp);
    times[times.len() / 2]
}
