//! What goes wrong at the other end of the keyboard: each with its own words and exit code, and nothing lost.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::harness::{LOCAL, Lab, Node, until, until_file};

fn join_problem(node: &Node, ticket: &str, folder: &str) -> Value {
    node.problem(&[&["join", ticket, folder, "--timeout", "20s"], LOCAL.as_slice()].concat())
}

fn message(problem: &Value) -> &str {
    problem["message"].as_str().unwrap()
}

#[test]
fn every_command_that_needs_a_node_says_that_none_runs() {
    let lab = Lab::new();
    let node = lab.node("home");
    for args in [
        &["status"][..],
        &["ls"],
        &["get", "x"],
        &["put", "x", "1"],
        &["log"],
        &["conflicts"],
        &["deletions", "accept"],
        &["invite"],
        &["who"],
        &["revoke", "x"],
        &["pause"],
        &["resume"],
        &["doctor"],
        &["net"],
        &["dht", "get", "x"],
        &["down"],
    ] {
        let problem = node.problem(args);
        assert_eq!((&problem["code"], &problem["exit_code"]), (&"not-running".into(), &4.into()), "{args:?}");
    }
    let words = node.run(&["status"]);
    assert!(words.err.starts_with("error: ") && words.err.contains("\nhint:  "), "{}", words.err);
    assert!(!node.home.exists());
}

#[test]
fn a_text_that_is_no_invitation_and_one_with_a_wrong_character_are_refused_before_anything_happens() {
    let lab = Lab::new();
    let (a, b) = (lab.node("a"), lab.node("b"));
    let invited = a.share(&lab.folder("notes", &[]), &[]);
    let good = invited["invitation"].as_str().unwrap();
    let at = good.len() / 2;
    let other = if &good[at..=at] == "a" { "b" } else { "a" };
    let altered = format!("{}{other}{}", &good[..at], &good[at + 1..]);
    for wrong in ["hello", "", &altered, &good[..good.len() - 1]] {
        let problem = join_problem(&b, wrong, lab.path("copy").to_str().unwrap());
        assert_eq!(
            (&problem["code"], &problem["exit_code"]),
            (&"bad-invitation".into(), &5.into()),
            "{wrong}"
        );
    }
    assert!(!b.home.exists() && !lab.path("copy").exists());
}

#[test]
fn a_folder_that_cannot_be_used_leaves_the_invitation_good() {
    let lab = Lab::new();
    let (a, b) = (lab.node("a"), lab.node("b"));
    let invited = a.share(&lab.folder("notes", &[("x", "x")]), &[]);
    let ticket = invited["invitation"].as_str().unwrap();
    lab.folder("other", &[("file", "")]);
    for bad in [lab.path("other/file"), lab.path("other/file/below"), lab.path("b"), "/proc/nowhere".into()] {
        let problem = join_problem(&b, ticket, bad.to_str().unwrap());
        assert_eq!(
            (&problem["code"], &problem["exit_code"]),
            (&"folder".into(), &8.into()),
            "{}",
            bad.display()
        );
    }
    b.join(&invited["invitation"], &lab.path("copy"));
    until_file(&lab.path("copy/x"), "x");
}

#[test]
fn what_cannot_be_shared_is_refused_before_a_node_starts() {
    let lab = Lab::new();
    let node = lab.node("home");
    lab.folder("notes", &[("file", "")]);
    for bad in [lab.path("notes/file"), lab.path("missing"), lab.path(""), lab.path("home/inside")] {
        let problem = node.problem(&["share", bad.to_str().unwrap(), "--no-lan"]);
        assert_eq!(
            (&problem["code"], &problem["exit_code"]),
            (&"folder".into(), &8.into()),
            "{}",
            bad.display()
        );
    }
    assert!(!node.home.exists());
}

#[test]
fn an_invitation_is_good_once() {
    let lab = Lab::new();
    let (a, b, c) = (lab.node("a"), lab.node("b"), lab.node("c"));
    let invited = a.share(&lab.folder("notes", &[("x", "x")]), &[]);
    b.join(&invited["invitation"], &lab.path("copy"));
    let problem =
        join_problem(&c, invited["invitation"].as_str().unwrap(), lab.path("third").to_str().unwrap());
    assert_eq!((&problem["exit_code"], message(&problem).contains("used")), (&5.into(), true), "{problem}");
    // The node that was started for this alone is gone again.
    assert_eq!(c.problem(&["status"])["code"], "not-running");
}

#[test]
fn an_invitation_expires() {
    let lab = Lab::new();
    let (a, b) = (lab.node("a"), lab.node("b"));
    a.share(&lab.folder("notes", &[]), &[]);
    let invited = a.json(&["invite", "--expires", "1s"]);
    let expires = u128::from(invited["expires_unix_ms"].as_u64().unwrap());
    until("the end of the invitation", || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        (now > expires).then_some(())
    });
    let problem =
        join_problem(&b, invited["invitation"].as_str().unwrap(), lab.path("copy").to_str().unwrap());
    assert_eq!(
        (&problem["exit_code"], message(&problem).contains("expired")),
        (&5.into(), true),
        "{problem}"
    );
}

