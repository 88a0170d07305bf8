use cs_shard::wire::DecodeError;
use cs_shard::{
    Config, CountMin, HyperLogLog, Member, PartitionMap, Quantiles, Ring, Subnet, Top, Weight, Zone, hash_key,
};

use crate::member;

/// SHARD-1.
#[test]
fn names_are_hashed_as_ever() {
    assert_eq!(hex(&hash_key(b"")), "be7d3feec64dbc8fa9ab093ab185a8bd1d51551cddfd8d5d38b1b94891acdaf7");
    assert_eq!(hex(&hash_key(b"cosmic")), "66f1e9cca9101b0d0a4b9dfcd24357cd559e6a53cad17b2020d05d824ceff460");
}

/// SHARD-1, SHARD-2: the first nodes that the ring meets.
#[test]
fn tokens_stand_where_they_ever_stood() {
    let members: Vec<_> = (0..6).map(|number| member(number, 0)).collect();
    let order: Vec<String> =
        Ring::new(&members, 64).walk(&[0; 32]).take(32).map(|node| node.to_string()).collect();
    assert_eq!(order.concat(), "45515512223055214430232444120221");
}

/// SHARD-1 to SHARD-6: every step that leads to a map, over four epochs.
#[test]
fn maps_are_made_as_ever() {
    let config = Config { partitions: 256, ..Config::default() };
    let mut members: Vec<_> = (0..20).map(|number| member(number, number as u64 % 5)).collect();
    let mut maps = vec![PartitionMap::new(config, &members).unwrap()];
    let mut next = |members: &[Member]| maps.push(maps[maps.len() - 1].next(members).unwrap());
    members.extend((20..23).map(|number| member(number, 5)));
    next(&members);
    members[3].weight = Weight::from_hundredths(725).unwrap();
    members.remove(11);
    next(&members);
    members[0].zone = Zone(9);
    members[7].subnet = Subnet(1);
    next(&members);
    let digests: Vec<String> = maps.iter().map(digest).collect();
    assert_eq!(digests, ["e49d3195b3766553", "08102f64818756e6", "ac98fb2fc01bfe4a", "85af51c61261b198"]);
}

/// SHARD-9 to SHARD-14: every hash and bucket of every sketch, by what a summary of three hundred items is encoded as.
#[test]
fn summaries_are_made_as_ever() {
    let (mut distinct, mut quantiles) = (HyperLogLog::default(), Quantiles::default());
    let (mut counts, mut top) = (CountMin::default(), Top::default());
    for item in 0..300u64 {
        distinct.insert(&item.to_be_bytes());
        quantiles.insert(item.pow(5));
        counts.insert(&item.to_be_bytes(), item + 1);
        top.insert(&item.to_be_bytes(), item * item + 1);
    }
    let bytes = |encode: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = Vec::new();
        encode(&mut bytes);
        hex(&hash_key(&bytes)[..8])
    };
    let digests = [
        bytes(&|out| distinct.encode(out)),
        bytes(&|out| quantiles.encode(out)),
        bytes(&|out| counts.encode(out)),
        bytes(&|out| top.encode(out)),
        format!("{:016x}", distinct.estimate().to_bits()),
    ];
    assert_eq!(
        digests,
        ["47055f5ac9af0f02", "24956b5f00f9016c", "0a01b7c4c7efefd1", "482ec760a20c7634", "40730045bcde2d81"]
    );
}

/// SHARD-8: a map byte by byte, and what may not be in it.
#[test]
fn a_map_is_laid_out_as_written() {
    let config = Config { partitions: 16, replicas: 1, slack_percent: 5, tokens: 64 };
    let one = PartitionMap::new(config, &[member(1, 0x0203)]).unwrap();
    let mut bytes = Vec::new();
    one.encode(&mut bytes);
    let head = "010100000000000000040105400001 00".replace(' ', "");
    let tail = format!("6400{}{}{}", "0302000000000000", "0100000000000000", "0000".repeat(16));
    assert_eq!(hex(&bytes), format!("{head}{}{tail}", hex(member(1, 0).id.as_bytes())));

    let altered = |at: usize, byte: u8| {
        let mut bytes = bytes.clone();
        bytes[at] = byte;
        PartitionMap::from_bytes(&bytes).unwrap_err()
    };
    assert_eq!(altered(0, 2), DecodeError::Version);
    assert_eq!(altered(1, 0), DecodeError::Range, "epoch 0");
    assert_eq!(altered(9, 3), DecodeError::Range, "8 partitions");
    assert_eq!(altered(9, 255), DecodeError::Range, "2^255 partitions");
    assert_eq!(altered(10, 0), DecodeError::Range, "no replica");
    assert_eq!(altered(14, 0), DecodeError::Range, "no member");
    assert_eq!(altered(15, 255), DecodeError::Truncated, "more members than bytes");
    assert_eq!(altered(48, 0), DecodeError::Range, "no weight");
    assert_eq!(altered(66, 1), DecodeError::Holder, "unknown holder");
    let mut identity = bytes.clone();
    identity[16..48].fill(0);
    identity[16] = 1;
    assert_eq!(PartitionMap::from_bytes(&identity), Err(DecodeError::Member), "a point of small order");

    let two = PartitionMap::new(Config { replicas: 2, ..config }, &[member(1, 0), member(2, 0)]).unwrap();
    let mut bytes = Vec::new();
    two.encode(&mut bytes);
    let (first, second) = bytes[16..].split_at_mut(50);
    first.swap_with_slice(&mut second[..50]);
    assert_eq!(PartitionMap::from_bytes(&bytes), Err(DecodeError::Member), "not ascending");
    two.encode(&mut Vec::new());
    let mut bytes = Vec::new();
    two.encode(&mut bytes);
    let slots = bytes.len() - 16 * 4;
    bytes[slots] = bytes[slots + 2];
    assert_eq!(PartitionMap::from_bytes(&bytes), Err(DecodeError::Holder), "twice the same");
}

fn digest(map: &PartitionMap) -> String {
    let mut bytes = Vec::new();
    map.encode(&mut bytes);
    hex(&hash_key(&bytes)[..8])
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
