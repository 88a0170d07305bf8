//! Every machine of the workspace, as the laws see it.

use cs_dht::{Config as DhtConfig, Contact, Dht, Key, Mode, RpcId};
use cs_gossip::reconcile::{self, Index};
use cs_gossip::{Gossip, Lane};
use cs_identity::{NodeId, SecretKey};
use cs_node::api::{Access, Reply, Request};
use cs_node::core::{Config, FolderCommand, FolderEvent, Input, NodeCore, Output};
use cs_store::{MemDisk, OpenOptions, Store};
use cs_tests::laws::{Machine, Packet};
use cs_tests::sim::Chance;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

const UNIX_MS: u64 = 1_900_000_000_000;

fn secret(role: u8) -> SecretKey {
    SecretKey::from_bytes([role + 1; 32])
}

fn id(role: u8) -> NodeId {
    secret(role).node_id()
}

fn addr(role: u8) -> SocketAddr {
    SocketAddr::from(([44, role, 0, 1], 7_000))
}

/// The debug form of a machine without the time that it has seen.
pub(crate) fn without_time(debug: &str) -> String {
    let mut text = String::new();
    let mut rest = debug;
    while let Some((head, tail)) = rest.split_once("now: ") {
        text.push_str(head);
        rest = tail.split_once([',', ' ']).map_or("", |(_, rest)| rest);
    }
    text + rest
}

pub(crate) struct DhtMachine {
    dht: Dht,
    role: u8,
}

impl Machine for DhtMachine {
    fn new(start: Duration, role: u8) -> Self {
        let mut config = DhtConfig::new(UNIX_MS);
        config.mode = Mode::Server;
        Self { dht: Dht::new(config, id(role), start, [role; 32]).unwrap(), role }
    }

    fn meet(&mut self, now: Duration, together: bool) {
        if together {
            let other = 1 - self.role;
            self.dht.bootstrap(now, vec![Contact { id: id(other), addrs: vec![addr(other)] }]);
        }
    }

    fn command(&mut self, now: Duration, kind: u8, argument: [u8; 32]) {
        // A refusal is an answer as good as any.
        let _ = match kind % 4 {
            0 => self.dht.find_node(now, Key::from_bytes(argument)).map(drop),
            1 => self.dht.find_peer(now, id(1 - self.role)).map(drop),
            2 => self.dht.find_providers(now, argument).map(drop),
            _ => self.dht.put_immutable(now, argument.to_vec()).map(drop),
        };
    }

    /// The lowest bit of the context tells an answer from a request; the rest is the request's number.
    fn receive(&mut self, now: Duration, packet: &Packet) -> bool {
        let (from, bytes) = (id(1 - self.role), packet.bytes.as_slice());
        let input = if packet.context & 1 == 1 {
            cs_dht::Input::Response { rpc: RpcId(packet.context >> 1), from, bytes }
        } else {
            cs_dht::Input::Request { from, addr: addr(1 - self.role), bytes, token: packet.context >> 1 }
        };
        self.dht.handle_input(now, input).is_ok()
    }

    fn handle_timeout(&mut self, now: Duration) {
        self.dht.handle_timeout(now);
    }

    fn poll_output(&mut self) -> Option<(String, Option<Packet>)> {
        let output = self.dht.poll_output()?;
        let text = format!("{output:?}");
        let packet = match output {
            cs_dht::Output::Request { rpc, bytes, .. } => Some(Packet { context: rpc.0 << 1, bytes }),
            cs_dht::Output::Reply { token, bytes } => Some(Packet { context: token << 1 | 1, bytes }),
            cs_dht::Output::Event(_) => None,
        };
        Some((text, packet))
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.dht.poll_timeout()
    }

    fn state(&mut self, _now: Duration) -> String {
        without_time(&format!("{:?}", self.dht))
    }
}

pub(crate) struct GossipMachine {
    gossip: Gossip,
    role: u8,
}

impl Machine for GossipMachine {
    fn new(start: Duration, role: u8) -> Self {
        let gossip = Gossip::new(cs_gossip::Config::default(), id(role), start, [role; 32]).unwrap();
        Self { gossip, role }
    }

