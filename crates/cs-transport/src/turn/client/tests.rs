//! The client against a small model of a server.

use super::*;
use crate::stun::{PasswordAlgorithm, encode_error_code};

const REALM: &[u8] = b"lab";

fn credentials() -> Credentials {
    Credentials::new("user", "pass").expect("they are short")
}

fn relayed() -> SocketAddr {
    ([203, 0, 113, 1], 50_000).into()
}

fn peer() -> SocketAddr {
    ([198, 51, 100, 7], 4433).into()
}

/// A server that grants everything, once it was asked with its nonce.
struct Model {
    nonce: &'static [u8],
    lifetime: u32,
    /// Codes with which the next signed requests are refused; zero for none.
    refuse: VecDeque<u16>,
    offers_sha256: bool,
    asked: Vec<Method>,
}

impl Model {
    fn new() -> Self {
        Self {
            nonce: b"one",
            lifetime: 600,
            refuse: VecDeque::new(),
            offers_sha256: false,
            asked: Vec::new(),
        }
    }

    fn challenge(&self, request: &Message<'_>, code: u16) -> Vec<u8> {
        let mut builder = Builder::new(Class::Error, request.method(), request.transaction())
            .attribute(AttributeKind::ERROR_CODE, &encode_error_code(code))
            .attribute(AttributeKind::REALM, REALM)
            .attribute(AttributeKind::NONCE, self.nonce);
        if self.offers_sha256 {
            builder = builder.attribute(AttributeKind::PASSWORD_ALGORITHMS, &[0, 1, 0, 0, 0, 2, 0, 0]);
        }
        builder.finish()
    }

    fn answer(&mut self, request: &[u8]) -> Option<Vec<u8>> {
        let request = Message::from_bytes(request).expect("the client speaks STUN");
        if request.class() != Class::Request {
            return None;
        }
        let Some(nonce) = request.attribute(AttributeKind::NONCE) else {
            return Some(self.challenge(&request, 401));
        };
        let algorithm = if self.offers_sha256 { PasswordAlgorithm::Sha256 } else { PasswordAlgorithm::Md5 };
        let key = credentials().key(REALM, algorithm);
        assert_eq!(key.verify(&request), Some(true));
        assert_eq!(request.attribute(AttributeKind::PASSWORD_ALGORITHM).is_some(), self.offers_sha256);
        if nonce.value != self.nonce {
            return Some(self.challenge(&request, 438));
        }
        self.asked.push(request.method());
        if let Some(code) = self.refuse.pop_front().filter(|code| *code != 0) {
            let builder = Builder::new(Class::Error, request.method(), request.transaction())
                .attribute(AttributeKind::ERROR_CODE, &encode_error_code(code));
            return Some(builder.finish());
        }
        let transaction = request.transaction();
        let builder = Builder::new(Class::Success, request.method(), transaction)
            .attribute(AttributeKind::XOR_RELAYED_ADDRESS, &encode_xor_address(relayed(), &transaction))
            .attribute(AttributeKind::XOR_MAPPED_ADDRESS, &encode_xor_address(peer(), &transaction))
            .attribute(AttributeKind::LIFETIME, &self.lifetime.to_be_bytes());
        Some(key.protect(builder).finish())
    }
}

fn client(transport: Transport) -> Client {
    Client::new(ClientConfig::new(credentials(), transport), [7; 32])
}

/// Everything the client sends is answered, until it is silent.
fn settle(client: &mut Client, model: &mut Model, now: Duration) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(output) = client.poll_output() {
        match output {
            Output::Event(event) => events.push(event),
            Output::Send(bytes) => {
                if let Some(answer) = model.answer(&bytes) {
                    assert_eq!(client.handle_input(now, &answer), Ok(None));
                }
            }
        }
    }
    events
}

fn allocated(model: &mut Model) -> Client {
    let mut client = client(Transport::Udp);
    client.start(Duration::ZERO);
    let events = settle(&mut client, model, Duration::ZERO);
    let lifetime = Duration::from_secs(model.lifetime.into());
    assert_eq!(events, [Event::Allocated { relayed: relayed(), mapped: peer(), lifetime }]);
    client
}

/// Runs the timers up to `until`, the model answering.
fn run(client: &mut Client, model: &mut Model, until: Duration) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some(at) = client.poll_timeout().filter(|at| *at <= until) {
        client.handle_timeout(at);
        assert!(client.poll_timeout().is_none_or(|next| next > at), "the next deadline is later");
        events.extend(settle(client, model, at));
    }
    events
}

#[test]
fn tp_23_an_allocation_is_asked_for_with_credentials_once_the_server_wants_them() {
    for offers_sha256 in [false, true] {
        let mut model = Model { offers_sha256, ..Model::new() };
        let client = allocated(&mut model);
        assert!(client.is_allocated());
        assert_eq!(model.asked, [Method::ALLOCATE]);
    }
}

