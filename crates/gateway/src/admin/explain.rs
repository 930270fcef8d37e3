//! `/explain`: the state of every limit, and the last rejections with their reasons.

use std::fmt;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

use seawall_policy::{Advice, Criticality, Tick};
use serde::Serialize;

use super::upstreams::{self, counted};
use crate::core::Shared;
use crate::recent::Turned;
use crate::setup::Lanes;
use crate::tls::{Date, Shown};

/// Kinds of rejections that are shown.
const SHOWN: usize = 50;

/// Everything that is shown.
#[derive(Debug, Serialize)]
pub(super) struct Explanation {
    uptime_seconds: f64,
    draining: bool,
    /// Since the start: configurations taken over, and refused.
    config_reloads: u64,
    /// How long the configuration in force has been so.
    config_age_seconds: f64,
    config_refused: u64,
    /// As the limits see it, 0 to 1.
    cpu_used: Option<f64>,
    upstreams: Vec<Upstream>,
    certificates: Vec<Certificate>,
    /// Where a route has one.
    cache: Option<super::cache::State>,
    /// The newest first.
    rejections: Vec<Rejected>,
}

#[derive(Debug, Serialize)]
struct Upstream {
    name: String,
    algorithm: &'static str,
    limit: u32,
    knee: Option<u32>,
    inflight: u32,
    queued: u32,
    queue_max_wait_ms: f64,
    queue_backed_up: bool,
    /// Share of each criticality that is admitted, the highest first.
    level: [f64; 4],
    streams: u32,
    lanes: Vec<Lane>,
    slow_routes: Vec<String>,
    connections: Connections,
    /// Where there are several, or one is in trouble.
    hosts: Vec<upstreams::Host>,
    breaker: Option<upstreams::BreakerState>,
    gutter: Option<upstreams::GutterState>,
    last_unreachable: Option<Unreachable>,
    /// The switch is on: the upstream is left alone.
    fallback_always: bool,
}

/// The last time that there was no connection.
#[derive(Debug, Serialize)]
struct Unreachable {
    seconds_ago: f64,
    host: String,
    why: String,
}

/// One of ours, in use.
#[derive(Debug, Serialize)]
struct Certificate {
    setting: String,
    file: String,
    names: Vec<String>,
    until: String,
}

impl Certificate {
    fn of(shown: Shown) -> Self {
        Self {
            setting: shown.key,
            file: shown.path.display().to_string(),
            names: shown.names,
            until: Date(shown.validity.not_after).to_string(),
        }
    }
}

#[derive(Debug, Serialize)]
struct Lane {
    name: String,
    inflight: u32,
    queued: u32,
    cap: Option<u32>,
}

#[derive(Debug, Serialize)]
struct Connections {
    open: usize,
    idle: usize,
    waiting: usize,
    cap: usize,
}

/// Rejections of one kind. A flood is of few kinds, and as a line each it would hide all others.
#[derive(Debug, Serialize)]
struct Rejected {
    count: usize,
    /// The last of them.
    seconds_ago: f64,
    /// The first that is remembered.
    first_seconds_ago: f64,
    upstream: String,
    route: String,
    criticality: &'static str,
    reason: &'static str,
    scope: &'static str,
    retry_after_ms: Option<u64>,
    shadow: bool,
}

impl Rejected {
    /// What is told of it, but for its time and advice.
    fn kind(&self) -> impl PartialEq {
        let Self {
            upstream, route, ..
        } = self;
        let rejection = (self.criticality, self.reason, self.scope, self.shadow);
        (upstream, route, rejection)
    }
}

/// One entry a kind, of rejections that come with the newest first; so do the kinds.
fn kinds(rejections: impl Iterator<Item = Rejected>) -> Vec<Rejected> {
    let mut kinds: Vec<Rejected> = Vec::new();
    for rejected in rejections {
        let alike = |kind: &&mut Rejected| kind.kind() == rejected.kind();
        if let Some(kind) = kinds.iter_mut().find(alike) {
            kind.first_seconds_ago = rejected.seconds_ago;
            kind.count += 1;
        } else if kinds.len() < SHOWN {
            kinds.push(rejected);
        }
    }
    kinds
}

