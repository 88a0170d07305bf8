//! Which addresses are tried, in which order, and what a NAT's port numbers tell (TP-34, TP-35).

use core::net::SocketAddr;

use crate::wire::{Candidate, CandidateSource, NatHint};

/// Ports foreseen per sequential NAT: as many new flows as it may see between the question and the checks.
pub(crate) const PREDICTED: i32 = 24;
/// Ports before the one seen last: who asks has dialled the peer just before it looked at how its NAT counts.
pub(crate) const PASSED: i32 = 16;
/// The widest step between two ports that is taken for a sequence.
const STEP_MAX: i32 = 64;

/// What an address that is tried is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum TargetKind {
    /// Of one of the peer's interfaces.
    Host,
    /// Mapped by its router on request.
    Mapped,
    /// As others saw it.
    Reflexive,
    /// Learned from a check that came from there.
    PeerReflexive,
    /// Foreseen from a sequential NAT's steps.
    Predicted,
    /// Hit by one of many random ports or sockets.
    Birthday,
    /// Over a relay.
    Relayed,
}

impl From<CandidateSource> for TargetKind {
    fn from(source: CandidateSource) -> Self {
        match source {
            CandidateSource::Host => Self::Host,
            CandidateSource::Mapped => Self::Mapped,
            CandidateSource::Reflexive => Self::Reflexive,
            CandidateSource::Relayed => Self::Relayed,
        }
    }
}

/// The addresses to check, in order: IPv6 first, since it needs no luck; then, where this side's own NAT counts its flows,
/// the peer's outside addresses before all that would use up numbers; relayed ones last.
pub(crate) fn order(candidates: &[Candidate], local: NatHint) -> Vec<(SocketAddr, TargetKind)> {
    let counts = matches!(local, NatHint::Sequential(_));
    let mut targets = candidates
        .iter()
        .map(|candidate| (candidate.addr, TargetKind::from(candidate.source)))
        .collect::<Vec<_>>();
    targets.sort_by_key(|(addr, kind)| {
        let is_relayed = *kind == TargetKind::Relayed;
        (is_relayed, addr.is_ipv4(), counts && *kind == TargetKind::Host)
    });
    targets
}

/// The ports that a sequential NAT will use next, after the one seen last; then those that it used just before.
pub(crate) fn predicted(candidates: &[Candidate], remote: NatHint) -> Vec<SocketAddr> {
    let NatHint::Sequential(step) = remote else { return Vec::new() };
    let Some(seen) = outside(candidates) else { return Vec::new() };
    let port = |ahead| i32::from(seen.port()) + i32::from(step) * ahead;
    (1..=PREDICTED)
        .chain((1..=PASSED).map(|behind| -behind))
        .filter_map(|ahead| u16::try_from(port(ahead)).ok())
        .filter(|port| *port >= 1024)
        .map(|port| SocketAddr::new(seen.ip(), port))
        .collect()
}

/// The peer's outside IPv4 address: where port games are played.
pub(crate) fn outside(candidates: &[Candidate]) -> Option<SocketAddr> {
    let is_outside =
        |candidate: &&Candidate| candidate.source == CandidateSource::Reflexive && candidate.addr.is_ipv4();
    candidates.iter().find(is_outside).map(|candidate| candidate.addr)
}

/// How a NAT picks ports, from outside addresses that it gave one right after the other, in that order.
#[must_use]
pub fn judge_ports(seen: &[SocketAddr]) -> NatHint {
    let seen = seen.iter().filter(|addr| addr.is_ipv4()).collect::<Vec<_>>();
    let [first, .., last] = seen[..] else { return NatHint::Unknown };
    if seen.iter().all(|addr| addr == &first) {
        return NatHint::Cone;
    }
    let steps = seen
        .windows(2)
        .filter_map(|pair| match pair {
            [one, two] if one.ip() == two.ip() => Some(i32::from(two.port()) - i32::from(one.port())),
            _ => None,
        })
        .collect::<Vec<_>>();
    let forward = last.port() > first.port();
    let is_steady = steps.len() + 1 == seen.len()
        && steps.iter().all(|step| *step != 0 && (*step > 0) == forward && step.abs() <= STEP_MAX);
    let least = steps.iter().copied().min_by_key(|step| step.abs());
    match least.and_then(|step| i16::try_from(step).ok()) {
        // Other flows of the same NAT may have come in between: the smallest step is the NAT's own.
        Some(step) if is_steady => NatHint::Sequential(step),
        _ => NatHint::Symmetric,
    }
}

