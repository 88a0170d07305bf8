//! The six laws of a machine (STYLE.md 2), written once.
//!
//! 1. Equal seeds and scripts give equal traces.
//! 2. Shifting every `now` by an odd constant only shifts deadlines.
//! 3. After `poll_output` said `None` it says so until the next input.
//! 4. After `handle_timeout(now)` the deadline is later than `now`.
//! 5. Any bytes from anyone: no panic, and an `Err` leaves no trace.
//! 6. Early and repeated timeouts, and clocks that step back, change nothing.
//!
//! Two machines talk to each other, and one of them is watched: random bytes alone would never reach the code that
//! accepts.

use crate::sim::Chance;
use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

/// Something sent by one machine of a pair to the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// What the machine's kind needs beside the bytes: which request is answered, on which session.
    pub context: u64,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// A machine as the laws see it.
pub trait Machine: Sized {
    /// A fresh one. `role` is 0 for the watched one of a pair and 1 for the other.
    fn new(start: Duration, role: u8) -> Self;

    /// Before anything happens the watched one learns what it must know of the other.
    fn introduce(&mut self, _now: Duration, _other: &mut Self) {}

    /// The two can send to each other from now on, or no more.
    fn meet(&mut self, now: Duration, together: bool);

    /// One of the machine's commands, whichever `kind` stands for.
    fn command(&mut self, now: Duration, kind: u8, argument: [u8; 32]);

    /// A packet from the other machine, or from someone with its name. `false` when it was blamed for it.
    fn receive(&mut self, now: Duration, packet: &Packet) -> bool;

    /// Runs what is due.
    fn handle_timeout(&mut self, now: Duration);

    /// The next output as text, with the packet in it if there is one.
    fn poll_output(&mut self) -> Option<(String, Option<Packet>)>;

    /// The next deadline.
    fn poll_timeout(&self) -> Option<Duration>;

    /// What the machine remembers, but for the time; outputs are drained before.
    fn state(&mut self, now: Duration) -> String;
}

/// One of the laws, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Law {
    /// 1.
    EqualScriptsEqualTraces,
    /// 2.
    ShiftOnlyShifts,
    /// 3.
    NoneStaysNone,
    /// 4.
    DeadlineIsLater,
    /// 5.
    ErrLeavesNoTrace,
    /// 6.
    NervousClockChangesNothing,
}

#[derive(Clone, Debug)]
enum Step {
    Meet(bool),
    Command(u8, [u8; 32]),
    /// The oldest packet on its way arrives, at whichever of the two it is for.
    Arrive,
    /// The oldest packet is lost.
    Lose,
    /// The oldest packet for the watched one arrives with a byte changed, then as it was.
    Alter(usize, u8),
    /// Bytes that nobody sent.
    Garbage(Packet),
    Pass(Duration),
}

fn script(seed: u64, steps: usize) -> Vec<Step> {
    let mut chance = Chance::new(seed, "laws");
    let mut script = vec![Step::Meet(true)];
    for _ in 0..steps {
        script.push(match chance.below(20) {
            0..5 => Step::Command(chance.below(256) as u8, chance.bytes()),
            5..13 => Step::Arrive,
            13 => Step::Lose,
            14 => Step::Alter(chance.index(1 << 16), 1 << chance.below(8)),
            15 => {
                let len = chance.index(60);
                Step::Garbage(Packet { context: chance.below(8), bytes: chance.noise(len) })
            }
            16 if chance.one_in(3) => Step::Meet(chance.one_in(2)),
            16..19 => Step::Pass(chance.span(Duration::from_millis(800))),
            _ => Step::Pass(chance.span(Duration::from_secs(90))),
        });
    }
    script
}

/// Deadlines that may follow each other without an input before they count as endless.
const MAX_TURNS: usize = 20_000;

struct Pair<M> {
    start: Duration,
    now: Duration,
    watched: M,
    other: M,
    /// On the way, with whether it is for the watched one.
    on_the_way: VecDeque<(bool, Packet)>,
    trace: Vec<String>,
    broken: BTreeSet<Law>,
    is_nervous: bool,
}

impl<M: Machine> Pair<M> {
    fn play(start: Duration, is_nervous: bool, script: &[Step]) -> (Vec<String>, BTreeSet<Law>) {
        let (mut watched, mut other) = (M::new(start, 0), M::new(start, 1));
        watched.introduce(start, &mut other);
        let mut pair = Self {
            start,
            now: start,
            watched,
            other,
            on_the_way: VecDeque::new(),
            trace: Vec::new(),
            broken: BTreeSet::new(),
            is_nervous,
        };
        pair.drain();
        for step in script {
            pair.take(step);
            pair.drain();
        }
        (pair.trace, pair.broken)
    }

