//! Smoothed delay and its variation, as RFC 6298 section 2 has them.

use core::time::Duration;

/// An estimate of a delay from samples.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Delay {
    smoothed: Option<Duration>,
    variation: Duration,
}

impl Delay {
    pub(crate) fn sample(&mut self, sample: Duration) {
        let Some(smoothed) = self.smoothed else {
            self.smoothed = Some(sample);
            self.variation = sample / 2;
            return;
        };
        self.variation = (self.variation * 3 + smoothed.abs_diff(sample)) / 4;
        self.smoothed = Some((smoothed * 7 + sample) / 8);
    }

    pub(crate) fn smoothed(&self) -> Option<Duration> {
        self.smoothed
    }

    /// When to stop waiting: mean plus four variations, or plus a quarter, lest a steady delay leave no margin; `None`
    /// before the first sample.
    pub(crate) fn limit(&self) -> Option<Duration> {
        self.smoothed.map(|smoothed| smoothed + (self.variation * 4).max(smoothed / 4))
    }
}

/// The largest of the recent samples of a delay that varies with its cause, such as the depth of a path.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Peak {
    largest: Option<Duration>,
}

impl Peak {
    /// Rises at once, falls by a 64th of the difference.
    pub(crate) fn sample(&mut self, sample: Duration) {
        let largest = self.largest.unwrap_or(sample);
        let fallen = largest.saturating_sub(largest.saturating_sub(sample) / 64);
        self.largest = Some(sample.max(fallen));
    }

    /// An eighth above the peak; `None` before the first sample.
    pub(crate) fn limit(&self) -> Option<Duration> {
        self.largest.map(|largest| largest * 9 / 8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peak_rises_at_once_and_falls_slowly() {
        let mut peak = Peak::default();
        assert_eq!(peak.limit(), None);
        for sample in [10, 800, 10, 10] {
            peak.sample(Duration::from_millis(sample));
        }
        assert!(peak.limit().unwrap() > Duration::from_millis(850));
        for _ in 0..300 {
            peak.sample(Duration::from_millis(10));
        }
        assert!(peak.limit().unwrap() < Duration::from_millis(25));
    }

    #[test]
    fn steady_samples_draw_the_limit_to_the_mean_and_leave_a_margin() {
        let mut delay = Delay::default();
        assert_eq!(delay.limit(), None);
        for _ in 0..100 {
            delay.sample(Duration::from_millis(80));
        }
        assert_eq!(delay.limit().unwrap().as_millis(), 100);
        delay.sample(Duration::from_millis(400));
        assert!(delay.limit().unwrap() > Duration::from_millis(300));
    }
}
