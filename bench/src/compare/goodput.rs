//! Goodput at a multiple of the capacity, from cold; and what refusing the rest costs.

use std::time::Duration;

use super::bed::{Bed, Ran};
use super::{Metric, Sample, Scenario, Setup, Shape};
use crate::load::{ClassReport, Step};
use crate::peers::Peer;

/// A constant load of `multiple` × capacity.
#[derive(Debug)]
pub(super) struct Goodput {
    pub(super) shape: Shape,
    pub(super) multiple: f64,
}

impl Scenario for Goodput {
    fn name(&self) -> String {
        format!("{} at {}x", self.shape, self.multiple)
    }

    fn peers(&self) -> Vec<Peer> {
        let mut peers = vec![Peer::Seawall, Peer::EnvoyAdaptive, Peer::NginxLimit];
        if self.multiple >= 10.0 {
            peers.push(Peer::HaproxyLimit);
        }
        peers.push(Peer::Unprotected);
        peers
    }

    fn shape(&self) -> Option<&Shape> {
        Some(&self.shape)
    }

    fn run(&self, peer: Peer, setup: &Setup) -> anyhow::Result<Sample> {
        let second = self.shape.second();
        let warm = Duration::from_secs_f64(2.0 * second);
        let end = warm + Duration::from_secs_f64(setup.length(6.0) * second);
        let bed = Bed::start(&self.shape, peer, setup)?;
        let rate = self.multiple * setup.capacity;
        let class = bed.class("all", vec![Step::new(rate, end.as_secs_f64())]);
        let ran = bed.run(vec![class], warm..end, &[])?;
        let mut sample = ran.sample();
        let steady = ran.goodput(warm, end, setup.capacity);
        let metrics = &mut sample.metrics;
        metrics.push(Metric::new("goodput", "% of capacity", ">= 98", steady));
        if (self.multiple - 5.0).abs() < 0.1 {
            let first = self.shape.first_completion();
            let to = first + Duration::from_secs_f64(second);
            let cold = ran.goodput(first, to, setup.capacity);
            metrics.push(Metric::new(
                "cold start, first second",
                "% of capacity",
                ">= 90",
                cold,
            ));
        }
        if self.multiple >= 10.0 {
            metrics.extend(costs(&ran, peer));
        }
        Ok(sample)
    }
}

/// Reasons that are given after a wait in the queue.
const QUEUED: [&str; 3] = ["queue-timeout", "lane", "deadline"];

fn costs(ran: &Ran, peer: Peer) -> Vec<Metric> {
    let mut metrics = Vec::new();
    for class in &ran.report.classes {
        if let Some(p99) = refusal_p99(class, |reason| !QUEUED.contains(&reason)) {
            metrics.push(Metric::new("refused on arrival, p99", "ms", "<= 3", p99));
        }
        if let Some(p99) = refusal_p99(class, |reason| QUEUED.contains(&reason)) {
            metrics.push(Metric::new(
                "refused from the queue, p99",
                "ms",
                "its stated wait",
                p99,
            ));
        }
    }
    let work = ran.origin.work_s.max(1e-9);
    let wasted = 100.0 * ran.origin.gone_work_s / work;
    metrics.push(Metric::new(
        "origin's work for callers gone",
        "%",
        "<= 1",
        wasted,
    ));
    if peer != Peer::Unprotected {
        let offered = ran.report.total().offered.max(1) as f64;
        let cpu = ran.usage.cpu.as_secs_f64() * 1e5 / offered;
        metrics.push(Metric::new(
            "CPU per 100,000 offered",
            "s",
            "<= nginx-limit",
            cpu,
        ));
        let memory = ran.usage.peak as f64 / f64::from(1 << 20);
        metrics.push(Metric::new("memory, most resident", "MiB", "<= 64", memory));
    }
    metrics
}

fn refusal_p99(class: &ClassReport, wanted: impl Fn(&str) -> bool) -> Option<f64> {
    let latency = class.rejection_latency(0.99, wanted)?;
    Some(latency.as_secs_f64() * 1000.0)
}
