//! Finds out what kind of NAT this node's IPv4 is behind, from what servers, and its own relayed addresses, see of it (TP-45).

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::Arc;

use futures::future::{join, join_all};
use tokio::net::UdpSocket;
use tokio::time::{Instant, sleep_until, timeout};

use super::addresses::{canonical, reachable};
use super::allocations::Reflector;
use super::endpoint::{Shared, entropy};
use super::event::Event;
use super::punching::is_private;
use super::report::{NatFiltering, NatMapping, RelayTransport};
use super::routes::is_route;
use super::stun::{observe, reflected};
use crate::punch::judge_ports;
use crate::stun::{Behaviour, Discovery, DiscoveryOutput, Message, binding_request, read_binding_answer};
use crate::wire::NatHint;

/// Servers that are asked for this node's outside address before candidates are told.
const SERVERS_MAX: usize = 3;
/// How long they have.
const OBSERVE: Duration = Duration::from_millis(600);
/// Sockets whose ports show how a NAT counts.
const COUNTERS: usize = 3;
/// A silent server is asked by further sockets after this.
const COUNT: Duration = Duration::from_millis(300);
const COUNTS_MAX: usize = 2;
/// How long another port of a relay knocks.
const KNOCK: Duration = Duration::from_secs(1);
/// Discoveries of RFC 5780: silence is taken for a filter, and may have been loss.
const DISCOVERIES: usize = 2;

/// From where one address sees this node.
#[derive(Clone, Copy, Debug)]
struct View {
    server: SocketAddr,
    seen: SocketAddr,
}

/// What servers see of this node now.
#[derive(Debug)]
pub(crate) struct Outside {
    pub(crate) hint: NatHint,
    /// Own addresses outside, the best first: where a NAT counts, the one given last, for it goes on from there; then what
    /// relays see before what peers see, who may stand behind a router that shows them another sender.
    pub(crate) seen: Vec<SocketAddr>,
}

/// Asks everybody who can tell, from the shared socket.
pub(crate) async fn look(shared: &Shared) -> Outside {
    let servers = servers(shared);
    let asked = servers.iter().map(|server| async move {
        let asked_at = Instant::now();
        let seen = observe(shared, *server, OBSERVE).await.ok()?;
        shared.reach.relay_rtt(*server, asked_at.elapsed());
        Some(View { server: *server, seen })
    });
    let reflectors = shared.allocations.reflectors(shared);
    let reflected = reflectors.iter().map(|reflector| async move {
        // It lets back in only who was permitted.
        shared.allocations.permit(vec![reflector.mapped.ip()]).await;
        let seen = reflected(shared, reflector.relayed, OBSERVE).await?;
        Some(View { server: reflector.relayed, seen })
    });
    let (asked, reflected) = join(join_all(asked), join_all(reflected)).await;
    let mut seen = asked.iter().flatten().map(|view| view.seen).collect::<Vec<_>>();
    let views = asked.into_iter().chain(reflected).flatten().collect::<Vec<_>>();
    let mapping = judge_mapping(&own(shared), &views);
    let hint = match mapping {
        NatMapping::Unknown => NatHint::Unknown,
        NatMapping::Public | NatMapping::EndpointIndependent | NatMapping::PortIndependent => NatHint::Cone,
        NatMapping::AddressDependent | NatMapping::AddressAndPortDependent => {
            let ports = match servers.first() {
                Some(server) => count(*server).await,
                None => Vec::new(),
            };
            match judge_ports(&ports) {
                counts @ NatHint::Sequential(_) => {
                    seen.splice(0..0, ports.last().copied());
                    counts
                }
                _ => NatHint::Symmetric,
            }
        }
    };
    if let Some(report) = shared.reach.judged(mapping, hint) {
        shared.events.try_send(Event::NatChanged(report));
    }
    if seen.is_empty() {
        seen = shared.reach.nat().reflexive;
    }
    Outside { hint, seen }
}

