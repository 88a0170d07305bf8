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
        Some(first) if first & 0x40 != 0 => Datagram::Quic,
        Some(&RPC_REQUEST) => Datagram::RpcRequest,
        Some(&RPC_ANSWER) => Datagram::RpcAnswer,
        Some(first) if first & 0xc0 == 0 && datagram.get(4..8) == Some(&STUN_COOKIE) => Datagram::Stun,
        _ => Datagram::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tp_1_every_first_byte_belongs_to_at_most_one_protocol() {
        let mut counts = [0usize; 5];
        for first in 0..=u8::MAX {
            let mut datagram = vec![first, 0, 0, 0];
            datagram.extend_from_slice(&STUN_COOKIE);
            counts[classify(&datagram) as usize] += 1;
        }
        assert_eq!(counts, [128, 64, 1, 1, 62]);
    }

    #[test]
    fn tp_1_a_zero_byte_without_the_cookie_is_not_stun() {
        assert_eq!(classify(&[0; 20]), Datagram::Unknown);
        assert_eq!(classify(&[]), Datagram::Unknown);
    }
}
