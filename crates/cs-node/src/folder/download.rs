//! Files that are being put together in `.cosync/tmp/`.

use std::collections::{BTreeMap, BTreeSet};

use super::content::{ChunkId, ChunkList, ChunkRef, Content, Version, Why};
use super::place::Staged;
use super::source::FullList;
use super::vfs::{Vfs, VfsError, VfsFile};
use super::wire::decode_list;
use super::{Folder, FolderError, RelPath, TMP, own};

/// What a chunk that arrived made possible.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Written {
    /// Files that are complete now and wait for [`Folder::flush`].
    pub staged: Vec<RelPath>,
    /// Files whose list is complete now, and the chunks they need.
    pub needs: Vec<(RelPath, Vec<ChunkRef>)>,
    /// Files that cannot be fetched: their lists are wrong.
    pub refused: Vec<(RelPath, Why)>,
}

/// All downloads, and an index over them by chunk.
#[derive(Debug, Default)]
pub(crate) struct Downloads {
    by_path: BTreeMap<RelPath, Download>,
    wanted: BTreeMap<ChunkId, BTreeSet<RelPath>>,
    /// Chunks that are in temporary files: file, offset, length.
    have: BTreeMap<ChunkId, (RelPath, u64, u32)>,
}

/// One file on its way.
#[derive(Debug)]
pub(crate) struct Download {
    content: Content,
    versions: Vec<Version>,
    tmp: RelPath,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Chunks of the list are missing.
    List { have: BTreeMap<ChunkId, Vec<u8>>, missing: BTreeSet<ChunkId> },
    /// Chunks of the file are missing: each with the offsets it belongs at.
    Data { full: FullList, missing: BTreeMap<ChunkId, (u32, Vec<u64>)> },
}

impl Downloads {
    /// Files, and chunks they miss.
    pub(crate) fn count(&self) -> (usize, usize) {
        (self.by_path.len(), self.wanted.len())
    }

    /// The temporary file, offset and length of a chunk that was fetched or copied already.
    pub(crate) fn locate(&self, id: &ChunkId) -> Option<(RelPath, u64, u32)> {
        self.have.get(id).cloned()
    }

    /// The temporary files in use.
    pub(crate) fn files(&self) -> impl Iterator<Item = RelPath> + '_ {
        self.by_path.values().map(|download| download.tmp.clone())
    }

    fn insert(&mut self, path: RelPath, download: Download) {
        for id in download.missing() {
            self.wanted.entry(id).or_default().insert(path.clone());
        }
        self.by_path.insert(path, download);
    }

    fn remove(&mut self, path: &RelPath) -> Option<Download> {
        let download = self.by_path.remove(path)?;
        self.unwant(path, &download);
        Some(download)
    }

    fn unwant(&mut self, path: &RelPath, download: &Download) {
        for id in download.missing() {
            if let Some(paths) = self.wanted.get_mut(&id) {
                paths.remove(path);
                if paths.is_empty() {
                    self.wanted.remove(&id);
                }
            }
        }
    }

    /// The temporary file is gone or its chunks have another source now.
    pub(crate) fn forget_tmp(&mut self, tmp: &RelPath, list: &[ChunkRef]) {
        for chunk in list {
            if self.have.get(&chunk.id).is_some_and(|(at, ..)| at == tmp) {
                self.have.remove(&chunk.id);
            }
        }
    }
}

impl Download {
    fn is_complete(&self) -> bool {
        match &self.stage {
            Stage::List { missing, .. } => missing.is_empty(),
            Stage::Data { missing, .. } => missing.is_empty(),
        }
    }

    fn missing(&self) -> Vec<ChunkId> {
        match &self.stage {
            Stage::List { missing, .. } => missing.iter().copied().collect(),
            Stage::Data { missing, .. } => missing.keys().copied().collect(),
        }
    }

