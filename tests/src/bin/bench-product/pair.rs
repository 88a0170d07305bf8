//! Two devices that keep two folders in sync, whatever the program.

use std::path::Path;
use std::time::{Duration, Instant};

use cs_tests::real::{Usage, compare, until_every};

use crate::rows::Failure;

/// How often a pair is asked whether it is done: seldom enough not to be what is measured.
const ASK_INTERVAL: Duration = Duration::from_millis(100);

/// A sync that takes longer than this does not end.
const SYNC_LIMIT: Duration = Duration::from_secs(900);

/// A program that syncs folders.
pub(crate) trait System {
    /// Its name and version.
    fn name(&self) -> &str;

    /// Starts two devices from nothing, with state in `work`: the first shares `from`, the second takes it to `to`.
    fn start(&self, work: &Path, from: &Path, to: &Path) -> Result<Box<dyn Pair>, Failure>;
}

/// Two running devices, which end when this is dropped.
pub(crate) trait Pair {
    /// Whether the second says that it has this many files, and misses nothing.
    fn is_synced(&self, files: u64) -> bool;

    /// What each has used so far.
    fn usages(&self) -> Option<[Usage; 2]>;
}

/// What a first sync took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    /// Seconds from the first command to the last byte.
    pub(crate) elapsed: f64,
    /// Seconds of processor time of both.
    pub(crate) cpu: f64,
    /// MiB at the most, of the one that used more.
    pub(crate) peak: f64,
    /// MiB in memory at the end, of the one that used more.
    pub(crate) resident: f64,
}

/// Syncs a folder from nothing into an empty one.
pub(crate) fn first_sync(
    system: &dyn System,
    work: &Path,
    from: &Path,
    files: u64,
) -> Result<(Box<dyn Pair>, Cost), Failure> {
    let name = system.name();
    let to = work.join("to");
    std::fs::create_dir_all(&to)?;
    let begun = Instant::now();
    let pair = system.start(work, from, &to)?;
    let done = until_every(ASK_INTERVAL, SYNC_LIMIT, || pair.is_synced(files).then_some(()));
    let elapsed = begun.elapsed().as_secs_f64();
    let usages = pair.usages().ok_or_else(|| Failure::new(format!("{name} has ended")))?;
    done.ok_or_else(|| Failure::new(format!("{name} does not say that it is in sync")))?;
    if let Some(difference) = compare(from, &to)? {
        return Err(Failure::new(format!("{name} says that it is in sync, and {difference:?}")));
    }
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let cost = Cost {
        elapsed,
        cpu: usages.iter().map(|usage| usage.cpu.as_secs_f64()).sum(),
        peak: usages.iter().map(|usage| mib(usage.peak)).fold(0.0, f64::max),
        resident: usages.iter().map(|usage| mib(usage.resident)).fold(0.0, f64::max),
    };
    let Cost { cpu, peak, .. } = cost;
    eprintln!(
        "  {name}: {elapsed:.1} s, {cpu:.1} s of processor time, {peak:.0} MiB at the most, folders equal"
    );
    Ok((pair, cost))
}