/// A relay gave an address: finds out what it, and the server beside it, can show.
pub(crate) async fn find_out(shared: Arc<Shared>, server: SocketAddr) {
    let own = own(&shared);
    let fresh = |reflector: &Reflector| !own.contains(&reflector.mapped.ip());
    let reflectors = shared.allocations.reflectors(&shared).into_iter().filter(fresh);
    // Before anything is sent to the relayed address, which would open the NAT for it.
    let knocks = join_all(reflectors.map(|reflector| knock(&shared, reflector))).await;
    look(&shared).await;
    shared.reach.knocked(judge_knocks(&shared, &knocks).await);
    // Seen by IPv6, every device looks public, also one whose IPv4 is translated.
    let discoveries = if server.is_ipv4() { DISCOVERIES } else { 0 };
    for _ in 0..discoveries {
        let behaviour = discover(server).await.unwrap_or_default();
        if let Some(report) = shared.reach.discovered(&own, behaviour) {
            shared.events.try_send(Event::NatChanged(report));
        }
    }
}

/// Whether a datagram from a relayed address comes in, though only the relay's own port was spoken to; `None` if that
/// address was sent something before.
async fn knock(shared: &Shared, reflector: Reflector) -> (Reflector, Option<bool>) {
    if !shared.reach.is_first_knock(reflector.relayed) {
        return (reflector, None);
    }
    shared.allocations.permit(vec![reflector.mapped.ip()]).await;
    let heard = reflected(shared, reflector.there, KNOCK).await;
    (reflector, Some(heard == Some(reflector.relayed)))
}

/// What knocking shows. Silence counts only where the same datagrams come in once the relayed address was spoken to.
async fn judge_knocks(shared: &Shared, knocks: &[(Reflector, Option<bool>)]) -> NatFiltering {
    let mut verdict = NatFiltering::Unknown;
    for (reflector, came) in knocks {
        match came {
            Some(true) => return NatFiltering::PortIndependent,
            Some(false) if reflected(shared, reflector.there, KNOCK).await == Some(reflector.relayed) => {
                verdict = NatFiltering::AddressAndPortDependent;
            }
            _ => {}
        }
    }
    verdict
}

