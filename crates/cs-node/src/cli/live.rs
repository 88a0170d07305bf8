//! What is shown while something goes on: one line a space, redrawn on a terminal, repeated only when it changes elsewhere.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{self, Write};
use std::pin::pin;
use std::time::{Duration, Instant};

use cs_node::api::{Problem, Reply, Request, Space, SpaceState, Status};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::client::Line;
use crate::cli::show;
use crate::cli::text::Output;
use crate::cli::words::{count, safe, size, span};

/// Nothing keeps a person waiting longer than this without a word.
const PATIENCE: Duration = Duration::from_secs(1);

/// How often the state is looked at on a terminal, and elsewhere.
const REDRAW: Duration = Duration::from_millis(250);
const REPEAT: Duration = Duration::from_secs(1);

/// How often progress is repeated where nothing can be redrawn.
const PROGRESS: Duration = Duration::from_secs(5);

/// Weight of the newest sample in a rate.
const SMOOTHING: f64 = 0.3;

/// Waits for something, and says so when it takes long.
pub(crate) async fn patiently<T>(out: Output, what: &str, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    tokio::select! {
        done = &mut work => return done,
        () = tokio::time::sleep(PATIENCE) => {}
    }
    let mut live = Live::new(out);
    loop {
        live.show(what);
        tokio::select! {
            done = &mut work => {
                live.clear();
                return done;
            }
            () = tokio::time::sleep(live.interval()) => {}
        }
    }
}

/// Waits for the answer to a `join`, and tells what it waits for.
pub(crate) async fn join(live: &mut Live, line: &Line, request: Request) -> Result<Reply, Problem> {
    let mut answer = pin!(line.ask(request));
    loop {
        tokio::select! {
            answer = &mut answer => {
                live.clear();
                return answer;
            }
            () = tokio::time::sleep(live.interval().min(PATIENCE / 2)) => {}
        }
        if let Ok(Reply::Status(status)) = line.ask(Request::Status).await
            && let Some(waits_for) = status.joining.first()
        {
            live.show(waits_for);
        }
    }
}

/// Shows how a space comes here, until everything that is known of it is here.
pub(crate) async fn first_sync(live: &mut Live, line: &Line, space: &str) -> Result<(), Problem> {
    loop {
        let Reply::Status(mut status) = line.ask(Request::Status).await? else { return Ok(()) };
        status.spaces.retain(|s| s.id == space);
        match status.spaces.first() {
            Some(s) if s.state == SpaceState::UpToDate && s.in_sync_with > 0 => break,
            Some(_) => live.status(&status),
            None => break,
        }
        tokio::time::sleep(live.interval()).await;
    }
    live.clear();
    Ok(())
}

/// The lines at the bottom of the terminal.
#[derive(Debug)]
pub(crate) struct Live {
    out: Output,
    bar: Option<ProgressBar>,
    meters: BTreeMap<String, Meter>,
    /// What was last shown.
    said: String,
    /// Whether something goes on that is worth watching closely.
    busy: bool,
    progress_said_at: Option<Instant>,
}

