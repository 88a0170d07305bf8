//! One allocation: who holds it, whom it reaches, and how much passes through (RFC 8656 sections 3.2, 9 and 12).

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeMap;

use super::FiveTuple;
use crate::stun::{LongTermKey, TransactionId};
use crate::turn::Family;

/// Life of a permission (RFC 8656 section 9).
pub(crate) const PERMISSION_LIFETIME: Duration = Duration::from_secs(300);
/// Life of a channel (RFC 8656 section 12).
pub(crate) const CHANNEL_LIFETIME: Duration = Duration::from_secs(600);

#[derive(Debug)]
pub(crate) struct Allocation {
    pub(crate) client: FiveTuple,
    pub(crate) user: String,
    pub(crate) key: LongTermKey,
    pub(crate) family: Family,
    /// The request that made it, and its answer once there is one: a repeated request gets the same.
    pub(crate) transaction: TransactionId,
    pub(crate) answer: Option<Vec<u8>>,
    /// As peers and the client know it; `None` until its socket is bound.
    pub(crate) relayed: Option<SocketAddr>,
    pub(crate) lifetime: Duration,
    pub(crate) expires_at: Duration,
    pub(crate) bucket: Bucket,
    permissions: BTreeMap<IpAddr, Duration>,
    channels: BTreeMap<u16, Channel>,
    numbers: BTreeMap<SocketAddr, u16>,
}

#[derive(Clone, Copy, Debug)]
struct Channel {
    peer: SocketAddr,
    expires_at: Duration,
}

/// Why a channel is not bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotBound {
    /// The number stands for another peer, or the peer has another number.
    Taken,
    /// Too many.
    Full,
}

impl Allocation {
    pub(crate) fn new(client: FiveTuple, user: String, key: LongTermKey, transaction: TransactionId) -> Self {
        Self {
            client,
            user,
            key,
            family: Family::V4,
            transaction,
            answer: None,
            relayed: None,
            lifetime: Duration::ZERO,
            expires_at: Duration::ZERO,
            bucket: Bucket::default(),
            permissions: BTreeMap::new(),
            channels: BTreeMap::new(),
            numbers: BTreeMap::new(),
        }
    }

    /// Whether there is room for permissions for all of `ips`, those that ran out not counted.
    pub(crate) fn has_room(&mut self, now: Duration, ips: &[IpAddr], max: usize) -> bool {
        self.permissions.retain(|_, expires_at| *expires_at > now);
        let fresh = ips.iter().filter(|ip| !self.permissions.contains_key(ip)).count();
        self.permissions.len() + fresh <= max
    }

    pub(crate) fn permit(&mut self, now: Duration, ip: IpAddr) {
        self.permissions.insert(ip, now + PERMISSION_LIFETIME);
    }

    pub(crate) fn permits(&self, now: Duration, ip: IpAddr) -> bool {
        self.permissions.get(&ip).is_some_and(|expires_at| *expires_at > now)
    }

    pub(crate) fn bind(
        &mut self,
        now: Duration,
        number: u16,
        peer: SocketAddr,
        max: usize,
    ) -> Result<(), NotBound> {
        let numbers = &mut self.numbers;
        self.channels.retain(|_, channel| {
            let keep = channel.expires_at > now;
            if !keep {
                numbers.remove(&channel.peer);
            }
            keep
        });
        let is_same = self.numbers.get(&peer) == Some(&number);
        if !is_same && (self.numbers.contains_key(&peer) || self.channels.contains_key(&number)) {
            return Err(NotBound::Taken);
        }
        if !is_same && self.channels.len() >= max {
            return Err(NotBound::Full);
        }
        self.channels.insert(number, Channel { peer, expires_at: now + CHANNEL_LIFETIME });
        self.numbers.insert(peer, number);
        Ok(())
    }

    pub(crate) fn of_channel(&self, now: Duration, number: u16) -> Option<SocketAddr> {
        self.channels.get(&number).filter(|channel| channel.expires_at > now).map(|channel| channel.peer)
    }

    pub(crate) fn channel(&self, now: Duration, peer: SocketAddr) -> Option<u16> {
        let number = *self.numbers.get(&peer)?;
        self.of_channel(now, number).map(|_| number)
    }
}

/// Bytes that may pass, refilled with time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bucket {
    per_second: u64,
    burst: u64,
    bytes: u64,
    /// What is left of a byte, in billionths, so that refilling often loses nothing.
    rest: u64,
    refilled_at: Duration,
}

const BILLION: u128 = 1_000_000_000;

impl Bucket {
    /// Full: a burst of `burst` bytes, then `per_second`.
    pub(crate) fn new(now: Duration, per_second: u64, burst: u64) -> Self {
        Self { per_second, burst, bytes: burst, rest: 0, refilled_at: now }
    }

    /// Whether `bytes` may pass; they are taken then.
    pub(crate) fn admit(&mut self, now: Duration, bytes: usize) -> bool {
        let elapsed = now.saturating_sub(self.refilled_at);
        self.refilled_at = self.refilled_at.max(now);
        let gained =
            elapsed.as_nanos().saturating_mul(self.per_second.into()).saturating_add(self.rest.into());
        self.rest = u64::try_from(gained % BILLION).unwrap_or(0);
        let whole = u64::try_from(gained / BILLION).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(whole).min(self.burst);
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let admitted = bytes <= self.bytes;
        if admitted {
            self.bytes -= bytes;
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tp_26_a_bucket_lets_its_burst_and_then_its_rate_pass() {
        let mut bucket = Bucket::new(Duration::ZERO, 1000, 500);
        assert!(bucket.admit(Duration::ZERO, 400) && bucket.admit(Duration::ZERO, 100));
        assert!(!bucket.admit(Duration::ZERO, 1));
        // A third of a millisecond at a time: nothing is lost to rounding.
        let step = Duration::from_nanos(333_333);
        let passed = (1..=3000u32).filter(|turn| bucket.admit(step * *turn, 1)).count();
        assert_eq!(passed, 999);
        assert!(bucket.admit(Duration::from_secs(60), 500) && !bucket.admit(Duration::from_secs(60), 1));
    }
}
