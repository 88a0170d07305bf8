//! Sessions on the loopback beside quinn with rustls: throughput, requests, handshakes, first answers; sealed RPC;
//! what idle peers and hostile datagrams cost.
//!
//! `transport [PART]`: only `streams`, `requests`, `handshakes`, `early`, `sealed`, `idle` or `hostile`. Each side
//! has a thread and a runtime of its own, so that its CPU time is its own; contestants take turns, and medians are
//! shown.

mod contest;
mod hostile;
mod idle;
mod keys;
mod ours;
mod sealed;
mod side;
mod stack;
mod tls;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let part = arguments.next().unwrap_or_default();
    if part == idle::CHILD {
        return idle::hold(arguments);
    }
    for (name, run) in [
        ("streams", contest::streams as fn()),
        ("requests", contest::requests),
        ("handshakes", contest::handshakes),
        ("early", contest::early),
        ("sealed", sealed::run),
        ("idle", idle::run),
        ("hostile", hostile::run),
    ] {
        if name.contains(&part) {
            eprintln!("transport: {name}");
            run();
        }
    }
}
