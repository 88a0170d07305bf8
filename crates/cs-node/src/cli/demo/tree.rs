//! Folders on disk: making one, and comparing two without asking any node.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::cli::demo::Unmet;

/// Name and size in bytes of the large file of the folder.
pub(crate) const LARGE: (&str, u64) = ("video/talk.bin", 64 << 20);

/// What a folder holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) files: u64,
    pub(crate) dirs: u64,
    pub(crate) links: u64,
    pub(crate) bytes: u64,
}

/// Makes the folder that is shared.
pub(crate) fn make(root: &Path) -> io::Result<()> {
    for dir in ["notes/2024", "notes/2025", "photos", "bin", "empty directory", "video"] {
        fs::create_dir_all(root.join(dir))?;
    }
    for number in 1..=12 {
        let year = 2024 + number % 2;
        fs::write(
            root.join(format!("notes/{year}/note {number:02}.txt")),
            format!("Note {number}.\n").repeat(number * 9),
        )?;
        fill(&root.join(format!("photos/{number:02}.jpg")), number as u64, 20_000 + 3_000 * number as u64)?;
    }
    fs::write(root.join("README.txt"), "A folder that cosync keeps in sync.\n")?;
    fs::write(root.join("plan.txt"), "Meet on Monday.\n")?;
    fs::write(root.join("old.txt"), "This one goes away.\n")?;
    fs::write(root.join("empty"), "")?;
    fs::write(root.join("Größe \u{1f600}.txt"), "A name in Unicode.\n")?;
    fs::write(root.join("bin/hello"), "#!/bin/sh\necho hello\n")?;
    fs::set_permissions(root.join("bin/hello"), fs::Permissions::from_mode(0o755))?;
    symlink("notes/2025", root.join("latest"))?;
    symlink("../nowhere", root.join("dangling"))?;
    fill(&root.join(LARGE.0), 1000, LARGE.1)
}

/// Writes a file of pseudo-random bytes: nothing in it repeats, so that nothing can be spared.
pub(crate) fn fill(path: &Path, seed: u64, len: u64) -> io::Result<()> {
    let mut stream = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    let mut file = File::create(path)?;
    let mut left = len;
    let mut buffer = vec![0; 1 << 20];
    while left > 0 {
        let piece = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let piece = &mut buffer[..piece];
        stream.fill(piece);
        file.write_all(piece)?;
        left -= piece.len() as u64;
    }
    Ok(())
}

/// Compares two folders: names, kinds, link targets, executable bits and every byte. Says the first difference.
///
/// Reads both, on a thread where that holds nothing up.
pub(crate) async fn compare(left: &Path, right: &Path) -> Result<Totals, Unmet> {
    let (left, right) = (left.to_owned(), right.to_owned());
    let compared = tokio::task::spawn_blocking(move || differ(&left, &right)).await;
    compared.map_err(|error| Unmet(format!("the comparison broke off: {error}")))?
}

fn differ(left: &Path, right: &Path) -> Result<Totals, Unmet> {
    let (ours, theirs) = (walk(left)?, walk(right)?);
    let show = |path: &PathBuf| path.display().to_string();
    if let Some(path) = ours.keys().find(|path| !theirs.contains_key(*path)) {
        return Err(Unmet(format!("{} is only in {}", show(path), left.display())));
    }
    let mut totals = Totals::default();
    for (path, their) in &theirs {
        let Some(our) = ours.get(path) else {
            return Err(Unmet(format!("{} is only in {}", show(path), right.display())));
        };
        if our != their {
            return Err(Unmet(format!(
                "{} differs: {our:?} in {}, {their:?} in {}",
                show(path),
                left.display(),
                right.display()
            )));
        }
        match our {
            Kind::Dir => totals.dirs += 1,
            Kind::Link(_) => totals.links += 1,
            Kind::File { len, .. } => {
                (totals.files, totals.bytes) = (totals.files + 1, totals.bytes + len);
                if let Some(at) = first_difference(&left.join(path), &right.join(path))? {
                    let (left, right) = (left.display(), right.display());
                    return Err(Unmet(format!(
                        "byte {at} of {} differs between {left} and {right}",
                        show(path)
                    )));
                }
            }
            Kind::Other => return Err(Unmet(format!("{} is neither file, directory nor link", show(path)))),
        }
    }
    Ok(totals)
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Dir,
    Link(Vec<u8>),
    File { len: u64, executable: bool },
    Other,
}

