//! What waits for a link whose transport is full: four lanes, bounded in bytes, strict and then fair (GOS-15).

use core::time::Duration;
use std::collections::VecDeque;

use crate::wire::Lane;

/// Bytes that a turn adds to what the normal and the bulk lane may send: deficit round robin (Shreedhar and
/// Varghese, SIGCOMM 1995), four to one.
const QUANTA: [usize; 2] = [4096, 1024];
/// The transport holds what it sends in this time, so that what is urgent waits no longer behind it.
const PACE: Duration = Duration::from_millis(10);
/// No link is faster, in bytes a second.
const MOST_RATE: u128 = 1 << 40;
/// At least one packet; and at most so much where the transport has always sent all it was given.
const LEAST_WINDOW: usize = 1200;
const MOST_WINDOW: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct Egress {
    lanes: [VecDeque<Item>; 4],
    bytes: [usize; 4],
    /// What the fair lanes may still send in this turn.
    deficits: [usize; 2],
    turn: usize,
    /// What the transport holds: as it said, and what it was given since.
    held: usize,
    reported_at: Duration,
    /// Bytes a second that leave the transport while it is never empty; 0 before it is known.
    rate: u64,
    /// What the transport may hold.
    window: usize,
}

#[derive(Debug)]
struct Item {
    bytes: Vec<u8>,
    expires_at: Duration,
}

impl Egress {
    pub(crate) fn new(now: Duration) -> Self {
        Self {
            lanes: Default::default(),
            bytes: [0; 4],
            deficits: [0; 2],
            turn: 0,
            held: 0,
            reported_at: now,
            rate: 0,
            window: LEAST_WINDOW,
        }
    }

    /// Learns the rate from what left since the last word. If all did, though it was as much as was allowed, the
    /// transport may be faster than it could show.
    pub(crate) fn reported(&mut self, now: Duration, bytes: usize) {
        let span = now.saturating_sub(self.reported_at);
        if bytes == 0 && self.held >= self.window {
            self.window = (self.window * 2).min(MOST_WINDOW);
        } else if bytes > 0 && span >= Duration::from_millis(1) {
            let left = self.held.saturating_sub(bytes) as u128;
            let rate = (left * 1_000_000_000 / span.as_nanos()).min(MOST_RATE) as u64;
            self.rate = if self.rate == 0 { rate } else { (self.rate * 7 + rate) / 8 };
            let window = u128::from(self.rate) * PACE.as_nanos() / 1_000_000_000;
            self.window = (window as usize).clamp(LEAST_WINDOW, MOST_WINDOW);
        }
        self.held = bytes;
        self.reported_at = now;
    }

    pub(crate) fn push(&mut self, lane: Lane, bytes: Vec<u8>, expires_at: Duration) {
        self.bytes[lane as usize] += bytes.len();
        self.lanes[lane as usize].push_back(Item { bytes, expires_at });
    }

    /// Whether a lane has not used up its part of `limit`.
    pub(crate) fn has_room(&self, lane: Lane, limit: usize) -> bool {
        let share = match lane {
            Lane::Control | Lane::Urgent => limit,
            Lane::Normal => limit / 2,
            Lane::Bulk => limit / 4,
        };
        self.bytes[lane as usize] <= share
    }

    /// The next message that the transport has room for. What expired is dropped.
    pub(crate) fn pop(&mut self, now: Duration) -> Option<(Lane, Vec<u8>)> {
        if self.held >= self.window {
            return None;
        }
        self.expire(now);
        let lane = self.next_lane()?;
        let item = self.lanes[lane as usize].pop_front()?;
        self.bytes[lane as usize] -= item.bytes.len();
        self.held += item.bytes.len();
        Some((lane, item.bytes))
    }

    /// Drops what is no longer worth sending.
    pub(crate) fn expire(&mut self, now: Duration) {
        for (lane, bytes) in self.lanes.iter_mut().zip(&mut self.bytes) {
            while let Some(item) = lane.pop_front_if(|item| item.expires_at <= now) {
                *bytes -= item.bytes.len();
            }
        }
    }

