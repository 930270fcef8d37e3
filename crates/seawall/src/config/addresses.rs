//! Addresses that get into one another's way: two listeners on one, or an upstream that is this very
//! gateway, whose calls would go round until the limit is used up.

use std::net::{IpAddr, SocketAddr};

use super::endpoints::{endpoint_lists, targets};
use super::model::{Config, Upstream};
use crate::discovery::Host;

impl Config {
    /// Each setting whose address is taken by another one, and what to change. [`Config::parse`]
    /// refuses such a file; for a configuration that was changed afterwards, by a flag say.
    ///
    /// ```
    /// use seawall::config::Config;
    ///
    /// let mut config = Config::for_upstream("http://127.0.0.1:3000".parse().unwrap());
    /// assert!(config.address_conflicts().is_empty());
    /// config.admin.address.set_port(8080);
    /// assert_eq!(config.address_conflicts()[0].0, "listeners.default.address");
    /// ```
    #[must_use]
    pub fn address_conflicts(&self) -> Vec<(String, String)> {
        let admin = ("admin.address".to_owned(), self.admin.address);
        let listeners = self
            .listeners
            .iter()
            .map(|(name, listener)| (format!("listeners.{name}.address"), listener.address));
        let ours: Vec<_> = std::iter::once(admin).chain(listeners).collect();
        let mut found = Vec::new();
        for (n, (key, address)) in ours.iter().enumerate() {
            if let Some((other, _)) = ours[..n]
                .iter()
                .find(|(_, taken)| overlap(*taken, *address))
            {
                let text =
                    format!("{address} is taken by `{other}`: give one of them another port");
                found.push((key.clone(), text));
            }
        }
        for (name, upstream) in &self.upstreams {
            for (key, host, port) in hosts(upstream) {
                let Some((other, address)) = ours
                    .iter()
                    .find(|(_, address)| leads_to(&host, port, *address))
                else {
                    continue;
                };
                let text = format!(
                    "leads back to the gateway itself: `{other}` is {address}. Name the service's own address"
                );
                found.push((format!("upstreams.{name}.{key}"), text));
            }
        }
        found
    }
}

/// Where calls to it go, as far as the file says it: setting, host, port.
fn hosts(upstream: &Upstream) -> Vec<(&'static str, String, u16)> {
    let mut hosts = Vec::new();
    if upstream.endpoints.is_empty() {
        let host = upstream.url.host().unwrap_or_default();
        let host = host.trim_matches(['[', ']']).to_owned();
        hosts.push(("url", host, upstream.port()));
    }
    for (key, list) in endpoint_lists(upstream) {
        hosts.extend(targets(list).into_iter().map(|target| {
            let host = match &target.host {
                Host::Ip(ip) => ip.to_string(),
                Host::Name(name) => name.trim_end_matches('.').to_owned(),
            };
            (key, host, target.port)
        }));
    }
    hosts
}

/// Whether both cannot be bound. An unspecified address takes every other of its port; port 0 is a
/// free one each time.
fn overlap(a: SocketAddr, b: SocketAddr) -> bool {
    let (ip_a, ip_b) = (a.ip().to_canonical(), b.ip().to_canonical());
    let any = (ip_a.is_unspecified() || ip_b.is_unspecified()) && ip_a.is_ipv4() == ip_b.is_ipv4();
    a.port() == b.port() && a.port() != 0 && (ip_a == ip_b || any)
}

/// Whether `host` and `port` are a listener at `address`. Names other than `localhost` are not looked
/// up.
fn leads_to(host: &str, port: u16, address: SocketAddr) -> bool {
    let (at, local) = (
        address.ip().to_canonical(),
        host.eq_ignore_ascii_case("localhost"),
    );
    let named = match host.parse::<IpAddr>().map(|ip| ip.to_canonical()) {
        Ok(ip) if at.is_unspecified() => ip.is_loopback() || ip.is_unspecified(),
        Ok(ip) if ip.is_unspecified() => at.is_loopback(),
        Ok(ip) => ip == at,
        Err(_) => local && (at.is_loopback() || at.is_unspecified()),
    };
    named && port == address.port()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    #[test]
    fn what_cannot_be_bound_together() {
        for (a, b, expected) in [
            ("127.0.0.1:80", "127.0.0.1:80", true),
            ("0.0.0.0:80", "10.0.0.1:80", true),
            ("[::ffff:127.0.0.1]:80", "127.0.0.1:80", true),
            ("127.0.0.1:80", "127.0.0.2:80", false),
            ("127.0.0.1:80", "127.0.0.1:81", false),
            ("127.0.0.1:0", "127.0.0.1:0", false),
            ("[::1]:80", "127.0.0.1:80", false),
        ] {
            assert_eq!(overlap(at(a), at(b)), expected, "{a} {b}");
            assert_eq!(overlap(at(b), at(a)), expected, "{b} {a}");
        }
    }

    #[test]
    fn an_upstream_that_is_the_gateway() {
        for (url, address, expected) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080", true),
            ("http://localhost:8080", "127.0.0.1:8080", true),
            ("http://LOCALHOST:8080", "0.0.0.0:8080", true),
            ("http://127.0.0.1:8080", "0.0.0.0:8080", true),
            ("http://0.0.0.0:8080", "127.0.0.1:8080", true),
            ("http://[::1]:8080", "[::1]:8080", true),
            ("http://127.0.0.1", "127.0.0.1:80", true),
            ("https://127.0.0.1", "127.0.0.1:443", true),
            ("https://127.0.0.1", "127.0.0.1:80", false),
            ("http://127.0.0.1:8081", "127.0.0.1:8080", false),
            ("http://10.0.0.1:8080", "0.0.0.0:8080", false),
            ("http://service:8080", "127.0.0.1:8080", false),
        ] {
            let upstream = Upstream::to(url.parse().unwrap());
            let (_, host, port) = &hosts(&upstream)[0];
            let found = leads_to(host, *port, at(address));
            assert_eq!(found, expected, "{url} {address}");
        }
    }
}
