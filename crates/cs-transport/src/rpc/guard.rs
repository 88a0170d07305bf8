//! What keeps sealed RPC cheap to serve: a replay window and a rate limit per source (TP-12, TP-13).

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use thiserror::Error;

/// Refuses requests that are too old, too far ahead, or were seen before. Rule TP-12.
///
/// Memory is bounded: when more requests than `capacity` arrive within the window, the oldest are forgotten and the
/// window closes behind them, so that a flood shortens what is accepted and never lets a replay through.
#[derive(Debug)]
pub struct ReplayWindow {
    tolerance_ms: u64,
    capacity: usize,
    /// (time, first 8 bytes of the ephemeral key), oldest first.
    seen: BTreeSet<(u64, u64)>,
    /// Requests from this time or before it are refused.
    floor_ms: u64,
}

/// Why a request is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReplayFault {
    /// Its time is outside the window: the asker's clock differs, or the request is an old one.
    #[error("the request is outside the time window")]
    OutsideWindow,
    /// It was seen before.
    #[error("the request was seen before")]
    Seen,
}

impl ReplayWindow {
    /// Accepts times within `tolerance_ms` of one's own clock, and remembers up to `capacity` requests (at least 1).
    #[must_use]
    pub fn new(tolerance_ms: u64, capacity: usize) -> Self {
        Self { tolerance_ms, capacity: capacity.max(1), seen: BTreeSet::new(), floor_ms: 0 }
    }

    /// The same, refusing what was sealed at `floor_ms` or before: whoever starts at that time cannot know what it
    /// served in an earlier life.
    #[must_use]
    pub fn since(self, floor_ms: u64) -> Self {
        Self { floor_ms, ..self }
    }

    /// Admits a request sealed at `unix_ms`, once. `now_ms`: the wall clock. O(log capacity).
    ///
    /// # Errors
    /// [`ReplayFault`]; the request is then to be dropped, or answered with this node's clock.
    pub fn admit(&mut self, now_ms: u64, unix_ms: u64, ephemeral: &[u8; 32]) -> Result<(), ReplayFault> {
        self.forget_before(now_ms.saturating_sub(self.tolerance_ms));
        if unix_ms <= self.floor_ms || now_ms.abs_diff(unix_ms) > self.tolerance_ms {
            return Err(ReplayFault::OutsideWindow);
        }
        let [a, b, c, d, e, f, g, h, ..] = *ephemeral;
        if !self.seen.insert((unix_ms, u64::from_be_bytes([a, b, c, d, e, f, g, h]))) {
            return Err(ReplayFault::Seen);
        }
        if self.seen.len() > self.capacity
            && let Some((oldest, _)) = self.seen.pop_first()
        {
            self.floor_ms = self.floor_ms.max(oldest);
        }
        Ok(())
    }

    /// Requests remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.seen.len()
    }

    /// Whether none is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.seen.is_empty()
    }

    fn forget_before(&mut self, limit_ms: u64) {
        while self.seen.first().is_some_and(|(unix_ms, _)| *unix_ms < limit_ms) {
            self.seen.pop_first();
        }
    }
}

/// A token bucket per source: an IPv4 address, an IPv6 /56, or on the loopback a single port, since there every node of
/// a machine shares the address. Rule TP-13.
///
/// Memory is bounded by `capacity` sources; when that many are active, all further ones share one bucket.
#[derive(Debug)]
pub struct RateLimiter {
    per_second: u32,
    burst: u32,
    capacity: usize,
    buckets: BTreeMap<Source, Bucket>,
    shared: Bucket,
}

/// Whom a datagram is counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    V4([u8; 4]),
    V6([u8; 7]),
    Loopback(u16),
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// In millionths of a request, so that refilling never rounds to nothing.
    tokens_millionths: u64,
    refilled_at: Duration,
}

const MILLION: u64 = 1_000_000;

impl RateLimiter {
    /// `per_second` requests of a source in the long run, `burst` at once, for up to `capacity` sources.
    #[must_use]
    pub fn new(per_second: u32, burst: u32, capacity: usize) -> Self {
        let full = Bucket { tokens_millionths: u64::from(burst) * MILLION, refilled_at: Duration::ZERO };
        Self { per_second, burst, capacity, buckets: BTreeMap::new(), shared: full }
    }

    /// Whether one more request of `source` is to be served at `now`. O(log capacity); a sweep when the table is full.
    pub fn admit(&mut self, now: Duration, source: SocketAddr) -> bool {
        let source = Source::of(source);
        if self.buckets.len() >= self.capacity && !self.buckets.contains_key(&source) {
            self.sweep(now);
        }
        let (per_second, burst) = (self.per_second, self.burst);
        let fresh = Bucket { tokens_millionths: u64::from(burst) * MILLION, refilled_at: now };
        let bucket = if self.buckets.len() < self.capacity || self.buckets.contains_key(&source) {
            self.buckets.entry(source).or_insert(fresh)
        } else {
            &mut self.shared
        };
        bucket.refill(now, per_second, burst);
        let admitted = bucket.tokens_millionths >= MILLION;
        if admitted {
            bucket.tokens_millionths -= MILLION;
        }
        admitted
    }

