//! Hubs: nodes that pass signals on and relay for those that strangers cannot reach (NODE-12).

use std::collections::BTreeSet;
use std::net::SocketAddr;

use cs_dht::Contact;
use cs_identity::NodeId;
use cs_transport::net::{Relay, RelayCredentials, RelayTransport, Via};
use minicbor::bytes::ByteArray;

/// The extension of peer and provider records that names the publisher's hubs.
pub(crate) const EXTENSION: u8 = 1;

/// Hubs that a node keeps a session with while strangers cannot reach it, and that its record names.
const HOMES_MAX: usize = 3;

/// Addresses of a hub in a record.
const ADDRS_MAX: usize = 2;

/// Relays that the transport is told of: of three hubs, by both families, over UDP and TCP.
const RELAYS_MAX: usize = 12;

/// Nodes that are asked to pass a signal on, at most: the transport takes the first ones.
const VIA_MAX: usize = 6;

/// Where hubs relay over TCP, so that networks that block all but the web let it pass.
const WEB_PORT: u16 = 443;

/// The hubs that this node may use, and whether it needs them.
#[derive(Debug, Default)]
pub(crate) struct Hubs {
    /// Named by whoever runs this node, by invitations, and by the network's configuration.
    known: Vec<Contact>,
    /// Further relays, as configured: they come first.
    relays: Vec<Relay>,
    /// Whether strangers cannot reach this node, as far as it knows.
    pub(crate) hidden: bool,
}

impl Hubs {
    /// `relays`: what the user configured. Those that are nodes are hubs as well.
    pub(crate) fn new(bootstrap: &[Contact], relays: Vec<Relay>, hidden: bool) -> Self {
        let mut hubs = Self { known: Vec::new(), relays, hidden };
        let nodes = hubs.relays.iter().filter_map(|relay| match relay.credentials {
            RelayCredentials::Node(id) => Some(Contact { id, addrs: vec![relay.addr] }),
            RelayCredentials::Password { .. } => None,
        });
        let nodes: Vec<Contact> = nodes.collect();
        hubs.learn(&nodes);
        hubs.learn(bootstrap);
        hubs
    }

    /// Takes further hubs. `true` if one is new.
    pub(crate) fn learn(&mut self, hubs: &[Contact]) -> bool {
        let before = self.known.len();
        for hub in hubs.iter().filter(|hub| !hub.addrs.is_empty()) {
            match self.known.iter_mut().find(|known| known.id == hub.id) {
                Some(known) => {
                    let fresh = hub.addrs.iter().filter(|addr| !known.addrs.contains(addr)).copied();
                    let fresh: Vec<SocketAddr> = fresh.collect();
                    known.addrs.extend(fresh);
                }
                None => self.known.push(hub.clone()),
            }
        }
        self.known.len() > before
    }

    /// All hubs that are known.
    pub(crate) fn known(&self) -> &[Contact] {
        &self.known
    }

    /// Hubs to keep a session with: none while strangers can reach this node.
    pub(crate) fn homes(&self) -> impl Iterator<Item = &Contact> {
        self.known.iter().take(if self.hidden { HOMES_MAX } else { 0 })
    }

    /// The relays to use, best first: those that the user named, then the hubs by UDP, then by TCP.
    pub(crate) fn relays(&self, me: NodeId) -> Vec<Relay> {
        let hubs: Vec<&Contact> = self.known.iter().filter(|hub| hub.id != me).take(HOMES_MAX).collect();
        let relay = |hub: &Contact, addr: SocketAddr, transport| Relay {
            addr,
            transport,
            credentials: RelayCredentials::Node(hub.id),
        };
        // One of each family: which of them this machine speaks is known to the transport.
        let places = hubs.iter().flat_map(|hub| {
            let of = |is_v4| hub.addrs.iter().find(move |addr| addr.is_ipv4() == is_v4);
            [true, false].into_iter().filter_map(of).map(|addr| (*hub, *addr))
        });
        let by_udp = places.clone().map(|(hub, addr)| relay(hub, addr, RelayTransport::Udp));
        let by_tcp =
            places.map(|(hub, addr)| relay(hub, SocketAddr::new(addr.ip(), WEB_PORT), RelayTransport::Tcp));
        let mut relays = self.relays.clone();
        for relay in by_udp.chain(by_tcp) {
            if !relays.iter().any(|other| (other.addr, other.transport) == (relay.addr, relay.transport)) {
                relays.push(relay);
            }
        }
        relays.truncate(RELAYS_MAX);
        relays
    }

    /// Who may pass a signal on to a peer: the hubs that its record names, members that both know, then hubs of this
    /// node; of each those first that are connected.
    pub(crate) fn via(
        &self,
        peer: &NodeId,
        of_peer: &[Contact],
        members: impl Iterator<Item = NodeId>,
        connected: &BTreeSet<NodeId>,
    ) -> Vec<Via> {
        let members = members.map(|id| Contact { id, addrs: Vec::new() });
        let all = of_peer.iter().cloned().chain(members).chain(self.known.iter().cloned());
        let mut via: Vec<Via> = Vec::new();
        for Contact { id, addrs } in all.filter(|contact| contact.id != *peer) {
            if via.len() < VIA_MAX && !via.iter().any(|other| other.node == id) {
                via.push(Via { node: id, addrs });
            }
        }
        via.sort_by_key(|via| !connected.contains(&via.node));
        via
    }

