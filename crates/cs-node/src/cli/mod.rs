//! The command line: reads the arguments, asks the node or becomes it, and shows what came of it.

mod args;
mod background;
mod client;
mod demo;
mod dht;
mod foreground;
mod invited;
mod live;
mod net;
mod place;
mod settings;
mod show;
mod start;
mod text;
mod trace;
mod words;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use cs_node::Home;
use cs_node::api::{Problem, ProblemCode, Reply, Request, Trust};

use args::{Args, Command, ConflictsCommand, DeletionsCommand, DeviceCommand};
use client::Client;
use text::Output;

/// Runs the command that the arguments of this process name. Returns the exit code of [`ProblemCode::exit_code`].
pub(crate) fn run() -> ExitCode {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return refuse_arguments(&error),
    };
    let out = Output::new(args.json);
    match carry_out(args, out) {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            out.problem(&problem);
            ExitCode::from(problem.code.exit_code())
        }
    }
}

/// Help and version are no errors; anything else is, and programs get it as an object too.
fn refuse_arguments(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && std::env::args_os().any(|arg| arg == "--json") {
        let text = error.render().to_string();
        let what = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let problem =
            Problem::new(ProblemCode::Usage, what, "`cosync help` lists the commands and their options.");
        Output::new(true).problem(&problem);
    } else {
        // A closed pipe is no reason to fail.
        let _ = error.print();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}

fn carry_out(args: Args, out: Output) -> Result<(), Problem> {
    if let Command::Completions { shell } = args.command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Args::command(), "cosync", &mut script);
        return out.text(&String::from_utf8_lossy(&script));
    }
    let home = Home::find(args.home).map_err(|error| {
        Problem::new(
            ProblemCode::Usage,
            format!("There is no place for the state directory: {error}."),
            "Name one by `--home DIR` or the variable COSYNC_HOME.",
        )
    })?;
    // Two threads: the node's own work and its sockets. Folders have threads of their own.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| {
        Problem::new(
            ProblemCode::Failed,
            format!("No threads to run on: {error}."),
            "Free some memory or processes.",
        )
    })?;
    let result = runtime.block_on(dispatch(args.command, &Client::new(home, out)));
    // Nothing that still runs has anything left to do; a resolver that hangs shall not hold the process up.
    runtime.shutdown_background();
    result
}

async fn dispatch(command: Command, client: &Client) -> Result<(), Problem> {
    match command {
        Command::Share(share) => start::share(client, share).await,
        Command::Join(join) => start::join(client, join).await,
        Command::Up(up) => start::up(client, up).await,
        Command::Down => background::down(client).await,
        Command::Id => settings::id(client),
        Command::Config { command } => settings::run(client, command),
        Command::Demo(demo) => demo::run(client.out, demo).await,
        other => ask(client, other).await,
    }
}

