//! Nodes in cities with access networks, routers and sessions, that sort out among themselves who serves whom.

use std::time::Duration;

use cs_identity::NodeId;
use cs_shard::{Facts, Role, Roles, RolesConfig, RolesEvent, RolesInput, RolesOutput, Subnet, Zone};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Agenda, Numbers, exponential, id, normal, percentile, seed};

const CITIES: usize = 14;
/// Zones of a city: providers.
const PROVIDERS: u64 = 3;
/// Of a thousand messages.
const LOST: u32 = 5;

#[derive(Debug)]
enum Happening {
    Due(u32),
    Arrive {
        from: u32,
        to: u32,
        bytes: Vec<u8>,
    },
    /// The session of this number ends, the next one begins.
    Leave(u32, u32),
    Return(u32),
    /// The DHT tells somebody of hubs.
    Hear(u32),
}

struct Node {
    roles: Option<Roles>,
    session: u32,
    /// On a plane, in milliseconds one way; and the way to it.
    place: (f64, f64),
    access: f64,
    zone: Zone,
    subnet: Subnet,
    /// Behind a router: whom it has sent to, ascending, and nobody else gets through.
    opened: Option<Vec<u32>>,
    facts: Facts,
    booted_at: Duration,
    due_at: Option<Duration>,
    stranded_at: Option<Duration>,
}

/// What was seen in a span of time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) hubs: usize,
    pub(crate) flips_per_node_hour: f64,
    /// Messages that a node sends in a second, on average.
    pub(crate) messages_per_node_second: f64,
    /// Leaves attached to a hub (each is to two or three): 1st, 50th and 99th percentile over hubs and minutes.
    pub(crate) leaves: [f64; 3],
    /// Of hubs and minutes, the part within 50 to 200 leaves.
    pub(crate) within: f64,
    /// Round trip to the home hub over that to the nearest hub there is: median, 95th percentile.
    pub(crate) rtt_ratio: [f64; 2],
    /// The same as a difference in milliseconds.
    pub(crate) rtt_excess_ms: [f64; 2],
    /// How long leaves had no hub that was up: number of times, 99th percentile, the longest.
    pub(crate) stranded: usize,
    pub(crate) stranded_s: [f64; 2],
    /// Times that a node asked the DHT for hubs.
    pub(crate) isolated: u64,
    pub(crate) leads: usize,
    pub(crate) roots: usize,
}

pub(crate) struct World {
    nodes: Vec<Node>,
    ids: Vec<NodeId>,
    numbers: Numbers,
    agenda: Agenda<Happening>,
    pub(crate) now: Duration,
    rng: ChaCha8Rng,
    /// Mean length of a session in hours; the next begins after a tenth of one.
    session_hours: f64,
    flips: u64,
    sent: u64,
    isolated: u64,
    stranded_s: Vec<f64>,
    /// A planted fault: no timer of any node runs.
    pub(crate) is_deaf: bool,
}

impl World {
    /// `count` nodes, of which every hundredth is a hub at first and everybody's seed.
    pub(crate) fn new(count: usize, session_hours: f64, number: u64) -> Self {
        let mut rng = ChaCha8Rng::from_seed(seed(number));
        let cities: Vec<(f64, f64)> =
            (0..CITIES).map(|_| (rng.random_range(0.0..100.0), rng.random_range(0.0..50.0))).collect();
        let nodes = (0..count).map(|number| node(number, &cities, &mut rng)).collect();
        let ids: Vec<NodeId> = (0..count).map(id).collect();
        let numbers = Numbers::new(&ids);
        let now = Duration::from_secs(1000);
        let mut world = Self {
            nodes,
            ids,
            numbers,
            agenda: Agenda::default(),
            now,
            rng,
            session_hours,
            flips: 0,
            sent: 0,
            isolated: 0,
            stranded_s: Vec::new(),
            is_deaf: false,
        };
        for node in 0..count as u32 {
            // Hubs at once, all others within ten minutes.
            let at = if world.is_founder(node) {
                now
            } else {
                now + Duration::from_secs_f64(600.0 * world.rng.random::<f64>())
            };
            world.agenda.push(at, Happening::Return(node));
        }
        world
    }

    fn is_founder(&self, node: u32) -> bool {
        node.is_multiple_of(100)
    }

