//! Which calls go where.

use std::sync::Arc;
use std::time::Duration;

use http::request::Parts;
use http::{Method, header};
use seawall::admission::Lane;
use seawall_policy::Criticality;

use crate::cache::Rules;

/// What a route says of its calls.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Index of its upstream.
    pub(crate) origin: usize,
    /// `None`: found by itself.
    pub(crate) lane: Option<Lane>,
    pub(crate) criticality: Criticality,
    pub(crate) timeout: Option<Duration>,
    /// Its calls may run twice, whatever their method.
    pub(crate) retry_safe: bool,
    pub(crate) shadow: bool,
    /// What is kept of its responses.
    pub(crate) cache: Option<Arc<Rules>>,
    /// Which of the configured routes, for [`Router::label`].
    pub(crate) route: Option<u16>,
}

/// One route of the configuration.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// What logs and explanations call it.
    pub(crate) label: String,
    pub(crate) host: Option<String>,
    pub(crate) path: PathRule,
    pub(crate) methods: Vec<Method>,
    pub(crate) target: Target,
}

/// The paths that a rule matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PathRule {
    Exact(String),
    /// By whole segments; empty for all.
    Below(String),
}

impl PathRule {
    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == exact,
            Self::Below(prefix) => {
                let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
                path.strip_prefix(prefix)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
        }
    }

    /// Exact before prefix, longer before shorter.
    fn rank(&self) -> (bool, usize) {
        match self {
            Self::Exact(path) => (true, path.len()),
            Self::Below(path) => (false, path.len()),
        }
    }
}

/// Every route, the most specific first.
#[derive(Clone, Debug)]
pub(crate) struct Router {
    rules: Vec<Rule>,
    /// In the order of the configuration.
    labels: Vec<Arc<str>>,
    /// Where calls go that no rule matches.
    otherwise: Option<Target>,
}

impl Router {
    pub(crate) fn new(mut rules: Vec<Rule>, otherwise: Option<Target>) -> Self {
        let labels = rules.iter().map(|rule| rule.label.as_str().into());
        let labels = labels.collect();
        for (n, rule) in rules.iter_mut().enumerate() {
            rule.target.route = u16::try_from(n).ok();
        }
        rules.sort_by_key(|rule| {
            std::cmp::Reverse((
                rule.host.is_some(),
                rule.path.rank(),
                !rule.methods.is_empty(),
            ))
        });
        Self {
            rules,
            labels,
            otherwise,
        }
    }

    /// What the configuration calls its routes, in its order.
    pub(crate) fn labels(&self) -> &[Arc<str>] {
        &self.labels
    }

    /// What the configuration calls a target's route; `None` where no route of it took the call.
    pub(crate) fn label(&self, route: Option<u16>) -> Option<&Arc<str>> {
        self.labels.get(usize::from(route?))
    }

    /// The most specific route that matches.
    pub(crate) fn find(&self, parts: &Parts) -> Option<&Target> {
        if self.rules.is_empty() {
            return self.otherwise.as_ref();
        }
        let host = host(parts);
        let found = self.rules.iter().find(|rule| {
            rule.path.matches(parts.uri.path())
                && (rule.methods.is_empty() || rule.methods.contains(&parts.method))
                && rule
                    .host
                    .as_deref()
                    .is_none_or(|wanted| wanted.eq_ignore_ascii_case(host))
        });
        found.map(|rule| &rule.target).or(self.otherwise.as_ref())
    }
}

/// The host that a request is for, without its port.
fn host(parts: &Parts) -> &str {
    if let Some(host) = parts.uri.host() {
        return host;
    }
    let host = parts
        .headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or("");
    match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(host: Option<&str>, path: PathRule, methods: &[Method], origin: usize) -> Rule {
        let target = Target {
            origin,
            lane: None,
            criticality: Criticality::Critical,
            timeout: None,
            retry_safe: false,
            shadow: false,
            cache: None,
            route: None,
        };
        Rule {
            label: format!("to {origin}"),
            host: host.map(Into::into),
            path,
            methods: methods.to_vec(),
            target,
        }
    }

    fn goes(router: &Router, method: Method, host: &str, path: &str) -> Option<usize> {
        let (parts, ()) = http::Request::builder()
            .method(method)
            .uri(path)
            .header("host", host)
            .body(())
            .unwrap()
            .into_parts();
        router.find(&parts).map(|target| target.origin)
    }

    #[test]
    fn the_most_specific_takes_it() {
        let below = |path: &str| PathRule::Below(path.into());
        let router = Router::new(
            vec![
                rule(None, below("/a"), &[], 1),
                rule(None, below("/a/b/"), &[], 2),
                rule(None, PathRule::Exact("/a/b/c".into()), &[], 3),
                rule(None, below("/a"), &[Method::POST], 4),
                rule(Some("shop.example"), below(""), &[], 5),
            ],
            None,
        );
        for (method, host, path, to) in [
            (Method::GET, "x", "/a", Some(1)),
            (Method::POST, "x", "/a/q", Some(4)),
            (Method::GET, "x", "/ab", None),
            (Method::GET, "x", "/a/b", Some(2)),
            (Method::GET, "x", "/a/b/c", Some(3)),
            (Method::GET, "x", "/a/b/c/d", Some(2)),
            (Method::GET, "Shop.Example:8080", "/a/b/c", Some(5)),
            (Method::GET, "[::1]:80", "/a", Some(1)),
        ] {
            assert_eq!(goes(&router, method, host, path), to, "{host} {path}");
        }
        let longest = router.rules.iter().find(|rule| rule.target.origin == 2);
        let label = longest.and_then(|rule| router.label(rule.target.route));
        assert_eq!(label.map(|label| &**label), Some("to 2"));
        assert_eq!(router.label(None), None);
    }
}
