//! Ours and quinn with rustls in turn: streams, requests, handshakes, first answers.

use std::net::SocketAddr;
use std::time::Instant;

use cs_identity::NodeId;
use cs_peers::{Better, Row};
use cs_transport::net::Lane;

use crate::ours;
use crate::side::{Cost, Side, cost, median, median_cost, runtime};
use crate::stack::{on_noq, on_quinn};
use crate::tls::{self, Cipher};

const CHACHA20: &str = "quinn 0.11 + rustls, ChaCha20";
const AES: &str = "quinn 0.11 + rustls, AES-128-GCM";
const MIB: usize = 1 << 20;
const ROUNDS: usize = 5;
const HANDSHAKES: usize = 60;
const QUESTIONS: usize = 10_000;

fn quinn_server(cipher: Cipher) -> (Side, SocketAddr) {
    Side::start(move || async move {
        let endpoint = tls::server(cipher);
        let address = endpoint.local_addr().expect("it is bound");
        on_quinn::serve(endpoint);
        address
    })
}

fn bare_server() -> (Side, (SocketAddr, NodeId)) {
    Side::start(|| async {
        let (endpoint, id) = ours::bare_server();
        let address = endpoint.local_addr().expect("it is bound");
        on_noq::serve(endpoint);
        (address, id)
    })
}

fn node_server() -> (Side, (SocketAddr, NodeId)) {
    Side::start(|| async {
        let (endpoint, events) = ours::node(|config| config.requests_per_second = 10_000_000).await;
        let at = (endpoint.local_addrs()[0], endpoint.node_id());
        tokio::spawn(ours::serve(endpoint, events));
        at
    })
}

async fn quinn_connection(cipher: Cipher, address: SocketAddr) -> (quinn::Endpoint, quinn::Connection) {
    let client = tls::client(cipher, false);
    let connection = client.connect(address, "peer").expect("a valid name").await.expect("it accepts");
    (client, connection)
}

/// One stream, then a hundred.
pub(crate) fn streams() {
    let total = 192 * MIB;
    for streams in [1, 100] {
        let (chacha, at_chacha) = quinn_server(Cipher::ChaCha20);
        let (aes, at_aes) = quinn_server(Cipher::Aes128);
        let (bare, (at_bare, id)) = bare_server();
        let (node, (at_node, node_id)) = node_server();
        let mut costs: [Vec<Cost>; 4] = Default::default();
        runtime().block_on(async {
            let (_chacha_client, to_chacha) = quinn_connection(Cipher::ChaCha20, at_chacha).await;
            let (_aes_client, to_aes) = quinn_connection(Cipher::Aes128, at_aes).await;
            let bare_client = ours::bare_client();
            let config = ours::bare_config(ours::fresh_key(), false);
            let to_bare = ours::bare_connect(&bare_client, &config, id, at_bare).await;
            let (endpoint, mut events) = ours::node(|_| {}).await;
            let session = ours::session(&endpoint, &mut events, node_id, at_node).await;
            let lane = if streams == 1 { Lane::Normal } else { Lane::Bulk };
            for _ in 0..=ROUNDS {
                costs[0].push(cost(&chacha, on_quinn::send(&to_chacha, streams, total)).await);
                costs[1].push(cost(&aes, on_quinn::send(&to_aes, streams, total)).await);
                costs[2].push(cost(&bare, on_noq::send(&to_bare, streams, total)).await);
                costs[3].push(cost(&node, ours::send(&endpoint, &mut events, session, lane, total)).await);
            }
        });
        // The first round warms up.
        let [chacha, aes, bare, node] = costs.map(|costs| median_cost(&costs[1..]));
        let plural = if streams == 1 { "" } else { "s" };
        let name = |what| format!("{streams} stream{plural}, {what}");
        let rows = [
            (name("bare QUIC with Noise"), bare, chacha, CHACHA20),
            (name("bare QUIC with Noise"), bare, aes, AES),
            (name("endpoint, messages of 256 KiB"), node, chacha, CHACHA20),
        ];
        for (row, ours, theirs, peer) in rows {
            throughput(&row, ours, theirs, peer, total);
        }
    }
}

