//! The side that sketches, the responder as a rule: plans, and sends filters, sketches and lists.

use std::collections::VecDeque;

use crate::reconcile::bits::pack;
use crate::reconcile::decoder::MAX_ESTIMATES;
use crate::reconcile::decoding::odd_ones;
use crate::reconcile::element::{Cut, Element, Estimator};
use crate::reconcile::plan::{Difference, Plan};
use crate::reconcile::session::{Mode, PeerFault, Shared, Step};
use crate::reconcile::wire::{
    Estimate, Filter, Hello, MAX_DEPTH, MAX_HASHES, MAX_PARTS, MAX_SYNDROMES, Message, Names, Sketch,
    opening_bits,
};
use crate::reconcile::working::Working;

/// Sums compared after first sketches: an honest initiator gives up sooner.
const MAX_CHECKS: u8 = 4;
/// The round in which everything left is listed (REC-11).
pub(crate) const LAST_ROUND: u8 = 3;

#[derive(Debug)]
pub(crate) struct Sketcher {
    phase: Phase,
    job: Option<Job>,
    /// What was sent and not answered, oldest first.
    unanswered: VecDeque<Sent>,
    /// Digest in the greeting: what an initiator that lacks nothing means by "settled".
    greeting: [u8; 8],
    /// Looking at what is recent only.
    recent: bool,
    /// Of this round.
    estimates: u8,
    /// The sides have changed places.
    swapped: bool,
}

#[derive(Debug)]
enum Phase {
    Waiting,
    /// The whole set as one partition; so many syndromes are out, and so many sums were compared.
    Opening {
        depth: u8,
        checks: u8,
    },
    /// Our filter is going out and theirs is coming, this slice next; then the plan's sketches. Both sizes are those before.
    Filtering {
        plan: Plan,
        next_slice: u32,
        here: u64,
        there: u64,
    },
    /// Sketches are out, or going out.
    Sketching(Plan),
    Listing,
}

/// What is being sent, one message at a time.
#[derive(Debug)]
enum Job {
    Filter { slice: u32, level: u8, plan: Plan },
    Sketch { next: u32, plan: Plan },
    List { above: Option<u64> },
}

/// An open question to the initiator.
#[derive(Debug)]
enum Sent {
    Partitions {
        cut: Cut,
        /// First partition of the message that they went with: names count from it.
        first: u32,
        /// Those that are not decoded.
        parts: Vec<u32>,
        depth: u8,
    },
    List,
}