    fn start(&mut self, number: u32) {
        let founders = self.nodes.len().div_ceil(100);
        let seeds: Vec<NodeId> = (0..6)
            .map(|_| self.ids[self.rng.random_range(0..founders) * 100])
            .filter(|id| *id != self.ids[number as usize])
            .collect();
        let is_first = self.is_founder(number) && self.nodes[number as usize].session == 0;
        let start = seed(self.rng.random_range(0..u64::MAX));
        let session = Duration::from_secs_f64(exponential(&mut self.rng, self.session_hours * 3600.0) + 60.0);
        let node = &mut self.nodes[number as usize];
        let initial = if is_first { Role::Hub } else { Role::Leaf };
        let config = RolesConfig { zone: node.zone, initial, ..RolesConfig::default() };
        let mut roles =
            Roles::new(config, self.ids[number as usize], self.now, start).expect("the settings work");
        roles.set_facts(self.now, node.facts);
        roles.learn(self.now, &seeds);
        (node.roles, node.due_at, node.booted_at, node.stranded_at) = (Some(roles), None, self.now, None);
        node.session += 1;
        self.agenda.push(self.now + session, Happening::Leave(number, node.session));
        self.drain(number);
    }

    /// Half of those that go say so.
    fn leave(&mut self, number: u32) {
        if self.rng.random_ratio(1, 2) {
            if let Some(roles) = &mut self.nodes[number as usize].roles {
                roles.suspend(self.now);
            }
            self.drain(number);
        }
        self.kill(number);
        let away = exponential(&mut self.rng, self.session_hours * 360.0);
        self.agenda.push(self.now + Duration::from_secs_f64(away), Happening::Return(number));
    }

    fn kill(&mut self, number: u32) {
        let node = &mut self.nodes[number as usize];
        (node.roles, node.stranded_at) = (None, None);
        node.opened.iter_mut().for_each(Vec::clear);
    }

    /// Half of all hubs are gone at once, without a word; returns how many.
    pub(crate) fn kill_half_of_the_hubs(&mut self) -> usize {
        let hubs = self.hubs();
        let dead: Vec<u32> = hubs.iter().copied().step_by(2).collect();
        for number in &dead {
            self.kill(*number);
            self.agenda.push(self.now + Duration::from_secs(3 * 3600), Happening::Return(*number));
        }
        dead.len()
    }

    pub(crate) fn hubs(&self) -> Vec<u32> {
        let is_hub = |number: &u32| self.roles(*number).is_some_and(|roles| roles.role() == Role::Hub);
        (0..self.nodes.len() as u32).filter(is_hub).collect()
    }

    fn roles(&self, number: u32) -> Option<&Roles> {
        self.nodes[number as usize].roles.as_ref()
    }

    fn is_hub(&self, id: &NodeId) -> bool {
        self.roles(self.numbers.of(id)).is_some_and(|roles| roles.role() == Role::Hub)
    }

    /// Leaves that have been up for a minute, by how many living hubs each is attached to.
    pub(crate) fn attachments(&self) -> [usize; 4] {
        let mut counts = [0; 4];
        for node in &self.nodes {
            let Some(roles) = node.roles.as_ref().filter(|roles| roles.role() == Role::Leaf) else {
                continue;
            };
            if node.booted_at + Duration::from_secs(60) < self.now {
                counts[roles.attached().filter(|(id, _)| self.is_hub(id)).count().min(3)] += 1;
            }
        }
        counts
    }

    fn rtt_ms(&self, a: u32, b: u32) -> f64 {
        let (a, b) = (&self.nodes[a as usize], &self.nodes[b as usize]);
        let way = ((a.place.0 - b.place.0).powi(2) + (a.place.1 - b.place.1).powi(2)).sqrt();
        2.0 * (way + a.access + b.access)
    }

