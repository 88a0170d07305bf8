//! Sealing and opening the two datagrams (TP-10, TP-11).

use core::fmt;

use cs_crypto::noise::{Hash, Pattern, Protocol, ReadTurn, Setup, WriteTurn};
use cs_identity::NodeId;
use curve25519_dalek::montgomery::MontgomeryPoint;
use thiserror::Error;

use crate::LocalKey;
use crate::wire::{
    ANSWER_OVERHEAD, Answer, DecodeError, MAX_DATAGRAM, MAX_RPC, REQUEST_OVERHEAD, Request, answer_len,
    request_len,
};

const PROTOCOL: Protocol = Protocol::new(Pattern::IK, Hash::Sha256);
const PROLOGUE: &[u8] = b"cosmic-sync rpc v1";
const REQUEST: u8 = 0x80;
const ANSWER: u8 = 0x81;

/// Names a call in its answer: the first 8 bytes of the request's ephemeral key.
pub type CallId = [u8; 8];

/// A datagram that is no valid message of a peer. Nothing was changed by reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RpcFault {
    /// Not sealed for this node, or altered on the way.
    #[error("not sealed for this node")]
    Forged,
    /// Sealed well, and malformed inside.
    #[error("malformed: {0}")]
    Malformed(#[from] DecodeError),
    /// The sender's key is no node's.
    #[error("the sender's key is no node ID")]
    NoNode,
}

/// Why a message of this node cannot be sent. Nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RpcRefused {
    /// The body, or the answer hoped for, is above [`MAX_RPC`](crate::wire::MAX_RPC) bytes, or the answer is above
    /// what the request made room for.
    #[error("the message is too long")]
    TooLong,
    /// No handshake can be made with the peer's key.
    #[error("the peer's key is unusable")]
    UnusableKey,
}

/// A request that was sent; opens its answer.
pub struct Call {
    id: CallId,
    reader: ReadTurn,
}

/// Seals a request for `peer`, with room for an answer of `answer` bytes. Two multiplications on the curve (one if
/// the peer was met before) and one of the base point. `entropy`: 32 fresh secret bytes.
///
/// # Errors
/// [`RpcRefused`].
pub fn seal_request(
    local: &LocalKey,
    peer: &NodeId,
    entropy: [u8; 32],
    unix_ms: u64,
    body: &[u8],
    answer: usize,
) -> Result<(Vec<u8>, Call), RpcRefused> {
    if body.len() > MAX_RPC || answer > MAX_RPC {
        return Err(RpcRefused::TooLong);
    }
    let [.., last] = *local.node_id().as_bytes();
    let request = Request { unix_ms, sign: last & 0x80 != 0, body };
    let mut plaintext = Vec::with_capacity(MAX_DATAGRAM);
    // REQUEST_OVERHEAD counts the plaintext's own 11 bytes of fields, which are padded over with the body.
    let padded = request_len(body.len(), answer) - REQUEST_OVERHEAD + Request::FIELDS;
    request.encode(padded, &mut plaintext);
    let prologue = prologue(peer);
    let setup =
        Setup::new(PROTOCOL, entropy).prologue(&prologue).local_pair(local.pair()).remote(peer.to_x25519());
    let writer = setup.initiate().map_err(|_| RpcRefused::UnusableKey)?;
    let sealed = local.with_known(|known| writer.write_known(&plaintext, known));
    let (message, step) = sealed.map_err(|_| RpcRefused::UnusableKey)?;
    let reader = step.turn().map_err(|_| RpcRefused::UnusableKey)?;
    let id = *message.first_chunk().ok_or(RpcRefused::UnusableKey)?;
    let mut datagram = Vec::with_capacity(1 + message.len());
    datagram.push(REQUEST);
    datagram.extend_from_slice(&message);
    Ok((datagram, Call { id, reader }))
}

/// Which call an answer datagram belongs to.
#[must_use]
pub fn call_of_answer(datagram: &[u8]) -> Option<CallId> {
    let (first, rest) = datagram.split_first()?;
    if *first == ANSWER { rest.first_chunk().copied() } else { None }
}

impl Call {
    /// What its answer will be recognised by.
    #[must_use]
    pub fn id(&self) -> CallId {
        self.id
    }

