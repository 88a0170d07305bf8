#![doc = include_str!("../README.md")]

mod agent;
pub mod api;
pub mod core;
pub mod folder;
mod json;
pub mod ticket;
pub mod wire;

pub use agent::Agent;
