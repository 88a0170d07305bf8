//! What is measured.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cs_tests::real::{Setup, Usage, fill, until_every};
use tempfile::TempDir;

use crate::cosync::Cosync;
use crate::pair::{Cost, System, first_sync};
use crate::rows::{Failure, Metric};
use crate::syncthing::Syncthing;

/// One thing to measure.
type Case = fn(&Bench) -> Result<(), Failure>;

/// Every case by its name.
pub(crate) const CASES: [(&str, Case); 5] =
    [("first-sync", begin), ("large", large), ("small", small), ("crates", crates), ("live", live)];

/// Commands to first sync: `cosync share`, `cosync join`.
const COMMANDS: f64 = 2.0;

/// Counted by hand for Syncthing, see the product table of the measured figures.
const COMMANDS_OF_SYNCTHING: f64 = 13.0;

/// As many files of the registry are taken at the most.
const CRATE_FILES: u64 = 20_000;

/// An edit that takes longer to arrive is lost.
const EDIT_LIMIT: Duration = Duration::from_secs(120);

/// Looking at the other side's file costs neither node anything.
const LOOK_INTERVAL: Duration = Duration::from_millis(1);

/// Where and how much.
pub(crate) struct Bench {
    temp: TempDir,
    is_quick: bool,
    peer: Option<Syncthing>,
}

impl Bench {
    pub(crate) fn new(is_quick: bool, is_alone: bool) -> Result<Self, Failure> {
        // `/tmp` is often in memory; this is not.
        let temp = tempfile::Builder::new().prefix("cosync").tempdir_in("/var/tmp")?;
        let peer = if is_alone { None } else { Syncthing::find() };
        match &peer {
            Some(peer) => eprintln!("beside {}", peer.name()),
            None if is_alone => eprintln!("alone"),
            None => {
                eprintln!("Syncthing is not installed: its column stays empty (apt-get install syncthing)")
            }
        }
        Ok(Self { temp, is_quick, peer })
    }

    fn pick(&self, full: u64, quick: u64) -> u64 {
        if self.is_quick { quick } else { full }
    }

    /// Goals are for full sizes.
    fn goal(&self, goal: f64) -> Option<f64> {
        (!self.is_quick).then_some(goal)
    }

