//! The sockets on which peers reach clients: one for each allocation.

use core::future::poll_fn;
use core::net::{IpAddr, SocketAddr};
use core::pin::Pin;
use core::task::{Context, Poll, Waker};
use std::io::{self, IoSliceMut};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use noq::udp::{RecvMeta, Transmit};
use noq::{AsyncUdpSocket, Runtime, TokioRuntime, UdpSender};
use socket2::{Domain, Protocol, Socket, Type};

use super::super::addresses::{canonical, reachable};
use super::super::endpoint::entropy;
use super::{RelayConfig, RelayService, is_told};
use crate::turn::Family;
use crate::turn::server::{AllocationId, BindFault};

/// Ports that are tried before there is said to be none.
const TRIES: u8 = 32;
/// Bytes read at a time: the kernel joins what it can.
const BUFFER: usize = 64 << 10;

/// A socket that never lets a datagram be fragmented.
pub(crate) struct RelayedSocket {
    receiver: Mutex<Option<Box<dyn AsyncUdpSocket>>>,
    sender: Mutex<Pin<Box<dyn UdpSender>>>,
}

impl core::fmt::Debug for RelayedSocket {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("RelayedSocket").finish_non_exhaustive()
    }
}

impl RelayedSocket {
    /// Sends now or not at all: a full buffer loses datagrams, as a network does.
    pub(crate) fn send(&self, destination: SocketAddr, contents: &[u8]) -> bool {
        let transmit = Transmit { destination, ecn: None, contents, segment_size: None, src_ip: None };
        let mut sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let mut context = Context::from_waker(Waker::noop());
        matches!(sender.as_mut().poll_send(&transmit, &mut context), Poll::Ready(Ok(())))
    }
}

/// Binds a socket for a client that reached this host at `local`, and tells its address as peers know it.
pub(crate) fn bind(
    config: &RelayConfig,
    local: IpAddr,
    family: Family,
    even_port: bool,
) -> Result<(RelayedSocket, SocketAddr), BindFault> {
    let own = own_ip(config, local.to_canonical(), family).ok_or(BindFault::Family)?;
    let external = config.external.iter().copied().find(|ip| Family::of(*ip) == family);
    for _ in 0..TRIES {
        let Ok(chance) = entropy::<4>() else { return Err(BindFault::Full) };
        let Some(port) = pick_port(config, u32::from_be_bytes(chance), even_port) else {
            return Err(BindFault::Full);
        };
        if let Ok(socket) = bind_one(SocketAddr::new(own, port)) {
            return Ok((socket, SocketAddr::new(external.unwrap_or(own), port)));
        }
    }
    Err(BindFault::Full)
}

/// Where the client came to, if that is of the family, or another address of this host.
fn own_ip(config: &RelayConfig, local: IpAddr, family: Family) -> Option<IpAddr> {
    if Family::of(local) == family && !local.is_unspecified() {
        return Some(local);
    }
    let wildcard: SocketAddr = if family == Family::V4 { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    let mut all = reachable(wildcard).into_iter().map(|address| address.ip());
    all.find(|ip| Family::of(*ip) == family && is_told(*ip, config.limits.allow_private))
}

fn pick_port(config: &RelayConfig, chance: u32, even_port: bool) -> Option<u16> {
    let (first, last) = (u32::from(*config.ports.start()), u32::from(*config.ports.end()));
    let count = last.checked_sub(first)? + 1;
    let port = u16::try_from(first + chance % count).ok()?;
    let port = if even_port { port & !1 } else { port };
    config.ports.contains(&port).then_some(port).filter(|port| *port != 0)
}

fn bind_one(address: SocketAddr) -> io::Result<RelayedSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    let socket = TokioRuntime.wrap_udp_socket(socket.into())?;
    let sender = Mutex::new(socket.create_sender());
    Ok(RelayedSocket { receiver: Mutex::new(Some(socket)), sender })
}

/// Passes on what peers send, until the allocation ends or the relay is gone.
pub(crate) async fn read(relay: Weak<RelayService>, allocation: AllocationId, socket: Arc<RelayedSocket>) {
    let receiver = socket.receiver.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(mut receiver) = receiver else { return };
    let mut buffer = vec![0; BUFFER];
    loop {
        let mut meta = [RecvMeta::default()];
        let received = {
            let mut slices = [IoSliceMut::new(&mut buffer)];
            poll_fn(|cx| receiver.poll_recv(cx, &mut slices, &mut meta)).await
        };
        let [meta] = meta;
        if !matches!(received, Ok(1..)) {
            // An error is an ICMP message about an earlier datagram, and passes.
            tokio::task::yield_now().await;
            continue;
        }
        let Some(relay) = relay.upgrade() else { return };
        for datagram in buffer.get(..meta.len).unwrap_or_default().chunks(meta.stride.max(1)) {
            relay.handle_peer(allocation, canonical(meta.addr), datagram);
        }
    }
}
