//! Clients with routers, servers with queues, skewed keys and one slow server.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use cs_identity::NodeId;
use cs_shard::{
    Admission, AdmissionConfig, AttemptId, Config, Member, PartitionMap, RequestId, Router, RouterConfig,
    RouterInput, RouterOutput, Subnet, Weight, Zone,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Agenda, exponential, id, percentile, seed};

/// How the holder of a request is picked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Policy {
    /// The router, as it ships.
    Router,
    /// The router without second attempts.
    RouterWithoutHedges,
    /// Any holder.
    Random,
    /// The holder that had the fewest requests when all clients were last told, twenty times a second.
    LeastLoaded,
}

/// What a run is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) servers: usize,
    pub(crate) clients: usize,
    pub(crate) requests: usize,
    /// Requests in a second, as a part of what all servers could do.
    pub(crate) load: f64,
    /// How many times slower server 0 is.
    pub(crate) slowness: f64,
    /// Of Zipf's law over a thousand keys.
    pub(crate) skew: f64,
    pub(crate) seed: u64,
}

impl Default for Scenario {
    fn default() -> Self {
        Self { servers: 30, clients: 20, requests: 60_000, load: 0.5, slowness: 10.0, skew: 0.9, seed: 1 }
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outcome {
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) mean_ms: f64,
    /// Work done for answers that nobody waited for, as a part of all work.
    pub(crate) wasted: f64,
    /// Requests never answered, as a part of all.
    pub(crate) failed: f64,
    pub(crate) hedged: f64,
}

const CONCURRENCY: u32 = 4;
const SERVICE_MS: f64 = 5.0;

struct Job {
    client: usize,
    attempt: AttemptId,
    service: Duration,
}

struct Server {
    admission: Admission,
    waiting: VecDeque<Job>,
    working: u32,
    slowness: f64,
}

enum Happening {
    Ask,
    Due(usize),
    Arrive(usize, Job),
    Cancelled(usize, usize, AttemptId),
    Worked(usize, Job),
    Back(usize, RouterInput),
    Tell,
}

struct World {
    scenario: Scenario,
    policy: Policy,
    map: PartitionMap,
    numbers: BTreeMap<NodeId, usize>,
    servers: Vec<Server>,
    routers: Vec<Router>,
    due: Vec<Option<Duration>>,
    /// Of another policy than the router's: whose each request is, and when it began.
    open: BTreeMap<AttemptId, (usize, Duration)>,
    told: Vec<usize>,
    agenda: Agenda<Happening>,
    now: Duration,
    rng: ChaCha8Rng,
    cumulated: Vec<f64>,
    left: usize,
    last: u64,
    took_ms: Vec<f64>,
    work: f64,
    wasted: f64,
    failed: usize,
    /// Attempts whose answers nobody waits for any more.
    unwanted: std::collections::BTreeSet<(usize, AttemptId)>,
}

/// Runs a scenario to its end.
pub(crate) fn run(policy: Policy, scenario: Scenario) -> Outcome {
    let mut world = World::new(policy, scenario);
    world.agenda.push(Duration::ZERO, Happening::Ask);
    world.agenda.push(Duration::ZERO, Happening::Tell);
    while let Some((at, what)) = world.agenda.pop(Duration::MAX) {
        world.now = at;
        world.take(what);
    }
    let hedges: u64 = world.routers.iter().map(|router| router.counters().hedges).sum();
    world.took_ms.sort_unstable_by(f64::total_cmp);
    Outcome {
        p50_ms: percentile(&world.took_ms, 0.5),
        p99_ms: percentile(&world.took_ms, 0.99),
        mean_ms: world.took_ms.iter().sum::<f64>() / world.took_ms.len() as f64,
        wasted: world.wasted / world.work,
        failed: world.failed as f64 / scenario.requests as f64,
        hedged: hedges as f64 / scenario.requests as f64,
    }
}

impl World {
    fn new(policy: Policy, scenario: Scenario) -> Self {
        let member = |number: usize| Member {
            id: id(number),
            weight: Weight::ONE,
            zone: Zone(number as u64 % 6),
            subnet: Subnet(number as u64),
        };
        let members: Vec<Member> = (0..scenario.servers).map(member).collect();
        let config = Config { partitions: 1024, ..Config::default() };
        let server = |number: usize| Server {
            admission: Admission::new(AdmissionConfig {
                concurrency: CONCURRENCY,
                ..AdmissionConfig::default()
            }),
            waiting: VecDeque::new(),
            working: 0,
            slowness: if number == 0 { scenario.slowness } else { 1.0 },
        };
        let hedges_percent = if policy == Policy::Router { 5 } else { 0 };
        let router = |number: usize| {
            let config = RouterConfig { hedges_percent, ..RouterConfig::default() };
            Router::new(config, Duration::ZERO, seed(number as u64)).expect("the settings work")
        };
        let weights = (1..=1000).map(|rank| f64::from(rank).powf(-scenario.skew));
        let cumulated = weights.scan(0.0, |sum, weight| {
            *sum += weight;
            Some(*sum)
        });
        Self {
            scenario,
            policy,
            map: PartitionMap::new(config, &members).expect("there are members"),
            numbers: members.iter().enumerate().map(|(number, member)| (member.id, number)).collect(),
            servers: (0..scenario.servers).map(server).collect(),
            routers: (0..scenario.clients).map(router).collect(),
            due: vec![None; scenario.clients],
            open: BTreeMap::new(),
            told: vec![0; scenario.servers],
            agenda: Agenda::default(),
            now: Duration::ZERO,
            rng: ChaCha8Rng::from_seed(seed(scenario.seed)),
            cumulated: cumulated.collect(),
            left: scenario.requests,
            last: 0,
            took_ms: Vec::new(),
            work: 0.0,
            wasted: 0.0,
            failed: 0,
            unwanted: std::collections::BTreeSet::new(),
        }
    }

