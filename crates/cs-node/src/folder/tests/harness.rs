//! Plays the core and the network for folders in memory: a log of operations, a rule for which of concurrent ones is shown,
//! and chunks fetched from whoever has them.

use std::collections::{BTreeMap, BTreeSet};

use crate::folder::*;

pub(crate) const KEY: [u8; 32] = [42; 32];

pub(crate) fn path(text: &str) -> RelPath {
    RelPath::new(text).expect("a path")
}

pub(crate) fn options() -> Options {
    Options { chunk_key: ChunkKey::new(KEY), marker: [7; 16], retention: Retention::default() }
}

/// Bytes without a pattern, the same for the same seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let mut stream = blake3::Hasher::new();
    stream.update(&seed.to_le_bytes());
    stream.finalize_xof().fill(&mut bytes);
    bytes
}

#[derive(Clone, Debug)]
pub(crate) struct Op {
    pub(crate) path: RelPath,
    pub(crate) content: Content,
    pub(crate) base: Vec<Version>,
}

pub(crate) type Log = BTreeMap<Version, Op>;

/// The operations of a path that none other of the log replaces.
pub(crate) fn heads(log: &Log, path: &RelPath) -> Vec<Version> {
    let here = log.iter().filter(|(_, op)| op.path == *path);
    let replaced: BTreeSet<_> = here.clone().flat_map(|(_, op)| op.base.iter().copied()).collect();
    here.map(|(id, _)| *id).filter(|id| !replaced.contains(id)).collect()
}

/// What a whole log shows: the greatest head of each path, but nothing below a file, and a directory above whatever is shown.
pub(crate) fn shown(log: &Log) -> BTreeMap<RelPath, (Content, Vec<Version>)> {
    let paths: BTreeSet<_> = log.values().map(|op| op.path.clone()).collect();
    let mut shown: BTreeMap<RelPath, (Content, Vec<Version>)> = BTreeMap::new();
    for path in paths {
        let heads = heads(log, &path);
        let mut content = heads.iter().max().map_or(Content::Deleted, |id| log[id].content.clone());
        let hidden = path.ancestors().any(|above| {
            matches!(shown.get(&above), Some((Content::File { .. } | Content::Symlink { .. }, _)))
        });
        if hidden {
            content = Content::Deleted;
        }
        shown.insert(path, (content, heads));
    }
    let live: Vec<_> = shown.iter().filter(|(_, (content, _))| *content != Content::Deleted).collect();
    let needed: BTreeSet<_> = live.iter().flat_map(|(path, _)| path.ancestors()).collect();
    for path in needed {
        shown.entry(path).or_insert_with(|| (Content::Dir, Vec::new())).0 = Content::Dir;
    }
    shown
}

pub(crate) struct Peer {
    pub(crate) name: u8,
    pub(crate) vfs: MemVfs,
    pub(crate) index: MemIndexFile,
    pub(crate) folder: Option<Folder<MemVfs>>,
    pub(crate) log: Log,
    made: u64,
    pub(crate) now_ms: u64,
    /// The process dies after this many more calls of the folder.
    pub(crate) fuse: Option<u32>,
    pub(crate) fetched: u64,
}

/// The process died.
#[derive(Debug)]
pub(crate) struct Died;

impl Peer {
    pub(crate) fn new(name: u8) -> Self {
        Self::on(name, MemVfs::new())
    }

    pub(crate) fn on(name: u8, vfs: MemVfs) -> Self {
        let now_ms = 1_800_000_000_000;
        vfs.set_clock(now_ms);
        let mut peer = Self {
            name,
            vfs,
            index: MemIndexFile::new(),
            folder: None,
            log: Log::new(),
            made: 0,
            now_ms,
            fuse: None,
            fetched: 0,
        };
        peer.open();
        peer
    }

    fn open(&mut self) {
        let index = Index::with_backend(self.index.clone()).expect("the index survives crashes");
        let mut folder =
            Folder::open(self.vfs.clone(), index, options()).expect("the folder survives crashes");
        for change in folder.unconfirmed().expect("an index in memory") {
            let made_from = |op: &Op| {
                op.path == change.path && op.base == change.base && op.content.same_data(&change.content)
            };
            if let Some((id, op)) = self.log.iter().find(|(_, op)| made_from(op)) {
                folder.confirm(&op.path, &op.content, &[*id]).expect("an index in memory");
            }
        }
        self.folder = Some(folder);
    }

    /// The process dies and starts again.
    pub(crate) fn restart(&mut self) {
        self.fuse = None;
        self.folder = None;
        self.index.crash();
        self.open();
    }

    /// The power fails.
    pub(crate) fn power_cut(&mut self, seed: u64) {
        self.fuse = None;
        self.folder = None;
        self.index.crash();
        self.vfs.crash(*blake3::hash(&seed.to_le_bytes()).as_bytes());
        self.open();
    }

    pub(crate) fn tick(&mut self) {
        self.now_ms += 1000;
        self.vfs.set_clock(self.now_ms);
    }

