//! What can go wrong, sorted by who is to blame.

use crate::wire::DecodeError;
use thiserror::Error;

/// A remote broke the protocol. Nothing changed but the clock: what the remote was asked stays open until its
/// time-out, after which it counts as silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PeerFault {
    /// The bytes are no message.
    #[error("malformed message: {0}")]
    Malformed(#[from] DecodeError),
    /// Somebody else answered than was asked.
    #[error("the answer is not from the peer that was asked")]
    WrongSender,
    /// The answer does not fit the question.
    #[error("the answer does not fit the question")]
    WrongReply,
    /// The answer is larger than the question, which no honest peer allows itself.
    #[error("the answer is larger than the question")]
    Amplified,
    /// A reply names the peer it came from or the one it went to.
    #[error("the reply names its sender or its receiver")]
    NamesItself,
    /// A reply names an address of narrower scope than its sender's own.
    #[error("the reply names an address that its sender cannot know")]
    NarrowAddress,
    /// A record is for another key than asked for.
    #[error("the record belongs under another key")]
    WrongKey,
    /// A record's signature does not hold.
    #[error("the record's signature does not hold")]
    BadSignature,
    /// A record has expired.
    #[error("the record has expired")]
    Expired,
    /// A record claims to live longer than any may.
    #[error("the record claims to live longer than records may")]
    FromTheFuture,
    /// The network configuration is signed by no authority that this node knows, or is over.
    #[error("the network configuration is signed by no known authority, or is over")]
    UntrustedConfig,
}

/// This command cannot be carried out now. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refused {
    /// Too many lookups are under way (`Config::lookups_max`).
    #[error("too many lookups are under way")]
    Busy,
    /// The routing table is empty and no bootstrap peer is known.
    #[error("no peer is known: bootstrap first")]
    NoPeers,
    /// The record would be refused by every honest peer: too large, expired, or living too long.
    #[error("the record is too large, expired or lives too long")]
    BadRecord,
    /// A newer record of the same kind is already being published from here.
    #[error("a newer record is being published")]
    Stale,
    /// Too many records are being published from here (`Config::publications_max`).
    #[error("too many records are being published")]
    TooMany,
    /// The configuration is signed by no authority that this node knows, or is older than the known one.
    #[error("the network configuration is signed by no known authority, or is older than the known one")]
    UntrustedConfig,
}

/// A configuration that cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// `alpha` must be 1 to 20.
    #[error("alpha must be 1 to 20")]
    Alpha,
    /// `beta` must be 1 to 20.
    #[error("beta must be 1 to 20")]
    Beta,
    /// `disjoint_paths` must be 1 to 8.
    #[error("disjoint_paths must be 1 to 8")]
    DisjointPaths,
    /// Time-outs must be positive and in order.
    #[error("time-outs must satisfy 0 < rto_min <= rto_max <= answer_limit")]
    Timeouts,
    /// Intervals must be at least one second.
    #[error("intervals must be at least one second")]
    Intervals,
    /// A limit is zero.
    #[error("limits must not be zero")]
    Limits,
    /// More than `MAX_AUTHORITIES` authorities.
    #[error("too many authorities")]
    Authorities,
}
