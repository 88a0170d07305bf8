//! Every test there is: crate by crate alone, then together, with everything else that can be checked, and one table.

use std::process::Command;

use crate::process::{self, Tally};
use crate::report::Findings;
use crate::workspace::{Package, Workspace, cargo};
use crate::{Failure, bench, checks, fuzz, table};

/// A row of the matrix.
struct Step {
    what: String,
    how: How,
}

enum How {
    /// A check of our own; each thing that it looks at counts as passed unless it is refused.
    Check(fn(&Workspace) -> Result<Findings, Failure>),
    /// A program, judged by its exit code and by the tests that it counts.
    Program(Command),
    /// What this machine cannot do, and why.
    Skipped(&'static str),
}

/// What became of a step.
struct Row {
    what: String,
    tally: Tally,
    seconds: f64,
    note: String,
}

/// `cargo xtask test-matrix`.
pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    let mut steps = quick_checks();
    steps.extend(tests_alone(workspace));
    steps.push(tests_together());
    steps.extend(slow_checks(workspace));
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => {}
        ["--only", word] => steps.retain(|step| step.what.contains(word)),
        ["--list"] => {
            steps.iter().for_each(|step| println!("{}", step.what));
            return Ok(());
        }
        _ => return Err(Failure::new("takes --list, or --only and a word of the rows to run")),
    }
    walk(workspace, steps)
}

/// `cargo xtask ci`: what to run before a push. It leaves out the crates alone.
pub(crate) fn ci(workspace: &Workspace, _: &[String]) -> Result<(), Failure> {
    let mut steps = quick_checks();
    steps.push(tests_together());
    steps.extend(slow_checks(workspace));
    walk(workspace, steps)
}

/// What needs no build.
fn quick_checks() -> Vec<Step> {
    let fmt = |args: &[&str]| {
        if !checks::has_rustfmt() {
            return How::Skipped("rustfmt is not installed");
        }
        program(&[&["fmt", "--check"], args].concat())
    };
    let deny = match checks::has_cargo_deny() {
        true => How::Program(checks::cargo_deny()),
        false => How::Check(checks::find_licences),
    };
    vec![
        step("fmt", fmt(&["--all"])),
        step("fmt fuzz", fmt(&["--manifest-path", fuzz::MANIFEST])),
        step("fmt peers", fmt(&["--manifest-path", bench::PEERS])),
        step("layers", How::Check(checks::find_layers)),
        step("tidy", How::Check(checks::find_tidy)),
        step("cites", How::Check(checks::find_cites)),
        step(if checks::has_cargo_deny() { "cargo deny" } else { "licences, bans, sources" }, deny),
    ]
}

/// Each crate that others may use by itself, with no feature but what it asks for: what it needs from elsewhere shows. Unit
/// tests, the integration binary, examples compiled, doctests.
fn tests_alone(workspace: &Workspace) -> Vec<Step> {
    let mut steps = Vec::new();
    for package in workspace.packages.iter().filter(|package| package.is_published) {
        for variant in variants(package) {
            let args = [&["test", "-p", &package.name], variant].concat();
            steps.push(step([&["alone:", &package.name], variant].concat().join(" "), program(&args)));
        }
    }
    steps
}

/// The sets of features that differ: as it comes, with nothing, with everything.
fn variants(package: &Package) -> Vec<&'static [&'static str]> {
    let has_optional = package.features.iter().any(|feature| feature != "default");
    let mut variants: Vec<&[&str]> = vec![&[]];
    if package.has_defaults {
        variants.push(&["--no-default-features"]);
    }
    if has_optional {
        variants.push(&["--all-features"]);
    }
    variants
}

fn tests_together() -> Step {
    step("together", program(&["test", "--workspace"]))
}

fn slow_checks(workspace: &Workspace) -> Vec<Step> {
    let clippy = |how: fn(&Workspace) -> How| {
        if checks::has_clippy() { how(workspace) } else { How::Skipped("clippy is not installed") }
    };
    vec![
        step("examples", program(&["build", "--workspace", "--examples"])),
        step("fuzz corpora", How::Program(fuzz::replay_command(workspace))),
        step(
            "clippy",
            clippy(|_| program(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])),
        ),
        step("clippy of pure code", clippy(|workspace| How::Program(checks::purity(workspace)))),
        step("docs", How::Program(checks::doc_command())),
    ]
}

fn step(what: impl Into<String>, how: How) -> Step {
    Step { what: what.into(), how }
}

/// A run of cargo.
fn program(args: &[&str]) -> How {
    let mut command = cargo();
    command.args(args);
    How::Program(command)
}

/// Runs every step, whatever became of those before, and prints the table.
fn walk(workspace: &Workspace, steps: Vec<Step>) -> Result<(), Failure> {
    let count = steps.len();
    let mut rows = Vec::new();
    for (number, step) in (1..).zip(steps) {
        println!("\n=== {number}/{count} {}", step.what);
        let row = take(workspace, step);
        println!("=== {}: {} in {:.0} s", row.what, row.outcome(), row.seconds);
        rows.push(row);
    }
    conclude(&rows)
}

