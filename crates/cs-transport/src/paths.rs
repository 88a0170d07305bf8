//! Which of a session's paths carries its data, and when one is dead (TP-37, TP-38). Pure: fed with counters and the time.

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

/// Beside the round trip, how long an answer may take: the peer may hold an acknowledgement back for 25 ms (RFC 9000
/// section 18.2), and both ends have timers.
const FLOOR: Duration = Duration::from_millis(40);
/// By how much a path must be faster than the one in use, at least, to take its place...
const GAIN: Duration = Duration::from_millis(10);
/// ...and for how long it must have been, so that a moment's measure moves nothing.
const STEADY: Duration = Duration::from_secs(1);
/// A straight path that loses more than this, of 1,000 packets, counts no more than a relayed one.
const LOSSY_PERMILLE: u32 = 200;
/// Weight of a new measure of loss, of 8.
const LOSS_WEIGHT: u32 = 2;
/// Packets that a measure of loss takes at least.
const LOSS_SAMPLE: u64 = 20;

/// What is counted of a path, over its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// Smoothed round trip.
    pub rtt: Duration,
    /// Datagrams sent.
    pub sent: u64,
    /// Datagrams received.
    pub heard: u64,
    /// Packets lost.
    pub lost: u64,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// Send something on this path that the peer must answer.
    Probe(u32),
    /// Data is to take this path, and no other.
    Use(u32),
    /// This path is dead, and another one is in use by now: close it, so that what was under way on it is sent again.
    Dead(u32),
    /// Nothing is heard on the only path: ask for another one. Said once, until something is heard.
    Stranded(u32),
}

/// The paths of one session, named by numbers that their owner picks. Rules TP-37 and TP-38.
#[derive(Debug, Default)]
pub struct Paths {
    paths: BTreeMap<u32, Path>,
    in_use: Option<u32>,
    outbox: VecDeque<Output>,
}

#[derive(Debug)]
struct Path {
    is_relayed: bool,
    last: Sample,
    loss_permille: u32,
    /// Where `sent` and `lost` stood when the loss was last measured.
    measured: (u64, u64),
    watch: Watch,
    /// Since when it has been better than the path in use.
    better_since: Option<Duration>,
}

/// Whether an answer is awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Watch {
    Quiet,
    /// Something was sent, and nothing heard since; a probe is due.
    Waiting(Duration),
    /// The probe went out; the verdict is due.
    Probed(Duration),
    /// Only path, and silent.
    Stranded,
}

impl Paths {
    /// No path yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A path was validated: data may take it.
    pub fn opened(&mut self, now: Duration, path: u32, is_relayed: bool, sample: Sample) {
        let measured = (sample.sent, sample.lost);
        let fresh = Path {
            is_relayed,
            last: sample,
            loss_permille: 0,
            measured,
            watch: Watch::Quiet,
            better_since: None,
        };
        self.paths.insert(path, fresh);
        let is_better = match self.in_use.and_then(|path| self.paths.get(&path)) {
            // Straight beats relayed at once, and a new path beats one that does not answer.
            Some(current) => (current.is_relayed && !is_relayed) || current.is_silent(),
            None => true,
        };
        if is_better {
            self.switch(path);
        }
        self.rank(now);
    }

    /// A path is gone.
    pub fn closed(&mut self, now: Duration, path: u32) {
        self.paths.remove(&path);
        if self.in_use == Some(path) {
            self.in_use = None;
            if let Some(best) = self.best(None) {
                self.switch(best);
            }
        }
        self.rank(now);
    }

    /// What is counted of a path by now. To be called when something was sent on it, and at deadlines.
    pub fn sampled(&mut self, now: Duration, path: u32, sample: Sample) {
        let Some(state) = self.paths.get_mut(&path) else { return };
        let is_heard = sample.heard > state.last.heard;
        let is_sent = sample.sent > state.last.sent;
        state.last = sample;
        state.measure_loss();
        let patience = state.patience();
        state.watch = match state.watch {
            // What answers a probe came with it, where the round trip is short: that must not call for another one.
            Watch::Probed(_) if is_heard => Watch::Quiet,
            _ if is_heard && !is_sent => Watch::Quiet,
            _ if is_heard => Watch::Waiting(now + patience),
            Watch::Quiet if is_sent => Watch::Waiting(now + patience),
            watch => watch,
        };
        self.rank(now);
    }

    /// Passes verdicts that are due; give it fresh samples first.
    pub fn handle_timeout(&mut self, now: Duration) {
        let numbers = self.paths.keys().copied().collect::<Vec<_>>();
        for path in numbers {
            self.judge(now, path);
        }
        self.rank(now);
    }

