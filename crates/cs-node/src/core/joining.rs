//! Redeeming an invitation or a code made elsewhere: find the inviter, prove, take what it gives (NODE-6, NODE-7).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use cs_crypto::invite::{AwaitingProof, Code, Joiner, Meeting};
use cs_identity::NodeId;

use crate::api::{Problem, ProblemCode};
use crate::core::host::Host;
use crate::core::ports::CommandId;
use crate::ticket::Ticket;
use crate::wire::{Message, Refusal};

/// A join without an end after this long has failed.
const LIMIT: Duration = Duration::from_secs(45);

/// Nobody waits longer for a join, whatever they ask for.
const LIMIT_MAX: Duration = Duration::from_secs(60 * 60);

/// Proofs of a code that one peer is sent: a second one, since the session may have ended before it answered the first.
const PROOFS_PER_PEER: usize = 2;

/// Proofs of a code that one join sends. Each lets whoever offered the code guess it once.
const PROOFS_MAX: usize = 8;

/// What is redeemed.
pub(crate) enum Means {
    Invitation(Ticket),
    Code(Code),
}

/// How far a join is.
enum Stage {
    /// Nobody is being asked: waits for a candidate.
    Seeking,
    /// A session to this peer is being made.
    Dialling(NodeId),
    /// The invitation was shown.
    Shown(NodeId),
    /// The exchange's first message was sent.
    Exchanging(NodeId, Joiner),
    /// The proof was sent.
    Proven(NodeId, AwaitingProof),
    /// The inviter said yes, and the folder is being opened.
    Admitted,
}

/// One join under way.
pub(crate) struct Joining {
    pub(crate) command: CommandId,
    pub(crate) means: Means,
    pub(crate) folder: Option<PathBuf>,
    pub(crate) deadline: Duration,
    stage: Stage,
    /// Proofs sent to each peer.
    proofs: BTreeMap<NodeId, usize>,
    last: Option<Refusal>,
}

impl Joining {
    /// `limit_s`: seconds after which it has failed; [`LIMIT`] for `None`.
    pub(crate) fn new(
        command: CommandId,
        means: Means,
        folder: Option<PathBuf>,
        now: Duration,
        limit_s: Option<u64>,
    ) -> Self {
        let limit = limit_s.map_or(LIMIT, |s| Duration::from_secs(s).min(LIMIT_MAX));
        let stage = Stage::Seeking;
        Self { command, means, folder, deadline: now + limit, stage, proofs: BTreeMap::new(), last: None }
    }

    /// Takes somebody who may be the inviter. `true` if it is to be asked.
    pub(crate) fn considers(&mut self, peer: NodeId) -> bool {
        let meant = match &self.means {
            Means::Invitation(ticket) => ticket.inviter == peer,
            Means::Code(_) => self.may_prove_to(&peer),
        };
        if !meant || !matches!(self.stage, Stage::Seeking) {
            return false;
        }
        self.stage = Stage::Dialling(peer);
        true
    }

    /// Whether this peer may be given a chance to guess the code.
    fn may_prove_to(&self, peer: &NodeId) -> bool {
        let sent = self.proofs.get(peer).copied().unwrap_or(0);
        sent < PROOFS_PER_PEER && self.proofs.values().sum::<usize>() < PROOFS_MAX
    }

    /// Whether this join wants a session with a peer, or has one.
    pub(crate) fn concerns(&self, peer: &NodeId) -> bool {
        match &self.stage {
            Stage::Dialling(p) | Stage::Shown(p) | Stage::Exchanging(p, _) | Stage::Proven(p, _) => p == peer,
            Stage::Seeking | Stage::Admitted => false,
        }
    }

    /// A session with the candidate stands. Returns what to send it.
    pub(crate) fn session_up(
        &mut self,
        host: &mut Host,
        peer: NodeId,
        exporter: &[u8; 32],
    ) -> Option<Message> {
        if !self.concerns(&peer) {
            return None;
        }
        match &self.means {
            Means::Invitation(ticket) => {
                self.stage = Stage::Shown(peer);
                Some(Message::Redeem { invitation: ticket.id(), proof: ticket.proof(exporter, &host.me) })
            }
            Means::Code(_) if !self.may_prove_to(&peer) => {
                self.stage = Stage::Seeking;
                None
            }
            Means::Code(code) => {
                let meeting =
                    Meeting { joiner: *host.me.as_bytes(), inviter: *peer.as_bytes(), binding: *exporter };
                let (joiner, hello) = Joiner::start(code, meeting, host.random());
                self.stage = Stage::Exchanging(peer, joiner);
                Some(Message::Code { rendezvous: code.rendezvous(), hello })
            }
        }
    }

    /// Where its code is met; `None` for a full invitation.
    pub(crate) fn rendezvous(&self) -> Option<[u8; 32]> {
        match &self.means {
            Means::Code(code) => Some(code.rendezvous()),
            Means::Invitation(_) => None,
        }
    }

