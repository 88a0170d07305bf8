//! What can be set, and why one would.

use crate::fault::ConfigError;
use alloc::vec::Vec;
use core::time::Duration;
use cs_identity::NodeId;

/// Bucket size, replication and the most nodes in a reply (Kademlia's k). A constant, since it is part of the protocol:
/// nodes with different k would disagree about who should hold a record.
pub const K: usize = 20;

/// The most authorities that may sign the network's configuration.
pub const MAX_AUTHORITIES: usize = 8;

/// Whether strangers may count on this node (DHT-19).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Asks, never answers, and is in nobody's table: for nodes that strangers cannot reach.
    Client,
    /// Asks and answers.
    Server,
}

/// The settings of one [`Dht`](crate::Dht).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// The wall clock at the moment of `Dht::new`, in milliseconds since 1970: signed records expire by it.
    pub unix_ms: u64,
    /// Client until the node knows that strangers reach it. Default: client.
    pub mode: Mode,
    /// Questions in flight per lookup. More is faster and costs messages. 1 to 20, default 6 (FIGURES: 22 RPCs).
    pub alpha: usize,
    /// A get is done when this many of the closest peers have answered. 1 to 20, default 3.
    pub beta: usize,
    /// Paths of a store or critical get, which share no peer (Baumgart and Mies, *S/Kademlia*, 2007). 1 to 8, default 4.
    pub disjoint_paths: usize,
    /// Whether peers at private and loopback addresses are accepted. Diversity caps do not apply to them, since a
    /// home or a test puts many nodes into one subnet. Default true: sync must work without an internet.
    pub private_networks: bool,
    /// The shortest time before an unanswered question frees its slot. Default 80 ms.
    pub rto_min: Duration,
    /// The longest. Default 2 s.
    pub rto_max: Duration,
    /// When an answer is given up for good. Default 5 s.
    pub answer_limit: Duration,
    /// A bucket in which nothing was looked up for so long is refreshed. Default 1 h.
    pub refresh_interval: Duration,
    /// A table entry that was silent for so long is probed. Default 15 min.
    pub probe_interval: Duration,
    /// Records published from here are stored anew this often. Default 40 min: half of the holders of a record are
    /// still there after one interval when sessions last an hour in the median.
    pub republish_interval: Duration,
    /// A record held for others is handed on to the closest peers when nobody did so for this long. Default 1 h.
    pub replicate_interval: Duration,
    /// Records held for others. Default 4,096.
    pub records_max: usize,
    /// Bytes of records held for others. Default 2 MiB.
    pub record_bytes_max: usize,
    /// Records held for one publisher. Default 64.
    pub records_per_publisher_max: usize,
    /// Records that arrived from one subnet (private networks: from one address). Default 256.
    pub records_per_subnet_max: usize,
    /// Requests answered per second and source; more are dropped in silence. Default 64.
    pub requests_per_second_max: u8,
    /// Lookups at a time, refreshes included. Default 64.
    pub lookups_max: usize,
    /// Records published from here. Default 4,096.
    pub publications_max: usize,
    /// Whether [`Event::Traced`](crate::Event::Traced) tells how each lookup went. Default false.
    pub is_traced: bool,
    /// Whoever may sign this network's configuration. Empty (the default): none is asked for. At most 8.
    pub authorities: Vec<NodeId>,
}

impl Config {
    /// The defaults, with the wall clock of now.
    #[must_use]
    pub const fn new(unix_ms: u64) -> Self {
        Self {
            unix_ms,
            mode: Mode::Client,
            alpha: 6,
            beta: 3,
            disjoint_paths: 4,
            private_networks: true,
            rto_min: Duration::from_millis(80),
            rto_max: Duration::from_secs(2),
            answer_limit: Duration::from_secs(5),
            refresh_interval: Duration::from_secs(3_600),
            probe_interval: Duration::from_secs(900),
            republish_interval: Duration::from_secs(2_400),
            replicate_interval: Duration::from_secs(3_600),
            records_max: 4_096,
            record_bytes_max: 2 << 20,
            records_per_publisher_max: 64,
            records_per_subnet_max: 256,
            requests_per_second_max: 64,
            lookups_max: 64,
            publications_max: 4_096,
            is_traced: false,
            authorities: Vec::new(),
        }
    }

    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let second = Duration::from_secs(1);
        let intervals =
            [self.refresh_interval, self.probe_interval, self.republish_interval, self.replicate_interval];
        let limits = [
            self.records_max,
            self.record_bytes_max,
            self.records_per_publisher_max,
            self.records_per_subnet_max,
            self.lookups_max,
            self.publications_max,
            usize::from(self.requests_per_second_max),
        ];
        if !(1..=K).contains(&self.alpha) {
            return Err(ConfigError::Alpha);
        }
        if !(1..=K).contains(&self.beta) {
            return Err(ConfigError::Beta);
        }
        if !(1..=8).contains(&self.disjoint_paths) {
            return Err(ConfigError::DisjointPaths);
        }
        if self.rto_min.is_zero() || self.rto_min > self.rto_max || self.rto_max > self.answer_limit {
            return Err(ConfigError::Timeouts);
        }
        if intervals.iter().any(|interval| *interval < second) {
            return Err(ConfigError::Intervals);
        }
        if limits.contains(&0) {
            return Err(ConfigError::Limits);
        }
        if self.authorities.len() > MAX_AUTHORITIES {
            return Err(ConfigError::Authorities);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_accepted() {
        assert_eq!(Config::new(0).check(), Ok(()));
    }

    #[test]
    fn each_nonsense_is_refused_by_name() {
        let refused = |change: fn(&mut Config)| {
            let mut config = Config::new(0);
            change(&mut config);
            config.check()
        };
        assert_eq!(refused(|c| c.alpha = 0), Err(ConfigError::Alpha));
        assert_eq!(refused(|c| c.beta = 21), Err(ConfigError::Beta));
        assert_eq!(refused(|c| c.disjoint_paths = 9), Err(ConfigError::DisjointPaths));
        assert_eq!(refused(|c| c.rto_min = Duration::ZERO), Err(ConfigError::Timeouts));
        assert_eq!(refused(|c| c.answer_limit = Duration::from_secs(1)), Err(ConfigError::Timeouts));
        assert_eq!(refused(|c| c.probe_interval = Duration::ZERO), Err(ConfigError::Intervals));
        assert_eq!(refused(|c| c.records_max = 0), Err(ConfigError::Limits));
        assert_eq!(
            refused(|c| c.authorities = alloc::vec![crate::testing::node(1); 9]),
            Err(ConfigError::Authorities)
        );
    }
}
