//! A small internet out of network namespaces: public hosts, and homes behind routers of every kind (RFC 4787), by
//! nftables. No packet leaves the machine, several can stand at once, and all of it is gone when it is dropped.
//!
//! Only root can build one, with `ip` (iproute2) and `nft` (nftables); `upnp` homes need `miniupnpd` too.

mod home;
mod netns;
mod rules;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

pub use home::{Home, Kind};
pub use netns::Netns;

use crate::real::skipped;

/// The core's address on every link: the next hop of every site.
const CORE_V4: &str = "62.0.255.254";

/// The core itself: routes between sites, and drops what is cut.
const CORE_RULES: &str = "table inet core {
  set cut4 { type ipv4_addr . ipv4_addr; }
  set cut6 { type ipv6_addr . ipv6_addr; }
  chain loss { }
  chain forward {
    type filter hook forward priority 0;
    ip saddr . ip daddr @cut4 drop
    ip6 saddr . ip6 daddr @cut6 drop
    jump loss
  }
}";

/// The internet. Homes and hosts live no longer than it.
#[derive(Debug)]
pub struct Internet {
    core: Netns,
    prefix: String,
    sites: AtomicU8,
    dir: tempfile::TempDir,
}

/// A machine with a network namespace of its own.
#[derive(Debug)]
pub struct Host {
    netns: Netns,
    v4: Vec<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

impl Host {
    /// Its network.
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Its IPv4 addresses, behind a NAT the inner ones; empty where there is only IPv6.
    pub fn v4(&self) -> &[Ipv4Addr] {
        &self.v4
    }

    /// Its IPv6 address.
    pub fn v6(&self) -> Option<Ipv6Addr> {
        self.v6
    }
}

impl Internet {
    /// Nothing where it is not allowed; that is told, and counted as skipped.
    pub fn new() -> Option<Self> {
        static BUILT: AtomicU32 = AtomicU32::new(0);
        netns::clean_up_after_the_dead();
        let number = BUILT.fetch_add(1, Ordering::Relaxed);
        let prefix = format!("{}{}-{number}", netns::PREFIX, std::process::id());
        let Some(core) = Netns::add(&format!("{prefix}-core")) else {
            skipped("only root, with iproute2 and nftables, can build the networks of this test");
            return None;
        };
        core.forward();
        core.nft(CORE_RULES);
        let dir = tempfile::tempdir().expect("there is a directory for temporary files");
        Some(Self { core, prefix, sites: AtomicU8::new(0), dir })
    }

    /// A host that everybody can reach, with so many IPv4 addresses and one of IPv6.
    pub fn public(&self, name: &str, addresses: u8) -> Host {
        let site = self.site();
        let netns = self.netns(name);
        let v4: Vec<Ipv4Addr> = (1..=addresses).map(|last| Ipv4Addr::new(62, site, 0, last)).collect();
        attach(&netns, &self.core, &Uplink { name, v4: &v4, gateway: CORE_V4, v6: Some(prefix6(site)) });
        netns.settle();
        Host { netns, v4, v6: Some(host6(site, 0, 1)) }
    }

    /// A home with so many hosts behind a router of this kind. `upnp` kinds give nothing without `miniupnpd`; that is
    /// told, and counted as skipped.
    pub fn home(&self, kind: Kind, hosts: u8) -> Option<Home> {
        Home::build(self, kind, hosts)
    }

    /// From now on nothing passes between these two addresses, either way.
    pub fn cut(&self, a: IpAddr, b: IpAddr) {
        self.set_cut("add", a, b);
    }

    /// What [`Self::cut`] cut passes again.
    pub fn heal(&self, a: IpAddr, b: IpAddr) {
        self.set_cut("delete", a, b);
    }

    /// Loses so many of ten thousand packets that cross the core, at random: 0 to 9,999.
    pub fn lose(&self, of_ten_thousand: u32) {
        let rule = match of_ten_thousand {
            0 => String::new(),
            share => format!("add rule inet core loss numgen random mod 10000 < {share} drop\n"),
        };
        self.core.nft(&format!("flush chain inet core loss\n{rule}"));
    }

    fn set_cut(&self, verb: &str, a: IpAddr, b: IpAddr) {
        let set = if a.is_ipv4() { "cut4" } else { "cut6" };
        self.core.nft(&format!("{verb} element inet core {set} {{ {a} . {b}, {b} . {a} }}\n"));
    }

    fn netns(&self, name: &str) -> Netns {
        Netns::add(&format!("{}-{name}", self.prefix)).expect("the core could be made too")
    }

    /// Numbers the sites: each has a /16 of its own, as strangers have.
    fn site(&self) -> u8 {
        self.sites.fetch_add(1, Ordering::Relaxed) + 1
    }

    fn path(&self, name: &str) -> PathBuf {
        Path::new(self.dir.path()).join(name)
    }
}

/// How a site hangs on what is above it.
struct Uplink<'a> {
    /// Names the link at the upper end.
    name: &'a str,
    v4: &'a [Ipv4Addr],
    gateway: &'a str,
    /// A /48 that is routed here.
    v6: Option<Ipv6Addr>,
}

/// A point-to-point link: `netns` calls it `wan`, `up` by the name of the site.
fn attach(netns: &Netns, up: &Netns, uplink: &Uplink<'_>) {
    let Uplink { name, v4, gateway, v6 } = uplink;
    let (here, there) = (netns.name(), up.name());
    netns::ip(&[format!("link add wan netns {here} type veth peer name {name} netns {there}")]);
    let mut above = vec![format!("link set {name} up"), format!("addr add {gateway}/32 dev {name}")];
    above.extend(v4.iter().map(|addr| format!("route add {addr}/32 dev {name}")));
    let mut below = vec!["link set wan up".to_owned()];
    below.extend(v4.iter().map(|addr| format!("addr add {addr}/32 dev wan")));
    if let Some(first) = v4.first() {
        below.push(format!("route add {gateway}/32 dev wan"));
        below.push(format!("route add default via {gateway} dev wan src {first}"));
    }
    if let Some(prefix) = v6 {
        above.push(format!("addr add fe80::1/64 dev {name} nodad"));
        above.push(format!("route add {prefix}/48 via fe80::2 dev {name}"));
        below.push("addr add fe80::2/64 dev wan nodad".to_owned());
        below.push(format!("addr add {}/128 dev wan nodad", with_end(*prefix, 0, 1)));
        below.push("route add default via fe80::1 dev wan".to_owned());
    }
    up.ip(&above);
    netns.ip(&below);
}

fn prefix6(site: u8) -> Ipv6Addr {
    Ipv6Addr::new(0x2a0e, site.into(), 0, 0, 0, 0, 0, 0)
}

fn host6(site: u8, net: u16, end: u16) -> Ipv6Addr {
    with_end(prefix6(site), net, end)
}

fn with_end(prefix: Ipv6Addr, net: u16, end: u16) -> Ipv6Addr {
    let [a, b, c, ..] = prefix.segments();
    Ipv6Addr::new(a, b, c, net, 0, 0, 0, end)
}
