//! Garbage on the port, damage on the disk, a second node: nothing crashes, nothing is lost, and it is said what to do.

use std::fs;
use std::net::UdpSocket;
use std::path::Path;

use cs_tests::real::fill;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::lab::{Lab, Pair, arrives, become_equal, rests};

#[test]
fn garbage_on_the_port_stops_nothing() {
    const PACKETS: usize = 10_000;
    let lab = Lab::new();
    let mut pair = Pair::in_sync(&lab, &[("before.txt", "before")]);
    let port = pair.nodes[0].status().unwrap().listen[0].clone();
    fill(&pair.folders[0].join("large.bin"), 8 << 20, 5).unwrap();
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut packet = vec![0; 1500];
    for number in 0..PACKETS {
        let length = rng.random_range(0..=packet.len());
        rng.fill_bytes(&mut packet[..length]);
        // Every first byte, since it tells the protocols on the port apart.
        packet[0] = (number % 256) as u8;
        // A full buffer drops it, as a network would.
        let _ = socket.send_to(&packet[..length], &port);
    }
    pair.become_equal();
    fs::write(pair.folders[1].join("after.txt"), "after").unwrap();
    arrives(&pair.folders[0].join("after.txt"), "after");
    assert!(pair.nodes.iter_mut().all(|node| !node.has_ended()));
}

#[test]
fn a_second_node_on_the_same_state_is_refused_and_the_first_goes_on() {
    let lab = Lab::new();
    let setup = lab.setup("a");
    let mut node = setup.up().unwrap();
    let refused = setup.command(&["up"]).output().unwrap();
    assert_eq!(refused.status.code(), Some(4));
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("running already") && told.contains("cosync down"), "{told}");
    assert!(node.status().is_ok() && !node.has_ended());
}

#[test]
fn a_damaged_log_is_told_and_salvaged_when_asked() {
    // Statements lie early in the log, operations later; what is lost differs, and none of it may cost a file. A place
    // may hold what newer records have replaced: that is no loss, and whatever uses it is not refused.
    let told = [1, 3, 6, 9].into_iter().filter(|tenth| salvage(*tenth)).count();
    assert!(told >= 2, "only {told} damages were told");
}

/// Damages the log at so many tenths of its length, and has it salvaged. Whether a start told of the damage.
fn salvage(tenth: usize) -> bool {
    const FILES: [(&str, &str); 3] = [("first.txt", "one"), ("second.txt", "two"), ("third.txt", "three")];
    let lab = Lab::new();
    let pair = Pair::in_sync(&lab, &[]);
    rests(&pair.nodes[1]);
    // Written after the other device was let in, so that the operations name the statement that let it in.
    FILES.iter().for_each(|(name, text)| fs::write(pair.folders[0].join(name), text).unwrap());
    FILES.iter().for_each(|(name, text)| arrives(&pair.folders[1].join(name), text));
    let Pair { setups, nodes: [a, _b], folders } = pair;
    a.stop().unwrap();
    let store = setups[0].home().join("store");
    flip_a_byte(&store, tenth);
    let before = segments_of(&store);

    let is_told = match setups[0].start(&["--json", "up"]) {
        Ok((unhurt, _)) => {
            unhurt.stop().unwrap();
            false
        }
        Err(refused) => {
            let told = refused.to_string();
            assert!(told.contains("is damaged") && told.contains("--salvage"), "{told}");
            let again = setups[0].command(&["--json", "up"]).output().unwrap();
            assert_eq!(again.status.code(), Some(10), "{again:?}");
            assert!(segments_of(&store) == before, "a refusal changes nothing");
            true
        }
    };

    let (_salvaged, _) = setups[0].start(&["--json", "up", "--salvage"]).unwrap();
    fs::write(folders[1].join("fourth.txt"), "four").unwrap();
    arrives(&folders[0].join("fourth.txt"), "four");
    become_equal(&folders[0], &folders[1]);
    for (name, text) in FILES {
        assert_eq!(fs::read_to_string(folders[0].join(name)).unwrap(), text, "damaged at {tenth} tenths");
    }
    is_told
}

/// In the largest segment of the log, before its end: what follows is intact, so it is no torn tail.
fn flip_a_byte(store: &Path, tenth: usize) {
    let segments = fs::read_dir(store).unwrap().map(|entry| entry.unwrap().path());
    let logs = segments.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("log-"));
    let segment = logs.max_by_key(|path| path.metadata().unwrap().len()).expect("there is a segment");
    let mut bytes = fs::read(&segment).unwrap();
    let written = bytes.iter().rposition(|byte| *byte != 0).expect("something is written");
    bytes[written * tenth / 10] ^= 1;
    fs::write(&segment, bytes).unwrap();
}

/// The log, segment by segment; the index beside it is only a copy, and shrinks when it is opened.
fn segments_of(store: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(store).unwrap().map(|entry| entry.unwrap());
    let name = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let logs = entries.filter(|entry| name(entry).starts_with("log-"));
    let mut segments: Vec<_> = logs.map(|entry| (name(&entry), fs::read(entry.path()).unwrap())).collect();
    segments.sort();
    segments
}
