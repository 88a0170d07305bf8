//! Questions on a session, and in the first flight of a new one (TP-17, TP-18).

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use cs_identity::NodeId;
use noq::{Connection, RecvStream, SendStream, VarInt, ZeroRttAccepted};
use thiserror::Error;
use tokio::time::timeout;

use super::addresses::canonical;
use super::connection;
use super::endpoint::Shared;
use super::event::{Event, RpcToken};
use super::rpc::unix_ms;
use crate::quic::{EarlyGate, HandshakeFacts, Peer};
use crate::rpc::ReplayWindow;
use crate::wire::{ASK, MAX_ASK};

/// Questions of a peer that may be open at a time.
pub(crate) const ASKS: u32 = 8;
/// How far the clock of a dialler with early data may be off, either way.
const TOLERANCE_MS: u64 = 120_000;
/// First messages with early data that are remembered against replay: about 0.5 MB.
const REPLAY_MEMORY: usize = 8192;
/// Connections on which one question is tried: the first may turn out to be a spare.
const ATTEMPTS: usize = 3;
/// Told to the peer with a stream that is given up.
const UNANSWERED: VarInt = VarInt::from_u32(0);

/// Why a question on a session has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AskError {
    /// Nobody answered in time.
    #[error("no answer in time")]
    Timeout,
    /// The question is above [`MAX_ASK`] bytes. Nothing was sent.
    #[error("the question is too long")]
    TooLong,
    /// The node cannot be reached there, is another one, or refused the session.
    #[error("no session with that node")]
    Unreachable,
    /// The node got the question and will not answer it.
    #[error("the node does not answer this")]
    Unanswered,
}

/// Admits early data at most once for each first message, none that was made before this endpoint was bound.
pub(crate) fn gate() -> EarlyGate {
    let started_ms = unix_ms().saturating_sub(1);
    let window = Mutex::new(ReplayWindow::new(TOLERANCE_MS, REPLAY_MEMORY).since(started_ms));
    Arc::new(move |claim| {
        let mut window = window.lock().unwrap_or_else(PoisonError::into_inner);
        window.admit(unix_ms(), claim.unix_ms, &claim.ephemeral).is_ok()
    })
}

/// Asks on the session with `peer`, or in the first flight to `addr`.
pub(crate) async fn ask(
    shared: &Arc<Shared>,
    peer: NodeId,
    addr: SocketAddr,
    question: Bytes,
    limit: Duration,
) -> Result<Bytes, AskError> {
    if question.len() > MAX_ASK {
        return Err(AskError::TooLong);
    }
    let attempts = async {
        for _ in 0..ATTEMPTS {
            let link = {
                let peers = shared.peers();
                peers.session_with(&peer).and_then(|session| peers.session(session).cloned())
            };
            let answer = match link {
                Some(link) => Asked::send(&link.connection, &question).await,
                None => first_flight(shared, peer, canonical(addr), &question).await?,
            };
            if let Ok(asked) = answer {
                match asked.answer().await {
                    // The connection went: perhaps it was a spare, and there is a session now.
                    Err(AskError::Unreachable) => {}
                    answer => return answer,
                }
            }
        }
        Err(AskError::Unreachable)
    };
    timeout(limit, attempts).await.unwrap_or(Err(AskError::Timeout))
}

/// Dials with the question in the first flight; if it was thrown away there, asks again once the handshake is complete.
async fn first_flight(
    shared: &Arc<Shared>,
    peer: NodeId,
    addr: SocketAddr,
    question: &Bytes,
) -> Result<Result<Asked, Gone>, AskError> {
    let connecting = shared.quic.connect_with(shared.early_client.clone(), addr, &peer.to_string());
    let connecting = connecting.map_err(|_| AskError::Unreachable)?;
    let (connection, accepted) = match connecting.into_0rtt() {
        Ok(early) => early,
        Err(connecting) => {
            let connection = connecting.await.map_err(|_| AskError::Unreachable)?;
            keep(shared, &connection);
            return Ok(Asked::send(&connection, question).await);
        }
    };
    let early = Asked::send(&connection, question).await;
    let is_accepted = accepted.await;
    if connection.close_reason().is_some() {
        return Err(AskError::Unreachable);
    }
    keep(shared, &connection);
    if is_accepted {
        shared.tally.early_accepted.add();
        return Ok(early);
    }
    shared.tally.early_refused.add();
    Ok(Asked::send(&connection, question).await)
}

