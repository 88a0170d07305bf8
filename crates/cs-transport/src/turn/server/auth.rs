//! Who asks: accounts, and nonces that need no memory (RFC 8489 section 9.2). Rule TP-24.

use core::fmt;
use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeSet;

use cs_identity::{NodeId, SecretKey};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::FiveTuple;
use crate::stun::Credentials;
use crate::turn::{Transport, node_password};

/// How long a nonce is taken.
const NONCE_LIFETIME: Duration = Duration::from_secs(600);
/// Characters of a nonce: short, so that the answer to a stranger is.
const NONCE_CHARS: usize = 12;
const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Who may ask for allocations.
#[derive(Default)]
pub struct Accounts {
    /// With this node's key, every node that proves its own (TP-21).
    pub nodes: Option<SecretKey>,
    /// If it is there, only these nodes.
    pub only: Option<BTreeSet<NodeId>>,
    /// Names and passwords beside.
    pub users: Vec<Credentials>,
}

impl Accounts {
    /// The password of a user, if there is such a user. Two curve operations for a node.
    pub(crate) fn password(&self, username: &str) -> Option<Zeroizing<String>> {
        if let Some(user) = self.users.iter().find(|user| user.username() == username) {
            return Some(Zeroizing::new(user.password().to_owned()));
        }
        let secret = self.nodes.as_ref()?;
        let node = username.parse::<NodeId>().ok()?;
        let admitted = self.only.as_ref().is_none_or(|only| only.contains(&node));
        admitted.then(|| node_password(secret, &node))
    }
}

impl fmt::Debug for Accounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = self.nodes.is_some();
        f.debug_struct("Accounts").field("nodes", &nodes).field("only", &self.only).finish_non_exhaustive()
    }
}

/// Makes nonces that tell when and for whom they were made.
pub(crate) struct Nonces {
    secret: Zeroizing<[u8; 32]>,
    /// The first time that was told; nonces count from there.
    epoch: Option<Duration>,
}

impl Nonces {
    pub(crate) fn new(secret: [u8; 32]) -> Self {
        Self { secret: Zeroizing::new(secret), epoch: None }
    }

    pub(crate) fn make(&mut self, now: Duration, client: &FiveTuple) -> [u8; NONCE_CHARS] {
        let seconds = self.seconds(now);
        self.of(seconds, client)
    }

    /// Whether it was made here, for this client, and of late.
    pub(crate) fn is_fresh(&mut self, now: Duration, client: &FiveTuple, nonce: &[u8]) -> bool {
        let now = self.seconds(now);
        let Some(head) = nonce.first_chunk::<4>() else { return false };
        let mut made = 0;
        for digit in head {
            let Some(value) = (0u32..).zip(DIGITS).find(|(_, of)| *of == digit) else { return false };
            made = made << 6 | value.0;
        }
        let age = now.wrapping_sub(made) & 0xff_ffff;
        u64::from(age) <= NONCE_LIFETIME.as_secs() && self.of(made, client).as_slice() == nonce
    }

    /// Since the epoch, modulo 2^24: half a year.
    fn seconds(&mut self, now: Duration) -> u32 {
        let epoch = *self.epoch.get_or_insert(now);
        u32::try_from(now.saturating_sub(epoch).as_secs() & 0xff_ffff).unwrap_or(0)
    }

    /// Three bytes of time and six of a tag, six bits a character.
    fn of(&self, seconds: u32, client: &FiveTuple) -> [u8; NONCE_CHARS] {
        let mut mac =
            <Hmac<Sha256> as KeyInit>::new_from_slice(&*self.secret).expect("HMAC takes keys of any length");
        mac.update(&seconds.to_be_bytes());
        match client.remote.ip().to_canonical() {
            IpAddr::V4(ip) => mac.update(&ip.octets()),
            IpAddr::V6(ip) => mac.update(&ip.octets()),
        }
        mac.update(&client.remote.port().to_be_bytes());
        mac.update(&[u8::from(client.transport == Transport::Tcp)]);
        let tag: [u8; 32] = mac.finalize().into_bytes().into();
        let [t0, t1, t2, t3, t4, t5, ..] = tag;
        let tag = u64::from_be_bytes([0, 0, t0, t1, t2, t3, t4, t5]);
        let bits = u128::from(seconds) << 48 | u128::from(tag);
        let mut nonce = [0; NONCE_CHARS];
        for (place, slot) in (0..NONCE_CHARS).rev().zip(&mut nonce) {
            let digit = usize::try_from(bits >> (6 * place) & 63).unwrap_or(0);
            *slot = DIGITS.get(digit).copied().unwrap_or(b'A');
        }
        nonce
    }
}

impl fmt::Debug for Nonces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Nonces").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(port: u16, transport: Transport) -> FiveTuple {
        let local = ([192, 0, 2, 1], 3478).into();
        FiveTuple { transport, local, remote: ([198, 51, 100, 7], port).into() }
    }

    #[test]
    fn tp_24_a_nonce_is_for_one_client_and_ten_minutes() {
        let mut nonces = Nonces::new([7; 32]);
        let start = Duration::new(1_000_000, 77);
        let (mine, other) = (client(5, Transport::Udp), client(6, Transport::Udp));
        let nonce = nonces.make(start, &mine);
        let later = |seconds| start + Duration::from_secs(seconds);
        for age in [0, 1, 600] {
            assert!(nonces.is_fresh(later(age), &mine, &nonce), "{age}");
        }
        assert!(!nonces.is_fresh(later(601), &mine, &nonce));
        assert!(!nonces.is_fresh(start, &other, &nonce));
        assert!(!nonces.is_fresh(start, &client(5, Transport::Tcp), &nonce));
        assert!(!Nonces::new([8; 32]).is_fresh(start, &mine, &nonce));
    }

    #[test]
    fn tp_24_no_other_characters_are_a_nonce() {
        let mut nonces = Nonces::new([7; 32]);
        let mine = client(5, Transport::Udp);
        let nonce = nonces.make(Duration::ZERO, &mine);
        for at in 0..nonce.len() {
            let mut altered = nonce;
            altered[at] = if altered[at] == b'A' { b'B' } else { b'A' };
            assert!(!nonces.is_fresh(Duration::ZERO, &mine, &altered), "{at}");
            assert!(!nonces.is_fresh(Duration::ZERO, &mine, &nonce[..at]));
        }
        assert!(!nonces.is_fresh(Duration::ZERO, &mine, &[&nonce[..], b"A"].concat()));
        assert!(!nonces.is_fresh(Duration::ZERO, &mine, b"!!!!!!!!!!!!"));
    }

    #[test]
    fn tp_24_only_admitted_nodes_and_named_users_have_a_password() {
        let [relay, one, two] = [1, 2, 3].map(|seed| SecretKey::from_bytes([seed; 32]));
        let users = vec![Credentials::new("user", "pass").expect("they are short")];
        let only = Some([one.node_id()].into());
        let accounts = Accounts { nodes: Some(relay), only, users };
        assert_eq!(accounts.password("user").as_deref().map(String::as_str), Some("pass"));
        assert!(accounts.password(&one.node_id().to_string()).is_some());
        assert_eq!(accounts.password(&two.node_id().to_string()), None);
        assert_eq!(accounts.password("nobody"), None);
        let anyone = Accounts { only: None, ..accounts };
        assert!(anyone.password(&two.node_id().to_string()).is_some());
        assert!(Accounts::default().password("user").is_none());
    }
}
