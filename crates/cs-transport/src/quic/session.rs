//! One Noise IK handshake, as the QUIC connection drives it (TP-3, TP-4).

use core::any::Any;
use std::sync::Arc;

use cs_crypto::noise::{Hash, Pattern, Protocol, ReadTurn, Setup, WriteTurn};
use cs_identity::{NodeId, SecretKey};
use noq_proto::crypto::{ExportKeyingMaterialError, HeaderKey, KeyPair, Keys, PacketKey, Session};
use noq_proto::transport_parameters::TransportParameters;
use noq_proto::{ConnectionId, Side, TransportError, TransportErrorCode};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use super::config::Peer;
use super::keys::{Schedule, Secrets, export, initial_keys, retry_tag};
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
    application: Option<Secrets>,
    exporter: Option<Zeroizing<[u8; 32]>>,
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
    AwaitInitiate(Arc<SecretKey>, Zeroizing<[u8; 32]>, Vec<u8>),
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
    /// `None` only for keys that no Noise handshake can use.
    pub(crate) fn dial(
        secret: &SecretKey,
        incarnation: u64,
        peer: NodeId,
        entropy: [u8; 32],
        parameters: &TransportParameters,
    ) -> Option<Self> {
        let prologue = prologue(&peer);
        let setup = Setup::new(PROTOCOL, entropy)
            .prologue(&prologue)
            .local(*secret.to_x25519())
            .remote(peer.to_x25519());
        let (message, step) = setup.initiate().ok()?.write(&hello(secret, incarnation, parameters)).ok()?;
        let turn = Turn::SendInitiate(message, Box::new(step.turn().ok()?), peer);
        Some(Self::new(Side::Client, turn))
    }

    pub(crate) fn accept(
        secret: Arc<SecretKey>,
        incarnation: u64,
        entropy: [u8; 32],
        parameters: &TransportParameters,
    ) -> Self {
        let hello = hello(&secret, incarnation, parameters);
        Self::new(Side::Server, Turn::AwaitInitiate(secret, Zeroizing::new(entropy), hello))
    }

    fn new(side: Side, turn: Turn) -> Self {
        Self {
            side,
            turn,
            unread: Vec::new(),
            peer: None,
            peer_parameters: None,
            application: None,
            exporter: None,
        }
    }

    fn handle_frame(&mut self, kind: FrameKind, body: &[u8]) -> Result<(), TransportError> {
        let turn = core::mem::replace(&mut self.turn, Turn::Failed);
        self.turn = match (turn, kind) {
            (Turn::AwaitInitiate(secret, entropy, hello), FrameKind::Initiate) => {
                self.read_initiate(&secret, *entropy, &hello, body)?
            }
            (Turn::AwaitRespond(reader, peer), FrameKind::Respond) => {
                self.read_respond(*reader, peer, body)?
            }
            (Turn::AwaitAcceptorConfirm(schedule), FrameKind::Confirm) => {
                check_confirm(&schedule.confirm_acceptor, body)?;
                Turn::SendDiallerConfirm(schedule)
            }
            (Turn::AwaitDiallerConfirm(expected), FrameKind::Confirm) => {
                check_confirm(&expected, body)?;
                Turn::Done
            }
            _ => return Err(refuse(ALERT_UNEXPECTED, "handshake message out of turn")),
        };
        Ok(())
    }

    fn read_initiate(
        &mut self,
        secret: &SecretKey,
        entropy: [u8; 32],
        hello: &[u8],
        body: &[u8],
    ) -> Result<Turn, TransportError> {
        let prologue = prologue(&secret.node_id());
        let reader = Setup::new(PROTOCOL, entropy).prologue(&prologue).local(*secret.to_x25519()).respond();
        let reader = reader.map_err(|_| refuse(ALERT_DECRYPT, "unusable key"))?;
        let (payload, step) =
            reader.read(body).map_err(|_| refuse(ALERT_DECRYPT, "not sealed for this node"))?;
        let writer = step.turn().map_err(|_| refuse(ALERT_UNEXPECTED, "handshake too short"))?;
        self.read_hello(&payload, writer.remote_static())?;
        let (message, step) = write_respond(writer, hello)?;
        self.exporter = Some(step.exporter.clone());
        Ok(Turn::SendRespond(message, step))
    }

    fn read_respond(&mut self, reader: ReadTurn, peer: NodeId, body: &[u8]) -> Result<Turn, TransportError> {
        let (payload, step) =
            reader.read(body).map_err(|_| refuse(ALERT_DECRYPT, "the answer is not authentic"))?;
        let keys = step.keys().map_err(|_| refuse(ALERT_UNEXPECTED, "handshake too long"))?;
        self.read_hello(&payload, keys.remote_static.as_ref())?;
        if self.peer.map(|found| found.node) != Some(peer) {
            return Err(refuse(ALERT_DECRYPT, "another node answered"));
        }
        let schedule = Box::new(Schedule::new(&keys));
        self.exporter = Some(schedule.exporter.clone());
        Ok(Turn::InstallHandshake(schedule))
    }

    /// Believes the payload's node ID only if it is the static key that Noise authenticated. Rule TP-4.
    fn read_hello(&mut self, payload: &[u8], remote: Option<&[u8; 32]>) -> Result<(), TransportError> {
        let hello = Hello::from_bytes(payload).map_err(|_| refuse(ALERT_DECODE, "malformed hello"))?;
        let node = NodeId::from_bytes(&hello.node).map_err(|_| refuse(ALERT_DECODE, "no node ID"))?;
        if remote != Some(&node.to_x25519()) {
            return Err(refuse(ALERT_DECRYPT, "the node ID is not the key's"));
        }
        let mut parameters = hello.parameters;
        let parameters = TransportParameters::read(self.side, &mut parameters)?;
        self.peer = Some(Peer { node, incarnation: hello.incarnation });
        self.peer_parameters = Some(parameters);
        Ok(())
    }
}

impl Session for NoiseSession {
    fn initial_keys(&self, connection: ConnectionId, side: Side) -> Keys {
        initial_keys(connection, side)
    }

    fn handshake_data(&self) -> Option<Box<dyn Any>> {
        self.peer_identity()
    }

    fn peer_identity(&self) -> Option<Box<dyn Any>> {
        self.peer.map(|peer| -> Box<dyn Any> { Box::new(peer) })
    }

    fn early_crypto(&self) -> Option<(Box<dyn HeaderKey>, Box<dyn PacketKey>)> {
        None
    }

    fn early_data_accepted(&self) -> Option<bool> {
        None
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
        Ok(self.peer_parameters)
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

fn hello(secret: &SecretKey, incarnation: u64, parameters: &TransportParameters) -> Vec<u8> {
    let mut encoded = Vec::new();
    parameters.write(&mut encoded);
    let mut hello = Vec::new();
    Hello { node: *secret.node_id().as_bytes(), incarnation, parameters: &encoded }.encode(&mut hello);
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
