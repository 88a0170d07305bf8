//! The rows of the index.

use super::content::{Content, Version};
use super::path::RelPath;
use super::vfs::{Kind, Stat};
use super::wire::{
    DecodeError, put_bytes, put_varint, take_byte, take_bytes, take_count, take_varint, unzigzag, zigzag,
};

/// No path has more concurrent versions than an operation can name; this bounds what a damaged row can ask for.
const MAX_VERSIONS: usize = 1 << 16;

/// What the folder knows of one path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    /// What the file system said when `content` was there; `None` when nothing was.
    pub(crate) stat: Option<Stat>,
    pub(crate) content: Content,
    /// The versions `content` stands for, or, while `pending`, those it was made on.
    pub(crate) versions: Vec<Version>,
    /// A local edit that no one has confirmed.
    pub(crate) pending: bool,
    /// Read so soon after its last modification that another one may have left `stat` as it is.
    pub(crate) racy: bool,
    /// The source of its chunks.
    pub(crate) source: Option<u64>,
}

impl Entry {
    /// Nothing is here, as of these versions.
    pub(crate) fn tombstone(versions: Vec<Version>) -> Self {
        Self { stat: None, content: Content::Deleted, versions, pending: false, racy: false, source: None }
    }

    pub(crate) fn is_present(&self) -> bool {
        self.content != Content::Deleted
    }

    /// Whether the file system says now what it said then.
    pub(crate) fn still_has(&self, stat: &Stat) -> bool {
        match (&self.content, stat.kind) {
            (Content::Dir, Kind::Dir) => true,
            _ => self.stat == Some(*stat),
        }
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        out.push(u8::from(self.pending) | u8::from(self.racy) << 1);
        put_varint(&mut out, self.source.map_or(0, |source| source + 1));
        put_stat(&mut out, self.stat);
        put_versions(&mut out, &self.versions);
        self.content.encode(&mut out);
        out
    }

    pub(crate) fn from_bytes(mut bytes: &[u8]) -> Result<Self, DecodeError> {
        let input = &mut bytes;
        let flags = take_byte(input)?;
        let source = take_varint(input)?.checked_sub(1);
        let stat = take_stat(input)?;
        let versions = take_versions(input)?;
        let content = Content::decode(input)?;
        if flags > 3 || !input.is_empty() {
            return Err(DecodeError::Tag);
        }
        Ok(Self { stat, content, versions, pending: flags & 1 != 0, racy: flags & 2 != 0, source })
    }
}

/// Where the file of a source is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Place {
    /// In the folder.
    Path(RelPath),
    /// In `.cosync/kept/`, under the number of the source.
    Kept,
}

impl Place {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Path(path) => path.as_bytes().to_vec(),
            Self::Kept => Vec::new(),
        }
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.is_empty() { Ok(Self::Kept) } else { RelPath::new(bytes).map(Self::Path) }
    }
}

/// A version that was replaced or removed, and is kept for a while.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Kept {
    /// Where it was.
    pub(crate) path: RelPath,
    pub(crate) content: Content,
    pub(crate) versions: Vec<Version>,
    /// Wall clock, milliseconds since 1970.
    pub(crate) kept_unix_ms: u64,
    /// Of the kept file.
    pub(crate) stat: Stat,
}

impl Kept {
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        put_bytes(&mut out, self.path.as_bytes());
        put_varint(&mut out, self.kept_unix_ms);
        put_stat(&mut out, Some(self.stat));
        put_versions(&mut out, &self.versions);
        self.content.encode(&mut out);
        out
    }

    pub(crate) fn from_bytes(mut bytes: &[u8]) -> Result<Self, DecodeError> {
        let input = &mut bytes;
        let path = RelPath::new(take_bytes(input, RelPath::MAX_BYTES)?)?;
        let kept_unix_ms = take_varint(input)?;
        let stat = take_stat(input)?.ok_or(DecodeError::Tag)?;
        let versions = take_versions(input)?;
        let content = Content::decode(input)?;
        if input.is_empty() {
            Ok(Self { path, content, versions, kept_unix_ms, stat })
        } else {
            Err(DecodeError::Leftover)
        }
    }
}

fn put_stat(out: &mut Vec<u8>, stat: Option<Stat>) {
    let Some(stat) = stat else {
        out.push(0);
        return;
    };
    out.push(match stat.kind {
        Kind::File => 1,
        Kind::Dir => 2,
        Kind::Symlink => 3,
        Kind::Special => 4,
    });
    put_varint(out, stat.size);
    put_varint(out, zigzag(stat.mtime_ns));
    put_varint(out, zigzag(stat.ctime_ns));
    put_varint(out, stat.inode);
    put_varint(out, u64::from(stat.mode) << 1 | u64::from(stat.foreign));
}

fn take_stat(input: &mut &[u8]) -> Result<Option<Stat>, DecodeError> {
    let kind = match take_byte(input)? {
        0 => return Ok(None),
        1 => Kind::File,
        2 => Kind::Dir,
        3 => Kind::Symlink,
        4 => Kind::Special,
        _ => return Err(DecodeError::Tag),
    };
    let size = take_varint(input)?;
    let mtime_ns = unzigzag(take_varint(input)?);
    let ctime_ns = unzigzag(take_varint(input)?);
    let inode = take_varint(input)?;
    let mode = take_varint(input)?;
    let foreign = mode & 1 == 1;
    let mode = u32::try_from(mode >> 1).map_err(|_| DecodeError::Size)?;
    Ok(Some(Stat { kind, size, mtime_ns, ctime_ns, inode, foreign, mode }))
}

fn put_versions(out: &mut Vec<u8>, versions: &[Version]) {
    put_varint(out, versions.len() as u64);
    for version in versions {
        out.extend_from_slice(version.as_bytes());
    }
}

fn take_versions(input: &mut &[u8]) -> Result<Vec<Version>, DecodeError> {
    let count = take_count(input, MAX_VERSIONS, 32)?;
    let mut versions = Vec::with_capacity(count);
    for _ in 0..count {
        let (bytes, rest) = input.split_first_chunk::<32>().ok_or(DecodeError::Truncated)?;
        versions.push(Version::from_bytes(*bytes));
        *input = rest;
    }
    Ok(versions)
}
