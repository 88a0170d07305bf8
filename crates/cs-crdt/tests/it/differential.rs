//! Beside the `crdts` crate, for the types where it is right: sets and counters.

use crdts::{CmRDT as _, CvRDT as _, Orswot, PNCounter};
use cs_crdt::Document;
use proptest::{collection::vec, prelude::*};

struct Both {
    ours: Document,
    set: Orswot<u8, u8>,
    counter: PNCounter<u8>,
}

#[derive(Clone, Debug)]
enum Step {
    Add(usize, u8),
    Discard(usize, u8),
    Increment(usize, i8),
    /// The first joins the state of the second.
    Join(usize, usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0usize..3, 0u8..4).prop_map(|(who, member)| Step::Add(who, member)),
        (0usize..3, 0u8..4).prop_map(|(who, member)| Step::Discard(who, member)),
        (0usize..3, any::<i8>()).prop_map(|(who, by)| Step::Increment(who, by)),
        (0usize..3, 0usize..3).prop_map(|(who, from)| Step::Join(who, from)),
    ];
    vec(step, 1..60)
}

fn take(replica: &mut Both, who: u8, step: &Step) {
    match step {
        Step::Add(_, member) => {
            replica.ours.edit(0, |tx| tx.add("set", i64::from(*member))).unwrap();
            let context = replica.set.read_ctx().derive_add_ctx(who);
            replica.set.apply(replica.set.add(*member, context));
        }
        Step::Discard(_, member) => {
            replica.ours.edit(0, |tx| tx.discard("set", i64::from(*member))).unwrap();
            let context = replica.set.contains(member).derive_rm_ctx();
            replica.set.apply(replica.set.rm(*member, context));
        }
        Step::Increment(_, by) => {
            replica.ours.edit(0, |tx| tx.increment("counter", i64::from(*by))).unwrap();
            let steps = u64::from(by.unsigned_abs());
            let op = if *by < 0 {
                replica.counter.dec_many(who, steps)
            } else {
                replica.counter.inc_many(who, steps)
            };
            replica.counter.apply(op);
        }
        Step::Join(..) => {}
    }
}

fn agree(replica: &Both) {
    let members = replica.set.read().val;
    for member in 0..4u8 {
        assert_eq!(replica.ours.contains("set", i64::from(member)), members.contains(&member));
    }
    let total = i128::try_from(replica.counter.read()).unwrap();
    assert_eq!(replica.ours.counter("counter").unwrap_or(0), total);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn sets_and_counters_agree_with_crdts_under_every_schedule_of_joins(steps in steps()) {
        let mut replicas: Vec<Both> = (0..3u8)
            .map(|id| Both { ours: Document::new([id; 32]), set: Orswot::new(), counter: PNCounter::new() })
            .collect();
        for step in &steps {
            match *step {
                Step::Join(who, from) => {
                    let (saved, set, counter) =
                        (replicas[from].ours.save(), replicas[from].set.clone(), replicas[from].counter.clone());
                    replicas[who].ours.join(&saved).unwrap();
                    replicas[who].set.merge(set);
                    replicas[who].counter.merge(counter);
                }
                Step::Add(who, _) | Step::Discard(who, _) | Step::Increment(who, _) => {
                    take(&mut replicas[who], who as u8, step);
                }
            }
            replicas.iter().for_each(agree);
        }
    }
}
