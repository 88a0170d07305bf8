//! Random histories of a space: grants, revocations, rotations and writes on devices that know different parts of them.

use std::collections::BTreeSet;

use cs_crypto::dh::public_key;
use cs_crypto::epoch::{
    Admission, Announcement, EpochId, EpochSecrets, Epochs, History, Keyring, Next, Revocation,
};
use proptest::collection::vec;
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Device 0 founded the space and cannot be revoked. Everybody who may read may grant, revoke and rotate.
const DEVICES: usize = 5;
const SPACE: [u8; 32] = [7; 32];

#[derive(Clone, Copy, Debug)]
enum Step {
    Grant {
        by: usize,
        to: usize,
    },
    /// `rotates`: at once, or not at all, as after a crash or by a device that may not.
    Revoke {
        by: usize,
        of: usize,
        rotates: bool,
    },
    Rotate {
        by: usize,
    },
    /// Boxes of the epoch that `by` writes with for readers who have none.
    Serve {
        by: usize,
    },
    Sync {
        from: usize,
        to: usize,
    },
    Write {
        by: usize,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let (one, two) = (0..DEVICES, 0..DEVICES);
    let pair = (one.clone(), two);
    prop_oneof![
        3 => pair.clone().prop_map(|(by, to)| Step::Grant { by, to }),
        3 => (pair.clone(), any::<bool>()).prop_map(|((by, of), rotates)| Step::Revoke { by, of, rotates }),
        1 => one.clone().prop_map(|by| Step::Rotate { by }),
        1 => one.clone().prop_map(|by| Step::Serve { by }),
        6 => pair.prop_map(|(from, to)| Step::Sync { from, to }),
        4 => one.prop_map(|by| Step::Write { by }),
    ]
}

/// The numbers of the statements that a device knows; with each, its whole past.
type View = BTreeSet<usize>;

struct Statement {
    author: usize,
    past: View,
    action: Action,
}

enum Action {
    Grant(usize),
    Revoke(usize),
    Epoch { id: EpochId, boxes: Vec<(usize, Vec<u8>)> },
}

struct Written {
    number: u64,
    sealed: Vec<u8>,
    /// What the writer knew.
    view: View,
}

struct World {
    history: History,
    statements: Vec<Statement>,
    views: Vec<View>,
    rings: Vec<Option<Keyring>>,
    written: Vec<Written>,
    chance: ChaCha20Rng,
}

impl World {
    fn new(history: History) -> Self {
        let mut chance = ChaCha20Rng::from_seed([9; 32]);
        let ring = Keyring::generate([draw(&mut chance), draw(&mut chance), draw(&mut chance)]);
        let id = *ring.epochs().next().unwrap();
        let mut rings = vec![None; DEVICES];
        rings[0] = Some(ring);
        let mut world = Self {
            history,
            statements: Vec::new(),
            views: vec![View::new(); DEVICES],
            rings,
            written: Vec::new(),
            chance,
        };
        world.state(0, Action::Grant(0));
        world.seal(0, &id, &[0]);
        world
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Sync { from, to } => self.sync(from, to),
            Step::Grant { by, .. }
            | Step::Revoke { by, .. }
            | Step::Rotate { by }
            | Step::Serve { by }
            | Step::Write { by }
                if !self.readers(&self.views[by]).contains(&by) || self.rings[by].is_none() => {}
            Step::Grant { by, to } => self.grant(by, to),
            Step::Revoke { by, of, rotates } if of != 0 && of != by => {
                self.state(by, Action::Revoke(of));
                if rotates {
                    self.rotate(by);
                }
            }
            Step::Revoke { .. } => {}
            Step::Rotate { by } => self.rotate(by),
            Step::Serve { by } => self.serve(by),
            Step::Write { by } => self.write(by),
        }
    }

