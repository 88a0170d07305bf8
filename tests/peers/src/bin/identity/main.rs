//! Capabilities beside biscuit and UCAN, and the web of trust against sybils.

mod capability;
mod graphs;
mod web;

fn main() {
    capability::run();
    web::run();
}
