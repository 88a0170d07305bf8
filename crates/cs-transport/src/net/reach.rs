//! What an endpoint was told and has found out about ways to itself and to its peers.

use core::net::{IpAddr, SocketAddr};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cs_identity::NodeId;
use tokio::time::{Duration, Instant};

use super::addresses::canonical;
use super::report::{
    CandidateKind, How, NatFiltering, NatMapping, NatReport, Outcome, Relay, RelayReport, RelayState, Tried,
    Via,
};
use super::routes::is_route;
use crate::stun::{Behaviour, Dependence};
use crate::wire::{Connect, NatHint};

/// Peers whose attempts are remembered.
const PEERS_MAX: usize = 256;
/// Attempts remembered of one peer, those of its last dial.
const TRIED_MAX: usize = 64;
/// Addresses from port mapping that are taken.
const MAPPED_MAX: usize = 8;
/// Relays that are taken.
const RELAYS_MAX: usize = 12;
/// Outside addresses remembered.
const REFLEXIVE_MAX: usize = 8;

/// Addresses that were found to work, remembered with the means.
const FOUND_MAX: usize = 1024;
/// How long an address that was found is good for opening a path.
const FRESH: Duration = Duration::from_secs(15);
/// Answers to questions to meet, remembered for those that come again over another node.
const ANSWERED_MAX: usize = 64;
/// Relayed addresses that have knocked, remembered.
const KNOCKED_MAX: usize = 32;

/// Shared by all tasks of an endpoint.
#[derive(Debug, Default)]
pub(crate) struct Reach(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    relays: Vec<Relay>,
    mapped: Vec<SocketAddr>,
    nat: NatReport,
    evidence: Evidence,
    tried: BTreeMap<NodeId, Vec<Tried>>,
    /// Peers in `tried`, the one dialled longest ago first.
    order: VecDeque<NodeId>,
    found: BTreeMap<(NodeId, SocketAddr), (How, Instant)>,
    vias: BTreeMap<NodeId, Vec<Via>>,
    answered: VecDeque<(NodeId, [u8; 16], Connect)>,
}

/// What the verdict on the NAT rests upon.
#[derive(Debug, Default)]
struct Evidence {
    /// This machine's addresses then.
    home: BTreeSet<IpAddr>,
    /// From what several addresses saw.
    judged: NatMapping,
    /// From whether a relayed address got in.
    knocked: NatFiltering,
    /// From a server with two addresses.
    discovered: Behaviour,
    knocked_from: VecDeque<SocketAddr>,
}

impl Evidence {
    fn mapping(&self) -> NatMapping {
        use NatMapping::{AddressAndPortDependent, AddressDependent, EndpointIndependent, Public};
        match (self.judged, self.discovered.mapping) {
            (Public, _) => Public,
            // It was seen to vary.
            (judged @ (AddressDependent | AddressAndPortDependent), Some(Dependence::None) | None) => judged,
            (_, Some(Dependence::None)) => EndpointIndependent,
            (_, Some(Dependence::Address)) => AddressDependent,
            (_, Some(Dependence::AddressAndPort)) => AddressAndPortDependent,
            (judged, None) => judged,
        }
    }

    fn filtering(&self) -> NatFiltering {
        match self.discovered.filtering {
            Some(Dependence::None) => NatFiltering::EndpointIndependent,
            Some(Dependence::Address) => NatFiltering::AddressDependent,
            Some(Dependence::AddressAndPort) => NatFiltering::AddressAndPortDependent,
            None => self.knocked,
        }
    }
}

impl Reach {
    pub(crate) fn set_relays(&self, mut relays: Vec<Relay>) {
        relays.truncate(RELAYS_MAX);
        let mut known = self.lock();
        let fresh = |relay: &Relay| RelayReport {
            addr: relay.addr,
            transport: relay.transport,
            state: RelayState::Idle,
            rtt: None,
        };
        known.nat.relays = relays.iter().map(fresh).collect();
        known.relays = relays;
    }

    pub(crate) fn set_mapped(&self, mut mapped: Vec<SocketAddr>) {
        mapped.truncate(MAPPED_MAX);
        self.lock().mapped = mapped;
    }

    pub(crate) fn relays(&self) -> Vec<Relay> {
        self.lock().relays.clone()
    }

    pub(crate) fn mapped(&self) -> Vec<SocketAddr> {
        self.lock().mapped.clone()
    }

    /// Notes how a relay is found; the report, if that changed it.
    pub(crate) fn relay_state(&self, relay: &Relay, state: RelayState) -> Option<NatReport> {
        let mut known = self.lock();
        let reports = &mut known.nat.relays;
        let report =
            reports.iter_mut().find(|one| (one.addr, one.transport) == (relay.addr, relay.transport))?;
        if report.state == state {
            return None;
        }
        report.state = state;
        Some(known.nat.clone())
    }

