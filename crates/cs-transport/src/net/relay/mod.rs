//! This endpoint as a relay: the TURN server's sockets, streams and clock (TP-24 to TP-28).

mod config;
mod corners;
mod sockets;
mod streams;

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use cs_identity::SecretKey;
use tokio::sync::{Notify, mpsc};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

use self::corners::Corners;
use self::sockets::RelayedSocket;
use super::addresses::reachable;
use super::config::BindError;
use super::counters::Tally;
use super::endpoint::entropy;
use super::socket::DatagramSender;
use crate::stun::Message;
use crate::turn::server::{AllocationId, Output, ServerCounters};
use crate::turn::{Accounts, Server, Transport, server::FiveTuple};

pub use self::config::{Alternate, RelayConfig};

/// Messages that wait for a stream to take them: a reader slower than that loses datagrams, as on any slow path.
const STREAM_QUEUE: usize = 64;

/// The relay of an endpoint.
#[derive(Debug)]
pub(crate) struct RelayService {
    config: RelayConfig,
    /// Where its TCP listeners are bound.
    tcp: Vec<SocketAddr>,
    server: Mutex<Server>,
    sockets: Mutex<BTreeMap<AllocationId, Open>>,
    streams: Mutex<BTreeMap<FiveTuple, mpsc::Sender<Vec<u8>>>>,
    corners: Option<Arc<Corners>>,
    datagrams: DatagramSender,
    tally: Arc<Tally>,
    started: Instant,
    /// Wakes the timer when a deadline may have come nearer.
    sooner: Notify,
}

