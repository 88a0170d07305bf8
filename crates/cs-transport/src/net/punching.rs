//! Drives attempts to punch: sockets and a clock for [`Punch`] (TP-33 to TP-36).

use core::net::SocketAddr;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use bytes::Bytes;
use cs_identity::NodeId;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Duration, Instant, sleep_until, timeout};

use super::endpoint::{Shared, entropy};
use super::meet;
use super::report::{CandidateKind, How, Outcome};
use super::routes::{Exit, Leaving, is_route};
use crate::punch::{Base, Output, Punch, PunchConfig, TargetKind, TargetState, check_id};
use crate::stun::{Class, Message, TransactionId};
use crate::wire::{Datagram, classify};

/// Attempts at a time.
const ATTEMPTS_MAX: usize = 32;
/// Attempts at a time that may use the birthday method: each opens 256 sockets.
const BIRTHDAYS_MAX: usize = 2;
/// Checks that may wait for one attempt.
const INBOX: usize = 256;
/// A socket of the birthday method that carries nothing for this long is closed.
const UNUSED: Duration = Duration::from_secs(90);

type Arrival = (Base, SocketAddr, Bytes);

/// Attempts under way, found by what a datagram names.
#[derive(Debug, Default)]
pub(crate) struct Attempts(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    by_id: BTreeMap<[u8; 8], mpsc::Sender<Arrival>>,
    by_transaction: BTreeMap<TransactionId, [u8; 8]>,
    birthdays: usize,
    /// Peers whose attempt found no room for the birthday method; no more than there are attempts.
    denied: BTreeSet<NodeId>,
}

impl Attempts {
    /// Passes a STUN message to the attempt that it belongs to; `false` if there is none.
    /// A check that came over a relay proves nothing that was not known.
    pub(crate) fn deliver(&self, from: SocketAddr, message: &Message<'_>, bytes: &Bytes) -> bool {
        let known = self.lock();
        let id = match message.class() {
            Class::Request => check_id(message),
            _ => known.by_transaction.get(&message.transaction()).copied(),
        };
        let inbox = id.filter(|_| !is_route(from)).and_then(|id| known.by_id.get(&id));
        inbox.is_some_and(|inbox| inbox.try_send((Base::Main, from, bytes.clone())).is_ok())
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts an attempt to reach `peer`, unless too many are under way. What works is offered to the session or the dial.
pub(crate) fn start(shared: &Arc<Shared>, peer: NodeId, config: PunchConfig) {
    let Ok(seed) = entropy() else { return };
    let id = config.key.id();
    let (inbox, arrivals) = mpsc::channel(INBOX);
    {
        let mut known = shared.attempts.lock();
        if known.by_id.len() >= ATTEMPTS_MAX || known.by_id.contains_key(&id) {
            return;
        }
        known.by_id.insert(id, inbox.clone());
    }
    shared.tally.punches.add();
    let attempt = Attempt {
        shared: shared.clone(),
        peer,
        id,
        started: Instant::now(),
        machine: Punch::new(config, Duration::ZERO, seed),
        transactions: Vec::new(),
        inbox,
        extras: Vec::new(),
        readers: JoinSet::new(),
        is_birthday: false,
    };
    tokio::spawn(attempt.run(arrivals));
}

struct Attempt {
    shared: Arc<Shared>,
    peer: NodeId,
    id: [u8; 8],
    started: Instant,
    machine: Punch,
    transactions: Vec<TransactionId>,
    inbox: mpsc::Sender<Arrival>,
    extras: Vec<Extra>,
    readers: JoinSet<()>,
    is_birthday: bool,
}

/// One socket of the birthday method.
struct Extra {
    socket: Arc<UdpSocket>,
    /// Set once the socket carries a path.
    exit: Arc<OnceLock<Exit>>,
}

impl Attempt {
    async fn run(mut self, mut arrivals: mpsc::Receiver<Arrival>) {
        loop {
            if self.carry_out().await {
                return;
            }
            let due = self.machine.poll_timeout().map(|at| self.started + at);
            tokio::select! {
                arrival = arrivals.recv() => {
                    let Some((base, from, bytes)) = arrival else { return };
                    let now = self.started.elapsed();
                    if self.machine.handle_input(now, base, from, &bytes).is_err() {
                        self.shared.tally.forged.add();
                    }
                }
                () = sleep_until(due.unwrap_or_else(Instant::now)) => {
                    self.machine.handle_timeout(self.started.elapsed());
                }
            }
        }
    }

    /// `true` when the attempt is over.
    async fn carry_out(&mut self) -> bool {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Send { base, to, bytes } => self.send(base, to, bytes).await,
                Output::OpenSockets(count) => {
                    let opened = self.open_sockets(count).await;
                    self.machine.opened(self.started.elapsed(), opened);
                }
                Output::Succeeded { base, to, kind, .. } => self.succeeded(base, to, kind),
                Output::Finished => {
                    self.finish();
                    return true;
                }
            }
        }
        false
    }

    async fn send(&mut self, base: Base, to: SocketAddr, bytes: Vec<u8>) {
        if let Ok(message) = Message::from_bytes(&bytes)
            && message.class() == Class::Request
        {
            self.transactions.push(message.transaction());
            self.shared.attempts.lock().by_transaction.insert(message.transaction(), self.id);
        }
        match base {
            Base::Main => self.shared.datagrams.send(to, bytes),
            Base::Extra(index) => {
                if let Some(extra) = self.extras.get(usize::from(index)) {
                    // An error concerns this datagram only.
                    let _ = extra.socket.try_send_to(&bytes, to);
                }
            }
        }
    }

