//! [`Gossip`]: the six verbs. It decides who handles what, and computes nothing itself.

use core::time::Duration;

use cs_identity::NodeId;

use crate::config::{Config, ConfigError};
use crate::fault::{PeerFault, Refused};
use crate::membership::Membership;
use crate::shared::{Core, Misdeed};
use crate::timers::Timer;
use crate::tree::Tree;
use crate::wire::{Lane, Message, MessageId};

/// What the node tells the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input<'a> {
    /// A connection to a peer of this topic stands, whoever opened it.
    PeerUp {
        /// Who.
        peer: NodeId,
    },
    /// The connection is gone, or one that was asked for by [`Output::Connect`] failed.
    PeerDown {
        /// Who.
        peer: NodeId,
    },
    /// A message of a connected peer. Messages of one lane arrive in order or not at all.
    Message {
        /// The authenticated sender.
        from: NodeId,
        /// One whole message.
        bytes: &'a [u8],
    },
    /// How many bytes the transport holds for a peer. From the first word on, what the transport has no room for
    /// waits here in its lane, so that what is urgent overtakes; tell it again when they have left (GOS-15). Optional:
    /// a peer of which nothing is said takes everything at once.
    Backlog {
        /// Who.
        peer: NodeId,
        /// Queued and not yet sent.
        bytes: usize,
    },
    /// The node found a fault in what a peer sent: a [`PeerFault`] of this machine, or a payload that is not what it should
    /// be. Four in short succession end the neighbourhood (GOS-16).
    Blame {
        /// Who.
        peer: NodeId,
    },
}

/// What the machine wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a message over the connection to this peer; drop it if there is none.
    Send {
        /// A connected peer.
        to: NodeId,
        /// Its priority.
        lane: Lane,
        /// One whole message.
        bytes: Vec<u8>,
    },
    /// Connect to a peer by its id; answered by [`Input::PeerUp`] or [`Input::PeerDown`].
    Connect {
        /// Who.
        peer: NodeId,
    },
    /// This topic no longer needs the connection. Others may; what was sent before should still go out.
    Disconnect {
        /// Who.
        peer: NodeId,
    },
    /// News for the application.
    Event(Event),
}

/// News for the application.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A broadcast arrived for the first time.
    Deliver {
        /// Who published it, as the bytes claim: authenticity is the payload's own business.
        origin: NodeId,
        /// Its name.
        id: MessageId,
        /// Its priority.
        lane: Lane,
        /// What was published.
        payload: Vec<u8>,
        /// The neighbour that passed it on.
        from: NodeId,
        /// Links it has crossed.
        hops: u8,
    },
    /// A peer became a neighbour.
    NeighbourUp {
        /// Who.
        peer: NodeId,
    },
    /// A neighbour is one no longer.
    NeighbourDown {
        /// Who.
        peer: NodeId,
    },
    /// A peer misbehaved for so long that it will be no neighbour for ten minutes (GOS-16).
    Shunned {
        /// Who.
        peer: NodeId,
    },
}

/// The application's word on a delivery, if [`Config::validate`] is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Pass it on.
    Accept,
    /// Keep it from others.
    Reject,
}

/// What has happened so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Messages handed out for sending.
    pub messages_sent: u64,
    /// And their bytes.
    pub bytes_sent: u64,
    /// Broadcasts published here.
    pub published: u64,
    /// Broadcasts delivered here.
    pub delivered: u64,
    /// Payloads that arrived again.
    pub duplicates: u64,
    /// Payloads sent.
    pub pushed: u64,
    /// Announcements sent.
    pub announced: u64,
    /// Payloads asked for.
    pub grafts: u64,
    /// Links taken out of the tree.
    pub prunes: u64,
    /// Announced broadcasts that nobody would send; reconciliation finds them.
    pub lost: u64,
    /// Announcements above the quota, and parts of transfers without room.
    pub ignored: u64,
    /// Neighbours whose queue was full, so that they got announcements instead of payloads.
    pub demoted: u64,
    /// Messages for which a neighbour's queue had no room.
    pub dropped: u64,
    /// Peers shunned for what they did.
    pub shunned: u64,
}

