//! The `cosync` command: folders and documents in sync between devices and people, with no server to trust.

mod cli;
mod config;

fn main() -> std::process::ExitCode {
    cli::run()
}
