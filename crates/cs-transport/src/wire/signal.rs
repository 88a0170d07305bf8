//! What a third node passes on between two others, and what they tell each other through it (TP-31, TP-32).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::{DecodeError, MAX_DATAGRAM, all_read, take, take_array};

/// Longest [`SignalMessage`], in bytes: a sealed datagram and whom it is for.
pub const MAX_SIGNAL: usize = 1 + 32 + 4 + 2 + MAX_DATAGRAM;
/// Candidates that one [`Connect`] may name: more than the interfaces, mappings and relays of an honest node come to.
pub const MAX_CANDIDATES: usize = 24;

/// On a signal stream: a sealed datagram for a third node, or from one. Rule TP-31.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignalMessage {
    /// "Pass this on."
    Pass {
        /// To whom: the 32 bytes of a node ID.
        to: [u8; 32],
        /// Chosen by the sender; a [`Self::NoWay`] names it.
        id: u32,
        /// A sealed request or answer, at most [`MAX_DATAGRAM`] bytes.
        bytes: Vec<u8>,
    },
    /// "This came for you."
    Passed {
        /// From whom: the session that it came on belongs to that node.
        from: [u8; 32],
        /// As its sender chose it.
        id: u32,
        /// A sealed request or answer, at most [`MAX_DATAGRAM`] bytes.
        bytes: Vec<u8>,
    },
    /// "I have no session with that node", or too many were asked for.
    NoWay {
        /// Of the message that was not passed on.
        id: u32,
    },
}

impl SignalMessage {
    /// Reads one message: the rest of `input`, since a signal is framed by its stream.
    ///
    /// # Errors
    /// [`DecodeError`], with `input` unchanged.
    pub fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        let mut rest = *input;
        let [kind] = take_array(&mut rest)?;
        let message = match kind {
            1 | 2 => {
                let node = take_array(&mut rest)?;
                let id = u32::from_be_bytes(take_array(&mut rest)?);
                let length = usize::from(u16::from_be_bytes(take_array(&mut rest)?));
                if length > MAX_DATAGRAM {
                    return Err(DecodeError::TooLong);
                }
                let bytes = take(&mut rest, length)?.to_vec();
                if kind == 1 {
                    Self::Pass { to: node, id, bytes }
                } else {
                    Self::Passed { from: node, id, bytes }
                }
            }
            3 => Self::NoWay { id: u32::from_be_bytes(take_array(&mut rest)?) },
            _ => return Err(DecodeError::UnknownKind),
        };
        *input = rest;
        Ok(message)
    }

    /// Reads exactly one message.
    ///
    /// # Errors
    /// [`DecodeError`], also when bytes are left.
    pub fn from_bytes(mut input: &[u8]) -> Result<Self, DecodeError> {
        let message = Self::decode(&mut input)?;
        all_read(message, input)
    }

    /// Appends the message. Bytes above [`MAX_DATAGRAM`] are cut.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (kind, node, id, bytes) = match self {
            Self::Pass { to, id, bytes } => (1, to, id, bytes),
            Self::Passed { from, id, bytes } => (2, from, id, bytes),
            Self::NoWay { id } => {
                out.push(3);
                return out.extend_from_slice(&id.to_be_bytes());
            }
        };
        let bytes = bytes.get(..MAX_DATAGRAM).unwrap_or(bytes);
        out.push(kind);
        out.extend_from_slice(node);
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes());
        out.extend_from_slice(bytes);
    }
}

/// What kind of address a node says it has. Rule TP-32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum CandidateSource {
    /// Of one of its interfaces.
    Host = 0,
    /// As a STUN server or a peer saw it.
    Reflexive = 1,
    /// Mapped by its router on request.
    Mapped = 2,
    /// Its address on a relay.
    Relayed = 3,
}

/// An address at which a node may be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    /// What it is.
    pub source: CandidateSource,
    /// Where: neither unspecified nor multicast, the port not zero, IPv4 never in IPv6 clothes.
    pub addr: SocketAddr,
}

/// How a node's NAT picks ports, as far as the node could find out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NatHint {
    /// Not known.
    #[default]
    Unknown,
    /// One outside port, whatever the destination; or no NAT at all.
    Cone,
    /// Another port for each destination, at random.
    Symmetric,
    /// Another port for each destination, each so far from the one before; never 0.
    Sequential(i16),
}

/// "Let us connect; this is where I may be": both the question and the answer. Rule TP-32.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connect {
    /// Half of the key that both sides' checks are made with: fresh and secret.
    pub nonce: [u8; 16],
    /// The sender's NAT.
    pub nat: NatHint,
    /// The sender's addresses, best first, none twice; at most [`MAX_CANDIDATES`].
    pub candidates: Vec<Candidate>,
}

const VERSION: u8 = 1;

impl Connect {
    /// Reads one value.
    ///
    /// # Errors
    /// [`DecodeError`], with `input` unchanged.
    pub fn decode(input: &mut &[u8]) -> Result<Self, DecodeError> {
        let mut rest = *input;
        if take_array(&mut rest)? != [VERSION] {
            return Err(DecodeError::UnknownKind);
        }
        let nonce = take_array(&mut rest)?;
        let [hint] = take_array(&mut rest)?;
        let nat = match (hint, i16::from_be_bytes(take_array(&mut rest)?)) {
            (0, 0) => NatHint::Unknown,
            (1, 0) => NatHint::Cone,
            (2, 0) => NatHint::Symmetric,
            (3, step) if step != 0 => NatHint::Sequential(step),
            (0..=3, _) => return Err(DecodeError::NotCanonical),
            _ => return Err(DecodeError::UnknownKind),
        };
        let [count] = take_array(&mut rest)?;
        if usize::from(count) > MAX_CANDIDATES {
            return Err(DecodeError::TooLong);
        }
        let mut candidates = Vec::<Candidate>::new();
        for _ in 0..count {
            let candidate = decode_candidate(&mut rest)?;
            if candidates.contains(&candidate) {
                return Err(DecodeError::NotCanonical);
            }
            candidates.push(candidate);
        }
        *input = rest;
        Ok(Self { nonce, nat, candidates })
    }

