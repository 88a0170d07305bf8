//! Sealed RPC beside one connection for each request: requests a CPU second, both sides together.

use cs_peers::{Better, Row};
use cs_transport::rpc::{open_request, seal_request};
use cs_transport::wire::{Answer, MAX_RPC};

use crate::ours;
use crate::side::{Cost, Side, cost, median_cost, runtime};
use crate::stack::{SMALL, on_noq};

const ROUNDS: usize = 5;
const REQUESTS: usize = 100;

pub(crate) fn run() {
    machines();
    let (server, (address, id)) = Side::start(|| async {
        let (endpoint, events) = ours::node(|config| config.requests_per_second = 10_000_000).await;
        let at = (endpoint.local_addrs()[0], endpoint.node_id());
        tokio::spawn(ours::serve(endpoint, events));
        at
    });
    let (bare, (at_bare, bare_id)) = Side::start(|| async {
        let (endpoint, id) = ours::bare_server();
        let address = endpoint.local_addr().expect("it is bound");
        on_noq::serve(endpoint);
        (address, id)
    });
    let mut costs: [Vec<Cost>; 2] = Default::default();
    runtime().block_on(async {
        let (endpoint, _events) = ours::node(|_| {}).await;
        let client = ours::bare_client();
        let config = ours::bare_config(ours::fresh_key(), true);
        for _ in 0..=ROUNDS {
            costs[0].push(
                cost(&server, async {
                    for _ in 0..REQUESTS {
                        let question = vec![1; SMALL].into();
                        let patience = std::time::Duration::from_secs(10);
                        endpoint.rpc(id, address, question, patience).await.expect("it answers");
                    }
                })
                .await,
            );
            costs[1].push(
                cost(&bare, async {
                    for _ in 0..REQUESTS {
                        let dial = client.connect_with(config.clone(), at_bare, &bare_id.to_string());
                        let (connection, _) =
                            dial.expect("a name").into_0rtt().map_err(drop).expect("the key is enough");
                        on_noq::ask(&connection).await;
                        on_noq::close(&connection);
                    }
                })
                .await,
            );
        }
    });
    let [sealed, connections] = costs.map(|costs| median_cost(&costs[1..]));
    let peer = "a connection each, question in 0-RTT";
    let rates: [(&str, fn(Cost) -> f64); 2] = [
        ("per CPU s of both", |cost| cost.client + cost.server),
        ("per CPU s of the answerer", |cost| cost.server),
    ];
    for (unit, seconds) in rates {
        let rate = |cost| REQUESTS as f64 / seconds(cost);
        let row = Row::new("sealed request, whole", "requests", unit, Better::More, rate(sealed));
        Row { peer: Some((peer, rate(connections))), ..row }.print();
    }
}

/// Without sockets: what the cryptography costs.
fn machines() {
    for (row, known) in [("sealed request, strangers", 0), ("sealed request, met before", 16)] {
        let key = || {
            let secret = cs_identity::SecretKey::from_bytes(ours::chance());
            cs_transport::LocalKey::new(&secret, known)
        };
        let (asker, server) = (key(), key());
        let cpu = cs_peers::median_cpu(9, || {
            for _ in 0..50 {
                let (request, call) =
                    seal_request(&asker, &server.node_id(), ours::chance(), 1, &[1; SMALL], MAX_RPC)
                        .expect("it fits");
                let opened = open_request(&server, ours::chance(), &request).expect("it is for this node");
                let answer = opened.answer.seal(Answer::Body(&[2; SMALL])).expect("there is room");
                call.open(&answer).expect("it is its answer");
            }
        });
        Row::new(row, "cryptography of both", "us", Better::Less, cpu.as_secs_f64() / 50.0 * 1e6).print();
    }
}
