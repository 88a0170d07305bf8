//! Asking by sealed RPC: seal, send, wait, seal again (TP-10, TP-11).

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use cs_identity::NodeId;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::endpoint::{Shared, entropy};
use crate::rpc::{Call, CallId, RpcRefused, call_of_answer, seal_request};
use crate::wire::{Answer, MAX_RPC};

/// Wait for the first answer; doubles with each further datagram.
const FIRST_WAIT: Duration = Duration::from_millis(400);

/// Why a question has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RpcError {
    /// Nobody answered in time: unreachable, overloaded, or another node.
    #[error("no answer in time")]
    Timeout,
    /// The question cannot be sent.
    #[error(transparent)]
    Refused(#[from] RpcRefused),
}

/// Calls that wait for their answer.
#[derive(Debug, Default)]
pub(crate) struct Calls(Mutex<BTreeMap<CallId, Waiting>>);

#[derive(Debug)]
struct Waiting {
    answer: mpsc::UnboundedSender<(CallId, Bytes)>,
    /// Whom was asked: an answer from elsewhere is none.
    addr: SocketAddr,
}

impl Calls {
    /// Passes an answer to whoever waits for it; `false` if nobody does.
    pub(crate) fn answer(&self, from: SocketAddr, datagram: Bytes) -> bool {
        let Some(id) = call_of_answer(&datagram) else { return false };
        let mut waiting = self.lock();
        if waiting.get(&id).is_none_or(|call| call.addr != from) {
            return false;
        }
        waiting.remove(&id).is_some_and(|call| call.answer.send((id, datagram)).is_ok())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<CallId, Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) async fn call(
    shared: &Arc<Shared>,
    peer: NodeId,
    addr: SocketAddr,
    request: Bytes,
    limit: Duration,
) -> Result<Bytes, RpcError> {
    let mut attempts = Attempts::new(shared, peer, super::addresses::canonical(addr), request);
    timeout(limit, attempts.run()).await.unwrap_or(Err(RpcError::Timeout))
}

/// One question, sealed afresh for every datagram, since a repeated one would be taken for a replay.
struct Attempts<'a> {
    shared: &'a Shared,
    peer: NodeId,
    addr: SocketAddr,
    request: Bytes,
    /// Added to this node's clock, once the peer has told its own.
    skew_ms: i64,
    sent: BTreeMap<CallId, Call>,
    sender: mpsc::UnboundedSender<(CallId, Bytes)>,
    answers: mpsc::UnboundedReceiver<(CallId, Bytes)>,
}

impl<'a> Attempts<'a> {
    fn new(shared: &'a Shared, peer: NodeId, addr: SocketAddr, request: Bytes) -> Self {
        let (sender, answers) = mpsc::unbounded_channel();
        Self { shared, peer, addr, request, skew_ms: 0, sent: BTreeMap::new(), sender, answers }
    }

    async fn run(&mut self) -> Result<Bytes, RpcError> {
        let mut wait = FIRST_WAIT;
        loop {
            self.send()?;
            let again_at = Instant::now() + wait;
            wait *= 2;
            loop {
                let answer = tokio::select! {
                    answer = self.answers.recv() => answer,
                    () = sleep_until(again_at) => break,
                };
                match answer.and_then(|(id, datagram)| self.open(id, &datagram)) {
                    Some(Opened::Body(body)) => return Ok(body),
                    Some(Opened::Again) => break,
                    None => {}
                }
            }
        }
    }

    fn send(&mut self) -> Result<(), RpcError> {
        let now_ms = unix_ms().saturating_add_signed(self.skew_ms);
        let fresh = entropy().map_err(|_| RpcRefused::UnusableKey)?;
        let (datagram, call) =
            seal_request(&self.shared.local_key, &self.peer, fresh, now_ms, &self.request, MAX_RPC)?;
        // Asked each time: a relay may be there by now, where nothing else passes.
        let addr = self.shared.allocations.detour(self.shared, self.addr).unwrap_or(self.addr);
        let waiting = Waiting { answer: self.sender.clone(), addr };
        self.shared.calls.lock().insert(call.id(), waiting);
        self.sent.insert(call.id(), call);
        self.shared.datagrams.send(addr, datagram);
        Ok(())
    }

    fn open(&mut self, id: CallId, datagram: &[u8]) -> Option<Opened> {
        let opened = self.sent.remove(&id)?.open(datagram);
        let Ok(plaintext) = opened else {
            self.shared.tally.forged.add();
            return None;
        };
        match Answer::from_bytes(&plaintext).ok()? {
            Answer::Body(body) => Some(Opened::Body(Bytes::copy_from_slice(body))),
            // Once: a peer whose clock runs wild must not keep this node sealing.
            Answer::ClockSkew { unix_ms: theirs } if self.skew_ms == 0 => {
                self.skew_ms = i64::try_from(i128::from(theirs) - i128::from(unix_ms())).ok()?;
                Some(Opened::Again)
            }
            Answer::ClockSkew { .. } => None,
        }
    }
}

enum Opened {
    Body(Bytes),
    Again,
}

impl Drop for Attempts<'_> {
    fn drop(&mut self) {
        let mut waiting = self.shared.calls.lock();
        for id in self.sent.keys() {
            waiting.remove(id);
        }
    }
}

/// The wall clock.
pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
