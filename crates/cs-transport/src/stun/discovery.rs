//! Finding out what kind of NAT is on the way (RFC 5780 section 4), the client's side. Rule TP-29.

use core::net::SocketAddr;
use core::time::Duration;
use std::collections::VecDeque;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::attribute::AttributeKind;
use super::binding::{TransactionId, read_binding_answer};
use super::message::{Builder, Class, Message, Method};
use super::quad::{CHANGE_IP, CHANGE_PORT};
use crate::wire::DecodeError;

/// Wait for the first answer; doubles with each further request.
const FIRST_WAIT: Duration = Duration::from_millis(300);
/// How often a question is asked: after 2.1 s there is no answer. Silence is an answer too, so that this is also how long a
/// filter takes to be found.
const SENDS_MAX: u8 = 3;

/// On what a mapping, or a filter, depends (RFC 4787 sections 4.1 and 5): the later, the stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dependence {
    /// On nothing: one mapping for all, and whoever knows it can send to it.
    None,
    /// On the other side's address.
    Address,
    /// On the other side's address and port.
    AddressAndPort,
}

/// What was found out. `None`: the server could not be asked that, since it has one address only or fell silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Behaviour {
    /// The address that the server sees.
    pub mapped: Option<SocketAddr>,
    /// When the NAT gives another one.
    pub mapping: Option<Dependence>,
    /// Whose datagrams it lets in.
    pub filtering: Option<Dependence>,
    /// Whether a datagram to one's own mapped address comes back.
    pub hairpin: Option<bool>,
    /// By how much the port grew from one mapping to the next, if two were made one right after the other and it grew by
    /// at most 64 twice: the next one can be predicted.
    pub port_step: Option<u16>,
}

/// What a discovery wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiscoveryOutput {
    /// Send this there.
    Send {
        /// Whither.
        to: SocketAddr,
        /// What.
        bytes: Vec<u8>,
    },
    /// It is done; nothing follows.
    Done(Behaviour),
}

/// The questions, in this order: filters are asked about before anything is sent to the server's other address, since sending
/// opens them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Mapped,
    FilterAddress,
    FilterPort,
    MapAddress,
    MapPort,
    Hairpin,
    Done,
}

/// One discovery, on one socket that has sent nothing to this server before (a NAT remembers for minutes). A machine: it
/// sends and waits through its caller.
#[derive(Debug)]
pub struct Discovery {
    now: Duration,
    server: SocketAddr,
    other: Option<SocketAddr>,
    step: Step,
    transaction: TransactionId,
    sends: u8,
    wait: Duration,
    again_at: Option<Duration>,
    /// What the server saw, each time from a further address of its own.
    seen: Vec<SocketAddr>,
    behaviour: Behaviour,
    rng: ChaCha20Rng,
    outbox: VecDeque<DiscoveryOutput>,
}

impl Discovery {
    /// Begins. `server`: its first address and port. `seed`: 32 bytes of entropy.
    #[must_use]
    pub fn new(now: Duration, server: SocketAddr, seed: [u8; 32]) -> Self {
        let mut discovery = Self {
            now,
            server,
            other: None,
            step: Step::Mapped,
            transaction: [0; 12],
            sends: 0,
            wait: FIRST_WAIT,
            again_at: None,
            seen: Vec::new(),
            behaviour: Behaviour::default(),
            rng: ChaCha20Rng::from_seed(seed),
            outbox: VecDeque::new(),
        };
        discovery.ask();
        discovery
    }

