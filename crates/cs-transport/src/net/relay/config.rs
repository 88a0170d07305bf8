//! What a relay is set up with.

use core::net::{IpAddr, SocketAddr};
use core::ops::RangeInclusive;
use std::collections::BTreeSet;

use cs_identity::NodeId;

use crate::stun::Credentials;
use crate::turn::ServerConfig;

/// Settings of an endpoint that relays for others (RFC 8656).
#[derive(Clone, Debug)]
pub struct RelayConfig {
    /// Whether clients are served on the endpoint's own socket. Default yes.
    pub udp: bool,
    /// Where to listen for clients over TCP; port 443 is what gets through where UDP does not. Default: nowhere.
    pub tcp: Vec<SocketAddr>,
    /// Addresses that this host is known by outside, at most one of a family, where they are not its own (a NAT that passes
    /// everything on). Default: none.
    pub external: Vec<IpAddr>,
    /// Ports of allocations. Default 49,152 to 65,535.
    pub ports: RangeInclusive<u16>,
    /// Whether every node that proves its key is served. Default yes.
    pub nodes: bool,
    /// If it is there, only these nodes. Default: all.
    pub only: Option<BTreeSet<NodeId>>,
    /// Names and passwords that are served beside.
    pub users: Vec<Credentials>,
    /// Quotas, rates and lifetimes.
    pub limits: ServerConfig,
    /// This host's second address and second port, for clients that find out what kind of NAT they are behind (RFC 5780).
    /// Default: none.
    pub alternate: Option<Alternate>,
}

/// Two addresses and a second port, from all four pairs of which STUN is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alternate {
    /// The address that clients know; the endpoint listens there, or on a wildcard.
    pub first: IpAddr,
    /// The other one, of the same family.
    pub second: IpAddr,
    /// The port beside the endpoint's own.
    pub second_port: u16,
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self {
            udp: true,
            tcp: Vec::new(),
            external: Vec::new(),
            ports: 49_152..=65_535,
            nodes: true,
            only: None,
            users: Vec::new(),
            limits: ServerConfig::default(),
            alternate: None,
        }
    }
}
