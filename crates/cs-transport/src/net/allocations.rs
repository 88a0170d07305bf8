//! This node's own addresses on relays: drives [`turn::Client`](Client) over UDP and TCP (TP-39).

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::addresses::canonical;
use super::change::addresses;
use super::endpoint::{Shared, entropy};
use super::event::Event;
use super::nat;
use super::punching::is_private;
use super::report::{Relay, RelayCredentials, RelayState, RelayTransport};
use super::routes::{Exit, Leaving};
use crate::stun::Credentials;
use crate::turn::{self, Client, ClientConfig, Frames, Transport, node_credentials};

/// Relays on which an address is held at a time.
const HELD_MAX: usize = 2;
/// How long relays over UDP have before those over TCP are asked as well.
const UDP_FIRST: Duration = Duration::from_secs(2);
/// Between tries after a failure: first, and at most.
const AGAIN_FIRST: Duration = Duration::from_secs(2);
const AGAIN_MOST: Duration = Duration::from_secs(120);
/// Commands and messages that may wait for one allocation.
const INBOX: usize = 512;
/// Datagrams that wait for a permission.
const HELD_BACK: usize = 16;
/// How long making a TCP connection may take.
const CONNECT: Duration = Duration::from_secs(5);
/// How long a permission may take before the candidate is told anyway.
const PERMIT: Duration = Duration::from_millis(500);

/// The allocations of an endpoint.
#[derive(Debug, Default)]
pub(crate) struct Allocations {
    held: Mutex<BTreeMap<(SocketAddr, RelayTransport), Held>>,
    /// Counts addresses that came and went.
    changed: watch::Sender<u64>,
}

#[derive(Debug)]
struct Held {
    inbox: mpsc::Sender<Command>,
    exit: Exit,
    given: Option<Given>,
    task: AbortHandle,
}

/// What a relay gave.
#[derive(Clone, Copy, Debug)]
struct Given {
    relayed: SocketAddr,
    /// This node as the relay sees it.
    mapped: SocketAddr,
}

/// An address of this node's own that sends back what it is sent, and tells from where it came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reflector {
    pub(crate) relayed: SocketAddr,
    pub(crate) mapped: SocketAddr,
    /// Stands for the way by the relay to `mapped`.
    pub(crate) there: SocketAddr,
}

#[derive(Debug)]
enum Command {
    /// From the relay.
    Input(Bytes),
    /// Answered when the permission is there, or refused.
    Permit(IpAddr, oneshot::Sender<()>),
    /// The network changed: what the relay knows may be stale.
    Restart,
}

impl Allocations {
    /// The relayed addresses of this node.
    pub(crate) fn relayed(&self) -> Vec<SocketAddr> {
        self.lock().values().filter_map(|held| held.given).map(|given| given.relayed).collect()
    }

    /// An address that stands for `peer` by way of this node's relay.
    pub(crate) fn by_relay(&self, shared: &Shared, peer: SocketAddr) -> Option<SocketAddr> {
        let (held, peer) = (self.lock(), canonical(peer));
        let reaches =
            |held: &&Held| held.given.is_some_and(|given| given.relayed.is_ipv4() == peer.is_ipv4());
        held.values().find(reaches).map(|held| shared.routes.show(held.exit, peer))
    }

    /// As [`Self::by_relay`] where that is the only way out: UDP does not pass, or not in the peer's family.
    pub(crate) fn detour(&self, shared: &Shared, peer: SocketAddr) -> Option<SocketAddr> {
        let peer = canonical(peer);
        // No relay sends into this node's own network, and there nothing is in the way.
        let is_only_way = !is_private(peer) && (self.is_tcp_only() || !shared.speaks(peer));
        is_only_way.then(|| self.by_relay(shared, peer)).flatten()
    }

    /// Addresses over datagrams that send back to this node.
    pub(crate) fn reflectors(&self, shared: &Shared) -> Vec<Reflector> {
        let held = self.lock();
        let of = |(key, held): (&(SocketAddr, RelayTransport), &Held)| {
            let Given { relayed, mapped } = held.given.filter(|_| key.1 == RelayTransport::Udp)?;
            let there = shared.routes.show(held.exit, mapped);
            (relayed.is_ipv4() == mapped.is_ipv4()).then_some(Reflector { relayed, mapped, there })
        };
        held.iter().filter_map(of).collect()
    }

    /// Told of every address that comes or goes.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Notes what a relay gave, or that it is gone.
    fn give(&self, relay: &Relay, given: Option<Given>) {
        if let Some(held) = self.lock().get_mut(&(canonical(relay.addr), relay.transport)) {
            held.given = given;
        }
        self.changed.send_modify(|count| *count += 1);
    }

