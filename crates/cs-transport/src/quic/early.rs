//! Early data: what the dialler's first flight may carry beside the handshake's first message (TP-17).
//!
//! Whoever knows a node's ID shares a key with it after one Noise message, so that nothing has to be remembered from
//! an earlier session. What is missing then is the acceptor's freshness: the same flight can be sent again by anybody
//! who saw it.

use std::sync::Arc;

use cs_identity::NodeId;
use noq_proto::transport_parameters::TransportParameters;
use noq_proto::{Side, VarInt};

use crate::wire::EARLY_WINDOW;

/// Tells the wall clock's time in milliseconds since 1970.
pub type WallClock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// Whether early data is read. Asked once for each authentic first message that announces some; it must say yes at
/// most once for each ephemeral key ([`ReplayWindow`](crate::rpc::ReplayWindow) does).
pub type EarlyGate = Arc<dyn Fn(&EarlyClaim) -> bool + Send + Sync>;

/// An authentic first message that announces early data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EarlyClaim {
    /// Who dials: the message was made by the holder of this key, perhaps some time ago.
    pub from: NodeId,
    /// When it was made, by the dialler's clock.
    pub unix_ms: u64,
    /// The message's ephemeral key: unique to it.
    pub ephemeral: [u8; 32],
}

/// Transport parameters that QUIC lets nobody change between early data and the handshake's end: the acceptor's role
/// in address discovery, which has to be both reporting and hearing, and the addresses for NAT traversal, in which
/// the sides have to agree.
const ROLE: u64 = 0x9f81_a176;
const BOTH: &[u8] = &[2];
const NAT_ADDRESSES: u64 = 0x3d7f_9112_0401;

/// RFC 9000 section 18.2: data in flight, data on a stream of the dialler's, streams of the dialler's.
const MAX_DATA: u64 = 0x04;
const MAX_STREAM_DATA_BIDI_REMOTE: u64 = 0x06;
const MAX_STREAMS_BIDI: u64 = 0x08;

/// Whether the acceptor's parameters are what the dialler assumes them to be where they must.
pub(crate) fn agree(acceptor: &[u8], dialler: &[u8]) -> bool {
    value(acceptor, ROLE) == Some(BOTH) && value(acceptor, NAT_ADDRESSES) == value(dialler, NAT_ADDRESSES)
}

/// What the dialler may count on before it has heard from the acceptor: one stream of [`EARLY_WINDOW`] bytes, and
/// what [`agree`] checks. `ours`: its own parameters, encoded.
pub(crate) fn assumed(ours: &[u8]) -> Option<TransportParameters> {
    let mut encoded = Vec::new();
    for (id, number) in
        [(MAX_DATA, EARLY_WINDOW), (MAX_STREAM_DATA_BIDI_REMOTE, EARLY_WINDOW), (MAX_STREAMS_BIDI, 1)]
    {
        let mut field = Vec::new();
        write_number(&mut field, number.into());
        write_field(&mut encoded, id, &field);
    }
    write_field(&mut encoded, ROLE, BOTH);
    if let Some(field) = value(ours, NAT_ADDRESSES) {
        write_field(&mut encoded, NAT_ADDRESSES, field);
    }
    TransportParameters::read(Side::Client, &mut encoded.as_slice()).ok()
}

/// The value of a parameter in the encoding of RFC 9000 section 18.
fn value(mut encoded: &[u8], wanted: u64) -> Option<&[u8]> {
    while !encoded.is_empty() {
        let id = read_number(&mut encoded)?;
        let length = usize::try_from(read_number(&mut encoded)?).ok()?;
        let (field, rest) = encoded.split_at_checked(length)?;
        if id == wanted {
            return Some(field);
        }
        encoded = rest;
    }
    None
}

fn write_field(out: &mut Vec<u8>, id: u64, field: &[u8]) {
    write_number(out, id);
    write_number(out, field.len() as u64);
    out.extend_from_slice(field);
}

/// A variable-length integer (RFC 9000 section 16), in its shortest form.
fn write_number(out: &mut Vec<u8>, number: u64) {
    match number {
        0..0x40 => out.extend_from_slice(number.to_be_bytes().split_at(7).1),
        0x40..0x4000 => out.extend_from_slice((0x4000 | number).to_be_bytes().split_at(6).1),
        0x4000..0x4000_0000 => out.extend_from_slice((0x8000_0000 | number).to_be_bytes().split_at(4).1),
        _ => out.extend_from_slice(&(3 << 62 | number.min(VarInt::MAX.into_inner())).to_be_bytes()),
    }
}

fn read_number(input: &mut &[u8]) -> Option<u64> {
    let first = *input.first()?;
    let (number, rest) = input.split_at_checked(1 << (first >> 6))?;
    *input = rest;
    let (first, rest) = number.split_first()?;
    Some(rest.iter().fold(u64::from(first & 0x3f), |number, byte| number << 8 | u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    // TP-17: the examples of RFC 9000 appendix A.1.
    #[test]
    fn tp_17_variable_length_integers_are_those_of_rfc_9000_appendix_a_1() {
        let examples: [(&[u8], u64); 5] = [
            (&[0xc2, 0x19, 0x7c, 0x5e, 0xff, 0x14, 0xe8, 0x8c], 151_288_809_941_952_652),
            (&[0x9d, 0x7f, 0x3e, 0x7d], 494_878_333),
            (&[0x7b, 0xbd], 15_293),
            (&[0x25], 37),
            (&[0x40, 0x25], 37),
        ];
        for (bytes, number) in examples {
            let mut input = bytes;
            assert_eq!((read_number(&mut input), input), (Some(number), &[][..]));
            let mut shortest = Vec::new();
            write_number(&mut shortest, number);
            assert!(shortest == bytes || shortest == [0x25], "{number}");
            assert_eq!(read_number(&mut &bytes[..bytes.len() - 1]), None, "a cut one is none");
        }
    }

    // TP-17
    #[test]
    fn tp_17_an_acceptor_that_is_not_as_assumed_does_not_agree() {
        let with = |role: &[u8], addresses: &[u8]| {
            let mut encoded = Vec::new();
            write_field(&mut encoded, 0x20, &[1, 2]);
            write_field(&mut encoded, ROLE, role);
            write_field(&mut encoded, NAT_ADDRESSES, addresses);
            encoded
        };
        assert!(agree(&with(&[2], &[8]), &with(&[1], &[8])), "the dialler's own role is its affair");
        assert!(!agree(&with(&[1], &[8]), &with(&[2], &[8])));
        assert!(!agree(&with(&[2], &[8]), &with(&[2], &[7])));
        assert!(!agree(&with(&[2], &[8]), &[]));
        assert!(assumed(&with(&[1], &[8])).is_some() && assumed(&[]).is_some());
    }
}
