//! TURN (RFC 8656): a relay for those whom no direct path reaches, both sides of it, without a socket.
//!
//! A client asks a server for an **allocation**: an address on the server. What a peer sends there comes to the client, if the
//! client has installed a **permission** for the peer's address; what the client sends through it comes to the peer from there.
//! A **channel** is a number for one peer, which costs four bytes a datagram where an indication costs 36.

pub mod client;
mod frame;
mod node;
pub mod server;

pub use client::{
    Client, ClientConfig, Data, Event, Loss, MAX_PEERS, NotPermitted, Output, PeerFault, Refused,
};
pub use frame::{CHANNEL_HEADER, ChannelData, Frames, MAX_FRAME, frame_len};
pub use node::{node_credentials, node_password};
pub use server::{Accounts, Server, ServerConfig};

/// What is between client and server. Between server and peer it is always UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Transport {
    /// One message a datagram; requests are repeated until answered.
    Udp,
    /// Messages one after the other on a stream, padded to four bytes.
    Tcp,
}

/// The family of an allocation's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6 (RFC 8656 section 18.8).
    V6,
}

impl Family {
    /// The family of an address; an IPv4 address in IPv6 clothes is IPv4.
    #[must_use]
    pub fn of(ip: core::net::IpAddr) -> Self {
        if ip.to_canonical().is_ipv4() { Self::V4 } else { Self::V6 }
    }

    pub(crate) fn number(self) -> u8 {
        match self {
            Self::V4 => 1,
            Self::V6 => 2,
        }
    }
}

/// Datagrams through TURN.
pub(crate) const PROTOCOL_UDP: u8 = 17;
/// Numbers that a client gives channels (RFC 8656 section 12).
pub(crate) const CHANNELS: core::ops::RangeInclusive<u16> = 0x4000..=0x4fff;
/// Numbers that a server takes: clients of RFC 5766 use these.
pub(crate) const CHANNELS_TAKEN: core::ops::RangeInclusive<u16> = 0x4000..=0x7fff;