    /// Whether UDP seems to be blocked: the only allocation there is goes over TCP.
    pub(crate) fn is_tcp_only(&self) -> bool {
        let held = self.lock();
        let mut ready = held.iter().filter(|(_, held)| held.given.is_some()).peekable();
        ready.peek().is_some() && ready.all(|((_, transport), _)| *transport == RelayTransport::Tcp)
    }

    /// Hands over what came from a relay; `false` if `from` is none.
    pub(crate) fn input(&self, from: SocketAddr, bytes: &Bytes) -> bool {
        let held = self.lock();
        let held = held.get(&(canonical(from), RelayTransport::Udp));
        held.is_some_and(|held| held.inbox.try_send(Command::Input(bytes.clone())).is_ok())
    }

    /// Lets these addresses send to this node's relayed ones; waits until the relays have agreed, half a second at most.
    pub(crate) async fn permit(&self, ips: Vec<IpAddr>) {
        let inboxes = self.lock().values().map(|held| held.inbox.clone()).collect::<Vec<_>>();
        let mut permitted = Vec::new();
        for inbox in &inboxes {
            for ip in &ips {
                let (done, permission) = oneshot::channel();
                if inbox.try_send(Command::Permit(*ip, done)).is_ok() {
                    permitted.push(permission);
                }
            }
        }
        let _ = timeout(PERMIT, futures::future::join_all(permitted)).await;
    }

