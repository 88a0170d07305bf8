//! `iroh_gossip::proto` in the same network: one topic, its messages as postcard has them.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use iroh_gossip::proto::topic::{self, Command, Config, Event, InEvent, Message, OutEvent, Timer};
use iroh_gossip::proto::{DeliveryScope, Scope};
use n0_future::time::Instant;
use rand::SeedableRng;
use rand::rngs::StdRng;

use crate::net::{Act, Machine};

type Name = [u8; 32];

fn name(number: u32) -> Name {
    let mut name = [0x11; 32];
    name[..4].copy_from_slice(&number.to_le_bytes());
    name
}

fn number(name: &Name) -> u32 {
    u32::from_le_bytes([name[0], name[1], name[2], name[3]])
}

/// With its defaults, or with the larger view and later grafts that suit ten thousand nodes.
pub struct Iroh<const TUNED: bool> {
    state: topic::State<Name, StdRng>,
    began: Instant,
    timers: BinaryHeap<Reverse<(Duration, u64)>>,
    armed: HashMap<u64, Timer<Name>>,
    armed_ever: u64,
    acts: VecDeque<Act>,
    neighbours: Vec<u32>,
}

impl<const TUNED: bool> Iroh<TUNED> {
    fn handle(&mut self, now: Duration, event: InEvent<Name>) {
        let events: Vec<OutEvent<Name>> = self.state.handle(event, self.began + now).collect();
        for event in events {
            match event {
                OutEvent::SendMessage(to, message) => {
                    let bytes = postcard::to_allocvec(&message).expect("its own messages encode");
                    self.acts.push_back(Act::Send { to: number(&to), bytes, dials: true });
                }
                OutEvent::ScheduleTimer(after, timer) => {
                    self.armed_ever += 1;
                    self.armed.insert(self.armed_ever, timer);
                    self.timers.push(Reverse((now + after, self.armed_ever)));
                }
                OutEvent::DisconnectPeer(peer) => self.acts.push_back(Act::Disconnect(number(&peer))),
                OutEvent::EmitEvent(Event::Received(told)) => {
                    let hops = match told.scope {
                        DeliveryScope::Swarm(round) => postcard::to_allocvec(&round)
                            .ok()
                            .and_then(|bytes| postcard::from_bytes(&bytes).ok()),
                        DeliveryScope::Neighbors => None,
                    };
                    let number =
                        told.content.first_chunk().map_or(u32::MAX, |bytes| u32::from_le_bytes(*bytes));
                    self.acts.push_back(Act::Deliver { number, hops: hops.unwrap_or(1) });
                }
                OutEvent::EmitEvent(Event::NeighborUp(peer)) => self.neighbours.push(number(&peer)),
                OutEvent::EmitEvent(Event::NeighborDown(peer)) => {
                    self.neighbours.retain(|neighbour| *neighbour != number(&peer));
                }
                OutEvent::PeerData(..) => {}
            }
        }
    }
}

impl<const TUNED: bool> Machine for Iroh<TUNED> {
    fn new(me: u32, _now: Duration) -> Self {
        let mut config = Config::default();
        if TUNED {
            config.membership.active_view_capacity = 8;
            config.broadcast.graft_timeout_1 = Duration::from_millis(400);
            config.broadcast.graft_timeout_2 = Duration::from_millis(200);
        }
        Self {
            state: topic::State::with_rng(name(me), None, config, StdRng::seed_from_u64(me.into())),
            began: Instant::now(),
            timers: BinaryHeap::new(),
            armed: HashMap::new(),
            armed_ever: 0,
            acts: VecDeque::new(),
            neighbours: Vec::new(),
        }
    }

    fn join(&mut self, now: Duration, seed: Option<u32>) {
        let seeds = seed.into_iter().map(name).collect();
        self.handle(now, InEvent::Command(Command::Join(seeds)));
    }

    fn leave(&mut self, now: Duration) {
        self.handle(now, InEvent::Command(Command::Quit));
    }

    fn publish(&mut self, now: Duration, _is_urgent: bool, payload: Vec<u8>) -> bool {
        self.handle(now, InEvent::Command(Command::Broadcast(Bytes::from(payload), Scope::Swarm)));
        true
    }

    fn message(&mut self, now: Duration, from: u32, bytes: &[u8]) {
        let message: Message<Name> = postcard::from_bytes(bytes).expect("only its own messages arrive");
        self.handle(now, InEvent::RecvMessage(name(from), message));
    }

    fn up(&mut self, _now: Duration, _peer: u32) {}

    fn down(&mut self, now: Duration, peer: u32) {
        self.handle(now, InEvent::PeerDisconnected(name(peer)));
    }

    fn backlog(&mut self, _now: Duration, _peer: u32, _bytes: usize) {}

    fn timeout(&mut self, now: Duration) {
        while let Some(Reverse((at, timer))) = self.timers.peek().copied() {
            if at > now {
                break;
            }
            self.timers.pop();
            if let Some(timer) = self.armed.remove(&timer) {
                self.handle(now, InEvent::TimerExpired(timer));
            }
        }
    }

    fn deadline(&self) -> Option<Duration> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }

    fn poll(&mut self) -> Option<Act> {
        self.acts.pop_front()
    }

    fn neighbours(&self) -> Vec<u32> {
        self.neighbours.clone()
    }
}