    /// Notes the round trip to a relay.
    pub(crate) fn relay_rtt(&self, relay: SocketAddr, rtt: Duration) {
        let mut known = self.lock();
        let reports = known.nat.relays.iter_mut().filter(|one| canonical(one.addr) == relay);
        reports.for_each(|one| one.rtt = Some(rtt));
    }

    /// Notes what several addresses saw of this node, and how its NAT counts; the report, if that changed it.
    pub(crate) fn judged(&self, mapping: NatMapping, hint: NatHint) -> Option<NatReport> {
        if mapping == NatMapping::Unknown {
            return None;
        }
        let step = match hint {
            NatHint::Sequential(step) => Some(i32::from(step)),
            _ => None,
        };
        let mut known = self.lock();
        known.evidence.judged = mapping;
        known.conclude(step)
    }

    /// Notes what a server with two addresses showed; the report, if that changed it. `own`: the addresses of this machine.
    pub(crate) fn discovered(&self, own: &BTreeSet<IpAddr>, behaviour: Behaviour) -> Option<NatReport> {
        let mut known = self.lock();
        if behaviour.mapped.is_some_and(|mapped| own.contains(&mapped.ip())) {
            known.evidence.judged = NatMapping::Public;
        }
        if behaviour.mapping.is_some() || behaviour.filtering.is_some() {
            let before = known.evidence.discovered.filtering;
            // What came in once shows an open filter; what did not may have been lost.
            let filtering = [before, behaviour.filtering].into_iter().flatten().min();
            known.evidence.discovered = Behaviour { filtering, ..behaviour };
        }
        let step = behaviour.port_step.map(i32::from).or(known.nat.step);
        known.conclude(step)
    }

    /// Notes whether a relayed address got in, unless nothing was learned.
    pub(crate) fn knocked(&self, filtering: NatFiltering) {
        if filtering != NatFiltering::Unknown {
            self.lock().evidence.knocked = filtering;
        }
    }

    /// Whether this relayed address has not knocked before, and has been sent nothing.
    pub(crate) fn is_first_knock(&self, relayed: SocketAddr) -> bool {
        let from = &mut self.lock().evidence.knocked_from;
        let is_first = !from.contains(&relayed);
        if is_first {
            from.truncate(KNOCKED_MAX - 1);
            from.push_front(relayed);
        }
        is_first
    }

    /// This machine has these addresses now: with others, it is in another network, of which nothing is known yet.
    pub(crate) fn moved(&self, home: BTreeSet<IpAddr>) {
        let mut known = self.lock();
        if known.evidence.home != home {
            known.evidence = Evidence { home, ..Evidence::default() };
            known.nat.reflexive.clear();
            let _ = known.conclude(None);
        }
    }

    /// Notes that a peer was found at an address, and by which means.
    pub(crate) fn set_how(&self, peer: NodeId, addr: SocketAddr, how: How) {
        let mut known = self.lock();
        if known.found.len() >= FOUND_MAX {
            let oldest = known.found.iter().min_by_key(|(_, (_, at))| *at).map(|(key, _)| *key);
            oldest.map(|key| known.found.remove(&key));
        }
        known.found.insert((peer, canonical(addr)), (how, Instant::now()));
    }

    pub(crate) fn how(&self, peer: &NodeId, addr: SocketAddr) -> Option<How> {
        self.lock().found.get(&(*peer, canonical(addr))).map(|(how, _)| *how)
    }

    /// Where a peer was found in the last seconds.
    pub(crate) fn found(&self, peer: &NodeId) -> Vec<SocketAddr> {
        let known = self.lock();
        let of_peer = known.found.iter().filter(|((of, _), (_, at))| of == peer && at.elapsed() < FRESH);
        of_peer.map(|((_, addr), _)| *addr).collect()
    }

    /// Notes who could pass signals on to a peer.
    pub(crate) fn set_vias(&self, peer: NodeId, vias: Vec<Via>) {
        let mut known = self.lock();
        if known.vias.len() >= PEERS_MAX && !known.vias.contains_key(&peer) {
            known.vias.pop_first();
        }
        known.vias.insert(peer, vias);
    }

    pub(crate) fn vias(&self, peer: &NodeId) -> Vec<Via> {
        self.lock().vias.get(peer).cloned().unwrap_or_default()
    }

    /// What was answered to this question before.
    pub(crate) fn answered(&self, peer: &NodeId, nonce: &[u8; 16]) -> Option<Connect> {
        let known = self.lock();
        let before = known.answered.iter().find(|(of, to, _)| (of, to) == (peer, nonce));
        before.map(|(.., answer)| answer.clone())
    }

