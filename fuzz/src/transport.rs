//! Decoders of cs-transport: what arrives as datagrams and on streams.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use cs_identity::SecretKey;
use cs_transport::LocalKey;
use cs_transport::mapping::{
    Page, PcpMap, PcpRequest, PcpResponse, PcpResult, PmpRequest, PmpResponse, PmpResult, control,
    external_address, place,
};
use cs_transport::rpc::{call_of_answer, open_request, seal_request};
use cs_transport::stun::{
    AttributeKind, Builder, Class, Corner, Credentials, Message, Method, PasswordAlgorithm, Quad,
    answer_binding, binding_request, read_binding_answer,
};
use cs_transport::wire::{
    Answer, Frame, FrameKind, Hello, Lane, LaneBuffer, LinkMessage, MAX_LINK_MESSAGE, Request, StreamKind,
    classify, encode_length,
};

use crate::laws::{bytes_of, one_encoding};

const NOW_MS: u64 = 1_700_000_000_000;

fn peer() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 4433))
}

/// A handshake frame, and its body as a hello.
pub fn handshake(bytes: &[u8]) -> bool {
    let is_hello = Hello::from_bytes(bytes).is_ok_and(|hello| {
        let own = bytes_of(|out| hello.encode(out));
        assert_eq!(Hello::from_bytes(&own), Ok(hello));
        true
    });
    one_encoding(bytes, Frame::from_bytes, |frame| bytes_of(|out| frame.encode(out))) || is_hello
}

/// Frames of each kind, and hellos with and without an extension.
pub fn handshake_seeds() -> Vec<Vec<u8>> {
    let hello = |early_ms| {
        let hello = Hello { node: [1; 32], incarnation: 7, parameters: b"parameters", early_ms };
        bytes_of(|out| hello.encode(out))
    };
    let (hello, early) = (hello(None), hello(Some(NOW_MS)));
    let extended = [&hello[..], &[9, 0, 2, 1, 2]].concat();
    let frame = |kind| bytes_of(|out| Frame { kind, body: &hello }.encode(out));
    let frames = [FrameKind::Initiate, FrameKind::Respond, FrameKind::Confirm].map(frame);
    frames.into_iter().chain([hello.clone(), extended, early]).collect()
}

/// A stream: its kind, and its messages in pieces whose size the second byte tells. On a link, they are read.
pub fn link(bytes: &[u8]) -> bool {
    let [kind, piece, stream @ ..] = bytes else { return false };
    let Some(kind) = StreamKind::from_byte(*kind) else { return false };
    let limit = if kind == StreamKind::Link { MAX_LINK_MESSAGE } else { 4096 };
    let mut buffer = LaneBuffer::new(limit);
    let mut is_accepted = false;
    for mut piece in stream.chunks(usize::from(*piece).max(1)) {
        while !piece.is_empty() {
            let Ok(read) = buffer.read(&mut piece) else { return false };
            let Some(message) = read else { continue };
            assert!(message.len() <= limit);
            let encode = |message: &LinkMessage| bytes_of(|out| message.encode(out));
            is_accepted |=
                kind != StreamKind::Link || one_encoding(&message, LinkMessage::from_bytes, encode);
        }
    }
    is_accepted
}

/// Both link messages, and two messages on a lane in small pieces.
pub fn link_seeds() -> Vec<Vec<u8>> {
    let framed = |body: &[u8]| [&encode_length(body.len())[..], body].concat();
    let links = [LinkMessage::Offer { seen: 3 }, LinkMessage::Decide { number: 4 }];
    let link = links.map(|message| framed(&bytes_of(|out| message.encode(out)))).concat();
    let lane = [framed(b"first"), framed(b"second")].concat();
    let stream = |kind: StreamKind, piece: u8, body: &[u8]| [&[kind.to_byte(), piece], body].concat();
    vec![stream(StreamKind::Link, 255, &link), stream(StreamKind::Lane(Lane::Bulk), 2, &lane)]
}

