//! Benchmarks: programs that print one JSON object a row, and the table of them.

use std::process::Command;

use serde_json::Value;

use crate::workspace::{Workspace, cargo};
use crate::{Failure, process, table};

/// One benchmark.
struct Bench {
    name: &'static str,
    home: Home,
    about: &'static str,
}

/// Where cargo finds what it runs, in the release profile.
#[derive(Clone, Copy)]
enum Home {
    /// The binary `bench-NAME` of the package of tests.
    Tests,
    /// The binary and feature of its name in the package of peers, which the workspace leaves out.
    Peers,
}

/// The package of peers.
pub(crate) const PEERS: &str = "tests/peers/Cargo.toml";

const BENCHES: &[Bench] = &[
    Bench {
        name: "product",
        home: Home::Tests,
        about: "two real nodes on real folders, beside Syncthing where it is installed",
    },
    Bench {
        name: "crdt",
        home: Home::Peers,
        about: "text, maps, counters and sets beside automerge, yrs, loro and diamond-types",
    },
    Bench {
        name: "identity",
        home: Home::Peers,
        about: "capabilities beside biscuit and UCAN, and the web of trust against sybils",
    },
    Bench {
        name: "crypto",
        home: Home::Peers,
        about: "cipher and handshakes beside ring, RustCrypto and snow",
    },
    Bench {
        name: "gossip",
        home: Home::Peers,
        about: "membership and broadcast in a virtual network of up to 10,000 nodes beside iroh-gossip",
    },
    Bench {
        name: "reconcile",
        home: Home::Peers,
        about: "set reconciliation beside negentropy, a rateless IBLT, Bloom filters alone and all ids",
    },
    Bench {
        name: "shard",
        home: Home::Peers,
        about: "placement beside rings, rendezvous and jump hashing; hubs, the tree and routing in simulation",
    },
    Bench {
        name: "transport",
        home: Home::Peers,
        about: "sessions and sealed RPC beside quinn with rustls; idle peers, floods",
    },
    Bench {
        name: "erasure",
        home: Home::Peers,
        about: "encoding and repair beside reed-solomon-simd, reed-solomon-erasure and ISA-L",
    },
];

/// The fields of a row, in the order of the table. README.md says what each means.
const FIELDS: [&str; 10] =
    ["bench", "row", "metric", "unit", "ours", "peer", "peer_value", "limit", "goal", "met"];

/// The columns with numbers.
const NUMBERS: [usize; 3] = [4, 6, 7];

/// `cargo xtask bench [NAME] [--json]`; without a name it lists them.
pub(crate) fn run(workspace: &Workspace, arguments: &[String]) -> Result<(), Failure> {
    let is_json = arguments.iter().any(|argument| argument == "--json");
    let names: Vec<&String> = arguments.iter().filter(|argument| *argument != "--json").collect();
    let [name] = names[..] else {
        BENCHES.iter().for_each(|bench| println!("{:<12} {}", bench.name, bench.about));
        return if names.is_empty() { Ok(()) } else { Err(Failure::new("takes one name, and --json")) };
    };
    let bench = BENCHES.iter().find(|bench| bench.name == name.as_str());
    let bench = bench
        .ok_or_else(|| Failure::new(format!("`{name}` is no bench; without a name, they are listed")))?;
    let mut rows = Vec::new();
    let is_success = process::each_line(&mut bench.command(workspace), |line| match row(bench.name, line) {
        Some(row) if is_json => println!("{row}"),
        Some(row) => rows.push(row),
        None => eprint!("{line}"),
    })?;
    if !rows.is_empty() {
        let cells: Vec<Vec<String>> = rows.iter().map(cells).collect();
        table::render(&FIELDS, &NUMBERS, &cells).iter().for_each(|line| println!("{line}"));
    }
    if is_success { Ok(()) } else { Err(Failure::new("the bench failed; what it says is above")) }
}

impl Bench {
    fn command(&self, workspace: &Workspace) -> Command {
        let mut command = cargo();
        command.args(["run", "--release", "--quiet"]);
        match self.home {
            Home::Tests => command.args(["--package", "cs-tests", "--bin", &format!("bench-{}", self.name)]),
            Home::Peers => command.arg("--manifest-path").arg(workspace.root.join(PEERS)).args([
                "--features",
                self.name,
                "--bin",
                self.name,
            ]),
        };
        command
    }
}

/// A printed line as a row, all fields there, in order; nothing if it is no JSON object with a metric.
fn row(bench: &str, line: &str) -> Option<Value> {
    let told: Value = serde_json::from_str(line.trim()).ok()?;
    if !told.get("metric")?.is_string() {
        return None;
    }
    let mut row = serde_json::Map::new();
    for field in FIELDS {
        row.insert(field.to_owned(), told.get(field).cloned().unwrap_or(Value::Null));
    }
    row.insert("bench".to_owned(), bench.into());
    Some(Value::Object(row))
}

fn cells(row: &Value) -> Vec<String> {
    let cell = |field: &&str| match &row[*field] {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Bool(is_met) => if *is_met { "yes" } else { "NO" }.to_owned(),
        other => other.to_string(),
    };
    FIELDS.iter().map(cell).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_every_field_whatever_the_bench_left_out() {
        let row =
            row("product", "{\"metric\": \"first sync\", \"ours\": 2.5, \"met\": true}\n").expect("a row");
        assert_eq!(row.as_object().map(serde_json::Map::len), Some(FIELDS.len()));
        assert_eq!(cells(&row), ["product", "-", "first sync", "-", "2.5", "-", "-", "-", "-", "yes"]);
    }

    #[test]
    fn lines_that_are_no_rows_are_progress() {
        for line in ["syncing 10 of 20", "{\"row\": 1}", "{\"metric\": 3}", "[1]", ""] {
            assert_eq!(row("product", line), None, "{line}");
        }
    }
}