/// The commands that are one request to a running node.
async fn ask(client: &Client, command: Command) -> Result<(), Problem> {
    let mut exit_code = false;
    let mut asked_for = None;
    let request = match command {
        Command::Status => Request::Status,
        Command::Ls { space, path } => {
            let prefix = path.unwrap_or_default();
            asked_for = Some(prefix.clone()).filter(|p| !p.trim_matches('/').is_empty());
            Request::List { space: space.space, prefix }
        }
        Command::Get { space, path } => Request::Get { space: space.space, path },
        Command::Put { space, path, value } => {
            Request::Put { space: space.space, path, value: client::read_json(&value)? }
        }
        Command::Log { space, path, limit } => Request::Log { space: space.space, path, limit },
        Command::Conflicts { space, command } => {
            let space = space.space;
            match command {
                None | Some(ConflictsCommand::List { exit_code: false }) => {
                    Request::Conflicts { space, path: None }
                }
                Some(ConflictsCommand::List { exit_code: true }) => {
                    exit_code = true;
                    Request::Conflicts { space, path: None }
                }
                Some(ConflictsCommand::Show { path }) => {
                    asked_for = Some(path.clone());
                    Request::Conflicts { space, path: Some(path) }
                }
                Some(ConflictsCommand::Resolve { path, keep }) => Request::Resolve { space, path, keep },
            }
        }
        Command::Deletions { space, command } => {
            Request::Deletions { space: space.space, accept: matches!(command, DeletionsCommand::Accept) }
        }
        Command::Invite { space, access, qr } => {
            return invited::invite(client, space.space, &access, qr).await;
        }
        Command::Who { space } => Request::Who { space: space.space },
        Command::Name { node, name } => Request::Name { node, name },
        Command::Trust { space, node, marginal, withdraw, suggest } => {
            let trust = match (marginal, withdraw) {
                (true, _) => Trust::Marginal,
                (_, true) => Trust::Withdrawn,
                _ => Trust::Full,
            };
            Request::Trust { space: space.space, node, trust, name: suggest }
        }
        Command::Device { command } => match command.unwrap_or(DeviceCommand::List) {
            DeviceCommand::List => Request::Devices,
            DeviceCommand::Consent { person } => Request::DeviceConsent { person },
            DeviceCommand::Add { node, consent, label } => Request::DeviceAdd { node, label, consent },
            DeviceCommand::Remove { node } => Request::DeviceRemove { node },
            DeviceCommand::Recover { person, key } => {
                let key = if key == "-" {
                    std::io::read_to_string(std::io::stdin()).unwrap_or_default()
                } else {
                    key
                };
                Request::DeviceRecover { person, key }
            }
        },
        Command::Revoke { space, node } => Request::Revoke { space: space.space, node },
        Command::Pause { space } => Request::Pause { space: space.space },
        Command::Resume { space } => Request::Resume { space: space.space },
        Command::Doctor { subject } => Request::Doctor { subject },
        Command::Net => Request::Net,
        Command::Dht { command } => Request::Dht(command.into()),
        Command::Share(_) | Command::Join(_) | Command::Up(_) | Command::Down | Command::Id => {
            unreachable!("taken before")
        }
        Command::Config { .. } | Command::Demo(_) | Command::Completions { .. } => {
            unreachable!("taken before")
        }
    };
    let reply = client.ask(request).await?;
    refuse_nothing(&reply, asked_for)?;
    client.out.reply(&reply)?;
    if let Reply::Document { conflicts, .. } = &reply
        && !conflicts.is_empty()
    {
        let places = words::safe(&conflicts.join(", "));
        client.out.note(&format!(
            "note: concurrent edits could not be merged at {places}: one of the values is shown."
        ));
    }
    if exit_code { decisions_wait(&reply) } else { Ok(()) }
}

/// A path that was asked for by name, and is not there, is an error and not an empty list.
fn refuse_nothing(reply: &Reply, asked_for: Option<String>) -> Result<(), Problem> {
    let Some(path) = asked_for else { return Ok(()) };
    match reply {
        Reply::Entries { entries } if entries.is_empty() => Err(Problem::new(
            ProblemCode::NotFound,
            format!("There is nothing at `{path}`."),
            "`cosync ls` lists what there is.",
        )),
        Reply::Conflicts { conflicts } if conflicts.is_empty() => Err(Problem::new(
            ProblemCode::NotFound,
            format!("`{path}` is not in conflict."),
            "`cosync conflicts` lists what is.",
        )),
        _ => Ok(()),
    }
}

fn decisions_wait(reply: &Reply) -> Result<(), Problem> {
    match reply {
        Reply::Conflicts { conflicts } if !conflicts.is_empty() => Err(Problem::new(
            ProblemCode::NeedsDecision,
            format!(
                "{} waiting for a decision.",
                words::count(conflicts.len() as u64, "conflict is", "conflicts are")
            ),
            "`cosync conflicts show PATH` shows one, `cosync conflicts resolve PATH --keep mine|theirs|ID` settles it.",
        )),
        _ => Ok(()),
    }
}
