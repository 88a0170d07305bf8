//! Runs a [`NodeCore`] on this machine: sockets, folders, clocks and the queue of requests. Decides nothing.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use cs_dht::Contact;
use cs_identity::NodeId;
use cs_store::{DirDisk, OnDamage, OpenOptions, Recovery, Store, StoreError};
use cs_transport::net::{self, BindError, DialFault, Endpoint, Events, Relay, RpcToken};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use crate::api::{Problem, ProblemCode, Reply, Request};
use crate::clock::{Monotonic, unix_ms};
use crate::core::{
    self, CommandId, Event, FolderCommand, FolderEvent, Input, Network, NodeCore, Output, SessionId,
};
use crate::folders::{Folders, Opening};
use crate::home::Home;
use crate::lan;
use crate::router::Router;
use crate::sockets;

/// How a node is to run.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Addresses to listen on; empty for every interface and any port.
    pub listen: Vec<SocketAddr>,
    /// Nodes of the DHT to begin with.
    pub bootstrap: Vec<(NodeId, SocketAddr)>,
    /// Whether this is a node that others begin with.
    pub is_bootstrap: bool,
    /// Whether it passes signals on and relays for others; who others begin with does so too.
    pub is_hub: bool,
    /// Relays to use before those of hubs, best first.
    pub relays: Vec<Relay>,
    /// Whether to leave the router as it is instead of asking it for a port.
    pub no_port_mapping: bool,
    /// Whether to look for peers on the local network, and to be found there.
    pub lan: bool,
    /// Whether to open a damaged log: what is damaged is kept aside, everything intact goes on.
    pub salvage: bool,
}

/// Why a node does not start. Nothing was changed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// Another node uses the state directory.
    #[error("another node is running on {0}")]
    Locked(String),
    /// The state directory cannot be used.
    #[error("the state directory {0} cannot be used: {1}")]
    Home(String, std::io::Error),
    /// The store is damaged.
    #[error("{0}")]
    Store(cs_store::OpenError),
    /// The store opened, and cannot be read.
    #[error("{0}")]
    Broken(StoreError),
    /// No socket could be had.
    #[error("cannot listen: {0}")]
    Bind(BindError),
}

/// A request and where its answer goes.
pub(crate) type Asked = (Request, oneshot::Sender<Result<Reply, Problem>>);

/// Requests that may wait for the core.
const REQUESTS: usize = 64;

/// News of folders that may wait for the core: a folder's thread waits beyond it.
const NEWS: usize = 64;

/// Inputs taken before the outputs are seen to: one commit serves them all.
const TURN: usize = 64;

/// While more than this waits to be sent to a peer, no further chunk is read for it.
const SEND_BACKLOG: usize = 4 << 20;

/// How often a waiting peer's backlog is looked at.
const BACKLOG_INTERVAL: Duration = Duration::from_millis(2);

/// The wall clock may jump; the core is told again this often.
const WALL_CLOCK_INTERVAL: Duration = Duration::from_secs(60);

/// A sealed request without an answer is given up after this; the DHT has its own, shorter patience.
const RPC_TIMEOUT: Duration = Duration::from_secs(5);

/// Asks a running node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    asked: mpsc::Sender<Asked>,
    id: NodeId,
}

