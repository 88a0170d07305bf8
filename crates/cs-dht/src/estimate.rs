//! How many nodes the network has, from how close the closest ones to a key are.

use crate::config::K;
use crate::key::Key;
use crate::wire::Node;

/// Closest peers that an observation needs: the error of one is about 1 / sqrt of this.
const LEAST: usize = 8;
/// Observations after which the mean starts to forget.
const MEMORY: f64 = 32.0;
/// Observations without which nothing is taken for odd.
const SURE: f64 = 4.0;
/// The K closest peers stand so many times closer together than usual only if somebody put them there: of honest K,
/// which are a Poisson process, one in a million keys has that by chance.
const CROWDED: f64 = 3.0;

/// The mean of `distance to the i-th closest / i` is the mean gap between nodes, whose inverse is their number (the
/// order statistics of uniform points). Gaps are averaged, not sizes: their mean is unbiased.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SizeEstimate {
    gap: f64,
    observations: f64,
}

impl SizeEstimate {
    /// Takes in the closest peers to a key that a wide lookup found, closest first.
    pub(crate) fn observe(&mut self, target: &Key, closest: &[Node]) {
        if closest.len() < LEAST {
            return;
        }
        let mut gap = mean_gap(target, closest);
        // A crowd around one key that is looked up again and again must not be taken for a larger network at once.
        if self.observations >= SURE {
            gap = gap.max(self.gap / CROWDED);
        }
        self.observations = (self.observations + 1.0).min(MEMORY);
        self.gap += (gap - self.gap) / self.observations;
    }

    /// Whether these closest peers to a key stand far too close together (DHT-21).
    pub(crate) fn is_crowded(&self, target: &Key, closest: &[Node]) -> bool {
        self.observations >= SURE && closest.len() >= K && mean_gap(target, closest) * CROWDED < self.gap
    }

    /// Leading bits that a key shares with about `count` peers, or more.
    pub(crate) fn bits_of(&self, count: usize) -> u32 {
        let peers = self.nodes().unwrap_or_default() / count.max(1) as u64;
        peers.checked_ilog2().unwrap_or_default()
    }

    /// Nodes of the network; `None` before the first lookup, or in a network too small to estimate.
    pub(crate) fn nodes(&self) -> Option<u64> {
        (self.gap > 0.0).then(|| (1.0 / self.gap) as u64)
    }
}

fn mean_gap(target: &Key, closest: &[Node]) -> f64 {
    let farthest = closest.last().map(|node| Key::of_peer(&node.id).distance(target).fraction());
    farthest.unwrap_or_default() / closest.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::node;
    use alloc::vec::Vec;

    #[test]
    fn a_network_of_2000_is_estimated_within_a_fifth() {
        let addr = "127.0.0.1:1".parse().unwrap();
        let nodes: Vec<Node> = (0..2_000).map(|seed| Node { id: node(seed), addr }).collect();
        let mut estimate = SizeEstimate::default();
        assert_eq!(estimate.nodes(), None);
        for round in 0..32_u8 {
            let target = Key::of_immutable(&[round]);
            let mut closest = nodes.clone();
            closest.sort_by_key(|node| Key::of_peer(&node.id).distance(&target));
            estimate.observe(&target, &closest[..K]);
        }
        let nodes = estimate.nodes().unwrap();
        assert!((1_600..2_400).contains(&nodes), "{nodes}");
    }

    /// DHT-21.
    #[test]
    fn a_crowd_around_a_key_is_noticed_and_does_not_inflate_the_estimate() {
        let addr = "127.0.0.1:1".parse().unwrap();
        let nodes: Vec<Node> = (0..600).map(|seed| Node { id: node(seed), addr }).collect();
        let closest = |target: &Key, nodes: &[Node]| {
            let mut nodes = nodes.to_vec();
            nodes.sort_by_key(|node| Key::of_peer(&node.id).distance(target));
            nodes.truncate(K);
            nodes
        };
        let mut estimate = SizeEstimate::default();
        for round in 0..16_u8 {
            let target = Key::of_immutable(&[round]);
            let found = closest(&target, &nodes);
            assert!(!estimate.is_crowded(&target, &found));
            estimate.observe(&target, &found);
        }
        let target = Key::of_immutable(b"attacked");
        // Of 2,400 others those that stand where honest ones rarely do.
        let mut crowd: Vec<Node> = (1_000..3_400).map(|seed| Node { id: node(seed), addr }).collect();
        crowd.extend_from_slice(&nodes);
        let found = closest(&target, &crowd);
        assert!(estimate.is_crowded(&target, &found));
        let before = estimate.nodes().unwrap();
        estimate.observe(&target, &found);
        assert!(estimate.nodes().unwrap() < before + before / 10);
    }

    #[test]
    fn too_few_peers_say_nothing() {
        let mut estimate = SizeEstimate::default();
        let addr = "127.0.0.1:1".parse().unwrap();
        let nodes: Vec<Node> = (0..7).map(|seed| Node { id: node(seed), addr }).collect();
        estimate.observe(&Key::of_immutable(b"x"), &nodes);
        assert_eq!(estimate.nodes(), None);
    }
}
