//! One UDP port, mapped by whichever protocol the gateway speaks, kept, and given back. Rules TP-42 and TP-43.

use core::net::{IpAddr, Ipv4Addr, SocketAddr};
use core::time::Duration;
use std::collections::VecDeque;

use thiserror::Error;

use super::nat_pmp::{PmpRequest, PmpResponse, PmpResult};
use super::pcp::{PcpMap, PcpRequest, PcpResponse, PcpResult, unspecified_like};

/// Wait for the first answer (RFC 6886 section 3.1); doubles with each further datagram.
const FIRST_WAIT: Duration = Duration::from_millis(250);
/// Datagrams sent before the next protocol is tried: 1.75 s in all.
const TRIES: u32 = 3;
/// How long UPnP may take: the search, the description, the request.
const UPNP_WAIT: Duration = Duration::from_secs(20);
/// Where nobody maps, or nobody wants to, all is tried again after this.
const RETRY: Duration = Duration::from_secs(10 * 60);
/// Shorter lifetimes are renewed no sooner, and longer ones count as this much.
const LIFETIME: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(24 * 60 * 60));

/// What is to be mapped, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// The UDP port here.
    pub internal_port: u16,
    /// The address that packets to the gateway are sent from.
    pub client: IpAddr,
    /// The gateway.
    pub gateway: IpAddr,
    /// What to begin with: [`Method::Pcp`], from which the others are come to.
    pub first: Method,
    /// Whether UPnP is to be tried where the two others are not spoken.
    pub upnp: bool,
    /// The lifetime to ask for, in seconds; the mapping is renewed when half of what was given is over.
    pub lifetime_s: u32,
}

/// By what a port is mapped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Method {
    /// RFC 6887.
    #[default]
    Pcp,
    /// RFC 6886.
    NatPmp,
    /// UPnP Internet Gateway Device.
    Upnp,
}

/// Why a gateway gave no mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Refusal {
    /// Nobody answers: no such service.
    #[error("the router answers neither PCP nor NAT-PMP nor UPnP")]
    Silent,
    /// PCP said so.
    #[error("the router refuses by PCP, with result {}", .0.0)]
    Pcp(PcpResult),
    /// NAT-PMP said so.
    #[error("the router refuses by NAT-PMP, with result {}", .0.0)]
    NatPmp(PmpResult),
    /// UPnP said so, by this error code; 0 for none.
    #[error("the router refuses by UPnP, with code {0}")]
    Upnp(u16),
    /// This network has no gateway.
    #[error("this network has no router")]
    NoGateway,
}

impl Refusal {
    /// Whether it means that the router has no public address itself: a carrier's NAT stands before it.
    #[must_use]
    pub fn is_carriers(self) -> bool {
        match self {
            Self::Pcp(result) => result == PcpResult::NETWORK_FAILURE,
            Self::NatPmp(result) => result == PmpResult::NETWORK_FAILURE,
            // Action failed: what miniupnpd says then.
            Self::Upnp(code) => code == 501,
            _ => false,
        }
    }
}

/// News for whoever listens at the port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The internet reaches the port at this address.
    Mapped {
        /// The address outside.
        external: SocketAddr,
        /// How it was got.
        method: Method,
    },
    /// The gateway mapped the port, and another NAT stands before it: the internet does not reach it.
    Carrier {
        /// What the gateway takes for outside.
        external: SocketAddr,
        /// How it was got.
        method: Method,
    },
    /// No mapping is to be had. Tried again every ten minutes.
    Refused(Refusal),
}

/// How UPnP went, by whoever carried it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpnpAnswer {
    /// The port is mapped.
    Mapped {
        /// The address outside.
        external: SocketAddr,
        /// For how many seconds; 0 for until it is ended.
        lifetime_s: u32,
    },
    /// The gateway does not want to: its error code, or 0.
    Refused(u16),
    /// Nobody answers.
    Silent,
}

