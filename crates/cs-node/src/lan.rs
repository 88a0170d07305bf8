//! Peers on the local network: announces this node with its open codes, and tells of the others.

use std::net::SocketAddr;
use std::sync::Arc;

use cs_identity::NodeId;
use cs_transport::net::{Endpoint, LanDiscovery, LanEvent};
use tokio::sync::{Notify, watch};

/// Open codes that fit into one announcement.
const MAX_CODES: usize = 12;

/// The text that carries them: 16 hexadecimal digits each.
const TEXT: &str = "codes";

/// A node that announced itself. Hearsay: only a session proves who is there.
pub(crate) struct Heard {
    pub(crate) peer: NodeId,
    pub(crate) addrs: Vec<SocketAddr>,
    pub(crate) codes: Vec<[u8; 8]>,
}

/// The port that others on the network can reach; `None` when the endpoint listens on loopback alone.
pub(crate) fn port(endpoint: &Endpoint) -> Option<u16> {
    endpoint.local_addrs().iter().find(|a| !a.ip().is_loopback()).map(SocketAddr::port)
}

/// What the node tells the task that [`spawn`] began. The task ends with it.
#[derive(Debug)]
pub(crate) struct Link {
    codes: watch::Sender<Vec<[u8; 8]>>,
    search: Arc<Notify>,
}

impl Link {
    /// Announces these codes from now on.
    pub(crate) fn announce(&self, codes: Vec<[u8; 8]>) {
        // Only a task that has ended does not listen.
        let _ = self.codes.send(codes);
    }

    /// Asks the network who is there.
    pub(crate) fn search(&self) {
        self.search.notify_one();
    }
}

/// Begins to announce and to listen. Without mDNS on this machine the task ends at once: peers are found otherwise.
pub(crate) fn spawn(
    me: NodeId,
    port: Option<u16>,
    tell: impl Fn(Heard) -> bool + Send + Sync + 'static,
) -> Link {
    let (codes, announced) = watch::channel(Vec::new());
    let search = Arc::new(Notify::new());
    tokio::spawn(run(me, port, announced, Arc::clone(&search), tell));
    Link { codes, search }
}

/// Runs until `tell` says that nobody listens.
async fn run(
    me: NodeId,
    port: Option<u16>,
    mut codes: watch::Receiver<Vec<[u8; 8]>>,
    search: Arc<Notify>,
    tell: impl Fn(Heard) -> bool + Send + Sync + 'static,
) {
    let text = |codes: &[[u8; 8]]| codes.iter().take(MAX_CODES).map(hex).collect::<String>();
    let first = text(&codes.borrow_and_update());
    let Ok(mut lan) = LanDiscovery::start(me, port, &[(TEXT, &first)]) else { return };
    loop {
        tokio::select! {
            event = lan.recv() => match event {
                Some(LanEvent::Found { peer, addrs, txt }) => {
                    let codes = txt.get(TEXT).map(|text| unhex(text)).unwrap_or_default();
                    if !tell(Heard { peer, addrs, codes }) {
                        return;
                    }
                }
                Some(LanEvent::Lost { .. }) => {}
                None => return,
            },
            () = search.notified() => lan.search(),
            changed = codes.changed() => {
                let text = text(&codes.borrow_and_update());
                if changed.is_err() || lan.announce(&[(TEXT, &text)]).is_err() {
                    return;
                }
            }
        }
    }
}

fn hex(code: &[u8; 8]) -> String {
    format!("{:016x}", u64::from_be_bytes(*code))
}

fn unhex(text: &[u8]) -> Vec<[u8; 8]> {
    let digits = text.as_chunks::<16>().0.iter().take(MAX_CODES);
    digits
        .filter_map(|d| u64::from_str_radix(std::str::from_utf8(d).ok()?, 16).ok())
        .map(u64::to_be_bytes)
        .collect()
}
