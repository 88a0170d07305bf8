//! The world: machines, the network between them, and virtual time.

use crate::sim::Chance;
use crate::sim::check::{Ledger, Violation};
use crate::sim::happening::{Agenda, Happening};
use crate::sim::network::{Network, Weather};
use crate::sim::node::Machine;
use cs_dht::Contact;
use cs_identity::{NodeId, SecretKey};
use cs_node::api::{Problem, Reply, Request};
use cs_node::core::{CommandId, Event, Input, Output};
use cs_store::MemDisk;
use cs_transport::wire::Lane;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// The driver's loop comes round after at most this long.
const TURN: Duration = Duration::from_micros(500);

/// How often the driver tells the wall clock.
const WALL_CLOCK: Duration = Duration::from_secs(60);

/// An answer that takes longer than this is late: a join may take 45 s.
const ANSWER_LIMIT: Duration = Duration::from_secs(90);

/// A process that was told to end is started anew when it has; whether it has is looked at this often.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A simulated world.
#[derive(Debug)]
pub struct World {
    pub(crate) seed: u64,
    now: Duration,
    agenda: Agenda,
    pub(crate) chance: Chance,
    pub(crate) network: Network,
    pub(crate) machines: Vec<Machine>,
    pub(crate) addresses: BTreeMap<SocketAddr, usize>,
    answers: BTreeMap<(usize, CommandId), Result<Reply, Problem>>,
    /// Commands asked and not answered, with the life that they were asked in.
    unanswered: BTreeMap<(usize, CommandId), u32>,
    next_number: u64,
    pub(crate) ledger: Ledger,
    violation: Option<Violation>,
    events: Vec<(Duration, usize, Event)>,
    happened: u64,
    trace: blake3::Hasher,
    /// Whether every event is printed.
    pub tells: bool,
}

/// What a run was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Virtual time.
    pub virtual_time: Duration,
    /// Events.
    pub happened: u64,
    /// Hash of every event with its time: equal for equal runs.
    pub trace: [u8; 32],
}

impl World {
    /// So many machines, all started; the first is the node that others begin with.
    #[must_use]
    pub fn new(seed: u64, nodes: usize, weather: Weather) -> Self {
        let machines: Vec<Machine> = (0..nodes).map(|place| Machine::new(seed, place)).collect();
        let mut world = Self {
            seed,
            now: Duration::ZERO,
            agenda: Agenda::default(),
            chance: Chance::new(seed, "world"),
            network: Network::new(seed, weather),
            addresses: machines.iter().enumerate().map(|(place, machine)| (machine.addr, place)).collect(),
            machines,
            answers: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            next_number: 0,
            ledger: Ledger::default(),
            violation: None,
            events: Vec::new(),
            happened: 0,
            trace: blake3::Hasher::new(),
            tells: false,
        };
        for node in 0..nodes {
            let at = world.chance.span(Duration::from_secs(1));
            world.start_after(node, at);
        }
        world
    }

