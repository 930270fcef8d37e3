//! What the settings of one upstream say of one another: what cannot work is an error, what works
//! against something else, or does nothing, a warning.
//!
//! "Does nothing" is judged by the value: a setting that was written out with its default is not told
//! from one that was left out, and harms as little.

use http::HeaderValue;
use seawall_policy::balance::Algorithm;

use super::client::{
    BalanceConfig, BreakerConfig, BreakerKind, BreakerPer, EjectionConfig, FallbackConfig,
    GutterConfig, HashOn, HealthConfig, ReplicasConfig, RetryConfig,
};
use super::endpoints::{endpoint_lists, is_static, targets};
use super::model::{Config, Protocol, Route, Upstream};
use super::units::ShowTime;
use crate::context::Trust;
use crate::discovery::{Host, Target};

/// Tells what is wrong with a setting, by its name below the upstream's.
type Tell<'t> = &'t mut dyn FnMut(&str, String);

/// What cannot work.
pub(super) fn errors(upstream: &Upstream, tell: Tell<'_>) {
    let fallback = &upstream.fallback;
    if fallback.always && fallback.body.is_none() {
        tell(
            "fallback.always",
            "has nothing to answer with: write fallback.body, \"\" for an empty one".to_owned(),
        );
    }
    if HeaderValue::from_str(&fallback.content_type).is_err() {
        tell(
            "fallback.content_type",
            "contains characters that no header can carry: write \"application/json\", say"
                .to_owned(),
        );
    }
}

/// What fights, or does nothing.
fn warnings(upstream: &Upstream, tell: Tell<'_>) {
    hosts(upstream, tell);
    balance(upstream, tell);
    breaker(&upstream.breaker, tell);
    retries(upstream, tell);
    standbys(upstream, tell);
    health(upstream, tell);
    fallback(&upstream.fallback, tell);
}

/// Whether there can never be a second one to choose.
fn has_one_host(upstream: &Upstream) -> bool {
    endpoint_lists(upstream).into_iter().all(|(_, list)| {
        let one = matches!(&targets(list)[..], [one] if matches!(one.host, Host::Ip(_)));
        list.is_empty() || (one && is_static(list))
    })
}

fn hosts(upstream: &Upstream, tell: Tell<'_>) {
    for (key, list) in endpoint_lists(upstream) {
        let targets = targets(list);
        for (n, target) in targets.iter().enumerate() {
            if targets[..n].iter().any(|other| is_same(target, other)) {
                let text = format!(
                    "lists {} twice, which counts once: to give it more calls write weight=2 after it",
                    shown(target)
                );
                tell(key, text);
            }
            if let Some(name) = &target.name {
                let text = format!(
                    "host={name} has no effect in the gateway: the Host of the call is passed on. Leave it out"
                );
                tell(key, text);
            }
        }
    }
    let main = targets(&upstream.endpoints);
    for target in targets(&upstream.gutter.endpoints) {
        if main.iter().any(|other| is_same(&target, other)) {
            let text = format!(
                "{} is among the upstream's own endpoints, so the reserve fails together with them: name a host that does nothing else",
                shown(&target)
            );
            tell("gutter.endpoints", text);
        }
    }
}

fn is_same(a: &Target, b: &Target) -> bool {
    (&a.host, a.port) == (&b.host, b.port)
}

/// Without weight and zone.
fn shown(target: &Target) -> String {
    match &target.host {
        Host::Ip(ip) => std::net::SocketAddr::new(*ip, target.port).to_string(),
        Host::Name(name) => format!("{name}:{}", target.port),
    }
}

