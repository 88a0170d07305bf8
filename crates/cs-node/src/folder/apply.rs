//! Materialising what others did.

use super::content::{ChunkRef, Content, Version, Why};
use super::download::{Fetch, tmp_path};
use super::place::{Found, Staged, why};
use super::record::{Entry, Place};
use super::scan::is_racy;
use super::source::kept_path;
use super::vfs::{Kind, Rename, Stat, Vfs, VfsError, VfsFile};
use super::{Folder, FolderError, RelPath, TMP, own};

/// What became of an [`Folder::apply`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Applied {
    /// It is in place.
    Done,
    /// It is complete, and [`Folder::flush`] puts it in place.
    Staged,
    /// These chunks are nowhere here: [`Folder::write_chunk`] takes them. Of a large file, first those of its list.
    Needs(Vec<ChunkRef>),
    /// A user changed the path since it was last scanned, and nothing was touched. The next scan of any scope reports the
    /// change (or finds that it is none); apply again after that.
    Edited,
    /// Not possible now; listed in [`Folder::problems`]. Nothing was touched.
    Refused(Why),
}

/// What became of a path in [`Folder::flush`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Placed {
    /// It is in place.
    Done,
    /// As [`Applied::Edited`]. The complete file stays in `.cosync/tmp/`, where applying the same content again finds it.
    Edited,
    /// Not possible now; listed in [`Folder::problems`], and tried again by later flushes until it is applied differently or
    /// cancelled.
    Refused(Why),
}

impl<F: Vfs> Folder<F> {
    /// Makes `path` hold `content`, which is what `versions` stand for. `unix_ms` is the wall clock now.
    ///
    /// Repeating it is harmless, and how an interrupted download goes on. A newer content for the same path replaces a
    /// download under way and takes over the chunks that both share. Copies of chunks that are here already are made within
    /// the call: it takes about as long as hashing the file.
    pub fn apply(
        &mut self,
        path: &RelPath,
        content: &Content,
        versions: &[Version],
        unix_ms: u64,
    ) -> Result<Applied, FolderError> {
        let applied = self.apply_inner(path, content, versions, unix_ms)?;
        match &applied {
            Applied::Done | Applied::Staged | Applied::Needs(_) => drop(self.apply_problems.remove(path)),
            Applied::Edited => drop(self.dirty.insert(path.clone())),
            Applied::Refused(why) => drop(self.apply_problems.insert(path.clone(), *why)),
        }
        Ok(applied)
    }

    fn apply_inner(
        &mut self,
        path: &RelPath,
        content: &Content,
        versions: &[Version],
        unix_ms: u64,
    ) -> Result<Applied, FolderError> {
        if matches!(content, Content::File { size, .. } if *size > Content::MAX_FILE_BYTES) {
            return Ok(Applied::Refused(Why::TooLarge));
        }
        let entry = self.index.entry(path)?;
        let stat = match self.look(path, entry.as_ref(), *content == Content::Dir, unix_ms)? {
            Found::AsKnown(stat) => stat,
            Found::Edited => return Ok(Applied::Edited),
            Found::Refused(why) => return Ok(Applied::Refused(why)),
        };
        let entry = entry.unwrap_or_else(|| Entry::tombstone(Vec::new()));
        if !matches!(content, Content::File { .. }) {
            self.cancel(path)?;
        }
        let placed = match content {
            Content::Deleted => self.remove(path, &entry, versions, unix_ms)?,
            Content::Dir => self.place_dir(path, &entry, stat, versions, unix_ms)?,
            Content::Symlink { target } => self.place_link(path, &entry, target, versions, unix_ms)?,
            Content::File { .. } if stat.is_some() && entry.content.same_bytes(content) => {
                self.cancel(path)?;
                self.place_meta(path, entry, content, versions, unix_ms)?
            }
            Content::File { .. } => return self.place_file(path, content, versions),
        };
        Ok(match placed {
            Placed::Done => Applied::Done,
            Placed::Edited => Applied::Edited,
            Placed::Refused(why) => Applied::Refused(why),
        })
    }

