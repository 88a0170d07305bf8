use core::time::Duration;

use thiserror::Error;

use crate::summary::Limits;

/// The highest level: the root of the backbone.
pub(crate) const TOP_LEVEL: u8 = 3;

/// How a node of the tree behaves. All nodes of one network have the same limits and quotas.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TreeConfig {
    /// Goes up with each start of the node, such as its wall clock then in milliseconds: what an earlier run told is older.
    pub epoch: u64,
    /// Time between reports, at least 1 s. Values take one interval for each level on their way up. Default 10 s.
    pub report_interval: Duration,
    /// What a silent child told counts for so long; two intervals at least, so that one lost message costs nothing.
    /// Default 35 s.
    pub child_lifetime: Duration,
    /// Children that are listened to, 1 to 1,024. Default 256.
    pub children_max: usize,
    /// Nodes that a child of level 0, 1 and 2 may speak for. Default 1, 400 and 40,000: twice the largest share that
    /// hubs and regions are meant to have.
    pub quotas: [u64; TOP_LEVEL as usize],
    /// What one node may contribute. Metrics without a limit are not passed on.
    pub limits: Limits,
}

impl Default for TreeConfig {
    fn default() -> Self {
        Self {
            epoch: 1,
            report_interval: Duration::from_secs(10),
            child_lifetime: Duration::from_secs(35),
            children_max: 256,
            quotas: [1, 400, 40_000],
            limits: Limits::default(),
        }
    }
}

impl TreeConfig {
    pub(crate) fn check(&self) -> Result<(), TreeConfigError> {
        if self.report_interval < Duration::from_secs(1) {
            return Err(TreeConfigError::Interval);
        }
        if self.child_lifetime < self.report_interval * 2 {
            return Err(TreeConfigError::Lifetime);
        }
        if !(1..=1024).contains(&self.children_max) {
            return Err(TreeConfigError::Children);
        }
        if self.quotas.contains(&0) {
            return Err(TreeConfigError::Quotas);
        }
        Ok(())
    }

    /// Nodes that a child of this level may speak for.
    pub(crate) fn quota(&self, level: u8) -> u64 {
        self.quotas.get(usize::from(level)).copied().unwrap_or(0)
    }
}

/// A configuration that cannot work.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[non_exhaustive]
pub enum TreeConfigError {
    /// Reports more often than each second.
    #[error("report_interval must be 1 s at least")]
    Interval,
    /// A child is forgotten before its second report.
    #[error("child_lifetime must be two report intervals at least")]
    Lifetime,
    /// Not from 1 to 1,024.
    #[error("children_max must be 1 to 1024")]
    Children,
    /// Some children could speak for nobody.
    #[error("quotas must not be zero")]
    Quotas,
}