/// What the first flight began is a session like any other.
fn keep(shared: &Arc<Shared>, connection: &Connection) {
    tokio::spawn(connection::run(shared.clone(), connection.clone(), true));
}

/// The connection ended.
struct Gone;

/// A question under way.
struct Asked {
    stream: RecvStream,
    /// Held so that the connection outlives its questions.
    _connection: Connection,
}

impl Asked {
    async fn send(connection: &Connection, question: &[u8]) -> Result<Self, Gone> {
        let (mut sender, stream) = connection.open_bi().await.map_err(|_| Gone)?;
        sender.write_all(&[ASK]).await.map_err(|_| Gone)?;
        sender.write_all(question).await.map_err(|_| Gone)?;
        sender.finish().map_err(|_| Gone)?;
        Ok(Self { stream, _connection: connection.clone() })
    }

    async fn answer(mut self) -> Result<Bytes, AskError> {
        match self.stream.read_to_end(MAX_ASK).await {
            Ok(answer) => Ok(answer.into()),
            Err(noq::ReadToEndError::Read(noq::ReadError::ConnectionLost(_))) => Err(AskError::Unreachable),
            Err(_) => Err(AskError::Unanswered),
        }
    }
}

/// Completes an accepted handshake; questions of its first flight are handed on meanwhile. `None` if it failed.
pub(crate) async fn handshake(
    shared: &Arc<Shared>,
    connection: &Connection,
    complete: ZeroRttAccepted,
) -> Option<()> {
    let facts = connection.handshake_data().and_then(|facts| facts.downcast::<HandshakeFacts>().ok());
    if facts.is_some_and(|facts| facts.early) {
        tokio::select! {
            _ = complete => {}
            () = serve(shared.clone(), connection.clone(), true) => {}
        }
    } else {
        let _ = complete.await;
    }
    connection.close_reason().is_none().then_some(())
}

/// Hands the peer's questions on as requests, until the connection ends. `is_early`: the peer has not yet proven to
/// be there.
pub(crate) async fn serve(shared: Arc<Shared>, connection: Connection, is_early: bool) {
    let identity = connection.peer_identity().and_then(|identity| identity.downcast::<Peer>().ok());
    let Some(peer) = identity else { return };
    while let Ok((sender, receiver)) = connection.accept_bi().await {
        // A task each, of which there are no more than the peer may open streams.
        tokio::spawn(hand_on(
            shared.clone(),
            connection.clone(),
            peer.node,
            AnswerStream(Some(sender)),
            receiver,
            is_early,
        ));
    }
}

async fn hand_on(
    shared: Arc<Shared>,
    connection: Connection,
    from: NodeId,
    answer: AnswerStream,
    mut question: RecvStream,
    is_early: bool,
) {
    let mut kind = [0];
    let is_ask = question.read_exact(&mut kind).await.is_ok() && kind == [ASK];
    let bytes = match question.read_to_end(MAX_ASK).await {
        Ok(bytes) if is_ask => Bytes::from(bytes),
        _ => return,
    };
    let addr = shared.remote_of(&connection);
    let token = RpcToken::on_stream(answer, is_early);
    if shared.events.try_send(Event::Request { from, addr, bytes, token }) {
        shared.tally.asks.add();
    } else {
        shared.tally.overrun.add();
    }
}

/// The right to answer a question on its stream. Dropped without an answer, it tells the asker so.
#[derive(Debug)]
pub(crate) struct AnswerStream(Option<SendStream>);

impl AnswerStream {
    /// Needs a tokio runtime, on which the rest of a long answer is written.
    pub(crate) fn send(mut self, answer: Bytes) {
        let Some(mut stream) = self.0.take() else { return };
        tokio::spawn(async move {
            if stream.write_chunk(answer).await.is_ok() {
                let _ = stream.finish();
            }
        });
    }
}

impl Drop for AnswerStream {
    fn drop(&mut self) {
        if let Some(mut stream) = self.0.take() {
            let _ = stream.reset(UNANSWERED);
        }
    }
}
