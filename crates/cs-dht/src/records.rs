//! Records held for others: what is let in, what is given out, and what goes. Pure data.

use crate::address::Subnet;
use crate::config::Config;
use crate::key::Key;
use crate::wire::{Record, RecordKind, StoreRefusal};
use alloc::collections::BTreeMap;
use core::net::SocketAddr;
use core::time::Duration;
use cs_identity::NodeId;

/// The longest a signed record may live from now on: a device that is off for longer is found again when it is back.
pub const LIFETIME_MAX: Duration = Duration::from_secs(48 * 3_600);

/// How long an immutable value is held after it was last stored.
pub const IMMUTABLE_LIFETIME: Duration = Duration::from_secs(24 * 3_600);

/// Clocks may differ by so much before a record with the longest lifetime is taken for one from the future.
const CLOCK_SKEW: Duration = Duration::from_secs(600);

/// Provider records under one key. More are of no use to anybody: an answer holds eight.
const PROVIDERS_PER_KEY_MAX: usize = 64;

/// Who holds which place: one record of a kind, a key and a publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot {
    key: Key,
    kind: RecordKind,
    /// Zeros for immutable values.
    publisher: [u8; 32],
}

/// Why a record is void, whoever sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Void {
    Expired,
    FromTheFuture,
}

#[derive(Clone, Debug)]
struct Held {
    record: Record,
    /// Whose quota it uses: the publisher's, or of immutable values whoever brought it.
    charged: NodeId,
    source: ([u8; 8], u16),
    stored_at: Duration,
    /// Held as a favour to those who ask often, and no longer than that.
    until: Option<Duration>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct RecordStore {
    held: BTreeMap<Slot, Held>,
    bytes: usize,
}

impl Slot {
    pub(crate) fn of(record: &Record) -> Self {
        let publisher = record.publisher().map_or([0; 32], |id| *id.as_bytes());
        Self { key: record.key(), kind: record.kind(), publisher }
    }

    /// All slots of a kind under a key.
    pub(crate) const fn all(key: Key, kind: RecordKind) -> core::ops::RangeInclusive<Self> {
        Self { key, kind, publisher: [0; 32] }..=Self { key, kind, publisher: [0xff; 32] }
    }

    pub(crate) const fn key(&self) -> Key {
        self.key
    }
}

/// Whether a record's time is right (DHT-13): not over, and not longer than any may be.
pub(crate) fn check_time(record: &Record, unix_ms: u64) -> Result<(), Void> {
    let Some(expires) = record.expires_unix_ms() else { return Ok(()) };
    check_expiry(expires, unix_ms)
}

pub(crate) fn check_expiry(expires_unix_ms: u64, unix_ms: u64) -> Result<(), Void> {
    let latest = unix_ms.saturating_add((LIFETIME_MAX + CLOCK_SKEW).as_millis() as u64);
    if expires_unix_ms <= unix_ms {
        Err(Void::Expired)
    } else if expires_unix_ms > latest {
        Err(Void::FromTheFuture)
    } else {
        Ok(())
    }
}

impl RecordStore {
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// Bytes of the records held.
    pub(crate) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes in a record that decoded, so that its signature holds (DHT-14). A scan of what is held: up to some 20 us.
    pub(crate) fn store(
        &mut self,
        config: &Config,
        here: &Key,
        now: Duration,
        offer: Offer,
    ) -> Result<(), StoreRefusal> {
        let slot = Slot::of(&offer.record);
        let held = self.held.get(&slot);
        let is_same = held.is_some_and(|held| held.record.bytes() == offer.record.bytes());
        if !is_same {
            if offer.expected.is_some_and(|expected| expected != held.map_or(0, |held| held.record.seq())) {
                return Err(StoreRefusal::Conflict);
            }
            if held.is_some_and(|held| held.record.seq() >= offer.record.seq()) {
                return Err(StoreRefusal::Stale);
            }
        }
        let fresh = Held {
            charged: offer.record.publisher().unwrap_or(offer.from),
            source: Subnet::source(&offer.addr),
            stored_at: now,
            until: offer.hold_for.map(|span| now + span),
            record: offer.record,
        };
        // Who holds a record for good is not made to drop it early.
        let fresh = match held {
            Some(held) if is_same && held.until.is_none() => Held { until: None, ..fresh },
            _ => fresh,
        };
        if held.is_none() {
            self.make_room(config, here, &slot, &fresh)?;
        }
        self.bytes += fresh.record.bytes().len();
        if let Some(old) = self.held.insert(slot, fresh) {
            self.bytes -= old.record.bytes().len();
        }
        Ok(())
    }

