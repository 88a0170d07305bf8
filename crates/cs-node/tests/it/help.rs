//! What can be found out without a node.

use std::process::Stdio;

use crate::harness::{Done, Lab, bare, object};

const COMMANDS: [&str; 27] = [
    "share",
    "join",
    "up",
    "down",
    "status",
    "ls",
    "get",
    "put",
    "log",
    "conflicts",
    "deletions",
    "invite",
    "who",
    "name",
    "trust",
    "device",
    "revoke",
    "pause",
    "resume",
    "doctor",
    "net",
    "dht",
    "id",
    "config",
    "demo",
    "completions",
    "help",
];

fn run(args: &[&str]) -> Done {
    Done::of(bare(args).output().unwrap())
}

#[test]
fn every_command_is_listed_and_explains_itself() {
    let list = run(&["-h"]);
    assert_eq!(list.code, 0);
    for command in COMMANDS {
        assert!(
            list.out.lines().any(|l| l.split_whitespace().next() == Some(command)),
            "{command} is not listed"
        );
        if command != "help" {
            let help = run(&["help", command]);
            assert_eq!((help.code, help.err.as_str()), (0, ""), "{command}");
            assert!(help.out.contains("Usage: cosync"), "{command}: {}", help.out);
        }
    }
}

#[test]
fn the_long_help_tells_exit_codes_and_environment() {
    let help = run(&["--help"]).out;
    for part in ["Exit codes:", "10  state on disk is damaged", "COSYNC_HOME", "COSYNC_LOG"] {
        assert!(help.contains(part), "{part} is missing");
    }
}

#[test]
fn the_readme_lists_every_command_and_exit_code() {
    let readme = include_str!("../../README.md");
    for command in COMMANDS.iter().filter(|c| **c != "help") {
        assert!(readme.contains(&format!("`{command}")), "{command}");
    }
    for code in 0..=11 {
        assert!(readme.contains(&format!("| {code} |")), "exit code {code}");
    }
}

#[test]
fn what_is_no_command_ends_with_code_2_in_words_and_as_an_object() {
    let words = run(&["frobnicate"]);
    assert_eq!(words.code, 2);
    assert!(words.err.starts_with("error: "), "{}", words.err);
    let json = run(&["frobnicate", "--json"]);
    assert_eq!((json.code, json.out.as_str()), (2, ""));
    let problem = object(&json.err);
    assert_eq!((&problem["code"], &problem["exit_code"]), (&"usage".into(), &2.into()));
}

#[test]
fn completions_come_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let done = run(&["completions", shell]);
        assert_eq!(done.code, 0);
        assert!(done.out.contains("conflicts"), "{shell}");
    }
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let done =
        Done::of(bare(&["completions", "bash"]).stdout(writer).stderr(Stdio::piped()).output().unwrap());
    assert_eq!((done.code, done.err.as_str()), (0, ""));
}

#[test]
fn the_id_of_a_device_is_made_once_and_kept() {
    let lab = Lab::new();
    let node = lab.node("home");
    let first = node.json(&["id"])["node"].as_str().unwrap().to_owned();
    assert_eq!(first.len(), 52);
    assert_eq!(node.run(&["id"]).out, format!("{first}\n"));
    let by_environment = Done::of(bare(&["id"]).env("COSYNC_HOME", &node.home).output().unwrap());
    assert_eq!(by_environment.out, format!("{first}\n"));
}
