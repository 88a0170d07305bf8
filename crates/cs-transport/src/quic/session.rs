//! One Noise IK handshake, as the QUIC connection drives it (TP-3, TP-4).

use core::any::Any;
use std::sync::Arc;

use cs_crypto::noise::{Hash, Pattern, Protocol, ReadTurn, Setup, WriteTurn};
use cs_identity::NodeId;
use noq_proto::crypto::{ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, Session};
use noq_proto::transport_parameters::TransportParameters;
use noq_proto::{ConnectionId, Side, TransportError, TransportErrorCode};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::config::{HandshakeFacts, Peer};
use super::early::{EarlyClaim, EarlyGate, agree, assumed};
use super::keys::{Schedule, Secrets, early_keys, early_secret, export, initial_keys, retry_tag};
use crate::LocalKey;
use crate::wire::{DecodeError, Frame, FrameKind, Hello, MAX_FRAME};

const PROTOCOL: Protocol = Protocol::new(Pattern::IK, Hash::Sha256);
const PROLOGUE: &[u8] = b"cosmic-sync session v1";

/// Alert codes (RFC 8446 section 6) of the three ways in which a handshake fails.
const ALERT_DECRYPT: u8 = 51;
const ALERT_DECODE: u8 = 50;
const ALERT_UNEXPECTED: u8 = 10;

pub(crate) struct NoiseSession {
    side: Side,
    turn: Turn,
    /// CRYPTO bytes that are no whole frame yet.
    unread: Vec<u8>,
    peer: Option<Peer>,
    peer_parameters: Option<TransportParameters>,
    /// Dialler: it is offered. Acceptor: it is read.
    early: Option<Early>,
    application: Option<Secrets>,
    exporter: Option<Zeroizing<[u8; 32]>>,
}

/// Early data (TP-17).
struct Early {
    unix_ms: u64,
    /// Wiped when the handshake is complete.
    secret: Option<Zeroizing<[u8; 32]>>,
    /// Dialler: what the acceptor surely grants.
    assumed: Option<TransportParameters>,
    /// Dialler: the acceptor said so.
    is_accepted: bool,
}

/// What the acceptor answers with.
struct Answerer {
    local: Arc<LocalKey>,
    incarnation: u64,
    entropy: Zeroizing<[u8; 32]>,
    /// Transport parameters, encoded.
    parameters: Vec<u8>,
    gate: Option<EarlyGate>,
}

/// Whose move it is. `write_handshake` takes the steps that send, `read_handshake` those that receive.
enum Turn {
    /// Dialler: the first message is ready to go.
    SendInitiate(Vec<u8>, Box<ReadTurn>, NodeId),
    /// Dialler: waits for the second message.
    AwaitRespond(Box<ReadTurn>, NodeId),
    /// Dialler: has the keys, and has yet to give the handshake level to QUIC.
    InstallHandshake(Box<Schedule>),
    /// Dialler: silent at the handshake level until the acceptor has proven that it is there too. Speaking first can
    /// deadlock: the acceptor could receive what it may not yet read, and wait.
    AwaitAcceptorConfirm(Box<Schedule>),
    /// Dialler: proves itself and is done.
    SendDiallerConfirm(Box<Schedule>),
    /// Acceptor: waits for the first message.
    AwaitInitiate(Box<Answerer>),
    /// Acceptor: the second message is ready to go.
    SendRespond(Vec<u8>, Box<Schedule>),
    /// Acceptor: proves itself at the handshake level.
    SendAcceptorConfirm(Box<Schedule>),
    /// Acceptor: waits for the dialler's proof; a replayed first message ends here.
    AwaitDiallerConfirm(Zeroizing<[u8; 32]>),
    Done,
    Failed,
}

