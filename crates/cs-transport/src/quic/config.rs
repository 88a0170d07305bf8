//! What an endpoint is configured with: how to start a handshake on either side.

use core::fmt;
use std::sync::Arc;

use cs_identity::NodeId;
use noq_proto::crypto::{ClientConfig, Keys, ServerConfig, Session, UnsupportedVersion};
use noq_proto::transport_parameters::TransportParameters;
use noq_proto::{ConnectError, ConnectionId, Side};

use super::QUIC_VERSION;
use super::early::{EarlyGate, WallClock};
use super::keys::{initial_keys, retry_tag};
use super::session::NoiseSession;
use crate::LocalKey;

/// Where handshakes take their ephemeral secrets from: 32 fresh bytes per call. In a driver the operating system; in a
/// test a seeded generator, which makes whole runs repeatable.
pub type Entropy = Arc<dyn Fn() -> [u8; 32] + Send + Sync>;

/// Who is at the other end of a connection: what its peer identity is, as `Box<dyn Any>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Proven by the handshake.
    pub node: NodeId,
    /// Which life of its endpoint this is.
    pub incarnation: u64,
}

/// What a finished or half-finished handshake tells beside the peer: what its handshake data is, as `Box<dyn Any>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandshakeFacts {
    /// The dialler's first flight may carry early data, and the acceptor reads it (TP-17). It may be a replay until the
    /// handshake is complete.
    pub early: bool,
}

/// Dials: the server name that QUIC is given is the peer's [`NodeId`] in text, and only its holder can answer.
pub struct ClientCrypto {
    local: Arc<LocalKey>,
    incarnation: u64,
    entropy: Entropy,
    early: Option<WallClock>,
}

impl ClientCrypto {
    /// Dials as the holder of `local`. `incarnation`: one random number per life of the endpoint.
    #[must_use]
    pub fn new(local: Arc<LocalKey>, incarnation: u64, entropy: Entropy) -> Self {
        Self { local, incarnation, entropy, early: None }
    }

    /// The same, with early data: what is written before the handshake is complete leaves with its first message.
    /// Only what may arrive twice (TP-17). The transport configuration must not report observed addresses: noq would
    /// do so in the first flight, where they may not be.
    #[must_use]
    pub fn with_early(self, clock: WallClock) -> Self {
        Self { early: Some(clock), ..self }
    }
}

impl ClientConfig for ClientCrypto {
    fn start_session(
        &self,
        version: u32,
        server_name: &str,
        parameters: &TransportParameters,
    ) -> Result<Box<dyn Session>, ConnectError> {
        if version != QUIC_VERSION {
            return Err(ConnectError::UnsupportedVersion);
        }
        let invalid = || ConnectError::InvalidServerName(server_name.into());
        let peer: NodeId = server_name.parse().map_err(|_| invalid())?;
        let sealed_ms = self.early.as_ref().map(|clock| clock());
        let dial =
            NoiseSession::dial(&self.local, self.incarnation, peer, (self.entropy)(), parameters, sealed_ms);
        Ok(Box::new(dial.ok_or_else(invalid)?))
    }
}

impl fmt::Debug for ClientCrypto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCrypto").field("local", &self.local).finish_non_exhaustive()
    }
}

/// Accepts dials from any holder of any key; who it was is the connection's peer identity.
pub struct ServerCrypto {
    local: Arc<LocalKey>,
    incarnation: u64,
    entropy: Entropy,
    early: Option<EarlyGate>,
}

impl ServerCrypto {
    /// Answers as the holder of `local`. `incarnation`: one random number per life of the endpoint.
    #[must_use]
    pub fn new(local: Arc<LocalKey>, incarnation: u64, entropy: Entropy) -> Self {
        Self { local, incarnation, entropy, early: None }
    }

    /// The same, reading early data whenever `gate` admits it (TP-17). Without a gate, none is ever read.
    #[must_use]
    pub fn with_early(self, gate: EarlyGate) -> Self {
        Self { early: Some(gate), ..self }
    }
}

impl ServerConfig for ServerCrypto {
    fn initial_keys(&self, version: u32, connection: ConnectionId) -> Result<Keys, UnsupportedVersion> {
        if version == QUIC_VERSION {
            Ok(initial_keys(connection, Side::Server))
        } else {
            Err(UnsupportedVersion)
        }
    }

    fn retry_tag(&self, _version: u32, original: ConnectionId, packet: &[u8]) -> [u8; 16] {
        retry_tag(original, packet)
    }

    fn start_session(&self, _version: u32, parameters: &TransportParameters) -> Box<dyn Session> {
        let gate = self.early.clone();
        Box::new(NoiseSession::accept(
            self.local.clone(),
            self.incarnation,
            (self.entropy)(),
            parameters,
            gate,
        ))
    }
}

impl fmt::Debug for ServerCrypto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerCrypto").field("local", &self.local).finish_non_exhaustive()
    }
}
