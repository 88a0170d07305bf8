//! The shared socket: QUIC's datagrams go on to noq, all others are taken out on the way (TP-1). What came over a relay
//! joins here, and what is to leave over one branches off (TP-30).

use core::fmt;
use core::future::poll_fn;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use core::num::NonZeroUsize;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::io::{self, IoSliceMut};
use std::sync::Arc;

use bytes::Bytes;
use noq::udp::{RecvMeta, Transmit};
use noq::{AsyncUdpSocket, Runtime, TokioRuntime, UdpSender};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::mpsc;

use super::addresses::{canonical, mapped, mapped_ip};
use super::config::BindError;
use super::counters::Tally;
use super::routes::{Arrived, Routes, is_route};
use crate::wire::{Datagram, classify};

/// Datagrams beside QUIC that may wait for their task.
const SIDE_QUEUE: usize = 512;
/// Longest datagram beside QUIC that is looked at, in bytes.
const SIDE_BYTES_MAX: usize = 1500;
/// Bytes asked of the kernel for each direction of a socket; it may give less.
const SOCKET_BUFFER: usize = 4 << 20;

/// Where a datagram came to that came in by an exit.
const NOWHERE: SocketAddr = SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), 0);

/// A datagram that is not QUIC's.
#[derive(Debug)]
pub(crate) struct Side {
    pub(crate) kind: Datagram,
    pub(crate) from: SocketAddr,
    /// The address that it came to: the socket's, where the kernel tells nothing closer.
    pub(crate) to: SocketAddr,
    pub(crate) bytes: Bytes,
}

/// All bound sockets and all exits as one. To noq it is an IPv6 socket, whatever is bound: addresses that stand for
/// routes are of IPv6.
pub(crate) struct SharedSocket {
    inner: Vec<Bound>,
    routes: Arc<Routes>,
    arrivals: mpsc::Receiver<Arrived>,
    /// Which socket is asked first: none starves.
    next: usize,
    side: mpsc::Sender<Side>,
    tally: Arc<Tally>,
}

struct Bound {
    local: SocketAddr,
    socket: Box<dyn AsyncUdpSocket>,
}

impl SharedSocket {
    /// Binds all of `listen`. Must run inside a tokio runtime.
    pub(crate) fn bind(
        listen: &[SocketAddr],
        tally: Arc<Tally>,
    ) -> Result<(Self, mpsc::Receiver<Side>), BindError> {
        let dual = !listen.iter().any(SocketAddr::is_ipv4);
        let mut inner = Vec::new();
        for address in listen {
            let bound =
                bind_one(*address, dual).map_err(|source| BindError::Socket { address: *address, source })?;
            inner.push(bound);
        }
        let (routes, arrivals) = Routes::new();
        let (side, receiver) = mpsc::channel(SIDE_QUEUE);
        Ok((Self { inner, routes, arrivals, next: 0, side, tally }, receiver))
    }

    pub(crate) fn routes(&self) -> Arc<Routes> {
        self.routes.clone()
    }

    pub(crate) fn local_addrs(&self) -> Vec<SocketAddr> {
        self.inner.iter().map(|bound| bound.local).collect()
    }

    pub(crate) fn sender(&self) -> SharedSender {
        let ways = self.inner.iter().map(|bound| (bound.local, bound.socket.create_sender())).collect();
        SharedSender { ways, routes: self.routes.clone() }
    }

    /// Takes what is not QUIC's out of one received buffer, which holds several datagrams if the kernel joined them.
    fn sort_out(&self, local: SocketAddr, buffer: &mut [u8], meta: &mut RecvMeta) {
        let stride = meta.stride.max(1);
        let Some(received) = buffer.get_mut(..meta.len) else { return };
        if received.chunks(stride).all(|datagram| classify(datagram) == Datagram::Quic) {
            return;
        }
        let to = SocketAddr::new(meta.dst_ip.unwrap_or(local.ip()).to_canonical(), local.port());
        let (mut read, mut kept) = (0, 0);
        while read < received.len() {
            let end = received.len().min(read + stride);
            let datagram = received.get(read..end).unwrap_or_default();
            match classify(datagram) {
                Datagram::Quic => {
                    received.copy_within(read..end, kept);

                    kept += end - read;
                }
                kind => self.hand_over(kind, canonical(meta.addr), to, datagram),
            }
            read = end;
        }
        meta.len = kept;
    }