impl NoiseSession {
    /// `early_ms`: the wall clock, if early data is to go with the first message. `None` only for keys that no Noise
    /// handshake can use.
    pub(crate) fn dial(
        local: &LocalKey,
        incarnation: u64,
        peer: NodeId,
        entropy: [u8; 32],
        parameters: &TransportParameters,
        early_ms: Option<u64>,
    ) -> Option<Self> {
        let prologue = prologue(&peer);
        let setup = Setup::new(PROTOCOL, entropy)
            .prologue(&prologue)
            .local_pair(local.pair())
            .remote(peer.to_x25519());
        let parameters = encoded(parameters);
        let hello = hello(local.node_id(), incarnation, &parameters, early_ms);
        let writer = setup.initiate().ok()?;
        let (message, step) = local.with_known(|known| writer.write_known(&hello, known)).ok()?;
        let reader = step.turn().ok()?;
        let secret = early_secret(|label, context| reader.export(label, context), reader.transcript());
        let early = early_ms.map(|unix_ms| Early {
            unix_ms,
            secret,
            assumed: assumed(&parameters),
            is_accepted: false,
        });
        let session = Self::new(Side::Client, Turn::SendInitiate(message, Box::new(reader), peer));
        Some(Self { early: early.filter(|early| early.assumed.is_some()), ..session })
    }

    pub(crate) fn accept(
        local: Arc<LocalKey>,
        incarnation: u64,
        entropy: [u8; 32],
        parameters: &TransportParameters,
        gate: Option<EarlyGate>,
    ) -> Self {
        let (entropy, parameters) = (Zeroizing::new(entropy), encoded(parameters));
        let answerer = Answerer { local, incarnation, entropy, parameters, gate };
        Self::new(Side::Server, Turn::AwaitInitiate(Box::new(answerer)))
    }

    fn new(side: Side, turn: Turn) -> Self {
        Self {
            side,
            turn,
            unread: Vec::new(),
            peer: None,
            peer_parameters: None,
            early: None,
            application: None,
            exporter: None,
        }
    }

    fn handle_frame(&mut self, kind: FrameKind, body: &[u8]) -> Result<(), TransportError> {
        let turn = core::mem::replace(&mut self.turn, Turn::Failed);
        self.turn = match (turn, kind) {
            (Turn::AwaitInitiate(answerer), FrameKind::Initiate) => self.read_initiate(&answerer, body)?,
            (Turn::AwaitRespond(reader, peer), FrameKind::Respond) => {
                self.read_respond(*reader, peer, body)?
            }
            (Turn::AwaitAcceptorConfirm(schedule), FrameKind::Confirm) => {
                check_confirm(&schedule.confirm_acceptor, body)?;
                Turn::SendDiallerConfirm(schedule)
            }
            (Turn::AwaitDiallerConfirm(expected), FrameKind::Confirm) => {
                check_confirm(&expected, body)?;
                self.forget_early_secret();
                Turn::Done
            }
            _ => return Err(refuse(ALERT_UNEXPECTED, "handshake message out of turn")),
        };
        Ok(())
    }

    fn read_initiate(&mut self, answerer: &Answerer, body: &[u8]) -> Result<Turn, TransportError> {
        let local = &answerer.local;
        let prologue = prologue(&local.node_id());
        let setup = Setup::new(PROTOCOL, *answerer.entropy).prologue(&prologue).local_pair(local.pair());
        let reader = setup.respond().map_err(|_| refuse(ALERT_DECRYPT, "unusable key"))?;
        let read = local.with_known(|known| reader.read_known(body, known));
        let (payload, step) = read.map_err(|_| refuse(ALERT_DECRYPT, "not sealed for this node"))?;
        let writer = step.turn().map_err(|_| refuse(ALERT_UNEXPECTED, "handshake too short"))?;
        let hello = self.read_hello(&payload, writer.remote_static())?;
        self.early = self.admit_early(answerer, &hello, body, &writer);
        let early_ms = self.early.as_ref().map(|early| early.unix_ms);
        let answer = self::hello(local.node_id(), answerer.incarnation, &answerer.parameters, early_ms);
        let (message, step) = write_respond(writer, &answer)?;
        self.exporter = Some(step.exporter.clone());
        Ok(Turn::SendRespond(message, step))
    }

    /// The gate is asked last, since it remembers what it admitted.
    fn admit_early(
        &self,
        answerer: &Answerer,
        hello: &Hello<'_>,
        body: &[u8],
        writer: &WriteTurn,
    ) -> Option<Early> {
        let unix_ms = hello.early_ms?;
        let gate = answerer.gate.as_ref()?;
        let secret = early_secret(|label, context| writer.export(label, context), writer.transcript())?;
        let claim = EarlyClaim { from: self.peer?.node, unix_ms, ephemeral: *body.first_chunk()? };
        let is_admitted = agree(&answerer.parameters, hello.parameters) && gate(&claim);
        is_admitted.then_some(Early { unix_ms, secret: Some(secret), assumed: None, is_accepted: true })
    }