#[cfg(test)]
mod tests {
    use core::net::IpAddr;

    use super::*;

    fn at(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    fn candidate(source: CandidateSource, addr: &str) -> Candidate {
        Candidate { source, addr: addr.parse().expect("an address") }
    }

    #[test]
    fn tp_34_ports_given_one_after_the_other_tell_how_a_nat_counts() {
        let judge = |ports: &[u16]| judge_ports(&ports.iter().map(|port| at(*port)).collect::<Vec<_>>());
        assert_eq!(judge(&[]), NatHint::Unknown);
        assert_eq!(judge(&[5000]), NatHint::Unknown);
        assert_eq!(judge(&[5000, 5000, 5000]), NatHint::Cone);
        assert_eq!(judge(&[5000, 5001, 5002]), NatHint::Sequential(1));
        assert_eq!(judge(&[5000, 5002, 5008]), NatHint::Sequential(2));
        assert_eq!(judge(&[5008, 5004, 5000]), NatHint::Sequential(-4));
        assert_eq!(judge(&[5000, 5001, 5000]), NatHint::Symmetric);
        assert_eq!(judge(&[5000, 41_234]), NatHint::Symmetric);
        let two = [at(5000), SocketAddr::from(([192, 0, 2, 2], 5001))];
        assert_eq!(judge_ports(&two), NatHint::Symmetric, "another address");
    }

    #[test]
    fn tp_34_ipv6_is_tried_first_and_relays_last() {
        let candidates = [
            candidate(CandidateSource::Relayed, "[2001:db8::9]:1"),
            candidate(CandidateSource::Host, "10.0.0.1:1"),
            candidate(CandidateSource::Reflexive, "192.0.2.1:1"),
            candidate(CandidateSource::Host, "[2001:db8::1]:1"),
        ];
        let kinds =
            |local| order(&candidates, local).into_iter().map(|(addr, _)| addr.port_and_family()).collect();
        let plain: Vec<(bool, u8)> = kinds(NatHint::Cone);
        assert_eq!(plain, [(false, 1), (true, 10), (true, 192), (false, 9)]);
        let counting: Vec<(bool, u8)> = kinds(NatHint::Sequential(1));
        assert_eq!(counting, [(false, 1), (true, 192), (true, 10), (false, 9)]);
    }

    /// Whether it is IPv4, and a byte that tells the addresses of a test apart.
    trait Short {
        fn port_and_family(&self) -> (bool, u8);
    }

    impl Short for SocketAddr {
        fn port_and_family(&self) -> (bool, u8) {
            match self.ip() {
                IpAddr::V4(ip) => (true, ip.octets()[0]),
                IpAddr::V6(ip) => (false, ip.octets()[15]),
            }
        }
    }

    #[test]
    fn tp_35_foreseen_ports_stay_in_range() {
        let seen = [candidate(CandidateSource::Reflexive, "192.0.2.1:65530")];
        let ports = predicted(&seen, NatHint::Sequential(2));
        let ports = ports.iter().map(SocketAddr::port).collect::<Vec<_>>();
        assert_eq!(ports[..4], [65_532, 65_534, 65_528, 65_526]);
        assert_eq!(ports.len(), 2 + 16);
        assert_eq!(predicted(&seen, NatHint::Sequential(-1)).len(), 24 + 5);
        assert!(predicted(&seen, NatHint::Symmetric).is_empty());
    }
}
