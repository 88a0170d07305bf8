//! What is done to a world, as a value that can be replayed and made smaller.

use crate::sim::check::Violation;
use crate::sim::network::Weather;
use crate::sim::world::{Summary, World};
use cs_node::api::{Access, ProblemCode, Reply, Request};
use cs_node::core::CommandId;
use cs_node::folder::{RelPath, Rename, Vfs};
use std::collections::BTreeMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// What is to be done, when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// Decides everything that the steps leave open.
    pub seed: u64,
    /// Machines.
    pub nodes: usize,
    /// One after the other.
    pub steps: Vec<Step>,
}

/// One step of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Virtual milliseconds since the step before.
    pub after_ms: u64,
    /// What is done.
    pub action: Action,
}

/// How a device joins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    /// By the full invitation.
    Invitation,
    /// By the short code, which is met in the DHT.
    Code,
}

/// Something done to a world. Spaces, files and documents go by small numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the fields are what their names say: places of machines and numbers of things"
)]
pub enum Action {
    /// A new space around a folder.
    Share { node: usize, space: usize },
    /// One member invites a device, which joins at once.
    Join { inviter: usize, node: usize, space: usize, means: Means },
    /// A user writes a file.
    Write { node: usize, space: usize, file: usize, len: usize },
    /// A user deletes a file.
    Delete { node: usize, space: usize, file: usize },
    /// A user renames a file.
    Rename { node: usize, space: usize, from: usize, to: usize },
    /// A program adds a key to a JSON document.
    Put { node: usize, space: usize, document: usize },
    /// A manager takes a device's rights.
    Revoke { node: usize, space: usize, who: usize },
    /// A user pauses a space, or takes it up again.
    Pause { node: usize, space: usize, paused: bool },
    /// The process is killed, and starts again after a while.
    Kill { node: usize, down_ms: u64 },
    /// The power fails, and comes back.
    CutPower { node: usize, down_ms: u64 },
    /// The process ends in order, and starts again.
    Stop { node: usize, down_ms: u64 },
    /// The machine sleeps, or wakes.
    Sleep { node: usize, asleep: bool },
    /// The machine has another address after a restart.
    Move { node: usize, down_ms: u64 },
    /// The state directory's disk is full, or has room again.
    FillDisk { node: usize, full: bool },
    /// The wall clock is wrong by so much.
    Skew { node: usize, skew_ms: i64 },
    /// A session breaks.
    DropSession { a: usize, b: usize },
    /// Nothing gets from one machine to another.
    Cut { from: usize, to: usize },
    /// Machines are on the side that their bit says, and the sides hear nothing of each other.
    Partition { sides: u64 },
    /// The network is whole again.
    Heal,
}

/// How a script ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Of the whole run.
    pub summary: Summary,
    /// From the end of the faults to equal state everywhere.
    pub converged_after: Duration,
    /// Actions that could be carried out.
    pub done: usize,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "+{} ms {:?}", self.after_ms, self.action)
    }
}

/// Plays a script to its end and on to convergence within `limit`.
///
/// # Errors
/// What must not happen; a panic of the simulated program is among it.
pub fn run(script: &Script, limit: Duration, tells: bool) -> Result<Outcome, Violation> {
    let played = catch_unwind(AssertUnwindSafe(|| {
        let mut stage = Stage::new(script, tells);
        for step in &script.steps {
            stage.world.run_for(Duration::from_millis(step.after_ms))?;
            stage.take(&step.action)?;
        }
        stage.end(limit)
    }));
    played.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|t| (*t).to_owned()));
        Err(Violation::Panic(text.unwrap_or_default()))
    })
}

/// Leaves out steps as long as the script still fails in the same way; `fails` is asked for each attempt, `tries` times
/// at most.
pub fn shrink(script: &Script, mut tries: usize, mut fails: impl FnMut(&Script) -> bool) -> Script {
    let mut least = script.clone();
    let mut part = least.steps.len().div_ceil(2);
    while part > 0 && tries > 0 {
        let mut from = 0;
        let mut left_out = false;
        while from < least.steps.len() && tries > 0 {
            let mut less = least.clone();
            less.steps.drain(from..(from + part).min(less.steps.len()));
            tries -= 1;
            if fails(&less) {
                least = less;
                left_out = true;
            } else {
                from += part;
            }
        }
        if !left_out {
            part /= 2;
        }
    }
    least
}

/// What follows an answer.
enum Then {
    Shared { space: usize },
    Join { node: usize, space: usize, means: Means },
    Joined { space: usize },
}

/// A world with what the script knows of it.
struct Stage {
    world: World,
    /// IDs of the spaces that exist.
    spaces: BTreeMap<usize, String>,
    /// Who has which.
    members: BTreeMap<(usize, usize), bool>,
    pending: Vec<(usize, CommandId, Then)>,
    stamp: u64,
    done: usize,
}