#[test]
fn tp_23_data_travels_in_an_indication_and_on_a_channel_once_there_is_one() {
    let (mut model, now) = (Model::new(), Duration::ZERO);
    let mut client = allocated(&mut model);
    let mut out = Vec::new();
    assert_eq!(client.wrap(&mut out, peer(), b"hello"), Err(NotPermitted::Peer));
    client.permit(now, peer().ip()).expect("there is room");
    assert_eq!(settle(&mut client, &mut model, now), [Event::Permitted(peer().ip())]);
    client.wrap(&mut out, peer(), b"hello").expect("it is permitted");
    let message = Message::from_bytes(&out).expect("an indication");
    assert_eq!((message.class(), message.method()), (Class::Indication, Method::SEND));
    let attribute = |kind| message.attribute(kind).expect("it is there");
    assert_eq!(attribute(AttributeKind::XOR_PEER_ADDRESS).xor_address(&message), Ok(peer()));
    assert_eq!(attribute(AttributeKind::DATA).value, b"hello");
    client.bind(now, peer()).expect("there is room");
    assert_eq!(settle(&mut client, &mut model, now), [Event::Bound(peer())]);
    let mut out = Vec::new();
    client.wrap(&mut out, peer(), b"hello").expect("it is bound");
    assert_eq!(out, b"\x40\0\0\x05hello");
    let data = client.handle_input(now, b"\x40\0\0\x05world");
    assert_eq!(data, Ok(Some(Data { peer: peer(), bytes: b"world" })));
    assert_eq!(client.handle_input(now, b"\x40\x01\0\x05world"), Err(PeerFault::Stranger));
}

#[test]
fn tp_22_data_on_a_stream_is_padded() {
    let (mut model, now) = (Model::new(), Duration::ZERO);
    let mut client = client(Transport::Tcp);
    client.start(now);
    client.bind(now, peer()).expect("there is room");
    assert_eq!(settle(&mut client, &mut model, now).len(), 2);
    let mut out = vec![9];
    client.wrap(&mut out, peer(), b"hello").expect("it is bound");
    assert_eq!(out, b"\x09\x40\0\0\x05hello\0\0\0");
}

#[test]
fn tp_23_data_of_a_peer_that_was_never_asked_for_is_refused() {
    let mut client = allocated(&mut Model::new());
    let transaction = [3; 12];
    let indication = Builder::new(Class::Indication, Method::DATA, transaction)
        .attribute(AttributeKind::XOR_PEER_ADDRESS, &encode_xor_address(peer(), &transaction))
        .attribute(AttributeKind::DATA, b"hi")
        .finish();
    assert_eq!(client.handle_input(Duration::ZERO, &indication), Err(PeerFault::Stranger));
    client.permit(Duration::ZERO, peer().ip()).expect("there is room");
    let data = Data { peer: peer(), bytes: b"hi" };
    assert_eq!(client.handle_input(Duration::ZERO, &indication), Ok(Some(data)));
}

#[test]
fn tp_23_everything_is_kept_up_for_an_hour_also_when_nonces_grow_stale() {
    let mut model = Model::new();
    let mut client = allocated(&mut model);
    client.permit(Duration::ZERO, "198.51.100.9".parse().expect("an address")).expect("there is room");
    client.bind(Duration::ZERO, peer()).expect("there is room");
    settle(&mut client, &mut model, Duration::ZERO);
    model.asked.clear();
    let half = Duration::from_secs(1800);
    assert_eq!(run(&mut client, &mut model, half), []);
    model.nonce = b"two";
    assert_eq!(run(&mut client, &mut model, half * 2), []);
    assert!(client.is_allocated());
    let count = |method| model.asked.iter().filter(|asked| **asked == method).count();
    assert_eq!(count(Method::REFRESH), 30);
    assert_eq!((count(Method::CREATE_PERMISSION), count(Method::CHANNEL_BIND)), (15, 15));
}

#[test]
fn tp_23_a_server_that_falls_silent_is_given_up_and_asked_anew() {
    let mut model = Model::new();
    let mut client = allocated(&mut model);
    client.permit(Duration::ZERO, peer().ip()).expect("there is room");
    settle(&mut client, &mut model, Duration::ZERO);
    let (mut end, mut sent) = (None, 0);
    while let Some(at) = client.poll_timeout() {
        client.handle_timeout(at);
        while let Some(output) = client.poll_output() {
            match output {
                Output::Event(event) => end = Some((at, event)),
                Output::Send(bytes) => sent += usize::from(bytes[..2] == [0, 4]),
            }
        }
    }
    assert_eq!(sent, 6);
    assert_eq!(end, Some((Duration::from_millis(139_500), Event::Lost(Loss::Unanswered))));
    client.start(Duration::from_secs(200));
    let events = settle(&mut client, &mut model, Duration::from_secs(200));
    assert!(matches!(events[..], [Event::Allocated { .. }, Event::Permitted(_)]), "{events:?}");
}

