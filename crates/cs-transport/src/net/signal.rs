//! Signals: sealed datagrams that a third node passes on over its sessions, and those addressed to this one (TP-31).

use core::sync::atomic::{AtomicUsize, Ordering};
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cs_identity::NodeId;
use noq::{Connection, RecvStream};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout};

use super::connection::Link;
use super::endpoint::{Shared, entropy};
use super::lanes::{Reader, open_signals};
use super::meet;
use super::rpc::unix_ms;
use crate::rpc::{
    Call, CallId, RateLimiter, ReplayFault, ReplayWindow, call_of_answer, open_request, seal_request,
};
use crate::wire::{Answer, Connect, Datagram, MAX_SIGNAL, SignalMessage, classify, encode_length};

/// Signals that may wait for one session; what is above is not passed on.
const QUEUE: usize = 64;
/// Signals taken from one session per second, and at once.
const PER_SECOND: u32 = 20;
const BURST: u32 = 60;
/// Signals to this node that are served at a time.
const SERVED_MAX: usize = 32;
/// How far the clock of who asks may be off, either way (as TP-12).
const TOLERANCE_MS: u64 = 120_000;
/// Signals remembered against replay.
const REPLAY_MEMORY: usize = 4096;
/// Room for the answer of a question: a [`Connect`] with all its candidates.
const ANSWER: usize = 520;

/// Why a question that went through another node has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignalFault {
    /// That node has no session with the one asked.
    NoWay,
    /// Nothing came back.
    Timeout,
    /// It cannot be asked: the session is gone, or the key is unusable.
    Refused,
}

/// The signals of one session.
#[derive(Debug)]
pub(crate) struct SignalLane {
    queue: mpsc::Sender<SignalMessage>,
    budget: Mutex<RateLimiter>,
    started: Instant,
}

