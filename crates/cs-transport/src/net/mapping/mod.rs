//! Keeps a UDP port mapped on this network's gateway: drives [`Mapper`] by sockets, the routing table and UPnP.

mod gateway;
mod upnp;

use core::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4};
use core::time::Duration;
use std::io;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use super::endpoint::entropy;
use crate::mapping::{
    CLIENT_PORT, Config, Event, GATEWAY_PORT, Input, MAX_PCP, Mapper, Method, Output, Refusal, UpnpAnswer,
};

/// How often the routing table is looked at: another gateway is another network.
const ROUTE_INTERVAL: Duration = Duration::from_secs(5);
/// How long giving the mapping back may take.
const FAREWELL: Duration = Duration::from_secs(2);
/// News that may wait. There are few.
const EVENTS: usize = 64;

/// What is to be mapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappingConfig {
    /// The UDP port here.
    pub port: u16,
    /// The protocol to begin with. Default: PCP, from which the others are come to.
    pub first: Method,
    /// The lifetime to ask for, in seconds. Default: an hour, so that a mapping that is forgotten does not stay for long.
    pub lifetime_s: u32,
}

impl MappingConfig {
    /// The defaults, for this port.
    #[must_use]
    pub fn new(port: u16) -> Self {
        Self { port, first: Method::default(), lifetime_s: 60 * 60 }
    }
}

/// Has a UDP port mapped while it lives, by PCP, NAT-PMP or UPnP. Follows the host from network to network. IPv4 only.
#[derive(Debug)]
pub struct PortMapping {
    commands: mpsc::Sender<Command>,
    task: tokio::task::JoinHandle<()>,
}

#[derive(Debug)]
enum Command {
    Observed(IpAddr),
    NetworkChanged,
    Close,
}

impl PortMapping {
    /// Begins to have a port mapped. Must run inside a tokio runtime. The events end when it is closed or dropped; a
    /// mapping that is dropped is given back only if the runtime goes on for a moment.
    #[must_use]
    pub fn start(config: MappingConfig) -> (Self, mpsc::Receiver<Event>) {
        let (commands, receiver) = mpsc::channel(EVENTS);
        let (events, news) = mpsc::channel(EVENTS);
        let task = tokio::spawn(run(config, receiver, events));
        (Self { commands, task }, news)
    }

    /// What a server on the internet sees as this host's address: tells a carrier's NAT from the outside.
    pub fn observed(&self, address: IpAddr) {
        // A full queue has more recent ones.
        let _ = self.commands.try_send(Command::Observed(address));
    }

    /// The host may be in another network: all is asked anew.
    pub fn network_changed(&self) {
        let _ = self.commands.try_send(Command::NetworkChanged);
    }

    /// Gives the mapping back. Takes 2 s at most.
    pub async fn close(self) {
        let _ = self.commands.send(Command::Close).await;
        // A task that has ended is what is wanted.
        let _ = timeout(FAREWELL, self.task).await;
    }
}

/// From network to network.
async fn run(config: MappingConfig, mut commands: mpsc::Receiver<Command>, events: mpsc::Sender<Event>) {
    let mut had = true;
    loop {
        let network = Network::of(gateway::default_v4()).await;
        let Some(network) = network else {
            if core::mem::take(&mut had) && events.send(Event::Refused(Refusal::NoGateway)).await.is_err() {
                return;
            }
            match timeout(ROUTE_INTERVAL, commands.recv()).await {
                Ok(None | Some(Command::Close)) => return,
                _ => continue,
            }
        };
        had = true;
        if !network.serve(config, &mut commands, &events).await {
            return;
        }
    }
}

/// One gateway, and the sockets that speak to it.
#[derive(Debug)]
struct Network {
    gateway: Ipv4Addr,
    client: Ipv4Addr,
    socket: UdpSocket,
    /// Hears of restarts; `None` where the port is another's alone.
    announcements: Option<UdpSocket>,
}