    /// Puts in place what is complete, and makes everything so far durable: two fsyncs at most, whatever the number of files.
    ///
    /// What is put in place by this call is durable after the next one; call until [`Folder::needs_flush`] says no when there
    /// is time. Make the core's own log durable first.
    pub fn flush(&mut self, unix_ms: u64) -> Result<Vec<(RelPath, Placed)>, FolderError> {
        self.check_root()?;
        if self.needs_flush() {
            self.vfs.sync().map_err(FolderError::Disk)?;
            self.index.commit()?;
            self.unsynced = false;
        }
        let mut results = Vec::new();
        for (path, staged) in core::mem::take(&mut self.staged) {
            let placed = self.place_staged(&path, &staged, unix_ms)?;
            match placed {
                Placed::Done => self.downloads.forget_tmp(&staged.tmp, &staged.full.list),
                Placed::Edited => self.unstage(&staged)?,
                Placed::Refused(_) => {
                    drop(self.staged.insert(path.clone(), Staged { tried: true, ..staged }))
                }
            }
            self.note(&path, placed);
            results.push((path, placed));
        }
        for (path, versions) in core::mem::take(&mut self.emptying).into_iter().rev() {
            let placed = self.retry_removal(&path, versions, unix_ms)?;
            if placed != Placed::Refused(Why::NotEmpty) {
                self.note(&path, placed);
                results.push((path, placed));
            }
        }
        Ok(results)
    }

    fn note(&mut self, path: &RelPath, placed: Placed) {
        match placed {
            Placed::Done => drop(self.apply_problems.remove(path)),
            Placed::Edited => {
                self.apply_problems.remove(path);
                self.dirty.insert(path.clone());
            }
            Placed::Refused(why) => drop(self.apply_problems.insert(path.clone(), why)),
        }
    }

    /// Moves what a user put at `path`, and the core will not take (it has no right to write, say), out of the way into
    /// `kept/`, so that [`Folder::apply`] can restore what ought to be there.
    pub fn set_aside(&mut self, path: &RelPath, unix_ms: u64) -> Result<Placed, FolderError> {
        self.awaiting.remove(path);
        let Some(entry) = self.index.entry(path)? else { return Ok(Placed::Edited) };
        if !entry.pending {
            return Ok(Placed::Done);
        }
        let settled = Entry { pending: false, ..entry };
        let placed = match self.look(path, Some(&settled), false, unix_ms)? {
            Found::Edited => Placed::Edited,
            Found::Refused(why) => Placed::Refused(why),
            Found::AsKnown(_) => self.remove(path, &settled, &settled.versions.clone(), unix_ms)?,
        };
        self.note(path, placed);
        Ok(placed)
    }

    fn remove(
        &mut self,
        path: &RelPath,
        entry: &Entry,
        versions: &[Version],
        unix_ms: u64,
    ) -> Result<Placed, FolderError> {
        match entry.content {
            Content::Deleted => {}
            Content::Dir => match self.vfs.remove_dir(path) {
                Ok(()) | Err(VfsError::NotFound) => {}
                Err(VfsError::NotEmpty) => {
                    self.emptying.insert(path.clone(), versions.to_vec());
                    return Ok(Placed::Refused(Why::NotEmpty));
                }
                Err(error) => return Ok(Placed::Refused(why(error))),
            },
            Content::File { .. } | Content::Symlink { .. } => {
                if let Err(placed) = self.keep(path, path, entry, unix_ms)? {
                    return Ok(placed);
                }
            }
        }
        self.record(path, Entry::tombstone(versions.to_vec()))
    }

    fn retry_removal(
        &mut self,
        path: &RelPath,
        versions: Vec<Version>,
        unix_ms: u64,
    ) -> Result<Placed, FolderError> {
        match self.index.entry(path)? {
            Some(entry) if entry.content == Content::Dir && !entry.pending => {
                self.remove(path, &entry, &versions, unix_ms)
            }
            _ => Ok(Placed::Edited),
        }
    }

    fn place_dir(
        &mut self,
        path: &RelPath,
        entry: &Entry,
        stat: Option<Stat>,
        versions: &[Version],
        unix_ms: u64,
    ) -> Result<Placed, FolderError> {
        if stat.is_none_or(|stat| stat.kind != Kind::Dir) {
            if let Err(why) = self.make_parents(path)? {
                return Ok(Placed::Refused(why));
            }
            if stat.is_some()
                && let Err(placed) = self.keep(path, path, entry, unix_ms)?
            {
                return Ok(placed);
            }
            match self.vfs.make_dir(path) {
                Ok(()) => {}
                Err(error) => {
                    self.unkeep(path, entry)?;
                    let edited = error == VfsError::Exists;
                    return Ok(if edited { Placed::Edited } else { Placed::Refused(why(error)) });
                }
            }
        }
        let stat = self.vfs.stat(path).ok();
        self.record(path, Entry { stat, content: Content::Dir, ..Entry::tombstone(versions.to_vec()) })
    }

