//! What a path of the folder holds, as data: the plaintext body of a file operation.

use super::{RelPath, VfsError};

/// The name of a chunk: keyed BLAKE3 of its bytes, under the space's chunk key.
pub type ChunkId = [u8; 32];

/// One chunk of a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub struct ChunkRef {
    /// Keyed BLAKE3 of the bytes.
    pub id: ChunkId,
    /// How many bytes: 1 to [`ChunkRef::MAX_LEN`].
    pub len: u32,
}

impl ChunkRef {
    /// The longest chunk, in bytes: a quarter of the transport's largest message.
    pub const MAX_LEN: u32 = 256 * 1024;
}

/// The chunks that make up a file, in order.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum ChunkList {
    /// The chunks themselves; at most [`ChunkList::MAX_INLINE`], none for an empty file.
    Inline(Vec<ChunkRef>),
    /// The chunks of the *encoded list* of the file's chunks (one level), used above [`ChunkList::MAX_INLINE`] chunks.
    Indirect(Vec<ChunkRef>),
}

impl ChunkList {
    /// The most chunks that travel in an operation itself: about 20 MiB of file in 9 KB of operation.
    pub const MAX_INLINE: usize = 256;
    /// The most chunks of an encoded list: 150 KB of operation for a file of the largest size.
    pub const MAX_INDIRECT: usize = 4096;

    /// The chunks named in the operation itself, whichever kind they are.
    pub fn refs(&self) -> &[ChunkRef] {
        match self {
            Self::Inline(refs) | Self::Indirect(refs) => refs,
        }
    }
}

/// What a path holds.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
pub enum Content {
    /// Nothing: it was removed.
    Deleted,
    /// A directory.
    Dir,
    /// A regular file.
    File {
        /// Bytes in all: 0 to [`Content::MAX_FILE_BYTES`]; the sum of the chunks.
        size: u64,
        /// Whether its owner may execute it.
        exec: bool,
        /// When it was last modified, nanoseconds since 1970. It is carried along and never makes a version of its own.
        mtime_ns: i64,
        /// Its bytes.
        chunks: ChunkList,
    },
    /// A symbolic link, kept as a link and never followed.
    Symlink {
        /// Where it points: 1 to [`Content::MAX_TARGET`] bytes, no NUL.
        target: Vec<u8>,
    },
}

impl Content {
    /// The largest file, in bytes: 256 GiB, so that the list of its chunks (130 MB) fits in memory.
    pub const MAX_FILE_BYTES: u64 = 1 << 38;
    /// The longest target of a symbolic link, in bytes, as in Linux.
    pub const MAX_TARGET: usize = 4095;

    /// Whether both are the same to a user: equal but for the time of modification.
    pub fn same_data(&self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::File { size, exec, chunks, .. },
                Self::File { size: other_size, exec: other_exec, chunks: other_chunks, .. },
            ) => size == other_size && exec == other_exec && chunks == other_chunks,
            _ => self == other,
        }
    }

    /// Whether both are files with the same bytes, whatever their executable bit.
    pub(crate) fn same_bytes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::File { size, chunks, .. }, Self::File { size: other_size, chunks: other_chunks, .. }) => {
                size == other_size && chunks == other_chunks
            }
            _ => false,
        }
    }

    /// The chunks that the operation itself names.
    pub fn refs(&self) -> &[ChunkRef] {
        match self {
            Self::File { chunks, .. } => chunks.refs(),
            _ => &[],
        }
    }
}

/// One field that this version of the software does not know; kept as it came and passed over.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Extension {
    /// Which field. Ascending within a [`FileVersion`].
    pub kind: u16,
    /// Its value.
    pub bytes: Vec<u8>,
}

/// The plaintext body of a file operation: since the operation's own path is blinded, the path itself is in here.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FileVersion {
    /// Where in the folder.
    pub path: RelPath,
    /// What it holds from here on.
    pub content: Content,
    /// Fields of later versions of the format; empty when written by this one.
    pub extensions: Vec<Extension>,
}

impl FileVersion {
    /// A version without extensions.
    pub fn new(path: RelPath, content: Content) -> Self {
        Self { path, content, extensions: Vec::new() }
    }
}

/// The version of a path: the operation that wrote it.
pub type Version = cs_identity::OpId;

/// An edit that a user made in the folder.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LocalChange {
    /// Where.
    pub path: RelPath,
    /// The versions that were materialised here when it was edited; empty for a path that is new.
    pub base: Vec<Version>,
    /// What is there now.
    pub content: Content,
}

/// Why a path could not be read or written. Such paths are listed by `Folder::problems` and tried again.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash)]
#[non_exhaustive]
pub enum Why {
    /// It changed while it was read; it is read again at the next scan.
    Changing,
    /// A device, socket or pipe: not synchronised.
    Special,
    /// Another file system is mounted here, and is not crossed into.
    OtherFileSystem,
    /// The ignore file names this path.
    Ignored,
    /// The folder's own `.cosync` directory.
    Reserved,
    /// A directory that still holds something cannot go away.
    NotEmpty,
    /// A file or a link is where a directory would have to be.
    ParentNotDirectory,
    /// This file system cannot keep two names apart that differ only in case or normal form.
    NameCollision,
    /// The file is larger than [`Content::MAX_FILE_BYTES`], or the path longer than [`RelPath`] allows.
    TooLarge,
    /// The list of chunks does not decode, or does not add up to the size: its author's fault.
    BadChunkList,
    /// The file system said no.
    Disk(VfsError),
}
