//! Codes a text into ten shards, loses four, and has a fifth altered in secret.
//!
//! `cargo run -p cs-erasure --example lose_and_repair`

use cs_erasure::{Code, StripeReader, StripeWriter};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let text = include_bytes!("../PROTOCOL.md");
    let code = Code::new(5, 5)?;
    let mut stripes: Vec<Vec<Vec<u8>>> = Vec::new();
    let mut writer = StripeWriter::new(&code, 256)?;
    writer.write(text, |stripe| stripes.push(stripe.shards().map(<[u8]>::to_vec).collect()));
    let len = writer.finish(|stripe| stripes.push(stripe.shards().map(<[u8]>::to_vec).collect()));
    println!("{len} bytes in {} stripes of 5 + 5 shards of 256 bytes", stripes.len());

    let sums: Vec<Vec<u32>> =
        stripes.iter().map(|stripe| stripe.iter().map(|shard| sum(shard)).collect()).collect();
    let present = [false, true, false, true, true, true, false, true, true, false];
    let mut reader = StripeReader::new(&code, 256, len)?;
    let mut read = Vec::new();
    for (stripe, sums) in stripes.iter_mut().zip(&sums) {
        for lost in (0..10).filter(|i| !present[*i]) {
            stripe[lost].fill(0);
        }
        stripe[3][17] ^= 1;
        let lying = code.reconstruct_checked(stripe, &present, |i, shard| sum(shard) == sums[i])?;
        assert_eq!(lying, [3]);
        reader.read(stripe, &[true; 10], |bytes| read.extend_from_slice(bytes))?;
    }
    assert_eq!(read, text);
    println!("shards 0, 2, 6 and 9 lost, shard 3 altered: everything is back");
    Ok(())
}

/// Fletcher's sum: enough for an example; use a keyed hash where someone may want to lie.
fn sum(shard: &[u8]) -> u32 {
    let (a, b) =
        shard.iter().fold((0u32, 0u32), |(a, b), byte| ((a + u32::from(*byte)) % 65_535, (a + b) % 65_535));
    b << 16 | a
}
