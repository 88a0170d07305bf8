//! Serving what is not QUIC: sealed requests and answers (TP-12, TP-13).

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::endpoint::{Shared, entropy};
use super::event::{Event, RpcToken, Slot};
use super::rpc::unix_ms;
use super::socket::Side;
use crate::rpc::{RateLimiter, ReplayFault, ReplayWindow, open_request};
use crate::stun::{Class, Message, Method, answer_binding};
use crate::wire::{Answer, Datagram};

/// How far the clock of who asks may be off, either way.
const TOLERANCE_MS: u64 = 120_000;
/// Requests remembered against replay: about 2 MB.
const REPLAY_MEMORY: usize = 32_768;
/// Sources whose rate is counted one by one: about 300 kB.
const SOURCES: usize = 4096;

/// `since_ms`: when the endpoint was bound; what was sealed before that is refused.
pub(crate) async fn run(shared: Arc<Shared>, mut side: mpsc::Receiver<Side>, per_second: u32, since_ms: u64) {
    let mut service = Service {
        shared,
        started: Instant::now(),
        replay: ReplayWindow::new(TOLERANCE_MS, REPLAY_MEMORY).since(since_ms),
        limiter: RateLimiter::new(per_second, per_second.saturating_mul(2), SOURCES),
    };
    while let Some(datagram) = side.recv().await {
        service.handle(datagram);
    }
}

struct Service {
    shared: Arc<Shared>,
    started: Instant,
    replay: ReplayWindow,
    limiter: RateLimiter,
}

impl Service {
    fn handle(&mut self, side: Side) {
        match side.kind {
            Datagram::RpcRequest => self.handle_request(&side),
            Datagram::RpcAnswer => {
                if !self.shared.calls.answer(side.from, side.bytes) {
                    self.shared.tally.stray_answers.add();
                }
            }
            Datagram::Stun => self.handle_stun(&side),
            Datagram::Channel => {
                if !self.shared.allocations.input(side.from, &side.bytes) {
                    self.relay(&side);
                }
            }
            Datagram::Quic | Datagram::Unknown => self.shared.tally.garbage.add(),
        }
    }

    fn handle_stun(&mut self, side: &Side) {
        let tally = &self.shared.tally;
        let Ok(message) = Message::from_bytes(&side.bytes) else { return tally.garbage.add() };
        // Before the rate limit: an attempt of both sides sends more than a stranger may ask.
        if self.shared.attempts.deliver(side.from, &message, &side.bytes) {
            return;
        }
        if message.class() == Class::Request && message.method() == Method::BINDING {
            let from = self.shared.routes.behind(side.from).map_or(side.from, |(_, peer)| peer);
            if self.shared.bindings.reflect(from, &message) {
                return;
            }
        }
        if message.class() != Class::Request
            && message.method() != Method::BINDING
            && self.shared.allocations.input(side.from, &side.bytes)
        {
            return;
        }
        if message.class() == Class::Indication {
            self.relay(side);
        } else if message.class() != Class::Request {
            if !self.shared.bindings.answer(side.from, &message) {
                tally.stray_answers.add();
            }
        } else if !self.limiter.admit(self.started.elapsed(), side.from) {
            tally.rate_limited.add();
        } else if message.method() != Method::BINDING {
            self.relay(side);
        } else if self
            .shared
            .relay
            .as_ref()
            .is_some_and(|relay| relay.handle_binding(&message, side.from, side.to))
        {
            tally.stun_served.add();
        } else if let Some(answer) = answer_binding(&message, side.from) {
            tally.stun_served.add();
            let source = Some(side.to.ip()).filter(|ip| !ip.is_unspecified());
            self.shared.datagrams.send_from(source, side.from, answer);
        } else {
            tally.garbage.add();
        }
    }

    /// What only a relay understands.
    fn relay(&self, side: &Side) {
        match &self.shared.relay {
            Some(relay) if relay.serves_udp() => relay.handle_datagram(side.to, side.from, &side.bytes),
            _ => self.shared.tally.garbage.add(),
        }
    }

    /// The rate is checked before any multiplication.
    fn handle_request(&mut self, side: &Side) {
        let tally = &self.shared.tally;
        if !self.limiter.admit(self.started.elapsed(), side.from) {
            return tally.rate_limited.add();
        }
        let Ok(fresh) = entropy() else { return };
        let Ok(request) = open_request(&self.shared.local_key, fresh, &side.bytes) else {
            return tally.forged.add();
        };
        match self.replay.admit(unix_ms(), request.unix_ms, &request.ephemeral) {
            Ok(()) => {}
            Err(ReplayFault::Seen) => return tally.replayed.add(),
            Err(ReplayFault::OutsideWindow) => {
                tally.skewed.add();
                if let Ok(datagram) = request.answer.seal(Answer::ClockSkew { unix_ms: unix_ms() }) {
                    self.shared.datagrams.send(side.from, datagram);
                }
                return;
            }
        }
        let event = Event::Request {
            from: request.from,
            addr: side.from,
            bytes: Bytes::from(request.body),
            token: RpcToken(Slot::Datagram { slot: Box::new(request.answer), addr: side.from }),
        };
        if self.shared.events.try_send(event) {
            tally.requests.add();
        } else {
            tally.overrun.add();
        }
    }
}
