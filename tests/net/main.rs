//! Real nodes, as processes on loopback: what no simulation shows.

mod bad;
#[path = "../../crates/cs-transport/tests/it/caller.rs"]
mod caller;
mod chaos;
mod dht;
mod disk;
mod lab;
mod lan;
mod mapping;
mod matrix;
mod nat;
mod observer;
mod paths;
mod proxy;
mod secrecy;
mod sync;
mod turn;