    /// Opens the answer; returns its plaintext, which [`Answer::from_bytes`] reads. Two multiplications.
    ///
    /// # Errors
    /// [`RpcFault`]; the call is over, and another must be sent.
    pub fn open(self, datagram: &[u8]) -> Result<Vec<u8>, RpcFault> {
        let message = datagram.get(1 + self.id.len()..).ok_or(DecodeError::Truncated)?;
        let (plaintext, _) = self.reader.read(message).map_err(|_| RpcFault::Forged)?;
        Answer::from_bytes(&plaintext)?;
        Ok(plaintext)
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call").field("id", &self.id).finish_non_exhaustive()
    }
}

/// A request that was opened. It may be a replay: [`ReplayWindow`](super::ReplayWindow) tells.
#[derive(Debug)]
pub struct OpenedRequest {
    /// Who asks, proven.
    pub from: NodeId,
    /// When it was sealed, by the asker's clock.
    pub unix_ms: u64,
    /// The question.
    pub body: Vec<u8>,
    /// The request's ephemeral key: unique to it.
    pub ephemeral: [u8; 32],
    /// Takes the answer.
    pub answer: AnswerSlot,
}

/// Opens a request for the holder of `local`. Two multiplications, one if the asker was met before. `entropy`: 32
/// fresh secret bytes for the answer.
///
/// # Errors
/// [`RpcFault`].
pub fn open_request(local: &LocalKey, entropy: [u8; 32], datagram: &[u8]) -> Result<OpenedRequest, RpcFault> {
    let message = datagram.get(1..).ok_or(DecodeError::Truncated)?;
    let ephemeral: [u8; 32] = *message.first_chunk().ok_or(DecodeError::Truncated)?;
    let prologue = prologue(&local.node_id());
    let setup = Setup::new(PROTOCOL, entropy).prologue(&prologue).local_pair(local.pair());
    let reader = setup.respond().map_err(|_| RpcFault::Forged)?;
    let opened = local.with_known(|known| reader.read_known(message, known));
    let (plaintext, step) = opened.map_err(|_| RpcFault::Forged)?;
    let writer = step.turn().map_err(|_| RpcFault::Forged)?;
    let request = Request::from_bytes(&plaintext)?;
    let from = sender(writer.remote_static(), request.sign).ok_or(RpcFault::NoNode)?;
    let [a, b, c, d, e, f, g, h, ..] = ephemeral;
    Ok(OpenedRequest {
        from,
        unix_ms: request.unix_ms,
        body: request.body.to_vec(),
        ephemeral,
        answer: AnswerSlot { id: [a, b, c, d, e, f, g, h], room: datagram.len(), writer },
    })
}

/// The right to answer one request, once.
pub struct AnswerSlot {
    id: CallId,
    room: usize,
    writer: WriteTurn,
}

impl AnswerSlot {
    /// The largest body that may be answered, in bytes: an answer is never larger than its request.
    #[must_use]
    pub fn room(&self) -> usize {
        self.room.saturating_sub(ANSWER_OVERHEAD)
    }

    /// Seals the answer. Two multiplications and one of the base point.
    ///
    /// # Errors
    /// [`RpcRefused::TooLong`] above [`Self::room`].
    pub fn seal(self, answer: Answer<'_>) -> Result<Vec<u8>, RpcRefused> {
        let mut plaintext = Vec::new();
        answer.encode(&mut plaintext);
        if answer_len(plaintext.len().saturating_sub(Answer::FIELDS)) > self.room {
            return Err(RpcRefused::TooLong);
        }
        let (message, _) = self.writer.write(&plaintext).map_err(|_| RpcRefused::UnusableKey)?;
        let mut datagram = Vec::with_capacity(1 + self.id.len() + message.len());
        datagram.push(ANSWER);
        datagram.extend_from_slice(&self.id);
        datagram.extend_from_slice(&message);
        Ok(datagram)
    }
}

impl fmt::Debug for AnswerSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AnswerSlot").field("id", &self.id).field("room", &self.room).finish_non_exhaustive()
    }
}

fn prologue(responder: &NodeId) -> Vec<u8> {
    [PROLOGUE, responder.as_bytes()].concat()
}

/// The node whose X25519 key this is, and whose Edwards point has this sign.
fn sender(montgomery: Option<&[u8; 32]>, sign: bool) -> Option<NodeId> {
    let point = MontgomeryPoint(*montgomery?).to_edwards(u8::from(sign))?;
    NodeId::from_bytes(&point.compress().to_bytes()).ok()
}
