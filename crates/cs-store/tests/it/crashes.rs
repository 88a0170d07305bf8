//! Power cuts at random instants, against a model that knows what was acknowledged (STORE-5, STORE-6, STORE-7).

use crate::make::{key, path, small, space};
use cs_identity::{OpId, Signed};
use cs_store::{IndexState, MemDisk, OpenError, Operation, Refused, Store, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

/// Each with four cuts.
const HISTORIES: u64 = 400;

/// What a store should hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Model {
    operations: BTreeSet<usize>,
    locals: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Model {
    /// Everything that the store says, as a model; every read is checked on the way.
    fn of(store: &Store<MemDisk>) -> Self {
        let mut model = Self::default();
        for number in [1, 2] {
            for id in store.operations(&space(number)).unwrap() {
                let id = id.unwrap();
                let known = pool().iter().position(|operation| operation.id() == id).unwrap();
                assert_eq!(store.operation(&id).unwrap().as_deref(), Some(pool()[known].bytes()));
                model.operations.insert(known);
            }
        }
        model.locals = store.local_prefix(b"").unwrap().into_iter().collect();
        model
    }

    fn heads(&self, document: [u8; 16]) -> Vec<OpId> {
        let present = || self.operations.iter().map(|at| &pool()[*at]).filter(|it| it.document == document);
        let named: BTreeSet<OpId> = present().flat_map(|it| it.deps.iter().copied()).collect();
        let mut heads: Vec<OpId> = present().map(Signed::id).filter(|id| !named.contains(id)).collect();
        heads.sort();
        heads
    }
}

/// Chains of operations on four documents in two spaces, up to 3 KB each.
fn pool() -> &'static [Signed<Operation>] {
    static POOL: OnceLock<Vec<Signed<Operation>>> = OnceLock::new();
    POOL.get_or_init(|| {
        let mut last: BTreeMap<u8, (u64, OpId)> = BTreeMap::new();
        (0..160u64)
            .map(|number| {
                let document = (number % 4) as u8;
                let (seq, backlink) = last.get(&document).map_or((0, None), |(seq, id)| (seq + 1, Some(*id)));
                let operation = Operation {
                    space: space(1 + document % 2),
                    path: path(&[document]),
                    document: [document; 16],
                    author: key(1).node_id(),
                    seq,
                    backlink,
                    deps: backlink.into_iter().collect(),
                    clock: number << 16,
                    grant: space(9).genesis(),
                    control_heads: vec![space(9).genesis()],
                    epoch: 1,
                    sealed: vec![number as u8; (number * 97 % 3000) as usize],
                }
                .sign(&key(1))
                .unwrap();
                last.insert(document, (seq, operation.id()));
                operation
            })
            .collect()
    })
}

struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        (self.0 >> 33) % limit
    }
}

/// One life of a store: random work until the power fails, or the script ends with or without a proper close.
/// `acknowledged` follows what commits promised; the result is what a commit in flight would have added.
fn live(store: &mut Store<MemDisk>, chance: &mut Chance, acknowledged: &mut Model) -> Model {
    let mut staged = acknowledged.clone();
    for _ in 0..chance.below(60) {
        match chance.below(12) {
            0..5 => {
                let number = chance.below(pool().len() as u64) as usize;
                match store.stage_operation(&pool()[number]) {
                    Ok(_) => staged.operations.insert(number),
                    // The power failed in a checkpoint, which does not concern the commit before it.
                    Err(refused) => {
                        assert_eq!(refused, Refused::IndexDamaged);
                        return acknowledged.clone();
                    }
                };
            }
            5 => {
                let key = vec![chance.below(6) as u8];
                let value = vec![chance.below(256) as u8; chance.below(900) as usize];
                store.put_local(&key, &value).unwrap();
                staged.locals.insert(key, value);
            }
            6 => {
                let key = vec![chance.below(6) as u8];
                if store.remove_local(&key).is_err() {
                    return acknowledged.clone();
                }
                staged.locals.remove(&key);
            }
            7..11 => match store.commit() {
                Ok(()) => *acknowledged = staged.clone(),
                Err(error) => {
                    assert!(matches!(error, StoreError::Failed(_)), "{error}");
                    return staged;
                }
            },
            _ => match store.checkpoint() {
                Ok(()) => *acknowledged = staged.clone(),
                Err(_) => return staged,
            },
        }
    }
    acknowledged.clone()
}

/// What happened over all the histories: a test that never meets the hard cases proves nothing.
#[derive(Debug, Default)]
struct Seen {
    whole_batches_in_flight: u32,
    torn_tails: u32,
    opens_cut_short: u32,
    rebuilt: u32,
    opened: u32,
}

/// Opens with `power` changing calls left. Opening may be what the power fails in.
fn open(disk: &MemDisk, power: Option<u64>, seen: &mut Seen) -> Option<Store<MemDisk>> {
    if let Some(calls) = power {
        disk.cut_power_after(calls);
    }
    match Store::open(disk.clone(), small()) {
        Ok((store, recovery)) => {
            assert!(recovery.damage.is_empty());
            seen.torn_tails += u32::from(recovery.torn_bytes > 0);
            seen.rebuilt += u32::from(recovery.index == IndexState::Rebuilt);
            seen.opened += u32::from(recovery.index == IndexState::Opened);
            Some(store)
        }
        Err(error) if power.is_some() => {
            assert!(matches!(error, OpenError::Io(_)), "{error:?}");
            seen.opens_cut_short += 1;
            None
        }
        Err(error) => panic!("a crash is no damage: {error:?}"),
    }
}

/// Four lives of one disk, each ended by a power cut or a killed process, then a proper close.
fn history(seed: u64, seen: &mut Seen) {
    let mut chance = Chance(seed);
    let mut disk = MemDisk::new();
    let mut acknowledged = Model::default();
    let mut in_flight = Model::default();
    for life in 0..5 {
        let magnitude = chance.below(5);
        let power = (life < 4).then(|| chance.below(16 << magnitude));
        if let Some(mut store) = open(&disk, power, seen) {
            let found = Model::of(&store);
            assert!(
                found == acknowledged || found == in_flight,
                "seed {seed} life {life}: found {found:?}, acknowledged {acknowledged:?}, in flight {in_flight:?}"
            );
            seen.whole_batches_in_flight += u32::from(found != acknowledged);
            for document in 0..4u8 {
                let heads = store.heads(&space(1 + document % 2), &[document; 16]).unwrap();
                assert_eq!(heads, found.heads([document; 16]), "seed {seed} life {life}");
            }
            acknowledged = found;
            in_flight = live(&mut store, &mut chance, &mut acknowledged);
        }
        disk.restore_power();
        if chance.below(3) > 0 && power.is_some() {
            disk = disk.crash(chance.below(u64::MAX));
        }
    }
    let (mut store, _) = Store::open(disk.clone(), small()).unwrap();
    store.put_local(b"last", b"words").unwrap();
    store.close().unwrap();
    let (_, recovery) = Store::open(disk, small()).unwrap();
    let rest = (recovery.index, recovery.replayed, recovery.torn_bytes);
    assert_eq!(rest, (IndexState::Opened, 0, 0), "seed {seed}: nothing is left over after a proper close");
}

#[test]
fn an_acknowledged_operation_survives_every_power_cut() {
    let mut seen = Seen::default();
    for seed in 0..HISTORIES {
        history(seed, &mut seen);
    }
    let least =
        [seen.whole_batches_in_flight, seen.torn_tails, seen.opens_cut_short, seen.rebuilt, seen.opened];
    assert!(least.iter().all(|count| *count >= 50), "every hard case must have been met: {seen:?}");
}