    /// Takes a STUN message from the socket; `from`: the sender.
    ///
    /// # Errors
    /// [`DecodeError`]: it is none, or not the answer that is waited for; nothing changed but the clock.
    pub fn handle_input(&mut self, now: Duration, from: SocketAddr, bytes: &[u8]) -> Result<(), DecodeError> {
        self.now = self.now.max(now);
        let message = Message::from_bytes(bytes)?;
        if message.transaction() != self.transaction {
            return Err(DecodeError::OutOfRange);
        }
        let own = (Class::Request, Method::BINDING);
        if self.step == Step::Hairpin && (message.class(), message.method()) == own {
            self.behaviour.hairpin = Some(true);
            self.finish();
            return Ok(());
        }
        if self.expected_from() != Some(from) {
            return Err(DecodeError::OutOfRange);
        }
        // A server that cannot do as asked says so: the question has no answer then.
        let mapped = match message.class() {
            Class::Error => None,
            _ => Some(read_binding_answer(&message)?),
        };
        if self.step == Step::Mapped
            && let Some(other) = message.attribute(AttributeKind::OTHER_ADDRESS)
        {
            let other = other.plain_address()?;
            let differs = other.ip() != self.server.ip() && other.port() != self.server.port();
            self.other = Some(other).filter(|other| differs && other.is_ipv4() == self.server.is_ipv4());
        }
        self.conclude(mapped, message.class() == Class::Error);
        Ok(())
    }

    /// Runs what is due. Early, late and repeated calls are harmless.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.now = self.now.max(now);
        if self.again_at.is_none_or(|at| at > self.now) {
            return;
        }
        if self.sends >= SENDS_MAX {
            self.conclude(None, false);
        } else {
            self.wait *= 2;
            self.send();
        }
    }

    /// The next deadline. `None` is never.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.again_at
    }

    /// Oldest first; `None` means wait.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<DiscoveryOutput> {
        self.outbox.pop_front()
    }

    /// From where the answer to this step's question comes.
    fn expected_from(&self) -> Option<SocketAddr> {
        match (self.step, self.other) {
            (Step::Mapped, _) => Some(self.server),
            (Step::FilterAddress | Step::MapPort, Some(other)) => Some(other),
            (Step::FilterPort, Some(other)) => Some(SocketAddr::new(self.server.ip(), other.port())),
            (Step::MapAddress, Some(other)) => Some(SocketAddr::new(other.ip(), self.server.port())),
            _ => None,
        }
    }

    /// What silence (`mapped` is `None`) or an answer means for this step, and which is next.
    fn conclude(&mut self, mapped: Option<SocketAddr>, is_error: bool) {
        self.seen
            .extend(mapped.filter(|_| matches!(self.step, Step::Mapped | Step::MapAddress | Step::MapPort)));
        let next = match (self.step, mapped) {
            (Step::Mapped, Some(mapped)) => {
                self.behaviour.mapped = Some(mapped);
                if self.other.is_some() { Step::FilterAddress } else { Step::Hairpin }
            }
            (Step::FilterAddress, None) if is_error => Step::MapAddress,
            (Step::FilterAddress, Some(_)) => {
                self.behaviour.filtering = Some(Dependence::None);
                Step::MapAddress
            }
            (Step::FilterAddress, None) => Step::FilterPort,
            (Step::FilterPort, answer) => {
                let depends = if answer.is_some() { Dependence::Address } else { Dependence::AddressAndPort };
                self.behaviour.filtering = Some(depends).filter(|_| !is_error);
                Step::MapAddress
            }
            (Step::MapAddress, Some(mapped)) if Some(mapped) == self.behaviour.mapped => {
                self.behaviour.mapping = Some(Dependence::None);
                Step::Hairpin
            }
            (Step::MapAddress, Some(_)) => Step::MapPort,
            (Step::MapPort, Some(mapped)) => {
                let same = self.seen.iter().rev().nth(1) == Some(&mapped);
                let depends = if same { Dependence::Address } else { Dependence::AddressAndPort };
                self.behaviour.mapping = Some(depends);
                self.behaviour.port_step = port_step(&self.seen);
                Step::Hairpin
            }
            (Step::MapAddress | Step::MapPort, None) => Step::Hairpin,
            (Step::Hairpin, _) => {
                self.behaviour.hairpin = Some(false);
                Step::Done
            }
            (Step::Mapped, None) | (Step::Done, _) => Step::Done,
        };
        if next == Step::Done {
            return self.finish();
        }
        self.step = next;
        self.ask();
    }

    fn ask(&mut self) {
        self.rng.fill_bytes(&mut self.transaction);
        (self.sends, self.wait) = (0, FIRST_WAIT);
        self.send();
    }

    fn send(&mut self) {
        let request = Builder::new(Class::Request, Method::BINDING, self.transaction);
        let change =
            |flags: u32| request.clone().attribute(AttributeKind::CHANGE_REQUEST, &flags.to_be_bytes());
        let (to, request) = match (self.step, self.other, self.behaviour.mapped) {
            (Step::FilterAddress, ..) => (self.server, change(CHANGE_IP | CHANGE_PORT)),
            (Step::FilterPort, ..) => (self.server, change(CHANGE_PORT)),
            (Step::MapAddress, Some(other), _) => (SocketAddr::new(other.ip(), self.server.port()), request),
            (Step::MapPort, Some(other), _) => (other, request),
            (Step::Hairpin, _, Some(mapped)) => (mapped, request),
            _ => (self.server, request),
        };
        self.sends += 1;
        self.again_at = Some(self.now + self.wait);
        self.outbox.push_back(DiscoveryOutput::Send { to, bytes: request.finish() });
    }

    fn finish(&mut self) {
        if self.step != Step::Done {
            self.outbox.push_back(DiscoveryOutput::Done(self.behaviour));
        }
        self.step = Step::Done;
        self.again_at = None;
        self.transaction = [0; 12];
    }
}

