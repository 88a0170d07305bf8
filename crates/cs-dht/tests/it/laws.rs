//! The six laws of a machine, over random scripts in which a second machine echoes what the first one sends.

use crate::net::START_MS;
use cs_dht::wire::{Ask, Request};
use cs_dht::{Config, Contact, Dht, Input, Key, Mode, Output, RpcId};
use cs_identity::{NodeId, SecretKey};
use proptest::collection::vec;
use proptest::prelude::*;
use std::net::SocketAddr;
use std::time::Duration;

/// One step of a script.
#[derive(Clone, Debug)]
enum Step {
    Bootstrap,
    FindNode([u8; 32]),
    FindPeer,
    PutImmutable(u8),
    Leave,
    Rejoin,
    /// Random bytes as a request or a response.
    Garbage(bool, Vec<u8>),
    /// A well-formed request of a stranger.
    Stranger(u8, [u8; 32]),
    /// What was sent last reaches the second machine, and its answer comes back.
    Exchange,
    Lose,
    Pass(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => Just(Step::Bootstrap),
        2 => any::<[u8; 32]>().prop_map(Step::FindNode),
        1 => Just(Step::FindPeer),
        1 => any::<u8>().prop_map(Step::PutImmutable),
        1 => Just(Step::Leave),
        1 => Just(Step::Rejoin),
        3 => (any::<bool>(), vec(any::<u8>(), 0..40)).prop_map(|(is_request, bytes)| Step::Garbage(is_request, bytes)),
        3 => (any::<u8>(), any::<[u8; 32]>()).prop_map(|(who, target)| Step::Stranger(who, target)),
        6 => Just(Step::Exchange),
        1 => Just(Step::Lose),
        4 => (0_u32..40_000_000).prop_map(Step::Pass),
    ]
}

fn id(seed: u8) -> NodeId {
    SecretKey::from_bytes([seed; 32]).node_id()
}

fn addr(seed: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 1_000 + u16::from(seed)))
}

/// Two machines, one of which is watched.
struct Bench {
    now: Duration,
    watched: Dht,
    echo: Dht,
    sent: Vec<(RpcId, NodeId, Vec<u8>)>,
    trace: String,
    /// Calls `handle_timeout` early, twice, and with a clock that went back.
    is_nervous: bool,
}

impl Bench {
    fn new(start: Duration, is_nervous: bool) -> Self {
        let mut config = Config::new(START_MS);
        config.mode = Mode::Server;
        let new = |seed| Dht::new(config.clone(), id(seed), start, [seed; 32]).unwrap();
        let (watched, echo) = (new(1), new(2));
        Self { now: start, watched, echo, sent: Vec::new(), trace: String::new(), is_nervous }
    }

    fn run(mut self, start: Duration, steps: &[Step]) -> String {
        for step in steps {
            self.take(step);
            self.drain(start);
        }
        self.trace
    }

    fn take(&mut self, step: &Step) {
        let now = self.now;
        match step {
            Step::Bootstrap => self.watched.bootstrap(now, vec![Contact { id: id(2), addrs: vec![addr(2)] }]),
            Step::FindNode(target) => self.note(|dht| dht.find_node(now, Key::from_bytes(*target))),
            Step::FindPeer => self.note(|dht| dht.find_peer(now, id(2))),
            Step::PutImmutable(byte) => self.note(|dht| dht.put_immutable(now, vec![*byte])),
            Step::Leave => self.watched.leave(now),
            Step::Rejoin => self.watched.rejoin(now),
            Step::Garbage(true, bytes) => {
                let input = Input::Request { from: id(3), addr: addr(3), bytes, token: 0 };
                self.note(|dht| dht.handle_input(now, input));
            }
            Step::Garbage(false, bytes) => {
                let (rpc, from) = self.sent.last().map_or((RpcId(1), id(2)), |(rpc, to, _)| (*rpc, *to));
                self.note(|dht| dht.handle_input(now, Input::Response { rpc, from, bytes }));
            }
            Step::Stranger(who, target) => {
                let mut bytes = Vec::new();
                let ask = Ask::FindNode { target: Key::from_bytes(*target) };
                Request::new(who % 2 == 0, ask).padded().encode(&mut bytes);
                let input = Input::Request { from: id(*who), addr: addr(*who), bytes: &bytes, token: 1 };
                self.note(|dht| dht.handle_input(now, input));
            }
            Step::Exchange => self.exchange(),
            Step::Lose => {
                if let Some((rpc, ..)) = self.sent.pop() {
                    self.note(|dht| dht.handle_input(now, Input::Failed { rpc }));
                }
            }
            Step::Pass(micros) => self.pass(Duration::from_micros(u64::from(*micros))),
        }
    }