    fn next_lane(&mut self) -> Option<Lane> {
        for lane in [Lane::Control, Lane::Urgent] {
            if !self.lanes[lane as usize].is_empty() {
                return Some(lane);
            }
        }
        let fair = [Lane::Normal, Lane::Bulk];
        if fair.iter().all(|lane| self.lanes[*lane as usize].is_empty()) {
            self.deficits = [0; 2];
            return None;
        }
        loop {
            let lane = fair[self.turn];
            match self.lanes[lane as usize].front() {
                Some(item) if item.bytes.len() <= self.deficits[self.turn] => {
                    self.deficits[self.turn] -= item.bytes.len();
                    return Some(lane);
                }
                Some(_) => {}
                None => self.deficits[self.turn] = 0,
            }
            self.turn = 1 - self.turn;
            self.deficits[self.turn] += QUANTA[self.turn];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(egress: &mut Egress) -> Vec<(Lane, usize)> {
        let mut out = Vec::new();
        loop {
            egress.reported(Duration::ZERO, 0);
            let Some((lane, bytes)) = egress.pop(Duration::ZERO) else { return out };
            out.push((lane, bytes.len()));
        }
    }

    /// GOS-15
    #[test]
    fn urgent_lanes_come_first_and_bulk_gets_a_fifth_of_the_rest() {
        let mut egress = Egress::new(Duration::ZERO);
        for _ in 0..100 {
            for lane in [Lane::Bulk, Lane::Normal] {
                egress.push(lane, vec![0; 1000], Duration::MAX);
            }
        }
        egress.push(Lane::Urgent, vec![0; 5], Duration::MAX);
        egress.push(Lane::Control, vec![0; 5], Duration::MAX);
        let order = drained(&mut egress);
        assert_eq!(order[..2], [(Lane::Control, 5), (Lane::Urgent, 5)]);
        let bulk = order[..102].iter().filter(|(lane, _)| *lane == Lane::Bulk).count();
        assert!((18..=22).contains(&bulk), "{bulk}");
        assert_eq!((order.len(), egress.bytes), (202, [0; 4]));
    }

    /// GOS-15
    #[test]
    fn the_transport_gets_no_more_than_it_sends_in_a_moment() {
        let mut egress = Egress::new(Duration::ZERO);
        let at = Duration::from_millis;
        (0..100).for_each(|_| egress.push(Lane::Normal, vec![0; 1000], Duration::MAX));
        let mut given = 0;
        for step in 0..50 {
            given += std::iter::from_fn(|| egress.pop(at(step * 10))).count();
            let held = egress.held;
            egress.reported(at(step * 10 + 10), held.saturating_sub(1000));
            assert!(held <= 2200, "{held}");
        }
        assert!((50..=53).contains(&given), "{given}");
        assert!(egress.has_room(Lane::Normal, 100_000) && !egress.has_room(Lane::Normal, 80_000));
    }

    /// GOS-15
    #[test]
    fn a_transport_that_sends_all_it_gets_is_given_twice_as_much_the_next_time() {
        let mut egress = Egress::new(Duration::ZERO);
        let at = Duration::from_millis;
        (0..600).for_each(|_| egress.push(Lane::Normal, vec![0; 1000], Duration::MAX));
        let given: Vec<usize> = (0..8)
            .map(|step| {
                let count = std::iter::from_fn(|| egress.pop(at(step * 50))).count();
                egress.reported(at(step * 50 + 50), 0);
                count
            })
            .collect();
        assert_eq!(given, [2, 3, 5, 10, 20, 39, 77, 154]);
    }

    /// GOS-15
    #[test]
    fn what_expired_in_the_queue_is_not_sent() {
        let mut egress = Egress::new(Duration::ZERO);
        egress.push(Lane::Urgent, vec![1], Duration::from_secs(1));
        egress.push(Lane::Urgent, vec![2], Duration::from_secs(3));
        assert_eq!(egress.pop(Duration::from_secs(2)), Some((Lane::Urgent, vec![2])));
        assert_eq!(egress.bytes, [0; 4]);
    }
}
