//! One attempt, as one side sees it.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use thiserror::Error;

use super::check::CheckKey;
use super::plan::{TargetKind, order, outside, predicted};
use crate::stun::{Class, Message, TransactionId};
use crate::wire::{Candidate, DecodeError, NatHint};

/// When all addresses are checked, counted from the start; then again (RFC 8445 section 14 paces alike).
const SWEEPS_MS: [u64; 8] = [0, 100, 250, 500, 1000, 1750, 2750, 4000];
/// Where a check of the peer came from, it is asked again this often: that way is open, and what is missing was lost.
const HEARD_INTERVAL: Duration = Duration::from_millis(100);
/// Between two checks of a sweep.
const PACE: Duration = Duration::from_millis(5);
/// When the birthday method begins: what needs no luck has had its chance, over a long path too.
const BIRTHDAY_AFTER: Duration = Duration::from_millis(1500);
/// Sockets on the side whose NAT draws ports at random, and ports probed by the other: one meets with 98 %.
const BIRTHDAY_SOCKETS: u16 = 256;
const BIRTHDAY_PORTS: usize = 1024;
/// The side with few probes to make waits until the other has opened its sockets.
const BIRTHDAY_LEAD: Duration = Duration::from_millis(500);
const BIRTHDAY_PACE: Duration = Duration::from_millis(2);
/// The end of an attempt that found nothing.
const LIMIT: Duration = Duration::from_secs(7);
/// After the first success, checks are still made and answered for this long: the peer may need them, and a better
/// address may answer a little later.
const LINGER: Duration = Duration::from_millis(1500);
/// Successes that are reported.
const SUCCESSES_MAX: usize = 3;
/// Addresses tried one by one: candidates, foreseen ports, and learned ones.
const TARGETS_MAX: usize = 64;
/// Datagrams of one attempt, whatever arrives.
const PACKETS_MAX: u32 = 2500;

/// From which socket of this node a datagram leaves, or at which it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Base {
    /// The endpoint's own sockets.
    Main,
    /// One of those that [`Output::OpenSockets`] asked for, counted from 0.
    Extra(u16),
}

/// What an attempt starts from.
#[derive(Clone, Debug)]
pub struct PunchConfig {
    /// Shared with the peer.
    pub key: CheckKey,
    /// Whether this side sent the first [`Connect`](crate::wire::Connect).
    pub is_asker: bool,
    /// This side's NAT.
    pub local_nat: NatHint,
    /// The peer's NAT.
    pub remote_nat: NatHint,
    /// The peer's addresses, those of families that this side's sockets speak.
    pub remote: Vec<Candidate>,
}

/// What the driver is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// Send a datagram.
    Send {
        /// From here.
        base: Base,
        /// To there.
        to: SocketAddr,
        /// This.
        bytes: Vec<u8>,
    },
    /// Open this many more sockets, on any ports, and feed what they receive as [`Base::Extra`]. [`Punch::opened`] tells
    /// how many there are.
    OpenSockets(u16),
    /// A path works both ways. At most 3 of an attempt; the first is the fastest, and a later one may be the better.
    Succeeded {
        /// The socket of this side.
        base: Base,
        /// The peer's address.
        to: SocketAddr,
        /// By which means.
        kind: TargetKind,
        /// Of the check that proved it.
        rtt: Duration,
    },
    /// The attempt is over; the last output.
    Finished,
}

/// A datagram that is no valid check of the peer. It changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PunchFault {
    /// No STUN message.
    #[error(transparent)]
    Malformed(#[from] DecodeError),
    /// Not authentic under the attempt's key, or an answer to nothing that was asked.
    #[error("not from the peer")]
    Foreign,
}

/// One address of the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where.
    pub addr: SocketAddr,
    /// What it is.
    pub kind: TargetKind,
    /// Checks sent there.
    pub sent: u32,
    /// What came of them.
    pub state: TargetState,
}

/// What came of the checks to one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetState {
    /// Nothing came back so far.
    Silent,
    /// It works.
    Open {
        /// Of the check that proved it.
        rtt: Duration,
    },
}