/// A socket for peers, and the task that reads it.
#[derive(Debug)]
struct Open {
    socket: Arc<RelayedSocket>,
    reader: AbortHandle,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl RelayService {
    /// Binds the TCP listeners and starts to serve; its tasks end when the last handle is dropped.
    pub(crate) fn start(
        config: RelayConfig,
        secret: &SecretKey,
        local: &[SocketAddr],
        datagrams: DatagramSender,
        tally: Arc<Tally>,
        requests_per_second: u32,
    ) -> Result<Arc<Self>, BindError> {
        let nodes = config.nodes.then(|| secret.clone());
        let accounts = Accounts { nodes, only: config.only.clone(), users: config.users.clone() };
        let server = Server::new(config.limits.clone(), accounts, entropy()?);
        let listeners =
            config.tcp.iter().map(|address| streams::listen(*address)).collect::<Result<Vec<_>, _>>()?;
        let tcp = listeners.iter().filter_map(|listener| listener.local_addr().ok()).collect();
        let corners = config.alternate.map(|alternate| {
            Corners::bind(alternate, local, datagrams.clone(), tally.clone(), requests_per_second)
        });
        let corners = corners.transpose()?;
        let relay = Arc::new(Self {
            config,
            tcp,
            corners,
            server: Mutex::new(server),
            sockets: Mutex::default(),
            streams: Mutex::default(),
            datagrams,
            tally,
            started: Instant::now(),
            sooner: Notify::new(),
        });
        relay.learn_own();
        relay.server().set_own_ports(local.iter().map(SocketAddr::port));
        tokio::spawn(run_timer(Arc::downgrade(&relay)));
        for listener in listeners {
            tokio::spawn(streams::accept_all(Arc::downgrade(&relay), listener, requests_per_second));
        }
        Ok(relay)
    }

    pub(crate) fn tcp_addrs(&self) -> Vec<SocketAddr> {
        self.tcp.clone()
    }

    pub(crate) fn serves_udp(&self) -> bool {
        self.config.udp
    }

    pub(crate) fn counters(&self) -> ServerCounters {
        self.server().counters()
    }

    /// A message of a client on the shared socket, which has `local` as its address.
    pub(crate) fn handle_datagram(self: &Arc<Self>, local: SocketAddr, remote: SocketAddr, bytes: &[u8]) {
        // Nobody takes an address through one that he has here: no datagram goes round in this relay.
        if self.server().is_relayed(remote) {
            self.tally.relay_refused.add();
        } else if self.config.udp {
            self.handle(FiveTuple { transport: Transport::Udp, local, remote }, bytes);
        }
    }

    /// A Binding request on the shared socket, if this host has two addresses. Whether it was answered.
    pub(crate) fn handle_binding(&self, request: &Message<'_>, from: SocketAddr, to: SocketAddr) -> bool {
        self.corners.as_ref().is_some_and(|corners| corners.answer(request, from, to))
    }

    fn handle(self: &Arc<Self>, from: FiveTuple, bytes: &[u8]) {
        let mut server = self.server();
        let is_data = match server.handle_input(self.now(), from, bytes) {
            Ok(Some(to)) => {
                let socket = self.sockets().get(&to.allocation).map(|open| open.socket.clone());
                if !socket.is_some_and(|socket| socket.send(to.peer, to.bytes)) {
                    self.tally.relay_dropped.add();
                }
                true
            }
            Ok(None) => false,
            Err(_) => {
                self.tally.relay_refused.add();
                true
            }
        };
        // Data brings no outputs but for what goes to another client.
        let outputs = core::iter::from_fn(|| server.poll_output()).collect::<Vec<_>>();
        drop(server);
        outputs.into_iter().for_each(|output| self.act(output));
        if !is_data {
            self.sooner.notify_one();
        }
    }

    /// A peer's datagram for a client.
    fn handle_peer(&self, allocation: AllocationId, peer: SocketAddr, bytes: &[u8]) {
        let mut out = Vec::new();
        let to = self.server().handle_peer(self.now(), allocation, peer, bytes, &mut out);
        match to {
            Some(to) => self.send(to, out),
            None => self.tally.relay_refused.add(),
        }
    }

    fn act(self: &Arc<Self>, output: Output) {
        match output {
            Output::Send { to, bytes } => self.send(to, bytes),
            Output::Close(allocation) => drop(self.sockets().remove(&allocation)),
            Output::Bind { allocation, client, family, even_port } => {
                let bound = sockets::bind(&self.config, client.local.ip(), family, even_port);
                let bound = bound.map(|(socket, told)| {
                    let socket = Arc::new(socket);
                    let reader =
                        tokio::spawn(sockets::read(Arc::downgrade(self), allocation, socket.clone()));
                    let reader = reader.abort_handle();
                    self.sockets().insert(allocation, Open { socket, reader });
                    told
                });
                let mut server = self.server();
                server.handle_bound(self.now(), allocation, bound);
                let outputs = core::iter::from_fn(|| server.poll_output()).collect::<Vec<_>>();
                drop(server);
                outputs.into_iter().for_each(|output| self.act(output));
            }
        }
    }

    fn send(&self, to: FiveTuple, bytes: Vec<u8>) {
        match to.transport {
            Transport::Udp => {
                let source = Some(to.local.ip()).filter(|ip| !ip.is_unspecified());
                self.datagrams.send_from(source, to.remote, bytes);
            }
            Transport::Tcp => {
                let stream = self.streams().get(&to).cloned();
                if stream.is_none_or(|stream| stream.try_send(bytes).is_err()) {
                    self.tally.relay_dropped.add();
                }
            }
        }
    }

    /// Tells the server which addresses are this host's, so that nothing is sent there.
    fn learn_own(&self) {
        let wildcards: [SocketAddr; 2] = [([0; 4], 0).into(), ([0u16; 8], 0).into()];
        let bound = wildcards.into_iter().flat_map(reachable).map(|address| address.ip());
        self.server().set_own(bound.chain(self.config.external.iter().copied()));
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    fn server(&self) -> MutexGuard<'_, Server> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sockets(&self) -> MutexGuard<'_, BTreeMap<AllocationId, Open>> {
        self.sockets.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn streams(&self) -> MutexGuard<'_, BTreeMap<FiveTuple, mpsc::Sender<Vec<u8>>>> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A client's stream is there: what is for it goes into the queue that is returned.
    fn add_stream(&self, client: FiveTuple) -> mpsc::Receiver<Vec<u8>> {
        let (sender, queue) = mpsc::channel(STREAM_QUEUE);
        self.streams().insert(client, sender);
        queue
    }

    fn remove_stream(self: &Arc<Self>, client: FiveTuple) {
        self.streams().remove(&client);
        let mut server = self.server();
        server.handle_gone(self.now(), client);
        let outputs = core::iter::from_fn(|| server.poll_output()).collect::<Vec<_>>();
        drop(server);
        outputs.into_iter().for_each(|output| self.act(output));
    }

    fn has_allocation(&self, client: &FiveTuple) -> bool {
        self.server().has_allocation(client)
    }
}

/// How often this host's addresses are looked at anew.
const OWN_INTERVAL: Duration = Duration::from_secs(60);

async fn run_timer(relay: Weak<RelayService>) {
    let Some(started) = relay.upgrade().map(|relay| relay.started) else { return };
    let mut own_at = OWN_INTERVAL;
    loop {
        let Some(strong) = relay.upgrade() else { return };
        let deadline = strong.server().poll_timeout();
        let at = deadline.map_or(own_at, |deadline| deadline.min(own_at));
        let sooner = async {
            // Holding the relay only while it lives on its own: a second at most keeps it for nothing.
            tokio::select! {
                () = strong.sooner.notified() => {}
                () = sleep_until((started + at).min(Instant::now() + Duration::from_secs(1))) => {}
            }
        };
        sooner.await;
        let now = strong.now();
        if now >= own_at {
            own_at = now + OWN_INTERVAL;
            strong.learn_own();
        }
        let mut server = strong.server();
        server.handle_timeout(now);
        let outputs = core::iter::from_fn(|| server.poll_output()).collect::<Vec<_>>();
        drop(server);
        outputs.into_iter().for_each(|output| strong.act(output));
    }
}

/// Whether an address can be told to clients as one of this host's.
fn is_told(ip: IpAddr, allow_private: bool) -> bool {
    let is_link_local = matches!(ip, IpAddr::V6(ip) if ip.is_unicast_link_local());
    !ip.is_unspecified() && !is_link_local && (allow_private || !ip.is_loopback())
}
