//! The bytes of a map (SHARD-8).

use cs_identity::NodeId;

use super::{DecodeError, whole};
use crate::config::Config;
use crate::domains::replicas;
use crate::map::PartitionMap;
use crate::member::{Member, Subnet, Weight, Zone};

/// Most members of a map: their indices, and one more for none, are 16 bits.
pub const MAX_MEMBERS: usize = 65_535;

const VERSION: u8 = 1;
const MEMBER_BYTES: usize = 32 + 2 + 8 + 8;

impl PartitionMap {
    /// Appends the one encoding of the map.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend_from_slice(&self.epoch.to_le_bytes());
        out.push(self.config.partitions.ilog2() as u8);
        out.push(self.config.replicas);
        out.push(self.config.slack_percent);
        out.extend_from_slice(&self.config.tokens.to_le_bytes());
        out.extend_from_slice(&(self.members.len() as u16).to_le_bytes());
        for member in &self.members {
            out.extend_from_slice(member.id.as_bytes());
            out.extend_from_slice(&member.weight.hundredths().to_le_bytes());
            out.extend_from_slice(&member.zone.0.to_le_bytes());
            out.extend_from_slice(&member.subnet.0.to_le_bytes());
        }
        for node in &self.slots {
            out.extend_from_slice(&node.to_le_bytes());
        }
    }

    /// Reads a map and nothing else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
        whole(bytes, Self::decode)
    }

    /// Reads a map from the front. It is well-formed; whether its placement is a good one is not checked, so take it
    /// only from whom you trust to make maps. Cost: one point decompression a member.
    pub fn decode(bytes: &mut &[u8]) -> Result<Self, DecodeError> {
        let [version] = take(bytes)?;
        if version != VERSION {
            return Err(DecodeError::Version);
        }
        let epoch = u64::from_le_bytes(take(bytes)?);
        let [log, replicas_wanted, slack_percent] = take(bytes)?;
        let partitions = 1u32.checked_shl(u32::from(log)).ok_or(DecodeError::Range)?;
        let tokens = u16::from_le_bytes(take(bytes)?);
        let config = Config { partitions, replicas: replicas_wanted, slack_percent, tokens };
        if epoch == 0 || config.check().is_err() {
            return Err(DecodeError::Range);
        }
        let members = members(bytes)?;
        let replicas = replicas(&members, &config);
        let slots = slots(bytes, members.len(), replicas, partitions as usize)?;
        Ok(Self { epoch, config, members, replicas, slots })
    }
}

fn members(bytes: &mut &[u8]) -> Result<Vec<Member>, DecodeError> {
    let count = usize::from(u16::from_le_bytes(take(bytes)?));
    if count == 0 {
        return Err(DecodeError::Range);
    }
    if bytes.len() < count * MEMBER_BYTES {
        return Err(DecodeError::Truncated);
    }
    let mut members: Vec<Member> = Vec::with_capacity(count);
    for _ in 0..count {
        let id = NodeId::from_bytes(&take(bytes)?).map_err(|_| DecodeError::Member)?;
        let weight =
            Weight::from_hundredths(u16::from_le_bytes(take(bytes)?)).map_err(|_| DecodeError::Range)?;
        let zone = Zone(u64::from_le_bytes(take(bytes)?));
        let subnet = Subnet(u64::from_le_bytes(take(bytes)?));
        if members.last().is_some_and(|last| last.id >= id) {
            return Err(DecodeError::Member);
        }
        members.push(Member { id, weight, zone, subnet });
    }
    Ok(members)
}

fn slots(
    bytes: &mut &[u8],
    members: usize,
    replicas: usize,
    partitions: usize,
) -> Result<Vec<u16>, DecodeError> {
    let (taken, rest) = bytes.split_at_checked(partitions * replicas * 2).ok_or(DecodeError::Truncated)?;
    *bytes = rest;
    let slots: Vec<u16> = taken.as_chunks().0.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
    for holders in slots.chunks_exact(replicas) {
        for (i, node) in holders.iter().enumerate() {
            if usize::from(*node) >= members || holders.iter().take(i).any(|other| other == node) {
                return Err(DecodeError::Holder);
            }
        }
    }
    Ok(slots)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], DecodeError> {
    let (head, rest) = bytes.split_first_chunk().ok_or(DecodeError::Truncated)?;
    *bytes = rest;
    Ok(*head)
}
