//! Rules for every text file: widths, blanks, and nothing of the machine it was written on.

use crate::report::Finding;
use crate::tree::Tree;

/// Rust lines past this are refused (rustfmt leaves long comments and literals alone), prose is warned of.
const MAX_WIDTH: usize = 130;

/// A word of this length is data or a link, and stays whole.
const MAX_WORD: usize = 100;

/// What a person writes, by the ends of file names.
const WRITTEN: &[&str] = &[".rs", ".md", ".toml", ".sh", ".yml", ".js", ".css", ".html"];

/// First directories of paths that exist on one machine only.
const MACHINE: &[&str] = &["home", "root", "Users", "work"];

pub(crate) fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for (path, text) in &tree.files {
        let is_written = WRITTEN.iter().any(|end| path.ends_with(end)) || path.starts_with(".ci/");
        let mut wide_prose = Vec::new();
        for (number, line) in (1..).zip(text.lines()) {
            if is_written {
                line_of_writing(path, number, line, findings);
            }
            if path.ends_with(".md") && is_too_wide(line) {
                wide_prose.push(number);
            }
            if let Some(found) = machine_path(line) {
                findings.push(Finding::refused(path, number, format!("`{found}` is a path of one machine")));
            }
        }
        if let Some(first) = wide_prose.first() {
            let what = format!("{} lines of more than {MAX_WIDTH} columns, from here on", wide_prose.len());
            findings.push(Finding::warned(path, *first, what));
        }
    }
}

fn line_of_writing(path: &str, number: usize, line: &str, findings: &mut Vec<Finding>) {
    if line.contains('\t') {
        findings.push(Finding::refused(path, number, "a tab"));
    }
    if line.ends_with(' ') {
        findings.push(Finding::refused(path, number, "blanks at the end"));
    }
    if line.contains(concat!("FIX", "ME")) {
        findings.push(Finding::refused(path, number, concat!("`FIX", "ME` stays in no commit")));
    }
    if path.ends_with(".rs") && is_too_wide(line) {
        findings.push(Finding::refused(path, number, format!("more than {MAX_WIDTH} columns")));
    }
}

/// Whether a line is wide and could be broken: tables, links and long literals in hexadecimal cannot.
fn is_too_wide(line: &str) -> bool {
    let longest_word = line.split_whitespace().map(|word| word.chars().count()).max().unwrap_or(0);
    line.chars().count() > MAX_WIDTH && longest_word < MAX_WORD && !line.starts_with('|')
}

/// A path that begins at the root and goes through the home of someone.
fn machine_path(line: &str) -> Option<String> {
    for (at, _) in line.match_indices('/') {
        let begins =
            line[..at].chars().next_back().is_none_or(|c| !c.is_alphanumeric() && !"_.-/~*>}".contains(c));
        let rest = &line[at + 1..];
        let found =
            MACHINE.iter().find(|name| rest.strip_prefix(**name).is_some_and(|rest| rest.starts_with('/')));
        if let Some(name) = found.filter(|_| begins) {
            return Some(format!("/{name}/"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said_of(path: &str, text: &str) -> Vec<String> {
        let mut findings = Vec::new();
        check(&Tree::of(&[(path, text)]), &mut findings);
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn tabs_blanks_and_notes_to_oneself_are_refused() {
        let text = concat!("a\tb\nc \n// FIX", "ME\nd\n");
        let said = said_of("a.rs", text);
        assert_eq!(said[..2], ["error: a.rs:1: a tab", "error: a.rs:2: blanks at the end"]);
        assert_eq!(said.len(), 3);
    }

    #[test]
    fn wide_code_is_refused_wide_prose_warned_of_and_tables_and_links_let_be() {
        let wide = "éé ".repeat(44);
        let wide = wide.trim_end();
        assert_eq!(said_of("a.rs", wide), ["error: a.rs:1: more than 130 columns"]);
        let prose = format!("a\n{wide}\n{wide}");
        assert_eq!(
            said_of("a.md", &prose),
            ["warning: a.md:2: 2 lines of more than 130 columns, from here on"]
        );
        assert_eq!(said_of("a.md", &format!("|{wide}")), [""; 0]);
        assert_eq!(said_of("a.rs", &format!("    \"{}\",", "0f".repeat(70))), [""; 0]);
        assert_eq!(said_of("a.rs", &wide[..wide.len() - 2]), [""; 0]);
    }

    #[test]
    fn paths_of_one_machine_are_refused_in_any_file() {
        for name in MACHINE {
            assert_eq!(said_of("data.json", &format!("\"/{name}/x\"")).len(), 1);
            assert_eq!(said_of("a.md", &format!("see /{name}/x")).len(), 1);
            assert_eq!(said_of("a.md", &format!("http://host/{name}/x and ../{name}/x, /{name}x")), [""; 0]);
        }
    }
}
