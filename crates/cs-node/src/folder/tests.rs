//! The folder as a whole: stories on memory and on a real directory, and two folders kept in sync through crashes.

mod harness;
mod real;
mod stories;
mod sync;
