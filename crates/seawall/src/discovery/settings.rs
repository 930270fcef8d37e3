//! How endpoints are looked for.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::endpoint::mix;

/// How endpoints are looked for. What contradicts or exceeds its range is brought into it: times are
/// held between 10 ms and a day, a cap is at least its floor.
///
/// ```
/// use seawall::discovery::{Discovery, Settings};
///
/// let discovery = Discovery::new(Settings {
///     resolvers: vec!["127.0.0.1:53".parse()?],
///     ..Settings::default()
/// });
/// # drop(discovery);
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whom to ask, over UDP and, for what does not fit, TCP. Default: none, which means those of
    /// `/etc/resolv.conf` with its search domains, read again when it changes.
    pub resolvers: Vec<SocketAddr>,
    /// Names in this file are not asked for (hosts(5)). Default: `/etc/hosts`.
    pub hosts: PathBuf,
    /// Which addresses are wanted. Default: both.
    pub families: Families,
    /// A name is never asked for again sooner than this after an answer, whatever its TTL. Default:
    /// 5 s.
    pub ttl_floor: Duration,
    /// Nor later than this, and a tenth. Default: 60 s.
    pub ttl_cap: Duration,
    /// How long after a failure, or an answer without records, it is asked again; doubles with each, and half of it is by chance.
    /// Default: 1 s.
    pub retry: Duration,
    /// The longest time between two failures. Default: 30 s.
    pub retry_cap: Duration,
    /// How long one question may take, everything included. Default: 4 s.
    pub timeout: Duration,
    /// An address that answers leave out is kept for this long, and for two answers; instances of
    /// which more vanish from etcd than stay, for this long. Default: 30 s.
    pub grace: Duration,
    /// The most endpoints that a name, or the SRV records of one, can have, at least 1. Default: 128.
    pub max_endpoints: usize,
    /// Which of them are taken where there are more: the same number takes the same ones. Instances
    /// that share it crowd on the same endpoints. Default: made from the machine's name.
    pub subset: u64,
    /// How often a file is looked at. Default: 1 s.
    pub file_interval: Duration,
    /// How an etcd is spoken to.
    pub etcd: super::etcd::Settings,
}

/// Which addresses of a name are wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Families {
    /// IPv4 and IPv6.
    #[default]
    Both,
    /// IPv4 alone: where no IPv6 leads anywhere, its addresses would only fail.
    V4,
    /// IPv6 alone.
    V6,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            resolvers: Vec::new(),
            hosts: "/etc/hosts".into(),
            families: Families::Both,
            ttl_floor: Duration::from_secs(5),
            ttl_cap: Duration::from_secs(60),
            retry: Duration::from_secs(1),
            retry_cap: Duration::from_secs(30),
            timeout: Duration::from_secs(4),
            grace: Duration::from_secs(30),
            max_endpoints: 128,
            subset: machine(),
            file_interval: Duration::from_secs(1),
            etcd: super::etcd::Settings::default(),
        }
    }
}

fn machine() -> u64 {
    let name = rustix::system::uname();
    let bytes = name.nodename().to_bytes();
    bytes
        .iter()
        .fold(0, |hash, byte| mix(hash ^ u64::from(*byte)))
}
