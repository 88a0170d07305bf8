use alloc::vec::Vec;
use core::fmt;
use core::ops::{BitAnd, BitOr};

use thiserror::Error;

use crate::path::BlindPath;
use crate::wire::{self, DecodeError};

/// The end of wall-clock time on the wire, in milliseconds since 1970: 48 bits, the year 10889. What has no end has
/// `u64::MAX` instead.
pub const TIME_END_MS: u64 = 1 << 48;

/// A set of rights. Rights do not imply each other.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rights(u8);

impl Rights {
    /// No right at all.
    pub const NONE: Self = Self(0);
    /// May hold and pass on ciphertext.
    pub const RELAY: Self = Self(1);
    /// May be served operations and given keys.
    pub const READ: Self = Self(2);
    /// May author operations.
    pub const WRITE: Self = Self(4);
    /// May cut others' grants, set policies and start epochs.
    pub const MANAGE: Self = Self(8);
    /// Every right there is.
    pub const ALL: Self = Self(15);

    /// The four rights as bits, in the order of their constants.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The set with these bits, or `None` if a bit means nothing.
    pub const fn from_bits(bits: u8) -> Option<Self> {
        if bits & !Self::ALL.0 == 0 { Some(Self(bits)) } else { None }
    }

    /// Whether every right of `other` is here.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether there is no right in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Rights in either set.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOr for Rights {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        self.union(other)
    }
}

impl BitAnd for Rights {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl fmt::Debug for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names =
            [(Self::RELAY, "relay"), (Self::READ, "read"), (Self::WRITE, "write"), (Self::MANAGE, "manage")];
        let mut first = true;
        for (_, name) in names.iter().filter(|(right, _)| self.contains(*right)) {
            if !first {
                f.write_str("+")?;
            }
            f.write_str(name)?;
            first = false;
        }
        if first { f.write_str("none") } else { Ok(()) }
    }
}

/// What a grant reaches: a path prefix and a range of claimed time, in milliseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Area {
    prefix: BlindPath,
    from_ms: u64,
    until_ms: u64,
}

/// The time range is empty, or ends after the end of time and is not endless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the time range of an area is empty or out of range")]
pub struct AreaError;

impl Area {
    /// The area under `prefix` from `from_ms` (included) to `until_ms` (excluded; `u64::MAX` is for ever).
    ///
    /// # Errors
    /// [`AreaError`] unless `from_ms < until_ms`, `from_ms < TIME_END_MS`, and `until_ms` is `u64::MAX` or at most
    /// [`TIME_END_MS`].
    pub fn new(prefix: BlindPath, from_ms: u64, until_ms: u64) -> Result<Self, AreaError> {
        let bounded = from_ms < TIME_END_MS && (until_ms <= TIME_END_MS || until_ms == u64::MAX);
        if bounded && from_ms < until_ms { Ok(Self { prefix, from_ms, until_ms }) } else { Err(AreaError) }
    }

    /// The area under `prefix`, for ever.
    pub const fn under(prefix: BlindPath) -> Self {
        Self { prefix, from_ms: 0, until_ms: u64::MAX }
    }

    /// Everything in a space, for ever.
    pub const fn everything() -> Self {
        Self::under(BlindPath::root())
    }

    /// The path prefix.
    pub const fn prefix(&self) -> &BlindPath {
        &self.prefix
    }

    /// The first millisecond in the area.
    pub const fn from_ms(&self) -> u64 {
        self.from_ms
    }

    /// The first millisecond after the area; `u64::MAX` if it has no end.
    pub const fn until_ms(&self) -> u64 {
        self.until_ms
    }

    /// Whether a time lies in the range.
    pub const fn covers_time(&self, unix_ms: u64) -> bool {
        self.from_ms <= unix_ms && unix_ms < self.until_ms
    }

    /// Whether something at `path`, claimed to be from `unix_ms`, lies in the area.
    pub fn covers(&self, path: &BlindPath, unix_ms: u64) -> bool {
        self.covers_time(unix_ms) && self.prefix.is_prefix_of(path)
    }

    /// Whether all of `other` lies in this area.
    pub fn contains(&self, other: &Self) -> bool {
        self.prefix.is_prefix_of(&other.prefix)
            && self.from_ms <= other.from_ms
            && other.until_ms <= self.until_ms
    }

    /// Appends prefix, start and end; no end is written as 0, which no area ends at (rule ID-9).
    pub fn encode(&self, out: &mut Vec<u8>) {
        self.prefix.encode(out);
        wire::put_varint(out, self.from_ms);
        wire::put_varint(out, if self.until_ms == u64::MAX { 0 } else { self.until_ms });
    }

    /// Takes an area off the front of `input`.
    ///
    /// # Errors
    /// [`DecodeError::Truncated`], or [`DecodeError::OutOfRange`] for a range that [`Area::new`] refuses.
    pub fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        let prefix = BlindPath::decode(input)?;
        let from_ms = wire::take_varint(input)?;
        let until_ms = match wire::take_varint(input)? {
            0 => u64::MAX,
            u64::MAX => return Err(DecodeError::OutOfRange),
            end => end,
        };
        Self::new(prefix, from_ms, until_ms).map_err(|_| DecodeError::OutOfRange)
    }
}
