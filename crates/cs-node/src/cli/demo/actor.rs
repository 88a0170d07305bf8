//! One node of the story: a process of this very binary, asked over its socket.

use std::fs::{self, File};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use cs_node::api::{Problem, ProblemCode, Reply, Request, Space, SpaceState, Status};
use cs_node::{Home, http};
use serde_json::Value;
use tokio::time::{sleep, timeout};

use crate::cli::demo::{Unmet, check};

/// What is waited for is given up after this: a hundred times what it takes on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// How often it is looked whether something has come about.
const POLL: Duration = Duration::from_millis(4);

/// What a look at something found.
pub(crate) enum Look<T> {
    /// It has come about.
    Seen(T),
    /// Not yet; this is what is there instead.
    NotYet(String),
}

/// Looks until something has come about.
pub(crate) async fn wait<T>(
    what: &str,
    mut look: impl AsyncFnMut() -> Result<Look<T>, Unmet>,
) -> Result<T, Unmet> {
    let began = Instant::now();
    loop {
        let seen = match look().await? {
            Look::Seen(value) => return Ok(value),
            Look::NotYet(seen) => seen,
        };
        let limit = PATIENCE.as_secs();
        check(began.elapsed() < PATIENCE, || {
            format!("waited {limit} s for this: {what}; seen instead: {seen}")
        })?;
        sleep(POLL).await;
    }
}

/// A node with a state directory and, for most, a folder. Dropping it kills the process.
#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) name: &'static str,
    /// Its ID, once it has been started.
    pub(crate) id: String,
    pub(crate) folder: PathBuf,
    home: Home,
    log: PathBuf,
    child: Option<Child>,
}

impl Actor {
    pub(crate) fn new(name: &'static str, root: &Path) -> Self {
        Self {
            name,
            id: String::new(),
            folder: root.join(name),
            // Given by its path, so it needs no environment.
            home: Home::find(Some(root.join(format!("{name}.state"))))
                .unwrap_or_else(|_| unreachable!("an absolute path")),
            log: root.join(format!("{name}.log")),
            child: None,
        }
    }

