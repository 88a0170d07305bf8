//! What is written: replies on standard output, problems and notes on standard error.

use std::io::{self, IsTerminal, Write};

use cs_node::api::{API_VERSION, Problem, ProblemCode, Reply};
use serde_json::Value;

use crate::cli::{show, words};

/// How a command writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    pub(crate) fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether a program reads along.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }

    /// Whether a person watches: only then is anything drawn and redrawn.
    pub(crate) fn is_live(self) -> bool {
        !self.json && io::stderr().is_terminal()
    }

    /// A reply of the node.
    pub(crate) fn reply(self, reply: &Reply) -> Result<(), Problem> {
        if !self.json {
            return self.text(&show::reply(reply, words::now_ms()));
        }
        let object = serde_json::to_value(reply).map_err(|error| {
            Problem::new(
                ProblemCode::Failed,
                format!("The reply is no JSON: {error}."),
                "Leave `--json` out.",
            )
        })?;
        self.object(object)
    }

    /// A reply of the command itself: an object for programs, text for people.
    pub(crate) fn own(self, kind: &str, mut object: Value, text: &str) -> Result<(), Problem> {
        if !self.json {
            return self.text(text);
        }
        if let Some(fields) = object.as_object_mut() {
            fields.insert("reply".to_owned(), kind.into());
        }
        self.object(object)
    }

    fn object(self, mut object: Value) -> Result<(), Problem> {
        if let Some(fields) = object.as_object_mut() {
            fields.insert("version".to_owned(), API_VERSION.into());
        }
        self.text(&format!("{object}\n"))
    }

    /// Text on standard output. A reader that went away is no error: it has what it wanted.
    pub(crate) fn text(self, text: &str) -> Result<(), Problem> {
        let mut out = io::stdout().lock();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Problem::new(
                ProblemCode::Disk,
                format!("Standard output cannot be written: {error}."),
                "Look at where it goes to; what was asked for was done.",
            )),
            _ => Ok(()),
        }
    }

    /// A line on standard error for people.
    pub(crate) fn note(self, line: &str) {
        if !self.json {
            // Nobody may be there to read it.
            let _ = writeln!(io::stderr(), "{line}");
        }
    }

    /// What failed and what to do, on standard error.
    pub(crate) fn problem(self, problem: &Problem) {
        let text = if self.json {
            problem_object(problem).to_string()
        } else {
            let Problem { message, hint, .. } = problem;
            format!("error: {}\nhint:  {}", words::safe(message), words::safe(hint))
        };
        let _ = writeln!(io::stderr(), "{text}");
    }
}

/// A problem as programs get it.
pub(crate) fn problem_object(problem: &Problem) -> Value {
    serde_json::json!({
        "version": API_VERSION,
        "code": problem.code,
        "exit_code": problem.code.exit_code(),
        "message": problem.message,
        "hint": problem.hint,
    })
}
