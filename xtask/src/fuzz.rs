//! Fuzzing: libFuzzer on nightly, and the replay of the corpora on stable.

use std::process::Command;

use crate::workspace::{Workspace, cargo};
use crate::{Failure, process};

/// The package of the targets, which the workspace leaves out.
pub(crate) const MANIFEST: &str = "fuzz/Cargo.toml";

/// Seconds for each target, where nobody says.
const SECONDS: u64 = 60;

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
struct Wish {
    target: Option<String>,
    seconds: u64,
    is_replay: bool,
}

/// `cargo xtask fuzz [TARGET] [--seconds N] [--replay]`.
pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    let wish = Wish::parse(arguments)?;
    if wish.is_replay {
        return process::must(&mut replay_command(workspace));
    }
    if !process::answers(nightly_fuzz(workspace).arg("--version")) {
        return Err(Failure::new(
            "needs a nightly toolchain and cargo-fuzz (`cargo install cargo-fuzz --locked`); --replay runs on stable",
        ));
    }
    for target in
        targets(workspace)?.iter().filter(|name| wish.target.as_ref().is_none_or(|wanted| wanted == *name))
    {
        // What libFuzzer finds interesting goes to the first folder; the corpus itself holds what somebody chose.
        let found = workspace.target.join("fuzz-corpus").join(target);
        let told = |error| Failure::new(format!("{}: {error}", found.display()));
        std::fs::create_dir_all(&found).map_err(told)?;
        let mut command = nightly_fuzz(workspace);
        let seconds = format!("-max_total_time={}", wish.seconds);
        // There is no unsafe code to sanitise in a decoder, and without it inputs run twice as fast.
        command.args(["run", "--sanitizer", "none", target.as_str()]);
        command.arg(&found).arg(workspace.root.join("fuzz/corpus").join(target));
        command.args(["--", seconds.as_str(), "-rss_limit_mb=2048", "-timeout=10"]);
        process::must(&mut command)?;
    }
    Ok(())
}

/// The same bodies over every file of the corpora, as a test on stable. Shares what the workspace has built.
pub(crate) fn replay_command(workspace: &Workspace) -> Command {
    let mut command = cargo();
    command.args(["test", "--no-default-features", "--manifest-path"]).arg(workspace.root.join(MANIFEST));
    command.arg("--target-dir").arg(&workspace.target);
    command
}

fn nightly_fuzz(workspace: &Workspace) -> Command {
    let mut command = Command::new("rustup");
    command.args(["run", "nightly", "cargo", "fuzz"]).current_dir(&workspace.root);
    // Set by the stable cargo that runs this task, for its own children.
    for name in ["CARGO", "RUSTC", "RUSTDOC", "RUSTUP_TOOLCHAIN"] {
        command.env_remove(name);
    }
    command
}

/// The targets by name: every file of `fuzz/targets`.
fn targets(workspace: &Workspace) -> Result<Vec<String>, Failure> {
    let folder = workspace.root.join("fuzz/targets");
    let told = |error| Failure::new(format!("{}: {error}", folder.display()));
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(told)? {
        let path = entry.map_err(told)?.path();
        names.extend(path.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    }
    names.sort();
    Ok(names)
}

impl Wish {
    fn parse(arguments: &[String]) -> Result<Self, Failure> {
        let mut wish = Self { target: None, seconds: SECONDS, is_replay: false };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--replay" => wish.is_replay = true,
                "--seconds" => {
                    let seconds = arguments.next().and_then(|seconds| seconds.parse().ok());
                    wish.seconds = seconds.ok_or_else(|| Failure::new("--seconds takes a number"))?;
                }
                name if !name.starts_with('-') && wish.target.is_none() => {
                    wish.target = Some(name.to_owned())
                }
                other => return Err(Failure::new(format!("`{other}` is not understood"))),
            }
        }
        Ok(wish)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Result<Wish, Failure> {
        Wish::parse(&arguments.iter().map(|&argument| argument.to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn arguments_are_read_in_any_order_and_strange_ones_refused() {
        let wish = Wish { target: Some("ticket".to_owned()), seconds: 5, is_replay: false };
        assert_eq!(parse(&["--seconds", "5", "ticket"]), Ok(wish));
        assert_eq!(parse(&["--replay"]), Ok(Wish { target: None, seconds: SECONDS, is_replay: true }));
        for wrong in [&["--seconds"][..], &["--seconds", "x"], &["a", "b"], &["--what"]] {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
