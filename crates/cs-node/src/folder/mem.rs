//! A file system in memory: deterministic, with faults and crashes, for the simulator and for tests.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use redb::StorageBackend;

use super::RelPath;
use super::vfs::{Kind, Rename, Stat, Vfs, VfsError, VfsFile};

/// A directory in memory. Clones share it, so that a test can edit what a folder watches.
///
/// Times come from [`MemVfs::set_clock`] and advance by a nanosecond with every change, so that no edit hides behind an equal
/// time.
#[derive(Clone, Debug, Default)]
pub struct MemVfs {
    state: Arc<Mutex<State>>,
}

/// Something that goes wrong until [`MemVfs::clear_faults`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Fault {
    /// Nothing can be written or created.
    Full,
    /// The root cannot be found, as when a disk is not mounted.
    Gone,
    /// This file or directory cannot be read.
    Unreadable(RelPath),
    /// Nothing can be created, renamed or removed directly in this directory.
    Unwritable(RelPath),
    /// A program appends a byte to this file whenever it is read.
    GrowsWhenRead(RelPath),
    /// A program appends a byte to this file the moment before something takes its place, once.
    GrowsWhenReplaced(RelPath),
    /// Exchanging two names in one step is not supported, as on NFS.
    NoExchange,
}

#[derive(Debug, Default)]
struct State {
    now: Tree,
    /// What a power cut cannot take away, and what was done since.
    durable: Tree,
    since: Vec<Op>,
    faults: BTreeSet<Fault>,
    folds_case: bool,
}

#[derive(Clone, Debug, Default)]
struct Tree {
    names: BTreeMap<RelPath, u64>,
    inodes: BTreeMap<u64, Inode>,
    next_inode: u64,
    clock_ns: i64,
}

#[derive(Clone, Debug)]
struct Inode {
    kind: Kind,
    /// Of a file; the target of a link.
    data: Arc<Vec<u8>>,
    mode: u32,
    mtime_ns: i64,
    ctime_ns: i64,
}

#[derive(Clone, Debug)]
enum Op {
    Clock(i64),
    Make { path: RelPath, kind: Kind, target: Vec<u8> },
    Remove(RelPath),
    Rename(RelPath, RelPath, Rename),
    Write { inode: u64, offset: usize, bytes: Arc<Vec<u8>> },
    SetLen { inode: u64, len: usize },
    SetMeta { inode: u64, mode: u32, mtime_ns: i64 },
}

impl MemVfs {
    /// An empty directory that tells names apart by case.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty directory that takes names that differ only in the case of ASCII letters for the same.
    pub fn folding_case() -> Self {
        let vfs = Self::new();
        vfs.lock().folds_case = true;
        vfs
    }

    /// Sets the clock that times of modification are read from.
    pub fn set_clock(&self, unix_ms: u64) {
        let now = i64::try_from(unix_ms).unwrap_or(i64::MAX / 1_000_000).saturating_mul(1_000_000);
        let mut state = self.lock();
        if now > state.now.clock_ns {
            state.perform(Op::Clock(now));
        }
    }

    /// From now on this goes wrong.
    pub fn inject(&self, fault: Fault) {
        self.lock().faults.insert(fault);
    }

    /// Whether this still goes, or is still to go, wrong.
    pub fn is_faulty(&self, fault: &Fault) -> bool {
        self.lock().faults.contains(fault)
    }

    /// From now on nothing goes wrong.
    pub fn clear_faults(&self) {
        self.lock().faults.clear();
    }

    /// As a user: writes a whole file, making directories as needed. False when something else is in the way.
    pub fn put(&self, path: &RelPath, bytes: &[u8]) -> bool {
        let put = || {
            for dir in path.ancestors() {
                let _ = self.make_dir(&dir);
            }
            let file = self.open_or_create(path)?;
            file.set_len(0)?;
            file.write_at(0, bytes)
        };
        put().is_ok()
    }

    /// As a user: the bytes of a file.
    pub fn get(&self, path: &RelPath) -> Option<Vec<u8>> {
        let state = self.lock();
        let inode = state.now.inodes.get(state.now.names.get(path)?)?;
        (inode.kind == Kind::File).then(|| inode.data.to_vec())
    }

