//! What came of the load: counts over time and latencies.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use serde::Serialize;
use serde_json::{Value, json};

use super::Plan;

/// Width of a [`Bucket`].
pub const WIDTH: Duration = Duration::from_millis(10);

/// How late the generator itself may be at the 99th percentile.
pub const LATENESS_LIMIT: Duration = Duration::from_millis(1);

/// Microseconds, up to a minute.
const LONGEST: u64 = 60_000_000;

/// What became of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// Answered in full, in time, with a status below 400 (gRPC: 0).
    Ok,
    /// Turned away: 429 or 503 (gRPC: RESOURCE_EXHAUSTED or UNAVAILABLE), with the reason of its
    /// `seawall-reject` header or "".
    Rejected(&'a str),
    /// No full answer in time; the client hung up.
    Timeout,
    /// Another status, a reset or refused connection.
    Error,
}

/// Counts of one [`WIDTH`] of time: `offered` by due time, the rest by the time of the outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Bucket {
    /// Requests due.
    pub offered: u64,
    /// [`Outcome::Ok`].
    pub ok: u64,
    /// [`Outcome::Rejected`].
    pub rejected: u64,
    /// [`Outcome::Timeout`].
    pub timeout: u64,
    /// [`Outcome::Error`].
    pub error: u64,
}

impl Bucket {
    fn add(&mut self, other: Self) {
        self.offered += other.offered;
        self.ok += other.ok;
        self.rejected += other.rejected;
        self.timeout += other.timeout;
        self.error += other.error;
    }
}

/// One class's results.
#[derive(Debug, Clone)]
pub struct ClassReport {
    /// The class's name.
    pub name: String,
    /// Counts over time.
    pub buckets: Vec<Bucket>,
    /// Latency of [`Outcome::Ok`] in microseconds from the due time.
    pub ok: Histogram<u64>,
    /// Latency of rejections in microseconds from the due time, by reason.
    pub rejected: BTreeMap<String, Histogram<u64>>,
    /// Requests of the measured part by outcome, each counted when it was due.
    pub due: Bucket,
}

impl ClassReport {
    /// The counts from `from` to `to`, whole buckets.
    #[must_use]
    pub fn between(&self, from: Duration, to: Duration) -> Bucket {
        let mut sum = Bucket::default();
        let index = |at: Duration| {
            usize::try_from(at.as_millis() / WIDTH.as_millis()).unwrap_or(usize::MAX)
        };
        let (from, to) = (index(from), index(to));
        for bucket in self.buckets.iter().take(to).skip(from) {
            sum.add(*bucket);
        }
        sum
    }

    /// The `q`-quantile (0 to 1) of successful latencies.
    #[must_use]
    pub fn latency(&self, q: f64) -> Duration {
        Duration::from_micros(self.ok.value_at_quantile(q))
    }

    /// The `q`-quantile (0 to 1) over all requests due in the measured part, each that got no good
    /// answer counting as `timeout`: refusing them must not look like serving them fast.
    #[must_use]
    pub fn latency_of_all(&self, q: f64, timeout: Duration) -> Duration {
        let rank = q * self.due.offered as f64;
        let served = self.ok.len() as f64;
        if rank > served || served < 1.0 {
            timeout
        } else {
            self.latency(rank / served)
        }
    }

    /// The `q`-quantile (0 to 1) of the latency of rejections for the reasons wanted; `None` when
    /// there were none.
    #[must_use]
    pub fn rejection_latency(&self, q: f64, wanted: impl Fn(&str) -> bool) -> Option<Duration> {
        let mut all = histogram();
        for (_, times) in self.rejected.iter().filter(|(reason, _)| wanted(reason)) {
            // Same bounds, so adding cannot fail.
            let _ = all.add(times);
        }
        (!all.is_empty()).then(|| Duration::from_micros(all.value_at_quantile(q)))
    }

    fn json(&self) -> Value {
        let total = self.between(Duration::ZERO, Duration::MAX);
        let rejected: BTreeMap<_, _> = self
            .rejected
            .iter()
            .map(|(reason, times)| (reason, quantiles(times)))
            .collect();
        json!({
            "name": self.name,
            "total": total,
            "ok_latency_ms": quantiles(&self.ok),
            "rejected_latency_ms": rejected,
            "bucket_ms": u64::try_from(WIDTH.as_millis()).unwrap_or(0),
            "buckets": self.buckets,
        })
    }
}

