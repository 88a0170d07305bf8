use alloc::vec::Vec;
use core::fmt;

use thiserror::Error;

use crate::wire::{self, DecodeError};

/// Components a path may have: the count is one byte on the wire, and no sensible folder is deeper.
pub const MAX_DEPTH: usize = 255;

/// One path component as the network sees it: a keyed hash of its name, made by who holds the space's key.
///
/// Equal names under equal parents have equal tags, so a node can route and filter by prefix what it cannot name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag([u8; 16]);

impl Tag {
    /// Bytes of a tag.
    pub const LEN: usize = 16;

    /// Takes a tag as it is: every value is one.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// The tag's bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, ..] = self.0;
        write!(f, "{a:02x}{b:02x}{c:02x}")
    }
}

/// A path of at most [`MAX_DEPTH`] blinded components; the empty path is the whole space. Ordered component by
/// component, so that everything under a prefix is one range.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlindPath(Vec<Tag>);

/// The path has more than [`MAX_DEPTH`] components.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a path has at most {MAX_DEPTH} components")]
pub struct PathError;

impl BlindPath {
    /// The whole space.
    pub const fn root() -> Self {
        Self(Vec::new())
    }

    /// Builds a path from its components, outermost first.
    ///
    /// # Errors
    /// [`PathError`] if there are too many.
    pub fn new(tags: Vec<Tag>) -> Result<Self, PathError> {
        if tags.len() > MAX_DEPTH { Err(PathError) } else { Ok(Self(tags)) }
    }

    /// The path one component below this one.
    ///
    /// # Errors
    /// [`PathError`] if this path is as deep as paths get.
    pub fn child(&self, tag: Tag) -> Result<Self, PathError> {
        let mut tags = self.0.clone();
        tags.push(tag);
        Self::new(tags)
    }

    /// The components, outermost first.
    pub fn tags(&self) -> &[Tag] {
        &self.0
    }

    /// The number of components.
    pub fn depth(&self) -> usize {
        self.0.len()
    }

    /// Whether `other` is this path or lies under it.
    pub fn is_prefix_of(&self, other: &Self) -> bool {
        other.0.starts_with(&self.0)
    }

    /// Appends the depth in one byte and the tags (rule ID-9).
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.0.len() as u8);
        for tag in &self.0 {
            out.extend_from_slice(&tag.0);
        }
    }

    /// Takes a path off the front of `input`.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`]; nothing is allocated before the length is known to be there.
    pub fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        let depth = wire::take_u8(input)?;
        let bytes = wire::take(input, usize::from(depth) * Tag::LEN)?;
        let (tags, _) = bytes.as_chunks();
        Ok(Self(tags.iter().copied().map(Tag).collect()))
    }
}

impl fmt::Debug for BlindPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("/")?;
        self.0.iter().enumerate().try_for_each(|(depth, tag)| {
            if depth > 0 {
                f.write_str("/")?;
            }
            tag.fmt(f)
        })
    }
}
