//! Clients over TCP: each stream is read message by message, and what is for it waits in a bounded queue (TP-22, TP-28).

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::super::addresses::canonical;
use super::super::config::BindError;
use super::RelayService;
use crate::rpc::RateLimiter;
use crate::turn::server::FiveTuple;
use crate::turn::{Frames, Transport};

/// Streams at a time on one listener, and of one address.
const STREAMS_MAX: usize = 2048;
const STREAMS_PER_SOURCE_MAX: usize = 64;
/// A stream without an allocation ends when nothing came for this long.
const IDLE: Duration = Duration::from_secs(30);
/// A stream that takes nothing for this long ends.
const STALL: Duration = Duration::from_secs(30);
/// Bytes read at a time.
const READ: usize = 16 << 10;
/// Sources whose rate of requests is counted one by one.
const SOURCES: usize = 1024;

pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener, BindError> {
    let bind = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        // A relay that restarts takes its port again at once.
        socket.set_reuse_address(cfg!(unix))?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(1024)?;
        TcpListener::from_std(socket.into())
    };
    bind().map_err(|source| BindError::Socket { address, source })
}

/// What all streams of a listener share.
#[derive(Debug)]
struct Limits {
    sources: Mutex<BTreeMap<IpAddr, usize>>,
    requests: Mutex<RateLimiter>,
}

/// One stream's place among those of its source.
struct Place {
    limits: Arc<Limits>,
    ip: IpAddr,
}

impl Limits {
    fn take(self: &Arc<Self>, ip: IpAddr) -> Option<Place> {
        let mut sources = lock(&self.sources);
        let all = sources.values().sum::<usize>();
        let count = sources.entry(ip).or_default();
        if all >= STREAMS_MAX || *count >= STREAMS_PER_SOURCE_MAX {
            return None;
        }
        *count += 1;
        Some(Place { limits: self.clone(), ip })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut sources = lock(&self.limits.sources);
        if let Some(count) = sources.get_mut(&self.ip) {
            *count = count.saturating_sub(1);
        }
        sources.retain(|_, count| *count > 0);
    }
}

pub(crate) async fn accept_all(relay: Weak<RelayService>, listener: TcpListener, requests_per_second: u32) {
    let requests = RateLimiter::new(requests_per_second, requests_per_second.saturating_mul(2), SOURCES);
    let limits = Arc::new(Limits { sources: Mutex::default(), requests: Mutex::new(requests) });
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            // Looks now and then whether the endpoint is still there.
            () = sleep(Duration::from_secs(1)) => if relay.strong_count() == 0 { return } else { continue },
        };
        let Ok((stream, remote)) = accepted else {
            // Out of descriptors: waiting is all that helps.
            sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Some(relay) = relay.upgrade() else { return };
        let Some(place) = limits.take(canonical(remote).ip()) else {
            relay.tally.refused.add();
            continue;
        };
        let Ok(local) = stream.local_addr() else { continue };
        let (local, remote) = (canonical(local), canonical(remote));
        let client = FiveTuple { transport: Transport::Tcp, local, remote };
        tokio::spawn(serve(relay, stream, client, place));
    }
}

async fn serve(relay: Arc<RelayService>, stream: TcpStream, client: FiveTuple, place: Place) {
    let _ = stream.set_nodelay(true);
    let queue = relay.add_stream(client);
    let (reader, writer) = stream.into_split();
    // Whichever ends first ends the stream.
    let weak = Arc::downgrade(&relay);
    drop(relay);
    tokio::select! {
        () = read(&weak, reader, client, &place) => {}
        () = write(writer, queue) => {}
    }
    if let Some(relay) = weak.upgrade() {
        relay.remove_stream(client);
    }
}

async fn read(relay: &Weak<RelayService>, mut reader: OwnedReadHalf, client: FiveTuple, place: &Place) {
    let (mut frames, mut buffer) = (Frames::new(), vec![0; READ]);
    loop {
        let count = match timeout(IDLE, reader.read(&mut buffer)).await {
            Ok(Ok(0) | Err(_)) => return,
            Ok(Ok(count)) => count,
            Err(_) if relay.upgrade().is_some_and(|relay| relay.has_allocation(&client)) => continue,
            Err(_) => return,
        };
        frames.push(buffer.get(..count).unwrap_or_default());
        let Some(relay) = relay.upgrade() else { return };
        loop {
            let frame = match frames.take() {
                Ok(Some(frame)) => frame,
                Ok(None) => break,
                Err(_) => return relay.tally.garbage.add(),
            };
            // A message of class request, as bits 4 and 8 of its type tell.
            let is_request =
                matches!(frame.first_chunk(), Some([high, low]) if high & 0xc1 == 0 && low & 0x10 == 0);
            if is_request && !lock(&place.limits.requests).admit(relay.now(), client.remote) {
                relay.tally.rate_limited.add();
                continue;
            }
            relay.handle(client, &frame);
        }
    }
}

async fn write(mut writer: OwnedWriteHalf, mut queue: mpsc::Receiver<Vec<u8>>) {
    while let Some(bytes) = queue.recv().await {
        if !matches!(timeout(STALL, writer.write_all(&bytes)).await, Ok(Ok(()))) {
            return;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
