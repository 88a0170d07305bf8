//! Time of the processor, which other programs on the machine do not lengthen as they do time on the wall.

use std::time::Duration;

/// CPU time that this thread has used since it began, in user and system mode.
///
/// # Panics
///
/// If the system has no such clock; Linux and macOS have.
pub fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(
        u64::try_from(time.tv_sec).expect("time since the thread began"),
        u32::try_from(time.tv_nsec).expect("below a second"),
    )
}

/// The median CPU time of `work` over `runs` calls, after one that is not counted.
///
/// # Panics
///
/// If `runs` is 0.
pub fn median_cpu(runs: usize, mut work: impl FnMut()) -> Duration {
    work();
    let mut times: Vec<Duration> = (0..runs)
        .map(|_| {
            let began = cpu_time();
            work();
            cpu_time() - began
        })
        .collect();
    times.sort_unstable();
    times[runs / 2]
}