fn throughput(row: &str, ours: Cost, theirs: Cost, peer: &str, total: usize) {
    let (mib, gib) = ((total / MIB) as f64, total as f64 / (1 << 30) as f64);
    let rate = Row::new(row, "throughput", "MiB/s", Better::More, mib / ours.wall);
    Row { peer: Some((peer, mib / theirs.wall)), ..rate }.print();
    for (metric, part) in [("CPU of sender", ours.client), ("CPU of receiver", ours.server)] {
        let theirs = if metric == "CPU of sender" { theirs.client } else { theirs.server };
        let cpu = Row::new(row, metric, "s/GiB", Better::Less, part / gib);
        Row { peer: Some((peer, theirs / gib)), ..cpu }.print();
    }
}

/// 64 bytes there and back, 64 at a time.
pub(crate) fn requests() {
    let (chacha, at_chacha) = quinn_server(Cipher::ChaCha20);
    let (bare, (at_bare, id)) = bare_server();
    let (node, (at_node, node_id)) = node_server();
    let mut costs: [Vec<Cost>; 3] = Default::default();
    runtime().block_on(async {
        let (_client, to_chacha) = quinn_connection(Cipher::ChaCha20, at_chacha).await;
        let bare_client = ours::bare_client();
        let config = ours::bare_config(ours::fresh_key(), false);
        let to_bare = ours::bare_connect(&bare_client, &config, id, at_bare).await;
        let (endpoint, mut events) = ours::node(|_| {}).await;
        let session = ours::session(&endpoint, &mut events, node_id, at_node).await;
        for _ in 0..=ROUNDS {
            costs[0].push(cost(&chacha, on_quinn::ask_many(&to_chacha, QUESTIONS, 64)).await);
            costs[1].push(cost(&bare, on_noq::ask_many(&to_bare, QUESTIONS, 64)).await);
            let asking = ours::ask_many(&endpoint, &mut events, session, QUESTIONS, 64);
            costs[2].push(cost(&node, asking).await);
        }
    });
    let [chacha, bare, node] = costs.map(|costs| median_cost(&costs[1..]));
    for (row, ours) in [("10,000 requests, a stream each", bare), ("10,000 requests, messages", node)] {
        let count = QUESTIONS as f64;
        let rate = Row::new(row, "rate", "1/s", Better::More, count / ours.wall);
        Row { peer: Some((CHACHA20, count / chacha.wall)), ..rate }.print();
        for (metric, ours, theirs) in
            [("CPU of asker", ours.client, chacha.client), ("CPU of answerer", ours.server, chacha.server)]
        {
            let cpu = Row::new(row, metric, "us", Better::Less, ours / count * 1e6);
            Row { peer: Some((CHACHA20, theirs / count * 1e6)), ..cpu }.print();
        }
    }
}

