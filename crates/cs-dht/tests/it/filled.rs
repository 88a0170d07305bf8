//! Networks of any size without growing them: every node gets the table that it would have after a while, through its
//! front door. It is asked by each peer that belongs into a bucket, probes it, and is answered after their round trip.

use crate::net::Net;
use cs_dht::wire::{Answer, Ask, Reply, Request, Token};
use cs_dht::{Dht, Input, K, Key, Output};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Peers that ask a node at a time: as many as it probes at a time.
const BATCH: usize = 16;

impl Net {
    /// A network of `count` servers, of which each knows up to K random ones of every bucket.
    pub(crate) fn filled(seed: u64, count: usize, loss: u64) -> Self {
        let mut net = Self::new(seed);
        net.loss = loss;
        for _ in 0..count {
            net.add();
        }
        net.fill();
        net
    }

    fn fill(&mut self) {
        let mut order: Vec<(Key, usize)> =
            (0..self.peers.len()).map(|index| (self.key(index), index)).collect();
        order.sort_unstable();
        let mut latest = self.now;
        for index in 0..self.peers.len() {
            let contacts = self.contacts_for(&order, index);
            latest = latest.max(self.introduce(index, &contacts));
        }
        self.now = latest + Duration::from_secs(1);
        self.events.clear();
    }

    /// Whom a node knows: all of the buckets with up to K peers, K random ones of the others.
    fn contacts_for(&mut self, order: &[(Key, usize)], index: usize) -> Vec<usize> {
        let here = self.key(index);
        let mut contacts = Vec::new();
        // The peers that share `bits` bits with this node stand side by side.
        let mut group = order;
        for bits in 0_u32.. {
            let bit = |key: &Key| key.as_bytes()[bits as usize / 8] >> (7 - bits % 8) & 1;
            let (zeros, ones) = group.split_at(group.partition_point(|(key, _)| bit(key) == 0));
            let (closer, bucket) = if bit(&here) == 0 { (zeros, ones) } else { (ones, zeros) };
            contacts.extend(self.some_of(bucket));
            if closer.len() <= 1 {
                return contacts;
            }
            group = closer;
        }
        contacts
    }

    fn some_of(&mut self, bucket: &[(Key, usize)]) -> BTreeSet<usize> {
        if bucket.len() <= K {
            return bucket.iter().map(|(_, peer)| *peer).collect();
        }
        let mut chosen = BTreeSet::new();
        while chosen.len() < K {
            chosen.insert(bucket[self.draw(bucket.len() as u64) as usize].1);
        }
        chosen
    }

    /// Makes a node know these peers; returns when that was done.
    fn introduce(&mut self, index: usize, contacts: &[usize]) -> Duration {
        let mut ping = Vec::new();
        Request::new(false, Ask::Ping).encode(&mut ping);
        let mut now = self.now;
        for batch in contacts.chunks(BATCH) {
            let latencies: BTreeMap<_, _> =
                batch.iter().map(|peer| (self.id(*peer), self.round_trip(index, *peer))).collect();
            let askers: Vec<_> = batch.iter().map(|peer| self.node(*peer)).collect();
            let Some(dht) = self.peers[index].dht.as_mut() else { return now };
            for asker in askers {
                let input = Input::Request { from: asker.id, addr: asker.addr, bytes: &ping, token: 0 };
                dht.handle_input(now, input).expect("a ping is well-formed");
            }
            now = answer_all(dht, now, &latencies);
        }
        self.flush(index);
        now
    }
}

/// Answers what a machine asks until it asks no more: a ping with a pong, all else with nothing to know.
fn answer_all(
    dht: &mut Dht,
    start: Duration,
    latencies: &BTreeMap<cs_identity::NodeId, Duration>,
) -> Duration {
    let mut due = BTreeMap::new();
    let mut now = start;
    loop {
        while let Some(output) = dht.poll_output() {
            if let Output::Request { rpc, to, bytes, .. } = output {
                let ask = Request::from_bytes(&bytes).expect("its own question").ask;
                let answer = match ask {
                    Ask::Ping => Answer::Pong,
                    _ => Answer::Nodes { token: Token([0; 8]), nodes: Vec::new() },
                };
                let mut reply = Vec::new();
                Reply::new(answer).encode(&mut reply);
                let after = latencies.get(&to).copied().unwrap_or(Duration::from_millis(80));
                due.insert((now + after, rpc), (to, reply));
            }
        }
        let Some(((at, rpc), (from, bytes))) = due.pop_first() else { return now };
        now = at;
        dht.handle_input(now, Input::Response { rpc, from, bytes: &bytes }).expect("an honest answer");
    }
}