/// Membership and broadcast of one topic.
///
/// Commands, inputs and timeouts leave work in [`poll_output`](Self::poll_output). Equal seeds and scripts
/// give equal traces; clocks that step back are ignored. Memory: the cache of [`Config::cache_bytes`], up to
/// a megabyte of ids after a hundred thousand broadcasts, and a few hundred bytes a connected or remembered peer.
#[derive(Debug)]
pub struct Gossip {
    core: Core,
    members: Membership,
    tree: Tree,
}

impl Gossip {
    /// A node that knows nobody yet. `seed` is the only source of chance; it need not be secret, but must
    /// differ between nodes.
    ///
    /// # Errors
    /// [`ConfigError`] if a field is out of its range.
    pub fn new(config: Config, me: NodeId, now: Duration, seed: [u8; 32]) -> Result<Self, ConfigError> {
        config.check()?;
        let mut core = Core::new(config, me, now, seed);
        let tree = Tree::new(core.random());
        Ok(Self { core, members: Membership::default(), tree })
    }

    /// Joins the topic through any of `seeds`, which are remembered and tried again whenever there is
    /// nobody else. May be called again with more, and after [`leave`](Self::leave).
    pub fn join(&mut self, now: Duration, seeds: Vec<NodeId>) {
        self.advance(now);
        self.members.join(&mut self.core, seeds);
        self.settle();
    }

    /// Publishes a payload to everyone in the topic. It is not delivered here. With no neighbour it is kept
    /// for those who come within [`Config::cache_limit`].
    ///
    /// # Errors
    /// [`Refused::TooLarge`], [`Refused::Left`] or [`Refused::Congested`]; nothing was sent then.
    pub fn publish(&mut self, now: Duration, lane: Lane, payload: Vec<u8>) -> Result<MessageId, Refused> {
        self.broadcast(now, lane, payload, None)
    }

    /// [`publish`](Self::publish) of what is worth nothing after `lifetime`, in milliseconds, counted anew from each
    /// hop's arrival: nobody passes it on or serves it then. Longer than [`Config::cache_limit`] is that.
    ///
    /// # Errors
    /// As [`publish`](Self::publish).
    pub fn publish_for(
        &mut self,
        now: Duration,
        lane: Lane,
        payload: Vec<u8>,
        lifetime: Duration,
    ) -> Result<MessageId, Refused> {
        self.broadcast(now, lane, payload, Some(lifetime))
    }

    fn broadcast(
        &mut self,
        now: Duration,
        lane: Lane,
        payload: Vec<u8>,
        lifetime: Option<Duration>,
    ) -> Result<MessageId, Refused> {
        self.advance(now);
        let published = self.tree.publish(&mut self.core, &self.members, lane, payload, lifetime);
        self.settle();
        published
    }

    /// Passes a delivery on or holds it back. Only with [`Config::validate`].
    ///
    /// # Errors
    /// [`Refused::Unknown`] if no such delivery waits, or not any more.
    pub fn validate(&mut self, now: Duration, id: MessageId, verdict: Verdict) -> Result<(), Refused> {
        self.advance(now);
        let done = self.tree.validate(&mut self.core, &self.members, id, verdict);
        self.settle();
        done
    }

    /// Takes leave of all neighbours, and tells them whom to turn to instead.
    pub fn leave(&mut self, now: Duration) {
        self.advance(now);
        self.members.leave(&mut self.core);
        self.settle();
    }

    /// Takes one input.
    ///
    /// # Errors
    /// [`PeerFault`] blames the sender of a message; nothing changed but the clock.
    pub fn handle_input(&mut self, now: Duration, input: Input<'_>) -> Result<(), PeerFault> {
        self.advance(now);
        match input {
            Input::PeerUp { peer } => self.members.peer_up(&mut self.core, peer),
            Input::PeerDown { peer } => self.members.peer_down(&mut self.core, peer),
            Input::Message { from, bytes } => {
                let message = Message::from_bytes(bytes)?;
                if !self.members.links.contains_key(&from) {
                    return Err(PeerFault::NotConnected);
                }
                if !self.members.is_shunned(&from, self.core.now) {
                    self.message(from, message)?;
                    self.members.heard(&mut self.core, from);
                }
            }
            Input::Backlog { peer, bytes } => {
                if self.members.links.contains_key(&peer) {
                    self.core.backlog(peer, bytes);
                }
            }
            Input::Blame { peer } => self.core.blames.push((peer, Misdeed::Invalid)),
        }
        self.settle();
        Ok(())
    }

