//! `/metrics`: what the cores and gates have counted, added up when it is asked for.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use seawall::admission::GateSnapshot;
use seawall::telemetry::LogLane;
use seawall_policy::{Criticality, Reason};

use super::upstreams;
use crate::core::Shared;
use crate::counters::{BOUNDS, Counters, Fault, Times};
use crate::plan::Plan;

pub(super) fn registry(shared: Arc<Shared>) -> Registry {
    let mut registry = Registry::with_prefix("seawall");
    registry.register_collector(Box::new(Gathered { shared }));
    registry
}

pub(super) fn encode(registry: &Registry) -> Result<String, fmt::Error> {
    let mut body = String::with_capacity(16 * 1024);
    text::encode(&mut body, registry)?;
    Ok(body)
}

#[derive(Debug)]
struct Gathered {
    shared: Arc<Shared>,
}

type Label<'a> = (&'a str, &'a str);

impl Collector for Gathered {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut out = Out(encoder);
        let plan = self.shared.plan.load_full();
        self.requests(&mut out)?;
        self.rejections(&plan, &mut out)?;
        self.gates(&plan, &mut out)?;
        self.lanes(&plan, &mut out)?;
        self.connections(&plan, &mut out)?;
        self.certificates(&mut out)?;
        upstreams::tries(&plan, &mut out)?;
        upstreams::hosts(&plan, self.shared.clock.now(), &mut out)?;
        upstreams::breakers(&plan, self.shared.clock.now(), &mut out)?;
        super::cache::metrics(&self.shared, &mut out)?;
        self.reloads(&mut out)?;
        self.signals(&plan, &mut out)
    }
}

impl Gathered {
    fn books(&self) -> impl Iterator<Item = &Counters> {
        self.shared.books.iter().map(|book| &book.counters)
    }

    fn sum(&self, of: impl Fn(&Counters) -> &AtomicU64) -> u64 {
        self.books()
            .map(|counters| of(counters).load(Relaxed))
            .sum()
    }

    fn requests(&self, out: &mut Out<'_>) -> fmt::Result {
        let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"].into_iter().enumerate();
        let responses =
            classes.map(|(at, class)| ([("class", class)], self.sum(|c| &c.responses[at])));
        out.counters("responses", "Responses, by class of status", responses)?;
        let faults = Fault::ALL
            .into_iter()
            .map(|(fault, name)| ([("fault", name)], self.sum(|c| &c.faults[fault as usize])));
        out.counters(
            "faults",
            "What went wrong on the way, apart from rejections",
            faults,
        )?;
        let (help, waits) = (
            "Time from arrival to the origin's last byte",
            "Waits in the queue that ended with a place",
        );
        out.times(
            "request_duration_seconds",
            help,
            self.books().map(|c| &c.latency),
        )?;
        out.times("queue_wait_seconds", waits, self.books().map(|c| &c.waits))
    }

    fn rejections(&self, plan: &Plan, out: &mut Out<'_>) -> fmt::Result {
        let gates: Vec<_> = plan
            .origins
            .iter()
            .map(|origin| origin.admission.snapshot().totals)
            .collect();
        let mut rows = Vec::new();
        let mut shadowed = Vec::new();
        for reason in Reason::ALL {
            for criticality in Criticality::ALL {
                let (r, c) = (reason as usize, criticality as usize);
                let count: u64 = gates.iter().map(|totals| totals.rejected[r][c]).sum();
                let count = count + self.sum(|counters| &counters.rejected[r][c]);
                rows.push((
                    [
                        ("reason", reason.as_str()),
                        ("criticality", criticality.as_str()),
                    ],
                    count,
                ));
            }
            let count: u64 = gates
                .iter()
                .map(|totals| totals.shadowed[reason as usize])
                .sum();
            shadowed.push((
                [("reason", reason.as_str())],
                count + self.sum(|c| &c.shadowed[reason as usize]),
            ));
        }
        out.counters("rejections", "Calls turned away", rows)?;
        out.counters(
            "shadow_rejections",
            "Calls that would have been turned away, were it not for shadow mode",
            shadowed,
        )?;
        let admitted = Criticality::ALL.into_iter().map(|criticality| {
            let count = gates
                .iter()
                .map(|totals| totals.admitted[criticality as usize])
                .sum();
            ([("criticality", criticality.as_str())], count)
        });
        out.counters("admitted", "Calls that got a place", admitted)
    }

