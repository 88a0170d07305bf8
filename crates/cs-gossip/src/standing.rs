//! How a peer behaves: misdeeds add up and fade, and too many of them end the neighbourhood (GOS-16).

use core::time::Duration;

use crate::shared::Misdeed;

/// At this many points the peer is shunned.
const LIMIT: u32 = 100;
/// A point fades in this time.
const FADING: Duration = Duration::from_millis(500);
/// Something invalid: four in short succession are too many.
const INVALID: u32 = 25;
/// A broken promise: one in six kept ones is loss, more is a lie.
const LIE: u32 = 5;
/// Messages and duplicates beyond the broadcasts of a window that nobody minds.
const SLACK: u32 = 256;
/// Span over which messages are held against broadcasts.
const WINDOW: Duration = Duration::from_secs(2);
/// A broadcast may cause so many small messages on one link: an announcement, a graft, a prune and what follows.
const PER_BROADCAST: u32 = 4;

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Standing {
    points: u32,
    faded_at: Duration,
    window_at: Duration,
    /// Broadcasts had when the window began.
    broadcasts: u64,
    messages: u32,
    duplicates: u32,
}

impl Standing {
    /// Notes a message other than a broadcast that is new. `broadcasts`: had so far from anyone.
    pub(crate) fn message(&mut self, now: Duration, broadcasts: u64) -> bool {
        self.open_window(now, broadcasts);
        self.messages = self.messages.saturating_add(1);
        let fair = self.fair(broadcasts).saturating_mul(PER_BROADCAST).saturating_add(SLACK);
        self.add(now, u32::from(self.messages > fair))
    }

    /// Notes a misdeed; `true` if that was one too many.
    pub(crate) fn note(&mut self, now: Duration, misdeed: Misdeed, broadcasts: u64) -> bool {
        match misdeed {
            Misdeed::Invalid => self.add(now, INVALID),
            Misdeed::Lie => self.add(now, LIE),
            Misdeed::Kept => {
                self.points = self.points.saturating_sub(1);
                false
            }
            Misdeed::Duplicate => {
                self.open_window(now, broadcasts);
                self.duplicates = self.duplicates.saturating_add(1);
                // Every link may bring every broadcast once.
                let fair = self.fair(broadcasts).saturating_add(SLACK / 4);
                self.add(now, u32::from(self.duplicates > fair))
            }
        }
    }

    fn open_window(&mut self, now: Duration, broadcasts: u64) {
        if now.saturating_sub(self.window_at) >= WINDOW || self.window_at == Duration::ZERO {
            *self = Self { window_at: now, broadcasts, messages: 0, duplicates: 0, ..*self };
        }
    }

    fn fair(&self, broadcasts: u64) -> u32 {
        u32::try_from(broadcasts.saturating_sub(self.broadcasts)).unwrap_or(u32::MAX)
    }

    fn add(&mut self, now: Duration, points: u32) -> bool {
        if points == 0 {
            return false;
        }
        let faded = now.saturating_sub(self.faded_at).as_millis() / FADING.as_millis();
        self.points = self.points.saturating_sub(u32::try_from(faded).unwrap_or(u32::MAX)) + points;
        self.faded_at = now;
        self.points >= LIMIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Duration = Duration::from_secs(9);

    /// GOS-16
    #[test]
    fn a_fifth_invalid_thing_at_once_is_too_much_and_one_a_minute_is_not() {
        let mut standing = Standing::default();
        let verdicts: Vec<bool> = (0..4).map(|_| standing.note(AT, Misdeed::Invalid, 0)).collect();
        assert_eq!(verdicts, [false, false, false, true]);
        let mut standing = Standing::default();
        assert!((0..100).all(|minute| !standing.note(AT + 60 * FADING * 2 * minute, Misdeed::Invalid, 0)));
    }

    /// GOS-16
    #[test]
    fn who_breaks_one_promise_in_ten_stays_and_who_breaks_half_goes() {
        for (broken, is_out) in [(1, false), (5, true)] {
            let mut standing = Standing::default();
            let one = |turn: u32| if turn % 10 < broken { Misdeed::Lie } else { Misdeed::Kept };
            let any = (0..2000).any(|turn| standing.note(AT + FADING * turn / 100, one(turn), 0));
            assert_eq!(any, is_out);
        }
    }

    /// GOS-16
    #[test]
    fn floods_and_storms_are_held_against_the_traffic_of_all() {
        for (each, is_out) in [(1, false), (9, true)] {
            let (mut flood, mut storm) = (Standing::default(), Standing::default());
            let mut out = [false; 2];
            for broadcast in 0..4000 {
                let now = AT + Duration::from_millis(broadcast * 10);
                for _ in 0..each {
                    out[0] |= flood.message(now, broadcast);
                    out[1] |= storm.note(now, Misdeed::Duplicate, broadcast);
                }
            }
            assert_eq!(out, [is_out; 2]);
        }
    }
}