impl Handle {
    /// This node's ID.
    #[must_use]
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// Puts a request to the node and waits for its answer.
    ///
    /// # Errors
    /// The [`Problem`] that the node answers with, or [`ProblemCode::NotRunning`] when it has ended.
    pub async fn ask(&self, request: Request) -> Result<Reply, Problem> {
        let (sender, answer) = oneshot::channel();
        let gone =
            || Problem::new(ProblemCode::NotRunning, "The node has ended.", "Start it again: `cosync up`.");
        self.asked.send((request, sender)).await.map_err(|_| gone())?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// A node that was opened and does not run yet.
pub struct Driver {
    core: NodeCore<DirDisk>,
    clock: Monotonic,
    endpoint: Endpoint,
    events: Events,
    asked: mpsc::Receiver<Asked>,
    folders: Folders,
    news: mpsc::Receiver<(cs_identity::SpaceId, FolderEvent)>,
    inbox: mpsc::UnboundedReceiver<Arrived>,
    inbox_sender: mpsc::UnboundedSender<Arrived>,
    sessions: BTreeMap<SessionId, (net::SessionId, NodeId)>,
    numbers: BTreeMap<net::SessionId, SessionId>,
    tokens: BTreeMap<u64, RpcToken>,
    answers: BTreeMap<CommandId, oneshot::Sender<Result<Reply, Problem>>>,
    waiting_reads: BTreeMap<NodeId, VecDeque<(cs_identity::SpaceId, FolderCommand)>>,
    lan: Option<lan::Link>,
    router: Router,
    next: u64,
    stopping: bool,
    log: Box<dyn FnMut(&Event) + Send>,
}

/// What tasks of the driver bring back.
enum Arrived {
    Rpc { rpc: u64, from: NodeId, answer: Option<Bytes> },
    Lan(lan::Heard),
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Driver").field("core", &self.core).finish_non_exhaustive()
    }
}

impl Driver {
    /// Opens the state directory and the sockets. `log` is told what happens.
    ///
    /// # Errors
    /// [`StartError`]; nothing was changed.
    pub async fn open(
        home: &Home,
        options: Options,
        log: Box<dyn FnMut(&Event) + Send>,
    ) -> Result<(Self, Handle, Recovery), StartError> {
        let shown = home.path().display().to_string();
        let unusable = |error| StartError::Home(shown.clone(), error);
        home.create().map_err(unusable)?;
        let disk = DirDisk::new(home.store()).map_err(unusable)?;
        let mut options_of_store = OpenOptions::default();
        options_of_store.salt = random();
        if options.salvage {
            options_of_store.on_damage = OnDamage::Salvage;
            // An intact index vouches for the log that it was made from; made anew, it is told of the damage.
            options_of_store.rebuild_index = true;
        }
        let (store, recovery) = Store::open(disk, options_of_store).map_err(|e| match e {
            cs_store::OpenError::Locked => StartError::Locked(shown.clone()),
            other => StartError::Store(other),
        })?;
        let secret = home.secret().map_err(unusable)?;
        let (endpoint, events) = sockets::bind(&secret, &options).await.map_err(StartError::Bind)?;
        let clock = Monotonic::start();
        let contact = |(id, addr): &(NodeId, SocketAddr)| Contact { id: *id, addrs: vec![*addr] };
        let addrs = endpoint.reachable_addrs();
        let port = lan::port(&endpoint).filter(|_| !options.no_port_mapping);
        let router = Router::of(&addrs, port);
        let config = core::Config {
            is_hidden: router.is_between(),
            addrs,
            bootstrap: options.bootstrap.iter().map(contact).collect(),
            is_bootstrap: options.is_bootstrap,
            is_hub: options.is_hub,
            relays: options.relays,
            lost_statements: !recovery.damage.is_empty(),
            unix_ms: unix_ms(),
        };
        let core = NodeCore::new(config, secret, store, clock.now(), Box::new(random));
        if let Some(error) = core.broken() {
            return Err(StartError::Broken(error));
        }
        let (asked_sender, asked) = mpsc::channel(REQUESTS);
        let (news_sender, news) = mpsc::channel(NEWS);
        let (inbox_sender, inbox) = mpsc::unbounded_channel();
        let handle = Handle { asked: asked_sender, id: core.id() };
        let lan = options.lan.then(|| {
            let heard = inbox_sender.clone();
            let tell = move |peer| heard.send(Arrived::Lan(peer)).is_ok();
            lan::spawn(core.id(), lan::port(&endpoint), tell)
        });
        let driver = Self {
            core,
            clock,
            endpoint,
            events,
            asked,
            folders: Folders::new(home.clone(), news_sender),
            news,
            inbox,
            inbox_sender,
            sessions: BTreeMap::new(),
            numbers: BTreeMap::new(),
            tokens: BTreeMap::new(),
            answers: BTreeMap::new(),
            waiting_reads: BTreeMap::new(),
            lan,
            router,
            next: 0,
            stopping: false,
            log,
        };
        Ok((driver, handle, recovery))
    }

