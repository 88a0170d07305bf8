//! One allocation on one server (RFC 8656 sections 7 to 12, the client's side). Rule TP-23.

mod peers;
mod requests;
#[cfg(test)]
mod tests;

use core::net::{IpAddr, SocketAddr};
use core::time::Duration;
use std::collections::VecDeque;

use thiserror::Error;

use self::peers::Peers;
use self::requests::{Challenge, Due, Pending, Purpose, Requests};
use super::{CHANNEL_HEADER, ChannelData, Family, Transport};
use crate::stun::{AttributeKind, Builder, Class, Credentials, HEADER, Message, Method, encode_xor_address};
use crate::wire::DecodeError;

pub use self::peers::MAX_PEERS;

/// Longest datagram for a peer, in bytes: what UDP carries, less the wrapping.
const MAX_DATA: usize = 65_000;
/// A lifetime that a server grants is taken within these bounds, so that neither a hostile nor a mistaken one makes the client
/// spin or sleep for ever.
const LIFETIME_MIN: Duration = Duration::from_secs(30);
const LIFETIME_MAX: Duration = Duration::from_secs(3600);
/// First wait for a server that has cleared a port and still finds it occupied, and how many there are, each twice as long:
/// coturn takes up to some seconds.
const CLEARING_WAIT: Duration = Duration::from_millis(500);
const CLEARING_WAITS: u32 = 4;

/// Settings of a [`Client`].
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Who asks.
    pub credentials: Credentials,
    /// What is between here and the server.
    pub transport: Transport,
    /// The family of the relayed address. `None`, the default, leaves it to the server, which takes IPv4.
    pub family: Option<Family>,
    /// An indication goes to the server this often, so that NATs on the way keep their mapping. Default 20 s over UDP, never
    /// over TCP; zero for never.
    pub keep_alive: Duration,
    /// The allocation is refreshed this often, or earlier if it would end: a server that restarted is found out. At least 1 s;
    /// default 120 s.
    pub refresh_interval: Duration,
    /// Wait for the first answer, which then doubles; at least 1 ms. Default 500 ms: unanswered after 19.5 s.
    pub first_wait: Duration,
}

impl ClientConfig {
    /// The defaults.
    #[must_use]
    pub fn new(credentials: Credentials, transport: Transport) -> Self {
        let keep_alive = if transport == Transport::Udp { Duration::from_secs(20) } else { Duration::ZERO };
        Self {
            credentials,
            transport,
            family: None,
            keep_alive,
            refresh_interval: Duration::from_secs(120),
            first_wait: Duration::from_millis(500),
        }
    }
}

/// The client's side of one allocation. A machine: it sends and waits through its caller.
#[derive(Debug)]
pub struct Client {
    config: ClientConfig,
    now: Duration,
    state: State,
    challenge: Option<Challenge>,
    requests: Requests,
    peers: Peers,
    outbox: VecDeque<Output>,
    keep_alive_at: Option<Duration>,
    /// How often a port was found to have an allocation of an earlier run.
    occupied: u32,
    /// When the allocation is asked for again, since a server takes its time to clear a port.
    retry_at: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Allocating,
    Allocated { refresh_at: Duration, expires_at: Duration },
    Closing,
}

/// What a client wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Output {
    /// Send this to the server: a datagram, or on a stream the next bytes.
    Send(Vec<u8>),
    /// Something happened.
    Event(Event),
}

/// Something happened to an allocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// It is there.
    Allocated {
        /// The address on the server that peers send to.
        relayed: SocketAddr,
        /// The address that the server sees this client under.
        mapped: SocketAddr,
        /// How long it would live without being refreshed; this client refreshes it.
        lifetime: Duration,
    },
    /// Peers at this address can send and be sent to.
    Permitted(IpAddr),
    /// The server refused that, with this code (RFC 8656 section 19); it is not tried again.
    NotPermitted {
        /// Whom.
        ip: IpAddr,
        /// Why.
        code: u16,
    },
    /// A channel for this peer is there: datagrams get shorter.
    Bound(SocketAddr),
    /// The server refused a channel, with this code.
    NotBound {
        /// For whom.
        peer: SocketAddr,
        /// Why.
        code: u16,
    },
    /// The server refused an allocation, with this code. The client is idle again.
    Refused(u16),
    /// The allocation, or the hope for one, is gone. The client is idle again.
    Lost(Loss),
    /// It ended as asked. The client is idle again.
    Closed,
}

