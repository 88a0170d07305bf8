//! Routes: how a datagram leaves this node, and whence one came (TP-30).
//!
//! noq knows addresses only. A way that is not simply "from the bound sockets to there" is shown to it as an address out
//! of a private prefix, whose lower half numbers the way.

use core::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use super::addresses::canonical;

/// The upper half of all addresses that stand for a route: unique local (RFC 4193), the 40 bits spell "cosync".
const PREFIX: u64 = 0xfd63_6f73_796e_6300;
/// Routes remembered; then the one unused for longest is forgotten.
const ROUTES_MAX: usize = 4096;
/// Datagrams that may wait for an exit.
const EXIT_QUEUE: usize = 512;
/// Datagrams from exits that may wait for noq.
const ARRIVALS: usize = 1024;

/// A way out beside the bound sockets: an allocation on a relay, or a socket of the birthday method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Exit(u32);

/// A datagram to leave by an exit.
pub(crate) type Leaving = (SocketAddr, Vec<u8>);
/// A datagram that came in by an exit, under the address that stands for its route.
pub(crate) type Arrived = (SocketAddr, Bytes);

/// Shared by the socket, its senders, and whoever opens exits.
#[derive(Debug)]
pub(crate) struct Routes {
    table: Mutex<Table>,
    arrivals: mpsc::Sender<Arrived>,
    pulses: RwLock<BTreeMap<SocketAddr, Vec<Arc<Pulse>>>>,
    pulses_len: AtomicUsize,
}

#[derive(Debug, Default)]
struct Table {
    exits: BTreeMap<Exit, Way>,
    by_number: BTreeMap<u64, (Exit, SocketAddr, u64)>,
    by_route: BTreeMap<(Exit, SocketAddr), u64>,
    next_exit: u32,
    next_number: u64,
    /// Counts uses, to know the route unused for longest.
    uses: u64,
}

#[derive(Debug)]
struct Way {
    sender: mpsc::Sender<Leaving>,
    /// The relay, if it is one.
    relay: Option<SocketAddr>,
}

/// Tells who watches a path that something was sent on it, once per [`Pulse::arm`].
#[derive(Debug, Default)]
pub(crate) struct Pulse {
    is_armed: AtomicBool,
    notify: Notify,
}

impl Pulse {
    pub(crate) fn arm(&self) {
        self.is_armed.store(true, Ordering::Release);
    }

    pub(crate) async fn sent(&self) {
        self.notify.notified().await;
    }

    fn beat(&self) {
        if self.is_armed.swap(false, Ordering::AcqRel) {
            self.notify.notify_one();
        }
    }
}

impl Routes {
    pub(crate) fn new() -> (Arc<Self>, mpsc::Receiver<Arrived>) {
        let (arrivals, receiver) = mpsc::channel(ARRIVALS);
        let (table, pulses) = (Mutex::default(), RwLock::default());
        (Arc::new(Self { table, arrivals, pulses, pulses_len: AtomicUsize::new(0) }), receiver)
    }

    /// A new exit. Whoever holds the receiver sends what comes out of it, and feeds [`Self::arrived`].
    pub(crate) fn open_exit(&self, relay: Option<SocketAddr>) -> (Exit, mpsc::Receiver<Leaving>) {
        let (sender, receiver) = mpsc::channel(EXIT_QUEUE);
        let mut table = self.lock();
        table.next_exit += 1;
        let exit = Exit(table.next_exit);
        table.exits.insert(exit, Way { sender, relay });
        (exit, receiver)
    }

    /// Forgets an exit and its routes: what is sent there is lost from now on.
    pub(crate) fn close_exit(&self, exit: Exit) {
        let mut table = self.lock();
        table.exits.remove(&exit);
        table.by_route.retain(|(of, _), _| *of != exit);
        table.by_number.retain(|_, (of, ..)| *of != exit);
    }

    /// The address that stands for the route to `peer` by `exit`.
    pub(crate) fn show(&self, exit: Exit, peer: SocketAddr) -> SocketAddr {
        let peer = canonical(peer);
        let mut table = self.lock();
        table.uses += 1;
        let uses = table.uses;
        if let Some(number) = table.by_route.get(&(exit, peer)).copied() {
            if let Some((.., used)) = table.by_number.get_mut(&number) {
                *used = uses;
            }
            return address(number);
        }
        if table.by_number.len() >= ROUTES_MAX {
            table.forget_oldest();
        }
        table.next_number += 1;
        let number = table.next_number;
        table.by_number.insert(number, (exit, peer, uses));
        table.by_route.insert((exit, peer), number);
        address(number)
    }

    /// What an address stands for: the exit's relay, if it is one, and the peer's address. `None` for an ordinary address.
    pub(crate) fn behind(&self, addr: SocketAddr) -> Option<(Option<SocketAddr>, SocketAddr)> {
        let number = number(addr)?;
        let table = self.lock();
        let (exit, peer, _) = table.by_number.get(&number)?;
        Some((table.exits.get(exit)?.relay, *peer))
    }

    /// Sends what was addressed to a route, datagram by datagram. Drops what finds no room, as a network may.
    pub(crate) fn send(&self, to: SocketAddr, contents: &[u8], segment: Option<usize>) {
        let Some(number) = number(to) else { return };
        let mut table = self.lock();
        table.uses += 1;
        let uses = table.uses;
        let Some((exit, peer, used)) = table.by_number.get_mut(&number) else { return };
        *used = uses;
        let (exit, peer) = (*exit, *peer);
        let Some(way) = table.exits.get(&exit) else { return };
        for datagram in contents.chunks(segment.unwrap_or(contents.len()).max(1)) {
            let _ = way.sender.try_send((peer, datagram.to_vec()));
        }
    }

