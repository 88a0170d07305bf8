//! The crate from outside: its bytes, its laws, and whole networks in virtual time.

mod hostility;
mod laws;
mod net;
mod stories;
mod wire;
