//! The `cosync` command.

fn main() {}
