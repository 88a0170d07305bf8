//! Two real nodes on real folders, measured from outside, beside Syncthing where it is installed.
//!
//! Prints one JSON object a row on standard output and tells on standard error what it does. Everything runs on
//! loopback, in a directory on a real disk that is gone at the end.

mod cases;
mod cosync;
mod pair;
mod rows;
mod syncthing;

use std::process::ExitCode;

use cases::{Bench, CASES};
use rows::Failure;

/// What was asked for.
#[derive(Debug, Default)]
struct Args {
    is_quick: bool,
    only: Option<String>,
    is_alone: bool,
}

fn parse(mut args: impl Iterator<Item = String>) -> Option<Args> {
    let mut parsed = Args::default();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--quick" => parsed.is_quick = true,
            "--only" => parsed.only = Some(args.next()?),
            "--alone" => parsed.is_alone = true,
            _ => return None,
        }
    }
    Some(parsed)
}

fn main() -> ExitCode {
    let Some(args) = parse(std::env::args().skip(1)) else {
        eprintln!("usage: bench-product [--quick] [--alone] [--only NAME]");
        eprintln!("  --quick   small folders; their rows have no goal");
        eprintln!("  --alone   without Syncthing");
        eprintln!("  --only    one of: {}", CASES.map(|(name, _)| name).join(", "));
        return ExitCode::from(2);
    };
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("bench-product: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<(), Failure> {
    // Built now if it has to be, and in nobody's time.
    eprintln!("{}", cs_tests::real::cosync().display());
    let bench = Bench::new(args.is_quick, args.is_alone)?;
    let chosen = |name: &str| args.only.as_ref().is_none_or(|only| only == name);
    let cases: Vec<_> = CASES.iter().filter(|(name, _)| chosen(name)).collect();
    if cases.is_empty() {
        return Err(Failure::new("no case has this name; --help lists them"));
    }
    for (name, case) in cases {
        eprintln!("{name}");
        case(&bench)?;
    }
    Ok(())
}
