//! What one setting says of another: references, duplicates (errors), and fights (warnings).

use std::fmt;

use http::Method;
use toml::Spanned;
use toml::de::DeTable;

use super::cache::CacheConfig;
use super::check::locate;
use super::error::{Findings, Problem, nearest};
use super::model::{AccessLogConfig, AccessLogMode, Algorithm, Config, Route};
use super::tls::{ClientAuth, UpstreamTls};
use super::units::{ShowSize, ShowTime};
use super::upstreams;
use crate::context::{Trust, UnderWayKeys};

/// Lanes that exist by themselves and may be configured.
pub const BUILT_IN_LANES: [&str; 4] = ["default", "slow", "bulk", "stream"];
/// Lanes that may be named besides the built-in ones.
pub const MAX_NAMED_LANES: usize = 12;

/// Two settings that work against each other, or one that does not what it seems to. The
/// configuration is taken all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The setting to look at.
    pub key: String,
    /// What will happen, and what to change.
    pub text: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`: {}", self.key, self.text)
    }
}

/// Errors between settings that are each right by themselves.
pub(super) fn check(config: &Config, root: &Spanned<DeTable<'_>>, findings: &mut Findings<'_>) {
    let mut add =
        |path: &[&str], problem| findings.add(locate(root, path), path.join("."), problem);

    if !config.admin.address.ip().is_loopback() && config.admin.token.is_none() {
        let text = "is reachable by others: set admin.token, or use a loopback address such as \"127.0.0.1:9090\"";
        add(&["admin", "address"], Problem::Invalid(text.to_owned()));
    }
    if config.upstreams.is_empty() {
        add(
            &["upstreams"],
            Problem::Missing(
                "write [upstreams.default] and url = \"http://127.0.0.1:3000\"".to_owned(),
            ),
        );
    }
    let admission = &config.admission;
    if admission.algorithm == Algorithm::Fixed && admission.initial_limit.is_none() {
        add(
            &["admission", "initial_limit"],
            Problem::Missing("`fixed` needs to be told its limit".to_owned()),
        );
    }
    if admission.min_limit > admission.max_limit {
        add(
            &["admission", "min_limit"],
            Problem::Invalid(format!(
                "is above max_limit, which is {}",
                admission.max_limit
            )),
        );
    }
    if config
        .lanes
        .keys()
        .filter(|name| !BUILT_IN_LANES.contains(&name.as_str()))
        .count()
        > MAX_NAMED_LANES
    {
        add(
            &["lanes"],
            Problem::Invalid(format!(
                "are too many: at most {MAX_NAMED_LANES} besides {}",
                BUILT_IN_LANES.join(", ")
            )),
        );
    }
    if let Err(error) = config.under_way_keys() {
        add(&["under_way", "keys"], Problem::Invalid(error.to_string()));
    }
    for (key, text) in config.address_conflicts() {
        let path: Vec<&str> = key.split('.').collect();
        add(&path, Problem::Invalid(text));
    }
    for (name, upstream) in &config.upstreams {
        upstreams::errors(upstream, &mut |key, text| {
            let path: Vec<&str> = ["upstreams", name]
                .into_iter()
                .chain(key.split('.'))
                .collect();
            add(&path, Problem::Invalid(text));
        });
    }
    check_tls(config, &mut add);
    check_routes(config, root, findings);
}

fn check_tls(config: &Config, add: &mut impl FnMut(&[&str], Problem)) {
    for (name, listener) in &config.listeners {
        let Some(tls) = &listener.tls else { continue };
        let path = |field| ["listeners", name, "tls", field];
        if tls.certificates.is_empty() {
            let text = format!(
                "write [[listeners.{name}.tls.certificates]] with cert = \"…\" and key = \"…\" below it"
            );
            add(&path("certificates"), Problem::Missing(text));
        }
        if tls.client_auth != ClientAuth::Off && tls.client_ca.is_none() {
            let text = "client_auth asks for certificates, so say which authorities issue them";
            add(&path("client_ca"), Problem::Missing(text.to_owned()));
        }
    }
    for (name, upstream) in &config.upstreams {
        let tls = &upstream.tls;
        for (field, here, other) in [("cert", &tls.cert, &tls.key), ("key", &tls.key, &tls.cert)] {
            if here.is_none() && other.is_some() {
                let text = "cert and key stand together or not at all".to_owned();
                add(&["upstreams", name, "tls", field], Problem::Missing(text));
            }
        }
    }
}

fn check_routes(config: &Config, root: &Spanned<DeTable<'_>>, findings: &mut Findings<'_>) {
    for (n, route) in config.routes.iter().enumerate() {
        let index = n.to_string();
        let at = |field| locate(root, &["routes", &index, field]);
        let key = |field: &str| format!("routes[{n}].{field}");

        let upstreams = || config.upstreams.keys().map(String::as_str);
        match &route.upstream {
            Some(name) if !config.upstreams.contains_key(name) => {
                findings.add(
                    at("upstream"),
                    key("upstream"),
                    dangling("upstream", name, upstreams()),
                );
            }
            None if config.default_upstream().is_none() && !config.upstreams.is_empty() => {
                let text = "there are several upstreams and none is named `default`".to_owned();
                findings.add(at("upstream"), key("upstream"), Problem::Missing(text));
            }
            _ => {}
        }
        let lanes = || {
            config
                .lanes
                .keys()
                .map(String::as_str)
                .chain(BUILT_IN_LANES)
        };
        if let Some(name) = route
            .lane
            .as_deref()
            .filter(|name| !lanes().any(|l| l == *name))
        {
            findings.add(at("lane"), key("lane"), dangling("lane", name, lanes()));
        }
        if route.path.is_some() && route.path_prefix.is_some() {
            let text = "stands beside path_prefix: a route has one of them".to_owned();
            findings.add(at("path"), key("path"), Problem::Invalid(text));
        }
        if let Some(first) = config.routes[..n]
            .iter()
            .position(|other| same_calls(other, route))
        {
            let line = findings
                .position(locate(root, &["routes", &first.to_string()]).start)
                .line;
            findings.add(
                locate(root, &["routes", &index]),
                format!("routes[{n}]"),
                Problem::Duplicate(line),
            );
        }
    }
    if config.routes.is_empty() && config.upstreams.len() > 1 && config.default_upstream().is_none()
    {
        let text = "there are several upstreams, none is named `default`, and no route says which calls go where".to_owned();
        findings.add(
            locate(root, &["upstreams"]),
            "routes",
            Problem::Missing(text),
        );
    }
}

fn dangling<'a>(kind: &'static str, name: &str, known: impl Iterator<Item = &'a str>) -> Problem {
    Problem::Reference {
        kind,
        name: name.to_owned(),
        nearest: nearest(name, known).map(str::to_owned),
    }
}

/// Whether some call would match both, neither being the more specific.
fn same_calls(a: &Route, b: &Route) -> bool {
    let lower = |host: &Option<String>| host.as_ref().map(|h| h.to_ascii_lowercase());
    let methods = match (a.methods.is_empty(), b.methods.is_empty()) {
        (true, true) => true,
        (false, false) => a.methods.iter().any(|m| b.methods.contains(m)),
        _ => false,
    };
    // `/a` and `/a/` are the same prefix, and `/` is no prefix at all.
    let prefix = |p: &Option<String>| {
        p.as_ref()
            .map(|p| p.trim_end_matches('/').to_owned())
            .filter(|p| !p.is_empty())
    };
    methods
        && lower(&a.host) == lower(&b.host)
        && a.path == b.path
        && prefix(&a.path_prefix) == prefix(&b.path_prefix)
}

impl Config {
    /// The upstream of calls for which no route names one: the only one, or the one named
    /// `default`.
    #[must_use]
    pub fn default_upstream(&self) -> Option<&str> {
        match self.upstreams.len() {
            1 => self.upstreams.keys().next().map(String::as_str),
            _ => self.upstreams.contains_key("default").then_some("default"),
        }
    }

    /// The keys for [`UnderWay`](crate::context::UnderWay) marks; `None` where there are none and
    /// the feature is off.
    ///
    /// # Errors
    /// A key that cannot be used. Not of a configuration that came out of [`Config::parse`].
    pub fn under_way_keys(&self) -> Result<Option<UnderWayKeys>, crate::context::KeyError> {
        UnderWayKeys::new(
            self.under_way
                .keys
                .iter()
                .map(|k| (k.id.as_str(), k.secret.as_bytes())),
        )
    }

    /// Settings that fight one another, or do not what they seem to.
    #[must_use]
    pub fn warnings(&self) -> Vec<Warning> {
        let mut found = Vec::new();
        let mut warn = |key: String, text: String| found.push(Warning { key, text });
        self.warn_of_time(&mut warn);
        self.warn_of_trust(&mut warn);
        self.warn_of_upstreams(&mut warn);
        self.warn_of_tls(&mut warn);
        self.warn_of_cache(&mut warn);
        let log = &self.access_log;
        if log.mode != AccessLogMode::Sampled && log.sample != AccessLogConfig::default().sample {
            let text = "has no effect: it is the share that access_log.mode = \"sampled\" logs";
            warn("access_log.sample".to_owned(), text.to_owned());
        }
        if self.admission.shadow {
            warn("admission.shadow".to_owned(), "nothing is protected: every policy only counts (breakers have a breaker.shadow of their own). Set it to false once the counts look right".to_owned());
        } else if !self.routes.is_empty() && self.routes.iter().all(|r| r.shadow) {
            warn("routes".to_owned(), "every route is in shadow, so nothing is protected; admission.shadow says the same in one line".to_owned());
        }
        for name in self
            .lanes
            .keys()
            .filter(|name| !BUILT_IN_LANES.contains(&name.as_str()))
        {
            if !self.routes.iter().any(|r| r.lane.as_ref() == Some(name)) {
                warn(
                    format!("lanes.{name}"),
                    "no route uses this lane".to_owned(),
                );
            }
        }
        found
    }

    fn warn_of_time(&self, warn: &mut impl FnMut(String, String)) {
        let Some(wait) = self.admission.max_wait else {
            return;
        };
        if let Some(timeout) = self.context.timeout.filter(|t| *t <= wait) {
            let text = format!(
                "callers wait {}, so whoever waits that long in the queue is gone; make it a tenth of that",
                ShowTime(timeout)
            );
            warn("admission.max_wait".to_owned(), text);
        }
        for (n, route) in self.routes.iter().enumerate() {
            if let Some(timeout) = route.timeout.filter(|t| *t <= wait) {
                let text = format!(
                    "{} is not longer than admission.max_wait ({}): its calls can spend it all in the queue",
                    ShowTime(timeout),
                    ShowTime(wait)
                );
                warn(format!("routes[{n}].timeout"), text);
            }
        }
        for (name, upstream) in self
            .upstreams
            .iter()
            .filter(|(_, u)| u.response_timeout <= wait)
        {
            let text = format!(
                "{} is not longer than admission.max_wait ({}): waiting would be cheaper than asking",
                ShowTime(upstream.response_timeout),
                ShowTime(wait)
            );
            warn(format!("upstreams.{name}.response_timeout"), text);
        }
    }

    fn warn_of_cache(&self, warn: &mut impl FnMut(String, String)) {
        for (n, route) in self.routes.iter().enumerate() {
            let Some(cache) = &route.cache else { continue };
            let reads = |method: &Method| *method == Method::GET;
            if !route.methods.is_empty() && !route.methods.iter().any(reads) {
                let text =
                    "has no effect: only responses to GET are kept, which the route does not take";
                warn(format!("routes[{n}].cache"), text.to_owned());
            }
            if cache.max_size > self.cache.size {
                let text = format!(
                    "is above cache.size ({}): nothing so long is kept",
                    ShowSize(self.cache.size)
                );
                warn(format!("routes[{n}].cache.max_size"), text);
            }
            if cache.key_headers.len() > 8 {
                let text =
                    "are more than 8, so nothing is kept: leave out those that make no difference";
                warn(format!("routes[{n}].cache.key_headers"), text.to_owned());
            }
        }
        if !self.routes.iter().any(|route| route.cache.is_some())
            && self.cache != CacheConfig::default()
        {
            let text = "has no effect: no route has a `cache` table, so nothing is kept";
            warn("cache.size".to_owned(), text.to_owned());
        }
    }

    fn warn_of_tls(&self, warn: &mut impl FnMut(String, String)) {
        for (name, listener) in &self.listeners {
            if let Some(tls) = &listener.tls
                && tls.client_auth == ClientAuth::Off
                && tls.client_ca.is_some()
            {
                let text = "is not used, since client_auth is \"off\": make that \"required\" or \"optional\", or leave this out";
                warn(format!("listeners.{name}.tls.client_ca"), text.to_owned());
            }
        }
        for (name, upstream) in &self.upstreams {
            if !upstream.is_https() && upstream.tls != UpstreamTls::default() {
                let text = "is not used, since the url begins with http://: write https://, or leave this out";
                warn(format!("upstreams.{name}.tls"), text.to_owned());
            }
        }
    }

    fn warn_of_trust(&self, warn: &mut impl FnMut(String, String)) {
        for (name, listener) in &self.listeners {
            if listener.trust == Trust::Internal && listener.address.ip().is_unspecified() {
                let text = format!(
                    "believes everyone who can reach {}: bind it to an internal address, or make it an edge",
                    listener.address
                );
                warn(format!("listeners.{name}.trust"), text);
            }
        }
    }
}
