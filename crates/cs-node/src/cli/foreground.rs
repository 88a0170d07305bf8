//! A node that this process runs, until a signal or `cosync down` ends it.

use std::io;

use cs_node::api::{Problem, ProblemCode, Reply, Request};
use cs_node::core::Event;
use cs_node::{Driver, Handle, http};
use cs_store::{Recovery, StoreError};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::{JoinError, JoinHandle};
use tokio::time::{Instant, sleep_until};

use crate::cli::args::Node;
use crate::cli::client::{Client, Line};
use crate::cli::live::Live;
use crate::cli::{start, trace, words};

/// How a node runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// At a terminal or under a script, which end it.
    Foreground,
    /// By itself: it outlives the terminal it was started from.
    Background,
}

/// A node at work in this process, with its local API.
pub(crate) struct Running {
    handle: Handle,
    node: JoinHandle<Result<(), StoreError>>,
    api: JoinHandle<()>,
    events: UnboundedReceiver<Event>,
    signals: Signals,
    live: Live,
}

impl Running {
    /// Opens the state directory, starts the node and its API.
    pub(crate) async fn start(client: &Client, node: &Node, way: Way) -> Result<Self, Problem> {
        let live = Live::new(client.out);
        trace::begin(if way == Way::Background { "warn,cosync=info" } else { "warn" }, live.bar())?;
        // From here on a signal ends the node in order instead of killing it.
        let signals = Signals::catch(way)?;
        let options = start::options(client, node).await?;
        let (sender, events) = unbounded_channel();
        let log = move |event: &Event| {
            trace::event(event);
            if trace::notice(event).is_some() {
                // Nobody listens any more when the node is being stopped.
                let _ = sender.send(event.clone());
            }
        };
        let opened = Driver::open(&client.home, options, Box::new(log)).await;
        let (driver, handle, recovery) = opened.map_err(|error| start::problem_of(client, &error))?;
        let listener = http::listen(&client.home.socket()).map_err(|error| socket_problem(client, &error))?;
        tell_recovery(client, &recovery);
        tracing::info!(node = %handle.id(), home = %client.home.path().display(), "started");
        let api = tokio::spawn(http::serve(listener, handle.clone()));
        let node = tokio::spawn(driver.run());
        Ok(Self { handle, node, api, events, signals, live })
    }

    pub(crate) fn id(&self) -> String {
        self.handle.id().to_string()
    }

    pub(crate) fn line(&self) -> Line {
        Line::Own(self.handle.clone())
    }

    /// Does something that a signal cuts short.
    pub(crate) async fn interruptible<F>(&mut self, work: F) -> Result<(), Problem>
    where
        F: AsyncFnOnce(&mut Live) -> Result<(), Problem>,
    {
        tokio::select! {
            done = work(&mut self.live) => done,
            () = self.signals.next() => Err(Problem::new(
                ProblemCode::Failed,
                "Stopped before it was done.",
                "Do it again: a code or invitation that was not used stays good.",
            )),
        }
    }

    /// Shows what goes on until a signal comes or the node ends.
    pub(crate) async fn until_stopped(mut self, client: &Client) -> Result<(), Problem> {
        let quiet = client.out.is_json();
        let mut look_at = Instant::now();
        loop {
            tokio::select! {
                () = self.signals.next() => break,
                ended = &mut self.node => {
                    self.live.clear();
                    self.api.abort();
                    how(client, ended)?;
                    client.out.note("The node was stopped.");
                    return Ok(());
                }
                Some(event) = self.events.recv() => {
                    if let Some(notice) = trace::notice(&event) {
                        self.live.say(&notice);
                    }
                }
                () = sleep_until(look_at), if !quiet => {
                    if let Ok(Reply::Status(status)) = self.handle.ask(Request::Status).await {
                        self.live.status(&status);
                    }
                    look_at = Instant::now() + self.live.interval();
                }
            }
        }
        self.stop(client).await
    }

    /// Ends the node in order. A second signal does not wait for that.
    pub(crate) async fn stop(mut self, client: &Client) -> Result<(), Problem> {
        self.live.clear();
        client.out.note("Stopping.");
        // One that has ended already is what is wanted.
        let _ = self.handle.ask(Request::Stop).await;
        tokio::select! {
            ended = &mut self.node => {
                self.api.abort();
                how(client, ended)
            }
            () = self.signals.next() => {
                client.out.note("Stopped at once; nothing that was acknowledged is lost.");
                std::process::exit(130);
            }
        }
    }
}

/// Signals that end a node.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    way: Way,
}

impl Signals {
    fn catch(way: Way) -> Result<Self, Problem> {
        let catch = |kind| {
            signal(kind).map_err(|error| {
                let what = format!("Signals cannot be caught: {error}.");
                Problem::new(ProblemCode::Failed, what, "Free some memory or file descriptors.")
            })
        };
        Ok(Self {
            interrupt: catch(SignalKind::interrupt())?,
            terminate: catch(SignalKind::terminate())?,
            hangup: catch(SignalKind::hangup())?,
            way,
        })
    }

    /// The next one that means the end. Cancelling loses none.
    async fn next(&mut self) {
        loop {
            tokio::select! {
                _ = self.interrupt.recv() => return,
                _ = self.terminate.recv() => return,
                _ = self.hangup.recv() => {
                    if self.way == Way::Foreground {
                        return;
                    }
                }
            }
        }
    }
}

/// What opening the store found, when it was not all well.
fn tell_recovery(client: &Client, recovery: &Recovery) {
    for damage in &recovery.damage {
        let what = format!(
            "The log was damaged in segment {}, bytes {} to {}; {} there could be saved.",
            damage.segment,
            damage.from,
            damage.until,
            words::count(damage.salvaged.into(), "operation", "operations"),
        );
        warn(client, &what);
    }
    for kept in &recovery.kept_aside {
        warn(client, &format!("The damaged segment is kept as {kept}."));
    }
    if recovery.torn_bytes > 0 {
        tracing::info!(bytes = recovery.torn_bytes, "cut what an interrupted write had left");
    }
}

/// Tells a person, or the log where nobody looks.
pub(crate) fn warn(client: &Client, what: &str) {
    if client.out.is_json() {
        tracing::warn!("{what}");
    } else {
        client.out.note(&format!("note: {what}"));
    }
}

fn socket_problem(client: &Client, error: &io::Error) -> Problem {
    if error.kind() != io::ErrorKind::InvalidInput {
        return start::home_problem(client, error);
    }
    Problem::new(
        ProblemCode::Usage,
        format!(
            "The path of the socket {} is too long: sockets take about 100 bytes.",
            client.home.socket().display()
        ),
        "Choose a state directory with a shorter path by `--home DIR`.",
    )
}

/// How the node ended.
fn how(client: &Client, ended: Result<Result<(), StoreError>, JoinError>) -> Result<(), Problem> {
    ended.map_err(|_| fault())?.map_err(|error| start::broken(client, &error))
}

fn fault() -> Problem {
    Problem::new(
        ProblemCode::Failed,
        "The node ended by a fault of its own.",
        "Start it again: nothing that was acknowledged is lost. Please report what it printed above.",
    )
}
