//! Finding nodes on the local network by mDNS (RFC 6762) and DNS service discovery (RFC 6763). Rule TP-16.
//!
//! What is announced is the node ID, the port and a few texts, in clear to everybody on the link. What is heard is hearsay:
//! only a session proves who is there.

use core::net::{SocketAddr, SocketAddrV6};
use std::collections::{BTreeMap, BTreeSet};

use cs_identity::NodeId;
use mdns_sd::{ResolvedService, ScopedIp, ServiceDaemon, ServiceEvent, ServiceInfo};
use thiserror::Error;

/// The service under which nodes are announced.
const SERVICE: &str = "_cosync._udp.local.";
/// Addresses taken from one announcement.
const ADDRESSES_MAX: usize = 16;
/// Texts taken from one announcement, and bytes of each.
const TEXTS_MAX: usize = 16;
const TEXT_BYTES_MAX: usize = 255;

/// Announces this node on every interface and listens for others, until it is dropped. Runs a thread of its own.
pub struct LanDiscovery {
    daemon: ServiceDaemon,
    /// The announced port, and the announcement's full name.
    announced: Option<(u16, String)>,
    events: mdns_sd::Receiver<ServiceEvent>,
    me: NodeId,
}

/// A node was heard of, or said farewell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LanEvent {
    /// Somebody says that `peer` is at `addrs`. Repeated when an announcement changes.
    Found {
        /// Who, unproven.
        peer: NodeId,
        /// Where: at most 16 addresses, those of other machines first.
        addrs: Vec<SocketAddr>,
        /// What the announcement says beside: at most 16 texts of up to 255 bytes.
        txt: BTreeMap<String, Vec<u8>>,
    },
    /// The announcement was withdrawn or has expired.
    Lost {
        /// Whose.
        peer: NodeId,
    },
}

/// Why the local network cannot be searched. Nothing is left running.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LanError {
    /// No socket on the mDNS port, or no thread.
    #[error("mDNS is not available on this machine")]
    Unavailable,
    /// A text is too long, or has a key that DNS service discovery does not allow.
    #[error("the announcement is malformed")]
    Malformed,
}

impl LanDiscovery {
    /// Announces `me` at `port` (of all interfaces' addresses, followed when they change) with `txt`, and browses. Without
    /// a port it only listens.
    ///
    /// # Errors
    /// [`LanError`].
    pub fn start(me: NodeId, port: Option<u16>, txt: &[(&str, &str)]) -> Result<Self, LanError> {
        check(txt)?;
        let daemon = ServiceDaemon::new().map_err(|_| LanError::Unavailable)?;
        let events = daemon.browse(SERVICE).map_err(|_| LanError::Unavailable)?;
        let mut discovery = Self { daemon, announced: None, events, me };
        if let Some(port) = port {
            discovery.register(port, txt)?;
        }
        Ok(discovery)
    }

    /// The next event; `None` when discovery has ended. Cancel-safe. Peers are not remembered here: the caller bounds how
    /// many it keeps.
    pub async fn recv(&mut self) -> Option<LanEvent> {
        loop {
            match self.events.recv_async().await {
                Ok(event) => {
                    if let Some(event) = self.read(&event) {
                        return Some(event);
                    }
                }
                // The daemon drops a listener that falls behind; a new one hears everything again.
                Err(_) => self.events = self.daemon.browse(SERVICE).ok()?,
            }
        }
    }

    /// Asks the network at once who is there, and hears again of everybody who was heard before. Unasked, the questions
    /// come ever more rarely, since most people announce themselves; but an announcement can be lost.
    pub fn search(&mut self) {
        // A daemon that has ended shows in `recv`.
        if let Ok(events) = self.daemon.browse(SERVICE) {
            self.events = events;
        }
    }

    /// Announces other texts from now on, at the same port; does nothing without one.
    ///
    /// The announcement is replaced, not begun anew: a second one of the same name would be taken for another machine's, and
    /// give way to the first.
    ///
    /// # Errors
    /// [`LanError`]; the old announcement stands.
    pub fn announce(&mut self, txt: &[(&str, &str)]) -> Result<(), LanError> {
        check(txt)?;
        match self.announced {
            Some((port, _)) => self.register(port, txt),
            None => Ok(()),
        }
    }

