//! Set reconciliation of cs-gossip beside negentropy, a rateless IBLT, Bloom filters alone and sending all ids: bytes until
//! each side knows what of its own the other lacks, round trips and CPU time, and ratios to the information bound.
//!
//! Without arguments: sizes from a thousand to a million. With a number: that size only; with two: that difference only, too.

mod ours;
mod peers;
mod points;

use cs_gossip::reconcile::Mode;
use cs_peers::{Better, Row};

use crate::points::Point;

fn main() {
    let mut numbers = std::env::args().skip(1).map(|argument| argument.parse::<usize>().ok());
    let (size, difference) = (numbers.next().flatten(), numbers.next().flatten());
    let mut points = points::all();
    points.retain(|point| size.is_none_or(|size| point.size() == size));
    points.retain(|point| difference.is_none_or(|difference| point.difference() == difference));
    for point in points {
        eprintln!("{}", point.name());
        measure(&point);
    }
}

fn measure(point: &Point) {
    let mut sets = ours::Sets::of(point);
    let fewest = sets.run(Mode::Fewest);
    let quick = sets.run(Mode::Quick);
    let again = sets.run_after_a_change();
    let negentropy = peers::negentropy(point);
    let bytes = [
        ("negentropy 0.5", negentropy.bytes),
        ("RIBLT of 32 bytes (own model)", peers::rateless(point, 32)),
        ("RIBLT of 8 bytes (own model)", peers::rateless(point, 8)),
        ("Bloom filters alone (computed)", peers::bloom_alone(point)),
        ("all ids (computed)", point.ours as f64 * 32.0),
    ];
    let name = point.name();
    let row = |metric, unit, value| Row::new(&name, metric, unit, Better::Less, value);
    let best = bytes.iter().copied().min_by(|a, b| a.1.total_cmp(&b.1));
    Row { peer: best, ..row("bytes, against the best peer", "B", fewest.bytes) }.print();
    for peer in bytes.into_iter().filter(|peer| Some(*peer) != best) {
        Row { peer: Some(peer), ..row("bytes", "B", fewest.bytes) }.print();
    }
    let bound = point.bound();
    if bound > 0.0 {
        Row { goal: point.goal(), ..row("bytes over the bound", "x", fewest.bytes / bound) }.print();
        Row { goal: point.quick_goal(), ..row("quick: bytes over the bound", "x", quick.bytes / bound) }
            .print();
    }
    if point.difference() == 1 {
        Row { goal: Some(25.0), ..row("bytes at one difference", "B", fewest.bytes) }.print();
    }
    row("round trips", "", fewest.turns).print();
    Row { goal: Some(3.0), ..row("quick: round trips", "", quick.turns) }.print();
    let peer = Some(("negentropy 0.5", negentropy.cpu_ms));
    Row { peer, ..row("CPU, both sides, with index build", "ms", sets.build_ms + fewest.cpu_ms) }.print();
    row("CPU, both sides, index kept, 100 new ids", "ms", again.cpu_ms).print();
}