    /// Takes what came in by exits; returns how many of `buffers` are filled.
    fn take_arrived(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> usize {
        let mut filled = 0;
        for (buffer, meta) in buffers.iter_mut().zip(metas) {
            let (from, bytes) = loop {
                let Poll::Ready(Some((from, bytes))) = self.arrivals.poll_recv(cx) else { return filled };
                match classify(&bytes) {
                    Datagram::Quic => break (from, bytes),
                    kind => self.hand_over(kind, from, NOWHERE, &bytes),
                }
            };
            let length = bytes.len().min(buffer.len());
            for (slot, byte) in buffer.iter_mut().zip(&bytes) {
                *slot = *byte;
            }
            *meta = RecvMeta::default();
            (meta.addr, meta.len, meta.stride) = (from, length, length);
            filled += 1;
        }
        filled
    }

    fn hand_over(&self, kind: Datagram, from: SocketAddr, to: SocketAddr, datagram: &[u8]) {
        if kind == Datagram::Unknown || datagram.len() > SIDE_BYTES_MAX {
            self.tally.garbage.add();
            return;
        }
        if let Ok(slot) = self.side.try_reserve() {
            slot.send(Side { kind, from, to, bytes: Bytes::copy_from_slice(datagram) });
        } else {
            self.tally.overrun.add();
        }
    }
}

fn bind_one(address: SocketAddr, dual: bool) -> io::Result<Bound> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
    if address.is_ipv6() {
        socket.set_only_v6(!dual)?;
    }
    // The kernel caps both at its own limit; a smaller buffer costs throughput and nothing else.
    let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
    let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    let socket = TokioRuntime.wrap_udp_socket(socket.into())?;
    Ok(Bound { local: socket.local_addr()?, socket })
}

impl AsyncUdpSocket for SharedSocket {
    fn create_sender(&self) -> Pin<Box<dyn UdpSender>> {
        Box::pin(self.sender())
    }

    fn poll_recv(
        &mut self,
        cx: &mut Context<'_>,
        buffers: &mut [IoSliceMut<'_>],
        metas: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let filled = self.take_arrived(cx, buffers, metas);
        if filled > 0 {
            return Poll::Ready(Ok(filled));
        }
        let count = self.inner.len();
        for turn in 0..count {
            let index = (self.next + turn) % count;
            let Some(bound) = self.inner.get_mut(index) else { continue };
            let received = match bound.socket.poll_recv(cx, buffers, metas) {
                Poll::Pending => continue,
                Poll::Ready(Ok(received)) => received,
                Poll::Ready(Err(_)) => {
                    // Errors of a datagram socket (an ICMP message, a full table) pass; ending here would end the
                    // endpoint. Asking again at once clears them one by one.
                    cx.waker().wake_by_ref();
                    continue;
                }
            };
            let local = bound.local;
            self.next = (index + 1) % count;
            for (meta, buffer) in metas.iter_mut().zip(buffers.iter_mut()).take(received) {
                if is_route(meta.addr) {
                    // No host has such an address; who claims one shall not pass for a relay.
                    meta.len = 0;
                    continue;
                }
                self.sort_out(local, buffer, meta);
                meta.addr = mapped(meta.addr);
                meta.dst_ip = meta.dst_ip.map(mapped_ip);
            }
            return Poll::Ready(Ok(received));
        }
        Poll::Pending
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        let preferred = self.inner.iter().max_by_key(|bound| bound.local.is_ipv6());
        preferred.map(|bound| mapped(bound.local)).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    fn max_receive_segments(&self) -> NonZeroUsize {
        self.inner.iter().map(|bound| bound.socket.max_receive_segments()).max().unwrap_or(NonZeroUsize::MIN)
    }

    fn may_fragment(&self) -> bool {
        self.inner.iter().any(|bound| bound.socket.may_fragment())
    }
}

impl fmt::Debug for SharedSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSocket").field("local", &self.local_addrs()).finish_non_exhaustive()
    }
}

/// Sends by the exit that the destination stands for, or else on whichever socket fits the destination's family and, where
/// it is given, the source address.
#[derive(Debug)]
pub(crate) struct SharedSender {
    ways: Vec<(SocketAddr, Pin<Box<dyn UdpSender>>)>,
    routes: Arc<Routes>,
}

impl SharedSender {
    fn way(
        &mut self,
        destination: SocketAddr,
        source: Option<IpAddr>,
    ) -> Option<&mut (SocketAddr, Pin<Box<dyn UdpSender>>)> {
        let destination = canonical(destination);
        let source = source.map(|ip| ip.to_canonical());
        let fits = |local: &SocketAddr| {
            local.is_ipv4() == destination.is_ipv4() || (local.is_ipv6() && destination.is_ipv4())
        };
        let rank = |local: &SocketAddr| {
            let same_family = local.is_ipv4() == destination.is_ipv4();
            (Some(local.ip()) == source, same_family, local.ip().is_unspecified())
        };
        self.ways.iter_mut().filter(|(local, _)| fits(local)).max_by_key(|(local, _)| rank(local))
    }
}