fn balance(upstream: &Upstream, tell: Tell<'_>) {
    let balance = &upstream.balance;
    if has_one_host(upstream) {
        let one = "has no effect: there is one host only. List more in endpoints";
        if balance.algorithm != Algorithm::default() {
            tell("balance.algorithm", one.to_owned());
        }
        if balance.zone.is_some() {
            tell("balance.zone", one.to_owned());
        }
        if balance.subset.is_some() {
            tell("balance.subset", one.to_owned());
        }
        if upstream.ejection != EjectionConfig::default() {
            let text = "has no effect: the only host is never ejected. List more in endpoints";
            tell("ejection", text.to_owned());
        }
        return;
    }
    if balance.hash_on != HashOn::Client && balance.algorithm != Algorithm::ConsistentHash {
        let text = "has no effect: it decides with balance.algorithm = \"consistent-hash\" only";
        tell("balance.hash_on", text.to_owned());
    }
    match balance.subset {
        Some(1) => {
            let text = "leaves one host, and no other to go to when that one fails: 20, say";
            tell("balance.subset", text.to_owned());
        }
        Some(size) if most_addresses(upstream).is_some_and(|most| size as usize >= most) => {
            let text = "has no effect: there are no more endpoints, and so all are used";
            tell("balance.subset", text.to_owned());
        }
        _ => {}
    }
    zones(upstream, balance, tell);
    if upstream.ejection.max_share == 1.0 && upstream.ejection.consecutive_failures != 0 {
        let text = "a fault that all hosts share, a bad release say, takes out all but one of them, and that one gets every call; 0.5 leaves half";
        tell("ejection.max_share", text.to_owned());
    }
}

/// How many hosts the longest of its lists has, where that stands in the file: a name may have any
/// number.
fn most_addresses(upstream: &Upstream) -> Option<usize> {
    let lists = endpoint_lists(upstream).into_iter().map(|(_, list)| list);
    let count = |list: &[String]| {
        let targets = targets(list);
        let is_address = |target: &Target| matches!(target.host, Host::Ip(_));
        (is_static(list) && targets.iter().all(is_address)).then_some(targets.len())
    };
    let counts: Option<Vec<usize>> = lists.map(count).collect();
    counts?.into_iter().max()
}

fn breaker(breaker: &BreakerConfig, tell: Tell<'_>) {
    if breaker.kind == BreakerKind::Off && (breaker.shadow || breaker.per != BreakerPer::Upstream) {
        let text = "has no effect: there is no breaker, since breaker.kind is \"off\"";
        let key = if breaker.shadow {
            "breaker.shadow"
        } else {
            "breaker.per"
        };
        tell(key, text.to_owned());
    }
}

fn zones(upstream: &Upstream, balance: &BalanceConfig, tell: Tell<'_>) {
    let lists = || endpoint_lists(upstream).into_iter().map(|(_, list)| list);
    let all: Vec<_> = lists().flat_map(targets).collect();
    let in_zone = |zone: &str| all.iter().any(|t| t.zone.as_deref() == Some(zone));
    match &balance.zone {
        Some(zone) if lists().all(is_static) && !in_zone(zone) => {
            let text = format!(
                "no endpoint is in the zone `{zone}`, so none is preferred: write zone={zone} after those that are"
            );
            tell("balance.zone", text);
        }
        None if all.iter().any(|target| target.zone.is_some()) => {
            let text = "endpoints have zones, but where this gateway is, is not said, so none is preferred: write balance.zone";
            tell("endpoints", text.to_owned());
        }
        _ => {}
    }
}

fn retries(upstream: &Upstream, tell: Tell<'_>) {
    let retry = &upstream.retry;
    if retry.attempts > 1 && retry.ratio > 0.5 {
        let text = format!(
            "lets an outage be answered by {:.1} times the load: 0.1 heals short faults, and what fails more often than that no retry mends",
            1.0 + retry.ratio
        );
        tell("retry.ratio", text);
    }
    if retry.attempts == 1 && retry.ratio != RetryConfig::default().ratio {
        let text = "has no effect: retry.attempts is 1, so nothing is sent again";
        tell("retry.ratio", text.to_owned());
    }
    let Some(per_try) = retry.per_try_timeout else {
        return;
    };
    let whole = upstream.response_timeout;
    let all = per_try.saturating_mul(retry.attempts.into());
    let text = if per_try >= whole {
        format!(
            "has no effect: response_timeout ({}) is over before it. It limits all attempts together",
            ShowTime(whole)
        )
    } else if retry.attempts == 1 {
        "is response_timeout by another name, since retry.attempts is 1: set that instead"
            .to_owned()
    } else if all > whole {
        format!(
            "{} attempts of {} do not fit into response_timeout ({}), which limits them together: the last are cut short or not begun",
            retry.attempts,
            ShowTime(per_try),
            ShowTime(whole)
        )
    } else {
        return;
    };
    tell("retry.per_try_timeout", text);
}

