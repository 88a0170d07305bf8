//! One shared folder on disk: finds what its user changed, materialises what others did, and never loses either.
//!
//! [`Folder`] is synchronous and reads no clock: the driver runs it on a thread of its own over a [`DirVfs`], the simulator
//! inline over a [`MemVfs`]. It knows chunks and versions; it knows no peer, no key but the one that names chunks, and no
//! message.
//!
//! # Its life
//!
//! ```text
//!   user edits ──► begin_scan, scan_step ──► LocalChange ──► the core writes an operation ──► confirm
//!   operations of others ──► apply ──► Needs(chunks) ──► write_chunk … ──► Staged ──► flush ──► Placed::Done
//!                               └────► Edited: the user was faster; scan again, then decide again
//!   a peer asks for a chunk ──► read_chunk
//! ```
//!
//! - **Scan** compares what the file system says (kind, size, times, inode) with the index and reads only what differs.
//!   Deletions are found by absence, at the end, and only if the folder's marker is still there: an unmounted disk or a
//!   replaced root is an error and never an empty folder. A change is reported once, and again after a restart, until it is
//!   confirmed.
//! - **Apply** fetches chunks that are nowhere in the folder, in `kept/` or in a partial download, so renames move no data,
//!   also when the deletion comes first. A file is complete in `.cosync/tmp/` and synced to disk before it takes its place.
//! - **Placing** exchanges old and new in one step and then looks at the old one: if it is not what the index says, a user
//!   edited it meanwhile, both change back, and the edit is reported instead. Nothing unread is ever overwritten.
//! - **What was replaced** or removed goes to `.cosync/kept/` and stays there within the [`Retention`].
//!
//! # What a crash can do
//!
//! The file system may lose the last moments, the index its last transaction, in any combination. The index is committed only
//! after a sync that follows the last rename it speaks of, so it is never ahead of the disk. When it is behind, a scan
//! reports content that the core already knows, and the core answers with `confirm`.
//!
//! Two orders are the core's to keep. [`Folder::flush`] comes between a scan and the operations made from it, so that nobody
//! hears of bytes that a power cut could take back, and so that [`Folder::unconfirmed`] knows after a crash which edit an
//! operation in the log was made from. And an operation is durable in the log before it is confirmed or applied here.
//!
//! # Limits
//!
//! Owners, access lists and extended attributes are not carried. Hard links become separate files. Other file systems mounted
//! inside the folder are not crossed into. A program that keeps a replaced file open goes on writing to the kept copy.

mod apply;
mod chunker;
mod content;
mod dir;
mod download;
mod ignore;
mod index;
mod kept;
mod mem;
mod path;
mod place;
mod record;
mod recover;
mod scan;
mod source;
mod vfs;
mod watch;
pub mod wire;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

pub use apply::{Applied, Placed};
pub use chunker::ChunkKey;
pub use content::{ChunkId, ChunkList, ChunkRef, Content, Extension, FileVersion, LocalChange, Version, Why};
pub use dir::{DirFile, DirVfs};
pub use download::Written;
pub use ignore::{IGNORE_FILE, RESERVED};
pub use index::{Index, IndexError, Materialised};
pub use kept::KeptVersion;
pub use mem::{Fault, MemFile, MemIndexFile, MemVfs};
pub use path::RelPath;
pub use scan::{Budget, Scan, Scope, Step, Summary};
pub use vfs::{Kind, Rename, Stat, Vfs, VfsError, VfsFile};
pub use watch::{Debounce, Dirty, WatchError, Watcher};
pub use wire::DecodeError;

use download::Downloads;
use ignore::IgnoreRules;
use place::Staged;
use record::Entry;

/// Why the folder as a whole cannot go on. Trouble with single paths is in [`Folder::problems`] instead.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FolderError {
    /// The folder is gone, not a directory, or its disk is not mounted. Nothing was read or changed.
    #[error("the folder is not there: is its disk mounted?")]
    RootMissing,
    /// The directory is there and its marker `.cosync/folder` is not: something else is mounted or was put here. Nothing was
    /// read or changed.
    #[error("the folder's marker .cosync/folder is missing: this is not the shared folder")]
    MarkerMissing,
    /// The marker is that of another shared folder. Nothing was read or changed.
    #[error("another shared folder is at this place")]
    OtherFolder,
    /// The folder's disk failed in a way that concerns all of it. What was being done was not, or not completely, done, and
    /// may be done again.
    #[error("the folder's disk: {0}")]
    Disk(VfsError),
    /// The index failed. Changes since the last [`Folder::flush`] are found again by a scan.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The bytes given to [`Folder::write_chunk`] are not the chunk they are said to be: the sender's fault. Nothing changed.
    #[error("the bytes are not those of the chunk")]
    WrongChunk,
}

