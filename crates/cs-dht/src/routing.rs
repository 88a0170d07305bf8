//! The routing table: who is known, and whom to name. Pure data; 56 bytes an entry.

use crate::address::{Scope, Subnet};
use crate::config::K;
use crate::key::Key;
use crate::wire::Node;
use alloc::vec::Vec;
use core::cmp::Reverse;
use core::net::{IpAddr, Ipv6Addr, SocketAddr};
use core::time::Duration;
use cs_identity::NodeId;

/// Peers of one /24 or /56 in one bucket.
const SUBNET_PER_BUCKET_MAX: usize = 2;
/// Peers of one /24 or /56 in the table.
const SUBNET_PER_TABLE_MAX: usize = 10;
/// Unanswered questions after which an entry goes, even if nobody waits for its place.
const FAILURES_MAX: u8 = 3;
/// An entry that has been here for so long is not displaced by a faster newcomer: peers that stayed for an hour are
/// the likeliest to stay for another (*Kademlia*, figure 1), and nobody floods them out.
const SETTLED_AFTER: Duration = Duration::from_secs(3_600);
/// Entries of the whole table: with these a node takes at most 16 KiB. A network of 100,000 has 263 in the mean; only where
/// there are more, the widest buckets have a place less, which lookups do not notice.
pub(crate) const TABLE_MAX: usize = 260;
/// Entries by which the table grows: doubling would waste up to half of it.
const GROWTH: usize = 4;

/// A peer that has answered at this address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    id: NodeId,
    ip: [u8; 16],
    port: u16,
    seen: Tick,
    since: Tick,
    rtt: CoarseRtt,
    failures: u8,
}

/// What became of a verified peer that was offered to the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offer {
    /// It is new in the table.
    Inserted,
    /// It was there already.
    Updated,
    /// Its bucket is full of peers at least as good.
    Full,
    /// Its subnet has its share already.
    Crowded,
}

#[derive(Clone, Debug)]
pub(crate) struct RoutingTable {
    here: Key,
    /// Sorted by bucket; within a bucket in no order.
    entries: Vec<Entry>,
    /// Entries of each bucket: bucket `i` holds peers that share exactly `i` leading bits with us.
    lengths: Vec<u8>,
    limit: usize,
}

impl RoutingTable {
    pub(crate) const fn new(here: Key) -> Self {
        Self { here, entries: Vec::new(), lengths: Vec::new(), limit: TABLE_MAX }
    }

    /// Where this node stands.
    pub(crate) const fn here(&self) -> &Key {
        &self.here
    }

    pub(crate) const fn len(&self) -> usize {
        self.entries.len()
    }

    /// Buckets up to the deepest that was ever in use.
    pub(crate) fn depth(&self) -> usize {
        self.lengths.len()
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Heap bytes in use, spare capacity included.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.lengths.capacity()
    }

    pub(crate) fn find(&self, id: &NodeId) -> Option<&Entry> {
        self.position(id).and_then(|index| self.entries.get(index))
    }

    /// Whether a peer that is not here yet would be worth a ping: its bucket has room or a failing entry.
    pub(crate) fn has_room(&self, node: &Node) -> bool {
        let bucket = self.bucket_of(&node.id);
        let entries = self.bucket(bucket);
        let is_full = entries.len() >= K || (self.len() >= self.limit && self.widest() == bucket);
        (!is_full || entries.iter().any(|entry| entry.failures > 0)) && !self.is_crowded(bucket, node)
    }

    /// Takes in a peer that has just answered at this address (DHT-3).
    pub(crate) fn offer(&mut self, now: Duration, node: Node, rtt: Duration) -> Offer {
        let bucket = self.bucket_of(&node.id);
        if let Some(index) = self.position(&node.id) {
            let mut entry = self.entries[index];
            if entry.addr() == node.addr {
                entry.answered(now, rtt);
                self.entries[index] = entry;
                return Offer::Updated;
            }
            self.remove_at(bucket, index);
        }
        if self.is_crowded(bucket, &node) {
            return Offer::Crowded;
        }
        let entry = Entry::new(now, node, rtt);
        let range = self.range(bucket);
        let is_table_full = self.len() >= self.limit;
        if range.len() >= K || (is_table_full && self.widest() == bucket) {
            let Some(loser) = self.displaced(now, bucket, &entry) else { return Offer::Full };
            self.entries[loser] = entry;
            return Offer::Inserted;
        }
        if is_table_full {
            self.make_place();
        }
        if self.lengths.len() <= bucket {
            self.lengths.resize(bucket + 1, 0);
        }
        if self.entries.len() == self.entries.capacity() {
            self.entries.reserve_exact(GROWTH);
        }
        self.entries.insert(self.range(bucket).end, entry);
        self.lengths[bucket] += 1;
        Offer::Inserted
    }