/// Everything below a folder, but for what the node keeps there for itself.
fn walk(root: &Path) -> io::Result<BTreeMap<PathBuf, Kind>> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![PathBuf::new()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(root.join(&dir))? {
            let entry = entry?;
            let path = dir.join(entry.file_name());
            if path.as_os_str() == ".cosync" {
                continue;
            }
            let meta = entry.path().symlink_metadata()?;
            let kind = if meta.is_dir() {
                dirs.push(path.clone());
                Kind::Dir
            } else if meta.is_symlink() {
                Kind::Link(fs::read_link(entry.path())?.as_os_str().as_bytes().to_vec())
            } else if meta.is_file() {
                Kind::File { len: meta.len(), executable: meta.mode() & 0o100 != 0 }
            } else {
                Kind::Other
            };
            found.insert(path, kind);
        }
    }
    Ok(found)
}

/// Where two files of equal length first differ.
pub(crate) fn first_difference(left: &Path, right: &Path) -> io::Result<Option<u64>> {
    const PIECE: usize = 1 << 20;
    let open = |path| File::open(path).map(|file| BufReader::with_capacity(PIECE, file));
    let (mut left, mut right) = (open(left)?, open(right)?);
    let (mut ours, mut theirs) = (Vec::with_capacity(PIECE), Vec::with_capacity(PIECE));
    let mut at = 0;
    loop {
        ours.clear();
        theirs.clear();
        (&mut left).take(PIECE as u64).read_to_end(&mut ours)?;
        (&mut right).take(PIECE as u64).read_to_end(&mut theirs)?;
        if ours != theirs {
            let same = ours.iter().zip(&theirs).take_while(|(a, b)| a == b).count();
            return Ok(Some(at + same as u64));
        }
        if ours.is_empty() {
            return Ok(None);
        }
        at += ours.len() as u64;
    }
}

/// Bytes of disk that the files directly in a directory take up: holes in them count nothing.
pub(crate) fn allocated(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        bytes += entry?.metadata()?.blocks() * 512;
    }
    Ok(bytes)
}

/// Inverts the first byte of a file.
pub(crate) fn flip(path: &Path) -> io::Result<()> {
    let mut bytes = fs::read(path)?;
    if let Some(first) = bytes.first_mut() {
        *first = !*first;
    }
    fs::write(path, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn two() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (left, right) = (dir.path().join("left"), dir.path().join("right"));
        for root in [&left, &right] {
            fs::create_dir_all(root.join("d")).unwrap();
            fill(&root.join("d/f"), 7, 3_000_000).unwrap();
            symlink("d", root.join("l")).unwrap();
        }
        (dir, left, right)
    }

    fn why(left: &Path, right: &Path) -> String {
        differ(left, right).unwrap_err().0
    }

    #[test]
    fn equal_folders_are_counted() {
        let (_dir, left, right) = two();
        fs::create_dir(right.join(".cosync")).unwrap();
        let totals = differ(&left, &right).unwrap();
        assert_eq!(totals, Totals { files: 1, dirs: 1, links: 1, bytes: 3_000_000 });
    }

    #[test]
    fn one_byte_is_a_difference_and_is_named() {
        let (_dir, left, right) = two();
        let mut bytes = fs::read(right.join("d/f")).unwrap();
        bytes[2_345_678] ^= 1;
        fs::write(right.join("d/f"), bytes).unwrap();
        assert!(why(&left, &right).starts_with("byte 2345678 of d/f differs"));
    }

    #[test]
    fn a_missing_name_an_executable_bit_a_link_target_and_a_kind_are_differences() {
        let (_dir, left, right) = two();
        fs::set_permissions(right.join("d/f"), fs::Permissions::from_mode(0o755)).unwrap();
        assert!(why(&left, &right).starts_with("d/f differs"));
        fs::remove_file(right.join("d/f")).unwrap();
        assert!(why(&left, &right).starts_with("d/f is only in"));
        assert!(why(&right, &left).starts_with("d/f is only in"));
        fs::copy(left.join("d/f"), right.join("d/f")).unwrap();
        fs::remove_file(right.join("l")).unwrap();
        symlink("e", right.join("l")).unwrap();
        assert!(why(&left, &right).starts_with("l differs"));
        fs::remove_file(right.join("l")).unwrap();
        fs::create_dir(right.join("l")).unwrap();
        assert!(why(&left, &right).starts_with("l differs"));
    }
}
