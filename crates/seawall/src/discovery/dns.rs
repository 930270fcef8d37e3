//! DNS by hickory-resolver.
//!
//! Not the system's `getaddrinfo`: that tells neither TTLs nor SRV records, cannot tell "no such
//! name" from "no answer", blocks a thread for as long as it likes, and takes no resolvers from a
//! configuration. hickory's own cache is off (the table in `resolver.rs` knows when to ask again),
//! and so is its reading of the hosts file.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig, ResolverOpts,
};
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError as Wire, NetError};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{RData, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use parking_lot::Mutex;

use super::answer::{DnsError, Question, Record, RecordKind, Reply, Service};
use super::filed::Filed;
use super::resolver::{Looking, Lookup};
use super::settings::Settings;

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Asks the resolvers of the settings, or of the system.
pub(super) struct Dns {
    servers: Servers,
    timeout: Duration,
}

enum Servers {
    Given(Result<TokioResolver, DnsError>),
    System(Mutex<System>),
}

struct System {
    file: Filed,
    resolver: Result<TokioResolver, DnsError>,
}

impl Dns {
    pub(super) fn new(settings: &Settings) -> Self {
        // An answer and, where it is lost, one more.
        let timeout = settings.timeout / 2;
        let servers = if settings.resolvers.is_empty() {
            Servers::System(Mutex::new(System::new(Path::new(RESOLV_CONF))))
        } else {
            let servers = settings.resolvers.iter().map(server).collect();
            let config = ResolverConfig::from_parts(None, Vec::new(), servers);
            Servers::Given(build(config, ResolverOpts::default(), timeout))
        };
        Self { servers, timeout }
    }

    fn resolver(&self) -> Result<TokioResolver, DnsError> {
        match &self.servers {
            Servers::Given(resolver) => resolver.clone(),
            Servers::System(system) => system.lock().resolver(self.timeout),
        }
    }
}

impl System {
    fn new(path: &Path) -> Self {
        Self {
            file: Filed::new(path),
            resolver: Err(DnsError::NoResolver(path.display().to_string())),
        }
    }

    /// Blocks on a local disk for as long as a small file takes.
    fn resolver(&mut self, timeout: Duration) -> Result<TokioResolver, DnsError> {
        if self.file.has_changed() {
            self.resolver = read(self.file.path(), timeout);
        }
        self.resolver.clone()
    }
}

fn server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    let mut server = NameServerConfig::udp_and_tcp(address.ip());
    server.connections = connections.into();
    server
}

fn read(path: &Path, timeout: Duration) -> Result<TokioResolver, DnsError> {
    let no_resolver = |error: &dyn std::fmt::Display| {
        DnsError::NoResolver(format!("{}: {error}", path.display()))
    };
    let text = std::fs::read(path).map_err(|error| no_resolver(&error))?;
    let (config, options) = parse_resolv_conf(text).map_err(|error| no_resolver(&error))?;
    build(config, options, timeout)
}

fn build(
    config: ResolverConfig,
    mut options: ResolverOpts,
    timeout: Duration,
) -> Result<TokioResolver, DnsError> {
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.timeout = timeout;
    options.attempts = 1;
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
    *builder.options_mut() = options;
    builder
        .build()
        .map_err(|error| DnsError::NoResolver(error.to_string()))
}

impl Lookup for Dns {
    fn look_up<'a>(&'a self, question: &'a Question) -> Looking<'a> {
        Box::pin(async move {
            let resolver = self.resolver()?;
            let kind = match question.kind {
                RecordKind::A => RecordType::A,
                RecordKind::Aaaa => RecordType::AAAA,
                RecordKind::Srv => RecordType::SRV,
            };
            match resolver.lookup(&*question.name, kind).await {
                Ok(lookup) => Ok(reply(lookup.answers(), kind)),
                Err(error) => negative(error),
            }
        })
    }
}

/// The records of the kind; others, such as a CNAME on the way, only bound the TTL.
fn reply(answers: &[hickory_resolver::proto::rr::Record], kind: RecordType) -> Reply {
    let ttl = answers.iter().map(|record| record.ttl).min();
    let records = answers.iter().filter(|record| record.record_type() == kind);
    let records = records.filter_map(|record| match &record.data {
        RData::A(ip) => Some(Record::Address(ip.0.into())),
        RData::AAAA(ip) => Some(Record::Address(ip.0.into())),
        RData::SRV(srv) => Some(Record::Service(Service {
            target: Arc::from(srv.target.to_ascii().to_ascii_lowercase()),
            port: srv.port,
            priority: srv.priority,
            weight: srv.weight,
        })),
        _ => None,
    });
    Reply {
        records: records.collect(),
        ttl: Duration::from_secs(ttl.unwrap_or_default().into()),
    }
}

/// "Exists, but has none of these" is an answer; the rest is not.
fn negative(error: NetError) -> Result<Reply, DnsError> {
    Err(match error {
        NetError::Dns(Wire::NoRecordsFound(none)) => match none.response_code {
            ResponseCode::NoError => {
                return Ok(Reply {
                    records: Vec::new(),
                    ttl: Duration::ZERO,
                });
            }
            ResponseCode::NXDomain => DnsError::NoSuchName,
            code => DnsError::Refused(code.to_string()),
        },
        NetError::Dns(Wire::ResponseCode(code)) => DnsError::Refused(code.to_string()),
        NetError::Timeout => DnsError::Timeout,
        error => DnsError::Failed(error.to_string()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_resolvers_are_those_of_the_file_of_now() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("resolv.conf");
        let mut system = System::new(&path);
        let mut resolver = || system.resolver(Duration::from_secs(1));
        let missing = resolver().unwrap_err().to_string();
        assert!(
            missing.contains("resolv.conf") && missing.contains("set `resolvers`"),
            "{missing}"
        );
        std::fs::write(
            &path,
            "search a.test\nnameserver 127.0.0.1\noptions ndots:3\n",
        )
        .unwrap();
        assert_eq!(resolver().map(|r| r.options().ndots), Ok(3));
        std::fs::write(&path, "options ndots:3\n").unwrap();
        assert!(matches!(resolver(), Err(DnsError::NoResolver(_))));
        std::fs::write(&path, b"nameserver \xFF\n").unwrap();
        assert!(matches!(resolver(), Err(DnsError::NoResolver(_))));
    }
}
