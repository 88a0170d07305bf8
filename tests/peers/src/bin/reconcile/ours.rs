//! Our sessions, driven to their end in one thread.

use std::ops::Range;
use std::time::Duration;

use cs_gossip::reconcile::{Config, Index, Mode, Output, Session};
use cs_peers::cpu_time;

use crate::points::{Point, id};

/// Both indexes of a point, kept between sessions as a node keeps them.
pub struct Sets {
    ours: Index,
    theirs: Index,
    only: [usize; 2],
    /// CPU time of building both from lists.
    pub build_ms: f64,
}

/// What one session cost.
pub struct Cost {
    pub bytes: f64,
    pub turns: f64,
    pub cpu_ms: f64,
}

impl Sets {
    pub fn of(point: &Point) -> Self {
        let lists: [Vec<[u8; 32]>; 2] = [point.our_ids().collect(), point.their_ids().collect()];
        let began = cpu_time();
        let [ours, theirs] = lists.map(|list| list.into_iter().collect::<Index>());
        let build_ms = millis(cpu_time() - began);
        Self { ours, theirs, only: [point.only_ours(), point.only_theirs()], build_ms }
    }

    /// The median of five sessions in bytes and turns, for chance decides a little; CPU time of the first.
    pub fn run(&mut self, mode: Mode) -> Cost {
        let mut costs: Vec<Cost> = (1..=5).map(|seed| self.session(mode, seed)).collect();
        let cpu_ms = costs[0].cpu_ms;
        costs.sort_by(|a, b| a.bytes.total_cmp(&b.bytes));
        let turns = costs.iter().map(|cost| cost.turns).fold(0.0, f64::max);
        Cost { bytes: costs[2].bytes, turns, cpu_ms }
    }

    /// A hundred new ids in place of a hundred others, and a session: what a node pays that keeps its index, once sessions of
    /// this kind have left their sketches in it.
    pub fn run_after_a_change(&mut self) -> Cost {
        self.replace(0..0, 0..50);
        self.session(Mode::Fewest, 8);
        let began = cpu_time();
        self.replace(0..50, 50..100);
        let changed = cpu_time() - began;
        let cost = self.session(Mode::Fewest, 9);
        Cost { cpu_ms: cost.cpu_ms + millis(changed), ..cost }
    }

    fn replace(&mut self, gone: Range<usize>, new: Range<usize>) {
        for (kind, set) in [(3, &mut self.ours), (4, &mut self.theirs)] {
            gone.clone().for_each(|number| assert!(set.remove(&id(kind, number))));
            new.clone().for_each(|number| assert!(set.insert(id(kind, number))));
        }
        self.only = self.only.map(|only| only + new.len() - gone.len());
    }

    fn session(&self, mode: Mode, seed: u8) -> Cost {
        let config = Config { mode, want_ids: false, ..Config::default() };
        let began = cpu_time();
        let mut a = Session::initiate(config, &self.ours, [seed; 32]);
        let mut b = Session::respond(config, &self.theirs, [seed ^ 0x55; 32]);
        let (mut found, mut turns) = ([0, 0], 0);
        loop {
            let asked = drain(&mut a, &mut b, &self.theirs, &mut found[0]);
            let answered = drain(&mut b, &mut a, &self.ours, &mut found[1]);
            if !asked && !answered {
                break;
            }
            turns += 1;
        }
        let cpu_ms = millis(cpu_time() - began);
        assert!(a.is_finished() && b.is_finished(), "both are done");
        assert_eq!(found, self.only, "and know all");
        let bytes = (a.counters().bytes_sent + b.counters().bytes_sent) as f64;
        Cost { bytes, turns: f64::from(turns), cpu_ms }
    }
}

fn drain(from: &mut Session, to: &mut Session, to_index: &Index, found: &mut usize) -> bool {
    let mut spoke = false;
    while let Some(output) = from.poll_output() {
        match output {
            Output::Send(bytes) => {
                spoke = true;
                to.handle_input(to_index, &bytes).expect("both are honest");
            }
            Output::Missing(ids) => *found += ids.len(),
            Output::Wanted(_) | Output::Done => {}
        }
    }
    spoke
}

pub fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
