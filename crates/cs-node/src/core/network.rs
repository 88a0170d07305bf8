//! What the transport knows of the network and of the ways to peers, kept for `net` and `doctor`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use cs_identity::NodeId;
use cs_store::Disk;
use cs_transport::mapping::{self, Method};
use cs_transport::net::{
    CandidateKind, DialFault, How, NatFiltering, NatMapping, NatReport, Outcome, PathKind, PathReport,
    RelayState, RelayTransport, Tried,
};

use crate::api::{Finding, Level, Net, NetHub, NetPath, NetRelay, NetSession, PortMapping};
use crate::core::NodeCore;
use crate::core::ports::SessionId;

/// A snapshot of what the transport knows.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// The NAT, and the relays.
    pub nat: NatReport,
    /// The port on the router, if one was asked for.
    pub mapping: Option<mapping::Event>,
    /// The paths of each session, the one in use first.
    pub paths: BTreeMap<SessionId, Vec<PathReport>>,
    /// What was tried to reach peers.
    pub tried: BTreeMap<NodeId, Vec<Tried>>,
}

impl Network {
    /// The address outside by which the internet reaches this node through its router.
    pub(crate) fn mapped(&self) -> Option<SocketAddr> {
        match self.mapping {
            Some(mapping::Event::Mapped { external, .. }) => Some(external),
            _ => None,
        }
    }

    /// Whether strangers reach this node; `None` while that is not known.
    pub(crate) fn is_reached(&self) -> Option<bool> {
        let is_reached = self.nat.mapping == NatMapping::Public || self.mapped().is_some();
        // An open NAT lets strangers in only while something keeps its mapping: the session with a hub.
        (is_reached || self.nat.mapping != NatMapping::Unknown).then_some(is_reached)
    }

    /// Whether a NAT lets everybody in, for as long as this node keeps its mapping.
    pub(crate) fn is_open(&self) -> bool {
        let NatReport { mapping, filtering, .. } = self.nat;
        mapping == NatMapping::EndpointIndependent && filtering == NatFiltering::EndpointIndependent
    }
}

impl<D: Disk> NodeCore<D> {
    /// Peers of whom the driver shall tell what was tried.
    pub fn peers_of_interest(&self) -> BTreeSet<NodeId> {
        self.peers.keys().copied().chain(self.discovery.of_interest()).collect()
    }

    /// For `net`.
    pub(crate) fn net(&self) -> Net {
        let NatReport { mapping, filtering, step, reflexive, relays } = &self.network.nat;
        let sessions = self.peers.iter().map(|(peer, known)| NetSession {
            node: peer.to_string(),
            paths: self.network.paths.get(&known.session).into_iter().flatten().map(net_path).collect(),
        });
        let hubs = self
            .discovery
            .hubs
            .homes()
            .map(|hub| NetHub { node: hub.id.to_string(), connected: self.peers.contains_key(&hub.id) });
        Net {
            reachable: !self.discovery.hubs.hidden || self.network.is_open(),
            mapping: mapping_name(*mapping).to_owned(),
            filtering: filtering_name(*filtering).to_owned(),
            step: *step,
            addresses: self.discovery.addrs.iter().map(ToString::to_string).collect(),
            seen_as: reflexive.iter().map(ToString::to_string).collect(),
            port_mapping: self.network.mapping.as_ref().map(port_mapping),
            relays: relays
                .iter()
                .map(|relay| NetRelay {
                    address: relay.addr.to_string(),
                    transport: transport_name(relay.transport).to_owned(),
                    state: state_name(relay.state).to_owned(),
                    relayed: match relay.state {
                        RelayState::Allocated { relayed } => Some(relayed.to_string()),
                        _ => None,
                    },
                    rtt_us: relay.rtt.map(|rtt| rtt.as_micros() as u64),
                })
                .collect(),
            hubs: hubs.collect(),
            sessions: sessions.collect(),
            dht: self.dht_view(),
        }
    }

