use thiserror::Error;

/// A geometry for which there is no code.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ConfigError {
    /// A code has at least one data shard.
    #[error("no data shard")]
    NoData,
    /// A code has at least one parity shard.
    #[error("no parity shard")]
    NoParity,
    /// Data and parity are more than [`MAX_SHARDS`](crate::MAX_SHARDS) together, or than 256 for an [`Lrc`](crate::Lrc).
    #[error("too many shards")]
    TooManyShards,
    /// A local reconstruction code has at least one group, and no empty one.
    #[error("impossible number of groups")]
    Groups,
    /// A stripe's shards, or a whole stripe, have a length of 0 or beyond `usize`, or one that is odd beyond 256 shards.
    #[error("impossible shard length")]
    ShardLength,
}

/// Why a call was not carried out. No buffer was written, unless a variant says otherwise.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum Refused {
    /// The slice holds another number of shards than the code (or the repair) asks for.
    #[error("{given} shards given, {needed} needed")]
    ShardCount {
        /// Shards in the slice.
        given: usize,
        /// Shards the call is defined for.
        needed: usize,
    },
    /// All shards of one stripe have one length; the `index`-th of the slice has another.
    #[error("shard {index} differs in length")]
    ShardLength {
        /// Position in the slice given.
        index: usize,
    },
    /// Beyond 256 shards a field element is two bytes (ERA-8), and a shard holds whole ones.
    #[error("shards of {len} bytes, which is odd")]
    OddLength {
        /// Length of the shards given.
        len: usize,
    },
    /// The code has no shard of this number.
    #[error("no shard {index}")]
    NoSuchShard {
        /// The number asked for.
        index: usize,
    },
    /// A shard is named twice, or as available and as wanted.
    #[error("shard {index} is named twice")]
    Duplicate {
        /// The number of the shard.
        index: usize,
    },
    /// Fewer shards are left than there are data shards: nothing can be rebuilt.
    #[error("{available} shards left, {needed} needed")]
    TooFewShards {
        /// Distinct shards at hand.
        available: usize,
        /// Data shards of the code.
        needed: usize,
    },
    /// The shards at hand do not determine those wanted: more losses than a local reconstruction code makes good.
    #[error("the shards left do not determine those wanted")]
    Unrecoverable,
    /// A rebuilt shard does not pass the caller's check although all it was made from do. The
    /// buffers of the missing shards were written and must not be used.
    #[error("rebuilt shard {index} does not pass its check")]
    Unsound {
        /// The number of the shard.
        index: usize,
    },
    /// The object is complete: there is no further stripe.
    #[error("the object is complete")]
    Complete,
}
