//! What a person writes down: `host:port weight=2 zone=a`.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;
use std::sync::Arc;

/// The largest weight, that of an SRV record.
const MAX_WEIGHT: u32 = 65_535;

/// A host and port, of which one or several endpoints come.
///
/// Written `host:port`, then in any order `weight=1..65535`, `zone=NAME`, `priority=0..65535` (the
/// lowest is used, the others stand by) and `host=NAME` (for the `Host` header and SNI, where it is
/// not the name before the port).
///
/// ```
/// use seawall::discovery::Target;
///
/// let target: Target = "Orders.internal:8080 weight=3 zone=eu-1a".parse()?;
/// assert_eq!((target.port, target.weight), (8080, 3));
/// assert_eq!(target.to_string(), "orders.internal:8080 weight=3 zone=eu-1a");
///
/// let missing = "orders.internal".parse::<Target>().unwrap_err();
/// assert!(missing.to_string().contains("no port"));
/// # Ok::<(), seawall::discovery::TargetError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The address, or the name to be resolved.
    pub host: Host,
    /// The port, at least 1.
    pub port: u16,
    /// 1 to 65,535. Every address of a name has it whole.
    pub weight: u32,
    /// As [`Endpoint::priority`](super::Endpoint::priority).
    pub priority: u16,
    /// The zone.
    pub zone: Option<Arc<str>>,
    /// What its endpoints are called; by default the host, if that is a name.
    pub name: Option<Arc<str>>,
}

/// The left side of `host:port`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address; IPv6 is written in brackets.
    Ip(IpAddr),
    /// A name, in lower case. With a dot at its end no search domain is tried.
    Name(Arc<str>),
}

/// Why a text is no target.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// Nothing there.
    #[error("is empty: write host:port")]
    Empty,
    /// No port at its end.
    #[error("`{0}` has no port: write {0}:80")]
    NoPort(String),
    /// Not 1 to 65,535.
    #[error("`{0}` is no port: 1 to 65535")]
    Port(String),
    /// More than one colon and no brackets.
    #[error("`{0}`: an IPv6 address belongs in brackets, [::1]:80")]
    Brackets(String),
    /// Neither an address nor a name.
    #[error(
        "`{0}` is no host: an IPv4 address, an IPv6 address in brackets or a DNS name (letters, digits, `-`, `_`; others as xn--)"
    )]
    Host(String),
    /// Not 1 to 65,535.
    #[error("`{0}` is no weight: 1 to 65535; to use it no more, take it out")]
    Weight(String),
    /// Not 0 to 65,535.
    #[error("`{0}` is no priority: 0 to 65535")]
    Priority(String),
    /// Not one of those that there are.
    #[error("`{0}` is not known here: one of weight=, zone=, priority=, host=")]
    Attribute(String),
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let mut words = text.split_ascii_whitespace();
        let (host, port) = host_and_port(words.next().ok_or(TargetError::Empty)?)?;
        let mut target = Self::new(host, port);
        for word in words {
            let unknown = || TargetError::Attribute(word.to_owned());
            let (key, value) = word.split_once('=').ok_or_else(unknown)?;
            if value.is_empty() {
                return Err(unknown());
            }
            match key {
                "weight" => {
                    let weight = value.parse().ok();
                    target.weight = weight
                        .filter(|weight| (1..=MAX_WEIGHT).contains(weight))
                        .ok_or_else(|| TargetError::Weight(value.to_owned()))?;
                }
                "priority" => {
                    let bad = |_| TargetError::Priority(value.to_owned());
                    target.priority = value.parse().map_err(bad)?;
                }
                "zone" => target.zone = Some(value.into()),
                "host" => target.name = Some(host_name(value)?),
                _ => return Err(unknown()),
            }
        }
        Ok(target)
    }
}

