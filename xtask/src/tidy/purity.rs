//! Protocol code reads no clock, draws no chance, opens no socket, prints nothing.
//!
//! This looks at words; `xtask/clippy/clippy.toml` forbids the same to clippy, which sees through imports.

use crate::report::Finding;
use crate::tree::RustFile;

/// Crates whose shipped code is pure as a whole.
pub(crate) const PURE_CRATES: &[&str] =
    &["cs-identity", "cs-crypto", "cs-dht", "cs-gossip", "cs-crdt", "cs-erasure", "cs-shard"];

/// Pure parts of crates that also have drivers.
const PURE_PARTS: &[&str] = &[
    "crates/cs-node/src/core/",
    "crates/cs-transport/src/arbiter.rs",
    "crates/cs-transport/src/rpc/",
    "crates/cs-transport/src/stun/",
    "crates/cs-transport/src/wire/",
];

/// What a pure crate spells `core::time`, so that it can be `no_std` one day. A part of a crate with drivers need not.
const BANNED_IN_CRATES: &str = "std::time";

/// Paths and macros that pure code does not name.
const BANNED: &[&str] = &[
    "Instant",
    "SystemTime",
    "std::fs",
    "std::env",
    "std::thread",
    "std::process",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "rand::rng",
    "rand::random",
    "thread_rng",
    "OsRng",
    "SysRng",
    "getrandom",
    "HashMap",
    "HashSet",
    "RandomState",
    "print!",
    "println!",
    "eprint!",
    "eprintln!",
    "tokio",
    "tracing",
    "log::",
];

pub(crate) fn check(file: &RustFile<'_>, findings: &mut Vec<Finding>) {
    let is_pure_crate = PURE_CRATES.iter().any(|name| file.is_src_of(name));
    if !is_pure_crate && !PURE_PARTS.iter().any(|part| file.path.starts_with(part)) {
        return;
    }
    let banned: Vec<&str> = BANNED.iter().copied().chain(is_pure_crate.then_some(BANNED_IN_CRATES)).collect();
    for line in file.lines.iter().filter(|line| !line.is_test) {
        for banned in banned.iter().filter(|banned| names(&line.code, banned)) {
            findings.push(Finding::refused(file.path, line.number, format!("`{banned}` in a protocol")));
        }
    }
}

/// Whether code names a path: the words must begin and end where it does.
fn names(code: &str, path: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(path).any(|(at, found)| {
        let before = code[..at].chars().next_back();
        let after = code[at + found.len()..].chars().next();
        !(before.is_some_and(is_word) || after.is_some_and(is_word) && found.ends_with(is_word))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Tree;

    fn said_of(path: &str, text: &str) -> Vec<String> {
        let tree = Tree::of(&[(path, text)]);
        let mut findings = Vec::new();
        for file in tree.rust() {
            check(&file, &mut findings);
        }
        findings.into_iter().map(|finding| finding.what).collect()
    }

    #[test]
    fn every_banned_name_is_refused_in_every_pure_place() {
        for banned in BANNED {
            let text = format!("fn a() {{ {banned} }}\n");
            for name in PURE_CRATES {
                let said = said_of(&format!("crates/{name}/src/a.rs"), &text);
                assert!(said.contains(&format!("`{banned}` in a protocol")), "{name}: {said:?}");
            }
            assert!(!said_of("crates/cs-node/src/core/mod.rs", &text).is_empty(), "{banned}");
        }
    }

    #[test]
    fn core_durations_and_words_that_contain_a_banned_one_pass() {
        let text = "use core::time::Duration;\nstruct Instantly;\nfn log(my_tokio: u8) {}\n// Instant\n";
        assert_eq!(said_of("crates/cs-dht/src/a.rs", text), [""; 0]);
    }

    #[test]
    fn pure_crates_spell_durations_by_core() {
        let text = "use std::time::Duration;\n";
        assert_eq!(said_of("crates/cs-gossip/src/a.rs", text), ["`std::time` in a protocol"]);
        assert_eq!(said_of("crates/cs-node/src/core/a.rs", text), [""; 0]);
    }

    #[test]
    fn tests_drivers_and_examples_may_read_clocks() {
        let text = "fn a() { Instant::now() }\n";
        assert_eq!(said_of("crates/cs-dht/tests/it/a.rs", text), [""; 0]);
        assert_eq!(said_of("crates/cs-dht/examples/a.rs", text), [""; 0]);
        assert_eq!(said_of("crates/cs-transport/src/net/a.rs", text), [""; 0]);
        assert_eq!(
            said_of("crates/cs-dht/src/a.rs", "#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n"),
            [""; 0]
        );
    }
}
