//! What is written down: which etcd, which prefix, which service.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::super::registry::is_scheme;
use super::super::target::{Target, TargetError};

/// An etcd and a prefix of its keys: `etcd://HOST:PORT[,HOST:PORT]/PREFIX`.
///
/// Instances are at `/PREFIX/SERVICE/ID`. The prefix may have several parts, or none.
///
/// ```
/// use seawall::discovery::etcd::Cluster;
///
/// let cluster: Cluster = "etcd://10.0.0.2:2379,10.0.0.3:2379/seawall/eu".parse()?;
/// assert_eq!(cluster.to_string(), "etcd://10.0.0.2:2379,10.0.0.3:2379/seawall/eu");
/// # Ok::<(), seawall::discovery::etcd::PlaceError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cluster {
    servers: Arc<[Arc<str>]>,
    prefix: Arc<str>,
}

/// A service in an etcd: `etcd://HOST:PORT[,HOST:PORT]/PREFIX/SERVICE`, and ` scheme=NAME` where
/// its instances have addresses of several schemes and not the first is meant.
///
/// ```
/// use seawall::discovery::etcd::Service;
///
/// let orders: Service = "etcd://10.0.0.2:2379/seawall/orders scheme=grpc".parse()?;
/// assert_eq!((orders.name(), orders.scheme()), ("orders", Some("grpc")));
/// # Ok::<(), seawall::discovery::etcd::PlaceError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Service {
    cluster: Cluster,
    name: Arc<str>,
    scheme: Option<Arc<str>>,
}

/// Why a text is neither.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// Another scheme, or none.
    #[error("`{0}` does not begin with etcd://")]
    Scheme(String),
    /// A server is none.
    #[error(transparent)]
    Server(#[from] TargetError),
    /// A server with a weight or the like.
    #[error("`{0}`: a server of etcd is host:port and no more")]
    More(String),
    /// No service at its end.
    #[error("`{0}` names no service: write etcd://host:port/prefix/service")]
    NoService(String),
    /// A part of the path is empty or has characters that none may.
    #[error("`{0}` cannot be a part of a key: use letters, digits, `-`, `_` and `.`")]
    Part(String),
    /// Not one of those that there are.
    #[error("`{0}` is not known here: scheme=NAME, such as scheme=grpc")]
    Attribute(String),
}

impl Cluster {
    /// Its servers, as `host:port`.
    pub fn servers(&self) -> impl Iterator<Item = &str> {
        self.servers.iter().map(|server| &**server)
    }

    /// A service in it.
    ///
    /// # Errors
    /// The name cannot be a part of a key.
    pub fn service(&self, name: &str) -> Result<Service, PlaceError> {
        part(name)?;
        Ok(Service {
            cluster: self.clone(),
            name: name.into(),
            scheme: None,
        })
    }

    /// What its keys begin with, without slashes around it.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }
}

impl Service {
    /// Where it is.
    #[must_use]
    pub const fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which of its instances' addresses are wanted; none means the first of each.
    #[must_use]
    pub fn scheme(&self) -> Option<&str> {
        self.scheme.as_deref()
    }

    /// Its addresses of this scheme, such as `grpc`.
    #[must_use]
    pub fn of_scheme(self, scheme: &str) -> Self {
        let scheme = Some(scheme.into());
        Self { scheme, ..self }
    }

    /// Its addresses of whatever scheme: those who look for it share one watch.
    #[cfg(feature = "etcd")]
    pub(super) fn of_any_scheme(&self) -> Self {
        let scheme = None;
        Self {
            scheme,
            ..self.clone()
        }
    }
}

impl FromStr for Cluster {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let rest = text.strip_prefix("etcd://");
        let rest = rest.ok_or_else(|| PlaceError::Scheme(text.to_owned()))?;
        let (servers, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let servers: Result<_, PlaceError> = servers.split(',').map(server).collect();
        let servers = servers?;
        let prefix = prefix.trim_end_matches('/');
        if !prefix.is_empty() {
            prefix.split('/').try_for_each(part)?;
        }
        Ok(Self {
            servers,
            prefix: prefix.into(),
        })
    }
}

impl FromStr for Service {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let mut words = text.split_ascii_whitespace();
        let place = words.next().unwrap_or_default();
        let none = || PlaceError::NoService(place.to_owned());
        let (cluster, name) = place.rsplit_once('/').ok_or_else(none)?;
        if name.is_empty() || cluster.ends_with('/') {
            return Err(none());
        }
        let mut service = cluster.parse::<Cluster>()?.service(name)?;
        for word in words {
            let scheme = word.strip_prefix("scheme=").filter(|name| is_scheme(name));
            let scheme = scheme.ok_or_else(|| PlaceError::Attribute(word.to_owned()))?;
            service = service.of_scheme(scheme);
        }
        Ok(service)
    }
}

fn server(text: &str) -> Result<Arc<str>, PlaceError> {
    let target: Target = text.parse()?;
    let plain = format!("{}:{}", target.host, target.port);
    if text.eq_ignore_ascii_case(&plain) {
        Ok(plain.into())
    } else {
        Err(PlaceError::More(text.to_owned()))
    }
}

fn part(text: &str) -> Result<(), PlaceError> {
    if !text.is_empty() && text.bytes().all(is_plain) {
        Ok(())
    } else {
        Err(PlaceError::Part(text.to_owned()))
    }
}

pub(super) const fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

impl fmt::Display for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("etcd://")?;
        for (n, server) in self.servers.iter().enumerate() {
            let comma = if n == 0 { "" } else { "," };
            write!(f, "{comma}{server}")?;
        }
        if !self.prefix.is_empty() {
            write!(f, "/{}", self.prefix)?;
        }
        Ok(())
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.cluster, self.name)?;
        if let Some(scheme) = &self.scheme {
            write!(f, " scheme={scheme}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_printed_the_same() {
        for text in [
            "etcd://a:2379/orders",
            "etcd://a:1,[::1]:2,10.0.0.1:3/x/y/orders scheme=grpc",
        ] {
            let service: Service = text.parse().unwrap();
            assert_eq!(service.to_string(), text);
        }
        let cluster: Cluster = "etcd://A:1/x/".parse().unwrap();
        assert_eq!(cluster.to_string(), "etcd://a:1/x");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, says) in [
            ("consul://a:1/x", "does not begin"),
            ("etcd://a/x", "no port"),
            ("etcd://a:1,/x", "is empty"),
            ("etcd://a:1", "no service"),
            ("etcd://a:1/", "no service"),
            ("etcd://a:1/x/", "no service"),
            ("etcd://a:1/x//y", "no service"),
            ("etcd://a:1/ä/y", "part of a key"),
            ("etcd://u:p@a:1/x", "brackets"),
            ("etcd://a:1/x zone=b", "scheme=NAME"),
            ("etcd://a:1/x scheme=", "scheme=NAME"),
            ("", "no service"),
        ] {
            let error = text.parse::<Service>().unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