fn dir(space: usize) -> String {
    format!("/s{space}")
}

fn file(number: usize) -> String {
    if number.is_multiple_of(3) { format!("d{}/f{number}", number % 2) } else { format!("f{number}") }
}

impl Stage {
    fn new(script: &Script, tells: bool) -> Self {
        let mut world = World::new(script.seed, script.nodes, Weather::default());
        world.tells = tells;
        let (spaces, members) = (BTreeMap::new(), BTreeMap::new());
        Self { world, spaces, members, pending: Vec::new(), stamp: 0, done: 0 }
    }

    fn is_member(&self, node: usize, space: usize) -> bool {
        self.members.get(&(node, space)).copied().unwrap_or(false)
    }

    fn take(&mut self, action: &Action) -> Result<(), Violation> {
        self.collect()?;
        self.world.tell(|| format!("-- {action:?}"));
        if self.act(action) {
            self.done += 1;
        }
        Ok(())
    }

    /// Carries an action out. `false` when it cannot be.
    fn act(&mut self, action: &Action) -> bool {
        let nodes = self.world.len();
        match *action {
            Action::Share { node, space } => self.share(node % nodes, space),
            Action::Join { inviter, node, space, means } => {
                self.invite(inviter % nodes, node % nodes, space, means)
            }
            Action::Write { node, space, file, len } => self.write(node % nodes, space, file, len),
            Action::Delete { node, space, file } => self.delete(node % nodes, space, file),
            Action::Rename { node, space, from, to } => self.rename(node % nodes, space, from, to),
            Action::Put { node, space, document } => self.put(node % nodes, space, document),
            Action::Revoke { node, space, who } => self.revoke(node % nodes, space, who % nodes),
            Action::Pause { node, space, paused } => self.pause(node % nodes, space, paused),
            ref fault => {
                self.fault(fault, nodes);
                true
            }
        }
    }

    fn fault(&mut self, action: &Action, nodes: usize) {
        let world = &mut self.world;
        match *action {
            Action::Kill { node, down_ms } => {
                world.kill(node % nodes);
                world.start_after(node % nodes, Duration::from_millis(down_ms));
            }
            Action::CutPower { node, down_ms } => {
                world.cut_power(node % nodes);
                world.start_after(node % nodes, Duration::from_millis(down_ms));
            }
            Action::Stop { node, down_ms } => {
                world.command(node % nodes, Request::Stop);
                world.start_after(node % nodes, Duration::from_millis(down_ms.max(10)));
            }
            Action::Move { node, down_ms } => {
                world.kill(node % nodes);
                world.move_address(node % nodes);
                world.start_after(node % nodes, Duration::from_millis(down_ms));
            }
            Action::Sleep { node, asleep: true } => world.sleep(node % nodes),
            Action::Sleep { node, asleep: false } => world.wake(node % nodes),
            Action::FillDisk { node, full } => world.fill_disk(node % nodes, full),
            Action::Skew { node, skew_ms } => world.skew_clock(node % nodes, skew_ms),
            Action::DropSession { a, b } => _ = world.drop_session(a % nodes, b % nodes),
            Action::Cut { from, to } => world.cut(from % nodes, to % nodes),
            Action::Partition { sides } => world.partition(|node| sides >> (node % 64) & 1 == 1),
            Action::Heal => world.heal(),
            _ => {}
        }
    }

    fn share(&mut self, node: usize, space: usize) -> bool {
        if self.spaces.contains_key(&space)
            || self
                .pending
                .iter()
                .any(|(_, _, then)| matches!(then, Then::Shared { space: s } if *s == space))
        {
            return false;
        }
        self.world.edit(node, &dir(space), &[], |_| {});
        let request =
            Request::Share { folder: dir(space), name: None, access: Access::Manage, expires_s: 3_600 };
        let Some(id) = self.world.command(node, request) else { return false };
        self.pending.push((node, id, Then::Shared { space }));
        true
    }

    fn invite(&mut self, inviter: usize, node: usize, space: usize, means: Means) -> bool {
        let Some(id) = self.spaces.get(&space).cloned() else { return false };
        if !self.is_member(inviter, space) || self.members.contains_key(&(node, space)) || inviter == node {
            return false;
        }
        let request = Request::Invite { space: Some(id), access: Access::Manage, expires_s: 3_600 };
        let Some(command) = self.world.command(inviter, request) else { return false };
        self.pending.push((inviter, command, Then::Join { node, space, means }));
        true
    }

    fn write(&mut self, node: usize, space: usize, number: usize, len: usize) -> bool {
        if !self.is_member(node, space) {
            return false;
        }
        self.stamp += 1;
        let mut bytes = format!("stamp {} by n{node}\n", self.stamp).into_bytes();
        let noise = self.world.chance.noise(len);
        bytes.extend(noise);
        let name = file(number);
        let mut written = false;
        self.world.edit(node, &dir(space), &[&name], |vfs| {
            written = RelPath::new(name.as_bytes()).is_ok_and(|path| vfs.put(&path, &bytes));
        });
        written
    }

