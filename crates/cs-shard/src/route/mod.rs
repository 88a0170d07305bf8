//! Which holder is asked, when a second one is, and when a server says no (SHARD-27 to SHARD-29).

mod admission;
mod config;
mod holder;

use core::time::Duration;
use std::collections::{BTreeMap, VecDeque};

use cs_identity::NodeId;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use thiserror::Error;

use holder::{Holders, Latencies};

pub use admission::{Admission, AdmissionConfig, Overloaded};
pub use config::{RouterConfig, RouterConfigError};

/// A request, as its caller knows it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct RequestId(pub u64);

/// A request as one holder gets it; a hedged one has two.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct AttemptId(pub u64);

/// What became of an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RouterInput {
    /// The holder answered.
    Answered {
        /// Which one.
        attempt: AttemptId,
    },
    /// The holder has too much to do ([`Admission`]).
    Busy {
        /// Which one.
        attempt: AttemptId,
    },
    /// The holder cannot be reached, or has not what it should.
    Failed {
        /// Which one.
        attempt: AttemptId,
    },
}

/// What to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RouterOutput {
    /// Send the request.
    Send {
        /// Which one.
        request: RequestId,
        /// Named in what comes back.
        attempt: AttemptId,
        /// To whom.
        to: NodeId,
    },
    /// Its answer is not needed any more: another holder was faster. Telling the holder saves its work.
    Cancel {
        /// Which one.
        attempt: AttemptId,
        /// Whose.
        to: NodeId,
    },
    /// The request was answered, by this holder.
    Done {
        /// Which one.
        request: RequestId,
        /// By whom.
        by: NodeId,
        /// How long it took.
        took: Duration,
    },
    /// Nobody answered, and nobody will be asked any more.
    GaveUp {
        /// Which one.
        request: RequestId,
    },
}

/// An input names an attempt that is not under way: it was answered, cancelled, given up, or never made.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("no such attempt is under way")]
pub struct UnknownAttempt;

/// The request cannot be made now. Nothing changed.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum RouteRefused {
    /// Nobody holds it.
    #[error("nobody holds it")]
    NoHolders,
    /// `requests_max` are under way.
    #[error("too many requests are under way")]
    TooMany,
}

/// What has been counted since the machine was made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RouterCounters {
    /// Requests made.
    pub requests: u64,
    /// Second attempts since the first one took long.
    pub hedges: u64,
    /// Hedges that answered first.
    pub hedges_won: u64,
    /// Attempts since another one failed or was refused.
    pub retries: u64,
    /// Requests given up.
    pub given_up: u64,
}

/// Sends each request to the better of two holders, and to a second one if the first takes unusually long.
///
/// Two of the holders are drawn, and the one with the lower latency times work under way gets the request ("the power
/// of two choices", Mitzenmacher 2001; latencies as in Finagle's Peak-EWMA): herds do not form, as they do around the least
/// loaded one, and a slow node is left alone after one answer. What takes longer than 19 of 20 requests do is sent once
/// more ("The tail at scale", Dean and Barroso 2013), within a budget, so that hedging cannot double the load of a
/// system that is slow since it is full.
#[derive(Debug)]
pub struct Router {
    config: RouterConfig,
    epoch: Duration,
    now: Duration,
    rng: ChaCha8Rng,
    holders: Holders,
    latencies: Latencies,
    requests: BTreeMap<RequestId, Request>,
    attempts: BTreeMap<AttemptId, Attempt>,
    timers: std::collections::BTreeSet<(Duration, Timer)>,
    /// Hedges that may be made, in hundredths.
    budget: u32,
    last: u64,
    outbox: VecDeque<RouterOutput>,
    counters: RouterCounters,
}

#[derive(Debug)]
struct Request {
    began_at: Duration,
    holders: Vec<NodeId>,
    tried: Vec<NodeId>,
    under_way: Vec<AttemptId>,
    hedge_at: Duration,
    until: Duration,
}

