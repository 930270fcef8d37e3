//! The same for Prometheus.

use std::collections::BTreeMap;
use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::process::Process;
use super::{runtime, watch};
use crate::sync::{lock, tasks};

/// Runtimes, process, allocator, tasks, locks and what blocks, read when metrics are asked for.
///
/// | metric | kind | labels |
/// |---|---|---|
/// | `seawall_runtime_workers`, `_tasks`, `_queued` | gauge | `runtime` |
/// | `seawall_runtime_busy_seconds_total` | counter | `runtime` |
/// | `seawall_working_on` | gauge | `kind` |
/// | `seawall_blocked_polls_total`, `seawall_blocked_seconds_total` | counter | `kind`, `name` |
/// | `seawall_lock_waits_total`, `seawall_lock_wait_seconds_total` | counter | `lock` |
/// | `seawall_allocator_bytes` | gauge | `state` |
/// | `process_cpu_seconds_total` | counter | |
/// | `process_resident_memory_bytes`, `process_open_fds`, `process_threads` | gauge | |
///
/// ```
/// let mut registry = prometheus_client::registry::Registry::default();
/// registry.register_collector(Box::new(seawall::profile::Metrics));
/// let mut text = String::new();
/// prometheus_client::encoding::text::encode(&mut text, &registry)?;
/// assert!(text.contains("process_open_fds"));
/// # Ok::<(), std::fmt::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Metrics;

impl Collector for Metrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Out(encoder);
        out.runtimes()?;
        out.work()?;
        out.locks()?;
        out.process()
    }
}

struct Out<'a>(DescriptorEncoder<'a>);

impl Out<'_> {
    fn family<L: EncodeLabelSet, M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        values: impl IntoIterator<Item = (L, M)>,
    ) -> fmt::Result {
        let mut values = values.into_iter().peekable();
        let Some((_, first)) = values.peek() else {
            return Ok(());
        };
        let kind = first.metric_type();
        let mut family = self.0.encode_descriptor(name, help, unit, kind)?;
        values.try_for_each(|(labels, value)| value.encode(family.encode_family(&labels)?))
    }

    fn alone<M: EncodeMetric>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<&Unit>,
        value: Option<M>,
    ) -> fmt::Result {
        let Some(value) = value else { return Ok(()) };
        let encoder = self
            .0
            .encode_descriptor(name, help, unit, value.metric_type())?;
        value.encode(encoder)
    }

    fn runtimes(&mut self) -> fmt::Result {
        let all = runtime::runtimes();
        let gauges = |value: fn(&runtime::Runtime) -> usize| {
            let value = move |r: &runtime::Runtime| {
                let labels = [("runtime", r.name.clone())];
                (labels, ConstGauge::new(value(r) as i64))
            };
            all.iter().map(value).collect::<Vec<_>>()
        };
        let workers = gauges(|r| r.workers);
        self.family("seawall_runtime_workers", "Worker threads", None, workers)?;
        let tasks = gauges(|r| r.tasks);
        self.family("seawall_runtime_tasks", "Tasks alive", None, tasks)?;
        let queued = gauges(|r| r.queued);
        let help = "Tasks in the queue that workers share";
        self.family("seawall_runtime_queued", help, None, queued)?;
        let busy = all.iter().map(|r| {
            let labels = [("runtime", r.name.clone())];
            (labels, ConstCounter::new(r.busy_seconds))
        });
        let help = "Time that workers spent on tasks";
        self.family("seawall_runtime_busy", help, Some(&Unit::Seconds), busy)
    }

    fn work(&mut self) -> fmt::Result {
        use tasks::Kind::{Blocking, Job, Request, Task, Worker};

        let all = tasks::all();
        let kinds = [Request, Task, Worker, Job, Blocking].map(|kind| {
            let count = all.iter().filter(|seen| seen.about.kind == kind).count();
            ([("kind", kind.as_str())], ConstGauge::new(count as i64))
        });
        let help = "What is being worked on";
        self.family("seawall_working_on", help, None, kinds)?;
        // Those of one name in several groups are one.
        let mut blocked: BTreeMap<_, (u64, f64)> = BTreeMap::new();
        for row in watch::blocked() {
            let sums = blocked.entry((row.kind, row.name)).or_default();
            *sums = (sums.0 + row.polls, sums.1 + row.time.as_secs_f64());
        }
        let labels =
            |(kind, name): &(&str, String)| [("kind", (*kind).to_owned()), ("name", name.clone())];
        let counts = blocked
            .iter()
            .map(|(key, sums)| (labels(key), ConstCounter::new(sums.0)));
        let help = "Polls that kept a worker from other tasks";
        self.family("seawall_blocked_polls", help, None, counts)?;
        let times = blocked
            .iter()
            .map(|(key, sums)| (labels(key), ConstCounter::new(sums.1)));
        let help = "How long they took";
        self.family("seawall_blocked", help, Some(&Unit::Seconds), times)
    }

    fn locks(&mut self) -> fmt::Result {
        let locks = lock::contention();
        let waits = locks
            .iter()
            .map(|l| ([("lock", l.name)], ConstCounter::new(l.waits())));
        let help = "Acquisitions of named locks that had to wait";
        self.family("seawall_lock_waits", help, None, waits)?;
        let times = locks.iter().map(|l| {
            let time = ConstCounter::new(l.waited().as_secs_f64());
            ([("lock", l.name)], time)
        });
        let help = "How long they waited";
        self.family("seawall_lock_wait", help, Some(&Unit::Seconds), times)
    }

    fn process(&mut self) -> fmt::Result {
        let process = Process::read();
        let cpu = process.cpu_seconds.map(ConstCounter::new);
        self.alone("process_cpu", "CPU time used", Some(&Unit::Seconds), cpu)?;
        let gauge = |value: Option<u64>| {
            value.map(|v| ConstGauge::new(i64::try_from(v).unwrap_or(i64::MAX)))
        };
        let memory = gauge(process.resident_bytes);
        let help = "Resident memory";
        self.alone("process_resident_memory", help, Some(&Unit::Bytes), memory)?;
        let fds = gauge(process.open_fds);
        self.alone("process_open_fds", "Open descriptors", None, fds)?;
        let threads = gauge(process.threads);
        self.alone("process_threads", "Threads", None, threads)?;
        let Some(allocator) = runtime::allocator() else {
            return Ok(());
        };
        let states = [
            ("allocated", allocator.allocated),
            ("active", allocator.active),
            ("resident", allocator.resident),
            ("retained", allocator.retained),
        ];
        let states =
            states.map(|(state, bytes)| ([("state", state)], ConstGauge::new(bytes as i64)));
        let help = "Memory as jemalloc counts it";
        self.family("seawall_allocator", help, Some(&Unit::Bytes), states)
    }
}
