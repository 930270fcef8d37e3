//! Forgetting what is kept: by order, and by writes.

use std::sync::atomic::Ordering::Relaxed;

use http::request::Parts;
use http::{HeaderValue, Method, Response, Uri};
use seawall_cache::http::{invalidates, is_safe};

use super::Cache;
use super::count::Event;
use super::key;
use super::page::Page;
use crate::client::Client;
use crate::core::Core;
use crate::plan::Plan;

/// What is to be forgotten.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Purge {
    /// What was answered with this tag, in `Surrogate-Key` or `Cache-Tag`.
    Tag(String),
    /// What was answered at this host, or any, under this target: the whole of it, with its query.
    Url(Option<String>, String),
    /// The same, under all targets that begin so.
    Prefix(Option<String>, String),
    All,
}

impl Purge {
    /// Reads the query of an order: `tag=…`, `url=…`, `prefix=…` or `all`, percent-encoded where
    /// that is needed. A URL may be a path alone: of any host.
    pub(crate) fn read(query: &str) -> Option<Self> {
        let (what, value) = query.split_once('=').unwrap_or((query, ""));
        let value = decoded(value)?;
        let placed = |value: &str| -> Option<(Option<String>, String)> {
            if value.starts_with('/') {
                return Some((None, value.to_owned()));
            }
            let (_, rest) = value.split_once("://")?;
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            let path = if path.is_empty() { "/" } else { path };
            Some((Some(host.to_ascii_lowercase()), path.to_owned()))
        };
        match what {
            "tag" if !value.is_empty() => Some(Self::Tag(value)),
            "url" => placed(&value).map(|(host, path)| Self::Url(host, path)),
            "prefix" => placed(&value).map(|(host, path)| Self::Prefix(host, path)),
            "all" if value.is_empty() => Some(Self::All),
            _ => None,
        }
    }

    fn means(&self, page: &Page) -> bool {
        let at = |wanted: &Option<String>, fits: &dyn Fn(&[u8]) -> bool| {
            key::parts(&page.key).is_some_and(|(host, target)| {
                let host_fits = wanted
                    .as_ref()
                    .is_none_or(|wanted| wanted.as_bytes() == host);
                host_fits && fits(target)
            })
        };
        match self {
            Self::Tag(tag) => page.has_tag(tag.as_bytes()),
            Self::Url(host, url) => at(host, &|target| target == url.as_bytes()),
            Self::Prefix(host, prefix) => at(host, &|target| target.starts_with(prefix.as_bytes())),
            Self::All => true,
        }
    }
}

fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            bytes.push(u8::try_from(digit()? * 16 + digit()?).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

impl Cache {
    /// Carries an order out. Returns how many responses were forgotten; what is being fetched
    /// meanwhile is not kept.
    pub(crate) fn purge(&self, purge: &Purge) -> usize {
        let purged = self.store.purge(|page| purge.means(page));
        self.purges[0].fetch_add(1, Relaxed);
        self.purges[1].fetch_add(purged as u64, Relaxed);
        purged
    }
}

/// A request that may put what is kept out of date.
#[derive(Debug)]
pub(crate) struct Written {
    method: Method,
    uri: Uri,
    host: Option<HeaderValue>,
    forwarded: [Option<HeaderValue>; 2],
}

impl Written {
    /// `None` for one that changes nothing, or where nothing is kept.
    pub(crate) fn new(client: &Client, plan: &Plan, parts: &Parts) -> Option<Self> {
        if !plan.caches || is_safe(&parts.method) {
            return None;
        }
        let host = key::host_of(&parts.uri, &parts.headers);
        Some(Self {
            method: parts.method.clone(),
            uri: parts.uri.clone(),
            host: host.and_then(|host| HeaderValue::from_bytes(host).ok()),
            forwarded: key::forwarded(client, &parts.headers).map(Option::<&_>::cloned),
        })
    }

    /// It has been answered: what it changed is forgotten, whatever route that is kept by.
    pub(crate) fn answered<B>(&self, core: &Core, plan: &Plan, response: &Response<B>) {
        let Some(host) = self.host.as_ref().and_then(|host| host.to_str().ok()) else {
            return;
        };
        let (status, headers) = (response.status(), response.headers());
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        for path in invalidates(&self.method, host, path, status, headers) {
            self.forget(core, plan, host, &path);
        }
    }

    fn forget(&self, core: &Core, plan: &Plan, host: &str, path: &str) {
        let Some(parts) = read(host, path) else {
            return;
        };
        let target = plan.router.find(&parts);
        let Some(rules) = target.and_then(|target| target.cache.as_ref()) else {
            return;
        };
        let path = key::target(&parts.uri, &rules.ignore_query);
        for tls in [false, true] {
            let key = key::of(
                &rules.upstream,
                tls,
                (host.as_bytes(), &path),
                &self.forwarded,
            );
            if core.shared.cache.store.forget(&key) {
                core.counters().cache.count(Event::Invalidated);
            }
        }
    }
}

/// A `GET` of a path at a host.
fn read(host: &str, path: &str) -> Option<Parts> {
    let request = http::Request::get(path).header(http::header::HOST, host);
    Some(request.body(()).ok()?.into_parts().0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders() {
        let some = |text: &str| Some(text.to_owned());
        for (query, expected) in [
            ("tag=a%20b", Some(Purge::Tag("a b".into()))),
            ("url=/a?b=c", Some(Purge::Url(None, "/a?b=c".into()))),
            (
                "url=http://A.example:80/a",
                Some(Purge::Url(some("a.example:80"), "/a".into())),
            ),
            (
                "prefix=https://a.example",
                Some(Purge::Prefix(some("a.example"), "/".into())),
            ),
            ("prefix=%2Fa", Some(Purge::Prefix(None, "/a".into()))),
            ("all", Some(Purge::All)),
            ("all=x", None),
            ("tag=", None),
            ("tag", None),
            ("url=a.example/a", None),
            ("url=%", None),
            ("url=%zz", None),
            ("tag=%ff", None),
            ("", None),
        ] {
            assert_eq!(Purge::read(query), expected, "{query}");
        }
    }
}
