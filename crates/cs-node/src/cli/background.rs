//! A node in the background: starting one, and stopping whichever runs.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::process::Stdio;
use std::time::Duration;

use cs_node::api::{API_VERSION, Problem, ProblemCode, Reply, Request};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

use crate::cli::args::Node;
use crate::cli::client::Client;
use crate::cli::{live, start};

/// A log longer than this, in bytes, is put aside before a node starts; one such is kept.
const LOG_LIMIT: u64 = 8 << 20;

/// How often it is looked whether a node has ended.
const POLL: Duration = Duration::from_millis(20);

/// What a node in the background says when it runs, as one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Started {
    /// Its ID.
    pub(crate) node: String,
    /// Its process.
    pub(crate) pid: u32,
}

impl Started {
    pub(crate) fn line(&self) -> String {
        serde_json::json!({ "version": API_VERSION, "reply": "started", "node": self.node, "pid": self.pid })
            .to_string()
    }
}

/// Starts a node in the background and returns when it answers.
pub(crate) async fn start(client: &Client, node: &Node) -> Result<Started, Problem> {
    let unusable = |error: io::Error| start::home_problem(client, &error);
    client.home.create().map_err(unusable)?;
    let log = open_log(client).map_err(unusable)?;
    let failed = |error: io::Error| {
        let what = format!("The node cannot be started in the background: {error}.");
        Problem::new(ProblemCode::Failed, what, "Run it in the foreground: `cosync up`.")
    };
    let mut child = Command::new(std::env::current_exe().map_err(failed)?)
        .args(["--json", "up", "--detached", "--home"])
        .arg(client.home.path())
        .args(node.to_args())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(log)
        // Ctrl-C at the terminal is not meant for it.
        .process_group(0)
        .spawn()
        .map_err(failed)?;
    let mut line = String::new();
    if let Some(out) = child.stdout.take() {
        let mut out = BufReader::new(out);
        let read =
            live::patiently(client.out, "waiting for the node to start", out.read_line(&mut line)).await;
        read.map_err(failed)?;
    }
    if let Ok(started) = serde_json::from_str::<Started>(&line) {
        return Ok(started);
    }
    Err(serde_json::from_str::<Problem>(&line).unwrap_or_else(|_| {
        Problem::new(
            ProblemCode::Failed,
            "The node ended while it started.",
            format!("Its log says why: {}", client.home.log().display()),
        )
    }))
}

fn open_log(client: &Client) -> io::Result<File> {
    let path = client.home.log();
    if fs::metadata(&path).is_ok_and(|m| m.len() > LOG_LIMIT) {
        fs::rename(&path, path.with_extension("log.old"))?;
    }
    OpenOptions::new().append(true).create(true).mode(0o600).open(path)
}

/// `cosync down`.
pub(crate) async fn down(client: &Client) -> Result<(), Problem> {
    if !client.is_running().await {
        // Its refusal is the right one.
        return client.ask(Request::Stop).await.map(|_| ());
    }
    stop(client).await?;
    client.out.reply(&Reply::Done { message: "The node is stopped.".to_owned() })
}

/// Stops the node that runs, and returns when it has ended.
pub(crate) async fn stop(client: &Client) -> Result<(), Problem> {
    match client.ask(Request::Stop).await {
        // Gone before its answer was written: that is what was asked for.
        Err(problem) if problem.code != ProblemCode::NotRunning => return Err(problem),
        _ => {}
    }
    let ended = async {
        while client.is_running().await {
            tokio::time::sleep(POLL).await;
        }
    };
    live::patiently(client.out, "waiting for the node to write what it holds and end", ended).await;
    Ok(())
}
