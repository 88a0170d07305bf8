//! Decoders of cs-node: messages between nodes, versions of files, invitations.

use std::net::SocketAddr;

use cs_node::folder::{ChunkList, ChunkRef, Content, FileVersion, RelPath};
use cs_node::ticket::Ticket;
use cs_node::wire::{Key32, Message, Set};

use crate::identity::node;
use crate::laws::{bytes_of, one_encoding, same_value};

/// A message between nodes. CBOR leaves a choice of encodings, which is none of the receiver's business: nothing of it is
/// signed or hashed.
pub fn message(bytes: &[u8]) -> bool {
    let Ok(message) = Message::from_bytes(bytes) else { return false };
    same_value(&message, Message::from_bytes, Message::to_bytes);
    true
}

/// What a path of a folder holds, as it stands in a sealed operation.
pub fn file_version(bytes: &[u8]) -> bool {
    one_encoding(bytes, FileVersion::from_bytes, |version| bytes_of(|out| version.encode(out)))
}

/// An invitation as text.
pub fn ticket(bytes: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(bytes) else { return false };
    let Ok(ticket) = text.parse::<Ticket>() else { return false };
    assert_eq!(ticket.to_string().parse::<Ticket>().as_ref(), Ok(&ticket), "an own invitation differs");
    true
}

fn addr() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 4433))
}

/// Messages of the kinds that carry lists and bytes.
pub fn message_seeds() -> Vec<Vec<u8>> {
    let space = Key32([1; 32]);
    let messages = [
        Message::Hello {
            version: 1,
            addrs: vec![addr()],
            tags: vec![2; 32],
            claim: Some(vec![9; 12].into()),
            heard: None,
        },
        Message::Open { space, credentials: vec![vec![3; 40].into()] },
        Message::Summary { space, control: [4; 16], operations: [5; 16], pending: 6, scanning: true },
        Message::Reconcile { space, set: Set::Operations, session: 7, initiator: true, body: vec![8; 20] },
    ];
    messages.iter().map(Message::to_bytes).collect()
}

/// A file, a directory, a link and a removal.
pub fn file_version_seeds() -> Vec<Vec<u8>> {
    let path = || RelPath::new(b"notes/todo.md".to_vec()).expect("a path");
    let chunks =
        ChunkList::Inline(vec![ChunkRef { id: [1; 32], len: 10 }, ChunkRef { id: [2; 32], len: 20 }]);
    let contents = [
        Content::File { size: 30, exec: true, mtime_ns: -5, chunks },
        Content::File { size: 0, exec: false, mtime_ns: 5, chunks: ChunkList::Inline(Vec::new()) },
        Content::Dir,
        Content::Symlink { target: b"../elsewhere".to_vec() },
        Content::Deleted,
    ];
    contents.map(|content| bytes_of(|out| FileVersion::new(path(), content).encode(out))).to_vec()
}

/// An invitation with all it can carry, and one with nothing.
pub fn ticket_seeds() -> Vec<Vec<u8>> {
    let bare = Ticket { inviter: node(1), secret: [2; 16], addrs: Vec::new(), bootstrap: Vec::new() };
    let full = Ticket { addrs: vec![addr(); 2], bootstrap: vec![(node(3), addr())], ..bare.clone() };
    [bare, full].map(|ticket| ticket.to_string().into_bytes()).to_vec()
}
