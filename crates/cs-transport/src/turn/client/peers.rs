//! Whom the client talks with: permissions and channels, and when each is to be renewed (RFC 8656 sections 9 and 12).

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeMap;

use super::Refused;
use super::requests::Purpose;
use crate::turn::CHANNELS;

/// Permissions that a client keeps up at a time, and likewise channels.
pub const MAX_PEERS: usize = 64;
/// A permission lasts 300 s: it is renewed in time. A channel lasts 600 s, and renewing it renews its permission.
const RENEW_AFTER: Duration = Duration::from_secs(240);
/// How long a number may not stand for another peer: its binding lasts 600 s, and 300 s are to pass after that.
const QUARANTINE: Duration = Duration::from_secs(900);

#[derive(Debug, Default)]
pub(crate) struct Peers {
    permissions: BTreeMap<IpAddr, Grant>,
    channels: BTreeMap<SocketAddr, Channel>,
    /// Whose a number is; numbers that were released are there until they may be used again.
    numbers: BTreeMap<u16, Number>,
    last: Option<u16>,
}

/// What the server granted, or is being asked for.
#[derive(Clone, Copy, Debug, Default)]
struct Grant {
    granted: bool,
    /// `None`: the request is under way.
    renew_at: Option<Duration>,
}

#[derive(Clone, Copy, Debug)]
struct Channel {
    number: u16,
    grant: Grant,
}

#[derive(Clone, Copy, Debug)]
enum Number {
    Of(SocketAddr),
    FreeAt(Duration),
}

impl Grant {
    /// True the first time.
    fn give(&mut self, now: Duration) -> bool {
        self.renew_at = Some(now + RENEW_AFTER);
        !core::mem::replace(&mut self.granted, true)
    }

    fn take_due(&mut self, now: Duration) -> bool {
        let due = self.renew_at.is_some_and(|at| at <= now);
        if due {
            self.renew_at = None;
        }
        due
    }
}

impl Peers {
    /// Whether it is new.
    pub(crate) fn permit(&mut self, ip: IpAddr) -> Result<bool, Refused> {
        if self.permissions.contains_key(&ip) {
            return Ok(false);
        }
        if self.permissions.len() >= MAX_PEERS {
            return Err(Refused::Full);
        }
        self.permissions.insert(ip, Grant::default());
        Ok(true)
    }

    /// The number, if it is new.
    pub(crate) fn bind(&mut self, now: Duration, peer: SocketAddr) -> Result<Option<u16>, Refused> {
        if self.channels.contains_key(&peer) {
            return Ok(None);
        }
        if self.channels.len() >= MAX_PEERS {
            return Err(Refused::Full);
        }
        let number = self.free_number(now).ok_or(Refused::Full)?;
        self.last = Some(number);
        self.numbers.insert(number, Number::Of(peer));
        self.channels.insert(peer, Channel { number, grant: Grant::default() });
        Ok(Some(number))
    }

    /// The next number in the circle that stands for nobody.
    fn free_number(&self, now: Duration) -> Option<u16> {
        let after = self.last.map_or(*CHANNELS.start(), |last| last + 1);
        let mut circle = CHANNELS.filter(|number| *number >= after).chain(CHANNELS);
        circle.find(|number| match self.numbers.get(number) {
            None => true,
            Some(Number::Of(_)) => false,
            Some(Number::FreeAt(at)) => *at <= now,
        })
    }

    pub(crate) fn release(&mut self, now: Duration, ip: IpAddr) {
        self.permissions.remove(&ip);
        let numbers = &mut self.numbers;
        self.channels.retain(|peer, channel| {
            let keep = peer.ip() != ip;
            if !keep {
                numbers.insert(channel.number, Number::FreeAt(now + QUARANTINE));
            }
            keep
        });
    }

    pub(crate) fn permitted(&mut self, now: Duration, ip: IpAddr) -> bool {
        self.permissions.get_mut(&ip).is_some_and(|grant| grant.give(now))
    }

    pub(crate) fn bound(&mut self, now: Duration, peer: SocketAddr, number: u16) -> bool {
        let channel = self.channels.get_mut(&peer).filter(|channel| channel.number == number);
        channel.is_some_and(|channel| channel.grant.give(now))
    }

    pub(crate) fn not_permitted(&mut self, ip: IpAddr) {
        self.permissions.remove(&ip);
    }

