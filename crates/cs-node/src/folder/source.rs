//! Where chunks come from: files in the folder, kept versions, the index (for chunks of lists), and partial downloads.

use super::content::{ChunkId, ChunkList, ChunkRef, Content};
use super::record::{Entry, Place};
use super::vfs::{Vfs, VfsFile};
use super::wire::decode_list;
use super::{Folder, FolderError, KEPT, RelPath, own};

/// A file's chunks, and the chunks of their encoded list when it travels indirectly.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct FullList {
    pub(crate) list: Vec<ChunkRef>,
    pub(crate) blobs: Vec<(ChunkRef, Vec<u8>)>,
}

impl<F: Vfs> Folder<F> {
    /// The bytes of a chunk, verified against its name; `None` when no file here holds it (any more). Reads one chunk of one
    /// file in the usual case, and of at most nine.
    pub fn read_chunk(&mut self, id: &ChunkId) -> Result<Option<Vec<u8>>, FolderError> {
        for (source, place, offset, len) in self.index.locate(id)? {
            let path = match &place {
                Place::Path(path) => path.clone(),
                Place::Kept => kept_path(source),
            };
            if let Some(bytes) = self.read_verified(&path, offset, len, id) {
                return Ok(Some(bytes));
            }
            if let Place::Path(path) = place {
                self.dirty.insert(path);
            }
        }
        if let Some(bytes) = self.index.blob(id)? {
            return Ok(Some(bytes));
        }
        let Some((tmp, offset, len)) = self.downloads.locate(id) else { return Ok(None) };
        Ok(self.read_verified(&tmp, offset, len, id))
    }

    /// `len` bytes of a file, if they are the chunk `id`.
    pub(crate) fn read_verified(
        &self,
        path: &RelPath,
        offset: u64,
        len: u32,
        id: &ChunkId,
    ) -> Option<Vec<u8>> {
        let mut bytes = vec![0; len.min(ChunkRef::MAX_LEN) as usize];
        let file = self.vfs.open(path).ok()?;
        let read = file.read_at(offset, &mut bytes).ok()?;
        (read == bytes.len() && self.options.chunk_key.id(&bytes) == *id).then_some(bytes)
    }

    /// All the chunks of a content whose list is at hand; `None` when part of the list is missing, or wrong.
    pub(crate) fn full_list(&mut self, content: &Content) -> Result<Option<FullList>, FolderError> {
        let Content::File { size, chunks, .. } = content else { return Ok(Some(FullList::default())) };
        let refs = match chunks {
            ChunkList::Inline(refs) => return Ok(Some(FullList { list: refs.clone(), blobs: Vec::new() })),
            ChunkList::Indirect(refs) => refs,
        };
        let mut blobs = Vec::with_capacity(refs.len());
        for chunk in refs {
            match self.index.blob(&chunk.id)? {
                Some(bytes) => blobs.push((*chunk, bytes)),
                None => return Ok(None),
            }
        }
        let encoded = blobs.iter().flat_map(|(_, bytes)| bytes).copied().collect::<Vec<u8>>();
        Ok(decode_list(&encoded, *size).ok().map(|list| FullList { list, blobs }))
    }

    /// The entry's file is no source of chunks any more.
    pub(crate) fn forget_source(&mut self, entry: &Entry) -> Result<(), FolderError> {
        let Some(source) = entry.source else { return Ok(()) };
        // Rows that cannot be listed stay behind: reading from them fails the check, and costs that one look.
        let full = self.full_list(&entry.content)?.unwrap_or_default();
        let blobs: Vec<_> = full.blobs.iter().map(|(chunk, _)| *chunk).collect();
        Ok(self.index.remove_source(source, &full.list, &blobs)?)
    }
}

/// Where the file of a source is after it was moved to `kept/`.
pub(crate) fn kept_path(source: u64) -> RelPath {
    own(&[KEPT, format!("{source:016x}").as_bytes()])
}
