//! Every deadline of the machine.

use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use cs_identity::NodeId;

use crate::wire::MessageId;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    /// Neighbours are too few and a candidate may be tried again.
    Refill,
    /// An ask or a connection was not answered.
    Asked(NodeId),
    /// Passive peers are to be exchanged.
    Shuffle,
    /// A neighbour may have been silent for too long.
    Probe(NodeId),
    /// A probe was not answered.
    Unanswered(NodeId),
    /// Announcements are to go out.
    Flush,
    /// An announced broadcast has not come.
    Missing(MessageId),
    /// What was announced and asked for should have come.
    Promises,
    /// The oldest cached payload expires.
    Expire,
}

/// One deadline a timer; setting it again moves it.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    order: BTreeSet<(Duration, Timer)>,
    set: BTreeMap<Timer, Duration>,
}

impl Timers {
    pub(crate) fn set(&mut self, timer: Timer, at: Duration) {
        if let Some(before) = self.set.insert(timer, at) {
            self.order.remove(&(before, timer));
        }
        self.order.insert((at, timer));
    }

    /// Sets it unless it is due earlier already.
    pub(crate) fn set_by(&mut self, timer: Timer, at: Duration) {
        if self.set.get(&timer).is_none_or(|before| at < *before) {
            self.set(timer, at);
        }
    }

    pub(crate) fn cancel(&mut self, timer: Timer) {
        if let Some(at) = self.set.remove(&timer) {
            self.order.remove(&(at, timer));
        }
    }

    pub(crate) fn is_set(&self, timer: Timer) -> bool {
        self.set.contains_key(&timer)
    }

    /// Time until it is due; zero if it is not set.
    pub(crate) fn left(&self, timer: Timer, now: Duration) -> Duration {
        self.set.get(&timer).map_or(Duration::ZERO, |at| at.saturating_sub(now))
    }

    pub(crate) fn next(&self) -> Option<Duration> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes one timer that is due.
    pub(crate) fn pop(&mut self, now: Duration) -> Option<Timer> {
        let (at, timer) = *self.order.first()?;
        if at > now {
            return None;
        }
        self.cancel(timer);
        Some(timer)
    }

    pub(crate) fn clear(&mut self) {
        self.order.clear();
        self.set.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timer_that_is_set_again_fires_once_and_at_the_new_time() {
        let mut timers = Timers::default();
        timers.set(Timer::Shuffle, Duration::from_secs(1));
        timers.set(Timer::Shuffle, Duration::from_secs(3));
        timers.set_by(Timer::Shuffle, Duration::from_secs(5));
        assert_eq!(timers.pop(Duration::from_secs(2)), None);
        assert_eq!(timers.pop(Duration::from_secs(3)), Some(Timer::Shuffle));
        assert_eq!((timers.next(), timers.pop(Duration::MAX)), (None, None));
    }
}