    fn sync(&mut self, from: usize, to: usize) {
        let news: Vec<usize> = self.views[from].difference(&self.views[to]).copied().collect();
        self.views[to].extend(news);
        self.take_boxes(to);
    }

    fn take_boxes(&mut self, device: usize) {
        for number in &self.views[device] {
            let Action::Epoch { id, boxes } = &self.statements[*number].action else { continue };
            for secrets in opened(device, id, boxes) {
                match &mut self.rings[device] {
                    Some(ring) => assert!(ring.take(id.number, secrets).is_ok()),
                    none => *none = Some(Keyring::new(id.number, secrets)),
                }
            }
        }
    }

    fn grant(&mut self, by: usize, to: usize) {
        if self.readers(&self.views[by]).contains(&to) {
            return;
        }
        self.state(by, Action::Grant(to));
        match self.epochs(by).admit(self.history) {
            Admission::Rotate { .. } => self.rotate(by),
            Admission::Seal(ids) => ids.iter().for_each(|id| self.seal(by, id, &[to])),
        }
    }

    fn rotate(&mut self, by: usize) {
        let epochs = self.epochs(by);
        let readers: Vec<usize> = self.readers(&self.views[by]).into_iter().collect();
        let Admission::Rotate { number } = epochs.admit(History::FromNow) else { panic!("it begins one") };
        let entropy = draw(&mut self.chance);
        let (id, _) = self.rings[by].as_mut().unwrap().rotate(number, entropy);
        self.seal(by, &id, &readers);
    }

    /// Readers whom the chosen epoch missed get it, or one that begins with them.
    fn serve(&mut self, by: usize) {
        let readers = self.readers(&self.views[by]);
        let (Next::Write(id), keys) = (self.next(by), keys(&readers)) else { return };
        let missing: BTreeSet<_> = self.epochs(by).unserved(&id, &keys).copied().collect();
        let missing: Vec<usize> =
            readers.into_iter().filter(|device| missing.contains(&key(*device))).collect();
        match self.history {
            _ if missing.is_empty() => {}
            History::All => self.seal(by, &id, &missing),
            History::FromNow => self.rotate(by),
        }
    }

    /// A statement with boxes for `to`, if `by` holds the epoch.
    fn seal(&mut self, by: usize, id: &EpochId, to: &[usize]) {
        let Some(secrets) = self.rings[by].as_ref().and_then(|ring| ring.secrets(id)) else { return };
        let boxes = to.iter().map(|device| {
            let entropy = draw(&mut self.chance);
            (*device, secrets.seal_to(&key(*device), &SPACE, id.number, entropy).unwrap())
        });
        let boxes = boxes.collect();
        self.state(by, Action::Epoch { id: *id, boxes });
    }

    fn write(&mut self, by: usize) {
        let held = |world: &Self| match world.next(by) {
            Next::Write(id) => {
                world.rings[by].as_ref().unwrap().seal(&id, &[b"p"], b"aad", b"text").map(|s| (id, s))
            }
            Next::Rotate { .. } => None,
        };
        if held(self).is_none() {
            self.rotate(by);
        }
        let (id, sealed) = held(self).expect("a fresh epoch can be written with");
        self.written.push(Written { number: id.number, sealed, view: self.views[by].clone() });
    }

    fn state(&mut self, author: usize, action: Action) {
        let past = self.views[author].clone();
        self.views[author].insert(self.statements.len());
        self.statements.push(Statement { author, past, action });
    }

    /// Who may read: whoever has a grant that no revocation has seen.
    fn readers(&self, view: &View) -> BTreeSet<usize> {
        (0..DEVICES).filter(|device| *device == 0 || self.is_granted(*device, view, view, None)).collect()
    }