/// How long replaced and removed versions are kept. Whatever exceeds either limit goes, oldest first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    /// Bytes of kept files, all together.
    pub bytes_max: u64,
    /// Since a version was replaced.
    pub age_max: Duration,
}

impl Default for Retention {
    /// 1 GiB, 30 days.
    fn default() -> Self {
        Self { bytes_max: 1 << 30, age_max: Duration::from_secs(30 * 24 * 3600) }
    }
}

/// What a folder needs to know from outside.
#[derive(Clone, Debug)]
pub struct Options {
    /// Names chunks; the same for all members of the space.
    pub chunk_key: ChunkKey,
    /// Goes into the marker of a folder that has none yet. Any 16 bytes that no other folder has.
    pub marker: [u8; 16],
    /// For replaced and removed versions.
    pub retention: Retention,
}

/// One shared folder. See the [module](self) for how its calls belong together.
#[derive(Debug)]
pub struct Folder<F: Vfs> {
    vfs: F,
    index: Index,
    options: Options,
    marker: Vec<u8>,
    rules: IgnoreRules,
    folds_case: bool,
    downloads: Downloads,
    staged: BTreeMap<RelPath, Staged>,
    /// Removals of directories that are not empty yet, with the versions of the removal.
    emptying: BTreeMap<RelPath, Vec<Version>>,
    /// Paths that are known to differ from the index, for the next scan.
    dirty: BTreeSet<RelPath>,
    /// Paths whose change was reported and not confirmed yet: not reported again.
    awaiting: BTreeSet<RelPath>,
    scan_problems: BTreeMap<RelPath, Why>,
    apply_problems: BTreeMap<RelPath, Why>,
    /// Something was renamed or recorded since the last sync and commit.
    unsynced: bool,
}

impl<F: Vfs> Folder<F> {
    /// Opens a folder with its index. A folder that is new to its index gets the directory `.cosync` and a marker; one that
    /// the index knows must have its marker still.
    pub fn open(mut vfs: F, mut index: Index, options: Options) -> Result<Self, FolderError> {
        vfs.reopen().map_err(root_fault)?;
        let found = read_marker(&vfs)?;
        let marker = match (index.meta("marker")?, found) {
            (Some(known), Some(found)) if known == found => found,
            (Some(_), Some(_)) => return Err(FolderError::OtherFolder),
            (Some(_), None) => return Err(FolderError::MarkerMissing),
            (None, Some(found)) => found,
            (None, None) => write_marker(&vfs, &options.marker)?,
        };
        for name in [TMP, KEPT] {
            make_dir_if_missing(&vfs, &own(&[name]))?;
        }
        vfs.sync().map_err(FolderError::Disk)?;
        index.put_meta("marker", &marker)?;
        recover::recover(&vfs, &mut index)?;
        index.commit()?;
        let folds_case = vfs.stat(&RelPath::new(".COSYNC").map_err(|_| FolderError::RootMissing)?).is_ok();
        let mut rules = IgnoreRules::none();
        rules.refresh(&vfs);
        // Scans come across edits by themselves, but not across removals: they are not listed anywhere.
        let pending = index.pending()?.into_iter();
        let dirty = pending.filter(|(_, entry)| !entry.is_present()).map(|(path, _)| path).collect();
        Ok(Self {
            vfs,
            index,
            options,
            marker,
            rules,
            folds_case,
            downloads: Downloads::default(),
            staged: BTreeMap::new(),
            emptying: BTreeMap::new(),
            dirty,
            awaiting: BTreeSet::new(),
            scan_problems: BTreeMap::new(),
            apply_problems: BTreeMap::new(),
            unsynced: false,
        })
    }

    /// Edits that were reported before the last restart, or were about to be, and never confirmed; as the index has them,
    /// without a look at the disk. Reads the whole index.
    ///
    /// To be asked once after opening, before the first scan: for each that the core finds in its own log (same path, content
    /// and base), the confirmation was lost in a crash and is due again. The others can be left to the scan.
    pub fn unconfirmed(&mut self) -> Result<Vec<LocalChange>, FolderError> {
        let pending = self.index.pending()?.into_iter();
        Ok(pending
            .map(|(path, entry)| LocalChange { path, base: entry.versions, content: entry.content })
            .collect())
    }

    /// The core took a local change, or found that it equals what it knows: `content` at `path` is `versions` from here on.
    ///
    /// True when that is what the path holds as far as known. False when it was changed again meanwhile; that edit is reported
    /// by the next scan, based on `versions`. Costs a lookup and a write in the index.
    pub fn confirm(
        &mut self,
        path: &RelPath,
        content: &Content,
        versions: &[Version],
    ) -> Result<bool, FolderError> {
        self.awaiting.remove(path);
        let mut entry = match self.index.entry(path)? {
            Some(entry) => entry,
            None if *content == Content::Deleted => Entry::tombstone(Vec::new()),
            None => return Ok(false),
        };
        let same = entry.content.same_data(content);
        entry.versions = versions.to_vec();
        if same {
            entry.content = content.clone();
            entry.pending = false;
        } else {
            entry.pending = true;
            self.dirty.insert(path.clone());
        }
        self.index.put_entry(path, &entry)?;
        self.unsynced = true;
        Ok(same)
    }