/// Why an allocation is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loss {
    /// The server did not answer.
    Unanswered,
    /// The server knows nothing of it: it restarted, or this client's address changed.
    Gone,
    /// It ran out before it was refreshed: this side slept.
    Expired,
}

/// What a peer sent, borrowed from the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data<'a> {
    /// Who, as the server sees it.
    pub peer: SocketAddr,
    /// What.
    pub bytes: &'a [u8],
}

/// The server, or somebody in its name, broke the protocol. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PeerFault {
    /// Neither STUN nor data on a channel, or without what it must have.
    #[error("malformed: {0}")]
    Malformed(#[from] DecodeError),
    /// An answer to nothing that was asked; late ones are among them.
    #[error("answers no request")]
    Stray,
    /// The integrity check is missing or wrong.
    #[error("not authentic")]
    Forged,
    /// Data on a channel that is not bound, or of a peer without permission.
    #[error("data of a stranger")]
    Stranger,
}

/// A peer is not taken. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refused {
    /// There are [`MAX_PEERS`] already, or every channel number was used of late.
    #[error("too many peers")]
    Full,
    /// The address is of the other family than the allocation was asked for, or unspecified.
    #[error("an address that the allocation cannot reach")]
    Unreachable,
}

/// Data was not wrapped. Nothing changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum NotPermitted {
    /// The server has not granted a permission for the peer (yet).
    #[error("no permission for this peer")]
    Peer,
    /// More bytes than a datagram holds.
    #[error("too long for a datagram")]
    TooLong,
}

impl Client {
    /// `seed`: 32 bytes of entropy; transaction IDs come from them, and whoever knows those can answer for the server.
    #[must_use]
    pub fn new(config: ClientConfig, seed: [u8; 32]) -> Self {
        let first_wait = config.first_wait.max(Duration::from_millis(1));
        let requests = Requests::new(seed, config.transport, config.family, first_wait);
        Self {
            config,
            now: Duration::ZERO,
            state: State::Idle,
            challenge: None,
            requests,
            peers: Peers::default(),
            outbox: VecDeque::new(),
            keep_alive_at: None,
            occupied: 0,
            retry_at: None,
        }
    }

    /// Asks for the allocation; does nothing if one is there or asked for. Peers that were permitted or bound before are asked
    /// for again once it is there.
    pub fn start(&mut self, now: Duration) {
        self.tick(now);
        if self.state == State::Idle {
            self.state = State::Allocating;
            self.occupied = 0;
            self.request(Purpose::Allocate, 0);
        }
    }

    /// Lets peers at `ip` send to this client and be sent to; kept up until [`Self::release`].
    ///
    /// # Errors
    /// [`Refused`].
    pub fn permit(&mut self, now: Duration, ip: IpAddr) -> Result<(), Refused> {
        self.tick(now);
        let ip = ip.to_canonical();
        self.check_family(ip)?;
        if self.peers.permit(ip)? && self.is_allocated() {
            self.request(Purpose::Permit(ip), 0);
        }
        Ok(())
    }

    /// Gives a peer a channel, which permits its address too; kept up until [`Self::release`].
    ///
    /// # Errors
    /// [`Refused`].
    pub fn bind(&mut self, now: Duration, peer: SocketAddr) -> Result<(), Refused> {
        self.tick(now);
        let peer = canonical(peer);
        self.check_family(peer.ip())?;
        if let Some(channel) = self.peers.bind(self.now, peer)?
            && self.is_allocated()
        {
            self.request(Purpose::Bind(peer, channel), 0);
        }
        Ok(())
    }

    /// Permissions and channels of `ip` are not kept up any longer: the server forgets them within 10 minutes, this client at
    /// once.
    pub fn release(&mut self, now: Duration, ip: IpAddr) {
        self.tick(now);
        let ip = ip.to_canonical();
        self.peers.release(self.now, ip);
        self.requests.forget(|purpose| match purpose {
            Purpose::Permit(of) => of == ip,
            Purpose::Bind(of, _) => of.ip() == ip,
            _ => false,
        });
    }