    fn forget_early_secret(&mut self) {
        if let Some(early) = &mut self.early {
            early.secret = None;
        }
    }

    fn read_respond(&mut self, reader: ReadTurn, peer: NodeId, body: &[u8]) -> Result<Turn, TransportError> {
        let (payload, step) =
            reader.read(body).map_err(|_| refuse(ALERT_DECRYPT, "the answer is not authentic"))?;
        let keys = step.keys().map_err(|_| refuse(ALERT_UNEXPECTED, "handshake too long"))?;
        let early_ms = self.read_hello(&payload, keys.remote_static.as_ref())?.early_ms;
        if self.peer.map(|found| found.node) != Some(peer) {
            return Err(refuse(ALERT_DECRYPT, "another node answered"));
        }
        match &mut self.early {
            Some(early) => early.is_accepted = early_ms == Some(early.unix_ms),
            None if early_ms.is_some() => return Err(refuse(ALERT_DECODE, "early data that nobody sent")),
            None => {}
        }
        let schedule = Box::new(Schedule::new(&keys));
        self.exporter = Some(schedule.exporter.clone());
        Ok(Turn::InstallHandshake(schedule))
    }

    /// Believes the payload's node ID only if it is the static key that Noise authenticated. Rule TP-4.
    fn read_hello<'a>(
        &mut self,
        payload: &'a [u8],
        remote: Option<&[u8; 32]>,
    ) -> Result<Hello<'a>, TransportError> {
        let hello = Hello::from_bytes(payload).map_err(|_| refuse(ALERT_DECODE, "malformed hello"))?;
        let node = NodeId::from_bytes(&hello.node).map_err(|_| refuse(ALERT_DECODE, "no node ID"))?;
        if remote != Some(&node.to_x25519()) {
            return Err(refuse(ALERT_DECRYPT, "the node ID is not the key's"));
        }
        let mut parameters = hello.parameters;
        let parameters = TransportParameters::read(self.side, &mut parameters)?;
        self.peer = Some(Peer { node, incarnation: hello.incarnation });
        self.peer_parameters = Some(parameters);
        Ok(hello)
    }
}

impl Session for NoiseSession {
    fn initial_keys(&self, connection: ConnectionId, side: Side) -> Keys {
        initial_keys(connection, side)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        let early = self.early.as_ref().is_some_and(|early| early.is_accepted);
        self.peer.map(|_| -> Box<dyn Any> { Box::new(HandshakeFacts { early }) })
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.peer.map(|peer| -> Box<dyn Any> { Box::new(peer) })
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        self.early.as_ref()?.secret.as_ref().map(|secret| early_keys(secret))
    }

    fn early_data_accepted(&self) -> Option<bool> {
        self.early.as_ref().map(|early| early.is_accepted)
    }

    fn is_handshaking(&self) -> bool {
        !matches!(self.turn, Turn::Done | Turn::SendDiallerConfirm(_))
    }

    fn read_handshake(&mut self, bytes: &[u8]) -> Result<bool, TransportError> {
        let known = self.peer.is_some();
        if self.unread.len() + bytes.len() > 2 * MAX_FRAME {
            return Err(refuse(ALERT_DECODE, "too many handshake bytes"));
        }
        self.unread.extend_from_slice(bytes);
        let unread = core::mem::take(&mut self.unread);
        let mut rest = unread.as_slice();
        loop {
            match Frame::decode(&mut rest) {
                Ok(frame) => self.handle_frame(frame.kind, frame.body)?,
                Err(DecodeError::Truncated) => break,
                Err(_) => return Err(refuse(ALERT_DECODE, "malformed handshake frame")),
            }
        }
        self.unread = rest.to_vec();
        Ok(!known && self.peer.is_some())
    }

