//! A TURN client with a socket of its own, for tests here and with programs of others. Calls block.

use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use cs_transport::stun::{Behaviour, Credentials, Discovery, DiscoveryOutput};
use cs_transport::turn::{Client, ClientConfig, Event, Frames, Transport, client};

/// Far above what anything here takes; only a failure waits this long.
pub(crate) const LIMIT: Duration = Duration::from_secs(20);

pub(crate) fn loopback(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

enum Wire {
    Udp(UdpSocket),
    Tcp(TcpStream, Frames),
}

pub(crate) struct Caller {
    pub(crate) client: Client,
    wire: Wire,
    begun: Instant,
    heard: Vec<(SocketAddr, Vec<u8>)>,
    events: Vec<Event>,
}

impl Caller {
    pub(crate) fn new(credentials: Credentials, transport: Transport, server: SocketAddr) -> Self {
        let wire = match transport {
            Transport::Udp => {
                let socket = UdpSocket::bind(loopback(0)).expect("a port is free");
                socket.connect(server).expect("the loopback is there");
                socket.set_read_timeout(Some(Duration::from_millis(5))).expect("it can wait");
                Wire::Udp(socket)
            }
            Transport::Tcp => {
                let stream = TcpStream::connect(server).expect("the relay listens");
                stream.set_read_timeout(Some(Duration::from_millis(5))).expect("it can wait");
                Wire::Tcp(stream, Frames::new())
            }
        };
        let client = Client::new(ClientConfig::new(credentials, transport), [5; 32]);
        Self { client, wire, begun: Instant::now(), heard: Vec::new(), events: Vec::new() }
    }

    /// As if its process had started anew with the same socket.
    pub(crate) fn forget(&mut self, credentials: Credentials, transport: Transport) {
        self.client = Client::new(ClientConfig::new(credentials, transport), [6; 32]);
    }

    pub(crate) fn now(&self) -> Duration {
        self.begun.elapsed()
    }

    fn send(&mut self, bytes: &[u8]) {
        match &mut self.wire {
            Wire::Udp(socket) => drop(socket.send(bytes)),
            Wire::Tcp(stream, _) => stream.write_all(bytes).expect("the relay reads"),
        }
    }

    /// What arrived within some milliseconds.
    fn receive(&mut self) -> Vec<Vec<u8>> {
        let mut buffer = [0; 4096];
        let count = match &mut self.wire {
            Wire::Udp(socket) => socket.recv(&mut buffer),
            Wire::Tcp(stream, _) => stream.read(&mut buffer),
        };
        let count = match count {
            Ok(count) => count,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => 0,
            Err(error) => panic!("the connection broke: {error}"),
        };
        match &mut self.wire {
            Wire::Udp(_) => Vec::from_iter((count > 0).then(|| buffer[..count].to_vec())),
            Wire::Tcp(_, frames) => {
                frames.push(&buffer[..count]);
                core::iter::from_fn(|| frames.take().expect("the relay frames well"))
                    .map(|frame| frame.to_vec())
                    .collect()
            }
        }
    }

    fn turn(&mut self) {
        self.client.handle_timeout(self.now());
        while let Some(output) = self.client.poll_output() {
            match output {
                client::Output::Send(bytes) => self.send(&bytes),
                client::Output::Event(event) => self.events.push(event),
                _ => {}
            }
        }
        for bytes in self.receive() {
            if let Ok(Some(data)) = self.client.handle_input(self.now(), &bytes) {
                self.heard.push((data.peer, data.bytes.to_vec()));
            }
        }
    }

    fn until<T>(&mut self, mut look: impl FnMut(&mut Self) -> Option<T>) -> T {
        let begun = Instant::now();
        loop {
            self.turn();
            if let Some(found) = look(self) {
                return found;
            }
            assert!(begun.elapsed() < LIMIT, "nothing came of it: {:?}", self.events);
        }
    }

    pub(crate) fn event(&mut self) -> Event {
        self.until(|caller| (!caller.events.is_empty()).then(|| caller.events.remove(0)))
    }

    pub(crate) fn allocate(&mut self) -> SocketAddr {
        self.client.start(self.now());
        match self.event() {
            Event::Allocated { relayed, .. } => relayed,
            other => panic!("no allocation: {other:?}"),
        }
    }

    pub(crate) fn say(&mut self, peer: SocketAddr, data: &[u8]) {
        let mut out = Vec::new();
        self.client.wrap(&mut out, peer, data).expect("it is permitted");
        self.send(&out);
    }

    pub(crate) fn hears(&mut self, from: SocketAddr, data: &[u8]) {
        let heard = self.until(|caller| caller.heard.pop());
        assert_eq!(heard, (from, data.to_vec()));
    }
}

/// A peer's socket.
pub(crate) fn peer() -> UdpSocket {
    let socket = UdpSocket::bind(loopback(0)).expect("a port is free");
    socket.set_read_timeout(Some(LIMIT)).expect("it can wait");
    socket
}

pub(crate) fn discover(server: SocketAddr) -> Behaviour {
    let socket = UdpSocket::bind(loopback(0)).expect("a port is free");
    socket.set_read_timeout(Some(Duration::from_millis(5))).expect("it can wait");
    let begun = Instant::now();
    let mut discovery = Discovery::new(Duration::ZERO, server, [5; 32]);
    let mut buffer = [0; 2000];
    loop {
        discovery.handle_timeout(begun.elapsed());
        while let Some(output) = discovery.poll_output() {
            match output {
                DiscoveryOutput::Send { to, bytes } => drop(socket.send_to(&bytes, to)),
                DiscoveryOutput::Done(behaviour) => return behaviour,
                _ => {}
            }
        }
        if let Ok((count, from)) = socket.recv_from(&mut buffer) {
            let _ = discovery.handle_input(begun.elapsed(), from, &buffer[..count]);
        }
        assert!(begun.elapsed() < LIMIT, "it never ends");
    }
}