#[derive(Debug)]
struct Attempt {
    request: RequestId,
    to: NodeId,
    sent_at: Duration,
    is_hedge: bool,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Timer {
    Hedge(RequestId),
    GiveUp(RequestId),
}

/// Hedges saved up at most, in hundredths.
const BUDGET_MAX: u32 = 1000;

impl Router {
    /// `now`: time since one epoch that the caller picks. `seed`: the only source of chance.
    ///
    /// # Errors
    /// [`RouterConfigError`] names the setting that cannot work.
    pub fn new(config: RouterConfig, now: Duration, seed: [u8; 32]) -> Result<Self, RouterConfigError> {
        config.check()?;
        Ok(Self {
            config,
            epoch: now,
            now: Duration::ZERO,
            rng: ChaCha8Rng::from_seed(seed),
            holders: Holders::default(),
            latencies: Latencies::default(),
            requests: BTreeMap::new(),
            attempts: BTreeMap::new(),
            timers: std::collections::BTreeSet::new(),
            budget: 0,
            last: 0,
            outbox: VecDeque::new(),
            counters: RouterCounters::default(),
        })
    }

    /// Makes a request of those who hold what it is about. One of [`RouterOutput::Done`] and [`RouterOutput::GaveUp`] follows.
    ///
    /// # Errors
    /// [`RouteRefused`].
    pub fn request(&mut self, now: Duration, holders: &[NodeId]) -> Result<RequestId, RouteRefused> {
        self.advance_clock(now);
        if holders.is_empty() {
            return Err(RouteRefused::NoHolders);
        }
        if self.requests.len() >= self.config.requests_max {
            return Err(RouteRefused::TooMany);
        }
        self.counters.requests += 1;
        self.budget = (self.budget + self.config.hedges_percent).min(BUDGET_MAX);
        self.last += 1;
        let id = RequestId(self.last);
        let until = self.now + self.config.request_limit;
        let late =
            self.latencies.quantile(self.config.hedge_quantile).unwrap_or(self.config.request_limit / 10);
        let hedge_at = self.now + late.max(self.config.hedge_after_least);
        let request = Request {
            began_at: self.now,
            holders: holders.to_vec(),
            tried: Vec::new(),
            under_way: Vec::new(),
            hedge_at,
            until,
        };
        self.timers.insert((until, Timer::GiveUp(id)));
        self.timers.insert((hedge_at, Timer::Hedge(id)));
        self.requests.insert(id, request);
        self.attempt(id, false);
        Ok(id)
    }

    /// Takes in what became of an attempt.
    ///
    /// # Errors
    /// [`UnknownAttempt`]: nothing changed but the clock.
    pub fn handle_input(&mut self, now: Duration, input: RouterInput) -> Result<(), UnknownAttempt> {
        self.advance_clock(now);
        let (RouterInput::Answered { attempt: id }
        | RouterInput::Busy { attempt: id }
        | RouterInput::Failed { attempt: id }) = input;
        let attempt = self.attempts.remove(&id).ok_or(UnknownAttempt)?;
        let took = self.now - attempt.sent_at;
        match input {
            RouterInput::Answered { .. } => {
                self.holders.answered(&attempt.to, took, self.now);
                self.finish(&attempt, id);
            }
            RouterInput::Busy { .. } => {
                self.holders.shed(&attempt.to, took, self.now);
                self.go_on(&attempt, id);
            }
            RouterInput::Failed { .. } => {
                self.holders.answered(&attempt.to, self.config.request_limit, self.now);
                self.go_on(&attempt, id);
            }
        }
        Ok(())
    }

    /// Runs what is due. Early, late and repeated calls are harmless.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.advance_clock(now);
        while let Some((_, timer)) = self.timers.first().copied().filter(|(at, _)| *at <= self.now) {
            self.timers.pop_first();
            match timer {
                Timer::Hedge(id) => self.hedge(id),
                Timer::GiveUp(id) => self.give_up(id),
            }
        }
    }

