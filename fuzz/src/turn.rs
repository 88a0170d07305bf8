//! TURN: whole conversations with either side, and its framing on streams.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use cs_transport::stun::{AttributeKind, Builder, Class, Credentials, Message, Method, PasswordAlgorithm};
use cs_transport::turn::server::{BindFault, FiveTuple, Output};
use cs_transport::turn::{
    Accounts, ChannelData, Client, ClientConfig, Frames, MAX_FRAME, Server, ServerConfig, Transport, client,
};

const REALM: &[u8] = b"cosync";
/// Attributes that a script names by their place here, and one that is none.
const KINDS: [AttributeKind; 16] = [
    AttributeKind::REQUESTED_TRANSPORT,
    AttributeKind::LIFETIME,
    AttributeKind::XOR_PEER_ADDRESS,
    AttributeKind::CHANNEL_NUMBER,
    AttributeKind::DATA,
    AttributeKind::REQUESTED_ADDRESS_FAMILY,
    AttributeKind::EVEN_PORT,
    AttributeKind::RESERVATION_TOKEN,
    AttributeKind::XOR_RELAYED_ADDRESS,
    AttributeKind::XOR_MAPPED_ADDRESS,
    AttributeKind::ERROR_CODE,
    AttributeKind::NONCE,
    AttributeKind::REALM,
    AttributeKind::PASSWORD_ALGORITHMS,
    AttributeKind::DONT_FRAGMENT,
    AttributeKind(0x7777),
];
const METHODS: [Method; 7] = [
    Method::ALLOCATE,
    Method::REFRESH,
    Method::CREATE_PERMISSION,
    Method::CHANNEL_BIND,
    Method::SEND,
    Method::DATA,
    Method::BINDING,
];

fn user() -> Credentials {
    Credentials::new("ann", "pass").expect("they are short")
}

/// A script, taken byte by byte; at its end there are zeros.
struct Script<'a>(&'a [u8]);

impl<'a> Script<'a> {
    fn byte(&mut self) -> u8 {
        self.bytes(1).first().copied().unwrap_or(0)
    }

    fn bytes(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    /// Attributes: how many, then kind, length and value of each.
    fn attributes(&mut self, mut builder: Builder) -> Builder {
        for _ in 0..self.byte() % 8 {
            let kind = KINDS[usize::from(self.byte()) % KINDS.len()];
            let length = self.byte().into();
            builder = builder.attribute(kind, self.bytes(length));
        }
        builder
    }
}

/// Steps of clients, peers and time at a server. Accepted if it granted an allocation and relayed something.
pub fn server(bytes: &[u8]) -> bool {
    let config = ServerConfig { allocations_max: 3, peers_per_allocation_max: 4, ..ServerConfig::default() };
    let max = config.allocations_max;
    let accounts = Accounts { users: vec![user()], ..Accounts::default() };
    let mut server = Server::new(config, accounts, [1; 32]);
    let (mut script, mut now, mut nonce) = (Script(bytes), Duration::ZERO, Vec::new());
    let (mut sockets, mut port) = (Vec::new(), 50_000);
    while !script.is_over() {
        let tuple = client_of(script.byte());
        match script.byte() % 8 {
            0 => {
                let length = script.byte().into();
                let _ = server.handle_input(now, tuple, script.bytes(length));
            }
            1..=3 => {
                let request = request(&mut script, &nonce);
                if let Ok(Some(to)) = server.handle_input(now, tuple, &request) {
                    assert!(!is_private(to.peer.ip()), "{} is inside", to.peer);
                }
            }
            4 => {
                let channel = [&[0x40, script.byte(), 0, 2][..], b"hi"].concat();
                let _ = server.handle_input(now, tuple, &channel);
            }
            5 => {
                let (at, peer) =
                    (usize::from(script.byte()), SocketAddr::from(([50, 0, 1, script.byte()], 4433)));
                let mut out = Vec::new();
                if let Some(of) = sockets.get(at) {
                    let _ = server.handle_peer(now, *of, peer, b"hello", &mut out);
                }
            }
            6 => now += Duration::from_secs(script.byte().into()),
            _ => server.handle_gone(now, tuple),
        }
        server.handle_timeout(now);
        assert!(server.poll_timeout().is_none_or(|at| at > now));
        while let Some(output) = server.poll_output() {
            match output {
                Output::Send { bytes, .. } => {
                    let Ok(answer) = Message::from_bytes(&bytes) else { continue };
                    if let Some(fresh) = answer.attribute(AttributeKind::NONCE) {
                        nonce = fresh.value.to_vec();
                        assert!(bytes.len() <= 56, "a stranger gets little");
                    }
                }
                Output::Bind { allocation, .. } => {
                    sockets.push(allocation);
                    port += 1;
                    let bound =
                        if port % 11 == 0 { Err(BindFault::Full) } else { Ok(([50, 0, 0, 10], port).into()) };
                    server.handle_bound(now, allocation, bound);
                }
                _ => {}
            }
        }
        assert!(server.counters().allocations <= max);
    }
    let counters = server.counters();
    counters.granted > 0 && counters.relayed > 0
}

fn client_of(byte: u8) -> FiveTuple {
    let transport = if byte & 1 == 0 { Transport::Udp } else { Transport::Tcp };
    let remote = ([50, 0, 2, byte & 3], 5000).into();
    FiveTuple { transport, local: ([50, 0, 0, 10], 3478).into(), remote }
}

fn request(script: &mut Script<'_>, nonce: &[u8]) -> Vec<u8> {
    let method = METHODS[usize::from(script.byte()) % METHODS.len()];
    let class = if method == Method::SEND { Class::Indication } else { Class::Request };
    let builder = script.attributes(Builder::new(class, method, [0; 12]));
    if class == Class::Indication || nonce.is_empty() {
        return builder.finish();
    }
    let builder = builder
        .attribute(AttributeKind::USERNAME, b"ann")
        .attribute(AttributeKind::REALM, REALM)
        .attribute(AttributeKind::NONCE, nonce);
    user().key(REALM, PasswordAlgorithm::Md5).protect(builder).finish()
}

fn is_private(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_multicast(),
        IpAddr::V6(ip) => {
            ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local() || ip.is_multicast()
        }
    }
}

