//! What an endpoint was told and has found out about ways to itself and to its peers.

use core::net::SocketAddr;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cs_identity::NodeId;

use super::addresses::canonical;
use super::report::{CandidateKind, NatReport, Outcome, Relay, RelayReport, RelayState, Tried};

/// Peers whose attempts are remembered.
const PEERS_MAX: usize = 256;
/// Attempts remembered of one peer, those of its last dial.
const TRIED_MAX: usize = 64;
/// Addresses from port mapping that are taken.
const MAPPED_MAX: usize = 8;
/// Relays that are taken.
const RELAYS_MAX: usize = 8;
/// Outside addresses remembered.
const REFLEXIVE_MAX: usize = 8;

/// Shared by all tasks of an endpoint.
#[derive(Debug, Default)]
pub(crate) struct Reach(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    relays: Vec<Relay>,
    mapped: Vec<SocketAddr>,
    nat: NatReport,
    tried: BTreeMap<NodeId, Vec<Tried>>,
    /// Peers in `tried`, the one dialled longest ago first.
    order: VecDeque<NodeId>,
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

    pub(crate) fn nat(&self) -> NatReport {
        self.lock().nat.clone()
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

#[cfg(test)]
mod tests {
    use cs_identity::SecretKey;

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
}
