//! To whom a relay may send: never into the network that it stands in. Rule TP-25.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Lowest port of a peer that is not a system's service: what listens below it answers strangers' datagrams with more than
/// they brought (DNS, NTP and their like), and no peer of a relay's client is among it.
const PORT_MIN: u16 = 1024;
/// But for this one: nodes listen there where all else is filtered.
const PORT_HTTPS: u16 = 443;

/// Whether a relay may send to `ip`. With `allow_private`, addresses of private networks and this host's are allowed too;
/// what is no single host's address never is.
pub(crate) fn allows_ip(ip: IpAddr, allow_private: bool) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => !is_nobody_v4(ip) && (allow_private || !is_inside_v4(ip)),
        IpAddr::V6(ip) => {
            let embedded = embedded_v4(ip);
            let inside = is_inside_v6(ip) || embedded.is_some_and(|ip| is_nobody_v4(ip) || is_inside_v4(ip));
            !ip.is_unspecified() && !ip.is_multicast() && (allow_private || !inside)
        }
    }
}

/// Whether a relay may send to this port.
pub(crate) fn allows_port(port: u16, allow_private: bool) -> bool {
    port != 0 && (allow_private || port >= PORT_MIN || port == PORT_HTTPS)
}

/// Unspecified, multicast, broadcast or reserved.
fn is_nobody_v4(ip: Ipv4Addr) -> bool {
    let [first, ..] = ip.octets();
    first == 0 || first >= 224
}

/// Loopback, private, link-local, carrier's, or for documents and benchmarks (RFC 6890).
fn is_inside_v4(ip: Ipv4Addr) -> bool {
    ip.is_loopback()
        || ip.is_private()
        || ip.is_link_local()
        || ip.is_documentation()
        || matches!(ip.octets(), [100, 64..=127, ..] | [192, 0, 0, _] | [198, 18..=19, ..])
}

/// Anything that is not global unicast, or is for documents.
fn is_inside_v6(ip: Ipv6Addr) -> bool {
    let [first, second, ..] = ip.segments();
    let is_translated = (first, second) == (0x64, 0xff9b);
    (first & 0xe000 != 0x2000 && !is_translated) || (first, second) == (0x2001, 0xdb8)
}

/// The IPv4 address that a network translates an IPv6 one into: 6to4, Teredo, NAT64.
fn embedded_v4(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match ip.segments() {
        [0x2002, high, low, ..] => Some(join(high, low)),
        [0x2001, 0, _, _, _, _, high, low] => Some(join(!high, !low)),
        [0x64, 0xff9b, _, _, _, _, high, low] => Some(join(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tp_25_nothing_inside_is_reached_under_any_of_its_names() {
        let inside = [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.1",
            "198.18.0.1",
            "192.0.2.1",
            "::1",
            "fe80::1",
            "fc00::1",
            "fd63:6f73::1",
            "fec0::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2001:0:1:2:3:4:80ff:fffe",
            "64:ff9b::7f00:1",
            "64:ff9b::a00:1",
            "2001:db8::1",
            "100::1",
            "5f00::1",
        ];
        for ip in inside.map(|text| text.parse::<IpAddr>().expect(text)) {
            assert!(!allows_ip(ip, false), "{ip}");
            assert!(allows_ip(ip, true), "{ip}");
        }
    }

    #[test]
    fn tp_25_what_is_no_host_is_never_sent_to() {
        let nobody =
            ["0.0.0.0", "0.1.2.3", "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255", "::", "ff02::1"];
        for ip in nobody.map(|text| text.parse::<IpAddr>().expect(text)) {
            assert!(!allows_ip(ip, false) && !allows_ip(ip, true), "{ip}");
        }
    }

    #[test]
    fn tp_25_public_addresses_are_sent_to_but_not_their_services() {
        let public = [
            "1.1.1.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.32.0.1",
            "2a00::1",
            "2606::1",
            "64:ff9b::808:808",
        ];
        for ip in public.map(|text| text.parse::<IpAddr>().expect(text)) {
            assert!(allows_ip(ip, false), "{ip}");
        }
        for (port, allowed) in
            [(0, false), (53, false), (123, false), (443, true), (1023, false), (1024, true)]
        {
            assert_eq!(allows_port(port, false), allowed, "{port}");
        }
        assert!(allows_port(53, true) && !allows_port(0, true));
    }
}