    /// Runs the node until it is told to stop, then ends its sessions and folders in order.
    ///
    /// # Errors
    /// [`StoreError`] when the store could not be read any more, which ended the node.
    pub async fn run(mut self) -> Result<(), StoreError> {
        let mut wall_clock_at = Instant::now() + WALL_CLOCK_INTERVAL;
        self.carry_out();
        while !self.stopping {
            let due = self.core.poll_timeout().and_then(|at| self.clock.instant(at)).map(Instant::from_std);
            let mut wake = due.map_or(wall_clock_at, |due| due.min(wall_clock_at));
            if !self.waiting_reads.is_empty() {
                wake = wake.min(Instant::now() + BACKLOG_INTERVAL);
            }
            tokio::select! {
                biased;
                Some(asked) = self.asked.recv() => self.on_asked(asked),
                Some(event) = self.events.recv() => self.on_event(event),
                Some((space, event)) = self.news.recv() => self.input(Input::Folder { space, event }),
                Some(arrived) = self.inbox.recv() => self.on_arrived(arrived),
                () = self.router.changed() => self.on_router(),
                () = sleep_until(wake) => {}
            }
            self.take_what_waits();
            if wall_clock_at <= Instant::now() {
                wall_clock_at = Instant::now() + WALL_CLOCK_INTERVAL;
                self.input(Input::WallClock { unix_ms: unix_ms() });
            }
            self.core.handle_timeout(self.clock.now());
            self.read_for_those_who_caught_up();
            self.carry_out();
        }
        self.router.close().await;
        self.endpoint.shutdown().await;
        tokio::task::block_in_place(|| self.folders.close_all());
        let broken = self.core.broken();
        self.core.close();
        broken.map_or(Ok(()), Err)
    }

    /// Takes what else has come, so that one commit serves it all.
    fn take_what_waits(&mut self) {
        for _ in 0..TURN {
            if let Ok(asked) = self.asked.try_recv() {
                self.on_asked(asked);
            } else if let Some(event) = self.events.try_recv() {
                self.on_event(event);
            } else if let Ok((space, event)) = self.news.try_recv() {
                self.input(Input::Folder { space, event });
            } else if let Ok(arrived) = self.inbox.try_recv() {
                self.on_arrived(arrived);
            } else {
                return;
            }
        }
    }

