//! How machines reach each other: dials, sessions, sealed requests.

use crate::sim::check::Violation;
use crate::sim::happening::Happening;
use crate::sim::network::{DIAL_TIMEOUT, IDLE_TIMEOUT, RPC_TIMEOUT};
use crate::sim::world::World;
use cs_identity::NodeId;
use cs_node::core::Input;
use cs_transport::wire::Lane;
use std::net::SocketAddr;
use std::time::Duration;

/// More than this under way on one session in one direction means that nobody holds anybody back.
const MAX_QUEUED: usize = 64 << 20;

impl World {
    /// Whether what one machine sends reaches another.
    fn reaches(&self, from: usize, to: usize) -> bool {
        self.machines[from].is_awake() && self.machines[to].is_awake() && !self.network.is_cut(from, to)
    }

    fn reach_each_other(&self, a: usize, b: usize) -> bool {
        self.reaches(a, b) && self.reaches(b, a)
    }

    pub(crate) fn dial(&mut self, node: usize, peer: NodeId, addrs: Vec<SocketAddr>) {
        let dial = self.number();
        let Some(process) = &mut self.machines[node].process else { return };
        process.dials.insert(peer, dial);
        let life = self.machines[node].life;
        let target = addrs.iter().find_map(|addr| self.addresses.get(addr).copied());
        let after =
            target.map_or(Duration::ZERO, |to| self.network.delay(node, to) + self.network.delay(to, node));
        self.plan(self.now() + after, node, Happening::DialTried { life, dial, peer, addrs });
    }

    pub(crate) fn dial_tried(&mut self, node: usize, dial: u64, peer: NodeId, addrs: &[SocketAddr]) {
        let known = addrs.iter().filter_map(|addr| self.addresses.get(addr).copied());
        let answering: Vec<usize> = known.filter(|to| self.reach_each_other(node, *to)).collect();
        let life = self.machines[node].life;
        let to = answering.iter().copied().find(|to| self.machines[*to].id == peer);
        match to {
            Some(to) if to != node => self.establish(node, to),
            // Somebody else answers there, and the handshake says so at once.
            _ if !answering.is_empty() => self.dial_failed(node, dial, peer),
            _ => {
                let failed = Happening::DialFailed { life, dial, peer };
                self.plan(self.now() + DIAL_TIMEOUT, node, failed);
            }
        }
    }

    pub(crate) fn dial_failed(&mut self, node: usize, dial: u64, peer: NodeId) {
        let Some(process) = &mut self.machines[node].process else { return };
        // A session that stands meanwhile ends the dial, and so does a later dial.
        if process.dials.get(&peer) == Some(&dial) {
            process.dials.remove(&peer);
            self.tell(|| format!("n{node} cannot reach {}", peer.short()));
            self.input(node, Input::DialFailed { peer });
        }
    }

    /// One session per pair, whichever side dialled: the transport's arbiter sees to it.
    fn establish(&mut self, dialler: usize, to: usize) {
        let lives = [self.machines[dialler].life, self.machines[to].life];
        if let Some(former) = self.network.between(dialler, to) {
            let session = &self.network.sessions[&former];
            let former_lives = [session.lives[session.end_of(dialler)], session.lives[session.end_of(to)]];
            if former_lives == lives {
                return;
            }
            self.end_session(former);
        }
        let id = self.network.open([dialler, to], lives);
        let now = self.now();
        for (end, node) in [dialler, to].into_iter().enumerate() {
            let at = now + self.chance.span(Duration::from_millis(3));
            self.network.not_before(id, end, at);
            self.plan(at, node, Happening::SessionUp { life: lives[end], session: id });
        }
    }

    pub(crate) fn session_up(&mut self, node: usize, id: u64) {
        let Some(session) = self.network.sessions.get_mut(&id) else { return };
        let end = session.end_of(node);
        session.up[end] = true;
        let (other, exporter) = (session.ends[1 - end], session.exporter);
        let (peer, addr) = (self.machines[other].id, self.machines[other].addr);
        if let Some(process) = &mut self.machines[node].process {
            process.dials.remove(&peer);
        }
        self.input(node, Input::SessionUp { session: id, peer, addr, exporter });
    }

    /// Ends a session in order: each end is told.
    pub(crate) fn end_session(&mut self, id: u64) {
        let Some(session) = self.network.sessions.remove(&id) else { return };
        for end in 0..2 {
            let (node, other) = (session.ends[end], session.ends[1 - end]);
            let peer = self.machines[other].id;
            let at = self.now() + self.chance.span(Duration::from_millis(100));
            if session.up[end] {
                let down = Happening::SessionDown { life: session.lives[end], session: id, peer };
                self.plan(at, node, down);
            }
        }
    }