    fn needs(&self) -> Vec<ChunkRef> {
        match &self.stage {
            Stage::List { missing, .. } => {
                let wanted = self.content.refs().iter().filter(|chunk| missing.contains(&chunk.id));
                wanted.copied().collect::<BTreeSet<_>>().into_iter().collect()
            }
            Stage::Data { full, missing } => {
                let mut seen = BTreeSet::new();
                let wanted =
                    full.list.iter().filter(|chunk| missing.contains_key(&chunk.id) && seen.insert(chunk.id));
                wanted.copied().collect()
            }
        }
    }

    fn list(&self) -> &[ChunkRef] {
        match &self.stage {
            Stage::List { .. } => &[],
            Stage::Data { full, .. } => &full.list,
        }
    }
}

/// What a chunk turned out to be for one download.
enum Stored {
    Good,
    /// Its length is not what the list says: the list lies, and the file can never be complete.
    Mislabelled,
}

/// How a fetch begins.
pub(crate) enum Fetch {
    /// Everything was here.
    Complete,
    Needs(Vec<ChunkRef>),
    Refused(Why),
}

impl<F: Vfs> Folder<F> {
    /// Takes a chunk that some download needs. Chunks that none needs are dropped.
    ///
    /// `Err(WrongChunk)` blames the sender. After `Err(Disk(Full))` nothing changed, and the chunk may be written again later.
    pub fn write_chunk(&mut self, id: &ChunkId, bytes: &[u8]) -> Result<Written, FolderError> {
        if self.options.chunk_key.id(bytes) != *id {
            return Err(FolderError::WrongChunk);
        }
        let mut written = Written::default();
        let mut paths = self.downloads.wanted.remove(id).unwrap_or_default();
        while let Some(path) = paths.pop_first() {
            let Some(mut download) = self.downloads.by_path.remove(&path) else { continue };
            let fetch = match self.store_chunk(&mut download, id, bytes) {
                Ok(Stored::Mislabelled) => {
                    self.downloads.unwant(&path, &download);
                    self.discard(&download);
                    Fetch::Refused(Why::BadChunkList)
                }
                Ok(Stored::Good) if download.is_complete() => match download.stage {
                    Stage::List { .. } => self.list_arrived(&path, download)?,
                    Stage::Data { .. } => self.finish(&path, download)?,
                },
                Ok(Stored::Good) => {
                    self.downloads.by_path.insert(path, download);
                    continue;
                }
                Err(error) => {
                    self.downloads.by_path.insert(path.clone(), download);
                    paths.insert(path);
                    self.downloads.wanted.insert(*id, paths);
                    return Err(error);
                }
            };
            match fetch {
                Fetch::Complete => written.staged.push(path),
                Fetch::Needs(needs) => written.needs.push((path, needs)),
                Fetch::Refused(why) => {
                    self.apply_problems.insert(path.clone(), why);
                    written.refused.push((path, why));
                }
            }
        }
        Ok(written)
    }

    /// Gives up fetching what was last applied to this path. What arrived is removed; it is not an error if nothing is under
    /// way.
    pub fn cancel(&mut self, path: &RelPath) -> Result<(), FolderError> {
        if let Some(download) = self.downloads.remove(path) {
            self.discard(&download);
        }
        if let Some(staged) = self.staged.remove(path) {
            self.unstage(&staged)?;
            let _ = self.vfs.remove_file(&staged.tmp);
        }
        self.emptying.remove(path);
        Ok(())
    }

    /// A complete file will not be placed: it is no source of chunks any more.
    pub(crate) fn unstage(&mut self, staged: &Staged) -> Result<(), FolderError> {
        self.downloads.forget_tmp(&staged.tmp, &staged.full.list);
        let Some(source) = staged.source else { return Ok(()) };
        let blobs: Vec<_> = staged.full.blobs.iter().map(|(chunk, _)| *chunk).collect();
        Ok(self.index.remove_source(source, &staged.full.list, &blobs)?)
    }

    fn discard(&mut self, download: &Download) {
        self.downloads.forget_tmp(&download.tmp, download.list());
        let _ = self.vfs.remove_file(&download.tmp);
    }

