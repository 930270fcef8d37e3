//! Where a call can go.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// One address of an upstream, with what is known of it.
///
/// ```
/// use seawall::discovery::Endpoint;
///
/// let endpoint = Endpoint::new("10.0.0.7:8080".parse()?);
/// assert_eq!((endpoint.weight, endpoint.priority), (1, 0));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its share of the calls against that of the others of its priority, at least 1.
    pub weight: u32,
    /// Those of the lowest number are used; the others stand by. See [`Endpoint::groups`].
    pub priority: u16,
    /// The zone it says that it is in.
    pub zone: Option<Arc<str>>,
    /// The name by which it was found, for the `Host` header and SNI; none where it was given as an
    /// address.
    pub host: Option<Arc<str>>,
}

impl Endpoint {
    /// Of weight 1 and the first priority, without zone and name.
    #[must_use]
    pub const fn new(address: SocketAddr) -> Self {
        Self {
            address,
            weight: 1,
            priority: 0,
            zone: None,
            host: None,
        }
    }

    /// A hash of the address alone: the same in every process, on every machine and in every
    /// version, so that what is chosen by it (a subset, a consistent hash) stays. An IPv4 address
    /// mapped into IPv6 counts as IPv4.
    ///
    /// ```
    /// use seawall::discovery::Endpoint;
    ///
    /// let key = |address: &str| address.parse().map(|a| Endpoint::new(a).key());
    /// assert_eq!(key("10.0.0.7:80")?, key("[::ffff:10.0.0.7]:80")?);
    /// assert_ne!(key("10.0.0.7:80")?, key("10.0.0.7:81")?);
    /// # Ok::<(), std::net::AddrParseError>(())
    /// ```
    #[must_use]
    pub fn key(&self) -> u64 {
        let host = host_key(self.address.ip());
        mix(host ^ u64::from(self.address.port()))
    }

    /// A list's groups of one priority each: the first is to be used, the others stand by in their
    /// order. The list must be sorted by priority, as those of
    /// [`Endpoints`](super::Endpoints) are.
    pub fn groups(list: &[Self]) -> impl Iterator<Item = &[Self]> {
        list.chunk_by(|a, b| a.priority == b.priority)
    }
}

pub(super) fn host_key(ip: IpAddr) -> u64 {
    let bits = match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().to_bits(),
        IpAddr::V6(ip) => ip.to_bits(),
    };
    mix(mix((bits >> 64) as u64 ^ 0x9E37_79B9_7F4A_7C15) ^ bits as u64)
}

/// Every bit of the result depends on every bit of the input, and no two inputs share one (the
/// finaliser of SplitMix64, Steele, Lea and Flood 2014).
pub(super) const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_never_change() {
        let key = |address: &str| Endpoint::new(address.parse().unwrap()).key();
        assert_eq!(key("127.0.0.1:80"), KEY_V4);
        assert_eq!(key("[2001:db8::1]:443"), KEY_V6);
    }

    const KEY_V4: u64 = 6_305_950_741_076_405_696;
    const KEY_V6: u64 = 831_373_106_078_403_955;

    #[test]
    fn neighbours_have_distinct_keys() {
        let mut keys: Vec<u64> = (0..=u16::MAX)
            .map(|n| Endpoint::new(SocketAddr::from(([10, 0, (n >> 8) as u8, n as u8], n))).key())
            .collect();
        keys.sort_unstable();
        keys.dedup();
        assert_eq!(keys.len(), 65_536);
    }

    #[test]
    fn groups_follow_the_priority() {
        let of = |priority| Endpoint {
            priority,
            ..Endpoint::new(SocketAddr::from(([127, 0, 0, 1], priority)))
        };
        let list = [of(1), of(1), of(5), of(9), of(9)];
        let sizes: Vec<usize> = Endpoint::groups(&list).map(<[_]>::len).collect();
        assert_eq!(sizes, [2, 1, 2]);
        assert_eq!(Endpoint::groups(&[]).count(), 0);
    }
}
