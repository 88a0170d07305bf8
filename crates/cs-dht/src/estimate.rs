//! How many nodes the network has, from how close the closest ones to a key are.

use crate::key::Key;
use crate::wire::Node;

/// Closest peers that an observation needs: the error of one is about 1 / sqrt of this.
const LEAST: usize = 8;
/// Observations after which the mean starts to forget.
const MEMORY: f64 = 32.0;

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
        let Some(farthest) = closest.last() else { return };
        let gap = Key::of_peer(&farthest.id).distance(target).fraction() / closest.len() as f64;
        self.observations = (self.observations + 1.0).min(MEMORY);
        self.gap += (gap - self.gap) / self.observations;
    }

    /// Nodes of the network; `None` before the first lookup, or in a network too small to estimate.
    pub(crate) fn nodes(&self) -> Option<u64> {
        (self.gap > 0.0).then(|| (1.0 / self.gap) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::K;
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

    #[test]
    fn too_few_peers_say_nothing() {
        let mut estimate = SizeEstimate::default();
        let addr = "127.0.0.1:1".parse().unwrap();
        let nodes: Vec<Node> = (0..7).map(|seed| Node { id: node(seed), addr }).collect();
        estimate.observe(&Key::of_immutable(b"x"), &nodes);
        assert_eq!(estimate.nodes(), None);
    }
}