/// The larger of two steps, if both are small and upwards: others' mappings may come between.
fn port_step(seen: &[SocketAddr]) -> Option<u16> {
    let [first, second, third] = *seen else { return None };
    let step = |from: SocketAddr, to: SocketAddr| to.port().wrapping_sub(from.port());
    let steps = [step(first, second), step(second, third)];
    steps.iter().all(|step| (1..=64).contains(step)).then(|| steps[0].min(steps[1]))
}

#[cfg(test)]
mod tests {
    use super::super::attribute::encode_xor_address;
    use super::super::quad::{Corner, Quad};
    use super::*;

    /// A NAT in front of the client, and a server with four sockets behind it.
    struct Network {
        mapping: Dependence,
        filtering: Dependence,
        hairpin: bool,
        /// How ports of new mappings are chosen.
        next_port: fn(u16) -> u16,
        mappings: Vec<(SocketAddr, u16)>,
        sent_to: Vec<SocketAddr>,
    }

    fn quad() -> Quad {
        Quad::new(([50, 0, 0, 10], 3478).into(), ([50, 0, 0, 11], 3479).into()).expect("both differ")
    }

    impl Network {
        fn new(mapping: Dependence, filtering: Dependence) -> Self {
            let (mappings, sent_to) = (Vec::new(), Vec::new());
            Self { mapping, filtering, hairpin: false, next_port: |count| 30_000 + count, mappings, sent_to }
        }

        fn outside(&mut self, to: SocketAddr) -> SocketAddr {
            let mapping = self.mapping;
            let same = |of: &SocketAddr| match mapping {
                Dependence::None => true,
                Dependence::Address => of.ip() == to.ip(),
                Dependence::AddressAndPort => *of == to,
            };
            let known = self.mappings.iter().find(|(of, _)| same(of)).map(|(_, port)| *port);
            let port = known.unwrap_or_else(|| {
                let port = (self.next_port)(self.mappings.len() as u16);
                self.mappings.push((to, port));
                port
            });
            ([50, 0, 2, 1], port).into()
        }

        fn lets_in(&self, from: SocketAddr) -> bool {
            self.sent_to.iter().any(|to| match self.filtering {
                Dependence::None => true,
                Dependence::Address => to.ip() == from.ip(),
                Dependence::AddressAndPort => *to == from,
            })
        }

        /// The answer that reaches the client, with its sender.
        fn carry(&mut self, to: SocketAddr, bytes: &[u8]) -> Option<(SocketAddr, Vec<u8>)> {
            let from = self.outside(to);
            self.sent_to.push(to);
            let Some(at) = quad().corner(to) else {
                return self.hairpin.then(|| (from, bytes.to_vec()));
            };
            let request = Message::from_bytes(bytes).expect("the client speaks STUN");
            let reply = quad().answer(&request, from, at)?;
            let from = quad().address(reply.from);
            self.lets_in(from).then_some((from, reply.bytes))
        }

