//! How long to wait for an answer (DHT-17): the estimator of TCP (RFC 6298, section 2) over all answers, not per peer, since a
//! lookup mostly asks peers it never asked before.

use core::time::Duration;

#[derive(Clone, Debug)]
pub(crate) struct Estimator {
    smoothed: Option<Duration>,
    variation: Duration,
    floor: Duration,
    ceiling: Duration,
}

impl Estimator {
    pub(crate) const fn new(floor: Duration, ceiling: Duration) -> Self {
        Self { smoothed: None, variation: Duration::ZERO, floor, ceiling }
    }

    /// One answer took this long.
    pub(crate) fn sample(&mut self, rtt: Duration) {
        let Some(smoothed) = self.smoothed else {
            self.smoothed = Some(rtt);
            self.variation = rtt / 2;
            return;
        };
        self.variation = self.variation * 3 / 4 + smoothed.abs_diff(rtt) / 4;
        self.smoothed = Some(smoothed * 7 / 8 + rtt / 8);
    }

    /// When an answer is later than most: srtt + rttvar. From then on another peer is asked beside.
    pub(crate) fn hedge(&self, known: Option<Duration>) -> Duration {
        let Some(smoothed) = self.smoothed else {
            return self.ceiling / 4;
        };
        let mean = known.map_or(smoothed, |rtt| rtt.max(smoothed));
        (mean + self.variation).clamp(self.floor / 2, self.ceiling / 2)
    }

    /// When a question to a peer may be taken for lost: srtt + 4 rttvar. A peer that is known to be slower than the
    /// rest gets its own time instead of the mean.
    pub(crate) fn timeout(&self, known: Option<Duration>) -> Duration {
        let Some(smoothed) = self.smoothed else {
            return self.ceiling / 2;
        };
        let mean = known.map_or(smoothed, |rtt| rtt.max(smoothed));
        (mean + self.variation * 4).clamp(self.floor, self.ceiling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn steady_answers_bring_the_timeout_down_to_little_above_the_rtt() {
        let mut estimator = Estimator::new(MS(10), MS(2_000));
        assert_eq!(estimator.timeout(None), MS(1_000));
        for _ in 0..64 {
            estimator.sample(MS(100));
        }
        assert!(estimator.timeout(None) >= MS(100) && estimator.timeout(None) < MS(110));
        assert!(estimator.timeout(Some(MS(300))) >= MS(300), "a slow peer is waited for");
    }

    /// DHT-17.
    #[test]
    fn the_timeout_stays_between_floor_and_ceiling() {
        let mut estimator = Estimator::new(MS(80), MS(2_000));
        estimator.sample(Duration::ZERO);
        assert_eq!(estimator.timeout(None), MS(80));
        estimator.sample(MS(60_000));
        assert_eq!(estimator.timeout(None), MS(2_000));
    }
}
