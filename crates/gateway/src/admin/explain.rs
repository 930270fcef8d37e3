//! `/explain`: the state of every limit, and the last rejections with their reasons.

use std::fmt;
use std::time::Duration;

use seawall_policy::{Advice, Criticality, Tick};
use serde::Serialize;

use crate::core::Shared;
use crate::recent::Turned;
use crate::tls::{Date, Shown};

/// Rejections that are shown.
const SHOWN: usize = 50;

/// Everything that is shown.
#[derive(Debug, Serialize)]
pub(super) struct Explanation {
    uptime_seconds: f64,
    draining: bool,
    /// As the limits see it, 0 to 1.
    cpu_used: Option<f64>,
    upstreams: Vec<Upstream>,
    certificates: Vec<Certificate>,
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
    last_unreachable: Option<Unreachable>,
}

/// The last time that there was no connection.
#[derive(Debug, Serialize)]
struct Unreachable {
    seconds_ago: f64,
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

#[derive(Debug, Serialize)]
struct Rejected {
    seconds_ago: f64,
    upstream: String,
    route: String,
    criticality: &'static str,
    reason: &'static str,
    scope: &'static str,
    retry_after_ms: Option<u64>,
    shadow: bool,
}

impl Explanation {
    pub(super) fn of(shared: &Shared, lanes: &[String], uptime: Duration) -> Self {
        let now = shared.clock.now();
        let mut turned = Vec::new();
        for book in &shared.books {
            book.recent.collect(&mut turned);
        }
        turned.sort_by_key(|turned| std::cmp::Reverse(turned.at));
        turned.truncate(SHOWN);
        let rejection = |turned: &Turned| {
            let origin = &shared.origins[usize::from(turned.origin)];
            Rejected {
                seconds_ago: now.since(turned.at).as_secs_f64(),
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
                .map(|origin| Upstream::of(origin, lanes, now))
                .collect(),
            certificates: (shared.certificates.shown().into_iter())
                .map(Certificate::of)
                .collect(),
            rejections: turned.iter().map(rejection).collect(),
        }
    }

    pub(super) fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

impl Upstream {
    fn of(origin: &crate::origin::Origin, lanes: &[String], now: Tick) -> Self {
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
            last_unreachable: origin.last_unreachable().map(|(at, why)| Unreachable {
                seconds_ago: now.since(at).as_secs_f64(),
                why,
            }),
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
            let names = names.join(" ");
            writeln!(f, "  until {until}  {setting} = {file}  {names}")?;
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
                ..
            } = rejected;
            let shadow = if rejected.shadow {
                " (shadow: let through)"
            } else {
                ""
            };
            writeln!(
                f,
                "  {seconds_ago:8.1} s ago  {reason:<14} {criticality:<14} {upstream}: {route}{shadow}"
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
        )?;
        if let Some(Unreachable { seconds_ago, why }) = &self.last_unreachable {
            writeln!(f, "  not reached {seconds_ago:.1} s ago: {why}")?;
        }
        Ok(())
    }
}
