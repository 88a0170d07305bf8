//! Shared folders of a machine: directories that outlive the process, and agents that do not.

use crate::sim::happening::Happening;
use crate::sim::world::{World, cut};
use cs_identity::SpaceId;
use cs_node::Agent;
use cs_node::core::{FolderCommand, FolderEvent, Input};
use cs_node::folder::{
    ChunkKey, Folder, FolderError, Index, MemIndexFile, MemVfs, Options, RelPath, Retention,
};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A watcher gathers changes for about this long before it tells of them.
const DEBOUNCE: Duration = Duration::from_millis(150);

/// Everything is looked at this often, as the driver does it.
const RESCAN: Duration = Duration::from_secs(600);

/// A directory, and the index that a node keeps of it.
#[derive(Debug, Default)]
pub(crate) struct Place {
    pub(crate) vfs: MemVfs,
    index: MemIndexFile,
}

impl Place {
    /// The power fails. Whoever had it open must be gone.
    pub(crate) fn crash(&self, seed: [u8; 32]) {
        self.vfs.crash(seed);
        self.index.crash();
    }
}

/// An open folder.
#[derive(Debug)]
pub(crate) struct Open {
    pub(crate) agent: Agent<MemVfs>,
    pub(crate) dir: PathBuf,
    step_due: bool,
    /// News reach the core in their order.
    news_at: Duration,
}

impl World {
    /// The core wants a folder opened.
    pub(crate) fn open_folder(
        &mut self,
        node: usize,
        space: SpaceId,
        dir: &Path,
        key: [u8; 32],
        create: bool,
    ) {
        let now = self.now();
        let unix_ms = self.machines[node].unix_ms(now);
        let machine = &mut self.machines[node];
        if let Some(process) = &mut machine.process {
            process.folders.remove(&space);
        }
        let place = match machine.places.get(dir) {
            Some(place) => place,
            None if create => machine.places.entry(dir.to_owned()).or_default(),
            None => {
                let why = "there is no such directory".to_owned();
                return self.tell_core(node, space, vec![FolderEvent::Failed { why }]);
            }
        };
        place.vfs.set_clock(unix_ms);
        let marker = std::array::from_fn(|i| machine.id.as_bytes()[i] ^ space.as_bytes()[i]);
        let options = Options { chunk_key: ChunkKey::new(key), marker, retention: Retention::default() };
        let opened = Index::with_backend(place.index.clone())
            .map_err(FolderError::from)
            .and_then(|index| Folder::open(place.vfs.clone(), index, options));
        let mut news = Vec::new();
        match opened {
            Ok(folder) => {
                let agent = Agent::new(folder, &mut |event| news.push(event));
                let open =
                    Open { agent, dir: dir.to_owned(), step_due: false, news_at: now + machine.opening };
                let life = machine.life;
                if let Some(process) = &mut machine.process {
                    process.folders.insert(space, open);
                }
                self.plan(now + RESCAN, node, Happening::Rescan { life, space });
            }
            Err(error) => news.push(FolderEvent::Failed { why: error.to_string() }),
        }
        self.tell_core(node, space, news);
    }

    /// The core gives a folder something to do.
    pub(crate) fn command_folder(&mut self, node: usize, space: SpaceId, command: FolderCommand) {
        let Some(open) = self.folder(node, &space) else { return };
        open.agent.command(command);
        self.want_step(node, space);
    }

    fn folder(&mut self, node: usize, space: &SpaceId) -> Option<&mut Open> {
        self.machines[node].process.as_mut()?.folders.get_mut(space)
    }

    fn want_step(&mut self, node: usize, space: SpaceId) {
        let Some(open) = self.folder(node, &space) else { return };
        if std::mem::replace(&mut open.step_due, true) {
            return;
        }
        let at = self.now() + self.chance.span(Duration::from_millis(2));
        let life = self.machines[node].life;
        self.plan(at, node, Happening::FolderStep { life, space });
    }

    /// The folder's thread does a piece of its work.
    pub(crate) fn step_folder(&mut self, node: usize, space: SpaceId) {
        let unix_ms = self.machines[node].unix_ms(self.now());
        let Some(open) = self.folder(node, &space) else { return };
        open.step_due = false;
        open.agent.folder().vfs().set_clock(unix_ms);
        let mut news = Vec::new();
        let more = open.agent.step(unix_ms, &mut |event| news.push(event));
        self.tell_core(node, space, news);
        if more {
            self.want_step(node, space);
        }
    }

    /// News travel to the core, in order.
    fn tell_core(&mut self, node: usize, space: SpaceId, news: Vec<FolderEvent>) {
        let (now, life) = (self.now(), self.machines[node].life);
        for event in news {
            let later = self.chance.span(Duration::from_millis(1));
            let mut at = now + later;
            if let Some(open) = self.folder(node, &space) {
                at = at.max(open.news_at);
                open.news_at = at;
            }
            self.plan(at, node, Happening::News { life, space, event });
        }
    }

    /// News arrive at the core.
    pub(crate) fn news(&mut self, node: usize, space: SpaceId, event: FolderEvent) {
        self.tell(|| format!("n{node} from its folder: {}", cut(format!("{event:?}"), 300)));
        self.input(node, Input::Folder { space, event });
    }

    /// As a user: changes files of a directory. The watcher of whoever shares it sees the paths.
    pub fn edit(&mut self, node: usize, dir: &str, paths: &[&str], edit: impl FnOnce(&MemVfs)) {
        let now = self.now();
        let machine = &mut self.machines[node];
        let unix_ms = machine.unix_ms(now);
        let place = machine.places.entry(PathBuf::from(dir)).or_default();
        place.vfs.set_clock(unix_ms);
        edit(&place.vfs);
        let life = machine.life;
        let Some(process) = &machine.process else { return };
        let watching = process.folders.iter().find(|(_, open)| open.dir == Path::new(dir));
        let Some(space) = watching.map(|(space, _)| *space) else { return };
        for path in paths.iter().filter_map(|path| RelPath::new(path.as_bytes()).ok()) {
            let at = now + DEBOUNCE + self.chance.span(DEBOUNCE);
            self.plan(at, node, Happening::Watched { life, space, path });
        }
    }

    /// The watcher, or the passing of time, asks for a look.
    pub(crate) fn scan_folder(&mut self, node: usize, space: SpaceId, scope: Option<RelPath>) {
        if scope.is_none() {
            let (at, life) = (self.now() + RESCAN, self.machines[node].life);
            self.plan(at, node, Happening::Rescan { life, space });
        }
        self.command_folder(node, space, FolderCommand::Scan { scope });
    }

    /// The directory of a machine, as its user sees it.
    #[must_use]
    pub fn directory(&self, node: usize, dir: &str) -> Option<&MemVfs> {
        self.machines[node].places.get(Path::new(dir)).map(|place| &place.vfs)
    }
}
