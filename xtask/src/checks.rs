//! The checks, as tasks and as steps of the matrix.

use std::fs;
use std::process::Command;

use crate::report::Findings;
use crate::tree::Tree;
use crate::workspace::{Workspace, cargo};
use crate::{Failure, cites, layers, licences, process, tidy};

pub(crate) fn layers(workspace: &Workspace, _: &[String]) -> Result<(), Failure> {
    find_layers(workspace)?.verdict()
}

pub(crate) fn cites(workspace: &Workspace, _: &[String]) -> Result<(), Failure> {
    find_cites(workspace)?.verdict()
}

/// The house style by words, then pure code by clippy, where that is installed.
pub(crate) fn tidy(workspace: &Workspace, _: &[String]) -> Result<(), Failure> {
    find_tidy(workspace)?.verdict()?;
    if has_clippy() { process::must(&mut purity(workspace)) } else { Ok(()) }
}

/// By cargo-deny where it is installed, else by our own reading of the same lists.
pub(crate) fn licences(workspace: &Workspace, _: &[String]) -> Result<(), Failure> {
    if has_cargo_deny() { process::must(&mut cargo_deny()) } else { find_licences(workspace)?.verdict() }
}

pub(crate) fn docs(_: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    process::must(doc_command().args(arguments))
}

pub(crate) fn find_layers(workspace: &Workspace) -> Result<Findings, Failure> {
    Ok(printed(layers::check(&workspace.packages), "layers: edges"))
}

pub(crate) fn find_cites(workspace: &Workspace) -> Result<Findings, Failure> {
    Ok(printed(cites::check(&Tree::read(&workspace.root)?), "cites: rules"))
}

pub(crate) fn find_tidy(workspace: &Workspace) -> Result<Findings, Failure> {
    Ok(printed(tidy::check(&Tree::read(&workspace.root)?), "tidy: files"))
}

pub(crate) fn find_licences(workspace: &Workspace) -> Result<Findings, Failure> {
    let deny = fs::read_to_string(workspace.root.join("deny.toml"))
        .map_err(|error| Failure::new(format!("deny.toml cannot be read: {error}")))?;
    println!("cargo-deny is not installed: its lists are held to by `cargo metadata`");
    Ok(printed(licences::check(&deny)?, "licences: packages"))
}

fn printed(mut findings: Findings, noun: &str) -> Findings {
    findings.print(noun);
    findings
}

/// Clippy over the shipped code of the pure crates, with what they may not call.
pub(crate) fn purity(workspace: &Workspace) -> Command {
    let mut command = cargo();
    command.args(["clippy", "--lib"]);
    for name in tidy::PURE_CRATES {
        command.args(["-p", name]);
    }
    command.args(["--", "-D", "clippy::disallowed_methods", "-D", "clippy::disallowed_types"]);
    command.args(["-D", "clippy::disallowed_macros"]);
    command.env("CLIPPY_CONF_DIR", workspace.root.join("xtask/clippy"));
    command
}

pub(crate) fn doc_command() -> Command {
    let mut command = cargo();
    command.args(["doc", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings");
    command
}

pub(crate) fn cargo_deny() -> Command {
    let mut command = cargo();
    command.args(["deny", "check", "bans", "licenses", "sources"]);
    command
}

pub(crate) fn has_clippy() -> bool {
    process::answers(cargo().args(["clippy", "--version"]))
}

pub(crate) fn has_rustfmt() -> bool {
    process::answers(cargo().args(["fmt", "--version"]))
}

pub(crate) fn has_cargo_deny() -> bool {
    process::answers(cargo().args(["deny", "--version"]))
}
