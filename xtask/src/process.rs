//! Running other programs: what they print is passed on as it comes, and what libtest says at its end is counted.

use std::io::{BufRead, BufReader, Write};
use std::ops::AddAssign;
use std::process::{Command, Stdio};

use crate::Failure;

/// Tests by outcome.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) is_success: bool,
    /// Nothing if no test runner spoke.
    pub(crate) tests: Option<Tally>,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// Runs a program to its end, without input.
pub(crate) fn stream(command: &mut Command) -> Result<Run, Failure> {
    let mut tests: Option<Tally> = None;
    let mut skipped = 0;
    let is_success = each_line(command, |line| {
        print!("{line}");
        if let Some(tally) = closing_line(line) {
            *tests.get_or_insert_default() += tally;
        }
        if line.starts_with("skipped: ") {
            skipped += 1;
        }
    })?;
    // A test that found itself not allowed here counts itself among the passed.
    if let Some(tally) = &mut tests {
        tally.skipped += skipped;
        tally.passed = tally.passed.saturating_sub(skipped);
    }
    Ok(Run { is_success, tests })
}

/// Runs a program that must succeed.
pub(crate) fn must(command: &mut Command) -> Result<(), Failure> {
    if stream(command)?.is_success { Ok(()) } else { Err(Failure::new(format!("{} failed", words(command)))) }
}

/// Runs a program to its end and hands over each line that it prints, with its line end. True if it succeeded.
pub(crate) fn each_line(command: &mut Command, mut sink: impl FnMut(&str)) -> Result<bool, Failure> {
    eprintln!("+ {}", words(command));
    let words = words(command);
    let told = |error| Failure::new(format!("{words}: {error}"));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(told)?;
    if let Some(stdout) = child.stdout.take() {
        let mut lines = BufReader::new(stdout);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).map_err(told)? > 0 {
            sink(&String::from_utf8_lossy(&line));
            std::io::stdout().flush().map_err(told)?;
            line.clear();
        }
    }
    let status = child.wait().map_err(told)?;
    Ok(status.success())
}

/// Whether a program answers to these arguments; what it says is dropped.
pub(crate) fn answers(command: &mut Command) -> bool {
    let silent = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    silent.status().is_ok_and(|status| status.success())
}

/// A command as it would be typed.
fn words(command: &Command) -> String {
    let program = command.get_program().to_string_lossy().into_owned();
    let name = program.rsplit('/').next().unwrap_or_default().to_owned();
    let set = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}={:?}", name.to_string_lossy(), value?)));
    let args = command.get_args().map(|arg| arg.to_string_lossy().into_owned());
    set.chain([name]).chain(args).collect::<Vec<_>>().join(" ")
}

/// Reads `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.01s`.
fn closing_line(line: &str) -> Option<Tally> {
    let (_, counts) = line.trim().strip_prefix("test result: ")?.split_once(". ")?;
    let count =
        |what: &str| counts.split("; ").find_map(|count| count.strip_suffix(what)?.trim().parse().ok());
    Some(Tally { passed: count("passed")?, failed: count("failed")?, skipped: count("ignored")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn closing_lines_of_test_runners_are_read() {
        let line = "test result: FAILED. 3 passed; 2 failed; 1 ignored; 0 measured; 4 filtered out; finished in 0.01s\n";
        assert_eq!(closing_line(line), Some(Tally { passed: 3, failed: 2, skipped: 1 }));
        assert_eq!(closing_line("test result: ok. many passed; 0 failed; 0 ignored"), None);
        assert_eq!(closing_line("test wire::a ... ok"), None);
    }

    #[test]
    fn closing_lines_of_several_runners_add_up() {
        let line = "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        let run = stream(&mut shell(&format!("echo '{line}'; echo '{line}'"))).expect("sh runs");
        assert!(run.is_success);
        assert_eq!(run.tests, Some(Tally { passed: 4, failed: 0, skipped: 0 }));
    }

    #[test]
    fn a_test_that_says_it_was_skipped_is_not_counted_as_passed() {
        let line = "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out";
        let run = stream(&mut shell(&format!("echo 'skipped: no root'; echo '{line}'"))).expect("sh runs");
        assert_eq!(run.tests, Some(Tally { passed: 1, failed: 0, skipped: 1 }));
    }

    #[test]
    fn a_program_that_fails_or_is_not_there_is_told() {
        assert!(!stream(&mut shell("exit 3")).expect("sh runs").is_success);
        assert_eq!(must(&mut shell("exit 3")), Err(Failure::new("sh -c exit 3 failed")));
        assert!(stream(&mut Command::new("no-such-program-at-all")).is_err());
        assert!(!answers(&mut Command::new("no-such-program-at-all")));
    }
}