/// The behaviour discovery of RFC 5780, from a socket of its own.
async fn discover(server: SocketAddr) -> Option<Behaviour> {
    let any: SocketAddr = if server.is_ipv4() { ([0; 4], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await.ok()?;
    let started = Instant::now();
    let mut discovery = Discovery::new(Duration::ZERO, server, entropy().ok()?);
    let mut buffer = [0; 1500];
    loop {
        while let Some(output) = discovery.poll_output() {
            match output {
                // An error concerns this datagram only.
                DiscoveryOutput::Send { to, bytes } => drop(socket.send_to(&bytes, to).await),
                DiscoveryOutput::Done(behaviour) => return Some(behaviour),
            }
        }
        let due = discovery.poll_timeout().map(|at| started + at);
        tokio::select! {
            Ok((length, from)) = socket.recv_from(&mut buffer) => {
                let bytes = buffer.get(..length).unwrap_or_default();
                // Somebody else's datagram is none of this discovery's.
                let _ = discovery.handle_input(started.elapsed(), canonical(from), bytes);
            }
            () = sleep_until(due?) => discovery.handle_timeout(started.elapsed()),
        }
    }
}

/// The outside ports that fresh sockets get, in the order in which they sent: how a NAT counts, and where it is now.
async fn count(server: SocketAddr) -> Vec<SocketAddr> {
    for _ in 0..COUNTS_MAX {
        let mut sockets = Vec::new();
        for _ in 0..COUNTERS {
            let Ok(socket) = UdpSocket::bind(SocketAddr::from(([0; 4], 0))).await else { return Vec::new() };
            let Ok(transaction) = entropy() else { return Vec::new() };
            if socket.send_to(&binding_request(transaction), server).await.is_ok() {
                sockets.push((socket, transaction));
            }
        }
        let answers = sockets.iter().map(|(socket, transaction)| async move {
            let mut buffer = [0; 500];
            loop {
                let (length, from) = timeout(COUNT, socket.recv_from(&mut buffer)).await.ok()?.ok()?;
                let answer = Message::from_bytes(buffer.get(..length)?);
                let Ok(answer) =
                    answer.and_then(|answer| Ok((answer.transaction(), read_binding_answer(&answer)?)))
                else {
                    continue;
                };
                if answer.0 == *transaction && canonical(from) == server {
                    return Some(canonical(answer.1));
                }
            }
        });
        let seen = join_all(answers).await.into_iter().collect::<Option<Vec<_>>>();
        if let Some(seen) = seen.filter(|seen| seen.len() == COUNTERS) {
            return seen;
        }
    }
    Vec::new()
}

/// Who can tell this node's outside address: relays, then peers, each machine once.
fn servers(shared: &Shared) -> Vec<SocketAddr> {
    if shared.allocations.is_tcp_only() {
        return Vec::new();
    }
    let relays = shared.reach.relays().into_iter();
    let relays = relays.filter(|relay| relay.transport == RelayTransport::Udp).map(|relay| relay.addr);
    let links = shared.peers().all_sessions();
    // Whoever is spoken to over a relay would not be heard without it.
    let straight = links.iter().filter(|link| !link.ways.is_relayed());
    let peers = straight.map(|link| shared.remote_of(&link.connection));
    let mut servers = Vec::<SocketAddr>::new();
    for server in relays.chain(peers).map(canonical) {
        // On one machine every node has the same address: there ports tell nodes apart.
        let is_known = servers.iter().any(|known| known.ip() == server.ip() && !server.ip().is_loopback());
        // From within the same network a NAT cannot be seen.
        let is_inside = is_private(server) && !server.ip().is_loopback();
        let is_good = !is_known && !is_inside && !is_route(server) && server.is_ipv4();
        if is_good && servers.len() < SERVERS_MAX {
            servers.push(server);
        }
    }
    servers
}

/// The addresses of this machine.
fn own(shared: &Shared) -> BTreeSet<IpAddr> {
    shared.local.iter().flat_map(|local| reachable(*local)).map(|addr| canonical(addr).ip()).collect()
}

/// On what the outside address depends, as far as these views tell.
fn judge_mapping(own: &BTreeSet<IpAddr>, views: &[View]) -> NatMapping {
    let views = views.iter().filter(|view| view.seen.is_ipv4()).collect::<Vec<_>>();
    if views.iter().any(|view| own.contains(&view.seen.ip())) {
        return NatMapping::Public;
    }
    let pairs =
        || views.iter().zip(1..).flat_map(|(one, next)| views.iter().skip(next).map(move |two| (one, two)));
    // Whether the views of one server, from two ports, and of two servers are the same; `None` where there are none.
    let same = |of_one: bool| {
        let mut of = pairs().filter(|(one, two)| (one.server.ip() == two.server.ip()) == of_one).peekable();
        of.peek().is_some().then(|| of.all(|(one, two)| one.seen == two.seen))
    };
    match (same(true), same(false)) {
        (None, None) => NatMapping::Unknown,
        (Some(false), _) => NatMapping::AddressAndPortDependent,
        (_, Some(false)) => NatMapping::AddressDependent,
        (_, Some(true)) => NatMapping::EndpointIndependent,
        (Some(true), None) => NatMapping::PortIndependent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(views: &[([u8; 2], u16)]) -> NatMapping {
        let view = |([host, port], seen): &([u8; 2], u16)| View {
            server: SocketAddr::from(([62, 0, 0, *host], u16::from(*port))),
            seen: SocketAddr::from(([62, 0, 9, 9], *seen)),
        };
        judge_mapping(&BTreeSet::new(), &views.iter().map(view).collect::<Vec<_>>())
    }

    /// TP-45. Of what nobody could be asked nothing is said.
    #[test]
    fn tp_45_views_from_ports_and_from_addresses_tell_on_what_a_mapping_depends() {
        assert_eq!(judge(&[]), NatMapping::Unknown);
        assert_eq!(judge(&[([1, 1], 7)]), NatMapping::Unknown);
        assert_eq!(judge(&[([1, 1], 7), ([1, 2], 7)]), NatMapping::PortIndependent);
        assert_eq!(judge(&[([1, 1], 7), ([1, 2], 8)]), NatMapping::AddressAndPortDependent);
        assert_eq!(judge(&[([1, 1], 7), ([2, 1], 7)]), NatMapping::EndpointIndependent);
        assert_eq!(judge(&[([1, 1], 7), ([2, 1], 8)]), NatMapping::AddressDependent);
        assert_eq!(judge(&[([1, 1], 7), ([1, 2], 7), ([2, 1], 8)]), NatMapping::AddressDependent);
        assert_eq!(judge(&[([1, 1], 7), ([2, 1], 8), ([1, 2], 9)]), NatMapping::AddressAndPortDependent);
    }

    #[test]
    fn tp_45_who_is_seen_by_an_own_address_is_behind_no_nat() {
        let (server, seen) = (([62, 0, 0, 1], 1).into(), SocketAddr::from(([62, 0, 9, 9], 7)));
        assert_eq!(judge_mapping(&BTreeSet::from([seen.ip()]), &[View { server, seen }]), NatMapping::Public);
    }
}