    pub(crate) fn send(&mut self, node: usize, session: u64, lane: Lane, bytes: Vec<u8>) {
        let now = self.now();
        let Some((to, at)) = self.network.send(now, session, node, lane, bytes.len()) else { return };
        let queued = self.network.sessions[&session].queued.into_iter().max().unwrap_or(0);
        if queued > MAX_QUEUED {
            self.blame(Violation::Unbounded { node, bytes: queued });
        }
        self.plan(at, to, Happening::Deliver { session, bytes });
    }

    pub(crate) fn deliver(&mut self, node: usize, id: u64, bytes: Vec<u8>) {
        let Some(session) = self.network.sessions.get(&id) else { return };
        let end = session.end_of(node);
        let from = session.ends[1 - end];
        let is_held = !session.held[end].is_empty() || !session.up[end] || !self.reaches(from, node);
        let Some(session) = self.network.sessions.get_mut(&id) else { return };
        if is_held {
            session.held[end].push_back(bytes);
            return;
        }
        session.queued[end] -= bytes.len();
        let peer = self.machines[from].id;
        self.input(node, Input::Message { session: id, peer, bytes: &bytes });
    }

    /// What was held back arrives, all at once and in order.
    pub(crate) fn flush(&mut self, node: usize, id: u64) {
        let Some(session) = self.network.sessions.get(&id) else { return };
        let end = session.end_of(node);
        if !session.up[end] || !self.reaches(session.ends[1 - end], node) {
            return;
        }
        loop {
            let Some(session) = self.network.sessions.get_mut(&id) else { return };
            let Some(bytes) = session.held[end].pop_front() else { return };
            session.queued[end] -= bytes.len();
            let peer = self.machines[session.ends[1 - end]].id;
            self.input(node, Input::Message { session: id, peer, bytes: &bytes });
        }
    }

    /// Who can reach whom changed: silent sessions begin to count, and those that are heard again deliver.
    pub(crate) fn reachability_changed(&mut self) {
        let now = self.now();
        let ids: Vec<u64> = self.network.sessions.keys().copied().collect();
        for id in ids {
            let session = &self.network.sessions[&id];
            let ends = session.ends;
            let was_silent = session.silent_since.is_some();
            let same_lives = (0..2).all(|end| self.machines[ends[end]].life == session.lives[end]);
            let is_silent = !same_lives || !self.reach_each_other(ends[0], ends[1]);
            if is_silent == was_silent {
                continue;
            }
            if let Some(session) = self.network.sessions.get_mut(&id) {
                session.silent_since = is_silent.then_some(now);
            }
            if is_silent {
                let at = now + IDLE_TIMEOUT + self.chance.span(Duration::from_secs(5));
                self.plan(at, ends[0], Happening::Idle { session: id, since: now });
            } else {
                self.plan(now, ends[0], Happening::Flush { session: id });
                self.plan(now, ends[1], Happening::Flush { session: id });
            }
        }
    }

    pub(crate) fn idle(&mut self, id: u64, since: Duration) {
        if self.network.sessions.get(&id).is_some_and(|s| s.silent_since == Some(since)) {
            self.end_session(id);
        }
    }

    pub(crate) fn rpc(&mut self, node: usize, rpc: u64, to: NodeId, addr: SocketAddr, bytes: Vec<u8>) {
        let (now, life) = (self.now(), self.machines[node].life);
        self.plan(now + RPC_TIMEOUT, node, Happening::Unanswered { life, rpc });
        let Some(target) = self.addresses.get(&addr).copied() else { return };
        // A datagram that is sealed for somebody else is not opened.
        let lost = self.network.loses_one() || self.machines[target].id != to || !self.reaches(node, target);
        if !lost {
            let at = now + self.network.delay(node, target);
            self.plan(at, target, Happening::Request { from: node, from_life: life, rpc, bytes });
        }
    }

    pub(crate) fn request(&mut self, node: usize, from: usize, from_life: u32, rpc: u64, bytes: &[u8]) {
        if !self.machines[node].is_awake() {
            return;
        }
        let token = self.number();
        let (id, addr) = (self.machines[from].id, self.machines[from].addr);
        if let Some(process) = &mut self.machines[node].process {
            process.tokens.insert(token, (from, from_life, rpc));
        }
        self.input(node, Input::RpcRequest { from: id, addr, bytes, token });
        // The core answers at once or never.
        self.carry_out(node);
        if let Some(process) = &mut self.machines[node].process {
            process.tokens.remove(&token);
        }
    }

    pub(crate) fn rpc_reply(&mut self, node: usize, token: u64, bytes: Vec<u8>) {
        let Some(process) = &mut self.machines[node].process else { return };
        let Some((to, life, rpc)) = process.tokens.remove(&token) else { return };
        if self.network.loses_one() || !self.reaches(node, to) {
            return;
        }
        let at = self.now() + self.network.delay(node, to);
        let from = self.machines[node].id;
        self.plan(at, to, Happening::Response { life, rpc, from, bytes });
    }
}