    /// Asks every relay anew.
    pub(crate) fn restart(&self) {
        for held in self.lock().values() {
            let _ = held.inbox.try_send(Command::Restart);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(SocketAddr, RelayTransport), Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Holds addresses on the best of `relays`, and lets go of those that are not among them.
pub(crate) fn set(shared: &Arc<Shared>, relays: &[Relay]) {
    let mut held = shared.allocations.lock();
    let key = |relay: &Relay| (canonical(relay.addr), relay.transport);
    // One of a family that this machine does not speak would take the place of one that serves.
    let speaks = |relay: &&Relay| relay.addr.ip().is_loopback() || shared.speaks(relay.addr);
    let of = |transport| relays.iter().filter(move |relay| relay.transport == transport);
    let wanted = |transport| of(transport).filter(speaks).take(HELD_MAX);
    let wanted = wanted(RelayTransport::Udp).chain(wanted(RelayTransport::Tcp)).collect::<Vec<_>>();
    held.retain(|known, held| {
        let stays = wanted.iter().any(|relay| key(relay) == *known);
        if !stays {
            held.task.abort();
            shared.routes.close_exit(held.exit);
        }
        stays
    });
    for relay in wanted {
        if held.contains_key(&key(relay)) {
            continue;
        }
        let (inbox, commands) = mpsc::channel(INBOX);
        let (exit, leaving) = shared.routes.open_exit(Some(canonical(relay.addr)));
        let run = hold(shared.clone(), relay.clone(), exit, commands, leaving);
        let task = tokio::spawn(run).abort_handle();
        held.insert(key(relay), Held { inbox, exit, given: None, task });
    }
}

/// Keeps one allocation, for as long as it is wanted.
async fn hold(
    shared: Arc<Shared>,
    relay: Relay,
    exit: Exit,
    mut commands: mpsc::Receiver<Command>,
    mut leaving: mpsc::Receiver<Leaving>,
) {
    let mut wait = AGAIN_FIRST;
    loop {
        if relay.transport == RelayTransport::Tcp {
            nothing_passes(&shared.allocations).await;
        }
        state(&shared, &relay, RelayState::Connecting);
        let Ok((wire, arrivals)) = Wire::open(&shared, &relay).await else {
            state(&shared, &relay, RelayState::Unreachable);
            sleep(wait).await;
            wait = (wait * 2).min(AGAIN_MOST);
            continue;
        };
        let Some(mut allocation) = Allocation::new(&shared, &relay, exit, wire) else { return };
        let was_up = allocation.run(&mut commands, &mut leaving, arrivals).await;
        shared.allocations.give(&relay, None);
        if was_up {
            wait = AGAIN_FIRST;
        }
        sleep(wait).await;
        wait = (wait * 2).min(AGAIN_MOST);
    }
}

/// A stream is the last resort: waits until datagrams have had their chance and none pass.
async fn nothing_passes(allocations: &Allocations) {
    let mut changes = allocations.changes();
    loop {
        changes.mark_unchanged();
        if allocations.relayed().is_empty() {
            match timeout(UDP_FIRST, changes.changed()).await {
                Err(_) => return,
                Ok(_) => continue,
            }
        }
        let _ = changes.changed().await;
    }
}

/// What carries messages to the relay.
enum Wire {
    Udp(SocketAddr),
    Tcp(OwnedWriteHalf),
}

impl Wire {
    /// With the stream's messages, if it is one: those over UDP come by the shared socket.
    async fn open(shared: &Shared, relay: &Relay) -> io::Result<(Self, mpsc::Receiver<Bytes>)> {
        let (sender, arrivals) = mpsc::channel(INBOX);
        if relay.transport == RelayTransport::Udp {
            return Ok((Self::Udp(relay.addr), arrivals));
        }
        let stream = timeout(CONNECT, TcpStream::connect(relay.addr)).await.map_err(io::Error::other)??;
        stream.set_nodelay(true)?;
        shared.tally.relay_streams.add();
        let (reader, writer) = stream.into_split();
        tokio::spawn(read(reader, sender));
        Ok((Self::Tcp(writer), arrivals))
    }

    /// `false` when the stream is broken.
    async fn send(&mut self, shared: &Shared, bytes: Vec<u8>) -> bool {
        match self {
            Self::Udp(relay) => {
                shared.datagrams.send(*relay, bytes);
                true
            }
            Self::Tcp(stream) => stream.write_all(&bytes).await.is_ok(),
        }
    }

    fn is_stream(&self) -> bool {
        matches!(self, Self::Tcp(_))
    }
}

/// Cuts a stream into messages. Ends with the stream, or with who takes them.
async fn read(mut stream: OwnedReadHalf, messages: mpsc::Sender<Bytes>) {
    let mut frames = Frames::new();
    let mut buffer = vec![0; 16 << 10];
    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
        frames.push(buffer.get(..length).unwrap_or_default());
        loop {
            match frames.take() {
                Ok(Some(message)) => {
                    if messages.send(message).await.is_err() {
                        return;
                    }
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
}

struct Allocation<'a> {
    shared: &'a Arc<Shared>,
    relay: &'a Relay,
    exit: Exit,
    wire: Wire,
    client: Client,
    started: Instant,
    permits: Vec<(IpAddr, oneshot::Sender<()>)>,
    /// What was to leave before its permission was there.
    held_back: VecDeque<Leaving>,
    was_up: bool,
    /// When peers were last permitted or sent to: the relay lets through 64 at a time.
    used: BTreeMap<IpAddr, Duration>,
    /// This machine's addresses when it began.
    home: BTreeSet<IpAddr>,
}

impl<'a> Allocation<'a> {
    fn new(shared: &'a Arc<Shared>, relay: &'a Relay, exit: Exit, wire: Wire) -> Option<Self> {
        let credentials = match &relay.credentials {
            RelayCredentials::Node(node) => node_credentials(&shared.secret, node),
            RelayCredentials::Password { username, password } => Credentials::new(username, password).ok()?,
        };
        let transport = if wire.is_stream() { Transport::Tcp } else { Transport::Udp };
        let client = Client::new(ClientConfig::new(credentials, transport), entropy().ok()?);
        let (permits, held_back) = (Vec::new(), VecDeque::new());
        let started = Instant::now();
        let (used, home) = (BTreeMap::new(), addresses());
        Some(Self {
            shared,
            relay,
            exit,
            wire,
            client,
            started,
            permits,
            held_back,
            was_up: false,
            used,
            home,
        })
    }

    /// Until the allocation is gone; whether there was one.
    async fn run(
        &mut self,
        commands: &mut mpsc::Receiver<Command>,
        leaving: &mut mpsc::Receiver<Leaving>,
        mut arrivals: mpsc::Receiver<Bytes>,
    ) -> bool {
        self.client.start(self.now());
        while self.carry_out().await {
            let due = self.client.poll_timeout().map(|at| self.started + at);
            tokio::select! {
                Some(command) = commands.recv() => match command {
                    Command::Input(bytes) => self.input(&bytes),
                    Command::Permit(ip, done) => self.permit(ip, done),
                    // The relay knows this node by its address: with another one, it is a stranger.
                    Command::Restart => if addresses() != self.home { break },
                },
                message = arrivals.recv(), if self.wire.is_stream() => match message {
                    Some(message) => self.input(&message),
                    None => break,
                },
                Some((to, bytes)) = leaving.recv() => if !self.leave(to, bytes).await { break },
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => {}
            }
            self.client.handle_timeout(self.now());
        }
        self.was_up
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn input(&mut self, message: &[u8]) {
        match self.client.handle_input(self.started.elapsed(), message) {
            Ok(Some(data)) => {
                self.shared.routes.arrived(self.exit, data.peer, Bytes::copy_from_slice(data.bytes));
            }
            Ok(None) => {}
            Err(_) => self.shared.tally.forged.add(),
        }
    }

    fn permit(&mut self, ip: IpAddr, done: oneshot::Sender<()>) {
        // Refused for the other family, say, or permitted before: then there is nothing to wait for.
        let is_there = self.client.wrap(&mut Vec::new(), SocketAddr::new(ip, 1), b"").is_ok();
        if self.let_in(ip) && !is_there {
            self.permits.retain(|(_, done)| !done.is_closed());
            self.permits.push((ip, done));
        }
    }

    /// Asks the relay for a peer, in the place of the one unused for longest if there are too many.
    fn ask_for(
        &mut self,
        ip: IpAddr,
        ask: impl Fn(&mut Client, Duration) -> Result<(), turn::Refused>,
    ) -> bool {
        let (now, ip) = (self.now(), ip.to_canonical());
        let mut asked = ask(&mut self.client, now);
        if asked == Err(turn::Refused::Full) {
            let others = self.used.iter().filter(|(other, _)| **other != ip);
            if let Some(oldest) = others.min_by_key(|(_, at)| **at).map(|(other, _)| *other) {
                self.used.remove(&oldest);
                self.client.release(now, oldest);
            }
            asked = ask(&mut self.client, now);
        }
        if asked.is_ok() {
            self.used.insert(ip, now);
        }
        asked.is_ok()
    }

    fn let_in(&mut self, ip: IpAddr) -> bool {
        self.ask_for(ip, |client, now| client.permit(now, ip))
    }

    /// Sends to a peer; `false` when the stream is broken. The first datagram asks for a channel, and waits for it.
    async fn leave(&mut self, to: SocketAddr, bytes: Vec<u8>) -> bool {
        let mut message = Vec::new();
        if self.client.wrap(&mut message, to, &bytes).is_ok() {
            self.used.insert(canonical(to).ip(), self.now());
            return self.wire.send(self.shared, message).await;
        }
        // Without a channel each datagram is some bytes longer, and no other difference.
        if self.ask_for(to.ip(), |client, now| client.bind(now, to)) || self.let_in(to.ip()) {
            if self.held_back.len() >= HELD_BACK {
                self.held_back.pop_front();
            }
            self.held_back.push_back((to, bytes));
        }
        true
    }

    /// `false` when the allocation is gone.
    async fn carry_out(&mut self) -> bool {
        while let Some(output) = self.client.poll_output() {
            let is_well = match output {
                turn::Output::Send(bytes) => self.wire.send(self.shared, bytes).await,
                turn::Output::Event(event) => self.on_event(event).await,
            };
            if !is_well {
                state(self.shared, self.relay, RelayState::Unreachable);
                return false;
            }
        }
        true
    }

    /// The relay lets a peer through, or does not: what waited for that is sent, or dropped. `false` when the stream is broken.
    async fn decided(&mut self, ip: IpAddr) -> bool {
        self.permits.retain(|(of, _)| *of != ip);
        for (to, bytes) in core::mem::take(&mut self.held_back) {
            let mut message = Vec::new();
            if self.client.wrap(&mut message, to, &bytes).is_ok() {
                if !self.wire.send(self.shared, message).await {
                    return false;
                }
            } else if canonical(to).ip() != ip {
                self.held_back.push_back((to, bytes));
            }
        }
        true
    }

    async fn on_event(&mut self, event: turn::Event) -> bool {
        match event {
            turn::Event::Allocated { relayed, mapped, .. } => {
                self.was_up = true;
                self.shared.allocations.give(self.relay, Some(Given { relayed, mapped: canonical(mapped) }));
                state(self.shared, self.relay, RelayState::Allocated { relayed });
                if !self.wire.is_stream() {
                    tokio::spawn(nat::find_out(self.shared.clone(), self.relay.addr));
                }
            }
            turn::Event::Permitted(ip) | turn::Event::NotPermitted { ip, .. } => {
                return self.decided(ip).await;
            }
            turn::Event::Bound(peer) | turn::Event::NotBound { peer, .. } => {
                return self.decided(peer.ip()).await;
            }
            turn::Event::Refused(code) => {
                state(self.shared, self.relay, RelayState::Refused(code));
                return false;
            }
            turn::Event::Lost(_) | turn::Event::Closed => return false,
        }
        true
    }
}

/// Tells how a relay is found.
fn state(shared: &Shared, relay: &Relay, state: RelayState) {
    if let Some(report) = shared.reach.relay_state(relay, state) {
        shared.events.try_send(Event::NatChanged(report));
    }
}