/// A run's results.
#[derive(Debug, Clone)]
pub struct Report {
    /// One entry a class, in the plan's order.
    pub classes: Vec<ClassReport>,
    /// How late requests were begun, in microseconds.
    pub lateness: Histogram<u64>,
    /// Connections opened.
    pub connections: u64,
    /// Connections that the server ended: idle or with a call on them, announced or not. HTTP/1.1
    /// only.
    pub closed: u64,
    /// Answers by HTTP status.
    pub statuses: BTreeMap<u16, u64>,
}

impl Report {
    /// Whether the generator was too late for the figures to say anything about the server.
    #[must_use]
    pub fn is_void(&self) -> bool {
        self.lateness_p99() > LATENESS_LIMIT
    }

    /// The generator's own lateness, 99th percentile.
    #[must_use]
    pub fn lateness_p99(&self) -> Duration {
        Duration::from_micros(self.lateness.value_at_quantile(0.99))
    }

    /// The counts of all classes from `from` to `to`, whole buckets.
    #[must_use]
    pub fn between(&self, from: Duration, to: Duration) -> Bucket {
        let mut sum = Bucket::default();
        for class in &self.classes {
            sum.add(class.between(from, to));
        }
        sum
    }

    /// The counts of the whole run.
    #[must_use]
    pub fn total(&self) -> Bucket {
        self.between(Duration::ZERO, Duration::MAX)
    }

    /// The class of that name.
    #[must_use]
    pub fn class(&self, name: &str) -> Option<&ClassReport> {
        self.classes.iter().find(|class| class.name == name)
    }

    /// Everything, for machines.
    #[must_use]
    pub fn json(&self) -> Value {
        json!({
            "lateness_p99_ms": milliseconds(self.lateness_p99()),
            "void": self.is_void(),
            "connections_opened": self.connections,
            "connections_closed_by_server": self.closed,
            "statuses": self.statuses,
            "classes": self.classes.iter().map(ClassReport::json).collect::<Vec<_>>(),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for class in &self.classes {
            let total = class.between(Duration::ZERO, Duration::MAX);
            writeln!(
                out,
                "{}: offered {}, ok {}, rejected {}, timeout {}, error {}",
                class.name, total.offered, total.ok, total.rejected, total.timeout, total.error
            )?;
            let ms = |q| milliseconds(class.latency(q));
            let (p50, p99, p999) = (ms(0.5), ms(0.99), ms(0.999));
            writeln!(
                out,
                "  ok p50 {p50:.1} ms, p99 {p99:.1} ms, p99.9 {p999:.1} ms"
            )?;
            for (reason, times) in &class.rejected {
                let p99 = times.value_at_quantile(0.99) as f64 / 1000.0;
                let count = times.len();
                writeln!(out, "  rejected [{reason}] {count}, p99 {p99:.1} ms")?;
            }
        }
        let late = milliseconds(self.lateness_p99());
        let void = if self.is_void() {
            ", too late: void"
        } else {
            ""
        };
        writeln!(out, "generator lateness p99 {late:.2} ms{void}")?;
        writeln!(out, "connections opened {}", self.connections)
    }
}

fn quantiles(times: &Histogram<u64>) -> Value {
    let at = |q| times.value_at_quantile(q) as f64 / 1000.0;
    json!({
        "count": times.len(), "p50": at(0.5), "p90": at(0.9), "p99": at(0.99),
        "p999": at(0.999), "max": times.max() as f64 / 1000.0,
    })
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, 3).expect("the bounds are constants that fit")
}

/// Collects outcomes while a plan runs.
#[derive(Debug)]
pub(super) struct Recorder {
    start: Instant,
    measured: std::ops::Range<Duration>,
    timeouts: Vec<Duration>,
    report: Report,
}

impl Recorder {
    pub(super) fn new(plan: &Plan, start: Instant) -> Self {
        let classes = plan
            .classes
            .iter()
            .map(|class| ClassReport {
                name: class.name.clone(),
                buckets: Vec::new(),
                ok: histogram(),
                rejected: BTreeMap::new(),
                due: Bucket::default(),
            })
            .collect();
        Self {
            start,
            measured: plan.measured.clone(),
            timeouts: plan.classes.iter().map(|class| class.timeout).collect(),
            report: Report {
                classes,
                lateness: histogram(),
                connections: 0,
                closed: 0,
                statuses: BTreeMap::new(),
            },
        }
    }

