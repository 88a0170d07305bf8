//! Nodes that start, stay and end.

use std::fs;
use std::net::UdpSocket;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use crate::harness::{LOCAL, Lab, until};

#[test]
fn a_node_in_the_background_answers_at_once_and_down_waits_for_its_end() {
    let lab = Lab::new();
    let node = lab.node("home");
    let started = node.up(&[]);
    assert_eq!(started["reply"], "started");
    let status = node.json(&["status"]);
    assert_eq!((&status["reply"], &status["node"]), (&"status".into(), &started["node"]));
    let down = node.run(&["down"]);
    assert_eq!((down.code, down.out.as_str()), (0, "The node is stopped.\n"));
    assert_eq!(node.problem(&["down"])["code"], "not-running");
    // The state directory is free the moment `down` returns.
    assert_eq!(node.up(&[])["node"], started["node"]);
}

#[test]
fn nobody_else_can_read_the_log_or_open_the_socket() {
    let lab = Lab::new();
    let node = lab.node("home");
    node.up(&[]);
    let mode = |name: &str| fs::metadata(node.home.join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("api.sock"), 0o600);
    assert_eq!(mode("cosync.log"), 0o600);
    assert_eq!(mode("identity.key"), 0o600);
    assert_eq!(mode(""), 0o700);
    let log = fs::read_to_string(node.home.join("cosync.log")).unwrap();
    assert!(log.contains("started"), "{log}");
}

#[test]
fn a_second_node_on_the_same_state_directory_is_refused() {
    let lab = Lab::new();
    let node = lab.node("home");
    let (first, _) = node.foreground(&["up"]);
    for second in [["up", "--no-lan"], ["up", "--detach"]] {
        let problem = node.problem(&second);
        assert_eq!((&problem["code"], &problem["exit_code"]), (&"not-running".into(), &4.into()));
        assert!(problem["message"].as_str().unwrap().contains("running already"), "{problem}");
    }
    // Also one that does not find the socket of the first.
    fs::remove_file(node.home.join("api.sock")).unwrap();
    for second in [["up", "--no-lan"], ["up", "--detach"]] {
        assert_eq!(node.problem(&second)["exit_code"], 4);
    }
    first.signal("TERM");
    assert_eq!(first.end().0, Some(0));
}

#[test]
fn signals_and_down_end_a_node_in_the_foreground_in_order() {
    let lab = Lab::new();
    let node = lab.node("home");
    for signal in ["INT", "TERM", "HUP"] {
        let (running, _) = node.foreground(&["up"]);
        running.signal(signal);
        assert_eq!(running.end().0, Some(0), "{signal}");
    }
    let (running, _) = node.foreground(&["up"]);
    node.json(&["down"]);
    assert_eq!(running.end().0, Some(0));
}

#[test]
fn a_node_that_was_killed_leaves_nothing_in_the_way() {
    let lab = Lab::new();
    let node = lab.node("home");
    let folder = lab.folder("notes", &[("a", "one")]);
    let started = node.up(&[]);
    node.json(&["share", folder.to_str().unwrap()]);
    let killed = Command::new("kill").args(["-KILL", &started["pid"].to_string()]).status().unwrap();
    assert!(killed.success());
    until("the end of the node", || (node.run(&["status"]).code == 4).then_some(()));
    assert_eq!(node.up(&[])["node"], started["node"]);
    assert_eq!(node.space()["name"], "notes");
}

#[test]
fn why_a_node_in_the_background_does_not_start_is_told_at_once() {
    let lab = Lab::new();
    let node = lab.node("home");
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let problem = node.problem(&["up", "--detach", "--no-lan", "--listen", &address]);
    let message = problem["message"].as_str().unwrap();
    assert!(message.contains("cannot listen") && message.contains(&address), "{message}");
    assert_eq!(node.problem(&["status"])["code"], "not-running");
}

#[test]
fn a_wrong_level_for_the_log_is_told() {
    let lab = Lab::new();
    let mut command = lab.node("home").command(&["up", LOCAL[0]]);
    let output = command.env("COSYNC_LOG", "cosync=loud").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().starts_with("error: COSYNC_LOG is `cosync=loud`"));
}
