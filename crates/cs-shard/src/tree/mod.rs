//! The aggregation tree as a machine: summaries flow up, digests flow down (SHARD-16 to SHARD-19).

mod children;
mod config;
mod digest;
mod message;

use core::time::Duration;
use std::collections::VecDeque;

use cs_identity::NodeId;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::summary::Summary;
use children::Children;

pub use config::{TreeConfig, TreeConfigError};
pub use digest::{Aggregate, Coverage, Digest, Frequent, Spread};
pub use message::{MAX_TREE_MESSAGE, Report, TreeFault, TreeMessage};

/// What happened to a node of the tree.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TreeInput<'a> {
    /// A message arrived, from a peer that the transport has authenticated.
    Message {
        /// Who sent it.
        from: NodeId,
        /// What.
        bytes: &'a [u8],
    },
}

/// What to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TreeOutput {
    /// Send this; loss, duplicates and reordering are harmless.
    Send {
        /// To whom: the parent or a child.
        to: NodeId,
        /// At most [`MAX_TREE_MESSAGE`].
        bytes: Vec<u8>,
    },
    /// [`Tree::view`] is a newer one.
    View,
}

/// What has been counted since the machine was made.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TreeCounters {
    /// Summaries sent.
    pub reports_sent: u64,
    /// Summaries taken in.
    pub reports_taken: u64,
    /// Summaries that were older than what is known, or the same.
    pub reports_stale: u64,
    /// Children forgotten since they were silent.
    pub children_lost: u64,
}

/// One node of the aggregation tree: a leaf, a hub, a region's lead or the root.
///
/// It keeps the latest summary of each child, merges them anew with its own, and reports that to its parent: a child that
/// reports twice, out of order, or again after a silence replaces what it said before, so that nothing is counted twice.
/// What the top knows comes back down as a [`Digest`]; who hears none makes it from what it knows itself, so that a
/// part of the network that is cut off goes on alone.
///
/// Who is above and below is told by commands, and comes from [`Roles`](crate::Roles) or anywhere else: levels must fall
/// from parent to child, which is what rules out circles. Nobody but admitted children and the parent is listened to.
#[derive(Debug)]
pub struct Tree {
    config: TreeConfig,
    me: NodeId,
    epoch: Duration,
    now: Duration,
    rng: ChaCha8Rng,
    level: u8,
    parent: Option<NodeId>,
    local: Summary,
    local_at: Duration,
    children: Children,
    merged: Summary,
    /// Counts each change of what is merged; what the parent knows is told by it.
    version: u64,
    /// The version that was sent to the parent.
    told: Option<u64>,
    report_at: Duration,
    digest: Option<(Duration, Digest)>,
    digest_version: u64,
    outbox: VecDeque<TreeOutput>,
    counters: TreeCounters,
}

impl Tree {
    /// A leaf (level 0) without parent. `now`: time since one epoch that the caller picks. `seed`: the only source of
    /// chance, which spreads the reports of many nodes over the interval.
    ///
    /// # Errors
    /// [`TreeConfigError`] names the setting that cannot work.
    pub fn new(
        config: TreeConfig,
        me: NodeId,
        now: Duration,
        seed: [u8; 32],
    ) -> Result<Self, TreeConfigError> {
        config.check()?;
        let mut rng = ChaCha8Rng::from_seed(seed);
        let report_at = config.report_interval.mul_f64(rng.random_range(0.01..1.0));
        Ok(Self {
            config,
            me,
            epoch: now,
            now: Duration::ZERO,
            rng,
            level: 0,
            parent: None,
            local: Summary::of_one(),
            local_at: Duration::ZERO,
            children: Children::default(),
            merged: Summary::of_one(),
            version: 1,
            told: None,
            report_at,
            digest: None,
            digest_version: 0,
            outbox: VecDeque::new(),
            counters: TreeCounters::default(),
        })
    }

    /// What this node tells of itself. It is of one node, whatever it says. Sent with the next report.
    pub fn set_local(&mut self, now: Duration, local: Summary) {
        self.advance_clock(now);
        self.local = Summary { nodes: 1, ..local };
        self.local_at = self.now;
        self.merge();
    }

