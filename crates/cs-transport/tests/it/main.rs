//! Everything that needs more than one module: two endpoints on the loopback, QUIC in virtual time, laws of the wire.

mod caller;
mod nat_model;
mod paths;
mod properties;
mod punch;
mod quic;
mod signals;
mod stories;
mod turn;
mod vectors;