/// A challenge, an allocation, a permission, a channel, and data each way.
pub fn server_seeds() -> Vec<Vec<u8>> {
    // The address 50.0.1.7:4433, masked by the cookie.
    let peer = [0, 1, 0x11 ^ 0x21, 0x51 ^ 0x12, 50 ^ 0x21, 0x12, 1 ^ 0xa4, 7 ^ 0x42];
    let allocate = [&[0, 1, 0, 1, 0, 4, 17, 0, 0, 0][..]].concat();
    let permit = [&[0, 1, 2, 1, 2, 8][..], &peer].concat();
    let bind = [&[0, 1, 3, 2, 3, 4, 0x40, 5, 0, 0, 2, 8][..], &peer].concat();
    let send = [&[0, 1, 4, 2, 2, 8][..], &peer, &[4, 2, b'h', b'i']].concat();
    let (channel, heard, wait) = ([0, 4, 5], [0, 5, 0, 7], [0, 6, 200]);
    let begin = [&allocate[..], &allocate, &permit, &send].concat();
    let whole =
        [&begin[..], &bind, &channel, &heard, &wait, &permit, &wait, &wait, &wait, &allocate, &[0, 7]]
            .concat();
    vec![begin, whole]
}

/// What a server, honest or not, and time do to a client. Accepted if it had an allocation.
pub fn client(bytes: &[u8]) -> bool {
    let mut client = Client::new(ClientConfig::new(user(), Transport::Udp), [2; 32]);
    let (mut script, mut now) = (Script(bytes), Duration::ZERO);
    let (mut asked, mut was_allocated) = (Vec::new(), false);
    client.start(now);
    while !script.is_over() {
        match script.byte() % 8 {
            0 => {
                let length = script.byte().into();
                let _ = client.handle_input(now, script.bytes(length));
            }
            1..=3 => {
                let answer = answer(&mut script, &asked);
                let _ = client.handle_input(now, &answer);
            }
            4 => {
                let peer = SocketAddr::from(([50, 0, 1, script.byte()], 4433));
                let _ = (client.permit(now, peer.ip()), client.bind(now, peer));
                let mut out = Vec::new();
                let _ = client.wrap(&mut out, peer, b"hello");
            }
            5 => now += Duration::from_millis(u64::from(script.byte()) * 100),
            6 => now += Duration::from_secs(script.byte().into()),
            _ if script.byte() & 1 == 0 => client.close(now),
            _ => client.start(now),
        }
        client.handle_timeout(now);
        assert!(client.poll_timeout().is_none_or(|at| at > now));
        was_allocated |= client.is_allocated();
        while let Some(output) = client.poll_output() {
            if let client::Output::Send(bytes) = output {
                assert!(Message::from_bytes(&bytes).is_ok(), "an own message is one");
                asked.push(bytes);
            }
        }
    }
    was_allocated
}

