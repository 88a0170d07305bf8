//! What an address says about its owner: how far it can be reached from, and whose network it stands in.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// How far an address can be reached from, narrowest first. A peer may be told of addresses of its own scope or a
/// wider one, never of a narrower one: nobody on the internet can do anything honest with `192.168.1.7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// This machine.
    Loopback,
    /// A private or link-local network, or one behind a carrier's translator (RFC 1918, 3927, 4193, 6598).
    Private,
    /// Everywhere.
    Global,
}

/// The network that one owner is likely to hold whole: a /24 of IPv4, a /56 of IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Subnet([u8; 8]);

impl Scope {
    /// The scope of an address.
    #[must_use]
    pub fn of(addr: &SocketAddr) -> Self {
        match addr.ip() {
            IpAddr::V4(ip) => Self::of_v4(ip),
            IpAddr::V6(ip) => Self::of_v6(ip),
        }
    }

    fn of_v4(ip: Ipv4Addr) -> Self {
        let [a, b, ..] = ip.octets();
        if ip.is_loopback() {
            Self::Loopback
        } else if ip.is_private() || ip.is_link_local() || (a == 100 && b & 0xc0 == 64) {
            Self::Private
        } else {
            Self::Global
        }
    }

    fn of_v6(ip: Ipv6Addr) -> Self {
        if ip.is_loopback() {
            Self::Loopback
        } else if ip.is_unique_local() || ip.is_unicast_link_local() {
            Self::Private
        } else {
            Self::Global
        }
    }
}

impl Subnet {
    pub(crate) fn of(addr: &SocketAddr) -> Self {
        match addr.ip() {
            IpAddr::V4(ip) => {
                let [a, b, c, _] = ip.octets();
                Self([4, a, b, c, 0, 0, 0, 0])
            }
            IpAddr::V6(ip) => {
                let [a, b, c, d, e, f, g, ..] = ip.octets();
                Self([6, a, b, c, d, e, f, g])
            }
        }
    }

    /// Whom a rate limit counts: the subnet of a global address; the address itself elsewhere, since a machine or a
    /// home network with many honest nodes is one subnet.
    pub(crate) fn source(addr: &SocketAddr) -> ([u8; 8], u16) {
        let port = if Scope::of(addr) == Scope::Global { 0 } else { addr.port() };
        (Self::of(addr).0, port)
    }
}

/// Whether a datagram can be sent there at all.
pub(crate) fn is_dialable(addr: &SocketAddr) -> bool {
    let ip = addr.ip();
    let odd = match ip {
        IpAddr::V4(ip) => ip.is_broadcast(),
        IpAddr::V6(ip) => ip.to_ipv4_mapped().is_some(),
    };
    addr.port() != 0 && !ip.is_unspecified() && !ip.is_multicast() && !odd
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_follow_the_registries() {
        for (text, scope) in [
            ("127.0.0.1:1", Scope::Loopback),
            ("[::1]:1", Scope::Loopback),
            ("10.1.2.3:1", Scope::Private),
            ("172.31.0.1:1", Scope::Private),
            ("172.32.0.1:1", Scope::Global),
            ("192.168.0.9:1", Scope::Private),
            ("169.254.1.1:1", Scope::Private),
            ("100.64.0.1:1", Scope::Private),
            ("100.128.0.1:1", Scope::Global),
            ("[fe80::1]:1", Scope::Private),
            ("[fd00::1]:1", Scope::Private),
            ("[2001:db8::1]:1", Scope::Global),
            ("8.8.8.8:1", Scope::Global),
        ] {
            assert_eq!(Scope::of(&text.parse().unwrap()), scope, "{text}");
        }
    }

    #[test]
    fn a_subnet_is_a_24_or_a_56() {
        let same = |a: &str, b: &str| Subnet::of(&a.parse().unwrap()) == Subnet::of(&b.parse().unwrap());
        assert!(same("8.8.8.8:1", "8.8.8.9:2"));
        assert!(!same("8.8.8.8:1", "8.8.9.8:1"));
        assert!(same("[2001:db8:0:1::1]:1", "[2001:db8:0:ff::1]:1"));
        assert!(!same("[2001:db8:0:100::1]:1", "[2001:db8:0:200::1]:1"));
    }

    #[test]
    fn addresses_that_no_datagram_reaches_are_not_dialable() {
        for text in
            ["0.0.0.0:1", "8.8.8.8:0", "224.0.0.1:1", "255.255.255.255:1", "[::]:1", "[::ffff:8.8.8.8]:1"]
        {
            assert!(!is_dialable(&text.parse().unwrap()), "{text}");
        }
        assert!(is_dialable(&"8.8.8.8:1".parse().unwrap()));
    }
}
