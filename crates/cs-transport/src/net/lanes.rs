//! Lanes: queues in front of streams on the way out, messages put together on the way in (TP-6, TP-8).

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use noq::{Connection, RecvStream, SendStream, VarInt};
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio::task::JoinSet;

use super::event::SendRefused;
use crate::wire::{DecodeError, Lane, LaneBuffer, StreamKind, encode_length};

/// Streams that bulk messages spread over. One stream's window is 1 MiB, since a larger one can end the connection when
/// slow start overshoots on a long fat path; eight fill 320 Mbit/s at a round trip of 200 ms.
pub(crate) const BULK_STREAMS: usize = 8;
/// Messages taken off a queue at a time, where order must hold anyway.
const BATCH: usize = 32;
/// Pieces of a stream taken at a time: about one flight of packets.
const CHUNKS: usize = 32;
/// The priority of a link message's stream: above every lane.
const LINK_PRIORITY: i32 = 4;

type Queue = mpsc::UnboundedSender<Bytes>;

/// The outgoing lanes of one session. A lane costs nothing before its first message.
#[derive(Debug)]
pub(crate) struct Lanes {
    connection: Connection,
    queued: Arc<AtomicUsize>,
    open: Mutex<Open>,
}

#[derive(Debug, Default)]
struct Open {
    queues: [Option<Queue>; 4],
    writers: JoinSet<()>,
    closed: bool,
}

impl Lanes {
    pub(crate) fn new(connection: Connection) -> Self {
        Self { connection, queued: Arc::default(), open: Mutex::default() }
    }

    /// Bytes accepted and not yet taken over by QUIC.
    pub(crate) fn queued(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
    }

    pub(crate) fn send(&self, lane: Lane, message: Bytes) -> Result<(), SendRefused> {
        let mut open = self.lock();
        if open.closed {
            return Err(SendRefused::Gone);
        }
        let length = message.len();
        let Open { queues, writers, .. } = &mut *open;
        let slot = queues.get_mut(lane as usize).ok_or(SendRefused::Gone)?;
        let queue = slot.get_or_insert_with(|| self.start(lane, writers));
        self.queued.fetch_add(length, Ordering::Relaxed);
        queue.send(message).map_err(|_| SendRefused::Gone)
    }

    /// Takes no more messages; resolves when all that were taken are acknowledged, or the connection is gone.
    pub(crate) async fn finish(&self) {
        let mut writers = {
            let mut open = self.lock();
            open.closed = true;
            open.queues = Default::default();
            core::mem::take(&mut open.writers)
        };
        while writers.join_next().await.is_some() {}
    }

