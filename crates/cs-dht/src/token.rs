//! Write tokens: proof that whoever stores a record receives at the address it claims (BEP 5's idea, keyed per peer).

use crate::wire::Token;
use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use cs_identity::NodeId;

/// How long one token key is in use; a token is good for one to two of these.
const PERIOD_SECONDS: u64 = 300;

#[derive(Clone, Debug)]
pub(crate) struct Tokens {
    key: [u8; 32],
}

impl Tokens {
    pub(crate) const fn new(key: [u8; 32]) -> Self {
        Self { key }
    }

    pub(crate) fn issue(&self, now: Duration, to: &NodeId, addr: &SocketAddr) -> Token {
        self.for_period(now.as_secs() / PERIOD_SECONDS, to, addr)
    }

    pub(crate) fn holds(&self, now: Duration, from: &NodeId, addr: &SocketAddr, token: Token) -> bool {
        let period = now.as_secs() / PERIOD_SECONDS;
        token == self.for_period(period, from, addr)
            || (period > 0 && token == self.for_period(period - 1, from, addr))
    }

    fn for_period(&self, period: u64, id: &NodeId, addr: &SocketAddr) -> Token {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update(&period.to_be_bytes());
        hasher.update(id.as_bytes());
        match addr.ip() {
            IpAddr::V4(ip) => hasher.update(&ip.octets()),
            IpAddr::V6(ip) => hasher.update(&ip.octets()),
        };
        let [a, b, c, d, e, f, g, h, ..] = *hasher.finalize().as_bytes();
        Token([a, b, c, d, e, f, g, h])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::node;

    #[test]
    fn a_token_holds_for_its_peer_and_address_and_not_for_long() {
        let tokens = Tokens::new([1; 32]);
        let (here, there) = ("8.8.8.8:1".parse().unwrap(), "9.9.9.9:1".parse().unwrap());
        let at = Duration::from_secs;
        let token = tokens.issue(at(10), &node(1), &here);
        assert!(tokens.holds(at(10), &node(1), &here, token));
        assert!(tokens.holds(at(599), &node(1), &here, token));
        assert!(!tokens.holds(at(600), &node(1), &here, token));
        assert!(!tokens.holds(at(10), &node(2), &here, token));
        assert!(!tokens.holds(at(10), &node(1), &there, token));
    }
}
