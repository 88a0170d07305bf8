//! Random scripts: many machines, several spaces, everything that can go wrong.

use crate::sim::Chance;
use crate::sim::script::{Action, Means, Script, Step};

/// Most spaces of a swarm.
const SPACES: usize = 3;

/// A random script for so many machines: they share and join in peace, then live through so many random actions.
#[must_use]
pub fn swarm(seed: u64, nodes: usize, actions: usize) -> Script {
    let mut chance = Chance::new(seed, "swarm");
    let spaces = (nodes / 4).clamp(1, SPACES);
    let mut steps = vec![Step { after_ms: 3_000, action: Action::Share { node: 0, space: 0 } }];
    for space in 1..spaces {
        steps.push(Step { after_ms: 200, action: Action::Share { node: space, space } });
    }
    for node in 0..nodes {
        // Everybody is in one space, some in more.
        for space in 0..spaces {
            let is_home = node % spaces == space;
            if node != space && (is_home || chance.one_in(8)) {
                let means = if chance.one_in(3) { Means::Code } else { Means::Invitation };
                let action = Action::Join { inviter: space, node, space, means };
                steps.push(Step { after_ms: 100 + chance.below(300), action });
            }
        }
    }
    for _ in 0..actions {
        let after_ms = if chance.one_in(4) { chance.below(4_000) } else { chance.below(250) };
        steps.push(Step { after_ms, action: action(&mut chance, nodes, spaces) });
    }
    Script { seed, nodes, steps }
}

fn action(chance: &mut Chance, nodes: usize, spaces: usize) -> Action {
    let (node, other) = (chance.index(nodes), chance.index(nodes));
    let space = chance.index(spaces);
    let down_ms = if chance.one_in(3) { chance.below(40_000) } else { chance.below(2_000) };
    match chance.below(100) {
        0..34 => {
            let len = if chance.one_in(12) { 200_000 + chance.index(1_000_000) } else { chance.index(3_000) };
            Action::Write { node, space, file: chance.index(24), len }
        }
        34..42 => Action::Delete { node, space, file: chance.index(24) },
        42..48 => Action::Rename { node, space, from: chance.index(24), to: chance.index(24) },
        48..64 => Action::Put { node, space, document: chance.index(4) },
        64..67 => {
            let means = if chance.one_in(2) { Means::Code } else { Means::Invitation };
            Action::Join { inviter: other, node, space, means }
        }
        67..68 => Action::Revoke { node, space, who: other },
        68..71 => Action::Pause { node, space, paused: chance.one_in(2) },
        71..75 => Action::Kill { node, down_ms },
        75..79 => Action::CutPower { node, down_ms },
        79..81 => Action::Stop { node, down_ms },
        81..84 => Action::Sleep { node, asleep: !chance.one_in(3) },
        84..85 => Action::Move { node, down_ms },
        85..87 => Action::FillDisk { node, full: chance.one_in(2) },
        87..88 => Action::Skew { node, skew_ms: chance.below(600_000) as i64 - 300_000 },
        88..92 => Action::DropSession { a: node, b: other },
        92..95 => Action::Cut { from: node, to: other },
        95..97 => Action::Partition {
            sides: u64::from_le_bytes(chance.bytes()[..8].try_into().expect("eight bytes")),
        },
        _ => Action::Heal,
    }
}
