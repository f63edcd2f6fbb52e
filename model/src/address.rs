//! Ports and address ranges.
//!
//! Used wherever configuration names an address; parsing says what is wrong with the text. A [`Port`] is never 0, and
//! a [`Cidr`] never has host bits set.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;
use std::str::FromStr;

/// A TCP or UDP port that can be dialled: 1 to 65535.
pub type Port = NonZeroU16;

/// A block of addresses in prefix notation (RFC 4632, RFC 4291 section 2.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Cidr {
    base: IpAddr,
    prefix: u8,
}

/// The default range that virtual addresses are taken from outside Kubernetes (RFC 2544's benchmark range, never routed).
pub const DEFAULT_VIRTUAL_RANGE: Cidr = Cidr { base: IpAddr::V4(Ipv4Addr::new(198, 18, 0, 0)), prefix: 15 };

impl Cidr {
    /// `base` with its host bits cleared; `None` when the prefix is longer than the address.
    pub fn new(base: IpAddr, prefix: u8) -> Option<Self> {
        let width = width(base);
        (prefix <= width).then(|| Self { base: from_bits(base, bits(base) & mask(prefix, width)), prefix })
    }

    pub fn base(&self) -> IpAddr {
        self.base
    }

    pub fn prefix(&self) -> u8 {
        self.prefix
    }

    /// Whether `address` lies in the block. An IPv4 address never lies in an IPv6 block.
    pub fn contains(&self, address: IpAddr) -> bool {
        address.is_ipv4() == self.base.is_ipv4() && bits(address) & mask(self.prefix, width(address)) == bits(self.base)
    }

    /// How many addresses the block has; saturates at `u64::MAX`.
    pub fn size(&self) -> u64 {
        1u64.checked_shl(u32::from(width(self.base) - self.prefix)).unwrap_or(u64::MAX)
    }

    /// The `index`th address, counted from the base and wrapping at the end of the block.
    pub fn nth(&self, index: u64) -> IpAddr {
        from_bits(self.base, bits(self.base) + u128::from(index % self.size()))
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => u128::from(v4.to_bits()),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

fn from_bits(family: IpAddr, bits: u128) -> IpAddr {
    match family {
        // The value came from 32 bits and stays below 2^32.
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::from_bits(bits as u32)),
        IpAddr::V6(_) => IpAddr::V6(bits.into()),
    }
}

fn mask(prefix: u8, width: u8) -> u128 {
    let all = if width == 128 { u128::MAX } else { (1u128 << width) - 1 };
    all & !all.checked_shr(u32::from(prefix)).unwrap_or(0)
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.base, self.prefix)
    }
}

impl FromStr for Cidr {
    type Err = String;

    /// `address/prefix`, or a bare address, which is a block of one.
    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("{text:?} is not a CIDR block such as 10.0.0.0/8 or fd00::/8");
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| refused())?;
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| refused())?,
            None => width(address),
        };
        Self::new(address, prefix).ok_or_else(refused)
    }
}

impl From<Cidr> for String {
    fn from(cidr: Cidr) -> String {
        cidr.to_string()
    }
}

impl TryFrom<String> for Cidr {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn contains_and_nth_agree_with_the_text() {
        let range = DEFAULT_VIRTUAL_RANGE;
        assert_eq!(range.to_string(), "198.18.0.0/15");
        assert_eq!(range.size(), 131_072);
        assert_eq!(range.nth(131_071).to_string(), "198.19.255.255");
        assert!(!range.contains("198.20.0.0".parse().unwrap()));
        assert!("10.0.0.0/33".parse::<Cidr>().is_err());
        assert_eq!("::1".parse::<Cidr>().unwrap().to_string(), "::1/128");
    }

    proptest! {
        #[test]
        fn every_address_of_a_block_lies_in_it(base: u32, prefix in 0u8..=32, index: u64) {
            let cidr = Cidr::new(Ipv4Addr::from(base).into(), prefix).unwrap();
            prop_assert!(cidr.contains(cidr.nth(index)));
            prop_assert_eq!(cidr.to_string().parse::<Cidr>().unwrap(), cidr);
        }

        #[test]
        fn v6_blocks_too(base: u128, prefix in 0u8..=128, index: u64) {
            let cidr = Cidr::new(std::net::Ipv6Addr::from(base).into(), prefix).unwrap();
            prop_assert!(cidr.contains(cidr.nth(index)));
        }
    }
}