/// What the machine is told.
#[derive(Clone, Copy, Debug)]
pub enum Input<'a> {
    /// A datagram.
    Datagram {
        /// From whom.
        from: SocketAddr,
        /// Its bytes.
        bytes: &'a [u8],
    },
    /// The end of an [`Output::UpnpMap`].
    Upnp(UpnpAnswer),
    /// What a server on the internet sees as this host's address.
    Observed(IpAddr),
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send a datagram to the gateway's port 5351.
    Send(Vec<u8>),
    /// Find the gateway's UPnP service and map the port; ends in [`Input::Upnp`].
    UpnpMap {
        /// The port outside that would be best.
        external_port: u16,
        /// For how many seconds.
        lifetime_s: u32,
    },
    /// End the mapping of a port outside by UPnP.
    UpnpUnmap {
        /// That port.
        external_port: u16,
    },
    /// Something to tell.
    Event(Event),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Asking {
        method: Method,
        tries: u32,
        again_at: Duration,
    },
    /// Until the mapping is renewed, or all is tried again.
    Resting {
        until: Duration,
    },
    Closed,
}

#[derive(Clone, Copy, Debug)]
struct Mapping {
    method: Method,
    external: SocketAddr,
    until: Duration,
}

/// The gateway's clock, as last read.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    gateway_s: u32,
    read_at: Duration,
}

/// Gets a mapping, keeps it, gives it back.
#[derive(Debug)]
pub struct Mapper {
    config: Config,
    nonce: [u8; 12],
    now: Duration,
    stage: Stage,
    mapping: Option<Mapping>,
    /// The address outside, as NAT-PMP tells it: apart from the mapping.
    pmp_address: Option<Ipv4Addr>,
    epoch: Option<Epoch>,
    observed: Option<IpAddr>,
    told: Option<Event>,
    outbox: VecDeque<Output>,
}

impl Mapper {
    /// Asks at once. `nonce`: fresh random bytes, since who knows them may end the mapping.
    #[must_use]
    pub fn new(config: Config, now: Duration, nonce: [u8; 12]) -> Self {
        Self {
            config,
            nonce,
            now,
            stage: Stage::Resting { until: now },
            mapping: None,
            pmp_address: None,
            epoch: None,
            observed: None,
            told: None,
            outbox: VecDeque::new(),
        }
    }

    /// Something happened. What is not from the gateway, or answers nothing, changes nothing.
    pub fn handle_input(&mut self, now: Duration, input: Input<'_>) {
        self.now = self.now.max(now);
        if self.stage == Stage::Closed {
            return;
        }
        match input {
            Input::Datagram { from, bytes } if from.ip() == self.config.gateway => self.on_datagram(bytes),
            Input::Datagram { .. } => {}
            Input::Upnp(answer) => self.on_upnp(answer),
            Input::Observed(address) if is_global(address) => {
                self.observed = Some(address);
                self.tell();
            }
            Input::Observed(_) => {}
        }
    }

    /// Runs what is due. Early, late and repeated calls are harmless.
    pub fn handle_timeout(&mut self, now: Duration) {
        self.now = self.now.max(now);
        match self.stage {
            Stage::Asking { method, tries, again_at } if again_at <= self.now => {
                if method != Method::Upnp && tries < TRIES {
                    self.ask(method, tries);
                } else {
                    self.go_on_after(method, Refusal::Silent);
                }
            }
            Stage::Resting { until } if until <= self.now => {
                let method = self.mapping.map_or(self.config.first, |mapping| mapping.method);
                self.ask(method, 0);
            }
            _ => {}
        }
    }

    /// Gives the mapping back; the machine does nothing after it.
    pub fn close(&mut self, now: Duration) {
        self.now = self.now.max(now);
        self.stage = Stage::Closed;
        if let Some(Mapping { method, external, .. }) = self.mapping.take() {
            self.outbox.push_back(match method {
                Method::Pcp => Output::Send(self.pcp_request(0, external.port())),
                Method::NatPmp => Output::Send(self.pmp_request(0, 0)),
                Method::Upnp => Output::UpnpUnmap { external_port: external.port() },
            });
        }
    }