    /// Starts, or goes on, fetching a file.
    pub(crate) fn fetch(
        &mut self,
        path: &RelPath,
        content: &Content,
        versions: &[Version],
    ) -> Result<Fetch, FolderError> {
        if let Some(staged) = self.staged.get_mut(path).filter(|staged| staged.content == *content) {
            staged.versions = versions.to_vec();
            // A flush may have failed to place it; whoever applies it again wants it tried again.
            staged.tried = false;
            return Ok(Fetch::Complete);
        }
        if let Some(download) =
            self.downloads.by_path.get_mut(path).filter(|download| download.content == *content)
        {
            download.versions = versions.to_vec();
            return Ok(Fetch::Needs(download.needs()));
        }
        let before = self.downloads.remove(path);
        let staged_before = self.staged.remove(path);
        let fetch = self.start(path, content, versions);
        // Only now, since the file that was on its way before is a source of chunks for this one.
        let tmp = tmp_path(path, content);
        if let Some(before) = before.filter(|before| before.tmp != tmp) {
            self.discard(&before);
        }
        if let Some(staged) = staged_before.filter(|staged| staged.tmp != tmp) {
            self.unstage(&staged)?;
            let _ = self.vfs.remove_file(&staged.tmp);
        }
        fetch
    }

    fn start(
        &mut self,
        path: &RelPath,
        content: &Content,
        versions: &[Version],
    ) -> Result<Fetch, FolderError> {
        let tmp = tmp_path(path, content);
        let download = |stage| Download { content: content.clone(), versions: versions.to_vec(), tmp, stage };
        let Content::File { size, chunks, .. } = content else {
            return Ok(Fetch::Refused(Why::BadChunkList));
        };
        let refs = match chunks {
            ChunkList::Inline(refs) => {
                let full = FullList { list: refs.clone(), blobs: Vec::new() };
                return self.plan(path, *size, download(Stage::Data { full, missing: BTreeMap::new() }));
            }
            ChunkList::Indirect(refs) => refs,
        };
        let (mut have, mut missing) = (BTreeMap::new(), BTreeSet::new());
        for chunk in refs {
            match self.read_chunk(&chunk.id)? {
                Some(bytes) => drop(have.insert(chunk.id, bytes)),
                None => drop(missing.insert(chunk.id)),
            }
        }
        let download = download(Stage::List { have, missing });
        if download.is_complete() {
            return self.list_arrived(path, download);
        }
        let needs = download.needs();
        self.downloads.insert(path.clone(), download);
        Ok(Fetch::Needs(needs))
    }

    /// The list is complete: from here on the file's own chunks are fetched.
    fn list_arrived(&mut self, path: &RelPath, download: Download) -> Result<Fetch, FolderError> {
        let (Stage::List { mut have, .. }, Content::File { size, .. }) = (download.stage, &download.content)
        else {
            return Ok(Fetch::Refused(Why::BadChunkList));
        };
        let size = *size;
        let mut blobs: Vec<(ChunkRef, Vec<u8>)> = Vec::with_capacity(have.len());
        for chunk in download.content.refs() {
            let earlier =
                blobs.iter().find(|(other, _)| other.id == chunk.id).map(|(_, bytes)| bytes.clone());
            blobs.push((*chunk, have.remove(&chunk.id).or(earlier).unwrap_or_default()));
        }
        let lengths_fit = blobs.iter().all(|(chunk, bytes)| bytes.len() == chunk.len as usize);
        let encoded: Vec<u8> = blobs.iter().flat_map(|(_, bytes)| bytes).copied().collect();
        match decode_list(&encoded, size) {
            Ok(list) if lengths_fit => {
                let stage = Stage::Data { full: FullList { list, blobs }, missing: BTreeMap::new() };
                self.plan(path, size, Download { stage, ..download })
            }
            _ => Ok(Fetch::Refused(Why::BadChunkList)),
        }
    }

