//! The way to the node: over its socket, or directly when this process is the node.

use std::io::Read;
use std::path::PathBuf;

use cs_node::api::{Problem, ProblemCode, Reply, Request};
use cs_node::{Handle, Home, http};

use crate::cli::live;
use crate::cli::text::Output;

/// Largest JSON text read from standard input, in bytes: what the API takes, with white space to spare.
const MAX_INPUT: u64 = 8 << 20;

/// What every command has: the state directory and a way to write.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) home: Home,
    pub(crate) out: Output,
}

/// A way to put requests to a node.
#[derive(Clone, Debug)]
pub(crate) enum Line {
    /// To the node that this process runs.
    Own(Handle),
    /// To the node behind a socket.
    Socket(PathBuf),
}

impl Line {
    pub(crate) async fn ask(&self, request: Request) -> Result<Reply, Problem> {
        match self {
            Self::Own(handle) => handle.ask(request).await,
            Self::Socket(path) => http::ask(path, &request).await,
        }
    }
}

impl Client {
    pub(crate) fn new(home: Home, out: Output) -> Self {
        Self { home, out }
    }

    /// Whether a node answers for this state directory.
    pub(crate) async fn is_running(&self) -> bool {
        http::is_running(&self.home.socket()).await
    }

    /// The same, where nothing else goes on.
    pub(crate) fn is_running_now(&self) -> bool {
        std::os::unix::net::UnixStream::connect(self.home.socket()).is_ok()
    }

    /// The way to the node that is running.
    pub(crate) fn line(&self) -> Line {
        Line::Socket(self.home.socket())
    }

    /// Puts one request to the node that is running.
    pub(crate) async fn ask(&self, request: Request) -> Result<Reply, Problem> {
        live::patiently(self.out, "waiting for the node to answer", self.line().ask(request)).await
    }
}

/// Reads the JSON value of a `put`: the text itself, or standard input for `-`.
pub(crate) fn read_json(text: &str) -> Result<serde_json::Value, Problem> {
    let unfit = |what: String| {
        let hint = "Put the value in single quotes, as in '{\"milk\": true}', or pipe it in and say `-`.";
        Problem::new(ProblemCode::Usage, what, hint)
    };
    let mut input = String::new();
    let text = if text == "-" {
        let read = std::io::stdin().lock().take(MAX_INPUT).read_to_string(&mut input);
        read.map_err(|error| unfit(format!("Standard input cannot be read: {error}.")))?;
        &input
    } else {
        text
    };
    serde_json::from_str(text).map_err(|error| unfit(format!("The value is not JSON: {error}.")))
}
