//! `proxy`: what passing a request on costs when nothing is wrong.

use std::time::Duration;

use super::bed::Bed;
use super::rounds::compare;
use super::{CompareArgs, Metric, Sample, Scenario, Setup, Shape};
use crate::load::Step;
use crate::peers::Peer;

/// Requests a second.
const RATE: f64 = 4_000.0;

/// 4,000/s Poisson through every proxy to an origin that is never full.
#[derive(Debug)]
struct Passing {
    shape: Shape,
}

impl Scenario for Passing {
    fn name(&self) -> String {
        format!("{RATE}/s Poisson, connections as they come")
    }

    fn peers(&self) -> Vec<Peer> {
        vec![
            Peer::Seawall,
            Peer::Nginx,
            Peer::Haproxy,
            Peer::Envoy,
            Peer::Hyper,
        ]
    }

    fn shape(&self) -> Option<&Shape> {
        None
    }

    fn run(&self, peer: Peer, setup: &Setup) -> anyhow::Result<Sample> {
        let bed = Bed::start(&self.shape, peer, setup)?;
        // Pools fill and lazy parts wake up before the measurement.
        let warm = bed.class("all", vec![Step::new(RATE, 1.0)]);
        bed.run(vec![warm], Duration::ZERO..Duration::MAX, &[])?;
        let class = bed.class("all", vec![Step::new(RATE, setup.length(9.0))]);
        let ran = bed.run(vec![class], Duration::ZERO..Duration::MAX, &[])?;
        let mut sample = ran.sample();
        let total = ran.report.total();
        let cpu = ran.usage.cpu.as_secs_f64() * 1e5 / total.offered.max(1) as f64;
        let class = &ran.report.classes[0];
        let ms = |q| class.latency(q).as_secs_f64() * 1000.0;
        let memory = ran.usage.peak as f64 / f64::from(1 << 20);
        sample.metrics = vec![
            Metric::new("CPU per 100,000", "s", "<= 1.15 x nginx", cpu),
            Metric::new("latency p50, origin's 2 ms included", "ms", "", ms(0.5)),
            Metric::new("latency p99, origin's 2 ms included", "ms", "", ms(0.99)),
            Metric::new("memory, most resident", "MiB", "", memory),
            Metric::new("not served", "%", "0", ran.refused()),
        ];
        Ok(sample)
    }
}

/// Runs the comparison.
///
/// # Errors
/// Says which part could not be started.
pub fn proxy(args: &CompareArgs) -> anyhow::Result<()> {
    // 8 requests under way on average; 200 slots never fill.
    let shape = Shape {
        slots: 200,
        service: Duration::from_millis(2),
        ..Shape::default()
    };
    compare("proxy", args, vec![Box::new(Passing { shape })])
}
