use cs_erasure::{Code, Lrc, Plans, Refused};
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

/// ERA-8: the same beyond 256 shards, by matrix and by transforms, with the data and with the parity at the base.
#[test]
fn wide_geometries_survive_their_worst_losses() {
    for (data, parity) in
        [(1000, 200), (200, 1000), (250, 7), (7, 250), (300, 33), (33, 300), (256, 1), (1, 256)]
    {
        let code = Code::new(data, parity).unwrap();
        let whole = coded(&code, 2, data as u64);
        let total = data + parity;
        let spread = |i: usize| i * 7919 % total < parity;
        let patterns: [Vec<bool>; 3] = [
            (0..total).map(|i| i >= parity).collect(),
            (0..total).map(|i| i < data).collect(),
            (0..total).map(|i| !spread(i)).collect(),
        ];
        let mut plans = Plans::new(&code, 1);
        for present in patterns.iter().filter(|present| present.iter().filter(|p| **p).count() >= data) {
            let mut shards = whole.clone();
            for (shard, present) in shards.iter_mut().zip(present) {
                if !present {
                    shard.fill(0xaa);
                }
            }
            plans.reconstruct(&mut shards, present).unwrap();
            assert!(shards == whole, "({data}, {parity})");
        }
    }
}

/// ERA-9: any `g + 1` losses, and a single one from its group.
#[test]
fn local_codes_survive_every_loss_of_one_more_than_their_global_parities() {
    for (data, locals, globals) in
        [(3, 2, 1), (4, 2, 1), (6, 2, 2), (12, 2, 2), (7, 3, 2), (5, 5, 1), (8, 2, 3)]
    {
        let code = Lrc::new(data, locals, globals).unwrap();
        let whole = locally_coded(&code, 5, data as u64);
        let total = code.total_shards();
        for pattern in (0u32..1 << total).filter(|pattern| pattern.count_ones() as usize <= globals + 1) {
            let (wanted, available): (Vec<usize>, Vec<usize>) =
                (0..total).partition(|i| pattern >> i & 1 == 1);
            let repair = code.repair(&available, &wanted).unwrap();
            let mut shards = whole.clone();
            wanted.iter().for_each(|index| shards[*index].fill(0xaa));
            repair.run_in_place(&mut shards).unwrap();
            assert!(shards == whole, "({data}, {locals}, {globals}) without {wanted:?}");
            if let [only] = wanted[..]
                && code.group(only).is_some()
            {
                assert!(repair.sources().len() <= data.div_ceil(locals), "{only}: {:?}", repair.sources());
            }
        }
    }
}

/// ERA-9: beyond that, most; what is not determined is refused, not guessed.
#[test]
fn local_codes_of_azures_geometry_survive_most_losses_of_four() {
    let code = Lrc::new(12, 2, 2).unwrap();
    let whole = locally_coded(&code, 2, 1);
    let (mut survived, mut all) = (0, 0);
    for pattern in (0u32..1 << 16).filter(|pattern| pattern.count_ones() == 4) {
        let (wanted, available): (Vec<usize>, Vec<usize>) = (0..16).partition(|i| pattern >> i & 1 == 1);
        all += 1;
        match code.repair(&available, &wanted) {
            Ok(repair) => {
                survived += 1;
                let mut shards = whole.clone();
                wanted.iter().for_each(|index| shards[*index].fill(0xaa));
                repair.run_in_place(&mut shards).unwrap();
                assert!(shards == whole, "without {wanted:?}");
            }
            Err(refused) => assert_eq!(refused, Refused::Unrecoverable),
        }
    }
    assert_eq!(all, 1820);
    assert_eq!(survived, 1538, "as many as PROTOCOL.md says");
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

    /// ERA-8: random geometries, lengths and losses beyond 256 shards.
    #[test]
    fn any_k_survivors_give_everything_back_beyond_256_shards(
        (large, small) in (200usize..700, 57usize..120), swap: bool, len in 0usize..80, seed: u64, order: u64,
    ) {
        let (data, parity) = if swap { (small, large) } else { (large, small) };
        let code = Code::new(data, parity).unwrap();
        let whole = coded(&code, len & !1, seed);
        let mut numbers: Vec<usize> = (0..data + parity).collect();
        let keys = sample(data + parity, 8, order);
        numbers.sort_by_key(|i| keys[*i].clone());
        let (available, wanted) = numbers.split_at(data);
        let wanted = &wanted[..wanted.len().min(1 + order as usize % 400)];
        let repair = code.repair(available, wanted).unwrap();
        let sources: Vec<&Vec<u8>> = repair.sources().iter().map(|i| &whole[*i]).collect();
        let mut targets = vec![vec![1; len & !1]; wanted.len()];
        repair.run(&sources, &mut targets).unwrap();
        for (index, target) in wanted.iter().zip(&targets) {
            prop_assert!(target == &whole[*index], "({}, {}) shard {}", data, parity, index);
        }
        let index = seed as usize % data;
        let mut parities = whole[data..].to_vec();
        let new = sample(1, len & !1, !seed).remove(0);
        code.update_parity(index, &whole[index], &new, &mut parities).unwrap();
        let mut changed = whole[..data].to_vec();
        changed[index] = new;
        prop_assert!(code.verify(&changed, &parities).unwrap());
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

fn locally_coded(code: &Lrc, len: usize, seed: u64) -> Vec<Vec<u8>> {
    let mut shards = sample(code.data_shards(), len, seed);
    let mut parity = vec![vec![0xee; len]; code.total_shards() - code.data_shards()];
    code.encode(&shards, &mut parity).expect("the shards fit the code");
    shards.append(&mut parity);
    shards
}