    fn register(&mut self, port: u16, txt: &[(&str, &str)]) -> Result<(), LanError> {
        let name = self.me.to_string();
        // Each node is a host of its own, so that several on one machine do not answer for each other.
        let host = format!("{name}.local.");
        let info = ServiceInfo::new(SERVICE, &name, &host, "", port, txt).map_err(|_| LanError::Malformed)?;
        let info = info.enable_addr_auto();
        let full_name = info.get_fullname().to_owned();
        self.daemon.register(info).map_err(|_| LanError::Unavailable)?;
        self.announced = Some((port, full_name));
        Ok(())
    }

    fn read(&self, event: &ServiceEvent) -> Option<LanEvent> {
        match event {
            ServiceEvent::ServiceResolved(service) => {
                let peer = node_of(&service.fullname).filter(|peer| *peer != self.me)?;
                Some(LanEvent::Found { peer, addrs: addresses(service), txt: texts(service) })
            }
            ServiceEvent::ServiceRemoved(_, full_name) => {
                let peer = node_of(full_name).filter(|peer| *peer != self.me)?;
                Some(LanEvent::Lost { peer })
            }
            _ => None,
        }
    }
}

impl Drop for LanDiscovery {
    fn drop(&mut self) {
        // Both are requests to the daemon's thread, which then ends; there is nobody to tell if they fail.
        if let Some((_, full_name)) = &self.announced {
            let _ = self.daemon.unregister(full_name);
        }
        let _ = self.daemon.shutdown();
    }
}

impl core::fmt::Debug for LanDiscovery {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("LanDiscovery").field("announced", &self.announced).finish_non_exhaustive()
    }
}

fn check(txt: &[(&str, &str)]) -> Result<(), LanError> {
    let is_short = |(key, value): &(&str, &str)| key.len() + value.len() < TEXT_BYTES_MAX;
    if txt.len() <= TEXTS_MAX && txt.iter().all(is_short) { Ok(()) } else { Err(LanError::Malformed) }
}

fn node_of(full_name: &str) -> Option<NodeId> {
    full_name.strip_suffix(SERVICE)?.strip_suffix('.')?.parse().ok()
}

fn addresses(service: &ResolvedService) -> Vec<SocketAddr> {
    if service.port == 0 {
        return Vec::new();
    }
    let sorted = service
        .addresses
        .iter()
        .take(4 * ADDRESSES_MAX)
        .map(|address| match address {
            ScopedIp::V6(v6) if v6.addr().is_unicast_link_local() => {
                SocketAddr::V6(SocketAddrV6::new(*v6.addr(), service.port, 0, v6.scope_id().index))
            }
            other => SocketAddr::new(other.to_ip_addr(), service.port),
        })
        .map(|address| (address.ip().is_loopback(), address))
        .collect::<BTreeSet<_>>();
    sorted.into_iter().map(|(_, address)| address).take(ADDRESSES_MAX).collect()
}

fn texts(service: &ResolvedService) -> BTreeMap<String, Vec<u8>> {
    service
        .txt_properties
        .iter()
        .filter(|property| property.key().len() <= TEXT_BYTES_MAX)
        .filter_map(|property| Some((property.key().to_owned(), property.val()?.to_vec())))
        .filter(|(_, value)| value.len() <= TEXT_BYTES_MAX)
        .take(TEXTS_MAX)
        .collect()
}

#[cfg(test)]
mod tests {
    use cs_identity::SecretKey;

    use super::*;

    fn node(seed: u8) -> NodeId {
        SecretKey::from_bytes([seed; 32]).node_id()
    }

    #[test]
    fn tp_16_only_a_node_id_under_our_service_names_a_peer() {
        let id = node(1);
        assert_eq!(node_of(&format!("{id}.{SERVICE}")), Some(id));
        assert_eq!(node_of(&format!("printer.{SERVICE}")), None);
        assert_eq!(node_of(&format!("{id}._http._tcp.local.")), None);
        assert_eq!(node_of(SERVICE), None);
    }

    #[test]
    fn tp_16_a_text_that_dns_cannot_carry_is_refused() {
        let long = "x".repeat(300);
        let started = LanDiscovery::start(node(1), Some(1), &[("k", &long)]);
        assert_eq!(started.err(), Some(LanError::Malformed));
    }
}
