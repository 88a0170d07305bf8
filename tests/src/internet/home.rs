//! A home: a router of some kind, perhaps behind a carrier's, and hosts on its local network.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::rules::{Filtering, Mapping, Router, SIX_ONLY};
use super::{CORE_V4, Host, Internet, Netns, Uplink, attach, host6, prefix6};
use crate::real::{skipped, until};

/// What stands between a home and the internet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Mapping and filtering independent of the endpoint ("full cone").
    Full,
    /// Mapping independent, filtering by address ("restricted cone").
    Addr,
    /// Mapping independent, filtering by address and port ("port-restricted cone").
    Port,
    /// Plain Linux masquerading.
    Linux,
    /// A random port for each remote endpoint ("symmetric").
    Sym,
    /// The next port for each remote endpoint ("symmetric", and predictable).
    Seq,
    /// `Port` behind a carrier's NAT of the same kind.
    Cgn,
    /// `Port` behind a carrier's symmetric NAT.
    CgnSym,
    /// `Full`, and the outer address works from inside too.
    Hair,
    /// Nothing but TCP to port 443.
    Block,
    /// `Port` for IPv4, and IPv6 behind a firewall.
    Dual,
    /// IPv6 alone, behind a firewall.
    Six,
    /// `Port` with IGD, NAT-PMP and PCP.
    Upnp,
    /// `Upnp` behind a carrier's NAT.
    UpnpCgn,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 14] = [
        Self::Full,
        Self::Addr,
        Self::Port,
        Self::Linux,
        Self::Sym,
        Self::Seq,
        Self::Cgn,
        Self::CgnSym,
        Self::Hair,
        Self::Block,
        Self::Dual,
        Self::Six,
        Self::Upnp,
        Self::UpnpCgn,
    ];

    /// In lowercase.
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }

    /// Whether its hosts have IPv4.
    pub fn has_v4(self) -> bool {
        self != Self::Six
    }

    /// Whether its hosts have IPv6.
    pub fn has_v6(self) -> bool {
        matches!(self, Self::Dual | Self::Six)
    }

    /// Whether its router maps ports on request.
    pub fn has_upnp(self) -> bool {
        matches!(self, Self::Upnp | Self::UpnpCgn)
    }

    fn hascarrier(self) -> bool {
        matches!(self, Self::Cgn | Self::CgnSym | Self::UpnpCgn)
    }

    fn router(self) -> Router {
        let mapping = match self {
            Self::Linux => Mapping::Masquerade,
            Self::Sym => Mapping::Random,
            Self::Seq => Mapping::Sequential,
            _ => Mapping::EndpointIndependent,
        };
        let filtering = match self {
            Self::Full | Self::Hair => Filtering::EndpointIndependent,
            Self::Addr => Filtering::Address,
            _ => Filtering::AddressAndPort,
        };
        let (hairpin, web_only) = (self == Self::Hair, self == Self::Block);
        Router { mapping, filtering, hairpin, web_only, upnp: self.has_upnp() }
    }

    fn carrier(self) -> Router {
        let mapping = if self == Self::CgnSym { Mapping::Random } else { Mapping::EndpointIndependent };
        let filtering = Filtering::AddressAndPort;
        Router { mapping, filtering, hairpin: false, web_only: false, upnp: false }
    }
}

/// A home.
#[derive(Debug)]
pub struct Home {
    kind: Kind,
    /// First, so that it ends before its network does.
    daemon: Mutex<Option<Daemon>>,
    hosts: Vec<Host>,
    router: Netns,
    carrier: Option<Netns>,
    outer: Option<Ipv4Addr>,
    site: u8,
}

/// The carrier's own network (RFC 6598).
const CARRIER: (&str, Ipv4Addr) = ("100.64.0.1", Ipv4Addr::new(100, 64, 0, 2));