    /// For `doctor`: the way to a peer that is in use and why, and with `all` everything that was tried.
    pub(crate) fn ways_to(&self, peer: &NodeId, all: bool) -> Vec<Finding> {
        let finding = |level, finding: String, advice: Option<&str>| Finding {
            level,
            subject: peer.short().to_string(),
            finding,
            advice: advice.map(str::to_owned),
        };
        let mut findings = Vec::new();
        match self.peers.get(peer) {
            Some(known) => {
                let paths = self.network.paths.get(&known.session).map_or(&[][..], Vec::as_slice);
                findings.push(finding(Level::Fine, self.path_in_use(known.addr, paths), None));
                let others = paths.iter().filter(|path| !path.in_use && all);
                findings.extend(
                    others.map(|path| finding(Level::Fine, format!("Beside it: {}.", path_text(path)), None)),
                );
            }
            None if self.discovery.of_interest().contains(peer) => {
                let advice =
                    "Check that it runs and is online; `cosync net` tells of this device's own network.";
                findings.push(finding(Level::Waiting, "Not connected.".to_owned(), Some(advice)));
            }
            None => return findings,
        }
        if all {
            let tried = self.network.tried.get(peer).into_iter().flatten();
            findings.extend(tried.map(|tried| finding(level_of(tried.outcome), tried_text(tried), None)));
        }
        findings
    }

    /// For `doctor`: this node's own network in a sentence.
    pub(crate) fn network_finding(&self) -> Finding {
        let is_reached = !self.discovery.hubs.hidden || self.network.is_open();
        let homes: Vec<_> = self.discovery.hubs.homes().map(|hub| self.peers.contains_key(&hub.id)).collect();
        let (level, finding, advice) = if is_reached {
            (Level::Fine, "Strangers can reach this device, as far as it knows.".to_owned(), None)
        } else if homes.contains(&true) {
            let count = homes.iter().filter(|connected| **connected).count();
            let text = format!(
                "Strangers cannot reach this device by themselves: {count} hub(s) tell it who wants to."
            );
            (Level::Fine, text, None)
        } else {
            let advice = "Name a node that everybody reaches, by `--bootstrap ID@HOST:PORT` or `--relay ID@HOST:PORT`.";
            let text =
                "Strangers cannot reach this device, and no hub is connected that could tell it of them.";
            (Level::Waiting, text.to_owned(), Some(advice.to_owned()))
        };
        Finding { level, subject: "net".to_owned(), finding, advice }
    }

    fn path_in_use(&self, addr: SocketAddr, paths: &[PathReport]) -> String {
        let Some(path) = paths.iter().find(|path| path.in_use) else {
            return format!("Connected at {addr}; every byte is encrypted by Noise IK over QUIC.");
        };
        let why = match path.kind {
            PathKind::Direct => "a direct path is taken before any relay, the quickest one first".to_owned(),
            PathKind::Relayed { relay } => {
                let rtt = self.network.nat.relays.iter().find(|r| r.addr == relay).and_then(|r| r.rtt);
                let rtt = rtt.map_or_else(String::new, |rtt| format!(", itself {} ms away", ms(rtt)));
                format!("no direct path has opened; the relay {relay}{rtt} carries what it cannot read")
            }
        };
        format!(
            "Connected: {}, because {why}. Every byte is encrypted by Noise IK over QUIC.",
            path_text(path)
        )
    }
}

fn net_path(path: &PathReport) -> NetPath {
    NetPath {
        address: path.addr.to_string(),
        relay: match path.kind {
            PathKind::Direct => None,
            PathKind::Relayed { relay } => Some(relay.to_string()),
        },
        how: how_name(path.how).to_owned(),
        rtt_us: path.rtt.as_micros() as u64,
        loss_permille: path.loss_permille,
        in_use: path.in_use,
    }
}

fn path_text(path: &PathReport) -> String {
    let kind = match path.kind {
        PathKind::Direct => format!("directly at {}", path.addr),
        PathKind::Relayed { relay } => format!("over the relay {relay}"),
    };
    let loss = f64::from(path.loss_permille) / 10.0;
    format!("{kind} ({}), {} ms there and back, {loss} % lost", how_name(path.how), ms(path.rtt))
}

