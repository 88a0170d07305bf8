//! One network namespace.

use std::fs;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::real::until;

/// The names of all of them begin with it; the process follows.
pub(crate) const PREFIX: &str = "csnet-";

/// Where `ip netns` keeps them.
const MOUNTED: &str = "/run/netns";

/// A network namespace, gone with its value.
#[derive(Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Nothing where it is not allowed.
    pub(crate) fn add(name: &str) -> Option<Self> {
        let added = Command::new("ip").args(["netns", "add", name]).output();
        if !added.is_ok_and(|output| output.status.success()) {
            return None;
        }
        let netns = Self { name: name.to_owned() };
        // Addresses are there at once: nobody else can have them.
        netns.sysctl("ipv6/conf/all/accept_dad", "0");
        netns.sysctl("ipv6/conf/default/accept_dad", "0");
        netns.ip(&["link set lo up".to_owned()]);
        Some(netns)
    }

    /// Its name, for `ip netns exec`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Does something in it: on a thread of its own, whose sockets and processes belong to it.
    ///
    /// # Panics
    /// When the work does.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let file =
            fs::File::open(Path::new(MOUNTED).join(&self.name)).expect("it is there until it is dropped");
        std::thread::scope(|scope| {
            let inside = scope.spawn(move || {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("who may make a namespace may enter it");
                work()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Lets packets through.
    pub(crate) fn forward(&self) {
        self.sysctl("ipv4/ip_forward", "1");
        self.sysctl("ipv6/conf/all/forwarding", "1");
        self.sysctl("ipv4/conf/all/rp_filter", "0");
        self.sysctl("ipv4/conf/default/rp_filter", "0");
    }

    /// Lines of `ip -batch` inside.
    pub(crate) fn ip(&self, lines: &[String]) {
        pipe(Command::new("ip").args(["-n", &self.name, "-batch", "-"]), &lines.join("\n"));
    }

    /// A script of `nft` inside.
    pub(crate) fn nft(&self, script: &str) {
        self.enter(|| pipe(Command::new("nft").args(["-f", "-"]), script));
    }

    /// Waits until its links carry packets: one that was just made carries none for a moment.
    pub(crate) fn settle(&self) {
        let is_up = || {
            let told = Command::new("ip").args(["-n", &self.name, "-brief", "link"]).output().ok()?;
            let told = String::from_utf8_lossy(&told.stdout).into_owned();
            told.lines().all(|link| link.starts_with("lo ") || link.contains(" UP ")).then_some(())
        };
        assert!(until(Duration::from_secs(30), is_up).is_some(), "the links of {} do not come up", self.name);
    }

    fn sysctl(&self, key: &str, value: &str) {
        let path = Path::new("/proc/sys/net").join(key);
        // A kernel without IPv6 has no such file, and no test of it passes then.
        self.enter(|| _ = fs::write(path, value));
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        // What is left is cleaned up by whoever comes next.
        let _ = Command::new("ip").args(["netns", "del", &self.name]).output();
    }
}

/// Lines of `ip -batch` outside of any.
pub(crate) fn ip(lines: &[String]) {
    pipe(Command::new("ip").args(["-batch", "-"]), &lines.join("\n"));
}

/// Deletes the namespaces of processes that were killed before they could.
pub(crate) fn clean_up_after_the_dead() {
    let names = fs::read_dir(MOUNTED).into_iter().flatten().flatten().map(|entry| entry.file_name());
    for name in names.filter_map(|name| name.into_string().ok()) {
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if process.is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            // Another test may have been faster.
            let _ = Command::new("ip").args(["netns", "del", &name]).output();
        }
    }
}

fn pipe(command: &mut Command, input: &str) {
    let mut child = (command.stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::null()))
        .spawn()
        .expect("the program is installed, or the first namespace would not be there");
    let mut stdin = child.stdin.take().expect("it was asked for");
    stdin.write_all(input.as_bytes()).expect("the program reads");
    drop(stdin);
    let done = child.wait_with_output().expect("it was started");
    assert!(done.status.success(), "{command:?}: {}\n{input}", String::from_utf8_lossy(&done.stderr));
}