    /// What to do next, oldest first; `None` means wait.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<RouterOutput> {
        self.outbox.pop_front()
    }

    /// When to call `handle_timeout`; after it was called this is always later. None without requests.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.timers.first().map(|(at, _)| self.epoch.saturating_add(*at))
    }

    /// Since the machine was made.
    #[must_use]
    pub fn counters(&self) -> RouterCounters {
        self.counters
    }

    fn advance_clock(&mut self, now: Duration) {
        self.now = self.now.max(now.saturating_sub(self.epoch));
    }

    /// Sends the request to the better of two holders that were not tried. False if there is none.
    fn attempt(&mut self, id: RequestId, is_hedge: bool) -> bool {
        let Some(request) = self.requests.get_mut(&id) else { return false };
        let mut open: Vec<NodeId> =
            request.holders.iter().filter(|holder| !request.tried.contains(holder)).copied().collect();
        if open.is_empty() {
            return false;
        }
        let one = open.swap_remove(self.rng.random_range(0..open.len()));
        let to = if open.is_empty() {
            one
        } else {
            let other = open[self.rng.random_range(0..open.len())];
            let cost = |holder: &NodeId| self.holders.cost(holder, self.now);
            if cost(&other) < cost(&one) { other } else { one }
        };
        self.last += 1;
        let attempt = AttemptId(self.last);
        request.tried.push(to);
        request.under_way.push(attempt);
        self.holders.begin(to, self.now);
        self.attempts.insert(attempt, Attempt { request: id, to, sent_at: self.now, is_hedge });
        self.outbox.push_back(RouterOutput::Send { request: id, attempt, to });
        true
    }

    fn hedge(&mut self, id: RequestId) {
        let is_single = self.requests.get(&id).is_some_and(|request| request.under_way.len() == 1);
        if is_single && self.budget >= 100 && self.attempt(id, true) {
            self.budget -= 100;
            self.counters.hedges += 1;
        }
    }

    fn finish(&mut self, attempt: &Attempt, id: AttemptId) {
        let Some(request) = self.forget(attempt.request) else { return };
        let took = self.now - request.began_at;
        self.latencies.insert(took);
        self.counters.hedges_won += u64::from(attempt.is_hedge);
        for other in request.under_way.iter().filter(|other| **other != id) {
            if let Some(other_attempt) = self.attempts.remove(other) {
                self.holders.cancel(&other_attempt.to, self.now - other_attempt.sent_at, self.now);
                self.outbox.push_back(RouterOutput::Cancel { attempt: *other, to: other_attempt.to });
            }
        }
        self.outbox.push_back(RouterOutput::Done { request: attempt.request, by: attempt.to, took });
    }

    /// One attempt came to nothing: another holder is asked, unless one is under way.
    fn go_on(&mut self, attempt: &Attempt, id: AttemptId) {
        let Some(request) = self.requests.get_mut(&attempt.request) else { return };
        request.under_way.retain(|other| *other != id);
        if !request.under_way.is_empty() {
            return;
        }
        if self.attempt(attempt.request, false) {
            self.counters.retries += 1;
        } else {
            self.give_up(attempt.request);
        }
    }

    fn give_up(&mut self, id: RequestId) {
        let Some(request) = self.forget(id) else { return };
        for other in request.under_way {
            if let Some(attempt) = self.attempts.remove(&other) {
                self.holders.cancel(&attempt.to, self.config.request_limit, self.now);
                self.outbox.push_back(RouterOutput::Cancel { attempt: other, to: attempt.to });
            }
        }
        self.counters.given_up += 1;
        self.outbox.push_back(RouterOutput::GaveUp { request: id });
    }

    fn forget(&mut self, id: RequestId) -> Option<Request> {
        let request = self.requests.remove(&id)?;
        self.timers.remove(&(request.hedge_at, Timer::Hedge(id)));
        self.timers.remove(&(request.until, Timer::GiveUp(id)));
        Some(request)
    }
}
