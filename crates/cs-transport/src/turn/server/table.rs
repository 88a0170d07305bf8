//! All allocations, found by client, by relayed address and by deadline, and counted by who holds them. Rule TP-26.

use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};

use super::allocation::Allocation;
use super::{AllocationId, FiveTuple};

#[derive(Debug, Default)]
pub(crate) struct Table {
    next: u64,
    allocations: BTreeMap<AllocationId, Allocation>,
    by_client: BTreeMap<FiveTuple, AllocationId>,
    by_relayed: BTreeMap<SocketAddr, AllocationId>,
    deadlines: BTreeSet<(Duration, AllocationId)>,
    per_user: BTreeMap<String, usize>,
    per_source: BTreeMap<IpAddr, usize>,
}

impl Table {
    pub(crate) fn insert(&mut self, allocation: Allocation) -> AllocationId {
        self.next += 1;
        let id = AllocationId(self.next);
        self.by_client.insert(allocation.client, id);
        self.deadlines.insert((allocation.expires_at, id));
        *self.per_user.entry(allocation.user.clone()).or_default() += 1;
        *self.per_source.entry(source(&allocation.client)).or_default() += 1;
        self.allocations.insert(id, allocation);
        id
    }

    pub(crate) fn remove(&mut self, id: AllocationId) -> Option<Allocation> {
        let allocation = self.allocations.remove(&id)?;
        self.by_client.remove(&allocation.client);
        self.deadlines.remove(&(allocation.expires_at, id));
        if let Some(relayed) = allocation.relayed {
            self.by_relayed.remove(&relayed);
        }
        decrease(&mut self.per_user, &allocation.user);
        decrease(&mut self.per_source, &source(&allocation.client));
        Some(allocation)
    }

    pub(crate) fn set_relayed(&mut self, id: AllocationId, relayed: SocketAddr) {
        if let Some(allocation) = self.allocations.get_mut(&id) {
            allocation.relayed = Some(relayed);
            self.by_relayed.insert(relayed, id);
        }
    }

    pub(crate) fn set_deadline(&mut self, id: AllocationId, expires_at: Duration) {
        if let Some(allocation) = self.allocations.get_mut(&id) {
            self.deadlines.remove(&(allocation.expires_at, id));
            allocation.expires_at = expires_at;
            self.deadlines.insert((expires_at, id));
        }
    }

    pub(crate) fn get_mut(&mut self, id: AllocationId) -> Option<&mut Allocation> {
        self.allocations.get_mut(&id)
    }

    pub(crate) fn id_of(&self, client: &FiveTuple) -> Option<AllocationId> {
        self.by_client.get(client).copied()
    }

    pub(crate) fn of(&self, client: &FiveTuple) -> Option<&Allocation> {
        self.allocations.get(&self.id_of(client)?)
    }

    pub(crate) fn of_mut(&mut self, client: &FiveTuple) -> Option<(AllocationId, &mut Allocation)> {
        let id = self.id_of(client)?;
        self.allocations.get_mut(&id).map(|allocation| (id, allocation))
    }

    pub(crate) fn at(&self, relayed: SocketAddr) -> Option<AllocationId> {
        self.by_relayed.get(&relayed).copied()
    }

    /// Whether any allocation has its address on this host.
    pub(crate) fn is_relay(&self, ip: IpAddr) -> bool {
        let range = SocketAddr::new(ip, 0)..=SocketAddr::new(ip, u16::MAX);
        self.by_relayed.range(range).next().is_some()
    }

    pub(crate) fn first_deadline(&self) -> Option<(Duration, AllocationId)> {
        self.deadlines.first().copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.allocations.len()
    }

    pub(crate) fn of_user(&self, user: &str) -> usize {
        self.per_user.get(user).copied().unwrap_or(0)
    }

    pub(crate) fn of_source(&self, client: &FiveTuple) -> usize {
        self.per_source.get(&source(client)).copied().unwrap_or(0)
    }
}

/// Whom an address stands for: itself, or the first 56 bits of an IPv6 one.
fn source(client: &FiveTuple) -> IpAddr {
    match client.remote.ip().to_canonical() {
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !(u128::MAX >> 56)).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn decrease<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}
