//! Requests that wait for their answer, and the repeating of those that got none (RFC 8489 section 6.2.1).

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeMap;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::stun::{AttributeKind, Builder, Class, Credentials, LongTermKey, MAX_REALM, Message, Method};
use crate::stun::{PasswordAlgorithm, TransactionId, encode_xor_address};
use crate::turn::{Family, PROTOCOL_UDP, Transport};

/// How often a request is sent, the first time included (RFC 8489 has 7, after which a minute has passed).
const SENDS_MAX: u8 = 6;
/// Waits of the first length that the last one lasts.
const LAST_WAIT: u32 = 8;
/// Nonces in a row that a server may call stale.
const RENEWALS_MAX: u8 = 3;

/// What a request is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    Allocate,
    Refresh,
    /// Ends what an earlier run left on the same port; then allocates.
    Clear,
    /// Ends the allocation.
    Release,
    Permit(IpAddr),
    Bind(SocketAddr, u16),
}

impl Purpose {
    pub(crate) fn method(self) -> Method {
        match self {
            Self::Allocate => Method::ALLOCATE,
            Self::Refresh | Self::Clear | Self::Release => Method::REFRESH,
            Self::Permit(_) => Method::CREATE_PERMISSION,
            Self::Bind(..) => Method::CHANNEL_BIND,
        }
    }

    fn attributes(self, builder: Builder, family: Option<Family>, transaction: &TransactionId) -> Builder {
        match self {
            Self::Allocate => {
                let builder = builder.attribute(AttributeKind::REQUESTED_TRANSPORT, &[PROTOCOL_UDP, 0, 0, 0]);
                match family {
                    Some(family) => {
                        let value = [family.number(), 0, 0, 0];
                        builder.attribute(AttributeKind::REQUESTED_ADDRESS_FAMILY, &value)
                    }
                    None => builder,
                }
            }
            Self::Refresh => builder,
            Self::Clear | Self::Release => builder.attribute(AttributeKind::LIFETIME, &[0; 4]),
            Self::Permit(ip) => {
                // The port means nothing (section 9.1), and coturn refuses zero.
                let address = encode_xor_address(SocketAddr::new(ip, 9), transaction);
                builder.attribute(AttributeKind::XOR_PEER_ADDRESS, &address)
            }
            Self::Bind(peer, channel) => {
                let [high, low] = channel.to_be_bytes();
                let address = encode_xor_address(peer, transaction);
                builder
                    .attribute(AttributeKind::CHANNEL_NUMBER, &[high, low, 0, 0])
                    .attribute(AttributeKind::XOR_PEER_ADDRESS, &address)
            }
        }
    }
}

/// A request under way.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) purpose: Purpose,
    /// Whether it carries an integrity check, so that its answer must.
    pub(crate) signed: bool,
    /// How many nonces before this one were stale.
    pub(crate) renewals: u8,
    bytes: Vec<u8>,
    sends: u8,
    wait: Duration,
    again_at: Duration,
}

impl Pending {
    pub(crate) fn may_renew(&self) -> bool {
        self.renewals < RENEWALS_MAX
    }
}

/// What time brings to a request.
#[derive(Debug)]
pub(crate) enum Due {
    Repeat(Vec<u8>),
    Unanswered(Purpose),
}

#[derive(Debug)]
pub(crate) struct Requests {
    rng: ChaCha20Rng,
    transport: Transport,
    family: Option<Family>,
    first_wait: Duration,
    pending: BTreeMap<TransactionId, Pending>,
}

impl Requests {
    pub(crate) fn new(
        seed: [u8; 32],
        transport: Transport,
        family: Option<Family>,
        first_wait: Duration,
    ) -> Self {
        let rng = ChaCha20Rng::from_seed(seed);
        Self { rng, transport, family, first_wait, pending: BTreeMap::new() }
    }

    /// A fresh name, which nobody off the path can guess.
    pub(crate) fn transaction(&mut self) -> TransactionId {
        let mut transaction = [0; 12];
        self.rng.fill_bytes(&mut transaction);
        transaction
    }

    /// Begins a request and gives its bytes, to be sent at once.
    pub(crate) fn begin(
        &mut self,
        now: Duration,
        purpose: Purpose,
        login: Option<(&Challenge, &Credentials)>,
        renewals: u8,
    ) -> Vec<u8> {
        let transaction = self.transaction();
        let builder = Builder::new(Class::Request, purpose.method(), transaction);
        let builder = purpose.attributes(builder, self.family, &transaction);
        let signed = login.is_some();
        let bytes = match login {
            Some((challenge, credentials)) => challenge.sign(builder, credentials),
            None => builder.finish(),
        };
        let (sends, wait) = match self.transport {
            Transport::Udp => (1, self.first_wait),
            // A stream loses nothing: one wait as long as all of the other's together.
            Transport::Tcp => (SENDS_MAX, self.first_wait * ((1 << (SENDS_MAX - 1)) - 1 + LAST_WAIT)),
        };
        let again_at = now + wait;
        let copy = bytes.clone();
        self.pending.insert(transaction, Pending { purpose, signed, renewals, bytes, sends, wait, again_at });
        copy
    }

    pub(crate) fn peek(&self, transaction: &TransactionId) -> Option<&Pending> {
        self.pending.get(transaction)
    }

    pub(crate) fn take(&mut self, transaction: &TransactionId) -> Option<Pending> {
        self.pending.remove(transaction)
    }

