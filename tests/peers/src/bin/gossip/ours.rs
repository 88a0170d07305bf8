//! `cs_gossip::Gossip` in the virtual network.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

use cs_gossip::{Config, Event, Gossip, Input, Lane, Output};
use cs_identity::{NodeId, SecretKey};

use crate::net::{Act, Machine};

thread_local! {
    static NAMES: RefCell<(Vec<NodeId>, HashMap<NodeId, u32>)> = RefCell::default();
}

/// The id of a node; made once.
fn id(number: u32) -> NodeId {
    NAMES.with_borrow_mut(|(ids, numbers)| {
        while ids.len() <= number as usize {
            let mut seed = [0x11; 32];
            seed[..4].copy_from_slice(&(ids.len() as u32).to_le_bytes());
            let id = SecretKey::from_bytes(seed).node_id();
            numbers.insert(id, ids.len() as u32);
            ids.push(id);
        }
        ids[number as usize]
    })
}

fn number(id: &NodeId) -> u32 {
    NAMES.with_borrow(|(_, numbers)| numbers[id])
}

pub struct Ours {
    pub gossip: Gossip,
}

impl Machine for Ours {
    fn new(me: u32, now: Duration) -> Self {
        let mut seed = [0; 32];
        seed[..4].copy_from_slice(&me.to_le_bytes());
        Self { gossip: Gossip::new(Config::default(), id(me), now, seed).expect("the defaults are valid") }
    }

    fn join(&mut self, now: Duration, seed: Option<u32>) {
        self.gossip.join(now, seed.into_iter().map(id).collect());
    }

    fn leave(&mut self, now: Duration) {
        self.gossip.leave(now);
    }

    fn publish(&mut self, now: Duration, is_urgent: bool, payload: Vec<u8>) -> bool {
        let lane = if is_urgent { Lane::Urgent } else { Lane::Normal };
        self.gossip.publish(now, lane, payload).is_ok()
    }

    fn message(&mut self, now: Duration, from: u32, bytes: &[u8]) {
        // Whom it blames does not matter among honest machines.
        let _ = self.gossip.handle_input(now, Input::Message { from: id(from), bytes });
    }

    fn up(&mut self, now: Duration, peer: u32) {
        let _ = self.gossip.handle_input(now, Input::PeerUp { peer: id(peer) });
    }

    fn down(&mut self, now: Duration, peer: u32) {
        let _ = self.gossip.handle_input(now, Input::PeerDown { peer: id(peer) });
    }

    fn backlog(&mut self, now: Duration, peer: u32, bytes: usize) {
        let _ = self.gossip.handle_input(now, Input::Backlog { peer: id(peer), bytes });
    }

    fn timeout(&mut self, now: Duration) {
        self.gossip.handle_timeout(now);
    }

    fn deadline(&self) -> Option<Duration> {
        self.gossip.poll_timeout()
    }

    fn poll(&mut self) -> Option<Act> {
        loop {
            return Some(match self.gossip.poll_output()? {
                Output::Send { to, bytes, .. } => Act::Send { to: number(&to), bytes, dials: false },
                Output::Connect { peer } => Act::Connect(number(&peer)),
                Output::Disconnect { peer } => Act::Disconnect(number(&peer)),
                Output::Event(Event::Deliver { payload, hops, .. }) => {
                    let number = payload.first_chunk().map_or(u32::MAX, |bytes| u32::from_le_bytes(*bytes));
                    Act::Deliver { number, hops: hops.into() }
                }
                Output::Event(_) => continue,
            });
        }
    }

    fn neighbours(&self) -> Vec<u32> {
        self.gossip.neighbours().map(|peer| number(&peer)).collect()
    }
}