    /// As a user: removes a path and everything below it.
    pub fn remove_all(&self, path: &RelPath) {
        let mut state = self.lock();
        for below in state.below(path).into_iter().rev() {
            state.perform(Op::Remove(below));
        }
        state.perform(Op::Remove(path.clone()));
    }

    /// As a user: makes a pipe.
    pub fn make_special(&self, path: &RelPath) {
        self.lock().perform(Op::Make { path: path.clone(), kind: Kind::Special, target: Vec::new() });
    }

    /// Everything there is, in order, with the bytes of files and the targets of links; the folder's own directory left out.
    pub fn contents(&self) -> BTreeMap<RelPath, (Kind, bool, Vec<u8>)> {
        let state = self.lock();
        let paths = state.now.names.iter().filter(|(path, _)| !super::ignore::is_reserved(path));
        paths
            .filter_map(|(path, inode)| {
                let inode = state.now.inodes.get(inode)?;
                Some((path.clone(), (inode.kind, inode.mode & 0o100 != 0, inode.data.to_vec())))
            })
            .collect()
    }

    /// The power fails: of what was done since the last sync a random part survives, as on a journalling file system: a prefix
    /// of the operations on names, and of the data written any part, the rest being zeros. `seed` decides.
    pub fn crash(&self, seed: [u8; 32]) {
        let mut state = self.lock();
        let mut chance = blake3::Hasher::new_keyed(&seed).finalize_xof();
        let mut draw = |below: usize| {
            let mut bytes = [0; 8];
            chance.fill(&mut bytes);
            (u64::from_le_bytes(bytes) % below as u64) as usize
        };
        let survive = draw(state.since.len() + 1);
        let ops: Vec<_> = core::mem::take(&mut state.since).into_iter().take(survive).collect();
        state.now = state.durable.clone();
        for op in ops {
            let lost = matches!(op, Op::Write { .. }) && draw(2) == 0;
            let op = match op {
                Op::Write { inode, offset, bytes } if lost => {
                    Op::Write { inode, offset, bytes: Arc::new(vec![0; bytes.len()]) }
                }
                other => other,
            };
            state.now.perform(op);
        }
        state.durable = state.now.clone();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl State {
    fn perform(&mut self, op: Op) {
        self.since.push(op.clone());
        self.now.perform(op);
    }

    /// The name as it is stored, of what a path means.
    fn resolve(&self, path: &RelPath) -> Option<RelPath> {
        if !self.folds_case || self.now.names.contains_key(path) {
            return self.now.names.contains_key(path).then(|| path.clone());
        }
        let same = |name: &&RelPath| name.as_bytes().eq_ignore_ascii_case(path.as_bytes());
        self.now.names.keys().find(same).cloned()
    }

    fn find(&self, path: &RelPath) -> Result<(u64, &Inode), VfsError> {
        if let Some(parent) = path.parent() {
            self.dir(Some(&parent))?;
        }
        let name = self.resolve(path).ok_or(VfsError::NotFound)?;
        let number = *self.now.names.get(&name).ok_or(VfsError::NotFound)?;
        Ok((number, self.now.inodes.get(&number).ok_or(VfsError::NotFound)?))
    }

    /// The stored name of a directory; `None` for the root.
    fn dir(&self, dir: Option<&RelPath>) -> Result<Option<RelPath>, VfsError> {
        if self.faults.contains(&Fault::Gone) {
            return Err(VfsError::NotFound);
        }
        let Some(dir) = dir else { return Ok(None) };
        let (_, inode) = self.find(dir)?;
        if inode.kind == Kind::Dir { Ok(self.resolve(dir)) } else { Err(VfsError::NotDirectory) }
    }

    /// The name a new entry gets, if one can be made.
    fn room(&self, path: &RelPath) -> Result<RelPath, VfsError> {
        let parent = path.parent();
        let dir = self.dir(parent.as_ref())?;
        if parent.is_some_and(|parent| self.faults.contains(&Fault::Unwritable(parent))) {
            return Err(VfsError::Denied);
        }
        RelPath::under(dir.as_ref(), path.name()).map_err(|_| VfsError::NameTooLong)
    }

    fn make(&mut self, path: &RelPath, kind: Kind, target: &[u8]) -> Result<(), VfsError> {
        let path = self.room(path)?;
        if self.faults.contains(&Fault::Full) {
            return Err(VfsError::Full);
        }
        if self.resolve(&path).is_some() {
            return Err(VfsError::Exists);
        }
        self.perform(Op::Make { path, kind, target: target.to_vec() });
        Ok(())
    }

    fn remove(&mut self, path: &RelPath, dir: bool) -> Result<(), VfsError> {
        let (_, inode) = self.find(path)?;
        let is_dir = inode.kind == Kind::Dir;
        self.room(path)?;
        let path = self.resolve(path).ok_or(VfsError::NotFound)?;
        match (dir, is_dir) {
            (true, false) => Err(VfsError::NotDirectory),
            (false, true) => Err(VfsError::NotFile),
            (true, true) if !self.below(&path).is_empty() => Err(VfsError::NotEmpty),
            _ => {
                self.perform(Op::Remove(path));
                Ok(())
            }
        }
    }

    fn below(&self, path: &RelPath) -> Vec<RelPath> {
        self.now.below(path)
    }
}

impl Tree {
    fn below(&self, path: &RelPath) -> Vec<RelPath> {
        let after = self.names.range(path..).map(|(name, _)| name);
        after.take_while(|name| path.holds(name)).filter(|name| *name != path).cloned().collect()
    }

    fn perform(&mut self, op: Op) {
        self.clock_ns += 1;
        let now = self.clock_ns;
        match op {
            Op::Clock(at) => self.clock_ns = at,
            Op::Make { path, kind, target } => {
                self.next_inode += 1;
                let mode = if kind == Kind::File { 0o644 } else { 0 };
                let inode = Inode { kind, data: Arc::new(target), mode, mtime_ns: now, ctime_ns: now };
                self.inodes.insert(self.next_inode, inode);
                self.names.insert(path, self.next_inode);
            }
            // The inode stays: someone may have it open.
            Op::Remove(path) => drop(self.names.remove(&path)),
            Op::Rename(from, to, how) => {
                let moved = self.take(&from);
                if how == Rename::Exchange {
                    let back = self.take(&to);
                    self.put_back(&to, &from, back, now);
                }
                self.put_back(&from, &to, moved, now);
            }
            Op::Write { inode, offset, bytes } => {
                if let Some(inode) = self.inodes.get_mut(&inode) {
                    let data = Arc::make_mut(&mut inode.data);
                    let end = offset + bytes.len();
                    if data.len() < end {
                        data.resize(end, 0);
                    }
                    if let Some(at) = data.get_mut(offset..end) {
                        at.copy_from_slice(&bytes);
                    }
                    (inode.mtime_ns, inode.ctime_ns) = (now, now);
                }
            }
            Op::SetLen { inode, len } => {
                if let Some(inode) = self.inodes.get_mut(&inode) {
                    Arc::make_mut(&mut inode.data).resize(len, 0);
                    (inode.mtime_ns, inode.ctime_ns) = (now, now);
                }
            }
            Op::SetMeta { inode, mode, mtime_ns } => {
                if let Some(inode) = self.inodes.get_mut(&inode) {
                    (inode.mode, inode.mtime_ns, inode.ctime_ns) = (mode, mtime_ns, now);
                }
            }
        }
    }

    fn take(&mut self, path: &RelPath) -> Vec<(RelPath, u64)> {
        let mut names = self.below(path);
        names.push(path.clone());
        names.into_iter().filter_map(|name| self.names.remove_entry(&name)).collect()
    }

    fn put_back(&mut self, from: &RelPath, to: &RelPath, moved: Vec<(RelPath, u64)>, now: i64) {
        for (name, inode) in moved {
            let rest = name.as_bytes().get(from.as_bytes().len()..).unwrap_or_default();
            if let Ok(name) = RelPath::new([to.as_bytes(), rest].concat()) {
                self.names.insert(name, inode);
            }
            if rest.is_empty()
                && let Some(inode) = self.inodes.get_mut(&inode)
            {
                inode.ctime_ns = now;
            }
        }
    }
}

fn stat_of(number: u64, inode: &Inode) -> Stat {
    let is_dir = inode.kind == Kind::Dir;
    Stat {
        kind: inode.kind,
        size: if inode.kind == Kind::File { inode.data.len() as u64 } else { 0 },
        mtime_ns: if is_dir { 0 } else { inode.mtime_ns },
        ctime_ns: if is_dir { 0 } else { inode.ctime_ns },
        inode: number,
        foreign: false,
        mode: inode.mode,
    }
}

impl Vfs for MemVfs {
    type File = MemFile;

    fn reopen(&mut self) -> Result<(), VfsError> {
        self.lock().dir(None).map(drop)
    }

    fn stat(&self, path: &RelPath) -> Result<Stat, VfsError> {
        self.lock().find(path).map(|(number, inode)| stat_of(number, inode))
    }

    fn list(&self, dir: Option<&RelPath>) -> Result<Vec<(Vec<u8>, Stat)>, VfsError> {
        let state = self.lock();
        if dir.is_some_and(|dir| state.faults.contains(&Fault::Unreadable(dir.clone()))) {
            return Err(VfsError::Denied);
        }
        let dir = state.dir(dir)?;
        let below = match &dir {
            Some(dir) => state.below(dir),
            None => state.now.names.keys().cloned().collect(),
        };
        let directly = below.iter().filter(|path| path.parent() == dir);
        Ok(directly
            .filter_map(|path| Some((path.name().to_vec(), state.find(path).ok()?)))
            .map(|(name, (number, inode))| (name, stat_of(number, inode)))
            .collect())
    }

    fn open(&self, path: &RelPath) -> Result<MemFile, VfsError> {
        let state = self.lock();
        if state.faults.contains(&Fault::Unreadable(path.clone())) {
            return Err(VfsError::Denied);
        }
        let (number, inode) = state.find(path)?;
        if inode.kind != Kind::File {
            return Err(VfsError::NotFile);
        }
        let grows = state.faults.contains(&Fault::GrowsWhenRead(path.clone()));
        Ok(MemFile { state: Arc::clone(&self.state), inode: number, grows })
    }

    fn open_or_create(&self, path: &RelPath) -> Result<MemFile, VfsError> {
        match self.open(path) {
            Err(VfsError::NotFound) => {
                self.lock().make(path, Kind::File, &[])?;
                self.open(path)
            }
            opened => opened,
        }
    }

    fn make_dir(&self, path: &RelPath) -> Result<(), VfsError> {
        self.lock().make(path, Kind::Dir, &[])
    }

    fn make_link(&self, path: &RelPath, target: &[u8]) -> Result<(), VfsError> {
        self.lock().make(path, Kind::Symlink, target)
    }

    fn read_link(&self, path: &RelPath) -> Result<Vec<u8>, VfsError> {
        let state = self.lock();
        let (_, inode) = state.find(path)?;
        if inode.kind == Kind::Symlink { Ok(inode.data.to_vec()) } else { Err(VfsError::NotFile) }
    }

    fn remove_file(&self, path: &RelPath) -> Result<(), VfsError> {
        self.lock().remove(path, false)
    }

    fn remove_dir(&self, path: &RelPath) -> Result<(), VfsError> {
        self.lock().remove(path, true)
    }

    fn rename(&self, from: &RelPath, to: &RelPath, how: Rename) -> Result<(), VfsError> {
        let mut state = self.lock();
        state.find(from)?;
        state.room(from)?;
        let from = state.resolve(from).ok_or(VfsError::NotFound)?;
        let (room, there) = (state.room(to)?, state.resolve(to));
        let to = match (how, there) {
            (Rename::Exchange, _) if state.faults.contains(&Fault::NoExchange) => {
                return Err(VfsError::Unsupported);
            }
            (Rename::NoReplace, Some(_)) => return Err(VfsError::Exists),
            (Rename::Exchange, None) => return Err(VfsError::NotFound),
            (Rename::NoReplace, None) => room,
            (Rename::Exchange, Some(name)) => name,
        };
        for moved in [&from, &to] {
            if state.faults.remove(&Fault::GrowsWhenReplaced(moved.clone())) {
                let (inode, offset) = state.find(moved).map(|(number, inode)| (number, inode.data.len()))?;
                state.perform(Op::Write { inode, offset, bytes: Arc::new(vec![b'+']) });
            }
        }
        state.perform(Op::Rename(from, to, how));
        Ok(())
    }

    fn sync(&self) -> Result<(), VfsError> {
        let mut state = self.lock();
        state.durable = state.now.clone();
        state.since.clear();
        Ok(())
    }
}

/// An open file in memory; it stays readable and writable when its name is gone.
#[derive(Debug)]
pub struct MemFile {
    state: Arc<Mutex<State>>,
    inode: u64,
    grows: bool,
}

impl MemFile {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn change(&self, op: Op, grows: bool) -> Result<(), VfsError> {
        let mut state = self.lock();
        if grows && state.faults.contains(&Fault::Full) {
            return Err(VfsError::Full);
        }
        state.perform(op);
        Ok(())
    }
}

impl VfsFile for MemFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, VfsError> {
        let mut state = self.lock();
        let data =
            state.now.inodes.get(&self.inode).map(|inode| Arc::clone(&inode.data)).ok_or(VfsError::Io)?;
        if self.grows {
            let (offset, bytes) = (data.len(), Arc::new(vec![b'+']));
            state.perform(Op::Write { inode: self.inode, offset, bytes });
        }
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let rest = data.get(offset..).unwrap_or_default();
        let read = rest.len().min(into.len());
        for (to, from) in into.iter_mut().zip(rest) {
            *to = *from;
        }
        Ok(read)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), VfsError> {
        let offset = usize::try_from(offset).map_err(|_| VfsError::Full)?;
        self.change(Op::Write { inode: self.inode, offset, bytes: Arc::new(bytes.to_vec()) }, true)
    }

    fn set_len(&self, len: u64) -> Result<(), VfsError> {
        let len = usize::try_from(len).map_err(|_| VfsError::Full)?;
        self.change(Op::SetLen { inode: self.inode, len }, false)
    }

    fn set_meta(&self, mode: u32, mtime_ns: i64) -> Result<(), VfsError> {
        self.change(Op::SetMeta { inode: self.inode, mode, mtime_ns }, false)
    }

    fn stat(&self) -> Result<Stat, VfsError> {
        let state = self.lock();
        state.now.inodes.get(&self.inode).map(|inode| stat_of(self.inode, inode)).ok_or(VfsError::Io)
    }
}

/// The bytes of an index in memory, which outlive the index. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct MemIndexFile {
    bytes: Arc<Mutex<(Vec<u8>, Vec<u8>)>>,
}

