//! The cipher and the handshake of cs-crypto, both in pure Rust as built by default, beside ring, RustCrypto and snow.
//!
//! `crypto [PART]`: only `aead` or `handshake`. Ours and the peers take turns in every round, so that whatever else the machine
//! does reaches all of them alike; shown are medians of the thread's CPU time.

mod aead;
mod handshake;

use cs_peers::cpu_time;

fn main() {
    let part = std::env::args().nth(1).unwrap_or_default();
    if "aead".contains(&part) {
        aead::run();
    }
    if "handshake".contains(&part) {
        handshake::run();
    }
}

/// Seconds that one call of each contestant takes: the median over `rounds` of `calls` calls each, all in turn.
fn race<const N: usize>(rounds: usize, calls: usize, contestants: [&mut dyn FnMut(); N]) -> [f64; N] {
    let mut times = [(); N].map(|()| Vec::with_capacity(rounds));
    let mut contestants = contestants;
    for round in 0..=rounds {
        for (contestant, times) in contestants.iter_mut().zip(&mut times) {
            let began = cpu_time();
            (0..calls).for_each(|_| contestant());
            // The first round warms up.
            if round > 0 {
                times.push((cpu_time() - began).as_secs_f64() / calls as f64);
            }
        }
    }
    times.map(|mut times| {
        times.sort_unstable_by(f64::total_cmp);
        times[rounds / 2]
    })
}
