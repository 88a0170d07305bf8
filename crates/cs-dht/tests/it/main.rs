//! The crate from outside: its bytes, its laws, and whole networks in virtual time.

mod filled;
mod hostility;
mod laws;
mod net;
mod region;
mod stories;
mod upkeep;
mod wire;
