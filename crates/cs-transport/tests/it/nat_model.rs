//! A small internet of two homes: NATs by RFC 4787's terms, latency and loss, all from one seed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use cs_transport::punch::{Base, CheckKey, Output, Punch, PunchConfig, TargetKind, TargetState, judge_ports};
use cs_transport::wire::{Candidate, CandidateSource, NatHint};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A router as lab/README.md names them; `Public` is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Public,
    Full,
    Addr,
    Port,
    Sym,
    Seq,
}

pub(crate) struct Nat {
    kind: Kind,
    pub(crate) hairpin: bool,
    ip: IpAddr,
    next_port: u16,
    /// (inside, destination if it counts) -> outside port.
    mappings: BTreeMap<(SocketAddr, Option<SocketAddr>), u16>,
    inside: BTreeMap<u16, SocketAddr>,
    /// (outside port, to whom it has sent).
    holes: BTreeSet<(u16, SocketAddr)>,
}

impl Nat {
    fn new(kind: Kind, ip: IpAddr, first_port: u16) -> Self {
        let (mappings, inside, holes) = Default::default();
        Self { kind, hairpin: false, ip, next_port: first_port, mappings, inside, holes }
    }

    fn outbound(&mut self, inside: SocketAddr, to: SocketAddr, rng: &mut ChaCha8Rng) -> SocketAddr {
        if self.kind == Kind::Public {
            return inside;
        }
        let is_symmetric = matches!(self.kind, Kind::Sym | Kind::Seq);
        let key = (inside, is_symmetric.then_some(to));
        let port = *self.mappings.entry(key).or_insert_with(|| {
            let port = loop {
                let port = if self.kind == Kind::Sym {
                    rng.random_range(1024..=u16::MAX)
                } else {
                    self.next_port = self.next_port.checked_add(1).unwrap_or(1024);
                    self.next_port
                };
                if !self.inside.contains_key(&port) {
                    break port;
                }
            };
            self.inside.insert(port, inside);
            port
        });
        self.holes.insert((port, to));
        SocketAddr::new(self.ip, port)
    }

    fn inbound(&self, from: SocketAddr, to: SocketAddr) -> Option<SocketAddr> {
        if self.kind == Kind::Public {
            return Some(to);
        }
        let is_open = match self.kind {
            Kind::Public | Kind::Full => true,
            Kind::Addr => self.holes.iter().any(|(port, peer)| *port == to.port() && peer.ip() == from.ip()),
            Kind::Port | Kind::Sym | Kind::Seq => self.holes.contains(&(to.port(), from)),
        };
        self.inside.get(&to.port()).copied().filter(|_| is_open)
    }
}

/// What a run came to.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// What each side succeeded by first, and when.
    pub(crate) first: [Option<(TargetKind, Duration)>; 2],
    pub(crate) packets: [u32; 2],
}

impl Outcome {
    pub(crate) fn is_open(&self) -> bool {
        self.first.iter().all(Option::is_some)
    }
}

pub(crate) struct World {
    nats: Vec<Nat>,
    /// Which router each host is behind, and its own address.
    homes: [(usize, SocketAddr); 2],
    rng: ChaCha8Rng,
    pub(crate) loss_percent: u32,
    /// Hosts of one home that cannot hear each other, as in many guest networks.
    pub(crate) isolated: bool,
    /// IPv6 addresses, reachable without any NAT.
    pub(crate) six: bool,
}

const SERVERS: [([u8; 4], u16); 3] = [([50, 0, 0, 10], 3478), ([50, 0, 0, 11], 3478), ([50, 0, 0, 12], 3478)];

impl World {
    pub(crate) fn new(one: Kind, two: Kind, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut home = |index: u8, kind| {
            let ip = IpAddr::from([50, 1, index, 1]);
            let port = rng.random_range(2000..60_000);
            let host = if kind == Kind::Public { ip } else { IpAddr::from([10, 0, index, 2]) };
            (Nat::new(kind, ip, port), SocketAddr::new(host, 4433))
        };
        let ((one, first), (two, second)) = (home(1, one), home(2, two));
        let homes = [(0, first), (1, second)];
        Self { nats: vec![one, two], homes, rng, loss_percent: 0, isolated: false, six: false }
    }

    /// Both hosts behind one router.
    pub(crate) fn one_home(kind: Kind, seed: u64) -> Self {
        let mut world = Self::new(kind, kind, seed);
        world.homes[1] = (0, SocketAddr::from(([10, 0, 1, 3], 4433)));
        world
    }

    pub(crate) fn hairpin(mut self) -> Self {
        self.nats.iter_mut().for_each(|nat| nat.hairpin = true);
        self
    }

    fn six_of(host: usize) -> SocketAddr {
        SocketAddr::from(([0x2a0a, 0xf0, 0, 0, 0, 0, 0, host as u16 + 1], 4433))
    }

