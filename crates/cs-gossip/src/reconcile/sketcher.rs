//! The responder: plans each round, and sends filters, sketches and lists.

use std::collections::VecDeque;

use crate::reconcile::plan::{Difference, Plan};
use crate::reconcile::session::{PeerFault, Shared, Step};
use crate::reconcile::wire::{COUNTERS, Filter, Hello, MAX_DEPTH, MAX_HASHES, Message, Outcome};
use crate::reconcile::working::greeting_fingerprint;

/// Syndromes of the first small sketch: three differences, and one to check.
const FIRST_DEPTH: u8 = 4;
/// Syndromes added at a time to a partition that does not decode (REC-8).
pub(crate) const EXTRA_DEPTH: u8 = 8;
/// The round in which everything left is listed (REC-10).
pub(crate) const MAX_ROUNDS: u8 = 6;
/// Syndromes in one of our messages: 16 KiB.
const SYNDROMES_A_MESSAGE: u32 = 4096;

#[derive(Debug)]
pub(crate) struct Sketcher {
    phase: Phase,
    job: Option<Job>,
    /// What was sent and not answered, oldest first.
    unanswered: VecDeque<Sent>,
}

#[derive(Debug)]
enum Phase {
    Waiting,
    /// Sketches are out, or going out.
    Sketching {
        partitions: u32,
    },
    /// Our filter is going out and theirs is coming, this slice next; then the plan's sketches.
    Filtering {
        plan: Plan,
        next_slice: u32,
    },
    Listing,
}

/// What is being sent, one message at a time.
#[derive(Debug)]
enum Job {
    Filter { slice: u32, slices: u32, plan: Plan },
    Sketch { next: u32, partitions: u32, depth: u8 },
    List { above: Option<u64> },
}

/// An open question to the initiator.
#[derive(Debug)]
enum Sent {
    Partitions { parts: Vec<u32>, depth: u8 },
    List,
}

impl Sketcher {
    pub(crate) fn new() -> Self {
        Self { phase: Phase::Waiting, job: None, unanswered: VecDeque::new() }
    }

    pub(crate) fn handle(&mut self, shared: &mut Shared, message: Message) -> Result<Step, PeerFault> {
        match message {
            Message::Hello(hello) => return self.hello(shared, &hello),
            Message::Estimate { round, count, counters } => self.estimate(shared, round, count, &counters)?,
            Message::Filter(filter) => self.filter(shared, &filter)?,
            Message::Answer { partitions } => self.answer(shared, &partitions)?,
            Message::Lack { hashes } => {
                if !matches!(self.unanswered.front(), Some(Sent::List)) {
                    return Err(PeerFault::Unexpected);
                }
                self.unanswered.pop_front();
                hashes.iter().for_each(|&hash| shared.working.mark_hash(hash));
            }
            Message::Check { sum } => return self.check(shared, sum),
            _ => return Err(PeerFault::Unexpected),
        }
        Ok(Step::Continue)
    }

    /// Compares fingerprints; if they differ, sends the first small sketch (REC-4).
    fn hello(&mut self, shared: &mut Shared, hello: &Hello) -> Result<Step, PeerFault> {
        if !matches!(self.phase, Phase::Waiting) {
            return Err(PeerFault::Unexpected);
        }
        if greeting_fingerprint(&shared.index, hello.salt) == hello.fingerprint {
            shared.outbox.push_back(Message::Same);
            return Ok(Step::Agreed);
        }
        shared.enter_round(0);
        shared.outbox.push_back(Message::Begin {
            salt: shared.salt,
            count: shared.working.len(),
            syndromes: shared.working.syndromes(0, 1, FIRST_DEPTH),
        });
        self.unanswered.push_back(Sent::Partitions { parts: vec![0], depth: MAX_DEPTH });
        self.phase = Phase::Sketching { partitions: 1 };
        Ok(Step::Continue)
    }

    /// REC-5: plans a round from the estimator.
    fn estimate(
        &mut self,
        shared: &mut Shared,
        round: u8,
        count: u64,
        theirs: &[i64; COUNTERS],
    ) -> Result<(), PeerFault> {
        let settled = self.job.is_none() && (self.unanswered.is_empty() || shared.round == 0);
        let sketching = matches!(self.phase, Phase::Sketching { .. });
        if !settled || !sketching || round != shared.round + 1 || round > MAX_ROUNDS {
            return Err(PeerFault::Unexpected);
        }
        self.unanswered.clear();
        shared.enter_round(round);
        if round == MAX_ROUNDS {
            self.phase = Phase::Listing;
            self.job = Some(Job::List { above: None });
            return Ok(());
        }
        let here = shared.working.len();
        let difference = Difference::estimate(here, count, &shared.working.counters(), theirs);
        let plan = Plan::choose(here, count, difference);
        if plan.own_bits == 0 && plan.their_bits == 0 {
            self.start_sketches(plan);
        } else {
            self.phase = Phase::Filtering { plan, next_slice: 0 };
            self.job = Some(Job::Filter { slice: 0, slices: shared.working.slices(plan.own_bits), plan });
        }
        Ok(())
    }

