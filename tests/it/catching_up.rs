//! What two nodes say to each other when each has something that the other lacks (NODE-8).

use cs_node::wire::{Message, Set};
use cs_tests::laws::{Machine, Packet};
use std::collections::BTreeSet;
use std::time::Duration;

use crate::machines::NodeMachine;

const STEP: Duration = Duration::from_millis(10);

/// Two nodes and the wire between them.
struct Pair {
    nodes: [NodeMachine; 2],
    now: Duration,
}

/// Bytes by what they were for.
#[derive(Debug, Default)]
struct Spoken {
    /// The machine's own, in all reconciliations.
    reconciling: usize,
    /// Operations, each once.
    operations: usize,
    distinct: BTreeSet<Vec<u8>>,
    /// Those messages and the requests between them, with all that is around.
    whole: usize,
}

impl Pair {
    fn new() -> Self {
        let mut nodes = [0, 1].map(|role| NodeMachine::new(Duration::ZERO, role));
        let [a, b] = &mut nodes;
        a.introduce(Duration::ZERO, b);
        Self { nodes, now: Duration::ZERO }
    }

    fn meet(&mut self, together: bool) {
        self.nodes.iter_mut().for_each(|node| node.meet(self.now, together));
    }

    /// Edits documents of one node: one operation each.
    fn edit(&mut self, node: usize, times: u32) {
        for time in 0..times {
            self.now += STEP;
            let mut argument = [0; 32];
            argument[..2].copy_from_slice(&[(time % 3) as u8, (time % 251) as u8 ^ node as u8]);
            self.nodes[node].command(self.now, 2, argument);
        }
    }

    /// Lets them talk for so long.
    fn talk(&mut self, span: Duration) -> Spoken {
        let mut spoken = Spoken::default();
        let end = self.now + span;
        while self.now < end {
            let mut packets: [Vec<Packet>; 2] = Default::default();
            for (node, packets) in self.nodes.iter_mut().zip(&mut packets) {
                while let Some((_, packet)) = node.poll_output() {
                    packets.extend(packet);
                }
            }
            for (from, packets) in packets.into_iter().enumerate() {
                for packet in packets.into_iter().filter(|packet| packet.context == 2) {
                    spoken.hear(&packet.bytes);
                    assert!(self.nodes[1 - from].receive(self.now, &packet), "both are honest");
                }
            }
            self.now += STEP;
            self.nodes.iter_mut().for_each(|node| node.handle_timeout(self.now));
        }
        spoken
    }
}

impl Spoken {
    fn hear(&mut self, bytes: &[u8]) {
        match Message::from_bytes(bytes) {
            Ok(Message::Reconcile { body, .. }) => self.reconciling += body.len(),
            Ok(Message::Want { .. }) => {}
            Ok(Message::Answer { set: Set::Operations, items, .. }) => {
                for item in items {
                    self.operations += item.len();
                    assert!(self.distinct.insert(item.to_vec()), "no operation travels twice");
                }
            }
            _ => return,
        }
        self.whole += bytes.len();
    }
}

#[test]
fn two_nodes_catch_up_for_little_more_than_reconciliation_and_the_operations() {
    let mut pair = Pair::new();
    pair.meet(true);
    pair.talk(Duration::from_secs(1));
    pair.nodes[0].command(pair.now, 0, [0; 32]);
    pair.talk(Duration::from_secs(20));
    pair.edit(0, 300);
    pair.talk(Duration::from_secs(10));
    pair.meet(false);
    pair.edit(0, 60);
    pair.edit(1, 60);
    pair.meet(true);
    let spoken = pair.talk(Duration::from_secs(20));
    assert_eq!(spoken.distinct.len(), 120);
    let least = spoken.reconciling + spoken.operations;
    assert!(
        spoken.whole * 10 <= least * 11,
        "{} bytes of {least}, {} to reconcile",
        spoken.whole,
        spoken.reconciling
    );
    assert!(spoken.reconciling < 2_500, "{}", spoken.reconciling);
}