    /// Notes an answer, unless another task was faster: then that one's counts.
    pub(crate) fn set_answered(&self, peer: NodeId, nonce: [u8; 16], answer: Connect) -> Connect {
        if let Some(before) = self.answered(&peer, &nonce) {
            return before;
        }
        let mut known = self.lock();
        if known.answered.len() >= ANSWERED_MAX {
            known.answered.pop_front();
        }
        known.answered.push_back((peer, nonce, answer.clone()));
        answer
    }

    pub(crate) fn nat(&self) -> NatReport {
        self.lock().nat.clone()
    }

    /// Whether an address that somebody sees this node at is its own outside one: neither a route nor a relay's.
    pub(crate) fn is_outside(&self, addr: SocketAddr) -> bool {
        let gives =
            |relay: &RelayReport| matches!(relay.state, RelayState::Allocated { relayed } if relayed == addr);
        !is_route(addr) && !self.lock().nat.relays.iter().any(gives)
    }

    /// Notes an outside address; the report, if that changed it.
    pub(crate) fn observed(&self, addr: SocketAddr) -> Option<NatReport> {
        let addr = canonical(addr);
        let mut known = self.lock();
        let reflexive = &mut known.nat.reflexive;
        if reflexive.first() == Some(&addr) {
            return None;
        }
        let is_new = !reflexive.contains(&addr);
        reflexive.retain(|seen| *seen != addr);
        reflexive.insert(0, addr);
        reflexive.truncate(REFLEXIVE_MAX);
        is_new.then(|| known.nat.clone())
    }

    pub(crate) fn tried(&self, peer: &NodeId) -> Vec<Tried> {
        self.lock().tried.get(peer).cloned().unwrap_or_default()
    }

    /// A new dial begins: what was tried before is forgotten.
    pub(crate) fn begin(&self, peer: NodeId) {
        let mut known = self.lock();
        known.order.retain(|seen| *seen != peer);
        if known.order.len() >= PEERS_MAX
            && let Some(oldest) = known.order.pop_front()
        {
            known.tried.remove(&oldest);
        }
        known.order.push_back(peer);
        known.tried.insert(peer, Vec::new());
    }

    /// Notes what became of one address of `peer`, in the place of what was noted of it before.
    pub(crate) fn note(&self, peer: &NodeId, candidate: SocketAddr, kind: CandidateKind, outcome: Outcome) {
        let candidate = canonical(candidate);
        let mut known = self.lock();
        let Some(tried) = known.tried.get_mut(peer) else { return };
        if let Some(one) = tried.iter_mut().find(|one| (one.candidate, one.kind) == (candidate, kind)) {
            one.outcome = outcome;
        } else if tried.len() < TRIED_MAX {
            tried.push(Tried { candidate, kind, outcome });
        }
    }

    /// What is still being tried no longer is: `outcome` says why.
    pub(crate) fn end(&self, peer: &NodeId, outcome: Outcome) {
        let mut known = self.lock();
        let tried = known.tried.get_mut(peer).into_iter().flatten();
        tried.filter(|one| one.outcome == Outcome::Trying).for_each(|one| one.outcome = outcome);
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    /// The verdict of all evidence; the report, if it is another one.
    fn conclude(&mut self, step: Option<i32>) -> Option<NatReport> {
        let (mapping, filtering) = (self.evidence.mapping(), self.evidence.filtering());
        let varies = matches!(mapping, NatMapping::AddressDependent | NatMapping::AddressAndPortDependent);
        let verdict = (mapping, filtering, step.filter(|_| varies));
        if verdict == (self.nat.mapping, self.nat.filtering, self.nat.step) {
            return None;
        }
        (self.nat.mapping, self.nat.filtering, self.nat.step) = verdict;
        Some(self.nat.clone())
    }
}

#[cfg(test)]
mod tests {
    use cs_identity::SecretKey;

    use super::super::report::{RelayCredentials, RelayTransport};
    use super::super::routes::Routes;
    use super::*;

    fn peer(index: u16) -> NodeId {
        let mut seed = [0; 32];
        seed[..2].copy_from_slice(&index.to_be_bytes());
        SecretKey::from_bytes(seed).node_id()
    }

