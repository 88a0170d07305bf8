//! The machine: who speaks, what is queued, and how a session ends.

use core::mem;
use std::collections::VecDeque;

use crate::reconcile::decoder::Decoder;
use crate::reconcile::delivery::{Delivered, Delivery};
use crate::reconcile::index::{Id, Index};
use crate::reconcile::resume::Journal;
use crate::reconcile::sketcher::Sketcher;
use crate::reconcile::wire::{DecodeError, Hello, Message, VERSION};
use crate::reconcile::working::{Working, round_key};

const SALT_CONTEXT: &str = "CosmicSyncCore 2026 cs-gossip reconcile salt";

/// What a session spares.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Bytes: 10 if nothing differs, 25 if one id does, less than five times the information bound for a hundred and
    /// more. Two to twenty round trips.
    #[default]
    Fewest,
    /// Round trips: at most three, but for a few sessions in a hundred whose short ids collide. One and a half to two times
    /// the bytes.
    Quick,
}

/// How the initiator wants a session to run; the responder's own wishes are not asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// What to spare. Default: bytes.
    pub mode: Mode,
    /// Both sides name the ids that the other lacks, 32 bytes each, so that [`Output::Wanted`] appears.
    /// Turn it off where each side simply sends what [`Output::Missing`] lists. Default: on.
    pub want_ids: bool,
    /// Hashes under a fresh salt even if the index's own fingerprints are equal: costs a hash of every id on
    /// both sides, and defeats an author who spent great effort on ids whose fingerprints cancel out. Worth
    /// it now and then, not always. Default: off.
    pub verify: bool,
    /// Looks first at what is from this time on ([`Index::insert_at`]), if both remember that; what is older is looked at
    /// only if it differs as well. Fewer bytes if most of the difference is recent. Not with `verify`, and in
    /// [`Mode::Fewest`] only. Default: none.
    pub since: Option<u64>,
}

impl Default for Config {
    fn default() -> Self {
        Self { mode: Mode::Fewest, want_ids: true, verify: false, since: None }
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
    /// The session has cost more computation than honest ones do (REC-14).
    #[error("session costs too much computation")]
    Costly,
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
    /// Rounds under hashes of their own; 0 unless luck or an author was against the first one.
    pub rounds: u8,
}

/// One reconciliation with one peer.
///
/// It works on an immutable snapshot of the index, taken when it is made at the price of one reference
/// count: ids that come or go meanwhile are not part of it and are found by the next session.
///
/// What the peer can cost is bounded whatever it sends (REC-14).
#[derive(Debug)]
pub struct Session {
    role: Role,
    shared: Shared,
    stage: Stage,
    want_ids: bool,
    counters: Counters,
    journal: Journal,
}

/// The initiator begins by decoding and the responder by sketching; once they may change places (REC-5).
#[derive(Debug)]
enum Role {
    Decoding(Decoder),
    Sketching(Sketcher),
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
    /// The snapshot.
    pub(crate) index: Index,
    pub(crate) working: Working,
    /// Of the initiator: of rounds; of the responder: of filters.
    pub(crate) salt: [u8; 8],
    pub(crate) round: u8,
    pub(crate) mode: Mode,
    pub(crate) outbox: VecDeque<Message>,
}

impl Shared {
    /// Begins anew with hashes that nobody could prepare for: a pass over the set.
    pub(crate) fn enter_round(&mut self, round: u8, salt: [u8; 8]) {
        let index = Index::keyed(round_key(salt, round), self.index.iter().copied());
        let total = index.fingerprint();
        self.working = Working::new(index, total);
        self.round = round;
    }

    /// Begins with everything, under the index's own key.
    pub(crate) fn enter_whole(&mut self) {
        self.working = Working::new(self.index.clone(), self.index.fingerprint());
    }
}

/// What a message leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Continue,
    /// The sides change places: this one decodes from now on.
    Swap,
    /// Both sides know all.
    Agreed,
}

impl Session {
    /// Opens a session: the first output is a greeting of 9 bytes, of about 45 in [`Mode::Quick`]. `O(1)`, or a pass over the
    /// index if [`Config::verify`] is set. `seed` decides the salts and must differ from session to session.
    #[must_use]
    pub fn initiate(config: Config, index: &Index, seed: [u8; 32]) -> Self {
        let salt = salt_from(seed);
        let since = config.since.filter(|_| !config.verify && config.mode == Mode::Fewest);
        let since = since.map(|since| since.max(index.recent_since()));
        let mut session = Self::new(Role::Decoding(Decoder::new(since)), index, salt);
        session.want_ids = config.want_ids;
        session.shared.mode = config.mode;
        if config.verify {
            session.shared.enter_round(1, salt);
        } else {
            session.shared.enter_whole();
        }
        let working = &session.shared.working;
        let hello = Hello {
            version: VERSION,
            want_ids: config.want_ids,
            salt: config.verify.then_some(salt),
            fingerprint: working.digest(),
            opening: (config.mode == Mode::Quick).then(|| (working.len(), working.estimator().0)),
            since,
            extensions: Vec::new(),
        };
        session.shared.outbox.push_back(Message::Hello(hello));
        session
    }

