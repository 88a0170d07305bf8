use cs_erasure::Code;

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
    let mut wheel = vec![[0u8; 3]; parity.min(8)];
    for (i, shard) in out.iter().enumerate() {
        for (sum, byte) in wheel[i % 8].iter_mut().zip(shard) {
            *sum = sum.rotate_left(1).wrapping_add(*byte);
        }
    }
    let bytes: Vec<String> =
        wheel.iter().map(|shard| shard.map(|byte| format!("{byte:02x}")).concat()).collect();
    bytes.join("-")
}
