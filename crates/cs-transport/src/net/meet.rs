//! Bringing two nodes together: candidates are exchanged through a common node, both punch, and what works is used.

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeSet;
use std::sync::Arc;

use cs_identity::NodeId;
use futures::StreamExt;
use futures::future::{join, join_all};
use futures::stream::FuturesUnordered;
use noq::{FourTuple, PathError, PathStatus};
use tokio::time::{sleep, timeout};

use super::addresses::{canonical, mapped, reachable};
use super::connection::Link;
use super::endpoint::{Shared, entropy};
use super::report::{CandidateKind, How, Outcome, RelayCredentials, Via};
use super::routes::is_route;
use super::signal::{self, SignalFault};
use super::{dial, nat, punching};
use crate::punch::{CheckKey, PunchConfig, is_allowed};
use crate::wire::{Candidate, CandidateSource, Connect, MAX_CANDIDATES};

/// Nodes that are asked to pass a signal on.
const VIA_MAX: usize = 3;
/// How long a signal may take, there and back.
const SIGNAL: Duration = Duration::from_secs(5);
/// How long reaching a passing node may take.
const REACH_VIA: Duration = Duration::from_secs(5);
/// Addresses of a peer that are tried over this node's own relay.
const BY_RELAY_MAX: usize = 3;
/// Addresses of a peer that a relay is asked to let through.
const PERMITS_MAX: usize = 8;
/// Tries to open a path: the peer may have to hand out connection IDs first.
const OPENS: u32 = 10;
const OPEN_AGAIN: Duration = Duration::from_millis(100);
/// A relayed session looks for a straight path this often: first, and at most.
const RENEW_FIRST: Duration = Duration::from_secs(10);
const RENEW_MOST: Duration = Duration::from_secs(300);
/// How often a session looks whether it has become a relayed one.
const RENEW_LOOK: Duration = Duration::from_secs(30);

/// Asks `peer`, through any of `via`, to meet. Whether both sides punch now; `false` when nobody could pass the signal on.
pub(crate) async fn seek(shared: Arc<Shared>, peer: NodeId, via: Vec<Via>) -> bool {
    let via = via.into_iter().filter(|via| via.node != peer && via.node != shared.me).take(VIA_MAX);
    let via = via.collect::<Vec<_>>();
    if via.is_empty() {
        return false;
    }
    shared.reach.set_vias(peer, via.clone());
    let links = via.iter().map(|via| link_to(&shared, via)).collect::<FuturesUnordered<_>>();
    let Some(offer) = gather(&shared).await else { return false };
    let (shared, offer) = (&shared, &offer);
    let asks = links
        .filter_map(|link| async move { link })
        .map(|link| async move { signal::ask(shared, &link, &peer, offer, SIGNAL).await });
    let mut asks = Box::pin(asks.buffer_unordered(VIA_MAX));
    while let Some(answer) = asks.next().await {
        match answer {
            Ok(answer) => {
                begin(shared, peer, true, offer, &answer);
                return true;
            }
            Err(SignalFault::NoWay | SignalFault::Timeout | SignalFault::Refused) => {
                shared.tally.signals_lost.add();
            }
        }
    }
    false
}

/// A question to meet, from a node that proved to be `from`; the answer is this node's own candidates.
pub(crate) async fn answer(
    shared: &Arc<Shared>,
    link: &Arc<Link>,
    from: NodeId,
    question: Connect,
) -> Option<Connect> {
    if from == shared.me {
        return None;
    }
    if from != link.peer.node {
        let addrs = vec![shared.remote_of(&link.connection)];
        shared.reach.set_vias(from, vec![Via { node: link.peer.node, addrs }]);
    }
    // The same question comes over several nodes: one answer to all, and one attempt.
    if let Some(answer) = shared.reach.answered(&from, &question.nonce) {
        return Some(answer);
    }
    // Who asks may send to this node's relayed addresses as soon as it knows them.
    let (answer, ()) = join(gather(shared), shared.allocations.permit(ips(&question))).await;
    let answer = answer?;
    let answer = shared.reach.set_answered(from, question.nonce, answer);
    begin(shared, from, false, &answer, &question);
    Some(answer)
}