    fn transport_parameters(&self) -> Result<Option<TransportParameters>, TransportError> {
        let assumed = self.early.as_ref().and_then(|early| early.assumed);
        Ok(self.peer_parameters.or(assumed))
    }

    fn write_handshake(&mut self, out: &mut Vec<u8>) -> Option<Keys> {
        let (next, keys) = match core::mem::replace(&mut self.turn, Turn::Failed) {
            Turn::SendInitiate(message, reader, peer) => {
                Frame { kind: FrameKind::Initiate, body: &message }.encode(out);
                (Turn::AwaitRespond(reader, peer), None)
            }
            Turn::InstallHandshake(schedule) => {
                let keys = schedule.handshake.keys(self.side);
                (Turn::AwaitAcceptorConfirm(schedule), Some(keys))
            }
            Turn::SendDiallerConfirm(schedule) => {
                Frame { kind: FrameKind::Confirm, body: &*schedule.confirm_dialler }.encode(out);
                let keys = schedule.application.keys(self.side);
                self.application = Some(schedule.application);
                self.forget_early_secret();
                (Turn::Done, Some(keys))
            }
            Turn::SendRespond(message, schedule) => {
                Frame { kind: FrameKind::Respond, body: &message }.encode(out);
                let keys = schedule.handshake.keys(self.side);
                (Turn::SendAcceptorConfirm(schedule), Some(keys))
            }
            Turn::SendAcceptorConfirm(schedule) => {
                Frame { kind: FrameKind::Confirm, body: &*schedule.confirm_acceptor }.encode(out);
                let keys = schedule.application.keys(self.side);
                self.application = Some(schedule.application);
                (Turn::AwaitDiallerConfirm(schedule.confirm_dialler), Some(keys))
            }
            waiting => (waiting, None),
        };
        self.turn = next;
        keys
    }

    fn next_1rtt_keys(&mut self) -> Option<KeyPair<Box<dyn PacketKey>>> {
        self.application.as_mut().map(|secrets| secrets.advance(self.side))
    }

    fn is_valid_retry(&self, original: ConnectionId, header: &[u8], payload: &[u8]) -> bool {
        let Some((token, tag)) = payload.split_last_chunk::<16>() else { return false };
        let expected = retry_tag(original, &[header, token].concat());
        bool::from(expected.ct_eq(tag))
    }

    fn export_keying_material(
        &self,
        output: &mut [u8],
        label: &[u8],
        context: &[u8],
    ) -> Result<(), ExportKeyingMaterialError> {
        let exporter = self.exporter.as_ref().ok_or(ExportKeyingMaterialError)?;
        if export(exporter, label, context, output) { Ok(()) } else { Err(ExportKeyingMaterialError) }
    }
}

/// The responder's ID is in the prologue, so that a first message means one node and its twin of the other sign
/// cannot be mistaken for it.
fn prologue(responder: &NodeId) -> Vec<u8> {
    [PROLOGUE, responder.as_bytes()].concat()
}

fn encoded(parameters: &TransportParameters) -> Vec<u8> {
    let mut encoded = Vec::new();
    parameters.write(&mut encoded);
    encoded
}

fn hello(node: NodeId, incarnation: u64, parameters: &[u8], early_ms: Option<u64>) -> Vec<u8> {
    let mut hello = Vec::new();
    Hello { node: *node.as_bytes(), incarnation, parameters, early_ms }.encode(&mut hello);
    hello
}

fn write_respond(writer: WriteTurn, hello: &[u8]) -> Result<(Vec<u8>, Box<Schedule>), TransportError> {
    let (message, step) = writer.write(hello).map_err(|_| refuse(ALERT_DECRYPT, "unusable key"))?;
    let keys = step.keys().map_err(|_| refuse(ALERT_UNEXPECTED, "handshake too long"))?;
    Ok((message, Box::new(Schedule::new(&keys))))
}

fn check_confirm(expected: &[u8; 32], body: &[u8]) -> Result<(), TransportError> {
    if bool::from(expected.as_slice().ct_eq(body)) {
        Ok(())
    } else {
        Err(refuse(ALERT_DECRYPT, "wrong confirmation"))
    }
}

fn refuse(alert: u8, reason: &str) -> TransportError {
    TransportError::new(TransportErrorCode::crypto(alert), reason.into())
}