impl Home {
    pub(crate) fn build(internet: &Internet, kind: Kind, hosts: u8) -> Option<Self> {
        if kind.has_upnp() && Command::new("miniupnpd").arg("--version").output().is_err() {
            skipped("miniupnpd is not installed");
            return None;
        }
        let site = internet.site();
        let (name, outer) = (format!("{}{site}", kind.name()), Ipv4Addr::new(62, site, 0, 1));
        let router = internet.netns(&name);
        router.forward();
        let v6 = kind.has_v6().then(|| prefix6(site));
        let v4: &[Ipv4Addr] = if kind.has_v4() { &[outer] } else { &[] };
        let carrier = kind.hascarrier().then(|| {
            let carrier = internet.netns(&format!("isp{site}"));
            carrier.forward();
            attach(&carrier, &internet.core, &Uplink { name: &name, v4, gateway: CORE_V4, v6 });
            carrier.nft(&kind.carrier().rules(outer));
            attach(
                &router,
                &carrier,
                &Uplink { name: "lan", v4: &[CARRIER.1], gateway: CARRIER.0, v6: None },
            );
            carrier
        });
        let own = if carrier.is_some() { CARRIER.1 } else { outer };
        if carrier.is_none() {
            attach(&router, &internet.core, &Uplink { name: &name, v4, gateway: CORE_V4, v6 });
        }
        router.nft(&if kind.has_v4() { kind.router().rules(own) } else { SIX_ONLY.to_owned() });
        let mut home = Self {
            kind,
            daemon: Mutex::new(None),
            hosts: Vec::new(),
            router,
            carrier,
            outer: kind.has_v4().then_some(outer),
            site,
        };
        home.make_lan();
        home.hosts = (1..=hosts).map(|number| home.make_host(internet, &name, number)).collect();
        let inner = home.hosts.iter().map(Host::netns).chain(&home.carrier);
        inner.chain([&home.router]).for_each(Netns::settle);
        if kind.has_upnp() {
            home.daemon = Mutex::new(Some(Daemon::start(internet, &home, true)));
        }
        Some(home)
    }

    /// What stands between it and the internet.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Its hosts.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The address that the internet sees; `None` where there is only IPv6.
    pub fn outer(&self) -> Option<Ipv4Addr> {
        self.outer
    }

    /// The addresses by which the internet may know its first host: the outer one, and IPv6.
    pub fn seen_as(&self) -> Vec<IpAddr> {
        let v6 = self.hosts.first().and_then(Host::v6).map(IpAddr::V6);
        self.outer.map(IpAddr::V4).into_iter().chain(v6).collect()
    }

    /// The router forgets every mapping and gets another outer address, as after a night. Only for homes that Linux
    /// masquerades: those forget by themselves.
    ///
    /// # Panics
    /// For homes of other kinds.
    pub fn renumber(&mut self, internet: &Internet) {
        assert_eq!(self.kind, Kind::Linux, "others do not forget");
        let (Some(old), name) = (self.outer, format!("{}{}", self.kind.name(), self.site)) else { return };
        let [a, b, c, d] = old.octets();
        let new = Ipv4Addr::new(a, b, c + 1, d);
        internet
            .core
            .ip(&[format!("route add {new}/32 dev {name}"), format!("route del {old}/32 dev {name}")]);
        self.router.ip(&[
            format!("addr add {new}/32 dev wan"),
            format!("route replace default via {CORE_V4} dev wan src {new}"),
            format!("addr del {old}/32 dev wan"),
        ]);
        self.outer = Some(new);
    }

    /// The router's service for mappings ends and begins anew, without what it knew; `natpmp`: whether it then speaks PCP
    /// and NAT-PMP too.
    ///
    /// # Panics
    /// Where there is none.
    pub fn restart_upnp(&self, internet: &Internet, natpmp: bool) {
        let mut daemon = self.daemon.lock().unwrap_or_else(PoisonError::into_inner);
        assert!(daemon.take().is_some(), "there is such a service");
        self.router.nft("flush chain inet home upnp_pre\nflush chain inet home upnp_forward\n");
        *daemon = Some(Daemon::start(internet, self, natpmp));
    }

