//! Answers: what is checked before anything changes, and what each question's answer, delay or loss leads to.

use super::{Dht, contact};
use crate::address::Scope;
use crate::event::{Event, LookupId, RpcId};
use crate::fault::PeerFault;
use crate::key::Key;
use crate::records::{Void, check_time};
use crate::timers::Timer;
use crate::wire::{Answer, Ask, NetworkConfig, Node, Record, RecordKind, Reply};
use alloc::boxed::Box;
use core::time::Duration;
use cs_identity::{NodeId, Signed};

/// After so long without any answer the fault is sought here, not in the peers that do not answer.
const ONLINE_FOR: Duration = Duration::from_secs(30);

/// A question under way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rpc {
    pub(crate) to: Node,
    pub(crate) purpose: Purpose,
    pub(crate) sent_at: Duration,
    pub(crate) late_at: Duration,
    pub(crate) slow_at: Duration,
    pub(crate) lost_at: Duration,
    /// Bytes of the question: the most its answer may have.
    pub(crate) length: usize,
    /// The record that was asked for, if any.
    pub(crate) sought: Option<(RecordKind, Key)>,
    /// Who named the peer: it wants to know if it does not answer.
    pub(crate) named_by: Option<Node>,
}

/// Why a question was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A step of a lookup.
    Lookup(LookupId),
    /// A store at the end of one.
    Store(LookupId),
    /// Whether a peer is there, and belongs into the table.
    Probe,
    /// A bootstrap peer is asked for others.
    Join,
    /// A network configuration.
    Config,
    /// A record is left where it is of use; nobody waits for what becomes of it.
    Gift,
}

impl Dht {
    pub(crate) fn take_response(&mut self, id: RpcId, from: NodeId, bytes: &[u8]) -> Result<(), PeerFault> {
        let Some(rpc) = self.rpcs.get(&id).copied() else { return Ok(()) };
        let reply = self.checked_reply(&rpc, from, bytes)?;
        self.close(id);
        self.counters.responses += 1;
        let rtt = self.now.saturating_sub(rpc.sent_at);
        self.rtt.sample(rtt);
        if self.config.private_networks || Scope::of(&rpc.to.addr) == Scope::Global {
            self.table.offer(self.now, rpc.to, rtt);
        }
        self.note_answer();
        match (rpc.purpose, reply.answer) {
            (Purpose::Lookup(lookup), answer) => self.continue_lookup(lookup, rpc.to, answer, rtt),
            (Purpose::Store(lookup), answer) => self.count_store(lookup, &answer),
            (Purpose::Join, Answer::Nodes { nodes, .. }) => self.meet(rpc.to, &nodes),
            // Several peers are asked at once: who answers later with what is known by then is not to blame.
            (Purpose::Config, Answer::Config(Some(config))) if self.is_trusted(&config) => self.adopt(config),
            _ => {}
        }
        Ok(())
    }

    /// The answer is later than most: another peer is asked beside.
    pub(crate) fn free_slot(&mut self, id: RpcId) {
        let Some(rpc) = self.rpcs.get(&id) else { return };
        if let Purpose::Lookup(lookup) = rpc.purpose {
            let to = rpc.to;
            self.late_step(lookup, &to.id);
        }
    }

    /// The answer is overdue: whoever waits for it goes on without.
    pub(crate) fn go_on_without(&mut self, id: RpcId) {
        let Some(rpc) = self.rpcs.get(&id) else { return };
        let (to, purpose) = (rpc.to, rpc.purpose);
        self.counters.slow += 1;
        if let Purpose::Lookup(lookup) = purpose {
            self.slow_step(lookup, &to.id);
        }
    }

    /// There will be no answer.
    pub(crate) fn lose(&mut self, id: RpcId) {
        let Some(rpc) = self.close(id) else { return };
        self.counters.lost += 1;
        if self.now.saturating_sub(self.join.answered_at) < ONLINE_FOR {
            self.table.failed(&rpc.to.id);
            if let Some(namer) = rpc.named_by {
                let request = self.question(Ask::Down { peers: alloc::vec![rpc.to.id] });
                self.ask(namer, &request, Purpose::Probe);
            }
        }
        match rpc.purpose {
            Purpose::Lookup(lookup) => self.fail_step(lookup, &rpc.to.id),
            Purpose::Store(lookup) => self.count_store(lookup, &Answer::Unsupported),
            Purpose::Probe | Purpose::Join | Purpose::Config | Purpose::Gift => {}
        }
        self.note_loss();
    }

    fn close(&mut self, id: RpcId) -> Option<Rpc> {
        let rpc = self.rpcs.remove(&id)?;
        self.timers.clear(rpc.late_at, Timer::Late(id));
        self.timers.clear(rpc.slow_at, Timer::Slow(id));
        self.timers.clear(rpc.lost_at, Timer::Lost(id));
        if rpc.purpose == Purpose::Gift {
            self.end_leaving();
        }
        Some(rpc)
    }

