//! What is done to a network, and what is measured of it.

use std::time::Duration;

use crate::net::{Life, Machine, Net};

const SECOND: Duration = Duration::from_secs(1);
const BYTES: usize = 1024;
/// Delays of most scenarios, one way.
pub const LINKS_MS: (u64, u64) = (10, 100);
/// And those of slow links.
pub const SLOW_LINKS_MS: (u64, u64) = (50, 300);
const SETTLE: Duration = Duration::from_secs(60);

/// Of the deliveries of some publications.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spread {
    pub redundancy: f64,
    pub last_hop: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    /// Of a hundred.
    pub reached: f64,
    pub bytes_each: f64,
}

/// A network that settled, with some publications behind it.
pub fn settled<M: Machine>(count: u32, delays: (u64, u64), warm: usize) -> Net<M> {
    let mut net = Net::new(count, delays, 7);
    net.join_all(SETTLE);
    for _ in 0..warm {
        net.publish(false, BYTES);
        net.run(SECOND / 4);
    }
    net.run(3 * SECOND);
    net
}

/// Publishes, waits, and measures.
pub fn spread<M: Machine>(net: &mut Net<M>, count: usize, is_urgent: bool) -> Spread {
    let (bytes, payloads, first) = (net.bytes, net.payloads, net.fates.len());
    for _ in 0..count {
        net.publish(is_urgent, BYTES);
        net.run(SECOND / 5);
    }
    net.run(10 * SECOND);
    let well = net.well();
    let fates = &net.fates[first..];
    let mut delays: Vec<f64> = Vec::new();
    let (mut last_hops, mut delivered) = (0.0, 0);
    for fate in fates {
        let others = fate.arrivals.values().filter(|(delay, _)| !delay.is_zero());
        delays.extend(others.clone().map(|(delay, _)| delay.as_secs_f64() * 1e3));
        last_hops += others.map(|(_, hops)| f64::from(*hops)).fold(0.0, f64::max);
        delivered += net.reached(fate, Duration::MAX) - 1;
    }
    let payloads = (net.payloads - payloads) as f64;
    Spread {
        redundancy: payloads / delays.len() as f64 - 1.0,
        last_hop: last_hops / fates.len() as f64,
        p50_ms: quantile(&mut delays, 0.5),
        p99_ms: quantile(&mut delays, 0.99),
        reached: delivered as f64 * 100.0 / (fates.len() * (well - 1)) as f64,
        bytes_each: (net.bytes - bytes) as f64 / (fates.len() * well) as f64,
    }
}

/// Bytes a second and node when nothing is published.
pub fn idle<M: Machine>(net: &mut Net<M>) -> f64 {
    net.run(70 * SECOND);
    let before = net.bytes;
    net.run(60 * SECOND);
    (net.bytes - before) as f64 / 60.0 / net.nodes.len() as f64
}

/// What is left after nodes die at once.
#[derive(Clone, Copy, Debug)]
pub struct Aftermath {
    /// Of a hundred that live, those whom the first publication reached in the end.
    pub first: f64,
    /// When publications began to reach 99 of 100 within two seconds, and went on so.
    pub healed_s: f64,
    pub isolated: usize,
}

pub fn deaths<M: Machine>(net: &mut Net<M>, percent: u64) -> Aftermath {
    for node in 0..net.nodes.len() as u32 {
        if net.below(100) < percent {
            net.kill(node);
        }
    }
    aftermath(net)
}

/// Some leave in order, within ten seconds.
pub fn quits<M: Machine>(net: &mut Net<M>, percent: u64) -> Aftermath {
    let count = net.nodes.len() as u32;
    for node in 0..count {
        if net.below(100) < percent {
            net.act(node, |machine, now| machine.leave(now));
            net.nodes[node as usize].life = Life::Dead;
        }
        net.run(10 * SECOND / count);
    }
    aftermath(net)
}

fn aftermath<M: Machine>(net: &mut Net<M>) -> Aftermath {
    let (first, began) = (net.fates.len(), net.now);
    for _ in 0..80 {
        net.publish(false, BYTES);
        net.run(SECOND / 2);
    }
    let well = net.well();
    let share = |reached: usize| reached as f64 * 100.0 / well as f64;
    let fates = &net.fates[first..];
    let late = fates[..76].iter().rposition(|fate| share(net.reached(fate, 2 * SECOND)) < 99.0);
    Aftermath {
        first: share(net.reached(&fates[0], Duration::MAX)),
        healed_s: late.map_or(0.0, |at| (fates[at + 1].published_at - began).as_secs_f64()),
        isolated: net.isolated(),
    }
}

/// Marks every tenth node.
pub fn afflict<M: Machine>(net: &mut Net<M>, life: Life) {
    net.nodes.iter_mut().skip(5).step_by(10).for_each(|node| node.life = life);
}

/// Apart for two minutes: seconds until one publication reaches all again, if it did within two minutes.
pub fn partition<M: Machine>(net: &mut Net<M>) -> f64 {
    net.split(net.nodes.len() as u32 / 2);
    net.run(120 * SECOND);
    net.split_at = None;
    let healed_at = net.now;
    while net.now - healed_at < 120 * SECOND {
        let Some(number) = net.publish(false, BYTES) else { continue };
        net.run(SECOND);
        if net.reached(&net.fates[number], SECOND) * 100 >= net.well() * 99 {
            break;
        }
    }
    (net.now - healed_at).as_secs_f64()
}

/// Publishes three times what the links carry. Returns the p99 of urgent publications in an idle network, the same
/// under load, and what part of the normal ones was refused.
pub fn overload<M: Machine>(count: u32) -> (f64, f64, f64) {
    let mut net: Net<M> = settled(count, LINKS_MS, 30);
    net.rate = 100_000;
    let idle = spread(&mut net, 30, true).p99_ms;
    let (mut urgent, mut tried) = (Vec::new(), 0_u64);
    let refused = net.refused;
    for turn in 0..2000 {
        if turn % 50 == 49 {
            urgent.extend(net.publish(true, BYTES));
        }
        net.publish(false, BYTES);
        tried += 1;
        // 300 kB a second.
        net.run(Duration::from_micros(3_413));
    }
    net.run(30 * SECOND);
    let arrivals = urgent.iter().flat_map(|number| net.fates[*number].arrivals.values());
    let mut delays: Vec<f64> = arrivals.map(|(delay, _)| delay.as_secs_f64() * 1e3).collect();
    // Who never got one waits for ever.
    delays.resize(urgent.len() * count as usize, f64::INFINITY);
    (idle, quantile(&mut delays, 0.99), (net.refused - refused) as f64 * 100.0 / tried as f64)
}

fn quantile(values: &mut [f64], part: f64) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let at = (values.len() as f64 * part) as usize;
    values.get(at.min(values.len().saturating_sub(1))).copied().unwrap_or(f64::NAN)
}