/// A datagram of sealed RPC, sealed or as plaintext: both readers see it.
pub fn rpc(bytes: &[u8]) -> bool {
    let _ = classify(bytes);
    let _ = call_of_answer(bytes);
    let opened = open_request(&bob(), [3; 32], bytes);
    let (_, call) = request();
    let is_answer = call.open(bytes).is_ok();
    let is_plain_answer =
        one_encoding(bytes, Answer::from_bytes, |answer| bytes_of(|out| answer.encode(out)));
    let is_plain_request = Request::from_bytes(bytes).is_ok_and(|request| {
        assert_eq!(bytes_of(|out| request.encode(bytes.len(), out)), bytes);
        true
    });
    opened.is_ok() || is_answer || is_plain_answer || is_plain_request
}

fn alice() -> LocalKey {
    LocalKey::new(&SecretKey::from_bytes([1; 32]), 1)
}

fn bob() -> LocalKey {
    LocalKey::new(&SecretKey::from_bytes([2; 32]), 1)
}

fn request() -> (Vec<u8>, cs_transport::rpc::Call) {
    seal_request(&alice(), &bob().node_id(), [4; 32], NOW_MS, b"question", 100).expect("it is short")
}

/// A request and its answer, sealed and not.
pub fn rpc_seeds() -> Vec<Vec<u8>> {
    let (sealed, _) = request();
    let opened = open_request(&bob(), [3; 32], &sealed).expect("it is for bob");
    let answer = opened.answer.seal(Answer::Body(b"answer")).expect("there is room");
    let plain = bytes_of(|out| Request { unix_ms: NOW_MS, sign: true, body: b"question" }.encode(64, out));
    vec![sealed, answer, plain, bytes_of(|out| Answer::Body(b"answer").encode(out))]
}

/// A STUN message: walked, checked, answered and read.
pub fn stun(bytes: &[u8]) -> bool {
    let Ok(message) = Message::from_bytes(bytes) else { return false };
    for attribute in message.attributes() {
        let _ = attribute.xor_address(&message);
    }
    let _ = message.fingerprint();
    let _ = message.integrity(b"key");
    let credentials = Credentials::new("user", "pass").expect("they are short");
    for algorithm in [PasswordAlgorithm::Md5, PasswordAlgorithm::Sha256] {
        let realm = message.attribute(AttributeKind::REALM).map_or(&b""[..], |realm| realm.value);
        let _ = credentials.key(realm, algorithm).verify(&message);
    }
    let server = Quad::new(peer(), SocketAddr::from(([192, 0, 2, 2], 4434))).expect("both differ");
    if let Some(reply) = server.answer(&message, peer(), Corner::ALL[0]) {
        assert!(reply.bytes.len() <= bytes.len().max(100));
        assert!(Message::from_bytes(&reply.bytes).is_ok());
    }
    if let Some(answer) = answer_binding(&message, peer()) {
        let read = Message::from_bytes(&answer).expect("an own answer is a message");
        assert!(read.class() != Class::Success || read_binding_answer(&read) == Ok(peer()));
    }
    let _ = read_binding_answer(&message);
    true
}

/// A binding request, its answer, and a message with an integrity check.
pub fn stun_seeds() -> Vec<Vec<u8>> {
    let request = binding_request([5; 12]);
    let answer =
        answer_binding(&Message::from_bytes(&request).expect("an own request"), peer()).expect("it asks");
    let builder = Builder::new(Class::Request, Method::BINDING, [6; 12]);
    let checked =
        builder.attribute(AttributeKind(0x8022), b"software").integrity(b"key").fingerprint().finish();
    let key = Credentials::new("user", "pass").expect("they are short").key(b"here", PasswordAlgorithm::Md5);
    let builder =
        Builder::new(Class::Request, Method::ALLOCATE, [7; 12]).attribute(AttributeKind::REALM, b"here");
    let signed = key.protect(builder).finish();
    let change = Builder::new(Class::Request, Method::BINDING, [8; 12])
        .attribute(AttributeKind::CHANGE_REQUEST, &[0, 0, 0, 6])
        .attribute(AttributeKind::PADDING, &[0; 64])
        .finish();
    vec![request, answer, checked, signed, change]
}