impl MemIndexFile {
    /// An empty file.
    pub fn new() -> Self {
        Self::default()
    }

    /// The power fails: what was written since the last sync is lost. The index that uses the file must be dropped first.
    pub fn crash(&self) {
        let mut bytes = self.lock();
        bytes.0 = bytes.1.clone();
    }

    fn lock(&self) -> MutexGuard<'_, (Vec<u8>, Vec<u8>)> {
        self.bytes.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl StorageBackend for MemIndexFile {
    fn len(&self) -> Result<u64, std::io::Error> {
        Ok(self.lock().0.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        let bytes = self.lock();
        let from = usize::try_from(offset).ok().and_then(|offset| bytes.0.get(offset..)?.get(..out.len()));
        out.copy_from_slice(from.ok_or(std::io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        self.lock().0.resize(usize::try_from(len).map_err(|_| std::io::ErrorKind::StorageFull)?, 0);
        Ok(())
    }

    fn sync_data(&self) -> Result<(), std::io::Error> {
        let mut bytes = self.lock();
        bytes.1 = bytes.0.clone();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        let mut bytes = self.lock();
        let to =
            usize::try_from(offset).ok().and_then(|offset| bytes.0.get_mut(offset..)?.get_mut(..data.len()));
        to.ok_or(std::io::ErrorKind::UnexpectedEof)?.copy_from_slice(data);
        Ok(())
    }
}
