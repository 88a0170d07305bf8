//! The machine: who speaks, what is queued, and how a session ends.

use core::mem;
use std::collections::VecDeque;
use std::vec;

use crate::reconcile::decoder::Decoder;
use crate::reconcile::index::{Id, Index};
use crate::reconcile::sketcher::Sketcher;
use crate::reconcile::wire::{DecodeError, Hello, MAX_IDS, Message, VERSION};
use crate::reconcile::working::{Working, greeting_fingerprint, ids_at};

const SALT_CONTEXT: &str = "CosmicSyncCore 2026 cs-gossip reconcile salt";

/// How the initiator wants a session to run; the responder's own wishes are not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Both sides name the ids that the other lacks, 32 bytes each, so that [`Output::Wanted`] appears.
    /// Turn it off where each side simply sends what [`Output::Missing`] lists. Default: on.
    pub want_ids: bool,
    /// Compares sums under a fresh salt even if the index's own fingerprints are equal: hashes every id on
    /// both sides, and defeats an author who spent great effort on ids whose fingerprints cancel out. Worth
    /// it now and then, not always. Default: off.
    pub verify: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self { want_ids: true, verify: false }
    }
}

/// What a session wants done, oldest first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send these bytes to the peer, in this order.
    Send(Vec<u8>),
    /// Up to 1024 ids that we have and the peer lacks, ascending over the whole session.
    Missing(Vec<Id>),
    /// Up to 1024 ids that the peer has and we lack, as the peer claims. Only if
    /// [`want_ids`](Config::want_ids) was asked for. Without those that have arrived since.
    Wanted(Vec<Id>),
    /// The last output: both sides know all.
    Done,
}

/// The peer broke the protocol. The session is as before the message; the peer should lose it and standing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PeerFault {
    /// The bytes are no message.
    #[error("malformed message: {0}")]
    Malformed(#[from] DecodeError),
    /// A message that has no place here, or whose numbers contradict what was said before.
    #[error("message out of place")]
    Unexpected,
    /// After everything was listed the sums still differ: one of the sides miscounts.
    #[error("sums differ after a full listing")]
    Disagrees,
}

/// What a session has cost so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Messages and bytes handed out for sending.
    pub messages_sent: u64,
    /// See above.
    pub bytes_sent: u64,
    /// Messages and bytes accepted from the peer.
    pub messages_received: u64,
    /// See above.
    pub bytes_received: u64,
    /// Rounds begun after the first small sketch.
    pub rounds: u8,
}

/// One reconciliation with one peer.
///
/// It works on an immutable snapshot of the index, taken when it is made at the price of one reference
/// count: ids that come or go meanwhile are not part of it and are found by the next session.
///
/// Bounds, whatever the peer sends (REC-12): memory 24 bytes an own id plus what the peer sent in unfinished
/// partitions (at most 1 MiB); work per message at most 8192 syndromes' worth of decoding; work per
/// session six passes over the own set.
#[derive(Debug)]
pub struct Session {
    role: Role,
    shared: Shared,
    stage: Stage,
    want_ids: bool,
    counters: Counters,
}

#[derive(Debug)]
enum Role {
    Initiator(Decoder),
    Responder(Sketcher),
}

#[derive(Debug)]
enum Stage {
    Comparing,
    Delivering(Delivery),
    Finished,
}

/// What both roles work on.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) index: Index,
    pub(crate) salt: [u8; 8],
    pub(crate) round: u8,
    pub(crate) working: Working,
    /// Ranks found to be missing at the peer in earlier rounds, ascending.
    pub(crate) missing: Vec<u32>,
    pub(crate) outbox: VecDeque<Message>,
}

impl Shared {
    /// Hashes what is left of the set for the next round. Rounds 0 and 1 share their hashes: nothing has
    /// collided before round 1.
    pub(crate) fn enter_round(&mut self, round: u8) {
        self.working.take_missing(&mut self.missing);
        if round != 1 {
            self.working = Working::new(&self.index, &self.missing, self.salt, round.max(1));
        }
        self.round = round;
    }
}

/// Whether both sides know all after a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Continue,
    Agreed,
}

impl Session {
    /// Opens a session: the first output is a greeting of 13 bytes. `O(1)`, or a pass over the index if
    /// [`Config::verify`] is set. `seed` decides the salt and must differ from session to session.
    #[must_use]
    pub fn initiate(config: Config, index: &Index, seed: [u8; 32]) -> Self {
        let salt = config.verify.then(|| salt_from(seed));
        let hello = Hello {
            version: VERSION,
            want_ids: config.want_ids,
            salt,
            fingerprint: greeting_fingerprint(index, salt),
            extensions: Vec::new(),
        };
        let mut session = Self::new(Role::Initiator(Decoder::new()), index, [0; 8]);
        session.want_ids = config.want_ids;
        session.shared.outbox.push_back(Message::Hello(hello));
        session
    }

    /// Waits for a peer's greeting. `O(1)`. `seed` decides the salt (REC-3) and must be secret until now.
    /// Nothing in `_config` concerns a responder yet.
    #[must_use]
    pub fn respond(_config: Config, index: &Index, seed: [u8; 32]) -> Self {
        Self::new(Role::Responder(Sketcher::new()), index, salt_from(seed))
    }

