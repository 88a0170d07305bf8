//! `deny.toml` held to without cargo-deny: licences, banned crates, duplicates and sources, by what `cargo metadata` tells.
//!
//! cargo-deny does more and is used where it is installed; this is what a machine without it can check in a second.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::Failure;
use crate::report::{Finding, Findings};
use crate::workspace::{list, metadata, string};

const LISTS: &str = "deny.toml";

/// Asks cargo for every package of the platforms that deny.toml names, and holds each to its lists.
pub(crate) fn check(deny: &str) -> Result<Findings, Failure> {
    let platforms = strings(deny, "graph", "targets");
    let mut args = vec!["--locked"];
    args.extend(platforms.iter().flat_map(|platform| ["--filter-platform", platform.as_str()]));
    Ok(hold(deny, &metadata(&args)?))
}

/// Packages that cargo resolved, held to the lists.
fn hold(deny: &str, told: &Value) -> Findings {
    let allowed = strings(deny, "licenses", "allow");
    let banned = strings(deny, "bans", "deny");
    let registries = strings(deny, "sources", "allow-registry");
    let used: BTreeSet<String> = list(&told["resolve"]["nodes"]).map(|node| string(&node["id"])).collect();
    let mut findings = Findings::default();
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in list(&told["packages"]).filter(|package| used.contains(&string(&package["id"]))) {
        findings.checked += 1;
        let (name, version) = (string(&package["name"]), string(&package["version"]));
        let mut refuse =
            |what: String| findings.all.push(Finding::refused(LISTS, 0, format!("{name} {version}: {what}")));
        let licence = string(&package["license"]);
        if !Licence::new(&licence).allowed_by(&allowed) {
            refuse(format!("the licence \"{licence}\" is not allowed"));
        }
        if banned.contains(&name) {
            refuse("is banned".to_owned());
        }
        if let Some(source) = package["source"].as_str()
            && !registries.iter().any(|registry| source == format!("registry+{registry}"))
        {
            refuse(format!("comes from {source}"));
        }
        versions.entry(name).or_default().insert(version);
    }
    for (name, versions) in versions.into_iter().filter(|(_, versions)| versions.len() > 1) {
        let versions: Vec<String> = versions.into_iter().collect();
        findings.all.push(Finding::warned(
            LISTS,
            0,
            format!("{name} is there twice: {}", versions.join(" and ")),
        ));
    }
    findings
}

/// The strings in the list `key` of `[section]`. Reads the part of TOML that deny.toml is written in: lists of strings.
fn strings(toml: &str, section: &str, key: &str) -> Vec<String> {
    let lines = toml.lines().map(|line| line.split_once('#').map_or(line, |(before, _)| before).trim());
    let body: String = lines
        .skip_while(|line| *line != format!("[{section}]"))
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .flat_map(|line| [line, "\n"])
        .collect();
    let Some((_, after)) =
        format!("\n{body}").split_once(&format!("\n{key} = [")).map(|(a, b)| (a.len(), b.to_owned()))
    else {
        return Vec::new();
    };
    let inside = after.split(']').next().unwrap_or_default();
    inside.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// An SPDX expression, word by word.
struct Licence {
    words: Vec<String>,
    at: usize,
}

impl Licence {
    /// `/` is how old manifests say OR.
    fn new(expression: &str) -> Self {
        let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
        Self { words: spaced.split_whitespace().map(str::to_owned).collect(), at: 0 }
    }

    /// Whether one of the choices that the expression leaves is allowed in full. What is no expression is not.
    fn allowed_by(mut self, allowed: &[String]) -> bool {
        let holds = self.either(allowed);
        holds && self.at == self.words.len()
    }

    fn either(&mut self, allowed: &[String]) -> bool {
        let mut holds = self.both(allowed);
        while self.take("OR") {
            holds |= self.both(allowed);
        }
        holds
    }

    fn both(&mut self, allowed: &[String]) -> bool {
        let mut holds = self.one(allowed);
        while self.take("AND") {
            holds &= self.one(allowed);
        }
        holds
    }

    fn one(&mut self, allowed: &[String]) -> bool {
        if self.take("(") {
            return self.either(allowed) & self.take(")");
        }
        let Some(mut name) = self.next() else { return false };
        if self.take("WITH") {
            name = format!("{name} WITH {}", self.next().unwrap_or_default());
        }
        allowed.contains(&name)
    }

    fn next(&mut self) -> Option<String> {
        let word = self.words.get(self.at).cloned();
        self.at += 1;
        word
    }

    fn take(&mut self, word: &str) -> bool {
        let is_next = self.words.get(self.at).is_some_and(|next| next == word);
        self.at += usize::from(is_next);
        is_next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DENY: &str = "[licenses]\nallow = [\n  \"MIT\", # as \"we\"\n  \"Apache-2.0\",\n]\n[bans]\ndeny = [\"openssl\"]\n\
        [sources]\nallow-registry = [\"https://example.org/index\"]\n";

    fn is_allowed(expression: &str) -> bool {
        Licence::new(expression).allowed_by(&strings(DENY, "licenses", "allow"))
    }

    fn refusals(packages: Value) -> Vec<String> {
        let ids: Vec<Value> =
            list(&packages).map(|package| serde_json::json!({"id": package["id"]})).collect();
        let told = serde_json::json!({"packages": packages, "resolve": {"nodes": ids}});
        hold(DENY, &told).all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn lists_are_read_whatever_their_layout() {
        assert_eq!(strings(DENY, "licenses", "allow"), ["MIT", "Apache-2.0"]);
        assert_eq!(strings(DENY, "bans", "deny"), ["openssl"]);
        assert_eq!(strings(DENY, "bans", "allow"), [""; 0]);
        assert_eq!(strings(DENY, "graph", "targets"), [""; 0]);
    }

    #[test]
    fn expressions_hold_if_one_choice_is_allowed_in_full() {
        for expression in
            ["MIT", "MIT OR GPL-3.0", "GPL-3.0/MIT", "MIT AND Apache-2.0", "(GPL-3.0 OR MIT) AND Apache-2.0"]
        {
            assert!(is_allowed(expression), "{expression}");
        }
        for expression in
            ["", "GPL-3.0", "MIT AND GPL-3.0", "Apache-2.0 WITH x", "MIT GPL-3.0", "(MIT", "MIT OR", "MIT)"]
        {
            assert!(!is_allowed(expression), "{expression}");
        }
    }

    #[test]
    fn a_banned_crate_a_strange_licence_and_a_foreign_source_are_refused() {
        let home = "registry+https://example.org/index";
        let packages = serde_json::json!([
            {"id": "a", "name": "a", "version": "1.0.0", "license": "MIT", "source": home},
            {"id": "b", "name": "openssl", "version": "1.0.0", "license": "MIT", "source": null},
            {"id": "c", "name": "c", "version": "1.0.0", "license": null, "source": home},
            {"id": "d", "name": "d", "version": "1.0.0", "license": "MIT", "source": "git+https://example.org/d"},
            {"id": "e", "name": "a", "version": "2.0.0", "license": "MIT", "source": home},
        ]);
        assert_eq!(
            refusals(packages),
            [
                "error: deny.toml: openssl 1.0.0: is banned",
                "error: deny.toml: c 1.0.0: the licence \"\" is not allowed",
                "error: deny.toml: d 1.0.0: comes from git+https://example.org/d",
                "warning: deny.toml: a is there twice: 1.0.0 and 2.0.0",
            ]
        );
    }
}
