//! Four sockets for RFC 5780: the shared one, and those of its four corners that it does not have (TP-29).

use core::net::{IpAddr, SocketAddr};
use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::net::UdpSocket;
use tokio::time::Instant;

use super::super::addresses::canonical;
use super::super::config::BindError;
use super::super::counters::Tally;
use super::super::socket::DatagramSender;
use super::Alternate;
use crate::rpc::RateLimiter;
use crate::stun::{Corner, Message, Quad};

/// Longest request that is looked at, in bytes: what an Ethernet carries.
const REQUEST_MAX: usize = 1500;
/// Sources whose rate is counted one by one.
const SOURCES: usize = 1024;

pub(crate) struct Corners {
    quad: Quad,
    /// Those that the shared socket does not have.
    extra: BTreeMap<Corner, UdpSocket>,
    datagrams: DatagramSender,
    tally: Arc<Tally>,
    started: Instant,
    requests: Mutex<RateLimiter>,
}

impl core::fmt::Debug for Corners {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Corners").field("quad", &self.quad).finish_non_exhaustive()
    }
}

impl Corners {
    /// `local`: where the shared socket is bound.
    pub(crate) fn bind(
        alternate: Alternate,
        local: &[SocketAddr],
        datagrams: DatagramSender,
        tally: Arc<Tally>,
        requests_per_second: u32,
    ) -> Result<Arc<Self>, BindError> {
        let first = local.iter().find(|bound| covers(**bound, alternate.first));
        let first = first.ok_or(BindError::OutOfRange("alternate"))?;
        let first = SocketAddr::new(alternate.first, first.port());
        let second = SocketAddr::new(alternate.second, alternate.second_port);
        let quad = Quad::new(first, second).ok_or(BindError::OutOfRange("alternate"))?;
        let mut extra = BTreeMap::new();
        for corner in Corner::ALL {
            let address = quad.address(corner);
            if !local.iter().any(|bound| bound.port() == address.port() && covers(*bound, address.ip())) {
                let socket = bind_one(address).map_err(|source| BindError::Socket { address, source })?;
                extra.insert(corner, socket);
            }
        }
        let requests = RateLimiter::new(requests_per_second, requests_per_second.saturating_mul(2), SOURCES);
        let (started, requests) = (Instant::now(), Mutex::new(requests));
        let corners = Arc::new(Self { quad, extra, datagrams, tally, started, requests });
        for corner in corners.extra.keys() {
            tokio::spawn(read(Arc::downgrade(&corners), *corner));
        }
        Ok(corners)
    }

    /// Whether `to` is one of the corners, and the request could be answered.
    pub(crate) fn answer(&self, request: &Message<'_>, from: SocketAddr, to: SocketAddr) -> bool {
        let at = self.quad.corner(to);
        let Some(reply) = at.and_then(|at| self.quad.answer(request, from, at)) else { return false };
        match self.extra.get(&reply.from) {
            // A full socket loses it, as a network may.
            Some(socket) => drop(socket.try_send_to(&reply.bytes, reply.to)),
            None => {
                let source = Some(self.quad.address(reply.from).ip());
                self.datagrams.send_from(source, reply.to, reply.bytes);
            }
        }
        true
    }

    fn handle(&self, corner: Corner, from: SocketAddr, bytes: &[u8]) {
        let mut requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        if !requests.admit(self.started.elapsed(), from) {
            return self.tally.rate_limited.add();
        }
        drop(requests);
        let request = Message::from_bytes(bytes);
        if request.is_ok_and(|request| self.answer(&request, from, self.quad.address(corner))) {
            self.tally.stun_served.add();
        } else {
            self.tally.garbage.add();
        }
    }
}

async fn read(corners: Weak<Corners>, corner: Corner) {
    let mut buffer = [0; REQUEST_MAX];
    loop {
        let Some(strong) = corners.upgrade() else { return };
        let Some(socket) = strong.extra.get(&corner) else { return };
        // Waits a second at most, so that the sockets are closed soon after the endpoint.
        let received =
            tokio::time::timeout(core::time::Duration::from_secs(1), socket.recv_from(&mut buffer));
        if let Ok(Ok((count, from))) = received.await {
            strong.handle(corner, canonical(from), buffer.get(..count).unwrap_or_default());
        }
    }
}

fn bind_one(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = std::net::UdpSocket::bind(address)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// Whether a socket bound to `bound` hears what is sent to `ip`.
fn covers(bound: SocketAddr, ip: IpAddr) -> bool {
    bound.ip() == ip || (bound.ip().is_unspecified() && (bound.is_ipv6() || ip.is_ipv4()))
}
