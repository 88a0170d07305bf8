use thiserror::Error;

use crate::wire::MAX_MEMBERS;

/// What all epochs of one map share (SHARD-4).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Config {
    /// Partitions of the key space: a power of two from 16 to 65,536. More balance better (a node's share should be 20
    /// and more) and cost 2 bytes a replica. Default 4,096.
    pub partitions: u32,
    /// Nodes that hold each partition, 1 to 16. Default 3.
    pub replicas: u8,
    /// How far a node's load may depart from its fair share before data moves, in percent, 1 to 50. Less balances
    /// better and moves more. Default 5.
    pub slack_percent: u8,
    /// Tokens on the ring of a node of weight 1, 1 to 1,024. Default 64.
    pub tokens: u16,
}

impl Default for Config {
    fn default() -> Self {
        Self { partitions: 4096, replicas: 3, slack_percent: 5, tokens: 64 }
    }
}

impl Config {
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        if !self.partitions.is_power_of_two() || !(16..=65_536).contains(&self.partitions) {
            return Err(ConfigError::Partitions);
        }
        if !(1..=16).contains(&self.replicas) {
            return Err(ConfigError::Replicas);
        }
        if !(1..=50).contains(&self.slack_percent) {
            return Err(ConfigError::Slack);
        }
        if !(1..=1024).contains(&self.tokens) {
            return Err(ConfigError::Tokens);
        }
        Ok(())
    }
}

/// Why there can be no map.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum ConfigError {
    /// Not a power of two from 16 to 65,536.
    #[error("partitions must be a power of two from 16 to 65536")]
    Partitions,
    /// Not from 1 to 16.
    #[error("replicas must be 1 to 16")]
    Replicas,
    /// Not from 1 to 50.
    #[error("slack must be 1 to 50 percent")]
    Slack,
    /// Not from 1 to 1,024.
    #[error("tokens must be 1 to 1024")]
    Tokens,
    /// There is nobody to place anything on.
    #[error("no members")]
    NoMembers,
    /// More than [`MAX_MEMBERS`].
    #[error("more than {MAX_MEMBERS} members")]
    TooManyMembers,
    /// A node is named twice.
    #[error("a member is named twice")]
    DuplicateMember,
}