    /// Runs what is due. Early, late and repeated calls are harmless.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.advance(now);
        let now = self.core.now;
        while let Some(timer) = self.core.timers.pop(now) {
            let (core, members, tree) = (&mut self.core, &mut self.members, &mut self.tree);
            match timer {
                Timer::Refill => members.refill(core),
                Timer::Asked(peer) => members.ask_timed_out(core, peer),
                Timer::Shuffle => members.shuffle_due(core),
                Timer::Probe(peer) => members.probe_due(core, peer),
                Timer::Unanswered(peer) => members.unanswered(core, peer),
                Timer::Flush => tree.flush(core),
                Timer::Missing(id) => tree.missing_due(core, members, id),
                Timer::Promises => tree.promises_due(core),
                Timer::Expire => tree.expire(core),
            }
            self.settle();
        }
    }

    /// The next thing to do, oldest first; `None` means wait.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.core.outbox.pop_front()
    }

    /// The next deadline; `None` is never.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.core.timers.next()
    }

    /// The neighbours, ascending.
    pub fn neighbours(&self) -> impl Iterator<Item = NodeId> {
        self.members.active()
    }

    /// Peers of the topic that could become neighbours, ascending: worth keeping for the next start.
    pub fn known_peers(&self) -> impl Iterator<Item = NodeId> {
        self.members.passive()
    }

    /// What has happened so far.
    #[must_use]
    pub fn counters(&self) -> Counters {
        self.core.counters
    }

    fn message(&mut self, from: NodeId, message: Message) -> Result<(), PeerFault> {
        let is_small = !matches!(message, Message::Broadcast(_) | Message::Chunk { .. });
        self.dispatch(from, message)?;
        if is_small {
            self.members.count_message(&mut self.core, from);
        }
        Ok(())
    }

    fn dispatch(&mut self, from: NodeId, message: Message) -> Result<(), PeerFault> {
        let (core, members, tree) = (&mut self.core, &mut self.members, &mut self.tree);
        match message {
            Message::Neighbour { ask, .. } => members.neighbour(core, from, ask)?,
            Message::NeighbourReply { accepted, peers } => members.reply(core, from, accepted, &peers),
            Message::ForwardJoin { joiner, ttl } => members.forward_join(core, from, joiner, ttl),
            Message::Disconnect { leaving, peers } => members.disconnected(core, from, leaving, &peers),
            Message::Shuffle { peers } => members.shuffle(core, from, &peers)?,
            Message::ShuffleReply { peers } => members.shuffled(core, &peers),
            Message::Ping { token } => core.send(from, Lane::Control, &Message::Pong { token }),
            Message::Pong { token } => members.pong(core, from, token),
            Message::PingFor { target } => members.ping_for(core, from, target),
            Message::Alive { target } => members.alive(core, target),
            Message::Broadcast(broadcast) => tree.broadcast(core, members, from, broadcast)?,
            Message::Announce { pull, ids } => tree.announced(core, members, from, pull, &ids),
            Message::Graft { tree: push, id } => tree.graft(core, members, from, push, id),
            Message::Prune => tree.prune(core, members, from),
            Message::Slow => tree.slow(core, members, from),
            Message::Pull { id, offset } => tree.pull(core, from, id, offset),
            Message::Chunk { id, total, offset, bytes } => {
                tree.chunk(core, members, from, (id, total, offset), &bytes);
            }
        }
        Ok(())
    }

    /// Clocks that step back stand still.
    fn advance(&mut self, now: Duration) {
        self.core.now = self.core.now.max(now);
    }

    /// Tells membership what the tree noticed, and the tree who came and went.
    fn settle(&mut self) {
        for peer in core::mem::take(&mut self.core.suspects) {
            self.members.probe_now(&mut self.core, peer);
        }
        for (peer, misdeed) in core::mem::take(&mut self.core.blames) {
            self.members.note(&mut self.core, peer, misdeed);
        }
        while let Some(change) = self.core.changes.pop_front() {
            self.tree.change(&mut self.core, &self.members, change);
        }
    }
}