    fn fresh(&self, name: &str) -> Result<PathBuf, Failure> {
        let dir = self.temp.path().join(name);
        if dir.exists() {
            fs::remove_dir_all(&dir)?;
        }
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// Syncs `from` by each program into a folder of its own, and prints what it took.
    fn compare(
        &self,
        row: &'static str,
        from: &Path,
        files: u64,
        goal_cpu: Option<f64>,
    ) -> Result<(), Failure> {
        let once = |system: &dyn System| -> Result<Cost, Failure> {
            let work = self.fresh("work")?;
            let (pair, cost) = first_sync(system, &work, from, files)?;
            drop(pair);
            for kept in [".cosync", ".stfolder"] {
                if from.join(kept).exists() {
                    fs::remove_dir_all(from.join(kept))?;
                }
            }
            fs::remove_dir_all(&work)?;
            Ok(cost)
        };
        let ours = once(&Cosync)?;
        let theirs = self.peer.as_ref().map(|peer| once(peer)).transpose()?;
        let print = |metric, unit, goal, of: fn(&Cost) -> f64| {
            let peer = self.peer.as_ref().map(System::name).zip(theirs.as_ref().map(of));
            Metric { row, metric, unit, goal }.print(of(&ours), peer);
        };
        print("CPU of both", "s", goal_cpu, |cost| cost.cpu);
        print("time", "s", None, |cost| cost.elapsed);
        print("peak RSS", "MiB", self.goal(64.0), |cost| cost.peak);
        print("RSS at the end", "MiB", None, |cost| cost.resident);
        Ok(())
    }
}

/// From the first command to the first file.
fn begin(bench: &Bench) -> Result<(), Failure> {
    let row = "first sync";
    let from = bench.fresh("from")?;
    fs::write(from.join("hello.txt"), "hello")?;
    let once = |system: &dyn System| {
        let work = bench.fresh("work")?;
        first_file(&work, || system.start(&work, &from, &work.join("to")))
    };
    let ours = once(&Cosync)?;
    let theirs = bench.peer.as_ref().map(|peer| once(peer)).transpose()?;
    let peer = |value: Option<f64>| bench.peer.as_ref().map(System::name).zip(value);
    let commands = Metric { row, metric: "commands", unit: "", goal: Some(2.0) };
    commands.print(COMMANDS, peer(Some(COMMANDS_OF_SYNCTHING)));
    Metric { row, metric: "time from nothing", unit: "s", goal: Some(2.0) }.print(ours, peer(theirs));
    let with_nodes_up = begin_with_nodes_up(bench)?;
    Metric { row, metric: "time with nodes up", unit: "s", goal: Some(0.5) }.print(with_nodes_up, None);
    Ok(())
}

/// Seconds until the file of the first folder is in the second.
fn first_file<T>(work: &Path, start: impl FnOnce() -> Result<T, Failure>) -> Result<f64, Failure> {
    fs::create_dir_all(work.join("to"))?;
    let file = work.join("to/hello.txt");
    let begun = Instant::now();
    let _running = start()?;
    arrives(&file, b"hello")?;
    let elapsed = begun.elapsed().as_secs_f64();
    eprintln!("  {elapsed:.2} s");
    Ok(elapsed)
}

fn begin_with_nodes_up(bench: &Bench) -> Result<f64, Failure> {
    let work = bench.fresh("work")?;
    let from = bench.fresh("from")?;
    fs::write(from.join("hello.txt"), "hello")?;
    let setups = [Setup::new(work.join("a")), Setup::new(work.join("b"))];
    let _nodes = (setups[0].up()?, setups[1].up()?);
    let run = |setup: &Setup, arguments: &[&str]| -> Result<Vec<u8>, Failure> {
        let done = setup.command(arguments).output()?;
        let failed = || Failure::new(String::from_utf8_lossy(&done.stderr));
        if done.status.success() { Ok(done.stdout.clone()) } else { Err(failed()) }
    };
    first_file(&work, || {
        let line = run(&setups[0], &["--json", "share", &from.to_string_lossy()])?;
        let invited: serde_json::Value = serde_json::from_slice(&line).map_err(std::io::Error::from)?;
        let invitation = invited["invitation"].as_str().unwrap_or_default();
        run(&setups[1], &["--json", "join", invitation, &work.join("to").to_string_lossy()])
    })
}

/// One file of 1 GiB.
fn large(bench: &Bench) -> Result<(), Failure> {
    let from = bench.fresh("from")?;
    fill(&from.join("large.bin"), bench.pick(1 << 30, 1 << 26), 1)?;
    let row = if bench.is_quick { "64 MiB" } else { "1 GiB" };
    bench.compare(row, &from, 1, bench.goal(20.0))
}

/// Ten thousand files of 4 KiB, in a hundred directories.
fn small(bench: &Bench) -> Result<(), Failure> {
    let from = bench.fresh("from")?;
    let files = bench.pick(10_000, 1_000);
    for number in 0..files {
        let dir = from.join(format!("{:02}", number % 100));
        fs::create_dir_all(&dir)?;
        fill(&dir.join(format!("{number}.bin")), 4096, number)?;
    }
    let row = if bench.is_quick { "1,000 x 4 KiB" } else { "10,000 x 4 KiB" };
    bench.compare(row, &from, files, bench.goal(10.0))
}

/// The unpacked sources of the crates in the local registry.
fn crates(bench: &Bench) -> Result<(), Failure> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")));
    let registry = home.unwrap_or_default().join("registry/src");
    let from = bench.fresh("from")?;
    let limit = bench.pick(CRATE_FILES, 1_000);
    let mut files = 0;
    for source in fs::read_dir(&registry).into_iter().flatten().flatten() {
        copy(&source.path(), &from, limit, &mut files)?;
    }
    if files == 0 {
        eprintln!("  no unpacked crates in {}: nothing to measure", registry.display());
        return Ok(());
    }
    eprintln!("  {files} files");
    bench.compare("crates of the registry", &from, files, None)
}