/// A NAT-PMP datagram, as a request and as an answer.
pub fn nat_pmp(bytes: &[u8]) -> bool {
    let is_request =
        one_encoding(bytes, PmpRequest::from_bytes, |request| bytes_of(|out| request.encode(out)));
    let is_answer = PmpResponse::from_bytes(bytes).is_ok_and(|answer| {
        let own = bytes_of(|out| answer.encode(out));
        assert!(bytes.starts_with(&own), "only what follows a refusal is ignored");
        true
    });
    is_request || is_answer
}

/// Both requests, both answers and a refusal.
pub fn nat_pmp_seeds() -> Vec<Vec<u8>> {
    let map = PmpRequest::Map { internal_port: 1, external_port: 2, lifetime_s: 3 };
    let requests = [PmpRequest::ExternalAddress, map].map(|request| bytes_of(|out| request.encode(out)));
    let answers = [
        PmpResponse::ExternalAddress { epoch_s: 1, address: [192, 0, 2, 1].into() },
        PmpResponse::Map { epoch_s: 1, internal_port: 1, external_port: 2, lifetime_s: 3 },
        PmpResponse::Refused { opcode: 1, result: PmpResult::NOT_AUTHORIZED, epoch_s: 1 },
    ];
    requests.into_iter().chain(answers.map(|answer| bytes_of(|out| answer.encode(out)))).collect()
}

/// A PCP datagram, as a request and as an answer. Reserved bits are ignored, so that one value has many encodings: its
/// own is read as the same value.
pub fn pcp(bytes: &[u8]) -> bool {
    let request = PcpRequest::from_bytes(bytes);
    let answer = PcpResponse::from_bytes(bytes);
    if let Ok(request) = request {
        assert_eq!(PcpRequest::from_bytes(&bytes_of(|out| request.encode(out))), Ok(request));
    }
    if let Ok(answer) = answer {
        assert_eq!(PcpResponse::from_bytes(&bytes_of(|out| answer.encode(out))), Ok(answer));
    }
    request.is_ok() || answer.is_ok()
}

/// A request and an answer of each family, and an announcement.
pub fn pcp_seeds() -> Vec<Vec<u8>> {
    let map = PcpMap { nonce: [7; 12], internal_port: 1, external_port: 2, external: [192, 0, 2, 1].into() };
    let six = PcpMap { external: [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1].into(), ..map };
    let request = PcpRequest { lifetime_s: 3600, client: [192, 168, 1, 2].into(), map };
    let answer = |result, map| PcpResponse::Map { result, lifetime_s: 3600, epoch_s: 9, map };
    let answers = [
        answer(PcpResult::SUCCESS, map),
        answer(PcpResult::NOT_AUTHORIZED, six),
        PcpResponse::Announce { epoch_s: 1 },
    ];
    let answers = answers.map(|answer| bytes_of(|out| answer.encode(out)));
    answers.into_iter().chain([bytes_of(|out| request.encode(out))]).collect()
}

/// What a router says by UPnP: an answer to a search, a page, a description.
pub fn upnp(bytes: &[u8]) -> bool {
    let gateway = Ipv4Addr::new(192, 168, 1, 1);
    let at = SocketAddrV4::new(gateway, 5000);
    let found = place(gateway, at.into(), bytes);
    if let Some(found) = found {
        assert!(*found.at.ip() == gateway && found.path.bytes().all(|byte| byte.is_ascii_graphic()));
    }
    let Ok(page) = Page::from_bytes(bytes) else { return found.is_some() };
    let _ = external_address(&page.body);
    if let Some(control) = control(at, &page.body) {
        assert!(*control.at.ip() == gateway && control.path.bytes().all(|byte| byte.is_ascii_graphic()));
    }
    let _ = page.done();
    true
}

/// An answer to a search, a description and a refusal.
pub fn upnp_seeds() -> Vec<Vec<u8>> {
    let answer = "HTTP/1.1 200 OK\r\nLOCATION: http://192.168.1.1:5000/desc.xml\r\n\r\n";
    let description = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na9\r\n<root><device><service>\
        <serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType>\
        <controlURL>http://192.168.1.1/ctl</controlURL></service></device></root>\r\n0\r\n\r\n";
    let refusal = "HTTP/1.1 500 Error\r\n\r\n<u:errorCode>718</u:errorCode>";
    [answer, description, refusal].map(|text| text.as_bytes().to_vec()).into()
}
