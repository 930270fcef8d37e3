//! What metrics and explanations say of an upstream's hosts, breaker and gutter.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use seawall_policy::Tick;
use seawall_policy::balance::HostState;
use seawall_policy::breaker::State;
use seawall_policy::fallback::Stage;
use seawall_policy::retry::Why;
use serde::Serialize;

use super::metrics::Out;
use crate::origin::Origin;
use crate::plan::Plan;
use crate::tries::Tries;

/// `1 time`, `2 times`.
pub(super) fn counted(count: u64, one: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{count} {one}{plural}")
}

/// One host.
#[derive(Debug, Serialize)]
pub(super) struct Host {
    address: String,
    /// Which of the upstream's: main, replicas, gutter.
    of: &'static str,
    state: &'static str,
    latency_ms: f64,
    inflight: u32,
    /// Share of its calls that failed of late, 0 to 1.
    failing: f64,
    /// Its share of what it would get, 0 to 1.
    share: f64,
    ejections: u64,
    connections: usize,
}

impl Host {
    /// All hosts; none where there is but one and it serves.
    pub(super) fn all(origin: &Origin, now: Tick) -> Vec<Self> {
        let hosts: Vec<_> = Self::each(origin, now).collect();
        if let [one] = &hosts[..]
            && one.state == HostState::Serving.as_str()
            && one.failing == 0.0
        {
            return Vec::new();
        }
        hosts
    }

    fn each(origin: &Origin, now: Tick) -> impl Iterator<Item = Self> {
        origin.sets().flat_map(move |(of, set)| {
            let hosts = set.fleet.snapshot(now).into_iter();
            hosts.map(move |(endpoint, host, healthy)| Self {
                address: endpoint.name.clone(),
                of,
                state: if healthy {
                    host.state.as_str()
                } else {
                    "unhealthy"
                },
                latency_ms: host.latency.as_secs_f64() * 1e3,
                inflight: host.in_flight,
                failing: host.failing,
                share: host.share * f64::from(u8::from(healthy)),
                ejections: host.ejections,
                connections: endpoint.pool.state().open,
            })
        })
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = match self.of {
            "main" => String::new(),
            of => format!(" ({of})"),
        };
        write!(
            f,
            "host {}{of}: {}, {:.1} ms, {} in flight",
            self.address, self.state, self.latency_ms, self.inflight
        )?;
        if self.failing > 0.0 {
            write!(f, ", {:.0} % failing", self.failing * 100.0)?;
        }
        if self.share < 1.0 {
            write!(f, ", {:.0} % of its share", self.share * 100.0)?;
        }
        match self.ejections {
            0 => Ok(()),
            ejections => write!(f, ", ejected {}", counted(ejections, "time")),
        }
    }
}

/// The breaker.
#[derive(Debug, Serialize)]
pub(super) struct BreakerState {
    state: &'static str,
    rejected: u64,
    probes: u64,
    shadow: bool,
}

impl BreakerState {
    /// `None` where there is none, or it has never had anything to do.
    pub(super) fn of(origin: &Origin, now: Tick) -> Option<Self> {
        let breaker = origin.breakers.as_ref()?;
        let counts = breaker.counts();
        let state = breaker.state(now);
        (state != State::Closed || counts.rejected > 0).then(|| Self {
            state: state.as_str(),
            rejected: counts.rejected,
            probes: counts.probes,
            shadow: origin.breaker_shadow,
        })
    }
}

impl fmt::Display for BreakerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shadow = if self.shadow { " (in shadow)" } else { "" };
        write!(
            f,
            "breaker {}{shadow}: {} turned away, {}",
            self.state,
            self.rejected,
            counted(self.probes, "probe")
        )
    }
}

/// The gutter.
#[derive(Debug, Serialize)]
pub(super) struct GutterState {
    stage: &'static str,
    inflight: u32,
}

impl GutterState {
    /// `None` where there is none.
    pub(super) fn of(origin: &Origin) -> Option<Self> {
        let gutter = &origin.reserve.as_ref()?.gutter;
        Some(Self {
            stage: match gutter.stage() {
                Stage::Main => "main",
                Stage::Gutter => "gutter",
                Stage::Returning(_) => "returning",
            },
            inflight: gutter.in_flight(),
        })
    }
}