    fn gates(&self, plan: &Plan, out: &mut Out<'_>) -> fmt::Result {
        let gates: Vec<_> = plan
            .origins
            .iter()
            .map(|origin| (origin.name.as_str(), origin.admission.snapshot()))
            .collect();
        let mut gauge = |name, help, of: &dyn Fn(&GateSnapshot) -> f64| {
            out.gauges(
                name,
                help,
                gates
                    .iter()
                    .map(|(upstream, gate)| ([("upstream", *upstream)], of(gate))),
            )
        };
        gauge("limit", "Places at the upstream", &|gate| {
            f64::from(gate.limit)
        })?;
        gauge(
            "knee",
            "Concurrency that the upstream really works on; 0 while unknown",
            &|gate| gate.knee.map_or(0.0, f64::from),
        )?;
        gauge("inflight", "Places taken", &|gate| f64::from(gate.inflight))?;
        gauge("queued", "Calls in the queue", &|gate| {
            f64::from(gate.queued)
        })?;
        gauge(
            "queue_max_wait_seconds",
            "The longest that a call may wait at present",
            &|gate| gate.max_wait.as_secs_f64(),
        )?;
        gauge("queue_backed_up", "1 while the newest go first", &|gate| {
            f64::from(u8::from(gate.backed_up))
        })?;
        gauge(
            "streams",
            "Long-lived replies, which hold no place",
            &|gate| f64::from(gate.streams),
        )?;
        let levels = gates.iter().flat_map(|(upstream, gate)| {
            Criticality::ALL.into_iter().map(move |criticality| {
                let labels = [
                    ("upstream", *upstream),
                    ("criticality", criticality.as_str()),
                ];
                (labels, gate.level[criticality as usize])
            })
        });
        out.gauges(
            "admission_level",
            "Share of a criticality that is admitted",
            levels,
        )
    }

    fn lanes(&self, plan: &Plan, out: &mut Out<'_>) -> fmt::Result {
        let mut rows = Vec::new();
        for origin in &plan.origins {
            for lane in origin.admission.snapshot().lanes {
                if let Some(name) = plan.lanes.name(lane.lane) {
                    rows.push(([("upstream", origin.name.as_str()), ("lane", name)], lane));
                }
            }
        }
        let help = (
            "Places taken by lane",
            "Calls in the queue by lane",
            "The most places a lane may take at present",
        );
        out.gauges(
            "lane_inflight",
            help.0,
            rows.iter()
                .map(|(labels, lane)| (*labels, f64::from(lane.inflight))),
        )?;
        out.gauges(
            "lane_queued",
            help.1,
            rows.iter()
                .map(|(labels, lane)| (*labels, f64::from(lane.queued))),
        )?;
        let capped = rows
            .iter()
            .filter_map(|(labels, lane)| Some((*labels, f64::from(lane.cap?))));
        out.gauges("lane_cap", help.2, capped)
    }

    fn reloads(&self, out: &mut Out<'_>) -> fmt::Result {
        let reloads = &self.shared.reloads;
        let rows = [
            ([("result", "taken")], reloads.done.load(Relaxed)),
            ([("result", "refused")], reloads.refused.load(Relaxed)),
        ];
        let help = "Configurations taken over while running, and refused";
        out.counters("config_reloads", help, rows)
    }

    fn connections(&self, plan: &Plan, out: &mut Out<'_>) -> fmt::Result {
        let listening = self.shared.listening.load();
        let sites: Vec<_> = listening.iter().map(|at| at.site()).collect();
        let open = sites.iter();
        let open = open.map(|site| ([("listener", &*site.name)], site.open() as f64));
        out.gauges("connections", "Client connections", open)?;
        if let Some(log) = &self.shared.access.log {
            let dropped = LogLane::ALL.map(|lane| ([("lane", lane.as_str())], log.dropped(lane)));
            out.counters(
                "log_dropped",
                "Log lines dropped because their lane was full",
                dropped,
            )?;
        }
        let pools: Vec<_> = plan
            .origins
            .iter()
            .map(|origin| (origin.name.as_str(), origin.hosts.fleet.connections()))
            .collect();
        let states = pools.iter().flat_map(|(upstream, pool)| {
            [
                ("open", pool.open),
                ("idle", pool.idle),
                ("waiting", pool.waiting),
                ("cap", pool.cap),
            ]
            .map(|(state, count)| ([("upstream", *upstream), ("state", state)], count as f64))
        });
        out.gauges(
            "upstream_connections",
            "Connections to the upstream, and calls that wait for one",
            states,
        )
    }