#[test]
fn tp_23_what_an_earlier_run_left_on_the_port_is_cleared_and_waited_for() {
    let mut model = Model::new();
    model.refuse = [437].into();
    let mut client = allocated(&mut model);
    assert_eq!(model.asked, [Method::ALLOCATE, Method::REFRESH, Method::ALLOCATE]);
    client.close(Duration::ZERO);
    assert_eq!(settle(&mut client, &mut model, Duration::ZERO), [Event::Closed]);
    // A server that has cleared it and takes its time.
    model.refuse = [437, 0, 437, 437].into();
    client.start(Duration::ZERO);
    assert_eq!(settle(&mut client, &mut model, Duration::ZERO), []);
    let events = run(&mut client, &mut model, Duration::from_millis(1500));
    assert!(matches!(events[..], [Event::Allocated { .. }]), "{events:?}");
    client.close(Duration::from_secs(2));
    settle(&mut client, &mut model, Duration::from_secs(2));
    // One that never does.
    model.refuse = [437; 7].into();
    client.start(Duration::from_secs(2));
    assert_eq!(settle(&mut client, &mut model, Duration::from_secs(2)), []);
    let just_before = Duration::from_millis(9_499);
    assert_eq!(run(&mut client, &mut model, just_before), []);
    assert_eq!(run(&mut client, &mut model, Duration::from_millis(9_500)), [Event::Refused(437)]);
}

#[test]
fn tp_23_refusals_are_told_with_their_codes() {
    for code in [401, 403, 486, 508] {
        let mut model = Model { refuse: [code].into(), ..Model::new() };
        let mut client = client(Transport::Udp);
        client.start(Duration::ZERO);
        assert_eq!(settle(&mut client, &mut model, Duration::ZERO), [Event::Refused(code)]);
        assert_eq!(client.poll_timeout(), None);
    }
    let mut model = Model::new();
    let mut client = allocated(&mut model);
    model.refuse = [403, 508].into();
    client.permit(Duration::ZERO, peer().ip()).expect("there is room");
    client.bind(Duration::ZERO, peer()).expect("there is room");
    let events = settle(&mut client, &mut model, Duration::ZERO);
    let (ip, peer) = (peer().ip(), peer());
    assert_eq!(events, [Event::NotPermitted { ip, code: 403 }, Event::NotBound { peer, code: 508 }]);
    model.refuse = [437].into();
    client.permit(Duration::ZERO, ip).expect("there is room");
    assert_eq!(settle(&mut client, &mut model, Duration::ZERO), [Event::Lost(Loss::Gone)]);
}

#[test]
fn tp_20_a_forged_success_changes_nothing() {
    let mut client = client(Transport::Udp);
    let (mut model, now) = (Model::new(), Duration::ZERO);
    client.start(now);
    let Some(Output::Send(first)) = client.poll_output() else { panic!("it asks") };
    client.handle_input(now, &model.answer(&first).expect("a challenge")).expect("it is well formed");
    let Some(Output::Send(second)) = client.poll_output() else { panic!("it asks again") };
    let answer = model.answer(&second).expect("a success");
    let mut altered = answer.clone();
    altered[30] ^= 1;
    assert_eq!(client.handle_input(now, &altered), Err(PeerFault::Forged));
    // Without the 24 bytes of the check.
    let mut bare = answer[..answer.len() - 24].to_vec();
    bare[3] -= 24;
    assert_eq!(client.handle_input(now, &bare), Err(PeerFault::Forged));
    assert!(!client.is_allocated());
    assert_eq!(client.handle_input(now, &answer), Ok(None));
    assert!(client.is_allocated());
    assert_eq!(client.handle_input(now, &answer), Err(PeerFault::Stray));
}

#[test]
fn tp_23_a_nonce_that_is_always_stale_ends_in_a_refusal() {
    let mut client = client(Transport::Udp);
    let mut model = Model::new();
    client.start(Duration::ZERO);
    let (mut sends, mut end) = (0, None);
    while let Some(output) = client.poll_output() {
        match output {
            Output::Event(event) => end = Some(event),
            Output::Send(bytes) => {
                sends += 1;
                let request = Message::from_bytes(&bytes).expect("a request");
                model.nonce = if sends % 2 == 0 { b"odd" } else { b"even" };
                let code = if request.attribute(AttributeKind::NONCE).is_none() { 401 } else { 438 };
                let answer = model.challenge(&request, code);
                client.handle_input(Duration::ZERO, &answer).expect("it is well formed");
            }
        }
    }
    assert_eq!((sends, end), (5, Some(Event::Refused(438))));
}

#[test]
fn tp_23_a_peer_of_the_other_family_is_refused_before_the_server_is_asked() {
    let mut client = allocated(&mut Model::new());
    let v6 = "2001:db8::1".parse().expect("an address");
    assert_eq!(client.permit(Duration::ZERO, v6), Err(Refused::Unreachable));
    assert_eq!(client.bind(Duration::ZERO, ([0; 4], 1).into()), Err(Refused::Unreachable));
    let clothed = "::ffff:198.51.100.7".parse().expect("an address");
    assert_eq!(client.permit(Duration::ZERO, clothed), Ok(()));
}
