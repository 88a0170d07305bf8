//! What a process has used so far, from `/proc`.

use std::time::Duration;

/// Processor time and memory of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time on a processor, in user and kernel mode.
    pub cpu: Duration,
    /// Bytes in memory now.
    pub resident: u64,
    /// Most bytes in memory so far.
    pub peak: u64,
}

/// Ticks of `/proc/PID/stat` a second: a constant of the kernel's interface.
const TICKS: u64 = 100;

/// What a process and its children use; nothing when it is gone.
pub fn usage(pid: u32) -> Option<Usage> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name, in parentheses, may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let bytes = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim().trim_end_matches(" kB").parse::<u64>().ok()? * 1024)
    };
    let own = Usage {
        cpu: Duration::from_millis((ticks(11)? + ticks(12)?) * 1000 / TICKS),
        resident: bytes("VmRSS:")?,
        peak: bytes("VmHWM:")?,
    };
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| usage(child.parse().ok()?));
    Some(children.fold(own, |sum, child| Usage {
        cpu: sum.cpu + child.cpu,
        resident: sum.resident + child.resident,
        peak: sum.peak + child.peak,
    }))
}