    /// Ends the allocation; [`Event::Closed`] follows, also when the server does not answer.
    pub fn close(&mut self, now: Duration) {
        self.tick(now);
        match self.state {
            State::Allocated { .. } => {
                self.requests.forget(|_| true);
                self.state = State::Closing;
                self.request(Purpose::Release, 0);
            }
            State::Allocating => self.end(Event::Closed),
            State::Idle | State::Closing => {}
        }
    }

    /// Takes a datagram, or a message of the stream, from the server's address. What a peer sent is handed back.
    ///
    /// # Errors
    /// [`PeerFault`]; nothing changed but the clock.
    pub fn handle_input<'a>(
        &mut self,
        now: Duration,
        input: &'a [u8],
    ) -> Result<Option<Data<'a>>, PeerFault> {
        self.tick(now);
        if input.first().is_some_and(|first| first & 0xc0 == 0x40) {
            let data = ChannelData::from_bytes(input)?;
            let peer = self.peers.of_channel(data.channel).ok_or(PeerFault::Stranger)?;
            return Ok(Some(Data { peer, bytes: data.bytes }));
        }
        let message = Message::from_bytes(input)?;
        match (message.class(), message.method()) {
            (Class::Indication, Method::DATA) => self.read_data(&message).map(Some),
            (Class::Success | Class::Error, _) => self.read_answer(&message).map(|()| None),
            _ => Err(PeerFault::Malformed(DecodeError::UnknownKind)),
        }
    }

    /// Appends `data` for `peer` to `out` as it goes to the server: on its channel, or as an indication. On a stream with its
    /// padding.
    ///
    /// # Errors
    /// [`NotPermitted`]; `out` is as before.
    pub fn wrap(&mut self, out: &mut Vec<u8>, peer: SocketAddr, data: &[u8]) -> Result<(), NotPermitted> {
        let peer = canonical(peer);
        if data.len() > MAX_DATA {
            return Err(NotPermitted::TooLong);
        }
        if let Some(channel) = self.channel(peer) {
            let header = ChannelData::header(channel, data.len()).ok_or(NotPermitted::TooLong)?;
            out.reserve(CHANNEL_HEADER + data.len() + 3);
            out.extend_from_slice(&header);
            out.extend_from_slice(data);
            if self.config.transport == Transport::Tcp {
                out.resize(out.len() + data.len().next_multiple_of(4) - data.len(), 0);
            }
            return Ok(());
        }
        if !self.is_allocated() || !self.peers.is_permitted(peer.ip()) {
            return Err(NotPermitted::Peer);
        }
        let transaction = self.requests.transaction();
        let address = encode_xor_address(peer, &transaction);
        let message = Builder::new(Class::Indication, Method::SEND, transaction)
            .attribute(AttributeKind::XOR_PEER_ADDRESS, &address)
            .attribute(AttributeKind::DATA, data)
            .finish();
        debug_assert!(message.len() > HEADER + data.len());
        out.extend_from_slice(&message);
        Ok(())
    }

    /// The channel of a peer, once it is bound: for callers that write its four bytes themselves.
    #[must_use]
    pub fn channel(&self, peer: SocketAddr) -> Option<u16> {
        self.peers.channel(canonical(peer)).filter(|_| self.is_allocated())
    }

    /// Whether the allocation is there.
    #[must_use]
    pub fn is_allocated(&self) -> bool {
        matches!(self.state, State::Allocated { .. })
    }

    /// Runs what is due. Early, late and repeated calls are harmless.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.tick(now);
        for due in self.requests.due(self.now) {
            match due {
                Due::Repeat(bytes) => self.outbox.push_back(Output::Send(bytes)),
                Due::Unanswered(Purpose::Release) => self.end(Event::Closed),
                Due::Unanswered(_) => {
                    self.end(Event::Lost(Loss::Unanswered));
                    break;
                }
            }
        }
        if self.retry_at.is_some_and(|at| at <= self.now) {
            self.retry_at = None;
            self.request(Purpose::Allocate, 0);
        }
        self.keep_up();
        if self.keep_alive_at.is_some_and(|at| at <= self.now) {
            self.keep_alive_at = Some(self.now + self.config.keep_alive);
            let transaction = self.requests.transaction();
            let indication = Builder::new(Class::Indication, Method::BINDING, transaction).finish();
            self.outbox.push_back(Output::Send(indication));
        }
    }

    /// The next deadline; after [`Self::handle_timeout`] it is later than its `now`. `None` is never.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let allocation = match self.state {
            State::Allocated { refresh_at, expires_at } => {
                [Some(refresh_at.min(expires_at)), self.peers.next_at(), self.keep_alive_at]
            }
            _ => [None; 3],
        };
        allocation.into_iter().chain([self.requests.next_at(), self.retry_at]).flatten().min()
    }

    /// Oldest first; `None` means wait.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    fn tick(&mut self, now: Duration) {
        self.now = self.now.max(now);
    }

    fn check_family(&self, ip: IpAddr) -> Result<(), Refused> {
        let fits = Family::of(ip) == self.config.family.unwrap_or(Family::V4);
        if fits && !ip.is_unspecified() { Ok(()) } else { Err(Refused::Unreachable) }
    }

    fn request(&mut self, purpose: Purpose, renewals: u8) {
        let login = self.challenge.as_ref().map(|challenge| (challenge, &self.config.credentials));
        let bytes = self.requests.begin(self.now, purpose, login, renewals);
        self.outbox.push_back(Output::Send(bytes));
    }

    /// Refreshes what would end.
    fn keep_up(&mut self) {
        let State::Allocated { refresh_at, expires_at } = &mut self.state else { return };
        if *expires_at <= self.now {
            return self.end(Event::Lost(Loss::Expired));
        }
        let now = self.now;
        if *refresh_at <= now {
            // Its answer sets both anew, and no answer ends the allocation.
            *refresh_at = *expires_at;
            if !self.requests.is_under_way(|purpose| purpose == Purpose::Refresh) {
                self.request(Purpose::Refresh, 0);
            }
        }
        for purpose in self.peers.due(now) {
            self.request(purpose, 0);
        }
    }

    fn read_data<'a>(&self, message: &Message<'a>) -> Result<Data<'a>, PeerFault> {
        let attribute = |kind| message.attribute(kind).ok_or(DecodeError::Truncated);
        let peer = canonical(attribute(AttributeKind::XOR_PEER_ADDRESS)?.xor_address(message)?);
        let bytes = attribute(AttributeKind::DATA)?.value;
        if !self.peers.is_known(peer.ip()) {
            return Err(PeerFault::Stranger);
        }
        Ok(Data { peer, bytes })
    }

    fn read_answer(&mut self, message: &Message<'_>) -> Result<(), PeerFault> {
        let transaction = message.transaction();
        let pending = self.requests.peek(&transaction).ok_or(PeerFault::Stray)?;
        if pending.purpose.method() != message.method() || message.fingerprint() == Some(false) {
            return Err(PeerFault::Malformed(DecodeError::OutOfRange));
        }
        let authentic =
            self.challenge.as_ref().filter(|_| pending.signed).map(|login| login.key.verify(message));
        match (message.class(), authentic) {
            // What succeeds must be signed if the request was. Refusals need not: most servers sign only some, and who
            // sees the transaction can suppress the answer anyway. A wrong signature is never accepted.
            (Class::Success, Some(None)) | (_, Some(Some(false))) => Err(PeerFault::Forged),
            (Class::Success, _) => self.succeed(message),
            _ => self.fail(message),
        }
    }

    fn succeed(&mut self, message: &Message<'_>) -> Result<(), PeerFault> {
        let transaction = message.transaction();
        let Some(pending) = self.requests.peek(&transaction) else { return Err(PeerFault::Stray) };
        match pending.purpose {
            Purpose::Allocate => self.allocated(message)?,
            Purpose::Refresh => {
                let lifetime = lifetime(message)?;
                self.lives(lifetime);
            }
            Purpose::Clear => self.request(Purpose::Allocate, 0),
            Purpose::Release => self.end(Event::Closed),
            Purpose::Permit(ip) => {
                if self.peers.permitted(self.now, ip) {
                    self.outbox.push_back(Output::Event(Event::Permitted(ip)));
                }
            }
            Purpose::Bind(peer, channel) => {
                if self.peers.bound(self.now, peer, channel) {
                    self.outbox.push_back(Output::Event(Event::Bound(peer)));
                }
            }
        }
        self.requests.take(&transaction);
        Ok(())
    }

    fn allocated(&mut self, message: &Message<'_>) -> Result<(), PeerFault> {
        let address = |kind| {
            let attribute = message.attribute(kind).ok_or(DecodeError::Truncated)?;
            attribute.xor_address(message).map(canonical)
        };
        let relayed = address(AttributeKind::XOR_RELAYED_ADDRESS)?;
        let mapped = address(AttributeKind::XOR_MAPPED_ADDRESS)?;
        let lifetime = lifetime(message)?;
        self.lives(lifetime);
        if !self.config.keep_alive.is_zero() {
            self.keep_alive_at = Some(self.now + self.config.keep_alive);
        }
        self.outbox.push_back(Output::Event(Event::Allocated { relayed, mapped, lifetime }));
        for purpose in self.peers.wanted() {
            self.request(purpose, 0);
        }
        Ok(())
    }

    fn lives(&mut self, lifetime: Duration) {
        let expires_at = self.now + lifetime;
        // In time for all repeats of the request (19.5 s at the default), and at half of a short life.
        let latest = lifetime.saturating_sub(Duration::from_secs(60)).max(lifetime / 2);
        let refresh_at = self.now + latest.min(self.config.refresh_interval.max(Duration::from_secs(1)));
        self.state = State::Allocated { refresh_at, expires_at };
    }

    fn fail(&mut self, message: &Message<'_>) -> Result<(), PeerFault> {
        let attribute = message.attribute(AttributeKind::ERROR_CODE).ok_or(DecodeError::Truncated)?;
        let code = attribute.error_code()?;
        let pending = self.requests.take(&message.transaction()).ok_or(PeerFault::Stray)?;
        let renew = match code {
            401 => !pending.signed,
            438 => pending.may_renew(),
            _ => false,
        };
        if renew && let Some(challenge) = Challenge::read(message, &self.config.credentials) {
            self.challenge = Some(challenge);
            let renewals = pending.renewals + u8::from(code == 438);
            self.request(pending.purpose, renewals);
            return Ok(());
        }
        self.refused(&pending, code);
        Ok(())
    }

    fn refused(&mut self, pending: &Pending, code: u16) {
        match (pending.purpose, code) {
            (Purpose::Allocate, 437) if self.occupied == 0 => {
                self.occupied = 1;
                self.request(Purpose::Clear, 0);
            }
            (Purpose::Allocate, 437) if self.occupied <= CLEARING_WAITS => {
                self.retry_at = Some(self.now + CLEARING_WAIT * (1 << (self.occupied - 1)));
                self.occupied += 1;
            }
            (Purpose::Allocate, _) => self.end(Event::Refused(code)),
            (Purpose::Clear, _) => self.request(Purpose::Allocate, 0),
            (Purpose::Release, _) => self.end(Event::Closed),
            (Purpose::Refresh, _) | (_, 437) => self.end(Event::Lost(Loss::Gone)),
            (Purpose::Permit(ip), _) => {
                self.peers.not_permitted(ip);
                self.outbox.push_back(Output::Event(Event::NotPermitted { ip, code }));
            }
            (Purpose::Bind(peer, channel), _) => {
                self.peers.not_bound(self.now, peer, channel);
                self.outbox.push_back(Output::Event(Event::NotBound { peer, code }));
            }
        }
    }

    fn end(&mut self, event: Event) {
        self.state = State::Idle;
        self.challenge = None;
        self.retry_at = None;
        self.keep_alive_at = None;
        self.requests.forget(|_| true);
        self.peers.reset();
        self.outbox.push_back(Output::Event(event));
    }
}

fn lifetime(message: &Message<'_>) -> Result<Duration, DecodeError> {
    let seconds = message.attribute(AttributeKind::LIFETIME).ok_or(DecodeError::Truncated)?.number()?;
    Ok(Duration::from_secs(seconds.into()).clamp(LIFETIME_MIN, LIFETIME_MAX))
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
