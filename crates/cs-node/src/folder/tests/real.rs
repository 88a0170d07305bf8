//! The same promises on the real file system.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::mpsc;
use std::time::{Duration, SystemTime};

use super::harness::{noise, options, path};
use crate::folder::*;

struct Real {
    dir: tempfile::TempDir,
    folder: Folder<DirVfs>,
}

impl Real {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(dir.path().join("shared")).expect("empty so far");
        let folder = open(dir.path()).expect("a new folder");
        Self { dir, folder }
    }

    fn root(&self) -> std::path::PathBuf {
        self.dir.path().join("shared")
    }

    fn scan(&mut self) -> Vec<LocalChange> {
        let mut changes = Vec::new();
        self.folder.scan(Scope::All, unix_ms(), &mut |change| changes.push(change)).expect("it is there");
        self.folder.flush(unix_ms()).expect("it is there");
        changes
    }

    /// Takes over what another folder found.
    fn take(&mut self, changes: &[LocalChange], from: &mut Self) {
        for change in changes {
            let id = Version::from_bytes(*blake3::hash(format!("{change:?}").as_bytes()).as_bytes());
            assert_eq!(from.folder.confirm(&change.path, &change.content, &[id]), Ok(true));
            let applied = self.folder.apply(&change.path, &change.content, &[id], unix_ms()).expect("a disk");
            let mut needs = if let Applied::Needs(needs) = applied { needs } else { Vec::new() };
            while let Some(chunk) = needs.pop() {
                let bytes =
                    from.folder.read_chunk(&chunk.id).expect("an index").expect("it was just scanned");
                let written = self.folder.write_chunk(&chunk.id, &bytes).expect("a disk");
                needs.extend(written.needs.into_iter().flat_map(|(_, needs)| needs));
            }
        }
        while self.folder.needs_flush() {
            self.folder.flush(unix_ms()).expect("a disk");
        }
    }
}

fn open(dir: &Path) -> Result<Folder<DirVfs>, FolderError> {
    let index = Index::open(&dir.join("index"))?;
    Folder::open(DirVfs::open(dir.join("shared")).map_err(FolderError::Disk)?, index, options())
}

/// Tests are drivers: they may read the clock.
fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970");
    u64::try_from(now.as_millis()).expect("before the year 500 million")
}

/// Kind, mode, content of everything in a directory but its own.
fn tree(vfs: &DirVfs, dir: Option<&RelPath>, into: &mut Vec<(RelPath, Kind, u32, Vec<u8>)>) {
    for (name, stat) in vfs.list(dir).expect("readable") {
        let at = RelPath::under(dir, &name).expect("short");
        let bytes = match stat.kind {
            Kind::File => {
                let mut bytes = vec![0; stat.size as usize];
                let file = vfs.open(&at).expect("readable");
                assert_eq!(file.read_at(0, &mut bytes), Ok(bytes.len()));
                bytes
            }
            Kind::Symlink => vfs.read_link(&at).expect("a link"),
            _ => Vec::new(),
        };
        if at != path(RESERVED) {
            into.push((at.clone(), stat.kind, stat.mode, bytes));
            if stat.kind == Kind::Dir {
                tree(vfs, Some(&at), into);
            }
        }
    }
}

fn assert_same(a: &Real, b: &Real) {
    let (mut in_a, mut in_b) = (Vec::new(), Vec::new());
    tree(a.folder.vfs(), None, &mut in_a);
    tree(b.folder.vfs(), None, &mut in_b);
    in_a.sort();
    in_b.sort();
    assert_eq!(in_a, in_b);
}

