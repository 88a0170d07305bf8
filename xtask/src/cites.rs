//! Every numbered rule of a PROTOCOL.md is cited by the code that carries it and by a test; no other rule is cited.

use std::collections::{BTreeMap, BTreeSet};

use crate::report::{Finding, Findings};
use crate::tree::{Tree, crate_and_rest};

/// The crate of each series of rules. A series that is not here can be neither written down nor cited.
const SERIES: &[(&str, &str)] = &[
    ("ID", "cs-identity"),
    ("CRYPTO", "cs-crypto"),
    ("TP", "cs-transport"),
    ("DHT", "cs-dht"),
    ("GOS", "cs-gossip"),
    ("REC", "cs-gossip"),
    ("CRDT", "cs-crdt"),
    ("STORE", "cs-store"),
    ("ERA", "cs-erasure"),
    ("SHARD", "cs-shard"),
    ("NODE", "cs-node"),
];

/// A numbered rule: `DHT-7`.
type Rule<'a> = (&'a str, u32);

/// Where a rule is cited.
#[derive(Debug, Default)]
struct Citations<'a> {
    code: BTreeSet<Rule<'a>>,
    tests: BTreeSet<Rule<'a>>,
}

/// Holds rules and citations against each other.
pub(crate) fn check(tree: &Tree) -> Findings {
    let mut findings = Findings::default();
    let rules = rules(tree, &mut findings);
    let cited = citations(tree, &rules, &mut findings);
    findings.checked = rules.len();
    for (&(series, number), &(path, line)) in &rules {
        if !cited.code.contains(&(series, number)) {
            findings.all.push(Finding::refused(path, line, format!("no code cites {series}-{number}")));
        }
        if !cited.tests.contains(&(series, number)) {
            findings.all.push(Finding::refused(path, line, format!("no test cites {series}-{number}")));
        }
    }
    findings
}

/// The rules that are written down, `**DHT-7` at the beginning of a line each, with their places.
fn rules<'a>(tree: &'a Tree, findings: &mut Findings) -> BTreeMap<Rule<'a>, (&'a str, usize)> {
    let mut rules = BTreeMap::new();
    for (path, text) in &tree.files {
        let Some((name, "PROTOCOL.md")) = crate_and_rest(path) else { continue };
        for (number, line) in (1..).zip(text.lines()) {
            let Some(bold) = line.trim_start_matches("- ").strip_prefix("**") else { continue };
            let Some(rule) = mentions(bold).into_iter().next().filter(|_| begins_with_rule(bold)) else {
                continue;
            };
            if !SERIES.contains(&(rule.0, name)) {
                findings.all.push(Finding::refused(
                    path,
                    number,
                    format!("{} is no series of {name}", rule.0),
                ));
            } else if rules.insert(rule, (path.as_str(), number)).is_some() {
                findings.all.push(Finding::refused(
                    path,
                    number,
                    format!("{}-{} is written twice", rule.0, rule.1),
                ));
            }
        }
    }
    rules
}

fn begins_with_rule(text: &str) -> bool {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_uppercase());
    rest.len() < text.len()
        && rest.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn citations<'a>(
    tree: &'a Tree,
    rules: &BTreeMap<Rule<'a>, (&'a str, usize)>,
    findings: &mut Findings,
) -> Citations<'a> {
    let mut cited = Citations::default();
    for file in tree.rust().iter().filter(|file| !file.path.starts_with("xtask/")) {
        let home = crate_and_rest(file.path).map(|(name, _)| name);
        for line in &file.lines {
            for rule in mentions(line.text) {
                let Some((_, owner)) = SERIES.iter().find(|(series, _)| *series == rule.0) else { continue };
                if !rules.contains_key(&rule) {
                    let what = format!("{}-{} is no rule of {owner}", rule.0, rule.1);
                    findings.all.push(Finding::refused(file.path, line.number, what));
                }
                // A rule is carried by its own crate; a test of it may also stand among those of the workspace.
                if home == Some(owner) && !line.is_test {
                    cited.code.insert(rule);
                } else if line.is_test && home.is_none_or(|home| home == *owner) {
                    cited.tests.insert(rule);
                }
            }
        }
    }
    cited
}

/// The rules that a line names; `TP-3 to TP-5` and `TP-3 to 5` name three.
fn mentions(line: &str) -> Vec<Rule<'_>> {
    let mut found: Vec<Rule<'_>> = Vec::new();
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    let mut past = 0;
    let mut rest = line;
    while let Some(start) = rest.find(|c: char| c.is_ascii_alphanumeric()) {
        let end = rest[start..].find(|c| !is_word(c)).map_or(rest.len(), |length| start + length);
        let word = &rest[start..end];
        let continues = found.last().copied().filter(|_| rest[..start].trim().is_empty() && past == 1);
        let rule = parse(word).or_else(|| Some((continues?.0, word.parse().ok()?)));
        match (rule, continues) {
            (Some(rule), Some(from)) if from.0 == rule.0 => {
                found.extend((from.1 + 1..=rule.1).map(|number| (rule.0, number)))
            }
            (Some(rule), _) => found.push(rule),
            (None, _) => {}
        }
        past = match (rule, word) {
            (Some(_), _) => 2,
            (None, "to") if past == 2 && rest[..start].trim().is_empty() => 1,
            _ => 0,
        };
        rest = &rest[end..];
    }
    found
}

