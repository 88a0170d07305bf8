//! Plays a random script in a simulated world, and replays it exactly: `sim --seed N --nodes N --steps N [--trace]`.

use cs_tests::sim::{Script, run, shrink, swarm};
use std::process::ExitCode;
use std::time::{Duration, Instant};

struct Args {
    seed: u64,
    nodes: usize,
    steps: usize,
    trace: bool,
    shrink: bool,
}

fn parse(mut args: impl Iterator<Item = String>) -> Option<Args> {
    let mut parsed = Args { seed: 1, nodes: 30, steps: 200, trace: false, shrink: false };
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seed" => parsed.seed = args.next()?.parse().ok()?,
            "--nodes" => parsed.nodes = args.next()?.parse().ok()?,
            "--steps" => parsed.steps = args.next()?.parse().ok()?,
            "--trace" => parsed.trace = true,
            "--shrink" => parsed.shrink = true,
            _ => return None,
        }
    }
    (parsed.nodes > 0).then_some(parsed)
}

/// Convergence must come within this after the last fault.
const LIMIT: Duration = Duration::from_secs(600);

fn main() -> ExitCode {
    let Some(args) = parse(std::env::args().skip(1)) else {
        eprintln!("usage: sim [--seed N] [--nodes N] [--steps N] [--trace] [--shrink]");
        return ExitCode::from(2);
    };
    let script = swarm(args.seed, args.nodes, args.steps);
    println!("seed {} nodes {} steps {}", args.seed, args.nodes, args.steps);
    let begun = Instant::now();
    match run(&script, LIMIT, args.trace) {
        Ok(outcome) => {
            let (virtually, really) = (outcome.summary.virtual_time, begun.elapsed());
            println!(
                "{} of {} actions carried out, {} events",
                outcome.done,
                script.steps.len(),
                outcome.summary.happened
            );
            println!("converged {:.1} s after the last fault", outcome.converged_after.as_secs_f64());
            let ratio = virtually.as_secs_f64() / really.as_secs_f64();
            println!(
                "{:.0} s of virtual time in {:.1} s: {ratio:.0} times real time",
                virtually.as_secs_f64(),
                really.as_secs_f64()
            );
            println!("trace {}", hex(&outcome.summary.trace));
            ExitCode::SUCCESS
        }
        Err(violation) => {
            println!("FAILED: {violation}");
            if args.shrink {
                report(&shrink(&script, 200, |less| run(less, LIMIT, false).is_err()));
            }
            println!(
                "replay: cargo run -p cs-tests --bin sim -- --seed {} --nodes {} --steps {} --trace",
                args.seed, args.nodes, args.steps
            );
            ExitCode::FAILURE
        }
    }
}

fn report(least: &Script) {
    println!("{} steps suffice:", least.steps.len());
    for step in &least.steps {
        println!("  {step}");
    }
    if let Err(violation) = run(least, LIMIT, false) {
        println!("  {violation}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