    /// The next deadline.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let due = self.paths.values().filter_map(|path| match path.watch {
            Watch::Waiting(at) | Watch::Probed(at) => Some(at),
            Watch::Quiet | Watch::Stranded => path.better_since.map(|since| since + STEADY),
        });
        due.min()
    }

    /// How soon counters should be looked at again, while an answer is awaited: the finer, the closer verdicts come to two
    /// round trips.
    #[must_use]
    pub fn look_again_after(&self) -> Option<Duration> {
        let waiting = |path: &&Path| matches!(path.watch, Watch::Waiting(_) | Watch::Probed(_));
        self.paths.values().filter(waiting).map(|path| path.patience() / 4).min()
    }

    /// Oldest first; `None` means wait.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// The path that data takes.
    #[must_use]
    pub fn in_use(&self) -> Option<u32> {
        self.in_use
    }

    fn judge(&mut self, now: Duration, path: u32) {
        let other = self.best(Some(path));
        let Some(state) = self.paths.get_mut(&path) else { return };
        match state.watch {
            Watch::Waiting(at) if at <= now => {
                state.watch = Watch::Probed(now + state.patience());
                self.outbox.push_back(Output::Probe(path));
            }
            Watch::Probed(at) if at <= now => {
                let Some(other) = other else {
                    state.watch = Watch::Stranded;
                    return self.outbox.push_back(Output::Stranded(path));
                };
                self.paths.remove(&path);
                if self.in_use == Some(path) {
                    self.switch(other);
                }
                self.outbox.push_back(Output::Dead(path));
            }
            _ => {}
        }
    }

    /// Moves to a path that has been better for a while.
    fn rank(&mut self, now: Duration) {
        let Some(current) = self.in_use.and_then(|path| self.paths.get(&path)) else { return };
        let (current_cost, current_relayed) = (current.cost(), current.counts_as_relayed());
        let in_use = self.in_use;
        let mut winner = None;
        for (number, path) in &mut self.paths {
            let is_better = Some(*number) != in_use
                && !path.is_silent()
                && match (path.counts_as_relayed(), current_relayed) {
                    (false, true) => true,
                    (true, false) => false,
                    // By 10 ms and by a third.
                    _ => path.cost() + GAIN <= current_cost && path.cost() * 3 <= current_cost * 2,
                };
            path.better_since = is_better.then(|| path.better_since.unwrap_or(now));
            if path.better_since.is_some_and(|since| now.saturating_sub(since) >= STEADY) {
                let best = winner.get_or_insert((path.cost(), *number));
                *best = (*best).min((path.cost(), *number));
            }
        }
        if let Some((_, number)) = winner {
            self.switch(number);
        }
    }

    fn switch(&mut self, path: u32) {
        if self.in_use != Some(path) {
            self.in_use = Some(path);
            self.paths.values_mut().for_each(|path| path.better_since = None);
            self.outbox.push_back(Output::Use(path));
        }
    }

    /// The best path but one; one that answers, if there is any.
    fn best(&self, but: Option<u32>) -> Option<u32> {
        let others = self.paths.iter().filter(|(number, _)| Some(**number) != but);
        let rank = |(number, path): &(&u32, &Path)| {
            (path.is_silent(), path.counts_as_relayed(), path.cost(), **number)
        };
        others.min_by_key(rank).map(|(number, _)| *number)
    }
}

impl Path {
    /// Half of the time in which a dead path is given up: one round trip and a floor to notice, as much to make sure.
    fn patience(&self) -> Duration {
        self.last.rtt + FLOOR
    }

    fn is_silent(&self) -> bool {
        matches!(self.watch, Watch::Probed(_) | Watch::Stranded)
    }

    /// The round trip, made longer by loss: each percent counts as a tenth of it, which is about what retransmission costs.
    fn cost(&self) -> Duration {
        self.last.rtt * (100 + self.loss_permille) / 100
    }

    fn counts_as_relayed(&self) -> bool {
        self.is_relayed || self.loss_permille > LOSSY_PERMILLE
    }

