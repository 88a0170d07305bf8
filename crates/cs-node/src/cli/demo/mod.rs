//! `cosync demo`: a story with real nodes on this machine, each step held to a check of its own.

mod actor;
mod apart;
mod failing;
mod stage;
mod together;
mod tree;

use std::io::IsTerminal;
use std::time::Instant;

use cs_node::api::{Problem, ProblemCode};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::args::Demo;
use crate::cli::text::Output;
use stage::Stage;

/// Why a step does not count: what was expected, and what was seen.
#[derive(Debug)]
pub(crate) struct Unmet(String);

impl From<Problem> for Unmet {
    fn from(problem: Problem) -> Self {
        Self(format!("{} ({})", problem.message, problem.hint))
    }
}

impl From<std::io::Error> for Unmet {
    fn from(error: std::io::Error) -> Self {
        Self(format!("the file system refuses: {error}"))
    }
}

/// What a step shows for itself when its check has passed: a few lines.
type Evidence = Result<Vec<String>, Unmet>;

/// Fails a step unless what it claims is so.
fn check(holds: bool, otherwise: impl FnOnce() -> String) -> Result<(), Unmet> {
    if holds { Ok(()) } else { Err(Unmet(otherwise())) }
}

/// `cosync demo`. Whatever happens, the nodes are ended and their folders removed before it returns.
pub(crate) async fn run(out: Output, demo: Demo) -> Result<(), Problem> {
    let caught = |error| {
        let what = format!("Signals cannot be caught: {error}.");
        Problem::new(ProblemCode::Failed, what, "Free some memory or file descriptors.")
    };
    let mut interrupt = signal(SignalKind::interrupt()).map_err(caught)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(caught)?;
    let mut hangup = signal(SignalKind::hangup()).map_err(caught)?;
    let stopped = tokio::select! {
        biased;
        _ = interrupt.recv() => "Ctrl-C",
        _ = terminate.recv() => "a signal",
        _ = hangup.recv() => "the end of the terminal",
        told = tell(out, demo) => return told,
    };
    let what = format!("Stopped by {stopped}; the nodes are ended and their folders removed.");
    Err(Problem::new(ProblemCode::Failed, what, "Run it again: it needs nothing from before."))
}

/// The story. Dropped halfway, it takes its stage down with it.
async fn tell(out: Output, demo: Demo) -> Result<(), Problem> {
    let stage = Stage::set_up(demo.plant, demo.keep)?;
    let mut story = Story { out, stage, said: Vec::new(), began: Instant::now() };
    story.say(&format!(
        "Four nodes on this machine, each a process of its own, with their folders below {}.\n",
        story.stage.root().display()
    ))?;
    story.step("Four nodes start, and find each other", together::start).await?;
    story.step("Alice shares a folder", together::share).await?;
    story.step("Bob joins it by the invitation", together::join).await?;
    story.step("Carol joins it by the short code, to read only", together::join_by_code).await?;
    story.step("Alice and Bob work in their folders at the same time", together::edit).await?;
    story.step("Both change one JSON document while they are apart", apart::merge).await?;
    story.step("Both change one file while they are apart: a conflict", apart::conflict).await?;
    story.step("Bob's node is killed in the middle of a transfer", failing::kill).await?;
    story.step("Alice takes Carol's access away", failing::revoke).await?;
    story.step("At the end everything is equal, and every node stops in order", failing::finish).await?;
    story.end()
}

/// What is told while it happens.
struct Story {
    out: Output,
    stage: Stage,
    said: Vec<serde_json::Value>,
    began: Instant,
}

impl Story {
    /// Does one step and tells what came of it.
    async fn step(
        &mut self,
        title: &str,
        act: impl AsyncFnOnce(&mut Stage) -> Evidence,
    ) -> Result<(), Problem> {
        self.stage.step += 1;
        let number = self.stage.step;
        self.say(&format!("{}\n", bold(&format!("{number:>2}  {title}"))))?;
        let began = Instant::now();
        let evidence = match act(&mut self.stage).await {
            Ok(evidence) => evidence,
            Err(Unmet(why)) => return Err(self.broken(title, &why)),
        };
        let took = began.elapsed();
        for (at, line) in evidence.iter().enumerate() {
            let time = if at + 1 == evidence.len() {
                format!("  [{:.1} s]", took.as_secs_f64())
            } else {
                String::new()
            };
            self.say(&format!("    {line}{}\n", dim(&time)))?;
        }
        self.said.push(json!({
            "step": number, "title": title, "evidence": evidence, "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        }));
        Ok(())
    }

    fn broken(&self, title: &str, why: &str) -> Problem {
        let dead = self.stage.obituaries();
        Problem::new(
            ProblemCode::Failed,
            format!("Step {} of the demo ({title}) was not verified: {why}.{dead}", self.stage.step),
            if self.stage.keeps() {
                format!("The folders, states and logs of the nodes are in {}.", self.stage.root().display())
            } else {
                "`cosync demo --keep` leaves the folders, states and logs of the nodes for a look.".to_owned()
            },
        )
    }

    fn say(&self, text: &str) -> Result<(), Problem> {
        if self.out.is_json() { Ok(()) } else { self.out.text(text) }
    }

    fn end(self) -> Result<(), Problem> {
        let took = self.began.elapsed();
        let steps = self.said.len();
        let text = format!(
            "\nAll {steps} steps were verified, in {:.1} s. Nothing of it is left running{}.\n",
            took.as_secs_f64(),
            if self.stage.keeps() { "" } else { " or on disk" }
        );
        // Gone before it is said.
        drop(self.stage);
        let object =
            json!({ "steps": self.said, "took_ms": u64::try_from(took.as_millis()).unwrap_or(u64::MAX) });
        self.out.own("demo", object, &text)
    }
}

fn bold(text: &str) -> String {
    styled("1", text)
}

fn dim(text: &str) -> String {
    styled("2", text)
}

/// Only for people at a terminal who did not ask for none: <https://no-color.org>.
fn styled(code: &str, text: &str) -> String {
    let plain = text.is_empty()
        || !std::io::stdout().is_terminal()
        || std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
    if plain { text.to_owned() } else { format!("\u{1b}[{code}m{text}\u{1b}[0m") }
}