    fn meet(&mut self, now: Duration, together: bool) {
        let peer = id(1 - self.role);
        let input =
            if together { cs_gossip::Input::PeerUp { peer } } else { cs_gossip::Input::PeerDown { peer } };
        self.gossip.handle_input(now, input).unwrap();
    }

    fn command(&mut self, now: Duration, kind: u8, argument: [u8; 32]) {
        match kind % 8 {
            0 => self.gossip.leave(now),
            1 => self.gossip.join(now, vec![id(1 - self.role)]),
            2..5 => drop(self.gossip.publish(now, Lane::Control, argument.to_vec())),
            _ => drop(self.gossip.publish(now, Lane::Normal, argument.repeat(40))),
        }
    }

    fn receive(&mut self, now: Duration, packet: &Packet) -> bool {
        let from = id(1 - self.role);
        self.gossip.handle_input(now, cs_gossip::Input::Message { from, bytes: &packet.bytes }).is_ok()
    }

    fn handle_timeout(&mut self, now: Duration) {
        self.gossip.handle_timeout(now);
    }

    fn poll_output(&mut self) -> Option<(String, Option<Packet>)> {
        let output = self.gossip.poll_output()?;
        let text = format!("{output:?}");
        let packet = match output {
            cs_gossip::Output::Send { bytes, .. } => Some(Packet { context: 0, bytes }),
            _ => None,
        };
        Some((text, packet))
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.gossip.poll_timeout()
    }

    fn state(&mut self, _now: Duration) -> String {
        without_time(&format!("{:?}", self.gossip))
    }
}

/// A reconciliation; it has no timers, and the laws about time hold for it without effort.
pub(crate) struct ReconcileMachine {
    index: Index,
    session: reconcile::Session,
}

impl Machine for ReconcileMachine {
    fn new(_start: Duration, role: u8) -> Self {
        let mut index = Index::new();
        let mut common = Chance::new(7, "common");
        let mut own = Chance::new(u64::from(role), "own");
        let ids = (0..300).map(|_| common.bytes()).chain((0..40).map(|_| own.bytes()));
        for id in ids.collect::<Vec<_>>() {
            index.insert(id);
        }
        let config = reconcile::Config::default();
        let session = if role == 0 {
            reconcile::Session::initiate(config, &index, [role; 32])
        } else {
            reconcile::Session::respond(config, &index, [role; 32])
        };
        Self { index, session }
    }

    fn meet(&mut self, _now: Duration, _together: bool) {}

    fn command(&mut self, _now: Duration, _kind: u8, argument: [u8; 32]) {
        self.index.insert(argument);
    }

    fn receive(&mut self, _now: Duration, packet: &Packet) -> bool {
        self.session.handle_input(&self.index, &packet.bytes).is_ok()
    }

    fn handle_timeout(&mut self, _now: Duration) {}

    fn poll_output(&mut self) -> Option<(String, Option<Packet>)> {
        let output = self.session.poll_output()?;
        let text = format!("{output:?}");
        let packet = match output {
            reconcile::Output::Send(bytes) => Some(Packet { context: 0, bytes }),
            _ => None,
        };
        Some((text, packet))
    }

    fn poll_timeout(&self) -> Option<Duration> {
        None
    }

    fn state(&mut self, _now: Duration) -> String {
        format!("{:?}", self.session)
    }
}

/// A whole node. Its folders open at once and never have anything to tell.
pub(crate) struct NodeMachine {
    core: NodeCore<MemDisk>,
    role: u8,
    session: Option<u64>,
    meetings: u64,
    commands: u64,
    ticket: String,
    /// What was drained while the state was asked for.
    drained: Vec<Output>,
}

impl NodeMachine {
    fn ask(&mut self, now: Duration, request: Request) -> Option<Reply> {
        self.commands += 1;
        let id = self.commands;
        self.core.handle_input(now, Input::Command { id, request }).unwrap();
        let mut reply = None;
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Answer { id: of, result } if of == id => reply = result.ok(),
                Output::OpenFolder { space, .. } => {
                    self.core.handle_input(now, Input::Folder { space, event: FolderEvent::Opened }).unwrap();
                }
                Output::Folder { space, command: FolderCommand::Scan { .. } } => {
                    self.core
                        .handle_input(now, Input::Folder { space, event: FolderEvent::Scanned })
                        .unwrap();
                }
                other => self.drained.push(other),
            }
        }
        reply
    }
}

