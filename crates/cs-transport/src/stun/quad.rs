//! The server's side of RFC 5780: two addresses and two ports, of which any may answer. Rule TP-29.

use core::net::SocketAddr;

use super::attribute::{AttributeKind, encode_plain_address, encode_xor_address};
use super::binding::answer_binding;
use super::message::{Builder, Class, Message, Method};

/// Flags of a `CHANGE-REQUEST` (RFC 5780 section 7.2).
pub(crate) const CHANGE_IP: u32 = 4;
pub(crate) const CHANGE_PORT: u32 = 2;

/// One of the four sockets: whether it has the other address, and the other port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Corner {
    /// The second of both addresses.
    pub other_ip: bool,
    /// The second of both ports.
    pub other_port: bool,
}

impl Corner {
    /// All four; the first is the one that clients know.
    pub const ALL: [Self; 4] = [
        Self { other_ip: false, other_port: false },
        Self { other_ip: false, other_port: true },
        Self { other_ip: true, other_port: false },
        Self { other_ip: true, other_port: true },
    ];
}

/// A server's two addresses and two ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quad {
    primary: SocketAddr,
    other: SocketAddr,
}

/// An answer, and the socket that it is to leave from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// From where.
    pub from: Corner,
    /// To where.
    pub to: SocketAddr,
    /// What.
    pub bytes: Vec<u8>,
}

impl Quad {
    /// `None` unless both addresses and both ports differ and the addresses are of one family.
    #[must_use]
    pub fn new(primary: SocketAddr, other: SocketAddr) -> Option<Self> {
        let differ = primary.ip() != other.ip() && primary.port() != other.port();
        (differ && primary.is_ipv4() == other.is_ipv4()).then_some(Self { primary, other })
    }

    /// The address of one of the sockets.
    #[must_use]
    pub fn address(&self, corner: Corner) -> SocketAddr {
        let ip = if corner.other_ip { self.other.ip() } else { self.primary.ip() };
        let port = if corner.other_port { self.other.port() } else { self.primary.port() };
        SocketAddr::new(ip, port)
    }

    /// Which socket has this address.
    #[must_use]
    pub fn corner(&self, address: SocketAddr) -> Option<Corner> {
        Corner::ALL.into_iter().find(|corner| self.address(*corner) == address)
    }

    /// Answers a Binding request that came from `from` to the socket `at`; `None` for what deserves no answer. An answer is
    /// at most 64 bytes over IPv4 and 100 over IPv6, or as long as the request, if that is longer because of its `PADDING`.
    #[must_use]
    pub fn answer(&self, request: &Message<'_>, from: SocketAddr, at: Corner) -> Option<Reply> {
        let asks = (request.class(), request.method()) == (Class::Request, Method::BINDING);
        if !asks || request.fingerprint() == Some(false) {
            return None;
        }
        let change = match request.attribute(AttributeKind::CHANGE_REQUEST) {
            Some(attribute) => attribute.number().ok()?,
            None => 0,
        };
        let known = [AttributeKind::CHANGE_REQUEST, AttributeKind::PADDING];
        let mut kinds = request.attributes().map(|attribute| attribute.kind);
        if kinds.any(|kind| kind.is_required() && !kind.is_known() && !known.contains(&kind)) {
            let bytes = answer_binding(request, from)?;
            return Some(Reply { from: at, to: from, bytes });
        }
        let leaves = Corner {
            other_ip: at.other_ip ^ (change & CHANGE_IP != 0),
            other_port: at.other_port ^ (change & CHANGE_PORT != 0),
        };
        // What differs from where the request came to in both.
        let other = Corner { other_ip: !at.other_ip, other_port: !at.other_port };
        let transaction = request.transaction();
        let mut builder = Builder::new(Class::Success, Method::BINDING, transaction)
            .attribute(AttributeKind::XOR_MAPPED_ADDRESS, &encode_xor_address(from, &transaction))
            .attribute(AttributeKind::RESPONSE_ORIGIN, &encode_plain_address(self.address(leaves)))
            .attribute(AttributeKind::OTHER_ADDRESS, &encode_plain_address(self.address(other)));
        if let Some(padding) = request.attribute(AttributeKind::PADDING) {
            // No longer than the request, which holds less beside.
            let beside = if from.is_ipv4() { 36 } else { 72 };
            let length = padding.value.len().saturating_sub(beside);
            builder = builder.attribute(AttributeKind::PADDING, &vec![0; length]);
        }
        let builder = if request.fingerprint().is_some() { builder.fingerprint() } else { builder };
        Some(Reply { from: leaves, to: from, bytes: builder.finish() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quad() -> Quad {
        Quad::new(([50, 0, 0, 10], 3478).into(), ([50, 0, 0, 11], 3479).into()).expect("both differ")
    }

    fn ask(change: Option<u32>, at: Corner) -> Reply {
        let builder = Builder::new(Class::Request, Method::BINDING, [1; 12]);
        let builder = match change {
            Some(change) => builder.attribute(AttributeKind::CHANGE_REQUEST, &change.to_be_bytes()),
            None => builder,
        };
        let request = builder.finish();
        let request = Message::from_bytes(&request).expect("our own request");
        quad().answer(&request, ([50, 0, 1, 1], 9).into(), at).expect("an answer")
    }

    #[test]
    fn tp_29_the_answer_leaves_from_where_it_was_asked_to() {
        for at in Corner::ALL {
            for (change, other_ip, other_port) in
                [(None, false, false), (Some(2), false, true), (Some(4), true, false), (Some(6), true, true)]
            {
                let reply = ask(change, at);
                let expected =
                    Corner { other_ip: at.other_ip ^ other_ip, other_port: at.other_port ^ other_port };
                assert_eq!(reply.from, expected);
                let answer = Message::from_bytes(&reply.bytes).expect("our own answer");
                let origin = answer.attribute(AttributeKind::RESPONSE_ORIGIN).expect("it is told");
                assert_eq!(origin.plain_address(), Ok(quad().address(expected)));
                let other = answer.attribute(AttributeKind::OTHER_ADDRESS).expect("it is told");
                let other = other.plain_address().expect("our own address");
                let here = quad().address(at);
                assert!(other.ip() != here.ip() && other.port() != here.port());
                assert!(reply.bytes.len() <= 64);
            }
        }
    }

    #[test]
    fn tp_29_padding_makes_no_answer_longer_than_its_request() {
        for length in [0, 4, 35, 36, 37, 500, 1400] {
            let request = Builder::new(Class::Request, Method::BINDING, [1; 12])
                .attribute(AttributeKind::PADDING, &vec![0; length])
                .finish();
            let message = Message::from_bytes(&request).expect("our own request");
            for from in [([50, 0, 1, 1], 9).into(), ([0x2a00, 0, 0, 0, 0, 0, 0, 1], 9).into()] {
                let reply = quad().answer(&message, from, Corner::ALL[0]).expect("an answer");
                assert!(reply.bytes.len() <= request.len().max(100), "{length}");
            }
        }
    }

    #[test]
    fn tp_29_one_address_or_one_port_is_no_quad() {
        let at = |host, port| SocketAddr::from(([50, 0, 0, host], port));
        assert_eq!(Quad::new(at(1, 1), at(1, 2)), None);
        assert_eq!(Quad::new(at(1, 1), at(2, 1)), None);
        assert_eq!(Quad::new(at(1, 1), ([0x2a00, 0, 0, 0, 0, 0, 0, 1], 2).into()), None);
    }
}
