//! Paths inside a shared folder: raw bytes, never text, never leading out.

use core::fmt;

use super::DecodeError;

/// A path relative to the folder's root: one or more components joined by `/`, as raw bytes.
///
/// No component is empty, `.` or `..`, none holds a NUL, none is longer than [`RelPath::MAX_COMPONENT`] bytes and there are
/// at most [`RelPath::MAX_DEPTH`]. Bytes need not be UTF-8. The order is depth first: a directory comes directly before what it
/// holds (which byte order would not give: `a-b` sorts before `a/b`).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RelPath(Vec<u8>);

impl RelPath {
    /// The most components: a blinded path has 255, and 15 are left for where in its space a folder hangs.
    pub const MAX_DEPTH: usize = 240;
    /// The longest component, in bytes: what every common file system allows.
    pub const MAX_COMPONENT: usize = 255;
    /// The longest path, in bytes. It exceeds the kernel's `PATH_MAX` (4,096) on purpose.
    pub const MAX_BYTES: usize = Self::MAX_DEPTH * (Self::MAX_COMPONENT + 1) - 1;

    /// Checks and takes the bytes of a path.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, DecodeError> {
        let bytes = bytes.into();
        let mut depth = 0;
        for component in bytes.split(|&byte| byte == b'/') {
            depth += 1;
            if !is_component(component) || depth > Self::MAX_DEPTH {
                return Err(DecodeError::Path);
            }
        }
        Ok(Self(bytes))
    }

    /// The path `name` directly under `parent`, where `None` is the root.
    pub fn under(parent: Option<&Self>, name: &[u8]) -> Result<Self, DecodeError> {
        match parent {
            Some(parent) => Self::new([parent.as_bytes(), b"/", name].concat()),
            None => Self::new(name),
        }
    }

    /// The bytes, components joined by `/`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The components, outermost first.
    pub fn components(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|&byte| byte == b'/')
    }

    /// The directory this path is in; `None` is the root.
    pub fn parent(&self) -> Option<Self> {
        let slash = self.0.iter().rposition(|&byte| byte == b'/')?;
        Some(Self(self.0.get(..slash)?.to_vec()))
    }

    /// The last component.
    pub fn name(&self) -> &[u8] {
        self.components().next_back().unwrap_or_default()
    }

    /// Every directory above this path, outermost first, without the root and the path itself.
    pub fn ancestors(&self) -> impl Iterator<Item = Self> + '_ {
        let slashes = self.0.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        slashes.filter_map(|(at, _)| Some(Self(self.0.get(..at)?.to_vec())))
    }

    /// Whether this is `other` or a directory above it.
    pub fn holds(&self, other: &Self) -> bool {
        other
            .0
            .strip_prefix(self.0.as_slice())
            .is_some_and(|rest| rest.first().is_none_or(|&byte| byte == b'/'))
    }

    /// The key of this path in the index: NUL, which no component holds, in place of `/` makes byte order depth first.
    pub(crate) fn key(&self) -> Vec<u8> {
        self.0.iter().map(|&byte| if byte == b'/' { 0 } else { byte }).collect()
    }

    /// The path a key of the index stands for.
    pub(crate) fn from_key(key: &[u8]) -> Result<Self, DecodeError> {
        Self::new(key.iter().map(|&byte| if byte == 0 { b'/' } else { byte }).collect::<Vec<_>>())
    }
}

fn is_component(component: &[u8]) -> bool {
    !matches!(component, b"" | b"." | b"..")
        && component.len() <= RelPath::MAX_COMPONENT
        && !component.contains(&0)
}

impl Ord for RelPath {
    fn cmp(&self, other: &Self) -> core::cmp::Ordering {
        // By components, without splitting: what separates them sorts before every byte that a name can hold.
        let sorted = |byte: &u8| if *byte == b'/' { 0 } else { *byte };
        self.0.iter().map(sorted).cmp(other.0.iter().map(sorted))
    }
}

impl PartialOrd for RelPath {
    fn partial_cmp(&self, other: &Self) -> Option<core::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Text for a person: bytes that are not UTF-8 and control characters are escaped, so that it does not always read back.
impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for character in chunk.valid().chars() {
                if character.is_control() {
                    write!(f, "{}", character.escape_default())?;
                } else {
                    write!(f, "{character}")?;
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{self}`")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text).expect(text)
    }

    #[test]
    fn a_path_that_could_lead_out_or_name_two_files_is_refused() {
        for bad in ["", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a\0b"] {
            assert_eq!(RelPath::new(bad), Err(DecodeError::Path), "{bad:?}");
        }
        assert_eq!(RelPath::new(vec![b'a'; 256]), Err(DecodeError::Path));
        assert!(RelPath::new(vec![b'a'; 255]).is_ok());
        assert_eq!(RelPath::new(["a"; 241].join("/")), Err(DecodeError::Path));
        assert!(RelPath::new(["a"; 240].join("/")).is_ok());
        assert!(RelPath::new(b"\xff\xfe/...".to_vec()).is_ok());
    }

    #[test]
    fn a_directory_sorts_directly_before_what_it_holds() {
        let mut paths = vec![path("a-b"), path("a/b"), path("b"), path("a"), path("a/b/c")];
        paths.sort();
        assert_eq!(paths, vec![path("a"), path("a/b"), path("a/b/c"), path("a-b"), path("b")]);
    }

    #[test]
    fn a_path_holds_itself_and_what_is_below_but_no_namesake() {
        assert!(path("a").holds(&path("a")));
        assert!(path("a").holds(&path("a/b")));
        assert!(!path("a").holds(&path("ab")));
        assert!(!path("a/b").holds(&path("a")));
        assert_eq!(path("a/b/c").parent(), Some(path("a/b")));
        assert_eq!(path("a").parent(), None);
        assert_eq!(path("a/b/c").ancestors().collect::<Vec<_>>(), vec![path("a"), path("a/b")]);
    }

    proptest! {
        #[test]
        fn the_order_of_keys_is_the_order_of_paths(a in "[ab\x01/-]{1,8}", b in "[ab\x01/-]{1,8}") {
            if let (Ok(a), Ok(b)) = (RelPath::new(a), RelPath::new(b)) {
                prop_assert_eq!(a.cmp(&b), a.key().cmp(&b.key()));
                prop_assert_eq!(RelPath::from_key(&a.key()), Ok(a));
            }
        }
    }
}