/// The machine. Bounded: 2,500 datagrams and 7 s, whatever arrives. Rules TP-33 to TP-36.
#[derive(Debug)]
pub struct Punch {
    key: CheckKey,
    is_asker: bool,
    rng: ChaCha8Rng,
    started_at: Duration,
    /// The clock, which never steps back.
    now: Duration,
    targets: Vec<Target>,
    /// Of each target, in the same order.
    ways: Vec<Way>,
    sweep: usize,
    cursor: usize,
    plain_at: Option<Duration>,
    /// When those that were heard from and are still silent are checked again.
    heard_at: Option<Duration>,
    birthday: Birthday,
    outstanding: BTreeMap<TransactionId, Sent>,
    packets: u32,
    successes: usize,
    end_at: Duration,
    outbox: VecDeque<Output>,
    is_finished: bool,
}

/// How a target is checked.
#[derive(Clone, Copy, Debug)]
struct Way {
    /// From this socket.
    base: Base,
    /// A check of the peer came from it.
    is_heard: bool,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    base: Base,
    to: SocketAddr,
    at: Duration,
    kind: TargetKind,
}

#[derive(Debug)]
enum Birthday {
    Off,
    /// This side's NAT draws ports: it opens many, all towards the peer's one address.
    Sockets {
        towards: SocketAddr,
        asked: bool,
        open: u16,
        next: u16,
        round: u8,
        at: Duration,
    },
    /// The peer's NAT draws ports: this side probes many of them.
    Probes {
        at: Duration,
        ports: Vec<SocketAddr>,
    },
}

impl Punch {
    /// An attempt that begins at `now`. `seed`: the only source of chance.
    #[must_use]
    pub fn new(config: PunchConfig, now: Duration, seed: [u8; 32]) -> Self {
        let mut rng = ChaCha8Rng::from_seed(seed);
        let birthday = Birthday::plan(&config, now, &mut rng);
        let mut machine = Self {
            key: config.key,
            is_asker: config.is_asker,
            rng,
            started_at: now,
            now,
            targets: Vec::new(),
            ways: Vec::new(),
            sweep: 0,
            cursor: 0,
            plain_at: Some(now),
            heard_at: None,
            birthday,
            outstanding: BTreeMap::new(),
            packets: 0,
            successes: 0,
            end_at: now + LIMIT,
            outbox: VecDeque::new(),
            is_finished: false,
        };
        for (addr, kind) in order(&config.remote, config.local_nat) {
            machine.add(Base::Main, addr, kind);
        }
        for addr in predicted(&config.remote, config.remote_nat) {
            machine.add(Base::Main, addr, TargetKind::Predicted);
        }
        machine
    }

    /// The driver opened this many of the sockets that were asked for.
    pub fn opened(&mut self, now: Duration, count: u16) {
        self.advance(now);
        if let Birthday::Sockets { open, at, .. } = &mut self.birthday {
            *open = count.min(BIRTHDAY_SOCKETS);
            *at = self.now;
        }
    }

    /// A STUN message arrived that names this attempt, or that answers one of its checks.
    ///
    /// # Errors
    /// [`PunchFault`]; nothing was changed but the clock.
    pub fn handle_input(
        &mut self,
        now: Duration,
        base: Base,
        from: SocketAddr,
        bytes: &[u8],
    ) -> Result<(), PunchFault> {
        self.advance(now);
        let message = Message::from_bytes(bytes)?;
        if message.class() == Class::Request {
            let answer = self.key.answer(self.is_asker, &message, from).ok_or(PunchFault::Foreign)?;
            if !self.is_finished {
                self.handle_check(base, from, answer);
            }
            return Ok(());
        }
        let sent = self.outstanding.get(&message.transaction()).copied().ok_or(PunchFault::Foreign)?;
        if (sent.base, sent.to) != (base, from) || self.key.read_answer(&message).is_err() {
            return Err(PunchFault::Foreign);
        }
        self.outstanding.remove(&message.transaction());
        if !self.is_finished {
            self.succeed(sent);
        }
        Ok(())
    }

