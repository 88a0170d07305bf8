//! Noticing that the network is another one: a new address, a cable pulled, a wake from sleep.

use core::net::IpAddr;
use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use noq::{FourTuple, NetworkChangeHint, PathId};
use tokio::time::{Instant, sleep};

use super::endpoint::Shared;
use super::routes::is_route;

/// How often this machine's addresses are looked at: 20 µs of work.
const LOOK: Duration = Duration::from_secs(2);
/// The wall clock ran on for this much longer than the one that stands still in sleep: the machine slept.
const SLEPT: Duration = Duration::from_secs(10);

/// Which paths can go on as they are: those over a relay, and those from an address that is still there.
#[derive(Debug)]
struct Hint {
    here: BTreeSet<IpAddr>,
}

impl NetworkChangeHint for Hint {
    fn is_path_recoverable(&self, _: PathId, path: FourTuple) -> bool {
        let local = path.local_ip().map(|ip| ip.to_canonical());
        is_route(path.remote()) || local.is_none_or(|ip| ip.is_loopback() || self.here.contains(&ip))
    }
}

/// Has every path proven anew, every relay asked anew, and every peer told of the addresses that are here now.
pub(crate) fn changed(shared: &Arc<Shared>) {
    shared.tally.network_changes.add();
    shared.reach.moved(addresses());
    shared.quic.handle_network_change(Some(Arc::new(Hint { here: addresses() })));
    shared.allocations.restart();
    for link in shared.peers().all_sessions() {
        link.renew.notify_one();
    }
}

/// Looks from time to time whether the network is another one. Ends with the endpoint.
pub(crate) async fn watch(shared: Weak<Shared>) {
    let mut before = addresses();
    if let Some(shared) = shared.upgrade() {
        shared.reach.moved(before.clone());
    }
    let mut slept = Slept::start();
    loop {
        sleep(LOOK).await;
        let Some(shared) = shared.upgrade() else { return };
        let now = addresses();
        if now != before || slept.has_slept() {
            before = now;
            changed(&shared);
        }
    }
}

/// Compares the two clocks of the machine.
struct Slept {
    wall: SystemTime,
    awake: Instant,
}

impl Slept {
    fn start() -> Self {
        Self { wall: SystemTime::now(), awake: Instant::now() }
    }

    fn has_slept(&mut self) -> bool {
        let last = core::mem::replace(self, Self::start());
        // A clock that was set back tells nothing.
        let wall = self.wall.duration_since(last.wall).unwrap_or_default();
        wall > self.awake.duration_since(last.awake) + SLEPT
    }
}

/// The addresses of all interfaces of this machine but the loopback and those of one link (IPv6). About 20 µs.
#[must_use]
pub fn addresses() -> BTreeSet<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let ips =
        interfaces.into_iter().filter(|interface| !interface.is_loopback()).map(|interface| interface.ip());
    ips.filter(|ip| !matches!(ip, IpAddr::V6(v6) if v6.is_unicast_link_local())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_slept_notices_it_once() {
        let mut slept = Slept::start();
        assert!(!slept.has_slept());
        slept.wall -= Duration::from_secs(60);
        assert!(slept.has_slept());
        assert!(!slept.has_slept());
    }

    #[test]
    fn paths_from_an_address_that_is_gone_are_made_anew() {
        let here = IpAddr::from([192, 0, 2, 7]);
        let hint = Hint { here: BTreeSet::from([here]) };
        let from = |ip: Option<IpAddr>| FourTuple::new(([198, 51, 100, 1], 9).into(), ip);
        assert!(hint.is_path_recoverable(PathId::ZERO, from(Some(here))));
        assert!(!hint.is_path_recoverable(PathId::ZERO, from(Some(IpAddr::from([192, 0, 2, 8])))));
        assert!(hint.is_path_recoverable(PathId::ZERO, from(None)));
    }
}
