//! One node of sixteen is lost: what a plain code and a local one read to replace its shard.
//!
//! `cargo run -p cs-erasure --example read_less`

use cs_erasure::{Code, Lrc};

const SHARD_BYTES: usize = 1 << 20;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let lost = 3;
    let others: Vec<usize> = (0..16).filter(|index| *index != lost).collect();
    let plain = Code::new(12, 4)?.repair(&others, &[lost])?;
    println!("12 + 4 shards: {} MiB from {:?}", plain.bytes_read(SHARD_BYTES) >> 20, plain.sources());

    let code = Lrc::for_nodes(16).ok_or("fewer than 6 nodes")?;
    let repair = code.repair(&others, &[lost])?;
    println!("12 + 2 + 2 shards: {} MiB from {:?}", repair.bytes_read(SHARD_BYTES) >> 20, repair.sources());

    let data: Vec<Vec<u8>> = (0..12).map(|i| vec![i as u8 * 19; SHARD_BYTES]).collect();
    let mut parity = vec![vec![0; SHARD_BYTES]; 4];
    code.encode(&data, &mut parity)?;
    let mut shards = [data.clone(), parity].concat();
    shards[lost].fill(0);
    repair.run_in_place(&mut shards)?;
    assert_eq!(shards[lost], data[lost]);
    println!("shard {lost} is back");
    Ok(())
}