    /// Sends what is due.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.advance(now);
        if self.is_finished {
            return;
        }
        if self.now >= self.end_at {
            self.is_finished = true;
            self.outstanding.clear();
            return self.outbox.push_back(Output::Finished);
        }
        while let Some(at) = self.plain_at.filter(|at| *at <= self.now) {
            self.check_next(at);
        }
        if self.heard_at.is_some_and(|at| at <= self.now) {
            self.check_heard();
        }
        self.advance_birthday();
    }

    /// The next deadline; `None` once the attempt is over.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        if self.is_finished {
            return None;
        }
        let next = [self.plain_at, self.heard_at, self.birthday.next_at()].into_iter().flatten().min();
        Some(next.map_or(self.end_at, |at| at.min(self.end_at)))
    }

    /// Oldest first; `None` means wait.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// Every address that was tried one by one, and what came of it; and whether `Birthday` found one.
    #[must_use]
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    /// Datagrams sent so far; at most 2,500.
    #[must_use]
    pub fn packets(&self) -> u32 {
        self.packets
    }

    fn advance(&mut self, now: Duration) {
        self.now = self.now.max(now);
    }

    fn add(&mut self, base: Base, addr: SocketAddr, kind: TargetKind) -> Option<usize> {
        let known = self
            .targets
            .iter()
            .zip(&self.ways)
            .position(|(target, at)| (target.addr, at.base) == (addr, base));
        if known.is_some() || self.targets.len() >= TARGETS_MAX {
            return known;
        }
        self.targets.push(Target { addr, kind, sent: 0, state: TargetState::Silent });
        self.ways.push(Way { base, is_heard: false });
        Some(self.targets.len() - 1)
    }

    /// Checks the target under the cursor; at a sweep's end, the next sweep is due.
    fn check_next(&mut self, at: Duration) {
        if let Some(target) = self.targets.get(self.cursor).copied() {
            let base = self.ways.get(self.cursor).map_or(Base::Main, |way| way.base);
            self.cursor += 1;
            // A path that works is checked no more; its peer's checks are answered.
            if target.state == TargetState::Silent {
                self.check(base, target.addr, target.kind);
                self.plain_at = Some(at + PACE);
            }
            return;
        }
        (self.cursor, self.sweep) = (0, self.sweep + 1);
        let due = SWEEPS_MS.get(self.sweep).map(|ms| self.started_at + Duration::from_millis(*ms));
        self.plain_at = due.map(|due| due.max(at));
    }

    fn check_heard(&mut self) {
        let both = self.targets.iter().zip(&self.ways);
        let silent = both.filter(|(target, way)| way.is_heard && target.state == TargetState::Silent);
        let silent: Vec<_> = silent.map(|(target, way)| (way.base, target.addr, target.kind)).collect();
        self.heard_at = (!silent.is_empty()).then_some(self.now + HEARD_INTERVAL);
        silent.into_iter().for_each(|(base, addr, kind)| self.check(base, addr, kind));
    }

    fn check(&mut self, base: Base, to: SocketAddr, kind: TargetKind) {
        if self.packets >= PACKETS_MAX {
            return;
        }
        let transaction = self.rng.random();
        let bytes = self.key.request(self.is_asker, transaction);
        self.outstanding.insert(transaction, Sent { base, to, at: self.now, kind });
        let target =
            self.targets.iter_mut().zip(&self.ways).find(|(target, at)| (target.addr, at.base) == (to, base));
        if let Some((target, _)) = target {
            target.sent += 1;
        }
        self.send(base, to, bytes);
    }

    fn send(&mut self, base: Base, to: SocketAddr, bytes: Vec<u8>) {
        if self.packets < PACKETS_MAX {
            self.packets += 1;
            self.outbox.push_back(Output::Send { base, to, bytes });
        }
    }

    /// A check that is the peer's: it is answered, and where it came from is checked at once (RFC 8445 section 7.3.1.4).
    fn handle_check(&mut self, base: Base, from: SocketAddr, answer: Vec<u8>) {
        self.send(base, from, answer);
        let kind = match (&self.birthday, base) {
            (_, Base::Extra(_)) => TargetKind::Birthday,
            (Birthday::Probes { ports, .. }, _) if ports.len() < BIRTHDAY_PORTS => TargetKind::Birthday,
            _ => TargetKind::PeerReflexive,
        };
        let Some(index) = self.add(base, from, kind) else { return };
        let Some(target) = self.targets.get(index).copied() else { return };
        // Once per check of the peer, which is paced as this side's are.
        if target.state == TargetState::Silent {
            self.check(base, from, target.kind);
            if let Some(way) = self.ways.get_mut(index) {
                way.is_heard = true;
            }
            self.heard_at.get_or_insert(self.now + HEARD_INTERVAL);
        }
    }

    fn succeed(&mut self, sent: Sent) {
        let rtt = self.now.saturating_sub(sent.at);
        let kind = match self.add(sent.base, sent.to, sent.kind).and_then(|index| self.targets.get_mut(index))
        {
            Some(target) if target.state != TargetState::Silent => return,
            Some(target) => {
                target.state = TargetState::Open { rtt };
                target.kind
            }
            None => sent.kind,
        };
        if self.successes == 0 {
            self.end_at = self.end_at.min(self.now + LINGER);
            self.birthday = Birthday::Off;
        }
        if self.successes < SUCCESSES_MAX {
            self.successes += 1;
            self.outbox.push_back(Output::Succeeded { base: sent.base, to: sent.to, kind, rtt });
        }
    }

    fn advance_birthday(&mut self) {
        while self.birthday.next_at().is_some_and(|at| at <= self.now) {
            match &mut self.birthday {
                Birthday::Off => return,
                Birthday::Sockets { asked: false, .. } => {
                    let Birthday::Sockets { asked, at, .. } = &mut self.birthday else { return };
                    (*asked, *at) = (true, Duration::MAX);
                    self.outbox.push_back(Output::OpenSockets(BIRTHDAY_SOCKETS));
                }
                Birthday::Sockets { towards, open, next, round, at, .. } => {
                    let (towards, socket) = (*towards, *next);
                    *at += BIRTHDAY_PACE;
                    *next += 1;
                    if *next >= *open {
                        // Twice: the first datagram of a socket may be lost, and with it its hole.
                        *next = 0;
                        *round += 1;
                        if *round >= 2 || *open == 0 {
                            *at = Duration::MAX;
                        }
                    }
                    if socket < *open {
                        self.check(Base::Extra(socket), towards, TargetKind::Birthday);
                    }
                }
                Birthday::Probes { at, ports } => {
                    *at += BIRTHDAY_PACE;
                    match ports.pop() {
                        Some(to) => self.check(Base::Main, to, TargetKind::Birthday),
                        None => self.birthday = Birthday::Off,
                    }
                }
            }
        }
    }
}

