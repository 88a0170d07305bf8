//! What is known about ways to a peer and about this node's own network, in the form in which it is reported.

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;

use cs_identity::NodeId;
use zeroize::Zeroizing;

use super::event::DialFault;

/// A third node that may pass signals on to the one that is dialled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Via {
    /// Who. A session with it is used if there is one.
    pub node: NodeId,
    /// Where it is dialled otherwise; may be empty.
    pub addrs: Vec<SocketAddr>,
}

/// A TURN server that this node may take a relayed address from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// Where it listens.
    pub addr: SocketAddr,
    /// How it is spoken to.
    pub transport: RelayTransport,
    /// Who this node is to it.
    pub credentials: RelayCredentials,
}

/// What carries TURN between a client and its relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RelayTransport {
    /// Datagrams: the better one, wherever UDP passes.
    Udp,
    /// A TCP connection, for networks that block UDP.
    Tcp,
}

/// Who a client is to its relay.
#[derive(Clone, PartialEq, Eq)]
pub enum RelayCredentials {
    /// The relay is this node: name and password follow from both keys, and nothing is issued.
    Node(NodeId),
    /// A TURN server of another make, such as coturn.
    Password {
        /// As configured there.
        username: String,
        /// As configured there; wiped when dropped.
        password: Zeroizing<String>,
    },
}

impl fmt::Debug for RelayCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(node) => f.debug_tuple("Node").field(node).finish(),
            Self::Password { username, .. } => {
                f.debug_struct("Password").field("username", username).finish_non_exhaustive()
            }
        }
    }
}

/// One path of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathReport {
    /// The peer's address; of a relayed path, the address that the relay serves or sees.
    pub addr: SocketAddr,
    /// Straight, or over a relay.
    pub kind: PathKind,
    /// By which means it was found.
    pub how: How,
    /// Smoothed round trip.
    pub rtt: Duration,
    /// Packets lost of 1,000 sent on it, over its life.
    pub loss_permille: u16,
    /// Whether data takes it now.
    pub in_use: bool,
}

/// Whether a path is straight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathKind {
    /// Datagrams go from socket to socket.
    Direct,
    /// A TURN server carries them.
    Relayed {
        /// Where it listens.
        relay: SocketAddr,
    },
}

/// How a path came to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum How {
    /// The peer answered at an address that was known.
    Dialled,
    /// The peer dialled this node.
    Accepted,
    /// Within one local network.
    Lan,
    /// At an address that a router was asked to map.
    Mapped,
    /// Both sides sent at once.
    Punched,
    /// Punched, with the port of a sequential NAT foreseen.
    Predicted,
    /// Punched, with many sockets against many ports.
    Birthday,
    /// Over a relay.
    Relayed,
}

/// One address at which a peer was tried, and what became of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried {
    /// The address.
    pub candidate: SocketAddr,
    /// What it was thought to be.
    pub kind: CandidateKind,
    /// What happened.
    pub outcome: Outcome,
}

/// What an address of a peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum CandidateKind {
    /// Given to [`Endpoint::dial`](super::Endpoint::dial).
    Known,
    /// Of one of the peer's interfaces.
    Host,
    /// As a STUN server or a peer saw it.
    Reflexive,
    /// Mapped by the peer's router on its request.
    Mapped,
    /// The peer's address on a relay.
    Relayed,
    /// Learned from a check that arrived from there (RFC 8445 section 7.3.1.3).
    PeerReflexive,
    /// Foreseen from the steps of a sequential NAT.
    Predicted,
    /// The ports of the birthday method, reported as one, with port 0.
    Birthday,
}

/// What became of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Not decided yet.
    Trying,
    /// It works.
    Open {
        /// Round trip of the first exchange.
        rtt: Duration,
    },
    /// It was dialled, and failed.
    Failed(DialFault),
    /// Nothing came back.
    NoAnswer {
        /// Datagrams that were sent there.
        sent: u32,
    },
    /// Another one worked first.
    Superseded,
    /// No socket of this node speaks its address family.
    NoSocket,
    /// The relay refused, with this STUN error code.
    RelayRefused(u16),
}

/// What this node knows of the network it is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NatReport {
    /// How the NAT picks outside addresses.
    pub mapping: NatMapping,
    /// Whom the NAT lets in.
    pub filtering: NatFiltering,
    /// By how much the outside port moves from one destination to the next, if steadily.
    pub step: Option<i32>,
    /// Own addresses as seen from outside, the newest first; at most 8.
    pub reflexive: Vec<SocketAddr>,
    /// Every relay that this node was given.
    pub relays: Vec<RelayReport>,
}

/// How a NAT maps inside addresses to outside ones (RFC 4787 section 4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum NatMapping {
    /// Not known yet.
    #[default]
    Unknown,
    /// There is none: the outside address is one of this machine.
    Public,
    /// One outside address, whatever the destination.
    EndpointIndependent,
    /// One outside address for all ports of one destination; whether others see another one is not known, since one server
    /// alone could be asked.
    PortIndependent,
    /// Another outside address for each destination address; whether for each port too is not known if no server could
    /// be asked at two.
    AddressDependent,
    /// Another outside address for each destination address and port.
    AddressAndPortDependent,
}

/// Which datagrams a NAT lets in (RFC 4787 section 5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum NatFiltering {
    /// Not known yet.
    #[default]
    Unknown,
    /// All that come to a mapped address.
    EndpointIndependent,
    /// Those from any port of an address that was sent to; whether from others too is not known.
    PortIndependent,
    /// Those from addresses that were sent to.
    AddressDependent,
    /// Those from addresses and ports that were sent to.
    AddressAndPortDependent,
}

/// One relay as this node finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RelayReport {
    /// Where it listens.
    pub addr: SocketAddr,
    /// How it is spoken to.
    pub transport: RelayTransport,
    /// Whether it serves.
    pub state: RelayState,
    /// Round trip to it, once it has answered.
    pub rtt: Option<Duration>,
}

/// Whether a relay serves this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RelayState {
    /// Known, and nothing was asked of it yet.
    Idle,
    /// Asked, and not answered yet.
    Connecting,
    /// It gave an address.
    Allocated {
        /// Which one.
        relayed: SocketAddr,
    },
    /// It refused, with this STUN error code.
    Refused(u16),
    /// It does not answer.
    Unreachable,
}