    fn start(&self, lane: Lane, writers: &mut JoinSet<()>) -> Queue {
        let (queue, receiver) = mpsc::unbounded_channel();
        let receiver = Arc::new(AsyncMutex::new(receiver));
        let (count, batch) = if lane == Lane::Bulk { (BULK_STREAMS, 1) } else { (1, BATCH) };
        for _ in 0..count {
            let writer = Writer {
                connection: self.connection.clone(),
                lane,
                batch,
                receiver: receiver.clone(),
                queued: self.queued.clone(),
            };
            writers.spawn(writer.run());
        }
        queue
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Moves messages from a queue to one stream; several may share a queue, and then a free one takes the next message.
struct Writer {
    connection: Connection,
    lane: Lane,
    batch: usize,
    receiver: Arc<AsyncMutex<mpsc::UnboundedReceiver<Bytes>>>,
    queued: Arc<AtomicUsize>,
}

impl Writer {
    async fn run(self) {
        let mut stream = None;
        let mut messages = Vec::new();
        // An error is always the end of the connection, which others report.
        while self.receiver.lock().await.recv_many(&mut messages, self.batch).await > 0 {
            if self.write(&mut stream, &mut messages).await.is_err() {
                return;
            }
        }
        if let Some(mut stream) = stream
            && stream.finish().is_ok()
        {
            let _ = stream.stopped().await;
        }
    }

    async fn write(
        &self,
        stream: &mut Option<SendStream>,
        messages: &mut Vec<Bytes>,
    ) -> Result<(), SendRefused> {
        let stream = match stream {
            Some(stream) => stream,
            None => {
                let priority = LINK_PRIORITY - 1 - self.lane as i32;
                stream.insert(open(&self.connection, StreamKind::Lane(self.lane), priority).await?)
            }
        };
        let length = messages.iter().map(Bytes::len).sum();
        let mut pieces = messages
            .drain(..)
            .flat_map(|message| [Bytes::copy_from_slice(&encode_length(message.len())), message])
            .collect::<Vec<_>>();
        stream.write_all_chunks(&mut pieces).await.map_err(|_| SendRefused::Gone)?;
        self.queued.fetch_sub(length, Ordering::Relaxed);
        Ok(())
    }
}

async fn open(connection: &Connection, kind: StreamKind, priority: i32) -> Result<SendStream, SendRefused> {
    let mut stream = connection.open_uni().await.map_err(|_| SendRefused::Gone)?;
    stream.set_priority(priority).map_err(|_| SendRefused::Gone)?;
    stream.write_all(&[kind.to_byte()]).await.map_err(|_| SendRefused::Gone)?;
    Ok(stream)
}

/// Opens the stream of signals, as urgent as control messages.
pub(crate) async fn open_signals(connection: &Connection) -> Result<SendStream, SendRefused> {
    open(connection, StreamKind::Signal, LINK_PRIORITY - 1).await
}

/// Sends one link message on a stream of its own.
pub(crate) async fn send_link(connection: &Connection, message: &[u8]) -> Result<(), SendRefused> {
    let mut stream = open(connection, StreamKind::Link, LINK_PRIORITY).await?;
    let framed = [&encode_length(message.len()), message].concat();
    stream.write_all(&framed).await.map_err(|_| SendRefused::Gone)?;
    stream.finish().map_err(|_| SendRefused::Gone)
}

/// An incoming stream, read message by message.
pub(crate) struct Reader {
    stream: RecvStream,
    chunks: [Bytes; CHUNKS],
    /// Which of `chunks` are yet unread.
    unread: core::ops::Range<usize>,
    buffer: LaneBuffer,
}

impl Reader {
    /// Reads the first byte. `None`: the stream ended, or is of a kind that this version does not know.
    pub(crate) async fn accept(mut stream: RecvStream) -> Option<(StreamKind, RecvStream)> {
        let mut first = [0];
        stream.read_exact(&mut first).await.ok()?;
        let [first] = first;
        let kind = StreamKind::from_byte(first);
        if kind.is_none() {
            let _ = stream.stop(VarInt::from_u32(0));
        }
        kind.map(|kind| (kind, stream))
    }

    /// `limit`: the longest message, in bytes.
    pub(crate) fn new(stream: RecvStream, limit: usize) -> Self {
        let chunks = core::array::from_fn(|_| Bytes::new());
        Self { stream, chunks, unread: 0..0, buffer: LaneBuffer::new(limit) }
    }

    /// The next message; `None` at the end of the stream or of the connection.
    ///
    /// # Errors
    /// [`DecodeError`]: the peer broke the framing.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, DecodeError> {
        loop {
            while let Some(chunk) = self.chunks.get_mut(self.unread.start).filter(|_| !self.unread.is_empty())
            {
                let mut rest: &[u8] = chunk;
                let message = self.buffer.read(&mut rest)?;
                let left = rest.len();
                let _ = chunk.split_to(chunk.len() - left);
                if left == 0 {
                    self.unread.start += 1;
                }
                if let Some(message) = message {
                    return Ok(Some(message.into()));
                }
            }
            match self.stream.read_many_chunks(&mut self.chunks).await {
                Ok(Some(count)) => self.unread = 0..count,
                Ok(None) | Err(_) => return Ok(None),
            }
        }
    }
}