    fn take(&mut self, what: Happening) {
        match what {
            Happening::Ask => self.ask(),
            Happening::Due(client) if self.due[client] == Some(self.now) => {
                self.due[client] = None;
                self.routers[client].handle_timeout(self.now);
                self.drain(client);
            }
            Happening::Due(_) => {}
            Happening::Arrive(server, job) => self.arrive(server, job),
            Happening::Cancelled(server, client, attempt) => self.cancelled(server, client, attempt),
            Happening::Worked(server, job) => self.worked(server, job),
            Happening::Back(client, input) => self.back(client, input),
            Happening::Tell => {
                for (told, server) in self.told.iter_mut().zip(&self.servers) {
                    *told = server.waiting.len() + server.working as usize;
                }
                if self.left > 0 {
                    self.agenda.push(self.now + Duration::from_millis(50), Happening::Tell);
                }
            }
        }
    }

    fn is_routed(&self) -> bool {
        matches!(self.policy, Policy::Router | Policy::RouterWithoutHedges)
    }

    /// A client makes a request for a key, and the next one is due.
    fn ask(&mut self) {
        self.left -= 1;
        let rate = self.scenario.load * self.scenario.servers as f64 * f64::from(CONCURRENCY) / SERVICE_MS;
        if self.left > 0 {
            let gap = exponential(&mut self.rng, 1.0 / rate);
            self.agenda.push(self.now + Duration::from_secs_f64(gap / 1000.0), Happening::Ask);
        }
        let drawn = self.rng.random_range(0.0..self.cumulated[self.cumulated.len() - 1]);
        let key = self.cumulated.partition_point(|sum| *sum < drawn) as u64;
        let holders: Vec<NodeId> =
            self.map.holders(&cs_shard::hash_key(&key.to_le_bytes())).map(|member| member.id).collect();
        let client = self.rng.random_range(0..self.scenario.clients);
        if self.is_routed() {
            self.routers[client].request(self.now, &holders).expect("there is room");
            self.drain(client);
            return;
        }
        let numbers = holders.iter().map(|holder| self.numbers[holder]);
        let server = if self.policy == Policy::Random {
            numbers.clone().nth(self.rng.random_range(0..holders.len()))
        } else {
            numbers.clone().min_by_key(|number| self.told[*number])
        };
        self.last += 1;
        let attempt = AttemptId(self.last);
        self.open.insert(attempt, (client, self.now));
        self.send(server.expect("somebody holds it"), client, attempt);
    }