    /// A peer did not answer. Returns whether it left the table.
    pub(crate) fn failed(&mut self, id: &NodeId) -> bool {
        let Some(index) = self.position(id) else { return false };
        let entry = &mut self.entries[index];
        entry.failures += 1;
        let gone = entry.failures >= FAILURES_MAX;
        if gone {
            self.remove_at(self.bucket_of(id), index);
        }
        gone
    }

    /// A peer says that it leaves.
    pub(crate) fn remove(&mut self, id: &NodeId) {
        if let Some(index) = self.position(id) {
            self.remove_at(self.bucket_of(id), index);
        }
    }

    /// The up to `count` entries closest to `target` that `keep` accepts, closest first.
    ///
    /// Buckets are visited in order of distance, so that few positions are computed: all of the target's own bucket is
    /// closer than any deeper bucket, and those are closer than the shallower ones, deepest first.
    pub(crate) fn closest(&self, target: &Key, count: usize, keep: impl Fn(&Entry) -> bool) -> Vec<Node> {
        let home = usize::try_from(self.here.distance(target).leading_zeros()).unwrap_or(256);
        let mut found = Vec::with_capacity(count);
        let mut group = Vec::new();
        let deeper = self.range(home + 1).start..self.entries.len();
        let shallower = (0..home.min(self.lengths.len())).rev().map(|bucket| self.range(bucket));
        for range in [self.range(home), deeper].into_iter().chain(shallower) {
            if found.len() >= count {
                break;
            }
            group.clear();
            group.extend(
                self.entries[range]
                    .iter()
                    .filter(|entry| keep(entry))
                    .map(|entry| (Key::of_peer(&entry.id).distance(target), entry.node())),
            );
            group.sort_unstable_by_key(|(distance, _)| *distance);
            found.extend(group.iter().map(|(_, node)| *node).take(count - found.len()));
        }
        found
    }

    /// The up to `count` entries that have been silent for longest, and longer than `limit`.
    pub(crate) fn stalest(&self, now: Duration, limit: Duration, count: usize) -> Vec<Node> {
        let mut stale: Vec<&Entry> =
            self.entries.iter().filter(|entry| entry.silent_for(now) >= limit).collect();
        stale.sort_by_key(|entry| Reverse(entry.silent_for(now)));
        stale.into_iter().take(count).map(Entry::node).collect()
    }

    fn bucket_of(&self, id: &NodeId) -> usize {
        let shared = self.here.distance(&Key::of_peer(id)).leading_zeros();
        usize::try_from(shared).unwrap_or(255).min(255)
    }

    fn range(&self, bucket: usize) -> core::ops::Range<usize> {
        let start = self.lengths.iter().take(bucket).map(|length| usize::from(*length)).sum();
        start..start + self.lengths.get(bucket).copied().map_or(0, usize::from)
    }

    pub(crate) fn bucket(&self, bucket: usize) -> &[Entry] {
        &self.entries[self.range(bucket)]
    }

    /// The first of the buckets with the most entries.
    fn widest(&self) -> usize {
        let most = self.lengths.iter().max();
        self.lengths.iter().position(|length| Some(length) == most).unwrap_or_default()
    }

    /// Drops the worst entry of the widest bucket: one that fails, else the slowest.
    fn make_place(&mut self) {
        let bucket = self.widest();
        let entries = self.range(bucket).filter_map(|index| Some((index, self.entries.get(index)?)));
        let worst = entries.max_by_key(|(_, entry)| (entry.failures, entry.rtt()));
        if let Some((index, _)) = worst {
            self.remove_at(bucket, index);
        }
    }

    fn position(&self, id: &NodeId) -> Option<usize> {
        let range = self.range(self.bucket_of(id));
        let start = range.start;
        self.entries[range].iter().position(|entry| entry.id == *id).map(|offset| start + offset)
    }

    fn remove_at(&mut self, bucket: usize, index: usize) {
        self.entries.remove(index);
        self.lengths[bucket] -= 1;
    }

    /// Who makes room in a full bucket: a failing entry; else the slowest of the unsettled ones, if the newcomer needs
    /// less than half of its time.
    fn displaced(&self, now: Duration, bucket: usize, newcomer: &Entry) -> Option<usize> {
        let range = self.range(bucket);
        let entries = || range.clone().map(|index| (index, &self.entries[index]));
        let failing =
            entries().filter(|(_, entry)| entry.failures > 0).max_by_key(|(_, entry)| entry.failures);
        let slowest = || {
            entries()
                .filter(|(_, entry)| entry.since.age(now) < SETTLED_AFTER)
                .max_by_key(|(_, entry)| entry.rtt())
                .filter(|(_, entry)| newcomer.rtt() * 2 < entry.rtt())
        };
        failing.or_else(slowest).map(|(index, _)| index)
    }

