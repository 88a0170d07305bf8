use std::collections::BTreeMap;

use cs_identity::NodeId;

use crate::map::PartitionMap;

/// What must be copied to go from one map to another (SHARD-7).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Plan {
    /// The most urgent first: those with the fewest holders left to copy from; then by partition and target.
    pub moves: Vec<Move>,
    /// Partitions and who may forget them, once all moves of the partition are done; ascending.
    pub releases: Vec<(u32, NodeId)>,
}

/// One replica that a node must get.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Move {
    /// Which partition.
    pub partition: u32,
    /// Who needs it.
    pub to: NodeId,
    /// Who has it and is still a member: those that keep it, then those that give it up. Nobody: every holder left.
    pub sources: Vec<NodeId>,
    /// How much it is.
    pub bytes: u64,
}

impl Plan {
    /// Compares two maps of the same number of partitions; `bytes` tells the size of a partition. Partitions that only one
    /// of them has are left out.
    pub fn between(old: &PartitionMap, new: &PartitionMap, bytes: impl Fn(u32) -> u64) -> Self {
        let mut plan = Self::default();
        for partition in 0..old.config.partitions.min(new.config.partitions) {
            let had: Vec<NodeId> = old.replicas(partition).map(|member| member.id).collect();
            let has: Vec<NodeId> = new.replicas(partition).map(|member| member.id).collect();
            let alive = |id: &&NodeId| new.members.binary_search_by_key(*id, |member| member.id).is_ok();
            let (keep, give): (Vec<NodeId>, Vec<NodeId>) =
                had.iter().filter(alive).partition(|id| has.contains(id));
            plan.releases.extend(give.iter().map(|id| (partition, *id)));
            for to in has.iter().filter(|id| !had.contains(id)) {
                let sources = keep.iter().chain(&give).copied().collect();
                plan.moves.push(Move { partition, to: *to, sources, bytes: bytes(partition) });
            }
        }
        plan.moves.sort_by_key(|step| (step.sources.len(), step.partition, step.to));
        plan.releases.sort_unstable();
        plan
    }

    /// Bytes of all moves.
    pub fn bytes(&self) -> u64 {
        self.moves.iter().map(|step| step.bytes).sum()
    }

    /// Bytes that each node receives.
    pub fn bytes_to(&self) -> BTreeMap<NodeId, u64> {
        let mut received = BTreeMap::new();
        for step in &self.moves {
            *received.entry(step.to).or_default() += step.bytes;
        }
        received
    }
}
