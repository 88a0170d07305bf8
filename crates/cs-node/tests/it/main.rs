//! The `cosync` command as its users meet it: real processes on loopback, each with a state directory of its own.

mod background;
mod demo;
mod dht;
mod harness;
mod help;
mod mistakes;
mod session;
mod settings;
