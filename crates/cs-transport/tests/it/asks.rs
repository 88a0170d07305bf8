//! Questions on sessions and in first flights, and datagrams, between real endpoints.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cs_identity::SecretKey;
use cs_transport::LocalKey;
use cs_transport::net::{AskError, Event, SendRefused};
use cs_transport::quic::{Entropy, QUIC_VERSION, ResetKey, ServerCrypto, TokenKey};
use cs_transport::wire::{ASK, MAX_ASK};

use crate::proxy::Proxy;
use crate::stories::{Node, PATIENCE, connected, pair};

async fn request(node: &mut Node) -> (Bytes, cs_transport::net::RpcToken) {
    loop {
        match node.next().await {
            Event::Request { bytes, token, .. } => return (bytes, token),
            Event::Up { .. } => {}
            other => panic!("a request was due, not {other:?}"),
        }
    }
}

// TP-17, TP-18
#[tokio::test]
async fn a_question_to_a_node_without_a_session_is_answered_in_its_first_flight() {
    let (mut asker, mut server) = pair().await;
    // Only the first flight passes (the first message, and the question in one or two datagrams) until the question
    // is there.
    let proxy = Proxy::start(server.addr, 2).await;
    let (endpoint, id, addr) = (asker.endpoint.clone(), server.id, proxy.addr);
    let ask =
        tokio::spawn(async move { endpoint.ask(id, addr, Bytes::from_static(b"who?"), PATIENCE).await });
    let (question, token) = request(&mut server).await;
    assert_eq!(question, "who?");
    assert!(token.is_early(), "nobody has proven to be there");
    assert_eq!(token.room(), MAX_ASK);
    server.endpoint.reply(token, Bytes::from_static(b"me"));
    proxy.release();
    assert_eq!(ask.await.unwrap(), Ok(Bytes::from_static(b"me")));
    assert_eq!(asker.up().await.1, server.id);
    assert_eq!(server.up().await.1, asker.id);
    let counters = asker.endpoint.counters();
    assert_eq!((counters.early_accepted, counters.early_refused, server.endpoint.counters().asks), (1, 0, 1));
}

// TP-18
#[tokio::test]
async fn questions_on_a_session_are_answered_refused_or_too_long() {
    let (mut asker, mut server) = pair().await;
    connected(&mut asker, &mut server).await;
    let (endpoint, id, addr) = (asker.endpoint.clone(), server.id, server.addr);
    let ask = |bytes: Vec<u8>| {
        let endpoint = endpoint.clone();
        tokio::spawn(async move { endpoint.ask(id, addr, bytes.into(), PATIENCE).await })
    };
    let longest = ask(vec![3; MAX_ASK]);
    let (question, token) = request(&mut server).await;
    assert_eq!((question.len(), token.is_early()), (MAX_ASK, false));
    server.endpoint.reply(token, question.clone());
    assert_eq!(longest.await.unwrap(), Ok(question));
    let empty = ask(Vec::new());
    let (question, token) = request(&mut server).await;
    server.endpoint.reply(token, question);
    assert_eq!(empty.await.unwrap(), Ok(Bytes::new()), "an empty answer is an answer");
    let unanswered = ask(vec![1]);
    drop(request(&mut server).await);
    assert_eq!(unanswered.await.unwrap(), Err(AskError::Unanswered));
    let overlong = ask(vec![2]);
    let (_, token) = request(&mut server).await;
    server.endpoint.reply(token, vec![0; MAX_ASK + 1].into());
    assert_eq!(overlong.await.unwrap(), Err(AskError::Unanswered));
    assert_eq!(ask(vec![0; MAX_ASK + 1]).await.unwrap(), Err(AskError::TooLong));
    assert_eq!(asker.endpoint.counters().early_accepted, 0, "the session was there");
}

// TP-17
#[tokio::test]
async fn a_question_whose_first_flight_was_thrown_away_is_asked_again() {
    // A node that reads no early data, as one of an earlier version.
    let local = Arc::new(LocalKey::new(&SecretKey::from_bytes([7; 32]), 8));
    let entropy: Entropy = Arc::new(rand::random);
    let crypto = ServerCrypto::new(local.clone(), 1, entropy);
    let server = noq::ServerConfig::new(Arc::new(crypto), Arc::new(TokenKey::new([1; 32])));
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let addr = socket.local_addr().unwrap();
    let mut config = noq::EndpointConfig::new(Arc::new(ResetKey::new([2; 32])));
    config.supported_versions(vec![QUIC_VERSION]);
    let quic = noq::Endpoint::new(config, Some(server), socket, Arc::new(noq::TokioRuntime)).unwrap();
    let serve = tokio::spawn(async move {
        let connection = quic.accept().await.expect("a dial").await.expect("a handshake");
        let (mut sender, mut receiver) = connection.accept_bi().await.expect("a question");
        let question = receiver.read_to_end(100).await.expect("it is short");
        sender.write_all(&question[1..]).await.expect("the asker reads");
        sender.finish().expect("it is open");
        let _ = sender.stopped().await;
        question[0]
    });
    let asker = Node::new(1).await;
    let asked = asker.endpoint.ask(local.node_id(), addr, Bytes::from_static(b"echo"), PATIENCE).await;
    assert_eq!(asked, Ok(Bytes::from_static(b"echo")));
    assert_eq!(serve.await.unwrap(), ASK);
    assert_eq!(asker.endpoint.counters().early_refused, 1);
}

#[tokio::test]
async fn a_question_to_nobody_and_one_to_another_node_fail() {
    let (asker, server) = pair().await;
    let stranger = SecretKey::from_bytes([77; 32]).node_id();
    let asked = asker.endpoint.ask(stranger, server.addr, Bytes::new(), PATIENCE).await;
    assert_eq!(asked, Err(AskError::Unreachable));
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let brief = Duration::from_millis(50);
    assert_eq!(asker.endpoint.ask(server.id, silent, Bytes::new(), brief).await, Err(AskError::Timeout));
}

// TP-19
#[tokio::test]
async fn datagrams_arrive_whole_and_those_too_long_are_refused() {
    let (mut low, mut high) = pair().await;
    let (session, _) = connected(&mut low, &mut high).await;
    let most = low.endpoint.max_datagram(session).expect("the peer takes them");
    assert!(most > 1000, "{most}");
    for length in [0, 1, 1000] {
        low.endpoint.send_datagram(session, vec![9; length].into()).unwrap();
        match high.next().await {
            Event::Datagram { bytes, .. } => assert_eq!(bytes, vec![9; length]),
            other => panic!("a datagram was due, not {other:?}"),
        }
    }
    let refused = low.endpoint.send_datagram(session, vec![0; 65_000].into());
    assert_eq!(refused, Err(SendRefused::TooLong));
    low.endpoint.close(session, 1);
    low.down().await;
    assert_eq!(low.endpoint.send_datagram(session, Bytes::new()), Err(SendRefused::Gone));
    assert_eq!(low.endpoint.max_datagram(session), None);
}
