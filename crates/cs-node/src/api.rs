//! Requests to a running node and its replies: the local API, one JSON object each way.
//!
//! The command line is a client of this and of nothing else, so whatever it can do, a program can do over the socket.
//! Every reply carries [`API_VERSION`]; within one version fields are only added.

mod dht;
mod net;

use serde::{Deserialize, Serialize};

pub use dht::{DhtAsk, DhtFound, DhtLookup, DhtRecord, DhtStep, DhtView};
pub use net::{Net, NetHub, NetPath, NetRelay, NetSession, PortMapping};

/// Version of the request and reply objects. Raised when a field changes its meaning or goes away.
pub const API_VERSION: u32 = 1;

/// What a client asks of the node. Paths inside a space are UTF-8 with `/` between components.
///
/// `space` names a space by its name or by a prefix of its ID; `None` means the only one there is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// The node, its peers and its spaces at a glance.
    Status,
    /// Creates a space around a folder and invites one device to it. Sharing a shared folder again only invites.
    Share {
        /// Absolute path of an existing directory.
        folder: String,
        /// What to call the space; the folder's own name by default.
        name: Option<String>,
        /// What the invited device may do.
        access: Access,
        /// Lifetime of the invitation in seconds.
        expires_s: u64,
    },
    /// Redeems a code or an invitation.
    Join {
        /// A short code (`XXXXX-XXXXX`) or a full invitation (`cosync:…`).
        ticket: String,
        /// Absolute path of a directory, created if it is missing; `None` joins without a folder (documents only).
        folder: Option<String>,
        /// Seconds after which the search for the inviting device is given up; `None` means 45, an hour is the most.
        #[serde(default)]
        limit_s: Option<u64>,
    },
    /// Makes another invitation to a space.
    Invite {
        /// The space.
        space: Option<String>,
        /// What the invited device may do.
        access: Access,
        /// Lifetime in seconds.
        expires_s: u64,
    },
    /// Files and documents below a path.
    List {
        /// The space.
        space: Option<String>,
        /// A path prefix; empty for everything.
        prefix: String,
    },
    /// A JSON document.
    Get {
        /// The space.
        space: Option<String>,
        /// Its path.
        path: String,
    },
    /// Makes the JSON document at a path equal to `value`, by the smallest edits, so that concurrent edits merge.
    Put {
        /// The space.
        space: Option<String>,
        /// Its path.
        path: String,
        /// What it shall be.
        value: serde_json::Value,
    },
    /// The newest operations, newest first.
    Log {
        /// The space.
        space: Option<String>,
        /// Only this path.
        path: Option<String>,
        /// At most this many.
        limit: usize,
    },
    /// Everything that could not be merged and waits for a person.
    Conflicts {
        /// The space.
        space: Option<String>,
        /// Only this path, with the versions in full.
        path: Option<String>,
    },
    /// Settles a conflict in favour of one version.
    Resolve {
        /// The space.
        space: Option<String>,
        /// The path in conflict.
        path: String,
        /// `mine`, `theirs`, or a version's ID (a prefix will do).
        keep: String,
    },
    /// Applies or undoes the deletions that were held back because they were many.
    Deletions {
        /// The space.
        space: Option<String>,
        /// `true` deletes here too, `false` restores the files everywhere.
        accept: bool,
    },
    /// The members of a space, their rights and when they were last seen.
    Who {
        /// The space.
        space: Option<String>,
    },
    /// Calls a device by a name of the user's own, which nobody else sees.
    Name {
        /// The device: its ID, the beginning of a member's, or the name it has.
        node: String,
        /// The name; `None` takes it away.
        name: Option<String>,
    },
    /// Attests to the members of a space that a device belongs to a person one knows, or takes that back.
    Trust {
        /// The space; `None` means every one that the device is a member of.
        space: Option<String>,
        /// The device: its ID, the beginning of a member's, or its petname.
        node: String,
        /// How firmly.
        trust: Trust,
        /// What to suggest that others call it.
        name: Option<String>,
    },
    /// The devices of the person at this one.
    Devices,
    /// This device's word that it belongs to a person, for `DeviceAdd` on the person's first device.
    DeviceConsent {
        /// The ID of the person: of its first device.
        person: String,
    },
    /// Certifies a device as this person's.
    DeviceAdd {
        /// Its ID, in full.
        node: String,
        /// What to call it.
        label: String,
        /// What `DeviceConsent` gave there.
        consent: String,
    },
    /// Takes a device's certificate back.
    DeviceRemove {
        /// Its ID, the beginning of it, or its label.
        node: String,
    },
    /// Makes this device speak for a person in place of the key that did.
    DeviceRecover {
        /// The ID of the person.
        person: String,
        /// The recovery key that an earlier answer gave.
        key: String,
    },
    /// Takes every right from a device and gives the others new keys.
    Revoke {
        /// The space.
        space: Option<String>,
        /// The device's ID (a prefix will do).
        node: String,
    },
    /// Stops syncing a space, or all of them, until `resume`.
    Pause {
        /// The space; `None` means every one.
        space: Option<String>,
    },
    /// Takes up what was paused.
    Resume {
        /// The space; `None` means every one.
        space: Option<String>,
    },
    /// Why things are as they are: every wait, path and problem with its cause.
    Doctor {
        /// A space, a peer, `dht`, `net` or `folder`; `None` means all.
        subject: Option<String>,
    },
    /// This node's own network: its NAT, mapped ports, relays, and the paths of its sessions.
    Net,
    /// Asks the DHT itself.
    Dht(DhtAsk),
    /// Ends the node, cleanly.
    Stop,
}

