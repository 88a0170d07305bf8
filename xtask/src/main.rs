//! `cargo xtask`: the project's own tasks. README.md tells what each is for.

mod bench;
mod checks;
mod cites;
mod fuzz;
mod layers;
mod lexer;
mod licences;
mod matrix;
mod process;
mod report;
mod sim;
mod table;
mod tidy;
mod tree;
mod workspace;

use std::process::ExitCode;

pub(crate) use report::Failure;
use workspace::Workspace;

/// One subcommand.
struct Task {
    name: &'static str,
    arguments: &'static str,
    about: &'static str,
    run: fn(&Workspace, &[String]) -> Result<(), Failure>,
}

const TASKS: &[Task] = &[
    Task {
        name: "layers",
        arguments: "",
        about: "hold every edge between crates to the picture",
        run: checks::layers,
    },
    Task {
        name: "tidy",
        arguments: "",
        about: "hold files, names and pure code to the house style",
        run: checks::tidy,
    },
    Task {
        name: "cites",
        arguments: "",
        about: "hold every rule of a protocol to code and tests",
        run: checks::cites,
    },
    Task { name: "licences", arguments: "", about: "hold dependencies to deny.toml", run: checks::licences },
    Task {
        name: "docs",
        arguments: "[--open]",
        about: "build the documents, warnings refused",
        run: checks::docs,
    },
    Task { name: "sim", arguments: "[--seed N] [--seeds N]", about: "run the simulator", run: sim::run },
    Task {
        name: "fuzz",
        arguments: "[TARGET] [--seconds N] [--replay]",
        about: "fuzz the decoders, or replay what is known",
        run: fuzz::run,
    },
    Task {
        name: "bench",
        arguments: "[NAME] [--json]",
        about: "measure, beside peers and goals",
        run: bench::run,
    },
    Task { name: "ci", arguments: "", about: "the quick checks, and all tests together", run: matrix::ci },
    Task {
        name: "test-matrix",
        arguments: "[--only WORD] [--list]",
        about: "every test there is, crate by crate and together",
        run: matrix::run,
    },
];

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_default();
    let Some(task) = TASKS.iter().find(|task| task.name == name) else {
        return usage(&name);
    };
    let arguments: Vec<String> = arguments.collect();
    let done = Workspace::load().and_then(|workspace| (task.run)(&workspace, &arguments));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("xtask {name}: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Asked for help, this succeeds; given a task that is none, it does not.
fn usage(name: &str) -> ExitCode {
    let is_asked = matches!(name, "" | "help" | "--help" | "-h");
    if !is_asked {
        eprintln!("xtask: `{name}` is no task");
    }
    println!("cargo xtask TASK");
    for task in TASKS {
        println!("  {:<44} {}", format!("{} {}", task.name, task.arguments).trim_end(), task.about);
    }
    if is_asked { ExitCode::SUCCESS } else { ExitCode::from(2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_stands_in_the_readme() {
        let readme = include_str!("../README.md");
        for task in TASKS {
            assert!(readme.contains(&format!("`{}", task.name)), "{}", task.name);
        }
    }
}
