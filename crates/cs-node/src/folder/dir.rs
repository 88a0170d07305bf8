//! The real directory behind a shared folder.
//!
//! Every call resolves its path from the open root with `openat2` (`RESOLVE_BENEATH`, no symbolic links, no other file
//! system), one system call for any depth; where that call is missing, or the path is longer than the kernel takes, with one
//! `openat(O_NOFOLLOW)` per directory. So no link planted while we work can lead a read or a write out of the folder, and
//! paths beyond `PATH_MAX` work. (cap-std gives the first half, but resolves and allocates more per call and fails beyond
//! `PATH_MAX`.)

use std::ffi::OsStr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::RelPath;
use super::vfs::{Kind, Rename, Stat, Vfs, VfsError, VfsFile};

/// A directory of the real file system.
#[derive(Debug)]
pub struct DirVfs {
    path: PathBuf,
    root: OwnedFd,
    device: u64,
}

impl DirVfs {
    /// Opens an existing directory. The path itself may go through symbolic links: the user chose it.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, VfsError> {
        let path = path.into();
        let (root, device) = open_root(&path)?;
        Ok(Self { path, root, device })
    }

    /// The directory's own path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory a path is in, opened, and the path's last component.
    fn parent<'a>(&self, path: &'a RelPath) -> Result<(Handle<'_>, &'a OsStr), VfsError> {
        let name = OsStr::from_bytes(path.name());
        match path.parent() {
            Some(parent) => Ok((Handle::Owned(self.dir(&parent)?), name)),
            None => Ok((Handle::Root(self.root.as_fd()), name)),
        }
    }

    fn dir(&self, path: &RelPath) -> Result<OwnedFd, VfsError> {
        #[cfg(target_os = "linux")]
        {
            use rustix::fs::ResolveFlags;
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
            let whole = OsStr::from_bytes(path.as_bytes());
            match fs::openat2(&self.root, whole, DIRECTORY, Mode::empty(), resolve) {
                Err(Errno::NOSYS | Errno::NAMETOOLONG | Errno::AGAIN | Errno::INVAL | Errno::PERM) => {}
                done => return done.map_err(fault),
            }
        }
        self.dir_by_components(path)
    }

    #[allow(clippy::unnecessary_cast, reason = "the type differs between systems")]
    fn dir_by_components(&self, path: &RelPath) -> Result<OwnedFd, VfsError> {
        let mut at: Option<OwnedFd> = None;
        for component in path.components() {
            let from = at.as_ref().map_or(self.root.as_fd(), AsFd::as_fd);
            at = Some(
                fs::openat(from, OsStr::from_bytes(component), DIRECTORY, Mode::empty()).map_err(fault)?,
            );
        }
        let dir = at.ok_or(VfsError::NotFound)?;
        if fs::fstat(&dir).map_err(fault)?.st_dev as u64 == self.device {
            Ok(dir)
        } else {
            Err(VfsError::OtherFileSystem)
        }
    }
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A directory that was opened for one call, or the root.
enum Handle<'a> {
    Root(BorrowedFd<'a>),
    Owned(OwnedFd),
}

impl AsFd for Handle<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Root(fd) => *fd,
            Self::Owned(fd) => fd.as_fd(),
        }
    }
}

impl Vfs for DirVfs {
    type File = DirFile;

    fn reopen(&mut self) -> Result<(), VfsError> {
        (self.root, self.device) = open_root(&self.path)?;
        Ok(())
    }

    fn stat(&self, path: &RelPath) -> Result<Stat, VfsError> {
        let (dir, name) = self.parent(path)?;
        let stat = fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(fault)?;
        Ok(stat_of(stat, self.device))
    }

