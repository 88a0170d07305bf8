//! What a client may ask for, once it has proven who it is (RFC 8656 sections 7 to 12). Rules TP-24 and TP-26.

use core::net::SocketAddr;
use core::time::Duration;

use super::allocation::{Allocation, Bucket, NotBound};
use super::policy::{allows_ip, allows_port};
use super::{AllocationId, BindFault, FiveTuple, Output, Server};
use crate::stun::{
    AttributeKind, Builder, Class, Credentials, LongTermKey, Message, Method, PasswordAlgorithm,
    encode_error_code, encode_xor_address,
};
use crate::turn::{CHANNELS_TAKEN, Family, PROTOCOL_UDP};

/// How long the driver may take to bind a socket.
const BIND_LIMIT: Duration = Duration::from_secs(10);

/// An error code, and what goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Code(pub(crate) u16);

/// Who asks, proven.
pub(crate) struct Login {
    user: String,
    key: LongTermKey,
}

impl Server {
    pub(crate) fn serve(&mut self, from: FiveTuple, request: &Message<'_>) {
        let login = match self.authenticate(&from, request) {
            Ok(login) => login,
            Err(code) => return self.challenge(from, request, code),
        };
        if let Some(unknown) = unknown_attributes(request) {
            let builder = error(request, Code(420)).attribute(AttributeKind::UNKNOWN_ATTRIBUTES, &unknown);
            return self.send_signed(from, &login.key, builder);
        }
        let served = match request.method() {
            Method::ALLOCATE => self.allocate(from, request, &login),
            Method::REFRESH => self.refresh(from, request).map(Some),
            Method::CREATE_PERMISSION => self.create_permission(from, request).map(Some),
            Method::CHANNEL_BIND => self.channel_bind(from, request).map(Some),
            _ => Err(Code(400)),
        };
        match served {
            Ok(Some(answer)) => self.send_signed(from, &login.key, answer),
            Ok(None) => {}
            Err(code) => {
                self.counters.refused += 1;
                self.send_signed(from, &login.key, error(request, code));
            }
        }
    }

    fn authenticate(&mut self, from: &FiveTuple, request: &Message<'_>) -> Result<Login, Code> {
        if request.attribute(AttributeKind::MESSAGE_INTEGRITY).is_none() {
            return Err(Code(401));
        }
        let value = |kind| request.attribute(kind).map(|attribute| attribute.value).ok_or(Code(400));
        let username = value(AttributeKind::USERNAME)?;
        let realm = value(AttributeKind::REALM)?;
        let nonce = value(AttributeKind::NONCE)?;
        if !self.nonces.is_fresh(self.now, from, nonce) {
            return Err(Code(438));
        }
        let user = core::str::from_utf8(username).map_err(|_| Code(401))?;
        let held = self.table.of(from).map(|allocation| (allocation.user == user, allocation.key.clone()));
        let key = match held {
            Some((true, key)) => key,
            Some((false, _)) if request.method() != Method::ALLOCATE => return Err(Code(441)),
            _ => self.key_of(user).ok_or(Code(401))?,
        };
        if realm != self.config.realm.as_bytes() || key.verify(request) != Some(true) {
            self.counters.unauthentic += 1;
            return Err(Code(401));
        }
        Ok(Login { user: user.to_owned(), key })
    }

    fn key_of(&self, user: &str) -> Option<LongTermKey> {
        let password = self.accounts.password(user)?;
        let credentials = Credentials::new(user, &password).ok()?;
        Some(credentials.key(self.config.realm.as_bytes(), PasswordAlgorithm::Md5))
    }

    /// The answer to who has not proven an identity. Nothing of it is longer than it must be: whoever forges the source of a
    /// request has it sent there.
    fn challenge(&mut self, to: FiveTuple, request: &Message<'_>, code: Code) {
        self.counters.challenged += 1;
        let mut builder = error(request, code);
        if matches!(code, Code(401 | 438)) {
            let nonce = self.nonces.make(self.now, &to);
            builder = builder
                .attribute(AttributeKind::REALM, self.config.realm.as_bytes())
                .attribute(AttributeKind::NONCE, &nonce);
        }
        self.outbox.push_back(Output::Send { to, bytes: builder.finish() });
    }

