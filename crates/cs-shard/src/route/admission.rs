//! When a server says no (SHARD-29).

use core::time::Duration;

use thiserror::Error;

/// How much a server takes on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AdmissionConfig {
    /// Requests that are worked on at once, at least 1. Default 4.
    pub concurrency: u32,
    /// Longest expected wait with which a request is still taken: beyond it the caller has given up or asked
    /// another one. Default 100 ms.
    pub wait_limit: Duration,
    /// Requests taken at once whatever is expected, waiting ones included: bounds memory. Default 1,024.
    pub queue_max: u32,
}

impl Default for AdmissionConfig {
    fn default() -> Self {
        Self { concurrency: 4, wait_limit: Duration::from_millis(100), queue_max: 1024 }
    }
}

/// Refuses what would wait too long, so that a full server answers some in time instead of all too late.
///
/// By Little's law, a request that finds n others waits for about n times the mean service time over the concurrency. The
/// mean is that of the last twenty or so.
#[derive(Clone, Copy, Debug)]
pub struct Admission {
    config: AdmissionConfig,
    inside: u32,
    service: Duration,
}

/// The request is refused: too much waits already.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("overloaded: the expected wait is {wait:?}")]
pub struct Overloaded {
    /// What it would have waited.
    pub wait: Duration,
}

impl Admission {
    /// An idle server; a concurrency of 0 counts as 1.
    #[must_use]
    pub fn new(config: AdmissionConfig) -> Self {
        let config = AdmissionConfig { concurrency: config.concurrency.max(1), ..config };
        Self { config, inside: 0, service: Duration::ZERO }
    }

    /// Takes a request, or says no. Each one taken must be [`finish`](Self::finish)ed or [`cancel`](Self::cancel)led.
    ///
    /// # Errors
    /// [`Overloaded`]; nothing changed.
    pub fn admit(&mut self) -> Result<(), Overloaded> {
        let wait = self.expected_wait();
        if wait > self.config.wait_limit || self.inside >= self.config.queue_max {
            return Err(Overloaded { wait });
        }
        self.inside += 1;
        Ok(())
    }

    /// A request is done, after so much work (without waiting).
    pub fn finish(&mut self, service: Duration) {
        self.inside = self.inside.saturating_sub(1);
        self.service = if self.service.is_zero() { service } else { self.service * 19 / 20 + service / 20 };
    }

    /// A request that had been taken is not wanted any more.
    pub fn cancel(&mut self) {
        self.inside = self.inside.saturating_sub(1);
    }

    /// What the next request would wait.
    #[must_use]
    pub fn expected_wait(&self) -> Duration {
        let before = (self.inside + 1).saturating_sub(self.config.concurrency);
        self.service.saturating_mul(before) / self.config.concurrency
    }

    /// Requests taken and not done.
    #[must_use]
    pub fn inside(&self) -> u32 {
        self.inside
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHARD-29.
    #[test]
    fn what_would_wait_too_long_is_refused_and_what_frees_up_is_given_again() {
        let mut server = Admission::new(AdmissionConfig { concurrency: 2, ..AdmissionConfig::default() });
        server.admit().expect("it is idle");
        server.finish(Duration::from_millis(40));
        // Two at work, and five that wait 20 ms for each before them.
        for _ in 0..7 {
            server.admit().expect("it waits for 100 ms at most");
        }
        assert_eq!(server.admit(), Err(Overloaded { wait: Duration::from_millis(120) }));
        server.cancel();
        assert_eq!(server.admit(), Ok(()));
        assert_eq!(server.inside(), 7);
    }
}
