//! What an endpoint is bound with.

use core::net::SocketAddr;
use core::time::Duration;
use std::io;

use cs_identity::SecretKey;
use thiserror::Error;

use super::relay::RelayConfig;

/// Settings of an [`Endpoint`](super::Endpoint).
#[derive(Debug)]
pub struct EndpointConfig {
    /// The node's key: what it is known by and dialled by.
    pub secret: SecretKey,
    /// Addresses to listen on, at least one. An IPv6 wildcard alone serves IPv4 too. Default: `[::]:0`.
    pub listen: Vec<SocketAddr>,
    /// A session without a sign of life ends after this. The lower of both sides' counts. 1 s to 10 min; default 30 s.
    pub idle_timeout: Duration,
    /// An idle session sends a packet this often, which also keeps NAT mappings open. Below half of `idle_timeout`;
    /// zero for never. Default 12 s.
    pub keep_alive: Duration,
    /// A dial that found no answer on any address fails after this. Default 10 s.
    pub dial_timeout: Duration,
    /// Bytes of received messages that wait for [`Events::recv`](super::Events::recv); beyond it the streams stall.
    /// At least 1 MiB; default 4 MiB.
    pub event_bytes: usize,
    /// Handshakes of strangers at a time before each further one has to prove its address first (a round trip more).
    /// Default 64.
    pub unvalidated_handshakes: usize,
    /// Connections of peers at a time; further ones are refused. Default 16,384.
    pub connections: usize,
    /// Sealed requests and STUN requests served per second and source. Default 200 (bursts of twice that).
    pub requests_per_second: u32,
    /// Relays for others, as this says. Default: does not.
    pub relay: Option<RelayConfig>,
}

impl EndpointConfig {
    /// The defaults, for this key.
    #[must_use]
    pub fn new(secret: SecretKey) -> Self {
        Self {
            secret,
            listen: vec![SocketAddr::from(([0u16; 8], 0))],
            idle_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(12),
            dial_timeout: Duration::from_secs(10),
            event_bytes: 4 << 20,
            unvalidated_handshakes: 64,
            connections: 16_384,
            requests_per_second: 200,
            relay: None,
        }
    }
}

/// Why an endpoint could not be bound. Nothing is left open.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BindError {
    /// `listen` is empty.
    #[error("no address to listen on")]
    NoAddress,
    /// A setting is outside its range.
    #[error("the setting {0} is out of range")]
    OutOfRange(&'static str),
    /// The operating system refused one of the addresses: in use, not ours, or not permitted.
    #[error("cannot listen on {address}")]
    Socket {
        /// Which one.
        address: SocketAddr,
        /// What it said.
        source: io::Error,
    },
    /// The operating system gave no randomness.
    #[error("no randomness from the operating system")]
    Entropy,
}
