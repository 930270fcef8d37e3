//! The counters as a scrape sees them.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;

use super::{BOUNDS, Counters, Counts, STATUSES};
use crate::admission::{Admission, GateSnapshot};
use crate::context::Wire;
use crate::layer::answer::Code;
use crate::layer::methods::{Known, Shared};
use crate::{Criticality, Reason};

/// A [`Stack`](crate::layer::Stack)'s metrics, for a registry with the prefix `seawall`.
///
/// ```
/// use prometheus_client::{encoding::text, registry::Registry};
/// use seawall::layer::{Methods, Stack};
///
/// let stack = Stack::new(Methods::new(&[])?);
/// let mut registry = Registry::with_prefix("seawall");
/// registry.register_collector(Box::new(stack.metrics()));
/// let mut page = String::new();
/// text::encode(&mut page, &registry)?;
/// assert!(page.contains("seawall_limit"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct StackMetrics {
    methods: Shared,
    admission: Admission,
}

type Label<'a> = (&'a str, &'a str);

impl StackMetrics {
    pub(in crate::layer) fn new(methods: Shared, admission: Admission) -> Self {
        Self { methods, admission }
    }
}

impl Collector for StackMetrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(encoder);
        let methods = self.methods.all();
        requests(methods, &mut out)?;
        durations(methods, &mut out)?;
        rejections(methods, &mut out)?;
        let named = |of: fn(&Counters) -> u64| {
            let rows = methods.iter().map(move |m| (m, of(&m.counters)));
            rows.filter(|(_, n)| *n > 0)
                .map(|(m, n)| ([("method", m.method.name)], n))
        };
        out.gauges(
            "requests_inflight",
            "Calls that have begun and not ended",
            named(Counters::in_flight).map(|(labels, n)| (labels, n as f64)),
        )?;
        out.counters(
            "panics",
            "Panics of handlers and of bodies",
            named(|counters| counters.sum(|c| &c.panics)),
        )?;
        self.gate(&mut out)
    }
}

fn requests(methods: &[Known], out: &mut Out<'_>) -> fmt::Result {
    let statuses = STATUSES.map(|status| status.to_string());
    let rows = methods.iter().flat_map(|method| {
        let name = method.method.name;
        let http = statuses.iter().enumerate().map(move |(at, status)| {
            let count = method.counters.sum(|c| &c.http[at]);
            (labels(name, Wire::Http, status), count)
        });
        let grpc = (0..17).map(move |at| {
            let count = method.counters.sum(|c| &c.grpc[usize::from(at)]);
            (labels(name, Wire::Grpc, Code::Grpc(at).grpc_name()), count)
        });
        http.chain(grpc)
    });
    let rows = rows.filter(|(_, count)| *count > 0);
    out.counters(
        "requests",
        "Calls that have ended, by method and code",
        rows,
    )
}

fn labels<'l>(method: &'l str, wire: Wire, code: &'l str) -> [Label<'l>; 3] {
    [
        ("method", method),
        ("transport", transport(wire)),
        ("code", code),
    ]
}

const fn transport(wire: Wire) -> &'static str {
    match wire {
        Wire::Http => "http",
        Wire::Grpc => "grpc",
    }
}

fn durations(methods: &[Known], out: &mut Out<'_>) -> fmt::Result {
    let mut metric = out.0.encode_descriptor(
        "request_duration_seconds",
        "From the head of a request to the last byte of its answer",
        None,
        MetricType::Histogram,
    )?;
    for method in methods {
        for wire in [Wire::Http, Wire::Grpc] {
            let sum = |of: &dyn Fn(&Counts) -> &AtomicU64| method.counters.sum(of);
            let at = wire as usize;
            let bounds = BOUNDS.iter().map(|micros| *micros as f64 / 1e6);
            let buckets: Vec<(f64, u64)> = bounds
                .chain([f64::INFINITY])
                .enumerate()
                .map(|(n, bound)| (bound, sum(&|c| &c.times[at].buckets[n])))
                .collect();
            let count = buckets.iter().map(|(_, count)| count).sum();
            if count == 0 {
                continue;
            }
            let seconds = sum(&|c| &c.times[at].sum) as f64 / 1e6;
            let labels = [
                ("method", method.method.name),
                ("transport", transport(wire)),
            ];
            metric
                .encode_family(&labels)?
                .encode_histogram::<NoLabelSet>(seconds, count, &buckets, None)?;
        }
    }
    Ok(())
}