    /// Hands a datagram that came in by `exit` to the socket's reader.
    pub(crate) fn arrived(&self, exit: Exit, peer: SocketAddr, datagram: Bytes) {
        let from = self.show(exit, peer);
        let _ = self.arrivals.try_send((from, datagram));
    }

    /// From now on `pulse` beats when something is sent to `addr`. Ends with [`Self::unwatch`].
    pub(crate) fn watch(&self, addr: SocketAddr, pulse: &Arc<Pulse>) {
        let mut pulses = self.pulses.write().unwrap_or_else(PoisonError::into_inner);
        pulses.entry(canonical(addr)).or_default().push(pulse.clone());
        self.pulses_len.store(pulses.len(), Ordering::Release);
    }

    /// `pulse` beats no more for `addr`.
    pub(crate) fn unwatch(&self, addr: SocketAddr, pulse: &Arc<Pulse>) {
        let mut pulses = self.pulses.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(watchers) = pulses.get_mut(&canonical(addr)) {
            let index = watchers.iter().position(|watcher| Arc::ptr_eq(watcher, pulse));
            index.map(|index| watchers.swap_remove(index));
            if watchers.is_empty() {
                pulses.remove(&canonical(addr));
            }
        }
        self.pulses_len.store(pulses.len(), Ordering::Release);
    }

    /// Something was sent to an address.
    pub(crate) fn beat(&self, to: SocketAddr) {
        if self.pulses_len.load(Ordering::Acquire) == 0 {
            return;
        }
        let pulses = self.pulses.read().unwrap_or_else(PoisonError::into_inner);
        pulses.get(&canonical(to)).into_iter().flatten().for_each(|pulse| pulse.beat());
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn forget_oldest(&mut self) {
        let oldest = self.by_number.iter().min_by_key(|(_, (.., used))| *used).map(|(number, _)| *number);
        if let Some((exit, peer, _)) = oldest.and_then(|number| self.by_number.remove(&number)) {
            self.by_route.remove(&(exit, peer));
        }
    }
}

/// Whether this address stands for a route: nothing on a network has such a one.
pub(crate) fn is_route(addr: SocketAddr) -> bool {
    number(addr).is_some()
}

fn address(number: u64) -> SocketAddr {
    let ip = Ipv6Addr::from_bits(u128::from(PREFIX) << 64 | u128::from(number));
    SocketAddr::V6(SocketAddrV6::new(ip, 1, 0, 0))
}

fn number(addr: SocketAddr) -> Option<u64> {
    let SocketAddr::V6(v6) = addr else { return None };
    let [upper, lower] = [v6.ip().to_bits() >> 64, v6.ip().to_bits() & u128::from(u64::MAX)];
    (upper == u128::from(PREFIX)).then(|| u64::try_from(lower).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    // TP-30
    #[test]
    fn tp_30_a_route_has_one_address_and_leads_where_it_came_from() {
        let (routes, mut arrivals) = Routes::new();
        let relay = SocketAddr::from(([203, 0, 113, 1], 3478));
        let (exit, mut leaving) = routes.open_exit(Some(relay));
        routes.arrived(exit, peer(7), Bytes::from_static(b"in"));
        let (from, bytes) = arrivals.try_recv().expect("it arrived");
        assert_eq!((from, &bytes[..]), (routes.show(exit, peer(7)), &b"in"[..]));
        assert_eq!(routes.behind(from), Some((Some(relay), peer(7))));
        assert_ne!(routes.show(exit, peer(8)), from);
        routes.send(from, b"onetwo3", Some(3));
        let sent = core::iter::from_fn(|| leaving.try_recv().ok()).collect::<Vec<_>>();
        assert_eq!(sent, [b"one".to_vec(), b"two".to_vec(), b"3".to_vec()].map(|bytes| (peer(7), bytes)));
        routes.close_exit(exit);
        assert_eq!(routes.behind(from), None);
        assert!(is_route(from) && !is_route(peer(7)));
    }

    #[test]
    fn tp_30_routes_are_bounded_and_those_in_use_stay() {
        let (routes, _arrivals) = Routes::new();
        let (exit, _leaving) = routes.open_exit(None);
        let kept = routes.show(exit, peer(1));
        let oldest = routes.show(exit, peer(2));
        for index in 0..ROUTES_MAX as u32 {
            routes.show(exit, SocketAddr::from((index.to_be_bytes(), 1)));
            routes.send(kept, b"x", None);
        }
        assert_eq!(routes.lock().by_number.len(), ROUTES_MAX);
        assert_eq!(routes.lock().by_route.len(), ROUTES_MAX);
        assert_eq!(routes.behind(oldest), None);
        assert_eq!(routes.behind(kept), Some((None, peer(1))));
    }

    #[tokio::test]
    async fn tp_38_a_pulse_beats_once_for_each_time_it_is_armed() {
        let (routes, _arrivals) = Routes::new();
        let pulse = Arc::new(Pulse::default());
        routes.watch(peer(1), &pulse);
        routes.beat(peer(1));
        assert!(futures::FutureExt::now_or_never(pulse.sent()).is_none(), "not armed");
        pulse.arm();
        routes.beat(peer(2));
        routes.beat(peer(1));
        routes.beat(peer(1));
        pulse.sent().await;
        assert!(futures::FutureExt::now_or_never(pulse.sent()).is_none(), "once");
        routes.unwatch(peer(1), &pulse);
        assert_eq!(routes.pulses_len.load(Ordering::Acquire), 0);
    }
}