    fn input(&mut self, input: Input<'_>) {
        // The core has told of the fault as an event.
        let _ = self.core.handle_input(self.clock.now(), input);
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn on_asked(&mut self, (request, answer): Asked) {
        let id = self.number();
        if matches!(request, Request::Net | Request::Doctor { .. }) {
            self.look_at_network();
        }
        self.answers.insert(id, answer);
        self.input(Input::Command { id, request });
    }

    fn on_arrived(&mut self, arrived: Arrived) {
        match arrived {
            Arrived::Rpc { rpc, from, answer: Some(bytes) } => {
                self.input(Input::RpcResponse { rpc, from, bytes: &bytes });
            }
            Arrived::Rpc { rpc, answer: None, .. } => self.input(Input::RpcFailed { rpc }),
            Arrived::Lan(lan::Heard { peer, addrs, codes }) => {
                self.input(Input::LanPeer { peer, addrs, codes })
            }
        }
    }

    fn on_event(&mut self, event: net::Event) {
        match event {
            net::Event::Up { session, peer, addr, exporter, .. } => {
                let number = self.number();
                self.sessions.insert(number, (session, peer));
                self.numbers.insert(session, number);
                self.input(Input::SessionUp { session: number, peer, addr, exporter });
            }
            net::Event::Message { session, bytes, .. } => {
                let Some(number) = self.numbers.get(&session).copied() else { return };
                let Some((_, peer)) = self.sessions.get(&number).copied() else { return };
                self.input(Input::Message { session: number, peer, bytes: &bytes });
            }
            net::Event::Down { session, peer, .. } => {
                let Some(number) = self.numbers.remove(&session) else { return };
                self.sessions.remove(&number);
                self.input(Input::SessionDown { session: number, peer });
            }
            // The peer was faster: its session is told of by `Up`, before this or after it.
            net::Event::DialFailed { why: DialFault::AlreadyUp(_), .. } => {}
            net::Event::DialFailed { peer, .. } => self.input(Input::DialFailed { peer }),
            net::Event::Request { from, addr, bytes, token } => {
                let number = self.number();
                self.tokens.insert(number, token);
                self.input(Input::RpcRequest { from, addr, bytes: &bytes, token: number });
                // The core answers at once or never.
                self.carry_out();
                self.tokens.remove(&number);
            }
            net::Event::AddressObserved { addr } => {
                self.router.observed(addr.ip());
                self.input(Input::AddressObserved { addr });
            }
            net::Event::NatChanged(_) => self.look_at_network(),
            _ => {}
        }
    }

    fn on_router(&mut self) {
        self.endpoint.set_mapped(self.router.mapped().into_iter().collect());
        self.look_at_network();
    }

    /// Tells the core what the transport knows now.
    fn look_at_network(&mut self) {
        let paths =
            self.sessions.iter().map(|(number, (session, _))| (*number, self.endpoint.paths(*session)));
        let tried = self.core.peers_of_interest().into_iter().map(|peer| (peer, self.endpoint.tried(peer)));
        let network = Network {
            nat: self.endpoint.nat(),
            mapping: self.router.mapping(),
            paths: paths.collect(),
            tried: tried.collect(),
        };
        self.input(Input::Network(Box::new(network)));
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.core.poll_output() {
            self.carry_out_one(output);
        }
    }

    fn carry_out_one(&mut self, output: Output) {
        match output {
            Output::Dial { peer, addrs, via } => {
                self.endpoint.dial(peer, addrs, via);
            }
            Output::Relays { relays } => self.endpoint.set_relays(relays),
            Output::Send { session, lane, bytes } => {
                if let Some((session, _)) = self.sessions.get(&session) {
                    // A session that is gone is reported as `Down`.
                    let _ = self.endpoint.send(*session, lane, bytes.into());
                }
            }
            Output::Close { session } => {
                if let Some((session, _)) = self.sessions.get(&session) {
                    self.endpoint.close(*session, 1);
                }
            }
            Output::Rpc { rpc, to, addr, bytes } => self.send_rpc(rpc, to, addr, bytes.into()),
            Output::RpcReply { token, bytes } => {
                if let Some(token) = self.tokens.remove(&token) {
                    self.endpoint.reply(token, bytes.into());
                }
            }
            Output::Announce { codes } => {
                if let Some(lan) = &self.lan {
                    lan.announce(codes);
                }
            }
            Output::SearchLan => {
                if let Some(lan) = &self.lan {
                    lan.search();
                }
            }
            Output::OpenFolder { space, dir, chunk_key, create } => {
                if let Err(error) = self.folders.open(Opening { space, dir, chunk_key, create }) {
                    let event = FolderEvent::Failed { why: format!("no thread for the folder: {error}") };
                    self.input(Input::Folder { space, event });
                }
            }
            Output::Folder { space, command } => self.tell_folder(space, command),
            Output::CloseFolder { space } => self.folders.close(&space),
            Output::Answer { id, result } => {
                if let Some(answer) = self.answers.remove(&id) {
                    // Whoever asked may be gone.
                    let _ = answer.send(result);
                }
            }
            Output::Event(event) => (self.log)(&event),
            Output::Stop => self.stopping = true,
        }
    }

    fn send_rpc(&self, rpc: u64, to: NodeId, addr: SocketAddr, request: Bytes) {
        let (endpoint, inbox) = (self.endpoint.clone(), self.inbox_sender.clone());
        tokio::spawn(async move {
            let answer = endpoint.rpc(to, addr, request, RPC_TIMEOUT).await.ok();
            let _ = inbox.send(Arrived::Rpc { rpc, from: to, answer });
        });
    }

    /// Chunks are read for a peer only as fast as it takes them.
    fn tell_folder(&mut self, space: cs_identity::SpaceId, command: FolderCommand) {
        match &command {
            FolderCommand::ReadChunk { peer, .. } if self.is_behind(peer) => {
                self.waiting_reads.entry(*peer).or_default().push_back((space, command));
            }
            _ => self.folders.command(space, command),
        }
    }

    fn is_behind(&self, peer: &NodeId) -> bool {
        let session = self.sessions.values().find(|(_, p)| p == peer);
        self.waiting_reads.contains_key(peer)
            || session.is_some_and(|(s, _)| self.endpoint.queued(*s) > SEND_BACKLOG)
    }

    fn read_for_those_who_caught_up(&mut self) {
        for (peer, mut reads) in std::mem::take(&mut self.waiting_reads) {
            if self.is_behind(&peer) {
                self.waiting_reads.insert(peer, reads);
                continue;
            }
            for (space, command) in reads.drain(..reads.len().min(16)) {
                self.folders.command(space, command);
            }
            if !reads.is_empty() {
                self.waiting_reads.insert(peer, reads);
            }
        }
    }
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).expect("the operating system has random bytes");
    bytes
}
