//! 10,000 honest people, up to 100 of them deceived into attesting a sybil, and as many sybils as please.

use std::collections::BTreeSet;

use cs_identity::trust::{Attestation, Attested, Level, Policy, WebOfTrust};
use cs_identity::{NodeId, SecretKey, Signed};
use cs_peers::{Better, Row, cpu_time};

use crate::graphs::{Chance, Pairs, circles, popular, small_world};

const PEOPLE: usize = 10_000;
const SYBILS: usize = 2_000;
const ATTACKS: [usize; 3] = [1, 10, 100];
const TRIALS: usize = 5;

pub(crate) fn run() {
    let mut chance = Chance::new(0x5eed);
    let keys: Vec<SecretKey> = (0..PEOPLE + SYBILS).map(secret).collect();
    let ids: Vec<NodeId> = keys.iter().map(SecretKey::node_id).collect();
    let graphs = [
        ("popular, 20 known", popular(PEOPLE, 10, &mut chance)),
        ("popular, 10 known", popular(PEOPLE, 5, &mut chance)),
        ("circles of 100", circles(PEOPLE, 100, 20, 8, &mut chance)),
        ("small world, 20 known", small_world(PEOPLE, 20, &mut chance)),
    ];
    for (name, pairs) in graphs {
        let world = World { name, keys: &keys, ids: &ids };
        world.measure(&pairs, &mut chance);
    }
}

fn secret(n: usize) -> SecretKey {
    let mut seed = [0x5a; 32];
    seed[..8].copy_from_slice(&(n as u64).to_le_bytes());
    SecretKey::from_bytes(seed)
}

struct World<'a> {
    name: &'a str,
    keys: &'a [SecretKey],
    ids: &'a [NodeId],
}

impl World<'_> {
    fn attest(&self, from: usize, to: usize) -> Signed<Attestation> {
        let (issuer, subject) = (self.ids[from], self.ids[to]);
        let (claim, level) = (Attested::Person, Level::Full);
        let value =
            Attestation { issuer, subject, claim, level, seq: 0, unix_ms: 0, until_ms: u64::MAX, name: None };
        Attestation::sign(&self.keys[from], value).expect("an attestation")
    }

    fn measure(&self, pairs: &Pairs, chance: &mut Chance) {
        let mut honest = WebOfTrust::new(Policy::flow(), 1, 1 << 20);
        for &(a, b) in pairs {
            for (from, to) in [(a, b), (b, a)] {
                honest.insert(self.attest(from as usize, to as usize)).expect("room");
            }
        }
        // Behind each deceived person stands the whole of the sybils: a ring in which each attests twenty.
        for sybil in 0..SYBILS {
            for step in 1..=20 {
                let (from, to) = (PEOPLE + sybil, PEOPLE + (sybil + step * step) % SYBILS);
                honest.insert(self.attest(from, to)).expect("room");
            }
        }
        for attacks in ATTACKS {
            self.under_attack(&honest, attacks, chance);
        }
        self.time(honest, chance);
    }

    fn under_attack(&self, honest: &WebOfTrust, attacks: usize, chance: &mut Chance) {
        let (mut won, mut accepted, mut worst) = (vec![], vec![], 0.0_f64);
        let mut by_introducers = 0.0;
        for trial in 0..TRIALS {
            let mut web = honest.clone();
            web.set_root(self.ids[chance.below(PEOPLE)], true);
            for n in 0..attacks {
                let (from, to) = (chance.below(PEOPLE), PEOPLE + (n * 37 + trial) % SYBILS);
                web.insert(self.attest(from, to)).expect("room");
            }
            let (people, sybils) = self.count(&mut web);
            accepted.push(people as f64 / PEOPLE as f64);
            won.push(sybils as f64 / attacks as f64);
            worst = worst.max(sybils as f64 / attacks as f64);
            if trial == 0 {
                web.set_policy(Policy::Introducers { marginals: 3, depth: 8 });
                by_introducers = self.count(&mut web).1 as f64 / attacks as f64;
            }
        }
        let row = format!("{}, {attacks} attack edges", self.name);
        let sybils = Row::new(&row, "sybils accepted an attack edge", "", Better::Less, mean(&won));
        Row { peer: Some(("3 marginals, depth 8", by_introducers)), goal: Some(10.0), ..sybils }.print();
        Row::new(&row, "the same, worst of 5", "", Better::Less, worst).print();
        let people = Row::new(&row, "honest accepted", "", Better::More, mean(&accepted));
        Row { goal: Some(0.9), ..people }.print();
    }

    /// Accepted people and sybils.
    fn count(&self, web: &mut WebOfTrust) -> (usize, usize) {
        let trusted: BTreeSet<NodeId> = web.trusted().into_iter().collect();
        let people = self.ids[..PEOPLE].iter().filter(|id| trusted.contains(id)).count();
        (people, trusted.len() - people)
    }

    fn time(&self, mut web: WebOfTrust, chance: &mut Chance) {
        web.set_root(self.ids[0], true);
        web.evaluate();
        let mut times: Vec<f64> = (0..15)
            .map(|_| {
                let (from, to) = (chance.below(PEOPLE), chance.below(PEOPLE));
                let fresh = if from == to { self.attest(from, PEOPLE) } else { self.attest(from, to) };
                let began = cpu_time();
                web.insert(fresh).expect("room");
                web.evaluate();
                (cpu_time() - began).as_secs_f64() * 1e3
            })
            .collect();
        times.sort_by(f64::total_cmp);
        let row =
            Row::new(self.name, "a new attestation, evaluated", "ms", Better::Less, times[times.len() / 2]);
        Row { goal: Some(50.0), ..row }.print();
    }
}

fn mean(all: &[f64]) -> f64 {
    all.iter().sum::<f64>() / all.len() as f64
}
