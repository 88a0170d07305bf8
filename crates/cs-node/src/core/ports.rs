//! What goes into [`NodeCore`](crate::core::NodeCore) and what comes out: the whole outside world as values.

use std::net::SocketAddr;
use std::path::PathBuf;

use cs_identity::{NodeId, OpId, SpaceId};
use cs_transport::net::{Relay, Via};
use cs_transport::wire::Lane;

use crate::api::{Problem, Reply, Request};
use crate::core::network::Network;
use crate::folder::{ChunkRef, Content, LocalChange, RelPath};

/// A transport session, numbered by the driver.
pub type SessionId = u64;

/// A request on the local API, numbered by the driver.
pub type CommandId = u64;

/// Something that happened outside.
#[derive(Debug)]
pub enum Input<'a> {
    /// A session to an authenticated peer stands.
    SessionUp {
        /// Its number.
        session: SessionId,
        /// Who is at the other end.
        peer: NodeId,
        /// Where its packets come from.
        addr: SocketAddr,
        /// Secret that only the two ends share: binds what is proven inside to this session.
        exporter: [u8; 32],
    },
    /// A session is over.
    SessionDown {
        /// Its number.
        session: SessionId,
        /// Who was at the other end.
        peer: NodeId,
    },
    /// A dial found nobody.
    DialFailed {
        /// Who was wanted.
        peer: NodeId,
    },
    /// A message from a peer.
    Message {
        /// On which session.
        session: SessionId,
        /// From whom.
        peer: NodeId,
        /// Its bytes.
        bytes: &'a [u8],
    },
    /// A sealed request datagram; answered with [`Output::RpcReply`] or not at all.
    RpcRequest {
        /// From whom.
        from: NodeId,
        /// From where.
        addr: SocketAddr,
        /// The request.
        bytes: &'a [u8],
        /// Names the answer.
        token: u64,
    },
    /// The answer to an [`Output::Rpc`].
    RpcResponse {
        /// Which one.
        rpc: u64,
        /// From whom.
        from: NodeId,
        /// The answer.
        bytes: &'a [u8],
    },
    /// An [`Output::Rpc`] that was not answered.
    RpcFailed {
        /// Which one.
        rpc: u64,
    },
    /// A node seen on the local network.
    LanPeer {
        /// Its ID, as it claims; a session proves it.
        peer: NodeId,
        /// Where it listens.
        addrs: Vec<SocketAddr>,
        /// Beginnings of the places where its open codes are met.
        codes: Vec<[u8; 8]>,
    },
    /// What a peer saw as our address.
    AddressObserved {
        /// The address.
        addr: SocketAddr,
    },
    /// What the transport knows of the network, and of the ways to peers.
    Network(Box<Network>),
    /// News from a shared folder.
    Folder {
        /// The space it belongs to.
        space: SpaceId,
        /// The news.
        event: FolderEvent,
    },
    /// A request on the local API; answered with [`Output::Answer`].
    Command {
        /// Names the answer.
        id: CommandId,
        /// What is asked.
        request: Request,
    },
    /// The wall clock, on start and whenever it may have jumped.
    WallClock {
        /// Unix time in milliseconds.
        unix_ms: u64,
    },
}

/// Something to be done outside.
#[derive(Debug)]
pub enum Output {
    /// Connect to a peer; ends in `SessionUp` or `DialFailed`. While it is under way, further addresses join it.
    Dial {
        /// Whom.
        peer: NodeId,
        /// Where it may be.
        addrs: Vec<SocketAddr>,
        /// Who may pass signals on to it.
        via: Vec<Via>,
    },
    /// Use these relays from now on, best first.
    Relays {
        /// All of them.
        relays: Vec<Relay>,
    },
    /// Send a message.
    Send {
        /// On which session.
        session: SessionId,
        /// In which lane.
        lane: Lane,
        /// The bytes.
        bytes: Vec<u8>,
    },
    /// End a session.
    Close {
        /// Which one.
        session: SessionId,
    },
    /// Send a sealed request datagram.
    Rpc {
        /// Names the answer.
        rpc: u64,
        /// To whom.
        to: NodeId,
        /// Where.
        addr: SocketAddr,
        /// The request.
        bytes: Vec<u8>,
    },
    /// Answer a sealed request.
    RpcReply {
        /// Which one.
        token: u64,
        /// The answer.
        bytes: Vec<u8>,
    },
    /// Announce on the local network which codes can be met here.
    Announce {
        /// Beginnings of the places where they are met, all of them.
        codes: Vec<[u8; 8]>,
    },
    /// Ask the local network who is there, now.
    SearchLan,
    /// Open a folder for a space; ends in `FolderEvent::Opened` or `FolderEvent::Failed`.
    OpenFolder {
        /// The space.
        space: SpaceId,
        /// The directory.
        dir: PathBuf,
        /// Key of its chunk IDs.
        chunk_key: [u8; 32],
        /// Create the directory if it is missing.
        create: bool,
    },
    /// Something for an open folder to do.
    Folder {
        /// The space it belongs to.
        space: SpaceId,
        /// What to do.
        command: FolderCommand,
    },
    /// Close a folder and forget it.
    CloseFolder {
        /// The space.
        space: SpaceId,
    },
    /// The answer to an `Input::Command`.
    Answer {
        /// Which one.
        id: CommandId,
        /// The reply, or why not.
        result: Result<Reply, Problem>,
    },
    /// Something worth a line in the log.
    Event(Event),
    /// The node was asked to stop.
    Stop,
}