fn tried_text(tried: &Tried) -> String {
    let kind = match tried.kind {
        CandidateKind::Known => "its known address",
        CandidateKind::Host => "an address of its own network",
        CandidateKind::Reflexive => "its address as others see it",
        CandidateKind::Mapped => "the port that its router maps",
        CandidateKind::Relayed => "its address on a relay",
        CandidateKind::PeerReflexive => "the address that its packets come from",
        CandidateKind::Predicted => "the port that its router is likely to use next",
        CandidateKind::Birthday => "many ports of its router at once",
        _ => "an address",
    };
    let outcome = match tried.outcome {
        Outcome::Trying => "being tried".to_owned(),
        Outcome::Open { rtt } => format!("it answers, {} ms there and back", ms(rtt)),
        Outcome::Failed(fault) => fault_text(fault).to_owned(),
        Outcome::NoAnswer { sent } => {
            format!("no answer to {sent} datagrams: a router or firewall drops them")
        }
        Outcome::Superseded => "not needed: another one was quicker".to_owned(),
        Outcome::NoSocket => "this device has no socket for its kind of address".to_owned(),
        Outcome::RelayRefused(code) => format!("the relay refused with code {code}"),
        _ => "failed".to_owned(),
    };
    format!("Tried {} ({kind}): {outcome}.", tried.candidate)
}

fn fault_text(fault: DialFault) -> &'static str {
    match fault {
        DialFault::Timeout => "no answer: nobody listens there, or a router drops it",
        DialFault::WrongNode => "another node listens there",
        DialFault::Refused => "it refused",
        DialFault::NoAddress => "it cannot be reached from here",
        _ => "it was given up",
    }
}

fn level_of(outcome: Outcome) -> Level {
    match outcome {
        Outcome::Trying => Level::Waiting,
        _ => Level::Fine,
    }
}

fn ms(time: std::time::Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}

fn mapping_name(mapping: NatMapping) -> &'static str {
    match mapping {
        NatMapping::Unknown => "unknown",
        NatMapping::Public => "public",
        NatMapping::EndpointIndependent => "endpoint-independent",
        NatMapping::PortIndependent => "port-independent",
        NatMapping::AddressDependent => "address-dependent",
        NatMapping::AddressAndPortDependent => "address-and-port-dependent",
    }
}

fn filtering_name(filtering: NatFiltering) -> &'static str {
    match filtering {
        NatFiltering::Unknown => "unknown",
        NatFiltering::EndpointIndependent => "endpoint-independent",
        NatFiltering::PortIndependent => "port-independent",
        NatFiltering::AddressDependent => "address-dependent",
        NatFiltering::AddressAndPortDependent => "address-and-port-dependent",
    }
}

fn transport_name(transport: RelayTransport) -> &'static str {
    match transport {
        RelayTransport::Udp => "udp",
        RelayTransport::Tcp => "tcp",
    }
}

fn state_name(state: RelayState) -> &'static str {
    match state {
        RelayState::Idle => "idle",
        RelayState::Connecting => "connecting",
        RelayState::Allocated { .. } => "allocated",
        RelayState::Refused(_) => "refused",
        _ => "unreachable",
    }
}

fn how_name(how: How) -> &'static str {
    match how {
        How::Dialled => "dialled",
        How::Accepted => "accepted",
        How::Lan => "lan",
        How::Mapped => "mapped",
        How::Punched => "punched",
        How::Predicted => "predicted",
        How::Birthday => "birthday",
        How::Relayed => "relayed",
        _ => "other",
    }
}

fn port_mapping(event: &mapping::Event) -> PortMapping {
    let of = |state: &str, external: SocketAddr, method: Method| PortMapping {
        state: state.to_owned(),
        method: Some(method_name(method).to_owned()),
        external: Some(external.to_string()),
        why: None,
    };
    match *event {
        mapping::Event::Mapped { external, method } => of("mapped", external, method),
        mapping::Event::Carrier { external, method } => PortMapping {
            why: Some("the router itself is behind a carrier's NAT".to_owned()),
            ..of("carrier", external, method)
        },
        mapping::Event::Refused(why) => PortMapping {
            state: if why.is_carriers() { "carrier" } else { "refused" }.to_owned(),
            method: None,
            external: None,
            why: Some(why.to_string()),
        },
        _ => PortMapping { state: "refused".to_owned(), method: None, external: None, why: None },
    }
}

fn method_name(method: Method) -> &'static str {
    match method {
        Method::Pcp => "pcp",
        Method::NatPmp => "nat-pmp",
        Method::Upnp => "upnp",
    }
}
