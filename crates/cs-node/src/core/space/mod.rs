//! One space: its members, operations, folder and documents, and what connected peers know of it.

mod documents;
mod files;
mod ingest;
mod link;
mod live;
mod logs;
mod members;
mod report;
mod sync;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use cs_gossip::{Gossip, reconcile};
use cs_identity::control::ControlGraph;
use cs_identity::{NodeId, OpId, SpaceId};
use cs_transport::wire::Lane;
use minicbor::{Decode, Encode};

pub(crate) use crate::core::space::files::{Files, FolderState};
pub(crate) use crate::core::space::ingest::{Body, Taken};
pub(crate) use crate::core::space::link::Summary;
pub(crate) use crate::core::space::members::access_name;

use crate::core::host::Host;
use crate::core::keys::Keyring;
use crate::core::space::documents::Documents;
use crate::core::space::link::Link;
use crate::core::space::logs::Logs;
use crate::core::tree::Tree;
use crate::core::waiting::Waiting;
use crate::wire::Message;

/// What went wrong in a space. From a peer's message it is the peer's fault, and nothing of the message was kept;
/// from this node's own command it is the reason for the refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Fault {
    #[error("not a signed statement or operation")]
    Malformed,
    #[error("it belongs to another space")]
    OtherSpace,
    #[error("its author had no right to it")]
    Forbidden,
    #[error("it contradicts what its author said before")]
    Inconsistent,
    #[error("its claimed time is more than a day ahead")]
    Future,
    #[error("more at once than a peer may ask for")]
    Flood,
    #[error("a reconciliation that no honest peer sends")]
    Reconciliation,
    #[error("no key of this space is known here yet")]
    NoKey,
    #[error("it is larger than an operation may be, or its path deeper than 255 names")]
    TooLarge,
    #[error("the disk does not take it")]
    Disk,
}

/// What is kept of a space beside its statements and operations.
#[derive(Clone, Debug, PartialEq, Eq, Encode, Decode)]
pub(crate) struct Settings {
    #[n(0)]
    pub(crate) name: String,
    /// Bytes of the folder's path; empty for none.
    #[n(1)]
    #[cbor(with = "minicbor::bytes")]
    pub(crate) folder: Vec<u8>,
    #[n(2)]
    pub(crate) paused: bool,
}

impl Settings {
    pub(crate) fn folder_path(&self) -> Option<PathBuf> {
        // Written by `Space::settings` on this machine, from an `OsStr`.
        #[cfg(unix)]
        let path = <std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(self.folder.clone());
        #[cfg(not(unix))]
        let path: std::ffi::OsString = String::from_utf8_lossy(&self.folder).into_owned().into();
        (!self.folder.is_empty()).then(|| PathBuf::from(path))
    }
}

/// A space.
pub(crate) struct Space {
    pub(crate) id: SpaceId,
    pub(crate) name: String,
    pub(crate) paused: bool,
    pub(crate) graph: ControlGraph,
    pub(crate) keys: Keyring,
    pub(crate) links: BTreeMap<NodeId, Link>,
    pub(crate) tree: Tree,
    pub(crate) documents: Documents,
    pub(crate) files: Files,
    gossip: Gossip,
    control: reconcile::Index,
    operations: reconcile::Index,
    waiting: Waiting,
    logs: Logs,
    /// Operations that no key here opens yet.
    sealed: Vec<OpId>,
    summary_at: Duration,
    /// When this device begins an epoch, or gives it to somebody, unless another has done so.
    keys_at: Option<Duration>,
    reconciliations: u32,
}

impl Space {
    pub(crate) fn new(
        host: &mut Host,
        id: SpaceId,
        name: String,
        dir: Option<PathBuf>,
        keys: Keyring,
    ) -> Self {
        let seed = host.random();
        // What does not verify is passed on to nobody, or honest peers would be blamed for it.
        let config = cs_gossip::Config { validate: true, ..cs_gossip::Config::default() };
        let gossip =
            Gossip::new(config, host.me, host.now, seed).expect("the default configuration is valid");
        Self {
            id,
            name,
            paused: false,
            graph: ControlGraph::new(id),
            keys,
            links: BTreeMap::new(),
            tree: Tree::default(),
            documents: Documents::default(),
            files: Files::new(dir),
            gossip,
            control: reconcile::Index::default(),
            operations: reconcile::Index::default(),
            waiting: Waiting::default(),
            logs: Logs::default(),
            sealed: Vec::new(),
            summary_at: host.now,
            keys_at: None,
            reconciliations: 0,
        }
    }

    pub(crate) fn settings(&self) -> Settings {
        let folder =
            self.files.dir.as_ref().map(|d| d.as_os_str().as_encoded_bytes().to_vec()).unwrap_or_default();
        Settings { name: self.name.clone(), folder, paused: self.paused }
    }

    /// Every statement, each after those it names.
    pub(crate) fn statements(&self) -> impl Iterator<Item = Vec<u8>> {
        self.graph.statements().map(|s| s.bytes().to_vec())
    }

    /// Stops or takes up syncing. While it is stopped no peer is linked, so that nobody waits for an answer that was
    /// under way (NODE-2).
    pub(crate) fn set_paused(&mut self, host: &mut Host, paused: bool) {
        self.paused = paused;
        if paused {
            self.retain_links(host, |_| false);
        }
        self.settle(host);
    }

    /// Closes the space with those peers that `stays` does not name.
    pub(crate) fn retain_links(&mut self, host: &mut Host, stays: impl Fn(&NodeId) -> bool) {
        let gone: Vec<NodeId> = self.links.keys().filter(|peer| !stays(peer)).copied().collect();
        for peer in gone {
            self.link_down(host, peer);
        }
    }

    /// Sends a message to a linked peer.
    pub(crate) fn send(&self, host: &mut Host, peer: NodeId, lane: Lane, message: &Message) {
        if let Some(link) = self.links.get(&peer) {
            host.send(link.session, lane, message);
        }
    }

    /// The next moment at which something here is due.
    pub(crate) fn timeout(&self) -> Option<Duration> {
        [Some(self.sync_timeout()), self.keys_at, self.files.timeout(), self.gossip.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
    }

    /// The tag by which two members recognise that they share this space: only somebody who knows it can tell.
    pub(crate) fn tag(&self, exporter: &[u8; 32]) -> [u8; 16] {
        let mut hasher = blake3::Hasher::new_derive_key("cosync 2026 space tag");
        hasher.update(self.id.as_bytes()).update(exporter);
        let mut tag = [0; 16];
        hasher.finalize_xof().fill(&mut tag);
        tag
    }
}
