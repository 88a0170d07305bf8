//! What goes wrong with machines and networks, and how it is put right.

use crate::sim::happening::Happening;
use crate::sim::node::address;
use crate::sim::world::World;
use cs_store::MemDisk;
use std::time::Duration;

impl World {
    /// Starts a machine's process after a while, unless it runs.
    pub fn start_after(&mut self, node: usize, after: Duration) {
        self.machines[node].boot_planned = true;
        self.plan(self.now() + after, node, Happening::Boot);
    }

    /// Whether the machine's process runs and is not asleep.
    #[must_use]
    pub fn is_up(&self, node: usize) -> bool {
        self.machines[node].is_awake()
    }

    /// The process is killed. What it wrote is there, synced or not; what it had in memory is gone.
    pub fn kill(&mut self, node: usize) {
        let machine = &mut self.machines[node];
        if machine.process.is_none() {
            return;
        }
        // A dying process writes nothing more, however tidily its memory is freed.
        machine.disk.cut_power_after(0);
        machine.process = None;
        machine.disk.restore_power();
        machine.asleep_since = None;
        self.tell(|| format!("n{node} is killed"));
        self.reachability_changed();
    }

    /// Another disk takes the place of a machine's that is down: a backup of it, or a copy.
    pub fn put_back(&mut self, node: usize, disk: MemDisk) {
        assert!(self.machines[node].process.is_none(), "the machine runs");
        self.machines[node].disk = disk;
    }

    /// The power fails: what was not synced is on the disks in part, torn, or not at all.
    pub fn cut_power(&mut self, node: usize) {
        let seed = self.chance.bytes();
        let machine = &mut self.machines[node];
        if machine.process.is_none() {
            return;
        }
        let after = machine.disk.crash(u64::from_le_bytes(seed[..8].try_into().expect("eight bytes")));
        machine.disk.cut_power_after(0);
        machine.process = None;
        machine.asleep_since = None;
        machine.disk = after;
        for place in machine.places.values() {
            place.crash(seed);
        }
        self.tell(|| format!("n{node} loses power"));
        self.reachability_changed();
    }

    /// The process ended as it was asked to.
    pub(crate) fn stop(&mut self, node: usize) {
        for session in self.network.of_node(node) {
            self.end_session(session);
        }
        if let Some(process) = self.machines[node].process.take() {
            drop(process.folders);
            process.core.close();
        }
        self.tell(|| format!("n{node} has stopped"));
        self.reachability_changed();
    }

    /// The machine goes to sleep: its own clock stands still, packets pass it by.
    pub fn sleep(&mut self, node: usize) {
        let now = self.now();
        let machine = &mut self.machines[node];
        if machine.is_awake() {
            machine.asleep_since = Some(now);
            self.tell(|| format!("n{node} sleeps"));
            self.reachability_changed();
        }
    }

    /// And wakes.
    pub fn wake(&mut self, node: usize) {
        let now = self.now();
        let machine = &mut self.machines[node];
        let Some(since) = machine.asleep_since.take() else { return };
        if let Some(process) = &mut machine.process {
            process.slept(now - since);
        }
        self.tell(|| format!("n{node} wakes"));
        self.reachability_changed();
    }

    /// Nothing gets from one machine to another, until the network heals.
    pub fn cut(&mut self, from: usize, to: usize) {
        self.network.set_cut(from, to, true);
        self.reachability_changed();
    }

    /// Nothing gets from one side to the other or back. `is_left` says who is on which side.
    pub fn partition(&mut self, is_left: impl Fn(usize) -> bool) {
        let nodes = self.len();
        for from in 0..nodes {
            for to in (0..nodes).filter(|to| is_left(from) != is_left(*to)) {
                self.network.set_cut(from, to, true);
            }
        }
        self.reachability_changed();
    }

    /// Everybody reaches everybody again.
    pub fn heal(&mut self) {
        self.network.heal();
        self.reachability_changed();
    }

    /// A session breaks, for whatever reason. `false` when there is none.
    pub fn drop_session(&mut self, a: usize, b: usize) -> bool {
        let session = self.network.between(a, b);
        session.into_iter().for_each(|session| self.end_session(session));
        session.is_some()
    }

    /// The wall clock of a machine is off by so much from now on.
    pub fn skew_clock(&mut self, node: usize, skew_ms: i64) {
        self.machines[node].skew_ms = skew_ms;
    }

    /// The disk of the state directory takes nothing more, or again as much as is wanted.
    pub fn fill_disk(&mut self, node: usize, full: bool) {
        self.machines[node].disk_is_full = full;
        // A capacity below what is there already refuses every growth.
        self.machines[node].disk.set_capacity(full.then_some(0));
    }

    /// Folders take so long to open from now on.
    pub fn slow_opening(&mut self, node: usize, takes: Duration) {
        self.machines[node].opening = takes;
    }

    /// The machine gets another address with its next start; the old one leads nowhere.
    pub fn move_address(&mut self, node: usize) {
        let old = self.machines[node].addr;
        self.addresses.remove(&old);
        let moved = match old {
            std::net::SocketAddr::V4(v4) => v4.ip().octets()[2].wrapping_add(1),
            std::net::SocketAddr::V6(_) => 0,
        };
        let new = address(node, moved);
        self.machines[node].addr = new;
        self.addresses.insert(new, node);
        self.tell(|| format!("n{node} is at {new} now"));
    }
}