/// What an invitation lets a device do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// Read only: its writes are refused by every peer.
    Read,
    /// Read and write.
    #[default]
    Write,
    /// Read, write, invite and revoke.
    Manage,
}

/// How firmly somebody is attested.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trust {
    /// As for oneself.
    #[default]
    Full,
    /// Somewhat: one of several.
    Marginal,
    /// No longer.
    Withdrawn,
}

/// The answer to a [`Request`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// To `status`.
    Status(Status),
    /// To `share` and `invite`.
    Invited(Invited),
    /// To `join`: the space is known; its content follows.
    Joined {
        /// ID of the space.
        space: String,
        /// Its name.
        name: String,
    },
    /// To `ls`.
    Entries {
        /// In byte order of their paths.
        entries: Vec<Entry>,
    },
    /// To `get`.
    Document {
        /// Its path.
        path: String,
        /// Its present value.
        value: serde_json::Value,
        /// Places where concurrent edits could not be merged, as JSON pointers.
        conflicts: Vec<String>,
    },
    /// To `log`.
    Log {
        /// Newest first.
        entries: Vec<LogEntry>,
    },
    /// To `conflicts`.
    Conflicts {
        /// By path.
        conflicts: Vec<Conflict>,
    },
    /// To `who`.
    Members {
        /// By ID.
        members: Vec<Member>,
    },
    /// To `device`.
    Devices {
        /// The ID of the person.
        person: String,
        /// Whether somebody signed two histories with the person's key; only a recovery helps.
        is_frozen: bool,
        /// The one that speaks for the person first.
        devices: Vec<Device>,
    },
    /// To `device consent`.
    Consent {
        /// In hexadecimal digits.
        consent: String,
    },
    /// To `device add` and `device recover`.
    Recovery {
        /// What was done.
        message: String,
        /// The key to recover with, when there is a new one. It is shown once and kept nowhere.
        recovery: Option<String>,
    },
    /// To `doctor`.
    Findings {
        /// Worst first.
        findings: Vec<Finding>,
    },
    /// To `net`.
    Net(Box<Net>),
    /// To `dht`.
    Dht(DhtFound),
    /// To everything that only had to be done; says what was done.
    Done {
        /// One sentence.
        message: String,
    },
}

/// A refusal, with what to do about it. On the socket it travels as `application/problem+json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// What went wrong, as a kind that programs can match on.
    pub code: ProblemCode,
    /// What failed, on what.
    pub message: String,
    /// What to do next.
    pub hint: String,
}

impl Problem {
    /// A problem of a kind: what failed, on what; and what to do next.
    pub fn new(code: ProblemCode, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: hint.into() }
    }
}

/// Kinds of [`Problem`]. Each has its own exit code on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ProblemCode {
    /// Something failed that no other code names. Exit code 1.
    Failed,
    /// The request itself is wrong. Exit code 2.
    Usage,
    /// No such space, path, version, peer, conflict or record. Exit code 3.
    NotFound,
    /// No node is running for this state directory, or one already is. Exit code 4.
    NotRunning,
    /// The code or invitation is wrong, used, expired or damaged. Exit code 5.
    BadInvitation,
    /// The other device, or any node of the DHT, could not be reached. Exit code 6.
    Unreachable,
    /// This device's rights do not allow it. Exit code 7.
    Forbidden,
    /// The folder cannot be used: not a directory, vanished, already shared. Exit code 8.
    Folder,
    /// The disk is full or refuses to write. Exit code 9.
    Disk,
    /// State on disk is damaged. Exit code 10.
    Corrupt,
    /// Conflicts or held deletions wait for a person. Exit code 11.
    NeedsDecision,
}

impl ProblemCode {
    /// The process exit code that the command line ends with.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::NotFound => 3,
            Self::NotRunning => 4,
            Self::BadInvitation => 5,
            Self::Unreachable => 6,
            Self::Forbidden => 7,
            Self::Folder => 8,
            Self::Disk => 9,
            Self::Corrupt => 10,
            Self::NeedsDecision => 11,
        }
    }
}

/// The node at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// [`API_VERSION`].
    pub version: u32,
    /// This device's ID.
    pub node: String,
    /// Addresses it listens on.
    pub listen: Vec<String>,
    /// Connected peers.
    pub peers: Vec<Peer>,
    /// Spaces, by name.
    pub spaces: Vec<Space>,
    /// Nodes in the DHT's routing table.
    pub dht_contacts: usize,
    /// What each `join` under way waits for, in words.
    #[serde(default)]
    pub joining: Vec<String>,
}

