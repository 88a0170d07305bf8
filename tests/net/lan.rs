//! Two devices on one cable, which nobody told of each other: network namespaces with a link between them.

use std::process::Command;

use cs_node::api::Access;
use cs_tests::real::{Setup, skipped, until};

use crate::lab::{LIMIT, Lab, arrives, become_equal};

/// Two namespaces and the cable between them, gone at the end.
struct Cable {
    ends: [String; 2],
}

impl Cable {
    /// Nothing where it is not allowed; that is told.
    fn new() -> Option<Self> {
        let ends = ["a", "b"].map(|end| format!("cosync-{end}-{}", std::process::id()));
        let [a, b] = &ends;
        if !ip(&["netns", "add", a]) {
            skipped("only root, with iproute2, can make the networks of this test");
            return None;
        }
        let cable = Self { ends: ends.clone() };
        assert!(ip(&["netns", "add", b]));
        assert!(ip(&["link", "add", "eth0", "netns", a, "type", "veth", "peer", "name", "eth0", "netns", b]));
        for (end, addr) in [(a, "10.77.0.1/24"), (b, "10.77.0.2/24")] {
            assert!(ip(&["-n", end, "addr", "add", addr, "dev", "eth0"]));
            assert!(ip(&["-n", end, "link", "set", "lo", "up"]));
            assert!(ip(&["-n", end, "link", "set", "eth0", "up"]));
        }
        // A cable that was just plugged in carries nothing for a moment.
        let is_up = |end: &String| is_up(end).then_some(());
        assert!(ends.iter().all(|end| until(LIMIT, || is_up(end)).is_some()), "the cable does not come up");
        Some(cable)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.ends.iter().for_each(|end| _ = ip(&["netns", "del", end]));
    }
}

fn ip(arguments: &[&str]) -> bool {
    Command::new("ip").args(arguments).output().is_ok_and(|output| output.status.success())
}

/// Whether the interface of a namespace carries packets.
fn is_up(end: &str) -> bool {
    let told = Command::new("ip").args(["-n", end, "-brief", "link", "show", "dev", "eth0"]).output();
    told.is_ok_and(|told| String::from_utf8_lossy(&told.stdout).contains(" UP "))
}

#[test]
fn a_code_alone_brings_two_devices_of_one_local_network_together() {
    let Some(cable) = Cable::new() else { return };
    let lab = Lab::new();
    let [a, b] = [0, 1].map(|end| {
        let home = lab.path(["a", "b"][end]);
        Setup::within(&cable.ends[end], home).up().unwrap()
    });
    let (from, to) = (lab.folder("from", &[("first.txt", "one")]), lab.folder("to", &[]));
    let invited = a.share(&from, Access::Write).unwrap();
    b.join(&invited.code, &to).unwrap();
    become_equal(&from, &to);
    std::fs::write(to.join("second.txt"), "two").unwrap();
    arrives(&from.join("second.txt"), "two");
}
