//! Shapes too fast for a load generator beside its server on one machine: the decisions are the
//! gateway's own, time and traffic are simulated. The figures are exact for the model; what the
//! gateway's I/O adds is not in them.

use std::time::Duration;

use seawall_policy::sim::{self, Gated, Service};

use super::{Metric, Sample, Scenario, Setup, Shape};
use crate::origin::Distribution;
use crate::peers::Peer;

/// Shapes that serve more than this many requests a second are simulated.
pub(super) const ABOVE: f64 = 2_000.0;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Load {
    Multiple(f64),
    Burst,
}

/// A load on the shape, in virtual time; Seawall only, peers cannot be simulated.
#[derive(Debug)]
pub(super) struct Simulated {
    shape: Shape,
    load: Load,
}

impl Simulated {
    pub(super) fn all(shape: &Shape) -> Vec<Box<dyn Scenario>> {
        [0.8, 2.0, 5.0, 10.0]
            .map(Load::Multiple)
            .into_iter()
            .chain([Load::Burst])
            .map(|load| {
                let shape = shape.clone();
                Box::new(Self { shape, load }) as Box<dyn Scenario>
            })
            .collect()
    }

    fn scenario(&self, seed: u64) -> sim::Scenario {
        let spread = match self.shape.distribution {
            Distribution::Fixed => Service::Fixed,
            Distribution::Exponential => Service::Exponential,
            Distribution::Bimodal => Service::Bimodal,
        };
        let slots = u32::try_from(self.shape.slots).unwrap_or(u32::MAX);
        let mut scenario = sim::Scenario::new(slots, self.shape.service, spread).seed(seed);
        scenario.fills = self.shape.slows;
        scenario
    }
}

impl Scenario for Simulated {
    fn name(&self) -> String {
        match self.load {
            Load::Multiple(multiple) => format!("{} at {multiple}x, simulated", self.shape),
            Load::Burst => format!("{} burst 0.5x 5x 0.5x, simulated", self.shape),
        }
    }

    fn peers(&self) -> Vec<Peer> {
        vec![Peer::Seawall]
    }

    fn shape(&self) -> Option<&Shape> {
        None
    }

    fn in_process(&self) -> bool {
        true
    }

    fn run(&self, _: Peer, setup: &Setup) -> anyhow::Result<Sample> {
        let second = self.shape.second();
        let at = |count: f64| Duration::from_secs_f64(count * second);
        let first = self.shape.first_completion();
        let scenario = self.scenario(setup.round + 1);
        let mut gate = Gated::default();
        let mut metrics = Vec::new();
        match self.load {
            Load::Multiple(multiple) => {
                let scenario = scenario.load(&[(0.0, multiple)]).lasting(at(8.0));
                let report = scenario.run(&mut gate);
                if multiple < 1.0 {
                    let refused = 100.0 * report.refused(at(1.0), at(8.0));
                    metrics.push(Metric::new("refused needlessly", "%", "<= 0.05", refused));
                } else {
                    let steady = 100.0 * report.goodput(at(2.0), at(8.0));
                    metrics.push(Metric::new("goodput", "% of capacity", ">= 98", steady));
                    let cold = 100.0 * report.goodput(first, first + at(1.0));
                    let name = "cold start, first second";
                    metrics.push(Metric::new(name, "% of capacity", ">= 90", cold));
                    let wasted = 100.0 * report.wasted;
                    metrics.push(Metric::new(
                        "origin's work for callers gone",
                        "%",
                        "<= 1",
                        wasted,
                    ));
                }
            }
            Load::Burst => {
                let steps = [(0.0, 0.5), (3.0 * second, 5.0), (7.0 * second, 0.5)];
                let report = scenario.load(&steps).lasting(at(12.0)).run(&mut gate);
                let burst = 100.0 * report.goodput(at(3.0) + first, at(5.0) + first);
                let name = "goodput, first 2 s of the burst";
                metrics.push(Metric::new(name, "% of capacity", ">= 95", burst));
                let after = 100.0 * report.refused(at(8.0), at(12.0));
                metrics.push(Metric::new(
                    "refused from 1 s after the burst",
                    "%",
                    "0",
                    after,
                ));
            }
        }
        Ok(Sample {
            metrics,
            lateness: Duration::ZERO,
        })
    }
}