    fn list(&self, dir: Option<&RelPath>) -> Result<Vec<(Vec<u8>, Stat)>, VfsError> {
        let dir = match dir {
            Some(path) => self.dir(path)?,
            None => fs::openat(&self.root, c".", DIRECTORY, Mode::empty()).map_err(fault)?,
        };
        let mut entries = Vec::new();
        let mut reader = fs::Dir::read_from(&dir).map_err(fault)?;
        while let Some(entry) = reader.read() {
            let entry = entry.map_err(fault)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            match fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => entries.push((name.to_bytes().to_vec(), stat_of(stat, self.device))),
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(fault(errno)),
            }
        }
        Ok(entries)
    }

    fn open(&self, path: &RelPath) -> Result<DirFile, VfsError> {
        self.open_with(path, OFlags::RDONLY)
    }

    fn open_or_create(&self, path: &RelPath) -> Result<DirFile, VfsError> {
        self.open_with(path, OFlags::RDWR | OFlags::CREATE)
    }

    fn make_dir(&self, path: &RelPath) -> Result<(), VfsError> {
        let (dir, name) = self.parent(path)?;
        fs::mkdirat(dir, name, Mode::from_raw_mode(0o777)).map_err(fault)
    }

    fn make_link(&self, path: &RelPath, target: &[u8]) -> Result<(), VfsError> {
        let (dir, name) = self.parent(path)?;
        fs::symlinkat(OsStr::from_bytes(target), dir, name).map_err(|errno| match errno {
            Errno::PERM => VfsError::Unsupported,
            other => fault(other),
        })
    }

    fn read_link(&self, path: &RelPath) -> Result<Vec<u8>, VfsError> {
        let (dir, name) = self.parent(path)?;
        fs::readlinkat(dir, name, Vec::new()).map(std::ffi::CString::into_bytes).map_err(fault)
    }

    fn remove_file(&self, path: &RelPath) -> Result<(), VfsError> {
        let (dir, name) = self.parent(path)?;
        fs::unlinkat(dir, name, AtFlags::empty()).map_err(fault)
    }

    fn remove_dir(&self, path: &RelPath) -> Result<(), VfsError> {
        let (dir, name) = self.parent(path)?;
        fs::unlinkat(dir, name, AtFlags::REMOVEDIR).map_err(fault)
    }

    fn rename(&self, from: &RelPath, to: &RelPath, how: Rename) -> Result<(), VfsError> {
        let (from_dir, from_name) = self.parent(from)?;
        let (to_dir, to_name) = self.parent(to)?;
        let flags = match how {
            Rename::NoReplace => fs::RenameFlags::NOREPLACE,
            Rename::Exchange => fs::RenameFlags::EXCHANGE,
        };
        match fs::renameat_with(&from_dir, from_name, &to_dir, to_name, flags) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) if how == Rename::NoReplace => {
                rename_without_flags(&from_dir, from_name, &to_dir, to_name)
            }
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Err(VfsError::Unsupported),
            done => done.map_err(fault),
        }
    }

    #[cfg(target_os = "linux")]
    fn sync(&self) -> Result<(), VfsError> {
        fs::syncfs(&self.root).map_err(fault)
    }

    #[cfg(not(target_os = "linux"))]
    fn sync(&self) -> Result<(), VfsError> {
        fs::sync();
        Ok(())
    }
}

impl DirVfs {
    /// Opens without following a link at the end and without waiting for the other end of a pipe.
    fn open_with(&self, path: &RelPath, flags: OFlags) -> Result<DirFile, VfsError> {
        let (dir, name) = self.parent(path)?;
        let flags = flags | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        let file = fs::openat(dir, name, flags, Mode::from_raw_mode(0o666)).map_err(|errno| match errno {
            Errno::LOOP | Errno::MLINK | Errno::NXIO | Errno::ISDIR => VfsError::NotFile,
            other => fault(other),
        })?;
        let file = DirFile { file, device: self.device };
        if file.stat()?.kind == Kind::File { Ok(file) } else { Err(VfsError::NotFile) }
    }
}

/// For file systems without `RENAME_NOREPLACE` (NFS, some FUSE): a look, then a plain rename; a hundred microseconds in which
/// another program's new file would be lost remain.
fn rename_without_flags(
    from_dir: &Handle<'_>,
    from: &OsStr,
    to_dir: &Handle<'_>,
    to: &OsStr,
) -> Result<(), VfsError> {
    match fs::statat(to_dir, to, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Err(VfsError::Exists),
        Err(Errno::NOENT) => fs::renameat(from_dir, from, to_dir, to).map_err(fault),
        Err(errno) => Err(fault(errno)),
    }
}