    /// Opens sockets for the birthday method, and reads them.
    async fn open_sockets(&mut self, count: u16) -> u16 {
        {
            let mut known = self.shared.attempts.lock();
            if known.birthdays >= BIRTHDAYS_MAX {
                known.denied.insert(self.peer);
                return 0;
            }
            known.birthdays += 1;
            self.is_birthday = true;
        }
        for index in 0..count {
            let Ok(socket) = UdpSocket::bind(SocketAddr::from(([0; 4], 0))).await else { break };
            let extra = Extra { socket: Arc::new(socket), exit: Arc::default() };
            let (socket, exit) = (extra.socket.clone(), extra.exit.clone());
            let read = read(self.shared.clone(), self.inbox.clone(), index, socket, exit);
            self.readers.spawn(read);
            self.extras.push(extra);
        }
        u16::try_from(self.extras.len()).unwrap_or(u16::MAX)
    }

    /// A path works both ways: the session or the dial takes it.
    fn succeeded(&mut self, base: Base, to: SocketAddr, kind: TargetKind) {
        let how = match kind {
            TargetKind::Host if is_private(to) => How::Lan,
            TargetKind::Mapped => How::Mapped,
            TargetKind::Predicted => How::Predicted,
            TargetKind::Birthday => How::Birthday,
            TargetKind::Relayed => How::Relayed,
            _ => How::Punched,
        };
        let addr = match base {
            Base::Main => to,
            Base::Extra(index) => {
                let Some(extra) = self.extras.get(usize::from(index)) else { return };
                let exit = *extra.exit.get_or_init(|| {
                    let (exit, leaving) = self.shared.routes.open_exit(None);
                    tokio::spawn(carry(self.shared.clone(), extra.socket.clone(), exit, leaving));
                    exit
                });
                self.shared.routes.show(exit, to)
            }
        };
        self.shared.tally.punched.add();
        self.note();
        meet::offer(&self.shared, self.peer, addr, how);
    }

    /// Tells what became of every address.
    fn note(&self) {
        for target in self.machine.targets() {
            let kind = match target.kind {
                TargetKind::Host => CandidateKind::Host,
                TargetKind::Mapped => CandidateKind::Mapped,
                TargetKind::PeerReflexive => CandidateKind::PeerReflexive,
                TargetKind::Predicted => CandidateKind::Predicted,
                TargetKind::Birthday => CandidateKind::Birthday,
                TargetKind::Relayed => CandidateKind::Relayed,
                _ => CandidateKind::Reflexive,
            };
            let outcome = match target.state {
                TargetState::Open { rtt } => Outcome::Open { rtt },
                TargetState::Silent => Outcome::NoAnswer { sent: target.sent },
            };
            let (addr, kind) = match self.shared.routes.behind(target.addr) {
                Some((Some(_), peer)) => (peer, CandidateKind::Relayed),
                _ => (target.addr, kind),
            };
            self.shared.reach.note(&self.peer, addr, kind, outcome);
        }
    }

    fn finish(&mut self) {
        self.note();
        // Readers of sockets that carry a path go on; all others end, and their sockets close.
        self.readers.detach_all();
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        let mut known = self.shared.attempts.lock();
        known.by_id.remove(&self.id);
        for transaction in &self.transactions {
            known.by_transaction.remove(transaction);
        }
        if !self.is_birthday {
            return;
        }
        known.birthdays -= 1;
        let denied = core::mem::take(&mut known.denied);
        drop(known);
        let peers = self.shared.peers();
        for link in denied.iter().filter_map(|peer| peers.link_with(peer)) {
            link.renew.notify_one();
        }
    }
}

/// Reads one socket: checks go to the attempt, and once the socket carries a path, QUIC to noq. Ends when the attempt is
/// over and no path uses the socket.
async fn read(
    shared: Arc<Shared>,
    inbox: mpsc::Sender<Arrival>,
    index: u16,
    socket: Arc<UdpSocket>,
    exit: Arc<OnceLock<Exit>>,
) {
    let mut buffer = vec![0; 1500];
    loop {
        let received = tokio::select! {
            received = timeout(UNUSED, socket.recv_from(&mut buffer)) => received,
            () = inbox.closed(), if exit.get().is_none() => return,
        };
        let Ok(received) = received else { break };
        // An ICMP error of an earlier datagram.
        let Ok((length, from)) = received else { continue };
        let bytes = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
        match (classify(&bytes), exit.get()) {
            (Datagram::Stun, _) => drop(inbox.try_send((Base::Extra(index), from, bytes))),
            (Datagram::Quic, Some(exit)) => shared.routes.arrived(*exit, from, bytes),
            _ => shared.tally.garbage.add(),
        }
    }
    if let Some(exit) = exit.get() {
        shared.routes.close_exit(*exit);
    }
}

/// Sends what leaves by a socket that carries a path, until its exit is closed.
async fn carry(
    shared: Arc<Shared>,
    socket: Arc<UdpSocket>,
    exit: Exit,
    mut leaving: mpsc::Receiver<Leaving>,
) {
    while let Some((to, bytes)) = leaving.recv().await {
        // An error concerns this datagram only.
        let _ = socket.send_to(&bytes, to).await;
    }
    shared.routes.close_exit(exit);
}

/// Within one local network, by the look of it.
pub(crate) fn is_private(addr: SocketAddr) -> bool {
    match addr.ip() {
        core::net::IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        core::net::IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local(),
    }
}
