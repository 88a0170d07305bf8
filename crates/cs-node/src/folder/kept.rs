//! Versions that were replaced or removed: sources of chunks, and a way back, for a while.

use std::collections::BTreeSet;

use super::content::{Content, Version};
use super::record::Kept;
use super::source::kept_path;
use super::vfs::{Vfs, VfsError};
use super::{Folder, FolderError, KEPT, RelPath, TMP, own};

/// A version that was replaced or removed and is still here. Its chunks can be read by [`Folder::read_chunk`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KeptVersion {
    /// Where it was.
    pub path: RelPath,
    /// What it was.
    pub content: Content,
    /// Which versions it stood for.
    pub versions: Vec<Version>,
    /// When it was replaced, wall clock, milliseconds since 1970.
    pub kept_unix_ms: u64,
}

impl<F: Vfs> Folder<F> {
    /// The kept versions, in no particular order.
    pub fn kept(&mut self) -> Result<Vec<KeptVersion>, FolderError> {
        let all = self.index.all_kept()?;
        Ok(all
            .into_iter()
            .map(|(_, kept)| KeptVersion {
                path: kept.path,
                content: kept.content,
                versions: kept.versions,
                kept_unix_ms: kept.kept_unix_ms,
            })
            .collect())
    }

    /// Whether what `path` held as these versions is kept.
    ///
    /// It tells two reasons apart why a scan may report exactly what the core shows at a path, based on an older file: if that
    /// file is kept, it was replaced here and a crash made the index forget, and the core confirms; if not, the user made
    /// the same edit, which is an operation like any other. Reads the records of all kept versions.
    pub fn has_kept(&mut self, path: &RelPath, versions: &[Version]) -> Result<bool, FolderError> {
        Ok(self.index.all_kept()?.iter().any(|(_, kept)| kept.path == *path && kept.versions == versions))
    }

    /// Removes kept versions beyond the [`Retention`](super::Retention), oldest first, and what crashes left behind in
    /// `.cosync` once it is as old. Returns how many files it removed. For every few minutes; costs a look at each kept file.
    pub fn expire(&mut self, unix_ms: u64) -> Result<usize, FolderError> {
        let mut kept = self.index.all_kept()?;
        kept.sort_by_key(|(source, kept)| (kept.kept_unix_ms, *source));
        let mut bytes: u64 = kept.iter().map(|(_, kept)| kept.stat.size).sum();
        let age_max = u64::try_from(self.options.retention.age_max.as_millis()).unwrap_or(u64::MAX);
        let mut known = BTreeSet::new();
        let mut removed = 0;
        for (source, kept) in kept {
            let old = unix_ms.saturating_sub(kept.kept_unix_ms) > age_max;
            if old || bytes > self.options.retention.bytes_max {
                bytes -= kept.stat.size;
                self.forget_kept(source, &kept)?;
                removed += 1;
            } else {
                known.insert(kept_path(source));
            }
        }
        known.extend(self.staged.values().map(|staged| staged.tmp.clone()));
        known.extend(self.downloads.files());
        for dir in [KEPT, TMP] {
            removed += self.remove_orphans(&own(&[dir]), &known, unix_ms, age_max)?;
        }
        Ok(removed)
    }

    fn forget_kept(&mut self, source: u64, kept: &Kept) -> Result<(), FolderError> {
        match self.vfs.remove_file(&kept_path(source)) {
            Ok(()) | Err(VfsError::NotFound) => {}
            Err(error) => return Err(FolderError::Disk(error)),
        }
        self.unsynced = true;
        let full = self.full_list(&kept.content)?.unwrap_or_default();
        let blobs: Vec<_> = full.blobs.iter().map(|(chunk, _)| *chunk).collect();
        self.index.remove_source(source, &full.list, &blobs)?;
        Ok(self.index.remove_kept(source)?)
    }

    /// Files that the index does not know (of) any more: judged by when they were last renamed.
    fn remove_orphans(
        &mut self,
        dir: &RelPath,
        known: &BTreeSet<RelPath>,
        unix_ms: u64,
        age_max: u64,
    ) -> Result<usize, FolderError> {
        let mut removed = 0;
        for (name, stat) in self.vfs.list(Some(dir)).map_err(FolderError::Disk)? {
            let Ok(path) = RelPath::under(Some(dir), &name) else { continue };
            let since = u64::try_from(stat.ctime_ns.max(stat.mtime_ns) / 1_000_000).unwrap_or(0);
            if !known.contains(&path)
                && unix_ms.saturating_sub(since) > age_max
                && self.vfs.remove_file(&path).is_ok()
            {
                removed += 1;
            }
        }
        Ok(removed)
    }
}
