//! What goes into and comes out of a [`Dht`](crate::Dht).

use crate::key::Key;
use crate::trace::Trace;
use crate::wire::{MutableValue, NetworkConfig, PeerRecord, ProviderRecord};
use alloc::vec::Vec;
use core::net::SocketAddr;
use core::time::Duration;
use cs_identity::{NodeId, Signed};

/// A peer and where it may be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// Who.
    pub id: NodeId,
    /// Where, best first.
    pub addrs: Vec<SocketAddr>,
}

/// Names one question under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RpcId(pub u64);

/// Names one lookup or store; the answer arrives as an [`Event`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LookupId(pub u64);

/// What the transport received.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A peer asks. The transport vouches for `from`.
    Request {
        /// Who asks.
        from: NodeId,
        /// Where the request came from.
        addr: SocketAddr,
        /// The request as received; its length bounds the answer's.
        bytes: &'a [u8],
        /// Names the answer in [`Output::Reply`].
        token: u64,
    },
    /// A peer answers. The transport vouches for `from`.
    Response {
        /// What it answers.
        rpc: RpcId,
        /// Who answers.
        from: NodeId,
        /// The answer.
        bytes: &'a [u8],
    },
    /// The transport knows that no answer will come.
    Failed {
        /// To what.
        rpc: RpcId,
    },
}

/// What the transport is to send, and what the node is to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Ask a peer.
    Request {
        /// Names the answer in [`Input::Response`].
        rpc: RpcId,
        /// Whom to ask.
        to: NodeId,
        /// Where.
        addr: SocketAddr,
        /// At most [`MAX_MESSAGE`](crate::wire::MAX_MESSAGE) bytes.
        bytes: Vec<u8>,
    },
    /// Answer a peer.
    Reply {
        /// Of the request.
        token: u64,
        /// Never more than the request had.
        bytes: Vec<u8>,
    },
    /// Something to know.
    Event(Event),
}

/// What a lookup cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Effort {
    /// Questions asked.
    pub rpcs: u32,
    /// Peers in the longest chain, each named by the one before.
    pub hops: u8,
    /// From the command to the event.
    pub took: Duration,
}

/// Something to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The node has found its place: the peers closest to it have answered.
    Bootstrapped {
        /// Peers in the routing table.
        contacts: usize,
    },
    /// Nobody answers any more; bootstrap peers and all known ones are tried until somebody does.
    Isolated,
    /// An answer to `find_node`.
    Nodes {
        /// The command's.
        lookup: LookupId,
        /// The closest peers that answered, closest first.
        closest: Vec<Contact>,
        /// What it cost.
        effort: Effort,
    },
    /// An answer to `find_peer`.
    Peer {
        /// The command's.
        lookup: LookupId,
        /// Who was looked for.
        id: NodeId,
        /// Its newest record found; `None` if there is none.
        record: Option<Signed<PeerRecord>>,
        /// What it cost.
        effort: Effort,
    },
    /// An answer to `find_providers`.
    Providers {
        /// The command's.
        lookup: LookupId,
        /// What was looked for.
        key: Key,
        /// The newest record found of each publisher.
        records: Vec<Signed<ProviderRecord>>,
        /// What it cost.
        effort: Effort,
    },
    /// An answer to `get`.
    Mutable {
        /// The command's.
        lookup: LookupId,
        /// What was looked for.
        key: Key,
        /// The newest value found.
        value: Option<Signed<MutableValue>>,
        /// What it cost.
        effort: Effort,
    },
    /// An answer to `get_immutable`.
    Immutable {
        /// The command's.
        lookup: LookupId,
        /// What was looked for.
        key: Key,
        /// The value, which hashes to the key.
        value: Option<Vec<u8>>,
        /// What it cost.
        effort: Effort,
    },
    /// A record was offered to the peers closest to its key: after a command, and at each republication.
    Stored {
        /// The command's; a new one for republications.
        lookup: LookupId,
        /// Where the record belongs.
        key: Key,
        /// Peers that hold it now.
        replicas: usize,
        /// Peers that hold a newer one, or one that compare-and-swap did not expect.
        conflicts: usize,
        /// What it cost.
        effort: Effort,
    },
    /// A record published from here ends soon and must be signed anew to live on.
    Expiring {
        /// Where the record belongs.
        key: Key,
        /// When it ends, in milliseconds since 1970.
        expires_unix_ms: u64,
    },
    /// After `leave`: what was held for others has been handed on, or there was nothing or nobody to hand it to.
    Left,
    /// How a lookup went, before the event with its result. Only with `Config::is_traced`.
    Traced(Trace),
    /// A newer network configuration arrived, signed by a known authority. Keep it for the next start.
    NetworkConfig(Signed<NetworkConfig>),
}

/// What has happened since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Questions asked.
    pub requests_sent: u64,
    /// Answers received in time or late.
    pub responses: u64,
    /// Questions whose answer was late.
    pub slow: u64,
    /// Questions without answer.
    pub lost: u64,
    /// Questions answered.
    pub requests_served: u64,
    /// Questions dropped for their source's rate.
    pub requests_limited: u64,
    /// Records taken in for others.
    pub records_stored: u64,
    /// Records refused.
    pub records_refused: u64,
    /// Lookups begun, refreshes included.
    pub lookups: u64,
    /// Gets that found nothing at first and went on over disjoint paths.
    pub escalations: u64,
    /// Stores and gets that went over a whole region, since too many peers stood around their key.
    pub regions: u64,
    /// Records stored without a lookup of their own, on the occasion of another's.
    pub swept: u64,
}
