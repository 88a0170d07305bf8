//! Two replicas that were apart find out what each lacks, and what that costs in bytes.

use cs_gossip::reconcile::{Config, Id, Index, Output, Session};

fn ids(numbers: std::ops::Range<u32>) -> impl Iterator<Item = Id> {
    numbers.map(|number| *blake3::hash(&number.to_le_bytes()).as_bytes())
}

/// Hands all messages of `from` to `to`; returns how many bytes they had.
fn talk(from: &mut Session, to: &mut Session, to_index: &Index, missing: &mut usize) -> usize {
    let mut sent = 0;
    while let Some(output) = from.poll_output() {
        match output {
            Output::Send(bytes) => {
                sent += bytes.len();
                to.handle_input(to_index, &bytes).expect("both are honest");
            }
            Output::Missing(ids) => *missing += ids.len(),
            Output::Wanted(_) | Output::Done => {}
        }
    }
    sent
}

fn main() {
    let config = Config { want_ids: false, ..Config::default() };
    println!("{:>8} {:>8} {:>8} {:>9}", "shared", "ours", "theirs", "bytes");
    for (shared, only_ours, only_theirs) in
        [(100_000, 0, 0), (100_000, 1, 0), (100_000, 50, 50), (100_000, 500, 500), (1_000, 0, 100_000)]
    {
        let ours: Index = ids(0..shared).chain(ids(1 << 24..(1 << 24) + only_ours)).collect();
        let theirs: Index = ids(0..shared).chain(ids(1 << 25..(1 << 25) + only_theirs)).collect();
        let mut a = Session::initiate(config, &ours, [1; 32]);
        let mut b = Session::respond(config, &theirs, [2; 32]);
        let (mut bytes, mut found_ours, mut found_theirs) = (0, 0, 0);
        while !(a.is_finished() && b.is_finished()) {
            bytes += talk(&mut a, &mut b, &theirs, &mut found_ours);
            bytes += talk(&mut b, &mut a, &ours, &mut found_theirs);
        }
        println!("{shared:>8} {found_ours:>8} {found_theirs:>8} {bytes:>9}");
    }
}
