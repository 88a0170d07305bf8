//! A node's own network, as `net` tells of it.

use serde::{Deserialize, Serialize};

use crate::api::DhtView;

/// What a node knows of its own network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Net {
    /// Whether strangers can reach it, as far as it knows.
    pub reachable: bool,
    /// How the outside port is chosen: `unknown`, `public` (no NAT), `endpoint-independent`, `port-independent` (one for all
    /// ports of an address; of others it is not known), `address-dependent` or `address-and-port-dependent`.
    pub mapping: String,
    /// Who is let in: `unknown`, `endpoint-independent`, `port-independent`, `address-dependent` or
    /// `address-and-port-dependent`.
    pub filtering: String,
    /// By how much the outside port moves from one destination to the next, if steadily.
    pub step: Option<i32>,
    /// Own addresses that peers are told.
    pub addresses: Vec<String>,
    /// Own addresses as seen from outside, the newest first.
    pub seen_as: Vec<String>,
    /// The port on the router, if one was asked for.
    pub port_mapping: Option<PortMapping>,
    /// Relays, best first.
    pub relays: Vec<NetRelay>,
    /// Nodes that pass signals on to this one, and whether they are connected.
    pub hubs: Vec<NetHub>,
    /// The paths of each session.
    pub sessions: Vec<NetSession>,
    /// Its part of the DHT, and the last lookups.
    #[serde(default)]
    pub dht: DhtView,
}

/// A port that a router was asked to map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortMapping {
    /// `mapped`, `carrier` (the router has no public address itself) or `refused`.
    pub state: String,
    /// `pcp`, `nat-pmp` or `upnp`.
    pub method: Option<String>,
    /// The address outside.
    pub external: Option<String>,
    /// Why there is none.
    pub why: Option<String>,
}

/// A relay of this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetRelay {
    /// Where it listens.
    pub address: String,
    /// `udp` or `tcp`.
    pub transport: String,
    /// `idle`, `connecting`, `allocated`, `refused` or `unreachable`.
    pub state: String,
    /// The address that it gave.
    pub relayed: Option<String>,
    /// Round trip in microseconds.
    pub rtt_us: Option<u64>,
}

/// A hub of this node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetHub {
    /// Its ID.
    pub node: String,
    /// Whether a session with it stands.
    pub connected: bool,
}

/// A session and its paths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetSession {
    /// The peer's ID.
    pub node: String,
    /// Its paths, the one in use first.
    pub paths: Vec<NetPath>,
}

/// A path of a session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetPath {
    /// The peer's address on it.
    pub address: String,
    /// The relay, if one carries it.
    pub relay: Option<String>,
    /// How it came to be: `dialled`, `accepted`, `lan`, `mapped`, `punched`, `predicted`, `birthday` or `relayed`.
    pub how: String,
    /// Round trip in microseconds.
    pub rtt_us: u64,
    /// Packets lost of 1,000.
    pub loss_permille: u16,
    /// Whether data takes it.
    pub in_use: bool,
}
