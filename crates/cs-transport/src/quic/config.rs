//! What an endpoint is configured with: how to start a handshake on either side.

use core::fmt;
use std::sync::Arc;

use cs_identity::{NodeId, SecretKey};
use noq_proto::crypto::{ClientConfig, Keys, ServerConfig, Session, UnsupportedVersion};
use noq_proto::transport_parameters::TransportParameters;
use noq_proto::{ConnectError, ConnectionId, Side};

use super::QUIC_VERSION;
use super::keys::{initial_keys, retry_tag};
use super::session::NoiseSession;

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

/// Dials: the server name that QUIC is given is the peer's [`NodeId`] in text, and only its holder can answer.
pub struct ClientCrypto {
    secret: Arc<SecretKey>,
    incarnation: u64,
    entropy: Entropy,
}

impl ClientCrypto {
    /// Dials as the holder of `secret`. `incarnation`: one random number per life of the endpoint.
    #[must_use]
    pub fn new(secret: Arc<SecretKey>, incarnation: u64, entropy: Entropy) -> Self {
        Self { secret, incarnation, entropy }
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
        let session = NoiseSession::dial(&self.secret, self.incarnation, peer, (self.entropy)(), parameters);
        Ok(Box::new(session.ok_or_else(invalid)?))
    }
}

impl fmt::Debug for ClientCrypto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCrypto").field("secret", &self.secret).finish_non_exhaustive()
    }
}

/// Accepts dials from any holder of any key; who it was is the connection's peer identity.
pub struct ServerCrypto {
    secret: Arc<SecretKey>,
    incarnation: u64,
    entropy: Entropy,
}

impl ServerCrypto {
    /// Answers as the holder of `secret`. `incarnation`: one random number per life of the endpoint.
    #[must_use]
    pub fn new(secret: Arc<SecretKey>, incarnation: u64, entropy: Entropy) -> Self {
        Self { secret, incarnation, entropy }
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
        Box::new(NoiseSession::accept(self.secret.clone(), self.incarnation, (self.entropy)(), parameters))
    }
}

impl fmt::Debug for ServerCrypto {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerCrypto").field("secret", &self.secret).finish_non_exhaustive()
    }
}
