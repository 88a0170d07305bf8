//! Live watching of the real directory: which paths are dirty, a moment after they were last touched.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use notify::{Config, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use super::RelPath;
use super::dir::relative;
use super::ignore::is_reserved;

/// What to scan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Dirty {
    /// These paths and what is below them.
    Paths(BTreeSet<RelPath>),
    /// Anything may have changed: events were lost, or there were too many.
    Everything,
}

/// Why a directory cannot be watched. A periodic scan still finds everything.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The system's limit of watches is reached (on Linux: sysctl `fs.inotify.max_user_watches`).
    #[error("too many directories to watch: raise fs.inotify.max_user_watches")]
    TooMany,
    /// The directory is not there.
    #[error("the directory to watch is not there")]
    RootMissing,
    /// The system cannot watch this directory.
    #[error("the system cannot watch this directory")]
    Unsupported,
}

/// How long to collect before telling.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Debounce {
    /// Told when nothing happened for this long.
    pub quiet_interval: Duration,
    /// Told at the latest this long after the first event, however much goes on.
    pub latest_after: Duration,
}

impl Default for Debounce {
    /// 50 ms and 500 ms.
    fn default() -> Self {
        Self { quiet_interval: Duration::from_millis(50), latest_after: Duration::from_millis(500) }
    }
}

/// More dirty paths than this are told as [`Dirty::Everything`].
const MAX_PATHS: usize = 4096;

/// Watches a directory until dropped. It has a thread of its own.
#[derive(Debug)]
pub struct Watcher {
    _watcher: RecommendedWatcher,
}

impl Watcher {
    /// Starts watching `root` and everything below, links not followed, and calls `tell` from the watcher's own thread.
    ///
    /// Costs one watch a directory. New directories are watched as they appear; what happened in them before that is covered,
    /// since the directory itself is told as dirty.
    pub fn start(
        root: &Path,
        debounce: Debounce,
        tell: impl FnMut(Dirty) + Send + 'static,
    ) -> Result<Self, WatchError> {
        let root = root.canonicalize().map_err(|_| WatchError::RootMissing)?;
        let (sender, receiver) = mpsc::channel();
        let config = Config::default().with_follow_symlinks(false);
        // A send fails only when the other thread is gone, and then nobody wants to know.
        let mut watcher =
            RecommendedWatcher::new(move |event| drop(sender.send(event)), config).map_err(fault)?;
        watcher.watch(&root, RecursiveMode::Recursive).map_err(fault)?;
        std::thread::Builder::new()
            .name("cosync-watch".into())
            .spawn(move || collect(&root, debounce, &receiver, tell))
            .map_err(|_| WatchError::Unsupported)?;
        Ok(Self { _watcher: watcher })
    }
}

fn collect(
    root: &Path,
    debounce: Debounce,
    events: &Receiver<notify::Result<Event>>,
    mut tell: impl FnMut(Dirty),
) {
    while let Ok(first) = events.recv() {
        let mut dirty = Dirty::Paths(BTreeSet::new());
        add(&mut dirty, root, first);
        let latest = Instant::now() + debounce.latest_after;
        loop {
            let wait = debounce.quiet_interval.min(latest.saturating_duration_since(Instant::now()));
            match events.recv_timeout(wait) {
                Ok(event) if !wait.is_zero() => add(&mut dirty, root, event),
                Ok(event) => {
                    add(&mut dirty, root, event);
                    break;
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => break,
            }
        }
        if dirty != Dirty::Paths(BTreeSet::new()) {
            tell(dirty);
        }
    }
}

fn add(dirty: &mut Dirty, root: &Path, event: notify::Result<Event>) {
    let Ok(event) = event else {
        *dirty = Dirty::Everything;
        return;
    };
    if event.need_rescan() {
        *dirty = Dirty::Everything;
    }
    let Dirty::Paths(paths) = dirty else { return };
    if matches!(event.kind, EventKind::Access(_)) {
        return;
    }
    for path in event.paths {
        if path == root {
            // The root itself was renamed or removed: the scan will say so.
            if matches!(event.kind, EventKind::Remove(_)) {
                *dirty = Dirty::Everything;
                return;
            }
            continue;
        }
        match relative(root, &path) {
            Some(path) if is_reserved(&path) => {}
            Some(path) => drop(paths.insert(path)),
            None => {
                *dirty = Dirty::Everything;
                return;
            }
        }
    }
    if paths.len() > MAX_PATHS {
        *dirty = Dirty::Everything;
    }
}

fn fault(error: notify::Error) -> WatchError {
    match error.kind {
        notify::ErrorKind::MaxFilesWatch => WatchError::TooMany,
        notify::ErrorKind::PathNotFound => WatchError::RootMissing,
        notify::ErrorKind::Io(error) if error.raw_os_error() == Some(28) => WatchError::TooMany,
        _ => WatchError::Unsupported,
    }
}
