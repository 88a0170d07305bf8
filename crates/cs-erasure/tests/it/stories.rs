use cs_erasure::{Code, ConfigError, Lrc, Plans, Refused, StripeReader, StripeWriter};

use crate::{coded, sample};

/// ERA-4.
#[test]
fn impossible_geometries_are_refused() {
    assert_eq!(Code::new(0, 1).unwrap_err(), ConfigError::NoData);
    assert_eq!(Code::new(1, 0).unwrap_err(), ConfigError::NoParity);
    assert_eq!(Code::new(32_700, 69).unwrap_err(), ConfigError::TooManyShards);
    assert_eq!(Code::new(usize::MAX, usize::MAX).unwrap_err(), ConfigError::TooManyShards);
    let code = Code::new(2, 1).unwrap();
    assert_eq!(StripeWriter::new(&code, 0).unwrap_err(), ConfigError::ShardLength);
    assert_eq!(StripeReader::new(&code, usize::MAX / 2, 1).unwrap_err(), ConfigError::ShardLength);
}

/// ERA-8.
#[test]
fn odd_shards_are_refused_where_an_element_is_two_bytes() {
    let code = Code::new(200, 60).unwrap();
    let (odd, mut parity) = (vec![vec![1; 5]; 200], vec![vec![7; 5]; 60]);
    let refused = Err(Refused::OddLength { len: 5 });
    assert_eq!(code.encode(&odd, &mut parity), refused);
    assert_eq!(code.accumulate(0, &odd[0], &mut parity), refused);
    assert_eq!(code.verify(&odd, &parity), Err(Refused::OddLength { len: 5 }));
    assert!(parity.iter().flatten().all(|byte| *byte == 7));
    let mut all = [odd, parity].concat();
    let mut present = vec![true; 260];
    present[3] = false;
    assert_eq!(code.reconstruct(&mut all, &present), refused);
    assert_eq!(StripeWriter::new(&code, 5).unwrap_err(), ConfigError::ShardLength);
}

/// ERA-4, ERA-9.
#[test]
fn local_codes_that_cannot_be_are_refused() {
    assert_eq!(Lrc::new(0, 1, 1).unwrap_err(), ConfigError::NoData);
    assert_eq!(Lrc::new(4, 2, 0).unwrap_err(), ConfigError::NoParity);
    assert_eq!(Lrc::new(4, 0, 1).unwrap_err(), ConfigError::Groups);
    assert_eq!(Lrc::new(4, 5, 1).unwrap_err(), ConfigError::Groups);
    assert_eq!(Lrc::new(250, 5, 2).unwrap_err(), ConfigError::TooManyShards);
    let code = Lrc::new(4, 2, 1).unwrap();
    assert_eq!(code.repair(&[0, 1, 1], &[2]), Err(Refused::Duplicate { index: 1 }));
    assert_eq!(code.repair(&[0, 1], &[7]), Err(Refused::NoSuchShard { index: 7 }));
    assert_eq!(code.repair(&[0, 1, 2], &[3]), Err(Refused::Unrecoverable));
    let uneven = [&[1u8, 2][..], &[3, 4], &[5, 6], &[7]];
    assert_eq!(code.encode(&uneven, &mut [[0; 2]; 3]), Err(Refused::ShardLength { index: 3 }));
}