    /// Waits for a peer's greeting. `O(1)`. `seed` decides the salt of filters (REC-3).
    /// Nothing in `_config` concerns a responder yet.
    #[must_use]
    pub fn respond(_config: Config, index: &Index, seed: [u8; 32]) -> Self {
        Self::new(Role::Sketching(Sketcher::new()), index, salt_from(seed))
    }

    fn new(role: Role, index: &Index, salt: [u8; 8]) -> Self {
        let shared = Shared {
            index: index.clone(),
            working: Working::default(),
            salt,
            round: 0,
            mode: Mode::Fewest,
            outbox: VecDeque::new(),
        };
        Self {
            role,
            shared,
            stage: Stage::Comparing,
            want_ids: false,
            counters: Counters::default(),
            journal: Journal::default(),
        }
    }

    /// Takes one message of the peer. `index` is the live one: what has arrived in it since is not wanted.
    ///
    /// # Errors
    /// [`PeerFault`]; the session is then unchanged, but will hardly go on: drop it.
    pub fn handle_input(&mut self, index: &Index, bytes: &[u8]) -> Result<(), PeerFault> {
        let message = Message::from_bytes(bytes)?;
        if let Message::Resume { taken } = message {
            return self.journal.rewind(taken);
        }
        if self.journal.is_waiting() {
            return Err(PeerFault::Unexpected);
        }
        match &mut self.stage {
            Stage::Finished => return Err(PeerFault::Unexpected),
            Stage::Delivering(delivery) => delivery.receive(index, message)?,
            Stage::Comparing => {
                if self.shared.working.is_overworked() {
                    return Err(PeerFault::Costly);
                }
                let asked = match (&self.role, &message) {
                    (Role::Sketching(_), Message::Hello(hello)) => Some(hello.want_ids),
                    _ => None,
                };
                if matches!(&self.role, Role::Decoding(decoder) if decoder.may_swap(&self.shared, &message)) {
                    self.role = Role::Sketching(Sketcher::taking_over());
                }
                let step = match &mut self.role {
                    Role::Decoding(decoder) => decoder.handle(&mut self.shared, message)?,
                    Role::Sketching(sketcher) => sketcher.handle(&mut self.shared, message)?,
                };
                self.want_ids = asked.unwrap_or(self.want_ids);
                self.counters.rounds = self.shared.round;
                match step {
                    Step::Continue => {}
                    Step::Swap => self.role = Role::Decoding(Decoder::taking_over()),
                    Step::Agreed => self.begin_delivery(),
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
        match self.journal.poll() {
            Some(Some(bytes)) => return Some(self.send(bytes)),
            Some(None) => return None,
            None => {}
        }
        let message = self.shared.outbox.pop_front().or_else(|| match &mut self.role {
            Role::Decoding(decoder) => decoder.produce(&self.shared),
            Role::Sketching(sketcher) => sketcher.produce(&mut self.shared),
        });
        if let Some(message) = message {
            return Some(self.send_new(&message));
        }
        let Stage::Delivering(delivery) = &mut self.stage else {
            return None;
        };
        match delivery.next(self.want_ids)? {
            Delivered::Message(message) => Some(self.send_new(&message)),
            Delivered::Output(output) => {
                if output == Output::Done {
                    self.stage = Stage::Finished;
                }
                Some(output)
            }
        }
    }

    /// The channel broke, and this session goes on over a new one (REC-15): call it on both sides, then carry messages as
    /// before. What was in flight is sent again, nothing else is.
    ///
    /// If too much was in flight to be remembered (256 KiB), the next message of the peer is a fault, and the sides must begin a
    /// new session.
    pub fn resume(&mut self) {
        self.journal.reconnect(self.counters.messages_received);
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

    fn send_new(&mut self, message: &Message) -> Output {
        let bytes = message.to_bytes();
        self.journal.record(&bytes);
        self.send(bytes)
    }

    fn send(&mut self, bytes: Vec<u8>) -> Output {
        self.counters.messages_sent += 1;
        self.counters.bytes_sent += bytes.len() as u64;
        Output::Send(bytes)
    }

    /// Lets go of the snapshot and begins to hand out what was found.
    fn begin_delivery(&mut self) {
        let mut ids = mem::take(&mut self.shared.working).found();
        ids.sort_unstable();
        self.shared.index = Index::new();
        self.stage = Stage::Delivering(Delivery::new(ids, self.want_ids));
    }
}

fn salt_from(seed: [u8; 32]) -> [u8; 8] {
    let key = blake3::derive_key(SALT_CONTEXT, &seed);
    *key.first_chunk().expect("a key has 32 bytes")
}