/// What a shared folder can be told.
#[derive(Debug, Clone)]
pub enum FolderCommand {
    /// Look through all of it, or below one path.
    Scan {
        /// Where; `None` is everything.
        scope: Option<RelPath>,
    },
    /// Local changes were accepted as these versions.
    Confirm {
        /// Path, content, versions.
        changes: Vec<(RelPath, Content, Vec<OpId>)>,
    },
    /// Bring these paths to these versions.
    Apply {
        /// Path, content, versions.
        versions: Vec<(RelPath, Content, Vec<OpId>)>,
    },
    /// A local change was not accepted; it stays in the folder and is told again.
    Withdraw {
        /// The path.
        path: RelPath,
    },
    /// Chunks that arrived.
    WriteChunks {
        /// Senders, identifiers and bytes.
        chunks: Vec<(NodeId, [u8; 32], Vec<u8>)>,
    },
    /// Read a chunk for a peer.
    ReadChunk {
        /// For whom.
        peer: NodeId,
        /// Which one.
        id: [u8; 32],
    },
}

/// What a shared folder has to tell.
#[derive(Debug)]
pub enum FolderEvent {
    /// What it holds by its own index; before `Opened`.
    Holds {
        /// Paths and versions.
        paths: Vec<(RelPath, Vec<OpId>)>,
    },
    /// It is open; a scan should follow.
    Opened,
    /// It cannot be used.
    Failed {
        /// Why, and what to do.
        why: String,
    },
    /// Local edits that are not yet operations. Each is answered by `Confirm` or `Withdraw`.
    Changed {
        /// The edits; `true` with one that looks like this node's own work, unfinished when it crashed.
        changes: Vec<(LocalChange, bool)>,
    },
    /// A scan came to its end.
    Scanned,
    /// A path now holds this content as these versions.
    Applied {
        /// The path.
        path: RelPath,
        /// The versions.
        versions: Vec<OpId>,
    },
    /// A path was edited here before a version of others could take its place; the edit is told next.
    Edited {
        /// The path.
        path: RelPath,
    },
    /// The bytes of a chunk were not what its name says.
    WrongChunk {
        /// Who sent it.
        from: NodeId,
        /// Which one.
        id: [u8; 32],
    },
    /// A path needs chunks that are not on this disk.
    Needs {
        /// The path.
        path: RelPath,
        /// The chunks, in order of use.
        chunks: Vec<ChunkRef>,
    },
    /// A path cannot be brought to its version, or cannot be read.
    Trouble {
        /// The path.
        path: RelPath,
        /// Why, and what to do.
        why: String,
    },
    /// The trouble of a path is over.
    TroubleOver {
        /// The path.
        path: RelPath,
    },
    /// `WriteChunks` was carried out, or found to be of no use: this many bytes are not in memory any more.
    Wrote {
        /// Bytes of chunks.
        bytes: u64,
    },
    /// The answer to `ReadChunk`.
    ChunkRead {
        /// For whom.
        peer: NodeId,
        /// Which one.
        id: [u8; 32],
        /// Its bytes, if it is here.
        data: Option<Vec<u8>>,
    },
    /// Something under this path changed; a scan should follow.
    Dirty {
        /// Where; `None` is everything.
        scope: Option<RelPath>,
    },
}

/// What the node reports of itself, for logs and live displays.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A peer is connected.
    PeerUp(NodeId),
    /// A peer is gone.
    PeerDown(NodeId),
    /// A peer broke the protocol; nothing of its message was kept.
    Fault {
        /// Who.
        peer: NodeId,
        /// How.
        what: &'static str,
    },
    /// A device joined a space by an invitation made here.
    MemberJoined {
        /// The space.
        space: SpaceId,
        /// The device.
        member: NodeId,
    },
    /// A guess at a code was wrong, and the code is burned.
    CodeBurned {
        /// Who guessed.
        peer: NodeId,
    },
    /// The store cannot be read any more, and the node ends.
    StoreBroken(cs_store::StoreError),
    /// Many deletions by a peer are held back.
    DeletionsHeld {
        /// The space.
        space: SpaceId,
        /// How many.
        count: u64,
    },
}