    fn new(role: Role, index: &Index, salt: [u8; 8]) -> Self {
        let shared = Shared {
            index: index.clone(),
            salt,
            round: 0,
            working: Working::default(),
            missing: Vec::new(),
            outbox: VecDeque::new(),
        };
        Self { role, shared, stage: Stage::Comparing, want_ids: false, counters: Counters::default() }
    }

    /// Takes one message of the peer. `index` is the live one: what has arrived in it since is not wanted.
    ///
    /// # Errors
    /// [`PeerFault`]; the session is then unchanged, but will hardly go on: drop it.
    pub fn handle_input(&mut self, index: &Index, bytes: &[u8]) -> Result<(), PeerFault> {
        let message = Message::from_bytes(bytes)?;
        match &mut self.stage {
            Stage::Finished => return Err(PeerFault::Unexpected),
            Stage::Delivering(delivery) => delivery.receive(index, message)?,
            Stage::Comparing => {
                if let (Role::Responder(_), Message::Hello(hello)) = (&self.role, &message) {
                    self.want_ids = hello.want_ids;
                }
                let step = match &mut self.role {
                    Role::Initiator(decoder) => decoder.handle(&mut self.shared, message)?,
                    Role::Responder(sketcher) => sketcher.handle(&mut self.shared, message)?,
                };
                self.counters.rounds = self.shared.round;
                if step == Step::Agreed {
                    self.begin_delivery();
                }
            }
        }
        self.counters.messages_received += 1;
        self.counters.bytes_received += bytes.len() as u64;
        Ok(())
    }

    /// The next thing to do; `None` means wait for the peer. Large filters and sketches are produced one
    /// message at a time, when asked for.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output> {
        let message = self.shared.outbox.pop_front().or_else(|| match &mut self.role {
            Role::Initiator(decoder) => decoder.produce(&self.shared),
            Role::Responder(sketcher) => sketcher.produce(&self.shared),
        });
        if let Some(message) = message {
            return Some(self.send(&message));
        }
        let Stage::Delivering(delivery) = &mut self.stage else {
            return None;
        };
        match delivery.next(self.want_ids)? {
            Delivered::Message(message) => Some(self.send(&message)),
            Delivered::Output(output) => {
                if output == Output::Done {
                    self.stage = Stage::Finished;
                }
                Some(output)
            }
        }
    }

    /// Whether [`Output::Done`] was handed out.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        matches!(self.stage, Stage::Finished)
    }

    /// What it has cost so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn send(&mut self, message: &Message) -> Output {
        let bytes = message.to_bytes();
        self.counters.messages_sent += 1;
        self.counters.bytes_sent += bytes.len() as u64;
        Output::Send(bytes)
    }

    /// Turns ranks into ids and lets go of the snapshot and the hashes.
    fn begin_delivery(&mut self) {
        self.shared.working.take_missing(&mut self.shared.missing);
        let ids = ids_at(&self.shared.index, &mem::take(&mut self.shared.missing));
        self.shared.index = Index::new();
        self.shared.working = Working::default();
        self.stage = Stage::Delivering(Delivery::new(ids, self.want_ids));
    }
}

fn salt_from(seed: [u8; 32]) -> [u8; 8] {
    let key = blake3::derive_key(SALT_CONTEXT, &seed);
    *key.first_chunk().expect("a key has 32 bytes")
}

/// Hands out what was found, in batches (REC-11).
#[derive(Debug)]
struct Delivery {
    missing: vec::IntoIter<Id>,
    /// All of `missing` was named to the peer, or need not be.
    named: bool,
    /// The peer named all that we lack, or need not.
    told: bool,
    /// The last id that the peer named.
    told_last: Option<Id>,
    ready: VecDeque<Output>,
}

enum Delivered {
    Message(Message),
    Output(Output),
}

impl Delivery {
    fn new(ids: Vec<Id>, want_ids: bool) -> Self {
        Self {
            missing: ids.into_iter(),
            named: !want_ids,
            told: !want_ids,
            told_last: None,
            ready: VecDeque::new(),
        }
    }

    fn receive(&mut self, index: &Index, message: Message) -> Result<(), PeerFault> {
        let Message::Ids { last, ids } = message else {
            return Err(PeerFault::Unexpected);
        };
        let ordered = ids.first().is_none_or(|first| self.told_last.is_none_or(|before| before < *first));
        if self.told || !ordered || (ids.is_empty() && !last) {
            return Err(PeerFault::Unexpected);
        }
        self.told = last;
        self.told_last = ids.last().copied().or(self.told_last);
        let wanted: Vec<Id> = ids.into_iter().filter(|id| !index.contains(id)).collect();
        if !wanted.is_empty() {
            self.ready.push_back(Output::Wanted(wanted));
        }
        Ok(())
    }

    fn next(&mut self, want_ids: bool) -> Option<Delivered> {
        if let Some(output) = self.ready.pop_front() {
            return Some(Delivered::Output(output));
        }
        let batch: Vec<Id> = self.missing.by_ref().take(MAX_IDS).collect();
        if !batch.is_empty() {
            self.ready.push_back(Output::Missing(batch.clone()));
        }
        if want_ids && !self.named {
            self.named = self.missing.len() == 0;
            return Some(Delivered::Message(Message::Ids { last: self.named, ids: batch }));
        }
        if let Some(output) = self.ready.pop_front() {
            return Some(Delivered::Output(output));
        }
        self.told.then_some(Delivered::Output(Output::Done))
    }
}
