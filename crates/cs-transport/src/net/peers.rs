//! Which connections, sessions and dials there are, by peer.

use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::sync::Arc;

use cs_identity::NodeId;
use noq::Connection;
use tokio::sync::{mpsc, oneshot};

use super::connection::Link;
use super::event::{DialId, SessionId};
use crate::arbiter::{Arbiter, Verdict};

/// Peers without a connection whose last decision is remembered.
const MEMORY: usize = 16_384;

#[derive(Debug)]
pub(crate) struct Peers {
    me: NodeId,
    by_node: BTreeMap<NodeId, Entry>,
    sessions: BTreeMap<SessionId, Arc<Link>>,
    /// Names connections, dials and decisions alike.
    next: u64,
    connections: usize,
}

#[derive(Debug)]
struct Entry {
    arbiter: Arbiter<u64>,
    links: BTreeMap<u64, Connection>,
    dial: Option<Pending>,
}

/// A dial under way.
#[derive(Debug)]
struct Pending {
    id: DialId,
    /// Dropped when the dial has become pointless.
    _cancel: oneshot::Sender<()>,
    more: mpsc::UnboundedSender<SocketAddr>,
}

/// What the task of a dial listens to.
#[derive(Debug)]
pub(crate) struct Begun {
    /// Resolves (with an error) when the dial has become pointless.
    pub(crate) cancelled: oneshot::Receiver<()>,
    /// Addresses that were found meanwhile.
    pub(crate) more: mpsc::UnboundedReceiver<SocketAddr>,
}

impl Peers {
    pub(crate) fn new(me: NodeId) -> Self {
        Self { me, by_node: BTreeMap::new(), sessions: BTreeMap::new(), next: 0, connections: 0 }
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Connections that completed their handshake.
    pub(crate) fn connections(&self) -> usize {
        self.connections
    }

    pub(crate) fn session(&self, session: SessionId) -> Option<&Arc<Link>> {
        self.sessions.get(&session)
    }

    pub(crate) fn session_with(&self, peer: &NodeId) -> Option<SessionId> {
        self.by_node.get(peer).and_then(|entry| entry.arbiter.current()).map(SessionId)
    }

    pub(crate) fn link_with(&self, peer: &NodeId) -> Option<&Arc<Link>> {
        self.session_with(peer).and_then(|session| self.session(session))
    }

    /// Takes more addresses for the dial of a peer, if one is under way.
    pub(crate) fn dialling(&self, peer: &NodeId) -> Option<mpsc::UnboundedSender<SocketAddr>> {
        self.by_node.get(peer)?.dial.as_ref().map(|pending| pending.more.clone())
    }

    pub(crate) fn all_sessions(&self) -> Vec<Arc<Link>> {
        self.sessions.values().cloned().collect()
    }

    /// Notes a dial, unless one to this peer is under way: then that one's name is returned, and nothing begins.
    pub(crate) fn start_dial(&mut self, peer: NodeId) -> (DialId, Option<Begun>) {
        let id = DialId(self.number());
        let entry = self.entry(peer);
        if let Some(known) = &entry.dial {
            return (known.id, None);
        }
        let (cancel, cancelled) = oneshot::channel();
        let (more, found) = mpsc::unbounded_channel();
        entry.dial = Some(Pending { id, _cancel: cancel, more });
        (id, Some(Begun { cancelled, more: found }))
    }

    /// Forgets the dial; `false` if a session answered it before.
    pub(crate) fn end_dial(&mut self, peer: &NodeId, dial: DialId) -> bool {
        let Some(entry) = self.by_node.get_mut(peer) else { return false };
        let pending = entry.dial.as_ref().is_some_and(|known| known.id == dial);
        if pending {
            entry.dial = None;
        }
        pending
    }

    /// A handshake is complete.
    pub(crate) fn connected(&mut self, link: &Arc<Link>) -> Outcome {
        let next = self.number();
        self.connections += 1;
        let entry = self.entry(link.peer.node);
        entry.links.insert(link.id, link.connection.clone());
        let verdict = entry.arbiter.handle_connected(link.id, link.dialled, link.peer.incarnation, next);
        self.settle(link, verdict)
    }

    pub(crate) fn offered(&mut self, link: &Arc<Link>, seen: u64) -> Outcome {
        let next = self.number();
        let arbiter = &mut self.entry(link.peer.node).arbiter;
        let verdict = arbiter.handle_offer(link.id, link.peer.incarnation, seen, next);
        self.settle(link, verdict)
    }

    pub(crate) fn decided(&mut self, link: &Arc<Link>, number: u64) -> Outcome {
        let arbiter = &mut self.entry(link.peer.node).arbiter;
        let verdict = arbiter.handle_decide(link.id, link.peer.incarnation, number);
        self.settle(link, verdict)
    }

    /// The connection is gone.
    pub(crate) fn closed(&mut self, link: &Link) {
        self.connections -= 1;
        self.sessions.remove(&SessionId(link.id));
        if let Some(entry) = self.by_node.get_mut(&link.peer.node) {
            entry.links.remove(&link.id);
            entry.arbiter.handle_closed(link.id);
        }
        if self.by_node.len() > MEMORY {
            self.by_node.retain(|_, entry| !entry.links.is_empty() || entry.dial.is_some());
        }
    }

    fn settle(&mut self, link: &Arc<Link>, verdict: Verdict<u64>) -> Outcome {
        let mut outcome = Outcome { verdict, replaced: None, dialled: None };
        if let Verdict::Decide { replaced, .. } | Verdict::Follow { replaced } = verdict {
            self.sessions.insert(SessionId(link.id), link.clone());
            let entry = self.entry(link.peer.node);
            outcome.replaced = replaced.and_then(|old| entry.links.get(&old).cloned());
            // Dropping the sender ends the dial's task.
            outcome.dialled = entry.dial.take().map(|dial| dial.id);
        }
        outcome
    }

    fn entry(&mut self, peer: NodeId) -> &mut Entry {
        let me = self.me;
        self.by_node.entry(peer).or_insert_with(|| Entry {
            arbiter: Arbiter::new(&me, &peer),
            links: BTreeMap::new(),
            dial: None,
        })
    }
}

/// What the arbiter said, with what it takes to act on it.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) verdict: Verdict<u64>,
    pub(crate) replaced: Option<Connection>,
    /// The dial that a new session answers.
    pub(crate) dialled: Option<DialId>,
}