    #[test]
    fn what_was_tried_is_remembered_within_bounds() {
        let reach = Reach::default();
        let at = |port| SocketAddr::from(([192, 0, 2, 1], port));
        for index in 0..300 {
            reach.begin(peer(index));
        }
        let last = peer(299);
        for port in 0..100 {
            reach.note(&last, at(port), CandidateKind::Known, Outcome::Trying);
        }
        reach.note(&last, at(3), CandidateKind::Known, Outcome::NoSocket);
        reach.end(&last, Outcome::Superseded);
        let tried = reach.tried(&last);
        assert_eq!(tried.len(), TRIED_MAX);
        assert_eq!(tried[3].outcome, Outcome::NoSocket);
        assert_eq!(tried[4].outcome, Outcome::Superseded);
        reach.note(&peer(0), at(1), CandidateKind::Known, Outcome::Trying);
        assert!(reach.tried(&peer(0)).is_empty(), "the oldest peer is forgotten");
        assert_eq!(reach.lock().tried.len(), PEERS_MAX);
    }

    #[test]
    fn an_outside_address_is_told_once() {
        let reach = Reach::default();
        let at = |port| SocketAddr::from(([192, 0, 2, 1], port));
        assert_eq!(reach.observed(at(1)).map(|report| report.reflexive), Some(vec![at(1)]));
        assert_eq!(reach.observed(at(1)), None);
        assert_eq!(reach.observed(at(2)).map(|report| report.reflexive), Some(vec![at(2), at(1)]));
        assert_eq!(reach.observed(at(1)), None, "known, and now the newest again");
        (3..20).for_each(|port| drop(reach.observed(at(port))));
        assert_eq!(reach.nat().reflexive.len(), REFLEXIVE_MAX);
    }

    #[test]
    fn tp_45_all_evidence_together_makes_the_verdict_and_ends_with_the_network() {
        let reach = Reach::default();
        let verdict = || (reach.nat().mapping, reach.nat().filtering, reach.nat().step);
        let (own, mapped) = (BTreeSet::from([IpAddr::from([10, 0, 0, 1])]), ([192, 0, 2, 1], 7).into());
        reach.moved(own.clone());
        assert_eq!(reach.judged(NatMapping::Unknown, NatHint::Unknown), None);
        reach.knocked(NatFiltering::PortIndependent);
        assert!(reach.judged(NatMapping::PortIndependent, NatHint::Cone).is_some());
        assert_eq!(verdict(), (NatMapping::PortIndependent, NatFiltering::PortIndependent, None));
        // A server with two addresses knows better, and what came in once counts more than what did not.
        let seen = |mapping, filtering| {
            let behaviour = Behaviour { mapped: Some(mapped), mapping, filtering, ..Behaviour::default() };
            reach.discovered(&own, behaviour)
        };
        assert!(seen(Some(Dependence::None), Some(Dependence::Address)).is_some());
        assert_eq!(seen(Some(Dependence::None), Some(Dependence::AddressAndPort)), None);
        assert_eq!(verdict(), (NatMapping::EndpointIndependent, NatFiltering::AddressDependent, None));
        // It was seen to vary after all.
        reach.judged(NatMapping::AddressAndPortDependent, NatHint::Sequential(2));
        assert_eq!(verdict().0, NatMapping::AddressAndPortDependent);
        assert_eq!(verdict().2, Some(2));
        reach.moved(own.clone());
        assert_eq!(verdict().2, Some(2), "the network is the same");
        reach.moved(BTreeSet::new());
        assert_eq!(verdict(), (NatMapping::Unknown, NatFiltering::Unknown, None));
    }

    #[test]
    fn tp_45_a_relayed_address_knocks_once() {
        let reach = Reach::default();
        let at = |port| SocketAddr::from(([192, 0, 2, 1], port));
        assert!(reach.is_first_knock(at(1)) && !reach.is_first_knock(at(1)));
        (2..60).for_each(|port| assert!(reach.is_first_knock(at(port))));
        assert_eq!(reach.lock().evidence.knocked_from.len(), KNOCKED_MAX);
    }

    /// TP-30. What travels by a relay is seen to come from it, or from the route to it: nobody may be told to dial either.
    #[test]
    fn neither_a_route_nor_what_a_relay_gave_is_an_outside_address() {
        let (reach, (routes, _arrivals)) = (Reach::default(), Routes::new());
        let [server, given, outside] = [1, 2, 3].map(|port| SocketAddr::from(([192, 0, 2, 1], port)));
        let (transport, node) = (RelayTransport::Udp, peer(0));
        let relay = Relay { addr: server, transport, credentials: RelayCredentials::Node(node) };
        reach.set_relays(vec![relay.clone()]);
        assert!(reach.is_outside(given), "nobody gave it yet");
        reach.relay_state(&relay, RelayState::Allocated { relayed: given }).unwrap();
        let (exit, _leaving) = routes.open_exit(Some(server));
        assert!(!reach.is_outside(given) && !reach.is_outside(routes.show(exit, outside)));
        assert!(reach.is_outside(outside));
    }
}
