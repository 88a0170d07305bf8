//! `cosync demo`: what it does when it cannot be told to the end. Told in full, it is a test by itself.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use crate::harness::{Done, Lab, bare};

#[test]
fn a_fault_fails_the_step_that_looks_for_it_and_nothing_is_left_behind() {
    let lab = Lab::new();
    let tmp = lab.folder("tmp", &[]);
    let done = Done::of(bare(&["demo", "--plant", "2"]).env("TMPDIR", &tmp).output().unwrap());
    assert_eq!(done.code, 1, "{}", done.err);
    assert!(done.err.starts_with("error: Step 2 of the demo"), "{}", done.err);
    assert!(done.err.contains("the node counts 34 files"), "{}", done.err);
    assert!(done.out.contains("\n 2  Alice shares") && !done.out.contains("\n 3  "), "{}", done.out);
    assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0);
}

#[test]
fn a_signal_ends_the_nodes_and_removes_their_folders() {
    let lab = Lab::new();
    let tmp = lab.folder("tmp", &[]);
    let mut demo = bare(&["demo"]);
    let mut demo = demo.env("TMPDIR", &tmp).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(demo.stdout.take().unwrap());
    let mut nodes = String::new();
    while !nodes.contains("lighthouse (process") {
        nodes.clear();
        assert_ne!(told.read_line(&mut nodes).unwrap(), 0, "it ended before its nodes ran");
    }
    assert!(signal("-TERM", &demo.id().to_string()));
    let done = Done::of(demo.wait_with_output().unwrap());
    assert_eq!(done.code, 1);
    assert!(done.err.starts_with("error: Stopped by a signal"), "{}", done.err);
    let pids: Vec<&str> = nodes.split("(process ").skip(1).filter_map(|p| p.split(')').next()).collect();
    assert_eq!(pids.len(), 4, "{nodes}");
    assert!(pids.iter().all(|pid| !signal("-0", pid)), "{pids:?}");
    assert_eq!(fs::read_dir(&tmp).unwrap().count(), 0);
}

/// Whether there is such a process to send it to.
fn signal(kind: &str, pid: &str) -> bool {
    Command::new("kill").args([kind, pid]).stderr(Stdio::null()).status().unwrap().success()
}
