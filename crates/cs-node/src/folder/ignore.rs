//! The ignore file: `.cosyncignore` at the folder's root, in the syntax of `.gitignore`.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ignore::gitignore::{Gitignore, GitignoreBuilder};

use super::RelPath;
use super::vfs::{Stat, Vfs, VfsError, VfsFile};

/// The name of the ignore file. It is synchronised like any other file, so that all members ignore the same.
pub const IGNORE_FILE: &str = ".cosyncignore";
/// The folder's own directory, never synchronised.
pub const RESERVED: &str = ".cosync";
/// An ignore file longer than this, in bytes, is cut here: matching costs time for each line and path.
const MAX_BYTES: usize = 256 * 1024;

/// The rules in force. Patterns that do not parse, or are not UTF-8, are left out and counted.
#[derive(Debug)]
pub(crate) struct IgnoreRules {
    rules: Gitignore,
    read_from: Option<Stat>,
    /// Lines that are no pattern.
    pub(crate) bad_lines: usize,
}

impl IgnoreRules {
    pub(crate) fn none() -> Self {
        Self { rules: Gitignore::empty(), read_from: None, bad_lines: 0 }
    }

    /// Reads the file again if it is another one than before. Rules stay as they are when it cannot be read.
    pub(crate) fn refresh(&mut self, vfs: &impl Vfs) {
        let Ok(path) = RelPath::new(IGNORE_FILE) else { return };
        match vfs.stat(&path) {
            Ok(stat) if Some(stat) == self.read_from => {}
            Ok(stat) => {
                if let Ok(text) = read(vfs, &path) {
                    *self = Self::parse(&text);
                    self.read_from = Some(stat);
                }
            }
            Err(VfsError::NotFound) => *self = Self::none(),
            Err(_) => {}
        }
    }

    pub(crate) fn parse(text: &[u8]) -> Self {
        let mut builder = GitignoreBuilder::new("");
        let mut bad_lines = 0;
        for line in text.split(|&byte| byte == b'\n') {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let added = std::str::from_utf8(line).map(|line| builder.add_line(None, line).is_ok());
            bad_lines += usize::from(added != Ok(true));
        }
        match builder.build() {
            Ok(rules) => Self { rules, read_from: None, bad_lines },
            Err(_) => Self { bad_lines, ..Self::none() },
        }
    }

    /// Whether a path whose parents are not ignored is.
    pub(crate) fn ignores(&self, path: &RelPath, is_dir: bool) -> bool {
        !self.rules.is_empty()
            && self.rules.matched(Path::new(OsStr::from_bytes(path.as_bytes())), is_dir).is_ignore()
    }

    /// Whether a path or a directory above it is ignored.
    pub(crate) fn ignores_at_any_depth(&self, path: &RelPath, is_dir: bool) -> bool {
        !self.rules.is_empty()
            && (path.ancestors().any(|above| self.ignores(&above, true)) || self.ignores(path, is_dir))
    }
}

/// Whether this is the folder's own directory or in it.
pub(crate) fn is_reserved(path: &RelPath) -> bool {
    path.components().next().is_some_and(|first| first.eq_ignore_ascii_case(RESERVED.as_bytes()))
}

fn read(vfs: &impl Vfs, path: &RelPath) -> Result<Vec<u8>, VfsError> {
    let mut text = vec![0; MAX_BYTES];
    let read = vfs.open(path)?.read_at(0, &mut text)?;
    text.truncate(read);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(bytes: &[u8]) -> RelPath {
        RelPath::new(bytes).expect("a path")
    }

    #[test]
    fn patterns_mean_what_they_mean_to_git() {
        let rules = IgnoreRules::parse(b"# build\n*.o\n/target/\n!keep.o\ndocs/**/tmp\n");
        assert!(rules.ignores(&path(b"src/a.o"), false));
        assert!(!rules.ignores(&path(b"src/keep.o"), false));
        assert!(rules.ignores(&path(b"target"), true));
        assert!(!rules.ignores(&path(b"target"), false));
        assert!(!rules.ignores(&path(b"src/target"), true));
        assert!(rules.ignores_at_any_depth(&path(b"target/debug/x"), false));
        assert!(rules.ignores(&path(b"docs/a/b/tmp"), false));
        assert_eq!(rules.bad_lines, 0);
    }

    #[test]
    fn names_and_lines_that_are_no_text_do_no_harm() {
        let rules = IgnoreRules::parse(b"*.tmp\n\xff\xfe\n[z-\n");
        assert!(rules.ignores(&path(b"\xff\xfe.tmp"), false));
        assert!(!rules.ignores(&path(b"\xff\xfe"), false));
        assert!(rules.bad_lines >= 1);
    }

    #[test]
    fn the_own_directory_is_reserved_in_any_case_of_its_letters() {
        assert!(is_reserved(&path(b".cosync")));
        assert!(is_reserved(&path(b".COSYNC/tmp/x")));
        assert!(!is_reserved(&path(b".cosyncignore")));
        assert!(!is_reserved(&path(b"a/.cosync")));
    }
}