#[allow(clippy::unnecessary_cast, reason = "the type differs between systems")]
fn open_root(path: &Path) -> Result<(OwnedFd, u64), VfsError> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let root = fs::open(path, flags, Mode::empty()).map_err(fault)?;
    let device = fs::fstat(&root).map_err(fault)?.st_dev as u64;
    Ok((root, device))
}

/// An open file of the real file system.
#[derive(Debug)]
pub struct DirFile {
    file: OwnedFd,
    device: u64,
}

impl VfsFile for DirFile {
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, VfsError> {
        let mut filled = 0;
        while let Some(rest) = into.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match rustix::io::pread(&self.file, rest, offset + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(fault(errno)),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> Result<(), VfsError> {
        let mut written = 0;
        while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match rustix::io::pwrite(&self.file, rest, offset + written as u64) {
                Ok(0) => return Err(VfsError::Io),
                Ok(wrote) => written += wrote,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(fault(errno)),
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), VfsError> {
        fs::ftruncate(&self.file, len).map_err(fault)
    }

    fn set_meta(&self, mode: u32, mtime_ns: i64) -> Result<(), VfsError> {
        fs::fchmod(&self.file, Mode::from_raw_mode(mode as fs::RawMode)).map_err(fault)?;
        let mtime = Timespec {
            tv_sec: mtime_ns.div_euclid(1_000_000_000),
            tv_nsec: mtime_ns.rem_euclid(1_000_000_000) as _,
        };
        let keep = Timespec { tv_sec: 0, tv_nsec: fs::UTIME_OMIT as _ };
        fs::futimens(&self.file, &Timestamps { last_access: keep, last_modification: mtime }).map_err(fault)
    }

    fn stat(&self) -> Result<Stat, VfsError> {
        let stat = fs::fstat(&self.file).map_err(fault)?;
        Ok(stat_of(stat, self.device))
    }
}

#[allow(clippy::unnecessary_cast, clippy::useless_conversion, reason = "the types differ between systems")]
fn stat_of(stat: fs::Stat, device: u64) -> Stat {
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Dir,
        FileType::Symlink => Kind::Symlink,
        _ => Kind::Special,
    };
    let nanoseconds = |seconds: i64, rest: i64| seconds.saturating_mul(1_000_000_000).saturating_add(rest);
    let is_dir = kind == Kind::Dir;
    Stat {
        kind,
        size: if kind == Kind::File { stat.st_size as u64 } else { 0 },
        mtime_ns: if is_dir { 0 } else { nanoseconds(stat.st_mtime as i64, stat.st_mtime_nsec as i64) },
        ctime_ns: if is_dir { 0 } else { nanoseconds(stat.st_ctime as i64, stat.st_ctime_nsec as i64) },
        inode: stat.st_ino as u64,
        foreign: stat.st_dev as u64 != device,
        mode: if kind == Kind::File { u32::from(stat.st_mode) & 0o7777 } else { 0 },
    }
}

fn fault(errno: Errno) -> VfsError {
    match errno {
        Errno::NOENT => VfsError::NotFound,
        Errno::EXIST => VfsError::Exists,
        Errno::ACCESS | Errno::PERM => VfsError::Denied,
        Errno::NOSPC | Errno::DQUOT => VfsError::Full,
        Errno::ROFS => VfsError::ReadOnly,
        Errno::NOTDIR | Errno::LOOP => VfsError::NotDirectory,
        Errno::ISDIR => VfsError::NotFile,
        Errno::NOTEMPTY => VfsError::NotEmpty,
        Errno::NAMETOOLONG | Errno::ILSEQ => VfsError::NameTooLong,
        Errno::XDEV => VfsError::OtherFileSystem,
        Errno::OPNOTSUPP | Errno::NOSYS => VfsError::Unsupported,
        _ => VfsError::Io,
    }
}

/// The path below `root` of a path the watcher names, if it is one.
pub(crate) fn relative(root: &Path, path: &Path) -> Option<RelPath> {
    let below = path.strip_prefix(root).ok()?;
    RelPath::new(below.to_path_buf().into_os_string().into_vec()).ok()
}