    /// One call of the folder.
    pub(crate) fn folder(&mut self) -> Result<&mut Folder<MemVfs>, Died> {
        if let Some(fuse) = &mut self.fuse {
            *fuse = fuse.checked_sub(1).ok_or(Died)?;
        }
        Ok(self.folder.as_mut().expect("open between crashes"))
    }

    /// Scans, and writes an operation for each change.
    pub(crate) fn scan(&mut self) -> Result<usize, Died> {
        self.tick();
        let mut changes = Vec::new();
        let now = self.now_ms;
        self.folder()?.scan(Scope::All, now, &mut |change| changes.push(change)).expect("a scan of memory");
        // Data is on disk before anyone hears of it.
        self.flush()?;
        let count = changes.len();
        for change in changes {
            self.take(change)?;
        }
        Ok(count)
    }

    pub(crate) fn take(&mut self, change: LocalChange) -> Result<(), Died> {
        let LocalChange { path, base, content } = change;
        // What is shown may be there because it was applied and the index forgot. Then what was there before is in `kept/`.
        let was_file = base.iter().any(|id| matches!(self.log[id].content, Content::File { .. }));
        let shown = shown(&self.log).remove(&path).filter(|(shown, _)| shown.same_data(&content));
        if let Some((content, versions)) = shown
            && (!was_file || self.folder()?.has_kept(&path, &base).expect("an index in memory"))
        {
            self.folder()?.confirm(&path, &content, &versions).expect("an index in memory");
            return Ok(());
        }
        self.made += 1;
        let mut id = blake3::Hasher::new();
        id.update(&[self.name]).update(&self.made.to_le_bytes());
        let id = Version::from_bytes(*id.finalize().as_bytes());
        self.log.insert(id, Op { path: path.clone(), content: content.clone(), base });
        self.folder()?.confirm(&path, &content, &[id]).expect("an index in memory");
        Ok(())
    }

    /// Applies what the log shows and the folder does not; fetches from `others`. True if anything was done.
    pub(crate) fn materialise(&mut self, others: &mut [&mut Self]) -> Result<bool, Died> {
        let mut worked = false;
        let now = self.now_ms;
        for (path, (content, versions)) in shown(&self.log) {
            let there = self.folder()?.materialised(&path).expect("an index in memory");
            if there.is_some_and(|there| there.content.same_data(&content) && there.versions == versions) {
                continue;
            }
            worked = true;
            let applied = self.folder()?.apply(&path, &content, &versions, now).expect("a disk in memory");
            if let Applied::Needs(needs) = applied {
                self.fetch(needs, others)?;
            }
        }
        while self.folder()?.needs_flush() {
            self.flush()?;
        }
        Ok(worked)
    }

    fn fetch(&mut self, needs: Vec<ChunkRef>, others: &mut [&mut Self]) -> Result<(), Died> {
        let mut needs = needs;
        while let Some(chunk) = needs.pop() {
            let sources = others.iter_mut().filter_map(|other| other.folder.as_mut());
            let mut found =
                sources.filter_map(|folder| folder.read_chunk(&chunk.id).expect("an index in memory"));
            if let Some(bytes) = found.next() {
                self.fetched += bytes.len() as u64;
                let written = self.folder()?.write_chunk(&chunk.id, &bytes).expect("a disk in memory");
                needs.extend(written.needs.into_iter().flat_map(|(_, needs)| needs));
            }
        }
        Ok(())
    }

    pub(crate) fn flush(&mut self) -> Result<Vec<(RelPath, Placed)>, Died> {
        let now = self.now_ms;
        Ok(self.folder()?.flush(now).expect("a disk in memory"))
    }

    pub(crate) fn problems(&self) -> Vec<(RelPath, Why)> {
        let folder = self.folder.as_ref().expect("open");
        folder.problems().map(|(path, why)| (path.clone(), why)).collect()
    }
}

/// Both know all operations of both.
pub(crate) fn exchange(a: &mut Peer, b: &mut Peer) {
    a.log.extend(b.log.clone());
    b.log.extend(a.log.clone());
}

/// Scans, exchanges and materialises until neither has anything left to do, and checks that both hold the same.
pub(crate) fn settle(a: &mut Peer, b: &mut Peer) {
    for _ in 0..40 {
        let mut worked = a.scan().expect("no fuse") + b.scan().expect("no fuse") > 0;
        exchange(a, b);
        worked |= a.materialise(&mut [b]).expect("no fuse");
        worked |= b.materialise(&mut [a]).expect("no fuse");
        if !worked {
            assert_eq!(a.vfs.contents(), b.vfs.contents());
            assert_eq!(a.vfs.contents().len(), live(&a.log), "what the log shows is what there is");
            return;
        }
    }
    panic!("never settled: {:?} {:?}", a.problems(), b.problems());
}

fn live(log: &Log) -> usize {
    shown(log).values().filter(|(content, _)| *content != Content::Deleted).count()
}
