//! A machine with a planted fault, to see the laws speak.

use cs_tests::laws::{Machine, Packet};
use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// What the wrapper has seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    now: Duration,
    timed_out: bool,
    stepped_back: u64,
    refused: u64,
    nothing_said: u64,
}

/// A planted fault.
pub(crate) trait Fault: Debug {
    /// Put behind every output.
    fn mark(_seen: &Seen) -> String {
        String::new()
    }

    /// Said when there is nothing to say.
    fn chatter(_seen: &mut Seen) -> bool {
        false
    }

    /// Whether the deadline is what the clock shows.
    fn is_restless(_seen: &Seen) -> bool {
        false
    }

    /// Whether refusals are remembered.
    fn is_resentful() -> bool {
        false
    }
}

#[derive(Debug)]
pub(crate) struct Unrepeatable;
impl Fault for Unrepeatable {
    fn mark(_: &Seen) -> String {
        static CALLS: AtomicU64 = AtomicU64::new(0);
        CALLS.fetch_add(1, Ordering::Relaxed).to_string()
    }
}

#[derive(Debug)]
pub(crate) struct Absolute;
impl Fault for Absolute {
    fn mark(seen: &Seen) -> String {
        (seen.now.as_secs() / 1_000).to_string()
    }
}

#[derive(Debug)]
pub(crate) struct Talkative;
impl Fault for Talkative {
    fn chatter(seen: &mut Seen) -> bool {
        seen.nothing_said += 1;
        seen.nothing_said.is_multiple_of(2)
    }
}

#[derive(Debug)]
pub(crate) struct Restless;
impl Fault for Restless {
    fn is_restless(seen: &Seen) -> bool {
        seen.timed_out
    }
}

#[derive(Debug)]
pub(crate) struct Resentful;
impl Fault for Resentful {
    fn is_resentful() -> bool {
        true
    }
}

#[derive(Debug)]
pub(crate) struct Nervous;
impl Fault for Nervous {
    fn mark(seen: &Seen) -> String {
        seen.stepped_back.to_string()
    }
}

/// A machine with a fault.
#[derive(Debug)]
pub(crate) struct Sabotaged<M, F> {
    machine: M,
    seen: Seen,
    fault: PhantomData<F>,
}

impl<M: Machine, F: Fault> Machine for Sabotaged<M, F> {
    fn new(start: Duration, role: u8) -> Self {
        Self {
            machine: M::new(start, role),
            seen: Seen { now: start, ..Seen::default() },
            fault: PhantomData,
        }
    }

    fn introduce(&mut self, now: Duration, other: &mut Self) {
        self.machine.introduce(now, &mut other.machine);
    }

    fn meet(&mut self, now: Duration, together: bool) {
        self.seen.now = self.seen.now.max(now);
        self.machine.meet(now, together);
    }

    fn command(&mut self, now: Duration, kind: u8, argument: [u8; 32]) {
        self.seen.now = self.seen.now.max(now);
        self.machine.command(now, kind, argument);
    }

    fn receive(&mut self, now: Duration, packet: &Packet) -> bool {
        let taken = self.machine.receive(now, packet);
        self.seen.refused += u64::from(!taken);
        taken
    }

    fn handle_timeout(&mut self, now: Duration) {
        self.seen.timed_out = true;
        self.seen.stepped_back += u64::from(now < self.seen.now);
        self.seen.now = self.seen.now.max(now);
        self.machine.handle_timeout(now);
    }

    fn poll_output(&mut self) -> Option<(String, Option<Packet>)> {
        match self.machine.poll_output() {
            Some((text, packet)) => Some((format!("{text}{}", F::mark(&self.seen)), packet)),
            None => F::chatter(&mut self.seen).then(|| ("by the way".to_owned(), None)),
        }
    }

    fn poll_timeout(&self) -> Option<Duration> {
        if F::is_restless(&self.seen) { Some(self.seen.now) } else { self.machine.poll_timeout() }
    }

    fn state(&mut self, now: Duration) -> String {
        let refused = if F::is_resentful() { self.seen.refused } else { 0 };
        format!("{} {refused}", self.machine.state(now))
    }
}
