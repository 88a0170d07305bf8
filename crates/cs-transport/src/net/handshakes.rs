//! How many handshakes are under way, and whose (TP-2).

use core::net::SocketAddr;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::rpc::Source;

/// Handshakes under way before further ones are left unanswered.
pub(crate) const HANDSHAKES_MAX: usize = 1024;
/// Of one source (an IPv4 address, an IPv6 /56): whoever has one address cannot take all places.
const PER_SOURCE: usize = 128;

/// What to do with a first packet.
#[derive(Debug)]
pub(crate) enum Admission {
    Accept(Place),
    /// The sender has to prove its address first.
    Retry,
    Ignore,
}

/// Counts handshakes from their first packet until nothing of them is left.
#[derive(Debug)]
pub(crate) struct Handshakes {
    unvalidated_max: usize,
    under_way: Mutex<UnderWay>,
}

#[derive(Debug, Default)]
struct UnderWay {
    total: usize,
    by_source: BTreeMap<Source, usize>,
}

impl Handshakes {
    /// `unvalidated_max`: how many may be under way before each further one has to prove its address.
    pub(crate) fn new(unvalidated_max: usize) -> Self {
        Self { unvalidated_max, under_way: Mutex::default() }
    }

    /// A place for a handshake from `from`, whose address is proven or not.
    pub(crate) fn admit(self: &Arc<Self>, from: SocketAddr, is_validated: bool) -> Admission {
        let source = Source::of(from);
        let mut under_way = self.lock();
        let own = under_way.by_source.get(&source).copied().unwrap_or_default();
        if under_way.total >= HANDSHAKES_MAX || own >= PER_SOURCE {
            return Admission::Ignore;
        }
        if under_way.total >= self.unvalidated_max && !is_validated {
            return Admission::Retry;
        }
        under_way.total += 1;
        under_way.by_source.insert(source, own + 1);
        Admission::Accept(Place { handshakes: self.clone(), source })
    }

    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one handshake, free again when it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    handshakes: Arc<Handshakes>,
    source: Source,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut under_way = self.handshakes.lock();
        under_way.total -= 1;
        if let Some(own) = under_way.by_source.get_mut(&self.source) {
            *own -= 1;
            if *own == 0 {
                under_way.by_source.remove(&self.source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(address: u32) -> SocketAddr {
        SocketAddr::from((address.to_be_bytes(), 1))
    }

    // TP-2
    #[test]
    fn tp_2_strangers_above_the_limit_prove_their_address_and_places_come_back() {
        let handshakes = Arc::new(Handshakes::new(2));
        let places = [1, 2].map(|address| handshakes.admit(from(address << 24), false));
        assert!(places.iter().all(|place| matches!(place, Admission::Accept(_))));
        assert!(matches!(handshakes.admit(from(3 << 24), false), Admission::Retry));
        assert!(
            matches!(handshakes.admit(from(3 << 24), true), Admission::Accept(_)),
            "and its place is free at once"
        );
        drop(places);
        assert!(matches!(handshakes.admit(from(3 << 24), false), Admission::Accept(_)));
        let left = handshakes.lock();
        assert_eq!((left.total, left.by_source.len()), (0, 0));
    }

    // TP-2
    #[test]
    fn tp_2_one_source_never_takes_all_places() {
        let handshakes = Arc::new(Handshakes::new(usize::MAX));
        let admit = |address| match handshakes.admit(from(address), true) {
            Admission::Accept(place) => Some(place),
            _ => None,
        };
        let loud: Vec<_> = (0..HANDSHAKES_MAX).map_while(|_| admit(1 << 24)).collect();
        assert_eq!(loud.len(), PER_SOURCE);
        let others: Vec<_> = (512..).map_while(|address| admit(address << 16)).collect();
        assert_eq!(loud.len() + others.len(), HANDSHAKES_MAX);
    }
}