#[test]
fn a_real_tree_arrives_as_it_is_and_stays_so() {
    let (mut a, mut b) = (Real::new(), Real::new());
    let root = a.root();
    fs::create_dir_all(root.join("dir/empty")).expect("a disk");
    fs::write(root.join(OsStr::from_bytes(b"\xff\xfe")), b"not text").expect("a disk");
    fs::write(root.join("dir/run"), b"#!/bin/sh").expect("a disk");
    fs::set_permissions(root.join("dir/run"), fs::Permissions::from_mode(0o755)).expect("a disk");
    fs::write(root.join("large"), noise(1, 30 << 20)).expect("a disk");
    fs::write(root.join("nothing"), b"").expect("a disk");
    symlink("/etc/passwd", root.join("link")).expect("a disk");
    rustix::fs::mknodat(rustix::fs::CWD, root.join("pipe"), rustix::fs::FileType::Fifo, 0o600.into(), 0)
        .expect("a disk with pipes");
    let changes = a.scan();
    assert_eq!(a.folder.problems().collect::<Vec<_>>(), [(&path("pipe"), Why::Special)]);
    fs::remove_file(root.join("pipe")).expect("a disk");
    b.take(&changes, &mut a);
    assert_same(&a, &b);
    let mtime = |real: &Real| fs::metadata(real.root().join("large")).expect("there").mtime_nsec();
    assert_eq!(mtime(&a), mtime(&b));
    assert_eq!((a.scan(), b.scan()), (Vec::new(), Vec::new()));

    fs::rename(root.join("dir"), root.join("moved")).expect("a disk");
    fs::write(root.join("nothing"), b"something").expect("a disk");
    let changes = a.scan();
    b.take(&changes, &mut a);
    for deleted in changes.iter().filter(|change| change.content == Content::Deleted).rev() {
        b.folder.apply(&deleted.path, &Content::Deleted, &[], unix_ms()).expect("a disk");
    }
    assert_same(&a, &b);
}

#[test]
fn the_permissions_of_a_replaced_file_stay_and_only_the_executable_bit_follows() {
    let (mut a, mut b) = (Real::new(), Real::new());
    fs::write(a.root().join("secret"), b"one").expect("a disk");
    let changes = a.scan();
    b.take(&changes, &mut a);
    fs::set_permissions(b.root().join("secret"), fs::Permissions::from_mode(0o600)).expect("a disk");
    assert_eq!(b.scan(), []);
    fs::write(a.root().join("secret"), b"two").expect("a disk");
    fs::set_permissions(a.root().join("secret"), fs::Permissions::from_mode(0o755)).expect("a disk");
    let changes = a.scan();
    b.take(&changes, &mut a);
    assert_eq!(fs::read(b.root().join("secret")).expect("there"), b"two");
    assert_eq!(fs::metadata(b.root().join("secret")).expect("there").mode() & 0o777, 0o700);
}

#[test]
fn a_path_longer_than_the_kernel_takes_arrives() {
    let (mut a, mut b) = (Real::new(), Real::new());
    let component = "n".repeat(200);
    let long = path(&vec![component.as_str(); 40].join("/"));
    assert!(long.as_bytes().len() > 8000);
    for dir in long.ancestors() {
        a.folder.vfs().make_dir(&dir).expect("relative to an open directory");
    }
    let file = a.folder.vfs().open_or_create(&long).expect("relative to an open directory");
    file.write_at(0, b"deep down").expect("a disk");
    let changes = a.scan();
    assert_eq!(changes.len(), 40);
    b.take(&changes, &mut a);
    assert_same(&a, &b);
}

