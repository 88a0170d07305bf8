//! What a process has used so far, from `/proc`.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Processor time and memory of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Time on a processor, in user and kernel mode, to 10 ms.
    pub cpu: Duration,
    /// The same to the nanosecond, of the threads that live now.
    pub threads: Duration,
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
        threads: threads(pid).iter().filter_map(|thread| on_processor(thread)).sum(),
        resident: bytes("VmRSS:")?,
        peak: bytes("VmHWM:")?,
    };
    Some(children(pid).into_iter().filter_map(usage).fold(own, |sum, child| Usage {
        cpu: sum.cpu + child.cpu,
        threads: sum.threads + child.threads,
        resident: sum.resident + child.resident,
        peak: sum.peak + child.peak,
    }))
}

fn threads(pid: u32) -> Vec<PathBuf> {
    let all = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    all.map(|thread| thread.path()).collect()
}

fn on_processor(thread: &Path) -> Option<Duration> {
    let told = std::fs::read_to_string(thread.join("schedstat")).ok()?;
    told.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}

/// A child belongs to the thread that made it.
fn children(pid: u32) -> Vec<u32> {
    let threads = threads(pid).into_iter();
    let lists = threads.filter_map(|thread| std::fs::read_to_string(thread.join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|child| child.parse().ok()).collect::<Vec<_>>())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_of_another_thread_is_counted() {
        let child = std::thread::spawn(|| std::process::Command::new("sleep").arg("60").spawn().unwrap());
        let parent = std::process::id();
        let mut child = child.join().unwrap();
        assert!(children(parent).contains(&child.id()));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(usage(child.id()), None);
        let used = usage(parent).unwrap();
        assert!(used.peak > 1 << 20);
        assert!(used.threads > Duration::ZERO);
    }
}
