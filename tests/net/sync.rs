//! Two and three nodes that sync, are killed, move and find each other again.

use std::fs;

use cs_node::api::Access;
use cs_tests::real::{fill, until};

use crate::lab::{LIMIT, Lab, Pair, arrives, become_equal, rests};

#[test]
fn edits_travel_both_ways() {
    let lab = Lab::new();
    let pair = Pair::in_sync(&lab, &[("first.txt", "one"), ("second.txt", "two")]);
    let [a, b] = &pair.folders;
    fs::write(a.join("first.txt"), "changed by a").unwrap();
    fs::write(b.join("second.txt"), "changed by b").unwrap();
    fs::create_dir(b.join("deep")).unwrap();
    fs::write(b.join("deep/new.txt"), "new").unwrap();
    arrives(&a.join("second.txt"), "changed by b");
    arrives(&b.join("first.txt"), "changed by a");
    arrives(&a.join("deep/new.txt"), "new");
    fs::rename(a.join("deep"), a.join("moved")).unwrap();
    fs::remove_file(a.join("first.txt")).unwrap();
    arrives(&b.join("moved/new.txt"), "new");
    pair.become_equal();
    assert!(!b.join("first.txt").exists());
}

#[test]
fn a_transfer_that_was_killed_resumes_where_it_was() {
    const SIZE: u64 = 96 << 20;
    let lab = Lab::new();
    let (from, to) = (lab.folder("from", &[]), lab.folder("to", &[]));
    fill(&from.join("large.bin"), SIZE, 7).unwrap();
    let (first, second) = (lab.setup("a"), lab.setup("b"));
    let sharer = first.up().unwrap();
    let invited = sharer.share(&from, Access::Write).unwrap();
    let joiner = second.up().unwrap();
    joiner.join(&invited.invitation, &to).unwrap();
    let received = until(LIMIT, || joiner.space().map(|s| s.bytes_received).filter(|b| *b > SIZE / 4));
    let before = received.expect("a quarter arrives");
    joiner.kill().unwrap();
    assert!(!to.join("large.bin").exists(), "killed after all was there: {before} bytes");

    let joiner = second.up().unwrap();
    become_equal(&from, &to);
    rests(&joiner);
    let after = joiner.space().unwrap().bytes_received;
    assert!(after < SIZE - SIZE / 8, "{before} bytes were there, and {after} were fetched again");
}

#[test]
fn a_code_finds_its_inviter_through_a_bootstrap_node() {
    let lab = Lab::new();
    let bootstrap = lab.setup("bootstrap").with(&["--role", "bootstrap"]).up().unwrap();
    let status = bootstrap.status().unwrap();
    let contact = format!("{}@{}", status.node, status.listen[0]);
    let start = |name| lab.setup(name).with(&["--bootstrap", &contact]).up().unwrap();
    let (sharer, joiner) = (start("a"), start("b"));
    let (from, to) = (lab.folder("from", &[("hello.txt", "hello")]), lab.folder("to", &[]));
    let invited = sharer.share(&from, Access::Write).unwrap();
    joiner.join(&invited.code, &to).unwrap();
    become_equal(&from, &to);

    let again = joiner.join(&invited.code, &lab.folder("again", &[])).expect_err("the code is used");
    assert!([5, 6, 8].contains(&again.code.exit_code()), "{again:?}");
    let state = bootstrap.status().unwrap();
    assert!(state.spaces.is_empty(), "a bootstrap node is in no space: {state:?}");
}

#[test]
fn an_inviter_that_moved_to_another_port_is_found_through_the_dht() {
    let lab = Lab::new();
    let bootstrap = lab.setup("bootstrap").with(&["--role", "bootstrap"]).up().unwrap();
    let status = bootstrap.status().unwrap();
    let contact = format!("{}@{}", status.node, status.listen[0]);
    let setup = |name| lab.setup(name).with(&["--bootstrap", &contact]);
    let (first, second) = (setup("a"), setup("b"));
    let (sharer, joiner) = (first.up().unwrap(), second.up().unwrap());
    let (from, to) = (lab.folder("from", &[("hello.txt", "hello")]), lab.folder("to", &[]));
    let invited = sharer.share(&from, Access::Write).unwrap();
    joiner.join(&invited.invitation, &to).unwrap();
    become_equal(&from, &to);
    let port = sharer.status().unwrap().listen;
    // Both are gone, so that nobody remembers a live session; both come back elsewhere.
    sharer.stop().unwrap();
    joiner.stop().unwrap();
    let (sharer, joiner) = (first.up().unwrap(), second.up().unwrap());
    assert_ne!(sharer.status().unwrap().listen, port, "the port is another");
    fs::write(from.join("hello.txt"), "hello again").unwrap();
    arrives(&to.join("hello.txt"), "hello again");
    rests(&joiner);
}

#[test]
fn a_read_only_member_changes_nothing_for_others() {
    let lab = Lab::new();
    let (first, second, third) = (lab.setup("a"), lab.setup("b"), lab.setup("c"));
    let (owner, reader, writer) = (first.up().unwrap(), second.up().unwrap(), third.up().unwrap());
    let dirs = ["owner", "reader", "writer"].map(|name| lab.folder(name, &[]));
    fs::write(dirs[0].join("law.txt"), "as it was").unwrap();
    let invited = owner.share(&dirs[0], Access::Read).unwrap();
    reader.join(&invited.invitation, &dirs[1]).unwrap();
    let invited = owner.share(&dirs[0], Access::Write).unwrap();
    writer.join(&invited.invitation, &dirs[2]).unwrap();
    become_equal(&dirs[0], &dirs[1]);
    become_equal(&dirs[0], &dirs[2]);

    fs::write(dirs[1].join("law.txt"), "forged").unwrap();
    fs::write(dirs[1].join("new.txt"), "smuggled").unwrap();
    // What is written after it, by one who may, arrives at all three; the forgery was in time to do so too.
    let told = until(LIMIT, || reader.space().filter(|s| !s.problems.is_empty()));
    assert!(told.is_some(), "the reader is told: {:?}", reader.space());
    fs::write(dirs[2].join("order.txt"), "after").unwrap();
    for dir in &dirs {
        arrives(&dir.join("order.txt"), "after");
    }
    for dir in [&dirs[0], &dirs[2]] {
        assert_eq!(fs::read_to_string(dir.join("law.txt")).unwrap(), "as it was");
        assert!(!dir.join("new.txt").exists());
    }
    assert_eq!(
        fs::read_to_string(dirs[1].join("law.txt")).unwrap(),
        "forged",
        "nothing of the reader's is lost"
    );
}