    fn send_signed(&mut self, to: FiveTuple, key: &LongTermKey, builder: Builder) {
        let bytes = key.protect(builder).finish();
        self.outbox.push_back(Output::Send { to, bytes });
    }

    /// `None`: the answer follows when the socket is bound.
    fn allocate(
        &mut self,
        from: FiveTuple,
        request: &Message<'_>,
        login: &Login,
    ) -> Result<Option<Builder>, Code> {
        if let Some(allocation) = self.table.of(&from) {
            if allocation.transaction != request.transaction() || allocation.user != login.user {
                return Err(Code(437));
            }
            if let Some(bytes) = allocation.answer.clone() {
                self.outbox.push_back(Output::Send { to: from, bytes });
            }
            return Ok(None);
        }
        let wish = Wish::read(request)?;
        self.check_quotas(&from, &login.user)?;
        let lifetime = self.granted_lifetime(wish.lifetime);
        let config = &self.config;
        let bucket = Bucket::new(self.now, config.bytes_per_second, config.burst_bytes);
        let (user, key) = (login.user.clone(), login.key.clone());
        let mut allocation = Allocation::new(from, user, key, request.transaction());
        (allocation.family, allocation.lifetime, allocation.bucket) = (wish.family, lifetime, bucket);
        allocation.expires_at = self.now + BIND_LIMIT;
        let allocation = self.table.insert(allocation);
        let (family, even_port) = (wish.family, wish.even_port);
        self.outbox.push_back(Output::Bind { allocation, client: from, family, even_port });
        Ok(None)
    }

    fn check_quotas(&self, from: &FiveTuple, user: &str) -> Result<(), Code> {
        if self.table.len() >= self.config.allocations_max {
            return Err(Code(508));
        }
        let of_user = self.table.of_user(user) >= self.config.allocations_per_user_max;
        let of_source = self.table.of_source(from) >= self.config.allocations_per_source_max;
        if of_user || of_source { Err(Code(486)) } else { Ok(()) }
    }

    /// Within what was asked for, no less than the default.
    fn granted_lifetime(&self, asked: Option<Duration>) -> Duration {
        let default = self.config.lifetime;
        asked.map_or(default, |asked| asked.min(self.config.lifetime_max).max(default))
    }

