//! Which epoch to write with, and when a new one must begin (CRYPTO-20, CRYPTO-21).
//!
//! Everything here follows from sets: the epoch statements that a device knows, and the devices that may read in its view. Two
//! devices that know the same decide the same, in whatever order they came to know it.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// A device, as it is named in statements: its node id.
pub type Device = [u8; 32];

/// Names a revocation: the id of its statement.
pub type Revocation = [u8; 32];

/// Names an epoch. Concurrent rotations give one number to several roots, which the commitment tells apart and orders.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EpochId {
    /// One more than the greatest that whoever began the epoch knew.
    pub number: u64,
    /// [`EpochRoot::commitment`](super::EpochRoot::commitment).
    pub commitment: [u8; 32],
}

/// What a writer does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Seal with this epoch.
    Write(EpochId),
    /// Every epoch can be read by someone who may not any more, or could still come to be: begin one of this number, sealed to
    /// those who may, or wait for a device that has the right to.
    Rotate {
        /// The number of the epoch to begin.
        number: u64,
    },
}

/// What a newcomer may read of the time before it came. A space's policy decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum History {
    /// Everything, as far back as the device that admits it can read itself.
    All,
    /// Nothing: its first epoch begins with it.
    FromNow,
}

/// How a newcomer is given keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admission {
    /// Seal these epochs to it.
    Seal(Vec<EpochId>),
    /// Begin an epoch of this number, sealed to everybody who may read, the newcomer with them.
    Rotate {
        /// The number of the epoch to begin.
        number: u64,
    },
}

/// A statement that begins an epoch, or seals a known one to more readers.
#[derive(Clone, Copy, Debug)]
pub struct Announcement<'a> {
    /// The epoch.
    pub id: EpochId,
    /// All to whom the statement has a box of the epoch or of a part of it.
    pub readers: &'a BTreeSet<Device>,
    /// The revocations that its author had seen, by the control heads that it names.
    pub revoked: &'a BTreeSet<Revocation>,
    /// When, by its author's word.
    pub unix_ms: u64,
    /// Whether the rules of the space accept the statement. The boxes of one that they do not accept are out all the same, and
    /// count for who can read.
    pub stands: bool,
}

/// What a device knows of a space's epochs from their statements, without any secret.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Epochs {
    known: BTreeMap<EpochId, Known>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    /// To whom a box of it was sealed.
    readers: BTreeSet<Device>,
    /// What every valid statement of it knew to be revoked: so much does everybody know who was given the epoch. `None` if no
    /// valid statement announces it.
    revoked: Option<BTreeSet<Revocation>>,
    /// The earliest time that a valid statement claims.
    began_ms: Option<u64>,
}

impl Epochs {
    /// Takes a statement in. Any order and any number of times give the same; when a statement loses its standing, start again
    /// from the set.
    pub fn announce(&mut self, statement: &Announcement<'_>) {
        let known = self.known.entry(statement.id).or_default();
        known.readers.extend(statement.readers);
        if !statement.stands {
            return;
        }
        known.began_ms = Some(known.began_ms.map_or(statement.unix_ms, |began| began.min(statement.unix_ms)));
        match &mut known.revoked {
            Some(revoked) => revoked.retain(|revocation| statement.revoked.contains(revocation)),
            None => known.revoked = Some(statement.revoked.clone()),
        }
    }

    /// What to do before writing, if `readers` are those who may read now and `revoked` all revocations so far, in the writer's
    /// own view (CRYPTO-20).
    #[must_use]
    pub fn next(&self, readers: &BTreeSet<Device>, revoked: &BTreeSet<Revocation>) -> Next {
        let is_safe = |known: &Known| {
            known.readers.is_subset(readers)
                && known.revoked.as_ref().is_some_and(|knew| revoked.is_subset(knew))
        };
        let newest = self.known.iter().rev().find(|(_, known)| is_safe(known));
        newest.map_or_else(|| Next::Rotate { number: self.next_number() }, |(id, _)| Next::Write(*id))
    }

