//! The coders, each with its buffers and plans ready, so that only coding is timed.

use cs_erasure::{Code, Repair};
use cs_peers::cpu_time;
use reed_solomon_erasure::galois_8::ReedSolomon;
use reed_solomon_simd::{ReedSolomonDecoder, ReedSolomonEncoder};

use crate::Task;

/// The data, and how many parities they get.
pub(crate) struct Stripe {
    pub(crate) k: usize,
    pub(crate) m: usize,
    pub(crate) len: usize,
    pub(crate) data: Vec<Vec<u8>>,
}

impl Stripe {
    pub(crate) fn new(k: usize, m: usize, len: usize) -> Self {
        let mut state = 0x9e37_79b9_7f4a_7c15u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        };
        let data = (0..k).map(|_| (0..len).map(|_| next()).collect()).collect();
        Self { k, m, len, data }
    }

    /// Gigabytes of data a second.
    pub(crate) fn rate(&self, seconds: f64) -> f64 {
        (self.k * self.len) as f64 / seconds / 1e9
    }

    /// How many data shards, from the first on, a task loses.
    pub(crate) fn lost(&self, task: Task) -> usize {
        match task {
            Task::Encode => 0,
            Task::One => 1,
            Task::Max => self.m.min(self.k),
        }
    }

    pub(crate) fn shards(&self, count: usize) -> Vec<Vec<u8>> {
        vec![vec![0; self.len]; count]
    }
}

/// One library at one task.
pub(crate) trait Coder {
    fn name(&self) -> &'static str;
    /// CPU time of so many calls.
    fn seconds(&mut self, calls: usize) -> f64;
    /// Whether the lost shards are back. Nothing is timed after it.
    fn is_right(&mut self, stripe: &Stripe) -> bool;
}

/// CPU time of so many calls.
pub(crate) fn timed(calls: usize, mut work: impl FnMut()) -> f64 {
    let began = cpu_time();
    (0..calls).for_each(|_| work());
    (cpu_time() - began).as_secs_f64()
}

pub(crate) struct Ours<'s> {
    code: Code,
    data: &'s [Vec<u8>],
    parity: Vec<Vec<u8>>,
    repair: Option<Repair>,
    out: Vec<Vec<u8>>,
}

impl<'s> Ours<'s> {
    pub(crate) fn new(stripe: &'s Stripe, task: Task) -> Self {
        let code = Code::new(stripe.k, stripe.m).expect("a geometry");
        let mut parity = stripe.shards(stripe.m);
        code.encode(&stripe.data, &mut parity).expect("shards that fit");
        let lost = stripe.lost(task);
        let plan = || {
            let available: Vec<usize> = (lost..stripe.k + stripe.m).collect();
            code.repair(&available, &(0..lost).collect::<Vec<_>>()).expect("a repair")
        };
        let repair = (lost > 0).then(plan);
        Self { data: &stripe.data, parity, repair, out: stripe.shards(lost), code }
    }

    fn run(&mut self) {
        let Some(repair) = &self.repair else {
            return self.code.encode(self.data, &mut self.parity).expect("shards that fit");
        };
        let shard = |i: &usize| self.data.get(*i).unwrap_or_else(|| &self.parity[*i - self.data.len()]);
        let sources: Vec<&Vec<u8>> = repair.sources().iter().map(shard).collect();
        repair.run(&sources, &mut self.out).expect("shards that fit");
    }
}

impl Coder for Ours<'_> {
    fn name(&self) -> &'static str {
        "ours"
    }

    fn seconds(&mut self, calls: usize) -> f64 {
        timed(calls, || self.run())
    }

    fn is_right(&mut self, stripe: &Stripe) -> bool {
        self.out.iter().zip(&stripe.data).all(|(out, data)| out == data)
    }
}

