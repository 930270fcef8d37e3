//! Questions to DNS and what comes of them.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use seawall_policy::Tick;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// Services: names, ports, weights and priorities.
    Srv,
}

impl fmt::Display for RecordKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::Aaaa => "AAAA",
            Self::Srv => "SRV",
        })
    }
}

/// Why a name has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// NXDOMAIN.
    #[error("there is no such name (NXDOMAIN)")]
    NoSuchName,
    /// The name exists, but offers no service.
    #[error("the name offers no service")]
    NoService,
    /// The name exists, but has no address of the wanted families.
    #[error("the name has no address")]
    NoAddress,
    /// A resolver answered with this code, such as `Server Failure`.
    #[error("the resolver answers: {0}")]
    Refused(String),
    /// No answer in time.
    #[error("no resolver answered in time")]
    Timeout,
    /// There is nobody to ask.
    #[error("there is no resolver to ask: {0}; set `resolvers`")]
    NoResolver(String),
    /// The connection to a resolver failed, or its answer made no sense.
    #[error("{0}")]
    Failed(String),
    /// The program was built without the feature.
    #[error(
        "this program was built without the feature `dns`: give addresses, or names in the hosts file"
    )]
    NotBuilt,
}

/// A name and what is asked of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Question {
    pub(super) name: Arc<str>,
    pub(super) kind: RecordKind,
}

/// Records without the name and the TTL. None of them: the name exists, but has none of this kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) records: Vec<Record>,
    /// The least of them.
    pub(super) ttl: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    Address(IpAddr),
    #[cfg_attr(
        not(feature = "dns"),
        allow(dead_code, reason = "only DNS has SRV records")
    )]
    Service(Service),
}

/// The content of an SRV record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Service {
    /// With a dot at its end, so that no search domain is tried.
    pub(super) target: Arc<str>,
    pub(super) port: u16,
    pub(super) priority: u16,
    pub(super) weight: u16,
}

impl Reply {
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.records.iter().filter_map(|record| match record {
            Record::Address(ip) => Some(*ip),
            Record::Service(_) => None,
        })
    }

    /// A target of "." says that the service is not offered (RFC 2782), and a port of 0 that there
    /// is no way to it.
    pub(super) fn services(&self) -> impl Iterator<Item = &Service> {
        self.records.iter().filter_map(|record| match record {
            Record::Service(service) if service.target.len() > 1 && service.port != 0 => {
                Some(service)
            }
            _ => None,
        })
    }
}

/// What whoever asked is told.
#[derive(Clone, Debug)]
pub(super) struct Told {
    /// Counts attempts: who is told the same one again has learnt nothing.
    pub(super) serial: u64,
    pub(super) reply: Result<Arc<Reply>, DnsError>,
    /// The last that had records, for who has none yet.
    pub(super) good: Option<Arc<Reply>>,
    /// When to ask again.
    pub(super) due: Tick,
}