    /// Whether the node's subnet holds its share of the bucket or of the table already. Private networks are exempt.
    fn is_crowded(&self, bucket: usize, node: &Node) -> bool {
        if Scope::of(&node.addr) != Scope::Global {
            return false;
        }
        let subnet = Subnet::of(&node.addr);
        let count = |entries: &[Entry]| {
            entries.iter().filter(|entry| entry.id != node.id && Subnet::of(&entry.addr()) == subnet).count()
        };
        count(self.bucket(bucket)) >= SUBNET_PER_BUCKET_MAX || count(&self.entries) >= SUBNET_PER_TABLE_MAX
    }
}

impl Entry {
    fn new(now: Duration, node: Node, rtt: Duration) -> Self {
        let ip = match node.addr.ip() {
            IpAddr::V4(ip) => ip.to_ipv6_mapped(),
            IpAddr::V6(ip) => ip,
        };
        Self {
            id: node.id,
            ip: ip.octets(),
            port: node.addr.port(),
            seen: Tick::at(now),
            since: Tick::at(now),
            rtt: CoarseRtt::of(rtt),
            failures: 0,
        }
    }

    fn answered(&mut self, now: Duration, rtt: Duration) {
        self.seen = Tick::at(now);
        self.rtt = CoarseRtt::of(self.rtt() * 3 / 4 + rtt / 4);
        self.failures = 0;
    }

    pub(crate) const fn id(&self) -> NodeId {
        self.id
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        let ip = Ipv6Addr::from(self.ip);
        SocketAddr::new(ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4), self.port)
    }

    pub(crate) fn node(&self) -> Node {
        Node { id: self.id, addr: self.addr() }
    }

    pub(crate) fn rtt(&self) -> Duration {
        self.rtt.span()
    }

    pub(crate) const fn failures(&self) -> u8 {
        self.failures
    }

    /// How long ago it answered last.
    pub(crate) fn silent_for(&self, now: Duration) -> Duration {
        self.seen.age(now)
    }
}

/// A point in time in two bytes: steps of 8 s, right for ages up to six days, far beyond any probe interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tick(u16);

impl Tick {
    const STEP_SECONDS: u64 = 8;

    const fn at(now: Duration) -> Self {
        Self((now.as_secs() / Self::STEP_SECONDS) as u16)
    }

    fn age(self, now: Duration) -> Duration {
        let steps = Self::at(now).0.wrapping_sub(self.0);
        Duration::from_secs(u64::from(steps) * Self::STEP_SECONDS)
    }
}

/// A round-trip time in one byte: four bits of exponent, four of mantissa, in quarters of a millisecond. Within 1/8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CoarseRtt(u8);

impl CoarseRtt {
    fn of(rtt: Duration) -> Self {
        let mut mantissa = rtt.as_micros() / 250;
        let mut exponent = 0;
        while mantissa > 15 && exponent < 15 {
            mantissa >>= 1;
            exponent += 1;
        }
        Self((exponent << 4) | u8::try_from(mantissa.min(15)).unwrap_or(15))
    }