    pub(crate) fn bound(&mut self, id: AllocationId, bound: Result<SocketAddr, BindFault>) {
        let now = self.now;
        let Some(allocation) = self.table.get_mut(id).filter(|allocation| allocation.relayed.is_none())
        else {
            return;
        };
        let (client, key, lifetime) = (allocation.client, allocation.key.clone(), allocation.lifetime);
        let transaction = allocation.transaction;
        let answer = |class| Builder::new(class, Method::ALLOCATE, transaction);
        let bytes = match bound {
            Ok(relayed) => {
                let relayed = SocketAddr::new(relayed.ip().to_canonical(), relayed.port());
                let seconds = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX);
                let mapped = SocketAddr::new(client.remote.ip().to_canonical(), client.remote.port());
                let builder = answer(Class::Success)
                    .attribute(AttributeKind::XOR_RELAYED_ADDRESS, &encode_xor_address(relayed, &transaction))
                    .attribute(AttributeKind::LIFETIME, &seconds.to_be_bytes())
                    .attribute(AttributeKind::XOR_MAPPED_ADDRESS, &encode_xor_address(mapped, &transaction));
                let bytes = key.protect(builder).finish();
                allocation.answer = Some(bytes.clone());
                self.table.set_relayed(id, relayed);
                self.table.set_deadline(id, now + lifetime);
                self.counters.granted += 1;
                bytes
            }
            Err(fault) => {
                self.table.remove(id);
                self.counters.refused += 1;
                let code = if fault == BindFault::Family { 440 } else { 508 };
                let builder =
                    answer(Class::Error).attribute(AttributeKind::ERROR_CODE, &encode_error_code(code));
                key.protect(builder).finish()
            }
        };
        self.outbox.push_back(Output::Send { to: client, bytes });
    }

    fn refresh(&mut self, from: FiveTuple, request: &Message<'_>) -> Result<Builder, Code> {
        let asked = lifetime(request)?;
        let lifetime = match asked {
            Some(Duration::ZERO) => Duration::ZERO,
            asked => self.granted_lifetime(asked),
        };
        let (id, allocation) = self.table.of_mut(&from).ok_or(Code(437))?;
        if family(request)?.is_some_and(|family| family != allocation.family) {
            return Err(Code(443));
        }
        if lifetime.is_zero() {
            self.end(id);
        } else {
            self.table.set_deadline(id, self.now + lifetime);
        }
        let seconds = u32::try_from(lifetime.as_secs()).unwrap_or(u32::MAX);
        Ok(success(request).attribute(AttributeKind::LIFETIME, &seconds.to_be_bytes()))
    }

    fn create_permission(&mut self, from: FiveTuple, request: &Message<'_>) -> Result<Builder, Code> {
        let peers =
            request.attributes().filter(|attribute| attribute.kind == AttributeKind::XOR_PEER_ADDRESS);
        let peers = peers.map(|attribute| attribute.xor_address(request).map_err(|_| Code(400)));
        let ips =
            peers.map(|peer| peer.map(|peer| peer.ip().to_canonical())).collect::<Result<Vec<_>, _>>()?;
        if ips.is_empty() {
            return Err(Code(400));
        }
        for ip in &ips {
            self.check_peer(&from, SocketAddr::new(*ip, 443))?;
        }
        let (now, max) = (self.now, self.config.peers_per_allocation_max);
        let (_, allocation) = self.table.of_mut(&from).ok_or(Code(437))?;
        if !allocation.has_room(now, &ips, max) {
            return Err(Code(508));
        }
        ips.into_iter().for_each(|ip| allocation.permit(now, ip));
        Ok(success(request))
    }

    fn channel_bind(&mut self, from: FiveTuple, request: &Message<'_>) -> Result<Builder, Code> {
        let attribute = |kind| request.attribute(kind).ok_or(Code(400));
        let number = attribute(AttributeKind::CHANNEL_NUMBER)?.number().map_err(|_| Code(400))?;
        let number = u16::try_from(number >> 16)
            .ok()
            .filter(|number| CHANNELS_TAKEN.contains(number))
            .ok_or(Code(400))?;
        let peer = attribute(AttributeKind::XOR_PEER_ADDRESS)?.xor_address(request).map_err(|_| Code(400))?;
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        self.check_peer(&from, peer)?;
        let (now, max) = (self.now, self.config.peers_per_allocation_max);
        let (_, allocation) = self.table.of_mut(&from).ok_or(Code(437))?;
        if !allocation.has_room(now, &[peer.ip()], max) {
            return Err(Code(508));
        }
        allocation.bind(now, number, peer, max).map_err(|fault| match fault {
            NotBound::Taken => Code(400),
            NotBound::Full => Code(508),
        })?;
        allocation.permit(now, peer.ip());
        Ok(success(request))
    }

    /// Whether the client may talk with this peer (TP-25): one of its allocation's family, outside this network, and not this
    /// host, but for other clients' allocations and for what it serves to everybody.
    fn check_peer(&self, from: &FiveTuple, peer: SocketAddr) -> Result<(), Code> {
        let allocation =
            self.table.of(from).filter(|allocation| allocation.relayed.is_some()).ok_or(Code(437))?;
        if Family::of(peer.ip()) != allocation.family {
            return Err(Code(443));
        }
        let private = self.config.allow_private;
        if self.is_own_service(peer) {
            return if allows_port(peer.port(), private) { Ok(()) } else { Err(Code(403)) };
        }
        if self.table.is_relay(peer.ip()) || self.own.contains(&peer.ip()) {
            return if private || self.table.is_relay(peer.ip()) { Ok(()) } else { Err(Code(403)) };
        }
        let allowed = allows_ip(peer.ip(), private) && allows_port(peer.port(), private);
        if allowed { Ok(()) } else { Err(Code(403)) }
    }
}

