//! House style that a machine can hold: sizes, names, what must be there and what must not.

mod functions;
mod purity;
mod text;

use crate::report::{Finding, Findings};
use crate::tree::{RustFile, Tree, crate_and_rest};

pub(crate) use purity::PURE_CRATES;

/// Files beyond this are refused: two concepts share a room.
const MAX_FILE_LINES: usize = 900;
/// Files beyond this are a place to look at.
const MANY_FILE_LINES: usize = 600;
/// `lib.rs` holds attributes, modules and re-exports.
const MAX_LIB_LINES: usize = 80;

/// Where `unsafe` may stand, as prefixes of paths: the two kernel modules.
const KERNELS: &[&str] = &["crates/cs-erasure/src/kernel", "crates/cs-gossip/src/reconcile/clmul"];

/// Words that name nothing.
const EMPTY_WORDS: &[&str] = &["manager", "helper", "helpers", "util", "utils", "common"];

/// Things left behind, and ways around a test. Matched in code, where literals are blanked.
const LEFT_BEHIND: &[&str] =
    &["todo!", "unimplemented!", "dbg!", "#[ignore", "#[should_panic", "pub(super)", "pub(in super"];

/// Runs every rule over the tree.
pub(crate) fn check(tree: &Tree) -> Findings {
    let mut findings = Findings { checked: tree.files.len(), ..Findings::default() };
    text::check(tree, &mut findings.all);
    documents(tree, &mut findings.all);
    for file in tree.rust() {
        sizes(&file, &mut findings.all);
        names(&file, &mut findings.all);
        left_behind(&file, &mut findings.all);
        unsafe_code(&file, &mut findings.all);
        functions::check(&file, &mut findings.all);
        purity::check(&file, &mut findings.all);
    }
    findings
}

fn sizes(file: &RustFile<'_>, findings: &mut Vec<Finding>) {
    let lines = file.lines.len();
    let is_lib = crate_and_rest(file.path).is_some_and(|(_, rest)| rest == "src/lib.rs");
    if is_lib && lines > MAX_LIB_LINES {
        findings.push(Finding::refused(
            file.path,
            0,
            format!("{lines} lines, more than {MAX_LIB_LINES} in a lib.rs"),
        ));
    } else if lines > MAX_FILE_LINES {
        findings.push(Finding::refused(file.path, 0, format!("{lines} lines, more than {MAX_FILE_LINES}")));
    } else if lines > MANY_FILE_LINES {
        findings.push(Finding::warned(file.path, 0, format!("{lines} lines, more than {MANY_FILE_LINES}")));
    }
}

/// Documents and shapes that every crate has.
fn documents(tree: &Tree, findings: &mut Vec<Finding>) {
    let names: std::collections::BTreeSet<&str> =
        tree.files.keys().filter_map(|path| crate_and_rest(path)).map(|(name, _)| name).collect();
    for name in names {
        let has = |rest: &str| tree.files.contains_key(&format!("crates/{name}/{rest}"));
        let mut must = |rest: &str| {
            if !has(rest) {
                findings.push(Finding::refused(&format!("crates/{name}/{rest}"), 0, "is missing"));
            }
        };
        must("README.md");
        must("CHANGELOG.md");
        must("tests/it/main.rs");
        must("PROTOCOL.md");
        let examples = format!("crates/{name}/examples/");
        if !tree.files.keys().any(|path| path.starts_with(&examples)) {
            findings.push(Finding::refused(&examples, 0, "has no example"));
        }
        let path = format!("crates/{name}/src/lib.rs");
        let lib = tree.files.get(&path).map_or("", String::as_str);
        let mut must_say = |line: &str| {
            if !lib.lines().any(|said| said == line) {
                findings.push(Finding::refused(&path, 0, format!("must say {line}")));
            }
        };
        must_say("#![doc = include_str!(\"../README.md\")]");
        if !KERNELS.iter().any(|kernel| kernel.starts_with(&format!("crates/{name}/"))) {
            must_say("#![forbid(unsafe_code)]");
        }
    }
}

/// Modules, types and functions whose names name nothing.
fn names(file: &RustFile<'_>, findings: &mut Vec<Finding>) {
    let stem = file.path.rsplit('/').next().unwrap_or_default().trim_end_matches(".rs");
    if EMPTY_WORDS.contains(&stem) {
        findings.push(Finding::refused(file.path, 0, format!("`{stem}` names nothing")));
    }
    for line in &file.lines {
        let mut words =
            line.code.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty());
        while let Some(word) = words.next() {
            if !matches!(word, "struct" | "enum" | "trait" | "type" | "mod" | "union" | "fn") {
                continue;
            }
            let name = words.next().unwrap_or_default();
            // Functions are verbs, and some of those words have a meaning in them: `common_prefix`.
            let found = EMPTY_WORDS.iter().find(|empty| match word {
                "fn" => name == **empty,
                _ => words_of(name).iter().any(|part| part == *empty),
            });
            if let Some(found) = found {
                findings.push(Finding::refused(
                    file.path,
                    line.number,
                    format!("`{name}`: `{found}` names nothing"),
                ));
            }
        }
    }
}