#[test]
fn a_link_planted_on_the_way_does_not_lead_out_of_the_folder() {
    let mut a = Real::new();
    let outside = tempfile::tempdir().expect("a temporary directory");
    fs::write(outside.path().join("secret"), b"secret").expect("a disk");
    symlink(outside.path(), a.root().join("way")).expect("a disk");
    let content = Content::File { size: 0, exec: false, mtime_ns: 0, chunks: ChunkList::Inline(Vec::new()) };
    assert_eq!(a.folder.apply(&path("way/new"), &content, &[], unix_ms()), Ok(Applied::Staged));
    let placed = a.folder.flush(unix_ms());
    assert_eq!(placed, Ok(vec![(path("way/new"), Placed::Refused(Why::ParentNotDirectory))]));
    let dir = a.folder.apply(&path("way/dir"), &Content::Dir, &[], unix_ms());
    assert_eq!(dir, Ok(Applied::Refused(Why::ParentNotDirectory)));
    a.folder.apply(&path("way/secret"), &Content::Deleted, &[], unix_ms()).expect("a disk");
    assert_eq!(a.folder.vfs().open(&path("way/secret")).map(drop), Err(VfsError::NotDirectory));
    assert_eq!(a.folder.vfs().list(Some(&path("way"))).map(drop), Err(VfsError::NotDirectory));
    let held: Vec<_> = fs::read_dir(outside.path()).expect("there").collect();
    assert_eq!(held.len(), 1);
    assert_eq!(a.scan().iter().map(|change| change.path.clone()).collect::<Vec<_>>(), [path("way")]);
}

#[test]
fn a_folder_that_was_moved_away_or_replaced_is_an_error() {
    let mut a = Real::new();
    fs::write(a.root().join("x"), b"data").expect("a disk");
    a.scan();
    fs::rename(a.root(), a.dir.path().join("away")).expect("a disk");
    assert_eq!(a.folder.begin_scan(Scope::All).map(drop), Err(FolderError::RootMissing));
    fs::create_dir(a.root()).expect("a disk");
    assert_eq!(a.folder.begin_scan(Scope::All).map(drop), Err(FolderError::MarkerMissing));
    fs::remove_dir(a.root()).expect("empty");
    fs::write(a.root(), b"a file").expect("a disk");
    assert_eq!(a.folder.begin_scan(Scope::All).map(drop), Err(FolderError::RootMissing));
    fs::remove_file(a.root()).expect("a disk");
    fs::rename(a.dir.path().join("away"), a.root()).expect("a disk");
    assert_eq!(a.scan(), []);
    drop(a.folder);
    fs::remove_dir_all(a.dir.path().join("shared/.cosync")).expect("a disk");
    assert_eq!(open(a.dir.path()).map(drop), Err(FolderError::MarkerMissing));
}

#[test]
fn an_index_in_use_is_locked_and_one_that_is_garbage_says_so() {
    let a = Real::new();
    assert_eq!(Index::open(&a.dir.path().join("index")).map(drop), Err(IndexError::Locked));
    fs::write(a.dir.path().join("garbage"), noise(1, 10_000)).expect("a disk");
    assert_eq!(Index::open(&a.dir.path().join("garbage")).map(drop), Err(IndexError::Corrupt));
}

#[test]
fn the_watcher_tells_what_was_touched_and_the_scan_finds_it() {
    let mut a = Real::new();
    let (sender, receiver) = mpsc::channel();
    let tell = move |dirty| drop(sender.send(dirty));
    let _watcher = Watcher::start(&a.root(), Debounce::default(), tell).expect("a watchable directory");
    fs::create_dir(a.root().join("new")).expect("a disk");
    fs::write(a.root().join("new/file"), b"data").expect("a disk");
    fs::write(a.root().join(".cosync/tmp/own"), b"not told").expect("a disk");
    let mut found = BTreeSet::new();
    while found.len() < 2 {
        let dirty = receiver.recv_timeout(Duration::from_secs(30)).expect("it tells what was touched");
        let scope = match dirty {
            Dirty::Everything => Scope::All,
            Dirty::Paths(paths) => {
                assert!(paths.iter().all(|at| path("new").holds(at)), "{paths:?}");
                Scope::Paths(paths)
            }
        };
        a.folder.scan(scope, unix_ms(), &mut |change| found.extend([change.path])).expect("it is there");
    }
    assert_eq!(found, BTreeSet::from([path("new"), path("new/file")]));
}

#[test]
fn a_watcher_of_nothing_says_so() {
    let told = Watcher::start(Path::new("/nonexistent/folder"), Debounce::default(), |_| {});
    assert_eq!(told.map(drop), Err(WatchError::RootMissing));
}
