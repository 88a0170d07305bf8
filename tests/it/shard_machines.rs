//! The machines of cs-shard, as the laws see them.

use crate::machines::without_time;
use cs_identity::{NodeId, SecretKey};
use cs_shard::{
    AttemptId, Facts, Limits, Role, Roles, RolesConfig, RolesInput, RolesOutput, Router, RouterConfig,
    RouterInput, RouterOutput, Subnet, Summary, Tree, TreeConfig, TreeInput, TreeOutput,
};
use cs_tests::laws::{Machine, Packet};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

fn id(role: u8) -> NodeId {
    SecretKey::from_bytes([role + 1; 32]).node_id()
}

/// A hub with a leaf below it; either may be told to follow the other.
pub(crate) struct TreeMachine {
    tree: Tree,
    role: u8,
}

impl Machine for TreeMachine {
    fn new(start: Duration, role: u8) -> Self {
        let limits = Limits { sums: BTreeMap::from([(1, 255)]), ..Limits::default() };
        let config = TreeConfig { limits, ..TreeConfig::default() };
        let mut tree = Tree::new(config, id(role), start, [role; 32]).unwrap();
        let parent = (role == 1).then(|| id(0));
        tree.set_place(start, 1 - role, parent);
        Self { tree, role }
    }

    fn meet(&mut self, now: Duration, together: bool) {
        if together {
            self.tree.admit(now, id(1 - self.role), 0);
        } else {
            self.tree.dismiss(now, id(1 - self.role));
        }
    }

    fn command(&mut self, now: Duration, kind: u8, argument: [u8; 32]) {
        let sums = BTreeMap::from([(1, u64::from(argument[0]))]);
        match kind % 4 {
            0 | 1 => self.tree.set_local(now, Summary { sums, ..Summary::default() }),
            2 => self.tree.admit(now, id(1 - self.role), 0),
            _ => self.tree.set_place(now, 1 + argument[0] % 3, (argument[1] < 64).then(|| id(1 - self.role))),
        }
    }

    fn receive(&mut self, now: Duration, packet: &Packet) -> bool {
        let input = TreeInput::Message { from: id(1 - self.role), bytes: &packet.bytes };
        self.tree.handle_input(now, input).is_ok()
    }

    fn handle_timeout(&mut self, now: Duration) {
        self.tree.handle_timeout(now);
    }

    fn poll_output(&mut self) -> Option<(String, Option<Packet>)> {
        let output = self.tree.poll_output()?;
        let text = format!("{output:?}");
        let packet = match output {
            TreeOutput::Send { bytes, .. } => Some(Packet { context: 0, bytes }),
            TreeOutput::View => None,
        };
        Some((text, packet))
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.tree.poll_timeout()
    }

    fn state(&mut self, _now: Duration) -> String {
        without_time(&format!("{:?}", self.tree))
    }
}

/// Two hubs, or a hub and a leaf, as their commands have it.
pub(crate) struct RolesMachine {
    roles: Roles,
    role: u8,
}

impl Machine for RolesMachine {
    fn new(start: Duration, role: u8) -> Self {
        let initial = if role == 0 { Role::Leaf } else { Role::Hub };
        let config = RolesConfig { initial, ..RolesConfig::default() };
        Self { roles: Roles::new(config, id(role), start, [role; 32]).unwrap(), role }
    }

    fn meet(&mut self, now: Duration, together: bool) {
        let peer = id(1 - self.role);
        if together {
            self.roles.learn(now, &[peer]);
        } else {
            self.roles.handle_input(now, RolesInput::Unreachable { peer }).unwrap();
        }
    }

    fn command(&mut self, now: Duration, kind: u8, argument: [u8; 32]) {
        let facts = Facts {
            uptime: Duration::from_secs(u64::from(argument[0]) * 600),
            bandwidth_p10: u64::from(argument[1]) << 15,
            headroom_percent: argument[2] % 101,
            errors_permille: 0,
        };
        match kind % 8 {
            0 => self.roles.suspend(now),
            1 | 2 => self.roles.resume(now),
            3 => self.roles.learn(now, &[id(1 - self.role), id(7)]),
            _ => self.roles.set_facts(now, facts),
        }
    }

    fn receive(&mut self, now: Duration, packet: &Packet) -> bool {
        let (from, subnet) = (id(1 - self.role), Subnet(u64::from(self.role)));
        self.roles.handle_input(now, RolesInput::Message { from, subnet, bytes: &packet.bytes }).is_ok()
    }

    fn handle_timeout(&mut self, now: Duration) {
        self.roles.handle_timeout(now);
    }

    fn poll_output(&mut self) -> Option<(String, Option<Packet>)> {
        let output = self.roles.poll_output()?;
        let text = format!("{output:?}");
        let packet = match output {
            RolesOutput::Send { bytes, .. } => Some(Packet { context: 0, bytes }),
            RolesOutput::Event(_) => None,
        };
        Some((text, packet))
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.roles.poll_timeout()
    }

    fn state(&mut self, _now: Duration) -> String {
        without_time(&format!("{:?}", self.roles))
    }
}

/// A router, and on the other side whoever answers it: by turns with an answer, a refusal and a failure.
pub(crate) struct RouterMachine {
    router: Router,
    role: u8,
    answers: VecDeque<Packet>,
}

impl Machine for RouterMachine {
    fn new(start: Duration, role: u8) -> Self {
        let router = Router::new(RouterConfig::default(), start, [role; 32]).unwrap();
        Self { router, role, answers: VecDeque::new() }
    }

    fn meet(&mut self, _now: Duration, _together: bool) {}

    fn command(&mut self, now: Duration, _kind: u8, argument: [u8; 32]) {
        let holders = argument.map(|byte| id(byte % 9));
        let _ = self.router.request(now, &holders[..usize::from(argument[0] % 4)]);
    }

    /// The lowest bits of the context tell what became of the attempt; the rest is its number.
    fn receive(&mut self, now: Duration, packet: &Packet) -> bool {
        let attempt = AttemptId(packet.context >> 2);
        if self.role == 1 {
            let what = packet.context % 5 % 3;
            self.answers.push_back(Packet { context: packet.context | what, bytes: Vec::new() });
            return true;
        }
        let input = match packet.context & 3 {
            0 => RouterInput::Answered { attempt },
            1 => RouterInput::Busy { attempt },
            _ => RouterInput::Failed { attempt },
        };
        self.router.handle_input(now, input).is_ok()
    }

    fn handle_timeout(&mut self, now: Duration) {
        self.router.handle_timeout(now);
    }

    fn poll_output(&mut self) -> Option<(String, Option<Packet>)> {
        if let Some(answer) = self.answers.pop_front() {
            return Some((String::new(), Some(answer)));
        }
        let output = self.router.poll_output()?;
        let packet = match output {
            RouterOutput::Send { attempt, .. } => Some(Packet { context: attempt.0 << 2, bytes: Vec::new() }),
            _ => None,
        };
        Some((format!("{output:?}"), packet))
    }

    fn poll_timeout(&self) -> Option<Duration> {
        self.router.poll_timeout()
    }

    fn state(&mut self, _now: Duration) -> String {
        without_time(&format!("{:?}", self.router))
    }
}
