//! Putting what is complete in its place, without ever overwriting what no one has read.

use super::content::{Content, Version, Why};
use super::ignore::is_reserved;
use super::record::{Entry, Kept, Place};
use super::scan::is_racy;
use super::source::{FullList, kept_path};
use super::vfs::{Kind, Rename, Stat, Vfs, VfsError};
use super::{Folder, FolderError, Placed, RelPath};

/// A file that is complete in `.cosync/tmp/` and waits to be synced and renamed.
#[derive(Clone, Debug)]
pub(crate) struct Staged {
    pub(crate) content: Content,
    pub(crate) versions: Vec<Version>,
    pub(crate) tmp: RelPath,
    pub(crate) full: FullList,
    /// Set when the file came from `kept/` whole, and is known as a source already.
    pub(crate) source: Option<u64>,
    /// A flush could not place it; it is tried again with the others, and no flush is due for it alone.
    pub(crate) tried: bool,
}

/// What is at a path, measured against the index.
pub(crate) enum Found {
    /// What the index says: this stat, or nothing.
    AsKnown(Option<Stat>),
    /// Something the index does not know of.
    Edited,
    Refused(Why),
}

impl<F: Vfs> Folder<F> {
    /// Compares a path with the index. `is_dir`: a directory is about to be made, so an unknown one there is welcome.
    pub(crate) fn look(
        &mut self,
        path: &RelPath,
        entry: Option<&Entry>,
        is_dir: bool,
        unix_ms: u64,
    ) -> Result<Found, FolderError> {
        if is_reserved(path) {
            return Ok(Found::Refused(Why::Reserved));
        }
        if self.rules.ignores_at_any_depth(path, is_dir) {
            return Ok(Found::Refused(Why::Ignored));
        }
        if entry.is_some_and(|entry| entry.pending) {
            return Ok(Found::Edited);
        }
        let stat = match self.vfs.stat(path) {
            Ok(stat) => stat,
            Err(VfsError::NotFound | VfsError::NotDirectory) if entry.is_some_and(Entry::is_present) => {
                return Ok(Found::Edited);
            }
            Err(VfsError::NotFound | VfsError::NotDirectory) => return Ok(Found::AsKnown(None)),
            Err(VfsError::OtherFileSystem) => return Ok(Found::Refused(Why::OtherFileSystem)),
            Err(error) => return Ok(Found::Refused(Why::Disk(error))),
        };
        if stat.foreign {
            return Ok(Found::Refused(Why::OtherFileSystem));
        }
        match entry.filter(|entry| entry.is_present()) {
            Some(entry) if entry.still_has(&stat) => {
                let same = !entry.racy || self.reads_the_same(path, entry, unix_ms)?;
                Ok(if same { Found::AsKnown(Some(stat)) } else { Found::Edited })
            }
            _ if stat.kind == Kind::Special => Ok(Found::Refused(Why::Special)),
            None if self.folds_case && !self.is_listed(path) => Ok(Found::Refused(Why::NameCollision)),
            None if is_dir && stat.kind == Kind::Dir => Ok(Found::AsKnown(Some(stat))),
            _ => Ok(Found::Edited),
        }
    }

    /// The times of this file may hide an edit: reads it. True if there was none.
    fn reads_the_same(&mut self, path: &RelPath, entry: &Entry, unix_ms: u64) -> Result<bool, FolderError> {
        use super::vfs::VfsFile;
        let Ok(file) = self.vfs.open(path) else { return Ok(false) };
        let Ok(before) = file.stat() else { return Ok(false) };
        let mut chunker = super::chunker::Chunker::new(before.size);
        if chunker.step(&self.options.chunk_key, &file, u64::MAX).is_err() || file.stat() != Ok(before) {
            return Ok(false);
        }
        let (content, _) = self.file_content(&before, chunker.finish().1);
        if !content.same_bytes(&entry.content) || entry.stat != Some(before) {
            return Ok(false);
        }
        self.index.put_entry(path, &Entry { racy: is_racy(&before, unix_ms), ..entry.clone() })?;
        Ok(true)
    }