    fn way(&mut self) -> Duration {
        Duration::from_secs_f64(self.rng.random_range(0.5..3.0) / 1000.0)
    }

    fn send(&mut self, server: usize, client: usize, attempt: AttemptId) {
        let service = exponential(&mut self.rng, SERVICE_MS) * self.servers[server].slowness;
        let job = Job { client, attempt, service: Duration::from_secs_f64(service / 1000.0) };
        let at = self.now + self.way();
        self.agenda.push(at, Happening::Arrive(server, job));
    }

    fn drain(&mut self, client: usize) {
        while let Some(output) = self.routers[client].poll_output() {
            match output {
                RouterOutput::Send { attempt, to, .. } => self.send(self.numbers[&to], client, attempt),
                RouterOutput::Cancel { attempt, to } => {
                    self.unwanted.insert((client, attempt));
                    let at = self.now + self.way();
                    self.agenda.push(at, Happening::Cancelled(self.numbers[&to], client, attempt));
                }
                RouterOutput::Done { took, .. } => self.took_ms.push(took.as_secs_f64() * 1000.0),
                RouterOutput::GaveUp { request: RequestId(_) } => self.failed += 1,
            }
        }
        let next = self.routers[client].poll_timeout();
        if let Some(at) = next.filter(|at| self.due[client].is_none_or(|due| *at < due)) {
            self.due[client] = Some(at);
            self.agenda.push(at, Happening::Due(client));
        }
    }

    fn arrive(&mut self, server: usize, job: Job) {
        // Without a router nobody would try again: such servers take everything.
        if self.is_routed() && self.servers[server].admission.admit().is_err() {
            let at = self.now + self.way();
            self.agenda.push(at, Happening::Back(job.client, RouterInput::Busy { attempt: job.attempt }));
            return;
        }
        self.servers[server].waiting.push_back(job);
        self.work_on(server);
    }

    fn work_on(&mut self, server: usize) {
        while self.servers[server].working < CONCURRENCY {
            let Some(job) = self.servers[server].waiting.pop_front() else { return };
            self.servers[server].working += 1;
            self.agenda.push(self.now + job.service, Happening::Worked(server, job));
        }
    }

    /// What waits is dropped; what is worked on is finished for nobody.
    fn cancelled(&mut self, server: usize, client: usize, attempt: AttemptId) {
        let waiting = &mut self.servers[server].waiting;
        let before = waiting.len();
        waiting.retain(|job| (job.client, job.attempt) != (client, attempt));
        if waiting.len() < before {
            self.servers[server].admission.cancel();
        }
    }

    fn worked(&mut self, server: usize, job: Job) {
        self.servers[server].working -= 1;
        self.servers[server].admission.finish(job.service);
        self.work += job.service.as_secs_f64();
        if self.unwanted.contains(&(job.client, job.attempt)) {
            self.wasted += job.service.as_secs_f64();
        }
        let at = self.now + self.way();
        self.agenda.push(at, Happening::Back(job.client, RouterInput::Answered { attempt: job.attempt }));
        self.work_on(server);
    }

    fn back(&mut self, client: usize, input: RouterInput) {
        if self.is_routed() {
            // An answer that was cancelled while it was on its way is nobody's fault.
            let _ = self.routers[client].handle_input(self.now, input);
            self.drain(client);
        } else if let RouterInput::Answered { attempt } = input
            && let Some((_, began)) = self.open.remove(&attempt)
        {
            self.took_ms.push((self.now - began).as_secs_f64() * 1000.0);
        }
    }
}