/// The words of a name in camel or snake case, in small letters.
fn words_of(name: &str) -> Vec<String> {
    let mut words: Vec<String> = vec![String::new()];
    for c in name.chars() {
        if c.is_uppercase() || c == '_' {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut().filter(|_| c != '_') {
            word.extend(c.to_lowercase());
        }
    }
    words
}

fn left_behind(file: &RustFile<'_>, findings: &mut Vec<Finding>) {
    for line in &file.lines {
        for what in LEFT_BEHIND.iter().filter(|what| line.code.contains(**what)) {
            findings.push(Finding::refused(file.path, line.number, format!("`{what}` stays in no commit")));
        }
    }
}

/// `unsafe` stands in the kernels only, each with its reason above it.
fn unsafe_code(file: &RustFile<'_>, findings: &mut Vec<Finding>) {
    let is_kernel = KERNELS.iter().any(|kernel| file.path.starts_with(kernel));
    for (index, line) in file.lines.iter().enumerate() {
        if !line.code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "unsafe") {
            continue;
        }
        let above = &file.lines[index.saturating_sub(5)..=index];
        if !is_kernel {
            findings.push(Finding::refused(file.path, line.number, "`unsafe` outside the kernels"));
        } else if !above.iter().any(|line| line.text.contains("SAFETY:") || line.text.contains("# Safety")) {
            findings.push(Finding::refused(file.path, line.number, "`unsafe` without a SAFETY comment"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &[(&str, &str)] = &[
        ("crates/cs-dht/README.md", "# cs-dht\n"),
        ("crates/cs-dht/CHANGELOG.md", "# Changelog\n"),
        ("crates/cs-dht/PROTOCOL.md", "# Protocol\n"),
        ("crates/cs-dht/examples/network.rs", "fn main() {}\n"),
        ("crates/cs-dht/tests/it/main.rs", "mod stories;\n"),
        ("crates/cs-dht/src/lib.rs", "#![doc = include_str!(\"../README.md\")]\n#![forbid(unsafe_code)]\n"),
    ];

    /// What is said of a whole crate to which one file is added, or in which it is replaced.
    fn said_of(path: &str, text: &str) -> Vec<String> {
        let mut tree = Tree::of(WHOLE);
        tree.files.insert(path.to_owned(), text.to_owned());
        check(&tree).all.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_tidy_crate_passes() {
        assert_eq!(said_of("crates/cs-dht/src/key.rs", "fn a() {}\n"), [""; 0]);
    }

    #[test]
    fn each_missing_document_is_named() {
        for (path, _) in &WHOLE[..5] {
            let mut tree = Tree::of(WHOLE);
            tree.files.remove(*path);
            let said: Vec<String> = check(&tree).all.iter().map(ToString::to_string).collect();
            assert_eq!(said.len(), 1, "{said:?}");
            assert!(said[0].contains(path.trim_end_matches("network.rs")), "{said:?}");
        }
    }

    #[test]
    fn a_lib_without_its_two_attributes_or_past_eighty_lines_is_refused() {
        let path = "crates/cs-dht/src/lib.rs";
        assert_eq!(
            said_of(path, ""),
            [
                "error: crates/cs-dht/src/lib.rs: must say #![doc = include_str!(\"../README.md\")]",
                "error: crates/cs-dht/src/lib.rs: must say #![forbid(unsafe_code)]",
            ]
        );
        let long = format!("{}{}", WHOLE[5].1, "mod a;\n".repeat(79));
        assert_eq!(
            said_of(path, &long),
            ["error: crates/cs-dht/src/lib.rs: 81 lines, more than 80 in a lib.rs"]
        );
    }

    #[test]
    fn long_files_are_warned_of_and_then_refused() {
        let path = "crates/cs-dht/src/key.rs";
        assert_eq!(said_of(path, &"\n".repeat(600)), [""; 0]);
        assert_eq!(
            said_of(path, &"\n".repeat(601)),
            ["warning: crates/cs-dht/src/key.rs: 601 lines, more than 600"]
        );
        assert_eq!(
            said_of(path, &"\n".repeat(901)),
            ["error: crates/cs-dht/src/key.rs: 901 lines, more than 900"]
        );
    }

    #[test]
    fn names_that_name_nothing_are_refused() {
        let text =
            "struct PeerManager;\nmod common;\nfn common_prefix() {}\nfn helper() {}\n// struct Manager\n";
        assert_eq!(
            said_of("crates/cs-dht/src/utils.rs", text),
            [
                "error: crates/cs-dht/src/utils.rs: `utils` names nothing",
                "error: crates/cs-dht/src/utils.rs:1: `PeerManager`: `manager` names nothing",
                "error: crates/cs-dht/src/utils.rs:2: `common`: `common` names nothing",
                "error: crates/cs-dht/src/utils.rs:4: `helper`: `helper` names nothing",
            ]
        );
    }

    #[test]
    fn what_is_left_behind_is_refused_in_tests_too() {
        for what in LEFT_BEHIND {
            let said = said_of("crates/cs-dht/tests/it/stories.rs", &format!("{what}\n// {what}\n"));
            assert_eq!(
                said,
                [format!("error: crates/cs-dht/tests/it/stories.rs:1: `{what}` stays in no commit")]
            );
        }
    }

    #[test]
    fn unsafe_stands_in_a_kernel_with_its_reason() {
        assert_eq!(
            said_of("crates/cs-dht/src/key.rs", "unsafe fn a() {}\nfn unsafe_() {} // unsafe\n"),
            ["error: crates/cs-dht/src/key.rs:1: `unsafe` outside the kernels"]
        );
        let mut tree = Tree::default();
        let kernel = "crates/cs-gossip/src/reconcile/clmul.rs";
        tree.files
            .insert(kernel.to_owned(), "\n\n\n\n\n\nunsafe {}\n// SAFETY: it is.\nunsafe {}\n".to_owned());
        let mut findings = Vec::new();
        unsafe_code(&tree.rust()[0], &mut findings);
        assert_eq!(findings, [Finding::refused(kernel, 7, "`unsafe` without a SAFETY comment")]);
    }
}
