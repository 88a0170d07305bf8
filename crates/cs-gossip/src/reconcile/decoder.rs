//! The side that decodes, the initiator as a rule: greets, decodes sketches, and decides what to ask for.

use crate::reconcile::bits::unpack;
use crate::reconcile::decoding::{Arrived, Decoding};
use crate::reconcile::element::Cut;
use crate::reconcile::session::{Mode, PeerFault, Shared, Step};
use crate::reconcile::sketcher::LAST_ROUND;
use crate::reconcile::wire::{Estimate, Filter, Message, Names, Sketch, opening_bits};
use crate::reconcile::working::Working;

/// Estimates sent in one round: a second one if partitions were given up.
pub(crate) const MAX_ESTIMATES: u8 = 2;
/// Syndromes of the whole set after which an estimator is cheaper than trying further.
const OPENING_DEPTH: usize = 12;
/// A difference in size up to which the whole set is one partition.
const OPENING_SKEW: usize = 31;

#[derive(Debug)]
pub(crate) struct Decoder {
    phase: Phase,
    /// What is recent was proposed in the greeting.
    since: Option<u64>,
    /// Looking at what is recent only.
    recent: bool,
    /// Of this round.
    estimates: u8,
    /// The sides have changed places.
    swapped: bool,
    /// The filter that the peer asked for: next slice, their level, density, salt.
    reply: Option<(u32, u8, u8, [u8; 8])>,
}

#[derive(Debug)]
enum Phase {
    /// A greeting is out.
    Greeted,
    /// More syndromes of the whole set are wanted.
    Opening(Opening),
    /// An estimate is out; a filter (whose next slice is this), a sketch or a list may come.
    Planned {
        next_slice: u32,
    },
    /// The sums differ after all partitions decoded: a sketch of other bits comes.
    SecondLook,
    Decoding(Decoding),
    /// A list is coming; compared so far up to this hash.
    Listing {
        above: Option<u64>,
    },
    /// A sum is out.
    Checking(Checked),
}

/// The syndromes of the whole set so far.
#[derive(Debug)]
struct Opening {
    /// Size of the peer's set.
    count: u64,
    syndromes: Vec<u32>,
    /// How many more were asked for.
    asked: u8,
}

/// What a sum was sent after.
#[derive(Debug)]
enum Checked {
    Opening(Opening),
    Sketch,
    SecondLook,
    List,
}

impl Decoder {
    pub(crate) fn new(since: Option<u64>) -> Self {
        Self { phase: Phase::Greeted, since, recent: false, estimates: 0, swapped: false, reply: None }
    }

    /// A responder that decodes, from the moment that it sent an estimate of its own.
    pub(crate) fn taking_over() -> Self {
        Self { phase: Phase::Planned { next_slice: 0 }, estimates: 1, swapped: true, ..Self::new(None) }
    }

    /// Whether the responder may change places now, and this message says that it does.
    pub(crate) fn may_swap(&self, shared: &Shared, message: &Message) -> bool {
        let planned = matches!(self.phase, Phase::Planned { next_slice: 0 });
        let free = planned && !self.swapped && !self.recent && shared.mode == Mode::Fewest;
        free && matches!(message, Message::Estimate(estimate) if estimate.round == shared.round)
            && shared.round < LAST_ROUND
    }

    pub(crate) fn handle(&mut self, shared: &mut Shared, message: Message) -> Result<Step, PeerFault> {
        match message {
            Message::Same => match self.phase {
                Phase::Greeted | Phase::Checking(_) => return Ok(Step::Agreed),
                _ => return Err(PeerFault::Unexpected),
            },
            Message::Begin { recent, count, syndrome } => self.begin(shared, recent, count, syndrome)?,
            Message::Again => self.again(shared)?,
            Message::Filter(filter) => self.filter(shared, &filter)?,
            Message::Sketch(sketch) => self.sketch(shared, &sketch)?,
            Message::Extra { packed } => self.extra(shared, &packed)?,
            Message::List { last, hashes } => self.list(shared, last, &hashes)?,
            _ => return Err(PeerFault::Unexpected),
        }
        Ok(Step::Continue)
    }

    /// The next slice of the filter that the peer asked for.
    pub(crate) fn produce(&mut self, shared: &Shared) -> Option<Message> {
        let (slice, level, density, salt) = self.reply?;
        self.reply = (slice + 1 < 1 << level).then_some((slice + 1, level, density, salt));
        Some(Message::Filter(shared.working.filter(slice, level, density, 0, salt)))
    }

