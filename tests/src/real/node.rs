//! One node in the foreground as a child process, killed when it is dropped.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use cs_node::api::{Access, Invited, Problem, ProblemCode, Reply, Request, Space, Status};

use crate::real::{Usage, call, cosync, until, usage};

/// An answer that takes longer is none.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

/// How long a node may take to end after it was told to.
const STOP_LIMIT: Duration = Duration::from_secs(20);

/// A state directory, and how its node is started.
#[derive(Clone, Debug)]
pub struct Setup {
    home: PathBuf,
    options: Vec<String>,
    namespace: Option<String>,
}

impl Setup {
    /// A node on any free port of loopback, that looks for nobody on the local network.
    pub fn new(home: impl Into<PathBuf>) -> Self {
        let options = vec!["--no-lan".into(), "--listen".into(), "127.0.0.1:0".into()];
        Self { home: home.into(), options, namespace: None }
    }

    /// A node in a network namespace, as a user starts it: on every address, and looking at the local network.
    pub fn within(namespace: &str, home: impl Into<PathBuf>) -> Self {
        Self { home: home.into(), options: Vec::new(), namespace: Some(namespace.to_owned()) }
    }

    /// The same with further options.
    #[must_use]
    pub fn with(mut self, options: &[&str]) -> Self {
        self.options.extend(options.iter().map(|option| (*option).to_owned()));
        self
    }

    /// The state directory.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// A command on this state directory that may start a node.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = match &self.namespace {
            None => Command::new(cosync()),
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace]).arg(cosync());
                command
            }
        };
        command.env_remove("COSYNC_HOME").arg("--home").arg(&self.home);
        command.args(arguments).args(&self.options).stdin(Stdio::null());
        command
    }

    /// Puts a request to whichever node runs here.
    ///
    /// # Errors
    /// The node's own problem; `NotRunning` when it does not answer.
    pub fn ask(&self, request: &Request) -> Result<Reply, Problem> {
        let gone = |error: io::Error| Problem::new(ProblemCode::NotRunning, error.to_string(), "");
        let strange = |error: serde_json::Error| Problem::new(ProblemCode::Failed, error.to_string(), "");
        let stream = UnixStream::connect(self.home.join("api.sock")).map_err(gone)?;
        stream.set_read_timeout(Some(ANSWER_LIMIT)).map_err(gone)?;
        let body = serde_json::to_vec(request).map_err(strange)?;
        let answer = call(stream, "POST /v1", &body).map_err(gone)?;
        if answer.status == 200 {
            serde_json::from_value(answer.body).map_err(strange)
        } else {
            Err(serde_json::from_value(answer.body).map_err(strange)?)
        }
    }

    /// `cosync up`, ready to answer.
    ///
    /// # Errors
    /// What the node said when it did not start.
    pub fn up(&self) -> io::Result<Node> {
        self.start(&["--json", "up"]).map(|(node, _)| node)
    }

    /// A command that goes on as a node in the foreground, and the first line it printed.
    ///
    /// # Errors
    /// What it said when it did not start.
    pub fn start(&self, arguments: &[&str]) -> io::Result<(Node, String)> {
        std::fs::create_dir_all(&self.home)?;
        let log = self.home.join("stderr.log");
        let errors = File::options().append(true).create(true).open(&log)?;
        let mut child = self.command(arguments).stdout(Stdio::piped()).stderr(errors).spawn()?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?).read_line(&mut line)?;
        let node = Node { setup: self.clone(), child };
        if line.is_empty() {
            return Err(io::Error::other(std::fs::read_to_string(log).unwrap_or_default()));
        }
        Ok((node, line))
    }
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    setup: Setup,
    child: Child,
}

impl Node {
    /// Puts a request to the node.
    ///
    /// # Errors
    /// As [`Setup::ask`].
    pub fn ask(&self, request: &Request) -> Result<Reply, Problem> {
        self.setup.ask(request)
    }

    /// Shares a folder for an hour.
    ///
    /// # Errors
    /// As [`Node::ask`].
    pub fn share(&self, folder: &Path, access: Access) -> Result<Invited, Problem> {
        let folder = folder.to_string_lossy().into_owned();
        match self.ask(&Request::Share { folder, name: None, access, expires_s: 3600 })? {
            Reply::Invited(invited) => Ok(invited),
            other => Err(unexpected(&other)),
        }
    }

    /// Joins by a code or an invitation; returns when the space is known.
    ///
    /// # Errors
    /// As [`Node::ask`].
    pub fn join(&self, ticket: &str, folder: &Path) -> Result<(), Problem> {
        let folder = Some(folder.to_string_lossy().into_owned());
        self.ask(&Request::Join { ticket: ticket.to_owned(), folder, limit_s: Some(30) }).map(drop)
    }

    /// The node at a glance.
    ///
    /// # Errors
    /// As [`Node::ask`].
    pub fn status(&self) -> Result<Status, Problem> {
        match self.ask(&Request::Status)? {
            Reply::Status(status) => Ok(status),
            other => Err(unexpected(&other)),
        }
    }

    /// Its first space, if it has one and answers.
    pub fn space(&self) -> Option<Space> {
        self.status().ok()?.spaces.into_iter().next()
    }

    /// Processor time and memory so far; nothing when it has ended.
    pub fn usage(&self) -> Option<Usage> {
        usage(self.child.id())
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }

    /// SIGKILL: nothing is written any more.
    ///
    /// # Errors
    /// When there is no such process.
    pub fn kill(mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Ends it in order; how it ended.
    ///
    /// # Errors
    /// `TimedOut` when it does not end.
    pub fn stop(mut self) -> io::Result<ExitStatus> {
        // It may be gone before its answer is written.
        let _ = self.ask(&Request::Stop);
        let ended = until(STOP_LIMIT, || self.child.try_wait().transpose());
        ended.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // One that has ended already is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn unexpected(reply: &Reply) -> Problem {
    Problem::new(ProblemCode::Failed, format!("not the reply asked for: {reply:?}"), "")
}