    /// Finds out which chunks are in the temporary file already, copies those that are elsewhere here, and lists the others.
    fn plan(&mut self, path: &RelPath, size: u64, mut download: Download) -> Result<Fetch, FolderError> {
        let Stage::Data { full, missing } = &mut download.stage else {
            return Ok(Fetch::Refused(Why::BadChunkList));
        };
        let tmp = &download.tmp;
        let file = self.vfs.open_or_create(tmp).map_err(FolderError::Disk)?;
        let resumed = file.stat().map_err(FolderError::Disk)?.size > 0;
        let mut offset = 0;
        for chunk in &full.list {
            let at = offset;
            offset += u64::from(chunk.len);
            if let Some((_, offsets)) = missing.get_mut(&chunk.id) {
                offsets.push(at);
                continue;
            }
            if !(resumed && self.read_verified(tmp, at, chunk.len, &chunk.id).is_some()) {
                let Some(bytes) =
                    self.read_chunk(&chunk.id)?.filter(|bytes| bytes.len() == chunk.len as usize)
                else {
                    missing.insert(chunk.id, (chunk.len, vec![at]));
                    continue;
                };
                file.write_at(at, &bytes).map_err(FolderError::Disk)?;
            }
            self.downloads.have.insert(chunk.id, (tmp.clone(), at, chunk.len));
        }
        file.set_len(size).map_err(FolderError::Disk)?;
        if missing.is_empty() {
            return self.finish(path, download);
        }
        let needs = download.needs();
        self.downloads.insert(path.clone(), download);
        Ok(Fetch::Needs(needs))
    }

    fn store_chunk(
        &mut self,
        download: &mut Download,
        id: &ChunkId,
        bytes: &[u8],
    ) -> Result<Stored, FolderError> {
        match &mut download.stage {
            Stage::List { have, missing } => {
                if missing.remove(id) {
                    have.insert(*id, bytes.to_vec());
                }
            }
            Stage::Data { missing, .. } => {
                let Some((len, offsets)) = missing.get(id) else { return Ok(Stored::Good) };
                if *len as usize != bytes.len() {
                    return Ok(Stored::Mislabelled);
                }
                let write = self.vfs.open_or_create(&download.tmp).and_then(|file| {
                    offsets.iter().try_for_each(|offset| file.write_at(*offset, bytes))?;
                    Ok(offsets.first().copied().unwrap_or_default())
                });
                let at = write.map_err(FolderError::Disk)?;
                self.downloads.have.insert(*id, (download.tmp.clone(), at, *len));
                missing.remove(id);
            }
        }
        Ok(Stored::Good)
    }

    /// Every chunk is in the temporary file: gives it its permissions and time, and lets it wait for the flush.
    fn finish(&mut self, path: &RelPath, download: Download) -> Result<Fetch, FolderError> {
        let Stage::Data { full, .. } = download.stage else { return Ok(Fetch::Refused(Why::BadChunkList)) };
        let Download { content, versions, tmp, .. } = download;
        self.set_meta(path, &tmp, &content).map_err(FolderError::Disk)?;
        self.staged.insert(path.clone(), Staged { content, versions, tmp, full, source: None, tried: false });
        Ok(Fetch::Complete)
    }

    /// Gives a file the permissions that the one at `path` has, or a new one has, and the bit and time of `content`.
    pub(crate) fn set_meta(
        &mut self,
        path: &RelPath,
        file: &RelPath,
        content: &Content,
    ) -> Result<(), VfsError> {
        let Content::File { exec, mtime_ns, .. } = content else { return Ok(()) };
        let file = self.vfs.open(file)?;
        let own = file.stat()?;
        let like = self.vfs.stat(path).ok().filter(|stat| stat.kind == own.kind).unwrap_or(own);
        file.set_meta(like.mode_with(*exec), *mtime_ns)
    }
}

/// Where a file is put together: the same after a restart, so that it is found again.
pub(crate) fn tmp_path(path: &RelPath, content: &Content) -> RelPath {
    let mut name = blake3::Hasher::new_derive_key("cosync 2026 temporary file name");
    name.update(path.as_bytes());
    for chunk in content.refs() {
        name.update(&chunk.id);
    }
    own(&[TMP, name.finalize().to_hex().as_bytes()])
}
