//! What messages and records share beyond `cs_identity::wire`: addresses, extensions, and their own reasons to refuse.

use crate::address::is_dialable;
use alloc::vec::Vec;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use cs_identity::wire::{self, put_bytes, put_varint, take_array, take_bytes, take_count, take_u8};
use thiserror::Error;

/// The most extensions of one message or record. None is defined yet but padding; more would hide a flood of tiny ones.
pub const MAX_EXTENSIONS: usize = 8;

/// The extension that fills a request up to the size of the answer it asks for; all zeros.
pub const PADDING: u8 = 0xff;

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The bytes are out of shape: too short, too long, not canonical, or no node ID where one should be.
    #[error("{0}")]
    Bytes(#[from] wire::DecodeError),
    /// A version that this implementation does not speak.
    #[error("unknown version {0}")]
    Version(u8),
    /// A kind of message or record that this implementation does not know.
    #[error("unknown kind {0}")]
    Kind(u8),
    /// An address to which no datagram can be sent.
    #[error("an address to which no datagram can be sent")]
    Address,
    /// A record's signature does not hold.
    #[error("a record's signature does not hold")]
    Signature,
}

/// What a later version may add to a message or record: kinds that the reader does not know are skipped, but kept, so
/// that signed bytes stay what they were. Ascending by kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extensions(Vec<(u8, Vec<u8>)>);

impl Extensions {
    /// The extension of this kind.
    #[must_use]
    pub fn find(&self, kind: u8) -> Option<&[u8]> {
        self.0.iter().find(|(own, _)| *own == kind).map(|(_, bytes)| bytes.as_slice())
    }

    /// Sets an extension. Neither the limit on their number nor the one on a message's size is checked here.
    pub fn set(&mut self, kind: u8, bytes: Vec<u8>) {
        self.0.retain(|(own, _)| *own != kind);
        let position = self.0.partition_point(|(own, _)| *own < kind);
        self.0.insert(position, (kind, bytes));
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        put_varint(out, self.0.len() as u64);
        for (kind, bytes) in &self.0 {
            out.push(*kind);
            put_bytes(out, bytes);
        }
    }

    pub(crate) fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        let count = take_count(input, MAX_EXTENSIONS, 2)?;
        let mut all: Vec<(u8, Vec<u8>)> = Vec::with_capacity(count);
        for _ in 0..count {
            let kind = take_u8(input)?;
            let bytes = take_bytes(input, super::MAX_MESSAGE)?;
            let is_descending = all.last().is_some_and(|(last, _)| *last >= kind);
            if is_descending || (kind == PADDING && bytes.iter().any(|byte| *byte != 0)) {
                return Err(wire::DecodeError::NotCanonical.into());
            }
            all.push((kind, bytes.to_vec()));
        }
        Ok(Self(all))
    }
}

pub(crate) fn take_u64(input: &mut &[u8]) -> Result<u64, DecodeError> {
    Ok(u64::from_be_bytes(take_array(input)?))
}

/// Bytes of the shortest address on the wire.
pub(crate) const ADDRESS_LEAST: usize = 7;

/// `4 | 6`, the address, the port. An address to which nothing can be sent is refused.
pub(crate) fn take_address(input: &mut &[u8]) -> Result<SocketAddr, DecodeError> {
    let ip = match take_u8(input)? {
        4 => IpAddr::V4(Ipv4Addr::from(take_array::<4>(input)?)),
        6 => IpAddr::V6(Ipv6Addr::from(take_array::<16>(input)?)),
        _ => return Err(DecodeError::Address),
    };
    let addr = SocketAddr::new(ip, u16::from_be_bytes(take_array(input)?));
    if is_dialable(&addr) { Ok(addr) } else { Err(DecodeError::Address) }
}

pub(crate) fn put_address(out: &mut Vec<u8>, addr: &SocketAddr) {
    match addr.ip() {
        IpAddr::V4(ip) => {
            out.push(4);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(6);
            out.extend_from_slice(&ip.octets());
        }
    }
    out.extend_from_slice(&addr.port().to_be_bytes());
}

/// Reads the whole of `bytes`, which are one message, with `decode`.
pub(crate) fn whole_message<T>(
    bytes: &[u8],
    decode: impl FnOnce(&mut &[u8]) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    if bytes.len() > super::MAX_MESSAGE {
        return Err(wire::DecodeError::TooLong.into());
    }
    whole(bytes, decode)
}

/// Reads the whole of `bytes` with `decode`.
pub(crate) fn whole<T>(
    bytes: &[u8],
    decode: impl FnOnce(&mut &[u8]) -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    let mut rest = bytes;
    let value = decode(&mut rest)?;
    if rest.is_empty() { Ok(value) } else { Err(wire::DecodeError::TrailingBytes.into()) }
}
