//! What the folder asks of a file system: small, relative to one root, and never following a link.

use super::RelPath;

/// What kind of thing a path is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A pipe, socket or device.
    Special,
}

/// What the file system says of a path without reading it. Two equal stats mean: not changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Stat {
    /// What it is.
    pub kind: Kind,
    /// Bytes of a file; 0 for anything else.
    pub size: u64,
    /// Content last modified, nanoseconds since 1970; 0 for a directory.
    pub mtime_ns: i64,
    /// Content or metadata last modified, nanoseconds since 1970; 0 for a directory, and where the system has no such time.
    pub ctime_ns: i64,
    /// Which object of its file system.
    pub inode: u64,
    /// Whether it is on another file system than the root. (Device numbers themselves change from boot to boot.)
    pub foreign: bool,
    /// The permission bits of a file; 0 for anything else.
    pub mode: u32,
}

impl Stat {
    /// Whether its owner may execute it.
    pub fn exec(&self) -> bool {
        self.mode & 0o100 != 0
    }

    /// These permissions with the executable bit on for all who may read, or off.
    pub fn mode_with(&self, exec: bool) -> u32 {
        if exec { self.mode | (self.mode & 0o444) >> 2 } else { self.mode & !0o111 }
    }

    /// Whether this is the same file, not modified, though perhaps renamed (which touches `ctime_ns`).
    pub fn same_file(&self, other: &Self) -> bool {
        Self { ctime_ns: 0, ..*self } == Self { ctime_ns: 0, ..*other }
    }
}

/// How a rename treats what is already there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rename {
    /// Fails with [`VfsError::Exists`].
    NoReplace,
    /// Both must exist and change places in one step.
    Exchange,
}

/// Why the file system did not do it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum VfsError {
    /// Nothing has this name.
    #[error("not found")]
    NotFound,
    /// Something has this name already.
    #[error("exists already")]
    Exists,
    /// No permission.
    #[error("permission denied")]
    Denied,
    /// The disk or the quota is full.
    #[error("disk full")]
    Full,
    /// The file system is mounted read-only.
    #[error("read-only file system")]
    ReadOnly,
    /// A component of the path is not a directory, or is a symbolic link.
    #[error("not a directory")]
    NotDirectory,
    /// It is a directory, or not a regular file.
    #[error("not a regular file")]
    NotFile,
    /// The directory holds something.
    #[error("directory not empty")]
    NotEmpty,
    /// The name is too long for this file system.
    #[error("name too long")]
    NameTooLong,
    /// The path crosses into another file system.
    #[error("another file system")]
    OtherFileSystem,
    /// This file system cannot do it.
    #[error("not supported here")]
    Unsupported,
    /// The hardware, the network file system or the kernel failed.
    #[error("input/output error")]
    Io,
}

/// A directory on a disk, or in memory. Every path is relative to its root; no call follows a symbolic link anywhere in a
/// path or leaves the root.
pub trait Vfs {
    /// An open regular file.
    type File: VfsFile;

    /// Finds the root again by its name: after this, calls see what is at that name now (a disk may have been unmounted).
    fn reopen(&mut self) -> Result<(), VfsError>;
    /// What is at a path.
    fn stat(&self, path: &RelPath) -> Result<Stat, VfsError>;
    /// What is in a directory (`None`: the root), in no particular order, without `.` and `..`. Names are raw bytes.
    /// Entries that vanish meanwhile are left out.
    fn list(&self, dir: Option<&RelPath>) -> Result<Vec<(Vec<u8>, Stat)>, VfsError>;
    /// Opens a regular file to read.
    fn open(&self, path: &RelPath) -> Result<Self::File, VfsError>;
    /// Opens a regular file to read and write; created empty when nothing is there.
    fn open_or_create(&self, path: &RelPath) -> Result<Self::File, VfsError>;
    /// Makes one directory.
    fn make_dir(&self, path: &RelPath) -> Result<(), VfsError>;
    /// Makes a symbolic link.
    fn make_link(&self, path: &RelPath, target: &[u8]) -> Result<(), VfsError>;
    /// Where a symbolic link points.
    fn read_link(&self, path: &RelPath) -> Result<Vec<u8>, VfsError>;
    /// Removes a file or a link.
    fn remove_file(&self, path: &RelPath) -> Result<(), VfsError>;
    /// Removes an empty directory.
    fn remove_dir(&self, path: &RelPath) -> Result<(), VfsError>;
    /// Renames.
    fn rename(&self, from: &RelPath, to: &RelPath, how: Rename) -> Result<(), VfsError>;
    /// Makes everything done so far survive a power cut.
    fn sync(&self) -> Result<(), VfsError>;
}

/// An open regular file.
pub trait VfsFile {
    /// Reads at a position; fewer bytes than asked, or 0, only at the end.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, VfsError>;
    /// Writes all of `bytes` at a position.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), VfsError>;
    /// Cuts or grows the file.
    fn set_len(&self, len: u64) -> Result<(), VfsError>;
    /// Sets the permission bits and the time of modification.
    fn set_meta(&self, mode: u32, mtime_ns: i64) -> Result<(), VfsError>;
    /// What the open file is.
    fn stat(&self) -> Result<Stat, VfsError>;
}
