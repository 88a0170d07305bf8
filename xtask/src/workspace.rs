//! What cargo knows about this workspace.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::Failure;

/// The workspace as `cargo metadata` tells it.
#[derive(Debug)]
pub(crate) struct Workspace {
    pub(crate) root: PathBuf,
    pub(crate) target: PathBuf,
    /// The members, by name.
    pub(crate) packages: Vec<Package>,
}

/// One member.
#[derive(Debug, Default)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// Whether others may depend on it.
    pub(crate) is_published: bool,
    /// Names of everything it depends on, and how.
    pub(crate) dependencies: Vec<Dependency>,
    /// Names of its features.
    pub(crate) features: Vec<String>,
    /// Whether the feature `default` turns anything on.
    pub(crate) has_defaults: bool,
    /// Its binaries.
    pub(crate) binaries: Vec<String>,
}

/// One line of a `[dependencies]` table.
#[derive(Debug, Clone)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    pub(crate) kind: DependencyKind,
}

/// Which table it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DependencyKind {
    Normal,
    Dev,
    Build,
}

impl Workspace {
    /// Asks cargo; reads no lock file and no network.
    pub(crate) fn load() -> Result<Self, Failure> {
        let told = metadata(&["--no-deps"])?;
        let text = |name: &str| PathBuf::from(told[name].as_str().unwrap_or_default());
        let mut packages: Vec<Package> = list(&told["packages"]).map(Package::read).collect();
        packages.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Self { root: text("workspace_root"), target: text("target_directory"), packages })
    }

    pub(crate) fn package(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|package| package.name == name)
    }
}

impl Package {
    fn read(told: &Value) -> Self {
        let features = told["features"].as_object();
        Self {
            name: string(&told["name"]),
            is_published: told["publish"].is_null(),
            dependencies: list(&told["dependencies"]).map(Dependency::read).collect(),
            features: features.into_iter().flat_map(|table| table.keys().cloned()).collect(),
            has_defaults: list(&told["features"]["default"]).next().is_some(),
            binaries: list(&told["targets"])
                .filter(|target| list(&target["kind"]).any(|kind| kind == "bin"))
                .map(|target| string(&target["name"]))
                .collect(),
        }
    }
}

impl Dependency {
    fn read(told: &Value) -> Self {
        let kind = match told["kind"].as_str() {
            Some("dev") => DependencyKind::Dev,
            Some("build") => DependencyKind::Build,
            _ => DependencyKind::Normal,
        };
        Self { name: string(&told["name"]), kind }
    }
}

/// Runs `cargo metadata` with more arguments.
pub(crate) fn metadata(args: &[&str]) -> Result<Value, Failure> {
    let output = cargo()
        .args(["metadata", "--format-version", "1"])
        .args(args)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Failure::new(format!("cargo metadata did not start: {error}")))?;
    if !output.status.success() {
        return Err(Failure::new("cargo metadata failed; what it says is above"));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| Failure::new(format!("cargo metadata printed no JSON: {error}")))
}

/// The cargo that runs this task.
pub(crate) fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The elements of a JSON array; none if it is no array.
pub(crate) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// A JSON string; empty if it is none.
pub(crate) fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