    /// Everything that can be wrong with an answer (DHT-2, DHT-4, DHT-5, DHT-13).
    fn checked_reply(&self, rpc: &Rpc, from: NodeId, bytes: &[u8]) -> Result<Reply, PeerFault> {
        if from != rpc.to.id {
            return Err(PeerFault::WrongSender);
        }
        if bytes.len() > rpc.length {
            return Err(PeerFault::Amplified);
        }
        let reply = Reply::from_bytes(bytes)?;
        let is_fitting = match (&reply.answer, rpc.purpose) {
            (Answer::Unsupported, _)
            | (Answer::Pong, Purpose::Probe)
            | (Answer::Nodes { .. }, Purpose::Join)
            | (Answer::Config(_), Purpose::Config)
            | (Answer::Stored | Answer::NotStored(_), Purpose::Store(_) | Purpose::Gift) => true,
            (answer, Purpose::Lookup(_)) => return self.check_step(rpc, answer).map(|()| reply),
            _ => false,
        };
        if !is_fitting {
            return Err(PeerFault::WrongReply);
        }
        match &reply.answer {
            Answer::Nodes { nodes, .. } => self.check_nodes(&rpc.to, nodes)?,
            Answer::Config(Some(config)) if !self.is_valid(config) => {
                return Err(PeerFault::UntrustedConfig);
            }
            _ => {}
        }
        Ok(reply)
    }

    fn check_step(&self, rpc: &Rpc, answer: &Answer) -> Result<(), PeerFault> {
        match (answer, &rpc.sought) {
            (Answer::Nodes { nodes, .. }, None) => self.check_nodes(&rpc.to, nodes),
            (Answer::Records { records, nodes, .. }, Some((kind, key))) => {
                records.iter().try_for_each(|record| self.check_record(record, *kind, key))?;
                self.check_nodes(&rpc.to, nodes)
            }
            _ => Err(PeerFault::WrongReply),
        }
    }

    /// A reply names neither its sender nor its receiver, and no address that its sender cannot know (DHT-4).
    fn check_nodes(&self, from: &Node, nodes: &[Node]) -> Result<(), PeerFault> {
        let narrowest = Scope::of(&from.addr);
        for node in nodes {
            if node.id == self.me || node.id == from.id {
                return Err(PeerFault::NamesItself);
            }
            if Scope::of(&node.addr) < narrowest {
                return Err(PeerFault::NarrowAddress);
            }
        }
        Ok(())
    }

    /// Signatures were checked by decoding; here is the rest (DHT-13).
    fn check_record(&self, record: &Record, kind: RecordKind, key: &Key) -> Result<(), PeerFault> {
        if record.kind() != kind || record.key() != *key {
            return Err(PeerFault::WrongKey);
        }
        check_time(record, self.unix_ms()).map_err(|void| match void {
            Void::Expired => PeerFault::Expired,
            Void::FromTheFuture => PeerFault::FromTheFuture,
        })
    }

    /// Signed by a known authority, not over, and newer than what is known (DHT-12).
    pub(crate) fn is_trusted(&self, config: &Signed<NetworkConfig>) -> bool {
        let is_newer = self.network_config.as_ref().is_none_or(|known| known.seq < config.seq);
        is_newer && self.is_valid(config)
    }

    /// Signed by a known authority, and not over.
    fn is_valid(&self, config: &Signed<NetworkConfig>) -> bool {
        config.expires_unix_ms > self.unix_ms() && self.config.authorities.contains(&config.authority)
    }

    fn adopt(&mut self, config: Signed<NetworkConfig>) {
        self.network_config = Some(Box::new(config.clone()));
        self.remember_seeds(config.bootstrap.clone());
        self.emit(Event::NetworkConfig(config));
    }

    /// Asks a peer that a network configuration may come from, if anybody may sign one.
    pub(crate) fn ask_config(&mut self, to: Node) {
        if self.config.authorities.is_empty() {
            return;
        }
        let known = self.network_config.as_ref().map_or(0, |config| config.seq);
        let request = self.question(Ask::Config { known }).padded();
        self.ask(to, &request, Purpose::Config);
    }

    /// Whether an answer is fresh enough a sign that this node is on the network.
    pub(crate) fn probe(&mut self, to: Node) {
        let request = self.question(Ask::Ping);
        self.ask(to, &request, Purpose::Probe);
    }

    /// The contacts of these peers.
    pub(crate) fn contacts_of(nodes: &[Node]) -> alloc::vec::Vec<crate::Contact> {
        nodes.iter().map(contact).collect()
    }
}
