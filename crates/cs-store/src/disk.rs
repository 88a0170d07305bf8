//! The one door to storage: what the log and the index ask of a disk, and the real directory behind it.
//!
//! [`MemDisk`](crate::MemDisk) is the other disk: the one that can be made to fail.

use core::fmt::Debug;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// A flat set of named files, with the durability of a POSIX directory and no more.
///
/// What is written counts as durable only after [`DiskFile::sync`], and the existence, the absence or the new name
/// of a file only after [`Disk::sync_names`]. Names are short ASCII words without a separator. Clones are the same disk.
pub trait Disk: Clone + Debug + Send + Sync + 'static {
    /// An open file. Handles to one name see each other's writes at once.
    type File: DiskFile;
    /// Held for as long as the store is open; dropping it frees the disk for the next opener.
    type Lock: Debug + Send + Sync + 'static;

    /// Takes the disk for this opener alone; `None` when another holds it. Never waits.
    fn lock(&self) -> io::Result<Option<Self::Lock>>;
    /// Opens a file for reading and writing, creating it empty when absent.
    fn open(&self, name: &str) -> io::Result<Self::File>;
    /// The names that exist, in no order.
    fn names(&self) -> io::Result<Vec<String>>;
    /// Gives a file another name, replacing what had it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file; an absent one is `NotFound`.
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes every creation, renaming and removal so far durable.
    fn sync_names(&self) -> io::Result<()>;
}

/// One file of a [`Disk`].
pub trait DiskFile: Debug + Send + Sync + 'static {
    /// The length in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Fills `out` from `offset`; reaching past the end is `UnexpectedEof`.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
    /// Writes all of `data` at `offset`; a gap before it reads as zeros. On an error any part may have been written.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Cuts, or extends with zeros.
    fn set_size(&self, size: u64) -> io::Result<()>;
    /// Makes the content and the length durable (`fdatasync`). After an error nothing may be assumed of what was
    /// written since the last success, not even by trying again.
    fn sync(&self) -> io::Result<()>;
}

/// A directory of the file system.
///
/// The directory is created, readable by its owner alone, when it is absent.
#[derive(Debug, Clone)]
pub struct DirDisk {
    path: PathBuf,
}

/// The name of the file whose lock says that a node is using the directory.
const LOCK_NAME: &str = "lock";

impl DirDisk {
    /// A disk in `path`, which is created with its parents when absent. Takes no lock: `Store::open` does.
    pub fn new(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        create_private_dir(&path)?;
        Ok(Self { path })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Disk for DirDisk {
    type File = DirFile;
    type Lock = DirLock;

    fn lock(&self) -> io::Result<Option<DirLock>> {
        let file = open_private(&self.path.join(LOCK_NAME))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(DirLock { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    fn open(&self, name: &str) -> io::Result<DirFile> {
        Ok(DirFile { file: open_private(&self.path.join(name))? })
    }

    fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            if let (true, Ok(name)) = (entry.file_type()?.is_file(), entry.file_name().into_string()) {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    #[cfg(unix)]
    fn sync_names(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    /// Other systems give no handle to a directory and journal its names themselves.
    #[cfg(not(unix))]
    fn sync_names(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The lock on a [`DirDisk`]: advisory, of the whole file, freed by the system when its process ends in any way.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

/// A file of a [`DirDisk`].
#[derive(Debug)]
pub struct DirFile {
    file: File,
}

impl DiskFile for DirFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    #[cfg(unix)]
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, out, offset)
    }

    #[cfg(windows)]
    fn read_at(&self, mut offset: u64, mut out: &mut [u8]) -> io::Result<()> {
        while !out.is_empty() {
            let count = std::os::windows::fs::FileExt::seek_read(&self.file, out, offset)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            out = out.split_at_mut(count).1;
            offset += count as u64;
        }
        Ok(())
    }

    #[cfg(unix)]
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.file, data, offset)
    }

    #[cfg(windows)]
    fn write_at(&self, mut offset: u64, mut data: &[u8]) -> io::Result<()> {
        while !data.is_empty() {
            let count = std::os::windows::fs::FileExt::seek_write(&self.file, data, offset)?;
            data = data.split_at(count).1;
            offset += count as u64;
        }
        Ok(())
    }

    fn set_size(&self, size: u64) -> io::Result<()> {
        self.file.set_len(size)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

#[cfg(unix)]
fn create_private_dir(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(not(unix))]
fn create_private_dir(path: &Path) -> io::Result<()> {
    std::fs::create_dir_all(path)
}

/// The store holds keys among its local facts: nobody else on the machine may read its files.
fn open_private(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