impl Live {
    pub(crate) fn new(out: Output) -> Self {
        let bar = out.is_live().then(|| {
            let style = ProgressStyle::with_template("{spinner} {msg}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner());
            ProgressBar::new_spinner().with_style(style)
        });
        Self { out, bar, meters: BTreeMap::new(), said: String::new(), busy: true, progress_said_at: None }
    }

    /// How often there is a point in showing something.
    pub(crate) fn interval(&self) -> Duration {
        if self.bar.is_some() && self.busy { REDRAW } else { REPEAT }
    }

    /// Where log lines go, so that they appear above what is redrawn.
    pub(crate) fn bar(&self) -> Option<ProgressBar> {
        self.bar.clone()
    }

    /// A line that stays.
    pub(crate) fn say(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| self.out.note(line)),
            None => self.out.note(line),
        }
    }

    /// A line that the next one replaces: something is being waited for.
    pub(crate) fn show(&mut self, text: &str) {
        self.set(text, true);
    }

    /// Draws nothing when nothing changed and nothing goes on.
    fn set(&mut self, text: &str, busy: bool) {
        let news = self.said != text;
        if news {
            text.clone_into(&mut self.said);
        }
        match &self.bar {
            Some(bar) if news || busy => {
                if bar.is_finished() {
                    bar.reset();
                }
                if news {
                    bar.set_message(text.to_owned());
                } else {
                    bar.tick();
                }
            }
            None if news => self.out.note(text),
            _ => {}
        }
    }

    /// The state of every space.
    pub(crate) fn status(&mut self, status: &Status) {
        let now = Instant::now();
        let meters = &mut self.meters;
        meters.retain(|id, _| status.spaces.iter().any(|s| s.id == *id));
        let mut lines: Vec<String> = Vec::new();
        for space in &status.spaces {
            let meter = meters.entry(space.id.clone()).or_insert_with(|| Meter::new(space, now));
            meter.update(space, now);
            lines.push(if self.bar.is_some() { meter.line(space) } else { quiet_line(space) });
        }
        if lines.is_empty() {
            lines.push(format!("running; {} connected", count(status.peers.len() as u64, "peer", "peers")));
        }
        self.busy =
            status.spaces.iter().any(|s| matches!(s.state, SpaceState::Scanning | SpaceState::Syncing));
        self.set(&lines.join("\n  "), self.busy);
        self.repeat_progress(status, now);
    }

    /// Where nothing is redrawn, a long transfer is heard of now and then.
    fn repeat_progress(&mut self, status: &Status, now: Instant) {
        let receiving = || status.spaces.iter().filter(|s| s.bytes_wanted > 0);
        if self.bar.is_some() || receiving().next().is_none() {
            self.progress_said_at = None;
            return;
        }
        let last = *self.progress_said_at.get_or_insert(now);
        if now.duration_since(last) < PROGRESS {
            return;
        }
        self.progress_said_at = Some(now);
        for space in receiving() {
            if let Some(meter) = self.meters.get(&space.id) {
                self.out.note(&meter.line(space));
            }
        }
    }

    /// Takes away what is redrawn; the next line brings it back.
    pub(crate) fn clear(&mut self) {
        self.said.clear();
        self.busy = true;
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A space without anything that changes all the time.
fn quiet_line(space: &Space) -> String {
    let state = match space.state {
        SpaceState::Syncing if space.files_wanted > 0 => "receiving".to_owned(),
        _ => show::state(space),
    };
    format!("{}: {state}{}{}", safe(&space.name), company(space, ", "), attention(space))
}

/// Who is there; nothing when the state says that nobody is.
fn company(space: &Space, separator: &str) -> String {
    if space.connected == 0 { String::new() } else { format!("{separator}{}", show::devices(space)) }
}

/// What a person should look at.
fn attention(space: &Space) -> String {
    let mut text = String::new();
    if space.conflicts > 0 {
        text.push_str(&format!(", {}", count(space.conflicts, "conflict", "conflicts")));
    }
    if space.held_deletions > 0 {
        text.push_str(&format!(", {} held back", count(space.held_deletions, "deletion", "deletions")));
    }
    if !space.problems.is_empty() {
        text.push_str(&format!(
            ", {} (`cosync doctor`)",
            count(space.problems.len() as u64, "problem", "problems")
        ));
    }
    text
}

/// How fast a space comes and goes.
#[derive(Debug)]
struct Meter {
    at: Instant,
    received: u64,
    sent: u64,
    /// Bytes received when the transfer under way began.
    begun: u64,
    receiving_rate: f64,
    sending_rate: f64,
}

impl Meter {
    fn new(space: &Space, at: Instant) -> Self {
        let received = space.bytes_received;
        Self { at, received, sent: space.bytes_sent, begun: received, receiving_rate: 0.0, sending_rate: 0.0 }
    }

    fn update(&mut self, space: &Space, now: Instant) {
        let seconds = now.duration_since(self.at).as_secs_f64();
        if seconds > 0.0 {
            let rate = |before: u64, after: u64, old: f64| {
                let new = after.saturating_sub(before) as f64 / seconds;
                if old == 0.0 { new } else { old + SMOOTHING * (new - old) }
            };
            self.receiving_rate = rate(self.received, space.bytes_received, self.receiving_rate);
            self.sending_rate = rate(self.sent, space.bytes_sent, self.sending_rate);
        }
        (self.at, self.received, self.sent) = (now, space.bytes_received, space.bytes_sent);
        if space.bytes_wanted == 0 {
            self.begun = space.bytes_received;
        }
    }

    fn line(&self, space: &Space) -> String {
        let name = safe(&space.name);
        let mut text = if space.bytes_wanted > 0 {
            let done = space.bytes_received.saturating_sub(self.begun);
            let total = done + space.bytes_wanted;
            format!(
                "{name}  {}  {} of {}  {}  {}",
                gauge(done, total),
                size(done),
                size(total),
                rate(self.receiving_rate),
                left(space.bytes_wanted, self.receiving_rate),
            )
        } else {
            let files = count(space.files, "file", "files");
            format!("{name}  {}  {files}, {}", show::state(space), size(space.bytes))
        };
        text.push_str(&company(space, "  "));
        if self.sending_rate >= 1.0 {
            text.push_str(&format!("  sending {}", rate(self.sending_rate)));
        }
        text.push_str(&attention(space));
        text
    }
}

fn gauge(done: u64, total: u64) -> String {
    const WIDTH: u64 = 20;
    let share =
        |of: u64| u64::try_from(u128::from(done) * u128::from(of) / u128::from(total.max(1))).unwrap_or(of);
    let full = share(WIDTH) as usize;
    format!("[{}{}] {:>3} %", "#".repeat(full), ".".repeat(WIDTH as usize - full), share(100))
}

fn rate(bytes_per_second: f64) -> String {
    // A float to integer cast saturates.
    format!("{}/s", size(bytes_per_second as u64))
}

fn left(bytes: u64, rate: f64) -> String {
    if rate < 1.0 {
        return "waiting".to_owned();
    }
    format!("{} left", span(Duration::from_secs((bytes as f64 / rate) as u64)))
}

/// Writes log lines above what is redrawn.
pub(crate) struct Above(pub(crate) Option<ProgressBar>);

impl Write for Above {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let write = || io::stderr().write_all(bytes);
        self.0.as_ref().map_or_else(write, |bar| bar.suspend(write))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(received: u64, wanted: u64) -> Space {
        let json = serde_json::json!({
            "id": "s", "name": "notes", "folder": null, "access": "write", "state": "syncing", "files": 3, "bytes": 1000,
            "documents": 0, "conflicts": 0, "held_deletions": 0, "files_wanted": 1, "bytes_wanted": wanted,
            "bytes_received": received, "bytes_sent": 0, "operations": 3, "connected": 1, "in_sync_with": 0, "problems": [],
        });
        serde_json::from_value(json).unwrap()
    }

    #[test]
    fn a_transfer_shows_its_share_its_rate_and_what_is_left() {
        let start = Instant::now();
        let mut meter = Meter::new(&space(500, 4000), start);
        meter.update(&space(1500, 3000), start + Duration::from_secs(1));
        let line = meter.line(&space(1500, 3000));
        assert_eq!(
            line,
            "notes  [#####...............]  25 %  1.0 kB of 4.0 kB  1.0 kB/s  3 s left  1 connected, 0 in sync"
        );
    }

    #[test]
    fn a_second_transfer_begins_at_nothing_again() {
        let start = Instant::now();
        let mut meter = Meter::new(&space(0, 100), start);
        meter.update(&space(100, 0), start + Duration::from_secs(1));
        meter.update(&space(100, 300), start + Duration::from_secs(2));
        assert!(meter.line(&space(100, 300)).contains("0 B of 300 B"));
    }

    #[test]
    fn a_gauge_holds_at_its_ends() {
        assert_eq!(gauge(0, 0), "[....................]   0 %");
        assert_eq!(gauge(u64::MAX, u64::MAX), "[####################] 100 %");
    }
}