impl fmt::Display for GutterState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.stage {
            "main" => f.write_str("gutter: not in use"),
            "gutter" => write!(f, "gutter: in use, {} in flight", self.inflight),
            stage => write!(f, "gutter: {stage}, {} in flight", self.inflight),
        }
    }
}

/// Every host's gauges.
pub(super) fn hosts(plan: &Plan, now: Tick, out: &mut Out<'_>) -> fmt::Result {
    let mut hosts = Vec::new();
    for origin in &plan.origins {
        hosts.extend(Host::each(origin, now).map(|host| (origin.name.as_str(), host)));
    }
    let mut gauge = |name, help, of: &dyn Fn(&Host) -> f64| {
        let rows = hosts.iter().map(|(upstream, host)| {
            let labels = [
                ("upstream", *upstream),
                ("pool", host.of),
                ("host", host.address.as_str()),
            ];
            (labels, of(host))
        });
        out.gauges(name, help, rows)
    };
    gauge("host_inflight", "Calls at a host", &|host| {
        f64::from(host.inflight)
    })?;
    gauge(
        "host_latency_seconds",
        "A host's latency, risen at once and fallen slowly",
        &|host| host.latency_ms / 1e3,
    )?;
    gauge(
        "host_failing",
        "The share of a host's calls that failed of late",
        &|host| host.failing,
    )?;
    gauge(
        "host_share",
        "What a host gets of its share: 0 while it is ejected or unhealthy",
        &|host| host.share,
    )?;
    let ejections = hosts.iter().map(|(upstream, host)| {
        let labels = [
            ("upstream", *upstream),
            ("pool", host.of),
            ("host", host.address.as_str()),
        ];
        (labels, host.ejections)
    });
    out.counters("host_ejections", "How often a host was ejected", ejections)
}

/// What became of the calls that each upstream failed.
pub(super) fn tries(plan: &Plan, out: &mut Out<'_>) -> fmt::Result {
    let rows = |of: fn(&Tries) -> &AtomicU64| {
        plan.origins.iter().map(move |origin| {
            let count = of(&origin.tries).load(Relaxed);
            ([("upstream", origin.name.as_str())], count)
        })
    };
    let retries = rows(|tries| &tries.retries);
    out.counters("retries", "Attempts after a call's first", retries)?;
    let stopped = plan.origins.iter().flat_map(|origin| {
        // Of what was answered or passed on nothing was stopped.
        let told = |why: &Why| !matches!(why, Why::Answered | Why::PassedOn);
        Why::ALL.into_iter().filter(told).map(|why| {
            let labels = [("upstream", origin.name.as_str()), ("reason", why.as_str())];
            (labels, origin.tries.stopped[why as usize].load(Relaxed))
        })
    });
    let help = "Failed attempts that no other followed, by the reason";
    out.counters("retries_stopped", help, stopped)?;
    let fallbacks = rows(|tries| &tries.fallbacks);
    let help = "Answers of the fallback in place of the upstream's";
    out.counters("fallbacks", help, fallbacks)
}

/// Every breaker's state and counts.
pub(super) fn breakers(plan: &Plan, now: Tick, out: &mut Out<'_>) -> fmt::Result {
    let breakers: Vec<_> = plan
        .origins
        .iter()
        .filter_map(|origin| {
            let breaker = origin.breakers.as_ref()?;
            Some((origin.name.as_str(), breaker.state(now), breaker.counts()))
        })
        .collect();
    let states = breakers.iter().map(|(upstream, state, _)| {
        let open = match state {
            State::Closed => 0.0,
            State::HalfOpen => 0.5,
            State::Open => 1.0,
        };
        ([("upstream", *upstream)], open)
    });
    let help = "0 while an upstream's breaker is closed, 0.5 half-open, 1 open";
    out.gauges("breaker_open", help, states)?;
    let probes = breakers
        .iter()
        .map(|(upstream, _, counts)| ([("upstream", *upstream)], counts.probes));
    out.counters(
        "breaker_probes",
        "Calls that tried an upstream whose breaker was not closed",
        probes,
    )
}