    /// Virtual time since the beginning.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.now
    }

    /// How many machines there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.machines.len()
    }

    /// Whether there is no machine.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.machines.is_empty()
    }

    /// A machine's ID.
    #[must_use]
    pub fn id(&self, node: usize) -> NodeId {
        self.machines[node].id
    }

    /// A machine's key, for those who play it.
    #[must_use]
    pub fn secret(&self, node: usize) -> &SecretKey {
        &self.machines[node].secret
    }

    /// The disk of a machine's state directory.
    #[must_use]
    pub fn disk(&self, node: usize) -> MemDisk {
        self.machines[node].disk.clone()
    }

    /// As `from`: says something to `to` that its own program would not say. `false` when there is no session.
    pub fn inject(&mut self, from: usize, to: usize, bytes: Vec<u8>) -> bool {
        let session = self.network.between(from, to);
        if let Some(session) = session {
            self.send(from, session, Lane::Normal, bytes);
        }
        session.is_some()
    }

    /// What the nodes reported since the last call.
    pub fn take_events(&mut self) -> Vec<(Duration, usize, Event)> {
        std::mem::take(&mut self.events)
    }

    /// What happened so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary { virtual_time: self.now, happened: self.happened, trace: *self.trace.finalize().as_bytes() }
    }

    pub(crate) fn plan(&mut self, at: Duration, node: usize, what: Happening) {
        self.agenda.plan(at.max(self.now), node, what);
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    pub(crate) fn tell(&self, text: impl FnOnce() -> String) {
        if self.tells {
            println!("{:>12.6} {}", self.now.as_secs_f64(), text());
        }
    }

    pub(crate) fn blame(&mut self, violation: Violation) {
        self.tell(|| format!("VIOLATION {violation}"));
        self.violation.get_or_insert(violation);
    }

    /// Lets so much virtual time pass.
    ///
    /// # Errors
    /// The first thing that must not happen and did.
    pub fn run_for(&mut self, span: Duration) -> Result<(), Violation> {
        self.run_until(self.now + span, |_| false).map(drop)
    }

    /// Lets time pass until something holds, which is looked at after every event; `false` when it never did.
    ///
    /// # Errors
    /// The first thing that must not happen and did.
    pub fn run_until(
        &mut self,
        end: Duration,
        mut holds: impl FnMut(&Self) -> bool,
    ) -> Result<bool, Violation> {
        while self.agenda.next_at().is_some_and(|at| at <= end) {
            if holds(self) {
                return Ok(true);
            }
            self.step()?;
        }
        self.now = end.max(self.now);
        Ok(holds(self))
    }

    fn step(&mut self) -> Result<(), Violation> {
        let Some(due) = self.agenda.pop() else { return Ok(()) };
        self.now = due.at;
        let machine = &mut self.machines[due.node];
        if due.what.life().is_some_and(|life| machine.process.is_none() || life != machine.life) {
            return Ok(());
        }
        if let Some(since) = machine.asleep_since
            && due.what.waits_for_the_sleeping()
        {
            // It looks again when it is awake.
            let at = due.at.max(since) + Duration::from_secs(1);
            self.plan(at, due.node, due.what);
            return Ok(());
        }
        self.happened += 1;
        let head =
            [&due.at.as_nanos().to_le_bytes()[..8], &(due.node as u32).to_le_bytes(), &[due.what.kind()]];
        self.trace.update(&head.concat()).update(due.what.payload());
        self.happen(due.node, due.what);
        self.violation.take().map_or(Ok(()), Err)
    }

    fn happen(&mut self, node: usize, what: Happening) {
        match what {
            Happening::Boot => self.boot(node),
            Happening::Turn { .. } => self.turn(node),
            Happening::WallClock { life } => {
                let unix_ms = self.machines[node].unix_ms(self.now);
                self.input(node, Input::WallClock { unix_ms });
                self.plan(self.now + WALL_CLOCK, node, Happening::WallClock { life });
            }
            Happening::SessionUp { session, .. } => self.session_up(node, session),
            Happening::SessionDown { session, peer, .. } => {
                self.input(node, Input::SessionDown { session, peer })
            }
            Happening::Deliver { session, bytes } => self.deliver(node, session, bytes),
            Happening::Flush { session } => self.flush(node, session),
            Happening::Idle { session, since } => self.idle(session, since),
            Happening::DialTried { dial, peer, addrs, .. } => self.dial_tried(node, dial, peer, &addrs),
            Happening::DialFailed { dial, peer, .. } => self.dial_failed(node, dial, peer),
            Happening::Request { from, from_life, rpc, bytes } => {
                self.request(node, from, from_life, rpc, &bytes)
            }
            Happening::Response { rpc, from, bytes, .. } => {
                let faults = self.ledger.faults;
                self.input(node, Input::RpcResponse { rpc, from, bytes: &bytes });
                if self.ledger.faults > faults {
                    self.tell(|| {
                        format!("n{node} was answered {:?}", cs_dht::wire::Reply::from_bytes(&bytes))
                    });
                }
            }
            Happening::Unanswered { rpc, .. } => self.input(node, Input::RpcFailed { rpc }),
            Happening::FolderStep { space, .. } => self.step_folder(node, space),
            Happening::News { space, event, .. } => self.news(node, space, event),
            Happening::Watched { space, path, .. } => self.scan_folder(node, space, Some(path)),
            Happening::Rescan { space, .. } => self.scan_folder(node, space, None),
        }
    }

    fn boot(&mut self, node: usize) {
        let (now, seed) = (self.now, self.seed);
        let bootstrap = vec![Contact { id: self.machines[0].id, addrs: vec![self.machines[0].addr] }];
        let machine = &mut self.machines[node];
        machine.boot_planned = false;
        if let Some(process) = &machine.process {
            if process.is_leaving {
                self.start_after(node, LOOK_AGAIN);
            }
            return;
        }
        match machine.boot(now, seed, bootstrap) {
            Ok(()) => {
                let life = machine.life;
                self.tell(|| format!("n{node} starts, life {life}"));
                self.plan(now + WALL_CLOCK, node, Happening::WallClock { life });
                self.carry_out(node);
                self.schedule(node);
                self.check_ledger(node);
            }
            // On a full disk a node cannot start; somebody makes room and tries again.
            Err(error) if self.machines[node].disk_is_full => {
                self.tell(|| format!("n{node} cannot start: {error}"));
                self.start_after(node, Duration::from_secs(5));
            }
            Err(error) => self.blame(Violation::Unopenable { node, error }),
        }
    }

    /// Gives the core an input; what follows is carried out in the next turn, as the driver does it.
    pub(crate) fn input(&mut self, node: usize, input: Input<'_>) {
        let now = self.now;
        let Some(process) = &mut self.machines[node].process else { return };
        let local = process.local(now);
        let fault = process.core.handle_input(local, input).err();
        if let Some(fault) = fault {
            self.tell(|| format!("n{node} blames {}: {}", fault.peer.short(), fault.what));
            self.ledger.faults += 1;
        }
        let at = now + self.chance.span(TURN);
        self.turn_at(node, at);
    }

    fn turn_at(&mut self, node: usize, at: Duration) {
        let machine = &mut self.machines[node];
        let life = machine.life;
        let Some(process) = &mut machine.process else { return };
        if process.turn_at.is_some_and(|planned| planned <= at) {
            return;
        }
        process.turn_at = Some(at);
        self.plan(at, node, Happening::Turn { life });
    }

    fn turn(&mut self, node: usize) {
        let now = self.now;
        let Some(process) = &mut self.machines[node].process else { return };
        // A turn that an earlier one made needless.
        if process.turn_at.is_none_or(|at| at > now) {
            return;
        }
        process.turn_at = None;
        let local = process.local(now);
        process.core.handle_timeout(local);
        let deadline = process.core.poll_timeout();
        if deadline.is_some_and(|at| at <= local) {
            self.blame(Violation::Stuck { node });
        }
        self.carry_out(node);
        self.schedule(node);
    }

    fn schedule(&mut self, node: usize) {
        let Some(process) = &self.machines[node].process else { return };
        let deadline = process.core.poll_timeout().and_then(|at| process.global(at));
        // Nothing in a simulation lasts a year: beyond it lies "never".
        if let Some(at) = deadline.filter(|at| *at < self.now + Duration::from_secs(365 * 86_400)) {
            self.turn_at(node, at);
        }
    }

    /// Does everything that the core wants done.
    pub(crate) fn carry_out(&mut self, node: usize) {
        loop {
            let Some(process) = &mut self.machines[node].process else { return };
            let Some(output) = process.core.poll_output() else { return };
            self.carry_out_one(node, output);
        }
    }

    fn carry_out_one(&mut self, node: usize, output: Output) {
        match output {
            Output::Dial { peer, addrs, .. } => self.dial(node, peer, addrs),
            Output::Send { session, lane, bytes } => self.send(node, session, lane, bytes),
            Output::Close { session } => self.end_session(session),
            Output::Rpc { rpc, to, addr, bytes } => self.rpc(node, rpc, to, addr, bytes),
            Output::RpcReply { token, bytes } => self.rpc_reply(node, token, bytes),
            // Machines are on different networks, and each reaches every other.
            Output::Announce { .. } | Output::SearchLan | Output::Relays { .. } => {}
            Output::OpenFolder { space, dir, chunk_key, create } => {
                self.open_folder(node, space, &dir, chunk_key, create);
            }
            Output::Folder { space, command } => {
                self.ledger.note_command(node, space, &command);
                self.tell(|| format!("n{node} to its folder: {}", cut(format!("{command:?}"), 300)));
                self.command_folder(node, space, command);
            }
            Output::CloseFolder { space } => {
                if let Some(process) = &mut self.machines[node].process {
                    process.folders.remove(&space);
                }
            }
            Output::Answer { id, result } => {
                self.tell(|| format!("n{node} answers {}", brief(&result)));
                self.unanswered.remove(&(node, id));
                self.answers.insert((node, id), result);
            }
            Output::Event(event) => {
                self.tell(|| format!("n{node} {event:?}"));
                self.events.push((self.now, node, event));
            }
            Output::Stop => self.stop(node),
        }
    }

    /// Asks a node something; the answer comes later. `None` when it does not run.
    pub fn command(&mut self, node: usize, request: Request) -> Option<CommandId> {
        if !self.machines[node].is_awake() {
            return None;
        }
        let id = self.number();
        self.tell(|| format!("n{node} is asked {request:?}"));
        self.unanswered.insert((node, id), self.machines[node].life);
        if let Some(process) = &mut self.machines[node].process {
            process.is_leaving |= matches!(request, Request::Stop);
        }
        self.input(node, Input::Command { id, request });
        Some(id)
    }

    /// The answer to a command, once it is there.
    pub fn take_answer(&mut self, node: usize, id: CommandId) -> Option<Result<Reply, Problem>> {
        self.answers.remove(&(node, id))
    }

    /// Whether nobody will answer: the process that was asked is gone.
    #[must_use]
    pub fn is_forgotten(&self, node: usize, id: CommandId) -> bool {
        let machine = &self.machines[node];
        let asked_in = self.unanswered.get(&(node, id));
        asked_in.is_some_and(|life| machine.process.is_none() || *life != machine.life)
    }

    /// Asks what a node answers without waiting for anybody, at this very instant.
    pub fn ask_now(&mut self, node: usize, request: Request) -> Option<Result<Reply, Problem>> {
        let tells = std::mem::replace(&mut self.tells, false);
        let id = self.command(node, request);
        self.carry_out(node);
        self.tells = tells;
        self.take_answer(node, id?)
    }

    /// Asks a node and lets time pass until it answers.
    ///
    /// # Errors
    /// What must not happen, and no answer in time is among it.
    pub fn ask(&mut self, node: usize, request: Request) -> Result<Result<Reply, Problem>, Violation> {
        let Some(id) = self.command(node, request) else { return Err(Violation::Down { node }) };
        self.answer(node, id)
    }

    /// Lets time pass until a command is answered.
    ///
    /// # Errors
    /// As [`World::ask`].
    pub fn answer(&mut self, node: usize, id: CommandId) -> Result<Result<Reply, Problem>, Violation> {
        let end = self.now + ANSWER_LIMIT;
        self.run_until(end, |world| world.answers.contains_key(&(node, id)))?;
        self.take_answer(node, id).ok_or(Violation::NoAnswer { node })
    }
}

fn brief(result: &Result<Reply, Problem>) -> String {
    match result {
        Ok(reply) => cut(format!("{reply:?}"), 160),
        Err(problem) => format!("{:?}: {}", problem.code, problem.message),
    }
}

/// The beginning of a text.
pub(crate) fn cut(mut text: String, most: usize) -> String {
    if let Some(at) = (0..=most).rev().find(|at| text.is_char_boundary(*at)).filter(|_| text.len() > most) {
        text.truncate(at);
        text.push('…');
    }
    text
}
