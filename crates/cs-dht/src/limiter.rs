//! A rate limit per source (DHT-18) in 128 bytes, however many sources there are.

use crate::address::Subnet;
use core::net::SocketAddr;
use core::time::Duration;

const SLOTS: usize = 128;

/// Counts requests of the running second in slots that a keyed hash assigns, so that nobody can choose whose slot to
/// exhaust. A flood silences the one in 128 honest sources that share its slot, for that second: the key changes.
#[derive(Clone, Debug)]
pub(crate) struct Limiter {
    key: u64,
    second: u64,
    counts: [u8; SLOTS],
}

impl Limiter {
    pub(crate) const fn new(key: u64) -> Self {
        Self { key, second: 0, counts: [0; SLOTS] }
    }

    /// Whether one more request from there is within `limit` per second.
    pub(crate) fn has_room(&self, now: Duration, addr: &SocketAddr, limit: u8) -> bool {
        now.as_secs() != self.second || self.counts[self.slot(now, addr)] < limit
    }

    /// Counts one request from there.
    pub(crate) fn count(&mut self, now: Duration, addr: &SocketAddr) {
        if now.as_secs() != self.second {
            self.second = now.as_secs();
            self.counts = [0; SLOTS];
        }
        let slot = self.slot(now, addr);
        self.counts[slot] = self.counts[slot].saturating_add(1);
    }

    fn slot(&self, now: Duration, addr: &SocketAddr) -> usize {
        let (subnet, port) = Subnet::source(addr);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.key.to_be_bytes());
        hasher.update(&now.as_secs().to_be_bytes());
        hasher.update(&subnet);
        hasher.update(&port.to_be_bytes());
        usize::from(hasher.finalize().as_bytes()[0]) % SLOTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admit(limiter: &mut Limiter, now: Duration, addr: &str, limit: u8) -> bool {
        let addr = addr.parse().unwrap();
        let admitted = limiter.has_room(now, &addr, limit);
        if admitted {
            limiter.count(now, &addr);
        }
        admitted
    }

    #[test]
    fn a_source_above_its_rate_waits_for_the_next_second() {
        let mut limiter = Limiter::new(7);
        let now = Duration::from_millis(1_500);
        assert_eq!((0..100).filter(|_| admit(&mut limiter, now, "8.8.8.8:1", 64)).count(), 64);
        assert!(admit(&mut limiter, Duration::from_secs(2), "8.8.8.8:1", 64));
    }

    #[test]
    fn a_subnet_shares_one_rate_and_a_home_does_not() {
        let mut limiter = Limiter::new(7);
        let now = Duration::from_secs(1);
        let admitted = |limiter: &mut Limiter, text: &str| admit(limiter, now, text, 1);
        assert!(admitted(&mut limiter, "8.8.8.8:1"));
        assert!(!admitted(&mut limiter, "8.8.8.9:7"));
        assert!(admitted(&mut limiter, "127.0.0.1:1"));
        assert!(admitted(&mut limiter, "127.0.0.1:2"));
    }
}