    /// Lets time pass without looking.
    pub(crate) fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some((at, what)) = self.agenda.pop(end) {
            self.now = at;
            match what {
                Happening::Due(_) if self.is_deaf => {}
                Happening::Due(number) => self.due(number),
                Happening::Arrive { from, to, bytes } => self.arrive(from, to, &bytes),
                Happening::Leave(number, session) => {
                    if self.nodes[number as usize].session == session && self.roles(number).is_some() {
                        self.leave(number);
                    }
                }
                Happening::Return(number) => self.start(number),
                Happening::Hear(number) => self.hear(number),
            }
        }
        self.now = end;
    }

    /// Some hubs anywhere, as a lookup finds them.
    fn hear(&mut self, number: u32) {
        let hubs = self.hubs();
        let some: Vec<NodeId> = (0..4.min(hubs.len()))
            .map(|_| self.ids[hubs[self.rng.random_range(0..hubs.len())] as usize])
            .collect();
        if let Some(roles) = &mut self.nodes[number as usize].roles {
            roles.learn(self.now, &some);
        }
        self.drain(number);
    }

    fn due(&mut self, number: u32) {
        let now = self.now;
        let node = &mut self.nodes[number as usize];
        if node.due_at != Some(now) {
            return;
        }
        node.due_at = None;
        let Some(roles) = &mut node.roles else { return };
        roles.handle_timeout(now);
        assert!(
            roles.poll_timeout().is_none_or(|at| at > now),
            "a deadline is later than the time-out that was run"
        );
        self.drain(number);
    }

    fn arrive(&mut self, from: u32, to: u32, bytes: &[u8]) {
        let (peer, subnet) = (self.ids[from as usize], self.nodes[from as usize].subnet);
        let node = &mut self.nodes[to as usize];
        if node.opened.as_ref().is_some_and(|opened| opened.binary_search(&from).is_err()) {
            return;
        }
        let Some(roles) = &mut node.roles else { return };
        // What arrives late, or for the session before, is blamed on nobody here.
        let _ = roles.handle_input(self.now, RolesInput::Message { from: peer, subnet, bytes });
        self.drain(to);
    }

    fn drain(&mut self, number: u32) {
        loop {
            let Some(roles) = &mut self.nodes[number as usize].roles else { return };
            match roles.poll_output() {
                Some(RolesOutput::Send { to, bytes }) => self.carry(number, to, bytes),
                Some(RolesOutput::Event(RolesEvent::Role(_))) => self.flips += 1,
                Some(RolesOutput::Event(RolesEvent::Isolated)) => {
                    self.isolated += 1;
                    self.agenda.push(self.now + Duration::from_secs(1), Happening::Hear(number));
                }
                Some(RolesOutput::Event(_)) => {}
                None => break,
            }
        }
        let node = &mut self.nodes[number as usize];
        let next = node.roles.as_ref().and_then(Roles::poll_timeout).map(|at| at.max(self.now));
        if let Some(at) = next.filter(|at| node.due_at.is_none_or(|due| *at < due || due <= self.now)) {
            node.due_at = Some(at);
            self.agenda.push(at, Happening::Due(number));
        }
    }

    fn carry(&mut self, from: u32, to: NodeId, bytes: Vec<u8>) {
        self.sent += 1;
        let to = self.numbers.of(&to);
        if let Some(opened) = &mut self.nodes[from as usize].opened
            && let Err(at) = opened.binary_search(&to)
        {
            opened.insert(at, to);
        }
        if !self.rng.random_ratio(LOST, 1000) {
            let way = self.rtt_ms(from, to) / 2.0 * self.rng.random_range(1.0..1.1);
            self.agenda.push(
                self.now + Duration::from_secs_f64(way / 1000.0),
                Happening::Arrive { from, to, bytes },
            );
        }
    }

    /// Lets time pass and watches: who is stranded every second, the rest every minute.
    pub(crate) fn watch(&mut self, span: Duration) -> Seen {
        let (flips, sent, isolated) = (self.flips, self.sent, self.isolated);
        self.stranded_s.clear();
        let (mut loads, mut ratios, mut excesses) = (Vec::new(), Vec::new(), Vec::new());
        for second in 1..=span.as_secs() {
            self.pass(Duration::from_secs(1));
            self.look_for_stranded();
            if second % 60 == 0 {
                self.sample(&mut loads, &mut ratios, &mut excesses);
            }
        }
        let still = self.nodes.iter().filter_map(|node| node.stranded_at);
        self.stranded_s.extend(still.map(|at| (self.now - at).as_secs_f64()));
        for all in [&mut loads, &mut ratios, &mut excesses, &mut self.stranded_s] {
            all.sort_unstable_by(f64::total_cmp);
        }
        let up = self.nodes.iter().filter(|node| node.roles.is_some()).count() as f64;
        let within = loads.iter().filter(|load| (50.0..=200.0).contains(*load)).count();
        let hubs = self.hubs();
        let at = |level| {
            hubs.iter().filter(|hub| self.roles(**hub).is_some_and(|roles| roles.place().0 == level)).count()
        };
        let (leads, roots) = (at(2), at(3));
        Seen {
            hubs: hubs.len(),
            flips_per_node_hour: (self.flips - flips) as f64 / up / (span.as_secs_f64() / 3600.0),
            messages_per_node_second: (self.sent - sent) as f64 / up / span.as_secs_f64(),
            leaves: [0.01, 0.5, 0.99].map(|q| percentile(&loads, q)),
            within: within as f64 / loads.len().max(1) as f64,
            rtt_ratio: [0.5, 0.95].map(|q| percentile(&ratios, q)),
            rtt_excess_ms: [0.5, 0.95].map(|q| percentile(&excesses, q)),
            stranded: self.stranded_s.len(),
            stranded_s: [0.99, 1.0].map(|q| percentile(&self.stranded_s, q)),
            isolated: self.isolated - isolated,
            leads,
            roots,
        }
    }

    /// A leaf that was attached and has no living hub any more is stranded, until it has one again.
    fn look_for_stranded(&mut self) {
        for number in 0..self.nodes.len() {
            let node = &self.nodes[number];
            let Some(roles) = node.roles.as_ref().filter(|roles| roles.role() == Role::Leaf) else {
                self.nodes[number].stranded_at = None;
                continue;
            };
            let is_held = roles.attached().any(|(id, _)| self.is_hub(&id));
            match (is_held, node.stranded_at) {
                (true, Some(at)) => {
                    self.stranded_s.push((self.now - at).as_secs_f64());
                    self.nodes[number].stranded_at = None;
                }
                (false, None) if node.booted_at + Duration::from_secs(60) < self.now => {
                    self.nodes[number].stranded_at = Some(self.now);
                }
                _ => {}
            }
        }
    }

    fn sample(&mut self, loads: &mut Vec<f64>, ratios: &mut Vec<f64>, excesses: &mut Vec<f64>) {
        let hubs = self.hubs();
        for hub in &hubs {
            loads.extend(self.roles(*hub).map(|roles| roles.leaves() as f64));
        }
        for _ in 0..200 {
            let number = self.rng.random_range(0..self.nodes.len()) as u32;
            let home = self.roles(number).filter(|roles| roles.role() == Role::Leaf).and_then(Roles::home);
            let Some(home) = home.filter(|home| self.is_hub(home)) else { continue };
            let nearest = hubs.iter().map(|hub| self.rtt_ms(number, *hub)).fold(f64::MAX, f64::min);
            let own = self.rtt_ms(number, self.numbers.of(&home));
            ratios.push(own / nearest);
            excesses.push(own - nearest);
        }
    }
}

fn node(number: usize, cities: &[(f64, f64)], rng: &mut ChaCha8Rng) -> Node {
    let city = rng.random_range(0..CITIES);
    let (x, y) = cities[city];
    let is_founder = number.is_multiple_of(100);
    let is_open = is_founder || rng.random_ratio(4, 10);
    let quality: f64 = if is_founder { 0.9 } else { rng.random() };
    let facts = Facts {
        uptime: Duration::from_secs_f64(24.0 * 3600.0 * rng.random_range(0.0..1.0f64).max(quality / 2.0)),
        bandwidth_p10: (quality * f64::from(5 << 20)) as u64,
        headroom_percent: rng.random_range(30..95),
        errors_permille: rng.random_range(0..20),
    };
    Node {
        roles: None,
        session: 0,
        place: (x + normal(rng), y + normal(rng)),
        access: rng.random_range(0.5..4.0),
        zone: Zone(city as u64 * PROVIDERS + rng.random_range(0..PROVIDERS)),
        subnet: Subnet(number as u64 / 2),
        opened: (!is_open).then(Vec::new),
        facts,
        booted_at: Duration::ZERO,
        due_at: None,
        stranded_at: None,
    }
}
