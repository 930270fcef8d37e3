//! Where the endpoints of an upstream come from.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use super::etcd::{PlaceError, Service};
use super::list::ListError;
use super::target::{Target, TargetError, host_name};

/// Where the endpoints of an upstream come from.
///
/// | written | endpoints |
/// |---|---|
/// | `host:port`, `dns://host:port` | the address, or all A and AAAA records of the name |
/// | `srv://_http._tcp.name` | the SRV records' targets, their addresses, ports, weights and priorities |
/// | `file:///path` | a line each: see [`Source::File`] |
/// | `etcd://host:port,host:port/prefix/service` | the instances that are registered there: see [`etcd`](super::etcd) |
///
/// ```
/// use seawall::discovery::Source;
///
/// let source: Source = "srv://_http._tcp.orders.internal".parse()?;
/// assert_eq!(source.to_string(), "srv://_http._tcp.orders.internal");
///
/// let two = Source::targets(["10.0.0.7:80", "10.0.0.8:80 weight=2"])?;
/// assert!(matches!(two, Source::Static(targets) if targets.len() == 2));
///
/// let error = "consul://orders".parse::<Source>().unwrap_err();
/// assert!(error.to_string().contains("srv://"));
/// # Ok::<(), seawall::discovery::SourceError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// These. Those with a name follow the name's addresses.
    Static(Vec<Target>),
    /// A file with a [`Target`] a line (UTF-8; blank lines and what follows a `#` are ignored), at
    /// most 1 MiB and 10,000 targets. It is read again when it changes, in place or by a rename.
    /// One that cannot be read, has a bad line or no target is refused whole: the last good list
    /// stays, and the error stands until the file is good again.
    File(PathBuf),
    /// The SRV records of this name (RFC 2782). The weight 0 counts as 1.
    Srv(Arc<str>),
    /// The instances of this service, as they come and go. Those with a name follow the name's
    /// addresses.
    Etcd(Service),
}

/// Why a text is no source.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// No such scheme.
    #[error(
        "`{0}://` is not known here: write host:port, dns://host:port, srv://_service._proto.name, file:///path or etcd://host:port/prefix/service"
    )]
    Scheme(String),
    /// The host and port are not.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Not a name.
    #[error("`{0}` is no name of SRV records: write srv://_http._tcp.name, without a port")]
    Srv(String),
    /// No service in an etcd.
    #[error(transparent)]
    Etcd(#[from] PlaceError),
    /// Not an absolute path.
    #[error("`{0}` is no absolute path: write file:///path")]
    Path(String),
}

impl Source {
    /// A static list of targets as they are written: see [`Target`].
    ///
    /// # Errors
    /// The first that is none.
    pub fn targets<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, SourceError> {
        let targets: Result<_, TargetError> = texts.into_iter().map(str::parse).collect();
        Ok(Self::Static(targets?))
    }

    /// A file as it stands now, for a check before it is used.
    ///
    /// # Errors
    /// Why it would be refused. The other sources are never.
    pub fn check(&self) -> Result<(), ListError> {
        match self {
            Self::File(path) => super::list::read(path).map(|_| ()),
            Self::Static(_) | Self::Srv(_) | Self::Etcd(_) => Ok(()),
        }
    }
}

impl FromStr for Source {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, SourceError> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("dns", text));
        match scheme {
            "dns" => Ok(Self::Static(vec![rest.parse()?])),
            "srv" => match host_name(rest) {
                Ok(name) => Ok(Self::Srv(name)),
                Err(_) => Err(SourceError::Srv(rest.to_owned())),
            },
            "etcd" => Ok(Self::Etcd(text.parse()?)),
            "file" if Path::new(rest).is_absolute() => Ok(Self::File(rest.into())),
            "file" => Err(SourceError::Path(rest.to_owned())),
            _ => Err(SourceError::Scheme(scheme.to_owned())),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Static(targets) => {
                for (n, target) in targets.iter().enumerate() {
                    let comma = if n == 0 { "" } else { ", " };
                    write!(f, "{comma}{target}")?;
                }
                Ok(())
            }
            Self::File(path) => write!(f, "file://{}", path.display()),
            Self::Srv(name) => write!(f, "srv://{name}"),
            Self::Etcd(service) => service.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let target = |text: &str| Source::Static(vec![text.parse().unwrap()]);
        for (text, source) in [
            ("db:80", target("db:80")),
            ("dns://db:80 weight=2", target("db:80 weight=2")),
            ("[::1]:80", target("[::1]:80")),
            ("srv://_http._TCP.db.", Source::Srv("_http._tcp.db.".into())),
            (
                "file:///etc/hosts.d/db",
                Source::File("/etc/hosts.d/db".into()),
            ),
            (
                "etcd://a:1/x/db",
                Source::Etcd("etcd://a:1/x/db".parse().unwrap()),
            ),
        ] {
            assert_eq!(text.parse(), Ok(source), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        use SourceError as E;
        for (text, error) in [
            ("", E::Target(TargetError::Empty)),
            ("http://db:80", E::Scheme("http".into())),
            ("dns://db", E::Target(TargetError::NoPort("db".into()))),
            ("srv://_http._tcp.db:80", E::Srv("_http._tcp.db:80".into())),
            ("srv://", E::Srv(String::new())),
            (
                "etcd://a:1/",
                E::Etcd(PlaceError::NoService("etcd://a:1/".into())),
            ),
            ("file://endpoints", E::Path("endpoints".into())),
        ] {
            assert_eq!(text.parse::<Source>(), Err(error), "{text}");
        }
    }
}
