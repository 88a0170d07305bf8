#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod agent;
pub mod api;
mod clock;
pub mod core;
mod driver;
pub mod folder;
mod folders;
mod home;
pub mod http;
mod json;
mod lan;
mod router;
mod sockets;
pub mod ticket;
pub mod wire;

pub use agent::Agent;
pub use driver::{Driver, Handle, Options, StartError};
pub use home::Home;