impl UdpSender for SharedSender {
    fn poll_send(
        self: Pin<&mut Self>,
        transmit: &Transmit<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        self.routes.beat(transmit.destination);
        if is_route(transmit.destination) {
            self.routes.send(transmit.destination, transmit.contents, transmit.segment_size);
            return Poll::Ready(Ok(()));
        }
        // A datagram that no socket can carry is as good as lost, and QUIC treats it so.
        let Some((local, sender)) = self.get_mut().way(transmit.destination, transmit.src_ip) else {
            return Poll::Ready(Ok(()));
        };
        let mut transmit = transmit.clone();
        if local.is_ipv4() {
            transmit.destination = canonical(transmit.destination);
            transmit.src_ip = transmit.src_ip.map(|ip| ip.to_canonical()).filter(IpAddr::is_ipv4);
        } else {
            transmit.destination = mapped(transmit.destination);
            transmit.src_ip = transmit.src_ip.map(mapped_ip);
        }
        sender.as_mut().poll_send(&transmit, cx)
    }

    fn max_transmit_segments(&self) -> NonZeroUsize {
        self.ways.iter().map(|(_, sender)| sender.max_transmit_segments()).min().unwrap_or(NonZeroUsize::MIN)
    }
}

/// Datagrams beside QUIC that may wait for the socket.
const OUT_QUEUE: usize = 512;

/// Sends datagrams beside QUIC, by a task of its own. A full queue drops them, as a network may.
#[derive(Clone, Debug)]
pub(crate) struct DatagramSender(mpsc::Sender<Outgoing>);

/// A datagram, whither, and from which of this host's addresses.
type Outgoing = (Option<IpAddr>, SocketAddr, Vec<u8>);

impl DatagramSender {
    /// The task ends with the last clone.
    pub(crate) fn start(mut sender: SharedSender) -> Self {
        let (queue, mut datagrams) = mpsc::channel::<Outgoing>(OUT_QUEUE);
        tokio::spawn(async move {
            while let Some((src_ip, destination, contents)) = datagrams.recv().await {
                let contents = &contents[..];
                let transmit = Transmit { destination, ecn: None, contents, segment_size: None, src_ip };
                // An error concerns this datagram only.
                let _ = poll_fn(|cx| Pin::new(&mut sender).poll_send(&transmit, cx)).await;
            }
        });
        Self(queue)
    }

    pub(crate) fn send(&self, destination: SocketAddr, datagram: Vec<u8>) {
        self.send_from(None, destination, datagram);
    }

    /// As [`Self::send`], from this address of this host: who asked there expects the answer from there.
    pub(crate) fn send_from(&self, source: Option<IpAddr>, destination: SocketAddr, datagram: Vec<u8>) {
        let _ = self.0.try_send((source, destination, datagram));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // TP-1: the kernel joins datagrams of one sender and one length, whatever protocol they belong to.
    #[tokio::test]
    async fn tp_1_a_joined_buffer_is_sorted_datagram_by_datagram() {
        let tally = Arc::new(Tally::default());
        let listen = [([127, 0, 0, 1], 0).into()];
        let (socket, mut side) = SharedSocket::bind(&listen, tally.clone()).expect("the loopback is there");
        // Four of five bytes and a shorter last one: short header, request, long header, garbage, short header.
        let mut buffer =
            [[0x41, 1, 1, 1, 1], [0x80, 2, 2, 2, 2], [0xc0, 3, 3, 3, 3], [0x90, 4, 4, 4, 4]].concat();
        buffer.extend_from_slice(&[0x42, 5]);
        let from = SocketAddr::from(([192, 0, 2, 1], 9));
        let mut meta = RecvMeta::default();
        (meta.addr, meta.len, meta.stride) = (mapped(from), buffer.len(), 5);
        socket.sort_out(([127, 0, 0, 1], 5).into(), &mut buffer, &mut meta);
        assert_eq!(buffer.get(..meta.len), Some(&[0x41, 1, 1, 1, 1, 0xc0, 3, 3, 3, 3, 0x42, 5][..]));
        let request = side.try_recv().expect("the request was taken out");
        assert_eq!(
            (request.kind, request.from, &request.bytes[..]),
            (Datagram::RpcRequest, from, &[0x80, 2, 2, 2, 2][..])
        );
        assert!(side.try_recv().is_err());
        assert_eq!(tally.snapshot().garbage, 1);
    }

    #[tokio::test]
    async fn tp_13_datagrams_beside_quic_wait_in_a_bounded_queue() {
        let tally = Arc::new(Tally::default());
        let listen = [([127, 0, 0, 1], 0).into()];
        let (socket, mut side) = SharedSocket::bind(&listen, tally.clone()).expect("the loopback is there");
        for _ in 0..SIDE_QUEUE + 10 {
            let (from, to) = (([192, 0, 2, 1], 9).into(), ([127, 0, 0, 1], 5).into());
            socket.hand_over(Datagram::RpcRequest, from, to, &[0x80]);
        }
        assert_eq!(tally.snapshot().overrun, 10);
        let waiting = core::iter::from_fn(|| side.try_recv().ok()).count();
        assert_eq!(waiting, SIDE_QUEUE);
    }
}
