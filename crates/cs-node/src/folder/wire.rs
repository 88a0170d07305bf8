//! The bytes of a [`FileVersion`] and of a list of chunks: one encoding per value, bounded before anything is allocated.
//!
//! ```text
//! FileVersion = version(1 byte: 1) path(bytes) content extensions
//! content     = 0                                         deleted
//!             | 1                                         directory
//!             | 2 flags(1 byte) size(varint) mtime(zigzag varint) count(varint) ref*    file
//!             | 3 target(bytes)                           symbolic link
//! flags       = bit 0: executable; bit 1: the refs are chunks of the encoded list; the rest is zero
//! ref         = id(32 bytes) len(varint)
//! extensions  = count(varint) (kind(varint, ascending) bytes)*
//! bytes       = length(varint) byte*
//! list        = ref*                                      (the whole of a decoded chunk list)
//! ```
//! Varints are LEB128, in as few bytes as the value needs.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::indexing_slicing))]

use super::content::{ChunkList, ChunkRef, Content, Extension, FileVersion};
use super::path::RelPath;

/// The version of the format.
pub const VERSION: u8 = 1;
/// The most extensions: nobody plans for more than a handful.
pub const MAX_EXTENSIONS: usize = 16;
/// The longest extension, in bytes: extended attributes would be the largest, and ext4 keeps 4 KiB of them.
pub const MAX_EXTENSION_BYTES: usize = 4096;

/// Why bytes are not the value they should be. Nothing changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes end before the value does.
    #[error("the bytes end too early")]
    Truncated,
    /// Bytes are left after the value.
    #[error("bytes are left over")]
    Leftover,
    /// A version this software does not know.
    #[error("unknown version of the format")]
    Version,
    /// A value with another, shorter encoding.
    #[error("not the one encoding of the value")]
    NotCanonical,
    /// A tag or bit that has no meaning.
    #[error("unknown tag or reserved bit")]
    Tag,
    /// A count or length over its limit, or sizes that do not add up.
    #[error("a size is out of range")]
    Size,
    /// Not a path inside a folder.
    #[error("not a path inside a folder")]
    Path,
}

impl FileVersion {
    /// Appends the encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        put_bytes(out, self.path.as_bytes());
        self.content.encode(out);
        put_varint(out, self.extensions.len() as u64);
        for extension in &self.extensions {
            put_varint(out, u64::from(extension.kind));
            put_bytes(out, &extension.bytes);
        }
    }

    /// Reads one value off the front of `input`.
    pub fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        if take_byte(input)? != VERSION {
            return Err(DecodeError::Version);
        }
        let path = RelPath::new(take_bytes(input, RelPath::MAX_BYTES)?)?;
        let content = Content::decode(input)?;
        let count = take_count(input, MAX_EXTENSIONS, 2)?;
        let mut extensions: Vec<Extension> = Vec::with_capacity(count);
        for _ in 0..count {
            let kind = u16::try_from(take_varint(input)?).map_err(|_| DecodeError::Size)?;
            if extensions.last().is_some_and(|last| last.kind >= kind) {
                return Err(DecodeError::NotCanonical);
            }
            extensions.push(Extension { kind, bytes: take_bytes(input, MAX_EXTENSION_BYTES)?.to_vec() });
        }
        Ok(Self { path, content, extensions })
    }

    /// Reads one value and refuses leftovers.
    pub fn from_bytes(mut bytes: &[u8]) -> Result<Self, DecodeError> {
        let value = Self::decode(&mut bytes)?;
        if bytes.is_empty() { Ok(value) } else { Err(DecodeError::Leftover) }
    }
}

impl Content {
    /// Appends the encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Deleted => out.push(0),
            Self::Dir => out.push(1),
            Self::File { size, exec, mtime_ns, chunks } => {
                out.push(2);
                out.push(u8::from(*exec) | u8::from(matches!(chunks, ChunkList::Indirect(_))) << 1);
                put_varint(out, *size);
                put_varint(out, zigzag(*mtime_ns));
                put_varint(out, chunks.refs().len() as u64);
                encode_refs(chunks.refs(), out);
            }
            Self::Symlink { target } => {
                out.push(3);
                put_bytes(out, target);
            }
        }
    }

    /// Reads one value off the front of `input`.
    pub fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        match take_byte(input)? {
            0 => Ok(Self::Deleted),
            1 => Ok(Self::Dir),
            2 => decode_file(input),
            3 => {
                let target = take_bytes(input, Self::MAX_TARGET)?.to_vec();
                if target.is_empty() || target.contains(&0) {
                    Err(DecodeError::Path)
                } else {
                    Ok(Self::Symlink { target })
                }
            }
            _ => Err(DecodeError::Tag),
        }
    }
}