    /// A request due at `due` is begun at `now`.
    pub(super) fn begun(&mut self, class: usize, due: Instant, now: Instant) {
        let late = micros(now.saturating_duration_since(due));
        self.report.lateness.saturating_record(late);
        self.bucket(class, due).offered += 1;
    }

    pub(super) fn connection(&mut self) {
        self.report.connections += 1;
    }

    pub(super) fn closed(&mut self) {
        self.report.closed += 1;
    }

    pub(super) fn status(&mut self, status: u16) {
        *self.report.statuses.entry(status).or_default() += 1;
    }

    /// A request due at `due` came to its outcome at `now`.
    pub(super) fn outcome(&mut self, class: usize, due: Instant, now: Instant, out: Outcome<'_>) {
        // The clock may pass the deadline between the timer and the answer.
        let late = now > due + self.timeouts[class];
        let out = if late { Outcome::Timeout } else { out };
        let bucket = self.bucket(class, now);
        *count(bucket, out) += 1;
        let since = due.saturating_duration_since(self.start);
        if !self.measured.contains(&since) {
            return;
        }
        let class = &mut self.report.classes[class];
        class.due.offered += 1;
        *count(&mut class.due, out) += 1;
        let latency = micros(now.saturating_duration_since(due));
        match out {
            Outcome::Ok => class.ok.saturating_record(latency),
            Outcome::Rejected(reason) => match class.rejected.get_mut(reason) {
                Some(times) => times.saturating_record(latency),
                None => {
                    let mut times = histogram();
                    times.saturating_record(latency);
                    class.rejected.insert(reason.to_owned(), times);
                }
            },
            Outcome::Timeout | Outcome::Error => {}
        }
    }

    pub(super) fn finish(self) -> Report {
        self.report
    }

    fn bucket(&mut self, class: usize, at: Instant) -> &mut Bucket {
        let since = at.saturating_duration_since(self.start).as_millis();
        let index = usize::try_from(since / WIDTH.as_millis()).unwrap_or(0);
        let buckets = &mut self.report.classes[class].buckets;
        if buckets.len() <= index {
            buckets.resize(index + 1, Bucket::default());
        }
        &mut buckets[index]
    }
}

fn count<'b>(bucket: &'b mut Bucket, out: Outcome<'_>) -> &'b mut u64 {
    match out {
        Outcome::Ok => &mut bucket.ok,
        Outcome::Rejected(_) => &mut bucket.rejected,
        Outcome::Timeout => &mut bucket.timeout,
        Outcome::Error => &mut bucket.error,
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::{Class, Step};

    #[test]
    fn requests_refused_do_not_make_latency_look_good() {
        let class = Class::new("a", vec![Step::new(1.0, 1.0)]);
        let plan = Plan::new(std::net::SocketAddr::from(([127, 0, 0, 1], 1)), vec![class]);
        let start = Instant::now();
        let mut recorder = Recorder::new(&plan, start);
        for request in 0..100 {
            recorder.begun(0, start, start);
            let out = if request < 95 {
                Outcome::Ok
            } else {
                Outcome::Rejected("lane")
            };
            recorder.outcome(0, start, start + Duration::from_millis(5), out);
        }
        let report = recorder.finish();
        let timeout = Duration::from_millis(250);
        assert_eq!(report.classes[0].latency_of_all(0.99, timeout), timeout);
        assert!(report.classes[0].latency_of_all(0.9, timeout) < Duration::from_millis(6));
    }

    #[test]
    fn an_answer_after_the_deadline_is_a_timeout() {
        let class = Class::new("a", vec![Step::new(1.0, 1.0)]);
        let plan = Plan::new(std::net::SocketAddr::from(([127, 0, 0, 1], 1)), vec![class]);
        let start = Instant::now();
        let mut recorder = Recorder::new(&plan, start);
        recorder.begun(0, start, start);
        recorder.outcome(0, start, start + Duration::from_millis(251), Outcome::Ok);
        let total = recorder.finish().total();
        assert_eq!((total.ok, total.timeout), (0, 1));
    }
}
