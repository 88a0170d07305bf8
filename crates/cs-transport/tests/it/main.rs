//! Everything that needs more than one module: two endpoints on the loopback, QUIC in virtual time, laws of the wire.

mod properties;
mod quic;
mod stories;
mod vectors;