    /// Whether the directory lists exactly this name, and not another one that the file system takes for it.
    fn is_listed(&self, path: &RelPath) -> bool {
        let listed = self.vfs.list(path.parent().as_ref());
        listed.is_ok_and(|entries| entries.iter().any(|(name, _)| name == path.name()))
    }

    /// Makes the directories above a path that are missing. They are recorded without versions: their own operations give
    /// them some, and until then no scan takes them for the user's.
    pub(crate) fn make_parents(&mut self, path: &RelPath) -> Result<Result<(), Why>, FolderError> {
        let Some(parent) = path.parent() else { return Ok(Ok(())) };
        let is_known = self.index.entry(&parent)?.is_some_and(|entry| entry.is_present());
        if is_known && self.vfs.stat(&parent).is_ok_and(|stat| stat.kind == Kind::Dir && !stat.foreign) {
            return Ok(Ok(()));
        }
        let above: Vec<RelPath> = path.ancestors().collect();
        for dir in above {
            match self.vfs.stat(&dir) {
                Ok(stat) if stat.foreign => return Ok(Err(Why::OtherFileSystem)),
                Ok(stat) if stat.kind == Kind::Dir => {
                    if self.folds_case && self.index.entry(&dir)?.is_none() && !self.is_listed(&dir) {
                        return Ok(Err(Why::NameCollision));
                    }
                    continue;
                }
                Ok(_) => return Ok(Err(Why::ParentNotDirectory)),
                Err(VfsError::NotFound) => {}
                Err(error) => return Ok(Err(why(error))),
            }
            let known = self.index.entry(&dir)?;
            if known.as_ref().is_some_and(Entry::is_present) {
                // The user removed it. Making it again for what is below would undo that before it was heard of.
                self.dirty.insert(dir);
                return Ok(Err(Why::Changing));
            }
            if let Err(error) = self.vfs.make_dir(&dir) {
                return Ok(Err(why(error)));
            }
            let versions = known.map(|entry| entry.versions).unwrap_or_default();
            let stat = self.vfs.stat(&dir).ok();
            let entry = Entry { stat, content: Content::Dir, ..Entry::tombstone(versions) };
            self.unsynced = true;
            self.index.put_entry(&dir, &entry)?;
        }
        Ok(Ok(()))
    }

    /// Renames a complete file or link from `tmp` to `path`, where `before` is what the index knows there.
    ///
    /// What was there is in `kept/` afterwards. If it is not what the index says, everything is as before.
    pub(crate) fn rename_into_place(
        &mut self,
        tmp: &RelPath,
        path: &RelPath,
        before: Option<&Entry>,
        unix_ms: u64,
    ) -> Result<Result<(), Placed>, FolderError> {
        let before = before.filter(|entry| entry.is_present());
        if let Some(entry) = before {
            if entry.content == Content::Dir {
                match self.vfs.remove_dir(path) {
                    Ok(()) | Err(VfsError::NotFound) => {}
                    Err(error) => return Ok(Err(Placed::Refused(why(error)))),
                }
                self.unsynced = true;
            } else {
                match self.vfs.rename(tmp, path, Rename::Exchange) {
                    Ok(()) => return self.put_away(tmp, path, entry, unix_ms),
                    Err(VfsError::Unsupported) => {
                        if let Err(placed) = self.keep(path, path, entry, unix_ms)? {
                            return Ok(Err(placed));
                        }
                        let placed = self.rename_to_free(tmp, path);
                        if placed.is_err() {
                            self.unkeep(path, entry)?;
                        }
                        return Ok(placed);
                    }
                    Err(VfsError::NotFound) => return Ok(Err(Placed::Edited)),
                    Err(error) => return Ok(Err(Placed::Refused(why(error)))),
                }
            }
        }
        let placed = self.rename_to_free(tmp, path);
        if placed.is_err() && before.is_some() {
            // It was an empty directory a moment ago.
            let _ = self.vfs.make_dir(path);
        }
        Ok(placed)
    }

