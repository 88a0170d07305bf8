//! The length of functions.

use crate::lexer::item_end;
use crate::report::Finding;
use crate::tree::RustFile;

/// Functions beyond this are refused.
const MAX_LINES: usize = 100;
/// Functions beyond this are a place to look at.
const MANY_LINES: usize = 70;

/// Measures shipped functions, from their name to their closing brace. A story that a test tells may be long.
pub(crate) fn check(file: &RustFile<'_>, findings: &mut Vec<Finding>) {
    let code: String = file.lines.iter().flat_map(|line| [line.code.as_str(), "\n"]).collect();
    let mut at = 0;
    for line in &file.lines {
        let start = at;
        at += line.code.len() + 1;
        let Some((offset, name)) = function(&line.code).filter(|_| !line.is_test) else { continue };
        let body = &code[start + offset..item_end(&code, start + offset)];
        let lines = body.matches('\n').count() + 1;
        if lines > MAX_LINES {
            let what = format!("`{name}` has {lines} lines, more than {MAX_LINES}");
            findings.push(Finding::refused(file.path, line.number, what));
        } else if lines > MANY_LINES {
            let what = format!("`{name}` has {lines} lines, more than {MANY_LINES}");
            findings.push(Finding::warned(file.path, line.number, what));
        }
    }
}

/// Where a function begins in a line of code, and its name.
fn function(code: &str) -> Option<(usize, &str)> {
    let at = code
        .match_indices("fn ")
        .map(|(at, _)| at)
        .find(|&at| code[..at].chars().next_back().is_none_or(|c| c == ' '))?;
    let name = &code[at + 3..];
    let end = name.find(|c: char| !c.is_alphanumeric() && c != '_')?;
    Some((at, &name[..end])).filter(|(_, name)| !name.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Tree;

    fn said_of(text: &str) -> Vec<String> {
        let tree = Tree::of(&[("crates/cs-dht/src/a.rs", text)]);
        let mut findings = Vec::new();
        check(&tree.rust()[0], &mut findings);
        findings.iter().map(ToString::to_string).collect()
    }

    fn function_of(lines: usize) -> String {
        format!("impl A {{\n    pub fn a() {{\n{}    }}\n}}\n", "        b();\n".repeat(lines - 2))
    }

    #[test]
    fn long_functions_are_warned_of_and_then_refused() {
        assert_eq!(said_of(&function_of(70)), [""; 0]);
        assert_eq!(
            said_of(&function_of(71)),
            ["warning: crates/cs-dht/src/a.rs:2: `a` has 71 lines, more than 70"]
        );
        assert_eq!(
            said_of(&function_of(101)),
            ["error: crates/cs-dht/src/a.rs:2: `a` has 101 lines, more than 100"]
        );
    }

    #[test]
    fn a_function_ends_at_its_own_brace() {
        assert_eq!(
            said_of(&format!("fn a(f: fn () -> u8);\nfn b() {{ '{{'; \"{{\" }}\n{}", "c!{}\n".repeat(200))),
            [""; 0]
        );
    }
}
