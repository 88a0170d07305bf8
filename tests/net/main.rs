//! Real nodes, as processes on loopback: what no simulation shows.

mod bad;
mod chaos;
mod disk;
mod lab;
mod lan;
mod proxy;
mod secrecy;
mod sync;