fn copy(from: &Path, to: &Path, limit: u64, files: &mut u64) -> Result<(), Failure> {
    let mut entries = fs::read_dir(from)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if *files >= limit {
            return Ok(());
        }
        if entry.file_type()?.is_dir() {
            fs::create_dir_all(&target)?;
            copy(&source, &target, limit, files)?;
        } else if entry.file_type()?.is_file() {
            fs::copy(&source, &target)?;
            *files += 1;
        }
    }
    Ok(())
}

/// Edits one after the other, then nothing at all.
fn live(bench: &Bench) -> Result<(), Failure> {
    let ours = live_of(bench, &Cosync, bench.pick(50, 10))?;
    // At ten seconds an edit, a few tell enough.
    let theirs = bench.peer.as_ref().map(|peer| live_of(bench, peer, bench.pick(5, 2))).transpose()?;
    let print = |row, metric, unit, goal, of: fn(&Life) -> f64| {
        let peer = bench.peer.as_ref().map(System::name).zip(theirs.as_ref().map(of));
        Metric { row, metric, unit, goal }.print(of(&ours), peer);
    };
    print("edit to peer", "p50", "s", Some(0.5), |life| life.quantile(0.5));
    print("edit to peer", "p99", "s", None, |life| life.quantile(0.99));
    print("idle", "RSS", "MiB", Some(25.0), |life| life.resident);
    print("idle", "CPU", "% of a core", Some(0.05), |life| life.cpu);
    Ok(())
}

/// What a pair did over some time.
struct Life {
    /// Seconds from each edit to the other side, ascending.
    edits: Vec<f64>,
    /// MiB of the larger when idle.
    resident: f64,
    /// Percent of a core of the busier when idle.
    cpu: f64,
}

impl Life {
    fn quantile(&self, share: f64) -> f64 {
        let last = self.edits.len().saturating_sub(1);
        self.edits.get((last as f64 * share).round() as usize).copied().unwrap_or(f64::NAN)
    }
}

fn live_of(bench: &Bench, system: &dyn System, edits: u64) -> Result<Life, Failure> {
    let (work, from) = (bench.fresh("work")?, bench.fresh("from")?);
    fs::write(from.join("notes.txt"), "begun")?;
    let (pair, _) = first_sync(system, &work, &from, 1)?;
    let mut taken = Vec::new();
    for number in 0..edits {
        let text = format!("edit {number}\n").repeat(100);
        let begun = Instant::now();
        fs::write(from.join("notes.txt"), &text)?;
        arrives(&work.join("to/notes.txt"), text.as_bytes())?;
        taken.push(begun.elapsed().as_secs_f64());
        // The next edit begins at another phase of whatever the nodes do periodically.
        std::thread::sleep(Duration::from_millis(100 + 37 * number % 200));
    }
    taken.sort_by(f64::total_cmp);
    let (settle, idle) = (Duration::from_secs(bench.pick(5, 1)), Duration::from_secs(bench.pick(20, 3)));
    std::thread::sleep(settle);
    let ended = || Failure::new(format!("{} has ended", system.name()));
    let before = pair.usages().ok_or_else(ended)?;
    std::thread::sleep(idle);
    let after = pair.usages().ok_or_else(ended)?;
    let spent =
        |(before, after): (&Usage, &Usage)| after.threads.saturating_sub(before.threads).as_secs_f64();
    let life = Life {
        edits: taken,
        resident: after.iter().map(|u| u.resident as f64 / f64::from(1 << 20)).fold(0.0, f64::max),
        cpu: before.iter().zip(&after).map(spent).fold(0.0, f64::max) / idle.as_secs_f64() * 100.0,
    };
    let (p50, resident, cpu) = (life.quantile(0.5), life.resident, life.cpu);
    eprintln!("  {}: edits p50 {p50:.3} s; idle {resident:.0} MiB, {cpu:.2} % of a core", system.name());
    Ok(life)
}

fn arrives(file: &Path, content: &[u8]) -> Result<(), Failure> {
    let equal = || (fs::read(file).ok()? == content).then_some(());
    until_every(LOOK_INTERVAL, EDIT_LIMIT, equal)
        .ok_or_else(|| Failure::new(format!("{} does not arrive", file.display())))
}
