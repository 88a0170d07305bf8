//! The DHT itself, for people who debug: what `dht` asks and what `net` tells of it.

use serde::{Deserialize, Serialize};

/// A question to the DHT. Keys are 64 hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "dht", rename_all = "kebab-case")]
pub enum DhtAsk {
    /// Where a device is, by its own signed record.
    Find {
        /// Its ID, in full.
        node: String,
    },
    /// Who says that it holds something.
    Providers {
        /// Its key.
        key: String,
    },
    /// The value that hashes to a key.
    Get {
        /// The key.
        key: String,
    },
    /// Publishes a value under its hash, until this node ends.
    Put {
        /// At most 768 bytes.
        value: String,
    },
}

/// What a question to the DHT found, and what it cost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhtFound {
    /// The key that was asked for or stored.
    pub key: String,
    /// What was found.
    pub records: Vec<DhtRecord>,
    /// To `put`: peers that hold the value now.
    pub replicas: Option<u64>,
    /// Questions asked.
    pub rpcs: u32,
    /// Peers in the longest chain, each named by the one before.
    pub hops: u8,
    /// How long it took, in microseconds.
    pub took_us: u64,
}

/// A record of the DHT, checked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhtRecord {
    /// Who signed it; nobody signs values that are named by their hash.
    pub publisher: Option<String>,
    /// Its number: of two the higher one holds.
    pub seq: u64,
    /// When it ends, in milliseconds since 1970, if it says so.
    pub expires_unix_ms: Option<u64>,
    /// Where the publisher can be reached, if the record tells.
    pub addresses: Vec<String>,
    /// The value: text if it is text, else its bytes in hexadecimal.
    pub value: Option<String>,
}

/// This node's part of the DHT.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhtView {
    /// Peers in the routing table.
    pub table: u64,
    /// Nodes of the network, estimated; `None` while too little is known.
    pub network: Option<u64>,
    /// `server` if strangers may ask this node, else `client`.
    pub mode: String,
    /// Records held for others.
    pub records: u64,
    /// Their bytes.
    pub record_bytes: u64,
    /// Bytes of memory beside those.
    pub state_bytes: u64,
    /// Questions asked since the start.
    pub asked: u64,
    /// Those of them without an answer.
    pub unanswered: u64,
    /// Questions of others that were answered.
    pub served: u64,
    /// The last lookups, the newest first.
    pub lookups: Vec<DhtLookup>,
}

/// How a lookup went.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhtLookup {
    /// The key that was looked for.
    pub target: String,
    /// Questions asked.
    pub rpcs: u32,
    /// Peers in the longest chain.
    pub hops: u8,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// Whom it asked, path by path, those closest to the target first.
    pub steps: Vec<DhtStep>,
}

/// A peer that a lookup asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DhtStep {
    /// Its ID.
    pub node: String,
    /// Where it was asked.
    pub address: String,
    /// Who named it; `None` if it was in the routing table.
    pub named_by: Option<String>,
    /// Leading bits that its place shares with the target: why it and not another.
    pub shared_bits: u32,
    /// Which of the paths that share no peer, from 0.
    pub path: u64,
    /// Its place in the chain, from 1.
    pub hop: u8,
    /// Whether it was asked twice.
    pub repeated: bool,
    /// `answered`, `unneeded`, `overdue` or `failed`.
    pub outcome: String,
    /// From the question to the answer, in microseconds.
    pub took_us: Option<u64>,
}