    /// Of `readers`, those without a box of the epoch: whoever may, seals it to them, or begins another where newcomers get no
    /// history.
    pub fn unserved<'a>(
        &self,
        id: &EpochId,
        readers: &'a BTreeSet<Device>,
    ) -> impl Iterator<Item = &'a Device> {
        let served = self.known.get(id).map(|known| known.readers.clone()).unwrap_or_default();
        readers.iter().filter(move |device| !served.contains(*device))
    }

    /// How a newcomer is given keys (CRYPTO-21).
    #[must_use]
    pub fn admit(&self, history: History) -> Admission {
        match history {
            History::All => Admission::Seal(
                self.known.iter().filter(|(_, known)| known.revoked.is_some()).map(|(id, _)| *id).collect(),
            ),
            History::FromNow => Admission::Rotate { number: self.next_number() },
        }
    }

    /// When `me` should begin an epoch for the age of this one alone, Unix milliseconds: a period after it began, and later by
    /// `stagger_ms` for each of the other `rotators` whose turn comes before, so that not all do it at once. The turns change
    /// from epoch to epoch. `None` if the epoch is unknown or `me` no rotator.
    ///
    /// Claimed times are not trusted far: a beginning more than a period in the future of `now_ms` counts as due at once.
    #[must_use]
    pub fn due_at_ms(
        &self,
        id: &EpochId,
        now_ms: u64,
        period_ms: u64,
        stagger_ms: u64,
        me: &Device,
        rotators: &BTreeSet<Device>,
    ) -> Option<u64> {
        let began = self.known.get(id)?.began_ms?;
        if !rotators.contains(me) {
            return None;
        }
        if began > now_ms.saturating_add(period_ms) {
            return Some(now_ms);
        }
        let draw = |device: &Device| *blake3::keyed_hash(&id.commitment, device).as_bytes();
        let before = rotators.iter().filter(|device| draw(device) < draw(me)).count() as u64;
        Some(began.saturating_add(period_ms).saturating_add(stagger_ms.saturating_mul(before)))
    }

    fn next_number(&self) -> u64 {
        self.known.last_key_value().map_or(0, |(id, _)| id.number.saturating_add(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALICE: Device = [1; 32];
    const BOB: Device = [2; 32];
    const CAROL: Device = [3; 32];

    fn id(number: u64, commitment: u8) -> EpochId {
        EpochId { number, commitment: [commitment; 32] }
    }

    fn set(devices: &[Device]) -> BTreeSet<Device> {
        devices.iter().copied().collect()
    }

    fn announce(epochs: &mut Epochs, id: EpochId, readers: &[Device], revoked: &[u8], stands: bool) {
        let (readers, revoked) = (&set(readers), &revocations(revoked));
        epochs.announce(&Announcement { id, readers, revoked, unix_ms: 1000, stands });
    }

    fn revocations(numbers: &[u8]) -> BTreeSet<Revocation> {
        numbers.iter().map(|number| [*number; 32]).collect()
    }

    fn next(epochs: &Epochs, readers: &[Device], revoked: &[u8]) -> Next {
        epochs.next(&set(readers), &revocations(revoked))
    }

    // CRYPTO-20
    #[test]
    fn the_newest_epoch_that_nobody_revoked_can_read_is_written_with() {
        let mut epochs = Epochs::default();
        assert_eq!(next(&epochs, &[ALICE], &[]), Next::Rotate { number: 0 });
        announce(&mut epochs, id(0, 9), &[ALICE, BOB], &[], true);
        announce(&mut epochs, id(1, 9), &[ALICE, BOB, CAROL], &[], true);
        assert_eq!(next(&epochs, &[ALICE, BOB, CAROL], &[]), Next::Write(id(1, 9)));
        assert_eq!(next(&epochs, &[ALICE, BOB], &[]), Next::Write(id(0, 9)), "carol's right ran out");
        assert_eq!(next(&epochs, &[ALICE, CAROL], &[]), Next::Rotate { number: 2 });
    }

    /// Alice revokes Bob and rotates; Dave revokes Carol and rotates. Each epoch alone is readable by one who was revoked:
    /// neither may be written with once both revocations are known.
    // CRYPTO-20
    #[test]
    fn concurrent_rotations_that_missed_each_others_revocation_are_both_given_up() {
        let mut epochs = Epochs::default();
        announce(&mut epochs, id(5, 1), &[ALICE, CAROL], &[1], true);
        announce(&mut epochs, id(5, 2), &[ALICE, BOB], &[2], true);
        assert_eq!(next(&epochs, &[ALICE], &[1, 2]), Next::Rotate { number: 6 });
        announce(&mut epochs, id(6, 1), &[ALICE], &[1, 2], true);
        announce(&mut epochs, id(6, 7), &[ALICE], &[1, 2], true);
        assert_eq!(
            next(&epochs, &[ALICE], &[1, 2]),
            Next::Write(id(6, 7)),
            "of two good ones, the same for all"
        );
    }

    /// Bob was never given the epoch, but whoever knows the epoch and not his revocation may still give it to him.
    // CRYPTO-20
    #[test]
    fn an_epoch_begun_before_a_revocation_is_not_written_with_after_it() {
        let mut epochs = Epochs::default();
        announce(&mut epochs, id(1, 1), &[ALICE], &[], true);
        assert_eq!(next(&epochs, &[ALICE], &[7]), Next::Rotate { number: 2 });
        announce(&mut epochs, id(1, 1), &[ALICE, CAROL], &[7], true);
        assert_eq!(
            next(&epochs, &[ALICE, CAROL], &[7]),
            Next::Rotate { number: 2 },
            "a later box says nothing of the first"
        );
    }

    // CRYPTO-20
    #[test]
    fn boxes_of_a_statement_that_does_not_stand_count_against_the_epoch() {
        let mut epochs = Epochs::default();
        announce(&mut epochs, id(1, 1), &[ALICE], &[], true);
        announce(&mut epochs, id(2, 1), &[ALICE], &[], false);
        assert_eq!(next(&epochs, &[ALICE], &[]), Next::Write(id(1, 1)), "an epoch needs a valid statement");
        announce(&mut epochs, id(1, 1), &[BOB], &[], false);
        assert_eq!(next(&epochs, &[ALICE], &[]), Next::Rotate { number: 3 });
    }

    // CRYPTO-20
    #[test]
    fn the_last_number_there_is_ends_nothing() {
        let mut epochs = Epochs::default();
        announce(&mut epochs, id(u64::MAX, 1), &[ALICE, BOB], &[], true);
        assert_eq!(next(&epochs, &[ALICE], &[1]), Next::Rotate { number: u64::MAX });
        announce(&mut epochs, id(u64::MAX, 0), &[ALICE], &[1], true);
        assert_eq!(next(&epochs, &[ALICE], &[1]), Next::Write(id(u64::MAX, 0)));
    }

    // CRYPTO-21
    #[test]
    fn a_newcomer_is_given_all_epochs_that_stand_or_a_new_one() {
        let mut epochs = Epochs::default();
        announce(&mut epochs, id(0, 1), &[ALICE], &[], true);
        announce(&mut epochs, id(1, 1), &[ALICE], &[], true);
        announce(&mut epochs, id(2, 1), &[ALICE], &[], false);
        assert_eq!(epochs.admit(History::All), Admission::Seal([id(0, 1), id(1, 1)].to_vec()));
        assert_eq!(epochs.admit(History::FromNow), Admission::Rotate { number: 3 });
        let readers = set(&[ALICE, BOB]);
        assert_eq!(epochs.unserved(&id(1, 1), &readers).collect::<Vec<_>>(), [&BOB]);
    }

    // CRYPTO-21
    #[test]
    fn rotators_take_turns_a_period_after_the_beginning() {
        let mut epochs = Epochs::default();
        announce(&mut epochs, id(0, 1), &[ALICE], &[], true);
        let rotators = set(&[ALICE, BOB, CAROL]);
        let due = |epochs: &Epochs, me| epochs.due_at_ms(&id(0, 1), 5000, 10_000, 60, me, &rotators);
        let mut times: Vec<_> = rotators.iter().filter_map(|me| due(&epochs, me)).collect();
        times.sort_unstable();
        assert_eq!(times, [11_000, 11_060, 11_120]);
        assert_eq!(due(&epochs, &[9; 32]), None);
        assert_eq!(epochs.due_at_ms(&id(1, 1), 5000, 10_000, 60, &ALICE, &rotators), None);
        let (mut lying, nobody) = (Epochs::default(), BTreeSet::new());
        let far = Announcement {
            id: id(0, 1),
            readers: &nobody,
            revoked: &nobody,
            unix_ms: u64::MAX,
            stands: true,
        };
        lying.announce(&far);
        assert_eq!(due(&lying, &ALICE), Some(5000), "a beginning far in the future delays nothing");
    }
}