    /// What is held of a kind under a key.
    pub(crate) fn find(&self, key: Key, kind: RecordKind) -> impl Iterator<Item = &Record> + Clone {
        self.held.range(Slot::all(key, kind)).map(|(_, held)| &held.record)
    }

    /// Drops what has ended.
    pub(crate) fn expire(&mut self, now: Duration, unix_ms: u64) {
        let bytes = &mut self.bytes;
        self.held.retain(|_, held| {
            let has_ended = match held.record.expires_unix_ms() {
                Some(expires) => expires <= unix_ms,
                None => now.saturating_sub(held.stored_at) >= IMMUTABLE_LIFETIME,
            };
            let is_over = has_ended || held.until.is_some_and(|until| until <= now);
            if is_over {
                *bytes -= held.record.bytes().len();
            }
            !is_over
        });
    }

    /// One record that nobody has stored anew for `interval`; its time starts again (DHT-15).
    pub(crate) fn take_due(
        &mut self,
        now: Duration,
        interval: Duration,
        is_near: impl Fn(&Key) -> bool,
    ) -> Option<Record> {
        let is_due = |held: &Held| {
            // Immutable values would never end if holders kept each other's alive: only publishers renew those.
            let is_lasting = held.record.expires_unix_ms().is_some() && held.until.is_none();
            is_lasting && now.saturating_sub(held.stored_at) >= interval
        };
        let (_, held) = self.held.iter_mut().find(|(slot, held)| is_due(held) && is_near(&slot.key))?;
        held.stored_at = now;
        Some(held.record.clone())
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Record> {
        self.held.values().map(|held| &held.record)
    }

    /// Checks the quotas, and drops what is farthest from here or oldest under its key if that makes room.
    fn make_room(
        &mut self,
        config: &Config,
        here: &Key,
        slot: &Slot,
        fresh: &Held,
    ) -> Result<(), StoreRefusal> {
        let count =
            |is_counted: &dyn Fn(&Held) -> bool| self.held.values().filter(|held| is_counted(held)).count();
        if count(&|held| held.charged == fresh.charged) >= config.records_per_publisher_max
            || count(&|held| held.source == fresh.source) >= config.records_per_subnet_max
        {
            return Err(StoreRefusal::Full);
        }
        let siblings = self.held.range(Slot::all(slot.key, slot.kind));
        if siblings.clone().count() >= PROVIDERS_PER_KEY_MAX {
            let oldest = siblings.min_by_key(|(_, held)| held.stored_at).map(|(slot, _)| *slot);
            oldest.into_iter().for_each(|slot| self.remove(&slot));
        }
        let needed = fresh.record.bytes().len();
        while self.held.len() >= config.records_max || self.bytes + needed > config.record_bytes_max {
            let farthest = self.held.keys().map(|held| (here.distance(&held.key), *held)).max();
            match farthest {
                Some((distance, farthest)) if distance > here.distance(&slot.key) => self.remove(&farthest),
                _ => return Err(StoreRefusal::Full),
            }
        }
        Ok(())
    }

    fn remove(&mut self, slot: &Slot) {
        if let Some(held) = self.held.remove(slot) {
            self.bytes -= held.record.bytes().len();
        }
    }
}

/// A record on offer, and whom it comes from.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    pub(crate) record: Record,
    pub(crate) expected: Option<u64>,
    pub(crate) from: NodeId,
    pub(crate) addr: SocketAddr,
    /// For how long at most, if the bearer says so.
    pub(crate) hold_for: Option<Duration>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{node, secret};
    use crate::wire::{Extensions, ImmutableValue, MutableValue, ProviderRecord};
    use alloc::vec;
    use alloc::vec::Vec;
    use cs_identity::Signed;