    /// Oldest first; `None` means wait.
    #[must_use]
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outbox.pop_front()
    }

    /// The next deadline; after `handle_timeout(now)` it is later than `now`.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        match self.stage {
            Stage::Asking { again_at, .. } => Some(again_at),
            Stage::Resting { until } => Some(until),
            Stage::Closed => None,
        }
    }

    fn ask(&mut self, method: Method, tries: u32) {
        let wished = self.mapping.map_or(self.config.internal_port, |mapping| mapping.external.port());
        let lifetime_s = self.config.lifetime_s;
        let mut wait = FIRST_WAIT * 2_u32.pow(tries);
        match method {
            Method::Pcp => {
                let request = self.pcp_request(lifetime_s, wished);
                self.outbox.push_back(Output::Send(request));
            }
            Method::NatPmp => {
                let mut question = Vec::new();
                PmpRequest::ExternalAddress.encode(&mut question);
                let request = self.pmp_request(lifetime_s, wished);
                self.outbox.extend([Output::Send(question), Output::Send(request)]);
            }
            Method::Upnp => {
                self.outbox.push_back(Output::UpnpMap { external_port: wished, lifetime_s });
                wait = UPNP_WAIT;
            }
        }
        self.stage = Stage::Asking { method, tries: tries + 1, again_at: self.now + wait };
    }

    fn pcp_request(&self, lifetime_s: u32, external_port: u16) -> Vec<u8> {
        let Config { internal_port, client, .. } = self.config;
        let external = self.mapping.map_or(unspecified_like(client), |mapping| mapping.external.ip());
        let map = PcpMap { nonce: self.nonce, internal_port, external_port, external };
        let mut bytes = Vec::new();
        PcpRequest { lifetime_s, client, map }.encode(&mut bytes);
        bytes
    }

    fn pmp_request(&self, lifetime_s: u32, external_port: u16) -> Vec<u8> {
        let internal_port = self.config.internal_port;
        let mut bytes = Vec::new();
        PmpRequest::Map { internal_port, external_port, lifetime_s }.encode(&mut bytes);
        bytes
    }

    /// A protocol led to nothing: the next one, or rest.
    fn go_on_after(&mut self, method: Method, why: Refusal) {
        let held = self.mapping.filter(|mapping| mapping.method == method && mapping.until > self.now);
        if let Some(held) = held.filter(|_| why == Refusal::Silent) {
            // Silence ends no mapping: it is asked for again while it lasts.
            let until = self.now + ((held.until - self.now) / 2).max(LIFETIME.0);
            self.stage = Stage::Resting { until };
            return;
        }
        self.mapping = None;
        if method != Method::Upnp && self.config.upnp && self.config.client.is_ipv4() {
            return self.ask(Method::Upnp, 0);
        }
        self.stage = Stage::Resting { until: self.now + RETRY };
        self.say(Event::Refused(why));
    }

    fn on_datagram(&mut self, bytes: &[u8]) {
        match bytes.first() {
            Some(0) => {
                let Ok(response) = PmpResponse::from_bytes(bytes) else { return };
                self.on_pmp(response);
            }
            Some(2) => {
                let Ok(response) = PcpResponse::from_bytes(bytes) else { return };
                self.on_pcp(response);
            }
            _ => {}
        }
    }

    fn asks_by(&self, wanted: Method) -> bool {
        matches!(self.stage, Stage::Asking { method, .. } if method == wanted)
    }

    fn on_pcp(&mut self, response: PcpResponse) {
        match response {
            PcpResponse::Announce { epoch_s } => self.read_epoch(epoch_s),
            PcpResponse::Map { result, lifetime_s, epoch_s, map } => {
                let is_ours = map.nonce == self.nonce && map.internal_port == self.config.internal_port;
                if !is_ours || !self.asks_by(Method::Pcp) {
                    return;
                }
                match result {
                    PcpResult::SUCCESS => {
                        self.note_epoch(epoch_s);
                        self.hold(Method::Pcp, SocketAddr::new(map.external, map.external_port), lifetime_s);
                    }
                    PcpResult::UNSUPPORTED_VERSION => self.ask(Method::NatPmp, 0),
                    result => self.go_on_after(Method::Pcp, Refusal::Pcp(result)),
                }
            }
        }
    }

    fn on_pmp(&mut self, response: PmpResponse) {
        match response {
            PmpResponse::Refused { result: PmpResult::UNSUPPORTED_VERSION, .. }
                if self.asks_by(Method::Pcp) =>
            {
                self.ask(Method::NatPmp, 0);
            }
            PmpResponse::Refused { result, .. } if self.asks_by(Method::NatPmp) => {
                self.go_on_after(Method::NatPmp, Refusal::NatPmp(result));
            }
            PmpResponse::ExternalAddress { epoch_s, address } => {
                self.pmp_address = Some(address);
                self.read_epoch(epoch_s);
                let held = self.mapping.filter(|mapping| mapping.method == Method::NatPmp);
                if let Some(Mapping { external, until, .. }) = held {
                    let external = SocketAddr::new(address.into(), external.port());
                    self.mapping = Some(Mapping { method: Method::NatPmp, external, until });
                    self.tell();
                }
            }
            PmpResponse::Map { epoch_s, internal_port, external_port, lifetime_s }
                if internal_port == self.config.internal_port && self.asks_by(Method::NatPmp) =>
            {
                // The address was asked for just before. Should that answer be lost, it comes with the next renewal.
                let address = self.pmp_address.unwrap_or(Ipv4Addr::UNSPECIFIED);
                self.note_epoch(epoch_s);
                self.hold(Method::NatPmp, SocketAddr::new(address.into(), external_port), lifetime_s);
            }
            _ => {}
        }
    }

    fn on_upnp(&mut self, answer: UpnpAnswer) {
        if !self.asks_by(Method::Upnp) {
            return;
        }
        match answer {
            UpnpAnswer::Mapped { external, lifetime_s } => {
                let lifetime_s = if lifetime_s == 0 { self.config.lifetime_s } else { lifetime_s };
                self.hold(Method::Upnp, external, lifetime_s);
            }
            UpnpAnswer::Refused(code) => self.go_on_after(Method::Upnp, Refusal::Upnp(code)),
            UpnpAnswer::Silent => self.go_on_after(Method::Upnp, Refusal::Silent),
        }
    }

    fn hold(&mut self, method: Method, external: SocketAddr, lifetime_s: u32) {
        let lifetime = Duration::from_secs(lifetime_s.into()).clamp(LIFETIME.0, LIFETIME.1);
        self.mapping = Some(Mapping { method, external, until: self.now + lifetime });
        self.stage = Stage::Resting { until: self.now + lifetime / 2 };
        self.tell();
    }

    /// A gateway whose clock fell behind has restarted, and forgotten (RFC 6886 section 3.6, RFC 6887 section 8.5).
    fn read_epoch(&mut self, gateway_s: u32) {
        let Some(Epoch { gateway_s: then_s, read_at }) = self.note_epoch(gateway_s) else { return };
        let ours = self.now.saturating_sub(read_at).as_secs();
        let theirs = u64::from(gateway_s.saturating_sub(then_s));
        let restarted = u64::from(gateway_s) + 1 < u64::from(then_s)
            || ours + 2 < theirs - theirs / 16
            || theirs + 2 < ours - ours / 16;
        if let Some(mapping) =
            self.mapping.filter(|_| restarted && !matches!(self.stage, Stage::Asking { .. }))
        {
            self.ask(mapping.method, 0);
        }
    }

    /// Sets the gateway's clock, and returns what it was before.
    fn note_epoch(&mut self, gateway_s: u32) -> Option<Epoch> {
        self.epoch.replace(Epoch { gateway_s, read_at: self.now })
    }

    /// Tells how the mapping stands.
    fn tell(&mut self) {
        let Some(Mapping { method, external, .. }) = self.mapping else { return };
        if external.ip().is_unspecified() {
            return;
        }
        let same_family = self.observed.filter(|seen| seen.is_ipv4() == external.is_ipv4());
        let is_carriers = !is_global(external.ip()) || same_family.is_some_and(|seen| seen != external.ip());
        self.say(match is_carriers {
            true => Event::Carrier { external, method },
            false => Event::Mapped { external, method },
        });
    }

    fn say(&mut self, event: Event) {
        if self.told != Some(event) {
            self.told = Some(event);
            self.outbox.push_back(Output::Event(event));
        }
    }
}

/// Whether the internet routes to this address (the registries of RFC 6890): not private, shared by a carrier, link-local,
/// loopback, reserved or multicast.
#[must_use]
pub fn is_global(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            let reserved = a == 0
                || a >= 224
                || (a, b) == (100, 64 | (b & 0x3f))
                || (a, b, c) == (192, 0, 0)
                || (a, b & 0xfe) == (198, 18);
            !(reserved || v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_documentation())
        }
        IpAddr::V6(v6) => {
            let [a, b, ..] = v6.segments();
            a & 0xe000 == 0x2000 && (a, b) != (0x2001, 0x0db8)
        }
    }
}

#[cfg(test)]
mod tests;
