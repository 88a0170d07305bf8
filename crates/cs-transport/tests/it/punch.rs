//! The punching machine, both sides at once, through routers of every kind.

use std::time::Duration;

use cs_transport::punch::TargetKind;
use proptest::prelude::*;

use crate::nat_model::Kind::{Addr, Full, Port, Public, Seq, Sym};
use crate::nat_model::{Kind, World};

const KINDS: [Kind; 6] = [Public, Full, Addr, Port, Sym, Seq];

/// Whether the lab opened this pair without any game of ports.
fn is_plain(one: Kind, two: Kind) -> bool {
    let is_symmetric = |kind| matches!(kind, Sym | Seq);
    let needs_luck = |one, two| is_symmetric(one) && (is_symmetric(two) || two == Port);
    !needs_luck(one, two) && !needs_luck(two, one)
}

// TP-34
#[test]
fn tp_34_every_pair_that_the_lab_opens_is_open_without_luck() {
    for one in KINDS {
        for two in KINDS {
            for seed in 0..8 {
                let outcome = World::new(one, two, seed).run();
                assert!(outcome.packets.iter().all(|packets| *packets <= 2500));
                if is_plain(one, two) {
                    assert!(outcome.is_open(), "{one:?} and {two:?} with seed {seed}: {outcome:?}");
                    for (_, at) in outcome.first.into_iter().flatten() {
                        assert!(at < Duration::from_millis(500), "{one:?} and {two:?}: after {at:?}");
                    }
                }
            }
        }
    }
}

// TP-35
#[test]
fn tp_35_the_ports_of_a_sequential_nat_are_foreseen() {
    for seed in 0..40 {
        for (one, two) in [(Port, Seq), (Seq, Port)] {
            let outcome = World::new(one, two, seed).run();
            assert!(outcome.is_open(), "{one:?} and {two:?} with seed {seed}: {outcome:?}");
            let at = outcome.first.into_iter().flatten().map(|(_, at)| at).max().expect("it is open");
            assert!(at < Duration::from_millis(1400), "before the birthday method: {at:?}");
        }
    }
}

// TP-36
#[test]
fn tp_36_many_sockets_meet_many_ports_in_95_of_100_attempts() {
    let open = |one, two| (0..100).filter(|seed| World::new(one, two, *seed).run().is_open()).count();
    let (forth, back) = (open(Port, Sym), open(Sym, Port));
    assert!(forth >= 95 && back >= 95, "{forth} and {back} of 100");
}

// TP-36: nothing is gained by trying, and little is spent.
#[test]
fn tp_36_two_nats_that_draw_ports_stay_closed_at_little_cost() {
    for seed in 0..8 {
        let outcome = World::new(Sym, Sym, seed).run();
        assert!(!outcome.is_open());
        assert!(outcome.packets.iter().all(|packets| *packets <= 200), "{outcome:?}");
    }
}

#[test]
fn hosts_of_one_home_meet_there_or_over_a_hairpin() {
    for kind in [Full, Addr, Port, Sym, Seq] {
        let outcome = World::one_home(kind, 1).run();
        assert!(matches!(outcome.first, [Some((TargetKind::Host, _)), Some(_)]), "{kind:?}: {outcome:?}");
    }
    for kind in [Full, Addr, Port] {
        let mut apart = World::one_home(kind, 2).hairpin();
        apart.isolated = true;
        assert!(apart.run().is_open(), "{kind:?} with hairpin");
        let mut apart = World::one_home(kind, 2);
        apart.isolated = true;
        assert!(!apart.run().is_open(), "{kind:?} without hairpin");
    }
}

// TP-34
#[test]
fn tp_34_ipv6_opens_what_no_game_of_ports_does() {
    let mut world = World::new(Sym, Sym, 3);
    world.six = true;
    let outcome = world.run();
    assert!(outcome.is_open(), "{outcome:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    // Within its bounds whatever is lost, and what one side calls open is open (checked as it is reported).
    #[test]
    fn tp_34_an_attempt_over_a_lossy_path_ends_within_its_bounds(
        one in 0usize..6, two in 0usize..6, seed: u64, loss in 0u32..40,
    ) {
        let mut world = World::new(KINDS[one], KINDS[two], seed);
        world.loss_percent = loss;
        let outcome = world.run();
        prop_assert!(outcome.packets.iter().all(|packets| *packets <= 2500));
        if is_plain(KINDS[one], KINDS[two]) && loss < 20 {
            prop_assert!(outcome.is_open(), "{:?}", outcome);
        }
    }
}