    /// What a record says of this node's hubs; nothing where strangers reach it.
    pub(crate) fn extension(&self, connected: &BTreeSet<NodeId>) -> Option<Vec<u8>> {
        let hubs = self.homes().filter(|hub| connected.contains(&hub.id));
        let hubs: Vec<(ByteArray<32>, Vec<SocketAddr>)> = hubs
            .map(|hub| ((*hub.id.as_bytes()).into(), hub.addrs.iter().take(ADDRS_MAX).copied().collect()))
            .collect();
        let bytes = || minicbor::to_vec(&hubs).expect("writing to a vector cannot fail");
        (!hubs.is_empty()).then(bytes)
    }

    /// Reads [`Self::extension`]. Hearsay that its publisher signed: what is not understood is left out.
    pub(crate) fn read_extension(bytes: Option<&[u8]>) -> Vec<Contact> {
        type Named = Vec<(ByteArray<32>, Vec<SocketAddr>)>;
        let named: Named = bytes.and_then(|bytes| minicbor::decode(bytes).ok()).unwrap_or_default();
        let contact = |(id, mut addrs): (ByteArray<32>, Vec<SocketAddr>)| {
            addrs.truncate(ADDRS_MAX);
            Some(Contact { id: NodeId::from_bytes(&id).ok()?, addrs })
        };
        named.into_iter().take(HOMES_MAX).filter_map(contact).collect()
    }
}

#[cfg(test)]
mod tests {
    //! NODE-12.

    use super::*;

    fn id(seed: u8) -> NodeId {
        cs_identity::SecretKey::from_bytes([seed; 32]).node_id()
    }

    fn hub(seed: u8) -> Contact {
        Contact {
            id: id(seed),
            addrs: vec![([62, 0, 0, seed], 4040).into(), ([62, 0, 1, seed], 4040).into()],
        }
    }

    #[test]
    fn only_a_hidden_node_keeps_hubs_and_names_those_that_are_connected() {
        let contacts = [1, 2, 3, 4].map(hub);
        let mut hubs = Hubs::new(&contacts, Vec::new(), true);
        let connected = BTreeSet::from([id(2), id(3), id(4)]);
        assert_eq!(hubs.homes().count(), 3);
        let named = Hubs::read_extension(hubs.extension(&connected).as_deref());
        assert_eq!(named, [hub(2), hub(3)]);
        hubs.hidden = false;
        assert_eq!((hubs.homes().count(), hubs.extension(&connected)), (0, None));
    }

    #[test]
    fn an_extension_of_strangers_is_read_within_bounds() {
        let many: Vec<(ByteArray<32>, Vec<SocketAddr>)> = (1..20)
            .map(|seed| ((*id(seed).as_bytes()).into(), vec![([62, 0, 0, seed], 1).into(); 9]))
            .collect();
        let read = Hubs::read_extension(Some(&minicbor::to_vec(&many).unwrap()));
        assert_eq!((read.len(), read[0].addrs.len()), (HOMES_MAX, ADDRS_MAX));
        for garbage in [&b""[..], b"\xff", b"\x9a\xff\xff\xff\xff", b"text"] {
            assert_eq!(Hubs::read_extension(Some(garbage)), []);
        }
    }

    #[test]
    fn who_is_connected_passes_signals_on_first_and_nobody_twice() {
        let hubs = Hubs::new(&[hub(1), hub(2)], Vec::new(), false);
        let connected = BTreeSet::from([id(2), id(5)]);
        let via = hubs.via(&id(9), &[hub(1), hub(9)], [id(5)].into_iter(), &connected);
        let order: Vec<NodeId> = via.iter().map(|via| via.node).collect();
        assert_eq!(order, [id(5), id(2), id(1)]);
    }

    #[test]
    fn configured_relays_come_first_and_hubs_relay_by_udp_and_by_web_tcp() {
        let own = Relay {
            addr: ([62, 0, 0, 9], 3478).into(),
            transport: RelayTransport::Udp,
            credentials: RelayCredentials::Password { username: "u".into(), password: "p".to_owned().into() },
        };
        let hubs = Hubs::new(&[hub(1)], vec![own.clone()], true);
        let relays = hubs.relays(id(7));
        let places: Vec<_> = relays.iter().map(|relay| (relay.addr, relay.transport)).collect();
        let udp = (hub(1).addrs[0], RelayTransport::Udp);
        let tcp = (([62, 0, 0, 1], 443).into(), RelayTransport::Tcp);
        assert_eq!(places, [(own.addr, own.transport), udp, tcp]);
        assert_eq!(hubs.relays(id(1)), [own], "a hub uses no relay of its own");
    }
}
