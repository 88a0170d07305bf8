//! The configuration file, and who wins over it.

use std::fs;

use crate::harness::Lab;

#[test]
fn settings_are_kept_and_comments_with_them() {
    let lab = Lab::new();
    let node = lab.node("home");
    assert_eq!(node.json(&["config", "get", "node.lan"])["settings"]["node.lan"], true);
    node.json(&["config", "set", "node.listen", "127.0.0.1:0", ":4040"]);
    let path = node.run(&["config", "path"]).out.trim_end().to_owned();
    let commented = fs::read_to_string(&path).unwrap() + "# the end\n";
    fs::write(&path, &commented).unwrap();
    node.json(&["config", "set", "node.lan", "false"]);
    let text = fs::read_to_string(&path).unwrap();
    assert!(text.starts_with("# Settings of this node.") && text.contains("# the end"), "{text}");
    assert_eq!(node.run(&["config", "get", "node.listen"]).out, "127.0.0.1:0\n[::]:4040\n");
    node.json(&["config", "set", "node.relays", "me:word@turn.example:3478/tcp"]);
    node.json(&["config", "set", "node.port-mapping", "false"]);
    assert_eq!(node.run(&["config", "get", "node.relays"]).out, "me:word@turn.example:3478/tcp\n");
    node.json(&["config", "unset", "node.lan"]);
    assert_eq!(node.run(&["config", "get", "node.lan"]).out, "true\n");
}

#[test]
fn a_setting_that_cannot_be_is_refused_and_the_file_stays() {
    let lab = Lab::new();
    let node = lab.node("home");
    node.json(&["config", "set", "node.role", "bootstrap"]);
    let before = fs::read_to_string(node.home.join("config.toml")).unwrap();
    for wrong in [
        ["node.role", "king"],
        ["node.lan", "maybe"],
        ["node.listen", "localhost"],
        ["node.bootstrap", "nobody@host:1"],
        ["node.relays", "nobody@host:1"],
        ["node.port-mapping", "perhaps"],
        ["node.colour", "red"],
    ] {
        let problem = node.problem(&["config", "set", wrong[0], wrong[1]]);
        assert_eq!(problem["code"], "usage", "{wrong:?}");
    }
    assert_eq!(fs::read_to_string(node.home.join("config.toml")).unwrap(), before);
}

#[test]
fn a_mistake_in_the_file_is_told_with_its_line_before_anything_starts() {
    let lab = Lab::new();
    let node = lab.node("home");
    fs::create_dir(&node.home).unwrap();
    fs::write(node.home.join("config.toml"), "# mine\n[node]\nlisen = []\n").unwrap();
    for args in [["up", "--no-lan"], ["up", "--detach"], ["config", "get"]] {
        let problem = node.problem(&args);
        let message = problem["message"].as_str().unwrap();
        assert_eq!(problem["code"], "usage");
        assert!(message.contains("config.toml, line 3") && message.contains("lisen"), "{message}");
    }
}

#[test]
fn the_file_says_where_to_listen_and_the_command_line_wins() {
    let lab = Lab::new();
    let node = lab.node("home");
    node.json(&["config", "set", "node.listen", "127.0.0.2:0"]);
    node.json(&["config", "set", "node.lan", "false"]);
    let listens = |started: serde_json::Value| started["listen"][0].as_str().unwrap().to_owned();
    let by_file = node.json(&["up", "--detach"]);
    assert!(listens(by_file).starts_with("127.0.0.2:"));
    node.json(&["down"]);
    let by_flag = node.json(&["up", "--detach", "--listen", "127.0.0.3:0"]);
    assert!(listens(by_flag).starts_with("127.0.0.3:"));
}
