//! Networks in CIDR form.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, de::Error as _};

/// A network such as `10.0.0.0/8` or `fd00::/8`; a bare address is a network of one.
///
/// ```
/// use seawall::config::Network;
///
/// let net: Network = "10.0.0.0/8".parse().unwrap();
/// assert!(net.contains("10.1.2.3".parse().unwrap()));
/// assert!(net.contains("::ffff:10.1.2.3".parse().unwrap())); // as a dual-stack socket sees it
/// assert!(!net.contains("11.0.0.1".parse().unwrap()));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Not an address, or not a prefix length that fits it.
    #[error("`{0}` is not a network such as \"10.0.0.0/8\"")]
    Malformed(String),
    /// Bits are set beyond the prefix, so a typing error is likely.
    #[error("`{0}` has bits set beyond its prefix: did you mean \"{1}\"?")]
    HostBits(String, Network),
}

impl Network {
    /// Whether `address` lies in it. An IPv4 address mapped into IPv6 counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(net), IpAddr::V4(a)) => {
                masked(net.to_bits().into(), self.prefix + 96)
                    == masked(a.to_bits().into(), self.prefix + 96)
            }
            (IpAddr::V6(net), IpAddr::V6(a)) => {
                masked(net.to_bits(), self.prefix) == masked(a.to_bits(), self.prefix)
            }
            _ => false,
        }
    }
}

/// The first `prefix` of 128 bits.
fn masked(bits: u128, prefix: u8) -> u128 {
    bits & u128::MAX
        .checked_shl(128 - u32::from(prefix.min(128)))
        .unwrap_or(0)
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let malformed = || NetworkError::Malformed(text.to_owned());
        let (address, prefix) = text
            .split_once('/')
            .map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| malformed())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(p) => p
                .parse()
                .ok()
                .filter(|p| *p <= bits)
                .ok_or_else(malformed)?,
            None => bits,
        };
        let base = match address {
            IpAddr::V4(a) => IpAddr::V4((masked(a.to_bits().into(), prefix + 96) as u32).into()),
            IpAddr::V6(a) => IpAddr::V6(masked(a.to_bits(), prefix).into()),
        };
        let network = Self {
            address: base,
            prefix,
        };
        if base == address {
            Ok(network)
        } else {
            Err(NetworkError::HostBits(text.to_owned(), network))
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl<'de> Deserialize<'de> for Network {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Network {
        text.parse().unwrap()
    }

    #[test]
    fn contains() {
        for (network, inside, outside) in [
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.0"),
            ("192.168.1.128/25", "192.168.1.200", "192.168.1.127"),
            ("127.0.0.1", "::ffff:127.0.0.1", "127.0.0.2"),
            ("::/0", "fe80::1", "1.2.3.4"),
            ("fd00::/8", "fdff::1", "fe00::1"),
            ("::1", "::1", "::2"),
        ] {
            assert!(
                net(network).contains(inside.parse().unwrap()),
                "{network} {inside}"
            );
            assert!(
                !net(network).contains(outside.parse().unwrap()),
                "{network} {outside}"
            );
        }
    }

    #[test]
    fn malformed() {
        for bad in [
            "",
            "10.0.0.0/33",
            "::/129",
            "10.0.0/8",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "localhost",
            "1.2.3.4/8/9",
        ] {
            assert!(
                matches!(bad.parse::<Network>(), Err(NetworkError::Malformed(_))),
                "{bad}"
            );
        }
        assert_eq!(
            "10.1.2.3/8".parse::<Network>(),
            Err(NetworkError::HostBits(
                "10.1.2.3/8".into(),
                net("10.0.0.0/8")
            ))
        );
        assert_eq!(net("10.0.0.0/8").to_string(), "10.0.0.0/8");
    }
}