        fn discover(&mut self) -> Behaviour {
            let mut discovery = Discovery::new(Duration::ZERO, quad().address(Corner::ALL[0]), [7; 32]);
            let mut now = Duration::ZERO;
            loop {
                match discovery.poll_output() {
                    Some(DiscoveryOutput::Done(behaviour)) => {
                        assert_eq!((discovery.poll_output(), discovery.poll_timeout()), (None, None));
                        return behaviour;
                    }
                    Some(DiscoveryOutput::Send { to, bytes }) => {
                        if let Some((from, bytes)) = self.carry(to, &bytes) {
                            discovery.handle_input(now, from, &bytes).expect("an honest answer");
                        }
                    }
                    None => {
                        now = discovery.poll_timeout().expect("it is not done");
                        discovery.handle_timeout(now);
                    }
                }
            }
        }
    }

    #[test]
    fn tp_29_every_kind_of_nat_is_told_from_every_other() {
        use Dependence::{Address, AddressAndPort, None};
        for mapping in [None, Address, AddressAndPort] {
            for filtering in [None, Address, AddressAndPort] {
                for hairpin in [false, true] {
                    let mut network = Network { hairpin, ..Network::new(mapping, filtering) };
                    let found = network.discover();
                    assert_eq!((found.mapping, found.filtering), (Some(mapping), Some(filtering)));
                    assert_eq!(found.hairpin, Some(hairpin));
                    assert_eq!(found.mapped, Some(([50, 0, 2, 1], 30_000).into()));
                }
            }
        }
    }

    #[test]
    fn tp_29_the_step_of_a_sequential_nat_is_found_and_no_step_where_ports_are_random() {
        let mut network = Network::new(Dependence::AddressAndPort, Dependence::AddressAndPort);
        assert_eq!(network.discover().port_step, Some(1));
        let next_port = |count| 60_000 - 2 * count;
        let mut network =
            Network { next_port, ..Network::new(Dependence::AddressAndPort, Dependence::AddressAndPort) };
        assert_eq!(network.discover().port_step, None);
    }

    #[test]
    fn tp_29_a_server_with_one_address_tells_the_mapped_address_alone() {
        let server = SocketAddr::from(([50, 0, 0, 10], 3478));
        let mut discovery = Discovery::new(Duration::ZERO, server, [7; 32]);
        let Some(DiscoveryOutput::Send { bytes, .. }) = discovery.poll_output() else { panic!("it asks") };
        let request = Message::from_bytes(&bytes).expect("a request");
        let mapped = SocketAddr::from(([50, 0, 2, 1], 9));
        let answer = super::super::binding::answer_binding(&request, mapped).expect("an answer");
        // Somebody else, or another question's answer, is not believed.
        assert!(discovery.handle_input(Duration::ZERO, ([1, 2, 3, 4], 5).into(), &answer).is_err());
        let other = Builder::new(Class::Success, Method::BINDING, [9; 12])
            .attribute(AttributeKind::XOR_MAPPED_ADDRESS, &encode_xor_address(mapped, &[9; 12]))
            .finish();
        assert!(discovery.handle_input(Duration::ZERO, server, &other).is_err());
        discovery.handle_input(Duration::ZERO, server, &answer).expect("an honest answer");
        let mut behaviour = None;
        while let Some(at) = discovery.poll_timeout() {
            discovery.handle_timeout(at);
            while let Some(output) = discovery.poll_output() {
                if let DiscoveryOutput::Done(found) = output {
                    behaviour = Some(found);
                }
            }
        }
        let expected = Behaviour { mapped: Some(mapped), hairpin: Some(false), ..Behaviour::default() };
        assert_eq!(behaviour, Some(expected));
    }

    #[test]
    fn tp_29_a_silent_server_ends_the_discovery_in_two_seconds() {
        let mut discovery = Discovery::new(Duration::ZERO, ([50, 0, 0, 10], 3478).into(), [7; 32]);
        let mut last = Duration::ZERO;
        while let Some(at) = discovery.poll_timeout() {
            assert!(at > last);
            last = at;
            discovery.handle_timeout(at);
        }
        assert_eq!(last, Duration::from_millis(2100));
        let outputs = core::iter::from_fn(|| discovery.poll_output()).collect::<Vec<_>>();
        assert_eq!(outputs.len(), 4);
        assert_eq!(outputs.last(), Some(&DiscoveryOutput::Done(Behaviour::default())));
    }
}