impl Birthday {
    /// Only where exactly one side draws ports: against two, chance is too small.
    fn plan(config: &PunchConfig, now: Duration, rng: &mut ChaCha8Rng) -> Self {
        let draws = |nat| matches!(nat, NatHint::Symmetric | NatHint::Sequential(_));
        let Some(towards) = outside(&config.remote) else { return Self::Off };
        let at = now + BIRTHDAY_AFTER;
        match (draws(config.local_nat), draws(config.remote_nat)) {
            (true, false) => Self::Sockets { towards, asked: false, open: 0, next: 0, round: 0, at },
            (false, true) => {
                // From 1024 upwards, none twice: a partial shuffle.
                let mut ports = (1024..=u16::MAX).collect::<Vec<_>>();
                for index in 0..BIRTHDAY_PORTS {
                    let other = rng.random_range(index..ports.len());
                    ports.swap(index, other);
                }
                ports.truncate(BIRTHDAY_PORTS);
                let ports = ports.into_iter().map(|port| SocketAddr::new(towards.ip(), port)).collect();
                Self::Probes { at: at + BIRTHDAY_LEAD, ports }
            }
            _ => Self::Off,
        }
    }

    fn next_at(&self) -> Option<Duration> {
        match self {
            Self::Off => None,
            Self::Sockets { at, .. } | Self::Probes { at, .. } => Some(*at).filter(|at| *at != Duration::MAX),
        }
    }
}
