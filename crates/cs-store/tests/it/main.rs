//! The store from outside: stories, properties and simulated power cuts.

mod crashes;
mod damage;
mod make;
mod properties;
mod stories;
