//! The partitions of one sketch at the initiator: decoded, named, and asked more of (REC-7 to REC-9).

use std::collections::VecDeque;

use crate::reconcile::bits::unpack;
use crate::reconcile::element::{Cut, Element};
use crate::reconcile::session::{Mode, PeerFault, Shared};
use crate::reconcile::sketch;
use crate::reconcile::wire::{MAX_DEPTH, MAX_MORE, Message, Name, Names};
use crate::reconcile::working::Working;

/// Syndromes kept of partitions that are not decoded: 8 MiB. What does not fit is given up.
const MAX_PENDING: usize = 2 << 20;

/// A place in a bucket that is worth its bits: buckets hold one element on average.
const MAX_PLACE: u64 = 40;

/// The partitions of one sketch.
#[derive(Debug)]
pub(crate) struct Decoding {
    pub(crate) cut: Cut,
    /// The first partition that has not arrived.
    pub(crate) next: u32,
    pub(crate) gave_up: bool,
    /// One entry per answer that asked for more, oldest first.
    waiting: VecDeque<Open>,
    pending: usize,
}

/// Partitions that an answer asked more of.
#[derive(Debug)]
struct Open {
    /// Partitions of the sketch message that they came with: names count from the first.
    first: u32,
    parts: u32,
    more: u8,
    arrived: Vec<Arrived>,
}

/// A partition, and the peer's syndromes of it so far.
#[derive(Debug)]
pub(crate) struct Arrived {
    pub(crate) part: u32,
    pub(crate) syndromes: Vec<u32>,
}

/// What decoded partitions say.
#[derive(Debug, Default)]
pub(crate) struct Differences {
    /// Names in the difference, ascending once they are applied.
    names: Vec<u64>,
}

/// What of it is known on which side.
#[derive(Debug)]
pub(crate) struct Found {
    /// How many of our own the peer lacks.
    pub(crate) own: usize,
    /// What only the peer has.
    pub(crate) names: Names,
}

impl Arrived {
    /// Compares with our own syndromes. `alone`: one syndrome is one difference.
    pub(crate) fn decode(&self, working: &mut Working, cut: Cut, alone: bool) -> Option<Differences> {
        let mut syndromes = working.sketch(cut, self.part, self.syndromes.len());
        syndromes.iter_mut().zip(&self.syndromes).for_each(|(ours, theirs)| *ours ^= theirs);
        let shorts = match syndromes[..] {
            [only] if alone && only != 0 => vec![only],
            _ => sketch::decode(cut.field(), &syndromes)?,
        };
        Some(Differences { names: shorts.into_iter().map(|short| cut.name_of(self.part, short)).collect() })
    }
}

impl Differences {
    fn merge(&mut self, other: Self) {
        self.names.extend(other.names);
    }

    /// REC-9: excludes what is ours, and names what is theirs. `first` and `parts` are those of the message.
    pub(crate) fn apply(mut self, working: &mut Working, cut: Cut, first: u32, parts: u32) -> Found {
        self.names.sort_unstable();
        let ours = working.select(cut, cut.width(), &self.names);
        let before = working.select_excluded(cut, &self.names);
        let (mut own, mut readmitted, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
        for &name in &self.names {
            // Two of ours with one name: which one it is, only a second look can tell.
            match (holder(&ours, name), holder(&before, name)) {
                (Holder::One(element), _) => own.push(element),
                // Excluded because of a collision, and now it turns out that the peer has it.
                (Holder::None, Holder::One(element)) => readmitted.push(element),
                (Holder::None, _) => theirs.push(name),
                (Holder::Many, _) => {}
            }
        }
        let names = self.name(working, cut, (first, parts), &theirs);
        working.readmit(&readmitted);
        let found = Found { own: own.len(), names };
        working.exclude(own);
        found
    }

    /// Says where `theirs` are among the names that the peer can see: ours, but for those in the difference, which change
    /// sides. A name that an even number of elements share is invisible, on both sides.
    fn name(&self, working: &mut Working, cut: Cut, message: (u32, u32), theirs: &[u64]) -> Names {
        let per_part = (working.len() >> cut.level).max(1);
        let width = (cut.level + per_part.ilog2() as u8 + 1).min(cut.width());
        let names = self.name_within(working, cut, message, theirs, width);
        // Only ids that someone prepared crowd in a bucket: then names in full.
        let crowded = names.list.iter().any(|name| name.place > MAX_PLACE);
        if crowded { self.name_within(working, cut, message, theirs, cut.width()) } else { names }
    }

    fn name_within(
        &self,
        working: &mut Working,
        cut: Cut,
        (first, parts): (u32, u32),
        theirs: &[u64],
        width: u8,
    ) -> Names {
        let shift = cut.width() - width;
        let mut buckets: Vec<u64> = theirs.iter().map(|name| name >> shift).collect();
        buckets.dedup();
        let ours = working.select(cut, width, &buckets);
        let mut visible: Vec<u64> = ours.into_iter().map(|(name, _)| name).collect();
        visible.extend(self.names.iter().filter(|&name| buckets.binary_search(&(name >> shift)).is_ok()));
        let visible = odd_ones(visible);
        let base = u64::from(first) << (width - cut.level);
        let list = theirs.iter().map(|name| {
            let bucket = name >> shift;
            let start = visible.partition_point(|other| other >> shift < bucket);
            let place = visible.partition_point(|other| other < name).saturating_sub(start);
            Name { bucket: bucket.saturating_sub(base), place: place as u64 }
        });
        Names::new(width, u64::from(parts) << (width - cut.level), list.collect())
    }
}

/// What occurs an odd number of times, ascending.
pub(crate) fn odd_ones(mut all: Vec<u64>) -> Vec<u64> {
    all.sort_unstable();
    all.chunk_by(|a, b| a == b)
        .filter(|run| run.len() % 2 == 1)
        .filter_map(|run| run.first().copied())
        .collect()
}

enum Holder {
    None,
    One(Element),
    Many,
}

/// Who has a name.
fn holder(named: &[(u64, Element)], name: u64) -> Holder {
    let from = named.partition_point(|(other, _)| *other < name);
    match named.get(from..).unwrap_or_default() {
        [(a, _), (b, _), ..] if *a == name && *b == name => Holder::Many,
        [(a, element), ..] if *a == name => Holder::One(*element),
        _ => Holder::None,
    }
}

impl Decoding {
    pub(crate) fn new(cut: Cut) -> Self {
        Self { cut, next: 0, gave_up: false, waiting: VecDeque::new(), pending: 0 }
    }