    /// REC-4: the first syndrome of everything, or of what is recent (REC-13).
    fn begin(
        &mut self,
        shared: &mut Shared,
        recent: bool,
        count: u64,
        syndrome: u32,
    ) -> Result<(), PeerFault> {
        let fits = match &self.phase {
            Phase::Greeted => !recent || self.since.is_some(),
            // What is recent is settled, and the rest differs as well.
            Phase::Checking(_) => self.recent && !recent,
            _ => false,
        };
        if !fits || shared.mode == Mode::Quick {
            return Err(PeerFault::Unexpected);
        }
        if recent {
            let since = self.since.unwrap_or_default();
            let index = shared.index.recent(since).ok_or(PeerFault::Unexpected)?;
            shared.working = Working::new(index, shared.index.fingerprint());
        } else if self.recent {
            if matches!(self.phase, Phase::Checking(Checked::Opening(_))) {
                // It may have been a wrong guess: a few syndromes prove little.
                shared.working.roll_back();
            }
            shared.working.widen(shared.index.clone());
        }
        self.recent = recent;
        self.estimates = 0;
        shared.working.keep();
        self.open(shared, Opening { count, syndromes: vec![syndrome], asked: 0 });
        Ok(())
    }

    /// Decodes the whole set as one partition, or asks for more.
    fn open(&mut self, shared: &mut Shared, opening: Opening) {
        let cut = Cut { level: 0, bits: opening_bits(opening.count), last: false };
        let skew = shared.working.len().abs_diff(opening.count);
        let alone = opening.syndromes.len() == 1 && skew == 1;
        let arrived = Arrived { part: 0, syndromes: opening.syndromes.clone() };
        let Some(differences) = arrived.decode(&mut shared.working, cut, alone) else {
            return self.open_further(shared, opening);
        };
        let expected = shared.working.len() > opening.count;
        let found = differences.apply(&mut shared.working, cut, 0, 1);
        if alone && (found.own == 1) != expected {
            shared.working.roll_back();
            return self.open_further(shared, opening);
        }
        if shared.working.is_whole() && !self.recent {
            shared.outbox.push_back(Message::Settled { names: found.names });
        } else {
            if !found.names.list.is_empty() {
                shared.outbox.push_back(Message::Answer { names: found.names });
            }
            let short = opening.syndromes.len() <= 4;
            shared.outbox.push_back(Message::Check { sum: shared.working.digest(), short });
        }
        self.phase = Phase::Checking(Checked::Opening(opening));
    }

    fn open_further(&mut self, shared: &mut Shared, mut opening: Opening) {
        let skew = shared.working.len().abs_diff(opening.count);
        let skew = usize::try_from(skew).unwrap_or(usize::MAX);
        let depth = opening.syndromes.len();
        let target = match depth {
            _ if skew > OPENING_SKEW => 0,
            0..4 => 4.max(skew + 1),
            4..8 => OPENING_DEPTH,
            _ => 0,
        };
        if target > depth {
            let more = (target - depth) as u8;
            shared.outbox.push_back(Message::Partly { more, decoded: vec![false], names: Names::default() });
            opening.asked = more;
            self.phase = Phase::Opening(opening);
        } else {
            self.estimate(shared);
        }
    }

    /// REC-10: the sums differ.
    fn again(&mut self, shared: &mut Shared) -> Result<(), PeerFault> {
        let Phase::Checking(checked) = &mut self.phase else {
            return Err(PeerFault::Unexpected);
        };
        match checked {
            // The peer begins anew with everything instead.
            Checked::Opening(_) if self.recent => return Err(PeerFault::Unexpected),
            Checked::Opening(opening) => {
                let syndromes = core::mem::take(&mut opening.syndromes);
                let opening = Opening { count: opening.count, syndromes, asked: 0 };
                shared.working.roll_back();
                self.open_further(shared, opening);
            }
            Checked::Sketch => self.phase = Phase::SecondLook,
            Checked::SecondLook => self.next_round(shared),
            Checked::List => return Err(PeerFault::Disagrees),
        }
        Ok(())
    }

    fn estimate(&mut self, shared: &mut Shared) {
        self.estimates += 1;
        shared.outbox.push_back(Message::Estimate(Estimate {
            round: shared.round,
            salt: (shared.round > 0).then_some(shared.salt),
            count: shared.working.len(),
            estimator: shared.working.estimator().0,
        }));
        self.phase = Phase::Planned { next_slice: 0 };
    }

    fn next_round(&mut self, shared: &mut Shared) {
        shared.enter_round(shared.round + 1, shared.salt);
        self.estimates = 0;
        self.recent = false;
        self.estimate(shared);
    }

    fn check(&mut self, shared: &mut Shared, checked: Checked) {
        shared.outbox.push_back(Message::Check { sum: shared.working.digest(), short: false });
        self.phase = Phase::Checking(checked);
    }