    fn measure_loss(&mut self) {
        let (sent, lost) = self.measured;
        let (sent, lost) = (self.last.sent.saturating_sub(sent), self.last.lost.saturating_sub(lost));
        if sent < LOSS_SAMPLE {
            return;
        }
        self.measured = (self.last.sent, self.last.lost);
        let permille = u32::try_from((lost * 1000 / sent).min(1000)).unwrap_or(1000);
        self.loss_permille = (self.loss_permille * (8 - LOSS_WEIGHT) + permille * LOSS_WEIGHT) / 8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELAY: u32 = 0;
    const DIRECT: u32 = 1;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn sample(rtt_ms: u64, sent: u64, heard: u64) -> Sample {
        Sample { rtt: ms(rtt_ms), sent, heard, lost: 0 }
    }

    fn outputs(paths: &mut Paths) -> Vec<Output> {
        core::iter::from_fn(|| paths.poll_output()).collect()
    }

    fn both(relay_ms: u64, direct_ms: u64) -> Paths {
        let mut paths = Paths::new();
        paths.opened(ms(0), RELAY, true, sample(relay_ms, 0, 0));
        paths.opened(ms(10), DIRECT, false, sample(direct_ms, 0, 0));
        assert_eq!(outputs(&mut paths), [Output::Use(RELAY), Output::Use(DIRECT)]);
        paths
    }

    #[test]
    fn tp_37_a_straight_path_is_taken_as_soon_as_it_is_there() {
        let mut paths = both(20, 80);
        paths.closed(ms(20), DIRECT);
        assert_eq!(outputs(&mut paths), [Output::Use(RELAY)]);
        assert_eq!(paths.in_use(), Some(RELAY));
    }

    #[test]
    fn tp_38_a_path_that_does_not_answer_is_given_up_within_two_round_trips_and_two_floors() {
        let mut paths = both(60, 20);
        paths.sampled(ms(1000), DIRECT, sample(20, 1, 0));
        assert_eq!(paths.poll_timeout(), Some(ms(1060)));
        paths.handle_timeout(ms(1060));
        assert_eq!(outputs(&mut paths), [Output::Probe(DIRECT)]);
        paths.sampled(ms(1060), DIRECT, sample(20, 2, 0));
        assert_eq!(paths.poll_timeout(), Some(ms(1120)));
        paths.handle_timeout(ms(1120));
        assert_eq!(outputs(&mut paths), [Output::Use(RELAY), Output::Dead(DIRECT)]);
        assert_eq!(paths.poll_timeout(), None);
    }

    #[test]
    fn tp_38_what_is_heard_clears_a_path_and_a_last_acknowledgement_condemns_nobody() {
        let mut paths = both(60, 20);
        paths.sampled(ms(1000), DIRECT, sample(20, 1, 0));
        paths.sampled(ms(1030), DIRECT, sample(20, 1, 1));
        assert_eq!(paths.poll_timeout(), None);
        // An acknowledgement gets no answer; the probe that follows does.
        paths.sampled(ms(2000), DIRECT, sample(20, 6, 1));
        paths.handle_timeout(ms(2060));
        assert_eq!(outputs(&mut paths), [Output::Probe(DIRECT)]);
        paths.sampled(ms(2082), DIRECT, sample(20, 7, 2));
        paths.handle_timeout(ms(3000));
        assert_eq!(outputs(&mut paths), []);
        assert_eq!(paths.in_use(), Some(DIRECT));
    }

    #[test]
    fn tp_38_the_only_path_is_kept_and_another_one_asked_for_once() {
        let mut paths = Paths::new();
        paths.opened(ms(0), DIRECT, false, sample(20, 0, 0));
        paths.sampled(ms(100), DIRECT, sample(20, 1, 0));
        for at in [160, 220, 300, 400] {
            paths.handle_timeout(ms(at));
        }
        let expected = [Output::Use(DIRECT), Output::Probe(DIRECT), Output::Stranded(DIRECT)];
        assert_eq!(outputs(&mut paths), expected);
        // A path that opens now takes over at once, relayed or not.
        paths.opened(ms(500), RELAY, true, sample(90, 0, 0));
        assert_eq!(outputs(&mut paths), [Output::Use(RELAY)]);
    }

    #[test]
    fn tp_37_a_path_must_be_faster_by_10_ms_and_a_third_and_stay_so() {
        let moves = |current: u64, other: u64| {
            let mut paths = Paths::new();
            paths.opened(ms(0), 1, false, sample(current, 0, 0));
            paths.opened(ms(0), 2, false, sample(other, 0, 0));
            let due = paths.poll_timeout();
            paths.handle_timeout(ms(999));
            let early = paths.in_use();
            paths.handle_timeout(ms(1000));
            (due, early, paths.in_use())
        };
        assert_eq!(moves(60, 40), (Some(ms(1000)), Some(1), Some(2)));
        assert_eq!(moves(60, 41), (None, Some(1), Some(1)), "not by a third");
        assert_eq!(moves(12, 3), (None, Some(1), Some(1)), "not by 10 ms");
        assert_eq!(moves(40, 60), (None, Some(1), Some(1)));
    }

    #[test]
    fn tp_37_a_better_moment_moves_nothing() {
        let mut paths = Paths::new();
        paths.opened(ms(0), 1, false, sample(100, 0, 0));
        paths.opened(ms(0), 2, false, sample(20, 0, 0));
        paths.sampled(ms(900), 2, sample(95, 0, 0));
        paths.sampled(ms(950), 2, sample(20, 0, 0));
        paths.handle_timeout(ms(1500));
        assert_eq!(paths.in_use(), Some(1));
        paths.handle_timeout(ms(1950));
        assert_eq!(paths.in_use(), Some(2));
    }

    #[test]
    fn tp_37_a_straight_path_that_loses_a_fifth_counts_as_a_relayed_one() {
        let mut paths = both(30, 60);
        for round in 1..=20 {
            let sent = round * 100;
            let lossy = Sample { rtt: ms(60), sent, heard: sent, lost: sent * 3 / 10 };
            paths.sampled(ms(round * 100), DIRECT, lossy);
        }
        assert_eq!(paths.in_use(), Some(RELAY));
        // When it is well again it is taken again.
        for round in 21..=60 {
            let sent = round * 100;
            paths.sampled(ms(round * 100), DIRECT, Sample { rtt: ms(60), sent, heard: sent, lost: 600 });
        }
        assert_eq!(paths.in_use(), Some(DIRECT));
    }
}