    /// Whether nothing more is to come.
    pub(crate) fn is_settled(&self) -> bool {
        self.next == self.cut.parts() && self.waiting.is_empty()
    }

    /// The next partitions arrived, `depth` syndromes each.
    pub(crate) fn arrive(&mut self, shared: &mut Shared, depth: usize, syndromes: &[u32]) {
        let first = self.next;
        let chunks = (first..).zip(syndromes.chunks_exact(depth));
        let arrived: Vec<Arrived> =
            chunks.map(|(part, syndromes)| Arrived { part, syndromes: syndromes.to_vec() }).collect();
        let parts = arrived.len() as u32;
        self.next += parts;
        self.answer(shared, Open { first, parts, more: 0, arrived });
    }

    /// More syndromes of the partitions that the oldest open answer asked for.
    pub(crate) fn extend(&mut self, shared: &mut Shared, packed: &[u8]) -> Result<(), PeerFault> {
        let open = self.waiting.front().ok_or(PeerFault::Unexpected)?;
        let more = usize::from(open.more);
        let syndromes = unpack(packed, open.arrived.len() * more, self.cut.bits)?;
        let mut open = self.waiting.pop_front().ok_or(PeerFault::Unexpected)?;
        for (arrived, more) in open.arrived.iter_mut().zip(syndromes.chunks_exact(more)) {
            self.pending -= arrived.syndromes.len();
            arrived.syndromes.extend_from_slice(more);
        }
        self.answer(shared, open);
        Ok(())
    }

    /// Decodes what it can and answers for each partition, in order.
    fn answer(&mut self, shared: &mut Shared, open: Open) {
        let Open { first, parts, arrived, .. } = open;
        let depth = arrived.first().map_or(0, |arrived| arrived.syndromes.len());
        let mut differences = Differences::default();
        let mut decoded = Vec::with_capacity(arrived.len());
        let mut left = Vec::new();
        for partition in arrived {
            let found = partition.decode(&mut shared.working, self.cut, false);
            decoded.push(found.is_some());
            match found {
                Some(found) => differences.merge(found),
                None => left.push(partition),
            }
        }
        let done = decoded.len() - left.len();
        let names = differences.apply(&mut shared.working, self.cut, first, parts).names;
        if left.is_empty() {
            shared.outbox.push_back(Message::Answer { names });
            return;
        }
        let room = self.pending + left.len() * depth <= MAX_PENDING;
        let more = if room { more_for(shared.mode, depth, done, left.len()) } else { 0 };
        shared.outbox.push_back(Message::Partly { more, decoded, names });
        if more == 0 {
            self.gave_up = true;
            return;
        }
        self.pending += left.len() * depth;
        self.waiting.push_back(Open { first, parts, more, arrived: left });
    }
}

/// How many more syndromes to ask for: few bytes are wasted by small steps, few turns by large ones.
fn more_for(mode: Mode, depth: usize, decoded: usize, left: usize) -> u8 {
    let step = match mode {
        // There is one turn for it: what few lack is little, what most lack is unknown.
        Mode::Quick if left < decoded => 12,
        Mode::Quick => usize::from(MAX_MORE),
        // Nearly all failed: the estimate was low.
        Mode::Fewest if decoded * 20 < left => depth.div_ceil(5),
        Mode::Fewest => depth.div_ceil(12),
    };
    step.clamp(2, usize::from(MAX_MORE)).min(usize::from(MAX_DEPTH).saturating_sub(depth)) as u8
}
