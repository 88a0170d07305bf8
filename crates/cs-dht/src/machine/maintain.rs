//! What goes on when nobody asks for anything: probing, refreshing, storing anew, and dropping what has ended.

use super::{Dht, Goal};
use crate::config::K;
use crate::timers::Timer;
use core::time::Duration;
use rand::Rng;

/// How often there is maintenance, on the average: half a second more or less, so that nodes do not beat together.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(15);
/// Old entries probed at each maintenance.
const PROBES: usize = 4;
/// Records stored anew at each maintenance.
const STORES: usize = 4;

impl Dht {
    pub(crate) fn schedule_maintenance(&mut self) {
        let jitter = Duration::from_millis(self.draw(1_000) as u64);
        let at = self.now + MAINTENANCE_INTERVAL + jitter - Duration::from_millis(500);
        self.timers.set(at, Timer::Maintain);
    }

    pub(crate) fn maintain(&mut self) {
        self.schedule_maintenance();
        self.probe_stalest();
        self.resettle_if_due();
        if self.now >= self.refresh_at {
            self.refresh_all();
        } else if !self.queries.values().any(|query| matches!(query.goal, Goal::Refresh)) {
            self.refresh_next();
        }
        let unix_ms = self.unix_ms();
        self.records.expire(self.now, unix_ms);
        let notice = self.config.republish_interval.as_millis() as u64 * 2;
        while let Some((key, expires_unix_ms)) =
            self.publications.expire(unix_ms, unix_ms.saturating_add(notice))
        {
            self.emit(crate::Event::Expiring { key, expires_unix_ms });
        }
        self.publish_due();
        self.replicate_due();
    }

    /// Asks every bucket that has to be kept full for newcomers, one after the other.
    pub(crate) fn refresh_all(&mut self) {
        self.refresh_at = self.now + self.config.refresh_interval;
        let first_with_room = (0..self.table.depth()).find(|bucket| self.table.bucket(*bucket).len() < K);
        self.refreshing = (first_with_room.unwrap_or(self.table.depth()) + 1).min(255) as u8;
        self.refresh_next();
    }

    /// Looks a random key of the next bucket up.
    pub(crate) fn refresh_next(&mut self) {
        let Some(bucket) = self.refreshing.checked_sub(1) else { return };
        self.refreshing = bucket;
        let mut noise = [0; 32];
        self.rng.fill_bytes(&mut noise);
        // Without peers or with too many lookups under way there is nothing to be done before the next interval.
        let _ = self.start(Goal::Refresh, self.table.here().at_prefix(bucket, noise));
    }

    /// Stores anew what is published from here and due.
    pub(crate) fn publish_due(&mut self) {
        if self.table.len() == 0 {
            return;
        }
        for _ in 0..STORES {
            let Some(record) = self.publications.take_due(self.now, self.config.republish_interval) else {
                return;
            };
            if self.start(Goal::store(record.clone(), None), record.key()).is_err() {
                self.publications.reschedule(&record, self.now + MAINTENANCE_INTERVAL);
                return;
            }
        }
    }

    /// Hands on what is held for others and nobody else handed on (DHT-15).
    fn replicate_due(&mut self) {
        for _ in 0..STORES {
            let Some(record) = self.records.take_due(self.now, self.config.replicate_interval, |_| true)
            else {
                return;
            };
            let key = record.key();
            if self.start(Goal::hand_on(record), key).is_err() {
                return;
            }
        }
    }

    /// Probes entries that were silent for long (DHT-3).
    fn probe_stalest(&mut self) {
        let stale = self.table.stalest(self.now, self.config.probe_interval, PROBES);
        stale.into_iter().for_each(|node| self.probe(node));
    }
}
