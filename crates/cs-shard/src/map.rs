use core::fmt;

use cs_identity::NodeId;

use crate::config::{Config, ConfigError};
use crate::domains::{Domains, FINE, replicas};
use crate::member::Member;
use crate::place::{VACANT, place};
use crate::wire::MAX_MEMBERS;

/// Which nodes hold each partition of the key space, in one epoch.
///
/// A map is a value: it is made from the one before and the members of the next epoch by a function that computes the
/// same on every machine, published as bytes ([`wire`](crate::wire)), and compared with another one as a [`Plan`](crate::Plan).
///
/// Its table holds 2 bytes a replica, whoever the members are: 16,384 partitions of 3 replicas are 96 KiB. Beside it stands
/// the list of members, 56 bytes each, of which 32 are their identities.
#[derive(Clone, Eq, PartialEq)]
pub struct PartitionMap {
    pub(crate) epoch: u64,
    pub(crate) config: Config,
    /// Ascending by id.
    pub(crate) members: Vec<Member>,
    /// Replicas of each partition: the lesser of what is configured and the number of members.
    pub(crate) replicas: usize,
    /// Indices into the members, `replicas` of them a partition. The first one is the partition's primary.
    pub(crate) slots: Vec<u16>,
}

/// How much one member holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Load {
    /// Who.
    pub id: NodeId,
    /// Replicas it holds.
    pub partitions: u32,
    /// Replicas it would hold if they could be divided: by weight, within what its zone and subnet may hold (SHARD-5).
    pub fair: f64,
}

impl PartitionMap {
    /// The first epoch, 1. Cost: that of [`next`](Self::next).
    pub fn new(config: Config, members: &[Member]) -> Result<Self, ConfigError> {
        config.check()?;
        let members = sorted(members)?;
        let replicas = replicas(&members, &config);
        let slots = place(&members, &config, vec![VACANT; config.partitions as usize * replicas]);
        Ok(Self { epoch: 1, config, members, replicas, slots })
    }

    /// The map of the epoch after this one, for other members (or the same, with other weights, zones or subnets). What
    /// may stay where it is stays (SHARD-6).
    ///
    /// Cost: a ring of all tokens, and a few passes over the partitions; 0.3 s for 16,384 x 3 on 10,000 nodes.
    pub fn next(&self, members: &[Member]) -> Result<Self, ConfigError> {
        let members = sorted(members)?;
        let replicas = replicas(&members, &self.config);
        let moved: Vec<u16> = self
            .members
            .iter()
            .map(|member| {
                members.binary_search_by_key(&member.id, |other| other.id).map_or(VACANT, |i| i as u16)
            })
            .collect();
        let mut slots = Vec::with_capacity(self.config.partitions as usize * replicas);
        for holders in self.slots.chunks_exact(self.replicas) {
            let stay = holders.iter().map(|node| moved[usize::from(*node)]);
            if replicas == self.replicas {
                slots.extend(stay);
            } else {
                let stay = stay.filter(|node| *node != VACANT).chain(std::iter::repeat(VACANT));
                slots.extend(stay.take(replicas));
            }
        }
        let slots = place(&members, &self.config, slots);
        Ok(Self { epoch: self.epoch + 1, config: self.config, members, replicas, slots })
    }

    /// Counts up with each map made from another.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// As given to [`new`](Self::new).
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Ascending by id.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The partition of a key that is uniform, like a hash (SHARD-1): its highest bits. See [`hash_key`](crate::hash_key).
    pub fn partition_of(&self, key: &[u8; 32]) -> u32 {
        let head = u32::from_be_bytes([key[0], key[1], key[2], key[3]]);
        head >> (32 - self.config.partitions.ilog2())
    }

    /// Who holds a partition, the primary first; nobody, if there is no partition of this number. A few nanoseconds.
    pub fn replicas(&self, partition: u32) -> impl ExactSizeIterator<Item = &Member> {
        let start = (partition as usize).saturating_mul(self.replicas);
        let holders = self.slots.get(start..start.saturating_add(self.replicas)).unwrap_or_default();
        holders.iter().map(|node| &self.members[usize::from(*node)])
    }

    /// Who holds a key, as indices into [`members`](Self::members), the primary first: two loads and a shift.
    pub fn slots(&self, key: &[u8; 32]) -> &[u16] {
        let start = self.partition_of(key) as usize * self.replicas;
        self.slots.get(start..start + self.replicas).unwrap_or_default()
    }

    /// Bytes of the table of partitions: 2 a replica, however many members there are. The rest of
    /// [`heap_bytes`](Self::heap_bytes) is the list of members.
    pub fn table_bytes(&self) -> usize {
        self.slots.capacity() * size_of::<u16>()
    }

    /// Bytes on the heap: 2 a replica and 56 a member.
    pub fn heap_bytes(&self) -> usize {
        self.table_bytes() + self.members.capacity() * size_of::<Member>()
    }

    /// Who holds a key: [`replicas`](Self::replicas) of its partition.
    pub fn holders(&self, key: &[u8; 32]) -> impl ExactSizeIterator<Item = &Member> {
        self.replicas(self.partition_of(key))
    }

    /// What each member holds, and what would be fair, ascending by id.
    pub fn loads(&self) -> Vec<Load> {
        let mut counts = vec![0; self.members.len()];
        self.slots.iter().for_each(|node| counts[usize::from(*node)] += 1);
        let shares = Domains::new(&self.members, &self.config).share;
        let loads = self.members.iter().zip(counts).zip(shares);
        loads
            .map(|((member, partitions), share)| Load {
                id: member.id,
                partitions,
                fair: share as f64 / FINE as f64,
            })
            .collect()
    }
}

impl fmt::Debug for PartitionMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PartitionMap")
            .field("epoch", &self.epoch)
            .field("config", &self.config)
            .field("members", &self.members.len())
            .finish_non_exhaustive()
    }
}

fn sorted(members: &[Member]) -> Result<Vec<Member>, ConfigError> {
    if members.is_empty() {
        return Err(ConfigError::NoMembers);
    }
    if members.len() > MAX_MEMBERS {
        return Err(ConfigError::TooManyMembers);
    }
    let mut members = members.to_vec();
    members.sort_unstable_by_key(|member| member.id);
    if members.windows(2).any(|pair| pair[0].id == pair[1].id) {
        return Err(ConfigError::DuplicateMember);
    }
    Ok(members)
}
