//! Two devices, from the first invitation to the last edit.

use std::fs;
use std::io::Write;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::harness::{Done, Lab, Node, until, until_file};

/// Two nodes in the background with a folder between them.
fn pair(lab: &Lab, options: &[&str]) -> (Node, Node) {
    let (a, b) = (lab.node("a"), lab.node("b"));
    let invited = a.share(&lab.folder("notes", &[("hello.txt", "hello")]), options);
    b.join(&invited["invitation"], &lab.path("copy"));
    until_file(&lab.path("copy/hello.txt"), "hello");
    (a, b)
}

fn in_sync(node: &Node) {
    until("both in sync", || {
        let space = node.space();
        (space["state"] == "up-to-date" && space["in_sync_with"] == 1).then_some(())
    });
}

#[test]
fn a_folder_shared_by_one_process_is_joined_by_another_and_edits_go_both_ways() {
    let lab = Lab::new();
    let (a, b) = (lab.node("a"), lab.node("b"));
    let folder = lab.folder("notes", &[("hello.txt", "hello")]);
    let copy = lab.path("deep/copy");
    let (sharing, invited) = a.foreground(&["share", folder.to_str().unwrap(), "--name", "my notes"]);
    assert_eq!((&invited["reply"], &invited["name"]), (&"invited".into(), &"my notes".into()));
    assert_eq!(invited["code"].as_str().unwrap().len(), 11);
    let invitation = invited["invitation"].as_str().unwrap();
    let (joining, joined) = b.foreground(&["join", invitation, copy.to_str().unwrap()]);
    assert_eq!((&joined["reply"], &joined["space"]), (&"joined".into(), &invited["space"]));
    until_file(&copy.join("hello.txt"), "hello");
    fs::write(copy.join("back.txt"), "and back").unwrap();
    until_file(&folder.join("back.txt"), "and back");
    fs::remove_file(folder.join("hello.txt")).unwrap();
    until("the deletion", || (!copy.join("hello.txt").exists()).then_some(()));
    sharing.signal("INT");
    joining.signal("TERM");
    assert_eq!(sharing.end().0, Some(0));
    assert_eq!(joining.end().0, Some(0));
}

#[test]
fn every_question_about_a_space_has_an_answer_in_words_and_as_an_object() {
    let lab = Lab::new();
    let (a, b) = pair(&lab, &[]);
    in_sync(&b);
    let id = |node: &Node| node.json(&["id"])["node"].as_str().unwrap().to_owned();
    let (id_a, id_b) = (id(&a), id(&b));
    let entries = b.json(&["ls"])["entries"].clone();
    assert_eq!((&entries[0]["path"], &entries[0]["size"]), (&"hello.txt".into(), &5.into()));
    let log = b.json(&["log", "hello.txt", "-n", "1"])["entries"].clone();
    assert_eq!((&log[0]["author"], &log[0]["what"]), (&id_a.as_str().into(), &"wrote".into()));
    let members = a.json(&["who"])["members"].clone();
    let member = members.as_array().unwrap().iter().find(|m| m["node"] == id_b.as_str()).unwrap();
    assert_eq!((&member["access"], &member["me"]), (&"write".into(), &false.into()));
    let short = &id_b[..10];
    a.json(&["name", short, "Bea"]);
    assert!(a.run(&["who"]).out.contains("nobody you know of attests it"));
    a.json(&["trust", "bea", "--suggest", "Beatrice"]);
    let members = a.json(&["who"])["members"].clone();
    let member = members.as_array().unwrap().iter().find(|m| m["node"] == id_b.as_str()).unwrap();
    assert_eq!((&member["name"], &member["trusted"]), (&"Bea".into(), &true.into()));
    until("the attestation", || {
        let told = b.run(&["who"]).out;
        told.contains("nobody you know of attests it").then_some(())
    });
    let consent = b.json(&["device", "consent", &id_a])["consent"].as_str().unwrap().to_owned();
    let recovery = a.json(&["device", "add", &id_b, &consent, "--label", "laptop"])["recovery"].clone();
    assert_eq!(recovery.as_str().unwrap().len(), 64);
    assert_eq!(a.run(&["device", "add", &id_b, &consent[1..]]).code, 2);
    until("the certificate", || b.run(&["device"]).out.contains(&format!("person     {id_a}")).then_some(()));
    assert!(a.run(&["device"]).out.contains("laptop"));
    let recovered = b.json(&["device", "recover", &id_a, recovery.as_str().unwrap()]);
    assert!(recovered["recovery"].is_string());
    let devices = b.json(&["device"])["devices"].clone();
    assert_eq!((&devices[0]["node"], &devices[0]["speaks"]), (&id_b.as_str().into(), &true.into()));
    a.json(&["trust", "Bea", "--withdraw"]);
    assert!(!a.run(&["who"]).out.contains("trusted because"));
    let net = b.json(&["net"]);
    assert_eq!((&net["reply"], &net["reachable"]), (&"net".into(), &true.into()));
    let path = &net["sessions"][0]["paths"][0];
    assert_eq!((&net["sessions"][0]["node"], &path["relay"]), (&id_a.as_str().into(), &Value::Null));
    assert!(path["in_use"] == true && path["rtt_us"].is_u64(), "{path}");
    assert!(a.json(&["doctor"])["findings"].as_array().is_some_and(|f| !f.is_empty()));
    // What was attested and withdrawn has travelled.
    in_sync(&b);
    for (args, part) in [
        (&["status"][..], "up to date"),
        (&["ls"], "hello.txt"),
        (&["log"], "wrote"),
        (&["who"], "this device"),
        (&["doctor", "folder"], "fine"),
        (&["doctor", "net"], "Strangers can reach this device"),
        (&["doctor", &id_a[..12]], "Connected: directly at 127.0.0.1:"),
        (&["net"], "127.0.0.1:"),
        (&["conflicts"], "No conflicts."),
    ] {
        let done = b.run(args);
        assert_eq!((done.code, done.err.as_str()), (0, ""), "{args:?}");
        assert!(done.out.contains(part), "{args:?}: {}", done.out);
    }
}