impl SignalLane {
    /// Starts the writer, which ends with the connection.
    pub(crate) fn start(connection: Connection) -> Self {
        let (queue, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(write(connection, receiver));
        let budget = Mutex::new(RateLimiter::new(PER_SECOND, BURST, 1));
        Self { queue, budget, started: Instant::now() }
    }

    /// `false` when there is no room.
    fn send(&self, message: SignalMessage) -> bool {
        self.queue.try_send(message).is_ok()
    }

    fn admit(&self) -> bool {
        let anyone = ([0; 4], 0).into();
        let mut budget = self.budget.lock().unwrap_or_else(PoisonError::into_inner);
        budget.admit(self.started.elapsed(), anyone)
    }
}

async fn write(connection: Connection, mut messages: mpsc::Receiver<SignalMessage>) {
    let mut stream = None;
    loop {
        let message = tokio::select! {
            message = messages.recv() => message,
            _ = connection.closed() => return,
        };
        let Some(message) = message else { return };
        if stream.is_none() {
            stream = open_signals(&connection).await.ok();
        }
        let Some(stream) = &mut stream else { return };
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        let framed = [&encode_length(bytes.len())[..], &bytes].concat();
        if stream.write_all(&framed).await.is_err() {
            return;
        }
    }
}

/// What an endpoint remembers of signals.
#[derive(Debug)]
pub(crate) struct Signals {
    state: Mutex<State>,
    served: AtomicUsize,
}

#[derive(Debug)]
struct State {
    waiting: BTreeMap<CallId, Waiting>,
    next: u32,
    replay: ReplayWindow,
}

#[derive(Debug)]
struct Waiting {
    id: u32,
    answer: oneshot::Sender<Option<Vec<u8>>>,
}

impl Default for Signals {
    fn default() -> Self {
        let replay = ReplayWindow::new(TOLERANCE_MS, REPLAY_MEMORY);
        let state = State { waiting: BTreeMap::new(), next: 0, replay };
        Self { state: Mutex::new(state), served: AtomicUsize::new(0) }
    }
}

impl Signals {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a signal stream to its end; `false` when the peer broke the protocol.
pub(crate) async fn read(shared: &Arc<Shared>, link: &Arc<Link>, stream: RecvStream) -> bool {
    let mut reader = Reader::new(stream, MAX_SIGNAL);
    loop {
        let bytes = match reader.next().await {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return true,
            Err(_) => return false,
        };
        match SignalMessage::from_bytes(&bytes) {
            Ok(SignalMessage::Pass { to, id, bytes }) => pass(shared, link, to, id, bytes),
            Ok(SignalMessage::Passed { from, id, bytes }) => receive(shared, link, from, id, bytes),
            Ok(SignalMessage::NoWay { id }) => no_way(shared, id),
            Err(_) => return false,
        }
    }
}

/// Passes a signal on, if there is a session with its addressee now.
fn pass(shared: &Arc<Shared>, link: &Arc<Link>, to: [u8; 32], id: u32, bytes: Vec<u8>) {
    let from = *link.peer.node.as_bytes();
    if to == *shared.me.as_bytes() {
        return receive(shared, link, from, id, bytes);
    }
    let peers = shared.peers();
    let addressee = NodeId::from_bytes(&to).ok().and_then(|node| peers.link_with(&node).cloned());
    drop(peers);
    let passed = link.admit_signal()
        && addressee.is_some_and(|other| other.signals.send(SignalMessage::Passed { from, id, bytes }));
    if passed {
        shared.tally.signals_passed.add();
    } else {
        link.signals.send(SignalMessage::NoWay { id });
    }
}

fn no_way(shared: &Shared, id: u32) {
    let mut state = shared.signals.lock();
    let call = state.waiting.iter().find(|(_, waiting)| waiting.id == id).map(|(call, _)| *call);
    if let Some(waiting) = call.and_then(|call| state.waiting.remove(&call)) {
        let _ = waiting.answer.send(None);
    }
}

/// A signal for this node: an answer that is awaited, or a question.
fn receive(shared: &Arc<Shared>, link: &Arc<Link>, from: [u8; 32], id: u32, bytes: Vec<u8>) {
    if classify(&bytes) == Datagram::RpcAnswer {
        let waiting = call_of_answer(&bytes).and_then(|call| shared.signals.lock().waiting.remove(&call));
        match waiting {
            Some(waiting) => drop(waiting.answer.send(Some(bytes))),
            None => shared.tally.stray_answers.add(),
        }
        return;
    }
    if classify(&bytes) != Datagram::RpcRequest {
        return shared.tally.garbage.add();
    }
    let served = &shared.signals.served;
    if !link.admit_signal() || served.fetch_add(1, Ordering::Relaxed) >= SERVED_MAX {
        served.fetch_sub(1, Ordering::Relaxed);
        return shared.tally.rate_limited.add();
    }
    let (shared, link) = (shared.clone(), link.clone());
    tokio::spawn(async move {
        if let Some(bytes) = serve(&shared, &link, &bytes).await {
            link.signals.send(SignalMessage::Pass { to: from, id, bytes });
        }
        shared.signals.served.fetch_sub(1, Ordering::Relaxed);
    });
}

/// The sealed answer to a sealed question. Who asks is who sealed it, whatever the passing node says.
async fn serve(shared: &Arc<Shared>, link: &Arc<Link>, datagram: &[u8]) -> Option<Vec<u8>> {
    let Ok(request) = open_request(&shared.local_key, entropy().ok()?, datagram) else {
        shared.tally.forged.add();
        return None;
    };
    let admitted = shared.signals.lock().replay.admit(unix_ms(), request.unix_ms, &request.ephemeral);
    match admitted {
        Ok(()) => {}
        Err(ReplayFault::Seen) => {
            shared.tally.replayed.add();
            return None;
        }
        Err(ReplayFault::OutsideWindow) => {
            shared.tally.skewed.add();
            return request.answer.seal(Answer::ClockSkew { unix_ms: unix_ms() }).ok();
        }
    }
    let connect = Connect::from_bytes(&request.body).ok()?;
    let answer = meet::answer(shared, link, request.from, connect).await?;
    let mut body = Vec::new();
    answer.encode(&mut body);
    request.answer.seal(Answer::Body(&body)).ok()
}

/// Asks `peer` through the node at the other end of `link`, which may be `peer` itself.
pub(crate) async fn ask(
    shared: &Shared,
    link: &Link,
    peer: &NodeId,
    question: &Connect,
    limit: Duration,
) -> Result<Connect, SignalFault> {
    let mut body = Vec::new();
    question.encode(&mut body);
    let mut skew_ms = 0;
    let asking = async {
        loop {
            let now_ms = unix_ms().saturating_add_signed(skew_ms);
            let fresh = entropy().map_err(|_| SignalFault::Refused)?;
            let sealed = seal_request(&shared.local_key, peer, fresh, now_ms, &body, ANSWER);
            let (bytes, call) = sealed.map_err(|_| SignalFault::Refused)?;
            let plaintext = ask_once(shared, link, peer, bytes, call).await?;
            match Answer::from_bytes(&plaintext) {
                Ok(Answer::Body(body)) => return Connect::from_bytes(body).map_err(|_| SignalFault::Refused),
                // Once: a peer whose clock runs wild must not keep this node sealing.
                Ok(Answer::ClockSkew { unix_ms: theirs }) if skew_ms == 0 => {
                    let skew = i128::from(theirs) - i128::from(unix_ms());
                    skew_ms = i64::try_from(skew).map_err(|_| SignalFault::Refused)?;
                }
                _ => return Err(SignalFault::Refused),
            }
        }
    };
    timeout(limit, asking).await.unwrap_or(Err(SignalFault::Timeout))
}

async fn ask_once(
    shared: &Shared,
    link: &Link,
    peer: &NodeId,
    bytes: Vec<u8>,
    call: Call,
) -> Result<Vec<u8>, SignalFault> {
    let (answer, answered) = oneshot::channel();
    let id = {
        let mut state = shared.signals.lock();
        state.waiting.retain(|_, waiting| !waiting.answer.is_closed());
        state.next = state.next.wrapping_add(1);
        let id = state.next;
        state.waiting.insert(call.id(), Waiting { id, answer });
        id
    };
    if !link.signals.send(SignalMessage::Pass { to: *peer.as_bytes(), id, bytes }) {
        return Err(SignalFault::Refused);
    }
    let datagram = answered.await.map_err(|_| SignalFault::Refused)?.ok_or(SignalFault::NoWay)?;
    call.open(&datagram).map_err(|_| SignalFault::Refused)
}

impl Link {
    /// Whether one more signal of the peer is within its rate.
    pub(crate) fn admit_signal(&self) -> bool {
        self.signals.admit()
    }
}