/// The answer to one of the requests, of any class and with any attributes, signed or not.
fn answer(script: &mut Script<'_>, asked: &[Vec<u8>]) -> Vec<u8> {
    let (back, how) = (usize::from(script.byte()), script.byte());
    let request = asked.iter().rev().nth(back % 8).and_then(|bytes| Message::from_bytes(bytes).ok());
    let Some(request) = request else { return Vec::new() };
    let class = [Class::Success, Class::Error, Class::Indication, Class::Request][usize::from(how & 3)];
    let method = if how & 4 == 0 { request.method() } else { Method::DATA };
    let builder = script.attributes(Builder::new(class, method, request.transaction()));
    if how & 8 == 0 {
        builder.finish()
    } else {
        user().key(REALM, PasswordAlgorithm::Md5).protect(builder).finish()
    }
}

/// A challenge and a success, then a refresh, a stale nonce, and an end.
pub fn client_seeds() -> Vec<Vec<u8>> {
    let challenge = |code: u8| {
        let head = [1, 0, 1, 3, 10, 4, 0, 0, 4, code, 12, 6];
        [&head[..], REALM, &[11, 1, b'n']].concat()
    };
    let address = [0, 1, 0x21, 0x12, 50 ^ 0x21, 0x12, 1 ^ 0xa4, 7 ^ 0x42];
    let lifetime = [1, 4, 0, 0, 2, 88];
    let success = [&[1, 0, 8, 3, 8, 8][..], &address, &[9, 8], &address, &lifetime].concat();
    let begin = [challenge(1), success.clone()].concat();
    let permit = [&[4, 7][..], &[1, 0, 8, 0, 1, 1, 8, 0]].concat();
    let refresh = [&[6, 121][..], &[1, 0, 8, 1], &lifetime].concat();
    let stale = [&[6, 121][..], &challenge(38), &[1, 0, 8, 1], &lifetime].concat();
    let whole = [&begin[..], &permit, &refresh, &stale, &[4, 7, 5, 9, 7, 0, 1, 0, 8, 0, 7, 1]].concat();
    vec![begin, whole]
}

/// A stream in pieces whose size the first byte tells, cut into messages and read.
pub fn frames(bytes: &[u8]) -> bool {
    let Some((piece, stream)) = bytes.split_first() else { return false };
    let (mut frames, mut read) = (Frames::new(), 0);
    for piece in stream.chunks(usize::from(*piece).max(1)) {
        frames.push(piece);
        loop {
            let frame = match frames.take() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(_) => return false,
            };
            assert!(frame.len() <= MAX_FRAME && frame.len().is_multiple_of(4));
            read += frame.len();
            if let Ok(data) = ChannelData::from_bytes(&frame) {
                let header = ChannelData::header(data.channel, data.bytes.len());
                assert_eq!(header.as_ref().map(|header| &header[..]), frame.get(..4));
            }
        }
        assert!(frames.len() < MAX_FRAME + piece.len());
    }
    read > 0 && read == stream.len()
}

/// Channel data and a message, in pieces and at once.
pub fn frames_seeds() -> Vec<Vec<u8>> {
    let message = Builder::new(Class::Request, Method::ALLOCATE, [3; 12]).attribute(KINDS[0], &[17, 0, 0, 0]);
    let stream = [&[0x40, 1, 0, 5, 1, 2, 3, 4, 5, 0, 0, 0][..], &message.finish()].concat();
    [3, 255].map(|piece: u8| [&[piece][..], &stream].concat()).to_vec()
}
