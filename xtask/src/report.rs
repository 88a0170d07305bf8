//! What a check found, and how it is told.

use std::fmt;

/// Why a task failed, in words for a person.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failure(String);

impl Failure {
    pub(crate) fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How much a finding weighs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Weight {
    /// Fails the task.
    Refused,
    /// A place to look at.
    Warned,
}

/// One thing that a check found.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    pub(crate) weight: Weight,
    /// Path from the workspace's root, with `/`.
    pub(crate) path: String,
    /// From 1; 0 for the file as a whole.
    pub(crate) line: usize,
    pub(crate) what: String,
}

impl Finding {
    pub(crate) fn refused(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { weight: Weight::Refused, path: path.to_owned(), line, what: what.into() }
    }

    pub(crate) fn warned(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { weight: Weight::Warned, path: path.to_owned(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let weight = match self.weight {
            Weight::Refused => "error",
            Weight::Warned => "warning",
        };
        match self.line {
            0 => write!(f, "{weight}: {}: {}", self.path, self.what),
            line => write!(f, "{weight}: {}:{line}: {}", self.path, self.what),
        }
    }
}

/// What a check has to say at its end.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) all: Vec<Finding>,
    /// How many things were looked at: edges, files, rules.
    pub(crate) checked: usize,
}

impl Findings {
    pub(crate) fn refused(&self) -> usize {
        self.all.iter().filter(|finding| finding.weight == Weight::Refused).count()
    }

    /// Prints every finding, refusals last, and a closing line.
    pub(crate) fn print(&mut self, noun: &str) {
        self.all.sort_by(|a, b| (b.weight, &a.path, a.line).cmp(&(a.weight, &b.path, b.line)));
        for finding in &self.all {
            println!("{finding}");
        }
        let refused = self.refused();
        println!("{noun}: {} checked, {refused} refused, {} warned", self.checked, self.all.len() - refused);
    }

    /// Fails if anything was refused.
    pub(crate) fn verdict(&self) -> Result<(), Failure> {
        match self.refused() {
            0 => Ok(()),
            1 => Err(Failure::new("one finding above must be mended")),
            refused => Err(Failure::new(format!("{refused} findings above must be mended"))),
        }
    }
}