    fn take(&mut self, step: &Step) {
        let now = self.now;
        match step {
            Step::Meet(together) => {
                self.watched.meet(now, *together);
                self.other.meet(now, *together);
                if !together {
                    self.on_the_way.clear();
                }
            }
            Step::Command(kind, argument) => self.watched.command(now, *kind, *argument),
            Step::Arrive => self.arrive(),
            Step::Lose => drop(self.on_the_way.pop_front()),
            Step::Alter(place, mask) => {
                let oldest = self.on_the_way.iter().find(|(for_watched, _)| *for_watched).cloned();
                let Some((_, mut packet)) = oldest else { return };
                let place = place % packet.bytes.len().max(1);
                if let Some(byte) = packet.bytes.get_mut(place) {
                    *byte ^= mask;
                }
                self.receive(&packet);
            }
            Step::Garbage(packet) => self.receive(packet),
            Step::Pass(span) => self.pass(*span),
        }
    }

    fn arrive(&mut self) {
        match self.on_the_way.pop_front() {
            Some((true, packet)) => self.receive(&packet),
            Some((false, packet)) => drop(self.other.receive(self.now, &packet)),
            None => {}
        }
    }

    /// What the watched one is blamed for nothing must stay of.
    fn receive(&mut self, packet: &Packet) {
        let before = self.watched.state(self.now);
        let taken = self.watched.receive(self.now, packet);
        self.trace.push(format!("taken: {taken}"));
        if !taken {
            self.drain();
            if self.watched.state(self.now) != before {
                self.broken.insert(Law::ErrLeavesNoTrace);
            }
        }
    }

    fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        for _ in 0..MAX_TURNS {
            let deadlines = [self.watched.poll_timeout(), self.other.poll_timeout()];
            let Some(at) = deadlines.into_iter().flatten().min().filter(|at| *at <= end) else { break };
            if self.is_nervous {
                self.watched.handle_timeout(self.now);
                self.watched.handle_timeout(self.start);
            }
            self.now = self.now.max(at);
            if self.watched.poll_timeout().is_some_and(|at| at <= self.now) {
                self.watched.handle_timeout(self.now);
                if self.watched.poll_timeout().is_some_and(|at| at <= self.now) {
                    self.broken.insert(Law::DeadlineIsLater);
                    return;
                }
            }
            self.other.handle_timeout(self.now);
            if self.is_nervous {
                self.watched.handle_timeout(self.now);
            }
            self.drain();
        }
        self.now = end;
    }

    fn drain(&mut self) {
        while let Some((text, packet)) = self.watched.poll_output() {
            self.trace.push(text);
            self.on_the_way.extend(packet.map(|packet| (false, packet)));
        }
        if self.watched.poll_output().is_some() {
            self.broken.insert(Law::NoneStaysNone);
        }
        while let Some((_, packet)) = self.other.poll_output() {
            self.on_the_way.extend(packet.map(|packet| (true, packet)));
        }
        let deadline = self.watched.poll_timeout().and_then(|at| at.checked_sub(self.start));
        self.trace.push(format!("next: {:?}", deadline.filter(|at| *at < Duration::from_secs(1 << 40))));
    }
}

/// Plays a random script of so many steps, and returns the laws that did not hold. Later laws are looked at only where
/// the earlier ones hold, since they compare traces.
#[must_use]
pub fn broken_laws<M: Machine>(seed: u64, steps: usize) -> BTreeSet<Law> {
    let script = script(seed, steps);
    let start = Duration::from_nanos(3);
    let (trace, mut broken) = Pair::<M>::play(start, false, &script);
    if !broken.is_empty() {
        return broken;
    }
    if Pair::<M>::play(start, false, &script).0 != trace {
        broken.insert(Law::EqualScriptsEqualTraces);
        return broken;
    }
    let shifted = start + Duration::from_nanos(1_234_567_891_011);
    if let Some(at) = first_unlike(&trace, &Pair::<M>::play(shifted, false, &script).0) {
        broken.insert(Law::ShiftOnlyShifts);
        explain(at);
    }
    if let Some(at) = first_unlike(&trace, &Pair::<M>::play(start, true, &script).0) {
        broken.insert(Law::NervousClockChangesNothing);
        explain(at);
    }
    broken
}

fn first_unlike(one: &[String], other: &[String]) -> Option<(usize, String, String)> {
    let at = (0..one.len().max(other.len())).find(|at| one.get(*at) != other.get(*at))?;
    let line = |trace: &[String]| trace.get(at).cloned().unwrap_or_default();
    Some((at, line(one), line(other)))
}

/// Shown by the test harness when the test fails.
fn explain((at, one, other): (usize, String, String)) {
    let brief = |text: &str| text.chars().take(400).collect::<String>();
    println!("line {at}:\n  {}\n  {}", brief(&one), brief(&other));
}