fn rejections(methods: &[Known], out: &mut Out<'_>) -> fmt::Result {
    let rows = methods.iter().flat_map(|method| {
        Reason::ALL.into_iter().flat_map(move |reason| {
            Criticality::ALL.into_iter().map(move |criticality| {
                let labels = [
                    ("method", method.method.name),
                    ("reason", reason.as_str()),
                    ("criticality", criticality.as_str()),
                ];
                let of =
                    |c: &Counts| c.rejected[reason as usize][criticality as usize].load(Relaxed);
                (labels, method.counters.0.iter().map(of).sum::<u64>())
            })
        })
    });
    let rows = rows.filter(|(_, count)| *count > 0);
    out.counters("rejections", "Calls turned away", rows)
}

impl StackMetrics {
    fn gate(&self, out: &mut Out<'_>) -> fmt::Result {
        let gate = self.admission.snapshot();
        let one = |value: f64| [([("gate", "server")], value)];
        let places = "Places: the concurrency limit";
        out.gauges("limit", places, one(f64::from(gate.limit)))?;
        out.gauges("inflight", "Places taken", one(f64::from(gate.inflight)))?;
        out.gauges("queued", "Calls in the queue", one(f64::from(gate.queued)))?;
        let streams = "Long-lived replies, which hold no place";
        out.gauges("streams", streams, one(f64::from(gate.streams)))?;
        let levels = Criticality::ALL.into_iter().zip(gate.level);
        let levels = levels.map(|(c, level)| ([("criticality", c.as_str())], level));
        out.gauges("admission_level", "Share that is let in, 0 to 1", levels)?;
        let shadowed = Reason::ALL.into_iter().zip(gate.totals.shadowed);
        let shadowed = shadowed.map(|(reason, n)| ([("reason", reason.as_str())], n));
        let help = "Calls that would have been turned away, but for shadow mode";
        out.counters("shadow_rejections", help, shadowed)?;
        self.lanes(&gate, out)
    }

    fn lanes(&self, gate: &GateSnapshot, out: &mut Out<'_>) -> fmt::Result {
        let names = self.methods.lanes();
        let rows = || {
            gate.lanes.iter().filter_map(|lane| {
                let name = names.get(usize::from(lane.lane.0))?;
                (!name.is_empty()).then_some(([("lane", &**name)], lane))
            })
        };
        let held = rows().map(|(labels, lane)| (labels, f64::from(lane.inflight)));
        out.gauges("lane_inflight", "Places taken, by lane", held)?;
        let waiting = rows().map(|(labels, lane)| (labels, f64::from(lane.queued)));
        out.gauges("lane_queued", "Calls in the queue, by lane", waiting)
    }
}

/// A metric at a time.
struct Out<'e>(DescriptorEncoder<'e>);

impl Out<'_> {
    fn counters<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = ([Label<'l>; N], u64)>,
    ) -> fmt::Result
    where
        [Label<'l>; N]: EncodeLabelSet,
    {
        let kind = MetricType::Counter;
        let mut metric = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, count) in rows {
            metric
                .encode_family(&labels)?
                .encode_counter::<NoLabelSet, _, f64>(&count, None)?;
        }
        Ok(())
    }

    fn gauges<'l, const N: usize>(
        &mut self,
        name: &str,
        help: &str,
        rows: impl IntoIterator<Item = ([Label<'l>; N], f64)>,
    ) -> fmt::Result
    where
        [Label<'l>; N]: EncodeLabelSet,
    {
        let kind = MetricType::Gauge;
        let mut metric = self.0.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in rows {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }
}
