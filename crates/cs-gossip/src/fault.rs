//! Errors, by whom they blame.

use crate::wire::DecodeError;

/// A peer broke the protocol (GOS-14). Nothing changed but the clock; the node should take it out of the peer's
/// standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerFault {
    /// The bytes are no message.
    #[error("malformed message: {0}")]
    Malformed(#[from] DecodeError),
    /// A message from a peer that was not reported as up.
    #[error("message from a peer that is not connected")]
    NotConnected,
    /// More joins, shuffles, probes or announcements than the protocol ever needs.
    #[error("too many requests")]
    TooMuch,
    /// A payload above this topic's limit.
    #[error("payload too large")]
    Payload,
}

/// A command cannot be carried out now. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refused {
    /// The payload is above this topic's limit.
    #[error("payload too large")]
    TooLarge,
    /// Every neighbour has more queued than it takes: try again when the queues are shorter.
    #[error("every neighbour is congested")]
    Congested,
    /// This node has left the topic.
    #[error("the topic was left")]
    Left,
    /// No delivery with this id waits for a verdict.
    #[error("no such delivery waits")]
    Unknown,
}
