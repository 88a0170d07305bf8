use core::time::Duration;

use thiserror::Error;

use super::Role;
use crate::member::Zone;

/// How a node takes and leaves roles (SHARD-20 to SHARD-24). The defaults aim at 50 to 200 leaves a hub.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RolesConfig {
    /// Where this node is: what fails together. Leaves choose hubs in distinct zones.
    pub zone: Zone,
    /// What it is at first. Default leaf.
    pub initial: Role,
    /// Whether it keeps that role whatever happens, as an operator's server does. Default no.
    pub is_pinned: bool,
    /// Time between two probes of each hub that a leaf is attached to, at least 1 s; also how long a leaf may be stranded
    /// at most when its hubs die. Default 30 s.
    pub probe_interval: Duration,
    /// Longest wait for an answer, at most a tenth of the interval. Default 1.5 s.
    pub probe_limit: Duration,
    /// Time between two looks at hubs that a node is not attached to. Default 2 min.
    pub explore_interval: Duration,
    /// Hubs that a leaf is attached to: 2 or 3. Default 3.
    pub attachments: usize,
    /// Leaves of a hub beyond which it invites one of them to be a hub too. Default 150.
    pub split_at: usize,
    /// Leaves beyond which it takes only those that have no other hub. Default 200.
    pub capacity: usize,
    /// Leaves beyond which it takes nobody. Default 400.
    pub emergency_capacity: usize,
    /// Leaves below which it may give up being one. Default 60.
    pub merge_at: usize,
    /// Score from which, with the margin on top, a leaf can become a hub; 0 to 1,000. Default 500.
    pub threshold: u16,
    /// How far beyond the threshold the score must be to count, on either side. Default 50.
    pub margin: u16,
    /// How long a leaf must be above. Also how long a hub stays one before it gives up for want of leaves. Default 20 min.
    pub promote_after: Duration,
    /// How long a hub must be below. Default 5 min.
    pub demote_after: Duration,
    /// Time between two invitations of a hub, so that each can take effect. Default 4 min.
    pub settle_interval: Duration,
    /// Round trip within which hubs form one region. Default 25 ms.
    pub region_radius: Duration,
}

impl Default for RolesConfig {
    fn default() -> Self {
        Self {
            zone: Zone(0),
            initial: Role::Leaf,
            is_pinned: false,
            probe_interval: Duration::from_secs(30),
            probe_limit: Duration::from_millis(1500),
            explore_interval: Duration::from_secs(120),
            attachments: 3,
            split_at: 150,
            capacity: 200,
            emergency_capacity: 400,
            merge_at: 60,
            threshold: 500,
            margin: 50,
            promote_after: Duration::from_secs(20 * 60),
            demote_after: Duration::from_secs(5 * 60),
            settle_interval: Duration::from_secs(4 * 60),
            region_radius: Duration::from_millis(25),
        }
    }
}

impl RolesConfig {
    pub(crate) fn check(&self) -> Result<(), RolesConfigError> {
        let second = Duration::from_secs(1);
        if self.probe_interval < second || self.explore_interval < second || self.settle_interval < second {
            return Err(RolesConfigError::Intervals);
        }
        if self.probe_limit < Duration::from_millis(100) || self.probe_limit > self.probe_interval / 10 {
            return Err(RolesConfigError::ProbeLimit);
        }
        if !(2..=3).contains(&self.attachments) {
            return Err(RolesConfigError::Attachments);
        }
        let steps = [0, self.merge_at, self.split_at, self.capacity, self.emergency_capacity, 4096];
        if !steps.is_sorted() || self.merge_at * 2 > self.split_at {
            return Err(RolesConfigError::Capacities);
        }
        if self.margin > self.threshold || self.threshold + self.margin > 1000 {
            return Err(RolesConfigError::Threshold);
        }
        Ok(())
    }
}

/// A configuration that cannot work.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum RolesConfigError {
    /// An interval is below a second.
    #[error("intervals must be one second at least")]
    Intervals,
    /// Answers are waited for less than 100 ms, or so long that a dead hub is noticed too late.
    #[error("probe_limit must be 100 ms at least and a tenth of probe_interval at most")]
    ProbeLimit,
    /// Not 2 or 3.
    #[error("attachments must be 2 or 3")]
    Attachments,
    /// Not in order, or hubs that split would merge at once.
    #[error("2 * merge_at <= split_at <= capacity <= emergency_capacity <= 4096 must hold")]
    Capacities,
    /// The margin leaves no score on one side.
    #[error("the threshold must be within its margin of 0 to 1000")]
    Threshold,
}