    /// Its router, for a test that plays a service there.
    pub fn router(&self) -> &Netns {
        &self.router
    }

    /// The router's address inside.
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::new(192, 168, self.site, 1)
    }

    fn make_lan(&self) {
        let mut lines = vec!["link add lan type bridge".to_owned(), "link set lan up".to_owned()];
        if self.kind.has_v4() {
            lines.push(format!("addr add {}/24 dev lan", self.gateway()));
        }
        if self.kind.has_v6() {
            lines.push(format!("addr add {}/64 dev lan nodad", host6(self.site, 1, 1)));
        }
        self.router.ip(&lines);
    }

    fn make_host(&self, internet: &Internet, name: &str, number: u8) -> Host {
        let netns = internet.netns(&format!("{name}h{number}"));
        let (here, router, port) = (netns.name(), self.router.name(), format!("port{number}"));
        super::netns::ip(&[format!("link add eth0 netns {here} type veth peer name {port} netns {router}")]);
        self.router.ip(&[format!("link set {port} master lan up")]);
        let v4 = self.kind.has_v4().then(|| Ipv4Addr::new(192, 168, self.site, number + 1));
        let v6 = self.kind.has_v6().then(|| host6(self.site, 1, u16::from(number) + 1));
        let mut lines = vec!["link set eth0 up".to_owned()];
        if let Some(v4) = v4 {
            lines.push(format!("addr add {v4}/24 dev eth0"));
            lines.push(format!("route add default via {}", self.gateway()));
        }
        if let Some(v6) = v6 {
            lines.push(format!("addr add {v6}/64 dev eth0 nodad"));
            lines.push(format!("route add default via {}", host6(self.site, 1, 1)));
        }
        netns.ip(&lines);
        Host { netns, v4: v4.into_iter().collect(), v6 }
    }
}

/// A real `miniupnpd` on the router: IGD, NAT-PMP and PCP.
#[derive(Debug)]
struct Daemon(Child);

impl Daemon {
    fn start(internet: &Internet, home: &Home, natpmp: bool) -> Self {
        let name = home.router.name();
        let path = |suffix: &str| internet.path(&format!("{name}.{suffix}"));
        let natpmp = if natpmp { "yes" } else { "no" };
        let lan = format!("192.168.{}.0/24", home.site);
        let config = format!(
            "ext_ifname=wan\nlistening_ip=lan\nhttp_port=0\nenable_natpmp={natpmp}\nenable_upnp=yes\nsecure_mode=yes\n\
             system_uptime=yes\nnotify_interval=30\nmin_lifetime=2\nmax_lifetime=86400\n\
             uuid=00000000-0000-4000-8000-{:012x}\n\
             upnp_table_name=home\nupnp_nat_table_name=home\nupnp_forward_chain=upnp_forward\n\
             upnp_nat_chain=upnp_pre\nupnp_nat_postrouting_chain=upnp_post\n\
             allow 1024-65535 {lan} 1024-65535\ndeny 0-65535 0.0.0.0/0 0-65535\n",
            home.site
        );
        fs::write(path("conf"), config).expect("the directory is there");
        let log = fs::File::create(path("log")).expect("the directory is there");
        let (errors, log) = (log.try_clone().expect("it was opened just now"), log);
        let child = home.router.enter(|| {
            let mut command = Command::new("miniupnpd");
            command.arg("-d").arg("-f").arg(path("conf")).arg("-P").arg(path("pid"));
            command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().expect("it is installed")
        });
        let told = || fs::read_to_string(path("log")).ok().filter(|log| log.contains("HTTP listening"));
        let ready = until(Duration::from_secs(20), told);
        assert!(ready.is_some(), "miniupnpd: {}", fs::read_to_string(path("log")).unwrap_or_default());
        Self(child)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // One that has ended already is what is wanted.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