    pub(crate) fn is_under_way(&self, of: impl Fn(Purpose) -> bool) -> bool {
        self.pending.values().any(|pending| of(pending.purpose))
    }

    pub(crate) fn forget(&mut self, of: impl Fn(Purpose) -> bool) {
        self.pending.retain(|_, pending| !of(pending.purpose));
    }

    pub(crate) fn next_at(&self) -> Option<Duration> {
        self.pending.values().map(|pending| pending.again_at).min()
    }

    pub(crate) fn due(&mut self, now: Duration) -> Vec<Due> {
        let mut due = Vec::new();
        let first_wait = self.first_wait;
        self.pending.retain(|_, pending| {
            if pending.again_at > now {
                return true;
            }
            if pending.sends >= SENDS_MAX {
                due.push(Due::Unanswered(pending.purpose));
                return false;
            }
            pending.sends += 1;
            pending.wait = if pending.sends == SENDS_MAX { first_wait * LAST_WAIT } else { pending.wait * 2 };
            pending.again_at = now + pending.wait;
            due.push(Due::Repeat(pending.bytes.clone()));
            true
        });
        due
    }
}

/// What a server wants messages to be signed with (RFC 8489 section 9.2.3).
#[derive(Debug)]
pub(crate) struct Challenge {
    realm: Vec<u8>,
    nonce: Vec<u8>,
    /// The server's list of hashes, to be repeated as it was, and the one chosen.
    algorithms: Option<(Vec<u8>, PasswordAlgorithm)>,
    pub(crate) key: LongTermKey,
}

impl Challenge {
    /// Reads it from a 401 or 438; `None` if it is none that can be met.
    pub(crate) fn read(message: &Message<'_>, credentials: &Credentials) -> Option<Self> {
        let value = |kind| {
            let attribute = message.attribute(kind)?;
            (attribute.value.len() <= MAX_REALM).then(|| attribute.value.to_vec())
        };
        let (realm, nonce) = (value(AttributeKind::REALM)?, value(AttributeKind::NONCE)?);
        let algorithms = match message.attribute(AttributeKind::PASSWORD_ALGORITHMS) {
            Some(attribute) => Some((attribute.value.to_vec(), best_of(attribute.value)?)),
            None => None,
        };
        let algorithm = algorithms.as_ref().map_or(PasswordAlgorithm::Md5, |(_, chosen)| *chosen);
        let key = credentials.key(&realm, algorithm);
        Some(Self { realm, nonce, algorithms, key })
    }

    fn sign(&self, builder: Builder, credentials: &Credentials) -> Vec<u8> {
        let mut builder = builder
            .attribute(AttributeKind::USERNAME, credentials.username().as_bytes())
            .attribute(AttributeKind::REALM, &self.realm)
            .attribute(AttributeKind::NONCE, &self.nonce);
        if let Some((offered, chosen)) = &self.algorithms {
            let [high, low] = (*chosen as u16).to_be_bytes();
            builder = builder
                .attribute(AttributeKind::PASSWORD_ALGORITHMS, offered)
                .attribute(AttributeKind::PASSWORD_ALGORITHM, &[high, low, 0, 0]);
        }
        let listed = self.algorithms.is_some();
        if listed { self.key.protect_sha256(builder) } else { self.key.protect(builder) }.finish()
    }
}

/// The strongest hash in a list of (number, length of parameters, parameters) that is known here.
fn best_of(list: &[u8]) -> Option<PasswordAlgorithm> {
    let mut best = None;
    let mut rest = list;
    while let Some(([a, b, c, d], after)) = rest.split_first_chunk::<4>() {
        let parameters = usize::from(u16::from_be_bytes([*c, *d])).next_multiple_of(4);
        best = match u16::from_be_bytes([*a, *b]) {
            2 => Some(PasswordAlgorithm::Sha256),
            1 => best.or(Some(PasswordAlgorithm::Md5)),
            _ => best,
        };
        rest = after.get(parameters..).unwrap_or_default();
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tp_20_the_strongest_known_hash_of_a_list_is_chosen() {
        assert_eq!(best_of(&[0, 1, 0, 0]), Some(PasswordAlgorithm::Md5));
        assert_eq!(best_of(&[0, 1, 0, 0, 0, 2, 0, 0]), Some(PasswordAlgorithm::Sha256));
        assert_eq!(best_of(&[0, 2, 0, 0, 0, 1, 0, 0]), Some(PasswordAlgorithm::Sha256));
        assert_eq!(best_of(&[0, 9, 0, 3, 7, 7, 7, 0, 0, 1, 0, 0]), Some(PasswordAlgorithm::Md5));
        assert_eq!(best_of(&[0, 9, 255, 255]), None);
        assert_eq!(best_of(&[]), None);
    }

    #[test]
    fn tp_23_a_request_is_sent_six_times_in_twenty_seconds_and_on_a_stream_once() {
        let wait = Duration::from_millis(500);
        for (transport, expected) in [(Transport::Udp, 6), (Transport::Tcp, 1)] {
            let mut requests = Requests::new([1; 32], transport, None, wait);
            requests.begin(Duration::ZERO, Purpose::Allocate, None, 0);
            let (mut sends, mut end) = (1, None);
            while let Some(at) = requests.next_at() {
                for due in requests.due(at) {
                    match due {
                        Due::Repeat(_) => sends += 1,
                        Due::Unanswered(purpose) => end = Some((at, purpose)),
                    }
                }
            }
            assert_eq!(sends, expected);
            assert_eq!(end, Some((Duration::from_millis(19_500), Purpose::Allocate)));
        }
    }
}
