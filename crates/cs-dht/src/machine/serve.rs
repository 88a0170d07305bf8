//! Questions of others: what is answered, and with how much.

use super::Dht;
use crate::address::Scope;
use crate::config::{K, Mode};
use crate::event::Output;
use crate::fault::PeerFault;
use crate::key::Key;
use crate::records::{Offer, check_time};
use crate::routing::Entry;
use crate::wire::{
    Answer, Ask, DecodeError, MAX_MESSAGE, MAX_RECORDS, Node, Record, RecordKind, Reply, Request,
    StoreRefusal, Token,
};
use alloc::vec::Vec;
use core::time::Duration;
use cs_identity::NodeId;

/// Newcomers under probe at a time; more are left for the next time they ask.
const PROBES_MAX: usize = 16;
/// A peer that answered within so long is not asked again on a hint: the word of others must not cost it more than one
/// question a minute.
const HINT_AFTER: Duration = Duration::from_secs(60);
/// Bytes of an answer beside its nodes and records.
const ANSWER_FIXED: usize = 16;

impl Dht {
    pub(crate) fn serve(&mut self, from: Node, bytes: &[u8], token: u64) -> Result<(), PeerFault> {
        let limit = self.config.requests_per_second_max;
        if self.config.mode == Mode::Client || from.id == self.me {
            return Ok(());
        }
        if !self.limiter.has_room(self.now, &from.addr, limit) {
            self.counters.requests_limited += 1;
            return Ok(());
        }
        let request = match Request::from_bytes(bytes) {
            Ok(request) => request,
            Err(DecodeError::Version(_) | DecodeError::Kind(_)) => {
                // A later version may ask this; it is told so instead of being left to wait.
                self.limiter.count(self.now, &from.addr);
                self.reply(token, Answer::Unsupported, bytes.len());
                return Ok(());
            }
            Err(fault) => return Err(fault.into()),
        };
        self.limiter.count(self.now, &from.addr);
        self.counters.requests_served += 1;
        if matches!(request.ask, Ask::Leave) {
            self.table.remove(&from.id);
        } else if !request.is_client {
            self.consider(from);
        }
        let hold_for = request.hold_for().map(|seconds| Duration::from_secs(seconds.into()));
        let answer = self.answer(&from, request.ask, hold_for, bytes.len().min(MAX_MESSAGE));
        self.reply(token, answer, bytes.len());
        Ok(())
    }

    fn reply(&mut self, token: u64, answer: Answer, limit: usize) {
        let mut bytes = Vec::with_capacity(limit);
        Reply::new(answer).encode(&mut bytes);
        if bytes.len() <= limit {
            self.outbox.push_back(Output::Reply { token, bytes });
        }
    }

    fn answer(&mut self, from: &Node, ask: Ask, hold_for: Option<Duration>, limit: usize) -> Answer {
        let room = limit.saturating_sub(ANSWER_FIXED);
        match ask {
            Ask::Ping | Ask::Leave => Answer::Pong,
            Ask::FindNode { target } => {
                Answer::Nodes { token: self.token(from), nodes: self.nodes_for(from, &target, room) }
            }
            Ask::Get { key, kind } => {
                let (records, used) = self.records_for(key, kind, room);
                let nodes = self.nodes_for(from, &key, room - used);
                Answer::Records { token: self.token(from), records, nodes }
            }
            Ask::Store { token, expected, record } => {
                let offer = Offer { record, expected, from: from.id, addr: from.addr, hold_for };
                match self.hold(token, offer) {
                    Ok(()) => Answer::Stored,
                    Err(why) => Answer::NotStored(why),
                }
            }
            Ask::Down { peers } => {
                peers.iter().for_each(|peer| self.doubt(peer));
                Answer::Pong
            }
            Ask::Config { known } => {
                let newer = self.network_config.as_ref().filter(|config| {
                    config.seq > known
                        && config.expires_unix_ms > self.unix_ms()
                        && config.bytes().len() <= room
                });
                Answer::Config(newer.map(|config| (**config).clone()))
            }
            Ask::Sample => {
                // Peers around a random key are a random sample; and one of the whole space, since positions are hashes.
                let mut noise = [0; 32];
                rand::Rng::fill_bytes(&mut self.rng, &mut noise);
                Answer::Nodes {
                    token: self.token(from),
                    nodes: self.nodes_for(from, &Key::from_bytes(noise), room),
                }
            }
        }
    }