impl Explanation {
    pub(super) fn of(shared: &Shared, uptime: Duration) -> Self {
        let plan = shared.plan.load();
        let names = shared.names.lock();
        let now = shared.clock.now();
        let mut turned = Vec::new();
        for book in &shared.books {
            book.recent.collect(&mut turned);
        }
        turned.sort_by_key(|turned| std::cmp::Reverse(turned.at));
        let rejection = |turned: &Turned| {
            let names = names.iter().find(|names| names.number == turned.plan)?;
            Some(Rejected {
                count: 1,
                seconds_ago: now.since(turned.at).as_secs_f64(),
                first_seconds_ago: now.since(turned.at).as_secs_f64(),
                upstream: names.upstream(turned.origin).to_owned(),
                route: names.route(turned.origin, turned.route, turned.key),
                criticality: turned.criticality.as_str(),
                reason: turned.rejection.reason.as_str(),
                scope: turned.rejection.scope.as_str(),
                retry_after_ms: match turned.rejection.advice {
                    Advice::After(wait) => u64::try_from(wait.as_millis()).ok(),
                    _ => None,
                },
                shadow: turned.shadow,
            })
        };
        Self {
            uptime_seconds: uptime.as_secs_f64(),
            draining: shared.draining.load(SeqCst),
            config_reloads: shared.reloads.done.load(Relaxed),
            config_age_seconds: now.since(plan.since).as_secs_f64(),
            config_refused: shared.reloads.refused.load(Relaxed),
            cpu_used: plan
                .origins
                .first()
                .and_then(|origin| origin.admission.snapshot().cpu),
            upstreams: plan
                .origins
                .iter()
                .map(|origin| Upstream::of(origin, &plan.lanes, now))
                .collect(),
            certificates: (shared.certificates.shown().into_iter())
                .map(Certificate::of)
                .collect(),
            cache: super::cache::State::of(shared, &plan),
            rejections: kinds(turned.iter().filter_map(rejection)),
        }
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

impl Upstream {
    fn of(origin: &crate::origin::Origin, lanes: &Lanes, now: Tick) -> Self {
        let gate = origin.admission.snapshot();
        let pool = origin.hosts.fleet.connections();
        let lane = |lane: &seawall_policy::admit::LaneSnapshot| Lane {
            name: lanes.name(lane.lane).unwrap_or_default().to_owned(),
            inflight: lane.inflight,
            queued: lane.queued,
            cap: lane.cap,
        };
        Self {
            name: origin.name.clone(),
            algorithm: gate.algorithm,
            limit: gate.limit,
            knee: gate.knee,
            inflight: gate.inflight,
            queued: gate.queued,
            queue_max_wait_ms: gate.max_wait.as_secs_f64() * 1e3,
            queue_backed_up: gate.backed_up,
            level: gate.level,
            streams: gate.streams,
            lanes: gate
                .lanes
                .iter()
                .map(lane)
                .filter(|lane| !lane.name.is_empty())
                .collect(),
            slow_routes: gate
                .slow_keys
                .iter()
                .map(|key| origin.admission.keys().name(seawall::admission::Key(*key)))
                .collect(),
            connections: Connections {
                open: pool.open,
                idle: pool.idle,
                waiting: pool.waiting,
                cap: pool.cap,
            },
            hosts: upstreams::Host::all(origin, now),
            breaker: upstreams::BreakerState::of(origin, now),
            gutter: upstreams::GutterState::of(origin),
            last_unreachable: origin.last_unreachable().map(|last| Unreachable {
                seconds_ago: now.since(last.at).as_secs_f64(),
                host: last.host,
                why: last.why,
            }),
            fallback_always: origin.fallback.as_ref().is_some_and(|f| f.always),
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.draining { "draining" } else { "serving" };
        let cpu = self
            .cpu_used
            .map_or(String::new(), |used| format!(", {:.0} % CPU", used * 100.0));
        let refused = match self.config_refused {
            0 => String::new(),
            refused => format!(", {} refused", counted(refused, "configuration")),
        };
        let reloads = match self.config_reloads {
            0 => String::new(),
            reloads => format!(
                ", configuration reloaded {}, {:.0} s ago",
                counted(reloads, "time"),
                self.config_age_seconds
            ),
        };
        let up = self.uptime_seconds;
        writeln!(f, "up {up:.0} s, {state}{cpu}{reloads}{refused}")?;
        for upstream in &self.upstreams {
            write!(f, "\n{upstream}")?;
        }
        if let Some(cache) = &self.cache {
            write!(f, "\n{cache}")?;
        }
        if !self.certificates.is_empty() {
            writeln!(f, "\ncertificates:")?;
        }
        for certificate in &self.certificates {
            let Certificate {
                setting,
                file,
                names,
                until,
            } = certificate;
            write!(f, "  until {until}  {setting} = {file}")?;
            for name in names {
                write!(f, "  {name}")?;
            }
            writeln!(f)?;
        }
        writeln!(f, "\nlast rejections, the newest first:")?;
        if self.rejections.is_empty() {
            writeln!(f, "  none")?;
        }
        for rejected in &self.rejections {
            let Rejected {
                seconds_ago,
                upstream,
                route,
                criticality,
                reason,
                count,
                first_seconds_ago,
                ..
            } = rejected;
            let times = if *count > 1 {
                format!(", {count} times since {first_seconds_ago:.1} s ago")
            } else {
                String::new()
            };
            let shadow = if rejected.shadow {
                " (shadow: let through)"
            } else {
                ""
            };
            writeln!(
                f,
                "  {seconds_ago:8.1} s ago  {reason:<14} {criticality:<14} {upstream}: {route}{times}{shadow}"
            )?;
        }
        Ok(())
    }
}

impl fmt::Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "upstream {}", self.name)?;
        if self.fallback_always {
            let text = "left alone: fallback.always is on, and its body is answered (not to gRPC)";
            writeln!(f, "  {text}")?;
        }
        let knee = self
            .knee
            .map_or("unknown yet".to_owned(), |knee| knee.to_string());
        writeln!(
            f,
            "  limit {} by {}, knee {knee}, {} in flight",
            self.limit, self.algorithm, self.inflight
        )?;
        let order = if self.queue_backed_up {
            ", newest first"
        } else {
            ""
        };
        writeln!(
            f,
            "  {} queued, for at most {:.0} ms{order}",
            self.queued, self.queue_max_wait_ms
        )?;
        write!(f, "  admitted:")?;
        for (criticality, share) in Criticality::ALL.into_iter().zip(self.level) {
            write!(f, " {} {:.0} %", criticality.as_str(), share * 100.0)?;
        }
        writeln!(f, "\n  {} long-lived replies", self.streams)?;
        for lane in &self.lanes {
            let cap = lane
                .cap
                .map_or(String::new(), |cap| format!(" of at most {cap}"));
            writeln!(
                f,
                "  lane {}: {} in flight{cap}, {} queued",
                lane.name, lane.inflight, lane.queued
            )?;
        }
        for route in &self.slow_routes {
            writeln!(f, "  slow: {route}")?;
        }
        for host in &self.hosts {
            writeln!(f, "  {host}")?;
        }
        if let Some(breaker) = &self.breaker {
            writeln!(f, "  {breaker}")?;
        }
        if let Some(gutter) = &self.gutter {
            writeln!(f, "  {gutter}")?;
        }
        let Connections {
            open,
            idle,
            waiting,
            cap,
        } = self.connections;
        writeln!(
            f,
            "  connections: {open} of at most {cap}, {idle} idle, {waiting} calls wait for one"
        )?;
        if let Some(Unreachable {
            seconds_ago,
            host,
            why,
        }) = &self.last_unreachable
        {
            writeln!(f, "  {host} not reached {seconds_ago:.1} s ago: {why}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejected(seconds_ago: f64, route: &str) -> Rejected {
        Rejected {
            count: 1,
            seconds_ago,
            first_seconds_ago: seconds_ago,
            upstream: "default".into(),
            route: route.into(),
            criticality: "critical",
            reason: "admission",
            scope: "host",
            retry_after_ms: None,
            shadow: false,
        }
    }

    #[test]
    fn a_flood_of_one_kind_hides_no_other() {
        let mut all: Vec<_> = (1..=200).map(|ago| rejected(ago.into(), "a")).collect();
        all.insert(100, rejected(100.5, "b"));
        let kinds = kinds(all.into_iter());
        let told: Vec<_> = kinds
            .iter()
            .map(|kind| {
                (
                    &*kind.route,
                    kind.count,
                    kind.seconds_ago,
                    kind.first_seconds_ago,
                )
            })
            .collect();
        assert_eq!(told, [("a", 200, 1.0, 200.0), ("b", 1, 100.5, 100.5)]);
    }

    #[test]
    fn no_more_kinds_than_are_of_use() {
        let all = (0..99).map(|route: u8| rejected(1.0, &route.to_string()));
        assert_eq!(kinds(all).len(), SHOWN);
    }
}