    /// Where this node stands from now on: its level (0 for a leaf, up to 3) and whom it reports to. A former parent is
    /// told, so that nobody is counted in two places. Children whose level is not lower any more are forgotten.
    pub fn set_place(&mut self, now: Duration, level: u8, parent: Option<NodeId>) {
        self.advance_clock(now);
        let parent = parent.filter(|parent| *parent != self.me);
        if parent != self.parent {
            if let Some(former) = self.parent {
                self.send(former, &TreeMessage::Bye { epoch: self.config.epoch, version: self.version });
            }
            self.parent = parent;
            self.told = None;
            self.digest = None;
        }
        self.level = level.min(config::TOP_LEVEL);
        self.children.keep_below(self.level);
        self.merge();
        self.report_soon();
    }

    /// Listens to a child from now on, which stands on `level`. Nothing happens if that is not below one's own, or if
    /// there are `children_max` already.
    pub fn admit(&mut self, now: Duration, child: NodeId, level: u8) {
        self.advance_clock(now);
        if level < self.level && child != self.me {
            self.children.admit(child, level, self.config.children_max);
        }
        self.merge();
    }

    /// Does not listen to a child any more, and forgets what it told.
    pub fn dismiss(&mut self, now: Duration, child: NodeId) {
        self.advance_clock(now);
        self.children.dismiss(&child);
        self.merge();
    }

    /// Takes in a message.
    ///
    /// # Errors
    /// [`TreeFault`] blames the sender; nothing changed but the clock.
    pub fn handle_input(&mut self, now: Duration, input: TreeInput<'_>) -> Result<(), TreeFault> {
        self.advance_clock(now);
        let TreeInput::Message { from, bytes } = input;
        match TreeMessage::from_bytes(bytes)? {
            TreeMessage::Report(report) => self.take_report(from, report),
            TreeMessage::Still { epoch, version, age_ms } => {
                if !self.children.contains(&from) {
                    return Err(TreeFault::NotAChild);
                }
                let age = Duration::from_millis(age_ms);
                if !self.children.refresh(&from, (epoch, version), self.now, age) {
                    self.send(from, &TreeMessage::Ask);
                }
                Ok(())
            }
            TreeMessage::Bye { epoch, version } => {
                if !self.children.contains(&from) {
                    return Err(TreeFault::NotAChild);
                }
                self.children.silence(&from, (epoch, version));
                self.merge();
                Ok(())
            }
            TreeMessage::Ask if self.parent == Some(from) => {
                self.told = None;
                self.report_soon();
                Ok(())
            }
            TreeMessage::Digest(digest) if self.parent == Some(from) => {
                self.take_digest(digest);
                Ok(())
            }
            TreeMessage::Ask | TreeMessage::Digest(_) => Err(TreeFault::NotTheParent),
        }
    }