#[test]
fn documents_are_put_on_one_device_and_merged_key_by_key_on_the_other() {
    let lab = Lab::new();
    let (a, b) = pair(&lab, &[]);
    let value = |node: &Node| node.run(&["get", "todo"]).out.parse::<Value>().ok();
    a.json(&["put", "todo", r#"{"milk": true}"#]);
    until("the document", || value(&b).filter(|v| *v == json!({"milk": true})));
    b.json(&["pause"]);
    b.json(&["put", "todo", r#"{"milk": true, "bread": 2}"#]);
    let mut piped =
        a.command(&["put", "todo", "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    piped.stdin.take().unwrap().write_all(br#"{"milk": false}"#).unwrap();
    assert_eq!(Done::of(piped.wait_with_output().unwrap()).code, 0);
    b.json(&["resume"]);
    let merged = json!({"milk": false, "bread": 2});
    for node in [&a, &b] {
        until("the merged document", || value(node).filter(|v| *v == merged));
    }
    assert_eq!(a.problem(&["put", "todo", "{milk}"])["exit_code"], 2);
    assert_eq!(a.problem(&["get", "nothing"])["exit_code"], 3);
}

#[test]
fn concurrent_edits_of_a_file_are_shown_as_a_conflict_and_settled_by_its_user() {
    let lab = Lab::new();
    let (a, b) = pair(&lab, &[]);
    in_sync(&a);
    b.json(&["pause"]);
    fs::write(lab.path("notes/hello.txt"), "from a").unwrap();
    fs::write(lab.path("copy/hello.txt"), "from b").unwrap();
    let edits = |node: &Node| node.json(&["log", "hello.txt"])["entries"].as_array().unwrap().len();
    until("both edits seen", || (edits(&a) == 2 && edits(&b) == 2).then_some(()));
    b.json(&["resume"]);
    until("the conflict on both", || {
        let conflicts = |node: &Node| node.json(&["conflicts"])["conflicts"].as_array().unwrap().len();
        (conflicts(&a) == 1 && conflicts(&b) == 1).then_some(())
    });
    let waiting = a.run(&["conflicts", "list", "--exit-code"]);
    assert_eq!(waiting.code, 11);
    assert!(waiting.out.contains("hello.txt") && waiting.out.contains("this device"), "{}", waiting.out);
    let shown = a.json(&["conflicts", "show", "hello.txt"])["conflicts"][0]["versions"].clone();
    assert_eq!(shown.as_array().unwrap().len(), 2);
    a.json(&["conflicts", "resolve", "hello.txt", "--keep", "mine"]);
    until_file(&lab.path("copy/hello.txt"), "from a");
    until_file(&lab.path("notes/hello.txt"), "from a");
    assert_eq!(a.run(&["conflicts", "list", "--exit-code"]).code, 0);
    assert_eq!(a.problem(&["conflicts", "show", "hello.txt"])["exit_code"], 3);
}

#[test]
fn a_device_that_may_only_read_is_told_so_when_it_writes() {
    let lab = Lab::new();
    let (_a, b) = pair(&lab, &["--read-only"]);
    let problem = b.problem(&["put", "todo", "1"]);
    assert_eq!((&problem["code"], &problem["exit_code"]), (&"forbidden".into(), &7.into()));
    assert_eq!(b.problem(&["invite"])["exit_code"], 7);
}

#[test]
fn a_revoked_device_is_no_member_any_more() {
    let lab = Lab::new();
    let (a, b) = pair(&lab, &[]);
    let id = b.json(&["id"])["node"].as_str().unwrap().to_owned();
    let is_member =
        || a.json(&["who"])["members"].as_array().unwrap().iter().any(|m| m["node"] == id.as_str());
    assert!(is_member());
    let done = a.run(&["revoke", &id[..12]]);
    assert!(done.code == 0 && done.out.contains(&id[..10]), "{done:?}");
    assert!(!is_member());
    assert_eq!(a.problem(&["revoke", "zzz"])["exit_code"], 3);
}

#[test]
fn a_running_node_shares_more_folders_and_each_is_asked_for_by_name() {
    let lab = Lab::new();
    let (a, _b) = pair(&lab, &[]);
    a.json(&["share", lab.folder("music", &[("song", "la")]).to_str().unwrap()]);
    assert_eq!(a.problem(&["ls"])["exit_code"], 2);
    assert_eq!(a.problem(&["ls", "--space", "films"])["exit_code"], 3);
    until("the scan", || {
        let entries = a.json(&["ls", "-s", "music"])["entries"].clone();
        (entries[0]["path"] == "song").then_some(())
    });
    let again = a.json(&["share", lab.path("music").to_str().unwrap()]);
    assert_eq!(again["name"], "music");
    assert_eq!(a.json(&["status"])["spaces"].as_array().unwrap().len(), 2);
}

#[test]
fn an_invitation_for_people_names_the_command_and_draws_a_code_on_request() {
    let lab = Lab::new();
    let (a, _b) = pair(&lab, &[]);
    let plain = a.run(&["invite", "--expires", "2h"]);
    assert!(plain.out.contains("  cosync join ") && plain.out.contains("good for 2 h"), "{}", plain.out);
    assert!(!plain.out.contains('█'));
    assert!(a.run(&["invite", "--qr"]).out.contains('█'));
}
