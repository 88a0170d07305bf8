//! A simulated machine: its disks outlive the process that runs on it.

use crate::sim::Chance;
use crate::sim::folders::{Open, Place};
use cs_dht::Contact;
use cs_identity::{NodeId, SecretKey, SpaceId};
use cs_node::core::{Config, NodeCore};
use cs_store::{MemDisk, OpenError, OpenOptions, Store};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Unix time at the beginning of every simulation, in milliseconds.
pub(crate) const START_MS: u64 = 1_900_000_000_000;

/// The index of a node's store keeps this much in memory.
const STORE_CACHE: usize = 256 << 10;

/// A machine.
pub(crate) struct Machine {
    pub(crate) secret: SecretKey,
    pub(crate) id: NodeId,
    pub(crate) addr: SocketAddr,
    pub(crate) disk: MemDisk,
    pub(crate) places: BTreeMap<PathBuf, Place>,
    /// How far its wall clock is from the true time.
    pub(crate) skew_ms: i64,
    /// The number of the process's present run, or of the last one.
    pub(crate) life: u32,
    pub(crate) process: Option<Process>,
    /// Since when it sleeps.
    pub(crate) asleep_since: Option<Duration>,
    /// A start is planned: while none is, a machine that is down stays down.
    pub(crate) boot_planned: bool,
    /// The disk of the state directory takes nothing more.
    pub(crate) disk_is_full: bool,
    /// How long a folder takes to open.
    pub(crate) opening: Duration,
}

/// A running process.
pub(crate) struct Process {
    pub(crate) core: NodeCore<MemDisk>,
    pub(crate) folders: BTreeMap<SpaceId, Open>,
    /// It was told to end, which takes a moment.
    pub(crate) is_leaving: bool,
    /// When its own clock showed zero.
    booted_at: Duration,
    pub(crate) turn_at: Option<Duration>,
    pub(crate) dials: BTreeMap<NodeId, u64>,
    /// Requests being answered: whom, which life of it, and its number there.
    pub(crate) tokens: BTreeMap<u64, (usize, u32, u64)>,
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine").field("id", &self.id).field("life", &self.life).finish_non_exhaustive()
    }
}

impl Machine {
    pub(crate) fn new(seed: u64, place: usize) -> Self {
        let mut chance = Chance::new(seed ^ ((place as u64 + 1) << 40), "machine");
        let secret = SecretKey::from_bytes(chance.bytes());
        Self {
            id: secret.node_id(),
            secret,
            addr: address(place, 0),
            disk: MemDisk::new(),
            places: BTreeMap::new(),
            skew_ms: chance.below(4_001) as i64 - 2_000,
            life: 0,
            process: None,
            asleep_since: None,
            boot_planned: false,
            disk_is_full: false,
            opening: Duration::ZERO,
        }
    }

    pub(crate) fn unix_ms(&self, now: Duration) -> u64 {
        (START_MS as i64 + now.as_millis() as i64 + self.skew_ms).max(0) as u64
    }

    /// Whether it takes part in anything.
    pub(crate) fn is_awake(&self) -> bool {
        self.process.is_some() && self.asleep_since.is_none()
    }

    /// Starts the process on whatever the disks hold.
    pub(crate) fn boot(
        &mut self,
        now: Duration,
        seed: u64,
        bootstrap: Vec<Contact>,
    ) -> Result<(), OpenError> {
        let mut options = OpenOptions::default();
        options.cache_bytes = STORE_CACHE;
        options.salt = [7; 32];
        let (store, _) = Store::open(self.disk.clone(), options)?;
        self.life += 1;
        let place = u64::from_le_bytes(self.id.as_bytes()[..8].try_into().expect("eight bytes"));
        let mut chance = Chance::new(seed ^ place ^ (u64::from(self.life) << 32), "entropy");
        // An odd beginning of time hides no alignment bug.
        let booted_at = now.saturating_sub(Duration::from_nanos(chance.below(1_000_000) * 2 + 1));
        let config = Config {
            addrs: vec![self.addr],
            is_bootstrap: bootstrap.iter().any(|c| c.id == self.id),
            bootstrap: bootstrap.into_iter().filter(|c| c.id != self.id).collect(),
            unix_ms: self.unix_ms(now),
            ..Config::default()
        };
        let entropy = Box::new(move || chance.bytes());
        let core = NodeCore::new(config, self.secret.clone(), store, now - booted_at, entropy);
        self.process = Some(Process {
            core,
            folders: BTreeMap::new(),
            is_leaving: false,
            booted_at,
            turn_at: None,
            dials: BTreeMap::new(),
            tokens: BTreeMap::new(),
        });
        Ok(())
    }
}

impl Process {
    /// The process's own clock.
    pub(crate) fn local(&self, now: Duration) -> Duration {
        now.saturating_sub(self.booted_at)
    }

    /// When its own clock will show this.
    pub(crate) fn global(&self, local: Duration) -> Option<Duration> {
        local.checked_add(self.booted_at)
    }

    /// Its clock stood still for so long.
    pub(crate) fn slept(&mut self, span: Duration) {
        self.booted_at += span;
    }
}

/// Addresses of different machines are in different networks.
pub(crate) fn address(place: usize, moved: u8) -> SocketAddr {
    SocketAddr::from(([44 + (place >> 8) as u8, place as u8, moved, 1], 7_000))
}