impl Sketcher {
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Waiting,
            job: None,
            unanswered: VecDeque::new(),
            greeting: [0; 8],
            recent: false,
            estimates: 0,
            swapped: false,
        }
    }

    /// An initiator that sketches, from the moment that the responder sent an estimate.
    pub(crate) fn taking_over() -> Self {
        Self { phase: Phase::Opening { depth: 0, checks: MAX_CHECKS }, swapped: true, ..Self::new() }
    }

    pub(crate) fn handle(&mut self, shared: &mut Shared, message: Message) -> Result<Step, PeerFault> {
        match message {
            Message::Hello(hello) => return self.hello(shared, &hello),
            Message::Estimate(estimate) => return self.estimate(shared, &estimate),
            Message::Filter(filter) => self.filter(shared, &filter)?,
            Message::Answer { names } => self.answer(shared, 0, None, &names)?,
            Message::Partly { more, decoded, names } => self.answer(shared, more, Some(decoded), &names)?,
            Message::Settled { names } => {
                if !self.may_compare() || !matches!(self.phase, Phase::Opening { .. }) || self.recent {
                    return Err(PeerFault::Unexpected);
                }
                self.answer(shared, 0, None, &names)?;
                let equal = shared.working.digest() == self.greeting;
                return self.compare(shared, equal);
            }
            Message::Lack { hashes } => {
                if !matches!(self.unanswered.front(), Some(Sent::List)) {
                    return Err(PeerFault::Unexpected);
                }
                self.unanswered.pop_front();
                shared.working.exclude_hashes(&hashes);
            }
            Message::Check { sum, short } => return self.check(shared, sum, short),
            _ => return Err(PeerFault::Unexpected),
        }
        Ok(Step::Continue)
    }

    /// Compares fingerprints; if they differ, sends a first syndrome, or a plan where the greeting has what it takes.
    fn hello(&mut self, shared: &mut Shared, hello: &Hello) -> Result<Step, PeerFault> {
        if !matches!(self.phase, Phase::Waiting) {
            return Err(PeerFault::Unexpected);
        }
        match hello.salt {
            Some(salt) => shared.enter_round(1, salt),
            None => shared.enter_whole(),
        }
        self.greeting = hello.fingerprint;
        if shared.working.digest() == hello.fingerprint {
            shared.outbox.push_back(Message::Same);
            return Ok(Step::Agreed);
        }
        if let Some((count, estimator)) = hello.opening {
            shared.mode = Mode::Quick;
            self.estimates = 1;
            let (here, ours) = (shared.working.len(), shared.working.estimator());
            self.plan(shared, count, Difference::estimate(here, count, ours, &Estimator(estimator)));
            return Ok(Step::Continue);
        }
        let recent =
            hello.since.filter(|_| hello.salt.is_none()).and_then(|since| shared.index.recent(since));
        if let Some(recent) = recent {
            shared.working = Working::new(recent, shared.index.fingerprint());
            self.recent = true;
        }
        self.open(shared);
        Ok(Step::Continue)
    }

    /// REC-4.
    fn open(&mut self, shared: &mut Shared) {
        let count = shared.working.len();
        let cut = Cut { level: 0, bits: opening_bits(count), last: false };
        let syndrome = shared.working.sketch(cut, 0, 1).first().copied().unwrap_or_default();
        shared.outbox.push_back(Message::Begin { recent: self.recent, count, syndrome });
        shared.working.keep();
        self.estimates = 0;
        self.await_opening(cut, 1, 0);
    }

    fn await_opening(&mut self, cut: Cut, depth: u8, checks: u8) {
        self.unanswered.clear();
        self.unanswered.push_back(Sent::Partitions { cut, first: 0, parts: vec![0], depth });
        self.phase = Phase::Opening { depth, checks };
    }

    /// REC-5: plans from the estimator.
    fn estimate(&mut self, shared: &mut Shared, estimate: &Estimate) -> Result<Step, PeerFault> {
        let settled = match self.phase {
            Phase::Opening { .. } => true,
            Phase::Sketching(_) => self.job.is_none() && self.unanswered.is_empty(),
            _ => false,
        };
        let same = estimate.round == shared.round && self.estimates < MAX_ESTIMATES;
        let next = estimate.round == shared.round + 1 && estimate.round <= LAST_ROUND && self.estimates > 0;
        if !settled || !(same || next) {
            return Err(PeerFault::Unexpected);
        }
        self.unanswered.clear();
        if next {
            shared.enter_round(estimate.round, estimate.salt.unwrap_or_default());
            self.recent = false;
            self.estimates = 0;
        }
        self.estimates += 1;
        if shared.round == LAST_ROUND {
            self.phase = Phase::Listing;
            self.job = Some(Job::List { above: None });
            return Ok(Step::Continue);
        }
        let (here, there) = (shared.working.len(), estimate.count);
        let ours = shared.working.estimator();
        let difference = Difference::estimate(here, there, ours, &Estimator(estimate.estimator));
        // Only once, only between whole sets, and only if that is worth a turn.
        if !self.swapped && !self.recent && self.estimates == 1 && difference.prefers_to_decode(here) {
            let salt = (shared.round > 0).then_some(shared.salt);
            let (round, estimator) = (shared.round, ours.0);
            shared.outbox.push_back(Message::Estimate(Estimate { round, salt, count: here, estimator }));
            return Ok(Step::Swap);
        }
        self.plan(shared, there, difference);
        Ok(Step::Continue)
    }

    fn plan(&mut self, shared: &Shared, count: u64, difference: Difference) {
        let here = shared.working.len();
        let plan = Plan::choose(shared.mode, here, difference);
        if plan.own_filter == 0 && plan.their_filter == 0 {
            self.start_sketches(plan);
        } else {
            let level = shared.working.filter_level(plan.own_filter);
            self.job = Some(Job::Filter { slice: 0, level, plan });
            self.phase = Phase::Filtering { plan, next_slice: 0, here, there: count };
        }
    }

    fn start_sketches(&mut self, plan: Plan) {
        self.job = Some(Job::Sketch { next: 0, plan });
        self.phase = Phase::Sketching(plan);
    }

    /// REC-6: the initiator's filter, slice by slice.
    fn filter(&mut self, shared: &mut Shared, filter: &Filter) -> Result<(), PeerFault> {
        let Phase::Filtering { plan, next_slice, here, there } = &mut self.phase else {
            return Err(PeerFault::Unexpected);
        };
        if self.job.is_some() || plan.their_filter == 0 || filter.slice != *next_slice || filter.reply != 0 {
            return Err(PeerFault::Unexpected);
        }
        *next_slice += 1;
        shared.working.apply(filter);
        if filter.slice + 1 == 1 << filter.level {
            let excluded = here.saturating_sub(shared.working.len());
            let plan = plan.refine(shared.mode, *here, *there, excluded);
            self.start_sketches(plan);
        }
        Ok(())
    }

    /// What became of the oldest partitions that were sent (REC-8, REC-9). `decoded`: which of them; all if `None`.
    fn answer(
        &mut self,
        shared: &mut Shared,
        more: u8,
        decoded: Option<Vec<bool>>,
        names: &Names,
    ) -> Result<(), PeerFault> {
        let Some(Sent::Partitions { cut, first, parts, depth }) = self.unanswered.front() else {
            return Err(PeerFault::Unexpected);
        };
        let (cut, first, depth) = (*cut, *first, *depth);
        let open: Vec<u32> = match &decoded {
            None => Vec::new(),
            Some(decoded) if decoded.len() == parts.len() => {
                parts.iter().zip(decoded).filter(|(_, decoded)| !**decoded).map(|(part, _)| *part).collect()
            }
            Some(_) => return Err(PeerFault::Unexpected),
        };
        let deeper = depth.saturating_add(more);
        if deeper > MAX_DEPTH
            || names.width > cut.width()
            || (!names.list.is_empty() && names.width < cut.level)
        {
            return Err(PeerFault::Unexpected);
        }
        self.unanswered.pop_front();
        exclude_named(&mut shared.working, cut, first, names);
        if more == 0 || open.is_empty() {
            return Ok(());
        }
        let extra = open.iter().flat_map(|&part| {
            let all = shared.working.sketch(cut, part, usize::from(deeper));
            all.into_iter().skip(usize::from(depth))
        });
        let packed = pack(&extra.collect::<Vec<u32>>(), cut.bits);
        shared.outbox.push_back(Message::Extra { packed });
        self.unanswered.push_back(Sent::Partitions { cut, first, parts: open, depth: deeper });
        if let Phase::Opening { depth, .. } = &mut self.phase {
            *depth = deeper;
        }
        Ok(())
    }

    /// REC-10: the sums over what is common decide.
    fn check(&mut self, shared: &mut Shared, sum: [u8; 8], short: bool) -> Result<Step, PeerFault> {
        let opening = matches!(self.phase, Phase::Opening { .. });
        // An initiator that has nothing to name does not answer the first sketch.
        let answered = opening || self.unanswered.is_empty();
        if !self.may_compare() || self.job.is_some() || !answered || (short && !opening) {
            return Err(PeerFault::Unexpected);
        }
        let ours = shared.working.digest();
        let equal = if short { ours.get(..5) == sum.get(..5) } else { ours == sum };
        self.compare(shared, equal)
    }

    /// Whether a sum of the initiator can have a place now.
    fn may_compare(&self) -> bool {
        match self.phase {
            Phase::Opening { checks, .. } => checks < MAX_CHECKS,
            Phase::Sketching(_) | Phase::Listing => true,
            Phase::Waiting | Phase::Filtering { .. } => false,
        }
    }

    /// The sets agree, or what comes after this phase comes.
    fn compare(&mut self, shared: &mut Shared, equal: bool) -> Result<Step, PeerFault> {
        if equal {
            shared.outbox.push_back(Message::Same);
            return Ok(Step::Agreed);
        }
        if self.recent {
            self.recent = false;
            if matches!(self.phase, Phase::Opening { .. }) {
                shared.working.roll_back();
            }
            shared.working.widen(shared.index.clone());
            self.open(shared);
            return Ok(Step::Continue);
        }
        match self.phase {
            Phase::Listing => return Err(PeerFault::Disagrees),
            Phase::Opening { depth, checks } => {
                shared.working.roll_back();
                shared.outbox.push_back(Message::Again);
                let cut = Cut { level: 0, bits: opening_bits(shared.working.len()), last: false };
                self.await_opening(cut, depth, checks + 1);
            }
            Phase::Sketching(plan) => {
                shared.outbox.push_back(Message::Again);
                if !plan.cut.last {
                    self.start_sketches(plan.second_look());
                }
            }
            Phase::Waiting | Phase::Filtering { .. } => return Err(PeerFault::Unexpected),
        }
        Ok(Step::Continue)
    }

    /// The next message of a filter, of sketches or of a list.
    pub(crate) fn produce(&mut self, shared: &mut Shared) -> Option<Message> {
        match self.job.take()? {
            Job::Filter { slice, level, plan } => {
                if slice + 1 < 1 << level {
                    self.job = Some(Job::Filter { slice: slice + 1, level, plan });
                } else if plan.their_filter == 0 {
                    self.start_sketches(plan);
                }
                let (own, reply) = (plan.own_filter, plan.their_filter);
                Some(Message::Filter(shared.working.filter(slice, level, own, reply, shared.salt)))
            }
            Job::Sketch { next, plan } => Some(self.sketches(shared, next, plan)),
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

    fn sketches(&mut self, shared: &mut Shared, next: u32, plan: Plan) -> Message {
        let Plan { cut, depth, .. } = plan;
        let at_once = (MAX_SYNDROMES / usize::from(depth.max(1))).min(MAX_PARTS) as u32;
        let end = next.saturating_add(at_once).min(cut.parts());
        if end < cut.parts() {
            self.job = Some(Job::Sketch { next: end, plan });
        }
        let parts: Vec<u32> = (next..end).collect();
        let sketch = |&part: &u32| shared.working.sketch(cut, part, usize::from(depth));
        let syndromes: Vec<u32> = parts.iter().flat_map(sketch).collect();
        self.unanswered.push_back(Sent::Partitions { cut, first: next, parts, depth });
        Message::Sketch(Sketch {
            level: cut.level,
            bits: cut.bits,
            last: cut.last,
            depth,
            first: next,
            syndromes,
        })
    }
}

/// Excludes what the initiator named: the `place`-th visible name of each bucket (REC-9).
fn exclude_named(working: &mut Working, cut: Cut, first: u32, names: &Names) {
    if names.list.is_empty() {
        return;
    }
    let shift = cut.width() - names.width;
    let base = u64::from(first) << (names.width - cut.level);
    let mut buckets: Vec<u64> = names.list.iter().map(|name| name.bucket + base).collect();
    buckets.dedup();
    let ours = working.select(cut, names.width, &buckets);
    let visible = odd_ones(ours.iter().map(|(name, _)| *name).collect());
    let mut named: Vec<Element> = Vec::with_capacity(names.list.len());
    for name in &names.list {
        let start = visible.partition_point(|other| other >> shift < name.bucket + base);
        let Some(&found) = usize::try_from(name.place).ok().and_then(|place| visible.get(start + place))
        else {
            continue;
        };
        let from = ours.partition_point(|(other, _)| *other < found);
        // Three with one name: which one it is, only a second look can tell.
        match ours.get(from..).unwrap_or_default() {
            [(a, _), (b, _), ..] if *a == found && *b == found => {}
            [(a, element), ..] if *a == found && found >> shift == name.bucket + base => named.push(*element),
            _ => {}
        }
    }
    working.exclude(named);
}
