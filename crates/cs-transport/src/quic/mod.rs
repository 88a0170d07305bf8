//! Noise in the place of TLS: the cryptography traits of `noq-proto`, without a socket or a clock.
//!
//! A [`ClientCrypto`] and a [`ServerCrypto`] are all that a QUIC endpoint needs from here; what they make is the
//! handshake of PROTOCOL.md (TP-2 to TP-5): Noise IK for the keys, QUIC's own packets and levels around it.

mod config;
mod early;
mod keys;
mod session;
mod token;

pub use config::{ClientCrypto, Entropy, HandshakeFacts, Peer, ServerCrypto};
pub use early::{EarlyClaim, EarlyGate, WallClock};
pub(crate) use keys::path_number;
pub use token::{ResetKey, TokenKey};

/// The QUIC version on the wire ("cos1"): private, so that no TLS endpoint takes part by mistake. Rule TP-2.
pub const QUIC_VERSION: u32 = 0x636f_7331;
