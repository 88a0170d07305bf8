//! A session as bytes, to be sealed and stored by the caller (CRYPTO-18).

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use zeroize::Zeroizing;

use super::session::{Chain, Secret, Session};
use super::skipped::{MAX_CHAINS, MAX_SKIPPED, Skipped, SkippedChain};
use super::start::{INITIAL, INITIAL_ONE_TIME, Initial};

const VERSION: u8 = 1;
/// First byte of an absent part.
const ABSENT: u8 = 0;
const PRESENT: u8 = 1;

/// The longest state, bytes: all skipped keys and all optional parts.
pub const STATE_LENGTH_MAX: usize = 800 + MAX_CHAINS * (32 + 2) + MAX_SKIPPED * (4 + 32);

/// Why a stored session, or store of prekeys, was not taken up again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// The bytes are no state of this version.
    #[error("not a stored session or store of prekeys")]
    Malformed,
    /// The state is older than the caller knows it to have been: an old copy was put back, and messages sealed with it would
    /// use keys again. Start a new session.
    #[error("the stored session was set back to an earlier state")]
    RolledBack,
}

impl Session {
    /// The whole state. Secret: seal it before it reaches a disk.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(1024 + self.skipped.len() * 36));
        out.push(VERSION);
        out.extend_from_slice(&self.generation.to_le_bytes());
        out.push(u8::from(self.initiator));
        out.extend_from_slice(self.identities.as_flattened());
        match &self.initial {
            Some(initial) => initial.encode(&mut out),
            None => out.push(ABSENT),
        }
        put(&mut out, &[&self.root, &self.own, &self.next_send_header, &self.next_receive_header]);
        put_chain(&mut out, &self.send);
        match &self.receive {
            Some(chain) => {
                out.push(PRESENT);
                put_chain(&mut out, chain);
            }
            None => out.push(ABSENT),
        }
        out.extend_from_slice(&self.previous.to_le_bytes());
        out.push(u8::try_from(self.skipped.chains.len()).expect("at most MAX_CHAINS"));
        for chain in &self.skipped.chains {
            put(&mut out, &[&chain.header_key]);
            let count = u16::try_from(chain.keys.len()).expect("at most MAX_SKIPPED");
            out.extend_from_slice(&count.to_le_bytes());
            for (number, key) in &chain.keys {
                out.extend_from_slice(&number.to_le_bytes());
                put(&mut out, &[key]);
            }
        }
        out
    }

    /// Takes a stored session up again. `least_generation` is the highest [`generation`](Self::generation) that the caller
    /// remembers by other means than the state itself, 0 if it has none.
    ///
    /// # Errors
    /// [`RestoreError`]; counts are checked before anything is allocated.
    pub fn restore(bytes: &[u8], least_generation: u64) -> Result<Self, RestoreError> {
        let mut reader = Reader(bytes);
        let session = reader.session().ok_or(RestoreError::Malformed)?;
        if !reader.0.is_empty() {
            return Err(RestoreError::Malformed);
        }
        if session.generation < least_generation { Err(RestoreError::RolledBack) } else { Ok(session) }
    }
}

fn put(out: &mut Vec<u8>, secrets: &[&Secret]) {
    for secret in secrets {
        out.extend_from_slice(&***secret);
    }
}

fn put_chain(out: &mut Vec<u8>, chain: &Chain) {
    put(out, &[&chain.header_key, &chain.key]);
    out.extend_from_slice(&chain.number.to_le_bytes());
}

/// What is left of stored bytes.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl Reader<'_> {
    fn session(&mut self) -> Option<Session> {
        if self.byte()? != VERSION {
            return None;
        }
        let generation = u64::from_le_bytes(self.take()?);
        let initiator = self.flag()?;
        let identities = [self.take()?, self.take()?];
        let initial = self.initial()?;
        let (root, own) = (self.secret()?, self.secret()?);
        let (next_send_header, next_receive_header) = (self.secret()?, self.secret()?);
        let send = self.chain()?;
        let receive = if self.flag()? { Some(self.chain()?) } else { None };
        let previous = u32::from_le_bytes(self.take()?);
        let skipped = self.skipped()?;
        Some(Session {
            generation,
            initiator,
            identities,
            initial,
            root,
            own,
            send,
            receive,
            next_send_header,
            next_receive_header,
            previous,
            skipped,
        })
    }

    fn initial(&mut self) -> Option<Option<Initial>> {
        match *self.0.first()? {
            ABSENT => {
                self.byte()?;
                Some(None)
            }
            INITIAL | INITIAL_ONE_TIME => {
                let (initial, rest) = Initial::split(self.0).ok()?;
                self.0 = rest;
                Some(initial)
            }
            _ => None,
        }
    }

    fn skipped(&mut self) -> Option<Skipped> {
        let count = usize::from(self.byte()?);
        if count > MAX_CHAINS {
            return None;
        }
        let mut skipped = Skipped { chains: VecDeque::with_capacity(count) };
        for _ in 0..count {
            let header_key = self.secret()?;
            let keys = self.skipped_keys(MAX_SKIPPED - skipped.len())?;
            skipped.chains.push_back(SkippedChain { header_key, keys });
        }
        Some(skipped)
    }

    /// At least one and at most `limit` keys, by ascending number.
    fn skipped_keys(&mut self, limit: usize) -> Option<BTreeMap<u32, Secret>> {
        let count = usize::from(u16::from_le_bytes(self.take()?));
        if count == 0 || count > limit || count > self.0.len() / 36 {
            return None;
        }
        let mut keys = BTreeMap::new();
        for _ in 0..count {
            let number = u32::from_le_bytes(self.take()?);
            if keys.last_key_value().is_some_and(|(&last, _)| last >= number) {
                return None;
            }
            keys.insert(number, self.secret()?);
        }
        Some(keys)
    }

    fn chain(&mut self) -> Option<Chain> {
        let (header_key, key) = (self.secret()?, self.secret()?);
        Some(Chain { header_key, key, number: u32::from_le_bytes(self.take()?) })
    }

    pub(crate) fn secret(&mut self) -> Option<Secret> {
        self.take().map(Zeroizing::new)
    }

    fn flag(&mut self) -> Option<bool> {
        match self.byte()? {
            ABSENT => Some(false),
            PRESENT => Some(true),
            _ => None,
        }
    }

    fn byte(&mut self) -> Option<u8> {
        self.take().map(|[byte]| byte)
    }

    pub(crate) fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*bytes)
    }
}