    /// Whether one of the grants in `past` is not revoked in `view`, revocations that saw `statement` apart.
    fn is_granted(&self, device: usize, past: &View, view: &View, statement: Option<usize>) -> bool {
        let cut = |grant: &usize| {
            view.iter().any(|number| {
                let Statement { past, action, .. } = &self.statements[*number];
                let is_of = matches!(action, Action::Revoke(of) if *of == device);
                is_of && past.contains(grant) && statement.is_none_or(|statement| !past.contains(&statement))
            })
        };
        let is_grant =
            |number: &&usize| matches!(self.statements[**number].action, Action::Grant(to) if to == device);
        past.iter().filter(is_grant).any(|grant| !cut(grant))
    }

    fn revoked(&self, view: &View) -> BTreeSet<Revocation> {
        let is_one = |number: &&usize| matches!(self.statements[**number].action, Action::Revoke(_));
        view.iter().filter(is_one).map(|number| [*number as u8; 32]).collect()
    }

    fn epochs(&self, device: usize) -> Epochs {
        let (view, mut epochs) = (&self.views[device], Epochs::default());
        for number in view {
            let Statement { author, past, action } = &self.statements[*number];
            let Action::Epoch { id, boxes } = action else { continue };
            let readers = boxes.iter().map(|(device, _)| key(*device)).collect();
            let stands = *author == 0 || self.is_granted(*author, past, view, Some(*number));
            let (readers, revoked) = (&readers, &self.revoked(past));
            epochs.announce(&Announcement { id: *id, readers, revoked, unix_ms: 0, stands });
        }
        epochs
    }

    fn next(&self, device: usize) -> Next {
        let view = &self.views[device];
        self.epochs(device).next(&keys(&self.readers(view)), &self.revoked(view))
    }

    /// No device that the writer knew to be revoked, nor all of them together, with every box that was ever sealed to them,
    /// reads what was written. One that was granted anew without its knowledge or later may, where newcomers get all history.
    fn nobody_revoked_reads(&self) {
        for written in &self.written {
            let readers = self.readers(&written.view);
            let everything: View = (0..self.statements.len()).collect();
            let is_out = |device: &usize| {
                !readers.contains(device)
                    && (self.history == History::FromNow
                        || !self.was_granted_beyond(*device, &everything, &written.view))
            };
            let out: Vec<usize> = (0..DEVICES).filter(is_out).collect();
            for statement in &self.statements {
                let Action::Epoch { id, boxes } = &statement.action else { continue };
                for secrets in out.iter().flat_map(|device| opened(*device, id, boxes)) {
                    let ring = Keyring::new(written.number, secrets);
                    assert!(
                        ring.open(written.number, &[b"p"], b"aad", &written.sealed).is_err(),
                        "one of {out:?} reads"
                    );
                }
            }
        }
    }

    fn was_granted_beyond(&self, device: usize, everything: &View, view: &View) -> bool {
        let mut unknown = everything.difference(view);
        unknown.any(|number| matches!(self.statements[*number].action, Action::Grant(to) if to == device))
    }

    /// Once everybody knows everything, all choose alike, and every reader reads what is written next.
    fn all_readers_read_after_all_met(&mut self) {
        for _ in 0..2 {
            (0..DEVICES).for_each(|device| {
                self.sync(device, 0);
                self.sync(0, device);
            });
        }
        let choices: Vec<Next> = (0..DEVICES).map(|device| self.next(device)).collect();
        assert!(choices.iter().all(|choice| *choice == choices[0]), "{choices:?}");
        self.write(0);
        self.serve(0);
        self.write(0);
        let written = self.written.last().unwrap();
        let (number, sealed) = (written.number, written.sealed.clone());
        for device in self.readers(&self.views[0]) {
            self.sync(0, device);
            let ring = self.rings[device].as_ref().expect("every reader was given a key");
            assert_eq!(ring.open(number, &[b"p"], b"aad", &sealed).unwrap(), b"text", "device {device}");
        }
    }
}

fn draw(chance: &mut ChaCha20Rng) -> [u8; 32] {
    let mut bytes = [0; 32];
    chance.fill_bytes(&mut bytes);
    bytes
}

