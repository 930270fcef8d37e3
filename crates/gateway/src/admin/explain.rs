//! `/explain`: the state of every limit, and the last rejections with their reasons.

use std::fmt;
use std::time::Duration;

use seawall_policy::{Advice, Criticality, Rejection, Tick};
use serde::Serialize;

use crate::core::Shared;
use crate::recent::Turned;

/// Kinds of rejections that are shown.
const SHOWN: usize = 50;

/// Everything that is shown.
#[derive(Debug, Serialize)]
pub(super) struct Explanation {
    uptime_seconds: f64,
    draining: bool,
    /// As the limits see it, 0 to 1.
    cpu_used: Option<f64>,
    upstreams: Vec<Upstream>,
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

/// Rejections of which the same is told.
#[derive(Clone, Copy)]
struct Kind<'t> {
    last: &'t Turned,
    first: Tick,
    count: usize,
}

/// What is told of a rejection, but for its time and advice.
fn told(turned: &Turned) -> impl PartialEq {
    let learned = turned.route.is_none().then_some(turned.key);
    let Rejection { reason, scope, .. } = turned.rejection;
    let route = (turned.origin, turned.route, learned);
    (route, turned.criticality, reason, scope, turned.shadow)
}

/// The kinds among `turned`, which has the newest first; so have they.
fn kinds(turned: &[Turned]) -> Vec<Kind<'_>> {
    let mut kinds: Vec<Kind<'_>> = Vec::new();
    for turned in turned {
        let alike = |kind: &&mut Kind<'_>| told(kind.last) == told(turned);
        if let Some(kind) = kinds.iter_mut().find(alike) {
            kind.first = turned.at;
            kind.count += 1;
        } else if kinds.len() < SHOWN {
            kinds.push(Kind {
                last: turned,
                first: turned.at,
                count: 1,
            });
        }
    }
    kinds
}

impl Explanation {
    pub(super) fn of(shared: &Shared, lanes: &[String], uptime: Duration) -> Self {
        let now = shared.clock.now();
        let mut turned = Vec::new();
        for book in &shared.books {
            book.recent.collect(&mut turned);
        }
        turned.sort_by_key(|turned| std::cmp::Reverse(turned.at));
        let rejection = |kind: &Kind<'_>| {
            let turned = kind.last;
            let origin = &shared.origins[usize::from(turned.origin)];
            Rejected {
                count: kind.count,
                seconds_ago: now.since(turned.at).as_secs_f64(),
                first_seconds_ago: now.since(kind.first).as_secs_f64(),
                upstream: origin.name.clone(),
                route: shared.router.label(turned.route).map_or_else(
                    || origin.admission.keys().name(turned.key),
                    |label| label.to_string(),
                ),
                criticality: turned.criticality.as_str(),
                reason: turned.rejection.reason.as_str(),
                scope: turned.rejection.scope.as_str(),
                retry_after_ms: match turned.rejection.advice {
                    Advice::After(wait) => u64::try_from(wait.as_millis()).ok(),
                    _ => None,
                },
                shadow: turned.shadow,
            }
        };
        Self {
            uptime_seconds: uptime.as_secs_f64(),
            draining: shared.draining.load(std::sync::atomic::Ordering::SeqCst),
            cpu_used: shared
                .origins
                .first()
                .and_then(|origin| origin.admission.snapshot().cpu),
            upstreams: shared
                .origins
                .iter()
                .map(|origin| Upstream::of(origin, lanes))
                .collect(),
            rejections: kinds(&turned).iter().map(rejection).collect(),
        }
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

impl Upstream {
    fn of(origin: &crate::origin::Origin, lanes: &[String]) -> Self {
        let gate = origin.admission.snapshot();
        let pool = origin.pool.state();
        let lane = |lane: &seawall_policy::admit::LaneSnapshot| Lane {
            name: lanes
                .get(usize::from(lane.lane.0))
                .cloned()
                .unwrap_or_default(),
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
        }
    }
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = if self.draining { "draining" } else { "serving" };
        let cpu = self
            .cpu_used
            .map_or(String::new(), |used| format!(", {:.0} % CPU", used * 100.0));
        writeln!(f, "up {:.0} s, {state}{cpu}", self.uptime_seconds)?;
        for upstream in &self.upstreams {
            write!(f, "\n{upstream}")?;
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
        let Connections {
            open,
            idle,
            waiting,
            cap,
        } = self.connections;
        writeln!(
            f,
            "  connections: {open} of at most {cap}, {idle} idle, {waiting} calls wait for one"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use seawall::admission::Key;
    use seawall_policy::{Reason, Scope};

    fn turned(at: u64, route: u16) -> Turned {
        Turned {
            at: Tick::from_millis(at),
            origin: 0,
            route: Some(route),
            key: Key(0),
            criticality: Criticality::Critical,
            rejection: Rejection {
                reason: Reason::Admission,
                scope: Scope::Host,
                advice: Advice::No,
            },
            shadow: false,
        }
    }

    #[test]
    fn a_flood_of_one_kind_hides_no_other() {
        let mut all: Vec<_> = (0..200).rev().map(|at| turned(at + 10, 1)).collect();
        all.insert(100, turned(109, 2));
        let kinds = kinds(&all);
        let told: Vec<_> = kinds
            .iter()
            .map(|kind| (kind.last.route, kind.count, kind.last.at, kind.first))
            .collect();
        let at = Tick::from_millis;
        assert_eq!(
            told,
            [
                (Some(1), 200, at(209), at(10)),
                (Some(2), 1, at(109), at(109))
            ]
        );
    }

    #[test]
    fn no_more_kinds_than_are_of_use() {
        let all: Vec<_> = (0..99).map(|route| turned(1, route)).collect();
        assert_eq!(kinds(&all).len(), SHOWN);
    }
}
