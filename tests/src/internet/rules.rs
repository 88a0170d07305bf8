//! What a router does, as nftables: its NAT after RFC 4787, its firewall, and where `miniupnpd` puts its own rules.

use std::fmt::Write;
use std::net::Ipv4Addr;

/// Which outer port an inner one gets (RFC 4787 section 4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mapping {
    /// One outer port for each inner address and port, whoever is spoken to.
    EndpointIndependent,
    /// As Linux masquerades: the inner port if it is free, whoever is spoken to.
    Masquerade,
    /// A random one for each remote address and port.
    Random,
    /// The next one for each remote address and port.
    Sequential,
}

/// Who may answer (RFC 4787 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filtering {
    /// Everybody.
    EndpointIndependent,
    /// Whoever has an address that was spoken to.
    Address,
    /// Whoever was spoken to, from that port.
    AddressAndPort,
}

/// A router.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Router {
    pub(crate) mapping: Mapping,
    pub(crate) filtering: Filtering,
    /// Whether its own outer address works from inside.
    pub(crate) hairpin: bool,
    /// Whether nothing but TCP to port 443 gets out.
    pub(crate) web_only: bool,
    /// Whether `miniupnpd` runs on it.
    pub(crate) upnp: bool,
}

/// Ports of a sequential NAT: the first, and how many.
const SEQUENCE: (u16, u16) = (30_000, 2_000);

/// Every router lets out what comes from inside, and in what answers it. Unsolicited packets to itself are dropped
/// without an answer: a reply of its own would take the port from the flow that is being punched.
impl Router {
    pub(crate) fn rules(self, outer: Ipv4Addr) -> String {
        let jump = |chain: &str| if self.upnp { format!("jump {chain}") } else { String::new() };
        let web = "iifname lan meta l4proto udp drop\n    iifname lan meta l4proto tcp tcp dport != 443 drop";
        format!(
            "table inet home {{
  map outer {{ type ipv4_addr . inet_service : ipv4_addr . inet_service; flags dynamic,timeout; timeout 2m; }}
  map inner {{ type inet_service : ipv4_addr . inet_service; flags dynamic,timeout; timeout 2m; }}
  set spoken {{ type inet_service . ipv4_addr; flags dynamic,timeout; timeout 2m; }}
  chain upnp_pre {{ }}
  chain upnp_post {{ }}
  chain upnp_forward {{ }}
  chain pre {{
    type nat hook prerouting priority dstnat;
    {upnp_pre}
    {inward}
  }}
  chain post {{
    type nat hook postrouting priority srcnat;
    {upnp_post}
    {outward}
  }}
  chain learn {{
    type filter hook postrouting priority 300;
    {learn}
  }}
  chain input {{
    type filter hook input priority 0;
    ct state established,related accept
    iifname wan meta l4proto {{ tcp, udp }} drop
  }}
  chain forward {{
    type filter hook forward priority 0; policy drop;
    {web}
    ct state established,related accept
    {upnp_forward}
    iifname lan accept
    ct status dnat accept
    meta l4proto ipv6-icmp accept
  }}
}}",
            upnp_pre = jump("upnp_pre"),
            upnp_post = jump("upnp_post"),
            upnp_forward = jump("upnp_forward"),
            inward = self.inward(outer),
            outward = self.outward(outer),
            learn = self.learn(outer),
            web = if self.web_only { web } else { "" },
        )
    }

    /// Packets to the outer address that answer nothing.
    fn inward(self, outer: Ipv4Addr) -> String {
        let to_router = format!("ip daddr {outer} meta l4proto udp");
        let from = if self.hairpin { "" } else { "iifname wan" };
        let to_inner = "dnat ip to udp dport map @inner";
        match self.filtering {
            Filtering::EndpointIndependent => format!("{from} {to_router} {to_inner}"),
            Filtering::Address => format!("{from} {to_router} udp dport . ip saddr @spoken {to_inner}"),
            Filtering::AddressAndPort => String::new(),
        }
    }

    /// Packets of a flow that is new.
    fn outward(self, outer: Ipv4Addr) -> String {
        let mut rules = String::new();
        match self.mapping {
            Mapping::EndpointIndependent => {
                let leaves = if self.hairpin { "ct status dnat" } else { "oifname wan" };
                let known = "meta l4proto udp snat ip to ip saddr . udp sport map @outer";
                let _ = writeln!(rules, "oifname wan ip saddr != {outer} {known}");
                if self.hairpin {
                    // Seen from inside, the other one is outside as well.
                    let _ = writeln!(rules, "    oifname lan {leaves} ip saddr != {outer} {known}");
                    let inside = "ip saddr 192.168.0.0/16";
                    let _ = writeln!(
                        rules,
                        "    oifname lan {leaves} {inside} meta l4proto udp snat ip to {outer}"
                    );
                }
            }
            Mapping::Masquerade => {}
            Mapping::Random => {
                let _ = writeln!(rules, "oifname wan meta nfproto ipv4 masquerade fully-random");
            }
            Mapping::Sequential => {
                let (first, count) = SEQUENCE;
                let ports: Vec<String> = (0..count).map(|n| format!("{n} : {}", first + n)).collect();
                let next = format!("numgen inc mod {count} map {{ {} }}", ports.join(", "));
                let _ = writeln!(rules, "oifname wan meta l4proto udp snat ip to {outer} : {next}");
            }
        }
        rules + "    oifname wan meta nfproto ipv4 masquerade"
    }

    /// What was given out, for the next flow from the same inner port and for packets from elsewhere.
    fn learn(self, outer: Ipv4Addr) -> String {
        if self.mapping != Mapping::EndpointIndependent {
            return String::new();
        }
        let leaves = if self.hairpin { format!("ip saddr {outer}") } else { "oifname wan".to_owned() };
        let inner = "ct original ip saddr . ct original proto-src";
        format!(
            "{leaves} meta l4proto udp ct direction original update @outer {{ {inner} : ip saddr . udp sport }}
    {leaves} meta l4proto udp ct direction original update @inner {{ udp sport : {inner} }}
    {leaves} meta l4proto udp ct direction reply update @inner {{ udp sport : ct reply ip saddr . ct reply proto-src }}
    {leaves} meta l4proto udp update @spoken {{ udp sport . ip daddr }}"
        )
    }
}

/// A router without NAT (RFC 6092): out is free, in only as an answer.
pub(crate) const SIX_ONLY: &str = "table inet home {
  chain forward {
    type filter hook forward priority 0; policy drop;
    ct state established,related accept
    iifname lan accept
    meta l4proto ipv6-icmp accept
  }
}";
