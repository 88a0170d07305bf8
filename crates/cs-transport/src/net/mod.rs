//! The driver: one UDP socket per address family, tokio, and the operating system's clock and randomness.
//!
//! [`Endpoint::bind`] gives a handle and a stream of [`Event`]s. Everything that a peer can make this module do is
//! bounded: see the limits in PROTOCOL.md (TP-9, TP-13).

mod addresses;
mod allocations;
mod ask;
mod change;
mod cids;
mod config;
mod connection;
mod counters;
mod datagrams;
mod dial;
mod endpoint;
mod event;
mod handshakes;
mod lan;
mod lanes;
mod mapping;
mod meet;
mod monitor;
mod nat;
mod peers;
mod punching;
mod reach;
mod relay;
mod report;
mod routes;
mod rpc;
mod signal;
mod socket;
mod stun;

pub use ask::AskError;
pub use change::addresses as local_addresses;
pub use config::{BindError, EndpointConfig};
pub use counters::Counters;
pub use endpoint::Endpoint;
pub use event::{DialFault, DialId, Event, Events, RpcToken, SendRefused, SessionEnd, SessionId};
pub use lan::{LanDiscovery, LanError, LanEvent};
pub use mapping::{MappingConfig, PortMapping};
pub use relay::{Alternate, RelayConfig};
pub use report::{
    CandidateKind, How, NatFiltering, NatMapping, NatReport, Outcome, PathKind, PathReport, Relay,
    RelayCredentials, RelayReport, RelayState, RelayTransport, Tried, Via,
};
pub use rpc::RpcError;

pub use crate::turn::server::ServerCounters as RelayCounters;
pub use crate::wire::Lane;
