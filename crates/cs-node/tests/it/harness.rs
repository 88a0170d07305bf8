//! Nodes as processes, ended when the test ends, and waiting by looking.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

/// Nothing here takes nearly as long; a test that hangs shall say where.
const DEADLINE: Duration = Duration::from_secs(50);

/// What a node in a test is started with: nothing leaves this machine.
pub(crate) const LOCAL: [&str; 3] = ["--no-lan", "--listen", "127.0.0.1:0"];

/// A directory for one test, with the nodes in it.
pub(crate) struct Lab {
    root: PathBuf,
    _temp: TempDir,
}

impl Lab {
    pub(crate) fn new() -> Self {
        let temp = tempfile::Builder::new().prefix("cosync").tempdir().unwrap();
        Self { root: temp.path().canonicalize().unwrap(), _temp: temp }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// A directory with these files.
    pub(crate) fn folder(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let dir = self.path(name);
        fs::create_dir_all(&dir).unwrap();
        for (file, text) in files {
            fs::write(dir.join(file), text).unwrap();
        }
        dir
    }

    pub(crate) fn node(&self, name: &str) -> Node {
        Node { home: self.path(name) }
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            if entry.path().join("api.sock").exists() {
                let _ = Node { home: entry.path() }.run(&["down"]);
            }
        }
    }
}

/// A state directory, and commands on it.
pub(crate) struct Node {
    pub(crate) home: PathBuf,
}

impl Node {
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = bare(args);
        command.arg("--home").arg(&self.home);
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Done {
        let mut command = self.command(args);
        let child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (pid, (sender, output)) = (child.id(), channel());
        std::thread::spawn(move || sender.send(child.wait_with_output()));
        if let Ok(output) = output.recv_timeout(DEADLINE) {
            return Done::of(output.unwrap());
        }
        let _ = Command::new("kill").args(["-KILL", &pid.to_string()]).status();
        panic!("it does not end: {args:?}");
    }

    /// Runs a command that must succeed, and returns its one object.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let done = self.run(&[args, &["--json"]].concat());
        assert_eq!(done.code, 0, "{args:?}: {}", done.err);
        object(&done.out)
    }

    /// Runs a command that must fail, and returns its problem.
    pub(crate) fn problem(&self, args: &[&str]) -> Value {
        let done = self.run(&[args, &["--json"]].concat());
        assert_eq!(done.out, "", "a failure prints no reply: {args:?}");
        let problem = object(&done.err);
        assert_eq!(problem["exit_code"], done.code, "{args:?}");
        assert!(problem["hint"].as_str().is_some_and(|h| !h.is_empty()), "{args:?}: {problem}");
        problem
    }

    /// Starts a node in the background.
    pub(crate) fn up(&self, args: &[&str]) -> Value {
        self.json(&[&["up", "--detach"], args, &LOCAL].concat())
    }

    /// Shares a folder with the node in the background; returns the invitation.
    pub(crate) fn share(&self, folder: &Path, args: &[&str]) -> Value {
        self.json(&[&["share", folder.to_str().unwrap(), "--no-wait"], args, &LOCAL].concat())
    }

    /// Joins with the node in the background.
    pub(crate) fn join(&self, ticket: &Value, folder: &Path) -> Value {
        let ticket = ticket.as_str().unwrap();
        self.json(&[&["join", ticket, folder.to_str().unwrap(), "--no-wait"], LOCAL.as_slice()].concat())
    }

    /// Starts a node that stays in the foreground and prints one object.
    pub(crate) fn foreground(&self, args: &[&str]) -> (Foreground, Value) {
        let args = [args, &LOCAL, &["--json"]].concat();
        let mut child = self
            .command(&args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let running = Foreground(child);
        (running, object(&line))
    }

    /// The first space of the node.
    pub(crate) fn space(&self) -> Value {
        self.json(&["status"])["spaces"][0].clone()
    }
}

/// The binary with arguments and nothing of the environment that changes what it does.
pub(crate) fn bare(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cosync"));
    command.args(args).env_remove("COSYNC_HOME").env_remove("COSYNC_LOG");
    command
}

/// A process in the foreground; killed when the test ends early.
pub(crate) struct Foreground(Child);

impl Foreground {
    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let sent =
            Command::new("kill").args([&format!("-{name}"), &self.0.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end; returns its exit code and what it wrote on standard error.
    pub(crate) fn end(mut self) -> (Option<i32>, String) {
        let mut err = String::new();
        self.0.stderr.take().unwrap().read_to_string(&mut err).unwrap();
        (self.0.wait().unwrap().code(), err)
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a command did.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    pub(crate) fn of(output: Output) -> Self {
        let done = Self {
            code: output.status.code().expect("not killed"),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        };
        assert!(!done.err.contains("panicked"), "{}", done.err);
        done
    }
}

/// The one object in a text of one line.
pub(crate) fn object(text: &str) -> Value {
    assert_eq!(text.lines().count(), 1, "exactly one object: {text:?}");
    let object: Value = serde_json::from_str(text).unwrap();
    assert_eq!(object["version"], 1, "{object}");
    object
}

/// Looks again and again until there is an answer.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < DEADLINE, "never came: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits until a file has this text.
pub(crate) fn until_file(path: &Path, text: &str) {
    until(&format!("{text:?} in {}", path.display()), || {
        fs::read_to_string(path).is_ok_and(|t| t == text).then_some(())
    });
}