    /// Runs what is due. Early, late and repeated calls are harmless.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.advance_clock(now);
        let lost = self.children.forget_silent(self.now, self.config.child_lifetime);
        if lost > 0 {
            self.counters.children_lost += lost;
            self.merge();
        }
        if self.report_at <= self.now {
            self.report();
            self.publish();
            let jitter = self.rng.random_range(0.9..1.1);
            self.report_at = self.now + self.config.report_interval.mul_f64(jitter);
        }
    }

    /// What to do next, oldest first; `None` means wait.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<TreeOutput> {
        self.outbox.pop_front()
    }

    /// When to call `handle_timeout`; after it was called this is always later.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let silent = self.children.next_silent(self.config.child_lifetime);
        let next = silent.map_or(self.report_at, |at| at.min(self.report_at));
        Some(self.epoch.saturating_add(next))
    }

    /// What this node and all below it tell, with its coverage and age at `now`.
    #[must_use]
    pub fn aggregate(&self, now: Duration) -> Aggregate<'_> {
        let now = now.saturating_sub(self.epoch).max(self.now);
        let local = now.saturating_sub(self.local_at);
        let (children, silent, oldest) = self.children.coverage(now);
        let coverage = Coverage { nodes: self.merged.nodes, children, silent };
        Aggregate { summary: &self.merged, coverage, age: oldest.map_or(local, |oldest| oldest.max(local)) }
    }

    /// What is known of the whole: the latest digest from above, or, where none came for a child's lifetime, what this
    /// node can make itself. Its age is as of `now`.
    #[must_use]
    pub fn view(&self, now: Duration) -> Digest {
        let inner = now.saturating_sub(self.epoch).max(self.now);
        match &self.digest {
            Some((at, digest)) if inner.saturating_sub(*at) <= self.config.child_lifetime => {
                digest.aged(inner.saturating_sub(*at))
            }
            _ => self.own_digest(inner),
        }
    }

    /// Whether [`view`](Self::view) comes from above.
    #[must_use]
    pub fn is_connected(&self, now: Duration) -> bool {
        let now = now.saturating_sub(self.epoch).max(self.now);
        self.digest.as_ref().is_some_and(|(at, _)| now.saturating_sub(*at) <= self.config.child_lifetime)
    }

    /// Children that are listened to.
    pub fn children(&self) -> impl Iterator<Item = NodeId> {
        self.children.ids()
    }

    /// Since the machine was made.
    #[must_use]
    pub fn counters(&self) -> TreeCounters {
        self.counters
    }

    fn advance_clock(&mut self, now: Duration) {
        self.now = self.now.max(now.saturating_sub(self.epoch));
    }

    fn take_report(&mut self, from: NodeId, report: Report) -> Result<(), TreeFault> {
        let level = self.children.level(&from).ok_or(TreeFault::NotAChild)?;
        let quota = self.config.quota(level);
        let summary = self.config.limits.check(report.summary, quota)?;
        let age = Duration::from_millis(report.age_ms);
        if self.children.replace(&from, (report.epoch, report.version), summary, self.now, age) {
            self.counters.reports_taken += 1;
            self.merge();
        } else {
            self.counters.reports_stale += 1;
        }
        Ok(())
    }

    /// A digest of another root replaces any; of the same one, only an older one.
    fn take_digest(&mut self, digest: Digest) {
        if let Some((_, known)) = &self.digest
            && known.root == digest.root
            && (known.epoch, known.version) >= (digest.epoch, digest.version)
        {
            return;
        }
        for child in self.children.ids().collect::<Vec<_>>() {
            self.send(child, &TreeMessage::Digest(digest.clone()));
        }
        self.digest = Some((self.now, digest));
        self.outbox.push_back(TreeOutput::View);
    }

    fn merge(&mut self) {
        let mut merged = self.local.clone();
        self.children.summaries().for_each(|summary| merged.merge(summary));
        if merged != self.merged {
            self.merged = merged;
            self.version += 1;
        }
    }

    /// In a hundredth of the interval: what changes at once is told at once, but not each change alone.
    fn report_soon(&mut self) {
        self.report_at = self.report_at.min(self.now + self.config.report_interval / 100);
    }

    fn report(&mut self) {
        let Some(parent) = self.parent else { return };
        let age_ms = self.aggregate(self.epoch + self.now).age.as_millis() as u64;
        let (epoch, version) = (self.config.epoch, self.version);
        if self.told == Some(version) {
            self.send(parent, &TreeMessage::Still { epoch, version, age_ms });
            return;
        }
        let summary = self.merged.clone();
        self.send(parent, &TreeMessage::Report(Report { epoch, version, age_ms, summary }));
        self.told = Some(version);
        self.counters.reports_sent += 1;
    }

    /// The root, and whoever hears nothing from above, tells its children what it knows.
    fn publish(&mut self) {
        if self.is_connected(self.epoch + self.now) {
            return;
        }
        self.digest = None;
        self.digest_version += 1;
        let digest = self.own_digest(self.now);
        for child in self.children.ids().collect::<Vec<_>>() {
            self.send(child, &TreeMessage::Digest(digest.clone()));
        }
        self.outbox.push_back(TreeOutput::View);
    }

    fn own_digest(&self, now: Duration) -> Digest {
        let aggregate = self.aggregate(self.epoch + now);
        Digest::of(&aggregate, self.me, self.config.epoch, self.digest_version)
    }

    fn send(&mut self, to: NodeId, message: &TreeMessage) {
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        self.outbox.push_back(TreeOutput::Send { to, bytes });
    }
}