    pub(crate) fn not_bound(&mut self, now: Duration, peer: SocketAddr, number: u16) {
        if self.channels.get(&peer).is_some_and(|channel| channel.number == number) {
            self.channels.remove(&peer);
            self.numbers.insert(number, Number::FreeAt(now + QUARANTINE));
        }
    }

    pub(crate) fn of_channel(&self, number: u16) -> Option<SocketAddr> {
        match self.numbers.get(&number) {
            Some(Number::Of(peer)) => Some(*peer),
            _ => None,
        }
    }

    pub(crate) fn channel(&self, peer: SocketAddr) -> Option<u16> {
        self.channels.get(&peer).filter(|channel| channel.grant.granted).map(|channel| channel.number)
    }

    /// Whether the server granted it: by itself or by a channel.
    pub(crate) fn is_permitted(&self, ip: IpAddr) -> bool {
        let by_itself = self.permissions.get(&ip).is_some_and(|grant| grant.granted);
        by_itself || self.channels.iter().any(|(peer, channel)| peer.ip() == ip && channel.grant.granted)
    }

    /// Whether it was asked for, so that data may come from there.
    pub(crate) fn is_known(&self, ip: IpAddr) -> bool {
        self.permissions.contains_key(&ip) || self.channels.keys().any(|peer| peer.ip() == ip)
    }

    pub(crate) fn next_at(&self) -> Option<Duration> {
        let permissions = self.permissions.values();
        permissions
            .chain(self.channels.values().map(|channel| &channel.grant))
            .filter_map(|grant| grant.renew_at)
            .min()
    }

    /// What is to be renewed now.
    pub(crate) fn due(&mut self, now: Duration) -> Vec<Purpose> {
        let permissions = self
            .permissions
            .iter_mut()
            .filter_map(|(ip, grant)| grant.take_due(now).then_some(Purpose::Permit(*ip)));
        let channels = self.channels.iter_mut().filter_map(|(peer, channel)| {
            channel.grant.take_due(now).then_some(Purpose::Bind(*peer, channel.number))
        });
        permissions.chain(channels).collect()
    }

    /// Everything, for a new allocation.
    pub(crate) fn wanted(&self) -> Vec<Purpose> {
        let permissions = self.permissions.keys().map(|ip| Purpose::Permit(*ip));
        let channels = self.channels.iter().map(|(peer, channel)| Purpose::Bind(*peer, channel.number));
        permissions.chain(channels).collect()
    }

    /// The allocation is gone, and what it granted with it.
    pub(crate) fn reset(&mut self) {
        self.permissions.values_mut().for_each(|grant| *grant = Grant::default());
        self.channels.values_mut().for_each(|channel| channel.grant = Grant::default());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(host: u16) -> SocketAddr {
        let [high, low] = host.to_be_bytes();
        ([198, 51, high, low], 7).into()
    }

    #[test]
    fn tp_23_peers_are_bounded_and_a_number_stands_for_one_peer_at_a_time() {
        let mut peers = Peers::default();
        for host in 0..MAX_PEERS as u16 {
            assert_eq!(peers.permit(peer(host).ip()), Ok(true));
            assert_eq!(peers.bind(Duration::ZERO, peer(host)), Ok(Some(0x4000 + host)));
            assert_eq!(peers.bind(Duration::ZERO, peer(host)), Ok(None));
        }
        assert_eq!(peers.permit(peer(999).ip()), Err(Refused::Full));
        assert_eq!(peers.bind(Duration::ZERO, peer(999)), Err(Refused::Full));
        // The number of a peer that left is taken last, and only after its time.
        peers.release(Duration::ZERO, peer(0).ip());
        assert_eq!(peers.of_channel(0x4000), None);
        assert_eq!(peers.bind(Duration::ZERO, peer(999)), Ok(Some(0x4000 + MAX_PEERS as u16)));
        assert_eq!(peers.of_channel(0x4040), Some(peer(999)));
    }

    #[test]
    fn tp_23_when_all_numbers_were_used_the_first_is_free_after_its_quarantine() {
        let mut peers = Peers::default();
        for host in 0..0x1000 {
            assert_eq!(peers.bind(Duration::ZERO, peer(host)), Ok(Some(0x4000 + host)));
            peers.release(Duration::ZERO, peer(host).ip());
        }
        assert_eq!(peers.bind(QUARANTINE - Duration::from_nanos(1), peer(1)), Err(Refused::Full));
        assert_eq!(peers.bind(QUARANTINE, peer(1)), Ok(Some(0x4000)));
    }
}
