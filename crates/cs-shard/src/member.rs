use core::net::IpAddr;

use cs_identity::NodeId;
use thiserror::Error;

/// A node that holds partitions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Member {
    /// Who it is.
    pub id: NodeId,
    /// How much it takes, relative to others: disk, usually.
    pub weight: Weight,
    /// What fails together on the large scale: a site, a provider, a region.
    pub zone: Zone,
    /// What fails together inside a zone: a network. The same number in two zones is two subnets.
    pub subnet: Subnet,
}

/// Capacity relative to other members, in hundredths: 0.01 to 100 (SHARD-4).
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Weight(u16);

/// A weight outside of 0.01 to 100.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("a weight is from 0.01 to 100")]
pub struct InvalidWeight;

impl Weight {
    /// Weight 1.
    pub const ONE: Self = Self(100);

    /// From hundredths, 1 to 10,000.
    pub const fn from_hundredths(hundredths: u16) -> Result<Self, InvalidWeight> {
        if hundredths == 0 || hundredths > 10_000 { Err(InvalidWeight) } else { Ok(Self(hundredths)) }
    }

    /// In hundredths.
    pub const fn hundredths(self) -> u16 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self::ONE
    }
}

/// A failure domain of the first order. Numbers are the caller's.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Zone(pub u64);

/// A failure domain of the second order, inside a [`Zone`]. Numbers are the caller's, or [`Subnet::of`] an address.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Subnet(pub u64);

impl Subnet {
    /// The /24 of an IPv4 address (mapped ones too), the /56 of an IPv6 address: what one party usually holds (SHARD-3).
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(4 << 56 | u64::from(address.to_bits() >> 8)),
            IpAddr::V6(address) => Self(6 << 56 | (address.to_bits() >> 72) as u64),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHARD-3.
    #[test]
    fn neighbours_share_a_subnet_and_strangers_do_not() {
        let of = |text: &str| Subnet::of(text.parse().expect("an address"));
        assert_eq!(of("192.0.2.1"), of("192.0.2.254"));
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.9"));
        assert_ne!(of("192.0.2.1"), of("192.0.3.1"));
        assert_eq!(of("2001:db8:1:ff00::1"), of("2001:db8:1:ffff::2"));
        assert_ne!(of("2001:db8:1:ff00::1"), of("2001:db8:1:fe00::1"));
        assert_eq!(of("192.0.2.1"), Subnet(0x0400_0000_00c0_0002));
        assert_eq!(of("2001:db8:1:ff00::1"), Subnet(0x0620_010d_b800_01ff));
    }

    /// SHARD-4.
    #[test]
    fn weights_out_of_range_are_refused() {
        assert_eq!(Weight::from_hundredths(0), Err(InvalidWeight));
        assert_eq!(Weight::from_hundredths(10_001), Err(InvalidWeight));
        assert_eq!(Weight::from_hundredths(100), Ok(Weight::ONE));
    }
}