fn secret(device: usize) -> [u8; 32] {
    [device as u8 + 1; 32]
}

fn key(device: usize) -> [u8; 32] {
    static KEYS: std::sync::LazyLock<[[u8; 32]; DEVICES]> =
        std::sync::LazyLock::new(|| core::array::from_fn(|device| public_key(&secret(device))));
    KEYS[device]
}

fn keys(devices: &BTreeSet<usize>) -> BTreeSet<[u8; 32]> {
    devices.iter().map(|device| key(*device)).collect()
}

/// An announcement: number, commitment, readers, revocations, time, whether it stands.
type Told = (u64, u8, Vec<u8>, Vec<u8>, u16, bool);

/// What the boxes for a device give it.
fn opened(device: usize, id: &EpochId, boxes: &[(usize, Vec<u8>)]) -> impl Iterator<Item = EpochSecrets> {
    let own = boxes.iter().filter(move |(to, _)| *to == device);
    own.map(move |(_, sealed)| {
        EpochSecrets::open(&secret(device), &SPACE, id.number, &id.commitment, sealed)
            .expect("it is for this device")
    })
}

/// Device 1 begins an epoch before it hears of device 2. Device 0 revokes 2 and writes, while 1, who knows nothing of that, gives
/// 2 the epoch: it must not be the one that 0 writes with, though 2 had no box of it.
// CRYPTO-20
#[test]
fn a_box_sent_in_ignorance_of_a_revocation_opens_nothing_written_after_it() {
    let mut world = World::new(History::All);
    for step in [
        Step::Grant { by: 0, to: 1 },
        Step::Sync { from: 0, to: 1 },
        Step::Grant { by: 0, to: 2 },
        Step::Rotate { by: 1 },
        Step::Sync { from: 1, to: 0 },
        Step::Sync { from: 0, to: 1 },
        Step::Revoke { by: 0, of: 2, rotates: false },
        Step::Write { by: 0 },
        Step::Serve { by: 1 },
    ] {
        world.run(step);
    }
    let last = world.statements.iter().rposition(|statement| statement.author == 1).unwrap();
    assert!(matches!(&world.statements[last].action, Action::Epoch { boxes, .. } if boxes[0].0 == 2));
    world.nobody_revoked_reads();
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    // CRYPTO-20, CRYPTO-21
    #[test]
    fn a_revoked_device_reads_nothing_written_after_its_revocation_is_known(
        steps in vec(step(), 0..40), from_now: bool
    ) {
        let mut world = World::new(if from_now { History::FromNow } else { History::All });
        for step in steps {
            world.run(step);
        }
        world.nobody_revoked_reads();
        world.all_readers_read_after_all_met();
        world.nobody_revoked_reads();
    }

    // CRYPTO-20
    #[test]
    fn what_is_known_of_epochs_depends_on_the_set_of_statements_alone(
        statements in vec((0u64..4, 0u8..3, vec(0u8..5, 0..4), vec(0u8..4, 0..4), any::<u16>(), any::<bool>()), 0..12)
            .prop_flat_map(|statements| (Just(statements.clone()), Just(statements).prop_shuffle())),
        again in 0usize..12
    ) {
        let (one, mut other) = statements;
        other.extend(other.get(again).cloned());
        let tell = |statements: &[Told]| {
            let mut epochs = Epochs::default();
            for (number, commitment, readers, revoked, unix_ms, stands) in statements {
                let set = |numbers: &[u8]| numbers.iter().map(|number| [*number; 32]).collect::<BTreeSet<_>>();
                epochs.announce(&Announcement {
                    id: EpochId { number: *number, commitment: [*commitment; 32] },
                    readers: &set(readers),
                    revoked: &set(revoked),
                    unix_ms: u64::from(*unix_ms),
                    stands: *stands,
                });
            }
            epochs
        };
        prop_assert_eq!(tell(&one), tell(&other));
    }
}