    /// The core will not take the local change it was told of. It stays on disk and is reported again by a later scan; see
    /// [`Folder::set_aside`] to be rid of it.
    pub fn withdraw(&mut self, path: &RelPath) {
        self.awaiting.remove(path);
    }

    /// What a path holds and since which versions, as far as known; a removed path has [`Content::Deleted`].
    pub fn materialised(&mut self, path: &RelPath) -> Result<Option<Materialised>, FolderError> {
        Ok(self.index.entry(path)?.map(Materialised::from))
    }

    /// Up to `most` known paths after `after`, in order, removed ones included.
    pub fn materialised_after(
        &mut self,
        after: Option<&RelPath>,
        most: usize,
    ) -> Result<Vec<(RelPath, Materialised)>, FolderError> {
        let from = after.map(|path| [path.key().as_slice(), &[0]].concat()).unwrap_or_default();
        let page = self.index.page(&from, most)?;
        Ok(page.into_iter().map(|(path, entry)| (path, entry.into())).collect())
    }

    /// Paths that cannot be synchronised at present, and why. They are tried again by scans and flushes.
    pub fn problems(&self) -> impl Iterator<Item = (&RelPath, Why)> {
        self.scan_problems.iter().chain(&self.apply_problems).map(|(path, why)| (path, *why))
    }

    /// Lines of the ignore file that are no pattern.
    pub fn bad_ignore_lines(&self) -> usize {
        self.rules.bad_lines
    }

    /// Whether some path is known to differ from the index, so that a scan is due.
    pub fn needs_scan(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Whether [`Folder::flush`] has anything to do.
    pub fn needs_flush(&self) -> bool {
        self.unsynced || self.staged.values().any(|staged| !staged.tried)
    }

    /// How many files are being fetched, and how many of their chunks are still missing.
    pub fn downloading(&self) -> (usize, usize) {
        self.downloads.count()
    }

    /// The file system below.
    pub fn vfs(&self) -> &F {
        &self.vfs
    }

    /// Fails unless the folder is still the one it was.
    pub(crate) fn check_root(&mut self) -> Result<(), FolderError> {
        self.vfs.reopen().map_err(root_fault)?;
        match read_marker(&self.vfs)? {
            Some(found) if found == self.marker => Ok(()),
            Some(_) => Err(FolderError::OtherFolder),
            None => Err(FolderError::MarkerMissing),
        }
    }
}

const TMP: &[u8] = b"tmp";
const KEPT: &[u8] = b"kept";
const MARKER: &[u8] = b"folder";

/// A path in the folder's own directory. The names are this module's own and short.
pub(crate) fn own(names: &[&[u8]]) -> RelPath {
    let path = [&[RESERVED.as_bytes()], names].concat().join(&b'/');
    RelPath::new(path).expect("own names are short and plain")
}

fn read_marker(vfs: &impl Vfs) -> Result<Option<Vec<u8>>, FolderError> {
    let file = match vfs.open(&own(&[MARKER])) {
        Ok(file) => file,
        Err(VfsError::NotFound | VfsError::NotDirectory | VfsError::NotFile) => return Ok(None),
        Err(error) => return Err(FolderError::Disk(error)),
    };
    let mut marker = vec![0; 64];
    let read = file.read_at(0, &mut marker).map_err(FolderError::Disk)?;
    marker.truncate(read);
    Ok(Some(marker).filter(|marker| !marker.is_empty()))
}

fn write_marker(vfs: &impl Vfs, id: &[u8; 16]) -> Result<Vec<u8>, FolderError> {
    make_dir_if_missing(vfs, &own(&[]))?;
    let text: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
    let marker = format!("{text}\n").into_bytes();
    let file = vfs.open_or_create(&own(&[MARKER])).map_err(FolderError::Disk)?;
    file.write_at(0, &marker).map_err(FolderError::Disk)?;
    Ok(marker)
}

fn make_dir_if_missing(vfs: &impl Vfs, path: &RelPath) -> Result<(), FolderError> {
    match vfs.make_dir(path) {
        Ok(()) | Err(VfsError::Exists) => Ok(()),
        Err(error) => Err(FolderError::Disk(error)),
    }
}

fn root_fault(error: VfsError) -> FolderError {
    match error {
        VfsError::NotFound | VfsError::NotDirectory | VfsError::NotFile => FolderError::RootMissing,
        other => FolderError::Disk(other),
    }
}

impl From<Entry> for Materialised {
    fn from(entry: Entry) -> Self {
        Self { content: entry.content, versions: entry.versions, pending: entry.pending }
    }
}
