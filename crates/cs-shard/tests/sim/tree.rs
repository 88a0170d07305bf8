//! A tree of fixed shape over a network that loses, repeats and reorders, whose nodes come and go.

use std::collections::BTreeMap;
use std::time::Duration;

use cs_identity::NodeId;
use cs_shard::{Limits, Summary, Tree, TreeConfig, TreeInput, TreeOutput};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{Agenda, id, seed};

/// The sum, and the distinct count, that each node tells: its number, and itself.
pub(crate) const SUM: u16 = 1;
pub(crate) const DISTINCT: u16 = 2;

#[derive(Debug)]
enum Happening {
    Due(usize),
    Arrive { from: usize, to: usize, bytes: Vec<u8> },
}

/// Changes a message on its way: what a liar says.
pub(crate) type Lie = fn(usize, Vec<u8>) -> Vec<u8>;

pub(crate) struct World {
    nodes: Vec<Option<Tree>>,
    ids: Vec<NodeId>,
    numbers: BTreeMap<NodeId, usize>,
    starts: Vec<u64>,
    due: Vec<Option<Duration>>,
    fan_out: usize,
    agenda: Agenda<Happening>,
    pub(crate) now: Duration,
    rng: ChaCha8Rng,
    /// Of a thousand messages, how many are lost, and how many come twice.
    pub(crate) lost: u32,
    pub(crate) doubled: u32,
    pub(crate) lie: Lie,
    pub(crate) refused: u64,
}

impl World {
    /// A root with regions, of hubs, of leaves, `fan_out` of each.
    pub(crate) fn new(fan_out: usize, number: u64) -> Self {
        let count = 1 + fan_out + fan_out.pow(2) + fan_out.pow(3);
        let ids: Vec<NodeId> = (0..count).map(id).collect();
        let mut world = Self {
            nodes: (0..count).map(|_| None).collect(),
            numbers: ids.iter().enumerate().map(|(number, id)| (*id, number)).collect(),
            ids,
            starts: vec![0; count],
            due: vec![None; count],
            fan_out,
            agenda: Agenda::default(),
            now: Duration::from_nanos(7),
            rng: ChaCha8Rng::from_seed(seed(number)),
            lost: 20,
            doubled: 50,
            lie: |_, bytes| bytes,
            refused: 0,
        };
        (0..count).for_each(|node| world.start(node));
        world
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    fn parent(&self, node: usize) -> Option<usize> {
        node.checked_sub(1).map(|below| below / self.fan_out)
    }

    fn children(&self, node: usize) -> std::ops::Range<usize> {
        let first = node * self.fan_out + 1;
        first.min(self.len())..(first + self.fan_out).min(self.len())
    }

    fn level(&self, node: usize) -> u8 {
        3 - std::iter::successors(Some(node), |node| self.parent(*node)).skip(1).count() as u8
    }

    pub(crate) fn start(&mut self, node: usize) {
        self.starts[node] += 1;
        let limits = Limits {
            sums: BTreeMap::from([(SUM, self.len() as u64)]),
            distinct: BTreeMap::from([(DISTINCT, 1)]),
            ..Limits::default()
        };
        let fan_out = self.fan_out as u64;
        let quotas = [1, 1 + fan_out, 1 + fan_out + fan_out * fan_out];
        let config = TreeConfig { epoch: self.starts[node], limits, quotas, ..TreeConfig::default() };
        let start = seed(self.rng.random_range(0..u64::MAX));
        let mut tree = Tree::new(config, self.ids[node], self.now, start).expect("the settings work");
        tree.set_place(self.now, self.level(node), self.parent(node).map(|parent| self.ids[parent]));
        self.children(node).for_each(|child| tree.admit(self.now, self.ids[child], self.level(child)));
        let mut local = Summary::default();
        local.sums.insert(SUM, node as u64);
        local.distinct.entry(DISTINCT).or_default().insert(self.ids[node].as_bytes());
        tree.set_local(self.now, local);
        self.nodes[node] = Some(tree);
        self.due[node] = None;
        self.drain(node);
    }

    pub(crate) fn stop(&mut self, node: usize) {
        self.nodes[node] = None;
    }

    pub(crate) fn is_up(&self, node: usize) -> bool {
        self.nodes[node].is_some()
    }

    /// Nodes that are up, wherever they are.
    pub(crate) fn up(&self) -> usize {
        (0..self.len()).filter(|node| self.is_up(*node)).count()
    }

    pub(crate) fn tree(&self, node: usize) -> &Tree {
        self.nodes[node].as_ref().expect("it is up")
    }

    /// What the root should know: nodes up whose way to the root is up, and their sum.
    pub(crate) fn truth(&self) -> (u64, u64) {
        let way = |node: &usize| {
            std::iter::successors(Some(*node), |node| self.parent(*node)).all(|node| self.is_up(node))
        };
        let linked = (0..self.len()).filter(way);
        linked.fold((0, 0), |(count, sum), node| (count + 1, sum + node as u64))
    }

    pub(crate) fn pass(&mut self, span: Duration) {
        let end = self.now + span;
        while let Some((at, what)) = self.agenda.pop(end) {
            self.now = at;
            match what {
                Happening::Due(node) => {
                    let Some(tree) = self.nodes[node].as_mut().filter(|_| self.due[node] == Some(at)) else {
                        continue;
                    };
                    self.due[node] = None;
                    tree.handle_timeout(at);
                    assert!(tree.poll_timeout().is_none_or(|due| due > at));
                    self.drain(node);
                }
                Happening::Arrive { from, to, bytes } => {
                    let Some(tree) = &mut self.nodes[to] else { continue };
                    let input = TreeInput::Message { from: self.ids[from], bytes: &bytes };
                    self.refused += u64::from(tree.handle_input(at, input).is_err());
                    self.drain(to);
                }
            }
        }
        self.now = end;
    }

    fn drain(&mut self, node: usize) {
        let Some(tree) = &mut self.nodes[node] else { return };
        while let Some(output) = tree.poll_output() {
            let TreeOutput::Send { to, bytes } = output else { continue };
            let bytes = (self.lie)(node, bytes);
            let to = self.numbers[&to];
            let copies = 1 + u32::from(self.rng.random_ratio(self.doubled, 1000));
            for _ in 0..copies {
                // Up to three seconds: whatever is sent within that may overtake.
                let at = self.now + Duration::from_millis(self.rng.random_range(5..3000));
                if !self.rng.random_ratio(self.lost, 1000) {
                    self.agenda.push(at, Happening::Arrive { from: node, to, bytes: bytes.clone() });
                }
            }
        }
        let next = tree.poll_timeout().map(|at| at.max(self.now));
        if let Some(at) = next.filter(|at| self.due[node].is_none_or(|due| *at < due)) {
            self.due[node] = Some(at);
            self.agenda.push(at, Happening::Due(node));
        }
    }
}
