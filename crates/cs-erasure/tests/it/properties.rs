use cs_erasure::{Code, Refused};
use proptest::prelude::*;

use crate::{coded, sample};

/// ERA-2, ERA-3: maximum distance separable, and each survivor set tried.
#[test]
fn every_loss_pattern_of_every_small_geometry_is_rebuilt_or_refused() {
    for total in 2..=9 {
        for data in 1..total {
            let code = Code::new(data, total - data).unwrap();
            let whole = coded(&code, 3, total as u64);
            for pattern in 0u32..1 << total {
                let present: Vec<bool> = (0..total).map(|i| pattern >> i & 1 == 1).collect();
                let mut shards = whole.clone();
                for (shard, present) in shards.iter_mut().zip(&present) {
                    if !present {
                        shard.fill(0xaa);
                    }
                }
                let result = code.reconstruct(&mut shards, &present);
                let available = pattern.count_ones() as usize;
                if available >= data {
                    assert_eq!((result, shards), (Ok(()), whole.clone()), "({data}, {total}) {pattern:b}");
                } else {
                    assert_eq!(result, Err(Refused::TooFewShards { available, needed: data }));
                }
            }
        }
    }
}

/// ERA-2: every geometry there is survives the loss of as much as it may lose, once the first and once the last.
#[test]
fn every_geometry_survives_its_worst_losses() {
    for total in (2..=256).filter(|total| total % 17 == 0 || *total > 253 || *total < 24) {
        for data in (1..total).filter(|data| total < 24 || data % 9 == 4 || *data < 4 || total - data < 4) {
            let code = Code::new(data, total - data).unwrap();
            let whole = coded(&code, 1, data as u64);
            for lost in [0..total - data, data..total] {
                let present: Vec<bool> = (0..total).map(|i| !lost.contains(&i)).collect();
                let mut shards = whole.clone();
                shards[lost].iter_mut().for_each(|shard| shard.fill(0));
                code.reconstruct(&mut shards, &present).unwrap();
                assert!(shards == whole, "({data}, {})", total - data);
            }
        }
    }
}

prop_compose! {
    fn geometry()(total in 2..=256usize)(data in 1..total, total in Just(total)) -> (usize, usize) {
        (data, total - data)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_k_survivors_give_everything_back(
        (data, parity) in geometry(), len in 0usize..5000, seed: u64, order: u64,
    ) {
        let code = Code::new(data, parity).unwrap();
        let len = len.min(120_000 / (data * parity)).max(len.min(3));
        let whole = coded(&code, len, seed);
        let mut numbers: Vec<usize> = (0..data + parity).collect();
        let keys = sample(data + parity, 8, order);
        numbers.sort_by_key(|i| keys[*i].clone());
        let (available, wanted) = numbers.split_at(data);
        let repair = code.repair(available, wanted).unwrap();
        let sources: Vec<&Vec<u8>> = repair.sources().iter().map(|i| &whole[*i]).collect();
        let mut targets = vec![vec![1; len]; wanted.len()];
        repair.run(&sources, &mut targets).unwrap();
        for (index, target) in wanted.iter().zip(&targets) {
            prop_assert_eq!(target, &whole[*index]);
        }
    }

    /// ERA-2: the code works on bytes, so any cut of the shards gives the same parity.
    #[test]
    fn parity_of_a_piece_is_the_piece_of_the_parity(
        (data, parity) in geometry(), cut in 0usize..3000, rest in 0usize..200, seed: u64,
    ) {
        let code = Code::new(data, parity).unwrap();
        let cut = cut.min(100_000 / (data * parity));
        let whole = coded(&code, cut + rest, seed);
        for range in [0..cut, cut..cut + rest] {
            let pieces: Vec<&[u8]> = whole[..data].iter().map(|shard| &shard[range.clone()]).collect();
            let mut out = vec![vec![9; range.len()]; parity];
            code.encode(&pieces, &mut out).unwrap();
            for (out, shard) in out.iter().zip(&whole[data..]) {
                prop_assert_eq!(&out[..], &shard[range.clone()]);
            }
        }
    }

    #[test]
    fn a_changed_shard_updates_the_parity_to_what_encoding_gives(
        (data, parity) in geometry(), at: prop::sample::Index, len in 0usize..300, seed: u64,
    ) {
        let code = Code::new(data, parity).unwrap();
        let mut whole = coded(&code, len, seed);
        let (shards, parities) = whole.split_at_mut(data);
        let index = at.index(data);
        let new = sample(1, len, !seed).remove(0);
        code.update_parity(index, &shards[index], &new, parities).unwrap();
        shards[index] = new;
        prop_assert!(code.verify(shards, parities).unwrap());
        let mut sums = vec![vec![0; len]; parity];
        for (index, shard) in shards.iter().enumerate().rev() {
            code.accumulate(index, shard, &mut sums).unwrap();
        }
        prop_assert_eq!(&sums[..], &parities[..]);
    }

    #[test]
    fn verification_notices_any_changed_byte(
        (data, parity) in geometry(), at: prop::sample::Index, byte: prop::sample::Index, flip in 1u8..,
    ) {
        let code = Code::new(data, parity).unwrap();
        let mut whole = coded(&code, 40, 5);
        prop_assert!(code.verify(&whole[..data], &whole[data..]).unwrap());
        whole[at.index(data + parity)][byte.index(40)] ^= flip;
        prop_assert!(!code.verify(&whole[..data], &whole[data..]).unwrap());
    }
}