/// Connections one after the other; both sides prove their key.
pub(crate) fn handshakes() {
    let (chacha, at_chacha) = quinn_server(Cipher::ChaCha20);
    let (bare, (at_bare, id)) = bare_server();
    let mut costs: [Vec<Cost>; 3] = Default::default();
    runtime().block_on(async {
        let (client, bare_client) = (tls::client(Cipher::ChaCha20, false), ours::bare_client());
        let known = ours::bare_config(ours::fresh_key(), false);
        for _ in 0..=ROUNDS {
            costs[0].push(
                cost(&chacha, async {
                    for _ in 0..HANDSHAKES {
                        // A fresh key each time, as with ours, made beforehand or not: rustls sets up for it either way.
                        let config = tls::client_config(Cipher::ChaCha20, false);
                        let dial = client.connect_with(config, at_chacha, "peer").expect("a valid name");
                        on_quinn::close(&dial.await.expect("it accepts"));
                    }
                })
                .await,
            );
            costs[1].push(
                cost(&bare, async {
                    for _ in 0..HANDSHAKES {
                        let config = ours::bare_config(ours::fresh_key(), false);
                        on_noq::close(&ours::bare_connect(&bare_client, &config, id, at_bare).await);
                    }
                })
                .await,
            );
            costs[2].push(
                cost(&bare, async {
                    for _ in 0..HANDSHAKES {
                        on_noq::close(&ours::bare_connect(&bare_client, &known, id, at_bare).await);
                    }
                })
                .await,
            );
        }
    });
    let [chacha, fresh, known] = costs.map(|costs| median_cost(&costs[1..]));
    for (row, ours) in [("handshake, strangers", fresh), ("handshake, met before", known)] {
        let count = HANDSHAKES as f64;
        let rate = Row::new(row, "rate, one at a time", "1/s", Better::More, count / ours.wall);
        Row { peer: Some((CHACHA20, count / chacha.wall)), ..rate }.print();
        let both = |cost: Cost| count / (cost.client + cost.server);
        let row_of = Row::new(row, "rate", "per CPU s of both", Better::More, both(ours));
        Row { peer: Some((CHACHA20, both(chacha))), ..row_of }.print();
        for (metric, ours, theirs) in
            [("CPU of dialler", ours.client, chacha.client), ("CPU of acceptor", ours.server, chacha.server)]
        {
            let cpu = Row::new(row, metric, "us", Better::Less, ours / count * 1e6);
            Row { peer: Some((CHACHA20, theirs / count * 1e6)), ..cpu }.print();
        }
    }
}

/// From the dial to the first answer, with and without early data. quinn's needs an earlier session, ours the peer's key.
pub(crate) fn early() {
    let (_quinn, at_quinn) = quinn_server(Cipher::ChaCha20);
    let (_bare, (at_bare, id)) = bare_server();
    let mut times: [Vec<f64>; 4] = Default::default();
    runtime().block_on(async {
        let (resuming, afresh) = (tls::client(Cipher::ChaCha20, true), tls::client(Cipher::ChaCha20, false));
        let bare_client = ours::bare_client();
        let (early, late) = [true, false].map(|early| ours::bare_config(ours::fresh_key(), early)).into();
        for _ in 0..40 {
            let began = Instant::now();
            let dial = resuming.connect(at_quinn, "peer").expect("a valid name");
            match dial.into_0rtt() {
                Ok((connection, _)) => {
                    on_quinn::ask(&connection).await;
                    times[0].push(began.elapsed().as_secs_f64());
                    // The ticket for the next one comes after the handshake.
                    on_quinn::ask(&connection).await;
                }
                Err(dial) => on_quinn::ask(&dial.await.expect("it accepts")).await,
            }
            let began = Instant::now();
            let dial = afresh.connect(at_quinn, "peer").expect("a valid name");
            on_quinn::ask(&dial.await.expect("it accepts")).await;
            times[1].push(began.elapsed().as_secs_f64());
            let began = Instant::now();
            let dial = bare_client.connect_with(early.clone(), at_bare, &id.to_string()).expect("a name");
            let (connection, accepted) = dial.into_0rtt().map_err(drop).expect("the key is enough");
            on_noq::ask(&connection).await;
            times[2].push(began.elapsed().as_secs_f64());
            assert!(accepted.await, "the gate is open");
            let began = Instant::now();
            let connection = ours::bare_connect(&bare_client, &late, id, at_bare).await;
            on_noq::ask(&connection).await;
            times[3].push(began.elapsed().as_secs_f64());
        }
    });
    let [quinn_early, quinn_late, early, late] = times.map(|times| median(times) * 1e3);
    let row = |name, ours| Row::new(name, "dial to first answer", "ms", Better::Less, ours);
    Row { peer: Some(("quinn 0.11 + rustls, resumed", quinn_early)), ..row("0-RTT, by key alone", early) }
        .print();
    Row { peer: Some((CHACHA20, quinn_late)), ..row("1-RTT", late) }.print();
}