    /// Runs `cosync up` and returns when the node answers.
    pub(crate) async fn start(&mut self, options: &[&str]) -> Result<Status, Unmet> {
        let log = File::options().create(true).append(true).open(&self.log)?;
        let child = Command::new(std::env::current_exe()?)
            .args(["--json", "up", "--listen", "127.0.0.1:0", "--no-lan", "--home"])
            .arg(self.home.path())
            .args(options)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()?;
        self.child = Some(child);
        let name = self.name;
        let status = wait(&format!("{name}'s node answers"), async || {
            check(self.is_alive(), || format!("{name}'s node ended while it started"))?;
            Ok(match http::ask(&self.home.socket(), &Request::Status).await {
                Ok(Reply::Status(status)) => Look::Seen(status),
                Ok(other) => Look::NotYet(format!("{other:?}")),
                Err(problem) if problem.code == ProblemCode::NotRunning => Look::NotYet(problem.message),
                Err(problem) => return Err(problem.into()),
            })
        })
        .await?;
        check(self.id.is_empty() || self.id == status.node, || {
            format!("{name} came back as {}", status.node)
        })?;
        self.id = status.node.clone();
        Ok(status)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    fn is_alive(&mut self) -> bool {
        self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// SIGKILL, as when the power goes: the process gets no chance to put anything in order.
    pub(crate) fn kill(&mut self) -> Result<(), Unmet> {
        let Some(mut child) = self.child.take() else {
            return Err(Unmet(format!("{} does not run", self.name)));
        };
        child.kill()?;
        let status = child.wait()?;
        check(status.signal() == Some(9), || {
            format!("{}'s node was to be killed, and ended by {status}", self.name)
        })
    }

    /// Asks the node to stop, and returns how it ended.
    pub(crate) async fn stop(&mut self) -> Result<ExitStatus, Unmet> {
        // It may be gone before its answer is written.
        let _ = self.ask(Request::Stop).await;
        let name = self.name;
        let child = &mut self.child;
        let status = wait(&format!("{name}'s node ends"), async || {
            let Some(child) = child else { return Err(Unmet(format!("{name} does not run"))) };
            Ok(child.try_wait()?.map_or_else(|| Look::NotYet("it runs on".to_owned()), Look::Seen))
        })
        .await?;
        self.child = None;
        Ok(status)
    }

    /// Puts a request to the node.
    pub(crate) async fn ask(&self, request: Request) -> Result<Reply, Problem> {
        let answer = timeout(PATIENCE, http::ask(&self.home.socket(), &request)).await;
        answer.unwrap_or_else(|_| {
            let what = format!("{}'s node does not answer.", self.name);
            Err(Problem::new(ProblemCode::Failed, what, "Is the machine very busy?"))
        })
    }

    pub(crate) async fn status(&self) -> Result<Status, Unmet> {
        match self.ask(Request::Status).await? {
            Reply::Status(status) => Ok(status),
            other => Err(self.strange(&other)),
        }
    }

    /// The one space there is.
    pub(crate) async fn space(&self) -> Result<Space, Unmet> {
        let mut spaces = self.status().await?.spaces;
        let last = spaces.pop().ok_or_else(|| Unmet(format!("{} has no space", self.name)))?;
        check(spaces.is_empty(), || format!("{} has more than one space", self.name))?;
        Ok(last)
    }

    /// Waits until the space is as it should be.
    pub(crate) async fn until(&self, what: &str, so: impl Fn(&Space) -> bool) -> Result<Space, Unmet> {
        wait(&format!("{}: {what}", self.name), async || {
            let space = self.space().await?;
            Ok(if so(&space) { Look::Seen(space) } else { Look::NotYet(summary(&space)) })
        })
        .await
    }

    /// Waits until the node has everything that a peer's status says there is.
    pub(crate) async fn until_same_as(&self, peer: &Self) -> Result<Space, Unmet> {
        wait(&format!("{} has all that {} has", self.name, peer.name), async || {
            let (theirs, mine) = (peer.space().await?, self.space().await?);
            let settled =
                |s: &Space| s.state == SpaceState::UpToDate && s.files_wanted == 0 && s.in_sync_with > 0;
            let same = mine.operations == theirs.operations
                && mine.files == theirs.files
                && mine.bytes == theirs.bytes;
            Ok(if same && settled(&mine) && settled(&theirs) {
                Look::Seen(mine)
            } else {
                Look::NotYet(format!(
                    "{} has {}; {} has {}",
                    self.name,
                    summary(&mine),
                    peer.name,
                    summary(&theirs)
                ))
            })
        })
        .await
    }

    /// `cosync put`.
    pub(crate) async fn put(&self, path: &str, value: &Value) -> Result<(), Problem> {
        let request = Request::Put { space: None, path: path.to_owned(), value: value.clone() };
        self.ask(request).await.map(|_| ())
    }

    /// `cosync get`, and the places where edits could not be merged; `None` while there is no such document.
    pub(crate) async fn get(&self, path: &str) -> Result<Option<(Value, Vec<String>)>, Unmet> {
        match self.ask(Request::Get { space: None, path: path.to_owned() }).await {
            Ok(Reply::Document { value, conflicts, .. }) => Ok(Some((value, conflicts))),
            Ok(other) => Err(self.strange(&other)),
            Err(problem) if problem.code == ProblemCode::NotFound => Ok(None),
            Err(problem) => Err(problem.into()),
        }
    }

    /// Waits until a document has this value, with nothing left unmerged.
    pub(crate) async fn until_document(&self, path: &str, expected: &Value) -> Result<(), Unmet> {
        wait(&format!("{} has {path} as {expected}", self.name), async || {
            Ok(match self.get(path).await? {
                Some((value, conflicts)) if value == *expected && conflicts.is_empty() => Look::Seen(()),
                Some((value, conflicts)) => Look::NotYet(format!("{value}, unmerged at {conflicts:?}")),
                None => Look::NotYet("no such document".to_owned()),
            })
        })
        .await
    }

    /// Waits until a file of the folder has this content; `None` means that nothing is there.
    pub(crate) async fn until_file(&self, path: &str, expected: Option<&str>) -> Result<(), Unmet> {
        let at = self.folder.join(path);
        wait(&format!("{path} in {}'s folder is {expected:?}", self.name), async || {
            let found = match fs::read(&at) {
                Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
                Err(error) => return Err(error.into()),
            };
            Ok(if found.as_deref() == expected { Look::Seen(()) } else { Look::NotYet(format!("{found:?}")) })
        })
        .await
    }

    pub(crate) fn strange(&self, reply: &Reply) -> Unmet {
        Unmet(format!("{}'s node answers what was not asked: {reply:?}", self.name))
    }

    /// If it has ended by itself: how, and the last it wrote.
    pub(crate) fn obituary(&self) -> Option<String> {
        let gone =
            self.child.is_some() && std::os::unix::net::UnixStream::connect(self.home.socket()).is_err();
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let last = text.lines().last().unwrap_or("nothing");
        gone.then(|| format!(" {}'s node does not answer any more; the last it wrote: {last}", self.name))
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            // One that has ended already is what is wanted.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A space in few words, for what was seen instead of what was waited for.
fn summary(space: &Space) -> String {
    let Space {
        state, files, bytes, operations, files_wanted, bytes_wanted, connected, in_sync_with, ..
    } = space;
    format!(
        "{state:?}, {files} files, {bytes} bytes, {operations} operations, {files_wanted} files and \
         {bytes_wanted} bytes to come, {connected} connected, {in_sync_with} in sync, {} conflicts",
        space.conflicts
    )
}
