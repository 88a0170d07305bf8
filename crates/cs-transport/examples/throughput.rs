//! Bulk throughput of one session on the loopback: `cargo run --release --example throughput -- [MiB]`.
//!
//! Prints MiB a second and CPU seconds of the whole process, which is both ends. With `--features ring` packets are
//! protected by `ring`.

use std::error::Error;
use std::time::Instant;

use bytes::Bytes;
use cs_identity::SecretKey;
use cs_transport::net::{Endpoint, EndpointConfig, Event, Lane};

const MESSAGE: usize = 64 << 10;
/// What waits in the queue at most: as much as a node would read ahead from its disk.
const AHEAD: usize = 4 << 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mib = std::env::args().nth(1).map_or(Ok(1024), |text| text.parse::<usize>())?;
    let total = mib << 20;
    let bind = |seed| {
        let mut config = EndpointConfig::new(SecretKey::from_bytes([seed; 32]));
        config.listen = vec![([127, 0, 0, 1], 0).into()];
        Endpoint::bind(config)
    };
    let (sender, mut sender_events) = bind(1).await?;
    let (receiver, mut receiver_events) = bind(2).await?;
    sender.dial(receiver.node_id(), receiver.local_addrs(), vec![]);
    let session = loop {
        if let Some(Event::Up { session, .. }) = sender_events.recv().await {
            break session;
        }
    };
    let (started, cpu) = (Instant::now(), cpu_seconds());
    let filler = tokio::spawn({
        let sender = sender.clone();
        async move {
            let message = Bytes::from(vec![0x5a; MESSAGE]);
            let mut left = total;
            while left > 0 {
                if sender.queued(session) > AHEAD {
                    tokio::time::sleep(std::time::Duration::from_micros(500)).await;
                    continue;
                }
                if sender.send(session, Lane::Bulk, message.clone()).is_err() {
                    break;
                }
                left -= MESSAGE.min(left);
            }
        }
    });
    let mut received = 0;
    while received < total {
        match receiver_events.recv().await {
            Some(Event::Message { bytes, .. }) => received += bytes.len(),
            Some(_) => {}
            None => break,
        }
    }
    filler.await?;
    let (seconds, cpu) = (started.elapsed().as_secs_f64(), cpu_seconds() - cpu);
    println!("{mib} MiB in {seconds:.2} s: {:.0} MiB/s, CPU {cpu:.2} s both ends", mib as f64 / seconds);
    sender.shutdown().await;
    Ok(())
}

/// User and system time of this process, from the clock ticks in /proc (100 a second on Linux).
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks as f64 / 100.0
}
