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

    /// When to stop waiting: mean plus four variations; `None` before the first sample.
    pub(crate) fn limit(&self) -> Option<Duration> {
        self.smoothed.map(|smoothed| smoothed + self.variation * 4)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steady_samples_draw_the_limit_to_the_mean() {
        let mut delay = Delay::default();
        assert_eq!(delay.limit(), None);
        for _ in 0..100 {
            delay.sample(Duration::from_millis(80));
        }
        assert!(delay.limit().unwrap() < Duration::from_millis(85));
        delay.sample(Duration::from_millis(400));
        assert!(delay.limit().unwrap() > Duration::from_millis(300));
    }
}