/// Reads `DHT-7`: capitals, a hyphen, a number without leading zeros.
fn parse(word: &str) -> Option<Rule<'_>> {
    let (series, number) = word.split_once('-')?;
    let is_series = !series.is_empty() && series.bytes().all(|byte| byte.is_ascii_uppercase());
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit()) && !number.starts_with('0');
    if is_series && is_number { Some((series, number.parse().ok()?)) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULES: (&str, &str) =
        ("crates/cs-dht/PROTOCOL.md", "**DHT-1: Layout.** Text.\n**DHT-2** More, as DHT-1 says.\n");

    fn refusals(files: &[(&str, &str)]) -> Vec<String> {
        check(&Tree::of(files)).all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn rules_that_code_and_tests_cite_pass() {
        let files = [
            RULES,
            (
                "crates/cs-dht/src/wire.rs",
                "/// Rule DHT-1.\nfn a() {}\n// DHT-2\n#[cfg(test)]\nmod tests {\n// DHT-2\n}\n",
            ),
            ("crates/cs-dht/tests/it/wire.rs", "/// DHT-1: a layout.\n"),
        ];
        assert_eq!(refusals(&files), [""; 0]);
        assert_eq!(check(&Tree::of(&files)).checked, 2);
    }

    #[test]
    fn a_rule_without_code_is_refused() {
        let files =
            [RULES, ("crates/cs-dht/src/a.rs", "// DHT-1\n"), ("tests/it/a.rs", "// DHT-1 and DHT-2\n")];
        assert_eq!(refusals(&files), ["error: crates/cs-dht/PROTOCOL.md:2: no code cites DHT-2"]);
    }

    #[test]
    fn a_rule_without_a_test_is_refused() {
        let files = [
            RULES,
            ("crates/cs-dht/src/a.rs", "// DHT-1 to DHT-2\n"),
            ("crates/cs-dht/tests/it/a.rs", "// DHT-2\n"),
        ];
        assert_eq!(refusals(&files), ["error: crates/cs-dht/PROTOCOL.md:1: no test cites DHT-1"]);
    }

    #[test]
    fn a_rule_that_is_not_written_down_cannot_be_cited() {
        let files = [("crates/cs-node/src/a.rs", "// NODE-3, in UTF-8\n")];
        assert_eq!(refusals(&files), ["error: crates/cs-node/src/a.rs:1: NODE-3 is no rule of cs-node"]);
    }

    #[test]
    fn another_crates_code_does_not_carry_a_rule() {
        let files =
            [RULES, ("crates/cs-node/src/a.rs", "// DHT-1, DHT-2\n"), ("tests/a.rs", "// DHT-1, DHT-2\n")];
        assert_eq!(refusals(&files).len(), 2);
    }

    #[test]
    fn a_rule_written_twice_or_under_a_foreign_name_is_refused() {
        let protocol = ("crates/cs-crdt/PROTOCOL.md", "**CRDT-1** a\n**CRDT-1** b\n**DHT-1** c\n");
        let code = ("crates/cs-crdt/src/a.rs", "// CRDT-1\n#[cfg(test)]\nmod tests {} // CRDT-1\n");
        assert_eq!(
            refusals(&[protocol, code]),
            [
                "error: crates/cs-crdt/PROTOCOL.md:2: CRDT-1 is written twice",
                "error: crates/cs-crdt/PROTOCOL.md:3: DHT is no series of cs-crdt",
            ]
        );
    }

    #[test]
    fn ranges_name_every_rule_between() {
        assert_eq!(mentions("(TP-3 to TP-5)"), [("TP", 3), ("TP", 4), ("TP", 5)]);
        assert_eq!(mentions("TP-3 to 5, then TP-9"), [("TP", 3), ("TP", 4), ("TP", 5), ("TP", 9)]);
        assert_eq!(mentions("TP-3 leads to TP-5"), [("TP", 3), ("TP", 5)]);
        assert_eq!(mentions("TP-3 to 0"), [("TP", 3)]);
    }

    #[test]
    fn what_only_looks_like_a_rule_is_none() {
        assert_eq!(mentions("xTP-3 TP-3a A-TP-3 TP-03 TP- -3 TP_3 tp-3"), []);
    }
}
