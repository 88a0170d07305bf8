//! Full invitations: everything a device needs to join, in one line of text (NODE-6).

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use cs_identity::NodeId;
use minicbor::{Decode, Encode};
use zeroize::Zeroizing;

const PREFIX: &str = "cosync:";
const VERSION: u8 = 1;
const CHECKSUM: usize = 4;

/// Most addresses an invitation carries: more would make its QR code hard to read.
pub const MAX_ADDRS: usize = 8;

/// A full invitation. Whoever reads it can join once, so it goes over a channel that its receiver trusts.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    /// The device that made it, and that redeems it.
    pub inviter: NodeId,
    /// What proves that the bearer has it.
    pub secret: [u8; 16],
    /// Where the inviter was listening.
    pub addrs: Vec<SocketAddr>,
    /// Nodes of the DHT that know where the inviter is, should it have moved.
    pub bootstrap: Vec<(NodeId, SocketAddr)>,
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("inviter", &self.inviter)
            .field("addrs", &self.addrs)
            .finish_non_exhaustive()
    }
}

/// Why a text is not an invitation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TicketError {
    /// It does not begin with `cosync:`.
    #[error("it does not begin with `cosync:`")]
    NotATicket,
    /// Its checksum is wrong: a character was altered, lost or added.
    #[error("a character of it was altered, lost or added")]
    Damaged,
    /// It was made by a newer version.
    #[error("it was made by a newer version of cosync")]
    Newer,
}

#[derive(Encode, Decode)]
struct Body {
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    inviter: [u8; 32],
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    secret: [u8; 16],
    #[n(2)]
    addrs: Vec<SocketAddr>,
    #[n(3)]
    bootstrap: Vec<Known>,
}

#[derive(Encode, Decode)]
struct Known {
    #[n(0)]
    #[cbor(with = "minicbor::bytes")]
    id: [u8; 32],
    #[n(1)]
    addr: SocketAddr,
}

impl Ticket {
    /// The public name under which the inviter keeps the invitation.
    #[must_use]
    pub fn id(&self) -> [u8; 16] {
        id_of(&self.secret)
    }

    /// What shows the inviter that the bearer knows the secret, for one session and one bearer only.
    #[must_use]
    pub fn proof(&self, exporter: &[u8; 32], bearer: &NodeId) -> [u8; 32] {
        proof_of(&self.secret, exporter, bearer)
    }
}

pub(crate) fn id_of(secret: &[u8; 16]) -> [u8; 16] {
    let mut id = [0; 16];
    id.copy_from_slice(&blake3::derive_key("cosync 2026 invitation id", secret)[..16]);
    id
}

pub(crate) fn proof_of(secret: &[u8; 16], exporter: &[u8; 32], bearer: &NodeId) -> [u8; 32] {
    let key = Zeroizing::new(blake3::derive_key("cosync 2026 invitation proof", secret));
    let mut hasher = blake3::Hasher::new_keyed(&key);
    hasher.update(exporter).update(bearer.as_bytes());
    *hasher.finalize().as_bytes()
}

fn checksum(body: &[u8]) -> [u8; CHECKSUM] {
    let mut sum = [0; CHECKSUM];
    sum.copy_from_slice(&blake3::derive_key("cosync 2026 invitation checksum", body)[..CHECKSUM]);
    sum
}

/// Lowercase RFC 4648 base32 without padding: survives being read aloud, and QR codes keep it short in upper case.
fn base32() -> data_encoding::Encoding {
    let mut spec = data_encoding::Specification::new();
    spec.symbols.push_str("abcdefghijklmnopqrstuvwxyz234567");
    spec.translate.from.push_str("ABCDEFGHIJKLMNOPQRSTUVWXYZ");
    spec.translate.to.push_str("abcdefghijklmnopqrstuvwxyz");
    spec.ignore.push_str(" \t\r\n");
    spec.encoding().expect("the alphabet has 32 symbols")
}

impl fmt::Display for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = Body {
            inviter: *self.inviter.as_bytes(),
            secret: self.secret,
            addrs: self.addrs.iter().take(MAX_ADDRS).copied().collect(),
            bootstrap: (self.bootstrap.iter().take(MAX_ADDRS))
                .map(|(id, addr)| Known { id: *id.as_bytes(), addr: *addr })
                .collect(),
        };
        let mut bytes = vec![VERSION];
        minicbor::encode(&body, &mut bytes).expect("writing to a vector cannot fail");
        let sum = checksum(&bytes);
        bytes.extend_from_slice(&sum);
        write!(f, "{PREFIX}{}", base32().encode(&bytes))
    }
}

impl FromStr for Ticket {
    type Err = TicketError;