#[test]
fn a_code_finds_its_device_through_a_bootstrap_node_and_a_wrong_guess_burns_it() {
    let lab = Lab::new();
    let (bootstrap, a, b, c) = (lab.node("bootstrap"), lab.node("a"), lab.node("b"), lab.node("c"));
    let started = bootstrap.up(&["--role", "bootstrap"]);
    let place = format!("{}@{}", started["node"].as_str().unwrap(), started["listen"][0].as_str().unwrap());
    let with = ["--bootstrap", place.as_str()];
    a.share(&lab.folder("notes", &[("x", "x")]), &with);
    b.up(&with);
    c.up(&with);
    let code = a.json(&["invite"])["code"].as_str().unwrap().to_owned();
    let copy = lab.path("copy");
    b.json(&["join", &code, copy.to_str().unwrap()]);
    until_file(&copy.join("x"), "x");
    let code = a.json(&["invite"])["code"].as_str().unwrap().to_owned();
    let last = if code.ends_with('0') { '1' } else { '0' };
    let wrong = format!("{}{last}", &code[..code.len() - 1]);
    let third = lab.path("third");
    for (guess, why) in [(&wrong, "a wrong guess"), (&code, "the right code, too late")] {
        let problem = c.problem(&["join", guess, third.to_str().unwrap(), "--timeout", "10s"]);
        let exit_code = problem["exit_code"].as_u64().unwrap();
        // A burned code is not offered any more, so it may also just not be found.
        assert!(exit_code == 5 || (exit_code == 6 && *guess == code), "{why}: {problem}");
    }
}

#[test]
fn an_inviter_that_is_away_is_named_with_its_addresses() {
    let lab = Lab::new();
    let (a, b) = (lab.node("a"), lab.node("b"));
    let invited = a.share(&lab.folder("notes", &[]), &[]);
    let address = a.json(&["status"])["listen"][0].as_str().unwrap().to_owned();
    a.json(&["down"]);
    let ticket = invited["invitation"].as_str().unwrap();
    let done = b.run(
        &[&["join", ticket, lab.path("copy").to_str().unwrap(), "--timeout", "2s"], LOCAL.as_slice()]
            .concat(),
    );
    assert_eq!(done.code, 6);
    assert!(
        done.err.contains("looking for the inviting device") || done.err.contains("connecting to"),
        "{}",
        done.err
    );
    assert!(done.err.contains(&address), "{}", done.err);
    // The invitation was not spent on this.
    a.up(&["--listen", &address]);
    assert_eq!(b.problem(&["status"])["code"], "not-running");
}

#[test]
fn a_state_directory_that_cannot_be_is_named() {
    let lab = Lab::new();
    lab.folder("other", &[("file", "")]);
    for place in [lab.path("other/file"), lab.path("other/file/below"), "/proc/nowhere".into()] {
        let node = Node { home: place };
        for args in [&["up", "--no-lan"][..], &["up", "--detach"], &["id"]] {
            let problem = node.problem(args);
            assert_eq!(
                (&problem["code"], &problem["exit_code"]),
                (&"disk".into(), &9.into()),
                "{args:?}: {problem}"
            );
            assert!(message(&problem).contains(node.home.to_str().unwrap()), "{problem}");
        }
    }
}

#[test]
fn a_state_directory_whose_path_no_socket_can_have_is_refused() {
    let lab = Lab::new();
    let node = Node { home: lab.path(&"long".repeat(40)) };
    let problem = node.problem(&["up", "--detach", LOCAL[0]]);
    assert_eq!(
        (&problem["exit_code"], message(&problem).contains("too long")),
        (&2.into(), true),
        "{problem}"
    );
}

#[test]
fn a_damaged_key_is_no_reason_to_make_another() {
    let lab = Lab::new();
    let node = lab.node("home");
    node.json(&["id"]);
    fs::write(node.home.join("identity.key"), "short").unwrap();
    for args in [&["up", "--no-lan"][..], &["id"]] {
        let problem = node.problem(args);
        assert_eq!((&problem["code"], &problem["exit_code"]), (&"corrupt".into(), &10.into()), "{problem}");
    }
    assert_eq!(fs::read(node.home.join("identity.key")).unwrap(), b"short");
}

#[test]
fn a_damaged_log_is_told_and_salvaged_only_when_asked() {
    let lab = Lab::new();
    let node = lab.node("home");
    node.share(&lab.folder("notes", &[]), &[]);
    for n in 0..8 {
        node.json(&["put", &format!("document-{n}"), "{\"text\": \"kept\"}"]);
    }
    node.json(&["down"]);
    // Without its index, the whole log is read.
    fs::remove_file(node.home.join("store/index")).unwrap();
    let log = node.home.join("store/log-00000000");
    let mut bytes = fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0xff;
    fs::write(&log, &bytes).unwrap();
    for args in [&["up", "--no-lan"][..], &["up", "--detach", "--no-lan"]] {
        let problem = node.problem(args);
        assert_eq!((&problem["code"], &problem["exit_code"]), (&"corrupt".into(), &10.into()), "{problem}");
        assert!(problem["hint"].as_str().unwrap().contains("--salvage"), "{problem}");
    }
    assert_eq!(fs::read(&log).unwrap(), bytes);
    node.up(&["--salvage"]);
    assert_eq!(node.space()["name"], "notes");
    assert_eq!(node.run(&["get", "document-7"]).code, 0);
}

#[test]
fn a_bootstrap_node_must_be_one() {
    let lab = Lab::new();
    let node = lab.node("home");
    let id = node.json(&["id"])["node"].as_str().unwrap().to_owned();
    for wrong in ["nobody@127.0.0.1:1", &id, &format!("{id}@127.0.0.1"), &format!("{id}@::1:4040")] {
        let problem = node.problem(&["up", "--no-lan", "--bootstrap", wrong]);
        assert_eq!(problem["exit_code"], 2, "{problem}");
    }
    let problem = node.problem(&["up", "--no-lan", "--bootstrap", &format!("{id}@host.invalid:1")]);
    assert_eq!(
        (&problem["exit_code"], message(&problem).contains("host.invalid")),
        (&6.into(), true),
        "{problem}"
    );
}