    fn token(&self, from: &Node) -> Token {
        self.tokens.issue(self.now, &from.id, &from.addr)
    }

    /// The peers closest to a key that this asker may be told of and that fit, ascending by ID (DHT-4).
    fn nodes_for(&self, from: &Node, target: &Key, room: usize) -> Vec<Node> {
        let scope = Scope::of(&from.addr);
        let may_name = |entry: &Entry| {
            entry.failures() == 0 && entry.id() != from.id && Scope::of(&entry.addr()) >= scope
        };
        let mut nodes = self.table.closest(target, K, may_name);
        fit(&mut nodes, room, Node::encoded_len);
        nodes.sort_unstable_by_key(|node| node.id);
        nodes
    }

    /// What is held or published here of a kind under a key, and the bytes it takes. Of many, a random few.
    fn records_for(&mut self, key: Key, kind: RecordKind, room: usize) -> (Vec<Record>, usize) {
        let start = self.draw(self.records.find(key, kind).count());
        let now_ms = self.unix_ms();
        let own = self.publications.find(key, kind);
        let held = self.records.find(key, kind);
        let held = held.clone().skip(start).chain(held.take(start));
        let mut records: Vec<Record> = Vec::new();
        for record in own.chain(held).filter(|record| check_time(record, now_ms).is_ok()) {
            match records.iter_mut().find(|known| known.publisher() == record.publisher()) {
                Some(known) if known.seq() < record.seq() => *known = record.clone(),
                Some(_) => {}
                None => records.push(record.clone()),
            }
            if records.len() == MAX_RECORDS {
                break;
            }
        }
        let used = fit(&mut records, room, Record::encoded_len);
        (records, used)
    }

    /// Takes a record in, if its bearer receives at its address and its time is right (DHT-7, DHT-13, DHT-14).
    fn hold(&mut self, token: Token, offer: Offer) -> Result<(), StoreRefusal> {
        let result = self.try_hold(token, offer);
        match result {
            Ok(()) => self.counters.records_stored += 1,
            Err(_) => self.counters.records_refused += 1,
        }
        result
    }

    fn try_hold(&mut self, token: Token, offer: Offer) -> Result<(), StoreRefusal> {
        if !self.tokens.holds(self.now, &offer.from, &offer.addr, token) {
            return Err(StoreRefusal::Token);
        }
        check_time(&offer.record, self.unix_ms()).map_err(|_| StoreRefusal::Invalid)?;
        self.records.store(&self.config, self.table.here(), self.now, offer)
    }

    /// Somebody says that a peer does not answer: it is asked, and named no more if that is so (DHT-20).
    fn doubt(&mut self, peer: &NodeId) {
        let Some(entry) = self.table.find(peer) else { return };
        let is_fresh = entry.failures() > 0 || entry.silent_for(self.now) < HINT_AFTER;
        let node = entry.node();
        if !is_fresh && self.may_probe(&node) {
            self.probe(node);
        }
    }

    fn may_probe(&self, node: &Node) -> bool {
        let probes = || self.rpcs.values().filter(|rpc| rpc.purpose == super::Purpose::Probe);
        probes().count() < PROBES_MAX && probes().all(|rpc| rpc.to.id != node.id)
    }

    /// Somebody asked who answers questions itself: if there is a place for it, it is probed (DHT-3).
    fn consider(&mut self, node: Node) {
        let is_reachable = self.config.private_networks || Scope::of(&node.addr) == Scope::Global;
        let is_known = self.table.find(&node.id).is_some_and(|entry| entry.addr() == node.addr);
        if is_reachable && !is_known && self.table.has_room(&node) && self.may_probe(&node) {
            self.probe(node);
        }
    }
}

/// Cuts a list to what fits into `room` bytes, and says how many it takes.
fn fit<T>(list: &mut Vec<T>, room: usize, length: impl Fn(&T) -> usize) -> usize {
    let mut used = 0;
    list.retain(|item| {
        let fits = used + length(item) <= room;
        used += if fits { length(item) } else { 0 };
        fits
    });
    used
}