    const HOUR: Duration = Duration::from_secs(3_600);
    const NOW_MS: u64 = 1_700_000_000_000;

    fn mutable(publisher: u64, salt: u8, seq: u64) -> Record {
        Record::Mutable(Signed::sign(
            &secret(publisher),
            MutableValue {
                publisher: node(publisher),
                salt: vec![salt],
                seq,
                expires_unix_ms: NOW_MS + 1_000_000,
                value: vec![1, 2, 3],
                extensions: Extensions::default(),
            },
        ))
    }

    fn provider(publisher: u64) -> Record {
        Record::Provider(Signed::sign(
            &secret(publisher),
            ProviderRecord {
                key: [9; 32],
                publisher: node(publisher),
                seq: 1,
                expires_unix_ms: NOW_MS + 1_000_000,
                payload: vec![],
                extensions: Extensions::default(),
            },
        ))
    }

    struct Holder {
        config: Config,
        here: Key,
        store: RecordStore,
    }

    impl Holder {
        fn new() -> Self {
            Self {
                config: Config::new(NOW_MS),
                here: Key::from_bytes([0; 32]),
                store: RecordStore::default(),
            }
        }

        fn store(&mut self, record: Record) -> Result<(), StoreRefusal> {
            self.store_expecting(record, None, "8.8.8.8:1")
        }

        fn store_expecting(
            &mut self,
            record: Record,
            expected: Option<u64>,
            addr: &str,
        ) -> Result<(), StoreRefusal> {
            let addr = addr.parse().unwrap();
            let offer = Offer { record, expected, from: node(99), addr, hold_for: None };
            self.store.store(&self.config, &self.here, Duration::ZERO, offer)
        }

        fn total(&self) -> usize {
            self.store.all().map(|record| record.bytes().len()).sum()
        }
    }

    /// DHT-14.
    #[test]
    fn a_newer_record_replaces_an_older_one_and_never_the_other_way_round() {
        let mut holder = Holder::new();
        assert_eq!(holder.store(mutable(1, 0, 2)), Ok(()));
        assert_eq!(holder.store(mutable(1, 0, 2)), Ok(()), "storing again renews");
        assert_eq!(holder.store(mutable(1, 0, 1)), Err(StoreRefusal::Stale));
        assert_eq!(holder.store(mutable(1, 0, 3)), Ok(()));
        let held: Vec<u64> = holder.store.all().map(Record::seq).collect();
        assert_eq!(held, [3]);
        assert_eq!(holder.store.bytes(), holder.total());
    }

    /// DHT-10.
    #[test]
    fn compare_and_swap_stores_only_over_what_was_expected() {
        let mut holder = Holder::new();
        let here = "8.8.8.8:1";
        assert_eq!(holder.store_expecting(mutable(1, 0, 5), Some(4), here), Err(StoreRefusal::Conflict));
        assert_eq!(holder.store_expecting(mutable(1, 0, 5), Some(0), here), Ok(()));
        assert_eq!(holder.store_expecting(mutable(1, 0, 6), Some(4), here), Err(StoreRefusal::Conflict));
        assert_eq!(holder.store_expecting(mutable(1, 0, 6), Some(5), here), Ok(()));
        assert_eq!(
            holder.store_expecting(mutable(1, 0, 6), Some(5), here),
            Ok(()),
            "a repeated request is harmless"
        );
    }