/// ERA-9: what a repair reads, by where the losses are.
#[test]
fn the_planner_reads_a_group_for_one_loss_and_all_data_for_a_global_parity() {
    let code = Lrc::for_nodes(16).unwrap();
    assert_eq!((code.data_shards(), code.local_shards(), code.global_shards()), (12, 2, 2));
    let all = |lost: &[usize]| (0..16).filter(|index| !lost.contains(index)).collect::<Vec<_>>();
    let repair = code.repair(&all(&[2]), &[2]).unwrap();
    assert_eq!(repair.sources(), [0, 1, 3, 4, 5, 12]);
    assert_eq!(repair.bytes_read(1 << 20), 6 << 20);
    // One in each group, and each from its own.
    let repair = code.repair(&all(&[2, 9]), &[2, 9]).unwrap();
    assert_eq!(repair.sources(), [0, 1, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13]);
    // Two of one group need a global parity, and with it the other group.
    let repair = code.repair(&all(&[2, 3]), &[2, 3]).unwrap();
    assert_eq!(repair.sources(), [0, 1, 4, 5, 6, 7, 8, 9, 10, 11, 12, 14]);
    assert_eq!(code.repair(&all(&[15]), &[15]).unwrap().sources(), (0..12).collect::<Vec<_>>());
    // A local parity is not read when its group is not asked about.
    assert_eq!(code.repair(&all(&[2, 13]), &[2]).unwrap().sources(), [0, 1, 3, 4, 5, 12]);
    for nodes in 0..40 {
        let code = Lrc::for_nodes(nodes);
        assert!(code.is_none_or(|code| nodes >= 6 && code.total_shards() <= nodes));
    }
}

#[test]
fn plans_refuse_what_the_code_refuses() {
    let code = Code::new(3, 2).unwrap();
    let mut plans = Plans::new(&code, 0);
    let mut shards = coded(&code, 8, 1);
    let short = plans.reconstruct(&mut shards, &[true; 4]);
    assert_eq!(short, Err(Refused::ShardCount { given: 4, needed: 5 }));
    let few = plans.reconstruct_data(&mut shards, &[false, false, false, true, true]);
    assert_eq!(few, Err(Refused::TooFewShards { available: 2, needed: 3 }));
    let whole = shards.clone();
    shards[1].fill(0);
    shards[4].fill(0);
    plans.reconstruct_data(&mut shards, &[true, false, true, true, false]).unwrap();
    assert_eq!((&shards[1], &shards[4]), (&whole[1], &vec![0; 8]));
    plans.reconstruct(&mut shards, &[true, false, true, true, false]).unwrap();
    assert_eq!(shards, whole);
}

/// ERA-5.
#[cfg(feature = "checksum")]
#[test]
fn a_keyed_checksum_names_the_shard_that_lies_and_two_that_changed_places() {
    use cs_erasure::ShardKey;

    let code = Code::new(6, 4).unwrap();
    let key = ShardKey::new([7; 32]);
    assert_eq!(format!("{key:?}"), "ShardKey(..)");
    let whole = coded(&code, 100, 3);
    let sums: Vec<_> = whole.iter().enumerate().map(|(index, shard)| key.checksum(index, shard)).collect();
    let mut shards = whole.clone();
    shards.swap(0, 9);
    shards[4][99] ^= 1;
    assert_eq!(code.reconstruct_keyed(&mut shards, &[true; 10], &key, &sums), Ok(vec![0, 4, 9]));
    assert_eq!(shards, whole);
    let other = ShardKey::new([8; 32]);
    let refused = code.reconstruct_keyed(&mut shards, &[true; 10], &other, &sums);
    assert_eq!(refused, Err(Refused::TooFewShards { available: 0, needed: 6 }));
    let refused = code.reconstruct_keyed(&mut shards, &[true; 10], &key, &sums[1..]);
    assert_eq!(refused, Err(Refused::ShardCount { given: 9, needed: 10 }));
}