pub(crate) struct RsErasure {
    coder: ReedSolomon,
    /// Parity last; the flag says which are there.
    shards: Vec<(Vec<u8>, bool)>,
    data: Vec<Vec<u8>>,
    parity: Vec<Vec<u8>>,
    lost: usize,
}

impl RsErasure {
    pub(crate) fn new(stripe: &Stripe, task: Task) -> Self {
        let coder = ReedSolomon::new(stripe.k, stripe.m).expect("a geometry");
        let mut parity = stripe.shards(stripe.m);
        coder.encode_sep(&stripe.data, &mut parity).expect("shards that fit");
        let lost = stripe.lost(task);
        let (mut data, mut shards) = (Vec::new(), Vec::new());
        if lost > 0 {
            shards = stripe.data.iter().chain(&parity).map(|shard| (shard.clone(), true)).collect();
        } else {
            data = stripe.data.clone();
        }
        Self { coder, shards, data, parity, lost }
    }

    fn run(&mut self) {
        if self.lost == 0 {
            return self.coder.encode_sep(&self.data, &mut self.parity).expect("shards that fit");
        }
        self.shards[..self.lost].iter_mut().for_each(|shard| shard.1 = false);
        self.coder.reconstruct_data(&mut self.shards).expect("shards that fit");
    }
}

impl Coder for RsErasure {
    fn name(&self) -> &'static str {
        "reed-solomon-erasure 6.0, simd-accel"
    }

    fn seconds(&mut self, calls: usize) -> f64 {
        timed(calls, || self.run())
    }

    fn is_right(&mut self, stripe: &Stripe) -> bool {
        self.shards.iter().zip(&stripe.data).take(self.lost).all(|(shard, data)| shard.0 == *data)
    }
}

pub(crate) struct RsSimd<'s> {
    encoder: ReedSolomonEncoder,
    decoder: Option<ReedSolomonDecoder>,
    data: &'s [Vec<u8>],
    parity: Vec<Vec<u8>>,
    lost: usize,
    out: Vec<Vec<u8>>,
}

impl<'s> RsSimd<'s> {
    pub(crate) fn new(stripe: &'s Stripe, task: Task) -> Self {
        let (k, m, len, lost) = (stripe.k, stripe.m, stripe.len, stripe.lost(task));
        let encoder = ReedSolomonEncoder::new(k, m, len).expect("a geometry");
        let decoder = (lost > 0).then(|| ReedSolomonDecoder::new(k, m, len).expect("a geometry"));
        let mut new = Self {
            encoder,
            decoder: None,
            data: &stripe.data,
            parity: stripe.shards(m),
            lost,
            out: stripe.shards(lost),
        };
        new.run();
        new.decoder = decoder;
        new
    }

    fn run(&mut self) {
        let Some(decoder) = &mut self.decoder else {
            for shard in self.data {
                self.encoder.add_original_shard(shard).expect("a shard that fits");
            }
            let result = self.encoder.encode().expect("all shards are there");
            for (out, shard) in self.parity.iter_mut().zip(result.recovery_iter()) {
                out.copy_from_slice(shard);
            }
            return;
        };
        for (i, shard) in self.data.iter().enumerate().skip(self.lost) {
            decoder.add_original_shard(i, shard).expect("a shard that fits");
        }
        for (i, shard) in self.parity.iter().enumerate().take(self.lost) {
            decoder.add_recovery_shard(i, shard).expect("a shard that fits");
        }
        let result = decoder.decode().expect("enough shards");
        for (i, shard) in result.restored_original_iter() {
            self.out[i].copy_from_slice(shard);
        }
    }
}

impl Coder for RsSimd<'_> {
    fn name(&self) -> &'static str {
        "reed-solomon-simd 3.1"
    }

    fn seconds(&mut self, calls: usize) -> f64 {
        timed(calls, || self.run())
    }

    fn is_right(&mut self, stripe: &Stripe) -> bool {
        self.out.iter().zip(&stripe.data).all(|(out, data)| out == data)
    }
}
