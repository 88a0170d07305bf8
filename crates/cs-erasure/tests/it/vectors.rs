use cs_erasure::{Code, Lrc};

/// `tests/data/parity.txt`: geometry, data (each shard one byte unless cut), parity.
const PARITY: &str = include_str!("../data/parity.txt");

/// ERA-1 to ERA-3: the bytes that were written yesterday are the bytes that are written tomorrow.
#[test]
fn parity_is_that_of_the_published_vectors() {
    let mut checked = 0;
    for line in PARITY.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split(' ').collect();
        let [data, parity, fold] = fields[..] else { panic!("three fields in {line:?}") };
        let (data, parity): (usize, usize) = (data.parse().unwrap(), parity.parse().unwrap());
        assert_eq!(folded(data, parity), fold, "({data}, {parity})");
        checked += 1;
    }
    assert_eq!(checked, 24);
}

/// Shard i holds the bytes i + 1, i * i + 3, 255 - i modulo 256. The parity shards are printed in full when they
/// are up to 8, and otherwise folded into 8 as a wheel of rotating sums, which no exchange of two shards survives.
fn folded(data: usize, parity: usize) -> String {
    let code = Code::new(data, parity).unwrap();
    let shards: Vec<[u8; 3]> = (0..data).map(|i| [(i + 1) as u8, (i * i + 3) as u8, 255 - i as u8]).collect();
    let mut out = vec![[0; 3]; parity];
    code.encode(&shards, &mut out).unwrap();
    wheel(&out)
}

fn wheel<const N: usize>(shards: &[[u8; N]]) -> String {
    let mut wheel = vec![[0u8; N]; shards.len().min(8)];
    for (i, shard) in shards.iter().enumerate() {
        for (sum, byte) in wheel[i % 8].iter_mut().zip(shard) {
            *sum = sum.rotate_left(1).wrapping_add(*byte);
        }
    }
    let bytes: Vec<String> =
        wheel.iter().map(|shard| shard.map(|byte| format!("{byte:02x}")).concat()).collect();
    bytes.join("-")
}

/// `tests/data/wide.txt`: as above, with shards of four bytes.
const WIDE: &str = include_str!("../data/wide.txt");

/// ERA-7, ERA-8.
#[test]
fn parity_of_more_than_256_shards_is_that_of_the_published_vectors() {
    let mut checked = 0;
    for line in WIDE.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split(' ').collect();
        let [data, parity, fold] = fields[..] else { panic!("three fields in {line:?}") };
        let (data, parity): (usize, usize) = (data.parse().unwrap(), parity.parse().unwrap());
        let code = Code::new(data, parity).unwrap();
        assert_eq!(code.element_bytes(), 2);
        let shards: Vec<[u8; 4]> =
            (0..data).map(|i| [(i + 1) as u8, (i * i + 3) as u8, 255 - i as u8, (i >> 8) as u8]).collect();
        let mut out = vec![[0; 4]; parity];
        code.encode(&shards, &mut out).unwrap();
        assert_eq!(wheel(&out), fold, "({data}, {parity})");
        checked += 1;
    }
    assert_eq!(checked, 9);
}

/// `tests/data/local.txt`: k, l, g, all parities of the data of the first table.
const LOCAL: &str = include_str!("../data/local.txt");

/// ERA-9.
#[test]
fn local_and_global_parities_are_those_of_the_published_vectors() {
    let mut checked = 0;
    for line in LOCAL.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<&str> = line.split(' ').collect();
        let [data, locals, globals, expected] = fields[..] else { panic!("four fields in {line:?}") };
        let [data, locals, globals]: [usize; 3] = [data, locals, globals].map(|field| field.parse().unwrap());
        let shards: Vec<[u8; 3]> =
            (0..data).map(|i| [(i + 1) as u8, (i * i + 3) as u8, 255 - i as u8]).collect();
        let mut out = vec![[0; 3]; locals + globals];
        Lrc::new(data, locals, globals).unwrap().encode(&shards, &mut out).unwrap();
        let bytes: Vec<String> =
            out.iter().map(|shard| shard.map(|byte| format!("{byte:02x}")).concat()).collect();
        assert_eq!(bytes.join("-"), expected, "({data}, {locals}, {globals})");
        checked += 1;
    }
    assert_eq!(checked, 6);
}