/// ERA-4.
#[test]
fn shards_that_do_not_fit_the_code_are_refused_and_nothing_is_written() {
    let code = Code::new(3, 2).unwrap();
    let whole = coded(&code, 8, 1);
    let mut parity = vec![vec![7; 8]; 2];
    let before = parity.clone();
    assert_eq!(code.encode(&whole[..2], &mut parity), Err(Refused::ShardCount { given: 2, needed: 3 }));
    let uneven = [&whole[0][..], &whole[1][..], &whole[2][..7]];
    assert_eq!(code.encode(&uneven, &mut parity), Err(Refused::ShardLength { index: 2 }));
    assert_eq!(code.verify(&uneven, &parity), Err(Refused::ShardLength { index: 2 }));
    assert_eq!(code.encode(&whole[..3], &mut parity[..1]), Err(Refused::ShardCount { given: 1, needed: 2 }));
    assert_eq!(code.accumulate(3, &whole[0], &mut parity), Err(Refused::NoSuchShard { index: 3 }));
    let changed = code.update_parity(1, &whole[0], &whole[0][1..], &mut parity);
    assert_eq!(changed, Err(Refused::ShardLength { index: 1 }));
    assert_eq!(parity, before);
    let mut short = whole.clone();
    short[4].pop();
    let refused = code.reconstruct(&mut short, &[true, true, true, true, false]);
    assert_eq!(refused, Err(Refused::ShardLength { index: 4 }));
}

/// ERA-4.
#[test]
fn repairs_that_name_a_shard_twice_or_one_too_many_are_refused() {
    let code = Code::new(3, 2).unwrap();
    assert_eq!(code.repair(&[0, 1, 1, 3], &[2]), Err(Refused::Duplicate { index: 1 }));
    assert_eq!(code.repair(&[0, 1, 3], &[2, 2]), Err(Refused::Duplicate { index: 2 }));
    assert_eq!(code.repair(&[0, 1, 2], &[2]), Err(Refused::Duplicate { index: 2 }));
    assert_eq!(code.repair(&[0, 1, 5], &[2]), Err(Refused::NoSuchShard { index: 5 }));
    assert_eq!(code.repair(&[0, 4], &[2]), Err(Refused::TooFewShards { available: 2, needed: 3 }));
    let repair = code.repair(&[4, 0, 3, 1], &[2]).unwrap();
    assert_eq!((repair.sources(), repair.targets()), (&[0, 1, 3][..], &[2][..]));
}

/// ERA-5.
#[test]
fn a_lying_shard_is_named_and_rebuilt_instead_of_being_used() {
    let code = Code::new(10, 4).unwrap();
    let whole = coded(&code, 100, 3);
    let sums: Vec<u64> = whole.iter().enumerate().map(|(index, shard)| checksum(index, shard)).collect();
    let mut shards = whole.clone();
    shards[2][50] ^= 1;
    shards[11][0] ^= 128;
    shards[5].fill(0);
    let mut present = [true; 14];
    present[5] = false;
    let lying = code.reconstruct_checked(&mut shards, &present, |i, shard| checksum(i, shard) == sums[i]);
    assert_eq!(lying, Ok(vec![2, 11]));
    assert_eq!(shards, whole);
}

/// ERA-5.
#[test]
fn a_rebuilt_shard_that_fails_its_check_is_reported() {
    let code = Code::new(2, 2).unwrap();
    let whole = coded(&code, 10, 3);
    let mut shards = whole.clone();
    let verdict = code.reconstruct_checked(&mut shards, &[true, true, true, false], |i, _| i != 3);
    assert_eq!(verdict, Err(Refused::Unsound { index: 3 }));
    let verdict = code.reconstruct_checked(&mut shards, &[true; 4], |i, _| i == 0);
    assert_eq!(verdict, Err(Refused::TooFewShards { available: 1, needed: 2 }));
}