    const fn span(self) -> Duration {
        Duration::from_micros(((self.0 & 15) as u64) << (self.0 >> 4)).saturating_mul(250)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::node;
    use alloc::format;
    use proptest::prelude::*;

    const RTT: Duration = Duration::from_millis(50);

    fn at(seed: u64, addr: &str) -> Node {
        Node { id: node(seed), addr: addr.parse().unwrap() }
    }

    fn local(seed: u64) -> Node {
        at(seed, &format!("127.0.0.1:{}", 1_000 + seed))
    }

    fn full_of_local(count: u64) -> RoutingTable {
        let mut table = RoutingTable::new(Key::of_peer(&node(0)));
        for seed in 1..=count {
            table.offer(Duration::ZERO, local(seed), RTT);
        }
        table
    }

    #[test]
    fn an_entry_takes_56_bytes() {
        assert_eq!(size_of::<Entry>(), 56);
    }

    #[test]
    fn closest_agrees_with_sorting_everything() {
        let table = full_of_local(300);
        for seed in 0..40 {
            let target = Key::of_immutable(&[seed]);
            let mut all: Vec<Node> = table.entries().map(Entry::node).collect();
            all.sort_by_key(|node| Key::of_peer(&node.id).distance(&target));
            all.truncate(K);
            assert_eq!(table.closest(&target, K, |_| true), all);
        }
        assert_eq!(table.closest(&table.here, K, |_| true).len(), K);
    }

    #[test]
    fn no_bucket_holds_more_than_k() {
        let table = full_of_local(300);
        assert!(table.lengths.iter().all(|length| usize::from(*length) <= K));
        assert_eq!(table.bucket(0).len(), K);
        assert_eq!(table.lengths.iter().map(|length| usize::from(*length)).sum::<usize>(), table.len());
    }

    #[test]
    fn a_full_table_makes_place_for_closer_peers_where_it_has_most() {
        let here = Key::of_peer(&node(0));
        let mut table = RoutingTable { limit: 160, ..RoutingTable::new(here) };
        let mut peers: Vec<Node> = (1..4_000).map(local).collect();
        for peer in &peers {
            table.offer(Duration::ZERO, *peer, RTT);
        }
        peers.sort_by_key(|peer| Key::of_peer(&peer.id).distance(&here));
        assert_eq!(table.len(), 160);
        assert_eq!(table.closest(&here, K / 2, |_| true), peers[..K / 2]);
        let lengths: Vec<usize> = (0..6).map(|bucket| table.bucket(bucket).len()).collect();
        assert!(lengths.iter().max().unwrap() - lengths.iter().min().unwrap() <= 1, "{lengths:?}");
        let newcomer = (4_000..).map(local).find(|peer| table.bucket_of(&peer.id) == table.widest());
        assert!(!table.has_room(&newcomer.unwrap()));
    }

    /// DHT-3.
    #[test]
    fn a_subnet_gets_two_places_in_a_bucket_and_ten_in_the_table() {
        let mut table = RoutingTable::new(Key::of_peer(&node(0)));
        for seed in 1..=400 {
            table.offer(Duration::ZERO, at(seed, &format!("8.8.8.{}:1", seed % 250 + 1)), RTT);
        }
        assert!((0..table.depth()).all(|bucket| table.bucket(bucket).len() <= 2));
        assert_eq!(table.len(), 10);
        let other = at(1_000, "9.9.9.9:1");
        assert_eq!(table.offer(Duration::ZERO, other, RTT), Offer::Inserted);
    }

    /// DHT-3.
    #[test]
    fn a_silent_entry_makes_room_and_goes_after_three_failures() {
        let mut table = full_of_local(300);
        let newcomer = (301..).map(local).find(|node| table.bucket_of(&node.id) == 0).unwrap();
        assert!(!table.has_room(&newcomer));
        assert_eq!(table.offer(Duration::ZERO, newcomer, RTT), Offer::Full);
        let victim = table.bucket(0)[3].id();
        assert!(!table.failed(&victim));
        assert!(table.has_room(&newcomer));
        assert_eq!(table.offer(Duration::ZERO, newcomer, RTT), Offer::Inserted);
        assert!(table.find(&victim).is_none());
        assert!(!table.failed(&newcomer.id) && !table.failed(&newcomer.id) && table.failed(&newcomer.id));
        assert!(table.find(&newcomer.id).is_none());
    }

    #[test]
    fn a_much_faster_newcomer_displaces_an_unsettled_entry_only() {
        let mut table = full_of_local(300);
        let newcomer = (301..).map(local).find(|node| table.bucket_of(&node.id) == 0).unwrap();
        let fast = Duration::from_millis(10);
        assert_eq!(table.clone().offer(Duration::from_secs(60), newcomer, fast), Offer::Inserted);
        assert_eq!(table.offer(Duration::from_secs(3_700), newcomer, fast), Offer::Full);
    }

    #[test]
    fn a_peer_that_moved_is_kept_at_its_new_address() {
        let mut table = full_of_local(5);
        let moved = at(3, "127.0.0.1:9");
        assert_eq!(table.offer(Duration::ZERO, moved, RTT), Offer::Inserted);
        assert_eq!(table.find(&moved.id).unwrap().addr(), moved.addr);
        assert_eq!(table.len(), 5);
    }

    #[test]
    fn the_stalest_entry_is_the_one_to_probe() {
        let mut table = full_of_local(5);
        let late = Duration::from_secs(1_000);
        for seed in [1, 2, 3, 5] {
            table.offer(late, local(seed), RTT);
        }
        assert_eq!(table.stalest(late, Duration::from_secs(900), 4), [local(4)]);
        assert_eq!(table.stalest(late, Duration::from_secs(1_001), 4), []);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn a_coarse_rtt_is_within_an_eighth(ms in 1_u64..100_000) {
            let (exact, coarse) = (Duration::from_millis(ms), CoarseRtt::of(Duration::from_millis(ms)).span());
            prop_assert!(coarse <= exact && exact - coarse <= exact / 8);
        }
    }
}
