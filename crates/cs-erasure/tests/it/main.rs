//! Integration tests of cs-erasure.

mod properties;
mod stories;
mod vectors;

/// `count` shards of `len` bytes that no simple formula of the code explains.
fn sample(count: usize, len: usize, seed: u64) -> Vec<Vec<u8>> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..count).map(|_| (0..len).map(|_| next()).collect()).collect()
}

/// All shards of one stripe, data first.
fn coded(code: &cs_erasure::Code, len: usize, seed: u64) -> Vec<Vec<u8>> {
    let mut shards = sample(code.data_shards(), len, seed);
    let mut parity = vec![vec![0xee; len]; code.parity_shards()];
    code.encode(&shards, &mut parity).expect("the shards fit the code");
    shards.append(&mut parity);
    shards
}