    /// Carries out a command and checks that a refusal left no trace.
    fn note<T: std::fmt::Debug, E: std::fmt::Debug>(
        &mut self,
        command: impl FnOnce(&mut Dht) -> Result<T, E>,
    ) {
        let before = format!("{:?}", self.watched);
        let result = command(&mut self.watched);
        if result.is_err() {
            let (before, after) = (without_clock(&before), format!("{:?}", self.watched));
            assert_eq!(before, without_clock(&after), "law 5: an error leaves no trace");
        }
        self.trace += &format!("{result:?}\n");
    }

    fn exchange(&mut self) {
        let Some((rpc, to, bytes)) = self.sent.pop() else { return };
        if to != id(2) {
            return;
        }
        let now = self.now;
        self.echo
            .handle_input(now, Input::Request { from: id(1), addr: addr(1), bytes: &bytes, token: 7 })
            .unwrap();
        while let Some(output) = self.echo.poll_output() {
            match output {
                Output::Reply { bytes: reply, .. } => {
                    assert!(reply.len() <= bytes.len());
                    let input = Input::Response { rpc, from: to, bytes: &reply };
                    self.note(|dht| dht.handle_input(now, input));
                }
                Output::Request { rpc, bytes, .. } => {
                    let input = Input::Request { from: id(2), addr: addr(2), bytes: &bytes, token: rpc.0 };
                    self.note(|dht| dht.handle_input(now, input));
                }
                Output::Event(_) => {}
            }
        }
    }

    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some(at) = self.watched.poll_timeout().filter(|at| *at <= end) {
            if self.is_nervous {
                self.watched.handle_timeout(self.now);
                self.watched.handle_timeout(Duration::ZERO);
            }
            self.now = self.now.max(at);
            self.watched.handle_timeout(self.now);
            assert!(
                self.watched.poll_timeout().is_none_or(|next| next > self.now),
                "law 4: the deadline is later"
            );
            if self.is_nervous {
                self.watched.handle_timeout(self.now);
            }
        }
        self.now = end;
    }

    fn drain(&mut self, start: Duration) {
        while let Some(output) = self.watched.poll_output() {
            self.trace += &format!("{output:?}\n");
            match output {
                Output::Request { rpc, to, bytes, .. } => self.sent.push((rpc, to, bytes)),
                Output::Reply { .. } | Output::Event(_) => {}
            }
        }
        assert_eq!(self.watched.poll_output(), None, "law 3: none stays none");
        self.trace += &format!("{:?}\n", self.watched.poll_timeout().map(|at| at - start));
    }
}

/// The debug form without its `now`, which an error may advance.
fn without_clock(debug: &str) -> String {
    let (head, tail) = debug.split_once(" now: ").unwrap();
    let (_, tail) = tail.split_once(',').unwrap();
    format!("{head}{tail}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn the_six_laws_hold(steps in vec(step(), 1..60), shift in 1_u64..1_000_000_000_000) {
        let start = Duration::from_nanos(3);
        let shifted = start + Duration::from_nanos(shift | 1);
        let trace = Bench::new(start, false).run(start, &steps);
        prop_assert_eq!(&trace, &Bench::new(start, false).run(start, &steps), "law 1: equal scripts, equal traces");
        prop_assert_eq!(&trace, &Bench::new(shifted, false).run(shifted, &steps), "law 2: a shift is only a shift");
        prop_assert_eq!(&trace, &Bench::new(start, true).run(start, &steps), "law 6: nervous timeouts change nothing");
    }
}
