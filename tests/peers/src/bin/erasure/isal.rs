//! Intel's library, if the machine has it: a small program in C, compiled on the spot, that is told how often to run and answers
//! with its CPU time.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::Task;
use crate::coders::{Coder, Stripe};

const SOURCE: &str = include_str!("isal.c");

/// The program, compiled; removed at the end.
pub(crate) struct Program(PathBuf);

impl Program {
    /// Nothing if there is no compiler, or no ISA-L.
    pub(crate) fn compile() -> Option<Self> {
        let program = std::env::temp_dir().join(format!("cs-peers-isal-{}", std::process::id()));
        let mut compiler = Command::new("cc")
            .args(["-O2", "-x", "c", "-", "-lisal", "-o"])
            .arg(&program)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        compiler.stdin.take()?.write_all(SOURCE.as_bytes()).ok()?;
        compiler.wait().ok()?.success().then_some(Self(program))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // A file left in the folder of temporary files harms nobody.
        drop(std::fs::remove_file(&self.0));
    }
}

pub(crate) struct Isal {
    child: Child,
    to: Option<ChildStdin>,
    from: BufReader<ChildStdout>,
}

impl Isal {
    pub(crate) fn new(program: &Program, stripe: &Stripe, task: Task) -> Self {
        let numbers = [stripe.k, stripe.m, stripe.len, stripe.lost(task)];
        let mut child = Command::new(&program.0)
            .args(numbers.map(|number| number.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program that was just compiled");
        let to = child.stdin.take();
        let from = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, to, from }
    }
}

impl Coder for Isal {
    fn name(&self) -> &'static str {
        "ISA-L"
    }

    fn seconds(&mut self, calls: usize) -> f64 {
        let to = self.to.as_mut().expect("open until the end");
        writeln!(to, "{calls}").expect("a pipe that is read");
        let mut line = String::new();
        self.from.read_line(&mut line).expect("a pipe that is written");
        line.trim().parse().expect("a number of seconds")
    }

    fn is_right(&mut self, _: &Stripe) -> bool {
        self.to = None;
        self.child.wait().is_ok_and(|status| status.success())
    }
}