    fn start_sketches(&mut self, plan: Plan) {
        self.phase = Phase::Sketching { partitions: plan.partitions };
        self.job = Some(Job::Sketch { next: 0, partitions: plan.partitions, depth: plan.depth });
    }

    /// The initiator's filter, which was asked for with ours.
    fn filter(&mut self, shared: &mut Shared, filter: &Filter) -> Result<(), PeerFault> {
        let Phase::Filtering { plan, next_slice } = &mut self.phase else {
            return Err(PeerFault::Unexpected);
        };
        if self.job.is_some() || filter.slice != *next_slice || filter.reply_bits != 0 {
            return Err(PeerFault::Unexpected);
        }
        *next_slice += 1;
        let plan = *plan;
        shared.working.apply(filter);
        if filter.slice + 1 == filter.slices {
            shared.working.take_missing(&mut shared.missing);
            self.start_sketches(plan);
        }
        Ok(())
    }

    /// Notes what the initiator lacks, and sends more where a partition did not decode.
    fn answer(&mut self, shared: &mut Shared, outcomes: &[Outcome]) -> Result<(), PeerFault> {
        let Phase::Sketching { partitions } = self.phase else {
            return Err(PeerFault::Unexpected);
        };
        let Some(Sent::Partitions { parts, depth }) = self.unanswered.front() else {
            return Err(PeerFault::Unexpected);
        };
        let (parts, depth) = (parts.clone(), *depth);
        let wants_more = outcomes.contains(&Outcome::More);
        if outcomes.len() != parts.len() || (wants_more && depth >= MAX_DEPTH) {
            return Err(PeerFault::Unexpected);
        }
        self.unanswered.pop_front();
        let mut open = Vec::new();
        for (&part, outcome) in parts.iter().zip(outcomes) {
            match outcome {
                Outcome::More => open.push(part),
                Outcome::GaveUp => {}
                // A short id that we do not have comes of a collision: the sum will tell.
                Outcome::Decoded(shorts) => shorts.iter().for_each(|&short| {
                    shared.working.mark(part, partitions, short);
                }),
            }
        }
        if !open.is_empty() {
            let more = EXTRA_DEPTH.min(MAX_DEPTH - depth);
            let syndromes = open.iter().flat_map(|&part| {
                let all = shared.working.syndromes(part, partitions, depth + more);
                all.into_iter().skip(usize::from(depth))
            });
            shared.outbox.push_back(Message::Extra { depth: more, syndromes: syndromes.collect() });
            self.unanswered.push_back(Sent::Partitions { parts: open, depth: depth + more });
        }
        Ok(())
    }

    /// REC-9: the sums over what is common decide.
    fn check(&mut self, shared: &mut Shared, sum: u64) -> Result<Step, PeerFault> {
        let asked = matches!(self.phase, Phase::Sketching { .. } | Phase::Listing);
        if !asked || self.job.is_some() || !self.unanswered.is_empty() {
            return Err(PeerFault::Unexpected);
        }
        if sum == shared.working.common_sum() {
            shared.outbox.push_back(Message::Same);
            return Ok(Step::Agreed);
        }
        if matches!(self.phase, Phase::Listing) {
            return Err(PeerFault::Disagrees);
        }
        shared.outbox.push_back(Message::Again);
        Ok(Step::Continue)
    }

    /// The next message of a filter, of sketches or of a list.
    pub(crate) fn produce(&mut self, shared: &Shared) -> Option<Message> {
        match self.job.take()? {
            Job::Filter { slice, slices, plan } => {
                if slice + 1 < slices {
                    self.job = Some(Job::Filter { slice: slice + 1, slices, plan });
                } else if plan.their_bits == 0 {
                    self.start_sketches(plan);
                }
                Some(Message::Filter(shared.working.filter(slice, slices, plan.own_bits, plan.their_bits)))
            }
            Job::Sketch { next, partitions, depth } => {
                let at_once = SYNDROMES_A_MESSAGE / u32::from(depth.max(EXTRA_DEPTH));
                let end = next.saturating_add(at_once).min(partitions);
                if end < partitions {
                    self.job = Some(Job::Sketch { next: end, partitions, depth });
                }
                let parts: Vec<u32> = (next..end).collect();
                let syndromes =
                    parts.iter().flat_map(|&part| shared.working.syndromes(part, partitions, depth));
                let syndromes = syndromes.collect();
                self.unanswered.push_back(Sent::Partitions { parts, depth });
                Some(Message::Sketch { partitions, first: next, depth, syndromes })
            }
            Job::List { above } => {
                let hashes = shared.working.hashes_above(above, MAX_HASHES);
                let last = hashes.len() < MAX_HASHES;
                if !last {
                    self.job = Some(Job::List { above: hashes.last().copied() });
                }
                self.unanswered.push_back(Sent::List);
                Some(Message::List { last, hashes })
            }
        }
    }
}