    fn from_str(text: &str) -> Result<Self, TicketError> {
        let text = text.trim();
        let head = text.get(..PREFIX.len()).ok_or(TicketError::NotATicket)?;
        if !head.eq_ignore_ascii_case(PREFIX) {
            return Err(TicketError::NotATicket);
        }
        let bytes = base32().decode(&text.as_bytes()[PREFIX.len()..]).map_err(|_| TicketError::Damaged)?;
        let (body, sum) = bytes.split_last_chunk::<CHECKSUM>().ok_or(TicketError::Damaged)?;
        if checksum(body) != *sum {
            return Err(TicketError::Damaged);
        }
        let (version, body) = body.split_first().ok_or(TicketError::Damaged)?;
        if *version != VERSION {
            return Err(TicketError::Newer);
        }
        let body = decode(body).ok_or(TicketError::Damaged)?;
        let bootstrap =
            body.bootstrap.iter().map(|k| Ok((node(&k.id)?, k.addr))).collect::<Result<_, _>>()?;
        Ok(Self { inviter: node(&body.inviter)?, secret: body.secret, addrs: body.addrs, bootstrap })
    }
}

/// The body, if it is all of the bytes and within the bounds.
fn decode(bytes: &[u8]) -> Option<Body> {
    let mut decoder = minicbor::Decoder::new(bytes);
    let body: Body = decoder.decode().ok()?;
    let is_within = body.addrs.len() <= MAX_ADDRS && body.bootstrap.len() <= MAX_ADDRS;
    (decoder.position() == bytes.len() && is_within).then_some(body)
}

fn node(bytes: &[u8; 32]) -> Result<NodeId, TicketError> {
    NodeId::from_bytes(bytes).map_err(|_| TicketError::Damaged)
}

#[cfg(test)]
mod tests {
    //! NODE-6.

    use super::*;
    use cs_identity::SecretKey;

    fn ticket() -> Ticket {
        Ticket {
            inviter: SecretKey::from_bytes([7; 32]).node_id(),
            secret: [9; 16],
            addrs: vec!["192.0.2.1:4040".parse().unwrap(), "[2001:db8::1]:4040".parse().unwrap()],
            bootstrap: vec![(SecretKey::from_bytes([8; 32]).node_id(), "192.0.2.9:4040".parse().unwrap())],
        }
    }

    #[test]
    fn an_invitation_survives_its_text_in_either_case_and_with_line_breaks() {
        let text = ticket().to_string();
        assert_eq!(text.parse(), Ok(ticket()));
        assert_eq!(text.to_uppercase().parse(), Ok(ticket()));
        let broken: String = text
            .chars()
            .enumerate()
            .flat_map(|(i, c)| [(i == 40).then_some('\n'), Some(c)])
            .flatten()
            .collect();
        assert_eq!(broken.parse(), Ok(ticket()));
    }

    #[test]
    fn an_invitation_altered_by_any_one_character_is_refused() {
        let text = ticket().to_string();
        for (i, c) in text.char_indices().skip(PREFIX.len()) {
            let other = if c == 'a' { "b" } else { "a" };
            let mut altered = text.clone();
            altered.replace_range(i..=i, other);
            // The last character may carry unused bits only, and then the text is not canonical.
            assert_eq!(altered.parse::<Ticket>(), Err(TicketError::Damaged), "character {i}");
        }
    }

    /// The text of a body, whatever it holds.
    fn text_of(body: &[u8]) -> String {
        let mut bytes = [&[VERSION], body].concat();
        bytes.extend(checksum(&bytes));
        format!("{PREFIX}{}", base32().encode(&bytes))
    }

    #[test]
    fn an_invitation_with_more_than_it_may_hold_is_refused() {
        let addrs = |count: usize| vec!["192.0.2.1:4040".parse().unwrap(); count];
        let body = |addrs| {
            let inviter = *ticket().inviter.as_bytes();
            minicbor::to_vec(Body { inviter, secret: [9; 16], addrs, bootstrap: Vec::new() }).unwrap()
        };
        assert!(text_of(&body(addrs(MAX_ADDRS))).parse::<Ticket>().is_ok());
        assert_eq!(text_of(&body(addrs(MAX_ADDRS + 1))).parse::<Ticket>(), Err(TicketError::Damaged));
        let trailing = [body(addrs(1)), vec![0]].concat();
        assert_eq!(text_of(&trailing).parse::<Ticket>(), Err(TicketError::Damaged));
    }

    #[test]
    fn a_proof_holds_for_one_session_and_one_bearer() {
        let bearer = SecretKey::from_bytes([1; 32]).node_id();
        let other = SecretKey::from_bytes([2; 32]).node_id();
        let proof = ticket().proof(&[1; 32], &bearer);
        assert_ne!(proof, ticket().proof(&[2; 32], &bearer));
        assert_ne!(proof, ticket().proof(&[1; 32], &other));
    }
}