fn standbys(upstream: &Upstream, tell: Tell<'_>) {
    let (replicas, gutter) = (&upstream.replicas, &upstream.gutter);
    if replicas.endpoints.is_empty()
        && replicas.read_your_writes != ReplicasConfig::default().read_your_writes
    {
        let text = "has no effect: there are no replicas.endpoints to keep a writer's reads from";
        tell("replicas.read_your_writes", text.to_owned());
    }
    if gutter.endpoints.is_empty() && gutter.limit != GutterConfig::default().limit {
        let text = "has no effect: there is no reserve. Name its hosts in gutter.endpoints";
        tell("gutter.limit", text.to_owned());
    }
}

fn health(upstream: &Upstream, tell: Tell<'_>) {
    let health = &upstream.health;
    if health.path.is_some() && upstream.protocol == Protocol::H2 {
        let text = "is asked over HTTP/1.1, and protocol = \"h2\" says that the hosts may not speak it: then all of them count as unhealthy, and none is told from another";
        tell("health.path", text.to_owned());
    }
    if health.path.is_none() {
        if *health != HealthConfig::default() {
            let text = "has no effect: no question is asked without health.path";
            tell("health", text.to_owned());
        }
    } else if health.timeout >= health.interval {
        let text = format!(
            "is not shorter than health.interval ({}): a host that does not answer puts off the next question to all of them",
            ShowTime(health.interval)
        );
        tell("health.timeout", text);
    }
}

fn fallback(fallback: &FallbackConfig, tell: Tell<'_>) {
    let Some(body) = &fallback.body else {
        if *fallback != FallbackConfig::default() {
            let text = "has no effect: there is no answer without fallback.body";
            tell("fallback", text.to_owned());
        }
        return;
    };
    if fallback.always {
        let text =
            "is on: the upstream is asked nothing, every call but gRPC gets the fallback's body";
        tell("fallback.always", text.to_owned());
    }
    if matches!(fallback.status.as_u16(), 204 | 205 | 304) && !body.is_empty() {
        let text = format!(
            "{} has no body by its nature, so fallback.body is not sent: write \"\" there, or another status",
            fallback.status.as_u16()
        );
        tell("fallback.status", text);
    }
}

impl Config {
    /// What fights, or does nothing, in each upstream, and between it and what stands before it.
    pub(super) fn warn_of_upstreams(&self, warn: &mut dyn FnMut(String, String)) {
        let edges_only = self.listeners.values().all(|l| l.trust == Trust::Edge);
        for (name, upstream) in &self.upstreams {
            warnings(upstream, &mut |key, text| {
                warn(format!("upstreams.{name}.{key}"), text);
            });
            let breaker = &upstream.breaker;
            if breaker.per == BreakerPer::Tenant && breaker.kind != BreakerKind::Off && edges_only {
                let text = "has no effect: no tenant is believed at an edge, and every listener is one. A listener with trust = \"internal\" believes them";
                warn(format!("upstreams.{name}.breaker.per"), text.to_owned());
            }
        }
        self.warn_of_retries(warn);
    }

    /// What routes say of retries, beside their upstream.
    fn warn_of_retries(&self, warn: &mut dyn FnMut(String, String)) {
        for (n, route) in self.routes.iter().enumerate() {
            let name = route
                .upstream
                .as_deref()
                .or_else(|| self.default_upstream());
            let Some((name, upstream)) = name.and_then(|name| self.upstreams.get_key_value(name))
            else {
                continue;
            };
            if route.retry_safe && upstream.retry.attempts == 1 {
                let text = format!(
                    "has no effect: upstreams.{name}.retry.attempts is 1, so nothing is sent again"
                );
                warn(format!("routes[{n}].retry_safe"), text);
            }
            if let Some(text) = too_little_time(route, name, upstream) {
                warn(format!("routes[{n}].timeout"), text);
            }
        }
    }
}

fn too_little_time(route: &Route, name: &str, upstream: &Upstream) -> Option<String> {
    let retry = &upstream.retry;
    let (timeout, per_try) = (route.timeout?, retry.per_try_timeout?);
    let all = per_try.saturating_mul(retry.attempts.into());
    (retry.attempts > 1 && all > timeout).then(|| {
        format!(
            "{} is less than {} attempts of upstreams.{name}.retry.per_try_timeout ({}): the last are cut short or not begun",
            ShowTime(timeout),
            retry.attempts,
            ShowTime(per_try)
        )
    })
}
