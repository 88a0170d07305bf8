//! Measures lookups in a network in virtual time, with everybody well, with peers gone, and with liars.
//!
//! ```text
//! cargo run --release -p cs-dht --example network -- [NODES] [SEED] [LOOKUPS]
//! ```

#[allow(dead_code)]
#[path = "../tests/it/filled.rs"]
mod filled;
#[path = "network/measure.rs"]
mod measure;
#[allow(dead_code)]
#[path = "../tests/it/net.rs"]
mod net;

use measure::{Row, measure};
use net::{Behaviour, Net};
use std::time::Instant;

fn main() {
    let mut arguments = std::env::args().skip(1).map(|argument| argument.parse().expect("a number"));
    let count: usize = arguments.next().unwrap_or(1_000) as usize;
    let seed: u64 = arguments.next().unwrap_or(1);
    let lookups: usize = arguments.next().unwrap_or(200) as usize;

    let started = Instant::now();
    println!("seed {seed}: {count} nodes, round trips of 30 to 210 ms, 1 % of all datagrams lost");
    let mut net = Net::filled(seed, count, 10);
    let bytes: Vec<usize> = (0..count).map(|index| net.dht(index).state_bytes()).collect();
    let entries: usize = (0..count).map(|index| net.dht(index).table_len()).sum();
    println!(
        "made in {:.0} s; {} entries and {} bytes of state a node, {} at most\n",
        started.elapsed().as_secs_f64(),
        entries / count,
        bytes.iter().sum::<usize>() / count,
        bytes.iter().max().expect("there are nodes"),
    );
    println!("{}", Row::HEAD);
    let mut alive: Vec<usize> = (0..count).collect();
    measure(&mut net, "all well", &alive, lookups);
    for percent in [10, 20] {
        let honest = count - count * percent / 100;
        (honest..count).for_each(|index| net.turn(index, Behaviour::Sybil));
        measure(&mut net, &format!("{percent} % hostile"), &alive[..honest], lookups);
    }
    (0..count).for_each(|index| net.turn(index, Behaviour::Honest));
    for percent in [25, 50] {
        let rest = count * (100 - percent) / 100;
        while alive.len() > rest {
            let victim = net.draw(alive.len() as u64) as usize;
            net.stop(alive.swap_remove(victim));
        }
        measure(&mut net, &format!("{percent} % gone"), &alive, lookups);
    }
    println!("\nin all {:.0} s", started.elapsed().as_secs_f64());
}