impl Machine for NodeMachine {
    fn new(start: Duration, role: u8) -> Self {
        let (store, _) = Store::open(MemDisk::new(), OpenOptions::default()).unwrap();
        let config = Config { addrs: vec![addr(role)], unix_ms: UNIX_MS, ..Config::default() };
        let mut chance = Chance::new(u64::from(role), "entropy");
        let core = NodeCore::new(config, secret(role), store, start, Box::new(move || chance.bytes()));
        Self {
            core,
            role,
            session: None,
            meetings: 0,
            commands: 1 << 32,
            ticket: String::new(),
            drained: Vec::new(),
        }
    }

    fn introduce(&mut self, now: Duration, other: &mut Self) {
        let share = Request::Share {
            folder: "/shared".into(),
            name: None,
            access: Access::Manage,
            expires_s: 86_400,
        };
        let Some(Reply::Invited(invited)) = other.ask(now, share) else { panic!("sharing failed") };
        self.ticket = invited.invitation;
    }

    fn meet(&mut self, now: Duration, together: bool) {
        let peer = id(1 - self.role);
        match (self.session.take(), together) {
            (Some(session), false) => {
                self.core.handle_input(now, Input::SessionDown { session, peer }).unwrap();
            }
            (None, false) => {}
            (_, true) => {
                self.meetings += 1;
                let (session, exporter) = (self.meetings, [self.meetings as u8; 32]);
                self.session = Some(session);
                let up = Input::SessionUp { session, peer, addr: addr(1 - self.role), exporter };
                self.core.handle_input(now, up).unwrap();
            }
        }
    }

    fn command(&mut self, now: Duration, kind: u8, argument: [u8; 32]) {
        self.commands += 1;
        let path = format!("doc{}", argument[0] % 3);
        let request = match kind % 8 {
            0 | 1 => Request::Join { ticket: self.ticket.clone(), folder: None, limit_s: None },
            2..5 => Request::Put {
                space: None,
                path,
                value: BTreeMap::from([("n", argument[1])]).into_iter().collect(),
            },
            5 => Request::Get { space: None, path },
            6 => Request::Invite { space: None, access: Access::Read, expires_s: 60 },
            _ => Request::Doctor { subject: None },
        };
        self.core.handle_input(now, Input::Command { id: self.commands, request }).unwrap();
    }

    fn receive(&mut self, now: Duration, packet: &Packet) -> bool {
        let (peer, bytes) = (id(1 - self.role), packet.bytes.as_slice());
        let input = match packet.context % 4 {
            0 => {
                Input::RpcRequest { from: peer, addr: addr(1 - self.role), bytes, token: packet.context >> 2 }
            }
            1 => Input::RpcResponse { rpc: packet.context >> 2, from: peer, bytes },
            _ => Input::Message { session: self.session.unwrap_or_default(), peer, bytes },
        };
        self.core.handle_input(now, input).is_ok()
    }

    fn handle_timeout(&mut self, now: Duration) {
        self.core.handle_timeout(now);
    }

    fn poll_output(&mut self) -> Option<(String, Option<Packet>)> {
        let output = if self.drained.is_empty() { self.core.poll_output()? } else { self.drained.remove(0) };
        let text = format!("{output:?}");
        let packet = match output {
            Output::Rpc { rpc, bytes, .. } => Some(Packet { context: rpc << 2, bytes }),
            Output::RpcReply { token, bytes } => Some(Packet { context: token << 2 | 1, bytes }),
            Output::Send { bytes, .. } => Some(Packet { context: 2, bytes }),
            _ => None,
        };
        Some((text, packet))
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.core.poll_timeout()
    }

    /// All that the local API shows.
    fn state(&mut self, now: Duration) -> String {
        let mut text = String::new();
        for request in [
            Request::Status,
            Request::Who { space: None },
            Request::List { space: None, prefix: String::new() },
            Request::Log { space: None, path: None, limit: 1_000 },
        ] {
            text += &format!("{:?}\n", self.ask(now, request));
        }
        text
    }
}
