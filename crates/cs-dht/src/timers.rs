//! All deadlines of one machine, soonest first.

use crate::event::RpcId;
use alloc::collections::BTreeSet;
use core::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// An answer is later than most: its slot is free again.
    Late(RpcId),
    /// An answer is overdue: nobody waits for it any more.
    Slow(RpcId),
    /// An answer is given up.
    Lost(RpcId),
    /// Probe, refresh, store anew, drop.
    Maintain,
    /// Try the bootstrap peers again.
    Rejoin,
}

#[derive(Debug, Default)]
pub(crate) struct Timers(BTreeSet<(Duration, Timer)>);

impl Timers {
    pub(crate) fn set(&mut self, at: Duration, timer: Timer) {
        self.0.insert((at, timer));
    }

    pub(crate) fn clear(&mut self, at: Duration, timer: Timer) {
        self.0.remove(&(at, timer));
    }

    /// Takes one deadline that has passed.
    pub(crate) fn pop_due(&mut self, now: Duration) -> Option<Timer> {
        let first = *self.0.first().filter(|(at, _)| *at <= now)?;
        self.0.remove(&first);
        Some(first.1)
    }

    pub(crate) fn next(&self) -> Option<Duration> {
        self.0.first().map(|(at, _)| *at)
    }
}