/// Tries to find a straight path again, over the session itself or through nodes that passed signals on before.
pub(crate) async fn renew_on_demand(shared: Arc<Shared>, link: Arc<Link>) {
    let mut wait = RENEW_FIRST;
    loop {
        let is_dialler = link.dialled;
        tokio::select! {
            () = link.renew.notified() => wait = RENEW_FIRST,
            () = sleep(drawn(wait)), if is_dialler && link.ways.is_relayed() => wait = (wait * 2).min(RENEW_MOST),
            _ = link.connection.closed() => return,
            // The kind of path may have changed.
            () = sleep(RENEW_LOOK) => continue,
        }
        tokio::select! {
            () = renew(&shared, &link) => {}
            _ = link.connection.closed() => return,
        }
    }
}

/// Between half of this and all of it: sessions of one node that renew at once compete for the sockets of the birthday method.
fn drawn(most: Duration) -> Duration {
    let [chance] = entropy().unwrap_or([u8::MAX]);
    most / 2 + most * u32::from(chance) / 510
}

async fn renew(shared: &Arc<Shared>, link: &Arc<Link>) {
    let peer = link.peer.node;
    let Some(offer) = gather(shared).await else { return };
    let vias = shared.reach.vias(&peer);
    let through = join_all(vias.iter().map(|via| link_to(shared, via))).await;
    let links = core::iter::once(link.clone()).chain(through.into_iter().flatten());
    let offer = &offer;
    let mut asks = links
        .map(|link| async move { signal::ask(shared, &link, &peer, offer, SIGNAL).await })
        .collect::<FuturesUnordered<_>>();
    while let Some(answer) = asks.next().await {
        if let Ok(answer) = answer {
            return begin(shared, peer, true, offer, &answer);
        }
    }
}

/// Both sides know each other's candidates: punch, and use a relay meanwhile.
fn begin(shared: &Arc<Shared>, peer: NodeId, is_asker: bool, mine: &Connect, theirs: &Connect) {
    let (asker, answerer) = if is_asker { (mine, theirs) } else { (theirs, mine) };
    let key = CheckKey::derive(&asker.nonce, &answerer.nonce);
    let loopback = shared.local.iter().any(|local| local.ip().is_loopback());
    let usable = |candidate: &&Candidate| {
        let speaks = shared.speaks(candidate.addr);
        if !speaks {
            let kind = kind_of(candidate.source);
            shared.reach.note(&peer, candidate.addr, kind, Outcome::NoSocket);
        }
        speaks && is_allowed(candidate, loopback) && !is_route(candidate.addr)
    };
    let permits = shared.clone();
    let theirs_at = ips(theirs);
    tokio::spawn(async move { permits.allocations.permit(theirs_at).await });
    // A relay needs no punching, and its success would end an attempt that a straight path takes longer for.
    let is_relayed = |candidate: &Candidate| candidate.source == CandidateSource::Relayed;
    let usable = theirs.candidates.iter().filter(usable).copied();
    let (relayed, remote) = usable.partition::<Vec<_>, _>(is_relayed);
    for candidate in relayed.iter().chain(&remote) {
        shared.reach.note(&peer, candidate.addr, kind_of(candidate.source), Outcome::Trying);
    }
    for candidate in relayed {
        offer(shared, peer, candidate.addr, How::Relayed);
    }
    by_own_relay(shared, peer, &theirs.candidates);
    let config = PunchConfig { key, is_asker, local_nat: mine.nat, remote_nat: theirs.nat, remote };
    punching::start(shared, peer, config);
}

/// The way over this node's own relay: where the peer has none that this node can send to.
fn by_own_relay(shared: &Arc<Shared>, peer: NodeId, candidates: &[Candidate]) {
    let of = |source| candidates.iter().filter(move |candidate| candidate.source == source);
    let is_tcp_only = shared.allocations.is_tcp_only();
    if !is_tcp_only && of(CandidateSource::Relayed).any(|candidate| shared.speaks(candidate.addr)) {
        return;
    }
    let outside = of(CandidateSource::Relayed)
        .chain(of(CandidateSource::Mapped))
        .chain(of(CandidateSource::Reflexive))
        .chain(of(CandidateSource::Host));
    // Round by the relay to the relay itself is no spare way.
    let is_relay =
        shared.reach.relays().iter().any(|relay| relay.credentials == RelayCredentials::Node(peer));
    if is_relay && !is_tcp_only {
        return;
    }
    for candidate in outside.take(BY_RELAY_MAX) {
        if let Some(addr) = shared.allocations.by_relay(shared, candidate.addr) {
            offer(shared, peer, addr, How::Relayed);
        }
    }
}

/// The machines that a peer may send from.
fn ips(connect: &Connect) -> Vec<IpAddr> {
    let all = connect.candidates.iter().map(|candidate| candidate.addr.ip());
    all.collect::<BTreeSet<_>>().into_iter().take(PERMITS_MAX).collect()
}

