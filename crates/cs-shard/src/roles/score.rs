//! How fit a node is to be a hub (SHARD-20).

use core::time::Duration;

/// What a node knows of itself. All of it is measured, nothing configured.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Facts {
    /// Since it was last started or asleep.
    pub uptime: Duration,
    /// Tenth percentile of the upstream bandwidth it saw, in bytes a second.
    pub bandwidth_p10: u64,
    /// What of its processor, memory and bandwidth is unused, the least of them, in percent.
    pub headroom_percent: u8,
    /// Failed of 1,000 sessions and requests.
    pub errors_permille: u16,
}

/// Best uptime, bandwidth and round trip: more is not better.
const UPTIME_BEST: u64 = 24 * 3600;
const BANDWIDTH_BEST: u64 = 4 << 20;
const RTT_WORST_MS: u64 = 200;
const ERRORS_WORST: u64 = 100;

/// From 0 to 1,000: uptime and bandwidth 250 each, headroom 200, closeness and reliability 150 each. `rtt` is the median
/// to the hubs it knows; without one, it is as good as none.
#[must_use]
pub(crate) fn score(facts: &Facts, rtt: Option<Duration>) -> u16 {
    let part = |value: u64, best: u64, points: u64| value.min(best) * points / best;
    let rtt_ms = rtt.map_or(RTT_WORST_MS, |rtt| (rtt.as_millis() as u64).min(RTT_WORST_MS));
    let errors = u64::from(facts.errors_permille).min(ERRORS_WORST);
    let points = part(facts.uptime.as_secs(), UPTIME_BEST, 250)
        + part(facts.bandwidth_p10, BANDWIDTH_BEST, 250)
        + part(u64::from(facts.headroom_percent), 100, 200)
        + part(RTT_WORST_MS - rtt_ms, RTT_WORST_MS, 150)
        + part(ERRORS_WORST - errors, ERRORS_WORST, 150);
    points as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEST: Facts = Facts {
        uptime: Duration::from_secs(48 * 3600),
        bandwidth_p10: 100 << 20,
        headroom_percent: 100,
        errors_permille: 0,
    };

    /// SHARD-20.
    #[test]
    fn scores_are_from_nothing_to_a_thousand_and_each_fact_counts() {
        assert_eq!(score(&BEST, Some(Duration::ZERO)), 1000);
        assert_eq!(score(&Facts { errors_permille: 1000, ..Facts::default() }, None), 0);
        for worse in [
            Facts { uptime: Duration::from_secs(3600), ..BEST },
            Facts { bandwidth_p10: 1 << 20, ..BEST },
            Facts { headroom_percent: 40, ..BEST },
            Facts { errors_permille: 30, ..BEST },
        ] {
            assert!(score(&worse, Some(Duration::ZERO)) < 1000, "{worse:?}");
        }
        assert_eq!(score(&BEST, Some(Duration::from_millis(100))), 925);
    }
}
