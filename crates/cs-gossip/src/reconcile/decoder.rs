//! The initiator: greets, decodes sketches, and decides whether the round was enough.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use crate::reconcile::session::{PeerFault, Shared, Step};
use crate::reconcile::sketch;
use crate::reconcile::sketcher::{EXTRA_DEPTH, MAX_ROUNDS};
use crate::reconcile::wire::{Filter, MAX_DEPTH, Message, Outcome};
use crate::reconcile::working::Working;

/// Undecoded partitions kept for more syndromes: bounds them to about 1 MiB. Others wait for the next round.
const MAX_PENDING: usize = 4096;

/// The rounds in which partitions are sketched; in the one after them everything is listed.
const SKETCHED: RangeInclusive<u8> = 1..=MAX_ROUNDS - 1;

#[derive(Debug)]
pub(crate) struct Decoder {
    phase: Phase,
    /// The filter that the peer asked for: next slice, slices, bits an element.
    reply: Option<(u32, u32, u8)>,
}

#[derive(Debug)]
enum Phase {
    /// A greeting is out.
    Greeted,
    /// An estimate is out; a filter (whose next slice is this), a sketch or a list may come.
    Planned {
        next_slice: u32,
    },
    Decoding(Decoding),
    /// A list is coming; compared so far up to this hash.
    Listing {
        above: Option<u64>,
    },
    /// A sum is out.
    Checking,
}

/// The partitions of one round.
#[derive(Debug)]
struct Decoding {
    partitions: u32,
    /// The first partition that has not arrived.
    next: u32,
    /// One entry per answer that asked for more, oldest first.
    waiting: VecDeque<Vec<Pending>>,
    gave_up: bool,
}

/// A partition that has not decoded, and the peer's syndromes of it so far.
#[derive(Debug)]
struct Pending {
    part: u32,
    syndromes: Vec<u32>,
}

impl Decoder {
    pub(crate) fn new() -> Self {
        Self { phase: Phase::Greeted, reply: None }
    }

    pub(crate) fn handle(&mut self, shared: &mut Shared, message: Message) -> Result<Step, PeerFault> {
        match message {
            Message::Same => match self.phase {
                Phase::Greeted | Phase::Checking => return Ok(Step::Agreed),
                _ => return Err(PeerFault::Unexpected),
            },
            Message::Begin { salt, syndromes, .. } => self.begin(shared, salt, syndromes)?,
            Message::Again => {
                if !matches!(self.phase, Phase::Checking) || shared.round >= MAX_ROUNDS {
                    return Err(PeerFault::Unexpected);
                }
                self.next_round(shared);
            }
            Message::Filter(filter) => self.filter(shared, &filter)?,
            Message::Sketch { partitions, first, depth, syndromes } => {
                self.sketch(shared, (partitions, first), usize::from(depth), &syndromes)?;
            }
            Message::Extra { depth, syndromes } => self.extra(shared, usize::from(depth), &syndromes)?,
            Message::List { last, hashes } => self.list(shared, last, &hashes)?,
            _ => return Err(PeerFault::Unexpected),
        }
        Ok(Step::Continue)
    }

    /// The next slice of the filter that the peer asked for.
    pub(crate) fn produce(&mut self, shared: &Shared) -> Option<Message> {
        let (slice, slices, bits) = self.reply?;
        self.reply = (slice + 1 < slices).then_some((slice + 1, slices, bits));
        Some(Message::Filter(shared.working.filter(slice, slices, bits, 0)))
    }

    /// The small sketch of the whole set: enough for a few differences, else an estimate goes back.
    fn begin(&mut self, shared: &mut Shared, salt: [u8; 8], syndromes: Vec<u32>) -> Result<(), PeerFault> {
        if !matches!(self.phase, Phase::Greeted) {
            return Err(PeerFault::Unexpected);
        }
        shared.salt = salt;
        shared.enter_round(0);
        match decode(&mut shared.working, 0, 1, &syndromes) {
            Some(theirs) => {
                shared.outbox.push_back(Message::Answer { partitions: vec![Outcome::Decoded(theirs)] });
                self.check(shared);
            }
            None => self.next_round(shared),
        }
        Ok(())
    }

    fn next_round(&mut self, shared: &mut Shared) {
        shared.enter_round(shared.round + 1);
        shared.outbox.push_back(Message::Estimate {
            round: shared.round,
            count: shared.working.len(),
            counters: shared.working.counters(),
        });
        self.phase = Phase::Planned { next_slice: 0 };
    }

    fn check(&mut self, shared: &mut Shared) {
        shared.outbox.push_back(Message::Check { sum: shared.working.common_sum() });
        self.phase = Phase::Checking;
    }

    /// REC-6: slices come in order; after the last one our own filter may be wanted.
    fn filter(&mut self, shared: &mut Shared, filter: &Filter) -> Result<(), PeerFault> {
        let Phase::Planned { next_slice } = &mut self.phase else {
            return Err(PeerFault::Unexpected);
        };
        if filter.slice != *next_slice || shared.round >= MAX_ROUNDS {
            return Err(PeerFault::Unexpected);
        }
        *next_slice += 1;
        shared.working.apply(filter);
        if *next_slice == filter.slices {
            *next_slice = u32::MAX;
            shared.working.take_missing(&mut shared.missing);
            let bits = filter.reply_bits;
            self.reply = (bits > 0).then(|| (0, shared.working.slices(bits), bits));
        }
        Ok(())
    }

