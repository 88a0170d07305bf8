//! The files of the workspace, as text, and the Rust among them split into shipped code and tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::RangeInclusive;
use std::path::Path;

use crate::Failure;
use crate::lexer::{blank, item_end};

/// Nothing that a person writes is larger; what is, is data.
const MAX_FILE: u64 = 1 << 20;

/// What is built or found, not written. In a linked worktree `.git` is a file.
const SKIPPED: &[&str] = &["target", ".git", "artifacts", "corpus", "coverage", "proptest-regressions"];

/// Every text file by its path from the root, with `/`.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    pub(crate) files: BTreeMap<String, String>,
}

/// A Rust file, line by line.
#[derive(Debug)]
pub(crate) struct RustFile<'a> {
    pub(crate) path: &'a str,
    pub(crate) lines: Vec<Line<'a>>,
}

/// One line of Rust.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    /// From 1.
    pub(crate) number: usize,
    pub(crate) text: &'a str,
    /// The text with comments and the insides of literals blanked: what the compiler acts on.
    pub(crate) code: String,
    /// Whether it is compiled for tests, examples or benchmarks only.
    pub(crate) is_test: bool,
}

impl Tree {
    pub(crate) fn read(root: &Path) -> Result<Self, Failure> {
        let mut tree = Self::default();
        tree.walk(root, "")?;
        Ok(tree)
    }

    fn walk(&mut self, root: &Path, under: &str) -> Result<(), Failure> {
        let here = root.join(under);
        let told = |error| Failure::new(format!("{} cannot be read: {error}", here.display()));
        for entry in fs::read_dir(&here).map_err(told)? {
            let entry = entry.map_err(told)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let path = if under.is_empty() { name.clone() } else { format!("{under}/{name}") };
            let kind = entry.file_type().map_err(told)?;
            if SKIPPED.contains(&name.as_str()) {
                continue;
            }
            if kind.is_dir() {
                self.walk(root, &path)?;
            } else if kind.is_file()
                && entry.metadata().is_ok_and(|metadata| metadata.len() <= MAX_FILE)
                && let Ok(text) = fs::read_to_string(entry.path())
            {
                self.files.insert(path, text);
            }
        }
        Ok(())
    }

    /// All Rust files, with the lines that only tests see marked.
    pub(crate) fn rust(&self) -> Vec<RustFile<'_>> {
        let blanked: Vec<(&str, &str, String)> = self
            .files
            .iter()
            .filter(|(path, _)| path.ends_with(".rs"))
            .map(|(path, text)| (path.as_str(), text.as_str(), blank(text)))
            .collect();
        let mut test_files = BTreeSet::new();
        let mut regions = BTreeMap::new();
        for (path, _, code) in &blanked {
            let found = test_items(code);
            for name in found.modules {
                let place = format!("{}{name}", module_directory(path));
                test_files.insert(format!("{place}.rs"));
                test_files.insert(format!("{place}/"));
            }
            regions.insert(*path, found.lines);
        }
        let is_test_file = |path: &str| {
            outside_src(path)
                || test_files
                    .iter()
                    .any(|test| path == test || (test.ends_with('/') && path.starts_with(test)))
        };
        let mut files = Vec::new();
        for (path, text, code) in &blanked {
            let (whole, inside) = (is_test_file(path), &regions[path]);
            let is_test = |number| whole || inside.iter().any(|lines| lines.contains(&number));
            let line = |(number, (text, code)): (usize, (_, &str))| Line {
                number,
                text,
                code: code.to_owned(),
                is_test: is_test(number),
            };
            let lines = (1..).zip(text.lines().zip(code.lines())).map(line).collect();
            files.push(RustFile { path, lines });
        }
        files
    }
}

impl RustFile<'_> {
    /// Whether the file is under the `src` of that crate.
    pub(crate) fn is_src_of(&self, name: &str) -> bool {
        crate_and_rest(self.path)
            .is_some_and(|(crate_name, rest)| crate_name == name && rest.starts_with("src/"))
    }
}

/// Splits `crates/NAME/REST`.
pub(crate) fn crate_and_rest(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix("crates/")?.split_once('/')
}