fn decode_file(input: &mut &[u8]) -> Result<Content, DecodeError> {
    let flags = take_byte(input)?;
    if flags > 3 {
        return Err(DecodeError::Tag);
    }
    let (exec, indirect) = (flags & 1 == 1, flags & 2 == 2);
    let size = take_varint(input)?;
    if size > Content::MAX_FILE_BYTES {
        return Err(DecodeError::Size);
    }
    let mtime_ns = unzigzag(take_varint(input)?);
    let most = if indirect { ChunkList::MAX_INDIRECT } else { ChunkList::MAX_INLINE };
    let count = take_count(input, most, 33)?;
    let mut refs = Vec::with_capacity(count);
    for _ in 0..count {
        refs.push(ChunkRef::decode(input)?);
    }
    let sum: u64 = refs.iter().map(|chunk| u64::from(chunk.len)).sum();
    let adds_up = if indirect { count > 0 && size > ChunkList::MAX_INLINE as u64 } else { sum == size };
    if !adds_up {
        return Err(DecodeError::Size);
    }
    let chunks = if indirect { ChunkList::Indirect(refs) } else { ChunkList::Inline(refs) };
    Ok(Content::File { size, exec, mtime_ns, chunks })
}

impl ChunkRef {
    /// Appends the encoding.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.id);
        put_varint(out, u64::from(self.len));
    }

    /// Reads one value off the front of `input`.
    pub fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        let (id, rest) = input.split_first_chunk::<32>().ok_or(DecodeError::Truncated)?;
        *input = rest;
        let len = u32::try_from(take_varint(input)?).map_err(|_| DecodeError::Size)?;
        if len == 0 || len > Self::MAX_LEN {
            return Err(DecodeError::Size);
        }
        Ok(Self { id: *id, len })
    }
}

/// Appends the encoding of a list of chunks, which is what [`ChunkList::Indirect`] names the chunks of.
pub fn encode_refs(refs: &[ChunkRef], out: &mut Vec<u8>) {
    for chunk in refs {
        chunk.encode(out);
    }
}

/// Decodes a list of chunks. It must add up to `size` bytes and be too long to travel inline.
pub fn decode_list(mut bytes: &[u8], size: u64) -> Result<Vec<ChunkRef>, DecodeError> {
    let mut refs = Vec::with_capacity(bytes.len() / 33);
    let mut sum = 0;
    while !bytes.is_empty() {
        let chunk = ChunkRef::decode(&mut bytes)?;
        sum += u64::from(chunk.len);
        refs.push(chunk);
    }
    if sum == size && refs.len() > ChunkList::MAX_INLINE { Ok(refs) } else { Err(DecodeError::Size) }
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

pub(crate) fn take_byte(input: &mut &[u8]) -> Result<u8, DecodeError> {
    let (&byte, rest) = input.split_first().ok_or(DecodeError::Truncated)?;
    *input = rest;
    Ok(byte)
}

pub(crate) fn take_varint(input: &mut &[u8]) -> Result<u64, DecodeError> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let byte = take_byte(input)?;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return Err(DecodeError::Size);
        }
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return if byte == 0 && shift > 0 { Err(DecodeError::NotCanonical) } else { Ok(value) };
        }
    }
    Err(DecodeError::Size)
}

/// A length that is at most `most`, and its bytes.
pub(crate) fn take_bytes<'a>(input: &mut &'a [u8], most: usize) -> Result<&'a [u8], DecodeError> {
    let len = take_count(input, most, 1)?;
    let (bytes, rest) = input.split_at_checked(len).ok_or(DecodeError::Truncated)?;
    *input = rest;
    Ok(bytes)
}

/// A count that is at most `most`, each item being at least `least` bytes, which must be there.
pub(crate) fn take_count(input: &mut &[u8], most: usize, least: usize) -> Result<usize, DecodeError> {
    let count = usize::try_from(take_varint(input)?).map_err(|_| DecodeError::Size)?;
    if count > most {
        return Err(DecodeError::Size);
    }
    if count.saturating_mul(least) > input.len() {
        return Err(DecodeError::Truncated);
    }
    Ok(count)
}

pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chunk() -> impl Strategy<Value = ChunkRef> {
        (any::<[u8; 32]>(), 1..=ChunkRef::MAX_LEN).prop_map(|(id, len)| ChunkRef { id, len })
    }

    fn content() -> impl Strategy<Value = Content> {
        let inline = prop::collection::vec(chunk(), 0..4).prop_map(ChunkList::Inline);
        let indirect = prop::collection::vec(chunk(), 1..4).prop_map(ChunkList::Indirect);
        let file =
            (prop_oneof![inline, indirect], 257..=Content::MAX_FILE_BYTES, any::<bool>(), any::<i64>());
        prop_oneof![
            Just(Content::Deleted),
            Just(Content::Dir),
            file.prop_map(|(chunks, size, exec, mtime_ns)| {
                let size = match &chunks {
                    ChunkList::Inline(refs) => refs.iter().map(|chunk| u64::from(chunk.len)).sum(),
                    ChunkList::Indirect(_) => size,
                };
                Content::File { size, exec, mtime_ns, chunks }
            }),
            prop::collection::vec(1..=255u8, 1..20).prop_map(|target| Content::Symlink { target }),
        ]
    }

    fn version() -> impl Strategy<Value = FileVersion> {
        let extensions =
            prop::collection::btree_map(any::<u16>(), prop::collection::vec(any::<u8>(), 0..5), 0..3);
        ("[a-z]{1,4}(/[a-z]{1,4}){0,3}", content(), extensions).prop_map(|(path, content, extensions)| {
            FileVersion {
                path: RelPath::new(path).expect("letters"),
                content,
                extensions: extensions.into_iter().map(|(kind, bytes)| Extension { kind, bytes }).collect(),
            }
        })
    }

    fn encoded(value: &FileVersion) -> Vec<u8> {
        let mut bytes = Vec::new();
        value.encode(&mut bytes);
        bytes
    }

    proptest! {
        #[test]
        fn a_version_reads_back_equal_and_every_prefix_and_extra_byte_is_refused(value in version(), extra: u8) {
            let mut bytes = encoded(&value);
            prop_assert_eq!(FileVersion::from_bytes(&bytes), Ok(value));
            for end in 0..bytes.len() {
                prop_assert_eq!(FileVersion::from_bytes(&bytes[..end]), Err(DecodeError::Truncated));
            }
            bytes.push(extra);
            prop_assert_eq!(FileVersion::from_bytes(&bytes), Err(DecodeError::Leftover));
        }

        #[test]
        fn what_decodes_encodes_to_the_same_bytes(value in version(), at: prop::sample::Index, to: u8) {
            let mut bytes = encoded(&value);
            let at = at.index(bytes.len());
            bytes[at] = to;
            if let Ok(value) = FileVersion::from_bytes(&bytes) {
                prop_assert_eq!(encoded(&value), bytes);
            }
        }

        #[test]
        fn random_bytes_decode_to_their_only_encoding_or_not_at_all(mut bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Some(first) = bytes.first_mut() {
                *first = VERSION;
            }
            if let Ok(value) = FileVersion::from_bytes(&bytes) {
                prop_assert_eq!(encoded(&value), bytes);
            }
        }
    }

    #[test]
    fn hostile_versions_are_refused_for_their_own_reason() {
        let from = |hex: &[u8]| FileVersion::from_bytes(hex);
        assert_eq!(from(&[2]), Err(DecodeError::Version));
        assert_eq!(from(b"\x01\x02..\x00\x00"), Err(DecodeError::Path));
        assert_eq!(from(b"\x01\x81\x00a\x00\x00"), Err(DecodeError::NotCanonical));
        assert_eq!(from(b"\x01\x01a\x04\x00"), Err(DecodeError::Tag));
        assert_eq!(from(b"\x01\x01a\x02\x04\x00\x00\x00\x00"), Err(DecodeError::Tag));
        assert_eq!(from(b"\x01\x01a\x02\x00\x01\x00\x00\x00"), Err(DecodeError::Size));
        assert_eq!(from(b"\x01\x01a\x03\x00\x00"), Err(DecodeError::Path));
        assert_eq!(from(b"\x01\x01a\x00\x11"), Err(DecodeError::Size));
        assert_eq!(from(b"\x01\x01a\x00\x02\x01\x00\x01\x00"), Err(DecodeError::NotCanonical));
        assert_eq!(from(b"\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02a"), Err(DecodeError::Size));
    }

    #[test]
    fn a_list_that_does_not_add_up_or_would_fit_inline_is_refused() {
        let refs: Vec<_> = (0..257u32).map(|at| ChunkRef { id: [at as u8; 32], len: at + 1 }).collect();
        let size = refs.iter().map(|chunk| u64::from(chunk.len)).sum();
        let mut bytes = Vec::new();
        encode_refs(&refs, &mut bytes);
        assert_eq!(decode_list(&bytes, size), Ok(refs.clone()));
        assert_eq!(decode_list(&bytes, size + 1), Err(DecodeError::Size));
        bytes.pop();
        assert_eq!(decode_list(&bytes, size), Err(DecodeError::Truncated));
        let mut short = Vec::new();
        encode_refs(&refs[..256], &mut short);
        assert_eq!(decode_list(&short, size - 257), Err(DecodeError::Size));
    }
}
