//! What a datagram on the shared socket is, by its first byte (TP-1).

/// The protocol a datagram belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Datagram {
    /// QUIC: the fixed bit of RFC 9000 section 17 is set, since it is never greased here.
    Quic,
    /// STUN: two zero bits and the magic cookie (RFC 8489 section 5).
    Stun,
    /// A sealed RPC request.
    RpcRequest,
    /// A sealed RPC answer.
    RpcAnswer,
    /// Data on a channel of TURN (RFC 8656 section 12).
    Channel,
    /// Nothing of ours: counted and dropped.
    Unknown,
}

/// First byte of a sealed RPC request, version 1.
pub(crate) const RPC_REQUEST: u8 = 0x80;
/// First byte of a sealed RPC answer, version 1.
pub(crate) const RPC_ANSWER: u8 = 0x81;
/// The value in bytes 4 to 8 of every STUN message.
pub(crate) const STUN_COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// Tells by the first byte (and STUN's cookie) whose datagram this is. Rule TP-1; constant time and no allocation.
#[must_use]
pub fn classify(datagram: &[u8]) -> Datagram {
    match datagram.first() {
        Some(0x40..=0x7f) if is_channel_data(datagram) => Datagram::Channel,
        Some(first) if first & 0x40 != 0 => Datagram::Quic,
        Some(&RPC_REQUEST) => Datagram::RpcRequest,
        Some(&RPC_ANSWER) => Datagram::RpcAnswer,
        Some(first) if first & 0xc0 == 0 && datagram.get(4..8) == Some(&STUN_COOKIE) => Datagram::Stun,
        _ => Datagram::Unknown,
    }
}

/// The third byte of a QUIC packet with a short header to this node, the second of a connection ID that it gave out: as a
/// length of channel data it is above any datagram's (TP-1).
pub(crate) const QUIC_MARK: u8 = 0xff;

/// Whether the length in the third and fourth byte is the datagram's own, up to three bytes of padding.
fn is_channel_data(datagram: &[u8]) -> bool {
    let Some(([_, _, high, low], data)) = datagram.split_first_chunk() else { return false };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    *high != QUIC_MARK && (length..=length + 3).contains(&data.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tp_1_every_first_byte_belongs_to_at_most_one_protocol() {
        let mut counts = [0usize; 6];
        for first in 0..=u8::MAX {
            let mut datagram = vec![first, 0, 0, 0];
            datagram.extend_from_slice(&STUN_COOKIE);
            counts[classify(&datagram) as usize] += 1;
        }
        assert_eq!(counts, [128, 64, 1, 1, 0, 62]);
    }

    #[test]
    fn tp_1_data_on_a_channel_is_told_from_quic_by_a_length_that_is_its_own() {
        for data in [&[0x40, 1, 0, 2, 9, 9][..], &[0x7f, 255, 0, 2, 9, 9, 0, 0, 0], &[0x40, 0, 0, 0]] {
            assert_eq!(classify(data), Datagram::Channel, "{data:?}");
        }
        let quic =
            [&[0x40, 1, 0, 3, 9, 9][..], &[0x40, 1, 0, 1, 9, 9, 9, 9, 9], &[0xc0, 1, 0, 2, 9, 9], &[0x40]];
        for packet in quic {
            assert_eq!(classify(packet), Datagram::Quic, "{packet:?}");
        }
        // A packet for a connection ID of ours, of any length that a datagram has.
        let longest = [&[0x40, 7, QUIC_MARK, 0xdc][..], &[0; 0xffdc]].concat();
        assert_eq!(classify(&longest), Datagram::Quic);
    }

    #[test]
    fn tp_1_a_zero_byte_without_the_cookie_is_not_stun() {
        assert_eq!(classify(&[0; 20]), Datagram::Unknown);
        assert_eq!(classify(&[]), Datagram::Unknown);
    }
}