/// ERA-6.
#[test]
fn an_object_written_in_pieces_is_read_back_from_damaged_stripes() {
    let code = Code::new(5, 3).unwrap();
    for len in [0, 1, 63, 64, 319, 320, 321, 3000] {
        let object = sample(1, len, 8).remove(0);
        let mut writer = StripeWriter::new(&code, 64).unwrap();
        let mut stripes: Vec<Vec<Vec<u8>>> = Vec::new();
        for piece in object.chunks(7) {
            writer.write(piece, |stripe| stripes.push(stripe.shards().map(<[u8]>::to_vec).collect()));
        }
        let written = writer.finish(|stripe| {
            assert_eq!(stripe.number, stripes.len() as u64);
            stripes.push(stripe.shards().map(<[u8]>::to_vec).collect());
        });
        assert_eq!(written, len as u64);
        assert_eq!(stripes.len(), len.div_ceil(320));
        let stored: Vec<u8> = stripes.iter().flat_map(|stripe| stripe[..5].concat()).collect();
        assert_eq!(stored[..len], object);
        assert!(stored[len..].iter().all(|byte| *byte == 0), "the last stripe ends in zeros");

        let mut reader = StripeReader::new(&code, 64, written).unwrap();
        let mut read = Vec::new();
        for stripe in &mut stripes {
            stripe[1].fill(0);
            stripe[4].fill(0);
            stripe[6].fill(0);
            let present = [true, false, true, true, false, true, false, true];
            reader.read(stripe, &present, |bytes| read.extend_from_slice(bytes)).unwrap();
        }
        assert_eq!(read, object);
        assert_eq!(reader.stripes_left(), 0);
        let beyond = reader.read(&mut vec![vec![0; 64]; 8], &[true; 8], |_| {});
        assert_eq!(beyond, Err(Refused::Complete));
    }
}

/// ERA-6: 64 MiB pass through writer and reader, stripe by stripe; nobody ever holds more than one of 640 KiB.
#[test]
fn an_object_that_is_nowhere_whole_is_read_back() {
    const LEN: u64 = 64 << 20;
    const PIECE: usize = 50_000;
    let byte = |at: u64| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8;
    let code = Code::new(8, 2).unwrap();
    let mut reader = StripeReader::new(&code, 64 << 10, LEN).unwrap();
    let mut writer = StripeWriter::new(&code, 64 << 10).unwrap();
    let (mut stripe, mut read) = (Vec::<Vec<u8>>::new(), 0u64);
    let mut damage_and_read = |written: cs_erasure::Stripe<'_>| {
        stripe.clear();
        stripe.extend(written.shards().map(<[u8]>::to_vec));
        let lost = [written.number as usize % 10, (written.number as usize * 3 + 1) % 10];
        lost.iter().for_each(|index| stripe[*index].fill(0xee));
        let present: Vec<bool> = (0..10).map(|index| !lost.contains(&index)).collect();
        let check = |bytes: &[u8]| {
            assert!(bytes.iter().zip(read..).all(|(found, at)| *found == byte(at)), "before {read}");
            read += bytes.len() as u64;
        };
        reader.read(&mut stripe, &present, check).unwrap();
    };
    let mut piece = vec![0; PIECE];
    for start in (0..LEN).step_by(PIECE) {
        let len = PIECE.min((LEN - start) as usize);
        piece[..len].iter_mut().zip(start..).for_each(|(place, at)| *place = byte(at));
        writer.write(&piece[..len], &mut damage_and_read);
    }
    assert_eq!(writer.finish(&mut damage_and_read), LEN);
    assert_eq!((read, reader.stripes_left()), (LEN, 0));
}

#[test]
fn a_stripe_that_has_lost_too_much_may_be_tried_again() {
    let code = Code::new(2, 1).unwrap();
    let mut stripe = coded(&code, 4, 9);
    let mut reader = StripeReader::new(&code, 4, 8).unwrap();
    let refused = reader.read(&mut stripe, &[true, false, false], |_| {});
    assert_eq!(refused, Err(Refused::TooFewShards { available: 1, needed: 2 }));
    let mut read = Vec::new();
    reader.read(&mut stripe, &[true, true, false], |bytes| read.extend_from_slice(bytes)).unwrap();
    assert_eq!(read, [&stripe[0][..], &stripe[1][..]].concat());
}

fn checksum(index: usize, bytes: &[u8]) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325 ^ index as u64;
    bytes.iter().fold(start, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