impl Network {
    async fn of(gateway: Option<Ipv4Addr>) -> Option<Self> {
        let gateway = gateway?;
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).await.ok()?;
        // The kernel then says from which address it sends there, and lets nobody else's answers through.
        socket.connect((gateway, GATEWAY_PORT)).await.ok()?;
        let IpAddr::V4(client) = socket.local_addr().ok()?.ip() else { return None };
        Some(Self { gateway, client, socket, announcements: announcements().ok() })
    }

    /// Until the network changes (`true`) or nobody wants the mapping any more.
    async fn serve(
        self,
        wanted: MappingConfig,
        commands: &mut mpsc::Receiver<Command>,
        events: &mpsc::Sender<Event>,
    ) -> bool {
        let begun = Instant::now();
        let now = || begun.elapsed();
        let config = Config {
            internal_port: wanted.port,
            client: self.client.into(),
            gateway: self.gateway.into(),
            first: wanted.first,
            upnp: true,
            lifetime_s: wanted.lifetime_s,
        };
        let Ok(nonce) = entropy() else { return false };
        let mut mapper = Mapper::new(config, now(), nonce);
        let (answers, mut answered) = mpsc::channel(4);
        let (mut bytes, mut announced) = ([0; MAX_PCP], [0; MAX_PCP]);
        let gateway_at = SocketAddr::new(self.gateway.into(), GATEWAY_PORT);
        let mut look_at = Instant::now() + ROUTE_INTERVAL;
        loop {
            mapper.handle_timeout(now());
            while let Some(output) = mapper.poll_output() {
                if !self.carry_out(wanted.port, output, &answers, events).await {
                    return false;
                }
            }
            let due = mapper.poll_timeout().map_or(look_at, |at| look_at.min(begun + at));
            tokio::select! {
                received = self.socket.recv(&mut bytes) => {
                    // An error is an ICMP message: nobody listens there. The timer knows what to do.
                    let read = received.ok().and_then(|length| bytes.get(..length)).unwrap_or_default();
                    mapper.handle_input(now(), Input::Datagram { from: gateway_at, bytes: read });
                }
                (length, from) = announcement(self.announcements.as_ref(), &mut announced) => {
                    let read = announced.get(..length).unwrap_or_default();
                    mapper.handle_input(now(), Input::Datagram { from, bytes: read });
                }
                Some(answer) = answered.recv() => mapper.handle_input(now(), Input::Upnp(answer)),
                command = commands.recv() => match command {
                    Some(Command::Observed(address)) => mapper.handle_input(now(), Input::Observed(address)),
                    Some(Command::NetworkChanged) => look_at = Instant::now(),
                    None | Some(Command::Close) => {
                        mapper.close(now());
                        while let Some(output) = mapper.poll_output() {
                            self.carry_out(wanted.port, output, &answers, events).await;
                        }
                        return false;
                    }
                },
                () = sleep_until(due) => {}
            }
            if look_at <= Instant::now() {
                look_at = Instant::now() + ROUTE_INTERVAL;
                if !self.is_still_so().await {
                    return true;
                }
            }
        }
    }

    /// `false` when nobody listens any more.
    async fn carry_out(
        &self,
        port: u16,
        output: Output,
        answers: &mpsc::Sender<UpnpAnswer>,
        events: &mpsc::Sender<Event>,
    ) -> bool {
        match output {
            // What is lost is sent again.
            Output::Send(datagram) => _ = self.socket.send(&datagram).await,
            Output::UpnpMap { external_port, lifetime_s } => {
                let (gateway, client) = (self.gateway, SocketAddrV4::new(self.client, port));
                let answers = answers.clone();
                tokio::spawn(async move {
                    let _ = answers.send(upnp::map(gateway, client, external_port, lifetime_s).await).await;
                });
            }
            Output::UpnpUnmap { external_port } => {
                upnp::unmap(self.gateway, self.client, external_port).await
            }
            Output::Event(event) => return events.send(event).await.is_ok(),
        }
        true
    }

    /// Whether the gateway and the address to it are the same as before.
    async fn is_still_so(&self) -> bool {
        let Some(other) = Self::of(gateway::default_v4()).await else { return false };
        (other.gateway, other.client) == (self.gateway, self.client)
    }
}

/// Other programs of this host listen there too.
fn announcements() -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::IPV4, Type::DGRAM, Some(Protocol::UDP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::UNSPECIFIED, CLIENT_PORT)).into())?;
    UdpSocket::from_std(socket.into())
}

async fn announcement(socket: Option<&UdpSocket>, bytes: &mut [u8]) -> (usize, SocketAddr) {
    let Some(socket) = socket else { return core::future::pending().await };
    loop {
        if let Ok(received) = socket.recv_from(bytes).await {
            return received;
        }
    }
}
