//! A public host that tells from where it sees a datagram, and answers from elsewhere if asked: what is needed to judge
//! a router (RFC 4787), in nothing but plain sockets.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use cs_tests::internet::Host;

/// Where it listens, on both of its addresses.
const PORTS: [u16; 2] = [3478, 3479];

/// How long a packet may take across the machine.
const PATIENCE: Duration = Duration::from_millis(400);

/// How often is asked what must be answered.
const QUESTIONS: u32 = 10;

/// From where an answer is wished for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    SamePlace,
    OtherPort,
    OtherAddress,
}

pub(crate) struct Observer {
    places: Vec<SocketAddr>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Observer {
    /// Needs two addresses.
    pub(crate) fn start(host: &Host) -> Self {
        let addresses: Vec<Ipv4Addr> = host.v4().to_vec();
        let places: Vec<SocketAddr> =
            addresses.iter().flat_map(|a| PORTS.map(|port| SocketAddr::from((*a, port)))).collect();
        let bind = |place: &SocketAddr| UdpSocket::bind(place).unwrap();
        let sockets: Arc<Vec<UdpSocket>> = Arc::new(host.netns().enter(|| places.iter().map(bind).collect()));
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..sockets.len()).map(|own| {
            let (sockets, stop) = (sockets.clone(), stop.clone());
            std::thread::spawn(move || serve(&sockets, own, &stop))
        });
        Self { places, stop: stop.clone(), threads: threads.collect() }
    }

    /// Its places: first address and first port, first address and second port, then those of the second address.
    pub(crate) fn places(&self) -> &[SocketAddr] {
        &self.places
    }
}

/// The address from which `place` sees the socket. A busy machine may need more than one question.
pub(crate) fn seen_by(socket: &UdpSocket, place: SocketAddr) -> Option<SocketAddr> {
    (0..QUESTIONS).find_map(|_| told_from(socket, place, From::SamePlace))
}

/// The address from which `place` sees the socket, told from there or from elsewhere. Nothing when no answer comes.
pub(crate) fn told_from(socket: &UdpSocket, place: SocketAddr, from: From) -> Option<SocketAddr> {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let wish = [match from {
        From::SamePlace => 0,
        From::OtherPort => 1,
        From::OtherAddress => 2,
    }];
    socket.send_to(&wish, place).ok()?;
    let mut answer = [0; 64];
    let (length, _) = socket.recv_from(&mut answer).ok()?;
    std::str::from_utf8(&answer[..length]).ok()?.parse().ok()
}

fn serve(sockets: &[UdpSocket], own: usize, stop: &AtomicBool) {
    sockets[own].set_read_timeout(Some(PATIENCE / 8)).unwrap();
    let mut wish = [0; 64];
    while !stop.load(Ordering::Relaxed) {
        let Ok((length, from)) = sockets[own].recv_from(&mut wish) else { continue };
        // Places in the order of `Observer::places`: a bit for the port, a bit for the address.
        let answering = own ^ usize::from(wish[..length].first().copied().unwrap_or(0) & 3);
        let _ = sockets[answering].send_to(from.to_string().as_bytes(), from);
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.drain(..).for_each(|thread| _ = thread.join());
    }
}