    /// REC-7: partitions come in order; each message is answered at once.
    fn sketch(
        &mut self,
        shared: &mut Shared,
        (partitions, first): (u32, u32),
        depth: usize,
        syndromes: &[u32],
    ) -> Result<(), PeerFault> {
        let fresh = matches!(self.phase, Phase::Planned { next_slice: 0 | u32::MAX });
        let in_order = match &self.phase {
            Phase::Decoding(decoding) => decoding.next == first && decoding.partitions == partitions,
            _ => fresh && first == 0,
        };
        if !in_order || !SKETCHED.contains(&shared.round) {
            return Err(PeerFault::Unexpected);
        }
        if fresh {
            let decoding = Decoding { partitions, next: 0, waiting: VecDeque::new(), gave_up: false };
            self.phase = Phase::Decoding(decoding);
        }
        let Phase::Decoding(decoding) = &mut self.phase else {
            return Err(PeerFault::Unexpected);
        };
        let arrived = (first..)
            .zip(syndromes.chunks_exact(depth))
            .map(|(part, syndromes)| Pending { part, syndromes: syndromes.to_vec() });
        let arrived: Vec<Pending> = arrived.collect();
        decoding.next += arrived.len() as u32;
        decoding.answer(shared, arrived);
        self.settle(shared);
        Ok(())
    }

    /// REC-8: further syndromes for what the oldest open answer asked them for.
    fn extra(&mut self, shared: &mut Shared, depth: usize, syndromes: &[u32]) -> Result<(), PeerFault> {
        let Phase::Decoding(decoding) = &mut self.phase else {
            return Err(PeerFault::Unexpected);
        };
        let fits = decoding.waiting.front().is_some_and(|waiting| {
            let before = waiting.first().map_or(0, |pending| pending.syndromes.len());
            depth == usize::from(EXTRA_DEPTH).min(usize::from(MAX_DEPTH) - before)
                && syndromes.len() == waiting.len() * depth
        });
        if !fits {
            return Err(PeerFault::Unexpected);
        }
        let mut waiting = decoding.waiting.pop_front().ok_or(PeerFault::Unexpected)?;
        for (pending, more) in waiting.iter_mut().zip(syndromes.chunks_exact(depth)) {
            pending.syndromes.extend_from_slice(more);
        }
        decoding.answer(shared, waiting);
        self.settle(shared);
        Ok(())
    }

    /// When no partition is open: a sum if all decoded, another round if not.
    fn settle(&mut self, shared: &mut Shared) {
        let Phase::Decoding(decoding) = &self.phase else {
            return;
        };
        if decoding.next < decoding.partitions || !decoding.waiting.is_empty() {
            return;
        }
        if decoding.gave_up { self.next_round(shared) } else { self.check(shared) }
    }

    /// REC-10: the last round compares hashes one by one.
    fn list(&mut self, shared: &mut Shared, last: bool, hashes: &[u64]) -> Result<(), PeerFault> {
        let above = match self.phase {
            Phase::Planned { next_slice: 0 } => None,
            Phase::Listing { above } => above,
            _ => return Err(PeerFault::Unexpected),
        };
        let rising = hashes.first().is_none_or(|first| above.is_none_or(|above| above < *first));
        let up_to = if last { Some(u64::MAX) } else { hashes.last().copied() };
        let (true, Some(up_to), true) = (rising, up_to, shared.round >= MAX_ROUNDS) else {
            return Err(PeerFault::Unexpected);
        };
        let lacking = shared.working.compare(above, up_to, hashes);
        shared.outbox.push_back(Message::Lack { hashes: lacking });
        self.phase = Phase::Listing { above: Some(up_to) };
        if last {
            self.check(shared);
        }
        Ok(())
    }
}

impl Decoding {
    /// Decodes what it can and answers for each partition, in order.
    fn answer(&mut self, shared: &mut Shared, arrived: Vec<Pending>) {
        let open: usize = self.waiting.iter().map(Vec::len).sum();
        let mut waiting = Vec::new();
        let mut outcomes = Vec::with_capacity(arrived.len());
        for pending in arrived {
            outcomes.push(
                match decode(&mut shared.working, pending.part, self.partitions, &pending.syndromes) {
                    Some(theirs) => Outcome::Decoded(theirs),
                    None if pending.syndromes.len() < usize::from(MAX_DEPTH)
                        && open + waiting.len() < MAX_PENDING =>
                    {
                        waiting.push(pending);
                        Outcome::More
                    }
                    None => {
                        self.gave_up = true;
                        Outcome::GaveUp
                    }
                },
            );
        }
        if !waiting.is_empty() {
            self.waiting.push_back(waiting);
        }
        shared.outbox.push_back(Message::Answer { partitions: outcomes });
    }
}

/// Decodes one partition: marks our own elements in the difference, and returns the short ids of the peer's.
fn decode(working: &mut Working, part: u32, parts: u32, theirs: &[u32]) -> Option<Vec<u32>> {
    let depth = u8::try_from(theirs.len()).ok()?;
    let mut syndromes = working.syndromes(part, parts, depth);
    for (ours, theirs) in syndromes.iter_mut().zip(theirs) {
        *ours ^= theirs;
    }
    let mut found = sketch::decode(&syndromes)?;
    found.retain(|&short| !working.mark(part, parts, short));
    Some(found)
}