    /// DHT-14.
    #[test]
    fn a_publisher_and_a_subnet_have_their_shares() {
        let mut holder = Holder::new();
        holder.config.records_per_publisher_max = 2;
        holder.config.records_per_subnet_max = 3;
        assert_eq!(holder.store(mutable(1, 0, 1)), Ok(()));
        assert_eq!(holder.store(mutable(1, 1, 1)), Ok(()));
        assert_eq!(holder.store(mutable(1, 2, 1)), Err(StoreRefusal::Full));
        assert_eq!(holder.store(mutable(2, 0, 1)), Ok(()));
        assert_eq!(holder.store(mutable(3, 0, 1)), Err(StoreRefusal::Full));
        assert_eq!(holder.store_expecting(mutable(3, 0, 1), None, "9.9.9.9:1"), Ok(()));
        assert_eq!(holder.store(mutable(1, 0, 2)), Ok(()), "what is held may always be renewed");
    }

    /// DHT-14.
    #[test]
    fn a_full_holder_keeps_what_is_closest_to_it() {
        let mut holder = Holder::new();
        holder.config.records_max = 8;
        holder.config.records_per_publisher_max = 100;
        let mut keys: Vec<Key> = (0..40).map(|salt| mutable(1, salt, 1).key()).collect();
        for salt in 0..40 {
            let _ = holder.store(mutable(1, salt, 1));
        }
        keys.sort_by_key(|key| holder.here.distance(key));
        let mut held: Vec<Key> = holder.store.all().map(Record::key).collect();
        held.sort_by_key(|key| holder.here.distance(key));
        assert_eq!(held, keys[..8]);
        assert_eq!(holder.store.bytes(), holder.total());
    }

    #[test]
    fn a_key_holds_64_providers_and_the_oldest_goes_first() {
        let mut holder = Holder::new();
        for publisher in 0..70 {
            assert_eq!(holder.store(provider(publisher)), Ok(()));
        }
        assert_eq!(holder.store.find(Key::from_bytes([9; 32]), RecordKind::Provider).count(), 64);
        assert_eq!(holder.store.find(Key::from_bytes([9; 32]), RecordKind::Peer).count(), 0);
    }

    #[test]
    fn what_has_ended_goes() {
        let mut holder = Holder::new();
        holder.store(mutable(1, 0, 1)).unwrap();
        holder.store(Record::Immutable(ImmutableValue::new(vec![1]).unwrap())).unwrap();
        holder.store.expire(HOUR, NOW_MS + 999_999);
        assert_eq!(holder.store.len(), 2);
        holder.store.expire(HOUR, NOW_MS + 1_000_000);
        assert_eq!(holder.store.len(), 1);
        holder.store.expire(IMMUTABLE_LIFETIME, NOW_MS);
        assert_eq!((holder.store.len(), holder.store.bytes()), (0, 0));
    }

    #[test]
    fn a_record_must_end_and_not_too_late() {
        let record = mutable(1, 0, 1);
        let lifetime = LIFETIME_MAX.as_millis() as u64;
        assert_eq!(check_time(&record, NOW_MS), Ok(()));
        assert_eq!(check_time(&record, NOW_MS + 1_000_000), Err(Void::Expired));
        assert_eq!(check_time(&record, NOW_MS - lifetime), Err(Void::FromTheFuture));
    }

    #[test]
    fn a_record_is_handed_on_once_an_interval_unless_somebody_else_did() {
        let mut holder = Holder::new();
        holder.store(mutable(1, 0, 1)).unwrap();
        assert!(holder.store.take_due(HOUR / 2, HOUR, |_| true).is_none());
        assert!(holder.store.take_due(HOUR, HOUR, |_| true).is_some());
        assert!(holder.store.take_due(HOUR, HOUR, |_| true).is_none());
        assert!(holder.store.take_due(HOUR * 2, HOUR, |_| true).is_some());
    }
}