/// What an Allocate request asks for.
struct Wish {
    family: Family,
    lifetime: Option<Duration>,
    even_port: bool,
}

impl Wish {
    fn read(request: &Message<'_>) -> Result<Self, Code> {
        let transport = request.attribute(AttributeKind::REQUESTED_TRANSPORT).ok_or(Code(400))?;
        let transport = transport.number().map_err(|_| Code(400))?;
        if transport >> 24 != u32::from(PROTOCOL_UDP) {
            return Err(Code(442));
        }
        let even_port = match request.attribute(AttributeKind::EVEN_PORT).map(|attribute| attribute.value) {
            None => false,
            Some([bits]) if bits & 0x80 == 0 => true,
            // Nobody here needs the next port too (section 7.2 allows to refuse).
            Some([_]) => return Err(Code(508)),
            Some(_) => return Err(Code(400)),
        };
        let family = family(request)?;
        if request.attribute(AttributeKind::RESERVATION_TOKEN).is_some() {
            // None was given out; beside either of the others it is an error (section 7.2).
            return Err(if even_port || family.is_some() { Code(400) } else { Code(508) });
        }
        Ok(Self { family: family.unwrap_or(Family::V4), lifetime: lifetime(request)?, even_port })
    }
}

fn family(request: &Message<'_>) -> Result<Option<Family>, Code> {
    let Some(attribute) = request.attribute(AttributeKind::REQUESTED_ADDRESS_FAMILY) else { return Ok(None) };
    match attribute.number().map_err(|_| Code(400))? >> 24 {
        1 => Ok(Some(Family::V4)),
        2 => Ok(Some(Family::V6)),
        _ => Err(Code(440)),
    }
}

fn lifetime(request: &Message<'_>) -> Result<Option<Duration>, Code> {
    let Some(attribute) = request.attribute(AttributeKind::LIFETIME) else { return Ok(None) };
    attribute.number().map(|seconds| Some(Duration::from_secs(seconds.into()))).map_err(|_| Code(400))
}

fn success(request: &Message<'_>) -> Builder {
    Builder::new(Class::Success, request.method(), request.transaction())
}

fn error(request: &Message<'_>, code: Code) -> Builder {
    Builder::new(Class::Error, request.method(), request.transaction())
        .attribute(AttributeKind::ERROR_CODE, &encode_error_code(code.0))
}

/// The numbers of required attributes that mean nothing here.
fn unknown_attributes(request: &Message<'_>) -> Option<Vec<u8>> {
    let known = [
        AttributeKind::USERNAME,
        AttributeKind::MESSAGE_INTEGRITY,
        AttributeKind::MESSAGE_INTEGRITY_SHA256,
        AttributeKind::REALM,
        AttributeKind::NONCE,
        AttributeKind::CHANNEL_NUMBER,
        AttributeKind::LIFETIME,
        AttributeKind::XOR_PEER_ADDRESS,
        AttributeKind::REQUESTED_ADDRESS_FAMILY,
        AttributeKind::EVEN_PORT,
        AttributeKind::REQUESTED_TRANSPORT,
        // Relayed sockets never fragment, so that this is granted.
        AttributeKind::DONT_FRAGMENT,
        AttributeKind::RESERVATION_TOKEN,
    ];
    let kinds = request.attributes().map(|attribute| attribute.kind);
    let unknown = kinds.filter(|kind| kind.is_required() && !known.contains(kind));
    let unknown = unknown.flat_map(|kind| kind.0.to_be_bytes()).collect::<Vec<_>>();
    (!unknown.is_empty()).then_some(unknown)
}