    /// What it waits for, for whoever watches.
    pub(crate) fn waits_for(&self) -> String {
        match &self.stage {
            Stage::Seeking if self.proofs.is_empty() => match &self.means {
                Means::Code(_) => "looking for the device that offers the code".to_owned(),
                Means::Invitation(ticket) => {
                    format!("looking for the inviting device {}", ticket.inviter.short())
                }
            },
            Stage::Seeking => "looking for another way to the inviting device".to_owned(),
            Stage::Dialling(peer) => format!("connecting to {}", peer.short()),
            Stage::Shown(peer) | Stage::Exchanging(peer, _) | Stage::Proven(peer, _) => {
                format!("waiting for {} to admit this device", peer.short())
            }
            Stage::Admitted => "admitted; opening the folder".to_owned(),
        }
    }

    /// Whether the inviter said yes.
    pub(crate) fn is_admitted(&self) -> bool {
        matches!(self.stage, Stage::Admitted)
    }

    /// The candidate is gone, or could not be reached.
    pub(crate) fn peer_failed(&mut self, peer: &NodeId) {
        if self.concerns(peer) {
            self.stage = Stage::Seeking;
        }
    }

    /// The inviter's half of the exchange. Returns the proof to send.
    pub(crate) fn answered(&mut self, peer: NodeId, answer: &[u8]) -> Option<Message> {
        match std::mem::replace(&mut self.stage, Stage::Seeking) {
            Stage::Exchanging(p, joiner) if p == peer => {
                let (awaiting, proof) = joiner.read_answer(answer).ok()?;
                *self.proofs.entry(peer).or_default() += 1;
                self.stage = Stage::Proven(peer, awaiting);
                Some(Message::CodeProof { proof: proof.to_vec() })
            }
            other => {
                self.stage = other;
                None
            }
        }
    }

    /// A welcome came. `true` if it is from the one that was asked, and proves what a code demands.
    pub(crate) fn welcomed(&mut self, peer: NodeId, proof: &[u8]) -> bool {
        match std::mem::replace(&mut self.stage, Stage::Seeking) {
            Stage::Shown(p) if p == peer => self.stage = Stage::Admitted,
            Stage::Proven(p, awaiting) if p == peer => {
                if awaiting.read_proof(proof).is_err() {
                    self.last = Some(Refusal::Unknown);
                    return false;
                }
                self.stage = Stage::Admitted;
            }
            other => {
                self.stage = other;
                return false;
            }
        }
        true
    }

    /// A refusal came: a code or invitation that was wrong, used or expired will not get better.
    pub(crate) fn refused(&mut self, why: Refusal) -> Problem {
        self.stage = Stage::Seeking;
        self.last = Some(why);
        self.failure()
    }

    /// Why it failed, for the person who asked.
    pub(crate) fn failure(&self) -> Problem {
        let again = "Ask for a new one: `cosync invite` on the other device.";
        match (self.last, &self.means) {
            (Some(Refusal::Used), _) => {
                Problem::new(ProblemCode::BadInvitation, "This invitation was used by another device.", again)
            }
            (Some(Refusal::Expired), _) => {
                Problem::new(ProblemCode::BadInvitation, "This invitation has expired.", again)
            }
            (Some(Refusal::Unknown), Means::Code(_)) => Problem::new(
                ProblemCode::BadInvitation,
                "The code is wrong; one wrong guess makes a code useless.",
                again,
            ),
            (Some(Refusal::Unknown), Means::Invitation(_)) => Problem::new(
                ProblemCode::BadInvitation,
                "The inviting device does not know this invitation.",
                again,
            ),
            (None, Means::Code(_)) if !self.proofs.is_empty() => Problem::new(
                ProblemCode::Unreachable,
                "The device that offers this code was lost before it admitted this one.",
                again,
            ),
            (None, Means::Code(_)) => Problem::new(
                ProblemCode::Unreachable,
                "No device was found that offers this code.",
                "Check the code and that `cosync share` is running there. Without a common network, give both devices the \
                 same `--bootstrap` node, or use the full invitation.",
            ),
            (None, Means::Invitation(ticket)) => Problem::new(
                ProblemCode::Unreachable,
                format!(
                    "The inviting device {} cannot be reached at {}.",
                    ticket.inviter.short(),
                    list(&ticket.addrs)
                ),
                "Check that cosync is running there and that a firewall lets UDP through, then join again: the \
                 invitation stays good.",
            ),
        }
    }
}

fn list(addrs: &[SocketAddr]) -> String {
    let addrs: Vec<String> = addrs.iter().map(SocketAddr::to_string).collect();
    if addrs.is_empty() { "any address".to_owned() } else { addrs.join(", ") }
}