/// Whether cargo compiles this file as a test, an example or a benchmark, or it belongs to a package that only tests.
fn outside_src(path: &str) -> bool {
    match crate_and_rest(path) {
        Some((_, rest)) => !rest.starts_with("src/"),
        None => path.starts_with("tests/") || path.starts_with("fuzz/"),
    }
}

/// Where the modules that a file declares are, with a `/` at the end.
fn module_directory(path: &str) -> String {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    match name {
        "lib.rs" | "main.rs" | "mod.rs" => format!("{parent}/"),
        _ => format!("{parent}/{}/", name.trim_end_matches(".rs")),
    }
}

/// What `#[cfg(test)]` covers in blanked code.
struct TestItems {
    lines: Vec<RangeInclusive<usize>>,
    /// Names of the modules that are files of their own.
    modules: Vec<String>,
}

fn test_items(code: &str) -> TestItems {
    let mut found = TestItems { lines: Vec::new(), modules: Vec::new() };
    for attribute in ["#[cfg(test)]", "#[cfg(all(test"] {
        for (from, _) in code.match_indices(attribute) {
            let end = item_end(code, item_start(code, from));
            let line_of = |byte: usize| code[..byte].matches('\n').count() + 1;
            found.lines.push(line_of(from)..=line_of(end.saturating_sub(1)));
            let item = code[from..end].trim_end_matches(';');
            if !item.contains('{')
                && let Some((_, name)) = item.rsplit_once("mod ")
            {
                found.modules.push(name.trim().to_owned());
            }
        }
    }
    found
}

/// Past the attributes that begin at `from`.
fn item_start(code: &str, mut from: usize) -> usize {
    loop {
        let rest = &code[from..];
        let skipped = rest.len() - rest.trim_start().len();
        if !rest[skipped..].starts_with("#[") {
            return from + skipped;
        }
        from += skipped + 2 + closing_bracket(&rest[skipped + 2..]);
    }
}

/// Past the `]` that closes a bracket already open.
fn closing_bracket(code: &str) -> usize {
    let mut depth = 1_i32;
    for (offset, c) in code.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return offset + 1;
        }
    }
    code.len()
}

#[cfg(test)]
impl Tree {
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        Self { files: files.iter().map(|&(path, text)| (path.to_owned(), text.to_owned())).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test_lines(tree: &Tree, path: &str) -> Vec<usize> {
        let files = tree.rust();
        let file = files.iter().find(|file| file.path == path).expect("it is in the tree");
        file.lines.iter().filter(|line| line.is_test).map(|line| line.number).collect()
    }

    #[test]
    fn a_test_module_is_told_from_the_code_above_it() {
        let text = "fn a() {}\n#[cfg(test)]\n#[allow(dead_code)]\nmod tests {\n    fn b() {}\n}\nfn c() {}\n";
        let tree = Tree::of(&[("crates/cs-dht/src/key.rs", text)]);
        assert_eq!(test_lines(&tree, "crates/cs-dht/src/key.rs"), [2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_test_module_in_its_own_file_is_a_test_with_all_below_it() {
        let tree = Tree::of(&[
            ("crates/cs-node/src/folder/mod.rs", "#[cfg(test)]\nmod tests;\nmod scan;\n"),
            ("crates/cs-node/src/folder/tests.rs", "mod sync;\n"),
            ("crates/cs-node/src/folder/tests/sync.rs", "fn a() {}\n"),
            ("crates/cs-node/src/folder/scan.rs", "fn a() {}\n"),
        ]);
        assert_eq!(test_lines(&tree, "crates/cs-node/src/folder/tests.rs"), [1]);
        assert_eq!(test_lines(&tree, "crates/cs-node/src/folder/tests/sync.rs"), [1]);
        assert_eq!(test_lines(&tree, "crates/cs-node/src/folder/scan.rs"), [0; 0]);
    }

    #[test]
    fn integration_tests_and_examples_are_no_shipped_code() {
        let path = "crates/cs-dht/examples/network.rs";
        assert_eq!(test_lines(&Tree::of(&[(path, "fn main() {}\n")]), path), [1]);
    }

    #[test]
    fn a_test_attribute_in_a_comment_marks_nothing() {
        let path = "crates/cs-dht/src/key.rs";
        assert_eq!(test_lines(&Tree::of(&[(path, "// #[cfg(test)]\nfn a() {}\n")]), path), [0; 0]);
    }
}