fn take(workspace: &Workspace, step: Step) -> Row {
    let began = std::time::Instant::now();
    let (tally, note) = match step.how {
        How::Check(check) => match check(workspace) {
            Ok(findings) => {
                let failed = findings.refused();
                (Tally { passed: findings.checked.saturating_sub(failed), failed, skipped: 0 }, String::new())
            }
            Err(failure) => (Tally { failed: 1, ..Tally::default() }, failure.to_string()),
        },
        How::Program(mut command) => match process::stream(&mut command) {
            Ok(run) => (count(run.is_success, run.tests), String::new()),
            Err(failure) => (Tally { failed: 1, ..Tally::default() }, failure.to_string()),
        },
        How::Skipped(why) => (Tally { skipped: 1, ..Tally::default() }, why.to_owned()),
    };
    Row { what: step.what, tally, seconds: began.elapsed().as_secs_f64(), note }
}

/// A program that runs no tests is one test; one that fails beside its tests, or before them, has failed one more.
fn count(is_success: bool, tests: Option<Tally>) -> Tally {
    let mut tally = tests.unwrap_or_default();
    match (is_success, tests) {
        (true, None) => tally.passed = 1,
        (false, _) if tally.failed == 0 => tally.failed = 1,
        _ => {}
    }
    tally
}

/// Prints the table; fails if a row did.
fn conclude(rows: &[Row]) -> Result<(), Failure> {
    let mut total =
        Row { what: "total".to_owned(), tally: Tally::default(), seconds: 0.0, note: String::new() };
    for row in rows {
        total.tally += row.tally;
        total.seconds += row.seconds;
    }
    let cells: Vec<Vec<String>> = rows.iter().chain([&total]).map(Row::cells).collect();
    println!();
    for line in table::render(&["what", "passed", "failed", "skipped", "seconds", ""], &[1, 2, 3, 4], &cells)
    {
        println!("{line}");
    }
    println!(
        "\ntest-matrix: {}. {} in {:.0} s",
        if total.tally.failed == 0 { "ok" } else { "FAILED" },
        total.outcome(),
        total.seconds
    );
    let failed: Vec<&str> =
        rows.iter().filter(|row| row.tally.failed > 0).map(|row| row.what.as_str()).collect();
    if failed.is_empty() { Ok(()) } else { Err(Failure::new(format!("failed: {}", failed.join(", ")))) }
}

impl Row {
    fn outcome(&self) -> String {
        let Tally { passed, failed, skipped } = self.tally;
        format!("{passed} passed; {failed} failed; {skipped} skipped")
    }

    fn cells(&self) -> Vec<String> {
        let Tally { passed, failed, skipped } = self.tally;
        let count = |count: usize| count.to_string();
        vec![
            self.what.clone(),
            count(passed),
            count(failed),
            count(skipped),
            format!("{:.1}", self.seconds),
            self.note.clone(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Step {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        step(script, How::Program(command))
    }

    fn nowhere() -> Workspace {
        Workspace { root: "nowhere".into(), target: "nowhere".into(), packages: Vec::new() }
    }

    #[test]
    fn a_failed_step_fails_the_matrix_and_stops_nothing() {
        let dir = std::env::temp_dir().join(format!("cs-matrix-{}", std::process::id()));
        let steps = vec![shell("exit 1"), shell(&format!("echo reached > {}", dir.display()))];
        assert_eq!(walk(&nowhere(), steps), Err(Failure::new("failed: exit 1")));
        assert!(std::fs::remove_file(dir).is_ok(), "the second step ran");
    }

    #[test]
    fn a_check_that_refuses_fails_the_matrix() {
        let refuse = |_: &Workspace| {
            let mut findings = Findings { checked: 3, ..Findings::default() };
            findings.all.push(crate::report::Finding::refused("a.rs", 1, "no"));
            Ok(findings)
        };
        assert_eq!(
            walk(&nowhere(), vec![step("check", How::Check(refuse))]),
            Err(Failure::new("failed: check"))
        );
    }

    #[test]
    fn what_cannot_be_done_is_counted_as_skipped_and_fails_nothing() {
        let row = take(&nowhere(), step("fmt", How::Skipped("rustfmt is not installed")));
        assert_eq!(row.tally, Tally { passed: 0, failed: 0, skipped: 1 });
        assert_eq!(conclude(&[row]), Ok(()));
    }

    #[test]
    fn programs_without_tests_count_as_one() {
        let tests = Tally { passed: 5, failed: 0, skipped: 1 };
        assert_eq!(count(true, None), Tally { passed: 1, ..Tally::default() });
        assert_eq!(count(false, None), Tally { failed: 1, ..Tally::default() });
        assert_eq!(count(true, Some(tests)), tests);
        assert_eq!(count(false, Some(tests)), Tally { failed: 1, ..tests });
        assert_eq!(count(false, Some(Tally { failed: 2, ..tests })), Tally { failed: 2, ..tests });
    }

    #[test]
    fn a_crate_is_tested_with_each_set_of_features_that_differs() {
        let package = |features: &[&str], has_defaults| {
            variants(&Package {
                features: features.iter().map(|&feature| feature.to_owned()).collect(),
                has_defaults,
                ..Package::default()
            })
            .len()
        };
        assert_eq!(package(&[], false), 1);
        assert_eq!(package(&["ring"], false), 2);
        assert_eq!(package(&["default", "std"], true), 3);
        assert_eq!(package(&["default"], false), 1);
    }
}