    /// Sources remembered.
    #[must_use]
    pub fn sources(&self) -> usize {
        self.buckets.len()
    }

    /// Forgets every source whose bucket is full again: it is as if it had never asked.
    fn sweep(&mut self, now: Duration) {
        let (per_second, burst) = (self.per_second, self.burst);
        self.buckets.retain(|_, bucket| {
            bucket.refill(now, per_second, burst);
            bucket.tokens_millionths < u64::from(burst) * MILLION
        });
    }
}

impl Bucket {
    fn refill(&mut self, now: Duration, per_second: u32, burst: u32) {
        let elapsed = now.saturating_sub(self.refilled_at);
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        let gained = micros.saturating_mul(u64::from(per_second));
        let full = u64::from(burst) * MILLION;
        self.tokens_millionths = self.tokens_millionths.saturating_add(gained).min(full);
        self.refilled_at = self.refilled_at.max(now);
    }
}

impl Source {
    pub(crate) fn of(address: SocketAddr) -> Self {
        match address.ip().to_canonical() {
            ip if ip.is_loopback() => Self::Loopback(address.port()),
            IpAddr::V4(ip) => Self::V4(ip.octets()),
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, g, ..] = ip.octets();
                Self::V6([a, b, c, d, e, f, g])
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(byte: u8) -> [u8; 32] {
        [byte; 32]
    }

    #[test]
    fn tp_12_a_request_is_admitted_once() {
        let mut window = ReplayWindow::new(1_000, 8);
        assert_eq!(window.admit(10_000, 10_000, &key(1)), Ok(()));
        assert_eq!(window.admit(10_500, 10_000, &key(1)), Err(ReplayFault::Seen));
        assert_eq!(window.admit(11_001, 10_000, &key(1)), Err(ReplayFault::OutsideWindow));
        assert!(window.is_empty());
    }

    #[test]
    fn tp_12_what_was_sealed_before_the_node_started_is_refused() {
        let mut window = ReplayWindow::new(60_000, 8).since(99_500);
        assert_eq!(window.admit(100_000, 99_500, &key(1)), Err(ReplayFault::OutsideWindow));
        assert_eq!(window.admit(100_000, 99_501, &key(2)), Ok(()));
    }

    #[test]
    fn tp_12_a_flood_closes_the_window_and_lets_no_replay_through() {
        let mut window = ReplayWindow::new(60_000, 4);
        for i in 0..10u8 {
            assert_eq!(window.admit(100_000, 99_000 + u64::from(i), &key(i)), Ok(()));
        }
        assert_eq!(window.len(), 4);
        for i in 0..6u8 {
            let again = window.admit(100_000, 99_000 + u64::from(i), &key(i));
            assert_eq!(again, Err(ReplayFault::OutsideWindow), "{i}");
        }
        assert_eq!(window.admit(100_000, 99_008, &key(8)), Err(ReplayFault::Seen));
    }

    #[test]
    fn tp_13_a_source_is_held_to_its_rate_and_others_are_not() {
        let mut limiter = RateLimiter::new(10, 3, 100);
        let (loud, quiet) = (([1, 2, 3, 4], 5).into(), ([1, 2, 3, 5], 5).into());
        let served = (0..100).filter(|_| limiter.admit(Duration::ZERO, loud)).count();
        assert_eq!(served, 3);
        assert!(limiter.admit(Duration::ZERO, quiet));
        assert!(limiter.admit(Duration::from_millis(100), loud));
        assert!(!limiter.admit(Duration::from_millis(100), loud));
    }

    #[test]
    fn tp_13_a_million_sources_take_no_more_room_than_the_table_has() {
        let mut limiter = RateLimiter::new(10, 3, 16);
        let served =
            (0..100_000u32).filter(|i| limiter.admit(Duration::ZERO, (i.to_be_bytes(), 1).into())).count();
        assert_eq!(limiter.sources(), 16);
        assert_eq!(served, 16 + 3, "all others share one bucket");
    }

    #[test]
    fn tp_13_one_ipv6_site_is_one_source() {
        let mut limiter = RateLimiter::new(1, 1, 16);
        let at = |host: u16| SocketAddr::from(([0x2001, 0xdb8, 0, 1, 0, 0, 0, host], 9));
        assert!(limiter.admit(Duration::ZERO, at(1)));
        assert!(!limiter.admit(Duration::ZERO, at(2)));
    }
}