    /// Whether a plan's messages may come: one was asked for, by an estimate or by a greeting with an opening.
    fn awaits_plan(&mut self, shared: &Shared) {
        if matches!(self.phase, Phase::Greeted) && shared.mode == Mode::Quick {
            self.phase = Phase::Planned { next_slice: 0 };
            self.estimates = 1;
        }
    }

    /// REC-6: slices come in order; after the last one our own filter may be wanted.
    fn filter(&mut self, shared: &mut Shared, filter: &Filter) -> Result<(), PeerFault> {
        let next = match &self.phase {
            Phase::Greeted if shared.mode == Mode::Quick => 0,
            Phase::Planned { next_slice } => *next_slice,
            _ => return Err(PeerFault::Unexpected),
        };
        if filter.slice != next || shared.round >= LAST_ROUND {
            return Err(PeerFault::Unexpected);
        }
        self.awaits_plan(shared);
        shared.working.apply(filter);
        let last = filter.slice + 1 == 1 << filter.level;
        self.phase = Phase::Planned { next_slice: if last { u32::MAX } else { next + 1 } };
        if last && filter.reply > 0 {
            let level = shared.working.filter_level(filter.reply);
            self.reply = Some((0, level, filter.reply, filter.salt));
        }
        Ok(())
    }

    /// REC-7: partitions come in order; each message is answered at once.
    fn sketch(&mut self, shared: &mut Shared, sketch: &Sketch) -> Result<(), PeerFault> {
        let cut = Cut { level: sketch.level, bits: sketch.bits, last: sketch.last };
        let fresh = match &self.phase {
            Phase::Greeted => shared.mode == Mode::Quick && !cut.last,
            Phase::Planned { next_slice } => !cut.last && matches!(*next_slice, 0 | u32::MAX),
            Phase::SecondLook => cut.last,
            _ => false,
        };
        let expected = match &self.phase {
            Phase::Decoding(decoding) if decoding.cut == cut => decoding.next,
            _ if fresh && cut.width() <= 48 => 0,
            _ => return Err(PeerFault::Unexpected),
        };
        if sketch.first != expected || shared.round >= LAST_ROUND {
            return Err(PeerFault::Unexpected);
        }
        if fresh {
            self.awaits_plan(shared);
            self.phase = Phase::Decoding(Decoding::new(cut));
        }
        let Phase::Decoding(decoding) = &mut self.phase else {
            return Err(PeerFault::Unexpected);
        };
        decoding.arrive(shared, usize::from(sketch.depth), &sketch.syndromes);
        self.settle(shared);
        Ok(())
    }

    /// REC-8: further syndromes for what the oldest open answer asked them for.
    fn extra(&mut self, shared: &mut Shared, packed: &[u8]) -> Result<(), PeerFault> {
        match &mut self.phase {
            Phase::Opening(opening) => {
                let bits = opening_bits(opening.count);
                let more = unpack(packed, usize::from(opening.asked), bits)?;
                let mut syndromes = core::mem::take(&mut opening.syndromes);
                syndromes.extend(more);
                let opening = Opening { count: opening.count, syndromes, asked: 0 };
                self.open(shared, opening);
            }
            Phase::Decoding(decoding) => {
                decoding.extend(shared, packed)?;
                self.settle(shared);
            }
            _ => return Err(PeerFault::Unexpected),
        }
        Ok(())
    }

    /// When no partition is open: a sum if all decoded, another try if not.
    fn settle(&mut self, shared: &mut Shared) {
        let Phase::Decoding(decoding) = &self.phase else {
            return;
        };
        if !decoding.is_settled() {
            return;
        }
        let checked = if decoding.cut.last { Checked::SecondLook } else { Checked::Sketch };
        match (decoding.gave_up, self.estimates) {
            (false, _) => self.check(shared, checked),
            (true, sent) if sent < MAX_ESTIMATES && !decoding.cut.last => self.estimate(shared),
            (true, _) => self.next_round(shared),
        }
    }

    /// REC-11: the last round compares hashes one by one.
    fn list(&mut self, shared: &mut Shared, last: bool, hashes: &[u64]) -> Result<(), PeerFault> {
        let above = match self.phase {
            Phase::Planned { next_slice: 0 } => None,
            Phase::Listing { above } => above,
            _ => return Err(PeerFault::Unexpected),
        };
        let rising = hashes.first().is_none_or(|first| above.is_none_or(|above| above < *first));
        let up_to = if last { Some(u64::MAX) } else { hashes.last().copied() };
        let (true, Some(up_to), true) = (rising, up_to, shared.round >= LAST_ROUND) else {
            return Err(PeerFault::Unexpected);
        };
        let lacking = shared.working.compare(above, up_to, hashes);
        shared.outbox.push_back(Message::Lack { hashes: lacking });
        self.phase = Phase::Listing { above: Some(up_to) };
        if last {
            self.check(shared, Checked::List);
        }
        Ok(())
    }
}