/// A connected peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its ID.
    pub node: String,
    /// The address its packets come from.
    pub address: String,
    /// Names of the spaces shared with it.
    pub spaces: Vec<String>,
}

/// A space at a glance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Space {
    /// Its ID.
    pub id: String,
    /// Its name on this device.
    pub name: String,
    /// The folder it lives in here, if it has one.
    pub folder: Option<String>,
    /// This device's access.
    pub access: String,
    /// What it is doing now.
    pub state: SpaceState,
    /// Files and links, not counting directories.
    pub files: u64,
    /// Their total size in bytes.
    pub bytes: u64,
    /// JSON documents.
    pub documents: u64,
    /// Paths in conflict.
    pub conflicts: u64,
    /// Deletions held back until a person decides.
    pub held_deletions: u64,
    /// Files still to be received.
    pub files_wanted: u64,
    /// Bytes of chunks still to be received.
    pub bytes_wanted: u64,
    /// Bytes of chunks received since the node started.
    pub bytes_received: u64,
    /// Bytes of chunks sent since the node started.
    pub bytes_sent: u64,
    /// Operations known.
    pub operations: u64,
    /// Members now connected.
    pub connected: u64,
    /// Connected members that are known to have the same operations.
    pub in_sync_with: u64,
    /// Paths that cannot be synced, with the reason.
    pub problems: Vec<PathProblem>,
}

/// What a space is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SpaceState {
    /// Looking through the folder.
    Scanning,
    /// Fetching or sending what is missing.
    Syncing,
    /// Everything known is here.
    UpToDate,
    /// No member is connected.
    Alone,
    /// Stopped by `pause`.
    Paused,
    /// The folder cannot be used; see `problems`.
    Stopped,
}

/// A path that cannot be synced, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PathProblem {
    /// The path, lossily as UTF-8.
    pub path: String,
    /// What is wrong and what to do.
    pub why: String,
}

/// A fresh invitation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invited {
    /// ID of the space.
    pub space: String,
    /// Its name.
    pub name: String,
    /// The short code: one use, one guess.
    pub code: String,
    /// The full invitation: one use, needs no rendezvous.
    pub invitation: String,
    /// Unix time in milliseconds after which both are refused.
    pub expires_unix_ms: u64,
}

/// A file or document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The path, lossily as UTF-8.
    pub path: String,
    /// `file`, `directory`, `link` or `document`.
    pub kind: String,
    /// Size in bytes; 0 for directories, documents and links.
    pub size: u64,
    /// Unix time in milliseconds of the newest version, as its author claims.
    pub changed_unix_ms: u64,
    /// The device that wrote it.
    pub author: String,
    /// Whether concurrent versions exist.
    pub conflict: bool,
    /// Whether the content is still on its way to the folder here.
    pub pending: bool,
}

/// One operation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEntry {
    /// Its ID.
    pub id: String,
    /// Unix time in milliseconds, as the author claims.
    pub unix_ms: u64,
    /// The device that wrote it.
    pub author: String,
    /// The path.
    pub path: String,
    /// `wrote`, `deleted`, `made directory`, `linked`, `edited document`.
    pub what: String,
}

/// Concurrent versions of one path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conflict {
    /// The path, lossily as UTF-8.
    pub path: String,
    /// The versions; the one that lies in the folder first.
    pub versions: Vec<Version>,
}

/// One version of a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Its ID.
    pub id: String,
    /// The device that wrote it.
    pub author: String,
    /// Whether that is this device.
    pub mine: bool,
    /// Unix time in milliseconds, as the author claims.
    pub unix_ms: u64,
    /// What it is: `file, 12 bytes`, `deleted`, or a JSON value.
    pub what: String,
}

/// A member of a space.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Its ID.
    pub node: String,
    /// `read`, `write` or `manage`.
    pub access: String,
    /// Whether this is the device asked.
    pub me: bool,
    /// Whether it is connected.
    pub connected: bool,
    /// Whether it is known to have the same operations.
    pub in_sync: bool,
    /// What the user calls it.
    #[serde(default)]
    pub name: Option<String>,
    /// The person whose device it is, if that is another key.
    #[serde(default)]
    pub person: Option<String>,
    /// Whether it is trusted to be a person's whom this device's person knows, or knows of.
    #[serde(default)]
    pub trusted: bool,
    /// Why, or why not; empty for this device.
    #[serde(default)]
    pub why: String,
    /// What is wrong with it, if anything is: a key that signed two histories.
    #[serde(default)]
    pub warning: Option<String>,
}

/// A device of a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    /// Its ID.
    pub node: String,
    /// What its person calls it.
    pub label: String,
    /// Whether this is the device asked.
    pub me: bool,
    /// Whether it speaks for the person.
    pub speaks: bool,
}

/// One thing that `doctor` has to say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What it is about: a space, a peer, a path.
    pub subject: String,
    /// What is so, and why.
    pub finding: String,
    /// What to do, if anything.
    pub advice: Option<String>,
}

/// How bad a [`Finding`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Level {
    /// Something does not work.
    Problem,
    /// Something waits, or needs a decision.
    Waiting,
    /// All is well.
    Fine,
}