    fn rename_to_free(&self, tmp: &RelPath, path: &RelPath) -> Result<(), Placed> {
        match self.vfs.rename(tmp, path, Rename::NoReplace) {
            Ok(()) => Ok(()),
            Err(VfsError::Exists) => Err(Placed::Edited),
            Err(error) => Err(Placed::Refused(why(error))),
        }
    }

    /// What was kept a moment ago goes back, since nothing could take its place.
    pub(crate) fn unkeep(&mut self, path: &RelPath, entry: &Entry) -> Result<(), FolderError> {
        let Some(source) = entry.source else { return Ok(()) };
        if self.vfs.rename(&kept_path(source), path, Rename::NoReplace).is_ok() {
            self.index.remove_kept(source)?;
            self.index.put_place(source, &Place::Path(path.clone()))?;
            let stat = self.vfs.stat(path).ok();
            self.index.put_entry(path, &Entry { stat, ..entry.clone() })?;
        }
        Ok(())
    }

    /// Old and new have changed places: checks the old one, which is at `tmp` now, and keeps it, or changes back.
    fn put_away(
        &mut self,
        tmp: &RelPath,
        path: &RelPath,
        entry: &Entry,
        unix_ms: u64,
    ) -> Result<Result<(), Placed>, FolderError> {
        let was = self.vfs.stat(tmp).map_err(FolderError::Disk)?;
        if !entry.stat.is_some_and(|stat| stat.same_file(&was)) {
            self.vfs.rename(tmp, path, Rename::Exchange).map_err(FolderError::Disk)?;
            return Ok(Err(Placed::Edited));
        }
        let kept = self.keep(tmp, path, entry, unix_ms)?;
        if kept.is_err() {
            self.vfs.rename(tmp, path, Rename::Exchange).map_err(FolderError::Disk)?;
        }
        Ok(kept)
    }

    /// Moves the file or link at `from`, which is or was at `path`, to `kept/`. Links are small enough to forget.
    pub(crate) fn keep(
        &mut self,
        from: &RelPath,
        path: &RelPath,
        entry: &Entry,
        unix_ms: u64,
    ) -> Result<Result<(), Placed>, FolderError> {
        let Some(source) = entry.source else {
            return Ok(self.vfs.remove_file(from).map_err(|error| Placed::Refused(why(error))));
        };
        let to = kept_path(source);
        match self.vfs.rename(from, &to, Rename::NoReplace) {
            Ok(()) => {}
            Err(VfsError::NotFound) => return Ok(Err(Placed::Edited)),
            Err(error) => return Ok(Err(Placed::Refused(why(error)))),
        }
        self.unsynced = true;
        let stat = self.vfs.stat(&to).map_err(FolderError::Disk)?;
        if !entry.stat.is_some_and(|known| known.same_file(&stat)) {
            self.vfs.rename(&to, from, Rename::NoReplace).map_err(FolderError::Disk)?;
            return Ok(Err(Placed::Edited));
        }
        let kept = Kept {
            path: path.clone(),
            content: entry.content.clone(),
            versions: entry.versions.clone(),
            kept_unix_ms: unix_ms,
            stat,
        };
        self.index.put_kept(source, &kept)?;
        self.index.put_place(source, &Place::Kept)?;
        Ok(Ok(()))
    }
}

/// What a failed call means for one path.
pub(crate) fn why(error: VfsError) -> Why {
    match error {
        VfsError::NotEmpty => Why::NotEmpty,
        VfsError::NotDirectory => Why::ParentNotDirectory,
        VfsError::OtherFileSystem => Why::OtherFileSystem,
        VfsError::NameTooLong => Why::TooLarge,
        other => Why::Disk(other),
    }
}
