//! Everything that needs more than one module: two endpoints on the loopback, QUIC in virtual time, laws of the wire.

mod asks;
mod caller;
mod early;
mod hostile;
mod moves;
mod nat_model;
mod paths;
mod properties;
mod proxy;
mod punch;
mod quic;
mod signals;
mod stories;
mod turn;
mod vectors;
mod world;