    fn certificates(&self, out: &mut Out<'_>) -> fmt::Result {
        let shown: Vec<_> = (self.shared.certificates.shown().into_iter())
            .map(|shown| (shown.path.display().to_string(), shown))
            .collect();
        let rows = shown.iter().map(|(file, shown)| {
            let labels = [("setting", shown.key.as_str()), ("file", file.as_str())];
            (labels, shown.validity.not_after as f64)
        });
        out.gauges(
            "certificate_not_after_seconds",
            "Until when a certificate of ours holds, in seconds since 1970",
            rows,
        )?;
        let reloads = self.shared.certificates.reloads();
        out.counters(
            "certificate_reloads",
            "Certificate files that changed, and what became of it",
            reloads.map(|(result, count)| ([("result", result)], count)),
        )
    }

    fn signals(&self, plan: &Plan, out: &mut Out<'_>) -> fmt::Result {
        let signals = &self.shared.signals;
        let now = self.shared.clock.now();
        if let Some(used) = signals.cpu.get() {
            let help = "CPU use of this process's own group, as a share of what it may use";
            out.gauge("cpu_used", help, used)?;
        }
        let cores: Vec<String> = (0..signals.scheduling.len())
            .map(|c| c.to_string())
            .collect();
        let late = cores.iter().zip(&signals.scheduling);
        out.gauges(
            "scheduling_delay_seconds",
            "How long what is ready to run waits for its core: the peak, fading within 10 s",
            late.map(|(core, delay)| ([("core", core.as_str())], delay.get(now).as_secs_f64())),
        )?;
        let queueing = plan.origins.iter().map(|origin| {
            let delay = origin.queueing.get(now).as_secs_f64();
            ([("upstream", origin.name.as_str())], delay)
        });
        out.gauges(
            "queueing_delay_seconds",
            "How long calls wait in the queue: the peak, fading within 10 s",
            queueing,
        )
    }
}

/// Writes metrics.
pub(super) struct Out<'e>(DescriptorEncoder<'e>);

impl Out<'_> {
    pub(super) fn counters<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = ([Label<'l>; N], u64)>,
    ) -> fmt::Result
    where
        [Label<'l>; N]: EncodeLabelSet,
    {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Counter)?;
        for (labels, count) in rows {
            metric
                .encode_family(&labels)?
                .encode_counter::<NoLabelSet, _, f64>(&count, None)?;
        }
        Ok(())
    }

    pub(super) fn gauges<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = ([Label<'l>; N], f64)>,
    ) -> fmt::Result
    where
        [Label<'l>; N]: EncodeLabelSet,
    {
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (labels, value) in rows {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    /// One without labels.
    pub(super) fn counter(&mut self, name: &str, help: &str, count: u64) -> fmt::Result {
        self.0
            .encode_descriptor(name, help, None, MetricType::Counter)?
            .encode_counter::<NoLabelSet, _, f64>(&count, None)
    }

    /// One without labels.
    pub(super) fn gauge(&mut self, name: &str, help: &str, value: f64) -> fmt::Result {
        self.0
            .encode_descriptor(name, help, None, MetricType::Gauge)?
            .encode_gauge(&value)
    }

    fn times<'t>(
        &mut self,
        name: &str,
        help: &str,
        cores: impl Iterator<Item = &'t Times>,
    ) -> fmt::Result {
        let mut counts = [0; BOUNDS.len() + 1];
        let micros: u64 = cores.map(|times| times.read(&mut counts)).sum();
        let bounds = BOUNDS
            .iter()
            .map(|micros| *micros as f64 / 1e6)
            .chain([f64::INFINITY]);
        let buckets: Vec<(f64, u64)> = bounds.zip(counts).collect();
        let mut metric = self
            .0
            .encode_descriptor(name, help, None, MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(
            micros as f64 / 1e6,
            counts.iter().sum(),
            &buckets,
            None,
        )
    }
}
