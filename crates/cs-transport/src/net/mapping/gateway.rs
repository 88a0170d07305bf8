//! The gateway of this network, as the kernel's routing table has it.

use core::net::Ipv4Addr;

/// The table as the calling thread sees it: it may be in a network namespace of its own.
const ROUTES: &str = "/proc/thread-self/net/route";
/// The route is usable.
const UP: u16 = 1;
/// The route leads to a gateway.
const GATEWAY: u16 = 2;

/// The next hop of the default route of the lowest metric; `None` where there is none, or no such table.
pub(crate) fn default_v4() -> Option<Ipv4Addr> {
    parse(&std::fs::read_to_string(ROUTES).ok()?)
}

/// Columns: interface, destination, gateway, flags, references, uses, metric, mask. Addresses are in the byte order of the
/// machine, as hexadecimal digits.
fn parse(table: &str) -> Option<Ipv4Addr> {
    let route = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let hex = |at: usize| u32::from_str_radix(fields.get(at)?, 16).ok();
        let flags = u16::try_from(hex(3)?).ok()?;
        let is_default = hex(1)? == 0 && hex(7)? == 0 && flags & (UP | GATEWAY) == UP | GATEWAY;
        let metric: u32 = fields.get(6)?.parse().ok()?;
        is_default.then_some((metric, Ipv4Addr::from(hex(2)?.to_ne_bytes())))
    };
    table.lines().skip(1).filter_map(route).min_by_key(|(metric, _)| *metric).map(|(_, gateway)| gateway)
}

#[cfg(test)]
#[cfg(target_endian = "little")]
mod tests {
    use super::*;

    #[test]
    fn tp_44_the_default_route_of_the_lowest_metric_names_the_gateway() {
        let table = "Iface Destination Gateway Flags RefCnt Use Metric Mask MTU Window IRTT
wlan0 00000000 FE01A8C0 0003 0 0 600 00000000 0 0 0
eth0 00000000 0101A8C0 0003 0 0 100 00000000 0 0 0
eth0 0001A8C0 00000000 0001 0 0 100 00FFFFFF 0 0 0
tun0 00000000 00000000 0001 0 0 50 00000000 0 0 0
eth0 00000000 0201A8C0 0002 0 0 10 00000000 0 0 0";
        assert_eq!(parse(table), Some(Ipv4Addr::new(192, 168, 1, 1)));
    }

    #[test]
    fn tp_44_no_default_route_is_no_gateway() {
        for table in ["", "Iface", "Iface\neth0 0001A8C0 00000000 0001 0 0 100 00FFFFFF 0 0 0", "a\nb c d"] {
            assert_eq!(parse(table), None);
        }
    }
}