    /// Where a datagram of `host` arrives: (host, its address there, whence it seems to come).
    fn carry(
        &mut self,
        host: usize,
        from: SocketAddr,
        to: SocketAddr,
    ) -> Option<(usize, SocketAddr, SocketAddr)> {
        if to.is_ipv6() {
            let other = 1 - host;
            return (self.six && to == Self::six_of(other)).then_some((other, to, Self::six_of(host)));
        }
        let home = self.homes[host].0;
        let IpAddr::V4(ip) = to.ip() else { return None };
        if ip.is_private() {
            let other = (0..2).find(|other| self.homes[*other] == (home, SocketAddr::new(to.ip(), 4433)))?;
            return (!self.isolated).then_some((other, to, from));
        }
        let outside = self.nats[home].outbound(from, to, &mut self.rng);
        let towards = self.nats.iter().position(|nat| nat.ip == to.ip())?;
        if towards == home && !self.nats[home].hairpin {
            return None;
        }
        let inside = self.nats[towards].inbound(outside, to)?;
        let other = (0..2).find(|other| self.homes[*other].1.ip() == inside.ip())?;
        Some((other, inside, outside))
    }

    /// What a node does before it tells its candidates.
    fn gather(&mut self, host: usize) -> (NatHint, Vec<Candidate>) {
        let (home, local) = self.homes[host];
        let seen = SERVERS.map(|server| self.nats[home].outbound(local, server.into(), &mut self.rng));
        let hint = judge_ports(&seen);
        let mut candidates = vec![Candidate { source: CandidateSource::Host, addr: local }];
        if self.six {
            candidates.push(Candidate { source: CandidateSource::Host, addr: Self::six_of(host) });
        }
        if seen[2] != local {
            candidates.push(Candidate { source: CandidateSource::Reflexive, addr: seen[2] });
        }
        (hint, candidates)
    }

    /// Both sides punch; the second one starts 30 ms later, as its signal takes.
    pub(crate) fn run(&mut self) -> Outcome {
        let gathered = [self.gather(0), self.gather(1)];
        let key = CheckKey::derive(&[1; 16], &[2; 16]);
        let mut machines = [0usize, 1].map(|host| {
            let (local_nat, (remote_nat, remote)) = (gathered[host].0, gathered[1 - host].clone());
            let config = PunchConfig { key: key.clone(), is_asker: host == 0, local_nat, remote_nat, remote };
            Punch::new(config, Duration::from_millis(30 * host as u64), self.rng.random())
        });
        let mut wire = BTreeMap::<(Duration, u64), (usize, Base, SocketAddr, Vec<u8>)>::new();
        let mut first = [None, None];
        let mut serial = 0;
        loop {
            let timer = (0..2).filter_map(|host| Some((machines[host].poll_timeout()?, host))).min();
            let arrival = wire.keys().next().map(|(at, _)| *at);
            let (now, host) = match (timer, arrival) {
                (Some((at, host)), arrival) if arrival.is_none_or(|arrival| at < arrival) => {
                    machines[host].handle_timeout(at);
                    (at, host)
                }
                (_, Some(at)) => {
                    let (_, (host, base, from, bytes)) = wire.pop_first().expect("it was there");
                    // A machine that is through, or a datagram for nobody: faults are harmless.
                    let _ = machines[host].handle_input(at, base, from, &bytes);
                    (at, host)
                }
                _ => break,
            };
            while let Some(output) = machines[host].poll_output() {
                match output {
                    Output::Send { base, to, bytes } => {
                        let from = self.address_of(host, base);
                        let carried = self.carry(host, from, to);
                        let is_lost = self.rng.random_range(0..100) < self.loss_percent;
                        let latency = Duration::from_micros(self.rng.random_range(15_000..25_000));
                        if let Some((other, inside, seen)) = carried.filter(|_| !is_lost) {
                            serial += 1;
                            wire.insert((now + latency, serial), (other, Self::base_of(inside), seen, bytes));
                        }
                    }
                    Output::OpenSockets(count) => machines[host].opened(now, count),
                    Output::Succeeded { base, to, kind, .. } => {
                        let from = self.address_of(host, base);
                        let reached = self.carry(host, from, to).map(|(other, ..)| other);
                        assert_eq!(reached, Some(1 - host), "what is called open reaches the peer");
                        first[host].get_or_insert((kind, now));
                    }
                    Output::Finished => {}
                    other => panic!("not expected: {other:?}"),
                }
            }
        }
        for (host, machine) in machines.iter().enumerate() {
            let open =
                machine.targets().iter().any(|target| matches!(target.state, TargetState::Open { .. }));
            assert!(first[host].is_some() || !open, "an open target was reported");
        }
        Outcome { first, packets: [machines[0].packets(), machines[1].packets()] }
    }

    fn address_of(&self, host: usize, base: Base) -> SocketAddr {
        let (_, main) = self.homes[host];
        match base {
            Base::Main => main,
            Base::Extra(index) => SocketAddr::new(main.ip(), 20_000 + index),
        }
    }

    fn base_of(inside: SocketAddr) -> Base {
        inside.port().checked_sub(20_000).filter(|index| *index < 256).map_or(Base::Main, Base::Extra)
    }
}