/// An address at which the peer can be reached now: the session takes it as a path, or the dial as one more address.
pub(crate) fn offer(shared: &Arc<Shared>, peer: NodeId, addr: SocketAddr, how: How) {
    shared.reach.set_how(peer, addr, how);
    let (link, dial) = {
        let peers = shared.peers();
        (peers.link_with(&peer).cloned(), peers.dialling(&peer))
    };
    match (link, dial) {
        (Some(link), _) if link.dialled => {
            tokio::spawn(open_path(shared.clone(), link, addr));
        }
        // The other side opens it.
        (Some(_), _) => {}
        (None, Some(dial)) => drop(dial.send(addr)),
        (None, None) => {}
    }
}

/// Addresses that were found while the session was being made become its paths.
pub(crate) fn offer_found(shared: &Arc<Shared>, link: &Arc<Link>) {
    if link.dialled {
        for addr in shared.reach.found(&link.peer.node) {
            tokio::spawn(open_path(shared.clone(), link.clone(), addr));
        }
    }
}

/// Opens a path, as a spare one: the monitor decides which one data takes.
async fn open_path(shared: Arc<Shared>, link: Arc<Link>, addr: SocketAddr) {
    let peer = link.peer.node;
    let note = |outcome| {
        if shared.reach.how(&peer, addr) == Some(How::Relayed) {
            let addr = shared.routes.behind(addr).map_or(addr, |(_, peer)| peer);
            shared.reach.note(&peer, addr, CandidateKind::Relayed, outcome);
        }
    };
    let four = FourTuple::from_remote(mapped(addr));
    for _ in 0..OPENS {
        let opening = link.connection.open_path_ensure(four, PathStatus::Backup);
        match timeout(SIGNAL, opening).await {
            Ok(Err(PathError::RemoteCidsExhausted | PathError::MaxPathIdReached)) => sleep(OPEN_AGAIN).await,
            Ok(Ok(path)) => return note(Outcome::Open { rtt: path.stats().rtt }),
            _ => return note(Outcome::NoAnswer { sent: 1 }),
        }
    }
}

/// The session with a passing node; it is dialled if need be.
async fn link_to(shared: &Arc<Shared>, via: &Via) -> Option<Arc<Link>> {
    let mut ups = shared.ups.subscribe();
    let known = shared.peers().link_with(&via.node).cloned();
    if known.is_some() || via.addrs.is_empty() {
        return known;
    }
    dial::start(shared, via.node, via.addrs.clone(), Vec::new());
    let up = async {
        loop {
            if let Some(link) = shared.peers().link_with(&via.node).cloned() {
                return Some(link);
            }
            ups.changed().await.ok()?;
        }
    };
    timeout(REACH_VIA, up).await.ok().flatten()
}

/// What this node tells of itself; learns first what servers see of it.
async fn gather(shared: &Arc<Shared>) -> Option<Connect> {
    let hosts = shared.local.iter().flat_map(|local| reachable(*local)).map(canonical);
    let is_loopback = shared.local.iter().any(|local| local.ip().is_loopback());
    let hosts = hosts.filter(|host| is_loopback || !host.ip().is_loopback()).collect::<Vec<_>>();
    let outside = nat::look(shared).await;
    let mapped = shared.reach.mapped();
    let all = (hosts.iter().map(|addr| (CandidateSource::Host, *addr)))
        .chain(mapped.into_iter().map(|addr| (CandidateSource::Mapped, addr)))
        .chain(outside.seen.into_iter().map(|addr| (CandidateSource::Reflexive, addr)))
        .chain(shared.allocations.relayed().into_iter().map(|addr| (CandidateSource::Relayed, addr)));
    let mut candidates = Vec::<Candidate>::new();
    for (source, addr) in all {
        let is_known = candidates.iter().any(|known| known.addr == addr);
        if !is_known && candidates.len() < MAX_CANDIDATES && addr.port() != 0 && !is_route(addr) {
            candidates.push(Candidate { source, addr });
        }
    }
    Some(Connect { nonce: entropy().ok()?, nat: outside.hint, candidates })
}

fn kind_of(source: CandidateSource) -> CandidateKind {
    match source {
        CandidateSource::Host => CandidateKind::Host,
        CandidateSource::Reflexive => CandidateKind::Reflexive,
        CandidateSource::Mapped => CandidateKind::Mapped,
        CandidateSource::Relayed => CandidateKind::Relayed,
    }
}