    fn place_link(
        &mut self,
        path: &RelPath,
        entry: &Entry,
        target: &[u8],
        versions: &[Version],
        unix_ms: u64,
    ) -> Result<Placed, FolderError> {
        let content = Content::Symlink { target: target.to_vec() };
        if entry.content != content {
            if let Err(why) = self.make_parents(path)? {
                return Ok(Placed::Refused(why));
            }
            let tmp = own(&[TMP, b"link"]);
            let _ = self.vfs.remove_file(&tmp);
            if let Err(error) = self.vfs.make_link(&tmp, target) {
                return Ok(Placed::Refused(why(error)));
            }
            if let Err(placed) = self.rename_into_place(&tmp, path, Some(entry), unix_ms)? {
                let _ = self.vfs.remove_file(&tmp);
                return Ok(placed);
            }
        }
        let stat = self.vfs.stat(path).ok();
        self.record(path, Entry { stat, content, ..Entry::tombstone(versions.to_vec()) })
    }

    /// The bytes are there: only the executable bit, the time or the versions differ.
    fn place_meta(
        &mut self,
        path: &RelPath,
        entry: Entry,
        content: &Content,
        versions: &[Version],
        unix_ms: u64,
    ) -> Result<Placed, FolderError> {
        if entry.content != *content
            && let Err(error) = self.set_meta(path, path, content)
        {
            return Ok(Placed::Refused(why(error)));
        }
        let Ok(stat) = self.vfs.stat(path) else { return Ok(Placed::Edited) };
        let racy = is_racy(&stat, unix_ms);
        self.record(
            path,
            Entry { stat: Some(stat), content: content.clone(), versions: versions.to_vec(), racy, ..entry },
        )
    }

    fn place_file(
        &mut self,
        path: &RelPath,
        content: &Content,
        versions: &[Version],
    ) -> Result<Applied, FolderError> {
        self.emptying.remove(path);
        if self.take_from_kept(path, content, versions)? {
            return Ok(Applied::Staged);
        }
        Ok(match self.fetch(path, content, versions)? {
            Fetch::Complete => Applied::Staged,
            Fetch::Needs(needs) => Applied::Needs(needs),
            Fetch::Refused(why) => Applied::Refused(why),
        })
    }

    /// The second half of a rename whose deletion came first: the kept file itself becomes the new one, and no byte is copied.
    fn take_from_kept(
        &mut self,
        path: &RelPath,
        content: &Content,
        versions: &[Version],
    ) -> Result<bool, FolderError> {
        let Some(first) = content.refs().first() else { return Ok(false) };
        if self.staged.get(path).is_some_and(|staged| staged.content == *content) {
            return Ok(false);
        }
        for (source, kept) in self.index.kept_with(&first.id)? {
            if !kept.content.same_bytes(content) {
                continue;
            }
            let Some(full) = self.full_list(&kept.content)? else { continue };
            let from = kept_path(source);
            if self.vfs.stat(&from) != Ok(kept.stat) {
                continue;
            }
            self.cancel(path)?;
            let tmp = tmp_path(path, content);
            let _ = self.vfs.remove_file(&tmp);
            if self.vfs.rename(&from, &tmp, Rename::NoReplace).is_err() {
                continue;
            }
            self.unsynced = true;
            self.index.remove_kept(source)?;
            self.index.put_place(source, &Place::Path(tmp.clone()))?;
            self.set_meta(path, &tmp, content).map_err(FolderError::Disk)?;
            let (content, versions) = (content.clone(), versions.to_vec());
            let staged = Staged { content, versions, tmp, full, source: Some(source), tried: false };
            self.staged.insert(path.clone(), staged);
            return Ok(true);
        }
        Ok(false)
    }

    fn place_staged(&mut self, path: &RelPath, staged: &Staged, unix_ms: u64) -> Result<Placed, FolderError> {
        let entry = self.index.entry(path)?;
        match self.look(path, entry.as_ref(), false, unix_ms)? {
            Found::AsKnown(_) => {}
            Found::Edited => return Ok(Placed::Edited),
            Found::Refused(why) => return Ok(Placed::Refused(why)),
        }
        if let Err(why) = self.make_parents(path)? {
            return Ok(Placed::Refused(why));
        }
        if let Err(placed) = self.rename_into_place(&staged.tmp, path, entry.as_ref(), unix_ms)? {
            return Ok(placed);
        }
        let Ok(stat) = self.vfs.open(path).and_then(|file| file.stat()) else { return Ok(Placed::Edited) };
        let place = Place::Path(path.clone());
        let source = match staged.source {
            Some(source) => {
                self.index.put_place(source, &place)?;
                source
            }
            None => self.index.add_source(&place, &staged.full.list, &staged.full.blobs)?,
        };
        let racy = is_racy(&stat, unix_ms);
        let (content, versions) = (staged.content.clone(), staged.versions.clone());
        self.record(
            path,
            Entry { stat: Some(stat), content, versions, pending: false, racy, source: Some(source) },
        )
    }

    fn record(&mut self, path: &RelPath, entry: Entry) -> Result<Placed, FolderError> {
        self.unsynced = true;
        self.index.put_entry(path, &entry)?;
        Ok(Placed::Done)
    }
}