    /// Reads exactly one value.
    ///
    /// # Errors
    /// [`DecodeError`], also when bytes are left.
    pub fn from_bytes(mut input: &[u8]) -> Result<Self, DecodeError> {
        let connect = Self::decode(&mut input)?;
        all_read(connect, input)
    }

    /// Appends the value. At most 500 bytes; candidates above [`MAX_CANDIDATES`] are left out.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (hint, step) = match self.nat {
            NatHint::Unknown => (0, 0),
            NatHint::Cone => (1, 0),
            NatHint::Symmetric => (2, 0),
            NatHint::Sequential(step) => (3, step),
        };
        let candidates = self.candidates.get(..MAX_CANDIDATES).unwrap_or(&self.candidates);
        out.push(VERSION);
        out.extend_from_slice(&self.nonce);
        out.push(hint);
        out.extend_from_slice(&step.to_be_bytes());
        out.push(u8::try_from(candidates.len()).unwrap_or(u8::MAX));
        for candidate in candidates {
            encode_candidate(candidate, out);
        }
    }
}

fn decode_candidate(input: &mut &[u8]) -> Result<Candidate, DecodeError> {
    let [kind] = take_array(input)?;
    let source = match kind & 0x7f {
        0 => CandidateSource::Host,
        1 => CandidateSource::Reflexive,
        2 => CandidateSource::Mapped,
        3 => CandidateSource::Relayed,
        _ => return Err(DecodeError::UnknownKind),
    };
    let ip = if kind & 0x80 == 0 {
        IpAddr::V4(Ipv4Addr::from(take_array::<4>(input)?))
    } else {
        IpAddr::V6(Ipv6Addr::from(take_array::<16>(input)?))
    };
    let port = u16::from_be_bytes(take_array(input)?);
    if ip.to_canonical() != ip {
        return Err(DecodeError::NotCanonical);
    }
    if port == 0 || ip.is_unspecified() || ip.is_multicast() || ip == Ipv4Addr::BROADCAST {
        return Err(DecodeError::OutOfRange);
    }
    Ok(Candidate { source, addr: SocketAddr::new(ip, port) })
}

fn encode_candidate(candidate: &Candidate, out: &mut Vec<u8>) {
    let source = candidate.source as u8;
    match candidate.addr.ip() {
        IpAddr::V4(ip) => {
            out.push(source);
            out.extend_from_slice(&ip.octets());
        }
        IpAddr::V6(ip) => {
            out.push(source | 0x80);
            out.extend_from_slice(&ip.octets());
        }
    }
    out.extend_from_slice(&candidate.addr.port().to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect(addr: &str) -> Vec<u8> {
        let candidate = Candidate { source: CandidateSource::Host, addr: addr.parse().expect("an address") };
        let mut bytes = Vec::new();
        Connect { nonce: [1; 16], nat: NatHint::Cone, candidates: vec![candidate] }.encode(&mut bytes);
        bytes
    }

    #[test]
    fn tp_32_addresses_that_nobody_can_have_are_refused() {
        assert!(Connect::from_bytes(&connect("192.0.2.1:1")).is_ok());
        for addr in ["192.0.2.1:0", "0.0.0.0:1", "224.0.0.1:1", "255.255.255.255:1", "[::]:1", "[ff02::1]:1"]
        {
            assert_eq!(Connect::from_bytes(&connect(addr)), Err(DecodeError::OutOfRange), "{addr}");
        }
        assert_eq!(Connect::from_bytes(&connect("[::ffff:192.0.2.1]:1")), Err(DecodeError::NotCanonical));
    }

    #[test]
    fn tp_32_a_candidate_is_named_once_and_a_step_is_never_zero() {
        let mut twice = connect("192.0.2.1:1");
        let candidate = twice[21..].to_vec();
        twice[20] = 2;
        twice.extend_from_slice(&candidate);
        assert_eq!(Connect::from_bytes(&twice), Err(DecodeError::NotCanonical));
        let mut bytes = connect("192.0.2.1:1");
        bytes[17] = 3;
        assert_eq!(Connect::from_bytes(&bytes), Err(DecodeError::NotCanonical));
        bytes[19] = 5;
        assert_eq!(Connect::from_bytes(&bytes).map(|connect| connect.nat), Ok(NatHint::Sequential(5)));
    }

    #[test]
    fn tp_31_a_signal_longer_than_a_datagram_is_refused_before_it_is_kept() {
        let mut bytes = Vec::new();
        SignalMessage::Pass { to: [1; 32], id: 1, bytes: vec![0; MAX_DATAGRAM] }.encode(&mut bytes);
        assert!(bytes.len() <= MAX_SIGNAL && SignalMessage::from_bytes(&bytes).is_ok());
        bytes[37..39].copy_from_slice(&1233u16.to_be_bytes());
        bytes.push(0);
        assert_eq!(SignalMessage::from_bytes(&bytes), Err(DecodeError::TooLong));
    }
}
