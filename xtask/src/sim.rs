//! The simulator, which is a binary of `cs-tests`.

use crate::workspace::{Workspace, cargo};
use crate::{Failure, process};

const PACKAGE: &str = "cs-tests";
const BINARY: &str = "sim";

/// Hands its arguments on: `--seed N` replays one run, `--seeds N` runs many.
pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    let is_there =
        workspace.package(PACKAGE).is_some_and(|package| package.binaries.iter().any(|name| name == BINARY));
    if !is_there {
        return Err(Failure::new(format!("{PACKAGE} has no binary `{BINARY}`")));
    }
    let mut command = cargo();
    command.args(["run", "--release", "--package", PACKAGE, "--bin", BINARY, "--"]).args(arguments);
    process::must(&mut command)
}
