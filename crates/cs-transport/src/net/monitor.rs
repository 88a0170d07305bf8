//! Watches the paths of one session: which there are, which of them answer, and which one data takes (TP-37, TP-38).

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cs_identity::NodeId;
use futures::StreamExt;
use noq::{Connection, Path, PathEvent, PathId, PathStatus};
use tokio::time::{Instant, sleep_until};

use super::addresses::canonical;
use super::connection::Link;
use super::endpoint::Shared;
use super::event::{Event, SessionId};
use super::report::{How, PathKind, PathReport};
use super::routes::Pulse;
use crate::paths::{Output, Paths, Sample};
use crate::quic::path_number;

/// No path is looked at more often: a look costs a lock, and verdicts need no finer clock.
const LOOK: Duration = Duration::from_millis(10);

/// The paths of a session as they are reported.
#[derive(Debug, Default)]
pub(crate) struct Ways(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    open: BTreeMap<u32, Way>,
    in_use: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Way {
    addr: SocketAddr,
    kind: PathKind,
    how: How,
}

impl Ways {
    /// The path of the handshake, before anybody watches it.
    pub(crate) fn begin(&self, shared: &Shared, link: &Link) {
        let remote = link.connection.path(PathId::ZERO).and_then(|path| path.remote_address().ok());
        if let Some(remote) = remote {
            let way = describe(shared, &link.peer.node, link.dialled, canonical(remote));
            let mut known = self.lock();
            known.open.insert(0, way);
            known.in_use = Some(0);
        }
    }

    /// Whether data goes over a relay; `false` too while no path is known.
    pub(crate) fn is_relayed(&self) -> bool {
        let known = self.lock();
        let way = known.in_use.and_then(|path| known.open.get(&path));
        way.is_some_and(|way| way.kind != PathKind::Direct)
    }

    /// All paths, the one in use first.
    pub(crate) fn reports(&self, connection: &Connection) -> Vec<PathReport> {
        let known = self.lock();
        let report = |(path, way): (&u32, &Way)| {
            let stats = connection.path_stats(PathId::from(*path))?;
            let lost = stats.lost_packets.saturating_mul(1000) / stats.udp_tx.datagrams.max(1);
            Some(PathReport {
                addr: way.addr,
                kind: way.kind,
                how: way.how,
                rtt: stats.rtt,
                loss_permille: u16::try_from(lost.min(1000)).unwrap_or(1000),
                in_use: known.in_use == Some(*path),
            })
        };
        let mut reports = known.open.iter().filter_map(report).collect::<Vec<_>>();
        reports.sort_by_key(|report| !report.in_use);
        reports
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Runs until the connection ends.
pub(crate) async fn run(shared: Arc<Shared>, link: Arc<Link>) {
    let mut monitor = Monitor {
        shared,
        link,
        started: Instant::now(),
        paths: Paths::new(),
        open: BTreeMap::new(),
        pulse: Arc::default(),
    };
    monitor.run().await;
    for watched in monitor.open.values() {
        monitor.shared.routes.unwatch(watched.remote, &monitor.pulse);
    }
}

struct Monitor {
    shared: Arc<Shared>,
    link: Arc<Link>,
    started: Instant,
    paths: Paths,
    open: BTreeMap<u32, Watched>,
    pulse: Arc<Pulse>,
}

struct Watched {
    path: Path,
    /// As noq knows it.
    remote: SocketAddr,
}

impl Monitor {
    async fn run(&mut self) {
        let mut events = self.link.connection.path_events();
        self.opened(PathId::ZERO);
        loop {
            if self.paths.look_again_after().is_none() {
                self.pulse.arm();
            }
            self.step().await;
            let look = self.paths.look_again_after().map(|after| Instant::now() + after.max(LOOK));
            let due = self.paths.poll_timeout().map(|at| self.started + at);
            let wake = [look, due].into_iter().flatten().min();
            tokio::select! {
                event = events.next() => match event {
                    Some(Ok(event)) => self.on_event(&event),
                    // Events that were missed: those of paths that are gone by now.
                    Some(Err(_)) => self.sweep(),
                    None => return,
                },
                () = self.pulse.sent() => {}
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => {}
                _ = self.link.connection.closed() => return,
            }
        }
    }

    fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Looks at all counters and does what follows.
    async fn step(&mut self) {
        let now = self.now();
        self.follow();
        for (number, watched) in &self.open {
            self.paths.sampled(now, *number, sample(&watched.path));
        }
        self.paths.handle_timeout(now);
        while let Some(output) = self.paths.poll_output() {
            match output {
                Output::Probe(path) => {
                    // A path that is gone needs no probe.
                    let _ = self.open.get(&path).map(|watched| watched.path.ping());
                }
                Output::Use(path) => self.use_path(path).await,
                Output::Dead(path) => {
                    self.shared.tally.paths_died.add();
                    self.close(path);
                    self.link.renew.notify_one();
                }
                Output::Stranded(_) => {
                    self.shared.tally.paths_died.add();
                    self.link.renew.notify_one();
                }
            }
        }
    }

    /// A path whose peer is at another address by now, since its NAT forgot it, goes on there.
    fn follow(&mut self) {
        for (number, watched) in &mut self.open {
            let Ok(remote) = watched.path.remote_address().map(canonical) else { continue };
            if remote == watched.remote {
                continue;
            }
            self.shared.routes.unwatch(watched.remote, &self.pulse);
            self.shared.routes.watch(remote, &self.pulse);
            watched.remote = remote;
            if let Some(way) = self.link.ways.lock().open.get_mut(number) {
                let moved = describe(&self.shared, &self.link.peer.node, self.link.dialled, remote);
                *way = Way { how: way.how, ..moved };
            }
        }
    }

    /// One path is available, all others stand by.
    async fn use_path(&mut self, path: u32) {
        for (number, watched) in &self.open {
            let status = if *number == path { PathStatus::Available } else { PathStatus::Backup };
            // Without multipath there is one path, and nothing to choose.
            let _ = watched.path.set_status(status);
        }
        if self.link.ways.lock().in_use.replace(path) == Some(path) {
            return;
        }
        let reports = self.link.ways.reports(&self.link.connection);
        if let Some(report) = reports.into_iter().find(|report| report.in_use)
            && self.link.is_up()
        {
            let session = SessionId(self.link.id);
            self.shared.events.send(Event::PathChanged { session, report }).await;
        }
    }

    fn on_event(&mut self, event: &PathEvent) {
        match event {
            PathEvent::Established { id, .. } => self.opened(*id),
            PathEvent::Abandoned { id, .. } | PathEvent::Discarded { id, .. } => {
                let number = path_number(*id);
                self.close(number);
                self.paths.closed(self.now(), number);
            }
            _ => {}
        }
    }

    fn opened(&mut self, id: PathId) {
        let number = path_number(id);
        if self.open.contains_key(&number) {
            return;
        }
        let Some(path) = self.link.connection.path(id) else { return };
        let Ok(remote) = path.remote_address() else { return };
        let remote = canonical(remote);
        let way = describe(&self.shared, &self.link.peer.node, self.link.dialled, remote);
        self.link.ways.lock().open.insert(number, way);
        self.shared.routes.watch(remote, &self.pulse);
        self.paths.opened(self.now(), number, way.kind != PathKind::Direct, sample(&path));
        self.open.insert(number, Watched { path, remote });
    }

    fn close(&mut self, number: u32) {
        let Some(watched) = self.open.remove(&number) else { return };
        self.shared.routes.unwatch(watched.remote, &self.pulse);
        let mut known = self.link.ways.lock();
        known.open.remove(&number);
        known.in_use = known.in_use.filter(|path| *path != number);
        drop(known);
        // Refused for the last one, which stays; and for one that is closed already.
        let _ = watched.path.close();
    }

    fn sweep(&mut self) {
        let gone = |watched: &Watched| watched.path.status().is_err();
        let gone = self.open.iter().filter(|(_, watched)| gone(watched)).map(|(number, _)| *number);
        for number in gone.collect::<Vec<_>>() {
            self.close(number);
            self.paths.closed(self.now(), number);
        }
    }
}

fn sample(path: &Path) -> Sample {
    let stats = path.stats();
    Sample {
        rtt: stats.rtt,
        sent: stats.udp_tx.datagrams,
        heard: stats.udp_rx.datagrams,
        lost: stats.lost_packets,
    }
}

/// What the path to an address is.
fn describe(shared: &Shared, peer: &NodeId, is_dialled: bool, remote: SocketAddr) -> Way {
    let known = shared.reach.how(peer, remote);
    match shared.routes.behind(remote) {
        Some((Some(relay), addr)) => Way { addr, kind: PathKind::Relayed { relay }, how: How::Relayed },
        Some((None, addr)) => Way { addr, kind: PathKind::Direct, how: known.unwrap_or(How::Birthday) },
        // The peer's own allocation: this node sends straight to it.
        None if known == Some(How::Relayed) => {
            Way { addr: remote, kind: PathKind::Relayed { relay: remote }, how: How::Relayed }
        }
        None => {
            let how = known.unwrap_or(if is_dialled { How::Dialled } else { How::Accepted });
            Way { addr: remote, kind: PathKind::Direct, how }
        }
    }
}
