//! Real nodes: the `cosync` binary as processes of its own on loopback, asked over its socket and watched through
//! `/proc`.

mod binary;
mod http;
mod node;
mod skip;
mod tree;
mod usage;

pub use binary::cosync;
pub use http::{Answer, call};
pub use node::{Node, Setup};
pub use skip::skipped;
pub use tree::{Difference, compare, fill};
pub use usage::{Usage, usage};

use std::time::{Duration, Instant};

/// How often something awaited is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Looks until there is something, for as long as `limit`.
pub fn until<T>(limit: Duration, look: impl FnMut() -> Option<T>) -> Option<T> {
    until_every(LOOK_INTERVAL, limit, look)
}

/// [`until`] with a pace of its own, for looks that cost the watched process something.
pub fn until_every<T>(interval: Duration, limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        let found = look();
        if found.is_some() || begun.elapsed() > limit {
            return found;
        }
        std::thread::sleep(interval);
    }
}
