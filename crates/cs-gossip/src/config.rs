//! What can be chosen, and why the defaults are what they are.

use core::time::Duration;

use crate::wire::MAX_PAYLOAD;

/// How one topic is gossiped. The defaults serve two nodes and ten thousand; timers that matter are not
/// here because they follow measured round-trip times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// New neighbours are sought below this many. 6: a random graph of that degree stays nearly whole when half
    /// of it dies, and seven nodes form a full mesh. 1 to `active_max`.
    pub active_min: usize,
    /// No more neighbours than this. Room above `active_min` lets newcomers in without pushing anyone out.
    /// Up to 64.
    pub active_max: usize,
    /// Peers remembered for the day neighbours fail: `log n` of them suffice, 30 is generous. Up to 1024.
    pub passive_max: usize,
    /// Mean time between exchanges of passive peers with a random neighbour. Default 30 s.
    pub shuffle_interval: Duration,
    /// Silence after which a neighbour is probed. Default 5 s.
    pub probe_interval: Duration,
    /// How long a connection that we asked for may take before another peer is tried. Default 5 s.
    pub connect_limit: Duration,
    /// How long a payload is kept for those who miss it. Default 60 s.
    pub cache_limit: Duration,
    /// Bytes of payloads kept. Default 4 MiB.
    pub cache_bytes: usize,
    /// Largest payload, at most [`MAX_PAYLOAD`]. Default 256 KiB.
    pub payload_bytes: usize,
    /// Payloads above this are announced and pulled instead of pushed, as bulk ones always are. Default
    /// 8 KiB: below it an announcement's round trip costs more than a duplicate.
    pub push_bytes: usize,
    /// Bytes that wait here for a link whose transport is full. Normal payloads have half of it, bulk ones a quarter; a
    /// link without room gets announcements instead, and when all are that slow, publishing is refused. Default
    /// 256 KiB.
    pub backlog_bytes: usize,
    /// Deliveries wait for [`Gossip::validate`](crate::Gossip::validate) before they are passed on.
    /// Default: off.
    pub validate: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            active_min: 6,
            active_max: 9,
            passive_max: 30,
            shuffle_interval: Duration::from_secs(30),
            probe_interval: Duration::from_secs(5),
            connect_limit: Duration::from_secs(5),
            cache_limit: Duration::from_secs(60),
            cache_bytes: 4 * 1024 * 1024,
            payload_bytes: 256 * 1024,
            push_bytes: 8 * 1024,
            backlog_bytes: 256 * 1024,
            validate: false,
        }
    }
}

/// Why a configuration cannot work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// `1 <= active_min <= active_max <= 64` and `passive_max <= 1024` must hold.
    #[error("view sizes out of range")]
    Views,
    /// An interval or limit is below a millisecond: timers would never rest.
    #[error("an interval is below one millisecond")]
    Interval,
    /// `payload_bytes` is above [`MAX_PAYLOAD`], or the cache cannot hold one payload.
    #[error("payload limit out of range")]
    Payload,
}

impl Config {
    /// Checks the ranges above.
    ///
    /// # Errors
    /// The first [`ConfigError`] found.
    pub fn check(&self) -> Result<(), ConfigError> {
        let views = 1 <= self.active_min && self.active_min <= self.active_max && self.active_max <= 64;
        if !views || self.passive_max > 1024 {
            return Err(ConfigError::Views);
        }
        let spans = [self.shuffle_interval, self.probe_interval, self.connect_limit, self.cache_limit];
        if spans.iter().any(|span| *span < Duration::from_millis(1)) {
            return Err(ConfigError::Interval);
        }
        if self.payload_bytes > MAX_PAYLOAD || self.cache_bytes < self.payload_bytes {
            return Err(ConfigError::Payload);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_in_range_and_nonsense_is_not() {
        assert_eq!(Config::default().check(), Ok(()));
        let views = Config { active_min: 10, ..Config::default() };
        assert_eq!(views.check(), Err(ConfigError::Views));
        let interval = Config { probe_interval: Duration::ZERO, ..Config::default() };
        assert_eq!(interval.check(), Err(ConfigError::Interval));
        let payload = Config { payload_bytes: MAX_PAYLOAD + 1, ..Config::default() };
        assert_eq!(payload.check(), Err(ConfigError::Payload));
    }
}
