//! The open folders of a node: each on a thread of its own, with a watcher that says what changed and a scan now and then
//! for what the watcher missed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cs_identity::SpaceId;

use crate::agent::{Agent, failed};
use crate::clock::unix_ms;
use crate::core::{FolderCommand, FolderEvent};
use crate::folder::{
    ChunkKey, Debounce, DirVfs, Dirty, Folder, FolderError, Index, Options, Retention, VfsError, WatchError,
    Watcher,
};
use crate::home::Home;

/// Everything is looked at this often, in case the watcher missed something; it costs a `stat` a file.
const RESCAN_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// And this often where the system cannot watch.
const RESCAN_UNWATCHED: Duration = Duration::from_secs(20);

/// Where the folders tell their news.
pub(crate) type News = tokio::sync::mpsc::Sender<(SpaceId, FolderEvent)>;

/// What is needed to open a folder.
pub(crate) struct Opening {
    pub(crate) space: SpaceId,
    pub(crate) dir: PathBuf,
    pub(crate) chunk_key: [u8; 32],
    pub(crate) create: bool,
}

/// All open folders.
pub(crate) struct Folders {
    home: Home,
    news: News,
    open: BTreeMap<SpaceId, Open>,
}

struct Open {
    sender: Sender<Told>,
    thread: JoinHandle<()>,
}

/// What a folder's thread is told.
enum Told {
    Do(FolderCommand),
    Close,
}

impl Folders {
    pub(crate) fn new(home: Home, news: News) -> Self {
        Self { home, news, open: BTreeMap::new() }
    }

    /// Opens a folder on a thread of its own; what comes of it is told. One that was open is closed first.
    pub(crate) fn open(&mut self, opening: Opening) -> std::io::Result<()> {
        let (sender, told) = channel();
        let former = self.end(&opening.space);
        let (home, news, own, space) = (self.home.clone(), self.news.clone(), sender.clone(), opening.space);
        let thread = std::thread::Builder::new().name("cosync-folder".into()).spawn(move || {
            // The former thread holds the index file until its end.
            if let Some(former) = former {
                let _ = former.join();
            }
            serve(&home, &opening, &told, own, &news);
        })?;
        self.open.insert(space, Open { sender, thread });
        Ok(())
    }

    /// Gives an open folder something to do.
    pub(crate) fn command(&self, space: SpaceId, command: FolderCommand) {
        if let Some(folder) = self.open.get(&space) {
            // A thread that has ended has told why.
            let _ = folder.sender.send(Told::Do(command));
        }
    }

    pub(crate) fn close(&mut self, space: &SpaceId) {
        self.end(space);
    }

    /// Ends every thread and waits for them, so that each index is as new as its folder.
    pub(crate) fn close_all(&mut self) {
        let spaces: Vec<SpaceId> = self.open.keys().copied().collect();
        for thread in spaces.iter().filter_map(|space| self.end(space)) {
            let _ = thread.join();
        }
    }

    fn end(&mut self, space: &SpaceId) -> Option<JoinHandle<()>> {
        let Open { sender, thread } = self.open.remove(space)?;
        let _ = sender.send(Told::Close);
        Some(thread)
    }
}

fn serve(home: &Home, opening: &Opening, told: &Receiver<Told>, own: Sender<Told>, news: &News) {
    let space = opening.space;
    let mut tell = |event| {
        // Nobody listens any more when the node ends.
        let _ = news.blocking_send((space, event));
    };
    let folder = match open(home, opening) {
        Ok(folder) => folder,
        Err(error) => return tell(opening_failed(&opening.dir, error)),
    };
    let mut agent = Agent::new(folder, &mut tell);
    let watcher = watch(&opening.dir, own);
    let rescan = if watcher.is_ok() { RESCAN_INTERVAL } else { RESCAN_UNWATCHED };
    let mut rescan_at = Instant::now() + rescan;
    loop {
        loop {
            match told.try_recv() {
                Ok(Told::Do(command)) => agent.command(command),
                Ok(Told::Close) | Err(TryRecvError::Disconnected) => return,
                Err(TryRecvError::Empty) => break,
            }
        }
        if agent.step(unix_ms(), &mut tell) {
            continue;
        }
        match told.recv_timeout(rescan_at.saturating_duration_since(Instant::now())) {
            Ok(Told::Do(command)) => agent.command(command),
            Ok(Told::Close) | Err(RecvTimeoutError::Disconnected) => return,
            Err(RecvTimeoutError::Timeout) => {
                rescan_at = Instant::now() + rescan;
                agent.expire(unix_ms());
                agent.command(FolderCommand::Scan { scope: None });
            }
        }
    }
}

fn open(home: &Home, opening: &Opening) -> Result<Folder<DirVfs>, FolderError> {
    if opening.create {
        std::fs::create_dir_all(&opening.dir).map_err(|_| FolderError::RootMissing)?;
    }
    let vfs = DirVfs::open(&opening.dir).map_err(|error| match error {
        VfsError::NotFound | VfsError::NotDirectory => FolderError::RootMissing,
        other => FolderError::Disk(other),
    })?;
    let index = Index::open(&home.index(&opening.space.to_string()))?;
    let mut marker = [0; 16];
    getrandom::fill(&mut marker).map_err(|_| FolderError::Disk(VfsError::Io))?;
    let chunk_key = ChunkKey::new(opening.chunk_key);
    Folder::open(vfs, index, Options { chunk_key, marker, retention: Retention::default() })
}

fn opening_failed(dir: &Path, error: FolderError) -> FolderEvent {
    if dir.exists() && !dir.is_dir() {
        return FolderEvent::Failed { why: format!("{} is a file, not a directory.", dir.display()) };
    }
    match failed(error) {
        FolderEvent::Failed { why } => FolderEvent::Failed { why: format!("{}: {why}", dir.display()) },
        other => other,
    }
}

fn watch(dir: &Path, own: Sender<Told>) -> Result<Watcher, WatchError> {
    Watcher::start(dir, Debounce::default(), move |dirty| {
        let scopes = match dirty {
            Dirty::Everything => vec![None],
            Dirty::Paths(paths) => paths.into_iter().map(Some).collect(),
        };
        for scope in scopes {
            let _ = own.send(Told::Do(FolderCommand::Scan { scope }));
        }
    })
}
