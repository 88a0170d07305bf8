//! A UDP forwarder between a node and whoever dials it, that keeps every byte that passes.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long a thread sleeps in `recv` before it looks whether it shall end.
const PATIENCE: Duration = Duration::from_millis(50);

pub(crate) struct Proxy {
    address: SocketAddr,
    state: Arc<State>,
    thread: Option<JoinHandle<()>>,
}

struct State {
    stop: AtomicBool,
    captured: Mutex<Vec<Vec<u8>>>,
}

impl Proxy {
    /// Forwards what reaches the new address to `to`, and the answers back.
    pub(crate) fn start(to: SocketAddr) -> io::Result<Self> {
        let front = UdpSocket::bind("127.0.0.1:0")?;
        front.set_read_timeout(Some(PATIENCE))?;
        let address = front.local_addr()?;
        let state = Arc::new(State { stop: AtomicBool::new(false), captured: Mutex::default() });
        let shared = state.clone();
        let thread = std::thread::spawn(move || shared.serve(&front, to));
        Ok(Self { address, state, thread: Some(thread) })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Everything that passed so far, both ways, a datagram each.
    pub(crate) fn captured(&self) -> Vec<Vec<u8>> {
        self.state.captured.lock().unwrap().clone()
    }
}

impl State {
    fn serve(self: Arc<Self>, front: &UdpSocket, to: SocketAddr) {
        let mut backs: BTreeMap<SocketAddr, UdpSocket> = BTreeMap::new();
        let mut threads = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        while !self.stop.load(Ordering::Relaxed) {
            let Ok((length, from)) = front.recv_from(&mut buffer) else { continue };
            let back = backs.entry(from).or_insert_with(|| {
                let (back, answers) = (UdpSocket::bind("127.0.0.1:0").unwrap(), front.try_clone().unwrap());
                back.set_read_timeout(Some(PATIENCE)).unwrap();
                back.connect(to).unwrap();
                let (listener, state) = (back.try_clone().unwrap(), self.clone());
                threads.push(std::thread::spawn(move || state.answer(&listener, &answers, from)));
                back
            });
            self.keep(&buffer[..length]);
            // A datagram that is lost is sent again by whoever misses it.
            let _ = back.send(&buffer[..length]);
        }
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    }

    fn answer(&self, back: &UdpSocket, front: &UdpSocket, to: SocketAddr) {
        let mut buffer = vec![0; 1 << 16];
        while !self.stop.load(Ordering::Relaxed) {
            let Ok(length) = back.recv(&mut buffer) else { continue };
            self.keep(&buffer[..length]);
            let _ = front.send_to(&buffer[..length], to);
        }
    }

    fn keep(&self, datagram: &[u8]) {
        self.captured.lock().unwrap().push(datagram.to_vec());
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
