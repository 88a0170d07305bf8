//! Folders: filled with chance, and compared.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Writes a file of `size` bytes that nothing can compress; equal seeds give equal bytes.
///
/// # Errors
/// Whatever the file system says.
pub fn fill(path: &Path, size: u64, seed: u64) -> io::Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut file = fs::File::create(path)?;
    let mut block = vec![0; 1 << 16];
    let mut left = size;
    while left > 0 {
        let take = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        rng.fill_bytes(&mut block[..take]);
        file.write_all(&block[..take])?;
        left -= take as u64;
    }
    Ok(())
}

/// The first way in which two folders differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Only in the first.
    Missing(PathBuf),
    /// Only in the second.
    Extra(PathBuf),
    /// In both, and not the same.
    Other(PathBuf),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Dir,
    Link(PathBuf),
    File { size: u64, exec: bool },
}

/// How the second folder differs from the first, as `diff -r` sees it, with links as links and the executable bit.
/// What cosync keeps in `.cosync` does not count.
///
/// # Errors
/// Whatever the file system says.
pub fn compare(first: &Path, second: &Path) -> io::Result<Option<Difference>> {
    let (ours, theirs) = (entries(first)?, entries(second)?);
    if let Some(path) = ours.keys().find(|path| !theirs.contains_key(*path)) {
        return Ok(Some(Difference::Missing(path.clone())));
    }
    if let Some(path) = theirs.keys().find(|path| !ours.contains_key(*path)) {
        return Ok(Some(Difference::Extra(path.clone())));
    }
    for (path, entry) in &ours {
        let is_file = matches!(entry, Entry::File { .. });
        if theirs.get(path) != Some(entry) || (is_file && !same(&first.join(path), &second.join(path))?) {
            return Ok(Some(Difference::Other(path.clone())));
        }
    }
    Ok(None)
}

fn entries(root: &Path) -> io::Result<BTreeMap<PathBuf, Entry>> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![PathBuf::new()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(root.join(&dir))? {
            let path = dir.join(entry?.file_name());
            if path == Path::new(".cosync") || path == Path::new(".stfolder") {
                continue;
            }
            let metadata = root.join(&path).symlink_metadata()?;
            let entry = if metadata.is_dir() {
                dirs.push(path.clone());
                Entry::Dir
            } else if metadata.is_symlink() {
                Entry::Link(fs::read_link(root.join(&path))?)
            } else {
                Entry::File { size: metadata.len(), exec: metadata.permissions().mode() & 0o100 != 0 }
            };
            found.insert(path, entry);
        }
    }
    Ok(found)
}

fn same(first: &Path, second: &Path) -> io::Result<bool> {
    let (mut first, mut second) = (fs::File::open(first)?, fs::File::open(second)?);
    let (mut ours, mut theirs) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let read = first.read(&mut ours)?;
        if read == 0 {
            return Ok(second.read(&mut theirs)? == 0);
        }
        if second.read_exact(&mut theirs[..read]).is_err() || ours[..read] != theirs[..read] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_difference_is_seen() {
        let temp = tempfile::tempdir().unwrap();
        let (a, b) = (temp.path().join("a"), temp.path().join("b"));
        for dir in [&a, &b] {
            fs::create_dir_all(dir.join("sub/.cosync")).unwrap();
            fill(&dir.join("sub/file"), 70_000, 1).unwrap();
        }
        fs::create_dir(a.join(".cosync")).unwrap();
        assert_eq!(compare(&a, &b).unwrap(), None);
        let file = PathBuf::from("sub/file");
        fill(&b.join(&file), 70_000, 2).unwrap();
        assert_eq!(compare(&a, &b).unwrap(), Some(Difference::Other(file.clone())));
        fs::remove_file(b.join(&file)).unwrap();
        assert_eq!(compare(&a, &b).unwrap(), Some(Difference::Missing(file.clone())));
        assert_eq!(compare(&b, &a).unwrap(), Some(Difference::Extra(file.clone())));
        std::os::unix::fs::symlink("file", b.join(&file)).unwrap();
        assert_eq!(compare(&a, &b).unwrap(), Some(Difference::Other(file)));
    }
}