    fn delete(&mut self, node: usize, space: usize, number: usize) -> bool {
        let name = file(number);
        let Ok(path) = RelPath::new(name.as_bytes()) else { return false };
        let there = self.world.directory(node, &dir(space)).is_some_and(|vfs| vfs.get(&path).is_some());
        if there {
            self.world.edit(node, &dir(space), &[&name], |vfs| vfs.remove_all(&path));
        }
        there
    }

    fn rename(&mut self, node: usize, space: usize, from: usize, to: usize) -> bool {
        let (from, to) = (file(from), file(to));
        let (Ok(old), Ok(new)) = (RelPath::new(from.as_bytes()), RelPath::new(to.as_bytes())) else {
            return false;
        };
        let mut renamed = false;
        if self.is_member(node, space) {
            self.world.edit(node, &dir(space), &[&from, &to], |vfs| {
                renamed = vfs.rename(&old, &new, Rename::NoReplace).is_ok();
            });
        }
        renamed
    }

    fn put(&mut self, node: usize, space: usize, document: usize) -> bool {
        let Some(id) = self.spaces.get(&space).cloned() else { return false };
        self.stamp += 1;
        let key = format!("k{}", self.stamp);
        self.is_member(node, space) && self.world.put_key(node, &id, &format!("doc{document}"), &key)
    }

    fn revoke(&mut self, node: usize, space: usize, who: usize) -> bool {
        let Some(id) = self.spaces.get(&space).cloned() else { return false };
        if node == who || !self.is_member(node, space) || !self.is_member(who, space) {
            return false;
        }
        // What counts of the revoked and is nowhere but with them, is lost for everybody: no matter for a swarm.
        if self.world.spaces(node).iter().any(|s| s.id == id && s.files_wanted + s.conflicts > 0) {
            return false;
        }
        let request = Request::Revoke { space: Some(id.clone()), node: self.world.id(who).to_string() };
        let done = match self.world.ask_now(node, request) {
            Some(Ok(_)) => true,
            // What a full disk did not take is written once there is room.
            Some(Err(problem)) => problem.code == ProblemCode::Disk,
            None => false,
        };
        if done {
            self.world.expel(&id, who);
            self.members.insert((who, space), false);
        }
        done
    }

    fn pause(&mut self, node: usize, space: usize, paused: bool) -> bool {
        let Some(space) = self.spaces.get(&space).cloned().map(Some) else { return false };
        let request = if paused { Request::Pause { space } } else { Request::Resume { space } };
        matches!(self.world.ask_now(node, request), Some(Ok(_)))
    }

    /// Acts on the answers that have come.
    fn collect(&mut self) -> Result<(), Violation> {
        for (node, id, then) in std::mem::take(&mut self.pending) {
            match self.world.take_answer(node, id) {
                Some(Ok(reply)) => self.follow(node, then, reply),
                Some(Err(_)) => {}
                None if self.world.is_forgotten(node, id) => {}
                None => self.pending.push((node, id, then)),
            }
        }
        Ok(())
    }

    fn follow(&mut self, node: usize, then: Then, reply: Reply) {
        match (then, reply) {
            (Then::Shared { space }, Reply::Invited(invited)) => {
                self.spaces.insert(space, invited.space);
                self.members.insert((node, space), true);
            }
            (Then::Join { node, space, means }, Reply::Invited(invited)) => {
                let ticket = if means == Means::Code { invited.code } else { invited.invitation };
                let request = Request::Join { ticket, folder: Some(dir(space)), limit_s: None };
                if let Some(id) = self.world.command(node, request) {
                    self.pending.push((node, id, Then::Joined { space }));
                }
            }
            (Then::Joined { space }, Reply::Joined { .. }) => {
                self.members.entry((node, space)).or_insert(true);
            }
            _ => {}
        }
    }

    /// The faults end; what is still under way comes to its end; then all must become equal.
    fn end(mut self, limit: Duration) -> Result<Outcome, Violation> {
        self.world.heal_everything();
        self.world.run_for(Duration::from_secs(2))?;
        for node in 0..self.world.len() {
            self.world.skew_clock(node, 0);
        }
        let end = self.world.now() + Duration::from_secs(100);
        while !self.pending.is_empty() && self.world.now() < end {
            self.world.run_for(Duration::from_secs(1))?;
            self.collect()?;
        }
        if let Some((node, ..)) = self.pending.first() {
            return Err(Violation::NoAnswer { node: *node });
        }
        let converged_after = self.world.converge(limit)?;
        Ok(Outcome { summary: self.world.summary(), converged_after, done: self.done })
    }
}