impl Target {
    /// Of weight 1 and the first priority.
    #[must_use]
    pub const fn new(host: Host, port: u16) -> Self {
        Self {
            host,
            port,
            weight: 1,
            priority: 0,
            zone: None,
            name: None,
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.host, self.port)?;
        if self.weight != 1 {
            write!(f, " weight={}", self.weight)?;
        }
        if self.priority != 0 {
            write!(f, " priority={}", self.priority)?;
        }
        if let Some(zone) = &self.zone {
            write!(f, " zone={zone}")?;
        }
        if let Some(name) = &self.name {
            write!(f, " host={name}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

fn host_and_port(text: &str) -> Result<(Host, u16), TargetError> {
    let no_port = || TargetError::NoPort(text.to_owned());
    let (host, port) = text.rsplit_once(':').ok_or_else(no_port)?;
    let host = if let Some(inside) = host.strip_prefix('[') {
        let ip = inside.strip_suffix(']').map(str::parse::<Ipv6Addr>);
        match ip {
            Some(Ok(ip)) => Host::Ip(ip.into()),
            // `[::1]`, cut at a colon inside.
            None if text.ends_with(']') => return Err(no_port()),
            _ => return Err(TargetError::Host(host.to_owned())),
        }
    } else if host.contains(':') {
        return Err(TargetError::Brackets(text.to_owned()));
    } else if let Ok(ip) = host.parse() {
        Host::Ip(ip)
    } else {
        Host::Name(host_name(host)?)
    };
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    let port = port
        .parse()
        .ok()
        .filter(|n| digits && *n != 0)
        .ok_or_else(|| TargetError::Port(port.to_owned()))?;
    Ok((host, port))
}

/// A DNS name in lower case. One whose last label is a number would be an address with a typing
/// error in it (`10.0.0.256`), so it is none.
pub(super) fn host_name(text: &str) -> Result<Arc<str>, TargetError> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    let number = |label: &str| label.bytes().all(|b| b.is_ascii_digit());
    let named = name.len() <= 253
        && name.split('.').all(label)
        && !name.rsplit('.').next().is_some_and(number);
    if named {
        Ok(text.to_ascii_lowercase().into())
    } else {
        let shown: String = text.chars().take(80).collect();
        Err(TargetError::Host(shown))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_wrong_is_named() {
        use TargetError as E;
        let long = "a".repeat(64) + ":80";
        for (text, error) in [
            ("", E::Empty),
            ("  ", E::Empty),
            ("db", E::NoPort("db".into())),
            ("[::1]", E::NoPort("[::1]".into())),
            ("::1:80", E::Brackets("::1:80".into())),
            ("db:", E::Port(String::new())),
            ("db:0", E::Port("0".into())),
            ("db:+80", E::Port("+80".into())),
            ("db:65536", E::Port("65536".into())),
            (":80", E::Host(String::new())),
            ("a..b:80", E::Host("a..b".into())),
            ("10.0.0.256:80", E::Host("10.0.0.256".into())),
            ("[10.0.0.1]:80", E::Host("[10.0.0.1]".into())),
            ("bücher:80", E::Host("bücher".into())),
            (&long, E::Host("a".repeat(64))),
            ("db:80 weight=0", E::Weight("0".into())),
            ("db:80 weight=-1", E::Weight("-1".into())),
            ("db:80 weight=65536", E::Weight("65536".into())),
            ("db:80 priority=x", E::Priority("x".into())),
            ("db:80 zone=", E::Attribute("zone=".into())),
            ("db:80 colour=red", E::Attribute("colour=red".into())),
            ("db:80 443", E::Attribute("443".into())),
        ] {
            assert_eq!(text.parse::<Target>(), Err(error), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,60}") {
            let _ = text.parse::<Target>();
        }

        #[test]
        fn what_is_printed_reads_the_same(
            host in prop_oneof![
                any::<[u8; 4]>().prop_map(|ip| Host::Ip(ip.into())),
                any::<[u8; 16]>().prop_map(|ip| Host::Ip(ip.into())),
                "[a-z][a-z0-9-]{0,20}(\\.[a-z_]{1,10}){0,3}\\.?".prop_map(|n| Host::Name(n.into())),
            ],
            port in 1..=u16::MAX,
            weight in 1..=MAX_WEIGHT,
            priority: u16,
            zone in proptest::option::of("[a-z0-9-]{1,8}"),
            name in proptest::option::of("[a-z]{1,8}\\.example"),
        ) {
            let target = Target {
                weight,
                priority,
                zone: zone.map(Into::into),
                name: name.map(Into::into),
                ..Target::new(host, port)
            };
            prop_assert_eq!(target.to_string().parse::<Target>(), Ok(target));
        }
    }
}
